//! A loop of Prometheus that is played, scrape by scrape.

use std::collections::BTreeSet;

use jiff::Timestamp;
use model::Labels;

use super::*;
use crate::prometheus::Health;

const MINUTE: i64 = 60_000;

/// A target that is scraped each minute, and a shard that asks each five.
struct Played {
    churn: Churn,
    now: i64,
    /// In the loop's cache, and of the last good scrape.
    cache: BTreeSet<u64>,
    series: u64,
    address: &'static str,
    scraped: Option<i64>,
    /// Of the scrapes since the last stretch.
    added: Vec<f64>,
}

impl Played {
    fn new(churn: Churn) -> Self {
        Self {
            churn,
            now: 0,
            cache: BTreeSet::new(),
            series: 0,
            address: "a:1",
            scraped: None,
            added: Vec::new(),
        }
    }

    fn look(&mut self, anew: bool) {
        let active = ActiveTarget {
            id: 1,
            public: Labels::from_pairs([("instance", "a")]),
            hidden: Labels::from_pairs([("__address__", self.address)]),
            health: Health::Up,
            last_error: String::new(),
            last_scrape: self.scraped.map(|ms| Timestamp::from_millisecond(ms).unwrap()),
            last_scrape_duration_seconds: 0.1,
        };
        self.churn.see(&active, anew);
    }

    /// Another loop begins.
    fn begin(&mut self, anew: bool) {
        self.cache.clear();
        self.look(anew);
    }

    /// A minute passes, with a scrape that brings these series; none: it fails.
    fn scrape(&mut self, series: std::ops::Range<u64>) {
        self.now += MINUTE;
        self.scraped = Some(self.now);
        let brought: BTreeSet<u64> = series.collect();
        self.added.push(brought.difference(&self.cache).count() as f64);
        if !brought.is_empty() {
            self.series = brought.len() as u64;
            self.cache = brought;
        }
        self.look(false);
        if self.now % (5 * MINUTE) == 0 {
            let stretch = Stretch { from: self.now - 5 * MINUTE, until: self.now };
            let max = self.added.iter().copied().fold(0.0, f64::max);
            let added = Added { sum: self.added.drain(..).sum(), max };
            self.churn.take(stretch, added, self.series);
        }
    }
}

#[test]
fn series_that_are_replaced_are_counted_an_hour_once_they_were_seen_for_half_of_one() {
    let mut played = Played::new(Churn::default());
    played.begin(false);
    // Ten of a hundred each minute.
    for minute in 0..25 {
        played.scrape(10 * minute..10 * minute + 100);
        assert_eq!(played.churn.per_hour(), None, "{minute}");
    }
    for minute in 25..300 {
        played.scrape(10 * minute..10 * minute + 100);
    }
    let known = played.churn.per_hour().unwrap();
    assert!((590..=600).contains(&known), "{known}");
    // It ends; three hours later about a third of it is left, as of what the head holds.
    for _ in 0..180 {
        played.scrape(3_000..3_100);
    }
    let known = played.churn.per_hour().unwrap();
    assert!((150..320).contains(&known), "{known}");
}

#[test]
fn what_begins_grows_fails_or_begins_anew_has_no_churn() {
    let mut played = Played::new(Churn::default());
    played.begin(false);
    for minute in 0..200u64 {
        match minute {
            // Prometheus starts again, then it reads another configuration.
            57 | 111 => played.begin(true),
            // It is at another address under the same labels.
            83 => {
                played.address = "b:1";
                played.begin(false);
            }
            // It goes away and comes back.
            133 => {
                played.churn.not_there();
                played.begin(false);
            }
            _ => {}
        }
        match minute {
            40..44 | 150..165 => played.scrape(0..0),
            _ => played.scrape(0..1_000 + minute),
        }
    }
    assert_eq!(played.churn.per_hour(), Some(0), "{:?}", played.churn);
}

#[test]
fn series_that_end_count_whether_others_come_or_not() {
    let mut played = Played::new(Churn::default());
    played.begin(false);
    for minute in 0..60 {
        played.scrape(0..if minute < 30 { 700 } else { 100 });
    }
    let known = played.churn.per_hour().unwrap();
    assert!((590..=670).contains(&known), "{known}");
}

#[test]
fn where_loops_begin_again_and_again_nothing_is_learned() {
    let mut played = Played::new(Churn::default());
    for minute in 0..100 {
        if minute % 2 == 0 {
            played.begin(true);
        }
        played.scrape(0..500);
    }
    assert!(played.churn.per_hour().is_none_or(|known| known == 0), "{:?}", played.churn);
}

#[test]
fn what_is_told_counts_until_more_is_seen() {
    let mut played = Played::new(Churn::told(Some(1_200)));
    assert_eq!(played.churn.per_hour(), Some(1_200));
    played.begin(false);
    for _ in 0..10 {
        played.scrape(0..50);
    }
    let known = played.churn.per_hour().unwrap();
    assert!((1_000..1_200).contains(&known), "{known}");
    for _ in 0..900 {
        played.scrape(0..50);
    }
    assert!(played.churn.per_hour().unwrap() < 10);
    assert_eq!(Churn::told(None).per_hour(), None);
}

#[test]
fn growth_that_is_seen_before_it_is_said_to_be_added_is_no_churn() {
    let mut churn = Churn::default();
    let mut played = Played::new(Churn::default());
    played.begin(false);
    std::mem::swap(&mut churn, &mut played.churn);
    churn.first = Some(1);
    churn.begun = 0;
    for (at, sum, series) in [(1, 0.0, 100), (2, 0.0, 160), (3, 60.0, 160), (4, 0.0, 160)] {
        let stretch = Stretch { from: at * 5 * MINUTE, until: (at + 1) * 5 * MINUTE };
        churn.take(stretch, Added { sum, max: sum }, series);
    }
    assert!(churn.ended < 0.5, "{churn:?}");
}

#[test]
fn false_numbers_overflow_nothing() {
    let mut played = Played::new(Churn::told(Some(u32::MAX)));
    played.begin(false);
    played.scrape(0..10);
    for (sum, max) in [(f64::MAX, 0.0), (f64::MAX, f64::MIN), (0.0, f64::MAX), (-1.0, 0.0)] {
        let stretch = Stretch { from: played.now, until: played.now + MINUTE };
        played.churn.take(stretch, Added { sum, max }, u64::MAX);
        played.churn.take(stretch, Added { sum, max }, 10);
        played.now += MINUTE;
    }
    for _ in 0..3_000 {
        played.scrape(0..10);
    }
    assert!(played.churn.per_hour().is_some_and(|known| known < 10_000), "{:?}", played.churn);
}
