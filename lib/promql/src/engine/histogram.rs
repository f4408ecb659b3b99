//! `histogram_quantile` and `histogram_fraction` over classic histograms: series that differ in `le` only.

use model::Labels;

use super::aggregate::Ordinals;
use super::annotation::{Forced, Note};
use super::collect::Distinct;
use super::evaluate::{Done, Evaluator, Series, Sink, without_name};
use super::function::buckets::{Bucket, Raised, fraction, quantile};
use super::grid::Grid;
use super::memory::ENTRY;
use super::plan::{Buckets, BucketsKind, Vector};
use super::row::{Row, Steps};
use crate::ast::Span;
use crate::budget::labels_bytes;

/// What is evaluated.
#[derive(Clone, Copy)]
pub(super) struct BucketsOf<'p> {
    pub kind: &'p BucketsKind,
    pub input: &'p Vector,
    pub input_span: Span,
}

impl Buckets {
    pub(super) fn as_of(&self) -> BucketsOf<'_> {
        BucketsOf { kind: &self.kind, input: &self.input, input_span: self.input_span }
    }
}

/// The label that holds a bucket's upper bound.
const BOUND: &str = "le";

struct Histogram {
    labels: Labels,
    buckets: Vec<(f64, Row)>,
}

/// The parameters, per step.
enum Columns {
    Quantile(Vec<f64>),
    Fraction(Vec<f64>, Vec<f64>),
}

impl Evaluator<'_> {
    pub(super) fn buckets(&self, node: BucketsOf<'_>, grid: Grid, sink: &mut Sink<'_>) -> Done {
        let columns = match node.kind {
            BucketsKind::Quantile(scalar, span) => {
                let column = self.scalar(scalar, grid)?;
                for value in column.iter().filter(|value| !(0.0..=1.0).contains(*value)) {
                    self.note(Note::InvalidQuantile(*value), Some(*span));
                }
                Columns::Quantile(column)
            }
            BucketsKind::Fraction(lower, upper) => {
                Columns::Fraction(self.scalar(lower, grid)?, self.scalar(upper, grid)?)
            }
        };
        let mut held = 0;
        let mut memory = self.reserve("buckets of classic histograms");
        let mut ordinals = Ordinals::default();
        let mut histograms: Vec<Histogram> = Vec::new();
        let mut native: Vec<(Labels, Row)> = Vec::new();
        self.vector(node.input, grid, &mut |series, row| {
            if row.has_histograms() {
                native.push((series.labels.clone(), self.of_native(series, row, &columns, node)));
                self.hold(grid.len)?;
                memory.grow(series.bytes() + Row::plain_bytes(grid.len))?;
                held += grid.len;
                row.drop_histograms();
                if row.valid.is_empty() {
                    return Ok(());
                }
            }
            let text = series.labels.value(BOUND);
            let Some(bound) = parse_bound(text) else {
                let note = Note::BadBucketLabel {
                    metric: self.told_name(&series.labels),
                    label: text.to_owned(),
                };
                self.note(note, Some(node.input_span));
                return Ok(());
            };
            let samples = row.valid.count();
            self.hold(samples)?;
            held += samples;
            memory.grow(size_of::<f64>() + row.bytes())?;
            let labels = series.labels.filter(|name| name != BOUND);
            let (ordinal, new) = ordinals.of(labels.clone());
            if new {
                memory.grow(labels_bytes(&labels) + ENTRY + size_of::<Histogram>())?;
                histograms.push(Histogram { labels, buckets: Vec::new() });
            }
            histograms[ordinal].buckets.push((bound, row.clone()));
            Ok(())
        })?;
        self.release(held);
        let mut seen = Distinct::new(self);
        for (labels, mut row) in native {
            if let Some(ordinal) = ordinals.find(&labels) {
                self.drop_mixed(&mut row, &mut histograms[ordinal], node);
            }
            if row.valid.is_empty() {
                continue;
            }
            let labels = if self.delayed_name_removal { labels } else { without_name(&labels) };
            seen.check(&labels, &row.valid)?;
            sink(&Series { labels, drop_name: true }, &mut row)?;
        }
        for histogram in histograms {
            let mut row = self.evaluate(&histogram, &columns, node, grid);
            if row.valid.is_empty() {
                continue;
            }
            let labels = match self.delayed_name_removal {
                true => histogram.labels,
                false => without_name(&histogram.labels),
            };
            seen.check(&labels, &row.valid)?;
            sink(&Series { labels, drop_name: true }, &mut row)?;
        }
        Ok(())
    }

    /// The function of each native histogram of a row.
    fn of_native(&self, series: &Series, row: &Row, columns: &Columns, node: BucketsOf<'_>) -> Row {
        let mut out = Row::none(row.values.len());
        for (step, histogram) in row.iter_histograms() {
            let (value, effect) = match columns {
                Columns::Quantile(column) => histogram.quantile(column[step]),
                Columns::Fraction(lower, upper) => histogram.fraction(lower[step], upper[step]),
            };
            if let Some(effect) = effect {
                let note = Note::NanObservations(effect, self.told_name(&series.labels));
                self.note(note, Some(node.input_span));
            }
            out.set(step, value);
        }
        out
    }

    /// Where one series has a native histogram and classic buckets nobody knows which is meant.
    fn drop_mixed(&self, native: &mut Row, classic: &mut Histogram, node: BucketsOf<'_>) {
        let mut both = Steps::none(native.values.len());
        for (_, row) in &classic.buckets {
            both.add(&row.valid);
        }
        both.keep(&native.valid);
        if both.is_empty() {
            return;
        }
        let note = Note::MixedClassicNative(self.told_name(&classic.labels));
        self.note(note, Some(node.input_span));
        native.valid.subtract(&both);
        for (_, row) in &mut classic.buckets {
            row.valid.subtract(&both);
        }
    }

    fn evaluate(
        &self,
        histogram: &Histogram,
        columns: &Columns,
        node: BucketsOf<'_>,
        grid: Grid,
    ) -> Row {
        let mut out = Row::none(grid.len);
        let mut buckets = Vec::with_capacity(histogram.buckets.len());
        for step in 0..grid.len {
            buckets.clear();
            buckets.extend(
                histogram.buckets.iter().filter_map(|(upper, row)| {
                    Some(Bucket { upper: *upper, count: row.get(step)? })
                }),
            );
            if buckets.is_empty() {
                continue;
            }
            let value = match columns {
                Columns::Fraction(lower, upper) => fraction(lower[step], upper[step], &mut buckets),
                Columns::Quantile(column) => {
                    let (value, raised) = quantile(column[step], &mut buckets);
                    if let Some(raised) = raised {
                        self.tell_raised(&histogram.labels, raised, grid.time(step), node);
                    }
                    value
                }
            };
            out.set(step, value);
        }
        out
    }

    fn tell_raised(&self, labels: &Labels, raised: Raised, time: i64, node: BucketsOf<'_>) {
        let forced = Forced {
            metric: self.told_name(labels),
            times: (time, time),
            buckets: raised.bounds,
            difference: raised.difference,
            samples: 1,
        };
        self.note(Note::ForcedMonotonicity(forced), Some(node.input_span));
    }

    /// Annotations carry the metric name only while it still means something.
    fn told_name(&self, labels: &Labels) -> String {
        if self.delayed_name_removal { labels.metric_name().to_owned() } else { String::new() }
    }
}

/// Go's number syntax, as far as bounds have it.
fn parse_bound(text: &str) -> Option<f64> {
    text.parse().ok()
}
