//! What this process is and who it asks; empty answers where there is no source yet.

use std::collections::BTreeMap;
use std::time::SystemTime;

use axum::extract::State;
use serde_json::json;

use super::Api;
use super::params::Params;
use super::respond::{Answer, ApiError};
use crate::endpoints::Health;

/// Grafana takes an answer without `features` for a Prometheus.
pub(super) async fn build_info() -> Answer {
    Answer::of(&json!({
        "version": env!("CARGO_PKG_VERSION"),
        "revision": "",
        "branch": "",
        "buildUser": "",
        "buildDate": "",
        "goVersion": "",
    }))
}

pub(super) async fn runtime_info(State(api): State<Api>) -> Answer {
    let directory = std::env::current_dir().unwrap_or_default();
    Answer::of(&json!({
        "startTime": api.started.to_string(),
        "CWD": directory.display().to_string(),
        "reloadConfigSuccess": true,
        "lastConfigTime": api.started.to_string(),
        "corruptionCount": 0,
        "goroutineCount": tokio::runtime::Handle::current().metrics().num_alive_tasks(),
        "GOMAXPROCS": tokio::runtime::Handle::current().metrics().num_workers(),
        "GOGC": "",
        "GODEBUG": "",
        "storageRetention": "",
    }))
}

pub(super) async fn flags(State(api): State<Api>) -> Answer {
    let flags: BTreeMap<&str, &str> =
        api.flags.iter().map(|(name, value)| (*name, value.as_str())).collect();
    Answer::of(&json!(flags))
}

/// No source of rules yet.
pub(super) async fn rules() -> Answer {
    Answer::of(&json!({ "groups": [] }))
}

/// No source of alerts yet.
pub(super) async fn alerts() -> Answer {
    Answer::of(&json!({ "alerts": [] }))
}

/// No source of exemplars yet; the parameters are checked as they will be.
pub(super) async fn exemplars(State(api): State<Api>, params: Params) -> Result<Answer, ApiError> {
    let (start, end) = (params.required_time("start")?, params.required_time("end")?);
    if end < start {
        return Err(ApiError::bad_data("end timestamp must not be before start timestamp"));
    }
    api.parse(params.get("query").unwrap_or_default())?;
    Ok(Answer::of(&json!([])))
}

/// Endpoints by kind, in Thanos' shape.
pub(super) async fn stores(State(api): State<Api>) -> Answer {
    let view = api.source.view().unwrap_or_default();
    let mut kinds: BTreeMap<String, Vec<serde_json::Value>> = BTreeMap::new();
    for member in &view.members {
        let status = member.status();
        let info = status.info.as_ref();
        let kind = info.map_or("unknown", |info| info.component.as_str());
        let label_sets: Vec<BTreeMap<&str, &str>> = info
            .map(|i| i.label_sets.iter().map(|set| set.iter().collect()).collect())
            .unwrap_or_default();
        kinds.entry(kind.to_owned()).or_default().push(json!({
            "name": member.address,
            "displayName": member.name,
            "lastCheck": status.last_check.and_then(rfc_3339),
            "lastError": status.last_error,
            "health": if status.health == Health::Up { "up" } else { "down" },
            "labelSets": label_sets,
            "minTime": info.map_or(0, |info| info.min_time),
            "maxTime": info.map_or(0, |info| info.max_time),
        }));
    }
    Answer::of(&json!(kinds))
}

pub(super) fn rfc_3339(time: SystemTime) -> Option<String> {
    jiff::Timestamp::try_from(time).ok().map(|time| time.to_string())
}
