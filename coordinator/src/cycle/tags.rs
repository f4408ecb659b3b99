//! What placement rules make of each target, and how often it is scraped.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::Cycle;
use super::observe::Reports;
use crate::found::{Found, FoundTarget};
use crate::placement::{Placement, Tagger};
use crate::plan::{Rules, Tag};

/// Found out anew only when targets or rules change.
#[derive(Debug, Default)]
pub(super) struct Tags {
    pub(super) rules: Arc<Rules>,
    placement: Arc<Placement>,
    found: Arc<Found>,
    tagger: Tagger,
    /// Of each found target, in the same order; none where there are no rules.
    tags: Vec<Tag>,
    /// Intervals of the same, in milliseconds; none where they do not count.
    intervals: Vec<u32>,
}

impl Tags {
    fn take(&mut self, placement: &Arc<Placement>, found: &Arc<Found>, timed: bool) {
        let same_rules = Arc::ptr_eq(&self.placement, placement);
        if same_rules && Arc::ptr_eq(&self.found, found) {
            return;
        }
        let mut tagger = Tagger::new(Arc::clone(placement));
        self.tags = Vec::new();
        if !placement.rules.is_empty() {
            let tag = |found: &FoundTarget| {
                tagger.tag(&found.job, &|name| found.target.labels.value(name))
            };
            self.tags = found.targets.iter().map(tag).collect();
        }
        self.intervals = Vec::new();
        if timed {
            let interval = |found: &FoundTarget| millis(found.target.scrape_interval());
            self.intervals = found.targets.iter().map(interval).collect();
        }
        self.rules = Arc::clone(&placement.rules);
        (self.placement, self.found) = (Arc::clone(placement), Arc::clone(found));
        self.tagger = tagger;
    }

    /// Tag and interval of each found target, in the same order; none where neither counts.
    pub(super) fn of_found(&self) -> impl Iterator<Item = (Tag, u32)> {
        (0..self.tags.len().max(self.intervals.len())).map(|at| {
            let tag = self.tags.get(at).copied().unwrap_or_default();
            (tag, self.intervals.get(at).copied().unwrap_or(0))
        })
    }

    /// Of what shards hold and discovery does not know (yet), by the labels that the shards have.
    pub(super) fn of_held(&mut self, found: &Found, reports: &Reports) -> BTreeMap<u64, Tag> {
        let mut tags = BTreeMap::new();
        if self.rules.is_empty() {
            return tags;
        }
        for target in reports.values().flat_map(|seen| &*seen.report.targets) {
            if found.get(target.id).is_some() || tags.contains_key(&target.id) {
                continue;
            }
            let tag = self.tagger.tag(&target.job, &|name| target.labels.value(name));
            tags.insert(target.id, tag);
        }
        tags
    }
}

/// In milliseconds.
pub(super) fn millis(interval: Duration) -> u32 {
    u32::try_from(interval.as_millis()).unwrap_or(u32::MAX)
}

impl Cycle {
    /// Takes new placement rules, and what they make of what was found.
    pub(super) fn take_placement(&mut self) {
        let placement = Arc::clone(&self.placements.borrow_and_update());
        self.tags.take(&placement, &self.found, self.limits.max_samples > 0);
    }
}
