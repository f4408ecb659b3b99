//! What the largest metrics had a while ago: half an hour to an hour, as for targets ([`crate::growth`]).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;

/// Metrics are noted twice an hour, in milliseconds.
const HALF_HOUR: i64 = 30 * 60_000;

/// Series by metric at a time, in milliseconds since the epoch.
pub(super) type Noted = (i64, Arc<HashMap<String, u64>>);

#[derive(Debug, Default)]
struct Kept {
    older: Option<Noted>,
    newer: Option<Noted>,
}

/// The record of it, by replica group. Cloneable; all clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Past {
    groups: Arc<Mutex<BTreeMap<u32, Kept>>>,
}

impl Past {
    /// Whether it is time to note a group's metrics.
    pub(super) fn is_due(&self, group: u32, now: i64) -> bool {
        let groups = self.groups.lock();
        let newest = groups.get(&group).and_then(|kept| kept.newer.as_ref());
        newest.is_none_or(|(at, _)| now - at >= HALF_HOUR)
    }

    pub(super) fn note(&self, group: u32, series: HashMap<String, u64>, now: i64) {
        let mut groups = self.groups.lock();
        let kept = groups.entry(group).or_default();
        let newest = Some((now, Arc::new(series)));
        kept.older = std::mem::replace(&mut kept.newer, newest);
    }

    /// Half an hour to an hour ago, less after a start.
    pub(super) fn of(&self, group: u32) -> Option<Noted> {
        let groups = self.groups.lock();
        let kept = groups.get(&group)?;
        kept.older.as_ref().or(kept.newer.as_ref()).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_compared_with_is_the_last_but_one_note() {
        let past = Past::default();
        assert!(past.is_due(0, 0) && past.of(0).is_none());
        let series = |count| HashMap::from([("m".to_owned(), count)]);
        past.note(0, series(1), 0);
        assert!(!past.is_due(0, HALF_HOUR - 1) && past.is_due(1, 0));
        assert_eq!(past.of(0), Some((0, Arc::new(series(1)))));
        past.note(0, series(2), HALF_HOUR);
        past.note(0, series(3), 2 * HALF_HOUR);
        assert_eq!(past.of(0), Some((HALF_HOUR, Arc::new(series(2)))));
    }
}
