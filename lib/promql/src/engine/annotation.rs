//! Warnings and infos beside an answer (util/annotations/annotations.go), each with the place in the query.

use model::histogram::NanEffect;

use crate::ast::Span;
use crate::engine::{datetime, go};

/// At most this many of each kind are told.
const MAX_TOLD: usize = 10;

/// What there is to tell.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Note {
    InvalidQuantile(f64),
    InvalidRatio(f64, f64),
    BadBucketLabel {
        metric: String,
        label: String,
    },
    SortInRange,
    /// A metric and in how many windows.
    StartTimeOverlap(String, u64),
    PossibleNonCounter(String),
    ForcedMonotonicity(Forced),
    /// Operator and types of its operands.
    IncompatibleTypes(&'static str, &'static str, &'static str),
    MixedFloatsHistograms(String),
    MixedFloatsHistogramsInAggregation,
    MixedClassicNative(String),
    NotCounter(String),
    NotGauge(String),
    MixedExponentialCustom(String),
    IncompatibleBuckets(&'static str),
    ResetCollision(Operation),
    ReconciledBounds(Operation),
    IgnoredInAggregation(&'static str),
    IgnoredInRange(String),
    NanObservations(NanEffect, String),
    Storage(String),
}

/// Buckets that had to be raised, over all steps.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Forced {
    pub metric: String,
    pub times: (i64, i64),
    pub buckets: (f64, f64),
    pub difference: f64,
    pub samples: u64,
}

impl Note {
    fn is_info(&self) -> bool {
        matches!(
            self,
            Self::PossibleNonCounter(_)
                | Self::ForcedMonotonicity(_)
                | Self::IncompatibleTypes(..)
                | Self::ReconciledBounds(_)
                | Self::IgnoredInAggregation(_)
                | Self::IgnoredInRange(_)
                | Self::NanObservations(..)
        )
    }

    fn text(&self) -> String {
        match self {
            Self::InvalidQuantile(q) => format!(
                "PromQL warning: quantile value should be between 0 and 1, got {}",
                go::general(*q)
            ),
            Self::InvalidRatio(ratio, capped) => format!(
                "PromQL warning: ratio value should be between -1 and 1, got {}, capping to {}",
                go::general(*ratio),
                go::general(*capped)
            ),
            Self::BadBucketLabel { metric, label } => format!(
                "PromQL warning: bucket label \"le\" is missing or has a malformed value of {label:?}{}",
                for_metric(metric)
            ),
            Self::StartTimeOverlap(metric, windows) => {
                let times = match windows {
                    0 | 1 => String::new(),
                    windows => format!(" ({windows} occurrences)"),
                };
                format!(
                    "PromQL warning: sample has start time that overlaps with previous sample timestamp for metric {metric:?}{times}"
                )
            }
            Self::SortInRange => "PromQL warning: sort is ineffective for range queries since results are always ordered by labels".to_owned(),
            Self::PossibleNonCounter(metric) => format!(
                "PromQL info: metric might not be a counter, name does not end in _total/_sum/_count/_bucket: {metric:?}"
            ),
            Self::ForcedMonotonicity(forced) => format!(
                "PromQL info: input to histogram_quantile needed to be fixed for monotonicity (see https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile){}, from buckets {} to {}, with a max diff of {}, over {} samples from {} to {}",
                for_metric(&forced.metric),
                go::general(forced.buckets.0),
                go::general(forced.buckets.1),
                go::general_two_digits(forced.difference),
                forced.samples,
                datetime::rfc3339(forced.times.0.div_euclid(1000)),
                datetime::rfc3339(forced.times.1.div_euclid(1000)),
            ),
            Self::IncompatibleTypes(op, left, right) => format!(
                "PromQL info: incompatible sample types encountered for binary operator {op:?}: {left} {op} {right}"
            ),
            Self::Storage(text) => text.clone(),
            other => other.histogram_text(),
        }
    }

    /// Those about native histograms.
    fn histogram_text(&self) -> String {
        match self {
            Self::MixedFloatsHistograms(metric) => format!(
                "PromQL warning: encountered a mix of histograms and floats for metric name {metric:?}"
            ),
            Self::MixedFloatsHistogramsInAggregation => {
                "PromQL warning: encountered a mix of histograms and floats for aggregation"
                    .to_owned()
            }
            Self::MixedClassicNative(metric) => format!(
                "PromQL warning: vector contains a mix of classic and native histograms{}",
                for_metric(metric)
            ),
            Self::NotCounter(metric) => {
                format!("PromQL warning: this native histogram metric is not a counter: {metric:?}")
            }
            Self::NotGauge(metric) => {
                format!("PromQL warning: this native histogram metric is not a gauge: {metric:?}")
            }
            Self::MixedExponentialCustom(metric) => format!(
                "PromQL warning: vector contains a mix of histograms with exponential and custom buckets schemas for metric name {metric:?}"
            ),
            Self::IncompatibleBuckets(op) => format!(
                "PromQL warning: incompatible bucket layout encountered for binary operator {op}"
            ),
            Self::ResetCollision(operation) => format!(
                "PromQL warning: conflicting counter resets during histogram {}",
                operation.as_str()
            ),
            Self::ReconciledBounds(operation) => format!(
                "PromQL info: mismatched custom buckets were reconciled during {}",
                operation.as_str()
            ),
            Self::IgnoredInAggregation(name) => {
                format!("PromQL info: ignored histogram in {name} aggregation")
            }
            Self::IgnoredInRange(metric) => format!(
                "PromQL info: ignored histograms in a range containing both floats and histograms for metric name {metric:?}"
            ),
            Self::NanObservations(effect, metric) => {
                let text = match effect {
                    NanEffect::ResultIsNan => {
                        "input to histogram_quantile has NaN observations, result is NaN"
                    }
                    NanEffect::SkewedHigher => {
                        "input to histogram_quantile has NaN observations, result is skewed higher"
                    }
                    NanEffect::Excluded => {
                        "input to histogram_fraction has NaN observations, which are excluded from all fractions"
                    }
                };
                format!("PromQL info: {text}{}", for_metric(metric))
            }
            _ => String::new(),
        }
    }
}

/// What was done with histograms that did not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Addition,
    Subtraction,
    Aggregation,
}

impl Operation {
    fn as_str(self) -> &'static str {
        match self {
            Self::Addition => "addition",
            Self::Subtraction => "subtraction",
            Self::Aggregation => "aggregation",
        }
    }
}

fn for_metric(metric: &str) -> String {
    if metric.is_empty() { String::new() } else { format!(" for metric name {metric:?}") }
}

/// All notes of one query, each once.
#[derive(Debug, Default)]
pub(crate) struct Annotations {
    notes: Vec<(Note, Option<Span>)>,
}

impl Annotations {
    pub fn add(&mut self, note: Note, span: Option<Span>) {
        if let Note::ForcedMonotonicity(new) = &note {
            let old = self.notes.iter_mut().find_map(|(old, at)| match old {
                Note::ForcedMonotonicity(old) if old.metric == new.metric && *at == span => {
                    Some(old)
                }
                _ => None,
            });
            if let Some(old) = old {
                old.times = (old.times.0.min(new.times.0), old.times.1.max(new.times.1));
                old.buckets = (old.buckets.0.min(new.buckets.0), old.buckets.1.max(new.buckets.1));
                old.difference = old.difference.max(new.difference);
                old.samples += new.samples;
                return;
            }
        }
        if let Note::StartTimeOverlap(metric, new) = &note {
            let old = self.notes.iter_mut().find_map(|(old, at)| match old {
                Note::StartTimeOverlap(old, count) if old == metric && *at == span => Some(count),
                _ => None,
            });
            if let Some(count) = old {
                *count += new;
                return;
            }
        }
        // NaN differs from itself, so notes are compared as text.
        let known = |(old, at): &(Note, Option<Span>)| *at == span && old.text() == note.text();
        if !self.notes.iter().any(known) {
            self.notes.push((note, span));
        }
    }

    /// Warnings and infos as texts, the surplus only counted.
    pub fn texts(&self, query: &str) -> (Vec<String>, Vec<String>) {
        let of = |info: bool| {
            let chosen = self.notes.iter().filter(|(note, _)| note.is_info() == info);
            let mut texts: Vec<String> = Vec::new();
            for (note, span) in chosen {
                let text = match span {
                    Some(span) => {
                        format!("{} ({})", note.text(), crate::parse::position(query, *span))
                    }
                    None => note.text(),
                };
                if !texts.contains(&text) {
                    texts.push(text);
                }
            }
            let more = texts.len().saturating_sub(MAX_TOLD);
            if more > 0 {
                texts.truncate(MAX_TOLD);
                let kind = if info { "info" } else { "warning" };
                texts.push(format!("{more} more {kind} annotations omitted"));
            }
            texts
        };
        (of(false), of(true))
    }
}
