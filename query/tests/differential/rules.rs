//! Where 2.42 and 3.x differ by intent: each rule says what changed, and recognises exactly that.

use std::collections::BTreeMap;

use model::Labels;
use promql::ast::{AggregateOp, BinaryOp, Expr};

use crate::answer::{Answer, Point, equal};
use crate::generate::When;
use crate::narrow::Culprit;

/// A known difference.
pub struct Rule {
    /// What is otherwise in 3.x, and where that is written.
    pub change: &'static str,
    /// How many queries of a thousand it may explain.
    pub per_thousand: usize,
    pub explains: fn(&Culprit) -> bool,
}

pub const RULES: &[Rule] = &[
    Rule {
        change: "atan2 between vectors drops the metric name (prometheus#9515 for scalars, 531567d46e)",
        per_thousand: 20,
        explains: atan2_keeps_the_name,
    },
    Rule {
        change: "stddev and stdvar of a group that begins with NaN or an infinity are NaN, even of one sample (3.0, prometheus#14941)",
        per_thousand: 10,
        explains: deviation_of_one,
    },
    Rule {
        change: "sum and avg add a compensation of +0, so that -0 becomes 0 (3.0, prometheus#14074)",
        per_thousand: 5,
        explains: zero_sum_without_sign,
    },
    Rule {
        change: "rate and increase cut to half an interval first, and only then where the counter would be zero (2.51, prometheus#13725)",
        per_thousand: 10,
        explains: extrapolation_to_zero,
    },
    Rule {
        change: "`.` in a regular expression matches a line break (3.0, prometheus#14505)",
        per_thousand: 5,
        explains: dot_and_line_break,
    },
    Rule {
        change: "a window with @ of a function that is evaluated at each step stays where it is",
        per_thousand: 15,
        explains: window_that_moved,
    },
    Rule {
        change: "compensated sums give up the compensation at infinity (fd6bdf5230)",
        per_thousand: 5,
        explains: infinite_compensation,
    },
    Rule {
        change: "of equal values topk and bottomk may keep others: the heap is mended in place (3.0, prometheus#14291)",
        per_thousand: 5,
        explains: ties,
    },
    Rule {
        change: "no change of the language: Go's logarithm on amd64 takes subnormal numbers for normal ones",
        per_thousand: 5,
        explains: logarithm_of_subnormal,
    },
    Rule {
        change: "no change of the language: Go reduces large angles with less precision",
        per_thousand: 5,
        explains: large_angle,
    },
    Rule {
        change: "no change of the language: inputs that are equal within the tolerance, but not to the bit, fall on two sides of a step or almost cancel",
        per_thousand: 10,
        explains: unstable,
    },
];

type Series = BTreeMap<Labels, Vec<Point>>;

/// A vector or matrix by labels.
fn series(answer: &Answer) -> Option<Series> {
    match answer {
        Answer::Vector(samples) => {
            Some(samples.iter().map(|(labels, point)| (labels.clone(), vec![*point])).collect())
        }
        Answer::Matrix(series) => Some(series.clone()),
        Answer::Scalar(value) => Some(Series::from([(Labels::empty(), vec![(0, *value)])])),
        Answer::Error(_) | Answer::Text(_) => None,
    }
}

/// The values that differ, ours first; `None` when more than values differs.
fn unequal(culprit: &Culprit) -> Option<Vec<(f64, f64)>> {
    let (ours, theirs) = (series(&culprit.ours)?, series(&culprit.theirs)?);
    let shape = |all: &Series| -> Vec<(Labels, Vec<i64>)> {
        let times = |points: &Vec<Point>| points.iter().map(|(time, _)| *time).collect();
        all.iter().map(|(labels, points)| (labels.clone(), times(points))).collect()
    };
    if shape(&ours) != shape(&theirs) {
        return None;
    }
    let values = |all: Series| all.into_values().flatten().map(|(_, value)| value);
    Some(values(ours).zip(values(theirs)).filter(|(a, b)| !equal(*a, *b)).collect())
}

/// Whether the answers differ in values only, and all of these do as is said.
fn only_values(culprit: &Culprit, as_said: impl Fn(f64, f64) -> bool) -> bool {
    unequal(culprit).is_some_and(|all| !all.is_empty() && all.iter().all(|(a, b)| as_said(*a, *b)))
}

fn calls(culprit: &Culprit, names: &[&str]) -> bool {
    culprit.call().is_some_and(|call| names.contains(&call.function.name))
}

fn aggregates(culprit: &Culprit, ops: &[AggregateOp]) -> bool {
    matches!(&culprit.expr, Some(Expr::Aggregate(node)) if ops.contains(&node.op))
}

/// All values of all inputs.
fn input_values(culprit: &Culprit) -> Vec<f64> {
    let all = culprit.inputs.iter().filter_map(|(ours, _)| series(ours));
    all.flat_map(BTreeMap::into_values).flatten().map(|(_, value)| value).collect()
}

fn atan2_keeps_the_name(culprit: &Culprit) -> bool {
    let is_atan2 = matches!(&culprit.expr, Some(Expr::Binary(node)) if node.op == BinaryOp::Atan2);
    let (Some(ours), Some(theirs)) = (series(&culprit.ours), series(&culprit.theirs)) else {
        return false;
    };
    let named = theirs.keys().any(|labels| !labels.metric_name().is_empty());
    let nameless: Series = theirs
        .into_iter()
        .map(|(labels, points)| (labels.filter(|name| name != "__name__"), points))
        .collect();
    is_atan2
        && named
        && crate::answer::difference(&Answer::Matrix(ours), &Answer::Matrix(nameless), false)
            .is_none()
}

fn deviation_of_one(culprit: &Culprit) -> bool {
    aggregates(culprit, &[AggregateOp::Stddev, AggregateOp::Stdvar])
        && input_values(culprit).iter().any(|value| !value.is_finite())
        && only_values(culprit, |ours, theirs| ours.is_nan() && theirs == 0.0)
}

fn zero_sum_without_sign(culprit: &Culprit) -> bool {
    aggregates(culprit, &[AggregateOp::Sum, AggregateOp::Avg])
        && only_values(culprit, |ours, theirs| {
            ours == 0.0 && theirs == 0.0 && ours.is_sign_positive()
        })
}

/// The old order stretches the window by up to 1.1 intervals where the new one takes a half.
fn extrapolation_to_zero(culprit: &Culprit) -> bool {
    calls(culprit, &["rate", "increase"])
        && only_values(culprit, |ours, theirs| theirs > ours && theirs <= ours * 1.4)
}

fn dot_and_line_break(culprit: &Culprit) -> bool {
    calls(culprit, &["label_replace"])
        && culprit.inputs.iter().filter_map(|(ours, _)| series(ours)).any(|series| {
            series.keys().any(|labels| labels.iter().any(|(_, value)| value.contains('\n')))
        })
}

fn window_that_moved(culprit: &Culprit) -> bool {
    let window = |arguments: &[Expr]| {
        arguments.iter().any(|argument| match argument.without_parens() {
            Expr::Matrix(matrix) => matrix.selector.shift.at.is_some(),
            Expr::Subquery(subquery) => subquery.shift.at.is_some(),
            _ => false,
        })
    };
    let (Some(ours), Some(theirs)) = (series(&culprit.ours), series(&culprit.theirs)) else {
        return false;
    };
    let When::Range { start, .. } = culprit.query.when else { return false };
    let at_start = |all: &Series| -> Series {
        let first = all.iter().filter(|(_, points)| points[0].0 == start);
        first.map(|(labels, points)| (labels.clone(), vec![points[0]])).collect()
    };
    calls(culprit, &["predict_linear", "quantile_over_time"])
        && culprit.call().is_some_and(|call| window(&call.arguments))
        && crate::answer::difference(
            &Answer::Matrix(at_start(&ours)),
            &Answer::Matrix(at_start(&theirs)),
            false,
        )
        .is_none()
}

fn infinite_compensation(culprit: &Culprit) -> bool {
    let functions = ["sum_over_time", "avg_over_time", "stddev_over_time", "stdvar_over_time"];
    calls(culprit, &functions)
        && only_values(culprit, |ours, theirs| ours.is_infinite() && theirs.is_nan())
}

fn ties(culprit: &Culprit) -> bool {
    let (Some(ours), Some(theirs)) = (series(&culprit.ours), series(&culprit.theirs)) else {
        return false;
    };
    let values = |all: Series| {
        let mut values: Vec<(i64, u64)> = all
            .into_values()
            .flatten()
            .map(|(time, value)| (time, if value.is_nan() { f64::NAN } else { value }.to_bits()))
            .collect();
        values.sort_unstable();
        values
    };
    aggregates(culprit, &[AggregateOp::Topk, AggregateOp::Bottomk])
        && values(ours) == values(theirs)
}

fn logarithm_of_subnormal(culprit: &Culprit) -> bool {
    calls(culprit, &["ln", "log2", "log10"])
        && input_values(culprit).iter().any(|value| value.is_subnormal())
        && only_values(culprit, |ours, theirs| ours < theirs && theirs < -300.0)
}

fn large_angle(culprit: &Culprit) -> bool {
    calls(culprit, &["sin", "cos", "tan"])
        && input_values(culprit).iter().any(|value| value.abs() > 1e4)
        && only_values(culprit, |ours, theirs| (ours - theirs).abs() <= 1e-6 * ours.abs())
}

fn unstable(culprit: &Culprit) -> bool {
    let steps = [
        "floor",
        "ceil",
        "round",
        "sgn",
        "hour",
        "minute",
        "month",
        "year",
        "day_of_week",
        "day_of_month",
        "day_of_year",
        "days_in_month",
        "changes",
        "resets",
        "rate",
        "increase",
        "delta",
        "idelta",
        "irate",
        "deriv",
        "predict_linear",
        "stddev_over_time",
        "stdvar_over_time",
        "double_exponential_smoothing",
        "tan",
        "sin",
        "cos",
    ];
    let is_unstable = calls(culprit, &steps)
        || matches!(&culprit.expr, Some(Expr::Binary(_)))
        || aggregates(
            culprit,
            &[
                AggregateOp::CountValues,
                AggregateOp::Topk,
                AggregateOp::Bottomk,
                AggregateOp::Stddev,
                AggregateOp::Stdvar,
                AggregateOp::Sum,
                AggregateOp::Avg,
            ],
        );
    let differ_in_bits = culprit.inputs.iter().any(|(ours, theirs)| {
        let bits = |answer: &Answer| {
            let values = series(answer).unwrap_or_default().into_values().flatten();
            values.map(|(_, value)| value.to_bits()).collect::<Vec<_>>()
        };
        bits(ours) != bits(theirs)
    });
    is_unstable && differ_in_bits
}
