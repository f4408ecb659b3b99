//! `anchored` and `smoothed`: ranges that look beyond their borders for the values there (promql/engine.go,
//! `extendedRate` in promql/functions.go).
//!
//! An anchored range begins with the last sample at or before its start. A smoothed one takes the values at both
//! borders from the straight line between the samples around them.

mod histogram;

use std::sync::Arc;

use self::histogram::Histograms;
use super::annotation::Note;
use super::evaluate::{Done, Evaluator, Series, Sink};
use super::function::histogram_range::{MixedWindow, Outcome};
use super::function::range::Samples;
use super::grid::Grid;
use super::plan::{Range, Select, Source, Window};
use super::row::Row;
use super::select::{drop_stale, looks_like_no_counter};
use crate::ast::Border;
use crate::error::QueryError;
use crate::storage::{HistogramSample, Samples as Stored};

/// Samples of one series around a range.
#[derive(Clone, Copy)]
struct Around<'a> {
    times: &'a [i64],
    values: &'a [f64],
    start: i64,
    end: i64,
    smoothed: bool,
}

/// The borders of a range.
struct Ends {
    start: i64,
    end: i64,
    smoothed: bool,
}

impl Ends {
    /// The first and last sample that matter.
    fn indices(&self, times: &[i64]) -> Option<(usize, usize)> {
        let mut last = times.len().checked_sub(1)?;
        let first = times[..last].partition_point(|t| *t <= self.start).saturating_sub(1);
        if self.smoothed {
            last = times[..last].partition_point(|t| *t < self.end);
        }
        let outside = times[last] <= self.start || (self.smoothed && times[first] > self.end);
        (!outside).then_some((first, last))
    }
}

/// The first and last sample that matter, and the values at the borders.
struct Edges {
    first: usize,
    last: usize,
    left: f64,
    right: f64,
}

/// What may be asked of such a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Question {
    Rate,
    Increase,
    Delta,
    Changes,
    Resets,
}

const ANCHORED: &str = "changes, delta, increase, rate, resets";
const SMOOTHED: &str = "delta, increase, rate";

fn question(border: Border, function: &str) -> Result<Question, QueryError> {
    let anchored = border == Border::Anchored;
    Ok(match function {
        "rate" => Question::Rate,
        "increase" => Question::Increase,
        "delta" => Question::Delta,
        "changes" if anchored => Question::Changes,
        "resets" if anchored => Question::Resets,
        _ => {
            let (word, allowed) =
                if anchored { ("anchored", ANCHORED) } else { ("smoothed", SMOOTHED) };
            return Err(QueryError::Execution(format!(
                "{word} modifier can only be used with: {allowed} - not with {function}"
            )));
        }
    })
}

impl Border {
    /// How far before and behind a range samples are looked for.
    pub(super) fn margins(self, lookback: i64) -> (i64, i64) {
        match self {
            Self::Plain => (0, 0),
            Self::Anchored => (lookback, 0),
            Self::Smoothed => (lookback, lookback),
        }
    }
}

impl Window {
    /// How its borders are taken; of a subquery they are plain.
    pub(super) fn border(&self) -> Border {
        match &self.source {
            Source::Series(select) => select.border,
            Source::Subquery { .. } => Border::Plain,
        }
    }

    /// Refuses functions that make no sense of a modifier.
    pub(super) fn allow(&self, function: &str) -> Done {
        match self.border() {
            Border::Plain => Ok(()),
            border => question(border, function).map(drop),
        }
    }
}

/// The part of a series that steps see, a step at a time.
struct Scan<'a> {
    samples: &'a Stored,
    low: usize,
    high: usize,
}

impl<'a> Scan<'a> {
    fn new(samples: &'a Stored) -> Self {
        Self { samples, low: 0, high: 0 }
    }

    /// Samples after `from` and up to `to`, neither of which ever falls.
    fn between(&mut self, from: i64, to: i64) -> (&'a [i64], &'a [f64]) {
        let times = &self.samples.timestamps;
        while self.high < times.len() && times[self.high] <= to {
            self.high += 1;
        }
        while self.low < self.high && times[self.low] <= from {
            self.low += 1;
        }
        (&times[self.low..self.high], &self.samples.values[self.low..self.high])
    }

    /// The histograms of the last part asked for.
    fn histograms(&self) -> &'a [HistogramSample] {
        let all = &self.samples.histograms;
        let first = all.partition_point(|sample| sample.index < self.low);
        let after = all.partition_point(|sample| sample.index < self.high);
        &all[first..after]
    }

    /// The last part asked for, as a window.
    fn window(&self, (start, end): (i64, i64)) -> Samples<'a> {
        Samples {
            times: &self.samples.timestamps[self.low..self.high],
            values: &self.samples.values[self.low..self.high],
            starts: &[],
            counts: &[],
            resets: &[],
            base: self.low,
            start,
            end,
            evaluation: end,
        }
    }
}

/// The answer of one step that sees histograms.
#[expect(clippy::cast_precision_loss, reason = "milliseconds of a window fit a float")]
fn with_histograms(
    window: &MixedWindow<'_>,
    question: Question,
    ends: &Ends,
    (row, step): (&mut Row, usize),
    tell: &mut dyn FnMut(Note),
) {
    let MixedWindow { samples, histograms, metric } = *window;
    if let Question::Changes | Question::Resets = question {
        let after = samples.times.partition_point(|t| *t <= ends.start);
        if after >= samples.times.len() {
            return;
        }
        let from = after.saturating_sub(1);
        let (times, values) = (&samples.times[from..], &samples.values[from..]);
        let samples = Samples { times, values, base: samples.base + from, ..*samples };
        let name = if question == Question::Resets { "resets" } else { "changes" };
        let window = MixedWindow { samples: &samples, histograms, metric };
        if let Outcome::Number(number) = window.evaluate(name, tell) {
            row.set(step, number);
        }
        return;
    }
    if histograms.len() != samples.times.len() {
        tell(Note::MixedFloatsHistograms(metric.to_owned()));
        return;
    }
    let around = Histograms { times: samples.times, histograms, metric };
    let counter = question != Question::Delta;
    let Some(mut change) = around.change(ends, counter, tell) else { return };
    if question == Question::Rate {
        change.divide((ends.end - ends.start) as f64 / 1000.0);
    }
    change.compact();
    row.set_histogram(step, Arc::new(change));
}

impl Evaluator<'_> {
    /// How far beyond the start and the end samples are looked for.
    fn margins(&self, border: Border) -> (i64, i64) {
        border.margins(self.lookback())
    }

    /// Hands over the live samples of each series from `reach` before each step up to `ahead` after it.
    fn around(
        &self,
        select: &Select,
        (reach, ahead): (i64, i64),
        grid: Grid,
        each: &mut dyn FnMut(Series, &Stored) -> Done,
    ) -> Done {
        self.each_series_around(select, (reach, ahead), grid, &mut |mut data| {
            drop_stale(&mut data.samples);
            each(Series { labels: data.labels, drop_name: false }, &data.samples)
        })
    }

    /// `rate(x[5m] anchored)` and its kind.
    pub(super) fn bordered(&self, range: &Range, grid: Grid, sink: &mut Sink<'_>) -> Done {
        let Source::Series(select) = &range.window.source else { return Ok(()) };
        let question = question(select.border, range.function.name)?;
        let (before, after) = self.margins(select.border);
        let reach = range.window.range.saturating_add(before);
        let mut row = Row::none(grid.len);
        let mut seen: Vec<(usize, u64)> = Vec::new();
        self.distinct(range.window.has_one_name(), sink, &mut |sink| {
            self.around(select, (reach, after), grid, &mut |series, samples| {
                row.clear();
                seen.clear();
                let (mut scan, mut used) = (Scan::new(samples), 0);
                let metric = series.labels.metric_name();
                let mut any_number = false;
                let mut tell = |note: Note| self.note(note, Some(range.window.span));
                for step in 0..grid.len {
                    let end = select.looks_at(grid, step);
                    let start = end.saturating_sub(range.window.range);
                    let (times, values) =
                        scan.between(start.saturating_sub(before), end.saturating_add(after));
                    used += times.len() as u64;
                    seen.push((step, times.len() as u64));
                    let smoothed = select.border == Border::Smoothed;
                    let histograms = scan.histograms();
                    if !histograms.is_empty() {
                        let samples = scan.window((start, end));
                        let window = MixedWindow { samples: &samples, histograms, metric };
                        let ends = Ends { start, end, smoothed };
                        with_histograms(&window, question, &ends, (&mut row, step), &mut tell);
                        continue;
                    }
                    let around = Around { times, values, start, end, smoothed };
                    if let Some(value) = around.answer(question) {
                        row.set(step, value);
                        any_number = true;
                    }
                }
                self.tally.add(used, || seen.iter().copied());
                if row.valid.is_empty() {
                    return Ok(());
                }
                if any_number && range.function.wants_counter && looks_like_no_counter(metric) {
                    tell(Note::PossibleNonCounter(metric.to_owned()));
                }
                sink(&self.renamed(&series), &mut row)
            })
        })
    }

    /// A smoothed instant selector: the line between the samples around each step.
    pub(super) fn smooth(&self, select: &Select, grid: Grid, sink: &mut Sink<'_>) -> Done {
        let margin = self.lookback();
        let mut row = Row::none(grid.len);
        self.around(select, (margin, margin), grid, &mut |series, samples| {
            row.clear();
            let mut scan = Scan::new(samples);
            for step in 0..grid.len {
                let time = select.looks_at(grid, step);
                let (times, values) =
                    scan.between(time.saturating_sub(margin), time.saturating_add(margin));
                let histograms = scan.histograms();
                if !histograms.is_empty() {
                    let metric = series.labels.metric_name();
                    let mut tell = |note: Note| self.note(note, select.span);
                    if histograms.len() != times.len() {
                        tell(Note::MixedFloatsHistograms(metric.to_owned()));
                        continue;
                    }
                    let around = Histograms { times, histograms, metric };
                    if let Some(histogram) = around.smooth(time, &mut tell) {
                        row.set_histogram(step, Arc::new(histogram));
                    }
                    continue;
                }
                let next = times.partition_point(|t| *t < time);
                let value = if times.get(next) == Some(&time) {
                    values[next]
                } else if next == 0 {
                    continue;
                } else if next < times.len() {
                    between((times, values), next, time, false)
                } else {
                    values[next - 1]
                };
                row.set(step, value);
            }
            if row.valid.is_empty() {
                return Ok(());
            }
            self.tally.add(row.valid.count() as u64, || row.valid.iter().map(|step| (step, 1)));
            sink(&series, &mut row)
        })
    }

    /// The samples of a bordered range at one time, with one at each border.
    pub(super) fn extended(
        &self,
        select: &Select,
        range: i64,
        grid: Grid,
        each: &mut dyn FnMut(&Series, Stored) -> Done,
    ) -> Done {
        let (before, after) = self.margins(select.border);
        let reach = range.saturating_add(before);
        self.around(select, (reach, after), grid, &mut |series, samples| {
            let end = select.looks_at(grid, 0);
            let start = end.saturating_sub(range);
            let smoothed = select.border == Border::Smoothed;
            if !samples.histograms.is_empty() {
                let word = if smoothed { "smoothed" } else { "anchored" };
                return Err(QueryError::Execution(format!(
                    "{word} modifier is not supported with histograms"
                )));
            }
            let (times, values) = (&samples.timestamps[..], &samples.values[..]);
            match (Around { times, values, start, end, smoothed }).extended() {
                Some(samples) => each(&series, samples),
                None => Ok(()),
            }
        })
    }
}

/// The value at a time on the line from the sample before `next` to it. A counter that starts over does so at zero.
#[expect(clippy::cast_precision_loss, reason = "as in Go")]
fn between((times, values): (&[i64], &[f64]), next: usize, time: i64, counter: bool) -> f64 {
    let (mut from, to) = (values[next - 1], values[next]);
    if counter && to < from {
        from = 0.0;
    }
    let (before, after) = (times[next - 1], times[next]);
    from + (to - from) * (time - before) as f64 / (after - before) as f64
}

impl Around<'_> {
    fn edges(&self, counter: bool) -> Option<Edges> {
        let ends = Ends { start: self.start, end: self.end, smoothed: self.smoothed };
        let (first, last) = ends.indices(self.times)?;
        let line = (self.times, self.values);
        let left = match self.smoothed && self.times[first] < self.start {
            true => between(line, first + 1, self.start, counter),
            false => self.values[first],
        };
        let right = match self.smoothed && last > 0 && self.times[last] > self.end {
            true => between(line, last, self.end, counter),
            false => self.values[last],
        };
        Some(Edges { first, last, left, right })
    }

    /// Indices of the samples strictly within the borders.
    fn inner(&self, edges: &Edges) -> std::ops::Range<usize> {
        let from = edges.first + usize::from(self.times[edges.first] <= self.start);
        let to = edges.last + usize::from(self.times[edges.last] < self.end);
        from..to.max(from)
    }

    #[expect(clippy::cast_precision_loss, reason = "windows have fewer samples than 2^53")]
    fn answer(&self, question: Question) -> Option<f64> {
        let counter = matches!(question, Question::Rate | Question::Increase);
        match question {
            Question::Changes => {
                let changed = |a: f64, b: f64| a != b && !(a.is_nan() && b.is_nan());
                Some(self.pairs()?.filter(|(a, b)| changed(*a, *b)).count() as f64)
            }
            Question::Resets => Some(self.pairs()?.filter(|(a, b)| b < a).count() as f64),
            Question::Rate | Question::Increase | Question::Delta => {
                let edges = self.edges(counter)?;
                let mut change = edges.right - edges.left;
                if counter {
                    let inner = self.values[self.inner(&edges)].iter().copied();
                    let mut before = edges.left;
                    for value in inner.chain([edges.right]) {
                        if value < before {
                            change += before;
                        }
                        before = value;
                    }
                }
                if question == Question::Rate {
                    change /= (self.end - self.start) as f64 / 1000.0;
                }
                Some(change)
            }
        }
    }

    /// Neighbours from the last sample at or before the start on.
    fn pairs(&self) -> Option<impl Iterator<Item = (f64, f64)>> {
        let after = self.times.partition_point(|t| *t <= self.start);
        if after >= self.times.len() {
            return None;
        }
        let values = &self.values[after.saturating_sub(1)..];
        Some(values.windows(2).map(|pair| (pair[0], pair[1])))
    }

    fn extended(&self) -> Option<Stored> {
        let edges = self.edges(false)?;
        let inner = self.inner(&edges);
        let mut samples = Stored::default();
        samples.timestamps.push(self.start);
        samples.timestamps.extend_from_slice(&self.times[inner.clone()]);
        samples.timestamps.push(self.end);
        samples.values.push(edges.left);
        samples.values.extend_from_slice(&self.values[inner]);
        samples.values.push(edges.right);
        Some(samples)
    }
}
