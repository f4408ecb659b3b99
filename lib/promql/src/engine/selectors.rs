//! The selectors of a query that are still to be read. Once the one that is being read has given its first series, the
//! source may begin on the next ones, and threads of the pool decode their first series.
//!
//! Not sooner: a source that answers only so many requests at a time must never have one waiting behind another whose
//! answer nobody takes yet. And no more than a few, for what was begun has to wait somewhere.

use std::collections::VecDeque;

use super::Plan;
use super::ahead::Ahead;
use super::evaluate::Evaluator;
use super::explain::address;
use super::grid::Grid;
use super::plan::{BucketsKind, Scalar, Select, Source, Vector, Window};
use super::select::subquery_grid;
use super::twins::Twins;
use crate::ast::Border;
use crate::storage::{SelectRequest, SeriesSet};

/// Most selectors that are begun beside the one that is read.
const BEGUN: usize = 3;

/// Selectors in the order in which the query reads them.
#[derive(Default)]
pub(super) struct Upcoming {
    waiting: VecDeque<Waiting>,
    begun: Vec<Begun>,
    pub twins: Twins,
}

/// A selector that nobody has asked for.
struct Waiting {
    /// Where it lies in the plan.
    select: usize,
    /// Its operator, when the query is observed.
    operator: Option<usize>,
    request: SelectRequest,
}

/// A selector that the source has been asked for, but that nobody reads.
pub(super) struct Begun {
    select: usize,
    request: SelectRequest,
    pub set: Box<dyn SeriesSet>,
    pub ahead: Option<Ahead>,
}

impl Upcoming {
    /// Takes out a selector whose turn has come, with its series if the source was asked already.
    fn claim(&mut self, select: usize, request: &SelectRequest) -> Option<Begun> {
        if let Some(at) = self.waiting.iter().position(|waiting| waiting.select == select) {
            self.waiting.remove(at);
        }
        let at = self.begun.iter().position(|begun| begun.select == select)?;
        let begun = self.begun.swap_remove(at);
        let is_same = (begun.request.start, begun.request.end) == (request.start, request.end)
            && begun.request.hints == request.hints;
        debug_assert!(is_same, "{:?} was asked for, but it is {request:?}", begun.request);
        is_same.then_some(begun)
    }
}

impl Evaluator<'_> {
    /// Notes what will be read. `keep`: whether what one selector reads may be kept for another.
    pub(super) fn look_ahead(&self, plan: &Plan, grid: Grid, keep: bool) {
        let mut walk = Walk { lookback: self.lookback(), found: VecDeque::new() };
        match plan {
            Plan::Text(_) => {}
            Plan::Scalar(scalar) => walk.scalar(scalar, grid),
            Plan::Vector(vector) => walk.vector(vector, grid),
            Plan::Window(window) => walk.window(window, grid),
        }
        if walk.found.len() < 2 {
            return;
        }
        let requests = walk.found.iter().map(|(select, request)| (address(*select), request));
        let twins = match keep {
            true => Twins::of(self.storage, &requests.collect::<Vec<_>>()),
            false => Twins::default(),
        };
        let operator =
            |select: &Select| self.clock.as_ref().and_then(|clock| clock.profile.find(select));
        let waiting = walk.found.into_iter().map(|(select, request)| Waiting {
            select: address(select),
            operator: operator(select),
            request,
        });
        let waiting = waiting.filter(|waiting| !twins.is_later(waiting.select)).collect();
        *self.upcoming.borrow_mut() = Upcoming { waiting, begun: Vec::new(), twins };
    }

    /// The series of a selector whose turn has come, if the source was asked already.
    pub(super) fn claim(&self, select: &Select, request: &SelectRequest) -> Option<Begun> {
        self.upcoming.borrow_mut().claim(address(select), request)
    }

    /// Has the source begin on the next selectors.
    pub(super) fn begin_upcoming(&self) {
        let upcoming = &mut *self.upcoming.borrow_mut();
        while upcoming.begun.len() < BEGUN {
            let Some(Waiting { select, operator, request }) = upcoming.waiting.pop_front() else {
                return;
            };
            let set = self.at_cost_of(operator, || self.storage.select_ahead(&request));
            if let Some(set) = set {
                let ahead = self.ahead(&*set);
                upcoming.begun.push(Begun { select, request, set, ahead });
            }
        }
    }

    /// Has threads of the pool decode the first series of selectors that were begun.
    pub(super) fn decode_upcoming(&self) {
        for begun in &mut self.upcoming.borrow_mut().begun {
            if let Some(ahead) = &mut begun.ahead {
                ahead.read_on_without_waiting(&mut *begun.set);
            }
        }
    }

    fn at_cost_of<T>(&self, operator: Option<usize>, work: impl FnOnce() -> T) -> T {
        let above = self.clock.as_ref().zip(operator).map(|(clock, id)| (clock, clock.switch(id)));
        let done = work();
        if let Some((clock, above)) = above {
            clock.switch(above);
        }
        done
    }
}

/// Finds selectors in the order in which evaluation comes to them.
struct Walk<'p> {
    lookback: i64,
    found: VecDeque<(&'p Select, SelectRequest)>,
}

impl<'p> Walk<'p> {
    fn vector(&mut self, plan: &'p Vector, grid: Grid) {
        if grid.len == 0 {
            return;
        }
        match plan {
            Vector::Select(select) if select.border == Border::Smoothed => {
                let around = (self.lookback, self.lookback);
                self.found.push_back((select, select.request(around, grid)));
            }
            Vector::Select(select) | Vector::SampleTime(select) => {
                self.found.push_back((select, select.newest_request(self.lookback, grid)));
            }
            Vector::StartTime(select) => {
                self.found.push_back((select, select.request((self.lookback, 0), grid)));
            }
            Vector::Range(node) => {
                node.parameters.iter().for_each(|(scalar, _)| self.scalar(scalar, grid));
                self.window(&node.window, grid);
            }
            Vector::AbsentOverTime(window, _) => self.window(window, grid),
            Vector::Map(node) => {
                node.parameters.iter().for_each(|scalar| self.scalar(scalar, grid));
                self.vector(&node.input, grid);
            }
            Vector::Single(scalar, _) => self.scalar(scalar, grid),
            Vector::Absent(input, _)
            | Vector::Sort { input, .. }
            | Vector::Nothing(input)
            | Vector::HistogramStat(_, input) => self.vector(input, grid),
            Vector::LabelReplace(node) => self.vector(&node.input, grid),
            Vector::LabelJoin(node) => self.vector(&node.input, grid),
            Vector::Buckets(node) => {
                match &node.kind {
                    BucketsKind::Quantile(scalar, _) => self.scalar(scalar, grid),
                    BucketsKind::Fraction(lower, upper) => {
                        self.scalar(lower, grid);
                        self.scalar(upper, grid);
                    }
                }
                self.vector(&node.input, grid);
            }
            Vector::Quantiles(node) => {
                node.quantiles.iter().for_each(|(scalar, _)| self.scalar(scalar, grid));
                self.vector(&node.input, grid);
            }
            // What it asks for beside its input depends on that.
            Vector::Info(node) => self.vector(&node.input, grid),
            Vector::Aggregate(node) => {
                node.parameter.iter().for_each(|(scalar, _)| self.scalar(scalar, grid));
                self.vector(&node.input, grid);
            }
            Vector::WithScalar(node) => {
                self.scalar(&node.scalar, grid);
                self.vector(&node.vector, grid);
            }
            Vector::Join(node) => {
                let (many, one) = node.sides();
                self.vector(one, grid);
                self.vector(many, grid);
            }
            Vector::Set { op, left, right, .. } => {
                let (first, second) = op.set_order(left, right);
                self.vector(first, grid);
                self.vector(second, grid);
            }
            Vector::Invariant(input) => self.vector(input, Grid::instant(grid.start)),
        }
    }

    fn scalar(&mut self, plan: &'p Scalar, grid: Grid) {
        match plan {
            Scalar::Number(_) | Scalar::Time => {}
            Scalar::Of(vector) => self.vector(vector, grid),
            Scalar::Negative(inner) => self.scalar(inner, grid),
            Scalar::Invariant(inner) => self.scalar(inner, Grid::instant(grid.start)),
            Scalar::Binary(_, left, right)
            | Scalar::Min(left, right)
            | Scalar::Max(left, right) => {
                self.scalar(left, grid);
                self.scalar(right, grid);
            }
        }
    }

    fn window(&mut self, window: &'p Window, grid: Grid) {
        match &window.source {
            Source::Series(select) => {
                let (before, after) = select.border.margins(self.lookback);
                let reach = window.range.saturating_add(before);
                self.found.push_back((select, select.request((reach, after), grid)));
            }
            Source::Subquery { input, step, offset, at } => {
                let inner = subquery_grid(grid, window.range, *step, *offset, *at);
                self.vector(input, inner);
            }
        }
    }
}
