//! Lengths of time: what stands in brackets and after `offset`.

use super::Problem;
use super::expression::Parser;
use super::keyword::Keyword;
use super::lexer::Kind;
use crate::ast::{BinaryOp, Length, LengthExpr, NumberLiteral, Span};

/// Lengths nest by parentheses and signs; few levels are ever needed.
const MAX_NESTING: u32 = 64;

/// Go keeps durations in nanoseconds of an i64.
const MAX_SECONDS: f64 = 9_223_372_036.854_775;

impl Parser<'_> {
    /// A length in brackets; longer than nothing.
    pub fn positive_length(
        &mut self,
        context: &'static str,
        expected: &'static str,
    ) -> Result<Length, Problem> {
        if !self.starts_length() {
            return Err(self.unexpected(context, expected));
        }
        let (expr, span) = self.within((context, expected), |parser| parser.length_expr(0, 0))?;
        if let LengthExpr::Number(number) = &expr
            && number.value <= 0.0
        {
            return Err(Problem::new(span, "duration must be greater than 0"));
        }
        Ok(finished(expr))
    }

    /// A length after `offset`. Only one that begins with a parenthesis or two signs goes on with operators:
    /// `x offset 5m * 2` is `(x offset 5m) * 2` and `x offset -(5m) * 2` is `(x offset -(5m)) * 2`, but `x offset (5m) * 2`
    /// is `x offset (5m * 2)`. That is how the conflicts in `offset_duration_expr` of upstream's grammar
    /// (promql/parser/generated_parser.y) are settled; see the test.
    pub fn offset_length(&mut self) -> Result<Length, Problem> {
        self.within(("offset", "number, duration, step(), or range()"), Self::offset_item)
    }

    fn offset_item(&mut self) -> Result<Length, Problem> {
        if !self.starts_length() {
            return Err(self.unexpected("", ""));
        }
        let is_sign = |kind: &Kind| matches!(kind, Kind::Operator(BinaryOp::Add | BinaryOp::Sub));
        let two_signs = is_sign(self.kind()) && is_sign(self.following());
        if *self.kind() == Kind::LeftParen || two_signs {
            return Ok(finished(self.length_expr(0, 0)?.0));
        }
        let sign = self.sign();
        let (item, span) = self.length_item(0)?;
        Ok(finished(signed(sign, item, span)?))
    }

    fn starts_length(&self) -> bool {
        matches!(
            self.kind(),
            Kind::Number
                | Kind::Duration
                | Kind::LeftParen
                | Kind::Operator(BinaryOp::Add | BinaryOp::Sub)
                | Kind::Keyword(Keyword::Step | Keyword::Range | Keyword::MinOf | Keyword::MaxOf)
        )
    }

    fn length_expr(&mut self, weakest: u8, nesting: u32) -> Result<(LengthExpr, Span), Problem> {
        if nesting > MAX_NESTING {
            let message = "duration expression is nested too deep";
            return Err(Problem::new(self.token().span, message));
        }
        let (mut left, mut span) = match self.sign() {
            None => self.length_item(nesting)?,
            Some(sign) => {
                let (operand, span) = self.length_expr(BinaryOp::Pow.precedence(), nesting + 1)?;
                (signed(Some(sign), operand, span)?, sign.1.to(span))
            }
        };
        let mut terms = 0;
        while let Kind::Operator(op) = *self.kind() {
            let precedence = op.precedence();
            if precedence < weakest || !op.is_for_lengths() {
                break;
            }
            terms += 1;
            if terms > MAX_NESTING {
                let message = "duration expression is too long";
                return Err(Problem::new(self.token().span, message));
            }
            let at = self.advance().span;
            let next = precedence + u8::from(op != BinaryOp::Pow);
            let (right, right_span) = self.length_expr(next, nesting + 1)?;
            if let LengthExpr::Number(number) = &right
                && number.value == 0.0
            {
                match op {
                    BinaryOp::Div => return Err(Problem::new(at, "division by zero")),
                    BinaryOp::Mod => return Err(Problem::new(at, "modulo by zero")),
                    _ => {}
                }
            }
            span = span.to(right_span);
            left = LengthExpr::Arithmetic(op, Box::new(left), Box::new(right), span);
        }
        Ok((left, span))
    }

    fn length_item(&mut self, nesting: u32) -> Result<(LengthExpr, Span), Problem> {
        if let Some(number) = self.number_literal()? {
            check_range(number, number.span)?;
            return Ok((LengthExpr::Number(number), number.span));
        }
        let token = self.token().clone();
        match token.kind {
            Kind::LeftParen => {
                self.advance();
                let (inner, _) = self.length_expr(0, nesting + 1)?;
                let close = self.closing_paren()?;
                Ok((LengthExpr::Paren(Box::new(inner)), token.span.to(close)))
            }
            Kind::Keyword(keyword @ (Keyword::Step | Keyword::Range)) => {
                self.advance();
                self.opening_paren()?;
                let close = self.closing_paren()?;
                let expr =
                    if keyword == Keyword::Step { LengthExpr::Step } else { LengthExpr::Range };
                Ok((expr, token.span.to(close)))
            }
            Kind::Keyword(keyword @ (Keyword::MinOf | Keyword::MaxOf)) => {
                self.advance();
                self.opening_paren()?;
                let first = Box::new(self.length_expr(0, nesting + 1)?.0);
                self.accept(&Kind::Comma).ok_or_else(|| self.unexpected("", ""))?;
                let second = Box::new(self.length_expr(0, nesting + 1)?.0);
                let close = self.closing_paren()?;
                let expr = if keyword == Keyword::MinOf {
                    LengthExpr::Min(first, second)
                } else {
                    LengthExpr::Max(first, second)
                };
                Ok((expr, token.span.to(close)))
            }
            _ => Err(self.unexpected("", "")),
        }
    }

    fn opening_paren(&mut self) -> Result<Span, Problem> {
        self.accept(&Kind::LeftParen).ok_or_else(|| self.unexpected("", ""))
    }

    fn closing_paren(&mut self) -> Result<Span, Problem> {
        self.accept(&Kind::RightParen).ok_or_else(|| self.unexpected("", ""))
    }
}

fn signed(sign: Option<(bool, Span)>, item: LengthExpr, span: Span) -> Result<LengthExpr, Problem> {
    let Some((negative, at)) = sign else { return Ok(item) };
    Ok(match item {
        LengthExpr::Number(number) => {
            let value = if negative { -number.value } else { number.value };
            let number = NumberLiteral { value, span: at.to(span), ..number };
            check_range(number, at)?;
            LengthExpr::Number(number)
        }
        item if negative => LengthExpr::Negate(Box::new(item)),
        item => item,
    })
}

fn check_range(number: NumberLiteral, span: Span) -> Result<(), Problem> {
    if number.value.abs() > MAX_SECONDS {
        return Err(Problem::new(span, "duration out of range"));
    }
    Ok(())
}

fn finished(expr: LengthExpr) -> Length {
    match expr {
        LengthExpr::Number(number) => Length::Literal(milliseconds(number.value)),
        expr => Length::Computed(Box::new(expr)),
    }
}

/// Seconds to milliseconds by way of whole nanoseconds, as Go's `time.Duration` goes. What long lengths lack by the
/// rounding of the float is made up for: else decades and half a second would lose a millisecond with each printing.
#[expect(clippy::cast_possible_truncation, reason = "checked to fit an i64 of nanoseconds")]
fn milliseconds(seconds: f64) -> i64 {
    let nanoseconds = seconds * 1e9;
    let lost = (nanoseconds * f64::EPSILON * 2.0) as i64;
    (nanoseconds.round() as i64).saturating_add(lost) / 1_000_000
}
