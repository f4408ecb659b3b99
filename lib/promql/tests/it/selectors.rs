//! Selectors of one query: a source begins on the next ones while the query reads the first, and nobody can tell from
//! the answer.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use model::Labels;
use parking_lot::{Condvar, Mutex};
use promql::storage::{
    Hints, Samples, SelectRequest, SeriesData, SeriesSet, Storage, StorageError, StorageErrorKind,
    Taken, Undecoded,
};
use promql::{Engine, EngineOptions, MemoryBudget, QueryError, QueryOptions, QueryResult};

/// Of each selector. Enough to look after the next ones more than once.
const SERIES: usize = 200;

/// What happened, in order.
#[derive(Default)]
struct Log {
    lines: Mutex<Vec<String>>,
    more: Condvar,
}

impl Log {
    fn add(&self, line: String) {
        self.lines.lock().push(line);
        self.more.notify_all();
    }

    fn wait_for(&self, line: &str) {
        let limit = Duration::from_secs(60);
        let mut lines = self.lines.lock();
        let late =
            self.more.wait_while_for(&mut lines, |all| !all.iter().any(|l| l == line), limit);
        assert!(!late.timed_out(), "nobody has come to: {line}");
    }

    fn count(&self, wanted: impl Fn(&str) -> bool) -> usize {
        self.lines.lock().iter().filter(|line| wanted(line)).count()
    }

    /// Without what happens to single series.
    fn asked(&self) -> Vec<String> {
        let lines = self.lines.lock();
        lines.iter().filter(|line| !line.starts_with("decode ")).cloned().collect()
    }
}

#[derive(Clone)]
struct Store {
    log: Arc<Log>,
    /// Of each series, one a minute.
    samples: i64,
    /// Whether hints do not matter.
    simple: bool,
    /// Whether it is asked before a selector's turn.
    early: bool,
    /// Whether there is no room for selectors that were begun early.
    cramped: bool,
    /// The last series of the first selector is decoded after one of the other.
    waits: Option<(&'static str, &'static str)>,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            log: Arc::default(),
            samples: 100,
            simple: false,
            early: false,
            cramped: false,
            waits: None,
        }
    }
}

struct Set {
    store: Store,
    metric: String,
    next: usize,
    early: bool,
    wanted: bool,
}

struct One {
    store: Store,
    metric: String,
    number: usize,
}

impl Store {
    fn set(&self, request: &SelectRequest, early: bool) -> Set {
        let is_name = |m: &&model::Matcher| m.name == "__name__";
        let name = request.matchers.iter().find(is_name).map_or("", |matcher| &matcher.value);
        let end = request.end;
        self.log.add(format!("{} {name} to {end}", if early { "begin" } else { "ask" }));
        Set { store: self.clone(), metric: name.to_owned(), next: 0, early, wanted: !early }
    }
}

impl Storage for Store {
    fn select(&self, request: &SelectRequest) -> Result<Box<dyn SeriesSet>, StorageError> {
        Ok(Box::new(self.set(request, false)))
    }

    fn select_ahead(&self, request: &SelectRequest) -> Option<Box<dyn SeriesSet>> {
        self.early.then(|| Box::new(self.set(request, true)) as Box<dyn SeriesSet>)
    }

    fn same_samples(&self, one: &Hints, other: &Hints) -> bool {
        (&one.function, one.newest_at) == (&other.function, other.newest_at) || self.simple
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
        Vec::new()
    }

    fn want(&mut self) {
        self.wanted = true;
        self.store.log.add(format!("want {}", self.metric));
    }

    fn can_take(&self) -> bool {
        true
    }

    fn take(&mut self, wait: bool) -> Result<Taken, StorageError> {
        assert!(self.wanted || !wait, "read before its turn");
        if self.store.cramped && self.early {
            return Err(StorageError::new(StorageErrorKind::Limit, "no room"));
        }
        if self.next == SERIES {
            return Ok(Taken::End);
        }
        self.next += 1;
        let (store, metric) = (self.store.clone(), self.metric.clone());
        Ok(Taken::Series(Box::new(One { store, metric, number: self.next - 1 })))
    }
}

impl Undecoded for One {
    fn samples(&self) -> usize {
        1_000
    }

    fn decode(self: Box<Self>) -> Result<Option<SeriesData>, StorageError> {
        if let Some((first, other)) = self.store.waits
            && self.metric == first
            && self.number == SERIES - 1
        {
            self.store.log.wait_for(&format!("decode {other}"));
        }
        self.store.log.add(format!("decode {}", self.metric));
        let samples = Samples {
            timestamps: (0..self.store.samples).map(|at| at * 60_000).collect(),
            values: (0..self.store.samples).map(|at| at as f64 + self.number as f64).collect(),
            ..Samples::default()
        };
        let number = format!("{:03}", self.number);
        let name = ("__name__", self.metric.as_str());
        let labels = [name, ("k", &number), ("instance", &number), ("job", "j")];
        let labels = Labels::from_pairs(labels);
        Ok(Some(SeriesData { labels, samples }))
    }
}

fn ask(store: &Store, query: &str) -> Result<QueryResult, QueryError> {
    ask_with(store, query, &QueryOptions::default())
}

fn ask_with(store: &Store, query: &str, options: &QueryOptions) -> Result<QueryResult, QueryError> {
    let parser = promql::parse::ParseOptions::ALL;
    let engine = Engine::new(EngineOptions { parser, ..EngineOptions::default() });
    engine.range(store, query, 600_000, 3_000_000, 60_000, options)
}

#[test]
fn the_next_selectors_are_begun_once_the_first_has_given_a_series() {
    let store = Store { early: true, ..Store::default() };
    ask(&store, "a - on (k) b").unwrap();
    // The one side of a join is read first.
    assert_eq!(store.log.asked(), ["ask b to 3000000", "begin a to 3000000", "want a"]);
    let lines = store.log.lines.lock();
    let first = lines.iter().position(|line| line == "decode b");
    assert!(first < lines.iter().position(|line| line.starts_with("begin")));
}

#[test]
fn no_more_than_three_are_begun_before_their_turn() {
    let store = Store { early: true, ..Store::default() };
    ask(&store, "a or b or c or d or e or f").unwrap();
    let mut begun: usize = 0;
    for line in store.log.asked() {
        match line.split(' ').next() {
            Some("begin") => begun += 1,
            Some("want") => begun -= 1,
            _ => {}
        }
        assert!(begun <= 3);
    }
    assert_eq!(store.log.count(|line| line.starts_with("begin")), 5);
    assert_eq!(begun, 0);
}

/// Each kind of node that has more than one selector below it, or has one in an odd place.
const QUERIES: &[(&str, usize)] = &[
    ("a + on (k) b", 2),
    ("a * on (k) group_right b", 2),
    ("a and b unless c", 3),
    ("a or rate(b[5m]) or c offset 1m", 3),
    ("a @ 700 + on (k) b offset -1m", 2),
    ("sum(a) / sum(b)", 2),
    ("topk(scalar(sum(a)), b)", 2),
    ("quantile(scalar(sum(a)), b)", 2),
    ("clamp(a, scalar(sum(b)), scalar(sum(c)))", 3),
    ("quantile_over_time(scalar(sum(a)), b[3m])", 2),
    ("max_over_time((a - on (k) b)[5m:1m]) + on (k) c", 3),
    ("max_over_time(a[5m:1m] @ 1000) + on (k) timestamp(b)", 2),
    ("scalar(sum(a)) * scalar(sum(b)) + on () group_right sum by (k) (c)", 3),
    ("a + scalar(sum(b)) < bool scalar(sum(c))", 3),
    ("absent(a) or absent_over_time(b[5m]) or vector(scalar(sum(c)))", 3),
    ("histogram_quantile(scalar(sum(a)), b) or histogram_fraction(0, scalar(sum(c)), d)", 4),
    (
        "label_replace(a, \"x\", \"$1\", \"k\", \"(.*)\") or label_join(b, \"x\", \"-\", \"k\") or sort(c)",
        3,
    ),
    ("rate(a[5m] anchored) + on (k) rate(b[5m] smoothed) + on (k) c smoothed", 3),
    ("info(a) or b", 3),
    ("histogram_count(a) or histogram_sum(b) or -c", 3),
    ("count_values(\"v\", a) or limitk(0, b) or limit_ratio(0.5, c)", 3),
];

#[test]
fn each_selector_is_asked_for_once_and_answers_are_the_same() {
    for (query, selectors) in QUERIES {
        let late = Store::default();
        let expected = ask(&late, query).unwrap_or_else(|error| panic!("{query}: {error}"));
        assert_eq!(late.log.asked().len(), *selectors, "{query}");
        let store = Store { early: true, ..Store::default() };
        let found = ask(&store, query).unwrap();
        assert_eq!(format!("{:?}", found.value), format!("{:?}", expected.value), "{query}");
        assert_eq!((found.warnings, found.infos), (expected.warnings, expected.infos), "{query}");
        let asked = |log: &Log| {
            let whole = |line: &String| line.split_once(' ').map(|(_, what)| what.to_owned());
            let begun = |line: &&String| !line.starts_with("want");
            let mut all: Vec<_> = log.asked().iter().filter(begun).filter_map(whole).collect();
            all.sort();
            all
        };
        assert_eq!(asked(&store.log), asked(&late.log), "{query}");
        let wanted = store.log.count(|line| line.starts_with("want"));
        assert_eq!(wanted, store.log.count(|line| line.starts_with("begin")), "{query}");
    }
}

#[test]
fn a_selector_that_occurs_again_is_asked_for_once() {
    let once: &[(&str, &[&str])] = &[
        ("(a - on (k) b) / on (k) a", &["a", "b"]),
        ("sum(a) / count(a) + max(a) - min(a)", &["a"]),
        ("sum(rate(a[5m])) / on () group_right rate(a[5m])", &["a"]),
        ("a{k=~\"0.*\"} or b or a{k=~\"0.*\"}", &["a", "b"]),
        ("sum(a) > scalar(avg(a))", &["a"]),
        // Hints are not for all sources the same.
        ("rate(a[5m]) / on (k) avg_over_time(a[5m])", &["a"]),
        // What differs is not the same.
        ("a - on (k) a offset 1m", &["a", "a"]),
        ("rate(a[5m]) / on (k) rate(a[4m])", &["a", "a"]),
        ("a{k!=\"001\"} or a", &["a", "a"]),
        ("max_over_time(a[5m:1m]) - on (k) a", &["a", "a"]),
    ];
    for (query, selectors) in once {
        let store = Store { early: true, simple: true, ..Store::default() };
        let found = ask(&store, query).unwrap();
        let is_request = |line: &&String| !line.starts_with("want");
        let name = |line: &String| line.split(' ').nth(1).unwrap().to_owned();
        let mut asked: Vec<_> = store.log.asked().iter().filter(is_request).map(name).collect();
        asked.sort();
        assert_eq!(asked, *selectors, "{query}");
        // With no memory to spare each is asked for.
        let least = found.stats.peak_bytes;
        let options = QueryOptions { max_memory: least, ..QueryOptions::default() };
        let tight = Store::default();
        let expected = ask_with(&tight, query, &options).unwrap();
        assert!(tight.log.asked().len() >= selectors.len());
        assert_eq!(format!("{:?}", found.value), format!("{:?}", expected.value), "{query}");
        let counts = |result: &QueryResult| {
            (result.stats.samples, result.stats.series, result.stats.peak_samples)
        };
        assert_eq!(counts(&found), counts(&expected), "{query}");
    }
}

#[test]
fn sources_tell_whether_hints_matter_to_samples() {
    let query = "rate(a[5m]) / on (k) increase(a[5m]) + on (k) group_left sum by (k) (rate(a[5m]))";
    for (simple, requests) in [(true, 1), (false, 2)] {
        let store = Store { simple, ..Store::default() };
        ask(&store, query).unwrap();
        assert_eq!(store.log.asked().len(), requests);
    }
}

#[test]
fn more_than_a_little_is_not_kept_for_a_selector_that_occurs_again() {
    let store = Store { samples: 100_000, simple: true, ..Store::default() };
    ask(&store, "sum(a) / count(a)").unwrap();
    assert_eq!(store.log.asked().len(), 2);
    let store = Store { samples: 1_000, simple: true, ..Store::default() };
    let process = MemoryBudget::default();
    let parser = promql::parse::ParseOptions::ALL;
    let options = EngineOptions { parser, memory: process.clone(), ..EngineOptions::default() };
    let query = "sum(a) / count(a)";
    Engine::new(options).instant(&store, query, 600_000, &QueryOptions::default()).unwrap();
    assert_eq!((store.log.asked().len(), process.used()), (1, 0));
    assert!(process.peak() > 200 * 1_000 * 16, "what is kept counts: {}", process.peak());
}

#[test]
fn what_is_kept_is_never_the_end_of_a_query() {
    let process = MemoryBudget::default();
    let options = EngineOptions { memory: process.clone(), ..EngineOptions::default() };
    let engine = Engine::new(options);
    let run = |simple, max_memory| {
        let store = Store { simple, ..Store::default() };
        let options = QueryOptions { max_memory, ..QueryOptions::default() };
        // Many steps: the answer takes more than what is kept.
        let query = "rate(a[5m]) / on (k) increase(a[5m])";
        let result = engine.range(&store, query, 600_000, 3_000_000, 1_000, &options);
        (result.map(|result| result.stats.peak_bytes), store.log.asked().len())
    };
    let (least, with_kept) = (run(false, u64::MAX).0.unwrap(), run(true, u64::MAX).0.unwrap());
    assert!(least < with_kept, "what is kept counts");
    assert!(run(true, least - 1).0.is_err());
    let limits = (0..=4).map(|part| least + (with_kept - least) * part / 4);
    let requests: Vec<usize> = limits
        .map(|limit| {
            let (result, requests) = run(true, limit);
            assert!(result.is_ok_and(|peak| peak <= limit), "within {limit}");
            requests
        })
        .collect();
    // One was made in vain, and both again.
    assert_eq!((requests.first(), requests.last()), (Some(&3), Some(&1)), "{requests:?}");
    assert_eq!(process.used(), 0);
}

#[test]
fn what_was_begun_too_early_for_the_room_there_is_gets_asked_for_again() {
    let store = Store { early: true, cramped: true, ..Store::default() };
    let found = ask(&store, "a - on (k) b").unwrap();
    let expected = ask(&Store::default(), "a - on (k) b").unwrap();
    assert_eq!(format!("{:?}", found.value), format!("{:?}", expected.value));
    let asked = store.log.asked();
    let expected = ["ask b to 3000000", "begin a to 3000000", "want a", "ask a to 3000000"];
    assert_eq!(asked, expected);
}

#[test]
fn the_next_selector_is_decoded_while_the_first_is_read() {
    if thread::available_parallelism().unwrap().get() == 1 {
        return;
    }
    let store = Store { early: true, waits: Some(("b", "a")), ..Store::default() };
    ask(&store, "a - on (k) b").unwrap();
    assert_eq!(store.log.count(|line| line == "decode a"), SERIES);
}
