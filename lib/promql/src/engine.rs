//! Evaluation: query text to plan to answer.

use std::sync::Arc;
use std::time::Duration;

use crate::ast::{Expr, ValueType};
use crate::budget::MemoryBudget;
use crate::cancel::CancelFlag;
use crate::error::QueryError;
use crate::parse::{ParseError, ParseOptions, parse_with};
use crate::storage::Storage;
use crate::value::QueryResult;

mod aggregate;
mod ahead;
mod annotation;
mod border;
mod collect;
mod datetime;
mod evaluate;
mod explain;
mod function;
mod go;
mod grid;
mod histogram;
mod histogram_windows;
mod info;
mod join;
mod memory;
mod mixed;
mod newest;
mod operator;
mod ordinals;
mod output;
mod plan;
mod profile;
mod quantiles;
mod read;
mod row;
mod select;
mod selectors;
mod set;
mod sort;
mod start;
mod sum;
mod symbols;
mod tally;
mod twins;

pub use explain::{Cost, Operator};

use evaluate::Evaluator;
use explain::Explainer;
use grid::Grid;
use output::Output;
use plan::{Planner, QueryTimes};
use profile::Profile;

/// Settings of an engine that no query can change.
#[derive(Debug, Clone, Default)]
pub struct EngineOptions {
    /// What the parser accepts beyond the stable language.
    pub parser: ParseOptions,
    /// `promql-delayed-name-removal`: functions leave the metric name in place until the very end.
    pub delayed_name_removal: bool,
    /// `use-start-timestamps`: counters start over where a sample says since when it counts.
    pub use_start_timestamps: bool,
    /// What all queries may hold together.
    pub memory: MemoryBudget,
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
    /// Most bytes held at one time, the answer included.
    pub max_memory: u64,
    /// Whether to find out what each operator costs.
    pub analyze: bool,
    /// Whether to count the samples that each step looked at.
    pub per_step_stats: bool,
    /// How many samples of a selector have to be decoded before other threads of the process decode those to come; 0
    /// for their help from the start, the largest number for none. The answer is the same.
    pub read_ahead_after: usize,
}

impl Default for QueryOptions {
    /// Prometheus' defaults: 5 minutes, 1 minute, 50 million samples. No bound on bytes.
    fn default() -> Self {
        Self {
            lookback: Duration::from_secs(300),
            cancel: CancelFlag::new(),
            default_subquery_step: 60_000,
            max_samples: 50_000_000,
            max_memory: u64::MAX,
            analyze: false,
            per_step_stats: false,
            // Some 20 ms of decoding: what is done sooner is done with less work by one thread.
            read_ahead_after: 1 << 22,
        }
    }
}

/// Evaluates queries. Holds no state but the memory budget; clones are cheap and share it.
#[derive(Debug, Clone, Default)]
pub struct Engine {
    options: EngineOptions,
}

/// When a query is evaluated.
#[derive(Clone, Copy)]
struct When {
    times: QueryTimes,
    grid: Grid,
    instant: bool,
}

impl When {
    fn at(time: i64) -> Self {
        let times = QueryTimes { start: time, end: time, step: 0 };
        Self { times, grid: Grid::instant(time), instant: true }
    }

    fn range(start: i64, end: i64, step: i64) -> Self {
        let times = QueryTimes { start, end, step };
        Self { times, grid: Grid::range(start, end, step), instant: false }
    }
}

/// The plan of a whole query, by its type.
enum Plan {
    Text(String),
    Scalar(plan::Scalar),
    Vector(plan::Vector),
    Window(plan::Window),
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
        self.run(storage, query, When::at(time), options)
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
        self.run(storage, query, When::range(start, end, step), options)
    }

    /// How [`Self::instant`] would go about it; no data is asked for.
    ///
    /// # Errors
    ///
    /// `Parse`, and `Execution` for what no data could make right.
    pub fn explain_instant(
        &self,
        query: &str,
        time: i64,
        options: &QueryOptions,
    ) -> Result<Operator, QueryError> {
        let when = When::at(time);
        Ok(explained(&self.plan(query, when, options)?, when, options).0)
    }

    /// How [`Self::range`] would go about it; no data is asked for.
    ///
    /// # Errors
    ///
    /// As [`Self::explain_instant`], and `Parse` for what has no answer over time.
    pub fn explain_range(
        &self,
        query: &str,
        start: i64,
        end: i64,
        step: i64,
        options: &QueryOptions,
    ) -> Result<Operator, QueryError> {
        let when = When::range(start, end, step);
        Ok(explained(&self.plan(query, when, options)?, when, options).0)
    }

    fn plan(&self, query: &str, when: When, options: &QueryOptions) -> Result<Plan, QueryError> {
        let expr = parse_with(query, &self.options.parser)?;
        let kind = expr.value_type();
        if !when.instant && !matches!(kind, ValueType::Scalar | ValueType::Vector) {
            let reason = format!(
                "invalid expression type {:?} for range query, must be Scalar or instant Vector",
                kind.documented()
            );
            return Err(QueryError::Parse(ParseError::whole(reason)));
        }
        let planner = Planner::new(when.times, options.default_subquery_step);
        Ok(match kind {
            ValueType::String => Plan::Text(text(&expr)),
            ValueType::Scalar => Plan::Scalar(planner.scalar(&expr)?.node),
            ValueType::Vector => Plan::Vector(planner.vector(&expr)?.folded()),
            ValueType::Matrix => Plan::Window(planner.window(&expr)?.node),
        })
    }

    fn run(
        &self,
        storage: &dyn Storage,
        query: &str,
        when: When,
        options: &QueryOptions,
    ) -> Result<QueryResult, QueryError> {
        let plan = self.plan(query, when, options)?;
        options.cancel.check()?;
        if !when.instant && when.grid.len as u64 > options.max_samples {
            return Err(QueryError::TooManySamples);
        }
        let mut analysis = None;
        let mut profile = None;
        if options.analyze {
            let (operator, explainer) = explained(&plan, when, options);
            analysis = Some(operator);
            profile = Some(Arc::new(Profile::new(explainer.ids, explainer.count)));
        }
        let steps = options.per_step_stats.then_some(when.grid.len);
        let fresh = || Evaluator::new(storage, options, &self.options, profile.clone(), steps);
        let mut evaluator = fresh();
        evaluator.look_ahead(&plan, when.grid, true);
        let mut output = evaluator.output(&plan, when);
        if matches!(output, Err(QueryError::Memory(_))) && evaluator.has_kept() {
            // What was kept to read less often may be what is missing.
            drop(std::mem::replace(&mut evaluator, fresh()));
            evaluator.look_ahead(&plan, when.grid, false);
            output = evaluator.output(&plan, when);
        }
        let output = output.map_err(|error| of_query(error, query))?;
        let (warnings, infos) = evaluator.texts(query);
        let stats = evaluator.stats();
        let samples_per_step = evaluator.tally.steps().map(|counts| {
            let times = (0..when.grid.len).map(|step| when.grid.time(step));
            times.zip(counts).collect()
        });
        drop(evaluator);
        if let (Some(operator), Some(profile)) = (&mut analysis, profile) {
            profile.fill(operator);
            if let Some(cost) = &mut operator.cost {
                cost.series_out = output.value.len() as u64;
                cost.peak_bytes = stats.peak_bytes;
            }
        }
        let Output { value, memory } = output;
        Ok(QueryResult { value, warnings, infos, stats, samples_per_step, analysis, memory })
    }
}

fn explained(plan: &Plan, when: When, options: &QueryOptions) -> (Operator, Explainer) {
    let lookback = i64::try_from(options.lookback.as_millis()).unwrap_or(i64::MAX);
    let mut explainer = Explainer::new(lookback);
    let mut root = explainer.query(when.grid, when.instant);
    match plan {
        Plan::Text(_) => {}
        Plan::Scalar(scalar) => explainer.inside(&mut root, scalar, when.grid),
        Plan::Vector(vector) => root.children.push(explainer.vector(vector, when.grid)),
        Plan::Window(window) => root.children.push(explainer.window(window, when.grid)),
    }
    (root, explainer)
}

/// An error that tells which query it is about.
fn of_query(mut error: QueryError, query: &str) -> QueryError {
    /// Enough to know it again.
    const SHOWN: usize = 200;
    if let QueryError::Memory(memory) = &mut error {
        let end = query.char_indices().nth(SHOWN).map_or(query.len(), |(at, _)| at);
        memory.query = query[..end].to_owned();
    }
    error
}

fn text(expr: &Expr) -> String {
    match expr.without_parens() {
        Expr::String(literal) => literal.value.clone(),
        _ => String::new(),
    }
}
