//! How many series of each target end, as planned with.
//!
//! Shards say it of what they scrape, as a mean over the last hours. What is planned with follows in steps, so that no
//! target moves because of a number that goes up and down a little. It stays with a target that goes to another shard.

use std::collections::HashMap;
use std::num::NonZeroU32;

/// A difference is taken over when it is more than this share of the larger number.
const STEP: u32 = 8;

/// Fewer series that end an hour, or a smaller difference, are of no account.
const LEAST: u32 = 10;

/// Series that end an hour, where that is known. As small as a number, there are millions of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct PerHour(Option<NonZeroU32>);

impl PerHour {
    pub(crate) const UNKNOWN: Self = Self(None);

    pub(crate) fn get(self) -> Option<u32> {
        self.0.map(|number| number.get() - 1)
    }
}

impl From<Option<u32>> for PerHour {
    fn from(known: Option<u32>) -> Self {
        Self(known.and_then(|number| NonZeroU32::new(number.saturating_add(1))))
    }
}

/// Of the targets whose series end, by id.
#[derive(Debug, Default)]
pub(crate) struct Churn {
    by_id: HashMap<u64, u32>,
}

impl Churn {
    /// Series that end an hour; 0 where it is not known, too.
    pub(crate) fn of(&self, target: u64) -> u32 {
        self.by_id.get(&target).copied().unwrap_or(0)
    }

    /// Whether a shard says something else than what is planned with.
    pub(crate) fn is_news(&self, target: u64, told: u32) -> bool {
        let known = self.of(target);
        let difference = known.abs_diff(told);
        difference > LEAST && difference > known.max(told) / STEP
    }

    /// Plans with that from now on, if it is news. Whether it was.
    pub(crate) fn learn(&mut self, target: u64, told: u32) -> bool {
        let is_news = self.is_news(target, told);
        match told {
            _ if !is_news => {}
            0..LEAST => drop(self.by_id.remove(&target)),
            _ => drop(self.by_id.insert(target, told)),
        }
        is_news
    }

    /// What a shard was told by a coordinator before us. Whether that is more than was known.
    pub(crate) fn recall(&mut self, target: u64, told: u32) -> bool {
        !self.by_id.contains_key(&target) && self.learn(target, told)
    }

    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(crate) fn retain(&mut self, is_there: impl Fn(u64) -> bool) {
        self.by_id.retain(|target, _| is_there(*target));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_number_is_none_and_takes_no_room() {
        for known in [None, Some(0), Some(1), Some(u32::MAX - 2)] {
            assert_eq!(PerHour::from(known).get(), known);
        }
        assert_eq!(PerHour::from(Some(u32::MAX)).get(), Some(u32::MAX - 1));
        assert_eq!(PerHour::UNKNOWN, PerHour::default());
        assert_eq!(size_of::<PerHour>(), size_of::<u32>());
    }

    #[test]
    fn numbers_that_go_up_and_down_a_little_change_nothing() {
        let mut churn = Churn::default();
        assert!(churn.learn(1, 1_000));
        for told in [900, 1_100, 1_000, 880, 1_140, 1_000] {
            assert!(!churn.learn(1, told), "{told}");
            assert_eq!(churn.of(1), 1_000);
        }
        assert!(churn.learn(1, 1_200));
        assert!(!churn.learn(1, 1_060));
        assert!(churn.learn(1, 600));
        assert_eq!(churn.of(1), 600);
    }

    #[test]
    fn next_to_nothing_is_nothing() {
        let mut churn = Churn::default();
        assert!(!churn.learn(1, 9));
        assert!(churn.learn(1, 40));
        assert!(churn.learn(1, 3));
        assert_eq!((churn.of(1), churn.len()), (0, 0));
        assert!(!churn.learn(1, 3));
    }

    #[test]
    fn what_is_known_counts_more_than_what_was_told_once() {
        let mut churn = Churn::default();
        assert!(churn.recall(1, 500));
        assert!(!churn.recall(1, 5_000));
        assert_eq!(churn.of(1), 500);
    }
}
