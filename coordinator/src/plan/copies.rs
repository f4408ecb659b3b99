//! Replica groups hold every target once each, on different ordinals where that can be: what befalls the machines of an
//! ordinal takes one copy away, not all of them.

use super::balance::Allowance;
use super::decision::WhyMoved;
use super::group::{Planner, Wanted};
use super::shelves::Reach;
use super::{Budget, History, Limits, Plan, ShardId, Snapshot, State};

/// Where a target is not to come if it can be helped: where the other groups have it, and where its moves have failed.
/// Target and ordinal, ascending.
#[derive(Debug, Default)]
pub(super) struct Copies(Vec<(u64, u32)>);

impl Copies {
    /// For a group: of those planned before it as planned, of the others as reported.
    pub(super) fn of_others(seen: &Snapshot, plan: &Plan, group: u32) -> Self {
        if seen.groups < 2 {
            return Self::default();
        }
        let before = ..ShardId { group, ordinal: 0 };
        let mut places: Vec<(u64, u32)> = Vec::with_capacity(seen.targets.len());
        for (shard, desired) in plan.shards.range(before) {
            let owned = desired.iter().filter(|desired| desired.state != State::Leaving);
            places.extend(owned.map(|desired| (desired.target, shard.ordinal)));
        }
        for shard in seen.shards.iter().filter(|shard| shard.id.group > group) {
            let owned = shard.holdings.iter().filter(|held| held.state != State::Leaving);
            places.extend(owned.map(|held| (held.target, shard.id.ordinal)));
        }
        places.sort_unstable();
        places.dedup();
        Self(places)
    }

    /// And where the group's own moves have failed lately.
    pub(super) fn with_failed(
        mut self,
        limits: &Limits,
        history: &History,
        group: u32,
        now: i64,
    ) -> Self {
        let failed = history.cooldowns.range((group, 0)..=(group, u64::MAX));
        let remembered = failed.filter(|(_, cooldown)| !cooldown.is_forgotten(limits, now));
        let before = self.0.len();
        for ((_, target), cooldown) in remembered {
            self.0.extend(cooldown.ordinals.iter().map(|ordinal| (*target, *ordinal)));
        }
        if self.0.len() > before {
            self.0.sort_unstable();
            self.0.dedup();
        }
        self
    }

    /// Where the others have a target, or it went in vain.
    pub(super) fn of(&self, target: u64) -> &[(u64, u32)] {
        let from = self.0.partition_point(|(other, _)| *other < target);
        let rest = self.0.get(from..).unwrap_or_default();
        let count = rest.iter().take_while(|(other, _)| *other == target).count();
        &rest[..count]
    }
}

impl Planner<'_> {
    /// Whether another group has a target on a bin's ordinal.
    pub(super) fn has_copy_at(&self, target: u64, index: usize) -> bool {
        let ordinal = self.bins.get(index).map(|bin| bin.id.ordinal);
        self.copies.of(target).iter().any(|(_, other)| Some(*other) == ordinal)
    }

    /// Moves what an earlier group has on the same ordinal, where another shard has room for it: as few at a time as
    /// for balance. The earlier group's stays, so that the two never change places.
    pub(super) fn part(&mut self, allowance: &mut Allowance, budget: &mut Budget, plan: &mut Plan) {
        if self.group == 0 || self.bins.len() > self.existing {
            return;
        }
        let mut together: Vec<Wanted> = Vec::new();
        for from in 0..self.existing {
            for slot in self.bins[from].slots() {
                let settled = slot.state == State::Active && self.is_movable(slot.target);
                if settled && self.has_copy_at(slot.target, from) {
                    let (target, load) = (slot.target, slot.load);
                    together.push(Wanted { target, load, from, to: from });
                }
            }
        }
        if together.is_empty() {
            return;
        }
        together.sort_unstable_by_key(|wanted| wanted.target);
        let mut shelves = self.shelves(self.evenly());
        for wanted in together {
            let Wanted { target, load, from, .. } = wanted;
            let to = shelves.choose_apart(self.wish(target, load, Some(from), Reach::Ready));
            let Some(to) = to else { continue };
            if budget.is_spent() || !allowance.take() {
                return;
            }
            self.begin_move(Wanted { to, ..wanted }, WhyMoved::SameOrdinal, budget, plan);
            shelves.renew(to, &self.bins[to]);
        }
    }
}
