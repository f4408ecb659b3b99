//! Selectors and what follows an expression: `[5m]`, `[1h:1m]`, `offset`, `@`, `anchored`, `smoothed`.

use model::{METRIC_NAME, MatchType, Matcher};

use super::expression::{Node, Parser};
use super::keyword::Keyword;
use super::lexer::{Kind, Token};
use super::{Problem, literal, pattern};
use crate::ast::{
    At, BinaryOp, Border, Expr, MatrixSelector, Shift, Span, Subquery, VectorSelector,
};

const CONTEXT: &str = "label matching";

impl Parser<'_> {
    /// A selector whose name, if it has one in front, is already read.
    pub fn selector(&mut self, name: Option<Token>) -> Result<VectorSelector, Problem> {
        let mut span = name.as_ref().map_or(self.token().span, |token| token.span);
        let mut matchers = Vec::new();
        if self.accept(&Kind::LeftBrace).is_some() {
            span = span.to(self.label_matchers(&mut matchers)?);
        }
        let name = name.map(|token| self.word(token.span).to_owned()).unwrap_or_default();
        if !name.is_empty() {
            matchers.push(Matcher::equal(METRIC_NAME, name.as_str()));
        }
        Ok(VectorSelector { name, matchers, shift: Shift::default(), border: Border::Plain, span })
    }

    fn label_matchers(&mut self, matchers: &mut Vec<Matcher>) -> Result<Span, Problem> {
        loop {
            if let Some(end) = self.accept(&Kind::RightBrace) {
                return Ok(end);
            }
            matchers.push(self.label_matcher()?);
            if self.accept(&Kind::Comma).is_none() && *self.kind() != Kind::RightBrace {
                return Err(self.unexpected(CONTEXT, "\",\" or \"}\""));
            }
        }
    }

    fn label_matcher(&mut self) -> Result<Matcher, Problem> {
        let token = self.token().clone();
        let name = match token.kind {
            Kind::Name => self.word(token.span).to_owned(),
            Kind::Text => self.unquoted(token.span)?,
            _ => return Err(self.unexpected(CONTEXT, "identifier or \"}\"")),
        };
        self.advance();
        let kind = match self.kind() {
            Kind::Equal => MatchType::Equal,
            Kind::Operator(BinaryOp::Ne) => MatchType::NotEqual,
            Kind::Matches => MatchType::Regex,
            Kind::NotMatches => MatchType::NotRegex,
            _ if token.kind == Kind::Text => return Ok(Matcher::equal(METRIC_NAME, name)),
            _ => return Err(self.unexpected(CONTEXT, "label matching operator")),
        };
        self.advance();
        if *self.kind() != Kind::Text {
            return Err(self.unexpected(CONTEXT, "string"));
        }
        let value_span = self.advance().span;
        let value = self.unquoted(value_span)?;
        Matcher::new(kind, name, value).map_err(|error| {
            let reason = pattern::go_words(&error.pattern, &error.reason);
            let message = format!("error parsing regexp: {reason}");
            Problem::new(token.span.to(value_span), message)
        })
    }

    fn unquoted(&self, span: Span) -> Result<String, Problem> {
        literal::unquote(self.word(span)).map_err(|message| Problem::new(span, message))
    }

    /// What follows an expression directly. Binds tighter than every operator.
    pub fn postfix(&mut self, mut node: Node) -> Result<Node, Problem> {
        loop {
            node = match self.kind() {
                Kind::LeftBracket => self.brackets(node)?,
                Kind::Keyword(Keyword::Offset) => self.offset(node)?,
                Kind::At => self.at_modifier(node)?,
                Kind::Keyword(Keyword::Anchored) => self.border(node, Border::Anchored)?,
                Kind::Keyword(Keyword::Smoothed) => self.border(node, Border::Smoothed)?,
                _ => return Ok(node),
            };
        }
    }

    fn brackets(&mut self, node: Node) -> Result<Node, Problem> {
        let open = self.advance().span;
        let range = self.positive_length(
            "subquery or range selector",
            "number, duration, step(), or range()",
        )?;
        if self.accept(&Kind::Colon).is_none() {
            let close = self.accept(&Kind::RightBracket);
            let close =
                close.ok_or_else(|| self.unexpected("subquery or range", "\":\" or \"]\""))?;
            let brackets = open.to(close);
            let span = node.expr.span().to(close);
            let selector = selector_of_range(node.expr, brackets)?;
            return self.node(Expr::Matrix(MatrixSelector { selector, range, span }), node.depth);
        }
        let step = match self.kind() {
            Kind::RightBracket => None,
            _ => Some(self.positive_length(
                "subquery selector",
                "number, duration, step(), range(), or \"]\"",
            )?),
        };
        let close = self.accept(&Kind::RightBracket);
        let close = close.ok_or_else(|| self.unexpected("subquery selector", "\"]\""))?;
        let span = node.expr.span().to(close);
        let subquery = Subquery { expr: node.expr, range, step, shift: Shift::default(), span };
        self.node(Expr::Subquery(Box::new(subquery)), node.depth)
    }

    fn offset(&mut self, mut node: Node) -> Result<Node, Problem> {
        self.advance();
        let before = self.token().span;
        let offset = self.offset_length()?;
        let end = self.last_span(before);
        let span = node.expr.span();
        let Some((shift, whole)) = shift_of(&mut node.expr) else {
            let message = "offset modifier must be preceded by an instant vector selector or range vector selector or a subquery";
            return Err(Problem::new(span, message));
        };
        if shift.offset.is_some() {
            return Err(Problem::new(span, "offset may not be set multiple times"));
        }
        // Upstream cannot tell an offset of nothing from none.
        shift.offset = Some(offset).filter(|offset| *offset != crate::ast::Length::Literal(0));
        *whole = whole.to(end);
        Ok(node)
    }

    fn at_modifier(&mut self, mut node: Node) -> Result<Node, Problem> {
        self.advance();
        let span = node.expr.span();
        let before = self.token().span;
        let at = self.at_time(span)?;
        let end = self.last_span(before);
        let Some((shift, whole)) = shift_of(&mut node.expr) else {
            let message = "@ modifier must be preceded by an instant vector selector or range vector selector or a subquery";
            return Err(Problem::new(span, message));
        };
        if shift.at.is_some() {
            return Err(Problem::new(span, "@ <timestamp> may not be set multiple times"));
        }
        shift.at = Some(at);
        *whole = whole.to(end);
        Ok(node)
    }

    fn at_time(&mut self, selector: Span) -> Result<At, Problem> {
        let preprocessor = match self.kind() {
            Kind::Keyword(Keyword::Start) => Some(At::Start),
            Kind::Keyword(Keyword::End) => Some(At::End),
            _ => None,
        };
        if let Some(at) = preprocessor {
            self.advance();
            self.accept(&Kind::LeftParen).ok_or_else(|| self.unexpected("@", "timestamp"))?;
            self.accept(&Kind::RightParen).ok_or_else(|| self.unexpected("@", "timestamp"))?;
            return Ok(at);
        }
        let sign = self.sign();
        let number = self.number_literal()?;
        let number = number.ok_or_else(|| self.unexpected("@", "timestamp"))?;
        let negative = sign.is_some_and(|(negative, _)| negative);
        let seconds = if negative { -number.value } else { number.value };
        at_seconds(seconds, selector)
    }

    fn border(&mut self, mut node: Node, border: Border) -> Result<Node, Problem> {
        let word = if border == Border::Anchored { "anchored" } else { "smoothed" };
        let end = self.advance().span;
        let span = node.expr.span();
        let error = |message: String| Err(Problem::new(span, message));
        if !self.options.extended_range_selectors {
            return error(format!("{word} modifier is experimental and not enabled"));
        }
        let (selector, whole) = match &mut node.expr {
            Expr::Selector(selector) => (selector, None),
            Expr::Matrix(matrix) => (&mut matrix.selector, Some(&mut matrix.span)),
            Expr::Subquery(_) => {
                return error(format!("{word} modifier is not supported for subqueries"));
            }
            _ => return error(format!("{word} modifier not implemented")),
        };
        if selector.border != Border::Plain && selector.border != border {
            return error("anchored and smoothed modifiers cannot be used together".to_owned());
        }
        selector.border = border;
        let whole = whole.unwrap_or(&mut selector.span);
        *whole = whole.to(end);
        Ok(node)
    }

    /// The last token that was read, which started at or after another.
    fn last_span(&self, first: Span) -> Span {
        let end = self.token().span.start;
        let text = self.text[first.start as usize..end as usize].trim_end();
        let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
        Span { start: first.start, end: first.start.saturating_add(length) }
    }
}

fn selector_of_range(expr: Expr, brackets: Span) -> Result<VectorSelector, Problem> {
    let Expr::Selector(selector) = expr else {
        return Err(Problem::new(brackets, "ranges only allowed for vector selectors"));
    };
    if selector.shift.offset.is_some() {
        return Err(Problem::new(brackets, "no offset modifiers allowed before range"));
    }
    if selector.shift.at.is_some() {
        return Err(Problem::new(brackets, "no @ modifiers allowed before range"));
    }
    Ok(selector)
}

fn shift_of(expr: &mut Expr) -> Option<(&mut Shift, &mut Span)> {
    match expr {
        Expr::Selector(selector) => Some((&mut selector.shift, &mut selector.span)),
        Expr::Matrix(matrix) => Some((&mut matrix.selector.shift, &mut matrix.span)),
        Expr::Subquery(subquery) => Some((&mut subquery.shift, &mut subquery.span)),
        _ => None,
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the bounds are checked")]
fn at_seconds(seconds: f64, selector: Span) -> Result<At, Problem> {
    // The bounds of Go's int64, as upstream compares seconds with them.
    const BOUND: f64 = 9.223_372_036_854_776e18;
    if !seconds.is_finite() || seconds.abs() >= BOUND {
        let shown = if seconds.is_nan() {
            "NaN".to_owned()
        } else if seconds.is_infinite() {
            if seconds > 0.0 { "+Inf".to_owned() } else { "-Inf".to_owned() }
        } else {
            format!("{seconds:.6}")
        };
        let message = format!("timestamp out of bounds for @ modifier: {shown}");
        return Err(Problem::new(selector, message));
    }
    Ok(At::Time((seconds * 1000.0).round() as i64))
}
