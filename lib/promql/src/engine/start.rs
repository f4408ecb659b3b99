//! Start timestamps: since when a sample counts, as far as its source says so (`use-start-timestamps`).
//!
//! They show counter resets that the values hide, and they give a counter's first sample a beginning at zero
//! (promql/functions.go).

use super::evaluate::{Done, Evaluator, Series, Sink};
use super::function::range::Samples;
use super::grid::Grid;
use super::plan::Select;
use super::row::Row;
use crate::storage::Samples as Stored;

/// Leaves no start timestamps that do not fit the samples or are not wanted.
pub(super) fn tidy(samples: &mut Stored, wanted: bool) {
    let len = samples.len();
    match &mut samples.start_timestamps {
        Some(starts) if wanted && starts.len() >= len => starts.truncate(len),
        starts => *starts = None,
    }
}

/// Whether a counter began anew between two samples, each its start and its time.
pub(super) fn restarts(before: (i64, i64), after: (i64, i64)) -> bool {
    let ((before_start, before), (start, time)) = (before, after);
    // 0 is unknown, as is the time of the sample itself; later would make no sense.
    if start == 0 || start >= time || start < before {
        return false;
    }
    if start > before {
        return true;
    }
    // Deltas follow each other without a gap. The first sample of a sum with an unknown start looks like that, too,
    // but says itself that its start is unknown.
    before_start != 0 && before_start < before
}

/// Indices of samples before which the counter started over.
pub(super) fn resets(samples: &Stored) -> Vec<usize> {
    let (times, values) = (&samples.timestamps, &samples.values);
    let falls = |at: &usize| values[*at] < values[*at - 1];
    match &samples.start_timestamps {
        // Looks at all of them, which takes no branches; most counters never start over.
        None if !values.windows(2).fold(false, |any, pair| any | (pair[1] < pair[0])) => Vec::new(),
        None => (1..values.len()).filter(falls).collect(),
        Some(starts) => {
            let begins =
                |at: usize| restarts((starts[at - 1], times[at - 1]), (starts[at], times[at]));
            (1..values.len()).filter(|at| falls(at) || begins(*at)).collect()
        }
    }
}

/// Whether the counter began anew before a sample of a window that is not its first.
pub(super) fn restarts_at(samples: &Samples<'_>, at: usize) -> bool {
    let (starts, times) = (samples.starts, samples.times);
    starts.len() > at && restarts((starts[at - 1], times[at - 1]), (starts[at], times[at]))
}

/// Whether a sample claims to count since before its predecessor was taken, and not since the same time.
pub(super) fn overlap(samples: &Samples<'_>) -> bool {
    let pairs = samples.starts.windows(2).zip(samples.times);
    pairs
        .into_iter()
        .any(|(starts, before)| starts[1] != 0 && starts[1] < *before && starts[1] != starts[0])
}

/// When the first sample of a window began, if that was within the window.
pub(super) fn began(samples: &Samples<'_>) -> Option<i64> {
    let (start, time) = (*samples.starts.first()?, *samples.times.first()?);
    (start != 0 && start > samples.start && start < time).then_some(start)
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds of a window fit a float")]
fn seconds(milliseconds: i64) -> f64 {
    milliseconds as f64 / 1000.0
}

/// What `rate` and `increase` multiply the change with when the counter began at zero within the window: nothing is
/// guessed at the start.
#[expect(clippy::cast_precision_loss, reason = "windows have fewer samples than 2^53")]
pub(super) fn factor(samples: &Samples<'_>, began: i64, per_second: bool) -> f64 {
    let (Some(first), Some(last)) = (samples.times.first(), samples.times.last()) else {
        return f64::NAN;
    };
    let gaps = samples.times.len() - 1;
    let gap = if gaps > 0 { seconds(last - first) / gaps as f64 } else { 0.0 };
    let mut to_end = seconds(samples.end - last);
    if to_end >= gap * 1.1 {
        to_end = gap / 2.0;
    }
    let sampled = seconds(last - began);
    let mut factor = (sampled + to_end) / sampled;
    if per_second {
        factor /= seconds(samples.end - samples.start);
    }
    factor
}

impl Evaluator<'_> {
    /// `start_timestamp(selector)`, in seconds. Nothing unless start timestamps are in use.
    pub(super) fn start_times(&self, select: &Select, grid: Grid, sink: &mut Sink<'_>) -> Done {
        if !self.use_start_timestamps {
            return Ok(());
        }
        let lookback = self.lookback();
        let mut row = Row::none(grid.len);
        self.distinct(select.has_one_name(), sink, &mut |sink| {
            self.each_series(select, lookback, grid, &mut |data| {
                row.clear();
                let samples = &data.samples;
                let starts = samples.start_timestamps.as_deref();
                let (mut next, mut used) = (0, 0);
                for step in 0..grid.len {
                    let end = select.looks_at(grid, step);
                    while next < samples.len() && samples.timestamps[next] <= end {
                        next += 1;
                    }
                    let Some(newest) = next.checked_sub(1) else { continue };
                    let is_live = !model::is_stale_marker(samples.values[newest]);
                    if samples.timestamps[newest] > end.saturating_sub(lookback) && is_live {
                        row.set(step, starts.map_or(0.0, |starts| seconds(starts[newest])));
                        used += 1;
                    }
                }
                if used == 0 {
                    return Ok(());
                }
                self.tally.add(used, || row.valid.iter().map(|step| (step, 1)));
                let series = Series { labels: data.labels, drop_name: false };
                sink(&self.renamed(&series), &mut row)
            })
        })
    }
}
