//! Functions of windows in which native histograms are (promql/functions.go).

use std::sync::Arc;

use model::histogram::{Accumulator, CounterResetHint, FloatHistogram, Mean, Merged};

use super::range::{Samples, counted};
use crate::engine::annotation::{Note, Operation};
use crate::engine::start;
use crate::storage::HistogramSample;

/// A window with at least one histogram.
pub(in crate::engine) struct MixedWindow<'a> {
    /// All times; those of histograms too.
    pub samples: &'a Samples<'a>,
    /// Indices count from `samples.base`.
    pub histograms: &'a [HistogramSample],
    pub metric: &'a str,
}

pub(in crate::engine) enum Outcome {
    Nothing,
    Number(f64),
    Histogram(FloatHistogram),
    /// The function is about numbers only; there may be some among the histograms.
    OfNumbersOnly,
}

/// Why there is no result.
struct Refused(Note);

type Result<T> = std::result::Result<T, Refused>;

#[expect(clippy::cast_precision_loss, reason = "milliseconds and counts of a window fit a float")]
fn seconds(milliseconds: i64) -> f64 {
    milliseconds as f64 / 1000.0
}

#[expect(clippy::cast_precision_loss, reason = "windows have fewer samples than 2^53")]
fn number(count: usize) -> f64 {
    count as f64
}

/// What histograms say of resets, to find out whether they contradict each other.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::engine) struct SeenHints {
    reset: bool,
    no_reset: bool,
}

impl SeenHints {
    pub fn see(&mut self, hint: CounterResetHint) {
        self.reset |= hint == CounterResetHint::CounterReset;
        self.no_reset |= hint == CounterResetHint::NotCounterReset;
    }

    pub fn collide(self) -> bool {
        self.reset && self.no_reset
    }
}

impl MixedWindow<'_> {
    fn only_histograms(&self) -> bool {
        self.histograms.len() == self.samples.times.len()
    }

    fn time(&self, at: usize) -> i64 {
        self.samples.times[self.histograms[at].index - self.samples.base]
    }

    fn at_index(&self, index: usize) -> Option<&Arc<FloatHistogram>> {
        let index = index + self.samples.base;
        let found = self.histograms.binary_search_by_key(&index, |sample| sample.index).ok()?;
        Some(&self.histograms[found].histogram)
    }

    fn mixed(&self) -> Refused {
        Refused(Note::MixedFloatsHistograms(self.metric.to_owned()))
    }

    fn incompatible(&self) -> Refused {
        Refused(Note::MixedExponentialCustom(self.metric.to_owned()))
    }

    /// The function by name.
    pub fn evaluate(&self, name: &str, note: &mut dyn FnMut(Note)) -> Outcome {
        let result = match name {
            "rate" => self.extrapolated(true, true, note),
            "increase" => self.extrapolated(true, false, note),
            "delta" => self.extrapolated(false, false, note),
            "irate" => self.instant_change(true, note),
            "idelta" => self.instant_change(false, note),
            "sum_over_time" => self.total(note),
            "avg_over_time" => self.average(note),
            "first_over_time" => Ok(self.sample(0)),
            "last_over_time" => Ok(self.sample(self.samples.times.len() - 1)),
            "resets" => {
                let anew = |at| start::restarts_at(self.samples, at);
                Ok(Outcome::Number(self.pairs(anew, |a, b| b.detect_reset(a), |a, b| b < a)))
            }
            "changes" => {
                let differ = |a: f64, b: f64| a != b && !(a.is_nan() && b.is_nan());
                Ok(Outcome::Number(self.pairs(|_| false, |a, b| !a.same(b), differ)))
            }
            "count_over_time" => Ok(Outcome::Number(counted(self.samples))),
            "present_over_time" => Ok(Outcome::Number(1.0)),
            "ts_of_first_over_time" => Ok(Outcome::Number(seconds(self.samples.times[0]))),
            "ts_of_last_over_time" => {
                let last = self.samples.times.last().copied().unwrap_or_default();
                Ok(Outcome::Number(seconds(last)))
            }
            _ => Ok(Outcome::OfNumbersOnly),
        };
        result.unwrap_or_else(|Refused(reason)| {
            note(reason);
            Outcome::Nothing
        })
    }

    fn sample(&self, index: usize) -> Outcome {
        match self.at_index(index) {
            Some(histogram) => Outcome::Histogram((**histogram).clone()),
            None => Outcome::Number(self.samples.values[index]),
        }
    }

    /// How many neighbours differ; a histogram beside a number always does. `anew` is asked about the second one's
    /// place in the window.
    fn pairs(
        &self,
        anew: impl Fn(usize) -> bool,
        histograms: impl Fn(&FloatHistogram, &FloatHistogram) -> bool,
        numbers: impl Fn(f64, f64) -> bool,
    ) -> f64 {
        let differ = |at: &usize| match (self.at_index(*at), self.at_index(*at + 1)) {
            (Some(a), Some(b)) => anew(*at + 1) || histograms(a, b),
            (None, None) => {
                anew(*at + 1) || numbers(self.samples.values[*at], self.samples.values[*at + 1])
            }
            _ => true,
        };
        number((0..self.samples.times.len() - 1).filter(differ).count())
    }

    fn tell(&self, merged: Merged, operation: Operation, note: &mut dyn FnMut(Note)) {
        if merged.bounds_reconciled {
            note(Note::ReconciledBounds(operation));
        }
    }

    /// `histogramRate`: the difference of the ends, with what resets have hidden.
    fn change(&self, counter: bool, note: &mut dyn FnMut(Note)) -> Result<FloatHistogram> {
        let all = || self.histograms.iter().map(|sample| &*sample.histogram);
        let [first, .., last] = self.histograms else { return Err(self.mixed()) };
        let is_gauge = |h: &FloatHistogram| h.counter_reset_hint == CounterResetHint::Gauge;
        let (mut first, last) = (&*first.histogram, &*last.histogram);
        let empty;
        if counter {
            if is_gauge(first) || is_gauge(last) {
                note(Note::NotCounter(self.metric.to_owned()));
            }
            let second = &*self.histograms[1].histogram;
            if start::restarts_at(self.samples, 1) || second.detect_reset(first) {
                // The first sample is of another life of the counter, so its buckets do not matter.
                empty = FloatHistogram {
                    schema: second.schema,
                    custom_values: second.custom_values.clone(),
                    ..FloatHistogram::default()
                };
                first = &empty;
            }
        }
        let custom = first.uses_custom_buckets();
        if last.uses_custom_buckets() != custom {
            return Err(self.incompatible());
        }
        let mut schema = last.schema.min(first.schema);
        if counter {
            for between in all().skip(1).take(self.histograms.len() - 2) {
                if is_gauge(between) {
                    note(Note::NotCounter(self.metric.to_owned()));
                }
                schema = schema.min(between.schema);
                if between.uses_custom_buckets() != custom {
                    return Err(self.incompatible());
                }
            }
        }
        let mut change = Accumulator::new(last);
        change.coarsen(schema);
        let merged = change.subtract(first).map_err(|_| self.incompatible())?;
        self.tell(merged, Operation::Subtraction, note);
        if counter {
            if start::overlap(self.samples) {
                note(Note::StartTimeOverlap(self.metric.to_owned(), 1));
            }
            let mut before = first;
            for (at, now) in all().enumerate().skip(1) {
                if start::restarts_at(self.samples, at) || now.detect_reset(before) {
                    let merged = change.add(before).map_err(|_| self.incompatible())?;
                    self.tell(merged, Operation::Addition, note);
                }
                before = now;
            }
        } else if !is_gauge(first) || !is_gauge(last) {
            note(Note::NotGauge(self.metric.to_owned()));
        }
        let mut change = change.value();
        change.counter_reset_hint = CounterResetHint::Gauge;
        change.compact();
        Ok(change)
    }

    /// The change of a counter that began at zero within the window.
    fn since_zero(&self, note: &mut dyn FnMut(Note)) -> Result<FloatHistogram> {
        let first = &*self.histograms[0].histogram;
        if self.histograms.len() == 1 {
            return Ok(first.clone());
        }
        let change = self.change(true, note)?;
        let (change, merged) = change.plus(first).map_err(|_| self.incompatible())?;
        self.tell(merged, Operation::Addition, note);
        Ok(change)
    }

    fn extrapolated(
        &self,
        counter: bool,
        per_second: bool,
        note: &mut dyn FnMut(Note),
    ) -> Result<Outcome> {
        if !self.only_histograms() {
            return Err(self.mixed());
        }
        let count = self.histograms.len();
        if let Some(began) = start::began(self.samples).filter(|_| counter) {
            let mut change = self.since_zero(note)?;
            change.multiply(start::factor(self.samples, began, per_second));
            return Ok(Outcome::Histogram(change));
        }
        if count < 2 {
            return Ok(Outcome::Nothing);
        }
        let mut change = self.change(counter, note)?;
        let (first_time, last_time) = (self.time(0), self.time(count - 1));
        let mut to_start = seconds(first_time - self.samples.start);
        let mut to_end = seconds(self.samples.end - last_time);
        let sampled = seconds(last_time - first_time);
        let gap = sampled / number(count - 1);
        let threshold = gap * 1.1;
        if to_start >= threshold {
            to_start = gap / 2.0;
        }
        let first = self.histograms[0].histogram.count;
        if counter && change.count > 0.0 && first >= 0.0 {
            let to_zero = sampled * (first / change.count);
            if to_zero < to_start {
                to_start = to_zero;
            }
        }
        if to_end >= threshold {
            to_end = gap / 2.0;
        }
        let mut factor = if sampled == 0.0 { 1.0 } else { (sampled + to_start + to_end) / sampled };
        if per_second {
            factor /= seconds(self.samples.end - self.samples.start);
        }
        change.multiply(factor);
        Ok(Outcome::Histogram(change))
    }

    /// From the last two samples, of whatever kind.
    fn instant_change(&self, counter: bool, note: &mut dyn FnMut(Note)) -> Result<Outcome> {
        let [.., before_time, last_time] = self.samples.times else { return Ok(Outcome::Nothing) };
        let last_index = self.samples.times.len() - 1;
        let (before, last) = match (self.at_index(last_index - 1), self.at_index(last_index)) {
            (Some(before), Some(last)) => (before, last),
            (None, None) => return Ok(Outcome::OfNumbersOnly),
            _ => return Err(self.mixed()),
        };
        let interval = last_time - before_time;
        let gauges = [before, last].map(|h| h.counter_reset_hint == CounterResetHint::Gauge);
        if counter && gauges.contains(&true) {
            note(Note::NotCounter(self.metric.to_owned()));
        }
        if !counter && gauges.contains(&false) {
            note(Note::NotGauge(self.metric.to_owned()));
        }
        let over = || start::restarts_at(self.samples, last_index) || last.detect_reset(before);
        let mut change = if counter && over() {
            (**last).clone()
        } else {
            let (change, merged) = last.minus(before).map_err(|_| self.incompatible())?;
            self.tell(merged, Operation::Subtraction, note);
            change
        };
        change.counter_reset_hint = CounterResetHint::Gauge;
        change.compact();
        if counter {
            change.divide(seconds(interval));
        }
        Ok(Outcome::Histogram(change))
    }

    fn total(&self, note: &mut dyn FnMut(Note)) -> Result<Outcome> {
        let mut sum = None;
        self.fold(note, |histogram| match &mut sum {
            None => {
                sum = Some(Accumulator::new(histogram));
                Ok(Merged::default())
            }
            Some(sum) => sum.add(histogram),
        })?;
        Ok(sum.map_or(Outcome::Nothing, |sum| Outcome::Histogram(sum.value())))
    }

    fn average(&self, note: &mut dyn FnMut(Note)) -> Result<Outcome> {
        let mut mean = None;
        self.fold(note, |histogram| match &mut mean {
            None => {
                mean = Some(Mean::new(histogram));
                Ok(Merged::default())
            }
            Some(mean) => mean.add(histogram),
        })?;
        Ok(mean.map_or(Outcome::Nothing, |mean| Outcome::Histogram(mean.value())))
    }

    fn fold(
        &self,
        note: &mut dyn FnMut(Note),
        mut add: impl FnMut(
            &FloatHistogram,
        )
            -> std::result::Result<Merged, model::histogram::IncompatibleSchema>,
    ) -> Result<()> {
        if !self.only_histograms() {
            return Err(self.mixed());
        }
        let mut hints = SeenHints::default();
        let mut reconciled = false;
        for sample in self.histograms {
            hints.see(sample.histogram.counter_reset_hint);
            let merged = add(&sample.histogram).map_err(|_| self.incompatible())?;
            reconciled |= merged.bounds_reconciled;
        }
        if hints.collide() {
            note(Note::ResetCollision(Operation::Aggregation));
        }
        if reconciled {
            note(Note::ReconciledBounds(Operation::Aggregation));
        }
        Ok(())
    }
}
