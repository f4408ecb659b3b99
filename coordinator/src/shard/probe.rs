//! Asks a shard's Prometheus directly, when its sidecar does not answer: a dead sidecar is no dead shard.

use std::time::Duration;

use reqwest::{Client, StatusCode};
use serde::Deserialize;

use crate::detect::Engine;

/// Prometheus answers this from memory.
const ANSWERS_WITHIN: Duration = Duration::from_secs(2);
const MAX_ANSWER: usize = 1 << 20;

/// Asks; what does not answer is down. 503 from `/-/ready` is a Prometheus that replays its WAL.
pub(crate) async fn ask(client: &Client, prometheus: &str) -> Engine {
    let base = prometheus.trim_end_matches('/');
    let get = |path: &str| client.get(format!("{base}{path}")).timeout(ANSWERS_WITHIN).send();
    match get("/-/ready").await.map(|response| response.status()) {
        Ok(StatusCode::OK) => Engine::Ready,
        Ok(StatusCode::SERVICE_UNAVAILABLE) => {
            let replayed = match get("/api/v1/status/walreplay").await {
                Ok(response) => replayed(response).await,
                Err(_) => 0,
            };
            Engine::Starting { replayed }
        }
        Ok(_) | Err(_) => Engine::Down,
    }
}

#[derive(Debug, Default, Deserialize)]
struct Answer {
    #[serde(default)]
    data: Replay,
}

#[derive(Debug, Default, Deserialize)]
struct Replay {
    #[serde(default)]
    current: i64,
}

/// Segments that are replayed; 0 where that is not told (before 2.33).
async fn replayed(response: reqwest::Response) -> u64 {
    let body = svc::http::read_body(response, MAX_ANSWER).await.unwrap_or_default();
    let answer: Answer = serde_json::from_slice(&body).unwrap_or_default();
    u64::try_from(answer.data.current).unwrap_or(0)
}
