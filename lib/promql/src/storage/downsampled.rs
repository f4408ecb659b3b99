//! Downsampled data: what stands for all samples of a window of time (5 minutes, an hour) in a store that keeps them
//! no longer.
//!
//! A store has five columns of such data, each with samples of its own. Which one a selector is after follows from what
//! is done with it ([`Aggregate`]; Thanos: `aggrsFromFunc` in pkg/query/querier.go). A source that holds downsampled
//! data hands over the samples that [`Aggregate::join`] makes of it, mixed with raw ones as they come.

use std::sync::Arc;

use super::{HistogramSample, Samples};

/// Which number of the samples of a window of time a selector is after.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Aggregate {
    /// Their mean, which stands for one of them: for plain selectors and all functions that are not named below.
    #[default]
    Average,
    /// How many there were: `count_over_time`, and where only being there matters.
    Count,
    /// Their sum: `sum_over_time`.
    Sum,
    /// Their sum, and how many there were: `avg_over_time`.
    SumAndCount,
    /// The smallest: `min` and `min_over_time`.
    Min,
    /// The largest: `max` and `max_over_time`.
    Max,
    /// A counter without its resets: `rate`, `increase`, `irate`, `resets`.
    Counter,
}

/// One downsampled chunk of a series. Columns that were not asked for are empty.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Downsampled {
    /// How many samples there were up to each time, since the time before.
    pub count: Samples,
    /// Their sums.
    pub sum: Samples,
    /// The smallest ones.
    pub min: Samples,
    /// The largest ones.
    pub max: Samples,
    /// The counter with what its resets took away added again, from the first value of the chunk on. Where the last
    /// time is there twice, its second value is the one that was scraped: what comes next is compared with that.
    pub counter: Samples,
}

/// A part of a series.
#[derive(Debug, Clone, PartialEq)]
pub enum Piece {
    /// Samples as they were scraped.
    Raw(Samples),
    /// What is left of them.
    Downsampled(Box<Downsampled>),
}

impl Aggregate {
    /// What a function or an aggregation wants of the selector that is its argument.
    pub(crate) fn wanted_by(function: &str) -> Self {
        match function {
            "min" | "min_over_time" => Self::Min,
            "max" | "max_over_time" => Self::Max,
            "sum_over_time" => Self::Sum,
            "avg_over_time" => Self::SumAndCount,
            "count" | "group" | "absent" | "count_over_time" | "present_over_time"
            | "absent_over_time" => Self::Count,
            "rate" | "increase" | "irate" | "resets" => Self::Counter,
            _ => Self::Average,
        }
    }

    /// What is wanted of the selector in a subquery: samples picked at its steps do not add up to those of its range.
    pub(crate) fn in_subquery(self) -> Self {
        match self {
            Self::Min | Self::Max | Self::Counter => self,
            Self::Average | Self::Count | Self::Sum | Self::SumAndCount => Self::Average,
        }
    }

    /// One series of its pieces, which are in order of time; what overlaps what came before is left out. Resets of a
    /// counter are only taken out when a piece is downsampled.
    #[must_use]
    pub fn join(self, pieces: Vec<Piece>) -> Samples {
        let mut joined = Joined::default();
        let mut counter = pieces
            .iter()
            .any(|piece| self == Self::Counter && matches!(piece, Piece::Downsampled(_)))
            .then(Counter::default);
        for piece in pieces {
            match (piece, &mut counter) {
                (Piece::Raw(samples), None) => joined.add(&samples, None),
                (Piece::Raw(samples), Some(counter)) => counter.add(&samples, &mut joined),
                (Piece::Downsampled(chunk), counter) => match self {
                    Self::Average => joined.add(&means(&chunk), None),
                    Self::Sum => joined.add(&chunk.sum, None),
                    Self::Min => joined.add(&chunk.min, None),
                    Self::Max => joined.add(&chunk.max, None),
                    Self::Count => joined.add(&chunk.count, Some(&chunk.count.values)),
                    Self::SumAndCount => joined.add_sums(&chunk),
                    Self::Counter => {
                        if let Some(counter) = counter {
                            counter.add(&chunk.counter, &mut joined);
                        }
                    }
                },
            }
        }
        joined.samples
    }
}

#[derive(Default)]
struct Joined {
    samples: Samples,
}

impl Joined {
    fn is_after(&self, time: i64) -> bool {
        self.samples.timestamps.last().is_none_or(|last| *last < time)
    }

    fn push(&mut self, time: i64, value: f64, histogram: Option<&HistogramSample>) {
        let index = self.samples.timestamps.len();
        self.samples.timestamps.push(time);
        self.samples.values.push(value);
        let histogram = histogram.map(|sample| Arc::clone(&sample.histogram));
        self.samples
            .histograms
            .extend(histogram.map(|histogram| HistogramSample { index, histogram }));
    }

    /// Appends what is new. `counts`: how many samples each stands for, or one each.
    fn add(&mut self, samples: &Samples, counts: Option<&[f64]>) {
        let mut histograms = samples.histograms.iter().peekable();
        for at in 0..samples.len() {
            let histogram = histograms.next_if(|sample| sample.index == at);
            if !self.is_after(samples.timestamps[at]) {
                continue;
            }
            if counts.is_some() && self.samples.counts.is_none() {
                self.samples.counts = Some(vec![1.0; self.samples.values.len()]);
            }
            if let Some(all) = &mut self.samples.counts {
                all.push(counts.and_then(|counts| counts.get(at).copied()).unwrap_or(1.0));
            }
            self.push(samples.timestamps[at], samples.values[at], histogram);
        }
    }

    /// Sums and counts of floats; the means of histograms, which have no counts beside them here.
    fn add_sums(&mut self, chunk: &Downsampled) {
        if chunk.sum.histograms.is_empty() {
            let (sums, counts) = paired(chunk);
            self.add(&sums, Some(&counts));
        } else {
            self.add(&means(chunk), None);
        }
    }
}

/// The sums whose count is known, and the counts.
fn paired(chunk: &Downsampled) -> (Samples, Vec<f64>) {
    let (sum, count) = (&chunk.sum, &chunk.count);
    let mut counts = Vec::with_capacity(sum.len());
    let mut sums = Joined::default();
    let mut histograms = sum.histograms.iter().peekable();
    let mut next = 0;
    for at in 0..sum.len() {
        let time = sum.timestamps[at];
        let histogram = histograms.next_if(|sample| sample.index == at);
        while next < count.len() && count.timestamps[next] < time {
            next += 1;
        }
        if next < count.len() && count.timestamps[next] == time {
            counts.push(count.values[next]);
            sums.push(time, sum.values[at], histogram);
        }
    }
    (sums.samples, counts)
}

/// Sum by count.
fn means(chunk: &Downsampled) -> Samples {
    let (mut sums, counts) = paired(chunk);
    for (sum, count) in sums.values.iter_mut().zip(&counts) {
        *sum /= count;
    }
    for sample in &mut sums.histograms {
        let count = counts.get(sample.index).copied().unwrap_or(1.0);
        Arc::make_mut(&mut sample.histogram).divide(count);
    }
    sums
}

/// A counter from which resets are taken out (Thanos: `ApplyCounterResetsSeriesIterator` in pkg/compact/downsample).
#[derive(Default)]
struct Counter {
    /// The last value as it was scraped.
    last: Option<f64>,
    total: f64,
}

impl Counter {
    fn add(&mut self, samples: &Samples, joined: &mut Joined) {
        let mut histograms = samples.histograms.iter().peekable();
        let mut newest = None;
        for at in 0..samples.len() {
            let (time, value) = (samples.timestamps[at], samples.values[at]);
            if let Some(histogram) = histograms.next_if(|sample| sample.index == at) {
                if joined.is_after(time) {
                    joined.push(time, value, Some(histogram));
                }
                continue;
            }
            if value.is_nan() {
                continue;
            }
            if newest == Some(time) {
                // What was scraped last, at the end of a downsampled chunk.
                self.last = Some(value);
                continue;
            }
            if !joined.is_after(time) {
                continue;
            }
            self.total += match self.last {
                Some(last) if value >= last => value - last,
                Some(_) | None => value,
            };
            self.last = Some(value);
            newest = Some(time);
            joined.push(time, self.total, None);
        }
    }
}
