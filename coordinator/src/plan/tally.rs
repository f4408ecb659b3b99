//! What shards hold now and what a replica group lacks, counted in passing: a pass of its own over all targets would cost
//! a third of a plan.

use std::collections::BTreeMap;

use super::{Limits, SERIES_PER_SCRAPE, ShardId};

/// What is there when a plan is made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Of each shard.
    pub sums: BTreeMap<ShardId, Sum>,
    /// Targets that are found and that no shard of a group holds, over all groups.
    pub missing: usize,
}

/// What targets weigh, one or those of a shard.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sum {
    pub series: u64,
    /// See [`Limits::load`].
    pub load: u64,
    /// Series that end an hour.
    pub churn: u64,
}

impl Sum {
    pub(super) fn of(series: u64, interval_ms: u32, churn: u32, limits: &Limits) -> Self {
        let load = limits.load(series, interval_ms, churn);
        Self { series: series.saturating_add(SERIES_PER_SCRAPE), load, churn: churn.into() }
    }

    pub(super) fn add(&mut self, one: Self) {
        self.series = self.series.saturating_add(one.series);
        self.load = self.load.saturating_add(one.load);
        self.churn = self.churn.saturating_add(one.churn);
    }
}
