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
        change: "atan2 between vectors drops the metric name (2.47, prometheus#12595)",
        per_thousand: 20,
        explains: atan2_keeps_the_name,
    },
    Rule {
        change: "stddev and stdvar of one sample that is NaN or infinite are NaN (3.0, prometheus#14941)",
        per_thousand: 10,
        explains: deviation_of_one,
    },
    Rule {
        change: "sum and avg add a compensation of +0, so that -0 becomes 0 (2.53, prometheus#14074, #14413)",
        per_thousand: 5,
        explains: zero_sum_without_sign,
    },
    Rule {
        change: "rate and increase cut to half an interval first, and only then where the counter would be zero (2.51, prometheus#13725)",
        per_thousand: 5,
        explains: extrapolation_to_zero,
    },
    Rule {
        change: "`.` in a regular expression matches a line break (3.0, prometheus#14505)",
        per_thousand: 5,
        explains: dot_and_line_break,
    },
    Rule {
        change: "a window with @ stays where it is in a function that is evaluated at each step (2.50, prometheus#13559)",
        per_thousand: 10,
        explains: window_that_moved,
    },
    Rule {
        change: "compensated sums give up the compensation at infinity (2.53, prometheus#14362)",
        per_thousand: 5,
        explains: infinite_compensation,
    },
    Rule {
        change: "avg and avg_over_time divide the sum in place of averaging step by step: exact where 2.42 leaves a rest (3.5, prometheus#16569, #16773)",
        per_thousand: 5,
        explains: rest_of_an_average,
    },
    Rule {
        change: "comparisons that filter look for a second match before they filter (3.9, prometheus#17668)",
        per_thousand: 5,
        explains: second_match_filtered,
    },
    Rule {
        change: "of equal values topk and bottomk keep others: the heap is mended in place (2.44, prometheus#12190); and which come first is in 2.42 up to Go's map order",
        per_thousand: 5,
        explains: |culprit| ties(culprit) || culprit.tied,
    },
    Rule {
        change: "no change of the language: Prometheus, 3.14 too, forgets the offset of timestamp(x @ t offset d)",
        per_thousand: 10,
        explains: forgotten_offset,
    },
    Rule {
        change: "no change of the language: which zero of a minimum, or which rounding of a sum, is up to Go's map order",
        per_thousand: 5,
        explains: |culprit| order_of_addends(culprit) || culprit.wavers,
    },
    Rule {
        change: "no change of the language: Go's logarithm on amd64 takes subnormal numbers for normal ones",
        per_thousand: 5,
        explains: logarithm_of_subnormal,
    },
    Rule {
        change: "no change of the language: Go reduces large angles with less precision, which shows close to a pole too",
        per_thousand: 5,
        explains: large_angle,
    },
    Rule {
        change: "no change of the language: inputs that are equal within the tolerance, but not to the bit, fall on two sides of a step or almost cancel",
        per_thousand: 5,
        explains: |culprit| {
            counted_text_is_rounded(culprit)
                || inputs_differ_in_bits(culprit) && (takes_steps(culprit) || cancels(culprit))
        },
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

fn rest_of_an_average(culprit: &Culprit) -> bool {
    (calls(culprit, &["avg_over_time"]) || aggregates(culprit, &[AggregateOp::Avg]))
        && only_values(culprit, |ours, theirs| ours.abs() < 1e-12 && theirs.abs() < 1e-12)
}

fn second_match_filtered(culprit: &Culprit) -> bool {
    let filters = matches!(
        &culprit.expr,
        Some(Expr::Binary(node)) if node.op.is_comparison() && !node.return_bool
    );
    let refused = culprit.ours.error().is_some_and(|text| text.contains("multiple matches"));
    filters && refused && culprit.theirs.error().is_none()
}

fn forgotten_offset(culprit: &Culprit) -> bool {
    calls(culprit, &["timestamp"])
        && culprit.call().is_some_and(|call| match call.arguments[0].without_parens() {
            Expr::Selector(node) => node.shift.at.is_some() && node.shift.offset.is_some(),
            _ => false,
        })
}

fn order_of_addends(culprit: &Culprit) -> bool {
    let zeros = |ours: f64, theirs: f64| ours == 0.0 && theirs == 0.0;
    let extremes = [AggregateOp::Min, AggregateOp::Max];
    let deviations = [AggregateOp::Stddev, AggregateOp::Stdvar];
    let largest = largest_input(culprit);
    (aggregates(culprit, &extremes) && only_values(culprit, zeros))
        || (aggregates(culprit, &deviations)
            && only_values(culprit, |ours, theirs| {
                (ours - theirs).abs() <= 1e-6 * ours && ours.abs() < 1e-4 * largest
            }))
}

/// Of those that are finite.
fn largest_input(culprit: &Culprit) -> f64 {
    let values = input_values(culprit).into_iter().filter(|value| value.is_finite());
    values.fold(0.0, |largest: f64, value| largest.max(value.abs()))
}

fn logarithm_of_subnormal(culprit: &Culprit) -> bool {
    calls(culprit, &["ln", "log2", "log10"])
        && input_values(culprit).iter().any(|value| value.is_subnormal())
        && only_values(culprit, |ours, theirs| ours < theirs && theirs < -300.0)
}

fn large_angle(culprit: &Culprit) -> bool {
    calls(culprit, &["sin", "cos", "tan"])
        && only_values(culprit, |ours, theirs| {
            (ours - theirs).abs() <= 1e-6 * ours.abs()
                && (ours.abs() > 1e4 || largest_input(culprit) > 1e4)
        })
}

/// `count_values` writes all digits.
fn counted_text_is_rounded(culprit: &Culprit) -> bool {
    let Some(Expr::Aggregate(node)) = &culprit.expr else { return false };
    let Some(Expr::String(label)) = &node.parameter else { return false };
    let rounded = |answer: &Answer| {
        let mut counts: BTreeMap<(Labels, i64), f64> = BTreeMap::new();
        for (labels, points) in series(answer).unwrap_or_default() {
            let value: f64 = labels.value(&label.value).parse().unwrap_or(f64::NAN);
            let mut builder = labels.to_builder();
            builder.set(&label.value, format!("{:.8e}", value + 0.0));
            for (time, count) in points {
                *counts.entry((builder.build(), time)).or_default() += count;
            }
        }
        counts
    };
    let ours = rounded(&culprit.ours);
    node.op == AggregateOp::CountValues && !ours.is_empty() && ours == rounded(&culprit.theirs)
}

fn inputs_differ_in_bits(culprit: &Culprit) -> bool {
    culprit.inputs.iter().any(|(ours, theirs)| {
        let bits = |answer: &Answer| {
            let values = series(answer).unwrap_or_default().into_values().flatten();
            values.map(|(_, value)| value.to_bits()).collect::<Vec<_>>()
        };
        bits(ours) != bits(theirs)
    })
}

/// Whether the smallest change of an input can change the value by much.
fn takes_steps(culprit: &Culprit) -> bool {
    let functions = [
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
        "irate",
    ];
    calls(culprit, &functions)
        || calls(culprit, &["sin", "cos", "tan"]) && largest_input(culprit) > 1e4
        || aggregates(culprit, &[AggregateOp::Topk, AggregateOp::Bottomk])
        || matches!(
            &culprit.expr,
            Some(Expr::Binary(node)) if node.op.is_comparison() || node.op == BinaryOp::Mod
        )
}

/// Whether what remains of differences is small beside the inputs.
fn cancels(culprit: &Culprit) -> bool {
    let sums = [AggregateOp::Sum, AggregateOp::Avg, AggregateOp::Stddev];
    let functions =
        ["delta", "idelta", "deriv", "avg_over_time", "sum_over_time", "stddev_over_time"];
    let differences = matches!(
        &culprit.expr,
        Some(Expr::Binary(node)) if matches!(node.op, BinaryOp::Add | BinaryOp::Sub)
    );
    let bound = 1e-9 * largest_input(culprit);
    let small = |ours: f64, theirs: f64| (ours - theirs).abs() <= bound;
    (differences || calls(culprit, &functions) || aggregates(culprit, &sums))
        && only_values(culprit, small)
        || aggregates(culprit, &[AggregateOp::Stdvar])
            && only_values(culprit, |ours, theirs| small(ours.sqrt(), theirs.sqrt()))
}
