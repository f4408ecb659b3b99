//! PromQL over the shards gives the answers of one big Prometheus that holds all shards' blocks.

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;
use testkit::eventually;
use testkit::prometheus::{Prometheus, PrometheusOptions};

use crate::system::{PATIENCE, System, number};

const TARGETS: u64 = 4;

/// Seconds of data before the comparison: room for ranges, rates and subqueries at a five-second interval.
const HISTORY: f64 = 75.0;

/// Largest relative difference between two values that count as equal.
const TOLERANCE: f64 = 1e-9;

#[tokio::test]
async fn two_hundred_queries_answer_like_one_big_prometheus() {
    let system = System::start(
        &["--targets=3", "--series-per-target=300", "--shard.max-series=900"],
        TARGETS,
    )
    .await;
    system.until_settled(TARGETS, 1).await;
    assert_eq!(system.shards().await.unwrap().len(), 2);
    // The raw samples of a move are there twice, and what query takes of them is not what one Prometheus would.
    let (mut moves, mut since) = (count_moves(&system).await, system.now());
    eventually(PATIENCE, "enough history without a move", async || {
        let so_far = count_moves(&system).await;
        if so_far != moves {
            (moves, since) = (so_far, system.now());
        }
        let oldest = system.value("min(min_over_time(timestamp(up)[5m:5s]))").await?;
        let now = system.now();
        let history = now - oldest.max(since);
        if history > HISTORY { Ok(()) } else { Err(format!("{history} s, {moves} steps of moves")) }
    })
    .await;
    let end = system.now().floor() - 5.0;
    let big = one_big_prometheus(&system).await;

    let families = Families::of(&system).await;
    let queries = queries(&families);
    assert!(queries.len() >= 200, "{} queries", queries.len());
    let mut different = Vec::new();
    let mut with_result = 0;
    for query in &queries {
        let (ours, theirs) = (ours(&system, query, end).await, theirs(&big, query, end).await);
        with_result += usize::from(!theirs.is_empty());
        if let Some(difference) = difference(&ours, &theirs) {
            different.push(format!("{query}\n    {difference}"));
        }
    }
    assert!(
        different.is_empty(),
        "{} of {}:\n{}",
        different.len(),
        queries.len(),
        different.join("\n")
    );
    assert!(
        with_result * 10 > queries.len() * 9,
        "only {with_result} of {} queries have a result",
        queries.len()
    );
}

async fn count_moves(system: &System) -> usize {
    let events = system.events().await;
    let of_move = |event: &&Value| event["kind"].as_str().is_some_and(|k| k.starts_with("move_"));
    events.iter().filter(of_move).count()
}

/// A Prometheus over a snapshot of every shard.
async fn one_big_prometheus(system: &System) -> Prometheus {
    let client = svc::http::client(PATIENCE).unwrap();
    let data_dir = system.data_dir().join("big");
    fs::create_dir_all(&data_dir).unwrap();
    for shard in system.shards().await.unwrap() {
        let url = format!("{}/api/v1/admin/tsdb/snapshot", shard["prometheus"].as_str().unwrap());
        let answer: Value = client.post(url).send().await.unwrap().json().await.unwrap();
        let name = answer["data"]["name"].as_str().unwrap_or_else(|| panic!("{answer}"));
        let tsdb = system
            .data_dir()
            .join(format!("coordinator/shards/{}/prometheus", shard["id"].as_str().unwrap()));
        for block in fs::read_dir(tsdb.join("snapshots").join(name)).unwrap() {
            let block = block.unwrap();
            fs::rename(block.path(), data_dir.join(block.file_name())).unwrap();
        }
    }
    Prometheus::start(PrometheusOptions {
        data_dir: Some(data_dir),
        ..PrometheusOptions::default()
    })
    .await
}

/// One metric name of each kind, as the generators expose them.
struct Families {
    gauge: String,
    counter: String,
    histogram: String,
}

impl Families {
    async fn of(system: &System) -> Self {
        let answer = system.ask("/api/v1/label/__name__/values", &[]).await.unwrap();
        let names: Vec<&str> =
            answer["data"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
        let generated = |name: &&&str| name.starts_with("metrics_");
        let ending =
            |end: &str| names.iter().filter(generated).find(|name| name.ends_with(end)).unwrap();
        let other = |name: &&&str| {
            !["_total", "_bucket", "_sum", "_count"].iter().any(|end| name.ends_with(end))
        };
        Self {
            gauge: (**names.iter().filter(generated).find(other).unwrap()).to_owned(),
            counter: (*ending("_total")).to_owned(),
            histogram: ending("_bucket").trim_end_matches("_bucket").to_owned(),
        }
    }
}

/// Asked of gauges; X is the metric.
const GAUGES: &[&str] = &[
    "X",
    "X offset 20s",
    "-X",
    "X * 2 + 1",
    "X > bool 10",
    "X % 7",
    "X ^ 2",
    "abs(X)",
    "ceil(X)",
    "sqrt(X)",
    "ln(X + 1)",
    "round(X, 0.5)",
    "clamp(X, 1, 100)",
    "sgn(X)",
    "exp(X / 1e12)",
    "floor(X)",
    "avg_over_time(X[40s])",
    "min_over_time(X[40s])",
    "max_over_time(X[40s])",
    "sum_over_time(X[40s])",
    "count_over_time(X[40s])",
    "stddev_over_time(X[40s])",
    "stdvar_over_time(X[40s])",
    "last_over_time(X[40s])",
    "quantile_over_time(0.3, X[40s])",
    "present_over_time(X[40s])",
    "delta(X[40s])",
    "idelta(X[40s])",
    "deriv(X[40s])",
    "predict_linear(X[40s], 60)",
    "changes(X[40s])",
];

/// Asked of counters.
const COUNTERS: &[&str] = &[
    "rate(X[30s])",
    "increase(X[40s])",
    "irate(X[30s])",
    "resets(X[60s])",
    "rate(X[30s] offset 10s)",
    "sum(rate(X[30s]))",
    "sum by (job) (rate(X[30s]))",
    "topk(3, rate(X[30s]))",
    "max_over_time(rate(X[20s])[40s:10s])",
    "avg_over_time(sum(rate(X[20s]))[40s:5s])",
    "min_over_time(X[40s:10s])",
    "sum_over_time(X[30s:5s] offset 10s)",
];

/// Asked of classic histograms; X is the name without its ending.
const HISTOGRAMS: &[&str] = &[
    "histogram_quantile(0.9, rate(X_bucket[30s]))",
    "histogram_quantile(0.5, sum by (le) (rate(X_bucket[30s])))",
    "histogram_quantile(0.99, sum by (le, instance) (increase(X_bucket[40s])))",
    "rate(X_sum[30s]) / rate(X_count[30s])",
    "sum(X_count) by (instance)",
    "X_bucket{le=\"+Inf\"} == ignoring(le) X_count",
    "X_bucket{le=\"+Inf\"} - ignoring(le) X_count",
];

/// Aggregations, matching, sets, labels: asked of any metric of the generators.
const ANY: &[&str] = &[
    "sum(X)",
    "avg(X)",
    "min(X)",
    "max(X)",
    "count(X)",
    "group(X)",
    "stddev(X)",
    "stdvar(X)",
    "quantile(0.7, X)",
    "sum by (instance) (X)",
    "avg without (instance) (X)",
    "bottomk(2, X)",
    "count_values(\"v\", round(X / 1e9))",
    "X / on(instance) group_left() scrape_samples_scraped",
    "X * on(instance, job) group_left() up",
    "X and on(instance) (up == 1)",
    "X unless on(instance) up{job=\"node\"}",
    "X or up",
    "X{instance=~\".+\"}",
    "X{instance!~\"nothing.*\",job!=\"\"}",
    "label_replace(X, \"host\", \"$1\", \"instance\", \"(.*):.*\")",
    "label_join(X, \"where\", \"-\", \"job\", \"instance\")",
    "sort(X)",
    "sort_desc(X)",
    "timestamp(X)",
    "scalar(count(X)) + time() * 0",
    "count(X > 0) or vector(0)",
    "hour(timestamp(X))",
    "X @ end()",
    "sum_over_time(X[30s] @ end())",
    "X - X offset 15s",
    "X >= X",
    "X == on(instance, job, __name__) group_left() sum by (instance, job, __name__) (X)",
    "absent(X{job=\"nowhere\"})",
];

/// Asked as they are.
const OTHERS: &[&str] = &[
    "up",
    "up == 1",
    "sum(up)",
    "count by (job) (up)",
    "absent_over_time(nothing_there[1m])",
    "minute()",
    "vector(1) + on() group_right() sum(up)",
    "1 + 2 * 3 ^ 2",
    "max(node_load1) - min(node_load1)",
    "node_memory_MemTotal_bytes - node_memory_MemFree_bytes",
    "sum by (mode) (rate(node_cpu_seconds_total[30s]))",
    "1 - avg(rate(node_cpu_seconds_total{mode=\"idle\"}[30s]))",
    "topk(2, sum by (instance) ({__name__=~\"metrics_.+_total\"}))",
    "count({__name__=~\"metrics.+\"}) by (instance)",
    "count(count by (__name__) ({__name__!=\"\"}))",
];

/// Everything that the first slice of the language has, over every kind of metric.
fn queries(families: &Families) -> Vec<String> {
    let Families { gauge, counter, histogram } = families;
    let gauges = [gauge.as_str(), "node_memory_MemFree_bytes", "node_load1"];
    let counters = [counter.as_str(), "node_cpu_seconds_total", "node_context_switches_total"];
    let mut queries: Vec<String> = OTHERS.iter().map(|&query| query.to_owned()).collect();
    let mut each = |templates: &[&str], metrics: &[&str]| {
        for template in templates {
            queries.extend(metrics.iter().map(|metric| template.replace('X', metric)));
        }
    };
    each(GAUGES, &gauges);
    each(COUNTERS, &counters);
    each(HISTOGRAMS, &[histogram]);
    each(ANY, &[gauge, counter]);
    queries
}

/// Label set to points.
type Answer = BTreeMap<String, Vec<(String, f64)>>;

/// Even queries are asked at an instant, odd ones over a range: by the length of their text, which is as good as any.
fn request(query: &str, end: f64) -> (&'static str, Vec<(&'static str, String)>) {
    // A time between two milliseconds' worth of scrapes: 2.42 counts a sample at the very start of a window, 3.x does not.
    let end = format!("{:.3}", end + 0.777);
    if query.len().is_multiple_of(2) || query.contains("sort") {
        return ("/api/v1/query", vec![("query", query.to_owned()), ("time", end)]);
    }
    let start = format!("{:.3}", end.parse::<f64>().unwrap_or_default() - 30.0);
    let parameters = vec![
        ("query", query.to_owned()),
        ("start", start),
        ("end", end),
        ("step", "7.5".to_owned()),
    ];
    ("/api/v1/query_range", parameters)
}

async fn ours(system: &System, query: &str, end: f64) -> Answer {
    let (path, mut parameters) = request(query, end);
    // One Prometheus shows no external labels.
    for label in ["cluster", "prometheus_replica", "prometheus_shard"] {
        parameters.push(("replicaLabels[]", label.to_owned()));
    }
    let parameters: Vec<(&str, &str)> =
        parameters.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let answer = system.ask(path, &parameters).await.unwrap();
    assert_eq!(answer["status"], "success", "{query}: {answer}");
    assert!(answer.get("warnings").is_none(), "{query}: {}", answer["warnings"]);
    points(&answer["data"])
}

async fn theirs(big: &Prometheus, query: &str, end: f64) -> Answer {
    let (path, parameters) = request(query, end);
    let parameters: Vec<(&str, &str)> =
        parameters.iter().map(|(name, value)| (*name, value.as_str())).collect();
    points(&big.get(path, &parameters).await)
}

fn points(data: &Value) -> Answer {
    let point = |point: &Value| (point[0].to_string(), number(&point[1]).unwrap());
    if data["resultType"] == "scalar" {
        return Answer::from([("scalar".to_owned(), vec![point(&data["result"])])]);
    }
    let series = data["result"].as_array().unwrap().iter().map(|series| {
        let points = match &series["values"] {
            Value::Array(values) => values.iter().map(point).collect(),
            _ => vec![point(&series["value"])],
        };
        (series["metric"].to_string(), points)
    });
    series.collect()
}

/// The first difference, if there is one.
fn difference(ours: &Answer, theirs: &Answer) -> Option<String> {
    for labels in ours.keys().chain(theirs.keys()) {
        let (Some(ours), Some(theirs)) = (ours.get(labels), theirs.get(labels)) else {
            let side = if ours.contains_key(labels) { "only ours" } else { "only theirs" };
            return Some(format!("{side}: {labels} ({} and {} series)", ours.len(), theirs.len()));
        };
        let times = |points: &[(String, f64)]| {
            points.iter().map(|(time, _)| time.clone()).collect::<Vec<_>>()
        };
        if times(ours) != times(theirs) {
            return Some(format!("{labels}: times {:?} and {:?}", times(ours), times(theirs)));
        }
        let unequal = ours.iter().zip(theirs).find(|((_, a), (_, b))| !equal(*a, *b));
        if let Some(((time, a), (_, b))) = unequal {
            return Some(format!("{labels} at {time}: {a} and {b}"));
        }
    }
    None
}

fn equal(a: f64, b: f64) -> bool {
    a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= TOLERANCE * a.abs().max(b.abs())
}
