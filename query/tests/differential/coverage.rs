//! Whether the queries use everything that the other engine knows, each at one time and over a range.

use std::collections::BTreeSet;

use model::MatchType;
use promql::ast::{AggregateOp, At, Binary, BinaryOp, Cardinality, Expr, Length, Shift, ValueType};
use promql::parse::function::FUNCTIONS;
use promql::parse::{ParseOptions, parse_with};

use crate::answer::Answer;
use crate::ask::Theirs;
use crate::generate::{Query, When};

/// Operators of 2.42: all but the two that trim histograms.
const OPERATORS: [BinaryOp; 16] = [
    BinaryOp::Add,
    BinaryOp::Sub,
    BinaryOp::Mul,
    BinaryOp::Div,
    BinaryOp::Mod,
    BinaryOp::Pow,
    BinaryOp::Atan2,
    BinaryOp::Eq,
    BinaryOp::Ne,
    BinaryOp::Gt,
    BinaryOp::Lt,
    BinaryOp::Ge,
    BinaryOp::Le,
    BinaryOp::And,
    BinaryOp::Or,
    BinaryOp::Unless,
];

/// What one query may use beside functions and operators.
const MODIFIERS: &[&str] = &[
    "bool",
    "on",
    "ignoring",
    "group_left",
    "group_right",
    "by",
    "without",
    "offset",
    "negative offset",
    "@ time",
    "@ start()",
    "@ end()",
    "subquery",
    "subquery without step",
    "unary -",
    "unary +",
    "=",
    "!=",
    "=~",
    "!~",
];

/// The parts of the language that some queries use.
#[derive(Default)]
struct Used(BTreeSet<String>);

impl Used {
    fn of<'a>(queries: impl Iterator<Item = &'a Query>) -> Self {
        let options = ParseOptions { experimental_functions: true, ..ParseOptions::default() };
        let mut used = Self::default();
        for query in queries {
            // Some are no PromQL on purpose.
            if let Ok(expr) = parse_with(&query.text, &options) {
                used.expr(&expr);
            }
        }
        used
    }

    fn add(&mut self, part: impl Into<String>) {
        self.0.insert(part.into());
    }

    fn expr(&mut self, expr: &Expr) {
        match expr {
            Expr::Number(_) | Expr::String(_) => {}
            Expr::Selector(selector) => self.selector(selector),
            Expr::Matrix(matrix) => self.selector(&matrix.selector),
            Expr::Subquery(subquery) => {
                let step = subquery.step.is_some();
                self.add(if step { "subquery" } else { "subquery without step" });
                self.shift(&subquery.shift);
                self.expr(&subquery.expr);
            }
            Expr::Unary(unary) => {
                self.add(if unary.negative { "unary -" } else { "unary +" });
                self.expr(&unary.expr);
            }
            Expr::Paren(paren) => self.expr(&paren.expr),
            Expr::Binary(binary) => self.binary(binary),
            Expr::Aggregate(node) => {
                self.add(aggregation(node.op));
                if node.without || !node.grouping.is_empty() {
                    self.add(if node.without { "without" } else { "by" });
                }
                node.parameter.iter().chain([&node.expr]).for_each(|part| self.expr(part));
            }
            Expr::Call(call) => {
                self.add(format!("{}()", call.function.name));
                call.arguments.iter().for_each(|part| self.expr(part));
            }
        }
    }

    fn selector(&mut self, selector: &promql::ast::VectorSelector) {
        for matcher in &selector.matchers {
            self.add(match matcher.kind {
                MatchType::Equal => "=",
                MatchType::NotEqual => "!=",
                MatchType::Regex => "=~",
                MatchType::NotRegex => "!~",
            });
        }
        self.shift(&selector.shift);
    }

    fn shift(&mut self, shift: &Shift) {
        match shift.offset {
            Some(Length::Literal(offset)) if offset < 0 => self.add("negative offset"),
            Some(_) => self.add("offset"),
            None => {}
        }
        match shift.at {
            Some(At::Time(_)) => self.add("@ time"),
            Some(At::Start) => self.add("@ start()"),
            Some(At::End) => self.add("@ end()"),
            None => {}
        }
    }

    fn binary(&mut self, binary: &Binary) {
        let sides = [&binary.left, &binary.right].map(Expr::value_type);
        self.add(between(binary.op, sides));
        if binary.return_bool {
            self.add("bool");
        }
        if let Some(matching) = &binary.matching {
            if matching.on || !matching.labels.is_empty() {
                self.add(if matching.on { "on" } else { "ignoring" });
            }
            match matching.cardinality {
                Cardinality::ManyToOne => self.add("group_left"),
                Cardinality::OneToMany => self.add("group_right"),
                Cardinality::OneToOne | Cardinality::ManyToMany => {}
            }
        }
        self.expr(&binary.left);
        self.expr(&binary.right);
    }
}

fn aggregation(op: AggregateOp) -> String {
    format!("{} of a vector", op.as_str())
}

fn between(op: BinaryOp, sides: [ValueType; 2]) -> String {
    let [left, right] = sides.map(ValueType::as_str);
    format!("{left} {} {right}", op.as_str())
}

/// All that is to be used, functions as far as the other engine has them.
async fn wanted(theirs: &Theirs) -> BTreeSet<String> {
    let mut wanted: BTreeSet<String> = MODIFIERS.iter().map(|&text| text.to_owned()).collect();
    let aggregations = AggregateOp::ALL.into_iter().filter(|op| !op.is_experimental());
    wanted.extend(aggregations.map(aggregation));
    let (scalar, vector) = (ValueType::Scalar, ValueType::Vector);
    for op in OPERATORS {
        wanted.insert(between(op, [vector, vector]));
        if !op.is_set() {
            wanted.extend([
                between(op, [vector, scalar]),
                between(op, [scalar, vector]),
                between(op, [scalar, scalar]),
            ]);
        }
    }
    for function in FUNCTIONS {
        let bare = Query { text: format!("{}()", function.name), when: When::Instant(0) };
        let knows = match theirs.ask(&bare).await {
            Answer::Error(text) => text.contains("argument(s) in call to"),
            _ => true,
        };
        if knows {
            wanted.insert(bare.text);
        }
    }
    wanted
}

/// Panics with what no query uses.
pub async fn check(theirs: &Theirs, queries: &[Query]) {
    let wanted = wanted(theirs).await;
    let functions = wanted.iter().filter(|part| part.ends_with("()") && !part.contains('@'));
    assert_eq!(functions.count(), 70, "functions of 2.42: {wanted:?}");
    let is_range = |query: &&Query| matches!(query.when, When::Range { .. });
    let (ranges, instants): (Vec<&Query>, Vec<&Query>) = queries.iter().partition(is_range);
    for (kind, some) in [("one time", instants), ("a range", ranges)] {
        let used = Used::of(some.iter().copied()).0;
        // A range has an order of its own.
        let sorts = |part: &&String| kind == "a range" && part.starts_with("sort");
        let missing: Vec<&String> = wanted.difference(&used).filter(|part| !sorts(part)).collect();
        assert!(missing.is_empty(), "no query at {kind} uses {missing:?}");
        assert!(some.len() >= 1000, "{} queries at {kind}", some.len());
    }
}
