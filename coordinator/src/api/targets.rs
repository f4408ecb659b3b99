//! `/api/v1/targets`.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use axum::extract::{Query, State};
use axum::response::Response;
use model::{Labels, duration};
use promconf::target::Populator;
use proto::coordination::TargetState;
use proto::coordination::target_report::Health;
use serde::{Deserialize, Serialize};

use super::{Api, bad_data, rfc3339, success};
use crate::found::FoundTarget;
use crate::plan::{ShardId, Size, TargetView};
use crate::shard::told::Held;
use crate::status::Status;
use crate::stop;

/// Go's zero time, which Prometheus shows for a target that was never scraped.
const NEVER: &str = "0001-01-01T00:00:00Z";

#[derive(Debug, Deserialize)]
pub(super) struct TargetsQuery {
    #[serde(default)]
    state: String,
    #[serde(default, rename = "scrapePool")]
    scrape_pool: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Targets {
    active_targets: Vec<ActiveTarget>,
    dropped_targets: Vec<DroppedTarget>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dropped_target_counts: Option<BTreeMap<String, usize>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ActiveTarget {
    discovered_labels: BTreeMap<String, String>,
    labels: BTreeMap<String, String>,
    scrape_pool: String,
    scrape_url: String,
    global_url: String,
    last_error: String,
    last_scrape: String,
    last_scrape_duration: f64,
    health: &'static str,
    scrape_interval: String,
    scrape_timeout: String,
    /// After metric relabelling, as last counted; 0: not yet.
    series: u64,
    /// Series that end an hour, as planned with; `null`: not known (yet).
    churn_per_hour: Option<u32>,
    /// `active`, `moving`, `unassigned`: the worst over the replica groups.
    state: &'static str,
    shards: Vec<Owner>,
}

/// A shard that holds a target.
#[derive(Debug, Serialize)]
struct Owner {
    id: String,
    state: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct DroppedTarget {
    discovered_labels: BTreeMap<String, String>,
    scrape_pool: String,
}

/// `state` is `active`, `dropped` or `any`; `scrapePool` a job's name.
pub(super) async fn targets(State(api): State<Api>, Query(query): Query<TargetsQuery>) -> Response {
    let (active, dropped) = match query.state.to_ascii_lowercase().as_str() {
        "" | "any" => (true, true),
        "active" => (true, false),
        "dropped" => (false, true),
        other => return bad_data(format!("state has to be active, dropped or any, not {other:?}")),
    };
    let status = Arc::clone(&api.status.borrow());
    let wanted = |job: &str| query.scrape_pool.is_empty() || query.scrape_pool == job;
    let mut answer = Targets {
        active_targets: Vec::new(),
        dropped_targets: Vec::new(),
        dropped_target_counts: None,
    };
    if active {
        answer.active_targets = active_targets(&status, wanted);
    }
    if dropped {
        let all = status.found.dropped.iter().filter(|(job, _)| wanted(job));
        answer.dropped_targets = all
            .map(|(job, labels)| DroppedTarget {
                discovered_labels: map(labels),
                scrape_pool: job.to_string(),
            })
            .collect();
        let counts = status.found.dropped_counts.iter().filter(|(job, _)| wanted(job));
        answer.dropped_target_counts =
            Some(counts.map(|(job, count)| (job.to_string(), *count)).collect());
    }
    success(answer)
}

fn active_targets(status: &Status, wanted: impl Fn(&str) -> bool) -> Vec<ActiveTarget> {
    let reports = status.reports();
    let jobs = status.found.config.iter().flat_map(|config| &config.scrape_configs);
    let jobs: HashMap<&str, Populator<'_>> =
        jobs.map(|job| (job.job_name.as_str(), Populator::new(job))).collect();
    let none = Vec::new();
    let shown = status.found.targets.iter().filter(|found| wanted(&found.job));
    let mut targets: Vec<ActiveTarget> = shown
        .map(|found| {
            let held = reports.get(&found.id()).unwrap_or(&none);
            active_target(status, found, jobs.get(&*found.job), held)
        })
        .collect();
    targets.sort_by(|a, b| (&a.scrape_pool, &a.scrape_url).cmp(&(&b.scrape_pool, &b.scrape_url)));
    targets
}

fn active_target(
    status: &Status,
    found: &FoundTarget,
    job: Option<&Populator<'_>>,
    held: &[(ShardId, Held<'_>)],
) -> ActiveTarget {
    let target = &found.target;
    let url = target.url();
    let (address, group) = found.discovered();
    let discovered = job.map(|job| job.discovered(address, group)).unwrap_or_default();
    // What the newest scrape says.
    let newest = held.iter().map(|(_, report)| *report).max_by_key(|report| report.last_scrape_ms);
    let health = newest.map_or(Health::Unknown, |report| report.health);
    let scraped = newest.filter(|report| report.last_scrape_ms > 0);
    let last_scrape = scraped.map_or_else(
        || NEVER.to_owned(),
        |report| {
            let since = Duration::from_millis(report.last_scrape_ms.unsigned_abs());
            rfc3339(UNIX_EPOCH + since)
        },
    );
    ActiveTarget {
        discovered_labels: map(&discovered),
        labels: map(&target.public_labels()),
        scrape_pool: found.job.to_string(),
        global_url: url.clone(),
        scrape_url: url,
        last_error: match stop::reason(&status.stop, &found.job) {
            Some(reason) => format!("scraping is stopped: {reason}"),
            None => newest
                .and_then(|report| report.last_error.as_deref().map(str::to_owned))
                .unwrap_or_default(),
        },
        last_scrape,
        last_scrape_duration: newest.map_or(0.0, |report| report.last_scrape_duration_seconds),
        health: match health {
            Health::Up => "up",
            Health::Down => "down",
            Health::Unknown | Health::Unspecified => "unknown",
        },
        scrape_interval: duration::format(target.scrape_interval()),
        scrape_timeout: duration::format(target.scrape_timeout()),
        series: series(status, target.id),
        churn_per_hour: churn(view(status, target.id), held),
        state: state(status.seen.groups, held),
        shards: held.iter().map(owner).collect(),
    }
}

fn view(status: &Status, id: u64) -> Option<&TargetView> {
    let targets = &status.seen.targets;
    targets.get(targets.binary_search_by_key(&id, |target| target.id).ok()?)
}

/// Series that end an hour, where it is planned with any or a shard says that there are none.
pub(super) fn churn(view: Option<&TargetView>, held: &[(ShardId, Held<'_>)]) -> Option<u32> {
    let planned = view.map_or(0, |view| view.churn);
    let is_known = planned > 0 || held.iter().any(|(_, report)| report.churn.get().is_some());
    is_known.then_some(planned)
}

fn series(status: &Status, id: u64) -> u64 {
    match view(status, id) {
        Some(TargetView { size: Size::Counted(series) | Size::Tentative(series), .. }) => *series,
        _ => 0,
    }
}

fn state(groups: u32, held: &[(ShardId, Held<'_>)]) -> &'static str {
    let mut holders: HashMap<u32, usize> = HashMap::new();
    for (shard, _) in held {
        *holders.entry(shard.group).or_default() += 1;
    }
    let complete = (0..groups).all(|group| holders.contains_key(&group));
    match (complete, holders.values().any(|count| *count > 1)) {
        (false, _) => "unassigned",
        (true, true) => "moving",
        (true, false) => "active",
    }
}

fn owner((shard, report): &(ShardId, Held<'_>)) -> Owner {
    let state = match report.target.state {
        TargetState::Active | TargetState::Unspecified => "active",
        TargetState::Leaving => "leaving",
        TargetState::Joining => "joining",
    };
    Owner { id: shard.to_string(), state }
}

fn map(labels: &Labels) -> BTreeMap<String, String> {
    labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}
