//! Evaluation of a plan. Vectors are pushed: each node hands its rows, one series at a time, to a sink.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use model::{Labels, METRIC_NAME};

use super::annotation::{Annotations, Note};
use super::collect::Distinct;
use super::function::map::MapFunction;
use super::grid::Grid;
use super::operator;
use super::plan::{LabelJoin, LabelReplace, Map, Scalar, Vector, WithScalar};
use super::profile::{Clock, Profile};
use super::row::{Row, Steps};
use super::select::Picked;
use super::selectors::Upcoming;
use super::symbols::Symbols;
use super::tally::{Counting, Tally};
use crate::ast::{Border, Span};
use crate::budget::{QueryBudget, Reserved};
use crate::engine::{EngineOptions, QueryOptions, go};
use crate::error::QueryError;
use crate::storage::Storage;
use crate::value::Stats;

/// What identifies a row.
#[derive(Debug, Clone, Default)]
pub(super) struct Series {
    pub labels: Labels,
    /// The name is still in `labels`, but means nothing any more (delayed name removal).
    pub drop_name: bool,
}

/// Takes rows. It may change the row, which the sender will not look at again.
pub(super) type Sink<'a> = dyn FnMut(&Series, &mut Row) -> Result<(), QueryError> + 'a;

pub(super) type Done = Result<(), QueryError>;

/// The state of one query on one thread.
pub(super) struct Evaluator<'a> {
    pub storage: &'a dyn Storage,
    pub options: &'a QueryOptions,
    pub delayed_name_removal: bool,
    pub use_start_timestamps: bool,
    pub shared: Arc<Shared>,
    /// Only while the query is observed.
    pub clock: Option<Clock>,
    /// What labels are made of.
    pub symbols: RefCell<Symbols>,
    /// Values of scalars.
    columns: RefCell<Reserved>,
    annotations: RefCell<Annotations>,
    pub tally: Tally,
    /// Selectors that were not read yet.
    pub upcoming: RefCell<Upcoming>,
    series: Cell<u64>,
}

/// What all threads of a query have in common.
pub(super) struct Shared {
    pub budget: Arc<QueryBudget>,
    held: AtomicU64,
    peak_samples: AtomicU64,
}

impl Shared {
    pub fn new(budget: QueryBudget) -> Self {
        Self { budget: Arc::new(budget), held: AtomicU64::new(0), peak_samples: AtomicU64::new(0) }
    }
}

/// Labels that say nothing about a series once its values are of another kind.
pub(super) fn without_name(labels: &Labels) -> Labels {
    let reserved = |name: &str| name == METRIC_NAME || name == "__type__" || name == "__unit__";
    if labels.iter().any(|(name, _)| reserved(name)) {
        labels.filter(|name| !reserved(name))
    } else {
        labels.clone()
    }
}

#[expect(clippy::cast_precision_loss, reason = "as in Go")]
fn seconds(milliseconds: i64) -> f64 {
    milliseconds as f64 / 1000.0
}

impl<'a> Evaluator<'a> {
    pub fn new(
        storage: &'a dyn Storage,
        options: &'a QueryOptions,
        engine: &EngineOptions,
        profile: Option<Arc<Profile>>,
        steps: Option<usize>,
    ) -> Self {
        let budget = QueryBudget::new(options.max_memory, engine.memory.clone());
        let shared = Arc::new(Shared::new(budget));
        let texts = Reserved::none(&shared.budget, None, "names and values of labels");
        Self {
            symbols: RefCell::new(Symbols::new(texts)),
            columns: RefCell::new(Reserved::none(&shared.budget, None, "values of scalars")),
            storage,
            options,
            delayed_name_removal: engine.delayed_name_removal,
            use_start_timestamps: engine.use_start_timestamps,
            shared,
            clock: profile.map(|profile| Clock::start(profile, 0)),
            annotations: RefCell::default(),
            tally: Tally::new(steps),
            upcoming: RefCell::default(),
            series: Cell::new(0),
        }
    }

    pub fn note(&self, note: Note, span: Option<Span>) {
        self.annotations.borrow_mut().add(note, span);
    }

    pub fn texts(&self, query: &str) -> (Vec<String>, Vec<String>) {
        self.annotations.borrow().texts(query)
    }

    pub fn stats(&self) -> Stats {
        Stats {
            peak_samples: self.shared.peak_samples.load(Ordering::Relaxed),
            peak_bytes: self.shared.budget.peak(),
            samples: self.tally.samples(),
            series: self.series.get(),
        }
    }

    /// Counts a series read.
    pub fn count_series(&self) {
        self.series.set(self.series.get() + 1);
    }

    /// Accounts for values that are kept in memory, until `release`.
    pub fn hold(&self, samples: usize) -> Done {
        let samples = samples as u64;
        let held = self.shared.held.fetch_add(samples, Ordering::Relaxed).saturating_add(samples);
        self.shared.peak_samples.fetch_max(held, Ordering::Relaxed);
        if held > self.options.max_samples { Err(QueryError::TooManySamples) } else { Ok(()) }
    }

    pub fn release(&self, samples: usize) {
        self.shared.held.fetch_sub(samples as u64, Ordering::Relaxed);
    }

    /// The series after a function: eagerly without its name, or marked to lose it at the end.
    pub fn renamed(&self, series: &Series) -> Series {
        if self.delayed_name_removal {
            Series { labels: series.labels.clone(), drop_name: true }
        } else {
            Series { labels: without_name(&series.labels), drop_name: true }
        }
    }

    /// One value per step.
    pub fn scalar(&self, plan: &Scalar, grid: Grid) -> Result<Vec<f64>, QueryError> {
        // For as long as the query runs: there are no more columns than nodes in its text.
        self.columns.borrow_mut().grow(size_of::<f64>() * grid.len)?;
        Ok(match plan {
            Scalar::Number(value) => vec![*value; grid.len],
            Scalar::Time => (0..grid.len).map(|step| seconds(grid.time(step))).collect(),
            Scalar::Of(vector) => self.single_values(vector, grid)?,
            Scalar::Negative(inner) => {
                self.scalar(inner, grid)?.into_iter().map(|value| -value).collect()
            }
            Scalar::Binary(op, left, right) => {
                self.pairwise(left, right, grid, |a, b| operator::scalars(*op, a, b))?
            }
            Scalar::Min(left, right) => self.pairwise(left, right, grid, go::min)?,
            Scalar::Max(left, right) => self.pairwise(left, right, grid, go::max)?,
            Scalar::Invariant(inner) => {
                let mut once = Vec::new();
                self.counting(Counting::Once, |_| {
                    once = self.scalar(inner, Grid::instant(grid.start))?;
                    Ok(())
                })?;
                self.count_repeated(grid.len);
                vec![once.first().copied().unwrap_or(f64::NAN); grid.len]
            }
        })
    }

    fn pairwise(
        &self,
        left: &Scalar,
        right: &Scalar,
        grid: Grid,
        op: impl Fn(f64, f64) -> f64,
    ) -> Result<Vec<f64>, QueryError> {
        let (left, right) = (self.scalar(left, grid)?, self.scalar(right, grid)?);
        Ok(left.into_iter().zip(right).map(|(a, b)| op(a, b)).collect())
    }

    /// `scalar()`: the value of the only series, NaN where there is none or more than one.
    fn single_values(&self, vector: &Vector, grid: Grid) -> Result<Vec<f64>, QueryError> {
        let mut found = Row::none(grid.len);
        let mut several = Steps::none(grid.len);
        self.vector(vector, grid, &mut |_, row| {
            row.drop_histograms();
            for (step, value) in row.iter() {
                if found.valid.has(step) {
                    several.insert(step);
                }
                found.set(step, value);
            }
            Ok(())
        })?;
        found.valid.subtract(&several);
        Ok((0..grid.len).map(|step| found.get(step).unwrap_or(f64::NAN)).collect())
    }

    /// Pushes all rows of a vector. Two rows may have one label set if they have no step in common.
    pub fn vector(&self, plan: &Vector, grid: Grid, sink: &mut Sink<'_>) -> Done {
        self.options.cancel.check()?;
        if grid.len == 0 {
            return Ok(());
        }
        match &self.clock {
            None => self.operator(plan, grid, sink),
            Some(clock) => {
                self.observed(clock, plan, sink, &mut |sink| self.operator(plan, grid, sink))
            }
        }
    }

    fn operator(&self, plan: &Vector, grid: Grid, sink: &mut Sink<'_>) -> Done {
        // Most operators have a row or two that they work in.
        let _rows = self.reserved("rows in work", 2 * Row::plain_bytes(grid.len))?;
        match plan {
            Vector::Select(select) if select.border == Border::Smoothed => {
                self.smooth(select, grid, sink)
            }
            Vector::Select(select) => self.select(select, grid, Picked::Values, sink),
            Vector::SampleTime(select) => self.distinct(select.has_one_name(), sink, &mut |sink| {
                self.select(select, grid, Picked::Times, &mut |series, row| {
                    sink(&self.renamed(series), row)
                })
            }),
            Vector::StartTime(select) => self.start_times(select, grid, sink),
            Vector::Range(range) if range.window.border() != Border::Plain => {
                self.bordered(range, grid, sink)
            }
            Vector::Range(range) => self.range_function(range, grid, sink),
            Vector::Map(map) => self.map(map, grid, sink),
            Vector::Single(scalar, function) => self.single(scalar, *function, grid, sink),
            Vector::Absent(input, labels) => {
                let mut present = Steps::none(grid.len);
                self.vector(input, grid, &mut |_, row| {
                    present.add(&row.valid);
                    Ok(())
                })?;
                push_absent(&present, labels, sink)
            }
            Vector::AbsentOverTime(window, labels) => {
                let mut present = Steps::none(grid.len);
                self.windows(window, grid, &mut |_, windows| {
                    windows.for_each(false, |step, _| {
                        present.insert(step);
                        Ok(())
                    })
                })?;
                push_absent(&present, labels, sink)
            }
            Vector::LabelReplace(node) => self.label_replace(node, grid, sink),
            Vector::LabelJoin(node) => self.label_join(node, grid, sink),
            Vector::Sort { input, order, span } => self.sort(input, order, *span, grid, sink),
            Vector::Buckets(node) => self.buckets(node, grid, sink),
            Vector::Quantiles(node) => self.quantiles(node, grid, sink),
            Vector::Info(node) => self.info(node, grid, sink),
            Vector::Aggregate(node) => self.aggregate(node, grid, sink),
            Vector::WithScalar(node) => self.with_scalar(node, grid, sink),
            Vector::Join(node) => self.join(node, grid, sink),
            Vector::Set { op, left, right, matching } => {
                self.set(*op, left, right, matching, grid, sink)
            }
            Vector::Invariant(input) => self.invariant(input, grid, sink),
            Vector::Nothing(input) => self.vector(input, grid, &mut |_, _| Ok(())),
            Vector::HistogramStat(stat, input) => self.histogram_stat(*stat, input, grid, sink),
        }
    }

    /// Runs the work of an operator whose node is `of` and counts what it hands on.
    pub fn observed<T>(
        &self,
        clock: &Clock,
        of: &T,
        sink: &mut Sink<'_>,
        work: &mut dyn FnMut(&mut Sink<'_>) -> Done,
    ) -> Done {
        let Some(id) = clock.profile.find(of) else { return work(sink) };
        let above = clock.switch(id);
        let done = work(&mut |series, row| {
            clock.profile.count_row(id);
            let inside = clock.switch(above);
            let done = sink(series, row);
            clock.switch(inside);
            done
        });
        clock.switch(above);
        done
    }

    /// Evaluates once and repeats the answer at every step.
    fn invariant(&self, input: &Vector, grid: Grid, sink: &mut Sink<'_>) -> Done {
        if grid.is_instant() {
            return self.vector(input, grid, sink);
        }
        let mut wide = Row::none(grid.len);
        self.counting(Counting::Once, |outside| {
            self.vector(input, Grid::instant(grid.start), &mut |series, row| {
                let Some(value) = row.get(0) else { return Ok(()) };
                wide.values.fill(value);
                wide.valid.fill();
                wide.histograms.clear();
                if let Some(histogram) = row.histogram(0) {
                    wide.histograms.resize(grid.len, Some(Arc::clone(histogram)));
                }
                outside(&mut || sink(series, &mut wide))
            })
        })?;
        self.count_repeated(grid.len);
        Ok(())
    }

    /// Runs `body` with a sink that refuses two rows of one label set at one step, unless there can be none.
    pub fn distinct(
        &self,
        certain: bool,
        sink: &mut Sink<'_>,
        body: &mut dyn FnMut(&mut Sink<'_>) -> Done,
    ) -> Done {
        if certain || self.delayed_name_removal {
            return body(sink);
        }
        let mut seen = Distinct::new(self);
        body(&mut |series, row| {
            seen.check(&series.labels, &row.valid)?;
            sink(series, row)
        })
    }

    fn map(&self, map: &Map, grid: Grid, sink: &mut Sink<'_>) -> Done {
        let parameters = map
            .parameters
            .iter()
            .map(|scalar| self.scalar(scalar, grid))
            .collect::<Result<Vec<_>, _>>()?;
        let defaults = map.function.default_parameters();
        let at = |step: usize| {
            let nth = |n: usize| parameters.get(n).map_or(defaults[n], |column| column[step]);
            [nth(0), nth(1)]
        };
        self.distinct(map.input.has_one_name(), sink, &mut |sink| {
            self.vector(&map.input, grid, &mut |series, row| {
                if row.has_histograms() {
                    map.function.prepare(row);
                }
                row.map(|step, value| map.function.apply(value, at(step), grid.time(step)));
                if row.valid.is_empty() {
                    return Ok(());
                }
                sink(&self.renamed(series), row)
            })
        })
    }

    fn single(
        &self,
        scalar: &Scalar,
        function: Option<MapFunction>,
        grid: Grid,
        sink: &mut Sink<'_>,
    ) -> Done {
        let mut row = Row::none(grid.len);
        row.values = self.scalar(scalar, grid)?;
        row.valid.fill();
        if let Some(function) = function {
            row.map(|step, value| function.apply(value, [0.0; 2], grid.time(step)));
        }
        sink(&Series::default(), &mut row)
    }

    fn with_scalar(&self, node: &WithScalar, grid: Grid, sink: &mut Sink<'_>) -> Done {
        let scalar = self.scalar(&node.scalar, grid)?;
        let renames = node.op.changes_meaning() || node.return_bool;
        let trims = node.op.trims();
        self.distinct(!renames || node.vector.has_one_name(), sink, &mut |sink| {
            self.vector(&node.vector, grid, &mut |series, row| {
                if trims || row.has_histograms() {
                    self.mixed_with_scalar(node, &scalar, row);
                    if row.valid.is_empty() {
                        return Ok(());
                    }
                    let renamed = if renames { self.renamed(series) } else { series.clone() };
                    return sink(&renamed, row);
                }
                row.map(|step, value| {
                    let (a, b) = if node.scalar_is_left {
                        (scalar[step], value)
                    } else {
                        (value, scalar[step])
                    };
                    operator::elements(node.op, a, b, value, node.return_bool)
                });
                if row.valid.is_empty() {
                    return Ok(());
                }
                if renames { sink(&self.renamed(series), row) } else { sink(series, row) }
            })
        })
    }

    fn label_replace(&self, node: &LabelReplace, grid: Grid, sink: &mut Sink<'_>) -> Done {
        self.relabel(
            &node.input,
            grid,
            sink,
            &|labels| {
                let value = node.regex.expand(labels.value(&node.source), &node.replacement)?;
                Some(labels.to_builder().set(node.target.as_str(), value).build())
            },
            &node.target,
        )
    }

    fn label_join(&self, node: &LabelJoin, grid: Grid, sink: &mut Sink<'_>) -> Done {
        self.relabel(
            &node.input,
            grid,
            sink,
            &|labels| {
                let values: Vec<&str> =
                    node.sources.iter().map(|name| labels.value(name)).collect();
                let value = values.join(&node.separator);
                Some(labels.to_builder().set(node.target.as_str(), value).build())
            },
            &node.target,
        )
    }

    /// Rows with other labels; `None` leaves them. Setting the name makes it mean something again.
    fn relabel(
        &self,
        input: &Vector,
        grid: Grid,
        sink: &mut Sink<'_>,
        change: &dyn Fn(&Labels) -> Option<Labels>,
        target: &str,
    ) -> Done {
        let mut seen = Distinct::new(self);
        self.vector(input, grid, &mut |series, row| {
            let changed = match change(&series.labels) {
                None => series.clone(),
                Some(labels) => {
                    Series { labels, drop_name: series.drop_name && target != METRIC_NAME }
                }
            };
            seen.check(&changed.labels, &row.valid)?;
            sink(&changed, row)
        })
    }
}

/// `absent()`: 1 wherever nothing is present.
fn push_absent(present: &Steps, labels: &Labels, sink: &mut Sink<'_>) -> Done {
    let mut row = Row::none(present.len());
    row.values.fill(1.0);
    row.valid.fill();
    row.valid.subtract(present);
    if row.valid.is_empty() {
        return Ok(());
    }
    sink(&Series { labels: labels.clone(), drop_name: true }, &mut row)
}
