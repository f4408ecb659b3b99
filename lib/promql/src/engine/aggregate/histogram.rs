//! Sums and means of native histograms over the series of a group.

use model::histogram::{Accumulator, FloatHistogram, Mean};

use crate::ast::AggregateOp;
use crate::budget::histogram_bytes;
use crate::engine::annotation::{Note, Operation};
use crate::engine::evaluate::Evaluator;
use crate::engine::function::histogram_range::SeenHints;
use crate::engine::plan::Aggregate;
use crate::engine::row::Row;
use std::sync::Arc;

/// What is known of a group's histograms so far, per step.
pub(super) struct HistogramFold {
    steps: Vec<Option<Step>>,
}

struct Step {
    fold: Fold,
    hints: SeenHints,
}

enum Fold {
    Sum(Accumulator),
    Mean(Mean),
    /// Exponential and custom buckets met.
    Incompatible,
}

impl Step {
    fn new(op: AggregateOp, first: &FloatHistogram) -> Self {
        let fold = match op {
            AggregateOp::Avg => Fold::Mean(Mean::new(first)),
            _ => Fold::Sum(Accumulator::new(first)),
        };
        Self { fold, hints: SeenHints::default() }
    }
}

impl HistogramFold {
    pub fn new(len: usize) -> Box<Self> {
        Box::new(Self { steps: (0..len).map(|_| None).collect() })
    }

    /// Bytes before any histogram is in it.
    pub fn bytes(len: usize) -> usize {
        size_of::<Self>() + size_of::<Option<Step>>() * len
    }

    /// Bytes that a row would add: sums start where there were none.
    pub fn growth(&self, row: &Row) -> usize {
        let starts = row.iter_histograms().filter(|(step, _)| self.steps[*step].is_none());
        // Sums and what rounding has lost of them.
        starts.map(|(_, histogram)| 2 * histogram_bytes(histogram.weight())).sum()
    }

    /// Takes in the histograms of a row.
    pub fn add(&mut self, evaluator: &Evaluator<'_>, node: &Aggregate, metric: &str, row: &Row) {
        let tell = |note: Note| evaluator.note(note, Some(node.input_span));
        for (step, histogram) in row.iter_histograms() {
            let place = &mut self.steps[step];
            let Some(state) = place else {
                let mut state = Step::new(node.op, histogram);
                state.hints.see(histogram.counter_reset_hint);
                *place = Some(state);
                continue;
            };
            let merged = match &mut state.fold {
                Fold::Sum(sum) => sum.add(histogram),
                Fold::Mean(mean) => mean.add(histogram),
                Fold::Incompatible => continue,
            };
            state.hints.see(histogram.counter_reset_hint);
            match merged {
                Err(_) => {
                    tell(Note::MixedExponentialCustom(metric.to_owned()));
                    state.fold = Fold::Incompatible;
                }
                Ok(merged) if merged.bounds_reconciled => {
                    tell(Note::ReconciledBounds(Operation::Aggregation));
                }
                Ok(_) => {}
            }
        }
    }

    /// Puts the results beside those of the group's numbers; where there are both there is neither.
    pub fn finish(self, evaluator: &Evaluator<'_>, node: &Aggregate, row: &mut Row) {
        let tell = |note: Note| evaluator.note(note, Some(node.input_span));
        for (at, step) in self.steps.into_iter().enumerate() {
            let Some(Step { fold, hints }) = step else { continue };
            if row.valid.has(at) {
                tell(Note::MixedFloatsHistogramsInAggregation);
                row.valid.remove(at);
                continue;
            }
            let mut value = match fold {
                Fold::Sum(sum) => sum.value(),
                Fold::Mean(mean) => mean.value(),
                Fold::Incompatible => continue,
            };
            if hints.collide() {
                tell(Note::ResetCollision(Operation::Aggregation));
            }
            value.compact();
            row.set_histogram(at, Arc::new(value));
        }
    }
}
