//! Which part of a query makes the difference: the innermost one whose own inputs are the same.

use std::collections::HashSet;

use promql::ast::{AggregateOp, At, Call, Expr, Length, Shift, Span, Subquery, ValueType};
use promql::parse::{ParseOptions, parse_with};

use crate::answer::{Answer, Point, difference};
use crate::ask::{Ours, Theirs};
use crate::generate::{Query, When};

/// Evaluations of a subquery that are still asked for.
const MAX_STEPS: i64 = 10_000;

/// How often an answer is asked for again, to see whether it stays.
const ASK_AGAIN: u32 = 6;

/// A part of a query that the engines evaluate differently from the same inputs.
#[derive(Debug)]
pub struct Culprit {
    pub query: Query,
    /// `None` when we cannot read the query.
    pub expr: Option<Expr>,
    pub ours: Answer,
    pub theirs: Answer,
    /// Answers of both to each operand or argument.
    pub inputs: Vec<(Answer, Answer)>,
    /// Whether somewhere in it `topk` or `bottomk` has equal values to choose from.
    pub tied: bool,
    /// Whether the other engine answers otherwise when it is asked again.
    pub wavers: bool,
}

impl Culprit {
    fn new(query: Query, ours: Answer, theirs: Answer) -> Self {
        Self { query, expr: None, ours, theirs, inputs: Vec::new(), tied: false, wavers: false }
    }

    /// Looks into a query with different answers.
    pub async fn find(
        (engine, oracle): (&Ours, &Theirs),
        query: &Query,
        (ours, theirs): (Answer, Answer),
    ) -> Self {
        let query = with_literal_times(query);
        let mut culprit = Self::new(query, ours, theirs);
        'deeper: loop {
            culprit.inputs.clear();
            culprit.expr = parsed(&culprit.query);
            let Some(expr) = &culprit.expr else { return culprit };
            culprit.tied = has_ties(engine, &culprit.query, expr);
            for query in inputs(&culprit.query, expr) {
                let (ours, theirs) = (engine.ask(&query), oracle.ask(&query).await);
                if difference(&ours, &theirs, false).is_some() {
                    culprit = Self::new(query, ours, theirs);
                    continue 'deeper;
                }
                culprit.inputs.push((ours, theirs));
            }
            for _ in 0..ASK_AGAIN {
                let again = oracle.ask(&culprit.query).await;
                culprit.wavers |= difference(&culprit.theirs, &again, false).is_some();
            }
            return culprit;
        }
    }

    /// Its function, if it is a call.
    pub fn call(&self) -> Option<&Call> {
        match self.expr.as_ref()? {
            Expr::Call(call) => Some(call),
            _ => None,
        }
    }
}

fn parsed(query: &Query) -> Option<Expr> {
    let options = ParseOptions { experimental_functions: true, ..ParseOptions::default() };
    parse_with(&query.text, &options).ok()
}

fn has_ties(engine: &Ours, query: &Query, expr: &Expr) -> bool {
    let picks = matches!(
        expr,
        Expr::Aggregate(node) if matches!(node.op, AggregateOp::Topk | AggregateOp::Bottomk)
    );
    inputs(query, expr).iter().any(|input| {
        picks && has_equal_values(&engine.ask(input))
            || parsed(input).is_some_and(|expr| has_ties(engine, input, &expr))
    })
}

/// Whether two series have one value at one time.
fn has_equal_values(answer: &Answer) -> bool {
    let points: Vec<Point> = match answer {
        Answer::Vector(samples) => samples.iter().map(|(_, point)| *point).collect(),
        Answer::Matrix(series) => series.values().flatten().copied().collect(),
        Answer::Error(_) | Answer::Scalar(_) | Answer::Text(_) => Vec::new(),
    };
    let mut seen = HashSet::new();
    let key = |value: f64| if value.is_nan() { f64::NAN } else { value + 0.0 }.to_bits();
    points.into_iter().any(|(time, value)| !seen.insert((time, key(value))))
}

/// Parts keep their meaning at other times.
fn with_literal_times(query: &Query) -> Query {
    let (start, end) = match query.when {
        When::Instant(time) => (time, time),
        When::Range { start, end, .. } => (start, end),
    };
    let literal = |time: i64| format!("@ {:.3}", time as f64 / 1000.0);
    let text = query.text.replace("@ start()", &literal(start));
    Query { text: text.replace("@ end()", &literal(end)), when: query.when }
}

/// What an expression is made of, each as a query of its own.
fn inputs(query: &Query, expr: &Expr) -> Vec<Query> {
    let parts: Vec<&Expr> = match expr {
        Expr::Number(_) | Expr::String(_) | Expr::Selector(_) | Expr::Matrix(_) => Vec::new(),
        Expr::Subquery(subquery) => return within(query, subquery),
        Expr::Unary(node) => vec![&node.expr],
        Expr::Paren(node) => vec![&node.expr],
        Expr::Binary(node) => vec![&node.left, &node.right],
        Expr::Aggregate(node) => node.parameter.iter().chain([&node.expr]).collect(),
        Expr::Call(node) => node.arguments.iter().collect(),
    };
    let mut all = Vec::new();
    for part in parts {
        match part.without_parens() {
            Expr::Subquery(subquery) => all.extend(within(query, subquery)),
            part if matches!(part.value_type(), ValueType::Scalar | ValueType::Vector) => {
                let text = text(query, part.span());
                all.push(Query { text, when: query.when });
            }
            _ => {}
        }
    }
    all
}

fn text(query: &Query, span: Span) -> String {
    query.text[span.start as usize..span.end as usize].to_owned()
}

/// What a subquery evaluates, at the times when it does.
fn within(query: &Query, subquery: &Subquery) -> Vec<Query> {
    let Length::Literal(range) = subquery.range else { return Vec::new() };
    let step = match subquery.step {
        Some(Length::Literal(step)) => step,
        _ => 60_000,
    };
    let (mut start, mut end) = match query.when {
        When::Instant(time) => (time, time),
        When::Range { start, end, .. } => (start, end),
    };
    let Shift { offset, at } = &subquery.shift;
    if let Some(At::Time(time)) = at {
        (start, end) = (*time, *time);
    }
    if let Some(Length::Literal(offset)) = offset {
        (start, end) = (start - offset, end - offset);
    }
    let start = ((start - range).div_euclid(step) + 1) * step;
    if (end - start) / step > MAX_STEPS {
        return Vec::new();
    }
    let when = When::Range { start, end, step };
    vec![Query { text: text(query, subquery.expr.span()), when }]
}
