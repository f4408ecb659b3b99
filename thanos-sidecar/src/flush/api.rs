//! `/api/v1/shipping`: what is in the bucket. `/api/v1/flush`: POST asks for everything to be put there, DELETE
//! withdraws that. Neither exists at Thanos; a coordinator asks before it takes a shard away.

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Serialize;

use super::{Handle, Shown};

/// The routes; without an object store nothing is ever complete.
pub fn routes(handle: Option<Handle>) -> Router {
    Router::new()
        .route("/api/v1/shipping", get(shipping))
        .route("/api/v1/flush", post(begin).delete(withdraw))
        .with_state(handle)
}

/// Prometheus' envelope.
#[derive(Debug, Serialize)]
struct Envelope {
    status: &'static str,
    data: Status,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    /// Whether there is one.
    object_store: bool,
    /// Every sample that this Prometheus has is in the bucket.
    complete: bool,
    flushing: bool,
    pending_blocks: usize,
    /// Milliseconds; null when the head is empty.
    head_max_time: Option<i64>,
    last_error: String,
}

async fn shipping(State(handle): State<Option<Handle>>) -> Json<Envelope> {
    let data = match handle {
        Some(handle) => status(&handle).await,
        None => Status::default(),
    };
    Json(Envelope { status: "success", data })
}

async fn status(handle: &Handle) -> Status {
    let Shown { flushing, last_error } = handle.shown.borrow().clone();
    let known = Status { object_store: true, flushing, last_error, ..Status::default() };
    match handle.flusher.shipped().await {
        Ok(shipped) => Status {
            complete: shipped.complete && !flushing,
            pending_blocks: shipped.pending_blocks,
            head_max_time: shipped.head_max_time,
            ..known
        },
        Err(cause) => Status { last_error: svc::chain(&cause), ..known },
    }
}

async fn begin(State(handle): State<Option<Handle>>) -> (StatusCode, &'static str) {
    match handle {
        Some(handle) => {
            handle.want(true);
            (StatusCode::ACCEPTED, "flushing\n")
        }
        None => (StatusCode::CONFLICT, "there is no object store\n"),
    }
}

async fn withdraw(State(handle): State<Option<Handle>>) -> (StatusCode, &'static str) {
    if let Some(handle) = handle {
        handle.want(false);
    }
    (StatusCode::OK, "withdrawn\n")
}
