//! `/api/v1/query_explain` and `/api/v1/query_range_explain`, and the `analysis` of a query: Thanos' paths, parameters
//! and keys (pkg/api/query/v1.go), with more keys beside them.

use std::time::Duration;

use axum::extract::State;
use promql::{Operator, Stats};
use serde_json::{Value, json};

use super::Api;
use super::params::{Params, now};
use super::query::{Times, check_accepted, max_resolution, options, range_times};
use super::respond::{Answer, ApiError};

pub(super) async fn instant(State(api): State<Api>, params: Params) -> Result<Answer, ApiError> {
    let time = params.time("time")?.unwrap_or_else(now);
    explained(&api, &params, Times::Instant(time))
}

pub(super) async fn range(State(api): State<Api>, params: Params) -> Result<Answer, ApiError> {
    let times = range_times(&api, &params)?;
    explained(&api, &params, times)
}

fn explained(api: &Api, params: &Params, times: Times) -> Result<Answer, ApiError> {
    check_accepted(params)?;
    let query = params.get("query").unwrap_or_default();
    let options = options(params, api, max_resolution(params, api, times)?)?;
    let plan = match times {
        Times::Instant(time) => api.engine.explain_instant(query, time, &options),
        Times::Range { start, end, step } => {
            api.engine.explain_range(query, start, end, step, &options)
        }
    };
    Ok(Answer::of(&tree(&plan?)))
}

/// Thanos' `ExplainOutputNode`.
fn tree(operator: &Operator) -> Value {
    let mut node = json!({ "name": operator.name() });
    if !operator.children.is_empty() {
        node["children"] = operator.children.iter().map(tree).collect();
    }
    node
}

/// Thanos' `queryTelemetry`: the time of an operator includes that of those below it, `selfTime` does not.
pub(super) fn analysis(plan: &Operator, stats: &Stats) -> Value {
    let mut root = telemetry(plan);
    root["peakSamples"] = stats.peak_samples.into();
    root
}

fn telemetry(operator: &Operator) -> Value {
    let cost = operator.cost.unwrap_or_default();
    let mut node = json!({
        "name": operator.name(),
        "executionTime": go_duration(cost.total),
        "totalSamples": operator.total_samples(),
        "selfTime": go_duration(cost.own),
        "steps": operator.steps,
        "seriesIn": cost.series_in,
        "seriesOut": cost.series_out,
        "peakBytes": cost.peak_bytes,
    });
    if !operator.children.is_empty() {
        node["children"] = operator.children.iter().map(telemetry).collect();
    }
    node
}

/// As Go's `Duration.String` writes it: `1m2.5s`, `12.345ms`, `0s`.
fn go_duration(duration: Duration) -> String {
    if duration.is_zero() {
        return "0s".to_owned();
    }
    let minutes = duration.as_secs() / 60;
    if minutes == 0 {
        return format!("{duration:?}");
    }
    let rest = duration - Duration::from_secs(60 * minutes);
    let seconds = rest.as_secs_f64();
    match minutes / 60 {
        0 => format!("{minutes}m{seconds}s"),
        hours => format!("{hours}h{}m{seconds}s", minutes % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_in_go() {
        let cases = [
            (Duration::ZERO, "0s"),
            (Duration::from_nanos(1_500), "1.5µs"),
            (Duration::from_micros(12_345), "12.345ms"),
            (Duration::from_millis(59_900), "59.9s"),
            (Duration::from_millis(62_500), "1m2.5s"),
            (Duration::from_secs(7_325), "2h2m5s"),
        ];
        for (duration, expected) in cases {
            assert_eq!(go_duration(duration), expected);
        }
    }
}
