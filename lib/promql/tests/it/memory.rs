//! The memory budget: what does not fit is an error, and nothing stays reserved.

use promql::parse::ParseOptions;
use promql::script::Memory;
use promql::{
    CancelFlag, Engine, EngineOptions, MemoryBudget, MemoryScope, QueryError, QueryOptions,
};

use model::Labels;
use promql::storage::{SelectRequest, SeriesData, SeriesSet, Storage, StorageError};

const QUERIES: &[&str] = &[
    "m",
    "rate(m[5m])",
    "sum by (a) (m)",
    "quantile by (a) (0.5, m)",
    "topk(3, m)",
    "count_values(\"v\", m)",
    "m + m",
    "m * on (a) group_left sum by (a) (m)",
    "m and m",
    "m or m offset 1m",
    "m unless m",
    "histogram_quantile(0.5, m)",
    "label_replace(m, \"c\", \"$1\", \"b\", \"(.*)\")",
    "max_over_time(m[5m:1m])",
    "m > scalar(sum(m))",
    "sort(m)",
    "absent(m)",
    "m + on (a) m",
    "info(m)",
];

/// Those that have one selector more than once.
const TWICE: &[&str] = &["m + m", "m and m", "m unless m", "m + on (a) m", "m > scalar(sum(m))"];

fn memory() -> Memory {
    let mut memory = Memory::default();
    for n in 0..40 {
        let (a, b) = ((n / 5).to_string(), n.to_string());
        let labels = [("__name__", "m"), ("a", &a), ("b", &b), ("le", &b)];
        let samples = (0..60).map(|at| (at * 15_000, (at * n) as f64));
        memory.append(Labels::from_pairs(labels), samples);
    }
    memory
}

fn engine(budget: &MemoryBudget) -> Engine {
    let (parser, memory) = (ParseOptions::ALL, budget.clone());
    Engine::new(EngineOptions { parser, memory, ..EngineOptions::default() })
}

fn run(
    engine: &Engine,
    storage: &dyn Storage,
    query: &str,
    options: &QueryOptions,
) -> Result<u64, QueryError> {
    let result = engine.range(storage, query, 300_000, 900_000, 30_000, options)?;
    Ok(result.stats.peak_bytes)
}

/// Cancels after some series.
struct Canceling {
    inner: Memory,
    after: usize,
    cancel: CancelFlag,
}

struct Counted {
    inner: Box<dyn SeriesSet>,
    left: usize,
    cancel: CancelFlag,
}

impl Storage for Canceling {
    fn select(&self, request: &SelectRequest) -> Result<Box<dyn SeriesSet>, StorageError> {
        let inner = self.inner.select(request)?;
        Ok(Box::new(Counted { inner, left: self.after, cancel: self.cancel.clone() }))
    }
}

impl SeriesSet for Counted {
    fn next(&mut self) -> Result<Option<SeriesData>, StorageError> {
        match self.left.checked_sub(1) {
            Some(left) => self.left = left,
            None => self.cancel.cancel(),
        }
        self.inner.next()
    }

    fn warnings(&mut self) -> Vec<String> {
        self.inner.warnings()
    }
}

#[test]
fn nothing_stays_reserved_whatever_becomes_of_a_query() {
    let budget = MemoryBudget::default();
    let engine = engine(&budget);
    let storage = memory();
    let mut outcomes = [0; 4];
    for query in QUERIES {
        let peak = match run(&engine, &storage, query, &QueryOptions::default()) {
            Ok(peak) => peak,
            Err(error) => {
                assert!(matches!(error, QueryError::Execution(_)), "{query}: {error}");
                outcomes[0] += 1;
                budget.peak()
            }
        };
        assert_eq!(budget.used(), 0, "{query}");
        // Every bound that is too small by a bit or by much.
        for step in 0..50 {
            let options = QueryOptions { max_memory: peak * step / 50, ..QueryOptions::default() };
            match run(&engine, &storage, query, &options) {
                Err(QueryError::Memory(error)) => {
                    assert_eq!((error.scope, error.query.as_str()), (MemoryScope::Query, *query));
                    outcomes[1] += 1;
                }
                // It does without what it would have kept for its second selector.
                Ok(used) if TWICE.contains(query) => assert!(used <= options.max_memory),
                other => assert!(other.is_err() && peak == budget.peak(), "{query}: {other:?}"),
            }
            assert_eq!(budget.used(), 0, "{query} with {} bytes", options.max_memory);
        }
        for after in [0, 1, 7, 39] {
            let cancel = CancelFlag::new();
            let inner = memory();
            let storage = Canceling { inner, after, cancel: cancel.clone() };
            let options = QueryOptions { cancel, ..QueryOptions::default() };
            let answer = run(&engine, &storage, query, &options);
            outcomes[2] += usize::from(answer == Err(QueryError::Canceled));
            assert_eq!(budget.used(), 0, "{query} canceled after {after} series");
        }
        let options = QueryOptions { max_samples: 100, ..QueryOptions::default() };
        let answer = run(&engine, &storage, query, &options);
        outcomes[3] += usize::from(answer == Err(QueryError::TooManySamples));
        assert_eq!(budget.used(), 0, "{query} with few samples");
    }
    let [wrong, too_large, canceled, too_many] = outcomes;
    assert!(wrong <= 2 && too_large > 800, "{outcomes:?}");
    assert!(canceled > 60 && too_many > 10, "{outcomes:?}");
}

#[test]
fn an_answer_counts_until_it_is_dropped() {
    let budget = MemoryBudget::default();
    let engine = engine(&budget);
    let result =
        engine.range(&memory(), "m", 300_000, 900_000, 30_000, &QueryOptions::default()).unwrap();
    // 40 series of 21 samples of 16 bytes, their labels and rounding.
    assert_eq!(result.memory.bytes(), budget.used());
    assert!((13_440..40_000).contains(&budget.used()), "{}", budget.used());
    drop(result);
    assert_eq!(budget.used(), 0);
}

#[test]
fn a_query_that_does_not_fit_leaves_others_alone() {
    let storage = memory();
    let unbounded = MemoryBudget::default();
    let peak = run(&engine(&unbounded), &storage, "m", &QueryOptions::default()).unwrap();
    let budget = MemoryBudget::new(peak * 3 / 2);
    let engine = engine(&budget);
    let first = engine.range(&storage, "m", 300_000, 900_000, 30_000, &QueryOptions::default());
    let held = budget.used();
    let error = run(&engine, &storage, "m + m", &QueryOptions::default()).unwrap_err();
    let QueryError::Memory(memory) = &error else { panic!("{error}") };
    assert_eq!((memory.scope, memory.limit), (MemoryScope::Process, peak * 3 / 2));
    let text = error.to_string();
    let expected = format!(
        "query processing would use too much memory: {} of \"m + m\" need {} more bytes, but {} of the {} bytes that all queries may use are in use",
        memory.what, memory.wanted, memory.used, memory.limit
    );
    assert_eq!(text, expected);
    assert_eq!(budget.used(), held, "the first answer is still there");
    drop(first);
    run(&engine, &storage, "m", &QueryOptions::default()).unwrap();
    assert_eq!(budget.used(), 0);
}
