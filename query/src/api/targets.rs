//! `/api/v1/targets` and `/api/v1/metadata`, from all endpoints that offer them.

use axum::extract::State;
use model::Labels;
use proto::thanos;

use super::Api;
use super::json::Json;
use super::params::Params;
use super::respond::{Answer, ApiError};
use crate::fanout::Scope;

pub(super) async fn targets(State(api): State<Api>, params: Params) -> Result<Answer, ApiError> {
    use thanos::targets_request::State as Wanted;
    let wanted = match params.get("state").map(str::to_lowercase).as_deref() {
        None | Some("any") => Wanted::Any,
        Some("active") => Wanted::Active,
        Some("dropped") => Wanted::Dropped,
        Some(other) => {
            return Err(ApiError::bad_data(format!(
                "invalid state {other:?}: expected active, dropped or any"
            )));
        }
    };
    let pool = params.get("scrapePool");
    let scope: Scope = api.scope(&params)?;
    let (mut found, warnings) = api.source.targets(wanted, &scope).await?;
    found.active_targets.retain(|t| pool.is_none_or(|pool| t.scrape_pool == pool));
    found
        .active_targets
        .sort_by(|a, b| (&a.scrape_pool, &a.scrape_url).cmp(&(&b.scrape_pool, &b.scrape_url)));
    let mut json = Json::default();
    json.raw("{\"activeTargets\":");
    json.array(&found.active_targets, active_target);
    json.raw(",\"droppedTargets\":");
    json.array(&found.dropped_targets, |json, target| {
        json.raw("{\"discoveredLabels\":");
        json.labels(&labels(target.discovered_labels.as_ref()));
        json.raw("}");
    });
    json.raw(",\"droppedTargetCounts\":{}}");
    Ok(Answer::json(json, warnings))
}

fn labels(set: Option<&thanos::LabelSet>) -> Labels {
    set.map(|set| proto::convert::labels_from_thanos(&set.labels)).unwrap_or_default()
}

fn active_target(json: &mut Json, target: &thanos::ActiveTarget) {
    let health = match target.health() {
        thanos::TargetHealth::Up => "up",
        thanos::TargetHealth::Down => "down",
        thanos::TargetHealth::Unknown => "unknown",
    };
    let scraped = target
        .last_scrape
        .as_ref()
        .and_then(|time| jiff::Timestamp::new(time.seconds, time.nanos).ok());
    // Go's zero time says "never".
    let scraped = scraped.map_or("0001-01-01T00:00:00Z".to_owned(), |time| time.to_string());
    json.raw("{\"discoveredLabels\":");
    json.labels(&labels(target.discovered_labels.as_ref()));
    json.raw(",\"labels\":");
    json.labels(&labels(target.labels.as_ref()));
    for (key, value) in [
        ("scrapePool", target.scrape_pool.as_str()),
        ("scrapeUrl", &target.scrape_url),
        ("globalUrl", &target.global_url),
        ("lastError", &target.last_error),
        ("lastScrape", &scraped),
        ("health", health),
    ] {
        json.raw(",");
        json.string(key);
        json.raw(":");
        json.string(value);
    }
    let duration = target.last_scrape_duration;
    let duration = serde_json::Number::from_f64(duration).unwrap_or_else(|| 0.into());
    json.raw(&format!(",\"lastScrapeDuration\":{duration}}}"));
}

pub(super) async fn metadata(State(api): State<Api>, params: Params) -> Result<Answer, ApiError> {
    let number = |name: &str| {
        let parse = |text: &str| text.parse::<i64>().map_err(|e| ApiError::parameter(name, e));
        // Zero means "none" here, a negative number "all".
        let all = |number: i64| usize::try_from(number).unwrap_or(usize::MAX);
        params.get(name).map_or(Ok(usize::MAX), |text| parse(text).map(all))
    };
    let (limit, per_metric) = (number("limit")?, number("limit_per_metric")?);
    let scope = api.scope(&params)?;
    let metric = params.get("metric").unwrap_or_default();
    let (found, warnings) = api.source.metadata(metric, &scope).await?;
    let mut json = Json::default();
    json.raw("{");
    let wanted = found.iter().filter(|(name, _)| metric.is_empty() || *name == metric).take(limit);
    for (i, (name, metas)) in wanted.enumerate() {
        if i > 0 {
            json.raw(",");
        }
        json.string(name);
        json.raw(":");
        json.array(metas.iter().take(per_metric.max(1)), |json, meta| {
            json.raw("{\"type\":");
            json.string(&meta.r#type);
            json.raw(",\"help\":");
            json.string(&meta.help);
            json.raw(",\"unit\":");
            json.string(&meta.unit);
            json.raw("}");
        });
    }
    json.raw("}");
    Ok(Answer::json(json, warnings))
}
