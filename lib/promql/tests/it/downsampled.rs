//! Functions over downsampled data, beside the same functions over what it was made of.

use model::Labels;
use parking_lot::Mutex;
use promql::storage::{
    Aggregate, Downsampled, Piece, Samples, SelectRequest, SeriesData, SeriesSet, Storage,
    StorageError,
};
use promql::{Engine, EngineOptions, QueryOptions, Value};

const MINUTE: i64 = 60_000;

/// Five minutes.
const WINDOW: i64 = 5 * MINUTE;

/// Samples every 15 s from just after zero for six hours, and how a store keeps those up to a time.
struct Store {
    raw: Vec<(i64, f64)>,
    downsampled_until: i64,
    asked: Mutex<Vec<Aggregate>>,
}

/// A counter that starts over every 50 minutes or so.
fn counter() -> Vec<(i64, f64)> {
    (0..1440).map(|i| (i * 15_000 + 7_000, (i % 203) as f64 * 2.5 + 1.0)).collect()
}

fn gauge() -> Vec<(i64, f64)> {
    (0..1440).map(|i| (i * 15_000 + 7_000, (i as f64 * 0.37).sin() * 10.0 + 20.0)).collect()
}

fn push(column: &mut Samples, time: i64, value: f64) {
    column.timestamps.push(time);
    column.values.push(value);
}

/// As Thanos' compactor does it: a sample at the end of each window, the counter from its first value on.
fn downsample(raw: &[(i64, f64)]) -> Downsampled {
    let mut chunk = Downsampled::default();
    let (mut total, mut before) = (raw[0].1, raw[0].1);
    push(&mut chunk.counter, raw[0].0, total);
    for window in raw.chunk_by(|a, b| (a.0 - 1) / WINDOW == (b.0 - 1) / WINDOW) {
        let last = window[window.len() - 1];
        let values = || window.iter().map(|(_, value)| *value);
        push(&mut chunk.count, last.0, window.len() as f64);
        push(&mut chunk.sum, last.0, values().sum());
        push(&mut chunk.min, last.0, values().fold(f64::INFINITY, f64::min));
        push(&mut chunk.max, last.0, values().fold(f64::NEG_INFINITY, f64::max));
        for value in values() {
            total += if value < before { value } else { value - before };
            before = value;
        }
        if chunk.counter.timestamps.last() != Some(&last.0) {
            push(&mut chunk.counter, last.0, total);
        }
    }
    push(&mut chunk.counter, raw[raw.len() - 1].0, before);
    chunk
}

struct One(Option<SeriesData>);

impl SeriesSet for One {
    fn next(&mut self) -> Result<Option<SeriesData>, StorageError> {
        Ok(self.0.take())
    }

    fn warnings(&mut self) -> Vec<String> {
        Vec::new()
    }
}

impl Store {
    fn new(raw: Vec<(i64, f64)>, downsampled_until: i64) -> Self {
        Self { raw, downsampled_until, asked: Mutex::default() }
    }
}

impl Storage for Store {
    fn select(&self, request: &SelectRequest) -> Result<Box<dyn SeriesSet>, StorageError> {
        self.asked.lock().push(request.hints.aggregate);
        let split = self.raw.partition_point(|(time, _)| *time <= self.downsampled_until);
        let (old, new) = self.raw.split_at(split);
        // Two hours a chunk.
        let old = old.chunk_by(|a, b| (a.0 - 1) / (24 * WINDOW) == (b.0 - 1) / (24 * WINDOW));
        let mut pieces: Vec<_> =
            old.map(|part| Piece::Downsampled(Box::new(downsample(part)))).collect();
        let mut recent = Samples::default();
        new.iter().for_each(|(time, value)| push(&mut recent, *time, *value));
        pieces.push(Piece::Raw(recent));
        let labels = Labels::from_pairs([("__name__", "m_total")]);
        let samples = request.hints.aggregate.join(pieces);
        Ok(Box::new(One(Some(SeriesData { labels, samples }))))
    }
}

/// What a query gives over raw samples, over downsampled ones, and over five hours of these and one of those.
fn over(raw: &[(i64, f64)], query: &str) -> [Vec<f64>; 3] {
    [0, i64::MAX, 300 * MINUTE].map(|until| {
        let store = Store::new(raw.to_vec(), until);
        let engine = Engine::new(EngineOptions::default());
        let (start, end) = (65 * MINUTE, 355 * MINUTE);
        let options = QueryOptions::default();
        let result = engine.range(&store, query, start, end, WINDOW, &options).unwrap();
        let Value::Matrix(series) = result.value else { panic!("no matrix") };
        assert_eq!(series.len(), 1, "{query}");
        assert_eq!(series[0].values.len(), 59, "{query}");
        series[0].values.clone()
    })
}

fn assert_close(found: &[f64], expected: &[f64], relative: f64, query: &str) {
    for (step, (a, b)) in found.iter().zip(expected).enumerate() {
        let most = relative * b.abs().max(1e-9);
        assert!((a - b).abs() <= most, "{query} at step {step}: {a}, and {b} of raw samples");
    }
}

#[test]
fn what_is_kept_of_windows_gives_what_their_samples_gave() {
    for query in [
        "min_over_time(m_total[1h])",
        "max_over_time(m_total[1h])",
        "sum_over_time(m_total[1h])",
        "count_over_time(m_total[1h])",
        "avg_over_time(m_total[1h])",
        "present_over_time(m_total[1h])",
        "count(m_total)",
        "group(m_total)",
    ] {
        let [raw, downsampled, mixed] = over(&gauge(), query);
        assert_close(&downsampled, &raw, 1e-12, query);
        assert_close(&mixed, &raw, 1e-12, query);
    }
}

#[test]
fn a_counter_grows_as_it_did_whatever_was_reset_and_wherever_chunks_end() {
    for query in ["increase(m_total[1h])", "rate(m_total[1h])"] {
        let [raw, downsampled, mixed] = over(&counter(), query);
        // Samples are further apart, so that less of a window is between the first and the last one; still less is
        // guessed beyond these where some are close to each other.
        assert_close(&downsampled, &raw, 0.06, query);
        assert_close(&mixed, &raw, 0.09, query);
    }
    // 1/6 in all, less where a sample is near another at the start of a chunk; no reset is a fall.
    let [_, downsampled, _] = over(&counter(), "rate(m_total[10m])");
    assert!(downsampled.iter().all(|rate| (0.1..0.17).contains(rate)), "{downsampled:?}");
    let [raw, downsampled, _] = over(&counter(), "resets(m_total[1h])");
    assert!(raw.contains(&1.0), "raw samples keep their resets");
    assert!(downsampled.iter().all(|resets| *resets == 0.0));
}

#[test]
fn a_plain_selector_sees_means() {
    let [raw, downsampled, mixed] = over(&gauge(), "m_total");
    let means = over(&gauge(), "avg_over_time(m_total[5m])")[0].clone();
    assert_close(&downsampled, &means, 1e-12, "m_total");
    assert_eq!(mixed[50..], raw[50..]);
    assert_eq!(mixed[..40], downsampled[..40]);
    let negative = over(&gauge(), "max(-m_total)")[1].clone();
    let negative: Vec<f64> = negative.iter().map(|value| -value).collect();
    assert_close(&negative, &means, 1e-12, "max(-m_total)");
    let largest = over(&gauge(), "max_over_time(m_total[5m])")[0].clone();
    assert_close(&over(&gauge(), "max(m_total)")[1], &largest, 1e-12, "max(m_total)");
}

#[test]
fn the_storage_is_told_which_column_is_wanted() {
    let asked = |query: &str| {
        let store = Store::new(gauge(), 0);
        let engine = Engine::new(EngineOptions::default());
        engine.instant(&store, query, 60 * MINUTE, &QueryOptions::default()).unwrap();
        store.asked.into_inner()
    };
    let cases = [
        ("m", Aggregate::Average),
        ("sum(m)", Aggregate::Average),
        ("min((m))", Aggregate::Min),
        ("max by (a) (m offset 1m)", Aggregate::Max),
        ("max(m > 1)", Aggregate::Average),
        ("max(-m)", Aggregate::Average),
        ("max(+m)", Aggregate::Max),
        ("max(rate(m[5m]))", Aggregate::Counter),
        ("max(abs(m))", Aggregate::Average),
        ("sum_over_time(m[5m])", Aggregate::Sum),
        ("sum_over_time(m[5m:1m])", Aggregate::Average),
        ("count_over_time(m[5m:1m])", Aggregate::Average),
        ("min_over_time(m[5m:1m])", Aggregate::Min),
        ("min_over_time((m * 2)[5m:1m])", Aggregate::Average),
        ("avg_over_time(m[5m])", Aggregate::SumAndCount),
        ("count_over_time(m[5m])", Aggregate::Count),
        ("count_values(\"a\", m)", Aggregate::Average),
        ("absent(m)", Aggregate::Count),
        ("increase(m[5m])", Aggregate::Counter),
        ("delta(m[5m])", Aggregate::Average),
        ("quantile_over_time(0.5, m[5m])", Aggregate::Average),
    ];
    for (query, expected) in cases {
        assert_eq!(asked(query), [expected], "{query}");
    }
}

fn column(samples: &[(i64, f64)]) -> Samples {
    let mut column = Samples::default();
    samples.iter().for_each(|(time, value)| push(&mut column, *time, *value));
    column
}

#[test]
fn a_counter_goes_on_from_what_was_scraped_last_and_not_from_its_sum() {
    let chunk = |samples: &[(i64, f64)]| {
        let chunk = Downsampled { counter: column(samples), ..Downsampled::default() };
        Piece::Downsampled(Box::new(chunk))
    };
    let raw = Piece::Raw(column(&[(40, 100.0), (50, 2.0), (60, 5.0)]));
    let pieces = vec![
        chunk(&[(0, 5.0), (10, 9.0), (20, 12.0), (20, 3.0)]),
        chunk(&[(30, 4.0), (40, 6.0), (40, 6.0)]),
        raw.clone(),
    ];
    let samples = Aggregate::Counter.join(pieces);
    assert_eq!(samples.timestamps, [0, 10, 20, 30, 40, 50, 60]);
    assert_eq!(samples.values, [5.0, 9.0, 12.0, 13.0, 15.0, 17.0, 20.0]);
    let alone = Aggregate::Counter.join(vec![raw]);
    assert_eq!(alone.values, [100.0, 2.0, 5.0]);
}

#[test]
fn overlaps_and_gaps_of_pieces_are_left_out() {
    let chunk = Downsampled {
        count: column(&[(10, 2.0), (30, 4.0)]),
        sum: column(&[(10, 8.0), (20, 5.0), (30, 2.0)]),
        ..Downsampled::default()
    };
    let raw = column(&[(25, 1.0), (35, 7.0)]);
    let pieces = vec![Piece::Downsampled(Box::new(chunk)), Piece::Raw(raw)];
    let means = Aggregate::Average.join(pieces.clone());
    assert_eq!((means.timestamps, means.values), (vec![10, 30, 35], vec![4.0, 0.5, 7.0]));
    let sums = Aggregate::SumAndCount.join(pieces.clone());
    assert_eq!(sums.values, [8.0, 2.0, 7.0]);
    assert_eq!(sums.counts, Some(vec![2.0, 4.0, 1.0]));
    let nothing = Aggregate::Max.join(pieces);
    assert_eq!(nothing.values, [1.0, 7.0], "a column that is not there has no samples");
}
