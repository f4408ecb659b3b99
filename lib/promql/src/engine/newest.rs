//! The newest sample at each step: what a selector without a window gives.

use model::is_stale_marker;

use super::grid::Grid;
use super::plan::Select;
use super::row::Row;
use crate::storage::Samples;

/// Up to when each step looks: `first`, `first + stride`, … in milliseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ends {
    first: i64,
    stride: i64,
}

impl Ends {
    pub fn of(select: &Select, grid: Grid) -> Self {
        let stride = if select.at.is_some() { 0 } else { grid.step };
        Self { first: select.looks_at(grid, 0), stride }
    }

    /// Of windows: `first` and `stride` as they are.
    pub fn new(first: i64, stride: i64) -> Self {
        Self { first, stride }
    }

    /// Moves on by a step; gives up to when the one before looks.
    pub fn step(&mut self) -> i64 {
        let end = self.first;
        self.first = end.saturating_add(self.stride);
        end
    }

    /// Milliseconds from one step to the next.
    pub fn stride(&self) -> i64 {
        self.stride
    }

    /// What is left after some steps.
    pub fn after(self, steps: usize) -> Self {
        let steps = i64::try_from(steps).unwrap_or(i64::MAX);
        let first = self.first.saturating_add(self.stride.saturating_mul(steps));
        Self { first, ..self }
    }
}

/// Sets the newest number at each step that is neither too old nor stale; gives how many there are.
pub(super) fn pick(samples: &Samples, mut ends: Ends, lookback: i64, row: &mut Row) -> u64 {
    let times = &samples.timestamps[..];
    let values = &samples.values[..times.len()];
    let (mut next, mut used) = (0, 0);
    let mut regular = true;
    row.set_words(|places| {
        while next < times.len() && times[next] <= ends.first {
            next += 1;
        }
        let newest = next.saturating_sub(1);
        let after = newest + places.len();
        if regular && let Some(found) = values.get(newest..after) {
            let last = ends.after(places.len() - 1).first;
            regular = one_each(&times[newest..after], found, ends, lookback)
                && times.get(after).is_none_or(|time| *time > last);
            if regular {
                places.copy_from_slice(found);
                used += places.len() as u64;
                next = after;
                ends = ends.after(places.len());
                return u64::MAX >> (64 - places.len());
            }
        }
        let mut bits = 0;
        for (bit, place) in places.iter_mut().enumerate() {
            while next < times.len() && times[next] <= ends.first {
                next += 1;
            }
            let oldest = ends.first.saturating_sub(lookback);
            ends = ends.after(1);
            let Some(newest) = next.checked_sub(1) else { continue };
            if times[newest] > oldest && !is_stale_marker(values[newest]) {
                *place = values[newest];
                bits |= 1 << bit;
                used += 1;
            }
        }
        bits
    });
    used
}

/// Whether each step has a live sample of its own, in order: usually as many samples are taken as are asked for. Looks
/// at all of them in any case, which takes no branches, and asks with sums and bits, of which a processor does several
/// at a time. May say no of times that nobody has (beyond 10^8 years).
fn one_each(times: &[i64], values: &[f64], ends: Ends, lookback: i64) -> bool {
    const FAR: std::ops::Range<i64> = -(1 << 62)..1 << 62;
    let Some(oldest) = times.first() else { return false };
    let last = ends.after(times.len() - 1).first;
    // Older than the step before, it would be that one's sample, too.
    let reach = lookback.min(ends.stride);
    if !FAR.contains(&ends.first) || !FAR.contains(&last) || !FAR.contains(&reach) {
        return false;
    }
    let first_is_live = *oldest > ends.first.saturating_sub(lookback) && *oldest <= ends.first;
    let (mut outside, mut end) = (0, ends.first);
    for time in &times[1..] {
        end = end.wrapping_add(ends.stride);
        let age = end.wrapping_sub(*time);
        // Negative when it is younger than 0, or older than the reach.
        outside |= age | (reach - 1).wrapping_sub(age);
    }
    let stale = model::stale_marker().to_bits();
    let mut live = u64::MAX;
    for value in &values[..times.len()] {
        let other = value.to_bits() ^ stale;
        // The highest bit is that of any difference.
        live &= other | other.wrapping_neg();
    }
    first_is_live && outside >= 0 && live >> 63 == 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn steps_in_a_run_pick_what_each_step_alone_picks(
            gaps in prop::collection::vec(
                (prop_oneof![40 => Just(10_i64), 1 => 1_i64..80], prop::bool::weighted(0.01)),
                0..300,
            ),
            first in -50_i64..50,
            stride in prop_oneof![4 => Just(10_i64), 1 => 0_i64..25],
            lookback in 1_i64..60,
            len in 1_usize..200,
        ) {
            let mut samples = Samples::default();
            let mut time = 0;
            for (at, (gap, stale)) in gaps.iter().enumerate() {
                time += gap;
                samples.timestamps.push(time);
                samples.values.push(if *stale { model::stale_marker() } else { at as f64 });
            }
            let mut row = Row::none(len);
            let used = pick(&samples, Ends { first, stride }, lookback, &mut row);
            for step in 0..len {
                let end = first + stride * step as i64;
                let newest = samples.timestamps.partition_point(|time| *time <= end).checked_sub(1);
                let expected = newest
                    .filter(|at| samples.timestamps[*at] > end - lookback)
                    .map(|at| samples.values[at])
                    .filter(|value| !is_stale_marker(*value));
                prop_assert_eq!(row.get(step), expected, "step {}", step);
            }
            prop_assert_eq!(used, row.valid.count() as u64);
        }
    }

    #[test]
    fn times_at_the_ends_of_time_are_picked_or_not_but_overflow_nothing() {
        for (first, stride) in [(i64::MAX - 9, 10), (i64::MIN, 10), (i64::MIN, i64::MAX / 2)] {
            let samples = Samples {
                timestamps: vec![i64::MIN, i64::MIN + 5, 0, i64::MAX - 9, i64::MAX],
                values: vec![1.0; 5],
                ..Samples::default()
            };
            for len in 1..6 {
                let mut row = Row::none(len);
                let used = pick(&samples, Ends { first, stride }, 20, &mut row);
                assert_eq!(used, row.valid.count() as u64);
            }
        }
    }
}
