//! Stored series to rows and windows: one series is read, reduced and dropped before the next one.

use std::sync::Arc;

use model::is_stale_marker;

use super::annotation::Note;
use super::collect::Rows;
use super::evaluate::{Done, Evaluator, Series, Sink};
use super::function::change::Change;
use super::function::range::Samples;
use super::function::sliding::Scratch;
use super::grid::Grid;
use super::histogram_windows::{drop_stale_histograms, forget_resets, histogram_at, keep_counts};
use super::memory::samples_bytes;
use super::newest::{self, Ends};
use super::plan::{Range, Select, Source, Window};
use super::row::Row;
use super::start;
use super::tally::Counting;
use crate::ast::Border;
use crate::budget::labels_bytes;
use crate::error::QueryError;
use crate::storage::{Samples as Stored, SelectRequest, SeriesData};

/// One series with long windows and many steps is work enough to look for a cancellation in between.
const CHECK_EVERY: u64 = 1 << 22;

/// What is asked of the newest sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Picked {
    /// Its number or histogram.
    Values,
    /// When it was taken, in seconds.
    Times,
    /// When a number was taken, in seconds; a histogram as it is.
    TimesOfNumbers,
}

/// The windows of one series.
pub(super) struct Windows<'a> {
    evaluator: &'a Evaluator<'a>,
    grid: Grid,
    pub samples: &'a Stored,
    range: i64,
    offset: i64,
    at: Option<i64>,
}

impl Select {
    /// Where in time the step looks.
    pub(super) fn looks_at(&self, grid: Grid, step: usize) -> i64 {
        self.at.unwrap_or_else(|| grid.time(step)).saturating_sub(self.offset)
    }

    /// What is asked of the storage for samples that reach back by `reach` from each step, and up to `ahead` after it.
    pub(super) fn request(&self, (reach, ahead): (i64, i64), grid: Grid) -> SelectRequest {
        SelectRequest {
            matchers: self.matchers.clone(),
            // Windows exclude their start.
            start: self.looks_at(grid, 0).saturating_sub(reach).saturating_add(1),
            end: self.looks_at(grid, grid.len - 1).saturating_add(ahead),
            hints: self.hints.clone(),
        }
    }

    /// The same where only the newest sample at each step counts.
    pub(super) fn newest_request(&self, lookback: i64, grid: Grid) -> SelectRequest {
        let mut request = self.request((lookback, 0), grid);
        request.hints.newest_at = Some(self.looks_at(grid, 0));
        request
    }
}

#[expect(clippy::cast_precision_loss, reason = "as in Go")]
fn seconds(milliseconds: i64) -> f64 {
    milliseconds as f64 / 1000.0
}

impl Evaluator<'_> {
    pub(super) fn lookback(&self) -> i64 {
        i64::try_from(self.options.lookback.as_millis()).unwrap_or(i64::MAX)
    }

    /// Reads the series of a selector whose samples reach back by `reach` from each step.
    pub(super) fn each_series(
        &self,
        select: &Select,
        reach: i64,
        grid: Grid,
        each: &mut dyn FnMut(SeriesData) -> Done,
    ) -> Done {
        self.each_series_around(select, (reach, 0), grid, each)
    }

    /// The same with samples up to `ahead` after each step.
    pub(super) fn each_series_around(
        &self,
        select: &Select,
        (reach, ahead): (i64, i64),
        grid: Grid,
        each: &mut dyn FnMut(SeriesData) -> Done,
    ) -> Done {
        self.each_requested(select, &select.request((reach, ahead), grid), each)
    }

    fn each_requested(
        &self,
        select: &Select,
        request: &SelectRequest,
        each: &mut dyn FnMut(SeriesData) -> Done,
    ) -> Done {
        let mut memory = self.reserve("samples of a series");
        let mut read = self.read(select, request)?;
        while let Some(mut series) = read.next()? {
            self.options.cancel.check()?;
            // At least for the largest series so far: one series follows another into the same place.
            memory.reach(labels_bytes(&series.labels) + samples_bytes(&series.samples))?;
            // A source that gives more times than values, or the reverse, must not make us panic.
            series.samples.timestamps.truncate(series.samples.len());
            series.samples.values.truncate(series.samples.len());
            start::tidy(&mut series.samples, self.use_start_timestamps);
            tidy_counts(&mut series.samples);
            self.count_series();
            let mut samples = series.samples.len();
            if !series.samples.histograms.is_empty() {
                let len = samples;
                series.samples.histograms.retain(|sample| sample.index < len);
                if select.skip_buckets {
                    keep_counts(&mut series.samples);
                }
                let weights = series.samples.histograms.iter().map(|h| h.histogram.weight());
                samples += weights.sum::<usize>();
            }
            self.hold(samples)?;
            read.hand_over(series, each)?;
            self.release(samples);
        }
        for warning in read.set.warnings() {
            self.note(Note::Storage(warning), None);
        }
        Ok(())
    }

    /// Picks the newest sample of each series that is not too old, or what is asked of it.
    pub(super) fn select(
        &self,
        select: &Select,
        grid: Grid,
        picked: Picked,
        sink: &mut Sink<'_>,
    ) -> Done {
        let lookback = self.lookback();
        let mut row = Row::none(grid.len);
        self.each_requested(select, &select.newest_request(lookback, grid), &mut |data| {
            row.clear();
            let samples = &data.samples;
            if picked == Picked::Values && samples.histograms.is_empty() {
                let ends = Ends::of(select, grid);
                let used = newest::pick(samples, ends, lookback, &mut row);
                if used == 0 {
                    return Ok(());
                }
                self.tally.add(used, || row.valid.iter().map(|step| (step, 1)));
                return sink(&Series { labels: data.labels, drop_name: false }, &mut row);
            }
            let (mut next, mut used) = (0, 0);
            for step in 0..grid.len {
                let end = select.looks_at(grid, step);
                while next < samples.len() && samples.timestamps[next] <= end {
                    next += 1;
                }
                let Some(newest) = next.checked_sub(1) else { continue };
                let (time, value) = (samples.timestamps[newest], samples.values[newest]);
                if time > end.saturating_sub(lookback) && !is_stale_marker(value) {
                    let histogram = histogram_at(samples, newest);
                    if histogram.is_some_and(|histogram| histogram.is_stale()) {
                        continue;
                    }
                    match histogram {
                        Some(histogram) if picked != Picked::Times => {
                            row.set_histogram(step, Arc::clone(histogram));
                        }
                        _ if picked == Picked::Values => row.set(step, value),
                        _ => row.set(step, seconds(time)),
                    }
                    used += 1;
                }
            }
            if used == 0 {
                return Ok(());
            }
            self.tally.add(used, || row.valid.iter().map(|step| (step, 1)));
            sink(&Series { labels: data.labels, drop_name: false }, &mut row)
        })
    }

    /// Hands over the windows of each series that has a sample in any.
    pub(super) fn windows(
        &self,
        window: &Window,
        grid: Grid,
        each: &mut dyn FnMut(&Series, &Windows<'_>) -> Done,
    ) -> Done {
        let range = window.range;
        match &window.source {
            Source::Series(select) if select.border != Border::Plain => {
                // Only as the answer of an instant query; it has a sample at the start, too.
                let (range, offset, at) = (range.saturating_add(1), select.offset, select.at);
                self.extended(select, window.range, grid, &mut |series, samples| {
                    let samples = &samples;
                    each(series, &Windows { evaluator: self, grid, samples, range, offset, at })
                })
            }
            Source::Series(select) => self.each_series(select, range, grid, &mut |mut data| {
                drop_stale(&mut data.samples);
                let samples = &data.samples;
                let (offset, at) = (select.offset, select.at);
                let series = Series { labels: data.labels, drop_name: false };
                each(&series, &Windows { evaluator: self, grid, samples, range, offset, at })
            }),
            Source::Subquery { input, step, offset, at } => {
                let (offset, at) = (*offset, *at);
                let inner = subquery_grid(grid, range, *step, offset, at);
                self.hold(inner.len)?;
                let _memory = self.reserved("samples of a subquery", 16 * inner.len)?;
                let mut samples = Stored::default();
                let mut with_row = |series: &Series, row: &mut Row| {
                    row.write_samples(inner, &mut samples);
                    forget_resets(&mut samples);
                    let samples = &samples;
                    each(series, &Windows { evaluator: self, grid, samples, range, offset, at })
                };
                self.counting(Counting::Off, |outside| {
                    let mut sink =
                        |series: &Series, row: &mut Row| outside(&mut || with_row(series, row));
                    if input.may_repeat_labels() {
                        Rows::collect(self, input, inner)?.push(self, &mut sink)
                    } else {
                        self.vector(input, inner, &mut sink)
                    }
                })?;
                self.release(inner.len);
                Ok(())
            }
        }
    }

    /// A function over the windows of each series.
    pub(super) fn range_function(&self, range: &Range, grid: Grid, sink: &mut Sink<'_>) -> Done {
        let function = range.function;
        let mut columns = Vec::new();
        for (scalar, span) in &range.parameters {
            columns.push((self.scalar(scalar, grid)?, *span));
        }
        let parameters = |step: usize| {
            let nth = |n: usize| columns.get(n).map_or(0.0, |(column, _)| column[step]);
            [nth(0), nth(1)]
        };
        let mut row = Row::none(grid.len);
        let mut scratch = Scratch::default();
        let certain = function.keeps_name || range.window.has_one_name();
        self.distinct(certain, sink, &mut |sink| {
            self.windows(&range.window, grid, &mut |series, windows| {
                row.clear();
                scratch.forget();
                if !windows.samples.histograms.is_empty() {
                    return self.mixed_range(range, series, windows, &parameters, &mut row, sink);
                }
                let plain = windows.samples.start_timestamps.is_none();
                if let Some(change) = function.change.filter(|_| plain) {
                    windows.fill(change, &mut row);
                } else {
                    windows.for_each(function.needs_resets, |step, samples| {
                        let parameters =
                            if columns.is_empty() { [0.0; 2] } else { parameters(step) };
                        if !columns.is_empty() {
                            (function.check)(parameters).map_err(QueryError::Execution)?;
                        }
                        if function.wants_quantile && !(0.0..=1.0).contains(&parameters[0]) {
                            let span = columns.first().map(|(_, span)| *span);
                            self.note(Note::InvalidQuantile(parameters[0]), span);
                        }
                        if function.wants_counter
                            && !samples.starts.is_empty()
                            && start::overlap(samples)
                        {
                            let name = series.labels.metric_name().to_owned();
                            self.note(Note::StartTimeOverlap(name, 1), Some(range.window.span));
                        }
                        if let Some(result) = (function.kernel)(samples, parameters, &mut scratch) {
                            row.set(step, result);
                        }
                        Ok(())
                    })?;
                }
                if row.valid.is_empty() {
                    return Ok(());
                }
                if function.wants_counter && looks_like_no_counter(series.labels.metric_name()) {
                    let name = series.labels.metric_name().to_owned();
                    self.note(Note::PossibleNonCounter(name), Some(range.window.span));
                }
                if function.keeps_name {
                    return sink(series, &mut row);
                }
                sink(&self.renamed(series), &mut row)
            })
        })
    }
}

impl Windows<'_> {
    /// Calls with each step whose window has a sample. `resets`: whether to look for counter resets.
    pub fn for_each(
        &self,
        resets: bool,
        mut each: impl FnMut(usize, &Samples<'_>) -> Done,
    ) -> Done {
        let (times, values) = (&self.samples.timestamps[..], &self.samples.values[..]);
        let resets = if resets { start::resets(self.samples) } else { Vec::new() };
        let starts = self.samples.start_timestamps.as_deref().unwrap_or_default();
        let counts = self.samples.counts.as_deref().unwrap_or_default();
        let (mut low, mut high, mut used) = (0, 0, 0);
        let (mut reset_low, mut reset_high) = (0, 0);
        for step in 0..self.grid.len {
            let evaluation = self.grid.time(step);
            let end = self.at.unwrap_or(evaluation).saturating_sub(self.offset);
            let start = end.saturating_sub(self.range);
            while high < times.len() && times[high] <= end {
                high += 1;
            }
            while low < high && times[low] <= start {
                low += 1;
            }
            if low == high {
                continue;
            }
            // A reset counts when the sample before it is in the window, too.
            while reset_low < resets.len() && resets[reset_low] <= low {
                reset_low += 1;
            }
            reset_high = reset_high.max(reset_low);
            while reset_high < resets.len() && resets[reset_high] < high {
                reset_high += 1;
            }
            let before = used;
            used += (high - low) as u64;
            if before / CHECK_EVERY != used / CHECK_EVERY {
                self.evaluator.options.cancel.check()?;
            }
            let samples = Samples {
                times: &times[low..high],
                values: &values[low..high],
                starts: starts.get(low..high).unwrap_or_default(),
                counts: counts.get(low..high).unwrap_or_default(),
                resets: &resets[reset_low..reset_high],
                base: low,
                start,
                end,
                evaluation,
            };
            each(step, &samples)?;
        }
        self.evaluator.tally.add(used, || self.lengths());
        Ok(())
    }

    /// The changes of all windows, of a series without start timestamps.
    fn fill(&self, change: Change, row: &mut Row) {
        let stride = if self.at.is_some() { 0 } else { self.grid.step };
        let first = self.at.unwrap_or(self.grid.start).saturating_sub(self.offset);
        let used = change.fill(self.samples, Ends::new(first, stride), self.range, row);
        self.evaluator.tally.add(used, || self.lengths());
    }

    /// How many samples the window of each step has.
    fn lengths(&self) -> impl Iterator<Item = (usize, u64)> + '_ {
        let times = &self.samples.timestamps;
        (0..self.grid.len).map(move |step| {
            let end = self.at.unwrap_or_else(|| self.grid.time(step)).saturating_sub(self.offset);
            let start = end.saturating_sub(self.range);
            let until = |limit: i64| times.partition_point(|time| *time <= limit);
            (step, until(end).saturating_sub(until(start)) as u64)
        })
    }

    /// The samples of the window of the first step.
    pub fn first(&self) -> Stored {
        let mut found = Stored::default();
        let grid = Grid { len: 1, ..self.grid };
        let first = Windows { grid, ..*self };
        let copied = first.for_each(false, |_, samples| {
            found.timestamps = samples.times.to_vec();
            found.values = samples.values.to_vec();
            found.start_timestamps =
                Some(samples.starts.to_vec()).filter(|starts| !starts.is_empty());
            found.histograms = self.histograms(samples).to_vec();
            for sample in &mut found.histograms {
                sample.index -= samples.base;
            }
            Ok(())
        });
        debug_assert!(copied.is_ok(), "copying samples does not fail");
        found
    }
}

/// Leaves no counts that do not fit the samples.
fn tidy_counts(samples: &mut Stored) {
    let len = samples.len();
    match &mut samples.counts {
        Some(counts) if counts.len() >= len => counts.truncate(len),
        counts => *counts = None,
    }
}

/// Leaves live samples only.
pub(super) fn drop_stale(samples: &mut Stored) {
    if !samples.histograms.is_empty() {
        drop_stale_histograms(samples);
        return;
    }
    // Looks at all of them, which takes no branches.
    if !samples.values.iter().fold(false, |any, value| any | is_stale_marker(*value)) {
        return;
    }
    let (times, values) = (&mut samples.timestamps, &mut samples.values);
    let mut kept = 0;
    for at in 0..values.len().min(times.len()) {
        if !is_stale_marker(values[at]) {
            times[kept] = times[at];
            values[kept] = values[at];
            if let Some(starts) = &mut samples.start_timestamps {
                starts[kept] = starts[at];
            }
            if let Some(counts) = &mut samples.counts {
                counts[kept] = counts[at];
            }
            kept += 1;
        }
    }
    times.truncate(kept);
    values.truncate(kept);
    if let Some(starts) = &mut samples.start_timestamps {
        starts.truncate(kept);
    }
    if let Some(counts) = &mut samples.counts {
        counts.truncate(kept);
    }
}

/// The times at which a subquery's inside is evaluated: multiples of its step that any window can see.
pub(super) fn subquery_grid(
    grid: Grid,
    range: i64,
    step: i64,
    offset: i64,
    at: Option<i64>,
) -> Grid {
    let first = at.unwrap_or(grid.start).saturating_sub(offset).saturating_sub(range);
    let last = at.unwrap_or_else(|| grid.last()).saturating_sub(offset);
    // Division truncates towards zero, so a negative start may need the same step on.
    let mut start = step * (first / step);
    if start <= first {
        start = start.saturating_add(step);
    }
    Grid::range(start, last, step)
}

pub(super) fn looks_like_no_counter(name: &str) -> bool {
    !name.is_empty()
        && !["_total", "_sum", "_count", "_bucket"].iter().any(|end| name.ends_with(end))
}
