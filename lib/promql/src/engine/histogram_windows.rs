//! Native histograms among stored samples, and windows of them.

use std::sync::Arc;

use model::histogram::{CounterResetHint, FloatHistogram};
use model::is_stale_marker;

use super::annotation::Note;
use super::evaluate::{Done, Evaluator, Series, Sink};
use super::function::histogram_range::{MixedWindow, Outcome};
use super::function::range::{Parameters, Samples};
use super::function::sliding::Scratch;
use super::plan::Range;
use super::row::Row;
use super::select::{Windows, looks_like_no_counter};
use crate::error::QueryError;
use crate::storage::{HistogramSample, Samples as Stored};

/// The histogram that a sample is.
pub(super) fn histogram_at(samples: &Stored, index: usize) -> Option<&Arc<FloatHistogram>> {
    if samples.histograms.is_empty() {
        return None;
    }
    let found = samples.histograms.binary_search_by_key(&index, |sample| sample.index).ok()?;
    Some(&samples.histograms[found].histogram)
}

/// The same for windows over a subquery: neighbours there were none in storage.
pub(super) fn forget_resets(samples: &mut Stored) {
    for HistogramSample { histogram, .. } in &mut samples.histograms {
        let hint = histogram.counter_reset_hint;
        if matches!(hint, CounterResetHint::CounterReset | CounterResetHint::NotCounterReset) {
            Arc::make_mut(histogram).counter_reset_hint = CounterResetHint::Unknown;
        }
    }
}

pub(super) fn drop_stale_histograms(samples: &mut Stored) {
    let mut kept = Stored::default();
    let mut histograms = std::mem::take(&mut samples.histograms).into_iter().peekable();
    for (index, (time, value)) in samples.timestamps.iter().zip(&samples.values).enumerate() {
        let histogram = histograms.next_if(|sample| sample.index == index);
        let stale = match &histogram {
            Some(sample) => sample.histogram.is_stale(),
            None => is_stale_marker(*value),
        };
        if stale {
            continue;
        }
        if let Some(HistogramSample { histogram, .. }) = histogram {
            kept.histograms.push(HistogramSample { index: kept.values.len(), histogram });
        }
        kept.timestamps.push(*time);
        kept.values.push(*value);
        if let Some(start) = samples.start_timestamps.as_ref().and_then(|starts| starts.get(index))
        {
            kept.start_timestamps.get_or_insert_default().push(*start);
        }
        if let Some(count) = samples.counts.as_ref().and_then(|counts| counts.get(index)) {
            kept.counts.get_or_insert_default().push(*count);
        }
    }
    *samples = kept;
}

/// Leaves count and sum only (`HistogramStatsIterator`); what the buckets say of resets becomes the hint.
pub(super) fn keep_counts(samples: &mut Stored) {
    let mut before: Option<Arc<FloatHistogram>> = None;
    for HistogramSample { histogram, .. } in &mut samples.histograms {
        let mut hint = histogram.counter_reset_hint;
        if !histogram.is_stale() {
            if let (CounterResetHint::Unknown, Some(before)) = (hint, &before) {
                hint = if histogram.detect_reset(before) {
                    CounterResetHint::CounterReset
                } else {
                    CounterResetHint::NotCounterReset
                };
            }
            before = Some(Arc::clone(histogram));
        }
        *histogram = Arc::new(FloatHistogram {
            counter_reset_hint: hint,
            schema: histogram.schema,
            count: histogram.count,
            sum: histogram.sum,
            ..FloatHistogram::default()
        });
    }
}

impl Windows<'_> {
    /// The histograms of a window.
    pub fn histograms(&self, window: &Samples<'_>) -> &[HistogramSample] {
        let all = &self.samples.histograms;
        let end = window.base + window.times.len();
        let first = all.partition_point(|sample| sample.index < window.base);
        let after = all.partition_point(|sample| sample.index < end);
        &all[first..after]
    }
}

impl Evaluator<'_> {
    /// A function over the windows of a series that has histograms.
    pub(super) fn mixed_range(
        &self,
        range: &Range,
        series: &Series,
        windows: &Windows<'_>,
        parameters: &dyn Fn(usize) -> Parameters,
        row: &mut Row,
        sink: &mut Sink<'_>,
    ) -> Done {
        let function = range.function;
        let span = range.window.span;
        let metric = series.labels.metric_name();
        let mut tell = |note: Note| self.note(note, Some(span));
        let mut scratch = Scratch::default();
        let mut numbers = Numbers::default();
        let mut any_number = false;
        windows.for_each(false, |step, samples| {
            let parameters = parameters(step);
            (function.check)(parameters).map_err(QueryError::Execution)?;
            let histograms = windows.histograms(samples);
            if !histograms.is_empty() {
                match (MixedWindow { samples, histograms, metric })
                    .evaluate(function.name, &mut tell)
                {
                    Outcome::Nothing => return Ok(()),
                    Outcome::Histogram(histogram) => {
                        row.set_histogram(step, Arc::new(histogram));
                        return Ok(());
                    }
                    Outcome::Number(number) => {
                        row.set(step, number);
                        any_number = true;
                        return Ok(());
                    }
                    Outcome::OfNumbersOnly => {}
                }
            }
            if function.wants_quantile && !(0.0..=1.0).contains(&parameters[0]) {
                let span = range.parameters.first().map(|(_, span)| *span);
                self.note(Note::InvalidQuantile(parameters[0]), span);
            }
            numbers.take(samples, histograms, function.needs_resets);
            if numbers.values.is_empty() {
                return Ok(());
            }
            if !histograms.is_empty() {
                tell(Note::IgnoredInRange(metric.to_owned()));
            }
            let samples = numbers.samples(samples);
            // Without the histograms, the numbers of two windows do not count alike.
            scratch.forget();
            if let Some(result) = (function.kernel)(&samples, parameters, &mut scratch) {
                row.set(step, result);
                any_number = true;
            }
            Ok(())
        })?;
        if row.valid.is_empty() {
            return Ok(());
        }
        if any_number && function.wants_counter && looks_like_no_counter(metric) {
            tell(Note::PossibleNonCounter(metric.to_owned()));
        }
        if function.keeps_name {
            return sink(series, row);
        }
        sink(&self.renamed(series), row)
    }
}

/// The numbers of a mixed window.
#[derive(Default)]
struct Numbers {
    times: Vec<i64>,
    values: Vec<f64>,
    starts: Vec<i64>,
    resets: Vec<usize>,
}

impl Numbers {
    fn take(&mut self, window: &Samples<'_>, histograms: &[HistogramSample], resets: bool) {
        self.times.clear();
        self.values.clear();
        self.starts.clear();
        self.resets.clear();
        let mut histograms = histograms.iter().peekable();
        for (at, (time, value)) in window.times.iter().zip(window.values).enumerate() {
            if histograms.next_if(|sample| sample.index == window.base + at).is_none() {
                self.times.push(*time);
                self.values.push(*value);
                self.starts.extend(window.starts.get(at));
            }
        }
        if resets {
            let falls = |(_, pair): &(usize, &[f64])| pair[1] < pair[0];
            let found = self.values.windows(2).enumerate().filter(falls);
            self.resets.extend(found.map(|(at, _)| at + 1));
        }
    }

    fn samples<'a>(&'a self, window: &Samples<'a>) -> Samples<'a> {
        let (times, values, resets) = (&self.times[..], &self.values[..], &self.resets[..]);
        Samples { times, values, starts: &self.starts, counts: &[], resets, base: 0, ..*window }
    }
}
