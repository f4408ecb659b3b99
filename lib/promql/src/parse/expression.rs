//! Expressions: operators by precedence, calls, aggregations, literals.

use super::keyword::{Keyword, is_metric_name};
use super::lexer::{Kind, Token, lex};
use super::{MAX_DEPTH, ParseOptions, Problem, function, literal};
use crate::ast::{
    Aggregate, AggregateOp, Binary, BinaryOp, Call, Cardinality, Expr, Matching, NumberLiteral,
    Paren, Span, StringLiteral, Unary, VectorSelector,
};

pub(super) struct Parser<'a> {
    pub text: &'a str,
    pub options: ParseOptions,
    tokens: Vec<Token>,
    at: usize,
    /// How many calls of ours are open.
    open: u32,
    /// What is being read, and what is expected there, for errors of parts that say nothing of their own. Upstream's
    /// grammar catches these in the innermost rule that has a production for errors.
    within: (&'static str, &'static str),
}

/// An expression and how deep its tree is.
pub(super) struct Node {
    pub expr: Expr,
    pub depth: u32,
}

/// Signs bind like `*`, so only `^` binds tighter.
const ABOVE_SIGN: u8 = 6;

impl<'a> Parser<'a> {
    pub fn new(text: &'a str, options: ParseOptions) -> Self {
        Self { text, options, tokens: lex(text), at: 0, open: 0, within: ("", "") }
    }

    pub fn whole_expression(&mut self) -> Result<Expr, Problem> {
        if *self.kind() == Kind::End {
            return Err(Problem::new(Span::default(), "no expression found in input"));
        }
        let node = self.expression(0)?;
        self.expect_end()?;
        Ok(node.expr)
    }

    pub fn whole_selector(&mut self) -> Result<VectorSelector, Problem> {
        let token = self.token().clone();
        let selector = if token.kind == Kind::LeftBrace {
            self.selector(None)?
        } else if is_metric_name(&token.kind) {
            self.advance();
            self.selector(Some(token))?
        } else {
            return Err(self.unexpected("", ""));
        };
        self.expect_end()?;
        Ok(selector)
    }

    fn expect_end(&self) -> Result<(), Problem> {
        if *self.kind() == Kind::End { Ok(()) } else { Err(self.unexpected("", "")) }
    }

    // The lexer always ends with `End` or `Error`, past which `advance` never goes.
    pub fn token(&self) -> &Token {
        &self.tokens[self.at]
    }

    pub fn kind(&self) -> &Kind {
        &self.token().kind
    }

    pub fn advance(&mut self) -> Token {
        let token = self.tokens[self.at].clone();
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        token
    }

    pub fn accept(&mut self, kind: &Kind) -> Option<Span> {
        (self.kind() == kind).then(|| self.advance().span)
    }

    pub fn accept_keyword(&mut self, keyword: Keyword) -> bool {
        self.accept(&Kind::Keyword(keyword)).is_some()
    }

    pub fn following(&self) -> &Kind {
        &self.tokens[(self.at + 1).min(self.tokens.len() - 1)].kind
    }

    pub fn word(&self, span: Span) -> &'a str {
        &self.text[span.start as usize..span.end as usize]
    }

    /// Reads a part whose errors are about something; after an error nothing is read any more.
    pub fn within<T>(
        &mut self,
        (context, expected): (&'static str, &'static str),
        read: impl FnOnce(&mut Self) -> Result<T, Problem>,
    ) -> Result<T, Problem> {
        let outside = std::mem::replace(&mut self.within, (context, expected));
        let done = read(self)?;
        self.within = outside;
        Ok(done)
    }

    /// The error for the next token. An error of the lexer is reported as such.
    pub fn unexpected(&self, context: &str, expected: &str) -> Problem {
        let token = self.token();
        if let Kind::Error(message) = &token.kind {
            return Problem::new(token.span, message.clone());
        }
        let (context, expected) =
            if context.is_empty() { self.within } else { (context, expected) };
        let mut message = format!("unexpected {}", self.describe(token));
        if !context.is_empty() {
            message.push_str(" in ");
            message.push_str(context);
        }
        if !expected.is_empty() {
            message.push_str(", expected ");
            message.push_str(expected);
        }
        Problem::new(token.span, message)
    }

    fn describe(&self, token: &Token) -> String {
        let word = self.word(token.span);
        let shortened = || {
            if word.len() > 10 {
                format!("{:?}...", word.chars().take(10).collect::<String>())
            } else {
                format!("{word:?}")
            }
        };
        match &token.kind {
            Kind::End => "end of input".to_owned(),
            Kind::Name => format!("identifier {word:?}"),
            Kind::MetricName => format!("metric identifier {word:?}"),
            Kind::Text => format!("string {}", shortened()),
            Kind::Number => format!("number {}", shortened()),
            Kind::Duration => format!("duration {}", shortened()),
            Kind::Keyword(keyword) if !keyword.is_preprocessor() => format!("<{word}>"),
            Kind::Aggregate(_) => format!("<aggr:{word}>"),
            Kind::Operator(_) | Kind::Matches | Kind::NotMatches | Kind::At => {
                format!("<op:{word}>")
            }
            _ => shortened(),
        }
    }

    /// An expression whose operators bind at least as tightly as `weakest`.
    pub fn expression(&mut self, weakest: u8) -> Result<Node, Problem> {
        self.enter()?;
        let mut left = self.operand()?;
        while let Kind::Operator(op) = *self.kind() {
            let precedence = op.precedence();
            if precedence < weakest {
                break;
            }
            self.advance();
            left = self.binary(left, op)?;
        }
        self.open -= 1;
        Ok(left)
    }

    fn enter(&mut self) -> Result<(), Problem> {
        self.open += 1;
        if self.open > MAX_DEPTH { Err(self.too_deep()) } else { Ok(()) }
    }

    fn too_deep(&self) -> Problem {
        Problem::new(
            self.token().span,
            format!("expression is nested more than {MAX_DEPTH} levels deep"),
        )
    }

    pub fn node(&self, expr: Expr, below: u32) -> Result<Node, Problem> {
        if below >= MAX_DEPTH {
            return Err(self.too_deep());
        }
        Ok(Node { expr, depth: below + 1 })
    }

    fn binary(&mut self, left: Node, op: BinaryOp) -> Result<Node, Problem> {
        let return_bool = self.accept_keyword(Keyword::Bool);
        let matching = self.matching()?;
        let fill_span = matching.fill.0.or(matching.fill.1).map(|_| left.expr.span());
        // Only `^` groups to the right.
        let right = self.expression(op.precedence() + u8::from(op != BinaryOp::Pow))?;
        let span = left.expr.span().to(right.expr.span());
        if fill_span.is_some() && !self.options.binop_fill_modifiers {
            let message = "binop fill modifiers are experimental and not enabled";
            return Err(Problem::new(span, message));
        }
        let depth = left.depth.max(right.depth);
        let binary = Binary {
            op,
            left: left.expr,
            right: right.expr,
            matching: Some(matching),
            return_bool,
            span,
        };
        self.node(Expr::Binary(Box::new(binary)), depth)
    }

    fn matching(&mut self) -> Result<Matching, Problem> {
        let mut matching = Matching {
            cardinality: Cardinality::OneToOne,
            labels: Vec::new(),
            on: false,
            include: Vec::new(),
            fill: (None, None),
        };
        if matches!(self.kind(), Kind::Keyword(Keyword::On | Keyword::Ignoring)) {
            matching.on = *self.kind() == Kind::Keyword(Keyword::On);
            self.advance();
            matching.labels = self.grouping_labels()?;
            matching.cardinality = match self.kind() {
                Kind::Keyword(Keyword::GroupLeft) => Cardinality::ManyToOne,
                Kind::Keyword(Keyword::GroupRight) => Cardinality::OneToMany,
                _ => Cardinality::OneToOne,
            };
            if matching.cardinality != Cardinality::OneToOne {
                self.advance();
                if *self.kind() == Kind::LeftParen {
                    matching.include = self.grouping_labels()?;
                }
            }
        }
        self.fill(&mut matching)?;
        Ok(matching)
    }

    fn fill(&mut self, matching: &mut Matching) -> Result<(), Problem> {
        if self.accept_keyword(Keyword::Fill) {
            let value = Some(self.fill_value()?);
            matching.fill = (value, value);
        } else if self.accept_keyword(Keyword::FillLeft) {
            matching.fill.0 = Some(self.fill_value()?);
            if self.accept_keyword(Keyword::FillRight) {
                matching.fill.1 = Some(self.fill_value()?);
            }
        } else if self.accept_keyword(Keyword::FillRight) {
            matching.fill.1 = Some(self.fill_value()?);
            if self.accept_keyword(Keyword::FillLeft) {
                matching.fill.0 = Some(self.fill_value()?);
            }
        }
        Ok(())
    }

    fn fill_value(&mut self) -> Result<f64, Problem> {
        self.accept(&Kind::LeftParen).ok_or_else(|| self.unexpected("", ""))?;
        let sign = self.sign().map(|(negative, _)| negative);
        let number = self.number_literal()?.ok_or_else(|| self.unexpected("", ""))?;
        self.accept(&Kind::RightParen).ok_or_else(|| self.unexpected("", ""))?;
        Ok(if sign == Some(true) { -number.value } else { number.value })
    }

    /// `(a, b, "c.d")`.
    fn grouping_labels(&mut self) -> Result<Vec<String>, Problem> {
        const CONTEXT: &str = "grouping opts";
        self.accept(&Kind::LeftParen).ok_or_else(|| self.unexpected(CONTEXT, "\"(\""))?;
        let mut labels = Vec::new();
        while self.accept(&Kind::RightParen).is_none() {
            labels.push(self.grouping_label()?);
            if self.accept(&Kind::Comma).is_none() && *self.kind() != Kind::RightParen {
                return Err(self.unexpected(CONTEXT, "\",\" or \")\""));
            }
        }
        Ok(labels)
    }

    fn grouping_label(&mut self) -> Result<String, Problem> {
        let span = self.token().span;
        let label = match self.kind() {
            Kind::Text => {
                literal::unquote(self.word(span)).map_err(|message| Problem::new(span, message))?
            }
            Kind::Name
            | Kind::MetricName
            | Kind::Aggregate(_)
            | Kind::Operator(BinaryOp::And | BinaryOp::Or | BinaryOp::Unless | BinaryOp::Atan2) => {
                self.word(span).to_owned()
            }
            Kind::Keyword(keyword) if *keyword != Keyword::Without => self.word(span).to_owned(),
            _ => return Err(self.unexpected("grouping opts", "label")),
        };
        if label.is_empty() {
            return Err(Problem::new(span, "invalid label name for grouping: \"\""));
        }
        self.advance();
        Ok(label)
    }

    pub fn sign(&mut self) -> Option<(bool, Span)> {
        match self.kind() {
            Kind::Operator(BinaryOp::Add) => Some((false, self.advance().span)),
            Kind::Operator(BinaryOp::Sub) => Some((true, self.advance().span)),
            _ => None,
        }
    }

    /// A sign and what it stands before, or a primary expression with what follows it directly.
    fn operand(&mut self) -> Result<Node, Problem> {
        let Some((negative, sign)) = self.sign() else {
            let primary = self.primary()?;
            return self.postfix(primary);
        };
        let operand = self.expression(ABOVE_SIGN)?;
        let span = sign.to(operand.expr.span());
        if let Expr::Number(number) = operand.expr {
            let value = if negative { -number.value } else { number.value };
            let expr = Expr::Number(NumberLiteral { value, span, ..number });
            return Ok(Node { expr, depth: operand.depth });
        }
        let depth = operand.depth;
        self.node(Expr::Unary(Box::new(Unary { negative, expr: operand.expr, span })), depth)
    }

    pub fn number_literal(&mut self) -> Result<Option<NumberLiteral>, Problem> {
        let span = self.token().span;
        let (value, duration) = match self.kind() {
            Kind::Number => (literal::number(self.word(span)), false),
            Kind::Duration => (literal::duration(self.word(span)), true),
            _ => return Ok(None),
        };
        let value = value.map_err(|message| Problem::new(span, message))?;
        self.advance();
        Ok(Some(NumberLiteral { value, duration, span }))
    }

    fn primary(&mut self) -> Result<Node, Problem> {
        if let Some(number) = self.number_literal()? {
            return self.node(Expr::Number(number), 0);
        }
        let token = self.token().clone();
        match &token.kind {
            Kind::Text => {
                let bytes = literal::unquote_bytes(self.word(token.span))
                    .map_err(|message| Problem::new(token.span, message))?;
                self.advance();
                let (value, raw) = match String::from_utf8(bytes) {
                    Ok(value) => (value, None),
                    Err(error) => {
                        let value = String::from_utf8_lossy(error.as_bytes()).into_owned();
                        (value, Some(error.into_bytes().into_boxed_slice()))
                    }
                };
                self.node(Expr::String(StringLiteral { value, raw, span: token.span }), 0)
            }
            Kind::LeftParen => {
                self.advance();
                let inner = self.expression(0)?;
                let close = self.accept(&Kind::RightParen);
                let close = close.ok_or_else(|| self.unexpected("", ""))?;
                let depth = inner.depth;
                let paren = Paren { expr: inner.expr, span: token.span.to(close) };
                self.node(Expr::Paren(Box::new(paren)), depth)
            }
            Kind::LeftBrace => {
                let selector = self.selector(None)?;
                self.node(Expr::Selector(selector), 0)
            }
            Kind::Aggregate(op) if self.starts_aggregation() => self.aggregate(*op),
            kind if self.starts_call(kind) => self.call(),
            kind if is_metric_name(kind) => {
                self.advance();
                let selector = self.selector(Some(token))?;
                self.node(Expr::Selector(selector), 0)
            }
            _ => Err(self.unexpected("", "")),
        }
    }

    fn starts_call(&self, kind: &Kind) -> bool {
        let callable = match kind {
            Kind::Name => true,
            Kind::Keyword(keyword) => keyword.is_preprocessor(),
            _ => false,
        };
        callable && *self.following() == Kind::LeftParen
    }

    /// Whether a name that is also an aggregation is meant as one: anything but what may follow a metric.
    fn starts_aggregation(&self) -> bool {
        !matches!(
            self.following(),
            Kind::LeftBrace
                | Kind::LeftBracket
                | Kind::RightParen
                | Kind::Comma
                | Kind::Operator(_)
                | Kind::At
                | Kind::Keyword(Keyword::Offset | Keyword::Anchored | Keyword::Smoothed)
                | Kind::End
        )
    }

    fn aggregate(&mut self, op: AggregateOp) -> Result<Node, Problem> {
        let start = self.advance().span;
        let mut grouping = self.grouping_clause()?;
        // Without a clause what follows decides whether it is an aggregation at all; the error is not about one.
        if grouping.is_none() && *self.kind() != Kind::LeftParen {
            return Err(self.unexpected("", ""));
        }
        let (arguments, mut end, depth) = self.within(("aggregation", ""), Self::arguments)?;
        if grouping.is_none()
            && matches!(self.kind(), Kind::Keyword(Keyword::By | Keyword::Without))
        {
            grouping = self.grouping_clause()?;
            end = self.tokens[self.at - 1].span;
        }
        let span = start.to(end);
        let (without, grouping) = grouping.unwrap_or_default();
        if arguments.is_empty() {
            return Err(Problem::new(span, "no arguments for aggregate expression provided"));
        }
        if op.is_experimental() && !self.options.experimental_functions {
            let name = op.as_str();
            return Err(Problem::new(
                span,
                format!(
                    "{name}() is experimental and must be enabled with --enable-feature=promql-experimental-functions"
                ),
            ));
        }
        let wanted = 1 + usize::from(op.takes_parameter());
        if arguments.len() != wanted {
            let got = arguments.len();
            return Err(Problem::new(
                span,
                format!(
                    "wrong number of arguments for aggregate expression provided, expected {wanted}, got {got}"
                ),
            ));
        }
        let mut arguments = arguments.into_iter().rev();
        let Some(expr) = arguments.next() else { return Err(self.unexpected("", "")) };
        let aggregate =
            Aggregate { op, expr, parameter: arguments.next(), grouping, without, span };
        self.node(Expr::Aggregate(Box::new(aggregate)), depth)
    }

    /// `by (…)` or `without (…)`: whether it is `without`, and the labels.
    fn grouping_clause(&mut self) -> Result<Option<(bool, Vec<String>)>, Problem> {
        let without = match self.kind() {
            Kind::Keyword(Keyword::By) => false,
            Kind::Keyword(Keyword::Without) => true,
            _ => return Ok(None),
        };
        self.advance();
        Ok(Some((without, self.grouping_labels()?)))
    }

    fn call(&mut self) -> Result<Node, Problem> {
        let name_span = self.advance().span;
        let name = self.word(name_span);
        let (arguments, end, depth) = self.arguments()?;
        let function = function::find(name).ok_or_else(|| {
            Problem::new(name_span, format!("unknown function with name {name:?}"))
        })?;
        if function.experimental && !self.options.experimental_functions {
            return Err(Problem::new(name_span, format!("function {name:?} is not enabled")));
        }
        self.node(Expr::Call(Call { function, arguments, span: name_span.to(end) }), depth)
    }

    /// `(a, b)`: the expressions, the closing parenthesis, and the depth of the deepest one.
    fn arguments(&mut self) -> Result<(Vec<Expr>, Span, u32), Problem> {
        self.accept(&Kind::LeftParen).ok_or_else(|| self.unexpected("", ""))?;
        let (mut arguments, mut depth) = (Vec::new(), 0);
        if let Some(end) = self.accept(&Kind::RightParen) {
            return Ok((arguments, end, depth));
        }
        loop {
            let argument = self.expression(0)?;
            depth = depth.max(argument.depth);
            arguments.push(argument.expr);
            if let Some(end) = self.accept(&Kind::RightParen) {
                return Ok((arguments, end, depth));
            }
            let comma = self.accept(&Kind::Comma).ok_or_else(|| self.unexpected("", ""))?;
            if *self.kind() == Kind::RightParen {
                let message = "trailing commas not allowed in function call args";
                return Err(Problem::new(comma, message));
            }
        }
    }
}
