//! Tree to text that parses back to the same tree (promql/parser/printer.go; matchers come in the order
//! of their text).

use std::fmt::{Display, Formatter, Result};

use model::labels::{is_legacy_label_name, write_quoted};
use model::{METRIC_NAME, MatchType};

use super::{
    Aggregate, At, Binary, BinaryOp, Border, Cardinality, Expr, Length, LengthExpr, Matching,
    MatrixSelector, NumberLiteral, Shift, StringLiteral, Subquery, VectorSelector,
};

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Number(node) => node.fmt(f),
            Self::String(node) => node.fmt(f),
            Self::Selector(node) => node.fmt(f),
            Self::Matrix(node) => node.fmt(f),
            Self::Subquery(node) => node.fmt(f),
            Self::Unary(node) => {
                write!(f, "{}{}", if node.negative { "-" } else { "+" }, node.expr)
            }
            Self::Paren(node) => write!(f, "({})", node.expr),
            Self::Binary(node) => node.fmt(f),
            Self::Aggregate(node) => node.fmt(f),
            Self::Call(node) => {
                write!(f, "{}(", node.function.name)?;
                write_list(f, &node.arguments)?;
                f.write_str(")")
            }
        }
    }
}

fn write_list<T: Display>(f: &mut Formatter<'_>, items: &[T]) -> Result {
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            f.write_str(", ")?;
        }
        item.fmt(f)?;
    }
    Ok(())
}

fn write_labels(f: &mut Formatter<'_>, labels: &[String]) -> Result {
    f.write_str("(")?;
    for (i, label) in labels.iter().enumerate() {
        if i > 0 {
            f.write_str(", ")?;
        }
        if is_legacy_label_name(label) {
            f.write_str(label)?;
        } else {
            write_quoted(f, label)?;
        }
    }
    f.write_str(")")
}

fn write_float(f: &mut Formatter<'_>, value: f64) -> Result {
    if value.is_infinite() {
        return f.write_str(if value > 0.0 { "+Inf" } else { "-Inf" });
    }
    write!(f, "{value}")
}

impl Display for StringLiteral {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let Some(raw) = &self.raw else { return write_quoted(f, &self.value) };
        f.write_str("\"")?;
        for chunk in raw.utf8_chunks() {
            let mut quoted = String::new();
            write_quoted(&mut quoted, chunk.valid())?;
            f.write_str(&quoted[1..quoted.len() - 1])?;
            chunk.invalid().iter().try_for_each(|byte| write!(f, "\\x{byte:02x}"))?;
        }
        f.write_str("\"")
    }
}

impl Display for NumberLiteral {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        if !self.duration {
            return write_float(f, self.value);
        }
        let length = std::time::Duration::try_from_secs_f64(self.value.abs()).unwrap_or_default();
        let sign = if self.value < 0.0 { "-" } else { "" };
        // To the nearest millisecond: seconds as a float may lie just below it.
        let rounded = length + std::time::Duration::from_micros(500);
        write!(f, "{sign}{}", model::duration::format(rounded))
    }
}

fn write_milliseconds(f: &mut Formatter<'_>, milliseconds: i64) -> Result {
    let length = std::time::Duration::from_millis(milliseconds.unsigned_abs());
    let sign = if milliseconds < 0 { "-" } else { "" };
    write!(f, "{sign}{}", model::duration::format(length))
}

impl Display for Length {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            // A range of less than a millisecond; "0s" would be refused.
            Self::Literal(0) => f.write_str("0.0001"),
            Self::Literal(milliseconds) => write_milliseconds(f, *milliseconds),
            Self::Computed(expr) => expr.fmt(f),
        }
    }
}

impl Display for LengthExpr {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Step => f.write_str("step()"),
            Self::Range => f.write_str("range()"),
            Self::Negate(inner) => write!(f, "-{inner}"),
            Self::Paren(inner) => write!(f, "({inner})"),
            Self::Arithmetic(op, left, right, _) => write!(f, "{left} {} {right}", op.as_str()),
            Self::Min(left, right) => write!(f, "min_of({left}, {right})"),
            Self::Max(left, right) => write!(f, "max_of({left}, {right})"),
        }
    }
}

impl Shift {
    fn write_at(&self, f: &mut Formatter<'_>) -> Result {
        match self.at {
            None => Ok(()),
            Some(At::Time(milliseconds)) => {
                let (sign, rest) =
                    (if milliseconds < 0 { "-" } else { "" }, milliseconds.unsigned_abs());
                write!(f, " @ {sign}{}.{:03}", rest / 1000, rest % 1000)
            }
            Some(At::Start) => f.write_str(" @ start()"),
            Some(At::End) => f.write_str(" @ end()"),
        }
    }

    fn write_offset(&self, f: &mut Formatter<'_>) -> Result {
        match &self.offset {
            None => Ok(()),
            // Read back, it would end before the operator.
            Some(Length::Computed(expr)) if has_operator(expr) && !is_open(expr) => {
                write!(f, " offset ({expr})")
            }
            Some(offset) => write!(f, " offset {offset}"),
        }
    }

    /// Whether an operator after the offset would be read as part of it.
    fn is_open(&self) -> bool {
        matches!(&self.offset, Some(Length::Computed(expr))
            if is_open(expr) || has_operator(expr))
    }
}

/// Whether it is printed with an operator outside of parentheses, a sign aside.
fn has_operator(expr: &LengthExpr) -> bool {
    match expr {
        LengthExpr::Arithmetic(..) => true,
        LengthExpr::Negate(inner) => matches!(**inner, LengthExpr::Arithmetic(..)),
        _ => false,
    }
}

/// Whether what is printed begins with a parenthesis or with two signs, see `offset_length` of the parser.
fn is_open(expr: &LengthExpr) -> bool {
    let is_negative = |expr: &LengthExpr| match expr {
        LengthExpr::Negate(_) => true,
        LengthExpr::Number(number) => number.value < 0.0,
        _ => false,
    };
    match expr {
        LengthExpr::Paren(_) => true,
        LengthExpr::Arithmetic(_, left, ..) => is_open(left),
        LengthExpr::Negate(inner) => match &**inner {
            LengthExpr::Arithmetic(_, left, ..) => is_negative(left),
            inner => is_negative(inner),
        },
        _ => false,
    }
}

impl Display for Shift {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        self.write_at(f)?;
        self.write_offset(f)
    }
}

impl VectorSelector {
    fn write_bare(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str(&self.name)?;
        let named = |matcher: &&model::Matcher| {
            matcher.name == METRIC_NAME
                && matcher.kind == MatchType::Equal
                && !self.name.is_empty()
                && matcher.value == self.name
        };
        let others = self.matchers.iter().filter(|matcher| !named(matcher));
        let mut matchers: Vec<_> = others.map(ToString::to_string).collect();
        if matchers.is_empty() && !self.name.is_empty() {
            return Ok(());
        }
        matchers.sort_unstable();
        write!(f, "{{{}}}", matchers.join(","))
    }

    /// As the left operand of arithmetic: the offset must not take the operator for its own.
    fn write_closed(&self, f: &mut Formatter<'_>) -> Result {
        self.write_bare(f)?;
        if self.shift.at.is_some() || self.border != Border::Plain {
            self.shift.write_offset(f)?;
            self.write_border(f)?;
            return self.shift.write_at(f);
        }
        match &self.shift.offset {
            Some(Length::Computed(expr)) if matches!(**expr, LengthExpr::Paren(_)) => {
                write!(f, " offset +{expr}")
            }
            Some(offset) => write!(f, " offset +({offset})"),
            None => Ok(()),
        }
    }

    fn write_border(&self, f: &mut Formatter<'_>) -> Result {
        match self.border {
            Border::Plain => Ok(()),
            Border::Anchored => f.write_str(" anchored"),
            Border::Smoothed => f.write_str(" smoothed"),
        }
    }
}

impl Display for VectorSelector {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        self.write_bare(f)?;
        self.shift.write_at(f)?;
        self.write_border(f)?;
        self.shift.write_offset(f)
    }
}

impl Display for MatrixSelector {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        self.selector.write_bare(f)?;
        write!(f, "[{}]", self.range)?;
        self.selector.write_border(f)?;
        self.selector.shift.fmt(f)
    }
}

/// `[range:step]` with modifiers.
pub(super) fn tail(subquery: &Subquery) -> String {
    let step = subquery.step.as_ref().map(ToString::to_string).unwrap_or_default();
    format!("[{}:{step}]{}", subquery.range, subquery.shift)
}

impl Display for Subquery {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "{}{}", self.expr, tail(self))
    }
}

struct Head<'a>(&'a Aggregate);

impl Display for Head<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let Head(node) = self;
        f.write_str(node.op.as_str())?;
        if node.without || !node.grouping.is_empty() {
            f.write_str(if node.without { " without " } else { " by " })?;
            write_labels(f, &node.grouping)?;
            f.write_str(" ")?;
        }
        Ok(())
    }
}

/// `sum by (a) `.
pub(super) fn head(aggregate: &Aggregate) -> String {
    Head(aggregate).to_string()
}

impl Display for Aggregate {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "{}(", Head(self))?;
        if let Some(parameter) = &self.parameter {
            write!(f, "{parameter}, ")?;
        }
        write!(f, "{})", self.expr)
    }
}

/// The left operand of an operator, printed so that the operator stays outside of it: a sign binds looser than a power,
/// so that `+Inf ^ 2` would be read as `+(Inf ^ 2)`, and some offsets go on with what follows them.
pub(super) struct Left<'a> {
    pub(super) expr: &'a Expr,
    pub(super) op: BinaryOp,
}

impl Left<'_> {
    /// Whether it is printed in another way than alone.
    pub(super) fn differs(&self) -> bool {
        match self.expr {
            Expr::Number(number) => number.value == f64::INFINITY && self.op == BinaryOp::Pow,
            Expr::Selector(selector) => selector.shift.is_open() && self.op.is_for_lengths(),
            Expr::Unary(unary) => self.of(&unary.expr).differs(),
            Expr::Binary(binary) => self.of(&binary.right).differs(),
            _ => false,
        }
    }

    fn of<'a>(&self, expr: &'a Expr) -> Left<'a> {
        Left { expr, op: self.op }
    }
}

impl Display for Left<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self.expr {
            expr if !self.differs() => expr.fmt(f),
            Expr::Number(_) => f.write_str("Inf"),
            Expr::Selector(selector) => selector.write_closed(f),
            Expr::Unary(unary) => {
                write!(f, "{}{}", if unary.negative { "-" } else { "+" }, self.of(&unary.expr))
            }
            Expr::Binary(binary) => {
                write!(f, "{}{} {}", binary.left(), Sign(binary), self.of(&binary.right))
            }
            expr => expr.fmt(f),
        }
    }
}

/// ` + on (a) group_left ()`.
pub(super) struct Sign<'a>(pub(super) &'a Binary);

impl Display for Sign<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let Sign(binary) = self;
        write!(f, " {}", binary.op.as_str())?;
        if binary.return_bool {
            f.write_str(" bool")?;
        }
        binary.matching.as_ref().map_or(Ok(()), |matching| matching.fmt(f))
    }
}

impl Binary {
    pub(super) fn left(&self) -> Left<'_> {
        Left { expr: &self.left, op: self.op }
    }
}

impl Display for Binary {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "{}{} {}", self.left(), Sign(self), self.right)
    }
}

impl Display for Matching {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let group = match self.cardinality {
            Cardinality::ManyToOne => Some(" group_left "),
            Cardinality::OneToMany => Some(" group_right "),
            Cardinality::OneToOne | Cardinality::ManyToMany => None,
        };
        if !self.labels.is_empty() || self.on || group.is_some() {
            f.write_str(if self.on { " on " } else { " ignoring " })?;
            write_labels(f, &self.labels)?;
        }
        if let Some(group) = group {
            f.write_str(group)?;
            write_labels(f, &self.include)?;
        }
        let mut fill = |word: &str, value: f64| {
            write!(f, " {word} (")?;
            write_float(f, value)?;
            f.write_str(")")
        };
        match self.fill {
            (Some(left), Some(right)) if left.to_bits() == right.to_bits() => fill("fill", left),
            (left, right) => {
                left.map_or(Ok(()), |value| fill("fill_left", value))?;
                right.map_or(Ok(()), |value| fill("fill_right", value))
            }
        }
    }
}
