//! `/api/v1/query` and `/api/v1/query_range`.

use std::time::{Duration, Instant};

use axum::extract::State;
use promql::storage::Storage;
use promql::{CancelFlag, QueryOptions, QueryResult, Value};

use super::Api;
use super::explain;
use super::json::render::Grid;
use super::params::{Params, now};
use super::respond::{Answer, ApiError, Data, Found};
use super::run::Work;
use crate::active::Description;
use crate::storage;
use crate::warning::{Warning, Warnings};

/// Most points of one series in a range query.
const MOST_POINTS: i64 = 11_000;

/// How many points a range query without a step has.
const DEFAULT_POINTS: i64 = 250;

/// When a query is evaluated, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub(super) enum Times {
    Instant(i64),
    Range { start: i64, end: i64, step: i64 },
}

impl Times {
    fn describe(self, query: &str) -> Description {
        let (kind, times) = match self {
            Self::Instant(time) => ("instant", (time, time, 0)),
            Self::Range { start, end, step } => ("range", (start, end, step)),
        };
        Description { query: query.to_owned(), kind, times }
    }

    fn grid(self) -> Grid {
        match self {
            Self::Instant(_) => Grid::default(),
            Self::Range { start, end, step } => {
                let steps = end.saturating_sub(start) / step.max(1);
                Grid { start, step, count: usize::try_from(steps).map_or(0, |steps| steps + 1) }
            }
        }
    }
}

pub(super) async fn instant(State(api): State<Api>, params: Params) -> Result<Answer, ApiError> {
    let time = params.time("time")?.unwrap_or_else(now);
    evaluate(api, &params, Times::Instant(time)).await
}

pub(super) async fn range(State(api): State<Api>, params: Params) -> Result<Answer, ApiError> {
    let times = range_times(&api, &params)?;
    if let Times::Range { start, end, .. } = times {
        api.metrics.requested_timespan.observe(end.saturating_sub(start) as f64 / 1000.0);
    }
    evaluate(api, &params, times).await
}

/// The times of a range query, checked.
pub(super) fn range_times(api: &Api, params: &Params) -> Result<Times, ApiError> {
    let start = params.required_time("start")?;
    let end = params.required_time("end")?;
    if end < start {
        let reason = "end timestamp must not be before start time";
        return Err(ApiError::parameter("end", reason));
    }
    let least = i64::try_from(api.settings.default_step.as_millis()).unwrap_or(i64::MAX);
    let step = params.milliseconds("step")?;
    let step = step.unwrap_or_else(|| (end.saturating_sub(start) / DEFAULT_POINTS).max(least));
    if step <= 0 {
        let reason = "zero or negative query resolution step widths are not accepted. Try a positive integer";
        return Err(ApiError::parameter("step", reason));
    }
    if end.saturating_sub(start) / step > MOST_POINTS {
        return Err(ApiError::bad_data(
            "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)",
        ));
    }
    Ok(Times::Range { start, end, step })
}

async fn evaluate(api: Api, params: &Params, times: Times) -> Result<Answer, ApiError> {
    let limit = usize::try_from(params.limit()?).unwrap_or(usize::MAX);
    let stats = params.get("stats").map(str::to_owned);
    let wanted = Wanted {
        analysis: params.bool("analyze")?.unwrap_or(false),
        samples_per_step: stats.as_deref() == Some("all"),
    };
    let outcome = outcome(&api, params, times, wanted).await?;
    let answer = answer(outcome, times, limit, stats.as_deref());
    if answer.incomplete {
        api.metrics.incomplete_answers.inc();
    }
    Ok(answer)
}

/// What is wanted beside the result.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Wanted {
    pub(super) analysis: bool,
    pub(super) samples_per_step: bool,
}

/// A query's result and what was around it.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) result: QueryResult,
    pub(super) warnings: Warnings,
    /// How long it waited for its turn.
    queued: Duration,
    /// How long it ran.
    took: Duration,
}

impl Outcome {
    pub(super) fn took(&self) -> Duration {
        self.took
    }
}

/// Runs a query.
pub(super) async fn outcome(
    api: &Api,
    params: &Params,
    times: Times,
    wanted: Wanted,
) -> Result<Outcome, ApiError> {
    check_accepted(params)?;
    let query = params.get("query").unwrap_or_default().to_owned();
    // Before waiting for the gate: a mistake needs no turn.
    api.parse(&query)?;
    let scope = api.scope(params)?;
    let max_resolution = max_resolution(params, api, times)?;
    let flag = CancelFlag::with_deadline(scope.deadline.into_std());
    let options = QueryOptions {
        cancel: flag.clone(),
        analyze: wanted.analysis,
        per_step_stats: wanted.samples_per_step,
        ..options(params, api, max_resolution)?
    };
    let work = Work {
        description: times.describe(&query),
        scope,
        wanted: storage::Wanted { replica_labels: api.replica_labels(params)?, max_resolution },
        flag,
    };
    let engine = api.engine.clone();
    let evaluation = move |storage: &dyn Storage| {
        let started = Instant::now();
        let result = match times {
            Times::Instant(time) => engine.instant(storage, &query, time, &options),
            Times::Range { start, end, step } => {
                engine.range(storage, &query, start, end, step, &options)
            }
        };
        Ok((result?, started.elapsed()))
    };
    let ran = api.run(work, evaluation).await?;
    let (result, took) = ran.value;
    Ok(Outcome { result, warnings: ran.warnings, queued: ran.queued, took })
}

/// How the engine is to evaluate what a request asks for.
pub(super) fn options(
    params: &Params,
    api: &Api,
    max_resolution: i64,
) -> Result<QueryOptions, ApiError> {
    let step = api.settings.default_subquery_step.as_millis();
    Ok(QueryOptions {
        lookback: lookback(params, api, max_resolution)?,
        default_subquery_step: i64::try_from(step).unwrap_or(i64::MAX),
        max_samples: api.settings.max_samples,
        max_memory: api.settings.max_memory_per_query,
        ..QueryOptions::default()
    })
}

/// How far to look back for samples that may be up to `max_resolution` milliseconds apart. As upstream takes it, none
/// means the default (promql/engine.go, `newRangeQuery`).
pub(super) fn lookback(
    params: &Params,
    api: &Api,
    max_resolution: i64,
) -> Result<Duration, ApiError> {
    match params.duration("lookback_delta")? {
        Some(lookback) if !lookback.is_zero() => Ok(lookback),
        Some(_) | None if api.settings.dynamic_lookback => {
            Ok(dynamic_lookback(api.settings.lookback, max_resolution))
        }
        Some(_) | None => Ok(api.settings.lookback),
    }
}

/// Long enough for the coarsest resolution that there may be: downsampled data has a sample every five minutes or every
/// hour (Thanos: `LookBackDeltaFactory`).
fn dynamic_lookback(least: Duration, max_resolution: i64) -> Duration {
    let most = Duration::from_millis(u64::try_from(max_resolution).unwrap_or(0));
    let enough = |levels: &[u64]| {
        let levels = levels.iter().map(|minutes| Duration::from_secs(60 * minutes));
        levels.fold(least, Duration::max)
    };
    if most > enough(&[5]) {
        enough(&[60])
    } else if most > least {
        enough(&[5])
    } else {
        least
    }
}

/// `max_source_resolution` in milliseconds: the coarsest data that will do, 0 for raw samples only.
pub(super) fn max_resolution(params: &Params, api: &Api, times: Times) -> Result<i64, ApiError> {
    const NAME: &str = "max_source_resolution";
    let given = params.get(NAME).filter(|given| *given != "auto");
    if given.is_some() {
        let given = params.duration(NAME)?.unwrap_or_default();
        return Ok(i64::try_from(given.as_millis()).unwrap_or(i64::MAX));
    }
    let is_auto = params.get(NAME).is_some() || api.settings.auto_downsampling;
    Ok(match times {
        // Five samples a step.
        Times::Range { step, .. } if is_auto => step / 5,
        Times::Range { .. } | Times::Instant(_) => 0,
    })
}

/// Parameters of Thanos that are read but make no difference: there is one engine.
pub(super) fn check_accepted(params: &Params) -> Result<(), ApiError> {
    params.bool("analyze")?;
    match params.get("engine") {
        None | Some("prometheus" | "thanos") => Ok(()),
        Some(other) => Err(ApiError::parameter("engine", format!("unknown engine {other:?}"))),
    }
}

fn answer(outcome: Outcome, times: Times, limit: usize, stats: Option<&str>) -> Answer {
    let stats_json = stats.map(|_| stats_json(&outcome));
    let Outcome { mut result, mut warnings, .. } = outcome;
    let cut = match &mut result.value {
        Value::Vector(samples) if limit > 0 && samples.len() > limit => {
            samples.truncate(limit);
            true
        }
        Value::Matrix(series) if limit > 0 && series.len() > limit => {
            series.truncate(limit);
            true
        }
        _ => false,
    };
    if cut {
        warnings.push(Warning::Truncated);
    }
    let analysis = result.analysis.as_ref().map(|plan| explain::analysis(plan, &result.stats));
    let data = Data::Result(Box::new(Found {
        value: result.value,
        grid: times.grid(),
        stats: stats_json,
        analysis: analysis.map(|analysis| analysis.to_string()),
        memory: result.memory,
    }));
    let mut answer = Answer::new(data, warnings);
    answer.warnings.extend(result.warnings);
    if let Some(other) = stats.filter(|stats| !matches!(*stats, "true" | "all")) {
        answer.warnings.push(format!(
            "value {other:?} for parameter \"stats\" is deprecated and will be rejected in the next major release, use \"true\" or \"all\""
        ));
    }
    answer.infos = result.infos;
    answer
}

/// Prometheus' shape (util/stats/query_stats.go), and the most memory that was reserved. The engine evaluates as it
/// reads, so that all its time is inner evaluation.
fn stats_json(outcome: &Outcome) -> String {
    let (queued, took) = (outcome.queued.as_secs_f64(), outcome.took.as_secs_f64());
    let mut samples = serde_json::json!({
        "totalQueryableSamples": outcome.result.stats.samples,
        "peakSamples": outcome.result.stats.peak_samples,
    });
    if let Some(steps) = &outcome.result.samples_per_step {
        let seconds =
            |(time, count): &(i64, u64)| serde_json::json!([*time as f64 / 1000.0, count]);
        samples["totalQueryableSamplesPerStep"] = steps.iter().map(seconds).collect();
    }
    serde_json::json!({
        "timings": {
            "evalTotalTime": took,
            "resultSortTime": 0,
            "queryPreparationTime": 0,
            "innerEvalTime": took,
            "execQueueTime": queued,
            "execTotalTime": queued + took,
        },
        "samples": samples,
        "memory": { "peakBytes": outcome.result.stats.peak_bytes },
    })
    .to_string()
}
