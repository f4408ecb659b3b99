//! Every function and operator over every shape of argument.

use super::shapes::{ARITHMETIC_SHAPES, NATIVE, OF_NATIVE, OTHERS, SET_SHAPES};

/// From a vector to a vector, value by value.
pub const MATH: &[&str] = &[
    "abs",
    "acos",
    "acosh",
    "asin",
    "asinh",
    "atan",
    "atanh",
    "ceil",
    "cos",
    "cosh",
    "day_of_month",
    "day_of_week",
    "day_of_year",
    "days_in_month",
    "deg",
    "exp",
    "floor",
    "hour",
    "ln",
    "log10",
    "log2",
    "minute",
    "month",
    "rad",
    "round",
    "sgn",
    "sin",
    "sinh",
    "sqrt",
    "tan",
    "tanh",
    "timestamp",
    "year",
];

/// Over the samples of counters.
pub const COUNTER_RANGES: &[&str] = &["rate", "increase", "irate", "resets"];

/// Over the samples of gauges.
pub const GAUGE_RANGES: &[&str] = &["delta", "idelta", "deriv", "changes"];

/// Over any samples.
pub const OVER_TIME: &[&str] = &[
    "avg_over_time",
    "min_over_time",
    "max_over_time",
    "sum_over_time",
    "count_over_time",
    "stddev_over_time",
    "stdvar_over_time",
    "last_over_time",
    "present_over_time",
];

/// Aggregations without a parameter.
pub const AGGREGATIONS: &[&str] =
    &["sum", "avg", "count", "min", "max", "group", "stddev", "stdvar"];

pub const ARITHMETIC: &[&str] = &["+", "-", "*", "/", "%", "^", "atan2"];
pub const COMPARISONS: &[&str] = &["==", "!=", ">", "<", ">=", "<="];
pub const SETS: &[&str] = &["and", "or", "unless"];

const VECTORS: &[&str] = &[
    "temperature",
    "temperature{site!=\"\"} - 18",
    "http_requests_total{code=~\"4..|500\"}",
    "odd",
    "level / 4",
    "flaky offset 7m",
    "gappy",
    "load @ 1700003607.777",
    "uneven @ end()",
    "sum by (job) (http_requests_total)",
    "rate(node_cpu_seconds_total[5m])",
    "young_total offset -10m",
    "nothing",
];

const MATRICES: &[&str] = &[
    "http_requests_total[5m]",
    "node_cpu_seconds_total{mode=\"user\"}[90s]",
    "sparse_total[20m]",
    "young_total[3m]",
    "young_total[1h] @ 1700004007.777",
    "temperature[10m]",
    "temperature{site=\"\"}[2m] offset 11m",
    "odd[7m]",
    "flaky[10m]",
    "gappy[4m] offset -5m",
    "uneven[17m] @ start()",
    "constant[5m]",
    "once[1h]",
    "twice[1h]",
    "level[1h]",
    "request_seconds_bucket{job=\"api\"}[6m]",
    "temperature[13m7s:1m]",
    "rate(http_requests_total[2m])[9m7s:30s]",
    "odd[11m7s:] offset 3m",
    "max by (site) (temperature)[20m7s:2m] @ end()",
    "(flaky * 2)[15m7s:10s]",
    "vector(time())[5m7s:]",
    "nothing[5m]",
];

const GROUPINGS: &[&str] = &[
    "",
    " by ()",
    " without ()",
    " by (job)",
    " by (instance, job)",
    " without (instance)",
    " by (missing)",
    " without (site, kind, missing)",
    " by (__name__)",
];

const GROUPED: &[&str] = &[
    "temperature",
    "http_requests_total",
    "odd",
    "odd{kind!~\"nan|mixed|.*inf.*\"}",
    "rate(http_requests_total[5m])",
    "flaky",
    "nothing",
    "{job=\"api\"}",
];

/// The systematic part, in a fixed order.
pub fn texts() -> Vec<String> {
    let mut texts: Vec<String> = OTHERS.iter().map(|&text| text.to_owned()).collect();
    for function in MATH {
        texts.extend(VECTORS.iter().map(|vector| format!("{function}({vector})")));
    }
    for function in [COUNTER_RANGES, GAUGE_RANGES, OVER_TIME, &["absent_over_time"]].concat() {
        texts.extend(MATRICES.iter().map(|matrix| format!("{function}({matrix})")));
    }
    ranges_with_parameters(&mut texts);
    aggregations(&mut texts);
    operators(&mut texts);
    quantiles_of_buckets(&mut texts);
    for template in OF_NATIVE {
        texts.extend(NATIVE.iter().map(|vector| template.replace('X', vector)));
    }
    // Over a reset its counts are negative, of which there is no quantile.
    texts.push("histogram_count(delta(native_seconds[3m]))".to_owned());
    for function in ["count_over_time", "present_over_time", "absent_over_time", "delta"] {
        texts.push(format!("{function}(native_seconds[10m])"));
    }
    texts
}

/// Operators between scalars, and signs.
pub fn of_scalars() -> Vec<String> {
    let signs = ["+temperature", "+time()", "-time()", "-+scalar(sum(up))"];
    let mut texts: Vec<String> = signs.map(str::to_owned).to_vec();
    for operator in ARITHMETIC {
        texts.push(format!("time() {operator} scalar(sum(up))"));
        texts.push(format!("-2.5 {operator} 7"));
    }
    for operator in COMPARISONS {
        texts.push(format!("scalar(sum(up)) {operator} bool 3"));
        texts.push(format!("time() {operator} bool time()"));
    }
    texts
}

fn ranges_with_parameters(texts: &mut Vec<String>) {
    for matrix in MATRICES {
        for phi in
            ["0.5", "0.93", "0", "1", "-0.1", "1.1", "NaN", "scalar(load{instance=\"a:9100\"})"]
        {
            texts.push(format!("quantile_over_time({phi}, {matrix})"));
        }
        for ahead in ["0", "600", "-1e4", "scalar(sum(up))"] {
            texts.push(format!("predict_linear({matrix}, {ahead})"));
        }
        for factors in ["0.5, 0.5", "0.1, 0.9", "0, 0.5", "0.5, 1", "2, 0.5"] {
            texts.push(format!("double_exponential_smoothing({matrix}, {factors})"));
        }
    }
}

fn aggregations(texts: &mut Vec<String>) {
    for vector in GROUPED {
        for grouping in GROUPINGS {
            for aggregation in AGGREGATIONS {
                texts.push(format!("{aggregation}{grouping} ({vector})"));
            }
        }
        for (at, parameter) in
            ["0.5", "0", "1", "-0.5", "1.5", "NaN", "0.77"].into_iter().enumerate()
        {
            texts.push(format!("quantile{} ({parameter}, {vector})", GROUPINGS[at]));
        }
        for (at, parameter) in
            ["1", "2", "3", "0", "-1", "100", "1.9", "NaN", "1e20", "scalar(sum(up))"]
                .into_iter()
                .enumerate()
        {
            let grouping = GROUPINGS[at % GROUPINGS.len()];
            texts.push(format!("topk{grouping} ({parameter}, {vector})"));
            texts.push(format!("bottomk{grouping} ({parameter}, {vector})"));
        }
        for grouping in GROUPINGS {
            texts.push(format!("count_values{grouping} (\"instance\", {vector})"));
            texts.push(format!("count_values{grouping} (\"seen\", round({vector} / 1000) )"));
        }
    }
}

fn operators(texts: &mut Vec<String>) {
    for shape in ARITHMETIC_SHAPES {
        for operator in ARITHMETIC {
            texts.push(shape.replace("OP", operator));
        }
        for (at, operator) in COMPARISONS.iter().enumerate() {
            texts.push(shape.replace("OP", &format!("{operator} bool")));
            if at % 2 == 0 {
                texts.push(shape.replace("OP", operator));
            }
        }
    }
    for shape in SET_SHAPES {
        texts.extend(SETS.iter().map(|operator| shape.replace("OP", operator)));
    }
}

fn quantiles_of_buckets(texts: &mut Vec<String>) {
    let vectors = [
        "request_seconds_bucket",
        "rate(request_seconds_bucket[5m])",
        "increase(request_seconds_bucket{job=\"web\"}[10m])",
        "sum by (le, job) (rate(request_seconds_bucket[5m]))",
        "sum by (le) (rate(request_seconds_bucket[5m]))",
        "sum without (le) (request_seconds_bucket)",
        "sum(request_seconds_bucket)",
        "broken_bucket",
        "rate(broken_bucket[10m])",
        "request_seconds_bucket{le=\"+Inf\"}",
        "broken_bucket offset 10m",
        "nothing",
    ];
    for vector in vectors {
        for phi in [
            "0",
            "0.01",
            "0.5",
            "0.9",
            "0.999",
            "1",
            "-1",
            "1.5",
            "NaN",
            "scalar(load{instance=\"a:9100\"})",
        ] {
            texts.push(format!("histogram_quantile({phi}, {vector})"));
        }
    }
}
