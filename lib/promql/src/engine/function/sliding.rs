//! Windows that slide: what one step has found out about its samples is kept for the next step, which has most of
//! them, too.

use std::collections::VecDeque;
use std::ops::Range;

use super::range::Samples;
use crate::engine::sum::Rank;

/// What kernels keep from step to step of one series, and room to work in.
#[derive(Debug, Default)]
pub(in crate::engine) struct Scratch {
    pub values: Vec<f64>,
    /// Which samples of the series the window before held.
    seen: Range<usize>,
    /// Keys of the window's values in order of time, and in order.
    by_time: VecDeque<i64>,
    by_value: Vec<i64>,
    /// Samples that no later one beats, with their value; the best comes first.
    best: VecDeque<(usize, f64)>,
}

impl Scratch {
    /// The next window is another series'.
    pub fn forget(&mut self) {
        self.seen = 0..0;
        self.by_time.clear();
        self.by_value.clear();
        self.best.clear();
    }

    /// Moves on to a window; gives how many samples have left, and how many at its end are new.
    fn slide(&mut self, samples: &Samples<'_>) -> (usize, usize) {
        let window = samples.base..samples.base + samples.values.len();
        if window.start < self.seen.start
            || window.start >= self.seen.end
            || window.end < self.seen.end
        {
            self.forget();
            self.seen = window.start..window.start;
        }
        let moved = (window.start - self.seen.start, window.end - self.seen.end);
        self.seen = window;
        moved
    }
}

/// Integers that sort as the numbers do, NaN as the smallest.
fn key(value: f64) -> i64 {
    if value.is_nan() { i64::MIN } else { flipped(value.to_bits().cast_signed()) }
}

fn flipped(bits: i64) -> i64 {
    bits ^ ((bits >> 63) & i64::MAX)
}

fn number(key: i64) -> f64 {
    f64::from_bits(flipped(key).cast_unsigned())
}

/// The φ-quantile of the window.
pub(super) fn quantile(samples: &Samples<'_>, q: f64, scratch: &mut Scratch) -> f64 {
    let (left, new) = scratch.slide(samples);
    let Scratch { by_time, by_value, .. } = scratch;
    let added = &samples.values[samples.values.len() - new..];
    if (left + new) * 4 > samples.values.len() {
        by_time.drain(..left);
        by_time.extend(added.iter().map(|value| key(*value)));
        by_value.clear();
        by_value.extend(by_time.iter());
        by_value.sort_unstable();
    } else {
        for _ in 0..left {
            let Some(gone) = by_time.pop_front() else { break };
            let at = by_value.partition_point(|key| *key < gone);
            by_value.remove(at);
        }
        for value in added {
            let key = key(*value);
            by_time.push_back(key);
            let at = by_value.partition_point(|other| *other < key);
            by_value.insert(at, key);
        }
    }
    match Rank::of(q, by_value.len()) {
        Ok(rank) => rank.between(number(by_value[rank.lower]), number(by_value[rank.upper])),
        Err(value) => value,
    }
}

/// The largest value of the window, or the smallest: `better` says which of two. Any number beats a NaN.
pub(super) fn extreme(
    samples: &Samples<'_>,
    scratch: &mut Scratch,
    better: impl Fn(f64, f64) -> bool,
) -> Option<f64> {
    let first = *samples.values.first()?;
    let (_, new) = scratch.slide(samples);
    let best = &mut scratch.best;
    while best.front().is_some_and(|(at, _)| *at < samples.base) {
        best.pop_front();
    }
    let from = samples.values.len() - new;
    for (at, value) in samples.values[from..].iter().enumerate().filter(|(_, v)| !v.is_nan()) {
        while best.back().is_some_and(|(_, old)| better(*value, *old)) {
            best.pop_back();
        }
        best.push_back((samples.base + from + at, *value));
    }
    Some(best.front().map_or(first, |(_, value)| *value))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::engine::sum;

    fn value() -> impl Strategy<Value = f64> {
        prop_oneof![
            8 => (-20_i32..20).prop_map(f64::from),
            1 => Just(f64::NAN),
            1 => prop_oneof![Just(f64::INFINITY), Just(f64::NEG_INFINITY), Just(-0.0)],
        ]
    }

    proptest! {
        #[test]
        fn a_sliding_window_gives_what_each_window_alone_gives(
            values in prop::collection::vec(value(), 1..80),
            moves in prop::collection::vec((0_usize..12, 0_usize..12), 1..30),
            q in 0.0_f64..1.0,
        ) {
            let (mut low, mut high) = (0, 0);
            let mut sliding: [Scratch; 2] = Default::default();
            for (left, new) in moves {
                high = (high + new).min(values.len());
                low = (low + left).min(high);
                let window = &values[low..high];
                if window.is_empty() {
                    continue;
                }
                let samples = Samples {
                    times: &[],
                    values: window,
                    starts: &[],
                    counts: &[],
                    resets: &[],
                    base: low,
                    start: 0,
                    end: 0,
                    evaluation: 0,
                };
                let expected = sum::quantile(q, &mut window.to_vec());
                let found = quantile(&samples, q, &mut sliding[0]);
                prop_assert!(found == expected || found.is_nan() && expected.is_nan());
                let numbers = window.iter().copied().filter(|value| !value.is_nan());
                let expected = numbers.reduce(f64::max).unwrap_or(f64::NAN);
                let found = extreme(&samples, &mut sliding[1], |new, old| new > old).unwrap();
                prop_assert!(found == expected || found.is_nan() && expected.is_nan());
            }
        }
    }
}
