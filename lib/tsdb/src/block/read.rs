//! From chunks to samples: only those of a time range that are not deleted.

use std::ops::Range;

use crate::FormatError;
use crate::chunk::histogram::{FloatHistogram, HistogramSample};
use crate::chunk::{FloatDecoder, histogram_samples};
use crate::index::ChunkMeta;

use super::segment::ChunkRef;
use super::{Block, BlockError, BlockSeries, Interval};

/// Samples of one series. Floats lie in two columns of one length; histograms beside them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Samples {
    /// Milliseconds, ascending, distinct.
    pub timestamps: Vec<i64>,
    /// A value for each timestamp, stale markers among them.
    pub values: Vec<f64>,
    /// Ascending and distinct in time too.
    pub histograms: Vec<HistogramSample<FloatHistogram>>,
}

impl Samples {
    /// No samples, with the memory of those before.
    pub fn clear(&mut self) {
        self.timestamps.clear();
        self.values.clear();
        self.histograms.clear();
    }

    /// Samples of another source of the same series join in; of two at one time the one already here stays.
    pub(super) fn join(&mut self, other: Self) {
        let ours = self.timestamps.last().copied();
        if other.timestamps.first().is_none_or(|first| ours.is_none_or(|last| last < *first)) {
            self.timestamps.extend(other.timestamps);
            self.values.extend(other.values);
        } else {
            let pairs = |samples: &Self| -> Vec<(i64, f64)> {
                samples.timestamps.iter().copied().zip(samples.values.iter().copied()).collect()
            };
            let mut all = pairs(self);
            all.extend(pairs(&other));
            // Stable, so that the first one of a time stays.
            all.sort_by_key(|(timestamp, _)| *timestamp);
            all.dedup_by_key(|(timestamp, _)| *timestamp);
            (self.timestamps, self.values) = all.into_iter().unzip();
        }
        if !other.histograms.is_empty() {
            self.histograms.extend(other.histograms);
            self.histograms.sort_by_key(|sample| sample.timestamp);
            self.histograms.dedup_by_key(|sample| sample.timestamp);
        }
    }
}

impl Block {
    /// Appends the samples of a series that lie in the time range (both ends included) and are not deleted. Samples
    /// that do not come after the one before are passed over.
    pub fn read(
        &self,
        series: &BlockSeries,
        (min_time, max_time): (i64, i64),
        samples: &mut Samples,
    ) -> Result<(), BlockError> {
        let read = self.segments.for_each(&series.chunks, |meta, chunk| {
            append(samples, meta, chunk, (min_time, max_time), &series.deleted)
        });
        read.map_err(|failed| self.chunk_error(failed))
    }
}

fn append(
    samples: &mut Samples,
    meta: &ChunkMeta,
    chunk: ChunkRef<'_>,
    (min_time, max_time): (i64, i64),
    deleted: &[Interval],
) -> Result<(), FormatError> {
    let failed =
        |source| FormatError::Chunk { offset: meta.reference & u64::from(u32::MAX), source };
    let wanted = |timestamp: i64| {
        (min_time..=max_time).contains(&timestamp)
            && !deleted.iter().any(|gone| (gone.min_time..=gone.max_time).contains(&timestamp))
    };
    if chunk.encoding.is_histogram() {
        for sample in histogram_samples(chunk.encoding, chunk.payload).map_err(failed)? {
            let sample = sample.map_err(failed)?;
            let last = samples.histograms.last().map(|last| last.timestamp);
            if wanted(sample.timestamp) && last.is_none_or(|last| last < sample.timestamp) {
                samples.histograms.push(sample);
            }
        }
        return Ok(());
    }
    let mut decoder = FloatDecoder::new(chunk.encoding, chunk.payload).map_err(failed)?;
    let before = samples.timestamps.len();
    decoder.decode_into(&mut samples.timestamps, &mut samples.values).map_err(failed)?;
    let ascends = samples.timestamps[before.saturating_sub(1)..].is_sorted_by(|a, b| a < b);
    if ascends && deleted.is_empty() {
        let added = &samples.timestamps[before..];
        let from = before + added.partition_point(|timestamp| *timestamp < min_time);
        let to = before + added.partition_point(|timestamp| *timestamp <= max_time);
        keep_only(&mut samples.timestamps, before, from..to.max(from));
        keep_only(&mut samples.values, before, from..to.max(from));
        return Ok(());
    }
    let mut kept = before;
    for at in before..samples.timestamps.len() {
        let timestamp = samples.timestamps[at];
        if wanted(timestamp) && (kept == 0 || samples.timestamps[kept - 1] < timestamp) {
            samples.timestamps[kept] = timestamp;
            samples.values[kept] = samples.values[at];
            kept += 1;
        }
    }
    samples.timestamps.truncate(kept);
    samples.values.truncate(kept);
    Ok(())
}

/// Of what a column has after the first `before`, leaves a part.
fn keep_only<T>(column: &mut Vec<T>, before: usize, part: Range<usize>) {
    column.truncate(part.end);
    column.drain(before..part.start);
}
