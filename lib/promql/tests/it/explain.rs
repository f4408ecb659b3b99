//! Plans as people read them, and what analyzing a query tells.

use expect_test::{Expect, expect};
use model::Labels;
use promql::parse::ParseOptions;
use promql::script::Memory;
use promql::{Engine, EngineOptions, Operator, QueryOptions};

fn engine() -> Engine {
    Engine::new(EngineOptions { parser: ParseOptions::ALL, ..EngineOptions::default() })
}

/// Three jobs of two pods each, a sample every 30 s for ten minutes.
fn memory() -> Memory {
    let mut memory = Memory::default();
    for job in ["a", "b", "c"] {
        for pod in ["x", "y"] {
            let labels = [("__name__", "requests_total"), ("job", job), ("pod", pod)];
            let samples = (0..21).map(|n| (n * 30_000, n as f64));
            memory.append(Labels::from_pairs(labels), samples);
        }
    }
    memory
}

fn range(query: &str, expected: &Expect) {
    let options = QueryOptions::default();
    let plan = engine().explain_range(query, 300_000, 600_000, 60_000, &options).unwrap();
    expected.assert_eq(&plan.to_string());
}

#[test]
fn a_plan_shows_operators_times_matchers_and_hints() {
    range(
        "sum by (job) (rate(requests_total{pod=~\"x|y\"}[5m] offset 1m)) > 2",
        &expect![[r#"
        [query] from 300 to 600 step 1m, 6 steps, lookback 5m
        └─ [binary] each > 2
           └─ [aggregate] sum by (job)
              └─ [window] rate over 5m
                 └─ [select] requests_total{pod=~"x|y"}, offset 1m, reads -59.999 to 540, hints func=rate by=(job) range=5m step=1m"#]],
    );
}

#[test]
fn what_is_the_same_at_every_step_is_evaluated_once() {
    range(
        "requests_total + on (job, pod) group_left () max_over_time(requests_total[1m:10s] @ 500)",
        &expect![[r#"
            [query] from 300 to 600 step 1m, 6 steps, lookback 5m
            └─ [join] + on (job, pod) group_left ()
               ├─ [select] requests_total, reads 0.001 to 600, hints step=1m
               └─ [once] and the same at every step
                  └─ [window] max_over_time over 1m
                     └─ [subquery] from 450 to 500 step 10s, 6 steps, @ 500
                        └─ [select] requests_total, reads 150.001 to 500, hints func=max_over_time step=10s"#]],
    );
    range(
        "topk(scalar(requests_total{job=\"a\"} @ 1), -requests_total * (1 + 2))",
        &expect![[r#"
            [query] from 300 to 600 step 1m, 6 steps, lookback 5m
            └─ [aggregate] topk, parameter once scalar(…)
               ├─ [select] requests_total{job="a"}, @ 1, reads -298.999 to 1, hints func=scalar step=1m
               └─ [binary] each * once (1 + 2)
                  └─ [map] -
                     └─ [select] requests_total, reads 0.001 to 600, hints func=topk step=1m"#]],
    );
}

#[test]
fn every_node_has_a_line() {
    let query = r#"
        sort_desc(label_join(label_replace(absent(nope{a="b"}), "x", "y", "z", ".*"), "j", ",", "x"))
        or absent_over_time(nope[1m])
        or histogram_quantile(0.9, rate(h_bucket[1m]))
        or histogram_quantiles(h, "q", 0.5, 0.9)
        or histogram_fraction(0, time(), h)
        or histogram_count(h)
        or info(up, {data="d"})
        or count_values("v", vector(time()))
        or clamp(up, 1, 2) unless ignoring (x) timestamp(up smoothed)
        or quantile_over_time(0.5, up[5m])
        or increase(up[5m] anchored)"#;
    let options = QueryOptions::default();
    let plan = engine().explain_instant(query, 5_000, &options).unwrap();
    expect![[r#"
        [query] at 5, lookback 5m
        └─ [set] or
           ├─ [set] or
           │  ├─ [set] or
           │  │  ├─ [set] or
           │  │  │  ├─ [set] or
           │  │  │  │  ├─ [set] or
           │  │  │  │  │  ├─ [set] or
           │  │  │  │  │  │  ├─ [set] or
           │  │  │  │  │  │  │  ├─ [set] or
           │  │  │  │  │  │  │  │  ├─ [set] or
           │  │  │  │  │  │  │  │  │  ├─ [sort] by value descending
           │  │  │  │  │  │  │  │  │  │  └─ [label_join] j from (x)
           │  │  │  │  │  │  │  │  │  │     └─ [label_replace] x from z
           │  │  │  │  │  │  │  │  │  │        └─ [absent] {a="b"}
           │  │  │  │  │  │  │  │  │  │           └─ [select] nope{a="b"}, reads -294.999 to 5, hints func=absent
           │  │  │  │  │  │  │  │  │  └─ [window] absent over 1m {}
           │  │  │  │  │  │  │  │  │     └─ [select] nope, reads -54.999 to 5, hints func=absent_over_time range=1m
           │  │  │  │  │  │  │  │  └─ [histogram] quantile 0.9
           │  │  │  │  │  │  │  │     └─ [window] rate over 1m
           │  │  │  │  │  │  │  │        └─ [select] h_bucket, reads -54.999 to 5, hints func=rate range=1m
           │  │  │  │  │  │  │  └─ [histogram] quantiles 0.5, 0.9 as q
           │  │  │  │  │  │  │     └─ [select] h, reads -294.999 to 5, hints func=histogram_quantiles
           │  │  │  │  │  │  └─ [histogram] fraction between 0 and time()
           │  │  │  │  │  │     └─ [select] h, reads -294.999 to 5, hints func=histogram_fraction
           │  │  │  │  │  └─ [histogram] count
           │  │  │  │  │     └─ [select] h, reads -294.999 to 5, hints func=histogram_count, no buckets
           │  │  │  │  └─ [info] labels of {__name__="target_info"}
           │  │  │  │     └─ [select] up, reads -294.999 to 5, hints func=info
           │  │  │  └─ [aggregate] count_values by (v), values as v
           │  │  │     └─ [vector] vector(time())
           │  │  └─ [set] unless ignoring (x)
           │  │     ├─ [map] clamp, parameter 1, parameter 2
           │  │     │  └─ [select] up, reads -294.999 to 5, hints func=clamp
           │  │     └─ [timestamp] up, smoothed, reads -294.999 to 305, hints func=timestamp
           │  └─ [window] quantile_over_time over 5m, parameter 0.5
           │     └─ [select] up, reads -294.999 to 5, hints func=quantile_over_time range=5m
           └─ [window] increase over 5m
              └─ [select] up, anchored, reads -594.999 to 5, hints func=increase range=5m"#]].assert_eq(&plan.to_string());
}

fn costs(operator: &Operator, out: &mut Vec<String>) {
    let cost = operator.cost.unwrap();
    let below: u64 = operator.children.iter().map(|child| child.cost.unwrap().series_out).sum();
    assert!(operator.children.is_empty() || cost.series_in >= below, "{operator}");
    assert!(cost.total >= cost.own);
    out.push(format!(
        "{}: {} series to {}, {} samples",
        operator.kind, cost.series_in, cost.series_out, cost.samples
    ));
    operator.children.iter().for_each(|child| costs(child, out));
}

#[test]
fn analyzing_counts_series_samples_time_and_bytes_per_operator() {
    let options = QueryOptions { analyze: true, ..QueryOptions::default() };
    let query =
        "sum by (job) (rate(requests_total[5m])) / on (job) count by (job) (requests_total)";
    let result = engine().range(&memory(), query, 300_000, 600_000, 60_000, &options).unwrap();
    let analysis = result.analysis.unwrap();
    let mut lines = Vec::new();
    costs(&analysis, &mut lines);
    expect![[r#"
        query: 3 series to 3, 0 samples
        join: 6 series to 3, 0 samples
        aggregate: 6 series to 3, 0 samples
        window: 6 series to 6, 0 samples
        select: 6 series to 6, 120 samples
        aggregate: 6 series to 3, 0 samples
        select: 6 series to 6, 120 samples"#]]
    .assert_eq(&lines.join("\n"));
    let root = analysis.cost.unwrap();
    assert!(!root.total.is_zero());
    assert_eq!((root.peak_bytes, root.series_out), (result.stats.peak_bytes, 3));
    assert!(result.stats.peak_bytes > 0);
    assert_eq!(analysis.total_samples(), 120 + 120);
}

#[test]
fn a_subquery_hands_on_what_its_inside_gives() {
    let options = QueryOptions { analyze: true, ..QueryOptions::default() };
    let query = "max_over_time(sum by (job) (requests_total)[2m:30s])";
    let result = engine().instant(&memory(), query, 300_000, &options).unwrap();
    let mut lines = Vec::new();
    costs(&result.analysis.unwrap(), &mut lines);
    expect![[r#"
        query: 3 series to 3, 0 samples
        window: 3 series to 3, 0 samples
        subquery: 3 series to 3, 0 samples
        aggregate: 6 series to 3, 0 samples
        select: 6 series to 6, 66 samples"#]]
    .assert_eq(&lines.join("\n"));
}

#[test]
fn a_query_that_nobody_analyzes_has_no_analysis() {
    let result = engine().instant(&memory(), "requests_total", 300_000, &QueryOptions::default());
    assert_eq!(result.unwrap().analysis, None);
}

fn per_step(query: &str, expected: [u64; 3]) {
    let options = QueryOptions { per_step_stats: true, ..QueryOptions::default() };
    let result = engine().range(&memory(), query, 300_000, 420_000, 60_000, &options).unwrap();
    let steps = result.samples_per_step.unwrap();
    assert_eq!(steps.iter().map(|(_, n)| *n).collect::<Vec<_>>(), expected, "{query}");
    assert_eq!(steps.iter().map(|(_, n)| n).sum::<u64>(), result.stats.samples, "{query}");
    assert_eq!((steps[0].0, steps[2].0), (300_000, 420_000));
}

#[test]
fn samples_are_counted_per_step_as_prometheus_does() {
    per_step("requests_total", [6, 6, 6]);
    per_step("sum(requests_total) + sum(requests_total)", [12, 12, 12]);
    per_step("rate(requests_total{job=\"a\"}[1m])", [4, 4, 4]);
    per_step("changes(requests_total{job=\"a\"}[10m])", [22, 26, 30]);
    per_step("changes(requests_total{job=\"a\"}[1m] anchored)", [22, 24, 24]);
    // What is the same at every step counts at every step.
    per_step("requests_total @ 10", [6, 6, 6]);
    per_step("sum(requests_total{job=\"a\"}) > scalar(sum(requests_total @ 10))", [8, 8, 8]);
    // Of a subquery only the samples that it makes count.
    per_step("max_over_time(requests_total{job=\"a\"}[2m:30s])", [8, 8, 8]);
    per_step("1 + 1", [0, 0, 0]);
}
