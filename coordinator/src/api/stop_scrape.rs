//! `/api/v1/stop-scrape`: the emergency switch.
//!
//! `POST` with `reason` and perhaps `job` (query or form) stops scraping, `DELETE` with perhaps `job` ends that, `GET`
//! says how it stands and which shards do not follow yet.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::{Api, ask_the_leader, bad_data, rfc3339, success};
use crate::Error;

/// The longest reason, in bytes: it goes to every shard and into every target's error.
const MAX_REASON: usize = 1_000;

#[derive(Debug, Deserialize)]
pub(super) struct Wish {
    #[serde(default)]
    job: Option<String>,
    #[serde(default)]
    reason: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Switched {
    stops: Vec<Stopped>,
    /// Shards that have not confirmed it.
    pending_shards: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Stopped {
    /// Empty: all jobs.
    job: String,
    reason: String,
    since: String,
}

pub(super) async fn show(State(api): State<Api>) -> Response {
    let state = Arc::clone(&api.switch.watch().borrow());
    let status = Arc::clone(&api.status.borrow());
    let follows = |report: &crate::shard::told::Report| {
        report.stop.as_ref().map_or(0, |stop| stop.revision) >= state.revision
    };
    let pending =
        status.shards.iter().filter(|shard| !shard.report.as_deref().is_some_and(follows));
    let stops = state.stops.iter().map(|stop| Stopped {
        job: stop.job.clone(),
        reason: stop.reason.clone(),
        since: rfc3339(UNIX_EPOCH + Duration::from_millis(stop.since_ms.unsigned_abs())),
    });
    success(Switched {
        stops: stops.collect(),
        pending_shards: pending.map(|shard| shard.endpoint.id.to_string()).collect(),
    })
}

pub(super) async fn stop(State(api): State<Api>, Query(wish): Query<Wish>) -> Response {
    if let Some(refused) = ask_the_leader(&api) {
        return refused;
    }
    let job = wish.job.unwrap_or_default();
    let reason = wish.reason.unwrap_or_default();
    if reason.trim().is_empty() || reason.len() > MAX_REASON {
        return bad_data(format!("reason is needed, of at most {MAX_REASON} bytes"));
    }
    let configured = api.configs.borrow().scrape_configs.iter().any(|known| known.job_name == job);
    if !job.is_empty() && !configured {
        return bad_data(format!("there is no job {job:?}"));
    }
    let (switch, told) = (api.switch.clone(), (job.clone(), reason.clone()));
    match blocking(move || switch.stop(&job, &reason, crate::stop::now_ms())).await {
        Ok(()) => {
            let (job, reason) = told;
            let what = if job.is_empty() { "all jobs".to_owned() } else { format!("job {job}") };
            api.events.tell("scrape_stopped", format!("scraping of {what} is stopped: {reason}"));
            show(State(api)).await
        }
        Err(cause) => failed(&cause),
    }
}

pub(super) async fn resume(State(api): State<Api>, Query(wish): Query<Wish>) -> Response {
    if let Some(refused) = ask_the_leader(&api) {
        return refused;
    }
    let switch = api.switch.clone();
    let resumed = move || switch.resume(wish.job.as_deref(), crate::stop::now_ms());
    match blocking(resumed).await {
        Ok(true) => {
            api.events.tell("scrape_resumed", "scraping goes on".to_owned());
            show(State(api)).await
        }
        Ok(false) => show(State(api)).await,
        Err(cause) => failed(&cause),
    }
}

/// Off the async threads: the switch is written to the disk.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> anyhow::Result<T> {
    Ok(tokio::task::spawn_blocking(work).await??)
}

fn failed(cause: &anyhow::Error) -> Response {
    let text = format!("the switch could not be written: {}\n", svc::chain(cause.as_ref()));
    (StatusCode::INTERNAL_SERVER_ERROR, text).into_response()
}
