//! Rows kept in memory, for what needs all of them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use model::Labels;

use super::evaluate::{Done, Evaluator, Series, Sink};
use super::grid::Grid;
use super::memory::{ENTRY, keep};
use super::plan::Vector;
use super::row::{Row, Steps};
use crate::budget::{Reserved, labels_bytes};
use crate::error::QueryError;

pub(super) fn same_labelset() -> QueryError {
    QueryError::Execution("vector cannot contain metrics with the same labelset".to_owned())
}

/// Refuses two rows of one label set at one step.
pub(super) struct Distinct {
    seen: HashMap<Labels, Steps>,
    memory: Reserved,
}

impl Distinct {
    pub fn new(evaluator: &Evaluator<'_>) -> Self {
        Self { seen: HashMap::new(), memory: evaluator.reserve("label sets of results") }
    }

    pub fn check(&mut self, labels: &Labels, steps: &Steps) -> Done {
        match self.seen.entry(labels.clone()) {
            Entry::Vacant(entry) => {
                let bytes = labels_bytes(labels) + Steps::bytes(steps.len());
                self.memory.grow(bytes + ENTRY + size_of::<Steps>())?;
                entry.insert(steps.clone());
                Ok(())
            }
            Entry::Occupied(entry) if entry.get().first_common(steps).is_some() => {
                Err(same_labelset())
            }
            Entry::Occupied(mut entry) => {
                entry.get_mut().add(steps);
                Ok(())
            }
        }
    }
}

/// All rows of a vector, one per label set, in the order in which they came.
pub(super) struct Rows {
    pub list: Vec<(Series, Row)>,
    by_labels: HashMap<Labels, usize>,
    held: usize,
    memory: Reserved,
}

impl Rows {
    pub fn new(evaluator: &Evaluator<'_>) -> Self {
        let memory = evaluator.reserve("rows that are needed all at once");
        Self { list: Vec::new(), by_labels: HashMap::new(), held: 0, memory }
    }

    pub fn collect(
        evaluator: &Evaluator<'_>,
        plan: &Vector,
        grid: Grid,
    ) -> Result<Self, QueryError> {
        let mut rows = Self::new(evaluator);
        evaluator.vector(plan, grid, &mut |series, row| rows.add(evaluator, series, row))?;
        Ok(rows)
    }

    /// Keeps a row, merged with the one that has the same labels.
    pub fn add(&mut self, evaluator: &Evaluator<'_>, series: &Series, row: &Row) -> Done {
        let samples = row.valid.count();
        if samples == 0 {
            return Ok(());
        }
        evaluator.hold(samples)?;
        self.held += samples;
        match self.by_labels.entry(series.labels.clone()) {
            Entry::Vacant(entry) => {
                keep(&mut self.memory, series, row)?;
                self.memory.grow(ENTRY)?;
                entry.insert(self.list.len());
                self.list.push((series.clone(), row.clone()));
                Ok(())
            }
            Entry::Occupied(entry) => {
                let old = &mut self.list[*entry.get()].1;
                let before = old.bytes();
                old.merge(row).map_err(|_| same_labelset())?;
                Ok(self.memory.grow(old.bytes().saturating_sub(before))?)
            }
        }
    }

    /// The rows and their memory, without what was only needed to find them.
    pub fn into_parts(self) -> (Vec<(Series, Row)>, Reserved) {
        let Self { list, by_labels, mut memory, .. } = self;
        memory.shrink(ENTRY * by_labels.len());
        (list, memory)
    }

    /// Hands all rows on and forgets them.
    pub fn push(self, evaluator: &Evaluator<'_>, sink: &mut Sink<'_>) -> Done {
        evaluator.release(self.held);
        for (series, mut row) in self.list {
            sink(&series, &mut row)?;
        }
        Ok(())
    }
}
