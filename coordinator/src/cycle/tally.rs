//! What all shards hold together, counted in one pass: the load of each, and what a replica group lacks. Pure.

use crate::plan::{Holding, Limits, SERIES_PER_SCRAPE, Size, Snapshot, TargetView};

#[derive(Debug)]
pub(super) struct Tally {
    /// In order of shard.
    pub(super) sums: Vec<Sum>,
    /// Targets that are found and that no shard of a group holds, over all groups.
    pub(super) missing: usize,
}

/// What targets weigh, one or those of a shard.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sum {
    pub(super) series: u64,
    /// See [`Limits::load`].
    pub(super) load: u64,
    /// Series that end an hour.
    pub(super) churn: u64,
}

impl Sum {
    fn of(series: u64, interval_ms: u32, churn: u32, limits: &Limits) -> Self {
        let load = limits.load(series, interval_ms, churn);
        Self { series: series.saturating_add(SERIES_PER_SCRAPE), load, churn: churn.into() }
    }

    fn of_target(target: &TargetView, limits: &Limits) -> Self {
        let series = match target.size {
            Size::Counted(series) | Size::Tentative(series) => series,
            Size::Unknown => 0,
        };
        Self::of(series, target.interval_ms, target.churn, limits)
    }
}

impl Tally {
    /// Of targets that are found their size counts, of others what their shard says.
    pub(super) fn of(seen: &Snapshot, limits: &Limits) -> Self {
        let mut held: Vec<(u64, usize, &Holding)> =
            Vec::with_capacity(seen.shards.iter().map(|shard| shard.holdings.len()).sum());
        for (shard, at) in seen.shards.iter().zip(0..) {
            held.extend(shard.holdings.iter().map(|holding| (holding.target, at, holding)));
        }
        // Shards report in order of target: these are runs already.
        held.sort_by_key(|(target, at, _)| (*target, *at));
        let mut tally = Self { sums: vec![Sum::default(); seen.shards.len()], missing: 0 };
        let unknown =
            |holding: &Holding| Sum::of(holding.series, holding.interval_ms, holding.churn, limits);
        let mut rest = held.as_slice();
        for target in &seen.targets {
            let before = rest.iter().take_while(|(held, ..)| *held < target.id).count();
            let (others, after) = rest.split_at(before);
            tally.add(others, unknown);
            let own = after.iter().take_while(|(held, ..)| *held == target.id).count();
            let (same, after) = after.split_at(own);
            let sum = Sum::of_target(target, limits);
            tally.add(same, |_| sum);
            let groups = same.chunk_by(|a, b| group(seen, a.1) == group(seen, b.1)).count();
            tally.missing += (seen.groups as usize).saturating_sub(groups);
            rest = after;
        }
        tally.add(rest, unknown);
        tally
    }

    fn add(&mut self, held: &[(u64, usize, &Holding)], of: impl Fn(&Holding) -> Sum) {
        for (_, at, holding) in held {
            let (sum, one) = (&mut self.sums[*at], of(holding));
            sum.series = sum.series.saturating_add(one.series);
            sum.load = sum.load.saturating_add(one.load);
            sum.churn += one.churn;
        }
    }
}

/// Of a shard, by its place.
fn group(seen: &Snapshot, at: usize) -> Option<u32> {
    seen.shards.get(at).map(|shard| shard.id.group)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::plan::{Condition, ShardId, ShardLife, ShardView, State};

    fn shard(group: u32, ordinal: u32, held: &[u64]) -> ShardView {
        let holding = |target: &u64| Holding {
            target: *target,
            job: Arc::from("j"),
            state: State::Active,
            series: 1_000,
            interval_ms: 0,
            churn: 2,
            scrapes: 1,
            good_scrapes: 1,
            down: false,
        };
        ShardView {
            id: ShardId { group, ordinal },
            capacity: 100,
            condition: Condition::Ready,
            known: true,
            holdings: held.iter().map(holding).collect(),
            life: ShardLife::default(),
        }
    }

    #[test]
    fn what_is_found_counts_with_its_size_and_what_a_group_lacks_is_missing_there() {
        let target = |id, size| {
            let (job, tag) = (Arc::from("j"), crate::plan::Tag::default());
            TargetView { id, job, size, tag, interval_ms: 0, churn: 7 }
        };
        let targets = vec![
            target(2, Size::Counted(10)),
            target(4, Size::Unknown),
            target(6, Size::Tentative(20)),
        ];
        let shards = vec![
            shard(0, 0, &[1, 2, 6]),
            shard(0, 1, &[2, 7]),
            shard(1, 0, &[4]),
            shard(1, 1, &[]),
        ];
        let seen = Snapshot { targets, shards, groups: 2, ..Snapshot::default() };
        let tally = Tally::of(&seen, &Limits::default());
        let series: Vec<u64> = tally.sums.iter().map(|sum| sum.series).collect();
        assert_eq!(series, [1_005 + 15 + 25, 15 + 1_005, 5, 0]);
        assert!(tally.sums.iter().all(|sum| sum.load == sum.series), "samples do not count");
        let churn: Vec<u64> = tally.sums.iter().map(|sum| sum.churn).collect();
        assert_eq!(churn, [2 + 7 + 7, 7 + 2, 7, 0]);
        // The first group lacks 4, the second one 2 and 6.
        assert_eq!(tally.missing, 3);
    }
}
