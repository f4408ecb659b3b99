//! Words with a meaning of their own. Most may be metric and label names, too.

use super::lexer::Kind;
use crate::ast::{AggregateOp, BinaryOp};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keyword {
    Offset,
    Smoothed,
    Anchored,
    By,
    Without,
    On,
    Ignoring,
    GroupLeft,
    GroupRight,
    Fill,
    FillLeft,
    FillRight,
    Bool,
    Start,
    End,
    Step,
    Range,
    MaxOf,
    MinOf,
}

impl Keyword {
    /// Whether upstream counts it among the preprocessors, which error texts show without `<…>`.
    pub fn is_preprocessor(self) -> bool {
        matches!(
            self,
            Self::Start | Self::End | Self::Step | Self::Range | Self::MaxOf | Self::MinOf
        )
    }
}

/// The token that a word stands for, in any case.
pub(super) fn keyword(word: &str) -> Option<Kind> {
    let lower = word.to_ascii_lowercase();
    if let Some(op) = AggregateOp::ALL.into_iter().find(|op| op.as_str() == lower) {
        return Some(Kind::Aggregate(op));
    }
    Some(match lower.as_str() {
        "and" => Kind::Operator(BinaryOp::And),
        "or" => Kind::Operator(BinaryOp::Or),
        "unless" => Kind::Operator(BinaryOp::Unless),
        "atan2" => Kind::Operator(BinaryOp::Atan2),
        "offset" => Kind::Keyword(Keyword::Offset),
        "smoothed" => Kind::Keyword(Keyword::Smoothed),
        "anchored" => Kind::Keyword(Keyword::Anchored),
        "by" => Kind::Keyword(Keyword::By),
        "without" => Kind::Keyword(Keyword::Without),
        "on" => Kind::Keyword(Keyword::On),
        "ignoring" => Kind::Keyword(Keyword::Ignoring),
        "group_left" => Kind::Keyword(Keyword::GroupLeft),
        "group_right" => Kind::Keyword(Keyword::GroupRight),
        "fill" => Kind::Keyword(Keyword::Fill),
        "fill_left" => Kind::Keyword(Keyword::FillLeft),
        "fill_right" => Kind::Keyword(Keyword::FillRight),
        "bool" => Kind::Keyword(Keyword::Bool),
        "start" => Kind::Keyword(Keyword::Start),
        "end" => Kind::Keyword(Keyword::End),
        "inf" | "nan" => Kind::Number,
        _ => return length_keyword(&lower),
    })
}

/// The words that lengths of time know; in lower case.
pub(super) fn length_keyword(lower: &str) -> Option<Kind> {
    Some(Kind::Keyword(match lower {
        "step" => Keyword::Step,
        "range" => Keyword::Range,
        "max_of" => Keyword::MaxOf,
        "min_of" => Keyword::MinOf,
        _ => return None,
    }))
}

/// Tokens that may stand as a metric name.
pub(super) fn is_metric_name(kind: &Kind) -> bool {
    match kind {
        Kind::Name | Kind::MetricName | Kind::Aggregate(_) => true,
        Kind::Operator(op) => op.is_set(),
        Kind::Keyword(keyword) => !matches!(
            keyword,
            Keyword::Bool
                | Keyword::On
                | Keyword::Ignoring
                | Keyword::GroupLeft
                | Keyword::GroupRight
        ),
        _ => false,
    }
}
