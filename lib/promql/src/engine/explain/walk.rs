//! Plan to tree. Operators are numbered in the order of the tree, and found again at evaluation by where they lie in
//! memory: a plan does not move while it runs.

use std::collections::HashMap;

use model::Matcher;

use super::text::{Text, labels, length, matchers, seconds};
use super::{Operator, SUBQUERY};
use crate::ast::Border;
use crate::engine::function::map::MapFunction;
use crate::engine::grid::Grid;
use crate::engine::plan::{
    Aggregate, BucketsKind, Map, Quantiles, Range, Scalar, Select, Source, Vector, Window,
    WithScalar,
};
use crate::engine::select::subquery_grid;

/// Where operators lie, and their numbers.
pub(in crate::engine) type Ids = HashMap<usize, usize>;

/// Where a node of a plan lies.
pub(in crate::engine) fn address<T>(node: &T) -> usize {
    std::ptr::from_ref(node).addr()
}

/// Makes the tree.
pub(in crate::engine) struct Explainer {
    pub ids: Ids,
    /// Operators so far.
    pub count: usize,
    /// Milliseconds.
    lookback: i64,
}

impl Explainer {
    pub fn new(lookback: i64) -> Self {
        Self { ids: Ids::new(), count: 0, lookback }
    }

    fn operator(&mut self, kind: &'static str, detail: impl Into<String>, grid: Grid) -> Operator {
        let id = self.count;
        self.count += 1;
        let detail = detail.into();
        let (notes, children) = (Vec::new(), Vec::new());
        Operator { kind, detail, notes, steps: grid.len, cost: None, children, id }
    }

    fn over(
        &mut self,
        kind: &'static str,
        detail: impl Into<String>,
        input: &Vector,
        grid: Grid,
    ) -> Operator {
        let mut operator = self.operator(kind, detail, grid);
        operator.children.push(self.vector(input, grid));
        operator
    }

    /// The root: when the query is evaluated.
    pub fn query(&mut self, grid: Grid, instant: bool) -> Operator {
        let mut root = if instant {
            self.operator("query", format!("at {}", seconds(grid.start)), grid)
        } else {
            let (start, end) = (seconds(grid.start), seconds(grid.last()));
            let detail = format!("from {start} to {end} step {}", length(grid.step));
            let mut root = self.operator("query", detail, grid);
            root.notes.push(format!("{} steps", grid.len));
            root
        };
        root.notes.push(format!("lookback {}", length(self.lookback)));
        root
    }

    pub fn vector(&mut self, plan: &Vector, grid: Grid) -> Operator {
        let operator = match plan {
            Vector::Select(select) => self.select(select, "select", self.lookback, grid),
            Vector::SampleTime(select) => self.select(select, "timestamp", self.lookback, grid),
            Vector::StartTime(select) => {
                self.select(select, "start_timestamp", self.lookback, grid)
            }
            Vector::Aggregate(node) => self.aggregate(node, grid),
            Vector::Join(node) => {
                let bool = if node.return_bool { " bool" } else { "" };
                let detail = format!("{}{bool}{}", node.op.as_str(), node.matching);
                self.pair("join", detail, (&node.left, &node.right), grid)
            }
            Vector::Set { op, left, right, matching } => {
                self.pair("set", format!("{}{matching}", op.as_str()), (left, right), grid)
            }
            Vector::Invariant(input) => {
                let once = Grid::instant(grid.start);
                let mut operator = self.operator("once", "and the same at every step", once);
                operator.children.push(self.vector(input, once));
                operator
            }
            Vector::Range(node) => self.range(node, grid),
            Vector::AbsentOverTime(window, labels) => {
                let detail = format!("absent over {} {labels}", length(window.range));
                let mut operator = self.operator("window", detail, grid);
                operator.children.push(self.window(window, grid));
                operator
            }
            Vector::Map(node) => self.map(node, grid),
            Vector::WithScalar(node) => self.with_scalar(node, grid),
            Vector::Single(scalar, function) => {
                let name = function.map_or("vector", MapFunction::name);
                let detail = format!("{name}({})", Text(scalar));
                let mut operator = self.operator("vector", detail, grid);
                self.inside(&mut operator, scalar, grid);
                operator
            }
            Vector::Absent(input, labels) => self.over("absent", labels.to_string(), input, grid),
            Vector::LabelReplace(node) => {
                let detail = format!("{} from {}", node.target, node.source);
                self.over("label_replace", detail, &node.input, grid)
            }
            Vector::LabelJoin(node) => {
                let detail = format!("{} from {}", node.target, labels(&node.sources));
                self.over("label_join", detail, &node.input, grid)
            }
            Vector::Sort { input, order, .. } => {
                let by = order.labels.as_ref().map_or("value".to_owned(), |names| labels(names));
                let direction = if order.descending { " descending" } else { "" };
                self.over("sort", format!("by {by}{direction}"), input, grid)
            }
            Vector::Buckets(node) => self.buckets(&node.kind, &node.input, grid),
            Vector::Quantiles(node) => self.quantiles(node, grid),
            Vector::Info(node) => {
                let names: Vec<String> = node.names.iter().map(Matcher::to_string).collect();
                let detail = format!("labels of {{{}}}", names.join(", "));
                self.over("info", detail, &node.input, grid)
            }
            Vector::HistogramStat(stat, input) => {
                self.over("histogram", format!("{stat:?}").to_lowercase(), input, grid)
            }
            Vector::Nothing(input) => self.over("nothing", "", input, grid),
        };
        self.ids.insert(address(plan), operator.id);
        operator
    }

    fn map(&mut self, node: &Map, grid: Grid) -> Operator {
        let mut operator = self.operator("map", node.function.name(), grid);
        for scalar in &node.parameters {
            operator.notes.push(format!("parameter {}", Text(scalar)));
            self.inside(&mut operator, scalar, grid);
        }
        operator.children.push(self.vector(&node.input, grid));
        operator
    }

    fn quantiles(&mut self, node: &Quantiles, grid: Grid) -> Operator {
        let of = node.quantiles.iter().map(|(scalar, _)| Text(scalar).to_string());
        let of = of.collect::<Vec<_>>().join(", ");
        let detail = format!("quantiles {of} as {}", node.label);
        let mut operator = self.operator("histogram", detail, grid);
        for (scalar, _) in &node.quantiles {
            self.inside(&mut operator, scalar, grid);
        }
        operator.children.push(self.vector(&node.input, grid));
        operator
    }

    fn buckets(&mut self, kind: &BucketsKind, input: &Vector, grid: Grid) -> Operator {
        let (detail, scalars) = match kind {
            BucketsKind::Quantile(q, _) => (format!("quantile {}", Text(q)), vec![q]),
            BucketsKind::Fraction(lower, upper) => {
                let detail = format!("fraction between {} and {}", Text(lower), Text(upper));
                (detail, vec![lower, upper])
            }
        };
        let mut operator = self.operator("histogram", detail, grid);
        for scalar in scalars {
            self.inside(&mut operator, scalar, grid);
        }
        operator.children.push(self.vector(input, grid));
        operator
    }

    fn pair(
        &mut self,
        kind: &'static str,
        detail: String,
        (left, right): (&Vector, &Vector),
        grid: Grid,
    ) -> Operator {
        let mut pair = self.operator(kind, detail, grid);
        pair.children.push(self.vector(left, grid));
        pair.children.push(self.vector(right, grid));
        pair
    }

    fn with_scalar(&mut self, node: &WithScalar, grid: Grid) -> Operator {
        let (op, scalar) = (node.op.as_str(), Text(&node.scalar));
        let bool = if node.return_bool { " bool" } else { "" };
        let detail = match node.scalar_is_left {
            true => format!("{scalar} {op}{bool} each"),
            false => format!("each {op}{bool} {scalar}"),
        };
        let mut operator = self.operator("binary", detail, grid);
        self.inside(&mut operator, &node.scalar, grid);
        operator.children.push(self.vector(&node.vector, grid));
        operator
    }

    fn aggregate(&mut self, node: &Aggregate, grid: Grid) -> Operator {
        let mut detail = node.op.as_str().to_owned();
        if node.without || !node.grouping.is_empty() {
            let word = if node.without { " without " } else { " by " };
            detail.push_str(word);
            detail.push_str(&labels(&node.grouping));
        }
        let mut operator = self.operator("aggregate", detail, grid);
        if !node.label.is_empty() {
            operator.notes.push(format!("values as {}", node.label));
        }
        if let Some((scalar, _)) = &node.parameter {
            operator.notes.push(format!("parameter {}", Text(scalar)));
            self.inside(&mut operator, scalar, grid);
        }
        operator.children.push(self.vector(&node.input, grid));
        operator
    }

    fn range(&mut self, node: &Range, grid: Grid) -> Operator {
        let detail = format!("{} over {}", node.function.name, length(node.window.range));
        let mut operator = self.operator("window", detail, grid);
        for (scalar, _) in &node.parameters {
            operator.notes.push(format!("parameter {}", Text(scalar)));
            self.inside(&mut operator, scalar, grid);
        }
        operator.children.push(self.window(&node.window, grid));
        operator
    }

    /// Where the samples of a window come from.
    pub fn window(&mut self, window: &Window, grid: Grid) -> Operator {
        match &window.source {
            Source::Series(select) => self.select(select, "select", window.range, grid),
            Source::Subquery { input, step, offset, at } => {
                let inner = subquery_grid(grid, window.range, *step, *offset, *at);
                let (start, end) = (seconds(inner.start), seconds(inner.last()));
                let detail = format!("from {start} to {end} step {}", length(inner.step));
                let mut operator = self.operator(SUBQUERY, detail, inner);
                operator.notes.push(format!("{} steps", inner.len));
                shifted(&mut operator, *offset, *at);
                operator.children.push(self.vector(input, inner));
                operator
            }
        }
    }

    /// A read of stored series that reaches back by `reach` milliseconds from each step.
    fn select(&mut self, select: &Select, kind: &'static str, reach: i64, grid: Grid) -> Operator {
        let mut operator = self.operator(kind, matchers(&select.matchers), grid);
        shifted(&mut operator, select.offset, select.at);
        match select.border {
            Border::Plain => {}
            Border::Anchored => operator.notes.push("anchored".to_owned()),
            Border::Smoothed => operator.notes.push("smoothed".to_owned()),
        }
        let (before, after) = select.border.margins(self.lookback);
        let reach = match kind {
            // An instant selector reaches no further than the lookback in any case.
            "select" if select.hints.range > 0 => reach.saturating_add(before),
            _ => reach,
        };
        let start = select.looks_at(grid, 0).saturating_sub(reach).saturating_add(1);
        let last = select.looks_at(grid, grid.len.saturating_sub(1));
        let end = last.saturating_add(after);
        operator.notes.push(format!("reads {} to {}", seconds(start), seconds(end)));
        let hints = select.hints.to_string();
        if !hints.is_empty() {
            operator.notes.push(format!("hints {hints}"));
        }
        if select.skip_buckets {
            operator.notes.push("no buckets".to_owned());
        }
        self.ids.insert(address(select), operator.id);
        operator
    }

    /// The vectors within a scalar.
    pub fn inside(&mut self, operator: &mut Operator, scalar: &Scalar, grid: Grid) {
        match scalar {
            Scalar::Number(_) | Scalar::Time => {}
            Scalar::Of(vector) => operator.children.push(self.vector(vector, grid)),
            Scalar::Negative(inner) => self.inside(operator, inner, grid),
            Scalar::Invariant(inner) => self.inside(operator, inner, Grid::instant(grid.start)),
            Scalar::Binary(_, left, right)
            | Scalar::Min(left, right)
            | Scalar::Max(left, right) => {
                self.inside(operator, left, grid);
                self.inside(operator, right, grid);
            }
        }
    }
}

fn shifted(operator: &mut Operator, offset: i64, at: Option<i64>) {
    if let Some(at) = at {
        operator.notes.push(format!("@ {}", seconds(at)));
    }
    if offset != 0 {
        operator.notes.push(format!("offset {}", length(offset)));
    }
}
