//! The HTTP API. `/api/v1/targets` has Prometheus' shape (web/api/v1/api.go, `TargetDiscovery`) and says beside it
//! which shard owns a target, how many series it has and what state it is in; the rest is ours.

mod jobs;
mod plan;
mod snapshot;
mod stop_scrape;
mod targets;
pub(crate) mod tsdb;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use proto::coordination::Engine;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::events::Events;
use crate::growth::Growth;
use crate::leader::Leadership;
use crate::ledger::Ledger;
use crate::plan::Unassigned;
use crate::reload::Reloader;
use crate::status::{ShardStatus, Status};
use crate::stop::Switch;

/// What every handler sees.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    pub(crate) status: watch::Receiver<Arc<Status>>,
    pub(crate) events: Events,
    pub(crate) reloader: Reloader,
    pub(crate) leadership: Leadership,
    pub(crate) ledger: Ledger,
    pub(crate) growth: Growth,
    pub(crate) past: tsdb::Past,
    pub(crate) switch: Switch,
    pub(crate) configs: watch::Receiver<Arc<promconf::Config>>,
}

/// All routes.
pub(crate) fn router(api: Api) -> Router {
    Router::new()
        .route("/api/v1/targets", get(targets::targets))
        .route("/api/v1/shards", get(shards))
        .route("/api/v1/unassigned", get(unassigned))
        .route("/api/v1/events", get(events_after))
        .route("/api/v1/leader", get(leader))
        .route("/-/reload", post(reload).put(reload))
        .route("/api/v1/plan", get(plan::plan))
        .route("/api/v1/moves", get(plan::moves))
        .route("/api/v1/jobs", get(jobs::jobs))
        .route("/api/v1/targets/top", get(jobs::top))
        .route("/api/v1/status/tsdb", get(tsdb::tsdb))
        .route("/api/v1/snapshot", get(snapshot::snapshot))
        .route(
            "/api/v1/stop-scrape",
            get(stop_scrape::show).post(stop_scrape::stop).delete(stop_scrape::resume),
        )
        .with_state(api)
}

/// Prometheus' envelope.
#[derive(Debug, Serialize)]
struct Envelope<T> {
    status: &'static str,
    data: T,
}

fn success<T: Serialize>(data: T) -> Response {
    Json(Envelope { status: "success", data }).into_response()
}

fn bad_data(error: String) -> Response {
    failure(StatusCode::BAD_REQUEST, "bad_data", error)
}

fn internal(error: String) -> Response {
    failure(StatusCode::INTERNAL_SERVER_ERROR, "internal", error)
}

/// What a change is answered that only the leader can make; `None` where we lead.
fn ask_the_leader(api: &Api) -> Option<Response> {
    if api.leadership.term().is_some() {
        return None;
    }
    let url = api.leadership.holder().map(|holder| holder.url).unwrap_or_default();
    let error = format!("this coordinator does not lead; the leader is {url}");
    Some(failure(StatusCode::SERVICE_UNAVAILABLE, "unavailable", error))
}

/// Prometheus' envelope of an error.
fn failure(status: StatusCode, error_type: &'static str, error: String) -> Response {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Failure {
        status: &'static str,
        error_type: &'static str,
        error: String,
    }
    let body = Failure { status: "error", error_type, error };
    (status, Json(body)).into_response()
}

fn rfc3339(time: SystemTime) -> String {
    humantime::format_rfc3339_millis(time).to_string()
}

/// Of milliseconds since the epoch.
fn rfc3339_ms(at: i64) -> String {
    rfc3339(UNIX_EPOCH + Duration::from_millis(at.max(0).unsigned_abs()))
}

#[derive(Debug, Serialize)]
struct Shards {
    shards: Vec<Shard>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Shard {
    id: String,
    group: u32,
    ordinal: u32,
    state: &'static str,
    #[serde(rename = "storeAPI", skip_serializing_if = "Option::is_none")]
    store_api: Option<String>,
    scraper_sidecar: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    prometheus: Option<String>,
    series: u64,
    head_series: u64,
    memory_bytes: u64,
    targets: usize,
    max_series: u64,
    engine: &'static str,
    restarts: usize,
    wal_replay_current: u64,
    wal_replay_max: u64,
    #[serde(skip_serializing_if = "String::is_empty")]
    prometheus_version: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    config_error: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_error: Option<String>,
}

async fn shards(State(api): State<Api>) -> Response {
    let status = Arc::clone(&api.status.borrow());
    success(Shards { shards: status.shards.iter().map(shard).collect() })
}

fn shard(shard: &ShardStatus) -> Shard {
    let report = shard.report.as_deref();
    let engine: Engine = report.and_then(|report| report.engine.clone()).unwrap_or_default();
    let endpoint = &shard.endpoint;
    Shard {
        id: endpoint.id.to_string(),
        group: endpoint.id.group,
        ordinal: endpoint.id.ordinal,
        state: shard.state,
        store_api: endpoint.store_api.clone(),
        scraper_sidecar: endpoint.sidecar.clone(),
        prometheus: endpoint.prometheus.clone(),
        series: shard.series,
        head_series: engine.head_series,
        memory_bytes: engine.memory_bytes,
        targets: report.map_or(0, |report| report.targets.len()),
        max_series: shard.max_series,
        engine: shard.engine,
        restarts: shard.restarts,
        wal_replay_current: engine.wal_replay_current,
        wal_replay_max: engine.wal_replay_max,
        prometheus_version: engine.version,
        config_error: engine.config_error,
        last_error: shard.error.clone(),
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Leader {
    /// Whether the coordinator that answers leads.
    leader: bool,
    /// Who leads, or led last, as the lock says.
    #[serde(skip_serializing_if = "Option::is_none")]
    holder: Option<LeaderHolder>,
    /// A leader that shows no life for that long is replaced.
    lease_seconds: f64,
}

#[derive(Debug, Serialize)]
struct LeaderHolder {
    epoch: u64,
    url: String,
    host: String,
    since: String,
}

async fn leader(State(api): State<Api>) -> Response {
    let holder = api.leadership.holder().map(|holder| LeaderHolder {
        epoch: holder.epoch,
        url: holder.url,
        host: holder.host,
        since: rfc3339_ms(holder.since),
    });
    let leader = api.leadership.term().is_some();
    success(Leader { leader, holder, lease_seconds: api.leadership.lease().as_secs_f64() })
}

#[derive(Debug, Serialize)]
struct UnassignedList {
    unassigned: Vec<UnassignedTarget>,
}

#[derive(Debug, Serialize)]
struct UnassignedTarget {
    job: String,
    url: String,
    group: u32,
    /// A short, stable word, as in the metric's label.
    kind: &'static str,
    reason: String,
}

async fn unassigned(State(api): State<Api>) -> Response {
    let status = Arc::clone(&api.status.borrow());
    let unassigned = unassigned_list(&status, &status.unassigned, usize::MAX);
    success(UnassignedList { unassigned })
}

fn unassigned_list(status: &Status, refused: &[Unassigned], limit: usize) -> Vec<UnassignedTarget> {
    refused.iter().take(limit).map(|refused| unassigned_target(status, refused)).collect()
}

fn unassigned_target(status: &Status, refused: &Unassigned) -> UnassignedTarget {
    let found = status.found.get(refused.target);
    let mut reason = refused.reason.to_string();
    if let Some(error) = status.trial_errors.get(&refused.target) {
        reason = format!("{reason}; {error}");
    }
    UnassignedTarget {
        job: found.map(|found| found.job.to_string()).unwrap_or_default(),
        url: found.map(|found| found.target.url()).unwrap_or_default(),
        group: refused.group,
        kind: refused.reason.label(),
        reason,
    }
}

#[derive(Debug, Deserialize)]
struct EventsQuery {
    #[serde(default)]
    after: Option<String>,
}

#[derive(Debug, Serialize)]
struct EventList {
    events: Vec<Event>,
    /// The number of the newest event there is.
    last: u64,
}

#[derive(Debug, Serialize)]
struct Event {
    seq: u64,
    time: String,
    kind: &'static str,
    message: String,
}

async fn events_after(State(api): State<Api>, Query(query): Query<EventsQuery>) -> Response {
    let after = query.after.unwrap_or_default();
    let Ok(after) = (if after.is_empty() { Ok(0) } else { after.parse() }) else {
        return bad_data(format!("after has to be a number, not {after:?}"));
    };
    let (events, last) = api.events.after(after);
    let events = events.into_iter().map(|event| Event {
        seq: event.seq,
        time: rfc3339(event.time),
        kind: event.kind,
        message: event.message,
    });
    success(EventList { events: events.collect(), last })
}

async fn reload(State(api): State<Api>) -> Response {
    match api.reloader.reload().await {
        Ok(()) => StatusCode::OK.into_response(),
        Err(error) => {
            let text = format!("failed to reload config: {error}\n");
            (StatusCode::INTERNAL_SERVER_ERROR, text).into_response()
        }
    }
}
