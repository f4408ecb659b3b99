//! The page of all series, made part by part.

use std::fmt::Write as _;
use std::ops::Range;
use std::sync::Arc;

use super::shape::{BOUNDS, FAMILIES, HISTOGRAM_LINES, Kind, Shape};
use super::value::{self, Histogram};

/// About how many bytes a part has.
const PART: usize = 64 << 10;

/// The metric whose series live for a minute.
const BRIEF: &str = "metrics_open_sessions";

/// How the page is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Text,
    OpenMetrics,
}

impl Format {
    /// What an `Accept` header prefers: OpenMetrics where it stands at least as high as text.
    pub(super) fn choose(accept: &str) -> Self {
        let weight = |wanted: &str| {
            let of = |item: &str| {
                let mut parts = item.split(';').map(str::trim);
                let matches = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case(wanted));
                let weight = parts.find_map(|part| part.strip_prefix("q=")?.parse::<f64>().ok());
                matches.then(|| weight.unwrap_or(1.0))
            };
            accept.split(',').filter_map(of).fold(0.0, f64::max)
        };
        let openmetrics = weight("application/openmetrics-text");
        if openmetrics > 0.0 && openmetrics >= weight("text/plain") {
            Self::OpenMetrics
        } else {
            Self::Text
        }
    }

    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// An iterator over the page's parts.
pub(super) struct Page {
    shape: Arc<Shape>,
    series: u64,
    time: i64,
    format: Format,
    family: usize,
    pod: u64,
    /// Those that live for a moment, by their numbers: what of them is not written yet.
    brief: Range<u64>,
    is_brief: bool,
    ended: bool,
}

impl Page {
    /// The first `series` of the list as they are at `time` (milliseconds). Of these, so many as `brief` live for a
    /// minute only, and come last.
    pub(super) fn new(
        shape: Arc<Shape>,
        series: u64,
        brief: u64,
        time: i64,
        format: Format,
    ) -> Self {
        let brief = brief.min(series);
        let minute = u64::try_from(time.div_euclid(60_000)).unwrap_or(0);
        let first = minute.wrapping_mul(brief) & (u64::MAX >> 1);
        let (series, brief) = (series - brief, first..first + brief);
        Self {
            shape,
            series,
            time,
            format,
            family: 0,
            pod: 0,
            brief,
            is_brief: false,
            ended: false,
        }
    }

    /// Writes some of those that live for a minute.
    fn brief(&mut self, out: &mut String, is_first: bool) -> std::fmt::Result {
        if is_first {
            let help = "Sessions, each open for a minute at most.";
            write!(out, "# HELP {BRIEF} {help}\n# TYPE {BRIEF} gauge\n")?;
        }
        while out.len() < PART {
            let Some(session) = self.brief.next() else { break };
            writeln!(out, "{BRIEF}{{session=\"{session:x}\"}} 1")?;
        }
        Ok(())
    }

    /// Writes what one pod has of a family. Writing to a string cannot fail.
    fn pod(&self, out: &mut String, lines: u64) -> std::fmt::Result {
        let family = &FAMILIES[self.family];
        let pod_labels = self.shape.pod_labels(self.pod);
        let mut line = Line { out, name: family.name, pod: &pod_labels, labels: "" };
        let combinations = match family.kind {
            Kind::Histogram { .. } => lines.div_ceil(HISTOGRAM_LINES),
            _ => lines,
        };
        for combination in 0..combinations {
            let seed = self.shape.seed(self.family, self.pod, combination);
            line.labels = self.shape.labels(self.family, combination);
            match family.kind {
                Kind::Counter { rate } => {
                    line.scalar("_total", value::counter(seed, rate, self.time))?
                }
                Kind::Seconds => line.scalar("_total", value::seconds(seed, self.time))?,
                Kind::Gauge { middle } => line.scalar("", value::gauge(seed, middle, self.time))?,
                Kind::Histogram { rate, typical } => {
                    let histogram = Histogram::at(seed, rate, typical, self.time);
                    line.histogram(&histogram, lines - combination * HISTOGRAM_LINES)?;
                }
            }
        }
        Ok(())
    }

    fn head(&self, out: &mut String) -> std::fmt::Result {
        let family = &FAMILIES[self.family];
        let (kind, suffix) = match family.kind {
            Kind::Counter { .. } | Kind::Seconds => ("counter", "_total"),
            Kind::Gauge { .. } => ("gauge", ""),
            Kind::Histogram { .. } => ("histogram", ""),
        };
        // OpenMetrics names the family, the text format the series.
        let suffix = if self.format == Format::Text { suffix } else { "" };
        let (name, help) = (family.name, family.help);
        write!(out, "# HELP {name}{suffix} {help}\n# TYPE {name}{suffix} {kind}\n")
    }
}

impl Iterator for Page {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        let mut out = String::with_capacity(PART + PART / 4);
        while self.family < FAMILIES.len() && out.len() < PART {
            let lines = self.shape.lines(self.family, self.pod, self.series);
            if lines == 0 {
                self.family += 1;
                self.pod = 0;
                continue;
            }
            let head = if self.pod == 0 { self.head(&mut out) } else { Ok(()) };
            head.and_then(|()| self.pod(&mut out, lines)).ok()?;
            self.pod += 1;
        }
        if self.family == FAMILIES.len() && !self.brief.is_empty() && out.len() < PART {
            let is_first = !std::mem::replace(&mut self.is_brief, true);
            self.brief(&mut out, is_first).ok()?;
        }
        let is_written = self.family == FAMILIES.len() && self.brief.is_empty();
        if is_written && !std::mem::replace(&mut self.ended, true) {
            out += if self.format == Format::OpenMetrics { "# EOF\n" } else { "" };
        }
        (!out.is_empty()).then_some(out)
    }
}

/// Where and under which names lines are written.
struct Line<'a> {
    out: &'a mut String,
    name: &'a str,
    pod: &'a str,
    labels: &'a str,
}

impl Line<'_> {
    fn scalar(&mut self, suffix: &str, value: f64) -> std::fmt::Result {
        let Self { out, name, pod, labels } = self;
        writeln!(out, "{name}{suffix}{{{pod}{labels}}} {value}")
    }

    /// The first `lines` lines of a histogram: `+Inf`, count, sum and the finite buckets from the highest down; written
    /// in the usual order.
    fn histogram(&mut self, histogram: &Histogram, lines: u64) -> std::fmt::Result {
        let finite = usize::try_from(lines.saturating_sub(3)).unwrap_or(usize::MAX);
        let skipped = BOUNDS.len().saturating_sub(finite);
        let Self { out, name, pod, labels } = self;
        for bound in &BOUNDS[skipped..] {
            let value = histogram.bucket(*bound);
            writeln!(out, "{name}_bucket{{{pod}{labels},le=\"{bound:?}\"}} {value}")?;
        }
        writeln!(out, "{name}_bucket{{{pod}{labels},le=\"+Inf\"}} {}", histogram.count())?;
        if lines > 2 {
            self.scalar("_sum", histogram.sum())?;
        }
        if lines > 1 {
            self.scalar("_count", histogram.count())?;
        }
        Ok(())
    }
}
