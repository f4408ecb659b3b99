//! Chunks to columns.

use std::sync::Arc;

use model::histogram::CounterResetHint;
use model::stale_marker;
use promql::storage::{Aggregate, Downsampled, HistogramSample, Piece, Samples};
use proto::thanos;
use tsdb::chunk::{ChunkError, Encoding};

/// Decodes the part of a chunk from one time to another. Samples that are not after the last one are passed over.
pub(super) fn append(
    samples: &mut Samples,
    chunk: &thanos::AggrChunk,
    from: i64,
    to: i64,
) -> Result<(), String> {
    let Some(raw) = &chunk.raw else {
        return Err("a chunk has no raw samples".to_owned());
    };
    let encoding = encoding(raw)?;
    let least = samples.timestamps.last().map_or(from, |last| last.saturating_add(1).max(from));
    let is_whole = chunk.min_time >= from && chunk.max_time <= to;
    let appended = if encoding.is_histogram() {
        append_histograms(samples, encoding, &raw.data, (least, to))
    } else {
        append_floats(samples, encoding, &raw.data, (least, to), is_whole)
    };
    appended.map_err(|error| error.to_string())
}

/// StoreAPI counts encodings from one less than the format does.
fn encoding(chunk: &thanos::Chunk) -> Result<Encoding, String> {
    let encoding =
        u8::try_from(chunk.r#type).ok().and_then(|n| Encoding::from_disk(n.checked_add(1)?));
    encoding.ok_or_else(|| format!("chunk encoding {} is unknown", chunk.r#type))
}

/// Decodes a chunk as a whole: its raw samples, or of a downsampled one the columns that an aggregate is made of.
pub(super) fn piece(chunk: &thanos::AggrChunk, wanted: Aggregate) -> Result<Piece, String> {
    if let Some(raw) = &chunk.raw {
        return Ok(Piece::Raw(column(Some(raw))?));
    }
    let mut columns = Downsampled::default();
    match wanted {
        Aggregate::Average | Aggregate::SumAndCount => {
            columns.count = column(chunk.count.as_ref())?;
            columns.sum = column(chunk.sum.as_ref())?;
        }
        Aggregate::Count => columns.count = column(chunk.count.as_ref())?,
        Aggregate::Sum => columns.sum = column(chunk.sum.as_ref())?,
        Aggregate::Min => columns.min = column(chunk.min.as_ref())?,
        Aggregate::Max => columns.max = column(chunk.max.as_ref())?,
        Aggregate::Counter => columns.counter = column(chunk.counter.as_ref())?,
    }
    Ok(Piece::Downsampled(Box::new(columns)))
}

/// All samples of a chunk, a last one with the time of the one before included: a counter's column ends with it.
fn column(chunk: Option<&thanos::Chunk>) -> Result<Samples, String> {
    let missing = || "a downsampled chunk lacks the column that was asked for".to_owned();
    let chunk = chunk.ok_or_else(missing)?;
    let encoding = encoding(chunk)?;
    let mut samples = Samples::default();
    let decoded = if encoding.is_histogram() {
        append_histograms(&mut samples, encoding, &chunk.data, (i64::MIN, i64::MAX))
    } else {
        append_all_floats(&mut samples, encoding, &chunk.data)
    };
    decoded.map(|()| samples).map_err(|error| error.to_string())
}

fn append_all_floats(
    samples: &mut Samples,
    encoding: Encoding,
    payload: &[u8],
) -> Result<(), ChunkError> {
    let mut decoder = tsdb::chunk::float_samples(encoding, payload)?;
    while let Some(sample) = decoder.next_sample()? {
        samples.timestamps.push(sample.timestamp);
        samples.values.push(sample.value);
    }
    Ok(())
}

fn append_floats(
    samples: &mut Samples,
    encoding: Encoding,
    payload: &[u8],
    (mut least, to): (i64, i64),
    is_whole: bool,
) -> Result<(), ChunkError> {
    let mut decoder = tsdb::chunk::float_samples(encoding, payload)?;
    if is_whole {
        samples.timestamps.reserve(decoder.remaining());
        samples.values.reserve(decoder.remaining());
    }
    while let Some(sample) = decoder.next_sample()? {
        if sample.timestamp > to {
            break;
        }
        if sample.timestamp >= least {
            least = sample.timestamp.saturating_add(1);
            samples.timestamps.push(sample.timestamp);
            samples.values.push(sample.value);
        }
    }
    Ok(())
}

/// A histogram that ends the series becomes a stale marker like that of a float: the two mean the same to PromQL, and
/// deduplication has to know one kind only.
fn append_histograms(
    samples: &mut Samples,
    encoding: Encoding,
    payload: &[u8],
    (mut least, to): (i64, i64),
) -> Result<(), ChunkError> {
    let mut decoder = tsdb::chunk::histogram_samples(encoding, payload)?;
    let mut passed_over = false;
    while let Some(sample) = decoder.next_sample()? {
        if sample.timestamp > to {
            break;
        }
        if sample.timestamp < least {
            passed_over = true;
            continue;
        }
        least = sample.timestamp.saturating_add(1);
        let mut histogram = sample.histogram;
        if histogram.is_stale() {
            samples.timestamps.push(sample.timestamp);
            samples.values.push(stale_marker());
            continue;
        }
        // The hint is about a sample that is not there.
        if passed_over && histogram.counter_reset_hint != CounterResetHint::Gauge {
            histogram.counter_reset_hint = CounterResetHint::Unknown;
        }
        passed_over = false;
        let index = samples.timestamps.len();
        samples.timestamps.push(sample.timestamp);
        samples.values.push(0.0);
        samples.histograms.push(HistogramSample { index, histogram: Arc::new(histogram) });
    }
    Ok(())
}

/// Only what lies in a time range.
pub(super) fn cut(mut samples: Samples, start: i64, end: i64) -> Samples {
    let to = samples.timestamps.partition_point(|t| *t <= end);
    samples.timestamps.truncate(to);
    samples.values.truncate(to);
    if let Some(counts) = &mut samples.counts {
        counts.truncate(to);
    }
    samples.histograms.retain(|h| h.index < to);
    let from = samples.timestamps.partition_point(|t| *t < start);
    if from > 0 {
        samples.timestamps.drain(..from);
        samples.values.drain(..from);
        if let Some(counts) = &mut samples.counts {
            counts.drain(..from.min(counts.len()));
        }
        samples.histograms.retain_mut(|h| match h.index.checked_sub(from) {
            Some(index) => {
                h.index = index;
                true
            }
            None => false,
        });
    }
    samples
}

#[cfg(test)]
mod tests {
    use tsdb::chunk::histogram::{FloatEncoder, FloatHistogram, stale_histogram};

    use super::*;

    fn chunk(first: i64) -> thanos::AggrChunk {
        let mut encoder = FloatEncoder::new(CounterResetHint::Unknown, false);
        for i in 0..3 {
            let histogram = FloatHistogram { count: i as f64, sum: 1.0, ..Default::default() };
            encoder.append(0, first + i, &histogram).unwrap();
        }
        encoder.append(0, first + 3, &stale_histogram()).unwrap();
        let raw = thanos::Chunk { r#type: 2, data: encoder.finish().into(), hash: 0 };
        thanos::AggrChunk {
            min_time: first,
            max_time: first + 3,
            raw: Some(raw),
            ..thanos::AggrChunk::default()
        }
    }

    fn counts(samples: &Samples) -> Vec<(usize, f64)> {
        samples.histograms.iter().map(|h| (h.index, h.histogram.count)).collect()
    }

    #[test]
    fn histograms_lie_beside_the_floats_and_a_stale_one_is_a_stale_marker() {
        let mut samples = Samples { timestamps: vec![10], values: vec![5.0], ..Samples::default() };
        append(&mut samples, &chunk(10), 0, 100).unwrap();
        assert_eq!(samples.timestamps, [10, 11, 12, 13]);
        assert_eq!(counts(&samples), [(1, 1.0), (2, 2.0)]);
        assert!(model::is_stale_marker(samples.values[3]));
        // The first one was passed over.
        assert_eq!(samples.histograms[0].histogram.counter_reset_hint, CounterResetHint::Unknown);
        let second = &samples.histograms[1].histogram;
        assert_eq!(second.counter_reset_hint, CounterResetHint::NotCounterReset);
    }

    #[test]
    fn a_cut_keeps_histograms_at_their_times() {
        let mut samples = Samples::default();
        append(&mut samples, &chunk(10), 0, 100).unwrap();
        let samples = cut(samples, 11, 12);
        assert_eq!(samples.timestamps, [11, 12]);
        assert_eq!(counts(&samples), [(0, 1.0), (1, 2.0)]);
    }

    #[test]
    fn an_encoding_out_of_range_is_an_error() {
        for number in [-1, 6, 255, 256] {
            let mut chunk = chunk(0);
            chunk.raw.as_mut().unwrap().r#type = number;
            let error = append(&mut Samples::default(), &chunk, 0, 100).unwrap_err();
            assert_eq!(error, format!("chunk encoding {number} is unknown"));
        }
    }
}
