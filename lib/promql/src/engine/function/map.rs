//! Functions of one value.

use std::sync::Arc;

use crate::engine::datetime::{days_in_month, moment};
use crate::engine::go;
use crate::engine::row::Row;

/// A function of one value and perhaps parameters.
#[derive(Debug, Clone, Copy)]
pub(in crate::engine) enum MapFunction {
    /// Of the value alone: its name and what it does.
    Plain(&'static str, Plain),
    Round,
    Clamp,
    ClampMin,
    ClampMax,
    Negate,
    /// `timestamp()` of anything but a selector.
    EvaluationTime,
}

type Plain = fn(f64) -> f64;

const PLAIN: &[(&str, Plain)] = &[
    ("abs", f64::abs),
    ("acos", f64::acos),
    ("acosh", f64::acosh),
    ("asin", f64::asin),
    ("asinh", f64::asinh),
    ("atan", f64::atan),
    ("atanh", f64::atanh),
    ("ceil", f64::ceil),
    ("cos", f64::cos),
    ("cosh", f64::cosh),
    ("day_of_month", |v| f64::from(moment(go::to_i64(v)).day)),
    ("day_of_week", |v| f64::from(moment(go::to_i64(v)).weekday)),
    ("day_of_year", |v| f64::from(moment(go::to_i64(v)).day_of_year)),
    ("days_in_month", |v| {
        let at = moment(go::to_i64(v));
        f64::from(days_in_month(at.year, at.month))
    }),
    ("deg", |v| v * 180.0 / std::f64::consts::PI),
    ("exp", f64::exp),
    ("floor", f64::floor),
    ("hour", |v| f64::from(moment(go::to_i64(v)).hour)),
    ("ln", f64::ln),
    ("log10", f64::log10),
    ("log2", f64::log2),
    ("minute", |v| f64::from(moment(go::to_i64(v)).minute)),
    ("month", |v| f64::from(moment(go::to_i64(v)).month)),
    ("rad", |v| v * std::f64::consts::PI / 180.0),
    ("sgn", sign),
    ("sin", f64::sin),
    ("sinh", f64::sinh),
    ("sqrt", f64::sqrt),
    ("tan", f64::tan),
    ("tanh", f64::tanh),
    ("year", year),
];

fn sign(value: f64) -> f64 {
    if value < 0.0 {
        -1.0
    } else if value > 0.0 {
        1.0
    } else {
        value
    }
}

#[expect(clippy::cast_precision_loss, reason = "years are small")]
fn year(value: f64) -> f64 {
    moment(go::to_i64(value)).year as f64
}

/// The function of a name.
pub(in crate::engine) fn find(name: &str) -> Option<MapFunction> {
    Some(match name {
        "round" => MapFunction::Round,
        "clamp" => MapFunction::Clamp,
        "clamp_min" => MapFunction::ClampMin,
        "clamp_max" => MapFunction::ClampMax,
        name => {
            let (name, function) = PLAIN.iter().find(|(candidate, _)| *candidate == name)?;
            MapFunction::Plain(name, *function)
        }
    })
}

impl MapFunction {
    /// As PromQL writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain(name, _) => name,
            Self::Round => "round",
            Self::Clamp => "clamp",
            Self::ClampMin => "clamp_min",
            Self::ClampMax => "clamp_max",
            Self::Negate => "-",
            Self::EvaluationTime => "timestamp",
        }
    }

    /// The new value, or `None` for no value. `parameters` are those of this step, `time` its milliseconds.
    #[expect(clippy::cast_precision_loss, reason = "as in Go")]
    pub fn apply(self, value: f64, parameters: [f64; 2], time: i64) -> Option<f64> {
        Some(match self {
            Self::Plain(_, function) => function(value),
            Self::Round => {
                let inverse = 1.0 / parameters[0];
                (value * inverse + 0.5).floor() / inverse
            }
            Self::Clamp if parameters[1] < parameters[0] => return None,
            Self::Clamp => go::max(parameters[0], go::min(parameters[1], value)),
            Self::ClampMin => go::max(parameters[0], value),
            Self::ClampMax => go::min(parameters[0], value),
            Self::Negate => -value,
            Self::EvaluationTime => time as f64 / 1000.0,
        })
    }

    /// Removes the histograms, of which only `timestamp()` and the sign make something.
    pub fn prepare(self, row: &mut Row) {
        match self {
            Self::EvaluationTime => row.histograms.clear(),
            Self::Negate => {
                for histogram in row.histograms.iter_mut().flatten() {
                    Arc::make_mut(histogram).multiply(-1.0);
                }
            }
            _ => {
                row.drop_histograms();
            }
        }
    }

    /// What a parameter is when it is not given.
    pub fn default_parameters(self) -> [f64; 2] {
        [if matches!(self, Self::Round) { 1.0 } else { 0.0 }, 0.0]
    }
}
