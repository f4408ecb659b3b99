//! Reading ahead: threads of the pool decode what a query will need, and nobody can tell from its answer.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, ThreadId};
use std::time::Duration;

use model::{Labels, Matcher};
use parking_lot::{Condvar, Mutex};
use promql::storage::{
    Samples, SelectRequest, SeriesData, SeriesSet, Storage, StorageError, StorageErrorKind, Taken,
    Undecoded,
};
use promql::{
    CancelFlag, Engine, EngineOptions, MemoryBudget, QueryError, QueryOptions, QueryResult,
};

const SERIES: usize = 400;
const SAMPLES: usize = 500;

/// What decoding does beside decoding.
#[derive(Clone, Default)]
enum Trouble {
    #[default]
    None,
    FailsAt(usize),
    PanicsAt(usize),
    CancelsAt(usize, CancelFlag),
    /// Whoever decodes first waits until another thread does, too.
    Meets(Arc<(Mutex<HashSet<ThreadId>>, Condvar)>),
}

#[derive(Clone, Default)]
struct Store {
    trouble: Trouble,
    decoded: Arc<AtomicUsize>,
}

struct Set {
    numbers: std::ops::Range<usize>,
    matchers: Vec<Matcher>,
    store: Store,
    late: usize,
}

struct One {
    number: usize,
    store: Store,
}

fn labels(number: usize) -> Labels {
    let (a, b) = ((number % 7).to_string(), format!("{number:04}"));
    Labels::from_pairs([("__name__", "m"), ("b", &b), ("a", &a)])
}

impl Storage for Store {
    fn select(&self, request: &SelectRequest) -> Result<Box<dyn SeriesSet>, StorageError> {
        let (matchers, store) = (request.matchers.clone(), self.clone());
        Ok(Box::new(Set { numbers: 0..SERIES, matchers, store, late: 0 }))
    }

    fn select_ahead(&self, request: &SelectRequest) -> Option<Box<dyn SeriesSet>> {
        self.select(request).ok()
    }
}

impl SeriesSet for Set {
    fn next(&mut self) -> Result<Option<SeriesData>, StorageError> {
        match self.take(true)? {
            Taken::Series(series) => series.decode(),
            Taken::Later | Taken::End => Ok(None),
        }
    }

    fn warnings(&mut self) -> Vec<String> {
        vec!["one thing is missing".to_owned()]
    }

    fn can_take(&self) -> bool {
        true
    }

    fn take(&mut self, wait: bool) -> Result<Taken, StorageError> {
        let passes =
            |number: usize| self.matchers.iter().all(|m| m.matches_labels(&labels(number)));
        while self.numbers.start < self.numbers.end {
            let number = self.numbers.start;
            // Sometimes a source has nothing yet, but has it when it is asked again.
            if !wait && number % 50 == 13 && self.late != number {
                self.late = number;
                return Ok(Taken::Later);
            }
            self.numbers.start += 1;
            if passes(number) {
                return Ok(Taken::Series(Box::new(One { number, store: self.store.clone() })));
            }
        }
        Ok(Taken::End)
    }
}

impl Undecoded for One {
    fn samples(&self) -> usize {
        SAMPLES
    }

    fn decode(self: Box<Self>) -> Result<Option<SeriesData>, StorageError> {
        self.store.decoded.fetch_add(1, Ordering::SeqCst);
        match &self.store.trouble {
            Trouble::FailsAt(number) if self.number == *number => {
                return Err(StorageError::new(StorageErrorKind::Internal, "disk on fire"));
            }
            Trouble::PanicsAt(number) if self.number == *number => {
                std::panic::resume_unwind(Box::new("a bug"));
            }
            Trouble::CancelsAt(number, flag) if self.number == *number => flag.cancel(),
            Trouble::Meets(met) => Self::meet(met),
            _ => {}
        }
        let value = |at: usize| ((self.number * 31 + at * 7) % 101) as f64 + 0.1;
        let samples = Samples {
            timestamps: (0..SAMPLES).map(|at| at as i64 * 15_000).collect(),
            values: (0..SAMPLES).map(value).collect(),
            ..Samples::default()
        };
        Ok(Some(SeriesData { labels: labels(self.number), samples }))
    }
}

impl One {
    fn meet((met, told): &(Mutex<HashSet<ThreadId>>, Condvar)) {
        let mut met = met.lock();
        met.insert(thread::current().id());
        told.notify_all();
        let limit = Duration::from_secs(60);
        let late = told.wait_while_for(&mut met, |met| met.len() < 2, limit);
        assert!(!late.timed_out(), "no other thread decodes");
    }
}

fn run(
    store: &Store,
    query: &str,
    options: &QueryOptions,
    memory: &MemoryBudget,
) -> Result<QueryResult, QueryError> {
    let engine = Engine::new(EngineOptions { memory: memory.clone(), ..EngineOptions::default() });
    engine.range(store, query, 600_000, 7_200_000, 60_000, options)
}

/// Help from the start, or none.
fn after(read_ahead: bool) -> usize {
    if read_ahead { 0 } else { usize::MAX }
}

fn ask(store: &Store, query: &str, read_ahead: bool) -> Result<QueryResult, QueryError> {
    let read_ahead_after = after(read_ahead);
    let options =
        QueryOptions { read_ahead_after, per_step_stats: true, ..QueryOptions::default() };
    run(store, query, &options, &MemoryBudget::default())
}

const QUERIES: &[&str] = &[
    "m",
    "rate(m[5m])",
    "sum(m)",
    "avg by (a) (rate(m[5m]))",
    "stddev by (a) (m)",
    "topk by (a) (2, m)",
    "m{a=\"1\"} - on (b) m",
    "m * on (a) group_left sum by (a) (m)",
    "m or m offset 1m",
    "quantile_over_time(0.3, m[10m])",
    "max_over_time(sum(rate(m[5m]))[10m:2m])",
    "count_values by (a) (\"v\", m > 50)",
];

#[test]
fn answers_notes_and_counts_are_the_same_byte_for_byte() {
    for query in QUERIES {
        let expected = ask(&Store::default(), query, false).unwrap();
        for _ in 0..3 {
            let found = ask(&Store::default(), query, true).unwrap();
            assert_eq!(format!("{:?}", found.value), format!("{:?}", expected.value), "{query}");
            assert_eq!(found.warnings, expected.warnings, "{query}");
            assert_eq!(found.infos, expected.infos, "{query}");
            assert_eq!(found.samples_per_step, expected.samples_per_step, "{query}");
            let counts = |result: &QueryResult| {
                (result.stats.samples, result.stats.series, result.stats.peak_samples)
            };
            assert_eq!(counts(&found), counts(&expected), "{query}");
        }
    }
}

#[test]
fn other_threads_decode_while_the_query_does() {
    if thread::available_parallelism().unwrap().get() == 1 {
        return;
    }
    let store = Store { trouble: Trouble::Meets(Arc::default()), ..Store::default() };
    ask(&store, "sum(m)", true).unwrap();
    assert_eq!(store.decoded.load(Ordering::SeqCst), SERIES);
}

#[test]
fn an_error_comes_in_its_turn_and_a_panic_is_an_error() {
    for number in [0, 20, 399] {
        let store = Store { trouble: Trouble::FailsAt(number), ..Store::default() };
        let expected = ask(&store, "sum(m)", false).unwrap_err();
        assert_eq!(ask(&store, "sum(m)", true).unwrap_err(), expected);
        assert_eq!(expected.to_string(), "disk on fire");
    }
    // A limit that is met before the error is.
    let store = Store { trouble: Trouble::FailsAt(200), ..Store::default() };
    for read_ahead in [false, true] {
        let options = QueryOptions {
            read_ahead_after: after(read_ahead),
            max_samples: 5_000,
            ..QueryOptions::default()
        };
        let error = run(&store, "m", &options, &MemoryBudget::default()).unwrap_err();
        assert_eq!(error, QueryError::TooManySamples);
    }
    let store = Store { trouble: Trouble::PanicsAt(390), ..Store::default() };
    let broken = catch_unwind(AssertUnwindSafe(|| ask(&store, "sum(m)", true)));
    // Unless the query itself got to it first.
    if let Ok(answer) = broken {
        assert_eq!(answer.unwrap_err().to_string(), "the decoding of series broke off");
    }
}

#[test]
fn a_canceled_query_decodes_no_more() {
    let flag = CancelFlag::new();
    let store = Store { trouble: Trouble::CancelsAt(0, flag.clone()), ..Store::default() };
    let options = QueryOptions { cancel: flag, read_ahead_after: 0, ..QueryOptions::default() };
    let error = run(&store, "sum(m)", &options, &MemoryBudget::default()).unwrap_err();
    assert_eq!(error, QueryError::Canceled);
    // What was under way is six batches of seventeen series, and one that was begun.
    assert!(store.decoded.load(Ordering::SeqCst) <= 7 * 17);
}

#[test]
fn what_is_read_ahead_is_within_the_memory_of_the_query_and_never_its_end() {
    let process = MemoryBudget::new(u64::MAX);
    let limited = |read_ahead, max_memory| {
        let options = QueryOptions {
            read_ahead_after: after(read_ahead),
            max_memory,
            ..QueryOptions::default()
        };
        let result = run(&Store::default(), "sum by (a) (m)", &options, &process);
        result.map(|result| result.stats.peak_bytes)
    };
    let least = limited(false, u64::MAX).unwrap();
    for limit in [least, least + least / 3, 2 * least, 100 * least] {
        assert_eq!(limited(false, limit), Ok(least));
        for _ in 0..3 {
            assert_eq!(limited(true, limit), Ok(least), "within {limit}");
        }
    }
    assert!(limited(true, least - 1).is_err());
    assert_eq!(process.used(), 0, "nothing stays reserved");
    // Six batches of seventeen series of less than 10 kB each, and one that is being used.
    assert!(process.peak() <= least + 7 * 17 * 10_000, "{}", process.peak());
}
