//! Aggregations that pick some series of each group: `topk`, `bottomk`, `limitk`, `limit_ratio`.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

use model::histogram::FloatHistogram;

use crate::ast::AggregateOp;
use crate::engine::annotation::Note;
use crate::engine::evaluate::{Done, Evaluator, Series, Sink};
use crate::engine::go;
use crate::engine::grid::Grid;
use crate::engine::plan::Aggregate;
use crate::engine::row::Row;

/// A value and which series it is of.
type Picked = (f64, usize);

/// Histograms that were picked, by series and step.
type Histograms = HashMap<(usize, usize), Arc<FloatHistogram>>;

/// The picked values of one group at one step. For `topk` and `bottomk` a heap with the worst on top, kept as Go's
/// container/heap keeps it, so that ties fall as upstream's.
#[derive(Default)]
struct Heap(Vec<Picked>);

/// Whether `a` is worse than `b`, given that the largest are wanted; a NaN is worse than anything.
fn worse(a: f64, b: f64, largest: bool) -> bool {
    a.is_nan() || if largest { a < b } else { a > b }
}

impl Heap {
    fn offer(&mut self, picked: Picked, limit: usize, largest: bool) {
        if self.0.len() < limit {
            self.0.push(picked);
            self.up(largest);
        } else if let Some((top, _)) = self.0.first() {
            let better = if largest { *top < picked.0 } else { *top > picked.0 };
            if better || (top.is_nan() && !picked.0.is_nan()) {
                self.0[0] = picked;
                self.down(largest);
            }
        }
    }

    fn up(&mut self, largest: bool) {
        let mut at = self.0.len() - 1;
        while at > 0 {
            let parent = (at - 1) / 2;
            if !worse(self.0[at].0, self.0[parent].0, largest) {
                return;
            }
            self.0.swap(at, parent);
            at = parent;
        }
    }

    fn down(&mut self, largest: bool) {
        let mut at = 0;
        loop {
            let mut child = 2 * at + 1;
            if child >= self.0.len() {
                return;
            }
            if child + 1 < self.0.len() && worse(self.0[child + 1].0, self.0[child].0, largest) {
                child += 1;
            }
            if !worse(self.0[child].0, self.0[at].0, largest) {
                return;
            }
            self.0.swap(at, child);
            at = child;
        }
    }

    fn best_first(&mut self, largest: bool) {
        self.0.sort_by(|a, b| match (a.0.is_nan(), b.0.is_nan()) {
            (false, false) => {
                let order = a.0.partial_cmp(&b.0).unwrap_or(Ordering::Equal);
                if largest { order.reverse() } else { order }
            }
            (a_nan, b_nan) => a_nan.cmp(&b_nan),
        });
    }
}

/// Steps that are looked at together.
const STRETCH: usize = 32;

/// Whether none of the values beats its bar, as is so for most series. Looks at all, which takes no branches.
fn is_below(values: &[f64], bars: &[f64], largest: bool) -> bool {
    let all = |keeps_off: fn(f64, f64) -> bool| {
        let pairs = bars.iter().zip(values);
        pairs.fold(true, |all, (bar, value)| all & keeps_off(*bar, *value))
    };
    if largest { all(|bar, value| bar >= value) } else { all(|bar, value| bar <= value) }
}

/// The heaps of one group.
struct Heaps {
    of_step: Vec<Heap>,
    /// What a number must beat to be kept; NaN where it need not beat anything.
    bars: Vec<f64>,
}

impl Heaps {
    fn new(len: usize) -> Self {
        Self { of_step: (0..len).map(|_| Heap::default()).collect(), bars: vec![f64::NAN; len] }
    }

    fn bytes(len: usize) -> usize {
        (size_of::<Heap>() + size_of::<f64>()) * len
    }

    /// Offers the numbers of a series; gives how many more are kept than before.
    fn offer(&mut self, row: &Row, number: usize, most: &[usize], largest: bool) -> usize {
        let mut kept = 0;
        let mut offer = |step: usize, value: f64, bar: &mut f64| {
            if if largest { *bar >= value } else { *bar <= value } {
                return;
            }
            let heap = &mut self.of_step[step];
            let before = heap.0.len();
            heap.offer((value, number), most[step], largest);
            kept += heap.0.len() - before;
            if heap.0.len() == most[step] {
                *bar = heap.0.first().map_or(f64::NAN, |(top, _)| *top);
            }
        };
        if row.valid.is_full() {
            let (values, bars) = (row.values.chunks(STRETCH), self.bars.chunks_mut(STRETCH));
            for (stretch, (values, bars)) in values.zip(bars).enumerate() {
                if is_below(values, bars, largest) {
                    continue;
                }
                for (at, (value, bar)) in values.iter().zip(bars).enumerate() {
                    offer(stretch * STRETCH + at, *value, bar);
                }
            }
        } else {
            for (step, value) in row.iter() {
                offer(step, value, &mut self.bars[step]);
            }
        }
        kept
    }
}

impl Evaluator<'_> {
    pub(super) fn pick(
        &self,
        node: &Aggregate,
        parameter: &[f64],
        grid: Grid,
        sink: &mut Sink<'_>,
    ) -> Done {
        let op = node.op;
        let largest = op == AggregateOp::Topk;
        let key = node.key();
        let mut ordinals = self.ordinals("groups of an aggregation");
        let mut groups: Vec<Heaps> = Vec::new();
        let mut all: Vec<Series> = Vec::new();
        let mut held = 0;
        let mut memory = self.reserve("picked series");
        let most: Vec<usize> = parameter.iter().map(|number| limit(*number)).collect();
        let limits = matches!(op, AggregateOp::Limitk | AggregateOp::LimitRatio);
        let mut histograms = Histograms::new();
        self.vector(&node.input, grid, &mut |series, row| {
            if !limits && row.drop_histograms() {
                self.note(Note::IgnoredInAggregation(op.as_str()), Some(node.span));
            }
            let (ordinal, new) = ordinals.of(key.of(series.labels.iter()))?;
            memory.grow(series.bytes())?;
            if new {
                self.hold(grid.len)?;
                memory.grow(Heaps::bytes(grid.len))?;
                held += grid.len;
                groups.push(Heaps::new(grid.len));
            }
            let number = all.len();
            all.push(series.clone());
            let before: usize = held;
            if !limits {
                held += groups[ordinal].offer(row, number, &most, largest);
            }
            for (step, value) in row.iter().take_while(|_| limits) {
                let heap = &mut groups[ordinal].of_step[step];
                let wanted = match op {
                    AggregateOp::LimitRatio => is_sampled(parameter[step], series),
                    _ => heap.0.len() < most[step],
                };
                if wanted {
                    heap.0.push((value, number));
                    held += 1;
                    if let Some(histogram) = row.histogram(step) {
                        histograms.insert((number, step), Arc::clone(histogram));
                    }
                }
            }
            // Heaps have room for more than they hold, half as much again on average.
            memory.grow((held - before) * size_of::<Picked>() * 3 / 2)?;
            self.hold(held - before)
        })?;
        self.release(held);
        if grid.is_instant() {
            for mut heap in groups.into_iter().flat_map(|group| group.of_step) {
                if matches!(op, AggregateOp::Topk | AggregateOp::Bottomk) {
                    heap.best_first(largest);
                }
                for (value, number) in heap.0 {
                    let mut row = Row::none(1);
                    match histograms.remove(&(number, 0)) {
                        Some(histogram) => row.set_histogram(0, histogram),
                        None => row.set(0, value),
                    }
                    sink(&all[number], &mut row)?;
                }
            }
            return Ok(());
        }
        push_by_series(groups, histograms, &all, grid, sink)
    }
}

/// What was picked step by step, as rows again.
fn push_by_series(
    groups: Vec<Heaps>,
    mut histograms: Histograms,
    all: &[Series],
    grid: Grid,
    sink: &mut Sink<'_>,
) -> Done {
    let mut picked: Vec<(usize, usize, f64)> = Vec::new();
    for group in groups {
        for (step, heap) in group.of_step.into_iter().enumerate() {
            picked.extend(heap.0.into_iter().map(|(value, number)| (number, step, value)));
        }
    }
    picked.sort_unstable_by_key(|(number, step, _)| (*number, *step));
    let mut row = Row::none(grid.len);
    for of_series in picked.chunk_by(|a, b| a.0 == b.0) {
        row.clear();
        for (_, step, value) in of_series {
            match histograms.remove(&(of_series[0].0, *step)) {
                Some(histogram) => row.set_histogram(*step, histogram),
                None => row.set(*step, *value),
            }
        }
        sink(&all[of_series[0].0], &mut row)?;
    }
    Ok(())
}

fn limit(parameter: f64) -> usize {
    usize::try_from(go::to_i64(parameter)).unwrap_or(0)
}

/// `limit_ratio`: a series is in or out by a hash of its labels, so that a ratio and its complement share nothing.
#[expect(clippy::cast_precision_loss, reason = "as upstream scales the hash to 0..1")]
fn is_sampled(ratio: f64, series: &Series) -> bool {
    let ratio = ratio.clamp(-1.0, 1.0);
    let offset = series.labels.hash64() as f64 / u64::MAX as f64;
    (ratio >= 0.0 && offset < ratio) || (ratio < 0.0 && offset >= 1.0 + ratio)
}
