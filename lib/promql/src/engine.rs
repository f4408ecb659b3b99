//! Evaluation: query text to plan to answer.

use std::time::Duration;

use model::Labels;

use crate::ast::{Expr, ValueType};
use crate::cancel::CancelFlag;
use crate::error::QueryError;
use crate::parse::{ParseError, ParseOptions, parse_with};
use crate::storage::{Samples, Storage};
use crate::value::{MatrixSeries, QueryResult, Value, VectorSample};

mod aggregate;
mod annotation;
mod border;
mod collect;
mod datetime;
mod evaluate;
mod function;
mod go;
mod grid;
mod histogram;
mod histogram_windows;
mod info;
mod join;
mod mixed;
mod operator;
mod plan;
mod quantiles;
mod row;
mod select;
mod set;
mod sort;
mod start;
mod sum;

use collect::{Rows, same_labelset};
use evaluate::{Evaluator, Series, without_name};
use grid::Grid;
use plan::Planner;
use row::Row;

/// Settings of an engine that no query can change.
#[derive(Debug, Clone, Default)]
pub struct EngineOptions {
    /// What the parser accepts beyond the stable language.
    pub parser: ParseOptions,
    /// `promql-delayed-name-removal`: functions leave the metric name in place until the very end.
    pub delayed_name_removal: bool,
    /// `use-start-timestamps`: counters start over where a sample says since when it counts.
    pub use_start_timestamps: bool,
}

/// Settings of one query.
#[derive(Debug, Clone)]
pub struct QueryOptions {
    /// How old the newest sample of a series may be to count.
    pub lookback: Duration,
    /// Stops the query.
    pub cancel: CancelFlag,
    /// Step of subqueries that name none, milliseconds.
    pub default_subquery_step: i64,
    /// Most samples held at one time.
    pub max_samples: u64,
}

impl Default for QueryOptions {
    /// Prometheus' defaults: 5 minutes, 1 minute, 50 million samples.
    fn default() -> Self {
        Self {
            lookback: Duration::from_secs(300),
            cancel: CancelFlag::new(),
            default_subquery_step: 60_000,
            max_samples: 50_000_000,
        }
    }
}

/// Evaluates queries. Holds no state; clones are cheap.
#[derive(Debug, Clone, Default)]
pub struct Engine {
    options: EngineOptions,
}

impl Engine {
    /// An engine.
    #[must_use]
    pub fn new(options: EngineOptions) -> Self {
        Self { options }
    }

    /// The answer at one time (milliseconds). A range vector at the top gives its samples as they were stored.
    ///
    /// # Errors
    ///
    /// Any [`QueryError`]. `Parse` comes before storage is asked for anything.
    pub fn instant(
        &self,
        storage: &dyn Storage,
        query: &str,
        time: i64,
        options: &QueryOptions,
    ) -> Result<QueryResult, QueryError> {
        let expr = parse_with(query, &self.options.parser)?;
        let times = plan::QueryTimes { start: time, end: time, step: 0 };
        let planner = Planner::new(times, options.default_subquery_step);
        let evaluator = Evaluator::new(storage, options, &self.options);
        let grid = Grid::instant(time);
        options.cancel.check()?;
        let value = match expr.value_type() {
            ValueType::String => Value::String { time, value: text(&expr) },
            ValueType::Scalar => {
                let values = evaluator.scalar(&planner.scalar(&expr)?.node, grid)?;
                Value::Scalar { time, value: values.first().copied().unwrap_or(f64::NAN) }
            }
            ValueType::Vector => {
                let plan = planner.vector(&expr)?.folded();
                instant_vector(final_rows(&evaluator, &plan, grid)?, time)?
            }
            ValueType::Matrix => {
                let window = planner.window(&expr)?.node;
                let mut all = Vec::new();
                evaluator.windows(&window, grid, &mut |series, windows| {
                    let Samples { timestamps, values, histograms, .. } = windows.first();
                    if !timestamps.is_empty() {
                        evaluator.hold(timestamps.len())?;
                        let labels = final_labels(series);
                        all.push(MatrixSeries { labels, timestamps, values, histograms });
                    }
                    Ok(())
                })?;
                all.sort_by(|a, b| a.labels.cmp(&b.labels));
                Value::Matrix(all)
            }
        };
        Ok(finish(&evaluator, query, value))
    }

    /// The answers at `start`, `start + step`, … up to `end` (milliseconds), always a [`Value::Matrix`] ordered by labels;
    /// a scalar is one series without labels.
    ///
    /// # Errors
    ///
    /// Any [`QueryError`]; `Parse`, too, for a text or a range vector, which have no answer over time.
    pub fn range(
        &self,
        storage: &dyn Storage,
        query: &str,
        start: i64,
        end: i64,
        step: i64,
        options: &QueryOptions,
    ) -> Result<QueryResult, QueryError> {
        let expr = parse_with(query, &self.options.parser)?;
        let kind = expr.value_type();
        if !matches!(kind, ValueType::Scalar | ValueType::Vector) {
            return Err(QueryError::Parse(ParseError::whole(
                query,
                format!(
                    "invalid expression type {:?} for range query, must be Scalar or instant Vector",
                    kind.documented()
                ),
            )));
        }
        options.cancel.check()?;
        let grid = Grid::range(start, end, step);
        if grid.len as u64 > options.max_samples {
            return Err(QueryError::TooManySamples);
        }
        let planner =
            Planner::new(plan::QueryTimes { start, end, step }, options.default_subquery_step);
        let evaluator = Evaluator::new(storage, options, &self.options);
        let rows = if kind == ValueType::Scalar {
            let mut row = Row::none(grid.len);
            row.values = evaluator.scalar(&planner.scalar(&expr)?.node, grid)?;
            row.valid.fill();
            vec![(Labels::empty(), row)]
        } else {
            let plan = planner.vector(&expr)?.folded();
            final_rows(&evaluator, &plan, grid)?
        };
        let mut all: Vec<MatrixSeries> = rows
            .into_iter()
            .map(|(labels, row)| {
                let Samples { timestamps, values, histograms, .. } = row.samples(grid);
                MatrixSeries { labels, timestamps, values, histograms }
            })
            .filter(|series: &MatrixSeries| !series.timestamps.is_empty())
            .collect();
        all.sort_by(|a, b| a.labels.cmp(&b.labels));
        Ok(finish(&evaluator, query, Value::Matrix(all)))
    }
}

fn finish(evaluator: &Evaluator<'_>, query: &str, value: Value) -> QueryResult {
    let (warnings, infos) = evaluator.texts(query);
    QueryResult { value, warnings, infos, stats: evaluator.stats() }
}

fn text(expr: &Expr) -> String {
    match expr.without_parens() {
        Expr::String(literal) => literal.value.clone(),
        _ => String::new(),
    }
}

fn final_labels(series: &Series) -> Labels {
    if series.drop_name { without_name(&series.labels) } else { series.labels.clone() }
}

/// All rows, one per final label set.
fn final_rows(
    evaluator: &Evaluator<'_>,
    plan: &plan::Vector,
    grid: Grid,
) -> Result<Vec<(Labels, Row)>, QueryError> {
    let mut rows = Rows::default();
    evaluator.vector(plan, grid, &mut |series, row| {
        let series = Series { labels: final_labels(series), drop_name: false };
        rows.add(evaluator, &series, row)
    })?;
    Ok(rows.list.into_iter().map(|(series, row)| (series.labels, row)).collect())
}

fn instant_vector(rows: Vec<(Labels, Row)>, time: i64) -> Result<Value, QueryError> {
    let samples = rows.into_iter().map(|(labels, row)| {
        let value = row.get(0).ok_or_else(same_labelset)?;
        Ok(VectorSample { labels, time, value, histogram: row.histogram(0).cloned() })
    });
    Ok(Value::Vector(samples.collect::<Result<_, QueryError>>()?))
}
