//! Text to tree: lexer, operator-precedence parser and type check, with the wording of Prometheus' errors.
//!
//! Not here: numbers of series descriptions and histogram literals, which only test scripts have.

use std::fmt;

use model::Matcher;

use crate::ast::{Expr, Span};

mod check;
mod expression;
pub mod function;
mod keyword;
mod length;
mod lexer;
mod literal;
mod pattern;
mod selector;

/// Longest accepted text, bytes.
pub const MAX_LENGTH: usize = 1 << 20;

/// Deepest accepted tree; what walks a tree does so by recursion.
pub const MAX_DEPTH: u32 = 256;

/// Which parts of the language beyond the stable one are accepted; named as Prometheus' feature flags.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ParseOptions {
    /// `promql-experimental-functions`
    pub experimental_functions: bool,
    /// `promql-extended-range-selectors`
    pub extended_range_selectors: bool,
    /// `promql-binop-fill-modifiers`
    pub binop_fill_modifiers: bool,
}

impl ParseOptions {
    /// Everything that the parser knows.
    pub const ALL: Self = Self {
        experimental_functions: true,
        extended_range_selectors: true,
        binop_fill_modifiers: true,
    };
}

/// Where and why a text is no PromQL. Displays as `line:col: parse error: …`, as Prometheus does; without a position it
/// is the message alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    /// Which bytes.
    pub span: Span,
    /// `line:col` of the first byte, both from 1; empty when it is about the query as a whole.
    pub position: String,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.position.is_empty() {
            return f.write_str(&self.message);
        }
        write!(f, "{}: parse error: {}", self.position, self.message)
    }
}

impl std::error::Error for ParseError {}

impl ParseError {
    /// An error about a query as a whole.
    pub(crate) fn whole(message: String) -> Self {
        Self { span: Span::default(), position: String::new(), message }
    }
}

/// What is wrong with which bytes, before it is known in which line that is.
#[derive(Debug)]
struct Problem {
    span: Span,
    message: String,
}

impl Problem {
    fn new(span: Span, message: impl Into<String>) -> Self {
        Self { span, message: message.into() }
    }

    fn locate(self, text: &str) -> ParseError {
        ParseError { position: position(text, self.span), span: self.span, message: self.message }
    }
}

/// `line:col` of the first byte of a span, as error and annotation texts show it.
#[must_use]
pub fn position(text: &str, span: Span) -> String {
    if text.is_empty() {
        return "unknown position".to_owned();
    }
    let at = (span.start as usize).min(text.len());
    let before = &text.as_bytes()[..at];
    let line = before.split(|b| *b == b'\n').count();
    let column = before.iter().rev().take_while(|b| **b != b'\n').count() + 1;
    format!("{line}:{column}")
}

/// Parses a query in the stable language, as Prometheus does without feature flags.
///
/// # Errors
///
/// The first thing that is wrong, with the bytes it is about: a text that is no PromQL, types that do not fit, an
/// experimental construct, or a query longer than [`MAX_LENGTH`] or deeper than [`MAX_DEPTH`].
pub fn parse(query: &str) -> Result<Expr, ParseError> {
    parse_with(query, &ParseOptions::default())
}

/// Parses a query in the language that the options describe.
///
/// # Errors
///
/// Those of [`parse()`]; what the options leave out is an error that names it.
pub fn parse_with(query: &str, options: &ParseOptions) -> Result<Expr, ParseError> {
    let parsed = parser(query, *options).and_then(|mut parser| {
        let mut expr = parser.whole_expression()?;
        check::check(&mut expr, query)?;
        Ok(expr)
    });
    parsed.map_err(|problem| problem.locate(query))
}

/// Parses `metric{a="b"}` as matchers, the metric name as the last one (`ParseMetricSelector`, for `match[]`).
///
/// # Errors
///
/// A text that is no selector or more than one, and one that matches the empty label set.
pub fn parse_selector(text: &str) -> Result<Vec<Matcher>, ParseError> {
    let parsed = parser(text, ParseOptions::default()).and_then(|mut parser| {
        let selector = parser.whole_selector()?;
        check::selector(&selector, true)?;
        Ok(selector.matchers)
    });
    parsed.map_err(|problem| problem.locate(text))
}

fn parser(text: &str, options: ParseOptions) -> Result<expression::Parser<'_>, Problem> {
    if text.len() > MAX_LENGTH {
        return Err(Problem::new(
            Span::default(),
            format!("query is longer than {MAX_LENGTH} bytes"),
        ));
    }
    Ok(expression::Parser::new(text, options))
}

#[cfg(test)]
mod tests;
