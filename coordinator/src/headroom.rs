//! What a shard may hold, from what its Prometheus holds beyond that. Pure.
//!
//! The head of a Prometheus keeps series for two to three hours after their last sample. Where targets come and go, or
//! change their series, it is larger than the sum of what is scraped. Where the head is limited, that much of the shard
//! is taken; where memory is, a shard that nears the limit holds no more than its memory has room for at the bytes a
//! series that it takes now.
//!
//! What a move took away is in the old shard's head as long, but is no churn, and no reason to move more: it is not
//! counted. A capacity follows what is seen slowly, in steps, and never below half of what was asked for, so that it
//! does not make targets move to and fro.

use std::collections::VecDeque;

/// The operator's limits of a shard; 0: none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Caps {
    /// Series of the head.
    pub(crate) head_series: u64,
    /// Bytes resident.
    pub(crate) memory: u64,
}

/// What is seen of a shard.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Look {
    /// Series of the head of its Prometheus.
    pub(crate) head: u64,
    /// Resident bytes of it.
    pub(crate) memory: u64,
    /// Series of what it scrapes.
    pub(crate) active: u64,
}

/// How long the head may keep what a move took away, in milliseconds.
const KEPT_MS: i64 = 3 * 3_600_000;

/// Moves of so many milliseconds are remembered as one.
const TOGETHER_MS: i64 = 300_000;

/// A capacity goes down within minutes and up within hours: churn comes back with every head.
const DOWN_MS: i64 = 600_000;
const UP_MS: i64 = 3 * 3_600_000;

/// Smaller changes than this share of the capacity are not told, in percent.
const STEP: u64 = 5;

/// No less than this share of the capacity is left, in percent.
const LEAST: u64 = 50;

/// What is remembered of a shard.
#[derive(Debug, Default)]
pub(crate) struct Headroom {
    /// What moves took away: since when, and how many series.
    departed: VecDeque<(i64, u64)>,
    /// As followed, and as told.
    state: Option<State>,
}

#[derive(Debug, Clone, Copy)]
struct State {
    at: i64,
    base: u64,
    followed: u64,
    told: u64,
}

impl Headroom {
    /// A move took that many series away. `now` is in milliseconds since the epoch.
    pub(crate) fn depart(&mut self, series: u64, now: i64) {
        match self.departed.back_mut() {
            Some((at, sum)) if now - *at < TOGETHER_MS => *sum = sum.saturating_add(series),
            _ => self.departed.push_back((now, series)),
        }
    }

    /// Takes a look at a shard that is well; `base` is what it may hold as configured.
    pub(crate) fn see(&mut self, look: Look, caps: Caps, base: u64, now: i64) {
        while self.departed.front().is_some_and(|(at, _)| now - at > KEPT_MS) {
            self.departed.pop_front();
        }
        let departed = self.departed.iter().map(|(_, series)| *series).fold(0, u64::saturating_add);
        let room = room(look, departed, caps).min(base).max(percent(base, LEAST));
        let state = match self.state.filter(|state| state.base == base) {
            // As after a restart of ours: the shard is as full as it is.
            None => State { at: now, base, followed: room, told: room },
            Some(state) => {
                let time = if room < state.followed { DOWN_MS } else { UP_MS };
                let elapsed = (now - state.at).clamp(0, time);
                let followed = toward(state.followed, room, elapsed, time);
                let near = followed.abs_diff(state.told) < percent(base, STEP);
                // At rest at either end it is exact.
                let ends = followed == base && room == base;
                let told = if near && !ends { state.told } else { followed };
                State { at: now, base, followed, told }
            }
        };
        self.state = Some(state);
    }

    /// What the shard may hold now.
    pub(crate) fn capacity(&self, base: u64) -> u64 {
        self.state.filter(|state| state.base == base).map_or(base, |state| state.told)
    }
}

/// How many series it may scrape.
fn room(look: Look, departed: u64, caps: Caps) -> u64 {
    let Look { head, memory, active } = look;
    let garbage = head.saturating_sub(active).saturating_sub(departed);
    let mut room = u64::MAX;
    if caps.head_series > 0 {
        room = caps.head_series.saturating_sub(garbage);
    }
    // Far from the limit the memory that it takes says little about each series.
    if caps.memory > 0 && memory > caps.memory / 2 {
        let fits = u128::from(head) * u128::from(caps.memory) / u128::from(memory);
        let fits = u64::try_from(fits).unwrap_or(u64::MAX);
        room = room.min(fits.saturating_sub(garbage));
    }
    room
}

/// From one value toward another: all the way in `time`.
fn toward(from: u64, to: u64, elapsed: i64, time: i64) -> u64 {
    let part = |distance: u64| {
        let part = i128::from(distance) * i128::from(elapsed) / i128::from(time.max(1));
        u64::try_from(part).unwrap_or(0)
    };
    if to >= from { from + part(to - from) } else { from - part(from - to) }
}

fn percent(of: u64, percent: u64) -> u64 {
    u64::try_from(u128::from(of) * u128::from(percent) / 100).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: u64 = 1_000;
    const MINUTE: i64 = 60_000;
    const CAPS: Caps = Caps { head_series: BASE, memory: 0 };

    fn look(head: u64, active: u64) -> Look {
        Look { head, memory: 0, active }
    }

    #[test]
    fn without_limits_a_shard_may_hold_what_it_may() {
        let mut headroom = Headroom::default();
        assert_eq!(headroom.capacity(BASE), BASE);
        let seen = Look { head: 9_999, memory: 1 << 40, active: 10 };
        headroom.see(seen, Caps::default(), BASE, 0);
        assert_eq!(headroom.capacity(BASE), BASE);
    }

    #[test]
    fn what_the_head_holds_beyond_what_is_scraped_is_taken_off_but_never_more_than_half() {
        for (head, active, capacity) in
            [(500, 500, 1_000), (600, 400, 800), (300, 400, 1_000), (5_000, 400, 500)]
        {
            let mut headroom = Headroom::default();
            headroom.see(look(head, active), CAPS, BASE, 0);
            assert_eq!(headroom.capacity(BASE), capacity, "{head} {active}");
        }
        // A head may be allowed more than what is scraped.
        let mut headroom = Headroom::default();
        headroom.see(look(1_200, 400), Caps { head_series: 2_000, memory: 0 }, BASE, 0);
        assert_eq!(headroom.capacity(BASE), BASE);
    }

    #[test]
    fn what_moves_took_away_is_no_churn_for_as_long_as_the_head_keeps_it() {
        let mut headroom = Headroom::default();
        headroom.see(look(900, 900), CAPS, BASE, 0);
        headroom.depart(200, MINUTE);
        headroom.depart(100, 2 * MINUTE);
        for minute in 3..=180 {
            headroom.see(look(900, 600), CAPS, BASE, minute * MINUTE);
            assert_eq!(headroom.capacity(BASE), BASE, "{minute}");
        }
        // What is still there then is not from the move.
        for minute in 181..=220 {
            headroom.see(look(900, 600), CAPS, BASE, minute * MINUTE);
        }
        assert!(headroom.capacity(BASE) < 750, "{headroom:?}");
    }

    #[test]
    fn it_goes_down_in_minutes_and_up_in_hours() {
        let mut headroom = Headroom::default();
        headroom.see(look(500, 500), CAPS, BASE, 0);
        headroom.see(look(900, 500), CAPS, BASE, MINUTE);
        assert_eq!(headroom.capacity(BASE), BASE, "a tenth of the way is no step");
        for minute in 2..60 {
            headroom.see(look(900, 500), CAPS, BASE, minute * MINUTE);
        }
        let low = headroom.capacity(BASE);
        assert!((600..660).contains(&low), "{low}");
        for minute in 60..90 {
            headroom.see(look(500, 500), CAPS, BASE, minute * MINUTE);
        }
        let later = headroom.capacity(BASE);
        assert!(later < 750, "{later}");
        headroom.see(look(500, 500), CAPS, BASE, 10_000 * MINUTE);
        assert_eq!(headroom.capacity(BASE), BASE);
    }

    #[test]
    fn a_load_that_goes_up_and_down_a_little_changes_nothing() {
        let mut headroom = Headroom::default();
        headroom.see(look(700, 500), CAPS, BASE, 0);
        let before = headroom.capacity(BASE);
        for minute in 1..1_000 {
            let noise = u64::try_from(minute % 7).unwrap() * 10;
            headroom.see(look(670 + noise, 500), CAPS, BASE, minute * MINUTE);
            assert_eq!(headroom.capacity(BASE), before, "{minute}");
        }
    }

    #[test]
    fn memory_limits_at_the_bytes_a_series_that_it_takes_now() {
        let caps = Caps { head_series: 0, memory: 8_000 };
        for (memory, head, active, capacity) in [
            // Far from the limit it does not count.
            (3_900, 300, 300, 1_000),
            (6_000, 600, 600, 800),
            (8_000, 900, 800, 800),
            (9_000, 900, 900, 800),
            (16_000, 900, 900, 500),
        ] {
            let mut headroom = Headroom::default();
            headroom.see(Look { head, memory, active }, caps, BASE, 0);
            assert_eq!(headroom.capacity(BASE), capacity, "{memory} {head}");
        }
    }

    #[test]
    fn another_capacity_begins_anew() {
        let mut headroom = Headroom::default();
        headroom.see(look(900, 500), CAPS, BASE, 0);
        assert_eq!(headroom.capacity(BASE), 600);
        assert_eq!(headroom.capacity(2_000), 2_000);
        headroom.see(look(900, 500), CAPS, 2_000, 1);
        assert_eq!(headroom.capacity(2_000), 1_000);
    }

    #[test]
    fn false_reports_overflow_nothing() {
        let mut headroom = Headroom::default();
        let caps = Caps { head_series: u64::MAX, memory: u64::MAX };
        for (at, number) in [(i64::MIN / 4, u64::MAX), (0, 0), (i64::MAX / 4, u64::MAX)] {
            headroom.depart(number, at);
            let look = Look { head: number, memory: number, active: number };
            headroom.see(look, caps, u64::MAX, at);
            assert!(headroom.capacity(u64::MAX) >= u64::MAX / 2 - 1);
        }
    }
}
