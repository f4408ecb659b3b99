//! Answers against expectations.

use crate::{MatrixSeries, QueryError, QueryResult, Value, VectorSample};
use model::Labels;
use model::histogram::FloatHistogram;
use model::regex::AnchoredRegex;

use super::histogram::matches;
use super::read::{Eval, Line, Text, Times};

type Verdict = Result<(), String>;

impl Text {
    fn accepts(&self, text: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(wanted) => wanted == text,
            Self::Regex(pattern) => AnchoredRegex::new(&format!(".*(?:{pattern}).*"))
                .is_ok_and(|regex| regex.is_match(text)),
        }
    }
}

/// Relative difference below 1e-6, as upstream compares.
pub(super) fn close(a: f64, b: f64) -> bool {
    if a.is_nan() || b.is_nan() {
        let stale = model::is_stale_marker;
        return a.is_nan() && b.is_nan() && stale(a) == stale(b);
    }
    if a == b {
        return true;
    }
    let (difference, sum) = ((a - b).abs(), a.abs() + b.abs());
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < 1e-6 * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < 1e-6
}

/// Whether an answer is what the script wants.
pub fn answer(eval: &Eval, answer: &Result<QueryResult, QueryError>) -> Verdict {
    let result = match (answer, &eval.fail) {
        (Ok(_), Some(_)) => return Err("succeeded, but should fail".to_owned()),
        (Err(error), None) => return Err(format!("failed: {error}")),
        (Err(error), Some(text)) => {
            let error = error.to_string();
            return if text.accepts(&error) { Ok(()) } else { Err(format!("failed as: {error}")) };
        }
        (Ok(result), None) => result,
    };
    told(&eval.warn, eval.no_warn, &result.warnings)?;
    told(&eval.info, eval.no_info, &result.infos)?;
    value(eval, &result.value)
}

/// The middle step of a range query, as a vector; a scalar is a series without labels there.
pub fn value_only(eval: &Eval, found: Value) -> Verdict {
    match (eval.scalar, found) {
        (Some(wanted), Value::Vector(samples)) => match samples.as_slice() {
            [sample] if close(wanted, sample.value) => Ok(()),
            _ => Err(format!("got {samples:?}")),
        },
        (_, found) => value(eval, &found),
    }
}

fn told(wanted: &[Text], none: bool, texts: &[String]) -> Verdict {
    if none && !texts.is_empty() {
        return Err(format!("should say nothing, but says {texts:?}"));
    }
    if wanted.is_empty() {
        return Ok(());
    }
    let unmet = wanted.iter().find(|text| !texts.iter().any(|told| text.accepts(told)));
    if let Some(text) = unmet {
        return Err(format!("should say {text:?}, says {texts:?}"));
    }
    let unexpected = texts.iter().find(|told| !wanted.iter().any(|text| text.accepts(told)));
    unexpected.map_or(Ok(()), |told| Err(format!("should not say {told:?}")))
}

fn value(eval: &Eval, value: &Value) -> Verdict {
    match value {
        Value::String { value, .. } if eval.string.as_ref() == Some(value) => Ok(()),
        Value::Scalar { value, .. } if eval.scalar.is_some_and(|wanted| close(wanted, *value)) => {
            Ok(())
        }
        Value::Vector(samples) if eval.scalar.is_none() => vector(eval, samples),
        Value::Matrix(_) if eval.ordered => Err("a range of samples has no order".to_owned()),
        Value::Matrix(series) if eval.scalar.is_none() => {
            if !series.is_sorted_by(|a, b| a.labels < b.labels) {
                return Err("series are not sorted".to_owned());
            }
            let times = eval.answer_times.unwrap_or(eval.times);
            if series.len() != eval.series.len() {
                return Err(format!(
                    "{} series, not {}: {series:?}",
                    series.len(),
                    eval.series.len()
                ));
            }
            for found in series {
                let wanted = wanted(eval, &found.labels)?;
                points(wanted, times, found)
                    .map_err(|error| format!("{}: {error}", found.labels))?;
            }
            Ok(())
        }
        other => Err(format!("got {other:?}")),
    }
}

fn wanted<'a>(eval: &'a Eval, labels: &Labels) -> Result<&'a Line, String> {
    // Upstream keeps the last line of a label set.
    let line = eval.series.iter().rev().find(|line| line.labels == *labels);
    line.ok_or_else(|| format!("{labels} is not expected"))
}

fn vector(eval: &Eval, found: &[VectorSample]) -> Verdict {
    for (at, sample) in found.iter().enumerate() {
        let labels = &sample.labels;
        let line = wanted(eval, labels)?;
        let want = line.values.first().copied().flatten();
        if !want.is_some_and(|want| close(want, sample.value)) {
            return Err(format!("{labels} is {}, not {want:?}", sample.value));
        }
        let histogram = sample.histogram.as_deref();
        same_histogram(line, 0, histogram).map_err(|error| format!("{labels} {error}"))?;
        if eval.ordered && eval.series.get(at).is_none_or(|line| line.labels != *labels) {
            return Err(format!("{labels} is at place {at}"));
        }
    }
    let missing =
        eval.series.iter().find(|line| !found.iter().any(|sample| sample.labels == line.labels));
    missing.map_or(Ok(()), |line| Err(format!("{} is missing", line.labels)))
}

fn same_histogram(line: &Line, at: usize, found: Option<&FloatHistogram>) -> Verdict {
    let wanted = line.histograms.iter().find(|written| written.index == at);
    match (wanted, found) {
        (None, None) => Ok(()),
        (Some(wanted), Some(found)) if matches(wanted, found) => Ok(()),
        (Some(wanted), found) => Err(format!("is {found:?}, not {wanted:?}")),
        (None, Some(found)) => Err(format!("is {found:?}, not a number")),
    }
}

fn points(line: &Line, times: Times, found: &MatrixSeries) -> Verdict {
    let (start, step) = match times {
        Times::Instant(at) => (at, 1),
        Times::Range { start, step, .. } => (start, step),
    };
    let values = line.values.iter().zip(0..).enumerate();
    let wanted: Vec<(usize, i64, f64)> = values
        .filter_map(|(place, (value, at))| Some((place, start + at * step, (*value)?)))
        .collect();
    let points: Vec<(i64, f64)> = found.points().collect();
    let same = wanted.len() == points.len()
        && wanted.iter().zip(&points).all(|(a, b)| a.1 == b.0 && close(a.2, b.1));
    if !same {
        return Err(format!("is {points:?}, not {wanted:?}"));
    }
    for (at, (place, _, _)) in wanted.iter().enumerate() {
        let histogram = found.histograms.iter().find(|sample| sample.index == at);
        let histogram = histogram.map(|sample| &*sample.histogram);
        same_histogram(line, *place, histogram)?;
    }
    Ok(())
}
