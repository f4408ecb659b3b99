//! What a shard may hold, from what its Prometheus holds beyond that. Pure.
//!
//! The head of a Prometheus keeps series for two to three hours after their last sample. Where targets change their
//! series, or come and go, it is larger than the sum of what is scraped. What a target's own churn takes is part of what
//! it weighs where the head is limited ([`crate::plan::Limits::load`]). What the head holds beyond all of that (targets
//! that are gone, churn that is not known) is taken off the shard. Where memory is limited, a shard that nears the limit
//! holds no more than its memory has room for at the bytes a series that it takes now.
//!
//! What a move took away is in the old shard's head as long, but is no churn, and no reason to move more: it is not
//! counted. What a move has brought has not left anything there yet. A capacity follows what is seen slowly, in steps,
//! and never below half of what was asked for, so that it does not make targets move to and fro. It follows at once what
//! becomes known of targets: else the same series would weigh twice for hours.

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
    /// Series of what it owns that have ended and are in its head, as planned with: once it has owned it for as long as
    /// a head keeps them.
    pub(crate) ended: u64,
    /// What it owns weighs; 0: what it takes in the head.
    pub(crate) weight: u64,
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
    /// What moves took away.
    departed: VecDeque<Passed>,
    /// What moves have brought.
    arrived: VecDeque<Passed>,
    /// As followed, and as told.
    state: Option<State>,
}

/// Targets that have gone or come: since when, their series, and how many of theirs a head holds that have ended.
#[derive(Debug, Clone, Copy)]
struct Passed {
    at: i64,
    series: u64,
    ended: u64,
}

#[derive(Debug, Clone, Copy)]
struct State {
    at: i64,
    base: u64,
    /// What the head holds beyond what is scraped.
    past: u64,
    /// What memory has room for; `None`: it is far from its limit.
    fits: Option<u64>,
    told: u64,
}

impl Headroom {
    /// A move took that many series away, and leaves those behind that have ended. `now` is in milliseconds since the
    /// epoch.
    pub(crate) fn depart(&mut self, series: u64, ended: u64, now: i64) {
        pass(&mut self.departed, Passed { at: now, series, ended });
    }

    /// A target came of which as many series will have ended, once the head has kept them for as long as it does.
    pub(crate) fn arrive(&mut self, ended: u64, now: i64) {
        if ended > 0 {
            pass(&mut self.arrived, Passed { at: now, series: 0, ended });
        }
    }

    /// Takes a look at a shard that is well; `base` is what it may hold as configured.
    pub(crate) fn see(&mut self, look: Look, caps: Caps, base: u64, now: i64) {
        for passed in [&mut self.departed, &mut self.arrived] {
            while passed.front().is_some_and(|passed| now.saturating_sub(passed.at) > KEPT_MS) {
                passed.pop_front();
            }
        }
        let known = self.known(look, now);
        let most = caps.head_series.max(base).saturating_add(known);
        let departed = self.departed.iter().map(|passed| passed.series);
        let departed = departed.fold(look.active, u64::saturating_add);
        let past = look.head.saturating_sub(departed).min(most);
        let fits = fits(look, caps);
        let before = self.state.filter(|state| state.base == base);
        let state = match before {
            // As after a restart of ours: the shard is as full as it is.
            None => State { at: now, base, past, fits, told: 0 },
            Some(state) => {
                let past = follow(state.past, past, now - state.at, (UP_MS, DOWN_MS));
                let open = base.saturating_add(past.saturating_sub(known));
                let fits = match (state.fits, fits) {
                    (None, None) => None,
                    (before, now_fits) => {
                        let (from, to) = (before.unwrap_or(open), now_fits.unwrap_or(open));
                        let followed = follow(from, to, now - state.at, (DOWN_MS, UP_MS));
                        Some(followed).filter(|fits| now_fits.is_some() || *fits < open)
                    }
                };
                State { at: now, base, past, fits, told: state.told }
            }
        };
        let capacity = capacity(state, look, known, caps);
        let near = before.is_some() && capacity.abs_diff(state.told) < percent(base, STEP);
        // At rest at the upper end it is exact.
        let told = if near && capacity != base { state.told } else { capacity };
        self.state = Some(State { told, ..state });
    }

    /// Series that have ended and of which it is known whose they were.
    fn known(&self, look: Look, now: i64) -> u64 {
        let to_come = self.arrived.iter().map(|passed| {
            let left = KEPT_MS.saturating_sub(now.saturating_sub(passed.at)).clamp(0, KEPT_MS);
            part(passed.ended, left, KEPT_MS)
        });
        let to_come = to_come.fold(0, u64::saturating_add);
        let left = self.departed.iter().map(|passed| passed.ended).fold(0, u64::saturating_add);
        look.ended.saturating_sub(to_come).saturating_add(left)
    }

    /// What the shard may hold now.
    pub(crate) fn capacity(&self, base: u64) -> u64 {
        self.state.filter(|state| state.base == base).map_or(base, |state| state.told)
    }
}

/// Remembers what has passed.
fn pass(all: &mut VecDeque<Passed>, passed: Passed) {
    match all.back_mut() {
        Some(last) if passed.at.saturating_sub(last.at) < TOGETHER_MS => {
            last.series = last.series.saturating_add(passed.series);
            last.ended = last.ended.saturating_add(passed.ended);
        }
        _ => all.push_back(passed),
    }
}

/// What a shard may hold with what its head holds of the past.
fn capacity(state: State, look: Look, known: u64, caps: Caps) -> u64 {
    let State { base, past, fits, .. } = state;
    let limit = Some(caps.head_series).filter(|limit| *limit > 0);
    let room = [limit, fits].into_iter().flatten().min().map_or(base, |limit| {
        let room = limit.saturating_sub(past.saturating_sub(known));
        // A head may hold more than a shard weighs: it is full when what is there takes all of its room.
        let taken = look.active.saturating_add(look.ended);
        match look.weight {
            0 => room,
            weight if taken == 0 || weight >= taken => room,
            weight => {
                let weight = u128::from(room) * u128::from(weight) / u128::from(taken);
                u64::try_from(weight).unwrap_or(u64::MAX)
            }
        }
    });
    room.min(base).max(percent(base, LEAST))
}

/// How many series memory has room for. Far from the limit the memory that it takes says little about each series.
fn fits(look: Look, caps: Caps) -> Option<u64> {
    let Look { head, memory, .. } = look;
    if caps.memory == 0 || memory <= caps.memory / 2 {
        return None;
    }
    let fits = u128::from(head) * u128::from(caps.memory) / u128::from(memory);
    Some(u64::try_from(fits).unwrap_or(u64::MAX))
}

/// From one value toward another: all the way down in the first time, up in the second one.
fn follow(from: u64, to: u64, elapsed: i64, (down, up): (i64, i64)) -> u64 {
    let time = if to < from { down } else { up };
    let elapsed = elapsed.clamp(0, time);
    if to >= from {
        from + part(to - from, elapsed, time)
    } else {
        from - part(from - to, elapsed, time)
    }
}

fn part(of: u64, elapsed: i64, time: i64) -> u64 {
    let part = i128::from(of) * i128::from(elapsed) / i128::from(time.max(1));
    u64::try_from(part).unwrap_or(0)
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
        Look { head, active, ..Look::default() }
    }

    #[test]
    fn without_limits_a_shard_may_hold_what_it_may() {
        let mut headroom = Headroom::default();
        assert_eq!(headroom.capacity(BASE), BASE);
        let seen = Look { head: 9_999, memory: 1 << 40, active: 10, ..Look::default() };
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
        headroom.depart(200, 0, MINUTE);
        headroom.depart(100, 0, 2 * MINUTE);
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
            headroom.see(Look { head, memory, active, ..Look::default() }, caps, BASE, 0);
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
            headroom.depart(number, number, at);
            headroom.arrive(number, at);
            let (head, memory, active) = (number, number, number);
            let look = Look { head, memory, active, ended: number, weight: number / 2 };
            headroom.see(look, caps, u64::MAX, at);
            assert!(headroom.capacity(u64::MAX) >= u64::MAX / 2 - 1);
        }
    }

    /// Of a shard whose targets have that many series, of which 300 have ended by and by.
    fn churning(head: u64, active: u64) -> Look {
        Look { ended: 300, weight: active + 300, ..look(head, active) }
    }

    #[test]
    fn what_targets_are_known_to_leave_behind_is_theirs_and_takes_nothing_off() {
        let mut headroom = Headroom::default();
        // The head is cut now and then, and what is in it goes up and down with that.
        for minute in 0..600 {
            let past = u64::try_from(minute % 120).unwrap() * 200 / 120 + 100;
            headroom.see(churning(500 + past, 500), CAPS, BASE, minute * MINUTE);
            assert_eq!(headroom.capacity(BASE), BASE, "{minute}");
        }
        // What is beyond that is: 150 of targets that are gone.
        for minute in 600..1_200 {
            let past = u64::try_from(minute % 120).unwrap() * 200 / 120 + 250;
            headroom.see(churning(500 + past, 500), CAPS, BASE, minute * MINUTE);
        }
        let capacity = headroom.capacity(BASE);
        assert!((850..=930).contains(&capacity), "{capacity}");
    }

    #[test]
    fn what_becomes_known_counts_at_once() {
        let mut headroom = Headroom::default();
        headroom.see(look(800, 500), CAPS, BASE, 0);
        assert_eq!(headroom.capacity(BASE), 700);
        headroom.see(churning(800, 500), CAPS, BASE, MINUTE);
        assert_eq!(headroom.capacity(BASE), BASE);
    }

    #[test]
    fn a_churning_target_that_moves_changes_nothing_but_what_the_shards_hold() {
        let mut headroom = Headroom::default();
        headroom.see(churning(900, 600), CAPS, BASE, 0);
        headroom.depart(200, 300, MINUTE);
        for minute in 1..=180 {
            // Cut after two hours.
            let head = if minute < 120 { 900 } else { 500 };
            headroom.see(look(head, 400), CAPS, BASE, minute * MINUTE);
            assert_eq!(headroom.capacity(BASE), BASE, "{minute}");
        }
        // Where it goes, there is half of the room taken by what is gone: that is not taken for its.
        let mut headroom = Headroom::default();
        headroom.see(look(600, 400), CAPS, BASE, 0);
        assert_eq!(headroom.capacity(BASE), 800);
        headroom.arrive(300, MINUTE);
        for minute in 1..=180u64 {
            let look = churning(800 + 300 * minute / 180, 600);
            headroom.see(look, CAPS, BASE, i64::try_from(minute).unwrap() * MINUTE);
            let capacity = headroom.capacity(BASE);
            assert!((770..=830).contains(&capacity), "{minute} {capacity}");
        }
    }

    #[test]
    fn a_head_that_may_hold_more_than_a_shard_is_full_when_what_is_there_fills_it() {
        let caps = Caps { head_series: 2_000, memory: 0 };
        // 500 series and 1,500 that have ended weigh 1,000: nothing else fits.
        let full = Look { head: 2_000, active: 500, ended: 1_500, weight: 1_000, memory: 0 };
        for (more, capacity) in [(0, 1_000), (400, 800)] {
            let mut headroom = Headroom::default();
            headroom.see(Look { head: 2_000 + more, ..full }, caps, BASE, 0);
            assert_eq!(headroom.capacity(BASE), capacity, "{more}");
        }
    }
}
