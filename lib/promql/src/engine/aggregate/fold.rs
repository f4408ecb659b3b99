//! Aggregations that make one series per group.

use super::histogram::HistogramFold;
use crate::ast::AggregateOp;
use crate::engine::annotation::Note;
use crate::engine::evaluate::{Done, Evaluator, Series, Sink};
use crate::engine::grid::Grid;
use crate::engine::plan::Aggregate;
use crate::engine::row::Row;
use crate::engine::sum::{Mean, Sum, add_each, quantile};

/// What is known of a group so far, per step.
struct Group {
    drop_name: bool,
    /// Sum, extreme or count; for variances the sum of squares.
    row: Row,
    state: State,
    /// Only once the group has seen a histogram that counts.
    histograms: Option<Box<HistogramFold>>,
}

/// What a fold needs beside one number.
enum State {
    None,
    /// What rounding has lost of the sums.
    Lost(Vec<f64>),
    Means(Vec<Mean>),
    /// Count and mean.
    Spread(Vec<(f64, f64)>),
    /// All values.
    Values(Vec<Vec<f64>>),
}

impl Group {
    /// Bytes of a group over so many steps, before it has seen values.
    fn bytes(op: AggregateOp, len: usize) -> usize {
        let per_step = match op {
            AggregateOp::Sum => size_of::<f64>(),
            AggregateOp::Avg => size_of::<Mean>(),
            AggregateOp::Stddev | AggregateOp::Stdvar => size_of::<(f64, f64)>(),
            AggregateOp::Quantile => size_of::<Vec<f64>>(),
            _ => 0,
        };
        size_of::<Self>() + Row::plain_bytes(len) + per_step * len
    }

    fn new(op: AggregateOp, len: usize) -> Self {
        let state = match op {
            AggregateOp::Sum => State::Lost(vec![0.0; len]),
            AggregateOp::Avg => State::Means(vec![Mean::of(0.0); len]),
            AggregateOp::Stddev | AggregateOp::Stdvar => State::Spread(vec![(0.0, 0.0); len]),
            AggregateOp::Quantile => State::Values(vec![Vec::new(); len]),
            _ => State::None,
        };
        Self { drop_name: false, row: Row::none(len), state, histograms: None }
    }

    fn fold(&mut self, op: AggregateOp, input: &Row) {
        let row = &mut self.row;
        match &mut self.state {
            State::Lost(lost) if row.valid.is_full() && input.valid.is_full() => {
                add_each(&mut row.values, lost, &input.values);
            }
            State::Lost(lost) => {
                for (step, value) in input.iter() {
                    match row.get(step) {
                        None => row.set(step, value),
                        Some(total) => {
                            let sum = Sum { total, lost: lost[step] }.plus(value);
                            row.values[step] = sum.total;
                            lost[step] = sum.lost;
                        }
                    }
                }
            }
            State::Means(means) => {
                for (step, value) in input.iter() {
                    if row.valid.has(step) {
                        means[step].add(value);
                    } else {
                        row.valid.insert(step);
                        means[step] = Mean::of(value);
                    }
                }
            }
            State::Spread(spread) => fold_spread(row, spread, input),
            State::Values(values) => {
                for (step, value) in input.iter() {
                    row.valid.insert(step);
                    values[step].push(value);
                }
            }
            State::None => fold_simple(op, row, input),
        }
    }

    fn finish(&mut self, quantiles: &[f64], op: AggregateOp) {
        let row = &mut self.row;
        match &mut self.state {
            State::None => {}
            State::Lost(lost) => row.map(|step, total| Some(total + lost[step])),
            State::Means(means) => row.map(|step, _| Some(means[step].value())),
            State::Spread(spread) => row.map(|step, squares| {
                let variance = squares / spread[step].0;
                Some(if op == AggregateOp::Stddev { variance.sqrt() } else { variance })
            }),
            State::Values(values) => {
                row.map(|step, _| Some(quantile(quantiles[step], &mut values[step])));
            }
        }
    }
}

/// Welford's way. A first value that is no finite number spoils the group.
fn fold_spread(row: &mut Row, spread: &mut [(f64, f64)], input: &Row) {
    for (step, value) in input.iter() {
        let (count, mean) = &mut spread[step];
        if row.valid.has(step) {
            *count += 1.0;
            let delta = value - *mean;
            *mean += delta / *count;
            row.values[step] += delta * (value - *mean);
        } else {
            (*count, *mean) = (1.0, value);
            row.set(step, if value.is_finite() { 0.0 } else { f64::NAN });
        }
    }
}

fn fold_simple(op: AggregateOp, row: &mut Row, input: &Row) {
    match op {
        AggregateOp::Max => fold_with(
            row,
            input,
            |new| new,
            |old, new| {
                if old < new || old.is_nan() { new } else { old }
            },
        ),
        AggregateOp::Min => fold_with(
            row,
            input,
            |new| new,
            |old, new| {
                if old > new || old.is_nan() { new } else { old }
            },
        ),
        AggregateOp::Count => fold_with(row, input, |_| 1.0, |old, _| old + 1.0),
        _ => fold_with(row, input, |_| 1.0, |old, _| old),
    }
}

fn fold_with(
    row: &mut Row,
    input: &Row,
    first: impl Fn(f64) -> f64,
    next: impl Fn(f64, f64) -> f64,
) {
    if row.valid.is_full() && input.valid.is_full() {
        for (old, new) in row.values.iter_mut().zip(&input.values) {
            *old = next(*old, *new);
        }
        return;
    }
    for (step, value) in input.iter() {
        match row.get(step) {
            Some(old) => row.values[step] = next(old, value),
            None => row.set(step, first(value)),
        }
    }
}

impl Evaluator<'_> {
    pub(super) fn fold(
        &self,
        node: &Aggregate,
        quantiles: &[f64],
        grid: Grid,
        sink: &mut Sink<'_>,
    ) -> Done {
        let op = node.op;
        let key = node.key();
        let mut ordinals = self.ordinals("groups of an aggregation");
        let mut groups: Vec<Group> = Vec::new();
        let mut held = 0;
        let mut memory = self.reserve("groups of an aggregation");
        self.vector(&node.input, grid, &mut |series, row| {
            let (ordinal, new) = ordinals.of(key.of(series.labels.iter()))?;
            let mut added = if op == AggregateOp::Quantile { row.valid.count() } else { 0 };
            if new {
                added += grid.len;
                memory.grow(Group::bytes(op, grid.len))?;
                groups.push(Group::new(op, grid.len));
            }
            held += added;
            self.hold(added)?;
            if op == AggregateOp::Quantile {
                // Lists of values have room for more than they hold, half as much again on average.
                memory.grow(12 * row.valid.count())?;
            }
            let group = &mut groups[ordinal];
            group.drop_name |= series.drop_name;
            if row.has_histograms() && !matches!(op, AggregateOp::Count | AggregateOp::Group) {
                if matches!(op, AggregateOp::Sum | AggregateOp::Avg) {
                    if group.histograms.is_none() {
                        memory.grow(HistogramFold::bytes(grid.len))?;
                    }
                    let fold = group.histograms.get_or_insert_with(|| HistogramFold::new(grid.len));
                    memory.grow(fold.growth(row))?;
                    fold.add(self, node, series.labels.metric_name(), row);
                    row.drop_histograms();
                } else if row.drop_histograms() {
                    let note = Note::IgnoredInAggregation(op.as_str());
                    self.note(note, Some(node.input_span));
                }
            }
            group.fold(op, row);
            Ok(())
        })?;
        self.release(held);
        for (ordinal, mut group) in groups.into_iter().enumerate() {
            // It is gone before the next one.
            memory.shrink(Group::bytes(op, grid.len));
            group.finish(quantiles, op);
            if let Some(fold) = group.histograms.take() {
                fold.finish(self, node, &mut group.row);
            }
            if group.row.valid.is_empty() {
                continue;
            }
            let labels = ordinals.labels(ordinal);
            sink(&Series { labels, drop_name: group.drop_name }, &mut group.row)?;
        }
        Ok(())
    }
}
