//! What two replicas become, sample by sample, histograms included.

use std::sync::Arc;

use model::histogram::{CounterResetHint, FloatHistogram};
use promql::storage::{HistogramSample, Samples};

/// Collects samples of two sides.
pub(super) struct Output<'a> {
    sides: [&'a Samples; 2],
    /// Side and index of the sample taken last.
    last: Option<(usize, usize)>,
    out: Samples,
}

impl<'a> Output<'a> {
    pub(super) fn new(sides: [&'a Samples; 2], capacity: usize) -> Self {
        let has_counts = sides.iter().any(|side| side.counts.is_some());
        let out = Samples {
            timestamps: Vec::with_capacity(capacity),
            values: Vec::with_capacity(capacity),
            counts: has_counts.then(|| Vec::with_capacity(capacity)),
            ..Samples::default()
        };
        Self { sides, last: None, out }
    }

    fn histogram(&self, side: usize, i: usize) -> Option<&'a Arc<FloatHistogram>> {
        let all = &self.sides[side].histograms;
        if all.is_empty() {
            return None;
        }
        all.binary_search_by_key(&i, |h| h.index).ok().map(|at| &all[at].histogram)
    }

    pub(super) fn is_histogram(&self, side: usize, i: usize) -> bool {
        self.histogram(side, i).is_some()
    }

    /// Takes a sample of one side: its time, its histogram if it is one, and a value.
    pub(super) fn take(&mut self, side: usize, i: usize, value: f64) {
        if let Some(histogram) = self.histogram(side, i) {
            let follows =
                self.last.is_none_or(|last| i.checked_sub(1) == Some(last.1) && last.0 == side);
            let histogram = if follows { histogram.clone() } else { without_hint(histogram) };
            self.out
                .histograms
                .push(HistogramSample { index: self.out.timestamps.len(), histogram });
        }
        if let Some(counts) = &mut self.out.counts {
            let of_side = self.sides[side].counts.as_ref();
            counts.push(of_side.and_then(|counts| counts.get(i).copied()).unwrap_or(1.0));
        }
        self.last = Some((side, i));
        self.out.timestamps.push(self.sides[side].timestamps[i]);
        self.out.values.push(value);
    }

    pub(super) fn last_value(&self) -> Option<f64> {
        self.out.values.last().copied()
    }

    pub(super) fn finish(self) -> Samples {
        self.out
    }
}

/// A histogram that no longer follows the one it was compared with when it was stored: whether the counter was reset
/// between has to be found out. A gauge stays one.
pub(crate) fn without_hint(histogram: &Arc<FloatHistogram>) -> Arc<FloatHistogram> {
    match histogram.counter_reset_hint {
        CounterResetHint::Unknown | CounterResetHint::Gauge => histogram.clone(),
        CounterResetHint::CounterReset | CounterResetHint::NotCounterReset => {
            let counter_reset_hint = CounterResetHint::Unknown;
            Arc::new(FloatHistogram { counter_reset_hint, ..FloatHistogram::clone(histogram) })
        }
    }
}
