//! How many series of a target end: what Prometheus keeps in its head for hours although nothing is added to it any more.
//! Pure.
//!
//! Prometheus says with each scrape how many series that the one before did not have (`scrape_series_added`; scrape/
//! scrape.go, `append`: those that are not in the loop's cache, which a successful scrape clears of what it did not
//! bring, and a failed one leaves alone). So in a stretch of time as many series have ended as were added, less what the
//! target has grown by.
//!
//! A loop begins with an empty cache: its first scrape adds everything, and that is no churn. A loop begins when a target
//! comes to the shard, when its labels or its URL change, when Prometheus starts, and, unless the job is the same in all
//! that makes series, when Prometheus reads its configuration again. Of a stretch with one beginning in it the largest
//! scrape is left out, of one with several nothing is learned.
//!
//! A target that brings the same series again and again after having left them out counts with each of them each time,
//! though the head has them once.

use crate::prometheus::ActiveTarget;

/// What has happened fades in this time, in seconds: for about as long the head keeps what has ended (one to three hours:
/// it is cut each two hours, and keeps one).
const FADE: f64 = 3.0 * 3600.0;

/// What a shard is told of a target counts as if it had been seen for so long, in seconds.
const TOLD: f64 = 3600.0;

/// Nothing is said before a target was seen for so many stretches.
const STRETCHES: f64 = 6.0;

/// No target has so many series that end in a stretch.
const MOST: f64 = 1e8;

/// A stretch of time, in milliseconds since the epoch: after `from`, up to `until`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stretch {
    pub(crate) from: i64,
    pub(crate) until: i64,
}

/// What the scrapes of a stretch have added: all of them, and the one that added most.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Added {
    pub(crate) sum: f64,
    pub(crate) max: f64,
}

/// What is known of a target.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Churn {
    /// Series that ended, and seconds; both fade.
    ended: f64,
    seconds: f64,
    /// Seconds that it was seen for, and those that are enough to say something.
    seen: f64,
    enough: f64,
    /// The loop that scrapes it, by how it does.
    scraped_by: Option<u64>,
    /// How many loops have begun since the last stretch.
    begun: u32,
    /// The last scrape before the loop was seen to have begun, and the first one after, in milliseconds.
    before: Option<i64>,
    first: Option<i64>,
    /// Series at the end of the last stretch.
    series: Option<f64>,
    /// Series that it had grown by before they were said to be added.
    ahead: f64,
}

impl Churn {
    /// Of a target that comes with what another shard, or this one in another life, has seen.
    pub(crate) fn told(per_hour: Option<u32>) -> Self {
        let Some(per_hour) = per_hour else { return Self::default() };
        let ended = f64::from(per_hour) * TOLD / 3600.0;
        Self { ended, seconds: TOLD, ..Self::default() }
    }

    /// Series that end an hour; `None` before it was seen for long enough.
    pub(crate) fn per_hour(&self) -> Option<u32> {
        let is_told = self.seconds > self.seen;
        if self.seconds <= 0.0 || (self.seen < self.enough && !is_told) {
            return None;
        }
        // Saturates.
        Some((self.ended / self.seconds * 3600.0).round() as u32)
    }

    /// Takes a look at the loop that scrapes it. `anew`: Prometheus has begun all loops anew, or may have.
    pub(crate) fn see(&mut self, active: &ActiveTarget, anew: bool) {
        let by = Some(kind_of(active));
        let last = active.last_scrape.map(|time| time.as_millisecond());
        if anew || self.scraped_by != by {
            self.begun = self.begun.saturating_add(1);
            (self.scraped_by, self.before, self.first) = (by, last, None);
        } else if self.first.is_none() && last > self.before {
            self.first = last;
        }
    }

    /// No loop scrapes it.
    pub(crate) fn not_there(&mut self) {
        self.scraped_by = None;
    }

    /// Takes what was added in a stretch at whose end it had so many series.
    pub(crate) fn take(&mut self, stretch: Stretch, added: Added, series: u64) {
        let Stretch { from, until } = stretch;
        // What has begun and was not scraped in the stretch is scraped first in the next one.
        let pending = self.first.is_none_or(|first| first > until);
        let begun = std::mem::replace(&mut self.begun, u32::from(pending));
        let series = series as f64;
        let known = std::mem::replace(&mut self.series, Some(series).filter(|count| *count > 0.0));
        let ahead = std::mem::take(&mut self.ahead);
        let Some(first) = self.first.filter(|_| self.scraped_by.is_some() && begun < 2) else {
            return;
        };
        let is_fresh = first > from;
        let seen_from = if known.is_some() { from } else { from.max(first) };
        let seconds = until.saturating_sub(seen_from) as f64 / 1000.0;
        if seconds <= 0.0 || series <= 0.0 {
            return;
        }
        let new = if is_fresh { added.sum - added.max } else { added.sum };
        let grown = series - known.unwrap_or(if is_fresh { added.max } else { series });
        let ended = new - grown - ahead;
        // The series are as of now, the scrapes are those of a moment ago.
        self.ahead = (-ended).clamp(0.0, grown.max(0.0));
        let ended = ended.clamp(0.0, MOST);
        let fade = (-seconds / FADE).exp();
        self.ended = self.ended.mul_add(fade, ended);
        self.seconds = self.seconds.mul_add(fade, seconds);
        self.seen += seconds;
        self.enough = (STRETCHES - 0.5) * until.saturating_sub(from) as f64 / 1000.0;
    }
}

/// Equal for loops that scrape the same with the same labels.
fn kind_of(active: &ActiveTarget) -> u64 {
    active.public.hash64() ^ active.hidden.hash64().rotate_left(1)
}

#[cfg(test)]
mod tests;
