//! `and`, `or`, `unless`: which rows stay, decided step by step.

use super::evaluate::{Done, Evaluator, Series, Sink};
use super::grid::Grid;
use super::ordinals::{KeyLabels, Ordinals};
use super::plan::Vector;
use super::row::{Row, Steps};
use crate::ast::{BinaryOp, Matching};
use crate::budget::Reserved;

impl BinaryOp {
    /// The operands of a set operator in the order in which they are read.
    pub(super) fn set_order<T>(self, left: T, right: T) -> (T, T) {
        if self == Self::Or { (left, right) } else { (right, left) }
    }
}

impl Matching {
    /// The labels by which series of both sides find each other.
    pub(super) fn key(&self) -> KeyLabels<'_> {
        KeyLabels::chosen(&self.labels, self.on)
    }
}

impl Evaluator<'_> {
    pub(super) fn set(
        &self,
        op: BinaryOp,
        left: &Vector,
        right: &Vector,
        matching: &Matching,
        grid: Grid,
        sink: &mut Sink<'_>,
    ) -> Done {
        let key = matching.key();
        if op == BinaryOp::Or {
            let mut left_side = Presence::new(self);
            self.vector(left, grid, &mut |series, row| {
                left_side.add(&key, series, row)?;
                sink(series, row)
            })?;
            return self.vector(right, grid, &mut |series, row| {
                if let Some(present) = left_side.find(&key, series) {
                    row.valid.subtract(present);
                }
                if row.valid.is_empty() { Ok(()) } else { sink(series, row) }
            });
        }
        let mut right_side = Presence::new(self);
        self.vector(right, grid, &mut |series, row| right_side.add(&key, series, row))?;
        self.vector(left, grid, &mut |series, row| {
            match (op == BinaryOp::And, right_side.find(&key, series)) {
                (true, None) => return Ok(()),
                (true, Some(present)) => row.valid.keep(present),
                (false, None) => {}
                (false, Some(present)) => row.valid.subtract(present),
            }
            if row.valid.is_empty() { Ok(()) } else { sink(series, row) }
        })
    }
}

/// At which steps each signature has a value.
struct Presence<'q> {
    ordinals: Ordinals<'q>,
    present: Vec<Steps>,
    memory: Reserved,
}

impl<'q> Presence<'q> {
    fn new(evaluator: &'q Evaluator<'_>) -> Self {
        const WHAT: &str = "label sets of a set operator";
        let (ordinals, memory) = (evaluator.ordinals(WHAT), evaluator.reserve(WHAT));
        Self { ordinals, present: Vec::new(), memory }
    }

    fn add(&mut self, key: &KeyLabels<'_>, series: &Series, row: &Row) -> Done {
        let (ordinal, new) = self.ordinals.of(key.of(series.labels.iter()))?;
        if new {
            self.memory.grow(size_of::<Steps>() + Steps::bytes(row.valid.len()))?;
            self.present.push(row.valid.clone());
        } else {
            self.present[ordinal].add(&row.valid);
        }
        Ok(())
    }

    fn find(&mut self, key: &KeyLabels<'_>, series: &Series) -> Option<&Steps> {
        let ordinal = self.ordinals.find(key.of(series.labels.iter()))?;
        Some(&self.present[ordinal])
    }
}
