//! Functions of a window of samples (promql/functions.go).

use super::change::Change;
use super::sliding::{self, Scratch};
use crate::engine::start;
use crate::engine::sum::{Mean, Sum, quantile};

/// The samples that one step sees, and where in time it looks.
#[derive(Debug, Clone, Copy)]
pub(in crate::engine) struct Samples<'a> {
    /// Milliseconds, ascending.
    pub times: &'a [i64],
    pub values: &'a [f64],
    /// Since when each sample counts, milliseconds, 0 where that is unknown; empty when of none.
    pub starts: &'a [i64],
    /// How many samples each one stands for; empty when each is one.
    pub counts: &'a [f64],
    /// Indices into `values` at which a counter starts over; only for functions that ask for it.
    pub resets: &'a [usize],
    /// Where the window's first sample is in what `resets` counts.
    pub base: usize,
    /// The window excludes this time…
    pub start: i64,
    /// …and includes this one.
    pub end: i64,
    /// When the query is evaluated.
    pub evaluation: i64,
}

/// Parameters of one step.
pub(in crate::engine) type Parameters = [f64; 2];

type Kernel = fn(&Samples<'_>, Parameters, &mut Scratch) -> Option<f64>;

/// A function of a window.
#[derive(Debug)]
pub(in crate::engine) struct RangeFunction {
    pub name: &'static str,
    pub kernel: Kernel,
    /// When it is one that can be computed for all windows at once.
    pub change: Option<Change>,
    pub keeps_name: bool,
    pub needs_resets: bool,
    /// Whether the user should hear when the metric looks like no counter.
    pub wants_counter: bool,
    /// Whether its parameter is a quantile.
    pub wants_quantile: bool,
    /// Whether the result depends on the step even when the window does not.
    pub uses_evaluation_time: bool,
    /// Refuses parameters that make no sense.
    pub check: fn(Parameters) -> Result<(), String>,
}

const fn function(name: &'static str, kernel: Kernel) -> RangeFunction {
    RangeFunction {
        name,
        kernel,
        change: None,
        keeps_name: false,
        needs_resets: false,
        wants_counter: false,
        wants_quantile: false,
        uses_evaluation_time: false,
        check: |_| Ok(()),
    }
}

const fn counter(name: &'static str, kernel: Kernel) -> RangeFunction {
    RangeFunction { needs_resets: true, wants_counter: true, ..function(name, kernel) }
}

static FUNCTIONS: &[RangeFunction] = &[
    RangeFunction {
        change: Some(Change { counter: true, per_second: true }),
        ..counter("rate", |samples, _, _| Change { counter: true, per_second: true }.of(samples))
    },
    RangeFunction {
        change: Some(Change { counter: true, per_second: false }),
        ..counter("increase", |samples, _, _| {
            Change { counter: true, per_second: false }.of(samples)
        })
    },
    RangeFunction {
        change: Some(Change { counter: false, per_second: false }),
        ..function("delta", |samples, _, _| {
            Change { counter: false, per_second: false }.of(samples)
        })
    },
    function("irate", |samples, _, _| instant_change(samples, true)),
    function("idelta", |samples, _, _| instant_change(samples, false)),
    RangeFunction { needs_resets: true, ..function("resets", resets) },
    function("changes", changes),
    function("deriv", |samples, _, _| {
        let first = *samples.times.first()?;
        regression(samples, first).map(|(slope, _)| slope)
    }),
    RangeFunction {
        uses_evaluation_time: true,
        ..function("predict_linear", |samples, [seconds, _], _| {
            let (slope, intercept) = regression(samples, samples.evaluation)?;
            Some(slope * seconds + intercept)
        })
    },
    function("avg_over_time", average),
    function("count_over_time", count),
    RangeFunction {
        keeps_name: true,
        ..function("first_over_time", |s, _, _| s.values.first().copied())
    },
    RangeFunction {
        keeps_name: true,
        ..function("last_over_time", |s, _, _| s.values.last().copied())
    },
    function("max_over_time", |samples, _, scratch| {
        sliding::extreme(samples, scratch, |new, old| new > old)
    }),
    function("min_over_time", |samples, _, scratch| {
        sliding::extreme(samples, scratch, |new, old| new < old)
    }),
    function("present_over_time", |_, _, _| Some(1.0)),
    RangeFunction { wants_quantile: true, ..function("quantile_over_time", quantile_of) },
    function("stddev_over_time", |samples, _, _| Some(variance(samples.values).sqrt())),
    function("stdvar_over_time", |samples, _, _| Some(variance(samples.values))),
    function("sum_over_time", total),
    // Experimental from here on.
    RangeFunction { check: check_smoothing, ..function("double_exponential_smoothing", smoothed) },
    function("mad_over_time", deviation),
    function("ts_of_first_over_time", |s, _, _| s.times.first().map(|time| seconds(*time))),
    function("ts_of_last_over_time", |s, _, _| s.times.last().map(|time| seconds(*time))),
    function("ts_of_max_over_time", |samples, _, _| time_of(samples, |new, old| new >= old)),
    function("ts_of_min_over_time", |samples, _, _| time_of(samples, |new, old| new <= old)),
];

/// The function of a name.
pub(in crate::engine) fn find(name: &str) -> Option<&'static RangeFunction> {
    FUNCTIONS.iter().find(|function| function.name == name)
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds of a window fit a float")]
fn seconds(milliseconds: i64) -> f64 {
    milliseconds as f64 / 1000.0
}

#[expect(clippy::cast_precision_loss, reason = "windows have fewer samples than 2^53")]
fn number(count: usize) -> f64 {
    count as f64
}

impl Samples<'_> {
    /// Values directly before each reset in the window.
    pub(super) fn before_resets(&self) -> impl Iterator<Item = f64> + '_ {
        self.resets.iter().map(|at| self.values[at - self.base - 1])
    }
}

/// `irate`, `idelta`: from the last two samples.
fn instant_change(samples: &Samples<'_>, counter: bool) -> Option<f64> {
    let ([.., before, last], [.., before_time, last_time]) = (samples.values, samples.times) else {
        return None;
    };
    let interval = last_time - before_time;
    if interval == 0 {
        return None;
    }
    let over = last < before || start::restarts_at(samples, samples.times.len() - 1);
    let change = if counter && over { *last } else { last - before };
    Some(if counter { change / seconds(interval) } else { change })
}

fn resets(samples: &Samples<'_>, _: Parameters, _: &mut Scratch) -> Option<f64> {
    Some(number(samples.resets.len()))
}

fn changes(samples: &Samples<'_>, _: Parameters, _: &mut Scratch) -> Option<f64> {
    let differs = |pair: &&[f64]| pair[0] != pair[1] && !(pair[0].is_nan() && pair[1].is_nan());
    Some(number(samples.values.windows(2).filter(differs).count()))
}

fn average(samples: &Samples<'_>, _: Parameters, scratch: &mut Scratch) -> Option<f64> {
    if !samples.counts.is_empty() {
        return Some(total(samples, [0.0; 2], scratch)? / counted(samples));
    }
    let (first, rest) = samples.values.split_first()?;
    let mut mean = Mean::of(*first);
    for value in rest {
        mean.add(*value);
    }
    Some(mean.value())
}

fn count(samples: &Samples<'_>, _: Parameters, _: &mut Scratch) -> Option<f64> {
    Some(counted(samples))
}

/// How many samples there are, or were before they were downsampled.
pub(super) fn counted(samples: &Samples<'_>) -> f64 {
    match samples.counts {
        [] => number(samples.values.len()),
        counts => counts.iter().sum(),
    }
}

fn total(samples: &Samples<'_>, _: Parameters, _: &mut Scratch) -> Option<f64> {
    let sum = samples.values.iter().fold(Sum::default(), |sum, value| sum.plus(*value));
    Some(if sum.total.is_infinite() { sum.total } else { sum.value() })
}

fn quantile_of(samples: &Samples<'_>, [q, _]: Parameters, scratch: &mut Scratch) -> Option<f64> {
    Some(sliding::quantile(samples, q, scratch))
}

fn variance(values: &[f64]) -> f64 {
    let (mut count, mut mean, mut squares) = (0.0, Sum::default(), Sum::default());
    for value in values {
        count += 1.0;
        let delta = value - mean.value();
        mean = mean.plus(delta / count);
        squares = squares.plus(delta * (value - mean.value()));
    }
    squares.value() / count
}

/// Least squares: slope per second, and value at a time.
fn regression(samples: &Samples<'_>, intercept_time: i64) -> Option<(f64, f64)> {
    let first = *samples.values.first()?;
    if samples.values.len() < 2 {
        return None;
    }
    if samples.values.iter().all(|value| *value == first) {
        return Some(if first.is_infinite() { (f64::NAN, f64::NAN) } else { (0.0, first) });
    }
    let zero = Sum::default();
    let (mut x, mut y, mut xy, mut xx) = (zero, zero, zero, zero);
    for (time, value) in samples.times.iter().zip(samples.values) {
        let at = seconds(time.saturating_sub(intercept_time));
        x = x.plus(at);
        y = y.plus(*value);
        xy = xy.plus(at * value);
        xx = xx.plus(at * at);
    }
    let (x, y, xy, xx) = (x.value(), y.value(), xy.value(), xx.value());
    let n = number(samples.values.len());
    let slope = (xy - x * y / n) / (xx - x * x / n);
    Some((slope, y / n - slope * x / n))
}

/// When the last of the best values was taken.
fn time_of(samples: &Samples<'_>, better: impl Fn(f64, f64) -> bool) -> Option<f64> {
    let (mut best, mut at) = (*samples.values.first()?, *samples.times.first()?);
    for (value, time) in samples.values.iter().zip(samples.times) {
        if better(*value, best) || best.is_nan() {
            (best, at) = (*value, *time);
        }
    }
    Some(seconds(at))
}

/// The median of the distances from the median.
fn deviation(samples: &Samples<'_>, _: Parameters, scratch: &mut Scratch) -> Option<f64> {
    if samples.values.iter().any(|value| value.is_nan()) {
        return Some(f64::NAN);
    }
    let values = &mut scratch.values;
    values.clear();
    values.extend_from_slice(samples.values);
    let median = quantile(0.5, values);
    for value in values.iter_mut() {
        *value = (*value - median).abs();
    }
    Some(quantile(0.5, values))
}

fn check_smoothing([smoothing, trend]: Parameters) -> Result<(), String> {
    for (value, what, sign) in [(smoothing, "smoothing", "sf"), (trend, "trend", "tf")] {
        if value <= 0.0 || value >= 1.0 {
            return Err(format!(
                "invalid {what} factor. Expected: 0 < {sign} < 1, got: {value:.6}"
            ));
        }
    }
    Ok(())
}

/// Double exponential smoothing: a level and a trend, each a moving mean.
fn smoothed(
    samples: &Samples<'_>,
    [smoothing, trend_share]: Parameters,
    _: &mut Scratch,
) -> Option<f64> {
    let [first, second, ..] = samples.values else { return None };
    let (mut before, mut level, mut trend) = (0.0, *first, second - first);
    for (at, value) in samples.values[1..].iter().enumerate() {
        if at > 0 {
            trend = trend_share * (level - before) + (1.0 - trend_share) * trend;
        }
        let next = smoothing * value + (1.0 - smoothing) * (level + trend);
        (before, level) = (level, next);
    }
    Some(level)
}
