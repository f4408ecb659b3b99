//! One series over the step grid: a value per step and which steps have one. A missing value is never a NaN.

use std::sync::Arc;

use model::histogram::FloatHistogram;

use super::grid::Grid;
use crate::storage::{HistogramSample, Samples};

/// A set of steps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Steps {
    words: Vec<u64>,
    len: usize,
}

impl Steps {
    pub fn none(len: usize) -> Self {
        Self { words: vec![0; len.div_ceil(64)], len }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn has(&self, step: usize) -> bool {
        self.words[step / 64] >> (step % 64) & 1 == 1
    }

    pub fn insert(&mut self, step: usize) {
        self.words[step / 64] |= 1 << (step % 64);
    }

    pub fn remove(&mut self, step: usize) {
        self.words[step / 64] &= !(1 << (step % 64));
    }

    pub fn clear(&mut self) {
        self.words.fill(0);
    }

    pub fn fill(&mut self) {
        for step in 0..self.len {
            self.insert(step);
        }
    }

    /// Whether every step is in it.
    pub fn is_full(&self) -> bool {
        let (whole, rest) = (self.len / 64, self.len % 64);
        self.words[..whole].iter().all(|word| *word == u64::MAX)
            && self.words.get(whole).is_none_or(|word| *word == (1 << rest) - 1)
    }

    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    pub fn count(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    pub fn add(&mut self, other: &Self) {
        for (word, other) in self.words.iter_mut().zip(&other.words) {
            *word |= other;
        }
    }

    pub fn keep(&mut self, other: &Self) {
        for (word, other) in self.words.iter_mut().zip(&other.words) {
            *word &= other;
        }
    }

    pub fn subtract(&mut self, other: &Self) {
        for (word, other) in self.words.iter_mut().zip(&other.words) {
            *word &= !other;
        }
    }

    /// The first step that is in both.
    pub fn first_common(&self, other: &Self) -> Option<usize> {
        self.words.iter().zip(&other.words).enumerate().find_map(|(i, (word, other))| {
            let common = word & other;
            (common != 0).then(|| i * 64 + common.trailing_zeros() as usize)
        })
    }

    /// The steps in it, ascending.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.words.iter().enumerate().flat_map(|(i, word)| {
            let mut rest = *word;
            std::iter::from_fn(move || {
                (rest != 0).then(|| {
                    let step = i * 64 + rest.trailing_zeros() as usize;
                    rest &= rest - 1;
                    step
                })
            })
        })
    }
}

/// Values of one series. Where `valid` has no step, the columns mean nothing.
#[derive(Debug, Clone, Default)]
pub(crate) struct Row {
    /// 0 where the value is a histogram.
    pub values: Vec<f64>,
    pub valid: Steps,
    /// Empty when no value is a histogram, else as long as `values`.
    pub histograms: Vec<Option<Arc<FloatHistogram>>>,
}

impl Row {
    pub fn none(len: usize) -> Self {
        Self { values: vec![0.0; len], valid: Steps::none(len), histograms: Vec::new() }
    }

    pub fn clear(&mut self) {
        self.valid.clear();
        self.histograms.clear();
    }

    /// Sets a number; not where a histogram was.
    pub fn set(&mut self, step: usize, value: f64) {
        self.values[step] = value;
        self.valid.insert(step);
    }

    pub fn set_histogram(&mut self, step: usize, histogram: Arc<FloatHistogram>) {
        self.set(step, 0.0);
        if self.histograms.is_empty() {
            self.histograms.resize(self.values.len(), None);
        }
        self.histograms[step] = Some(histogram);
    }

    /// Sets numbers, and takes away all else. `fill` gets places for the numbers of the next 64 steps, and gives which
    /// of these have one, the first in the lowest bit.
    pub fn set_words(&mut self, mut fill: impl FnMut(&mut [f64]) -> u64) {
        self.histograms.clear();
        for (places, word) in self.values.chunks_mut(64).zip(&mut self.valid.words) {
            *word = fill(places);
        }
    }

    pub fn has_histograms(&self) -> bool {
        !self.histograms.is_empty()
    }

    /// The histogram at a step that has a value.
    pub fn histogram(&self, step: usize) -> Option<&Arc<FloatHistogram>> {
        self.histograms.get(step)?.as_ref()
    }

    /// The steps that have a histogram, with it.
    pub fn iter_histograms(&self) -> impl Iterator<Item = (usize, &Arc<FloatHistogram>)> {
        let at = |step| Some((step, self.histogram(step)?));
        let steps = self.has_histograms().then(|| self.valid.iter());
        steps.into_iter().flatten().filter_map(at)
    }

    /// Removes all histograms. Gives whether there was one.
    pub fn drop_histograms(&mut self) -> bool {
        if self.histograms.is_empty() {
            return false;
        }
        let mut any = false;
        for (step, histogram) in self.histograms.iter().enumerate() {
            if histogram.is_some() && self.valid.has(step) {
                self.valid.remove(step);
                any = true;
            }
        }
        self.histograms.clear();
        any
    }

    /// All values with their times.
    pub fn samples(self, grid: Grid) -> Samples {
        if self.valid.is_full() && self.histograms.is_empty() {
            let timestamps = (0..grid.len).map(|step| grid.time(step)).collect();
            return Samples { timestamps, values: self.values, ..Samples::default() };
        }
        let mut samples = Samples::default();
        self.write_samples(grid, &mut samples);
        samples
    }

    /// All values with their times, into columns that are cleared first.
    pub fn write_samples(&self, grid: Grid, samples: &mut Samples) {
        samples.timestamps.clear();
        samples.values.clear();
        samples.histograms.clear();
        for (step, value) in self.iter() {
            if let Some(histogram) = self.histogram(step) {
                let index = samples.values.len();
                samples
                    .histograms
                    .push(HistogramSample { index, histogram: Arc::clone(histogram) });
            }
            samples.timestamps.push(grid.time(step));
            samples.values.push(value);
        }
    }

    /// The values of another row, at the steps given.
    pub fn copy_at(&mut self, other: &Self, steps: Steps) {
        self.values.copy_from_slice(&other.values);
        self.valid = steps;
        self.histograms.clone_from(&other.histograms);
    }

    pub fn get(&self, step: usize) -> Option<f64> {
        self.valid.has(step).then(|| self.values[step])
    }

    /// Replaces each value; `None` removes it.
    pub fn map(&mut self, mut change: impl FnMut(usize, f64) -> Option<f64>) {
        for word in 0..self.valid.words.len() {
            let mut rest = self.valid.words[word];
            while rest != 0 {
                let step = word * 64 + rest.trailing_zeros() as usize;
                rest &= rest - 1;
                match change(step, self.values[step]) {
                    Some(value) => self.values[step] = value,
                    None => self.valid.remove(step),
                }
            }
        }
    }

    /// The steps that have a value, with it.
    pub fn iter(&self) -> impl Iterator<Item = (usize, f64)> + '_ {
        self.valid.iter().map(|step| (step, self.values[step]))
    }

    /// Takes over the values of another row. Gives the first step that both have.
    pub fn merge(&mut self, other: &Self) -> Result<(), usize> {
        if let Some(step) = self.valid.first_common(&other.valid) {
            return Err(step);
        }
        if self.has_histograms() || other.has_histograms() {
            self.histograms.resize(self.values.len(), None);
            for step in other.valid.iter() {
                self.histograms[step] = other.histogram(step).cloned();
            }
        }
        for (step, value) in other.iter() {
            self.set(step, value);
        }
        Ok(())
    }
}
