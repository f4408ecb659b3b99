//! Rows to the answer.

use model::Labels;

use super::collect::{Rows, same_labelset};
use super::evaluate::{Evaluator, Series, without_name};
use super::grid::Grid;
use super::memory::samples_bytes;
use super::row::Row;
use super::{Plan, When, plan};
use crate::budget::{Reserved, labels_bytes};
use crate::error::QueryError;
use crate::storage::Samples;
use crate::value::{MatrixSeries, Value, VectorSample};

/// An answer and its memory.
pub(super) struct Output {
    pub value: Value,
    pub memory: Reserved,
}

type Result<T> = std::result::Result<T, QueryError>;

fn final_labels(series: &Series) -> Labels {
    if series.drop_name { without_name(&series.labels) } else { series.labels.clone() }
}

impl Evaluator<'_> {
    /// The answer of a whole query.
    pub(super) fn output(&self, plan: &Plan, when: When) -> Result<Output> {
        let grid = when.grid;
        let time = grid.start;
        let memory = || self.reserve("values of the answer");
        Ok(match plan {
            Plan::Text(text) => {
                Output { value: Value::String { time, value: text.clone() }, memory: memory() }
            }
            Plan::Scalar(scalar) if when.instant => {
                let values = self.scalar(scalar, grid)?;
                let value = values.first().copied().unwrap_or(f64::NAN);
                Output { value: Value::Scalar { time, value }, memory: memory() }
            }
            Plan::Scalar(scalar) => {
                let mut row = Row::none(grid.len);
                row.values = self.scalar(scalar, grid)?;
                row.valid.fill();
                let mut rows = Rows::new(self);
                rows.add(self, &Series::default(), &row)?;
                drop(row);
                matrix(rows, grid)?
            }
            Plan::Vector(vector) if when.instant => {
                instant_vector(self.final_rows(vector, grid)?, time)?
            }
            Plan::Vector(vector) => matrix(self.final_rows(vector, grid)?, grid)?,
            Plan::Window(window) => self.stored(window, grid)?,
        })
    }

    /// All rows, one per final label set.
    fn final_rows(&self, plan: &plan::Vector, grid: Grid) -> Result<Rows<'_>> {
        let distinct = !self.delayed_name_removal && !plan.may_repeat_labels();
        let mut rows = if distinct { Rows::of_distinct(self) } else { Rows::new(self) };
        self.vector(plan, grid, &mut |series, row| {
            debug_assert!(!distinct || final_labels(series) == series.labels, "{series:?}");
            let series = Series { labels: final_labels(series), drop_name: false };
            rows.add(self, &series, row)
        })?;
        Ok(rows)
    }

    /// The samples of a window as they were stored.
    fn stored(&self, window: &plan::Window, grid: Grid) -> Result<Output> {
        let mut memory = self.reserve("samples of the answer");
        let mut all = Vec::new();
        self.windows(window, grid, &mut |series, windows| {
            let samples = windows.first();
            if !samples.is_empty() {
                self.hold(samples.len())?;
                let labels = final_labels(series);
                let entry = size_of::<MatrixSeries>() + labels_bytes(&labels);
                memory.grow(entry + samples_bytes(&samples))?;
                all.push(matrix_series(labels, samples));
            }
            Ok(())
        })?;
        all.sort_by(|a, b| a.labels.cmp(&b.labels));
        Ok(Output { value: Value::Matrix(all), memory })
    }
}

fn matrix_series(labels: Labels, samples: Samples) -> MatrixSeries {
    let Samples { timestamps, values, histograms, .. } = samples;
    MatrixSeries { labels, timestamps, values, histograms }
}

/// Rows become series one by one, so that no value is there twice for long.
fn matrix(rows: Rows<'_>, grid: Grid) -> Result<Output> {
    let (list, mut memory) = rows.into_parts();
    let mut all = Vec::with_capacity(list.len());
    for (series, row) in list {
        let count = row.valid.count();
        if count == 0 {
            continue;
        }
        memory.grow(size_of::<MatrixSeries>() + 2 * size_of::<i64>() * count)?;
        let samples = row.samples(grid);
        memory.shrink(Row::plain_bytes(grid.len));
        all.push(matrix_series(series.labels, samples));
    }
    all.sort_by(|a, b| a.labels.cmp(&b.labels));
    Ok(Output { value: Value::Matrix(all), memory })
}

fn instant_vector(rows: Rows<'_>, time: i64) -> Result<Output> {
    let (list, mut memory) = rows.into_parts();
    memory.grow(size_of::<VectorSample>() * list.len())?;
    let samples = list.into_iter().map(|(Series { labels, .. }, row)| {
        let value = row.get(0).ok_or_else(same_labelset)?;
        memory.shrink(Row::plain_bytes(1));
        Ok(VectorSample { labels, time, value, histogram: row.histogram(0).cloned() })
    });
    let value = Value::Vector(samples.collect::<Result<_>>()?);
    Ok(Output { value, memory })
}
