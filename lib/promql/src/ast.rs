//! The tree of a parsed query (promql/parser/ast.go). Every node knows which bytes of the query it came from.
//!
//! `Display` of an [`Expr`] is the query on one line, [`pretty()`] over several, [`describe()`] the tree.

use model::Matcher;

mod describe;
mod operator;
mod pretty;
mod print;

pub use describe::{Node, describe};
pub use operator::{AggregateOp, BinaryOp};
pub use pretty::pretty;

/// Bytes of the query text, from `start` up to but not including `end`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// After the last byte.
    pub end: u32,
}

impl Span {
    /// From the start of one to the end of another.
    #[must_use]
    pub fn to(self, other: Self) -> Self {
        Self { start: self.start, end: other.end }
    }
}

/// The four types of PromQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueType {
    /// One number per step.
    Scalar,
    /// A text.
    String,
    /// At most one sample per series and step.
    Vector,
    /// A window of samples per series and step.
    Matrix,
}

impl ValueType {
    /// The name that error texts use.
    #[must_use]
    pub fn documented(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::String => "string",
            Self::Vector => "instant vector",
            Self::Matrix => "range vector",
        }
    }

    /// The name in API answers (`resultType`).
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::String => "string",
            Self::Vector => "vector",
            Self::Matrix => "matrix",
        }
    }
}

/// An expression.
#[derive(Debug, Clone, PartialEq)]
pub enum Expr {
    /// `1.5`, `0x1F`, `5m`.
    Number(NumberLiteral),
    /// `"text"`.
    String(StringLiteral),
    /// `metric{a="b"} offset 5m @ 10`.
    Selector(VectorSelector),
    /// `metric{a="b"}[5m]`.
    Matrix(MatrixSelector),
    /// `expr[1h:1m]`.
    Subquery(Box<Subquery>),
    /// `-expr`.
    Unary(Box<Unary>),
    /// `(expr)`.
    Paren(Box<Paren>),
    /// `a + b`.
    Binary(Box<Binary>),
    /// `sum by (a) (expr)`.
    Aggregate(Box<Aggregate>),
    /// `rate(x[5m])`.
    Call(Call),
}

/// A number, or a duration as its seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NumberLiteral {
    /// The value; of a duration its seconds.
    pub value: f64,
    /// Whether it was written as a duration.
    pub duration: bool,
    /// Where.
    pub span: Span,
}

/// A text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StringLiteral {
    /// Unquoted. What escapes like `\xff` leave that is no UTF-8 is U+FFFD here, as it is in Prometheus' JSON.
    pub value: String,
    /// The exact bytes, when they are no UTF-8.
    pub raw: Option<Box<[u8]>>,
    /// Where, quotes included.
    pub span: Span,
}

/// The time that `@` names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// Milliseconds since the epoch.
    Time(i64),
    /// Start of the query.
    Start,
    /// End of the query.
    End,
}

/// A length of time as written: a literal, or arithmetic that the plan resolves.
#[derive(Debug, Clone, PartialEq)]
pub enum Length {
    /// Milliseconds.
    Literal(i64),
    /// `5m * 2`, `step()`.
    Computed(Box<LengthExpr>),
}

/// Arithmetic over lengths of time, in seconds.
#[derive(Debug, Clone, PartialEq)]
pub enum LengthExpr {
    /// A number or duration.
    Number(NumberLiteral),
    /// `step()`.
    Step,
    /// `range()`.
    Range,
    /// `-x`.
    Negate(Box<LengthExpr>),
    /// `(x)`.
    Paren(Box<LengthExpr>),
    /// `x + y`.
    Arithmetic(BinaryOp, Box<LengthExpr>, Box<LengthExpr>, Span),
    /// `min_of(x, y)`.
    Min(Box<LengthExpr>, Box<LengthExpr>),
    /// `max_of(x, y)`.
    Max(Box<LengthExpr>, Box<LengthExpr>),
}

/// Where in time a selector or subquery looks.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Shift {
    /// `offset`: how far back.
    pub offset: Option<Length>,
    /// `@`.
    pub at: Option<At>,
}

/// How samples at the borders of a range are taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Border {
    /// Only samples within the range.
    #[default]
    Plain,
    /// `anchored`.
    Anchored,
    /// `smoothed`.
    Smoothed,
}

/// Picks the newest sample of each series.
#[derive(Debug, Clone, PartialEq)]
pub struct VectorSelector {
    /// The metric name in front of the braces, or "".
    pub name: String,
    /// As written, the name in front as the last one.
    pub matchers: Vec<Matcher>,
    /// `offset` and `@`.
    pub shift: Shift,
    /// `anchored` or `smoothed`.
    pub border: Border,
    /// Where, modifiers included.
    pub span: Span,
}

/// Picks a window of samples of each series.
#[derive(Debug, Clone, PartialEq)]
pub struct MatrixSelector {
    /// Of which series; carries `offset` and `@`.
    pub selector: VectorSelector,
    /// How long the window is.
    pub range: Length,
    /// Where, modifiers included.
    pub span: Span,
}

/// An expression evaluated at several times, as a window.
#[derive(Debug, Clone, PartialEq)]
pub struct Subquery {
    /// What is evaluated.
    pub expr: Expr,
    /// How long the window is.
    pub range: Length,
    /// Time between evaluations; `None` means the engine's default.
    pub step: Option<Length>,
    /// `offset` and `@`.
    pub shift: Shift,
    /// Where, modifiers included.
    pub span: Span,
}

/// A sign.
#[derive(Debug, Clone, PartialEq)]
pub struct Unary {
    /// Whether it is `-`.
    pub negative: bool,
    /// Of what.
    pub expr: Expr,
    /// Where.
    pub span: Span,
}

/// Parentheses.
#[derive(Debug, Clone, PartialEq)]
pub struct Paren {
    /// What is inside.
    pub expr: Expr,
    /// Where.
    pub span: Span,
}

/// How many series of each side may share a match group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cardinality {
    /// One of each.
    OneToOne,
    /// `group_left`.
    ManyToOne,
    /// `group_right`.
    OneToMany,
    /// Set operators.
    ManyToMany,
}

/// How series of two vectors find each other.
#[derive(Debug, Clone, PartialEq)]
pub struct Matching {
    /// How many may share a group.
    pub cardinality: Cardinality,
    /// Labels of `on` or `ignoring`.
    pub labels: Vec<String>,
    /// Whether `labels` is `on` (else `ignoring`, or nothing written).
    pub on: bool,
    /// Labels that `group_left`/`group_right` copies from the "one" side.
    pub include: Vec<String>,
    /// Values that stand in for a missing series, left and right.
    pub fill: (Option<f64>, Option<f64>),
}

/// `left op right`.
#[derive(Debug, Clone, PartialEq)]
pub struct Binary {
    /// What is done.
    pub op: BinaryOp,
    /// Left operand.
    pub left: Expr,
    /// Right operand.
    pub right: Expr,
    /// Present when both operands are vectors.
    pub matching: Option<Matching>,
    /// Whether a comparison gives 0 or 1 in place of filtering.
    pub return_bool: bool,
    /// Where.
    pub span: Span,
}

/// `op by (labels) (parameter, expr)`.
#[derive(Debug, Clone, PartialEq)]
pub struct Aggregate {
    /// How.
    pub op: AggregateOp,
    /// Of what.
    pub expr: Expr,
    /// `k`, φ, label name or ratio.
    pub parameter: Option<Expr>,
    /// Labels of `by` or `without`.
    pub grouping: Vec<String>,
    /// Whether `grouping` is `without`.
    pub without: bool,
    /// Where.
    pub span: Span,
}

/// A function call.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// Which function.
    pub function: &'static crate::parse::function::Signature,
    /// Its arguments.
    pub arguments: Vec<Expr>,
    /// Where.
    pub span: Span,
}

impl Expr {
    /// Which bytes it came from.
    #[must_use]
    pub fn span(&self) -> Span {
        match self {
            Self::Number(node) => node.span,
            Self::String(node) => node.span,
            Self::Selector(node) => node.span,
            Self::Matrix(node) => node.span,
            Self::Subquery(node) => node.span,
            Self::Unary(node) => node.span,
            Self::Paren(node) => node.span,
            Self::Binary(node) => node.span,
            Self::Aggregate(node) => node.span,
            Self::Call(node) => node.span,
        }
    }

    /// Its type.
    #[must_use]
    pub fn value_type(&self) -> ValueType {
        match self {
            Self::Number(_) => ValueType::Scalar,
            Self::String(_) => ValueType::String,
            Self::Selector(_) | Self::Aggregate(_) => ValueType::Vector,
            Self::Matrix(_) | Self::Subquery(_) => ValueType::Matrix,
            Self::Unary(node) => node.expr.value_type(),
            Self::Paren(node) => node.expr.value_type(),
            Self::Binary(node) => {
                let scalar = |expr: &Expr| expr.value_type() == ValueType::Scalar;
                if scalar(&node.left) && scalar(&node.right) {
                    ValueType::Scalar
                } else {
                    ValueType::Vector
                }
            }
            Self::Call(node) => node.function.returns,
        }
    }

    /// Without the parentheses around it.
    #[must_use]
    pub fn without_parens(&self) -> &Self {
        let mut expr = self;
        while let Self::Paren(paren) = expr {
            expr = &paren.expr;
        }
        expr
    }
}
