//! `and`, `or`, `unless`: which rows stay, decided step by step.

use model::{Labels, METRIC_NAME};

use super::aggregate::Ordinals;
use super::evaluate::{Done, Evaluator, Sink};
use super::grid::Grid;
use super::memory::ENTRY;
use super::plan::Vector;
use super::row::Steps;
use crate::ast::{BinaryOp, Matching};
use crate::budget::{Reserved, labels_bytes};

/// Bytes of what is kept per signature beside its text.
fn presence_bytes(grid: Grid) -> usize {
    ENTRY + size_of::<Steps>() + Steps::bytes(grid.len)
}

impl BinaryOp {
    /// The operands of a set operator in the order in which they are read.
    pub(super) fn set_order<T>(self, left: T, right: T) -> (T, T) {
        if self == Self::Or { (left, right) } else { (right, left) }
    }
}

impl Matching {
    /// The labels by which series of both sides find each other.
    pub(super) fn signature(&self, labels: &Labels) -> Labels {
        let listed = |name: &str| self.labels.iter().any(|label| label == name);
        if self.on {
            labels.filter(listed)
        } else {
            labels.filter(|name| name != METRIC_NAME && !listed(name))
        }
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
        if op == BinaryOp::Or {
            let mut ordinals = Ordinals::default();
            let mut present: Vec<Steps> = Vec::new();
            let mut memory = self.reserve("label sets of a set operator");
            self.vector(left, grid, &mut |series, row| {
                let signature = matching.signature(&series.labels);
                let bytes = labels_bytes(&signature);
                let (ordinal, new) = ordinals.of(signature);
                if new {
                    memory.grow(bytes + presence_bytes(grid))?;
                    present.push(row.valid.clone());
                } else {
                    present[ordinal].add(&row.valid);
                }
                sink(series, row)
            })?;
            return self.vector(right, grid, &mut |series, row| {
                if let Some(ordinal) = ordinals.find(&matching.signature(&series.labels)) {
                    row.valid.subtract(&present[ordinal]);
                }
                if row.valid.is_empty() { Ok(()) } else { sink(series, row) }
            });
        }
        let mut memory = self.reserve("label sets of a set operator");
        let (ordinals, present) = self.presence(right, matching, grid, &mut memory)?;
        self.vector(left, grid, &mut |series, row| {
            let found = ordinals.find(&matching.signature(&series.labels));
            match (op == BinaryOp::And, found) {
                (true, None) => return Ok(()),
                (true, Some(ordinal)) => row.valid.keep(&present[ordinal]),
                (false, None) => {}
                (false, Some(ordinal)) => row.valid.subtract(&present[ordinal]),
            }
            if row.valid.is_empty() { Ok(()) } else { sink(series, row) }
        })
    }

    /// At which steps each signature has a value.
    fn presence(
        &self,
        plan: &Vector,
        matching: &Matching,
        grid: Grid,
        memory: &mut Reserved,
    ) -> Result<(Ordinals, Vec<Steps>), crate::QueryError> {
        let mut ordinals = Ordinals::default();
        let mut present: Vec<Steps> = Vec::new();
        self.vector(plan, grid, &mut |series, row| {
            let signature = matching.signature(&series.labels);
            let bytes = labels_bytes(&signature);
            let (ordinal, new) = ordinals.of(signature);
            if new {
                memory.grow(bytes + presence_bytes(grid))?;
                present.push(row.valid.clone());
            } else {
                present[ordinal].add(&row.valid);
            }
            Ok(())
        })?;
        Ok((ordinals, present))
    }
}
