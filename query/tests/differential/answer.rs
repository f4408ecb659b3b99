//! What an engine answers, in a form that can be compared.

use std::collections::BTreeMap;

use model::Labels;

/// Largest relative difference between two values that count as equal.
const TOLERANCE: f64 = 1e-9;

#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// The query was refused or failed, with the engine's words.
    Error(String),
    Scalar(f64),
    Text(String),
    /// An instant vector in the engine's order.
    Vector(Vec<(Labels, Point)>),
    Matrix(BTreeMap<Labels, Vec<Point>>),
}

/// Milliseconds and value.
pub type Point = (i64, f64);

impl Answer {
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Vector(samples) => samples.is_empty(),
            Self::Matrix(series) => series.is_empty(),
            Self::Error(_) | Self::Scalar(_) | Self::Text(_) => false,
        }
    }

    pub fn error(&self) -> Option<&str> {
        match self {
            Self::Error(text) => Some(text),
            _ => None,
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Error(_) => "error",
            Self::Scalar(_) => "scalar",
            Self::Text(_) => "string",
            Self::Vector(_) => "vector",
            Self::Matrix(_) => "matrix",
        }
    }
}

/// The first difference, if there is one. With `ordered` the order of a vector counts.
pub fn difference(ours: &Answer, theirs: &Answer, ordered: bool) -> Option<String> {
    match (ours, theirs) {
        (Answer::Error(_), Answer::Error(_)) => None,
        (Answer::Error(text), _) => Some(format!("only ours fails: {text}")),
        (_, Answer::Error(text)) => Some(format!("only theirs fails: {text}")),
        (Answer::Scalar(a), Answer::Scalar(b)) => {
            (!equal(*a, *b)).then(|| format!("{a:?} and {b:?}"))
        }
        (Answer::Text(a), Answer::Text(b)) => (a != b).then(|| format!("{a:?} and {b:?}")),
        (Answer::Vector(a), Answer::Vector(b)) => {
            // Equal values may come in any order.
            let values = |all: &[(Labels, Point)]| -> Vec<f64> {
                all.iter().map(|(_, (_, value))| *value).collect()
            };
            let pairs = || values(a).into_iter().zip(values(b));
            if ordered && !pairs().all(|(a, b)| equal(a, b)) {
                return Some(format!("order {:?} and {:?}", values(a), values(b)));
            }
            let map = |all: &[(Labels, Point)]| {
                all.iter().map(|(labels, point)| (labels.clone(), vec![*point])).collect()
            };
            between(&map(a), &map(b))
        }
        (Answer::Matrix(a), Answer::Matrix(b)) => between(a, b),
        (a, b) => Some(format!("{} and {}", a.kind(), b.kind())),
    }
}

fn between(
    ours: &BTreeMap<Labels, Vec<Point>>,
    theirs: &BTreeMap<Labels, Vec<Point>>,
) -> Option<String> {
    for labels in ours.keys().chain(theirs.keys()) {
        let (Some(a), Some(b)) = (ours.get(labels), theirs.get(labels)) else {
            let side = if ours.contains_key(labels) { "only ours" } else { "only theirs" };
            let counts = (ours.len(), theirs.len());
            return Some(format!("{side}: {labels} ({} and {} series)", counts.0, counts.1));
        };
        let times = |points: &[Point]| points.iter().map(|(time, _)| *time).collect::<Vec<_>>();
        if times(a) != times(b) {
            let (a, b) = (times(a), times(b));
            let only = |a: &[i64], b: &[i64]| {
                a.iter().copied().filter(|time| !b.contains(time)).collect::<Vec<_>>()
            };
            return Some(format!(
                "{labels}: only ours at {:?}, only theirs at {:?}",
                only(&a, &b),
                only(&b, &a)
            ));
        }
        if let Some(((time, a), (_, b))) = a.iter().zip(b).find(|((_, a), (_, b))| !equal(*a, *b)) {
            return Some(format!("{labels} at {time}: {a:?} and {b:?}"));
        }
    }
    None
}

/// Zero has a sign and infinity too.
pub fn equal(a: f64, b: f64) -> bool {
    if a.is_nan() || b.is_nan() || a.is_infinite() || b.is_infinite() {
        return a == b || (a.is_nan() && b.is_nan());
    }
    if a == 0.0 && b == 0.0 {
        return a.is_sign_negative() == b.is_sign_negative();
    }
    (a - b).abs() <= TOLERANCE * a.abs().max(b.abs())
}
