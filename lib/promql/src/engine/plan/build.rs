//! Nodes of the tree to nodes of the plan, except calls.

use super::length::QueryTimes;
use super::{Aggregate, Join, Scalar, Select, Source, Vector, Window, WithScalar};
use crate::ast::{
    self, AggregateOp, At, Binary, BinaryOp, Border, Expr, MatrixSelector, Shift, Subquery,
    ValueType, VectorSelector,
};
use crate::error::QueryError;
use crate::storage::{Aggregate as Downsampling, Hints, Projection};

/// A node and whether it gives the same at every step.
pub(in crate::engine) struct Planned<T> {
    pub node: T,
    pub invariant: bool,
}

impl Planned<Vector> {
    /// Evaluated once when that is enough.
    pub fn folded(self) -> Vector {
        match self.node {
            node if !self.invariant => node,
            node => Vector::Invariant(Box::new(node)),
        }
    }
}

impl Planned<Scalar> {
    /// Evaluated once when that is enough.
    pub fn folded(self) -> Scalar {
        match self.node {
            node @ Scalar::Number(_) => node,
            node if !self.invariant => node,
            node => Scalar::Invariant(Box::new(node)),
        }
    }
}

/// What planning needs to know of the query.
#[derive(Debug, Clone)]
pub(in crate::engine) struct Planner {
    pub times: QueryTimes,
    pub default_subquery_step: i64,
    /// What surrounds the next selector, for the storage.
    pub hints: Hints,
    /// Whether only count and sum of native histograms matter to what surrounds the next selector.
    pub skip_buckets: bool,
}

type Result<T> = std::result::Result<Planned<T>, QueryError>;

pub(super) fn unsupported(what: impl std::fmt::Display) -> QueryError {
    QueryError::Execution(format!("{what} is not supported yet"))
}

impl Planner {
    pub fn new(times: QueryTimes, default_subquery_step: i64) -> Self {
        let hints = Hints { step: times.step, ..Hints::default() };
        Self { times, default_subquery_step, hints, skip_buckets: false }
    }

    pub fn scalar(&self, expr: &Expr) -> Result<Scalar> {
        match expr {
            Expr::Number(number) => {
                Ok(Planned { node: Scalar::Number(number.value), invariant: true })
            }
            Expr::Paren(paren) => self.scalar(&paren.expr),
            Expr::Unary(unary) => {
                let inner = self.scalar(&unary.expr)?;
                let node = match unary.negative {
                    true => Scalar::Negative(Box::new(inner.node)),
                    false => inner.node,
                };
                Ok(Planned { node, invariant: inner.invariant })
            }
            Expr::Binary(binary) => {
                let op = binary.op;
                self.scalar_pair(&binary.left, &binary.right, |left, right| {
                    Scalar::Binary(op, left, right)
                })
            }
            Expr::Call(call) => self.scalar_call(call),
            other => Err(unsupported(format_args!("scalar {other}"))),
        }
    }

    pub(super) fn scalar_pair(
        &self,
        left: &Expr,
        right: &Expr,
        make: impl Fn(Box<Scalar>, Box<Scalar>) -> Scalar,
    ) -> Result<Scalar> {
        let (left, right) = (self.scalar(left)?, self.scalar(right)?);
        let invariant = left.invariant && right.invariant;
        let node = if invariant {
            make(Box::new(left.node), Box::new(right.node))
        } else {
            make(Box::new(left.folded()), Box::new(right.folded()))
        };
        Ok(Planned { node, invariant })
    }

    pub fn vector(&self, expr: &Expr) -> Result<Vector> {
        match expr {
            Expr::Paren(paren) => self.vector(&paren.expr),
            Expr::Selector(selector) => {
                let select = self.select(selector, 0)?;
                let invariant = select.at.is_some();
                Ok(Planned { node: Vector::Select(select), invariant })
            }
            Expr::Unary(unary) => self.sign(unary),
            Expr::Binary(binary) => self.binary(binary),
            Expr::Aggregate(aggregate) => self.aggregate(aggregate),
            Expr::Call(call) => self.vector_call(call),
            other => Err(unsupported(format_args!("vector {other}"))),
        }
    }

    /// The same for an operand, of which no other number than the mean will do.
    fn of_means(&self) -> Self {
        let hints = Hints { aggregate: Downsampling::Average, ..self.hints.clone() };
        Self { hints, ..self.clone() }
    }

    /// The same for a vector of which every label may matter.
    pub(super) fn of_all_labels(&self) -> Self {
        let hints = Hints { projection: None, ..self.hints.clone() };
        Self { hints, ..self.clone() }
    }

    fn sign(&self, unary: &ast::Unary) -> Result<Vector> {
        if !unary.negative {
            return self.vector(&unary.expr);
        }
        let inner = self.of_means().vector(&unary.expr)?;
        let map = super::Map {
            function: super::MapFunction::Negate,
            input: inner.node,
            parameters: Vec::new(),
        };
        Ok(Planned { node: Vector::Map(Box::new(map)), invariant: inner.invariant })
    }

    fn binary(&self, binary: &Binary) -> Result<Vector> {
        if self.skip_buckets && binary.op.trims() {
            return Self { skip_buckets: false, ..self.clone() }.binary(binary);
        }
        if self.hints.aggregate != Downsampling::Average {
            return self.of_means().binary(binary);
        }
        let is_scalar = |expr: &Expr| expr.value_type() == ValueType::Scalar;
        let scalar_is_left = is_scalar(&binary.left);
        if scalar_is_left || is_scalar(&binary.right) {
            let (scalar, vector) = if scalar_is_left {
                (&binary.left, &binary.right)
            } else {
                (&binary.right, &binary.left)
            };
            let (scalar, vector) = (self.scalar(scalar)?, self.vector(vector)?);
            let invariant = scalar.invariant && vector.invariant;
            let (scalar, vector) = if invariant {
                (scalar.node, vector.node)
            } else {
                (scalar.folded(), vector.folded())
            };
            let node = WithScalar {
                op: binary.op,
                vector,
                scalar,
                scalar_is_left,
                return_bool: binary.return_bool,
                span: binary.span,
            };
            return Ok(Planned { node: Vector::WithScalar(Box::new(node)), invariant });
        }
        let Some(matching) = binary.matching.clone() else {
            return Err(unsupported("an operator without matching"));
        };
        let operand = self.of_all_labels();
        let (left, right) = (operand.vector(&binary.left)?, operand.vector(&binary.right)?);
        let invariant = left.invariant && right.invariant;
        let (left, right) =
            if invariant { (left.node, right.node) } else { (left.folded(), right.folded()) };
        let op = binary.op;
        let node = if op.is_set() {
            Vector::Set { op, left: Box::new(left), right: Box::new(right), matching }
        } else {
            let (return_bool, span) = (binary.return_bool, binary.span);
            Vector::Join(Box::new(Join { op, left, right, matching, return_bool, span }))
        };
        Ok(Planned { node, invariant })
    }

    fn aggregate(&self, aggregate: &ast::Aggregate) -> Result<Vector> {
        let op = aggregate.op;
        let hints = Hints {
            function: op.as_str().to_owned(),
            grouping: aggregate.grouping.clone(),
            by: !aggregate.without,
            aggregate: Downsampling::wanted_by(op.as_str()),
            projection: projection(aggregate),
            ..self.hints.clone()
        };
        let input = Self { hints, ..self.clone() }.vector(&aggregate.expr)?;
        let mut label = String::new();
        let mut grouping = aggregate.grouping.clone();
        let parameter = match &aggregate.parameter {
            Some(parameter) if op == AggregateOp::CountValues => {
                if let Expr::String(text) = parameter.without_parens() {
                    if text.raw.is_some() || text.value.is_empty() {
                        return Err(QueryError::Execution(format!("invalid label name {text}")));
                    }
                    label.clone_from(&text.value);
                }
                if !aggregate.without {
                    grouping.push(label.clone());
                }
                None
            }
            Some(parameter) => Some((self.scalar(parameter)?, parameter.span())),
            None => None,
        };
        grouping.sort_unstable();
        grouping.dedup();
        let invariant =
            input.invariant && parameter.as_ref().is_none_or(|(scalar, _)| scalar.invariant);
        let input = if invariant { input.node } else { input.folded() };
        let parameter = parameter.map(|(scalar, span)| (scalar.folded(), span));
        let node = Aggregate {
            op,
            input,
            parameter,
            label,
            grouping,
            without: aggregate.without,
            span: aggregate.span,
            input_span: aggregate.expr.span(),
        };
        Ok(Planned { node: Vector::Aggregate(Box::new(node)), invariant })
    }

    /// A read of no series yet.
    pub(super) fn bare_select(&self) -> Select {
        let hints = self.hints.clone();
        Select {
            span: None,
            matchers: Vec::new(),
            offset: 0,
            at: None,
            border: Border::Plain,
            hints,
            skip_buckets: false,
        }
    }

    pub(super) fn at(&self, shift: &Shift) -> Option<i64> {
        shift.at.map(|at| match at {
            At::Time(time) => time,
            At::Start => self.times.start,
            At::End => self.times.end,
        })
    }

    pub(super) fn offset(
        &self,
        shift: &Shift,
        span: ast::Span,
    ) -> std::result::Result<i64, QueryError> {
        match &shift.offset {
            Some(offset) => self.times.resolve(offset, true, span),
            None => Ok(0),
        }
    }

    pub fn select(
        &self,
        selector: &VectorSelector,
        range: i64,
    ) -> std::result::Result<Select, QueryError> {
        Ok(Select {
            span: Some(selector.span),
            matchers: selector.matchers.clone(),
            offset: self.offset(&selector.shift, selector.span)?,
            at: self.at(&selector.shift),
            border: selector.border,
            hints: Hints { range, ..self.hints.clone() },
            skip_buckets: self.skip_buckets,
        })
    }

    /// A window, and whether it is the same at every step.
    pub fn window(&self, expr: &Expr) -> Result<Window> {
        match expr.without_parens() {
            Expr::Matrix(matrix) => self.series_window(matrix),
            Expr::Subquery(subquery) => self.subquery_window(subquery),
            other => Err(unsupported(format_args!("range {other}"))),
        }
    }

    fn series_window(&self, matrix: &MatrixSelector) -> Result<Window> {
        let range = self.times.resolve(&matrix.range, false, matrix.span)?;
        let select = self.select(&matrix.selector, range)?;
        let invariant = select.at.is_some();
        let node = Window { source: Source::Series(select), range, span: matrix.span };
        Ok(Planned { node, invariant })
    }

    fn subquery_window(&self, subquery: &Subquery) -> Result<Window> {
        let range = self.times.resolve(&subquery.range, false, subquery.span)?;
        let step = match &subquery.step {
            Some(step) => self.times.resolve(step, false, subquery.span)?,
            None => self.default_subquery_step,
        };
        if step < 1 {
            return Err(QueryError::Execution(
                "subquery step must be at least one millisecond".to_owned(),
            ));
        }
        let aggregate = self.hints.aggregate.in_subquery();
        let hints = Hints { step, aggregate, ..self.hints.clone() };
        let inside = Self { hints, skip_buckets: false, ..self.clone() };
        let input = inside.vector(&subquery.expr)?.folded();
        let at = self.at(&subquery.shift);
        let offset = self.offset(&subquery.shift, subquery.span)?;
        let source = Source::Subquery { input, step, offset, at };
        let node = Window { source, range, span: subquery.span };
        Ok(Planned { node, invariant: at.is_some() })
    }
}

/// The labels that an aggregation looks at; `None` for those that hand on whole series.
fn projection(aggregate: &ast::Aggregate) -> Option<Projection> {
    let mut labels = aggregate.grouping.clone();
    if aggregate.without {
        labels.push(model::METRIC_NAME.to_owned());
    }
    labels.sort_unstable();
    labels.dedup();
    aggregate.op.reduces().then_some(Projection { labels, include: !aggregate.without })
}

impl BinaryOp {
    /// `</` and `>/`, of which only histograms know.
    pub(in crate::engine) fn trims(self) -> bool {
        matches!(self, Self::TrimLower | Self::TrimUpper)
    }

    /// Whether the result is of another kind than its operands, so that a metric name would lie about it.
    pub(in crate::engine) fn changes_meaning(self) -> bool {
        matches!(
            self,
            Self::Add | Self::Sub | Self::Mul | Self::Div | Self::Mod | Self::Pow | Self::Atan2
        )
    }
}
