//! Shards of fine-grained targets are kept equally full, with the fewest moves: large targets first, and only once a
//! shard stands out.

use std::collections::BTreeSet;

use super::bins::{Bin, Status, share};
use super::decision::WhyMoved;
use super::group::{Planner, Wanted};
use super::shelves::level;
use super::{Budget, Plan};

/// A shard that holds more than this share of what would be fair gives some away, in percent...
const BEGIN_AT: u64 = 106;
/// ...until it is down to this; nor is any filled further by it.
const GOAL: u64 = 102;

impl Planner<'_> {
    /// Moves load from shards that stand out to the emptiest. Every move makes the fullest of the two less full than it
    /// was, so this comes to rest; between the two bounds nothing moves.
    pub(super) fn balance(&mut self, budget: &mut Budget, plan: &mut Plan) {
        let unsettled = self.bins.len() > self.existing || self.bins.iter().any(|bin| bin.draining);
        if unsettled || !self.is_fine_grained() {
            return;
        }
        let fair = |bin: &Bin| bin.status == Status::Ready && !bin.drained && !bin.holds_oversize();
        let (mut load, mut capacity) = (0u64, 0u64);
        for bin in self.bins.iter().filter(|bin| fair(bin)) {
            load = load.saturating_add(bin.committed);
            capacity = capacity.saturating_add(bin.capacity);
        }
        let mean = |bin: &Bin| {
            let fair = u128::from(bin.capacity) * u128::from(load) / u128::from(capacity.max(1));
            u64::try_from(fair).unwrap_or(u64::MAX)
        };
        let ready: Vec<usize> = (0..self.bins.len()).filter(|at| fair(&self.bins[*at])).collect();
        let stands_out = |at: &&usize| {
            let bin = &self.bins[**at];
            bin.committed > share(mean(bin), BEGIN_AT)
        };
        let mut donors: Vec<usize> = ready.iter().filter(stands_out).copied().collect();
        if donors.is_empty() {
            return;
        }
        let level_of = |bin: &Bin| level(bin.used(), bin.capacity);
        donors.sort_by_key(|at| std::cmp::Reverse(level_of(&self.bins[*at])));
        let mut takers: BTreeSet<(u64, usize)> =
            ready.iter().map(|at| (level_of(&self.bins[*at]), *at)).collect();
        for from in donors {
            let fair = mean(&self.bins[from]);
            let mut candidates = self.candidates(from);
            let why = WhyMoved::Balance { load: self.bins[from].committed, mean: fair };
            while self.bins[from].committed > share(fair, GOAL) && !budget.is_spent() {
                let Some((level, to)) = takers.first().copied() else { return };
                let taker = &self.bins[to];
                let brim =
                    share(mean(taker), GOAL).min(share(taker.capacity, self.limits.relieve_to));
                let deficit = brim.saturating_sub(taker.used());
                let excess = self.bins[from].committed - share(fair, GOAL);
                // The smallest that suffices, else the largest that the other one takes.
                let fitting = candidates.partition_point(|(load, _)| *load <= deficit);
                let sufficient = candidates.partition_point(|(load, _)| *load < excess);
                let at =
                    if sufficient < fitting { Some(sufficient) } else { fitting.checked_sub(1) };
                let Some(at) = at.filter(|_| to != from) else { break };
                let (load, target) = candidates.remove(at);
                self.begin_move(Wanted { target, load, from, to }, why, budget, plan);
                takers.remove(&(level, to));
                takers.insert((level_of(&self.bins[to]), to));
            }
        }
    }
}
