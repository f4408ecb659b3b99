//! What scripts cannot say: limits, cancellation, requests to the storage.

use std::time::{Duration, Instant};

use model::{Labels, stale_marker};
use parking_lot::Mutex;
use promql::storage::{Hints, SelectRequest, SeriesSet, Storage, StorageError, StorageErrorKind};
use promql::{CancelFlag, Engine, EngineOptions, QueryError, QueryOptions, Value};

use promql::script::Memory;

fn engine() -> Engine {
    Engine::new(EngineOptions::default())
}

fn memory(series: u32) -> Memory {
    let mut memory = Memory::default();
    for number in 0..series {
        let labels = [("__name__", "ticks_total".to_owned()), ("n", format!("{number:04}"))];
        let samples = (0..100).map(|at| (at * 15_000, f64::from(number) + at as f64));
        memory.append(Labels::from_pairs(labels), samples);
    }
    memory
}

/// Writes down what it is asked for.
#[derive(Default)]
struct Asked {
    requests: Mutex<Vec<SelectRequest>>,
}

impl Storage for Asked {
    fn select(&self, request: &SelectRequest) -> Result<Box<dyn SeriesSet>, StorageError> {
        self.requests.lock().push(request.clone());
        Memory::default().select(request)
    }
}

fn requests(query: &str) -> Vec<(i64, i64, Hints)> {
    let asked = Asked::default();
    let options = QueryOptions::default();
    engine().range(&asked, query, 1_000_000, 1_600_000, 60_000, &options).unwrap();
    let requests = asked.requests.into_inner();
    requests.into_iter().map(|request| (request.start, request.end, request.hints)).collect()
}

#[test]
fn storage_is_asked_for_exactly_the_samples_that_can_matter() {
    let one = |query: &str| {
        let all = requests(query);
        assert_eq!(all.len(), 1, "{query}");
        (all[0].0, all[0].1)
    };
    assert_eq!(one("x"), (700_001, 1_600_000));
    assert_eq!(one("x offset 1m"), (640_001, 1_540_000));
    assert_eq!(one("rate(x[2m])"), (880_001, 1_600_000));
    assert_eq!(one("x @ 500"), (200_001, 500_000));
    assert_eq!(one("rate(x[2m] @ end())"), (1_480_001, 1_600_000));
    // Inner steps are at multiples of 70 s: the first one after 1,000 s - 5 min is at 700 s (excluded), so 770 s.
    assert_eq!(one("max_over_time(x[5m:70s])"), (470_001, 1_540_000));
}

#[test]
fn storage_is_told_what_the_samples_are_for() {
    let all = requests("sum by (b, a) (rate(x[2m])) + max without (c) (y)");
    let (rate, max) = (&all[1].2, &all[0].2);
    assert_eq!((rate.function.as_str(), rate.range, rate.step), ("rate", 120_000, 60_000));
    assert_eq!((max.function.as_str(), max.range), ("max", 0));
    assert_eq!((max.grouping.as_slice(), max.by), (&["c".to_owned()][..], false));
}

#[test]
fn storage_is_told_which_labels_matter() {
    let labels = |query: &str| -> Vec<String> {
        let shown = |hints: Hints| match hints.projection {
            None => "all".to_owned(),
            Some(all) if all.include => format!("only {}", all.labels.join(" ")),
            Some(all) => format!("not {}", all.labels.join(" ")),
        };
        requests(query).into_iter().map(|(_, _, hints)| shown(hints)).collect()
    };
    let cases: [(&str, &[&str]); 12] = [
        ("x", &["all"]),
        ("sum(x)", &["only "]),
        ("sum by (b, a) (rate(x[2m]))", &["only a b"]),
        ("avg without (c) (abs(-x) * 2)", &["not __name__ c"]),
        ("count_values by (a) (\"v\", x)", &["only a"]),
        ("max by (a) (max_over_time(x[5m:1m]))", &["only a"]),
        ("topk by (a) (1, x)", &["all"]),
        ("sum by (a) (topk(1, x))", &["all"]),
        ("sum by (a) (x / on (b) y)", &["all", "all"]),
        ("sum by (a) (x * scalar(y))", &["all", "only a"]),
        ("sum by (a) (label_replace(x, \"a\", \"$1\", \"b\", \"(.*)\"))", &["all"]),
        ("sum by (a) (histogram_quantile(0.9, sum by (le, a) (x)))", &["only a le"]),
    ];
    for (query, expected) in cases {
        assert_eq!(labels(query), expected, "{query}");
    }
}

#[test]
fn too_many_samples_are_an_error_in_upstreams_words() {
    let options = QueryOptions { max_samples: 1000, ..QueryOptions::default() };
    let memory = memory(100);
    let ask = |query: &str| engine().range(&memory, query, 0, 1_400_000, 15_000, &options);
    let error = ask("ticks_total").unwrap_err();
    assert_eq!(error, QueryError::TooManySamples);
    assert_eq!(
        error.to_string(),
        "query processing would load too many samples into memory in query execution"
    );
    // Folded series are dropped one by one.
    let result = ask("sum(ticks_total)").unwrap();
    assert!(result.stats.peak_samples < 1000, "{:?}", result.stats);
    assert_eq!(result.stats.series, 100);
    // Not even the times of this would fit.
    let error = ask("sum_over_time(vector(1)[100y:1ms])").unwrap_err();
    assert_eq!(error, QueryError::TooManySamples);
}

#[test]
fn a_canceled_or_late_query_stops() {
    let memory = memory(2);
    let cancel = CancelFlag::new();
    cancel.cancel();
    let options = QueryOptions { cancel, ..QueryOptions::default() };
    let answer = engine().instant(&memory, "ticks_total", 0, &options);
    assert_eq!(answer.unwrap_err(), QueryError::Canceled);

    let cancel = CancelFlag::with_deadline(Instant::now());
    let options = QueryOptions { cancel, ..QueryOptions::default() };
    let error = engine().instant(&memory, "ticks_total", 0, &options).unwrap_err();
    assert_eq!(error.to_string(), "query timed out in expression evaluation");
}

struct Broken;

impl Storage for Broken {
    fn select(&self, _: &SelectRequest) -> Result<Box<dyn SeriesSet>, StorageError> {
        Err(StorageError::new(StorageErrorKind::Timeout, "store 7 did not answer"))
    }
}

#[test]
fn a_storage_error_keeps_its_kind() {
    let answer = engine().instant(&Broken, "sum(x)", 0, &QueryOptions::default());
    let Err(QueryError::Storage(error)) = answer else { panic!("{answer:?}") };
    assert_eq!(error.kind, StorageErrorKind::Timeout);
    assert_eq!(error.to_string(), "store 7 did not answer");
}

struct Warning;

impl SeriesSet for Warning {
    fn next(&mut self) -> Result<Option<promql::storage::SeriesData>, StorageError> {
        Ok(None)
    }

    fn warnings(&mut self) -> Vec<String> {
        vec!["store 7 is missing".to_owned()]
    }
}

impl Storage for Warning {
    fn select(&self, _: &SelectRequest) -> Result<Box<dyn SeriesSet>, StorageError> {
        Ok(Box::new(Self))
    }
}

#[test]
fn warnings_of_the_storage_reach_the_answer_once() {
    let answer = engine().instant(&Warning, "x + y", 0, &QueryOptions::default()).unwrap();
    assert_eq!(answer.warnings, ["store 7 is missing"]);
    assert!(answer.infos.is_empty());
}

#[test]
fn a_matrix_or_string_is_no_answer_to_a_range_query() {
    for (query, kind) in [("x[5m]", "range vector"), ("\"a\"", "string")] {
        let answer =
            engine().range(&Asked::default(), query, 0, 60_000, 60_000, &QueryOptions::default());
        assert_eq!(
            answer.unwrap_err().to_string(),
            format!(
                "invalid expression type {kind:?} for range query, must be Scalar or instant Vector"
            )
        );
    }
}

#[test]
fn names_are_dropped_at_once_unless_told_otherwise() {
    let memory = memory(2);
    let query = "sum by (__name__) (rate(ticks_total[1m]))";
    let names = |engine: &Engine| {
        let answer = engine.instant(&memory, query, 600_000, &QueryOptions::default()).unwrap();
        let Value::Vector(samples) = answer.value else { panic!("no vector") };
        samples.into_iter().map(|sample| sample.labels.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names(&engine()), ["{}"]);
    // Delayed, the name groups, and is dropped at the very end.
    let delayed = EngineOptions { delayed_name_removal: true, ..EngineOptions::default() };
    assert_eq!(names(&Engine::new(delayed)), ["{}"]);
}

#[test]
fn a_stale_marker_never_reaches_an_answer() {
    let mut memory = Memory::default();
    let labels = Labels::from_pairs([("__name__", "up")]);
    memory.append(labels, [(0, 1.0), (15_000, stale_marker()), (30_000, 2.0)]);
    let options = QueryOptions { lookback: Duration::from_secs(60), ..QueryOptions::default() };
    let answer = engine().range(&memory, "up", 0, 45_000, 15_000, &options).unwrap();
    let Value::Matrix(series) = answer.value else { panic!("no matrix") };
    let points: Vec<_> = series[0].points().collect();
    assert_eq!(points, [(0, 1.0), (30_000, 2.0), (45_000, 2.0)]);
    let answer = engine().instant(&memory, "count_over_time(up[1m])", 45_000, &options).unwrap();
    let Value::Vector(samples) = answer.value else { panic!("no vector") };
    assert_eq!(samples[0].value, 2.0);
}

#[test]
fn the_deepest_accepted_query_is_evaluated_on_a_small_stack() {
    let deep = format!("{}vector(1){}", "(-".repeat(120), ")".repeat(120));
    let chain = vec!["vector(1)"; 250].join(" + ");
    let nested = format!("{}vector(1){}", "max_over_time(".repeat(40), "[1m:1m])".repeat(40));
    let run = move || {
        for query in [deep, chain, nested] {
            let result = engine().instant(&Asked::default(), &query, 0, &QueryOptions::default());
            assert!(result.is_ok(), "{result:?}");
        }
    };
    std::thread::Builder::new().stack_size(2 << 20).spawn(run).unwrap().join().unwrap();
}
