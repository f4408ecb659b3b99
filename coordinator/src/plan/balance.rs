//! Shards of fine-grained targets are kept equally full, with the fewest moves: large targets first, only once a shard
//! stands out, and no more than a small share of all targets in an hour.

use std::collections::BTreeSet;

use super::bins::{Bin, Status, share};
use super::decision::WhyMoved;
use super::group::{Planner, Wanted};
use super::shelves::level;
use super::{Budget, Plan};

/// A shard that holds more than this share of what would be fair gives some away, in percent...
const BEGIN_AT: u64 = 107;
/// ...until it is down to this; nor is any filled further by it.
const GOAL: u64 = 102;
/// Shards that make room for a large target fill others up to this.
const AROUND: u64 = 105;

/// Of all targets one in so many may be moved by it at once, and again in each hour...
const ONE_IN: u64 = 200;
/// ...but always a few: a small cluster has to come to rest, too.
const ALWAYS: u64 = 8;

const HOUR_MS: u64 = 3_600_000;

impl Planner<'_> {
    /// Moves load from shards that stand out to the emptiest. Every move makes the fullest of the two less full than it
    /// was, so this comes to rest; between the two bounds nothing moves.
    pub(super) fn balance(&mut self, budget: &mut Budget, plan: &mut Plan) {
        let mut allowance = Allowance::refilled(self);
        if self.bins.len() == self.existing && self.is_fine_grained() {
            self.level_out(&mut allowance, budget, plan);
        }
        plan.history.balanced.insert(self.group, (allowance.thousandths, self.now));
    }

    fn level_out(&mut self, allowance: &mut Allowance, budget: &mut Budget, plan: &mut Plan) {
        let fair = |bin: &Bin| {
            let settled = !bin.draining && !bin.drained;
            bin.status == Status::Ready && settled && !bin.holds_oversize()
        };
        let ready: Vec<usize> = (0..self.bins.len()).filter(|at| fair(&self.bins[*at])).collect();
        let (mut load, mut capacity) = (0u64, 0u64);
        for bin in ready.iter().map(|at| &self.bins[*at]) {
            load = load.saturating_add(bin.committed);
            capacity = capacity.saturating_add(bin.capacity);
        }
        let mean = |bin: &Bin| {
            let fair = u128::from(bin.capacity) * u128::from(load) / u128::from(capacity.max(1));
            u64::try_from(fair).unwrap_or(u64::MAX)
        };
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
            while self.bins[from].committed > share(fair, GOAL) {
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
                if budget.is_spent() || !allowance.take() {
                    return;
                }
                let (load, target) = candidates.remove(at);
                self.begin_move(Wanted { target, load, from, to }, why, budget, plan);
                takers.remove(&(level, to));
                takers.insert((level_of(&self.bins[to]), to));
            }
            if self.bins[from].committed > share(fair, BEGIN_AT) {
                let fill = level(load, capacity) / 10_000;
                self.make_way(from, &candidates, (fair, fill), allowance, budget, plan);
                return;
            }
        }
    }

    /// What stands out does so for large targets, which nobody has room for: small ones make way for the smallest of
    /// them that suffices. It follows in a later plan.
    fn make_way(
        &mut self,
        from: usize,
        candidates: &[(u64, u64)],
        (fair, fill): (u64, u64),
        allowance: &mut Allowance,
        budget: &mut Budget,
        plan: &mut Plan,
    ) {
        let committed = self.bins[from].committed;
        let excess = committed.saturating_sub(share(fair, GOAL));
        let Some((load, _)) = candidates.iter().find(|(load, _)| *load >= excess) else { return };
        // It would stand out where it comes to, too.
        if *load > share(fair, GOAL) {
            return;
        }
        let around = (fill * AROUND / 100).min(self.limits.relieve_to);
        let mut shelves = self.shelves(around);
        let goal = (fill * GOAL / 100).min(self.limits.relieve_to);
        let Some(room) = self.make_room(*load, goal, &mut shelves, |at| at != from) else { return };
        plan.busy = true;
        let why = WhyMoved::Balance { load: committed, mean: fair };
        for wanted in room.first {
            if budget.is_spent() || !allowance.take() {
                return;
            }
            self.begin_move(wanted, why, budget, plan);
        }
    }
}

/// How many moves a group may still begin for balance.
#[derive(Debug)]
struct Allowance {
    thousandths: u64,
}

impl Allowance {
    fn refilled(planner: &Planner<'_>) -> Self {
        let (targets, _) = planner.total;
        let full = (targets / ONE_IN).max(ALWAYS) * 1_000;
        let left = planner.history.balanced.get(&planner.group).copied();
        let thousandths = left.map_or(full, |(left, at)| {
            let elapsed = u64::try_from(planner.now.saturating_sub(at)).unwrap_or(0);
            let gained = u128::from(full) * u128::from(elapsed) / u128::from(HOUR_MS);
            left.saturating_add(u64::try_from(gained).unwrap_or(u64::MAX)).min(full)
        });
        Self { thousandths }
    }

    fn take(&mut self) -> bool {
        let rest = self.thousandths.checked_sub(1_000);
        self.thousandths = rest.unwrap_or(self.thousandths);
        rest.is_some()
    }
}
