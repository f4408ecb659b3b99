//! `histogram_quantile` and `histogram_fraction` over classic histograms: series that differ in `le` only.

use model::Labels;

use super::annotation::{Forced, Note};
use super::collect::Distinct;
use super::evaluate::{Done, Evaluator, Series, Sink, without_name};
use super::function::buckets::{Bucket, Raised, fraction, quantile};
use super::grid::Grid;
use super::ordinals::{KeyLabels, Ordinals};
use super::plan::{Buckets, BucketsKind, Scalar, Vector};
use super::row::{Row, Steps};
use crate::ast::Span;
use crate::budget::{Reserved, labels_bytes};
use crate::error::QueryError;

/// The label that holds a bucket's upper bound.
const BOUND: &str = "le";

struct Histogram {
    labels: Labels,
    buckets: Vec<(f64, Row)>,
}

/// The parameters, per step.
pub(super) enum Columns {
    Quantile(Vec<f64>),
    Fraction(Vec<f64>, Vec<f64>),
}

/// What histograms are made of, and where it stands in the query.
#[derive(Clone, Copy)]
pub(super) struct Input<'a> {
    pub node: &'a Vector,
    pub span: Span,
}

/// The histograms of an input.
struct Found<'q> {
    /// A row for each of the columns.
    native: Vec<(Labels, Vec<Row>)>,
    classic: Vec<Histogram>,
    /// Of the classic ones.
    ordinals: Ordinals<'q>,
    /// Held as long as the histograms are.
    _memory: Reserved,
}

impl Evaluator<'_> {
    pub(super) fn buckets(&self, node: &Buckets, grid: Grid, sink: &mut Sink<'_>) -> Done {
        let columns = match &node.kind {
            BucketsKind::Quantile(scalar, span) => {
                Columns::Quantile(self.quantile_column(scalar, *span, grid)?)
            }
            BucketsKind::Fraction(lower, upper) => {
                Columns::Fraction(self.scalar(lower, grid)?, self.scalar(upper, grid)?)
            }
        };
        let input = Input { node: &node.input, span: node.input_span };
        self.of_buckets(input, &[columns], grid, &mut |_, series, row| sink(series, row))
    }

    /// A quantile per step; the user hears of those that are none.
    pub(super) fn quantile_column(
        &self,
        scalar: &Scalar,
        span: Span,
        grid: Grid,
    ) -> Result<Vec<f64>, QueryError> {
        let column = self.scalar(scalar, grid)?;
        for value in column.iter().filter(|value| !(0.0..=1.0).contains(*value)) {
            self.note(Note::InvalidQuantile(*value), Some(span));
        }
        Ok(column)
    }

    /// Evaluates the input once and hands over a row for each of the columns, whose number comes with it, and
    /// histogram.
    pub(super) fn of_buckets(
        &self,
        input: Input<'_>,
        columns: &[Columns],
        grid: Grid,
        each: &mut dyn FnMut(usize, &Series, &mut Row) -> Done,
    ) -> Done {
        let mut found = self.find_histograms(input, columns, grid)?;
        for (labels, rows) in &mut found.native {
            if let Some(ordinal) = found.ordinals.find(labels.iter()) {
                self.drop_mixed(rows, &mut found.classic[ordinal], input.span);
            }
        }
        let named = |labels: &Labels| Series {
            labels: if self.delayed_name_removal { labels.clone() } else { without_name(labels) },
            drop_name: true,
        };
        for (number, column) in columns.iter().enumerate() {
            let mut seen = Distinct::new(self);
            let mut give = |series: &Series, row: &mut Row| {
                if row.valid.is_empty() {
                    return Ok(());
                }
                seen.check(&series.labels, &row.valid)?;
                each(number, series, row)
            };
            for (labels, rows) in &mut found.native {
                give(&named(labels), &mut rows[number])?;
            }
            for histogram in &found.classic {
                let mut row = self.evaluate(histogram, column, input.span, grid);
                give(&named(&histogram.labels), &mut row)?;
            }
        }
        Ok(())
    }

    fn find_histograms(
        &self,
        input: Input<'_>,
        columns: &[Columns],
        grid: Grid,
    ) -> Result<Found<'_>, QueryError> {
        let mut held = 0;
        let mut memory = self.reserve("buckets of histograms");
        let key = KeyLabels::all_but([BOUND]);
        let mut ordinals = self.ordinals("classic histograms");
        let mut classic: Vec<Histogram> = Vec::new();
        let mut native: Vec<(Labels, Vec<Row>)> = Vec::new();
        self.vector(input.node, grid, &mut |series, row| {
            if row.has_histograms() {
                let rows =
                    columns.iter().map(|column| self.of_native(series, row, column, input.span));
                native.push((series.labels.clone(), rows.collect()));
                self.hold(grid.len * columns.len())?;
                held += grid.len * columns.len();
                let rows = Row::plain_bytes(grid.len) * columns.len();
                memory.grow(series.bytes() + rows)?;
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
                self.note(note, Some(input.span));
                return Ok(());
            };
            let samples = row.valid.count();
            self.hold(samples)?;
            held += samples;
            memory.grow(size_of::<f64>() + row.bytes())?;
            let (ordinal, new) = ordinals.of(key.of(series.labels.iter()))?;
            if new {
                let labels = ordinals.labels(ordinal);
                memory.grow(labels_bytes(&labels) + size_of::<Histogram>())?;
                classic.push(Histogram { labels, buckets: Vec::new() });
            }
            classic[ordinal].buckets.push((bound, row.clone()));
            Ok(())
        })?;
        self.release(held);
        Ok(Found { native, classic, ordinals, _memory: memory })
    }

    /// The function of each native histogram of a row.
    fn of_native(&self, series: &Series, row: &Row, columns: &Columns, span: Span) -> Row {
        let mut out = Row::none(row.values.len());
        for (step, histogram) in row.iter_histograms() {
            let (value, effect) = match columns {
                Columns::Quantile(column) => histogram.quantile(column[step]),
                Columns::Fraction(lower, upper) => histogram.fraction(lower[step], upper[step]),
            };
            if let Some(effect) = effect {
                let note = Note::NanObservations(effect, self.told_name(&series.labels));
                self.note(note, Some(span));
            }
            out.set(step, value);
        }
        out
    }

    /// Where one series has a native histogram and classic buckets nobody knows which is meant.
    fn drop_mixed(&self, native: &mut [Row], classic: &mut Histogram, span: Span) {
        // All rows have values at the same steps.
        let Some(first) = native.first() else { return };
        let mut both = Steps::none(first.values.len());
        for (_, row) in &classic.buckets {
            both.add(&row.valid);
        }
        both.keep(&first.valid);
        if both.is_empty() {
            return;
        }
        let note = Note::MixedClassicNative(self.told_name(&classic.labels));
        self.note(note, Some(span));
        native.iter_mut().for_each(|row| row.valid.subtract(&both));
        for (_, row) in &mut classic.buckets {
            row.valid.subtract(&both);
        }
    }

    fn evaluate(&self, histogram: &Histogram, columns: &Columns, span: Span, grid: Grid) -> Row {
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
                        self.tell_raised(&histogram.labels, raised, grid.time(step), span);
                    }
                    value
                }
            };
            out.set(step, value);
        }
        out
    }

    fn tell_raised(&self, labels: &Labels, raised: Raised, time: i64, span: Span) {
        let forced = Forced {
            metric: self.told_name(labels),
            times: (time, time),
            buckets: raised.bounds,
            difference: raised.difference,
            samples: 1,
        };
        self.note(Note::ForcedMonotonicity(forced), Some(span));
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
