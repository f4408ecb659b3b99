//! `/api/v1/jobs`: series and samples of each job, and how they grow; `/api/v1/targets/top`: which targets are the
//! largest or grow the most. For one replica group: each further one holds as much again.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use axum::extract::{Query, State};
use axum::response::Response;
use proto::coordination::target_report::Health;
use serde::{Deserialize, Serialize};

use super::targets::churn;
use super::{Api, bad_data, success};
use crate::cycle::now_ms;
use crate::found::FoundTarget;
use crate::growth::counted;
use crate::plan::{SERIES_PER_SCRAPE, ShardId, Size, TargetView};
use crate::shard::told::Held;
use crate::status::Status;

/// Targets of a top list, at most.
const MOST_LISTED: usize = 10_000;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct JobsQuery {
    /// What growth is measured over; one hour by default, two at most.
    window: String,
    job: String,
}

#[derive(Debug, Serialize)]
struct Jobs {
    jobs: Vec<Job>,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Job {
    job: String,
    targets: usize,
    up: usize,
    down: usize,
    /// Targets that some replica group does not scrape.
    unassigned: usize,
    dropped: usize,
    /// Whether its discovery is not complete, so that what shards hold of it stays.
    held: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<String>,
    /// After metric relabelling, as last counted; guesses included.
    series: u64,
    /// Targets among them whose series are guessed or not known yet.
    uncounted: usize,
    /// That Prometheus stores, its own five per target included.
    samples_per_second: f64,
    /// Series that end an hour, and how many targets that is known of.
    churn_per_hour: u64,
    churn_known: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    growth: Option<Grown>,
}

#[derive(Debug, Serialize)]
struct Grown {
    series: i64,
    /// Over how long; shorter than asked for after a start.
    seconds: i64,
}

pub(super) async fn jobs(State(api): State<Api>, Query(query): Query<JobsQuery>) -> Response {
    let window = if query.window.is_empty() { "1h" } else { query.window.as_str() };
    let Ok(window) = model::duration::parse(window) else {
        return bad_data(format!("window has to be a duration, not {window:?}"));
    };
    let window = i64::try_from(window.as_millis()).unwrap_or(i64::MAX);
    let status = Arc::clone(&api.status.borrow());
    let mut jobs = sum_up(&status);
    let now = now_ms();
    for (name, job) in &mut jobs {
        let before = api.growth.of_job(name, now, window);
        job.growth = before.map(|(at, series)| Grown {
            series: change(job.series, series),
            seconds: (now - at) / 1_000,
        });
    }
    let jobs = jobs.into_values().filter(|job| query.job.is_empty() || job.job == query.job);
    success(Jobs { jobs: jobs.collect() })
}

pub(super) fn change(now: u64, before: u64) -> i64 {
    let change = i128::from(now) - i128::from(before);
    i64::try_from(change).unwrap_or(if change > 0 { i64::MAX } else { i64::MIN })
}

fn sum_up(status: &Status) -> BTreeMap<Arc<str>, Job> {
    let mut jobs: BTreeMap<Arc<str>, Job> = BTreeMap::new();
    let reports = status.reports();
    for (found, view) in sized(status) {
        let job = jobs.entry(Arc::clone(&found.job)).or_default();
        job.targets += 1;
        let series = series_of(view);
        job.series += series.unwrap_or(0);
        job.uncounted += usize::from(view.is_none_or(|view| counted(view).is_none()));
        job.samples_per_second += samples_per_second(found, series);
        let held = reports.get(&found.id()).map_or(&[][..], Vec::as_slice);
        let churn = churn(view, held);
        job.churn_per_hour += churn.map_or(0, u64::from);
        job.churn_known += usize::from(churn.is_some());
        match health(held) {
            Health::Up => job.up += 1,
            Health::Down => job.down += 1,
            Health::Unknown | Health::Unspecified => {}
        }
    }
    let mut unassigned: Vec<u64> = status.unassigned.iter().map(|refused| refused.target).collect();
    unassigned.sort_unstable();
    unassigned.dedup();
    for found in unassigned.into_iter().filter_map(|id| status.found.get(id)) {
        jobs.entry(Arc::clone(&found.job)).or_default().unassigned += 1;
    }
    for (name, count) in &status.found.dropped_counts {
        jobs.entry(Arc::clone(name)).or_default().dropped = *count;
    }
    for name in &status.found.held_jobs {
        jobs.entry(Arc::clone(name)).or_default().held = true;
    }
    for (name, errors) in &status.found.errors {
        jobs.entry(Arc::clone(name)).or_default().errors.clone_from(errors);
    }
    for (name, job) in &mut jobs {
        job.job = name.to_string();
    }
    jobs
}

/// What was found, with what the planner knows of it: both ascend by id.
fn sized(status: &Status) -> impl Iterator<Item = (&FoundTarget, Option<&TargetView>)> {
    let views: HashMap<u64, &TargetView> =
        status.seen.targets.iter().map(|view| (view.id, view)).collect();
    status.found.targets.iter().map(move |found| (found, views.get(&found.id()).copied()))
}

fn series_of(view: Option<&TargetView>) -> Option<u64> {
    match view?.size {
        Size::Counted(series) | Size::Tentative(series) => Some(series),
        Size::Unknown => None,
    }
}

fn samples_per_second(found: &FoundTarget, series: Option<u64>) -> f64 {
    let interval = found.target.scrape_interval().as_secs_f64();
    match series {
        Some(series) if interval > 0.0 => (series + SERIES_PER_SCRAPE) as f64 / interval,
        _ => 0.0,
    }
}

/// By the newest scrape.
fn health(held: &[(ShardId, Held<'_>)]) -> Health {
    let newest = held.iter().map(|(_, report)| *report).max_by_key(|report| report.last_scrape_ms);
    newest.map_or(Health::Unknown, |report| report.health)
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct TopQuery {
    /// `series`, `samples`, `growth` or `churn`.
    by: String,
    job: String,
    limit: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Top {
    by: String,
    /// What growth is measured over.
    #[serde(skip_serializing_if = "Option::is_none")]
    growth_seconds: Option<i64>,
    targets: Vec<TopTarget>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct TopTarget {
    job: String,
    url: String,
    series: u64,
    samples_per_second: f64,
    /// Series that end an hour, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    churn_per_hour: Option<u32>,
    /// Where it was counted then and now.
    #[serde(skip_serializing_if = "Option::is_none")]
    growth: Option<i64>,
    shards: Vec<String>,
}

pub(super) async fn top(State(api): State<Api>, Query(query): Query<TopQuery>) -> Response {
    let limit = if query.limit.is_empty() { Ok(20) } else { query.limit.parse::<usize>() };
    let Some(limit) = limit.ok().filter(|limit| (1..=MOST_LISTED).contains(limit)) else {
        return bad_data(format!("limit has to be a number from 1 to {MOST_LISTED}"));
    };
    let by = if query.by.is_empty() { "series" } else { query.by.as_str() };
    if !["series", "samples", "growth", "churn"].contains(&by) {
        return bad_data(format!("by has to be series, samples, growth or churn, not {by:?}"));
    }
    let status = Arc::clone(&api.status.borrow());
    let then = api.growth.of_targets();
    let growth_seconds = then.as_ref().map(|(at, _)| (now_ms() - at) / 1_000);
    let before = then.map(|(_, sizes)| sizes).unwrap_or_default();
    let wanted = sized(&status)
        .filter(|(found, _)| query.job.is_empty() || *found.job == *query.job)
        .map(|(found, view)| (rank(by, found, view, &before), found, view));
    let mut all: Vec<(f64, &FoundTarget, Option<&TargetView>)> =
        wanted.filter(|(rank, _, _)| *rank > 0.0).collect();
    all.sort_by(|(a, first, _), (b, second, _)| {
        b.total_cmp(a).then_with(|| first.id().cmp(&second.id()))
    });
    all.truncate(limit);
    let reports = status.reports();
    let targets = all.into_iter().map(|(_, found, view)| {
        let held = reports.get(&found.id()).map_or(&[][..], Vec::as_slice);
        let shards = held.iter().map(|(shard, _)| shard.to_string()).collect();
        let churn_per_hour = churn(view, held);
        TopTarget { shards, churn_per_hour, ..top_target(found, view, &before) }
    });
    success(Top { by: by.to_owned(), growth_seconds, targets: targets.collect() })
}

/// What a list is in order of.
fn rank(by: &str, found: &FoundTarget, view: Option<&TargetView>, before: &[(u64, u64)]) -> f64 {
    match by {
        "samples" => samples_per_second(found, series_of(view)),
        "churn" => view.map_or(0.0, |view| f64::from(view.churn)),
        "growth" => grown(found, view, before).unwrap_or(0) as f64,
        _ => series_of(view).unwrap_or(0) as f64,
    }
}

/// By how many series, where they were counted then and now.
fn grown(found: &FoundTarget, view: Option<&TargetView>, before: &[(u64, u64)]) -> Option<i64> {
    let at = before.binary_search_by_key(&found.id(), |(id, _)| *id).ok()?;
    Some(change(counted(view?)?, before.get(at)?.1))
}

fn top_target(found: &FoundTarget, view: Option<&TargetView>, before: &[(u64, u64)]) -> TopTarget {
    let series = series_of(view);
    TopTarget {
        job: found.job.to_string(),
        url: found.target.url(),
        series: series.unwrap_or(0),
        samples_per_second: samples_per_second(found, series),
        churn_per_hour: None,
        growth: grown(found, view, before),
        shards: Vec::new(),
    }
}
