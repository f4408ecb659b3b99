//! The queries, and how much less CPU than Prometheus each may take.

pub struct Query {
    pub number: usize,
    pub text: &'static str,
    pub bound: Bound,
}

/// Prometheus' CPU time over ours, at least.
pub struct Bound {
    pub must: f64,
    pub goal: f64,
}

const fn bound(must: f64, goal: f64) -> Bound {
    Bound { must, goal }
}

/// Big matrices.
const MATRIX: Bound = bound(3.0, 5.0);
/// Few series out of many.
const FEW: Bound = bound(6.0, 10.0);
const COMPARED: Bound = bound(6.0, 25.0);
/// A series per pod.
const BY_POD: Bound = bound(8.0, 12.0);
/// With a scalar, and joins.
const BINARY: Bound = bound(8.0, 12.0);
/// A selection in each window.
const WINDOW: Bound = bound(5.0, 8.0);

const fn query(number: usize, text: &'static str, bound: Bound) -> Query {
    Query { number, text, bound }
}

pub const QUERIES: [Query; 15] = [
    query(1, "http_requests_total", MATRIX),
    query(2, "sum(http_requests_total)", FEW),
    query(3, "sum by (pod) (http_requests_total)", BY_POD),
    query(4, "topk(2, http_requests_total)", FEW),
    query(5, "rate(http_requests_total[5m])", MATRIX),
    query(6, "sum(rate(http_requests_total[5m]))", FEW),
    query(7, "sum by (pod) (rate(http_requests_total[5m]))", BY_POD),
    query(8, "http_requests_total * 10", BINARY),
    query(
        9,
        "http_requests_total{container=\"c1\"} / ignoring(container) http_requests_total{container=\"c2\"}",
        BINARY,
    ),
    query(
        10,
        "http_requests_total / on(pod) group_left http_requests_total{container=\"c0\"}",
        BINARY,
    ),
    query(11, "quantile_over_time(0.9, http_requests_total[10m])", WINDOW),
    query(12, "max_over_time(http_requests_total[1h])", MATRIX),
    query(13, "sum by (pod) (rate(http_requests_total[1h]))", BY_POD),
    query(14, "avg_over_time(sum(rate(http_requests_total[5m]))[30m:1m])", FEW),
    query(15, "count(http_requests_total > 1000)", COMPARED),
];
