//! `rate`, `increase` and `delta`: what the samples of a window show, stretched to the whole window
//! (`extrapolatedRate` of promql/functions.go).

use super::range::Samples;
use crate::engine::newest::Ends;
use crate::engine::row::Row;
use crate::engine::start;
use crate::storage::Samples as Stored;

/// How many samples are looked at together.
const LOOK: usize = 32;

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
        ends: Ends,
        range: i64,
        row: &mut Row,
    ) -> u64 {
        let times = &samples.timestamps[..];
        let mut walk = Walk {
            change: self,
            times,
            values: &samples.values[..times.len()],
            resets: if self.counter { start::resets(samples) } else { Vec::new() },
            ends,
            range,
            low: 0,
            high: 0,
            passed: 0,
            used: 0,
            stretch: Stretch::default(),
            run: Run::default(),
        };
        row.set_words(|places| walk.fill(places));
        walk.used
    }

    /// What samples show that begin with `first` and change by so much.
    #[inline]
    fn stretched(self, stretch: &Stretch, first: f64, change: f64) -> f64 {
        let Stretch { sampled, to_start, to_end, .. } = *stretch;
        if self.is_near_zero(stretch, first, change) {
            // A counter was never below zero.
            let to_zero = sampled * (first / change);
            if to_zero < to_start {
                return change * self.factor(sampled + to_zero + to_end, stretch);
            }
        }
        change * stretch.factor
    }

    /// Whether a counter may have begun within the window.
    #[inline]
    fn is_near_zero(self, stretch: &Stretch, first: f64, change: f64) -> bool {
        self.counter & (change > 0.0) & (first >= 0.0) & (first <= change * stretch.near_zero)
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

/// Goes along a series, from window to window.
struct Walk<'a> {
    change: Change,
    times: &'a [i64],
    values: &'a [f64],
    resets: Vec<usize>,
    ends: Ends,
    range: i64,
    /// The samples of the window: `low..high`.
    low: usize,
    high: usize,
    /// Resets that the window has left behind.
    passed: usize,
    /// Samples of all windows so far.
    used: u64,
    stretch: Stretch,
    run: Run,
}

/// Samples that are equally far apart.
#[derive(Debug, Clone, Copy, Default)]
struct Run {
    gap: i64,
    /// By how many of them a window moves on at each step; 0 when that is no whole number.
    samples_a_step: usize,
    /// The last of them.
    last: usize,
}

impl Walk<'_> {
    /// The next windows, and which of them have a change.
    fn fill(&mut self, places: &mut [f64]) -> u64 {
        let (mut bits, mut at) = (0, 0);
        while let Some(place) = places.get_mut(at) {
            let change = self.step();
            if let Some(change) = change {
                *place = change;
                bits |= 1 << at;
            }
            at += 1;
            let left = &mut places[at..];
            let alike = if change.is_some() { self.alike(left.len()) } else { 0 };
            if alike > 0 {
                self.fill_alike(&mut left[..alike]);
                bits |= u64::MAX >> (64 - alike) << at;
                at += alike;
            }
        }
        bits
    }

    /// The next window.
    fn step(&mut self) -> Option<f64> {
        let (times, values) = (self.times, self.values);
        let end = self.ends.step();
        let start = end.saturating_sub(self.range);
        while self.high < times.len() && times[self.high] <= end {
            self.high += 1;
        }
        while self.low < self.high && times[self.low] <= start {
            self.low += 1;
        }
        let (low, high) = (self.low, self.high);
        let window = &values[low..high];
        self.used += window.len() as u64;
        let [first, .., last] = window else { return None };
        let mut change = last - first;
        // A reset counts when the sample before it is in the window, too.
        while self.passed < self.resets.len() && self.resets[self.passed] <= low {
            self.passed += 1;
        }
        for at in self.resets[self.passed..].iter().take_while(|at| **at < high) {
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
        if shape != self.stretch.shape {
            self.stretch = Stretch::of(shape, self.change);
        }
        Some(self.change.stretched(&self.stretch, *first, change))
    }

    /// How many of the next windows, `most` at most, have the shape of this one because samples come as regularly as
    /// steps, and see no reset.
    fn alike(&mut self, most: usize) -> usize {
        let (low, high) = (self.low, self.high);
        if low >= self.run.last {
            self.run = Run::from(self.times, low, self.ends.stride());
        }
        let Run { gap, samples_a_step, last } = self.run;
        // Then the sample before the first is outside, too, and so is the one after the last.
        let Shape { to_start, to_end, .. } = self.stretch.shape;
        if samples_a_step == 0 || to_start > gap || to_end >= gap {
            return 0;
        }
        // The end of the last of them: at the end of the run, the sample after it may come early.
        let end = if last + 1 == self.times.len() { last + 1 } else { last };
        let reset = self.resets.get(self.passed).copied().unwrap_or(end);
        (end.min(reset).saturating_sub(high) / samples_a_step).min(most)
    }

    /// The windows of which [`Walk::alike`] told.
    fn fill_alike(&mut self, places: &mut [f64]) {
        let samples = self.run.samples_a_step;
        let (from, to) = (self.low + samples, self.high - 1 + samples);
        let (firsts, lasts) = (&self.values[from..], &self.values[to..]);
        match samples {
            1 => self.stretch_each(places, firsts.iter().zip(lasts)),
            _ => {
                self.stretch_each(
                    places,
                    firsts.iter().step_by(samples).zip(lasts.iter().step_by(samples)),
                );
            }
        }
        self.used += ((self.high - self.low) * places.len()) as u64;
        self.ends = self.ends.after(places.len());
        self.low += samples * places.len();
        self.high += samples * places.len();
    }

    /// Takes no branches unless one of them is near zero.
    #[inline(always)]
    fn stretch_each<'b>(
        &self,
        places: &mut [f64],
        windows: impl Iterator<Item = (&'b f64, &'b f64)> + Clone,
    ) {
        let mut near_zero = false;
        for (place, (first, last)) in places.iter_mut().zip(windows.clone()) {
            let change = last - first;
            near_zero |= self.change.is_near_zero(&self.stretch, *first, change);
            *place = change * self.stretch.factor;
        }
        if near_zero {
            for (place, (first, last)) in places.iter_mut().zip(windows) {
                *place = self.change.stretched(&self.stretch, *first, last - first);
            }
        }
    }
}

impl Run {
    /// That which begins with a sample, if its windows move on by whole samples.
    fn from(times: &[i64], first: usize, stride: i64) -> Self {
        let times = &times[first..];
        let none = Self { gap: 0, samples_a_step: 0, last: first };
        let [one, two, ..] = times else { return none };
        let gap = two.wrapping_sub(*one);
        if gap <= 0 || stride < gap || (stride != gap && stride % gap != 0) {
            return none;
        }
        let Ok(samples_a_step) = usize::try_from(stride / gap) else { return none };
        let goes_on = |at: usize| times[at + 1].wrapping_sub(times[at]) == gap;
        // Looks at many of them at a time, which takes no branches.
        let mut gaps = 1;
        while gaps + LOOK < times.len()
            && (gaps..gaps + LOOK).fold(true, |all, at| all & goes_on(at))
        {
            gaps += LOOK;
        }
        while gaps + 1 < times.len() && goes_on(gaps) {
            gaps += 1;
        }
        Self { gap, samples_a_step, last: first + gaps }
    }
}

#[cfg(test)]
mod tests;
