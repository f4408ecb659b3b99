//! The answer to the query in the page's form, as a table.

use std::fmt::Write;

use model::{Labels, METRIC_NAME};
use promql::{Value, VectorSample};

use super::super::json::Json;
use super::super::query::Outcome;
use super::super::respond::ApiError;
use super::{escape, time};

/// Most rows shown; the API gives them all.
const ROWS: usize = 200;

/// Writing to memory does not fail.
fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    let _infallible = out.write_fmt(text);
}

/// The answer or the error.
pub(super) fn show(out: &mut String, outcome: Result<Outcome, ApiError>) {
    let outcome = match outcome {
        Ok(outcome) => outcome,
        Err(error) => {
            let (_, text) = error.into_text();
            return push(out, format_args!("<p class=\"note bad\">{}</p>", escape(&text)));
        }
    };
    let missing = outcome.warnings.texts();
    for warning in missing.iter().chain(&outcome.result.warnings) {
        push(out, format_args!("<p class=\"note warn\">{}</p>", escape(warning)));
    }
    for info in &outcome.result.infos {
        push(out, format_args!("<p class=\"note\">{}</p>", escape(info)));
    }
    let took = outcome.took().as_secs_f64() * 1000.0;
    match &outcome.result.value {
        Value::Scalar { value, .. } => {
            push(out, format_args!("<p class=\"single\">{}</p>", Json::float_text(*value)));
        }
        Value::String { value, .. } => {
            push(out, format_args!("<p class=\"single\">{}</p>", escape(value)));
        }
        Value::Vector(samples) => {
            count(out, samples.len(), took);
            let rows = samples.iter().map(|s| (&s.labels, sample_text(s)));
            table(out, "Value", rows);
        }
        Value::Matrix(series) => {
            count(out, series.len(), took);
            let rows = series.iter().map(|s| {
                let (from, to) = (s.timestamps.first(), s.timestamps.last());
                let [from, to] = [from, to].map(|at| time(at.copied().unwrap_or_default()));
                (&s.labels, format!("{} samples, {from} to {to}", s.timestamps.len()))
            });
            table(out, "Samples", rows);
        }
    }
    if let Some(plan) = &outcome.result.analysis {
        let text = escape(&plan.to_string());
        push(out, format_args!("<details><summary>Plan</summary><pre>{text}</pre></details>"));
    }
}

/// A value, or the two numbers that tell most of a histogram.
fn sample_text(sample: &VectorSample) -> String {
    match &sample.histogram {
        None => Json::float_text(sample.value),
        Some(h) => {
            let (count, sum) = (Json::float_text(h.count), Json::float_text(h.sum));
            format!("histogram, count {count}, sum {sum}")
        }
    }
}

fn count(out: &mut String, series: usize, took: f64) {
    let shown = if series > ROWS { format!(", the first {ROWS} shown") } else { String::new() };
    let plural = if series == 1 { "" } else { "s" };
    push(out, format_args!("<p class=\"dim\">{series} result{plural} in {took:.0} ms{shown}</p>"));
}

fn table<'a>(out: &mut String, column: &str, rows: impl Iterator<Item = (&'a Labels, String)>) {
    push(
        out,
        format_args!(
            "<div class=\"scroll\"><table><thead><tr><th>Series<th class=\"number\">{column}</thead><tbody>"
        ),
    );
    for (labels, value) in rows.take(ROWS) {
        out.push_str("<tr><td class=\"series\">");
        series(out, labels);
        push(out, format_args!("<td class=\"number\">{value}"));
    }
    out.push_str("</tbody></table></div>");
}

fn series(out: &mut String, labels: &Labels) {
    push(out, format_args!("<b>{}</b>{{", escape(labels.metric_name())));
    let others = labels.iter().filter(|(name, _)| *name != METRIC_NAME);
    for (i, (name, value)) in others.enumerate() {
        let comma = if i > 0 { ", " } else { "" };
        let (name, value) = (escape(name), escape(value));
        push(out, format_args!("{comma}<i>{name}</i>=&quot;{value}&quot;"));
    }
    out.push('}');
}
