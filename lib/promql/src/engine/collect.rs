//! Rows kept in memory, for what needs all of them.

use model::Labels;

use super::evaluate::{Done, Evaluator, Series, Sink};
use super::grid::Grid;
use super::memory::keep;
use super::ordinals::Ordinals;
use super::plan::Vector;
use super::row::{Row, Steps};
use crate::budget::Reserved;
use crate::error::QueryError;

pub(super) fn same_labelset() -> QueryError {
    QueryError::Execution("vector cannot contain metrics with the same labelset".to_owned())
}

/// Refuses two rows of one label set at one step.
pub(super) struct Distinct<'q> {
    ordinals: Ordinals<'q>,
    seen: Vec<Steps>,
    memory: Reserved,
}

impl<'q> Distinct<'q> {
    pub fn new(evaluator: &'q Evaluator<'_>) -> Self {
        const WHAT: &str = "label sets of results";
        let (ordinals, memory) = (evaluator.ordinals(WHAT), evaluator.reserve(WHAT));
        Self { ordinals, seen: Vec::new(), memory }
    }

    pub fn check(&mut self, labels: &Labels, steps: &Steps) -> Done {
        let (ordinal, new) = self.ordinals.of(labels.iter())?;
        if new {
            self.memory.grow(size_of::<Steps>() + Steps::bytes(steps.len()))?;
            self.seen.push(steps.clone());
            return Ok(());
        }
        let seen = &mut self.seen[ordinal];
        if seen.first_common(steps).is_some() {
            return Err(same_labelset());
        }
        seen.add(steps);
        Ok(())
    }
}

/// All rows of a vector, one per label set, in the order in which they came.
pub(super) struct Rows<'q> {
    pub list: Vec<(Series, Row)>,
    /// Of the rows as they came: the number of a label set is its place in the list.
    ordinals: Ordinals<'q>,
    /// Whether no two of them have the same labels, whatever these are.
    distinct: bool,
    held: usize,
    memory: Reserved,
}

impl<'q> Rows<'q> {
    pub fn new(evaluator: &'q Evaluator<'_>) -> Self {
        Self::with(evaluator, false)
    }

    /// For rows of which no two have the same labels.
    pub fn of_distinct(evaluator: &'q Evaluator<'_>) -> Self {
        Self::with(evaluator, true)
    }

    fn with(evaluator: &'q Evaluator<'_>, distinct: bool) -> Self {
        const WHAT: &str = "rows that are needed all at once";
        let (ordinals, memory) = (evaluator.ordinals(WHAT), evaluator.reserve(WHAT));
        Self { list: Vec::new(), ordinals, distinct, held: 0, memory }
    }

    pub fn collect(
        evaluator: &'q Evaluator<'_>,
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
        let (ordinal, new) = match self.distinct {
            true => (self.list.len(), true),
            false => self.ordinals.of(series.labels.iter())?,
        };
        if new {
            keep(&mut self.memory, series, row)?;
            self.list.push((series.clone(), row.clone()));
            return Ok(());
        }
        let old = &mut self.list[ordinal].1;
        let before = old.bytes();
        old.merge(row).map_err(|_| same_labelset())?;
        Ok(self.memory.grow(old.bytes().saturating_sub(before))?)
    }

    /// The rows and their memory, without what was only needed to find them.
    pub fn into_parts(self) -> (Vec<(Series, Row)>, Reserved) {
        (self.list, self.memory)
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
