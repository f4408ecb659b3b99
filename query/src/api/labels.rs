//! `/api/v1/labels`, `/api/v1/label/…/values` and `/api/v1/series`.

use std::collections::BTreeSet;

use axum::extract::{Path, State};
use model::{Labels, Matcher};

use super::Api;
use super::json::Json;
use super::params::{MAX_TIME, MIN_TIME, Params, now};
use super::respond::{Answer, ApiError};
use crate::fanout::LabelsQuery;
use crate::warning::{Warning, Warnings};

fn times(api: &Api, params: &Params) -> Result<(i64, i64), ApiError> {
    let (start, end) = (params.time("start")?, params.time("end")?);
    let (start, end) = match (start, end, api.settings.default_metadata_range) {
        (None, None, Some(range)) => {
            let now = now();
            (now.saturating_sub(i64::try_from(range.as_millis()).unwrap_or(i64::MAX)), now)
        }
        _ => (start.unwrap_or(MIN_TIME), end.unwrap_or(MAX_TIME)),
    };
    if end < start {
        let reason = "end timestamp must not be before start time";
        return Err(ApiError::parameter("end", reason));
    }
    Ok((start, end))
}

/// A selector that everything passes would read all there is.
fn selectors(params: &Params) -> Result<Vec<Vec<Matcher>>, ApiError> {
    let selectors = params.selectors("match[]")?;
    if selectors.iter().any(|matchers| matchers.iter().all(Matcher::matches_empty)) {
        return Err(ApiError::parameter(
            "match[]",
            "match[] must contain at least one non-empty matcher",
        ));
    }
    Ok(selectors)
}

/// One request per selector, or one for everything.
fn queries(api: &Api, params: &Params) -> Result<Vec<LabelsQuery>, ApiError> {
    let (min_time, max_time) = times(api, params)?;
    let mut selectors = selectors(params)?;
    if selectors.is_empty() {
        selectors.push(Vec::new());
    }
    let limit = params.limit()?;
    let query = |matchers| LabelsQuery {
        matchers,
        min_time,
        max_time,
        without_replica_labels: Vec::new(),
        limit,
    };
    Ok(selectors.into_iter().map(query).collect())
}

fn answer(mut all: BTreeSet<String>, mut warnings: Warnings, limit: u64) -> Answer {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    if limit > 0 && all.len() > limit {
        while all.len() > limit {
            all.pop_last();
        }
        warnings.push(Warning::Truncated);
    }
    let mut json = Json::default();
    json.strings(&all);
    Answer::json(json, warnings)
}

pub(super) async fn names(State(api): State<Api>, params: Params) -> Result<Answer, ApiError> {
    let scope = api.scope(&params)?;
    let (mut all, mut warnings) = (BTreeSet::new(), Warnings::default());
    for query in queries(&api, &params)? {
        let (names, missing) = api.source.label_names(&query, &scope).await?;
        all.extend(names);
        warnings.extend(missing);
    }
    Ok(answer(all, warnings, params.limit()?))
}

pub(super) async fn values(
    State(api): State<Api>,
    Path(name): Path<String>,
    params: Params,
) -> Result<Answer, ApiError> {
    let name = unescape(&name);
    if name.is_empty() {
        return Err(ApiError::parameter("name", format!("invalid label name: {name:?}")));
    }
    let scope = api.scope(&params)?;
    let (mut all, mut warnings) = (BTreeSet::new(), Warnings::default());
    for query in queries(&api, &params)? {
        let (values, missing) = api.source.label_values(&name, &query, &scope).await?;
        all.extend(values);
        warnings.extend(missing);
    }
    Ok(answer(all, warnings, params.limit()?))
}

pub(super) async fn series(State(api): State<Api>, params: Params) -> Result<Answer, ApiError> {
    let selectors = selectors(&params)?;
    if selectors.is_empty() {
        return Err(ApiError::bad_data("no match[] parameter provided"));
    }
    let (min_time, max_time) = times(&api, &params)?;
    let scope = api.scope(&params)?;
    let replica_labels = api.replica_labels(&params)?.unwrap_or_default();
    let limit = params.limit()?;
    let (mut all, mut warnings) = (BTreeSet::new(), Warnings::default());
    for matchers in selectors {
        let query = LabelsQuery {
            matchers,
            min_time,
            max_time,
            without_replica_labels: replica_labels.clone(),
            limit,
        };
        let (found, missing) = api.source.label_sets(query, &scope).await?;
        all.extend(found);
        warnings.extend(missing);
    }
    Ok(series_answer(all, warnings, limit))
}

fn series_answer(all: BTreeSet<Labels>, mut warnings: Warnings, limit: u64) -> Answer {
    let wanted = match usize::try_from(limit) {
        Ok(0) | Err(_) => usize::MAX,
        Ok(limit) => limit,
    };
    if all.len() > wanted {
        warnings.push(Warning::Truncated);
    }
    let mut json = Json::default();
    json.array(all.iter().take(wanted), Json::labels);
    Answer::json(json, warnings)
}

/// Names that are no identifiers come escaped: `U__`, then `__` for `_` and `_<hex>_` for other characters
/// (Prometheus' value encoding escaping). What is not escaped properly is taken as it is.
fn unescape(name: &str) -> String {
    let Some(mut rest) = name.strip_prefix("U__") else { return name.to_owned() };
    let mut out = String::new();
    while let Some(at) = rest.find('_') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        if let Some(after) = after.strip_prefix('_') {
            out.push('_');
            rest = after;
            continue;
        }
        let code = after.split_once('_').and_then(|(hex, after)| {
            let code = u32::from_str_radix(hex, 16).ok()?;
            Some((char::from_u32(code)?, after))
        });
        let Some((c, after)) = code else { return name.to_owned() };
        out.push(c);
        rest = after;
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_names_are_understood() {
        let cases = [
            ("job", "job"),
            ("__name__", "__name__"),
            ("U__http_2e_status", "http.status"),
            ("U__a__b", "a_b"),
            ("U___1F600_x", "\u{1F600}x"),
            ("U__broken_zz_", "U__broken_zz_"),
            ("U__broken_2e", "U__broken_2e"),
        ];
        for (escaped, expected) in cases {
            assert_eq!(unescape(escaped), expected);
        }
    }
}
