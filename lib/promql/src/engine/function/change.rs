//! `rate`, `increase` and `delta`: what the samples of a window show, stretched to the whole window
//! (`extrapolatedRate` of promql/functions.go).

use super::range::Samples;
use crate::engine::newest::Ends;
use crate::engine::row::Row;
use crate::engine::start;
use crate::storage::Samples as Stored;

/// Which change is asked for.
#[derive(Debug, Clone, Copy)]
pub(in crate::engine) struct Change {
    /// Whether values only fall where counting starts over, and are never below zero.
    pub counter: bool,
    pub per_second: bool,
}

/// How the samples lie in their window, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Shape {
    to_start: i64,
    sampled: i64,
    to_end: i64,
    /// How many samples there are but the first; not 0.
    gaps: usize,
}

/// What a change is multiplied with, as far as the shape decides.
#[derive(Debug, Clone, Copy, Default)]
struct Stretch {
    shape: Shape,
    /// Seconds by which it is stretched, and between the first and the last sample.
    to_start: f64,
    to_end: f64,
    sampled: f64,
    /// A counter can only have begun within the window when its first value is at most the change times this: twice
    /// the exact bound, so that rounding hides nothing.
    near_zero: f64,
    factor: f64,
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds of a window fit a float")]
fn seconds(milliseconds: i64) -> f64 {
    milliseconds as f64 / 1000.0
}

impl Change {
    /// That of one window.
    pub(super) fn of(self, samples: &Samples<'_>) -> Option<f64> {
        let (first, last) = (*samples.values.first()?, *samples.values.last()?);
        let (first_time, last_time) = (*samples.times.first()?, *samples.times.last()?);
        let began = start::began(samples).filter(|_| self.counter);
        if samples.values.len() < 2 && began.is_none() {
            return None;
        }
        let mut change = last - first;
        if self.counter {
            for before in samples.before_resets() {
                change += before;
            }
        }
        if let Some(began) = began {
            return Some((change + first) * start::factor(samples, began, self.per_second));
        }
        let shape = Shape {
            to_start: first_time - samples.start,
            sampled: last_time - first_time,
            to_end: samples.end - last_time,
            gaps: samples.values.len() - 1,
        };
        Some(self.stretched(&Stretch::of(shape, self), first, change))
    }

    /// That of each window of a series without start timestamps: `range` milliseconds up to each end. Gives how many
    /// samples the windows have.
    pub(in crate::engine) fn fill(
        self,
        samples: &Stored,
        mut ends: Ends,
        range: i64,
        row: &mut Row,
    ) -> u64 {
        let times = &samples.timestamps[..];
        let values = &samples.values[..times.len()];
        let resets = if self.counter { start::resets(samples) } else { Vec::new() };
        let (mut low, mut high, mut used) = (0, 0, 0);
        let mut passed = 0;
        let mut stretch = Stretch::default();
        row.set_words(|places| {
            let mut bits = 0;
            for (bit, place) in places.iter_mut().enumerate() {
                let end = ends.step();
                let start = end.saturating_sub(range);
                while high < times.len() && times[high] <= end {
                    high += 1;
                }
                while low < high && times[low] <= start {
                    low += 1;
                }
                let window = &values[low..high];
                used += window.len() as u64;
                let [first, .., last] = window else { continue };
                let mut change = last - first;
                // A reset counts when the sample before it is in the window, too.
                while passed < resets.len() && resets[passed] <= low {
                    passed += 1;
                }
                for at in resets[passed..].iter().take_while(|at| **at < high) {
                    change += values[at - 1];
                }
                let (first_time, last_time) = (times[low], times[high - 1]);
                let shape = Shape {
                    to_start: first_time - start,
                    sampled: last_time - first_time,
                    to_end: end - last_time,
                    gaps: high - low - 1,
                };
                // Most samples are as far apart as those before.
                if shape != stretch.shape {
                    stretch = Stretch::of(shape, self);
                }
                *place = self.stretched(&stretch, *first, change);
                bits |= 1 << bit;
            }
            bits
        });
        used
    }

    /// What samples show that begin with `first` and change by so much.
    #[inline]
    fn stretched(self, stretch: &Stretch, first: f64, change: f64) -> f64 {
        let Stretch { sampled, to_start, to_end, near_zero, .. } = *stretch;
        if self.counter && change > 0.0 && first >= 0.0 && first <= change * near_zero {
            // A counter was never below zero.
            let to_zero = sampled * (first / change);
            if to_zero < to_start {
                return change * self.factor(sampled + to_zero + to_end, stretch);
            }
        }
        change * stretch.factor
    }

    fn factor(self, stretched: f64, stretch: &Stretch) -> f64 {
        let factor = stretched / stretch.sampled;
        if self.per_second { factor / stretch.shape.range() } else { factor }
    }
}

impl Shape {
    /// Seconds of the window.
    fn range(&self) -> f64 {
        seconds(self.to_start + self.sampled + self.to_end)
    }
}

impl Stretch {
    #[expect(clippy::cast_precision_loss, reason = "windows have fewer samples than 2^53")]
    fn of(shape: Shape, change: Change) -> Self {
        let (mut to_start, mut to_end) = (seconds(shape.to_start), seconds(shape.to_end));
        let sampled = seconds(shape.sampled);
        let gap = sampled / shape.gaps as f64;
        // Beyond this the series probably began or ended within the window.
        let threshold = gap * 1.1;
        if to_start >= threshold {
            to_start = gap / 2.0;
        }
        if to_end >= threshold {
            to_end = gap / 2.0;
        }
        let near_zero = 2.0 * to_start / sampled;
        let mut stretch = Self { shape, to_start, to_end, sampled, near_zero, factor: 0.0 };
        stretch.factor = change.factor(sampled + to_start + to_end, &stretch);
        stretch
    }
}

#[cfg(test)]
mod tests;
