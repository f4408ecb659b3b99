//! Every function and operator over every shape of argument.

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

/// Binary operators stand for OP.
const ARITHMETIC_SHAPES: &[&str] = &[
    "temperature OP 3",
    "2 OP temperature",
    "7 OP -3",
    "time() OP 1000",
    "scalar(load{instance=\"a:9100\"}) OP level",
    "odd OP 0",
    "odd OP 2.5",
    "-1 OP odd",
    "odd OP odd",
    "temperature OP temperature offset 5m",
    "temperature OP ignoring (sensor) group_left () sum without (sensor) (temperature)",
    "sum by (instance) (http_requests_total) OP on (instance) group_right () memory_bytes",
    "memory_bytes OP on (instance) load",
    "memory_bytes OP ignoring (job) load",
    "http_requests_total OP on (job, instance) group_left (version, branch) build_info",
    "build_info OP on (job, instance) group_right (version) up",
    "up OP on (job, instance) group_left (missing, version) build_info",
    "flaky OP gappy",
    "flaky OP on (instance) group_left () sum by (instance) (gappy)",
    "{site=\"north\"} OP on (sensor) {site=\"south\"}",
    "http_requests_total OP on (job) up",
    "load OP on (instance) http_requests_total",
    "http_requests_total OP ignoring (code) group_left () http_requests_total{code=\"200\"}",
    "load OP nothing",
    "rate(http_requests_total[5m]) OP ignoring (code, method) group_left () rate(request_seconds_count[5m])",
    "temperature OP vector(2)",
    "sum(temperature) OP vector(2)",
    "temperature OP on () group_left () vector(2)",
    "level OP level{state!=\"red\"}",
];

/// Set operators stand for OP.
const SET_SHAPES: &[&str] = &[
    "temperature OP temperature{sensor=\"1\"}",
    "temperature{site=\"north\"} OP on (sensor) temperature{site=\"south\",sensor!=\"2\"}",
    "http_requests_total OP on (job, instance) (up == 1)",
    "http_requests_total OP ignoring (code, method) (up == 0)",
    "flaky OP gappy",
    "flaky OP on (instance) gappy",
    "load OP nothing",
    "nothing OP load",
    "load OP on () vector(1)",
    "load OP ignoring (instance) nothing",
    "up OP build_info OP load",
    "(up OP flaky) OP on (instance) gappy",
    "(temperature > 18) OP (temperature < 10)",
    "odd OP (odd > 0)",
    "sum by (job) (up) OP on (job) count by (job) (http_requests_total)",
];

/// What fits no pattern.
const OTHERS: &[&str] = &[
    "1",
    "-1",
    "0x1F",
    "1e3",
    "Inf",
    "-Inf",
    "NaN",
    "-0",
    "0 * -1",
    "\"text\"",
    "'single ünï'",
    "`raw\\n`",
    "(((2)))",
    "time()",
    "pi()",
    "-pi()",
    "1 + 2 * 3 ^ 2 ^ 0.5",
    "-2 ^ 2",
    "5 % 3 % 2",
    "2 ^ 3 ^ 2",
    "1 / 0",
    "-1 / 0",
    "0 / 0",
    "1 > bool 2",
    "2 >= bool 2",
    "NaN == bool NaN",
    "1 atan2 -1",
    "-7 % 3",
    "7 % -3",
    "7 % 0",
    "vector(1)",
    "vector(time())",
    "scalar(temperature)",
    "scalar(load{instance=\"a:9100\"})",
    "scalar(nothing)",
    "scalar(vector(NaN))",
    "scalar(sum(temperature)) + scalar(once)",
    "hour()",
    "minute()",
    "month()",
    "year()",
    "day_of_week()",
    "day_of_month()",
    "day_of_year()",
    "days_in_month()",
    "hour(vector(1e10))",
    "year(vector(-1e10))",
    "month(vector(1709164800))",
    "days_in_month(vector(951782400))",
    "day_of_year(vector(1735603200.9))",
    "day_of_week(vector(-86401))",
    "minute(vector(NaN))",
    "year(vector(Inf))",
    "hour(vector(1e19))",
    "month(odd)",
    "year(timestamp(temperature))",
    "absent(nothing)",
    "absent(nothing{a=\"b\"})",
    "absent(nothing{a=\"b\",c=~\"d\",e!=\"f\"})",
    "absent(load)",
    "absent(nothing{a=\"b\",a=\"c\"})",
    "absent({job=\"nowhere\",instance=\"x\"})",
    "absent(sum(nothing{a=\"b\"}))",
    "absent(flaky{instance=\"a:9100\"})",
    "absent(rate(nothing{a=\"b\"}[5m]))",
    "absent(nothing{a=\"b\"} offset 5m)",
    "absent(nothing{a=\"b\"} + nothing{c=\"d\"})",
    "absent((nothing{a=\"b\"}))",
    "absent(-nothing{a=\"b\"})",
    "absent(nothing{a=\"\"})",
    "absent_over_time(nothing{a=\"b\"}[5m])",
    "absent_over_time(flaky{instance=\"b:9100\"}[3m])",
    "absent_over_time(nothing{a=~\"b\"}[5m] offset 5m)",
    "absent_over_time(once[10m])",
    "absent_over_time(nothing{a=\"b\"}[5m7s:])",
    "absent_over_time(sum(nothing{a=\"b\"})[5m7s:1m])",
    "sort(temperature)",
    "sort_desc(temperature)",
    "sort(odd)",
    "sort_desc(odd)",
    "sort(nothing)",
    "sort(sum by (job) (up))",
    "sort_desc(rate(http_requests_total[5m]))",
    "sort(flaky)",
    "timestamp(temperature)",
    "timestamp(temperature offset 1m)",
    "timestamp(flaky)",
    "timestamp(temperature @ 1700003607.777)",
    "timestamp((temperature))",
    "timestamp(timestamp(temperature))",
    "timestamp(temperature * 1)",
    "timestamp(sum(load))",
    "timestamp(vector(1))",
    "timestamp(load @ end())",
    "time() - timestamp(uneven)",
    "round(odd)",
    "round(temperature, 0.1)",
    "round(temperature, 5)",
    "round(odd, 2)",
    "round(temperature, 0)",
    "round(level, -2)",
    "round(temperature, NaN)",
    "round(load, 1e-3)",
    "round(odd, Inf)",
    "round(level / 2)",
    "clamp(temperature, 0, 18)",
    "clamp(odd, -1, 1)",
    "clamp(temperature, 5, 1)",
    "clamp(temperature, NaN, 1)",
    "clamp(temperature, 1, NaN)",
    "clamp(odd, -Inf, Inf)",
    "clamp_min(odd, 0)",
    "clamp_max(odd, 0)",
    "clamp_min(temperature, NaN)",
    "clamp_max(temperature, scalar(load{instance=\"a:9100\"}) * 30)",
    "clamp(level, 1, 1)",
    "clamp_min(constant, -0)",
    "label_replace(temperature, \"copy\", \"$1\", \"site\", \"(.*)\")",
    "label_replace(temperature, \"site\", \"$1$1\", \"site\", \"(n).*\")",
    "label_replace(temperature, \"site\", \"\", \"sensor\", \"1\")",
    "label_replace(temperature, \"__name__\", \"other\", \"sensor\", \"1\")",
    "label_replace(http_requests_total, \"where\", \"${host}/$port\", \"instance\", \"(?P<host>.*):(?P<port>.*)\")",
    "label_replace(text, \"other\", \"<$1>\", \"value\", \"(.+)\")",
    "label_replace(load, \"missing\", \"x\", \"missing\", \"\")",
    "label_replace(load, \"instance\", \"same\", \"instance\", \".*\")",
    "label_replace(load, \"host\", \"$0-$2\", \"instance\", \"([a-b]):(.*)\")",
    "label_replace(load, \"host\", \"$$1\", \"instance\", \"(.):.*\")",
    "label_replace(rate(http_requests_total[5m]), \"code\", \"${1}xx\", \"code\", \"(.)..\")",
    "label_replace(load, \"host\", \"x\", \"instance\", \"(\")",
    "label_replace(vector(1), \"a\", \"b\", \"\", \"\")",
    "label_join(temperature, \"joined\", \"-\", \"site\", \"sensor\")",
    "label_join(load, \"instance\", \"\")",
    "label_join(load, \"joined\", \",\", \"instance\", \"missing\", \"instance\")",
    "label_join(temperature, \"site\", \"_\", \"sensor\", \"site\")",
    "label_join(load, \"__name__\", \"_\", \"instance\")",
    "label_join(http_requests_total, \"code\", \"\", \"missing\")",
    "-temperature",
    "+temperature",
    "-sum(load)",
    "-(load - 1)",
    "-{job=\"api\",instance=\"a:9100\"}",
    "- - load",
    "holt_winters_is_not_a_function(load[5m])",
    "rate(load)",
    "sum(load[5m])",
    "load[5m]",
    "load[5m7s:1m]",
    "odd[3m]",
    "flaky[10m] offset 5m",
    "sum by (job) (rate(http_requests_total[5m]))[10m7s:1m]",
    "1 > 2",
    "load and 1",
    "sum(1)",
    "topk(load, load)",
    "abs(1)",
    "time(1)",
    "load offset 5m offset 5m",
    "load{",
    "load{instance=~\"*\"}",
    "{}",
    "{instance=\"\"}",
    "{instance=~\".*\"}",
    "rate(load[0s])",
    "load @ start() offset 5m",
    "sum(load @ 1700003607.777) + sum(load)",
    "load @ -1",
    "load @ 1e10",
    "load @ NaN",
    "{__name__=~\"lo.*|up\"}",
    "{__name__=\"load\"}",
    "{__name__!=\"load\",instance=\"a:9100\",job=\"\"}",
    "count({__name__!=\"\"}) by (__name__)",
    "text{value=\"line\\nbreak\"}",
    "text{value=~\"say.*\"}",
    "text{value=\"back\\\\slash\"}",
    "text{value=`a.b`}",
    "text{value=~\"a\\\\.b\"}",
    "text{value=\"\\u00fcn\\u00efcode ☃\"}",
    "count_values(\"x\", text)",
    "count by (value) (text)",
    "sum by (le) (rate(request_seconds_bucket[5m]))",
    "rate(request_seconds_sum[5m]) / rate(request_seconds_count[5m])",
    "sum(rate(request_seconds_bucket{le=\"1\"}[5m])) / sum(rate(request_seconds_count[5m]))",
    "max_over_time(sum by (job) (rate(http_requests_total[2m]))[30m7s:1m])",
    "avg_over_time(max_over_time(temperature[5m7s:1m])[30m7s:5m])",
    "predict_linear(temperature[10m7s:1m], 3600)",
    "avg(avg_over_time(rate(node_cpu_seconds_total{mode!=\"idle\"}[2m])[10m7s:]))",
    "topk(3, sum by (instance, code) (rate(http_requests_total[5m])))",
    "quantile(0.9, rate(http_requests_total[5m]))",
    "count(up == 1) / count(up)",
    "sum(up) by (job) < bool 2",
    "(up == 0) * on (instance, job) group_left (version) build_info",
    "avg without (cpu) (rate(node_cpu_seconds_total{mode=\"idle\"}[5m])) * 100",
    "sum(flaky) or vector(0)",
    "max_over_time((time() - timestamp(uneven))[20m7s:1m])",
    "stddev_over_time(load[10m]) / avg_over_time(load[10m])",
    "sum_over_time(up[10m]) / count_over_time(up[10m])",
    "group by (version) (build_info)",
    "resets(young_total[1h]) + changes(level[1h])",
    "histogram_count(load)",
    "histogram_sum(load)",
    "histogram_fraction(0, 1, load)",
    "histogram_quantile(0.5, load)",
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
