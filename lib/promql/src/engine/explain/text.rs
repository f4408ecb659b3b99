//! Parts of a plan in words.

use std::fmt;
use std::time::Duration;

use model::{METRIC_NAME, MatchType, Matcher};

use crate::engine::plan::Scalar;
use crate::storage::Hints;

pub(super) fn length(milliseconds: i64) -> String {
    let text = model::duration::format(Duration::from_millis(milliseconds.unsigned_abs()));
    if milliseconds < 0 { format!("-{text}") } else { text }
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds of a query fit a float")]
pub(super) fn seconds(milliseconds: i64) -> f64 {
    milliseconds as f64 / 1000.0
}

pub(super) fn labels(names: &[String]) -> String {
    format!("({})", names.join(", "))
}

/// `name{a="b"}`.
pub(super) fn matchers(all: &[Matcher]) -> String {
    let is_name = |m: &&Matcher| m.name == METRIC_NAME && m.kind == MatchType::Equal;
    let name = all.iter().find(is_name);
    let others = all.iter().filter(|m| name.is_none_or(|name| !std::ptr::eq(name, *m)));
    let others: Vec<String> = others.map(Matcher::to_string).collect();
    let name = name.map_or("", |m| m.value.as_str());
    if others.is_empty() && !name.is_empty() {
        return name.to_owned();
    }
    format!("{name}{{{}}}", others.join(", "))
}

/// A scalar as an expression.
pub(super) struct Text<'a>(pub &'a Scalar);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Scalar::Number(number) => write!(f, "{number}"),
            Scalar::Time => f.write_str("time()"),
            Scalar::Of(_) => f.write_str("scalar(…)"),
            Scalar::Negative(inner) => write!(f, "-{}", Text(inner)),
            Scalar::Binary(op, left, right) => {
                write!(f, "({} {} {})", Text(left), op.as_str(), Text(right))
            }
            Scalar::Min(left, right) => write!(f, "min_of({}, {})", Text(left), Text(right)),
            Scalar::Max(left, right) => write!(f, "max_of({}, {})", Text(left), Text(right)),
            Scalar::Invariant(inner) => write!(f, "once {}", Text(inner)),
        }
    }
}

/// `func=rate by=(pod) range=5m step=30s`.
impl fmt::Display for Hints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if !self.function.is_empty() {
            parts.push(format!("func={}", self.function));
        }
        if !self.grouping.is_empty() {
            let word = if self.by { "by" } else { "without" };
            parts.push(format!("{word}={}", labels(&self.grouping)));
        }
        if self.range > 0 {
            parts.push(format!("range={}", length(self.range)));
        }
        if self.step > 0 {
            parts.push(format!("step={}", length(self.step)));
        }
        f.write_str(&parts.join(" "))
    }
}
