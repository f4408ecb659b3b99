//! What is not where the placement rules want it moves there, where there is room.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::balance::Allowance;
use super::bins::{Bin, Status};
use super::decision::{Decision, Reason, WhyMoved};
use super::group::{Planner, Wanted};
use super::rules::Tag;
use super::shelves::{Reach, Shelves};
use super::{Budget, Plan, State};

/// For so many pinned targets others make way at the same time.
const PRESSED: usize = 64;

/// A target in a wrong place.
#[derive(Debug, Clone, Copy)]
struct Misplaced {
    target: u64,
    load: u64,
    from: usize,
    tag: Tag,
    why: WhyMoved,
}

impl Planner<'_> {
    /// Moves what pins or a required spread want elsewhere. What finds no place there stays where it is: scraped in
    /// the wrong place is better than not scraped.
    pub(super) fn obey(&mut self, budget: &mut Budget, plan: &mut Plan) {
        if self.book.is_empty() {
            return;
        }
        // Filled comfortably if that goes, else to the brim, else with a new shard.
        let mut both = [self.limits.relieve_to, 100].map(|percent| self.shelves(percent));
        let (mut targets, mut load) = (0, 0u64);
        for misplaced in self.misplaced() {
            if !self.put_right(misplaced, &mut both, budget, plan) {
                targets += 1;
                load = load.saturating_add(misplaced.load);
            }
        }
        self.make_way_for_pins(&mut both, budget, plan);
        if targets > 0 {
            plan.decisions.push(Decision::Misplaced { group: self.group, targets, load });
        }
    }

    /// Settled targets where they must not be: pinned ones first, then the largest.
    fn misplaced(&self) -> Vec<Misplaced> {
        let mut misplaced: Vec<Misplaced> = Vec::new();
        for (from, bin) in self.bins[..self.existing].iter().enumerate() {
            // The lost are evacuated, what is in quarantine is spread, and others can hand nothing over yet.
            if bin.status != Status::Ready || bin.quarantined {
                continue;
            }
            let mut seen: BTreeMap<u32, u64> = BTreeMap::new();
            for slot in bin.slots().iter().filter(|slot| slot.state == State::Active) {
                let (target, load, tag) = (slot.target, slot.load, self.tag(slot.target));
                let why = if !self.is_in_place(tag, from) {
                    WhyMoved::Pinned { rule: if bin.owner > 0 { bin.owner } else { tag.rule } }
                } else if self.is_crowded(tag, from, &mut seen) {
                    WhyMoved::Apart { rule: tag.rule }
                } else {
                    continue;
                };
                misplaced.push(Misplaced { target, load, from, tag, why });
            }
        }
        let pinned = |tag: Tag| self.book.rules.pin(tag.rule).is_some();
        misplaced.sort_unstable_by_key(|found| {
            (!pinned(found.tag), Reverse(found.load), found.target, found.from)
        });
        misplaced
    }

    /// Whether a bin has, of a family that is strictly kept apart, one that is in place already.
    fn is_crowded(&self, tag: Tag, at: usize, seen: &mut BTreeMap<u32, u64>) -> bool {
        if !self.is_strict(tag) || self.relatives(tag, at) < 2 {
            return false;
        }
        let before = seen.entry(tag.family).or_default();
        *before += 1;
        *before > 1
    }

    /// Whether it has a place, or gets one in time.
    fn put_right(
        &mut self,
        misplaced: Misplaced,
        both: &mut [Shelves; 2],
        budget: &mut Budget,
        plan: &mut Plan,
    ) -> bool {
        let Misplaced { target, load, from, why, .. } = misplaced;
        if !self.is_movable(target) || budget.is_spent() {
            plan.busy = true;
            return true;
        }
        let Some(to) = self.find_for_move(target, load, from, both) else {
            self.press(target, load);
            return false;
        };
        self.begin_move(Wanted { target, load, from, to }, why, budget, plan);
        self.renew(both, [from, to]);
        true
    }

    fn find_for_move(
        &mut self,
        target: u64,
        load: u64,
        from: usize,
        [comfortable, brim]: &mut [Shelves; 2],
    ) -> Option<usize> {
        let not = Some(from);
        let wish = self.wish(target, load, not, Reach::Existing);
        comfortable.choose(wish).or_else(|| self.find_or_open(brim, target, load, not))
    }

    fn renew(&self, both: &mut [Shelves; 2], changed: [usize; 2]) {
        for shelves in both {
            for at in changed {
                shelves.renew(at, &self.bins[at]);
            }
        }
    }

    /// Remembers a target that has no place, if it is pinned: others may make way for it.
    pub(super) fn press(&mut self, target: u64, load: u64) {
        let tag = self.tag(target);
        if self.book.rules.pin(tag.rule).is_some() {
            self.ruled.pressed.push((target, load, tag));
        }
    }

    /// On shards that are full, what is not pinned leaves for what is and has no other place. The latter follows in a
    /// later plan.
    fn make_way_for_pins(&mut self, both: &mut [Shelves; 2], budget: &mut Budget, plan: &mut Plan) {
        let mut pressed = std::mem::take(&mut self.ruled.pressed);
        pressed.sort_unstable_by_key(|(target, load, _)| (Reverse(*load), *target));
        let mut claimed: BTreeMap<usize, u64> = BTreeMap::new();
        for (_, load, tag) in pressed.into_iter().take(PRESSED) {
            let Some(at) = self.most_yielding(tag, load, &claimed) else { continue };
            let bin = &self.bins[at];
            let claims = claimed.entry(at).or_default();
            *claims += load.min(bin.capacity);
            let lacking = (bin.committed + *claims).saturating_sub(bin.capacity);
            self.clear(at, lacking, both, budget, plan);
        }
    }

    /// Of the shards of a pin the one with the most room but for what is not pinned: the same one until the room is
    /// there.
    fn most_yielding(&self, tag: Tag, load: u64, claimed: &BTreeMap<usize, u64>) -> Option<usize> {
        let room = |at: &usize| {
            let bin = &self.bins[*at];
            let kept = bin.committed.saturating_sub(self.foreign(*at));
            let claims = claimed.get(at).copied().unwrap_or(0);
            bin.capacity
                .checked_sub(kept.saturating_add(claims).saturating_add(load.min(bin.capacity)))
        };
        let open = |at: &usize| {
            let bin = &self.bins[*at];
            bin.status == Status::Ready && self.may_take(tag, *at) && self.foreign(*at) > 0
        };
        let room = (0..self.existing).filter(open).filter_map(|at| Some((room(&at)?, Reverse(at))));
        room.max().map(|(_, Reverse(at))| at)
    }

    fn foreign(&self, at: usize) -> u64 {
        let owned = self.bins[at].slots().iter().filter(|slot| slot.state == State::Active);
        let foreign =
            owned.filter(|slot| self.book.rules.pin(self.tag(slot.target).rule).is_none());
        foreign.map(|slot| slot.load).sum()
    }

    /// Moves off a shard what is not pinned, until that much is gone: the smallest that suffices, else the largest.
    fn clear(
        &mut self,
        from: usize,
        mut lacking: u64,
        both: &mut [Shelves; 2],
        budget: &mut Budget,
        plan: &mut Plan,
    ) {
        let free = |(_, target): &(u64, u64)| self.book.rules.pin(self.tag(*target).rule).is_none();
        let mut candidates: Vec<_> = self.candidates(from).into_iter().filter(free).collect();
        while lacking > 0 && !candidates.is_empty() && !budget.is_spent() {
            let sufficient = candidates.partition_point(|(load, _)| *load < lacking);
            let (load, target) = candidates.remove(sufficient.min(candidates.len() - 1));
            let Some(to) = self.find_for_move(target, load, from, both) else { continue };
            let why = WhyMoved::Yield { load: lacking };
            self.begin_move(Wanted { target, load, from, to }, why, budget, plan);
            self.renew(both, [from, to]);
            lacking = lacking.saturating_sub(load);
        }
    }

    /// Targets that are evenly spread by a rule: moves those that are one too many on their shard to others, as few at
    /// a time as for balance.
    pub(super) fn thin_out(
        &mut self,
        allowance: &mut Allowance,
        budget: &mut Budget,
        plan: &mut Plan,
    ) {
        if self.book.is_empty() || self.bins.len() > self.existing {
            return;
        }
        let surplus = self.surplus();
        if surplus.is_empty() {
            return;
        }
        let mut shelves = self.shelves(self.evenly());
        for wanted in surplus {
            let Wanted { target, load, from, .. } = wanted;
            let tag = self.tag(target);
            let to = shelves.choose_apart(self.wish(target, load, Some(from), Reach::Ready));
            let Some(to) = to else { continue };
            if budget.is_spent() || !allowance.take() {
                return;
            }
            let why = WhyMoved::Apart { rule: tag.rule };
            self.begin_move(Wanted { to, ..wanted }, why, budget, plan);
            shelves.renew(to, &self.bins[to]);
        }
    }

    /// The smallest of those of a family that a shard has beyond its share.
    fn surplus(&self) -> Vec<Wanted> {
        let mut surplus = Vec::new();
        for (from, bin) in self.bins[..self.existing].iter().enumerate() {
            let mut beyond: BTreeMap<u32, u64> = BTreeMap::new();
            for slot in bin.slots().iter().filter(|slot| slot.state != State::Leaving) {
                *beyond.entry(self.tag(slot.target).family).or_default() += 1;
            }
            beyond.remove(&0);
            for (load, target) in self.candidates(from) {
                let tag = self.tag(target);
                let Some(count) = beyond.get_mut(&tag.family) else { continue };
                if *count > self.fair_share(tag) {
                    *count -= 1;
                    surplus.push(Wanted { target, load, from, to: from });
                }
            }
        }
        surplus
    }

    /// Why a target has no place.
    pub(super) fn no_place(&self, target: u64, load: u64) -> Reason {
        let tag = self.tag(target);
        let usable = |bin: &&Bin| bin.is_usable() && bin.known;
        let mut open: Vec<usize> = Vec::new();
        for (at, _) in self.bins.iter().enumerate().filter(|(_, bin)| usable(bin)) {
            if self.is_in_place(tag, at) {
                open.push(at);
            }
        }
        let largest_free = open.iter().map(|at| self.bins[*at].free()).max();
        let rule = self.book.name(tag.rule);
        if self.book.rules.pin(tag.rule).is_some() {
            return match largest_free {
                Some(free) if free < load => Reason::PinnedFull { rule, load, free },
                None => Reason::PinnedNowhere { rule },
                Some(_) => Reason::Apart { rule, shards: open.len() },
            };
        }
        if self.is_strict(tag) && largest_free.is_some_and(|free| free >= load) {
            return Reason::Apart { rule, shards: open.len() };
        }
        self.no_room(load)
    }
}
