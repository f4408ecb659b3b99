//! `/federate`: the newest sample of each selected series, as an exposition that Prometheus scrapes (web/federate.go).

use std::collections::BTreeMap;
use std::fmt::Write;

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use model::labels::{is_legacy_label_name, is_legacy_metric_name};
use model::{Labels, METRIC_NAME, Matcher, is_stale_marker};
use promql::CancelFlag;
use promql::storage::{Hints, SelectRequest, Storage};

use super::Api;
use super::params::{Params, now};
use super::query::lookback;
use super::respond::ApiError;
use super::run::Work;
use crate::active::Description;
use crate::storage::Wanted;

/// The label without which Prometheus would give the instance of this query to all series.
const INSTANCE: &str = "instance";

/// By metric name, then by labels: time in milliseconds and value.
type Newest = BTreeMap<(String, Labels), (i64, f64)>;

pub(super) async fn federate(
    State(api): State<Api>,
    headers: HeaderMap,
    params: Params,
) -> Response {
    let any_name = headers
        .get_all(header::ACCEPT)
        .iter()
        .any(|accept| accept.as_bytes().windows(19).any(|part| part == b"escaping=allow-utf-8"));
    match newest(&api, &params).await {
        Ok(all) => {
            let kind = match any_name {
                true => "text/plain; version=1.0.0; charset=utf-8; escaping=allow-utf-8",
                false => "text/plain; version=0.0.4; charset=utf-8; escaping=underscores",
            };
            ([(header::CONTENT_TYPE, kind)], exposition(&all, any_name)).into_response()
        }
        Err(error) => error.into_text().into_response(),
    }
}

async fn newest(api: &Api, params: &Params) -> Result<Newest, ApiError> {
    let selectors = params.selectors("match[]")?;
    let (end, lookback) = (now(), lookback(params, api, 0)?);
    let start = end.saturating_sub(i64::try_from(lookback.as_millis()).unwrap_or(i64::MAX));
    let scope = api.scope(params)?;
    let flag = CancelFlag::with_deadline(scope.deadline.into_std());
    let texts: Vec<&str> = params.all("match[]").collect();
    let work = Work {
        description: Description {
            query: texts.join(", "),
            kind: "federate",
            times: (start, end, 0),
        },
        scope,
        wanted: Wanted { replica_labels: api.replica_labels(params)?, max_resolution: 0 },
        flag: flag.clone(),
    };
    let most = api.settings.max_samples;
    let read = move |storage: &dyn Storage| {
        let mut all = Newest::new();
        for matchers in selectors {
            select(storage, matchers, (start, end), &mut all, most, &flag)?;
        }
        Ok(all)
    };
    let ran = api.run(work, read).await?;
    // An exposition has no place for warnings.
    if !ran.warnings.is_empty() {
        api.metrics.incomplete_answers.inc();
        tracing::warn!(warnings = ?ran.warnings.texts(), "federation answer is incomplete");
    }
    Ok(ran.value)
}

fn select(
    storage: &dyn Storage,
    matchers: Vec<Matcher>,
    (start, end): (i64, i64),
    all: &mut Newest,
    most: u64,
    flag: &CancelFlag,
) -> Result<(), ApiError> {
    let failed = |error| ApiError::from(promql::QueryError::Storage(error));
    let request = SelectRequest { matchers, start, end, hints: Hints::default() };
    let mut set = storage.select(&request).map_err(failed)?;
    while let Some(series) = set.next().map_err(failed)? {
        if flag.is_canceled() {
            return Err(promql::QueryError::Canceled.into());
        }
        let samples = &series.samples;
        let newest = samples.timestamps.last().copied().zip(samples.values.last().copied());
        // The text format has no native histograms.
        let is_histogram =
            samples.histograms.last().is_some_and(|h| h.index + 1 == samples.timestamps.len());
        let name = series.labels.metric_name();
        // A series that has ended has no newest sample, and an exposition no place for one without name.
        if let Some(newest) = newest.filter(|(_, value)| !is_histogram && !is_stale_marker(*value))
            && !name.is_empty()
        {
            all.insert((name.to_owned(), series.labels), newest);
        }
        if all.len() as u64 > most {
            return Err(promql::QueryError::TooManySamples.into());
        }
    }
    Ok(())
}

fn exposition(all: &Newest, any_name: bool) -> String {
    let mut out = String::new();
    let mut family = None;
    for ((metric, labels), (time, value)) in all {
        let quotes = any_name && !is_legacy_metric_name(metric);
        let shown = if any_name { metric.clone() } else { underscored(metric) };
        if family != Some(metric) {
            family = Some(metric);
            out.push_str("# TYPE ");
            name(&mut out, &shown, quotes);
            out.push_str(" untyped\n");
        }
        let mut separator = "{";
        if quotes {
            out.push('{');
            name(&mut out, &shown, quotes);
            separator = ",";
        } else {
            out.push_str(&shown);
        }
        let others = labels.iter().filter(|(name, _)| *name != METRIC_NAME);
        let missing = labels.get(INSTANCE).is_none().then_some((INSTANCE, ""));
        for (label, value) in others.chain(missing) {
            out.push_str(separator);
            separator = ",";
            let shown = if any_name { label.to_owned() } else { underscored(label) };
            name(&mut out, &shown, !is_legacy_label_name(&shown));
            out.push_str("=\"");
            escape(&mut out, value);
            out.push('"');
        }
        out.push_str("} ");
        float(&mut out, *value);
        // Writing to memory does not fail.
        let _infallible = writeln!(out, " {time}");
    }
    out
}

fn name(out: &mut String, name: &str, quotes: bool) {
    if quotes {
        out.push('"');
        escape(out, name);
        out.push('"');
    } else {
        out.push_str(name);
    }
}

/// For readers that know no other names.
fn underscored(name: &str) -> String {
    let valid = |i: usize, c: char| {
        c.is_ascii_alphabetic() || c == '_' || c == ':' || (i > 0 && c.is_ascii_digit())
    };
    name.chars().enumerate().map(|(i, c)| if valid(i, c) { c } else { '_' }).collect()
}

fn escape(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            c => out.push(c),
        }
    }
}

/// As Prometheus' own expositions have it: with an exponent of two digits or more below 1e-4 and from 1e6.
fn float(out: &mut String, value: f64) {
    let text = if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned()
    } else if value == 0.0 || (1e-4..1e6).contains(&value.abs()) {
        value.to_string()
    } else {
        let text = format!("{value:e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, exponent) = match exponent.strip_prefix('-') {
            Some(exponent) => ('-', exponent),
            None => ('+', exponent),
        };
        format!("{digits}e{sign}{exponent:0>2}")
    };
    out.push_str(&text);
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn samples_are_grouped_by_name_and_names_escaped_unless_the_reader_knows_them() {
        let series: [(&[(&str, &str)], f64); 4] = [
            (&[("__name__", "up"), ("job", "a\"\\\n"), ("instance", "x:1")], 1.0),
            (&[("__name__", "up"), ("job", "b")], f64::NAN),
            (&[("__name__", "http.requests"), ("odd.label", "é")], 1e-7),
            (&[("__name__", "big")], 1_234_567.0),
        ];
        let all: Newest = series
            .iter()
            .map(|(pairs, value)| {
                let labels = Labels::from_pairs(pairs.iter().copied());
                ((labels.metric_name().to_owned(), labels), (1_500, *value))
            })
            .collect();
        expect![[r##"
            # TYPE big untyped
            big{instance=""} 1.234567e+06 1500
            # TYPE http_requests untyped
            http_requests{odd_label="é",instance=""} 1e-07 1500
            # TYPE up untyped
            up{instance="x:1",job="a\"\\\n"} 1 1500
            up{job="b",instance=""} NaN 1500
        "##]]
        .assert_eq(&exposition(&all, false));
        expect![[r##"
            # TYPE big untyped
            big{instance=""} 1.234567e+06 1500
            # TYPE "http.requests" untyped
            {"http.requests","odd.label"="é",instance=""} 1e-07 1500
            # TYPE up untyped
            up{instance="x:1",job="a\"\\\n"} 1 1500
            up{job="b",instance=""} NaN 1500
        "##]]
        .assert_eq(&exposition(&all, true));
    }
}
