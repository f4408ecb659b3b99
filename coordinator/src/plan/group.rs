//! One replica group's plan, step by step.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use super::Copies;
use super::bins::{Bin, Doubts, Status, share};
use super::decision::{Decision, MovePhase, MoveReport, Reason};
use super::lifecycle::CutOff;
use super::quarantine;
use super::reconcile::Duplicate;
use super::rules::{RuleBook, Ruled, Tag};
use super::shelves::{Fit, Reach, Shelves, Wish, level};
use super::{Budget, History, Limits, Move, Plan, ShardId, Snapshot, State, Unassigned, WhyMoved};

/// Targets are fine-grained when a shard takes that many of the mean size or more. Only then can shards be equally
/// full, and only then are they kept so; a few large targets are packed as tightly as they go.
const FINE_GRAIN: u64 = 16;

/// A group under planning.
pub(super) struct Planner<'a> {
    pub(super) seen: &'a Snapshot,
    pub(super) limits: &'a Limits,
    pub(super) book: &'a RuleBook<'a>,
    pub(super) history: &'a History,
    pub(super) now: i64,
    pub(super) group: u32,
    /// Where the other groups have each target.
    pub(super) copies: &'a Copies,
    pub(super) bins: Vec<Bin>,
    /// How many of the bins exist.
    pub(super) existing: usize,
    /// Whether most of them are out of reach.
    pub(super) cut_off: Option<CutOff>,
    /// All targets that have a load, and its sum.
    pub(super) total: (u64, u64),
    /// Targets that discovery does not know and that stay nevertheless; ascending.
    pub(super) kept: Vec<u64>,
    /// Sized targets without owner, with their load.
    pub(super) unowned: Vec<(u64, u64)>,
    /// Targets whose only owner is lost, with their load and its bin.
    pub(super) stranded: Vec<(u64, u64, usize)>,
    /// Targets that two shards have, of which one lets go.
    pub(super) duplicates: Vec<Duplicate>,
    /// Bins where room is made.
    pub(super) awaited: Vec<usize>,
    /// Targets whose move this plan rolls back.
    pub(super) failed: BTreeSet<u64>,
    /// Where it has what placement rules are about.
    pub(super) ruled: Ruled,
    /// Targets and load that made shards wanted.
    need: (usize, u64),
    /// The smallest capacity among the bins.
    smallest: u64,
    /// That of all bins that no rule has for itself, lost ones among them.
    pub(super) common_capacity: u64,
}

impl<'a> Planner<'a> {
    pub(super) fn new(
        seen: &'a Snapshot,
        (limits, book): (&'a Limits, &'a RuleBook<'a>),
        history: &'a History,
        now: i64,
        group: u32,
        copies: &'a Copies,
    ) -> Self {
        let shards = seen.shards.iter().filter(|shard| shard.id.group == group);
        let cut_off = CutOff::of(shards.clone());
        let mut bins: Vec<Bin> = shards
            .clone()
            .zip(quarantine::admitted(shards))
            .map(|(shard, quarantined)| {
                let doubts = Doubts { quarantined, cut_off: cut_off.is_some() };
                Bin::existing(shard, doubts, limits, now)
            })
            .collect();
        for bin in &mut bins {
            bin.draining = history.draining.get(&group) == Some(&bin.id.ordinal);
            bin.drained = history.drained.contains(&bin.id);
            bin.owner = book.rules.owner_of(bin.id.ordinal);
        }
        let existing = bins.len();
        let smallest = bins.iter().map(|bin| bin.capacity).min().unwrap_or(limits.max_series);
        let common = bins.iter().filter(|bin| bin.owner == 0);
        let common_capacity = common.map(|bin| bin.capacity).fold(0, u64::saturating_add);
        let mut planner = Self {
            seen,
            limits,
            book,
            history,
            now,
            group,
            copies,
            bins,
            existing,
            cut_off,
            total: (0, 0),
            kept: Vec::new(),
            unowned: Vec::new(),
            stranded: Vec::new(),
            duplicates: Vec::new(),
            awaited: Vec::new(),
            failed: BTreeSet::new(),
            ruled: Ruled::default(),
            need: (0, 0),
            smallest,
            common_capacity,
        };
        planner.shut_shipped();
        planner
    }

    /// Adds the group's part to the plan.
    pub(super) fn run(mut self, budget: &mut Budget, plan: &mut Plan) {
        self.reconcile(plan);
        self.survey();
        self.resume_drain();
        let silent = self.bins.iter().find(|bin| !bin.known && bin.status != Status::Lost);
        if let Some(shard) = silent.map(|bin| bin.id) {
            // It may own any of them: giving them away now would be taken back in a moment.
            for (target, _) in std::mem::take(&mut self.unowned) {
                self.refuse(plan, target, Reason::AwaitingReport { shard });
            }
            plan.busy = true;
        } else {
            self.grow(plan);
            self.place_unowned(budget, plan);
            self.evacuate(budget, plan);
            self.spread(budget, plan);
            self.obey(budget, plan);
            self.relieve(budget, plan);
            self.drain(budget, plan);
            self.balance(budget, plan);
            self.remember_filled(plan);
            self.even_out(budget, plan);
        }
        self.scale(plan);
        self.emit(plan);
    }

    /// Whether targets are small enough for shards to be equally full.
    pub(super) fn is_fine_grained(&self) -> bool {
        let (targets, load) = self.total;
        targets > 0 && load.saturating_mul(FINE_GRAIN) <= self.smallest.saturating_mul(targets)
    }

    pub(super) fn refuse(&self, plan: &mut Plan, target: u64, reason: Reason) {
        plan.unassigned.push(Unassigned { group: self.group, target, reason });
    }

    /// Opens shards before the last ones are full, so many at once that all are comfortably filled.
    fn grow(&mut self, plan: &mut Plan) {
        if !self.is_fine_grained() {
            return;
        }
        // Shards that are for a rule's targets alone grow with these.
        let load = self.common_load();
        let usable = self.bins.iter().filter(|bin| bin.is_usable() && bin.owner == 0);
        let capacity: u64 = usable.map(|bin| bin.capacity).sum();
        if load <= share(capacity, self.limits.relieve_to) {
            return;
        }
        let before = self.bins.len();
        let lacking = load.saturating_sub(share(capacity, self.limits.fill_to));
        let shard = share(self.limits.max_series, self.limits.fill_to).max(1);
        for _ in 0..lacking.div_ceil(shard) {
            if self.open(Tag::default(), 0).is_none() {
                break;
            }
        }
        if self.bins.len() > before {
            let count = |bins: usize| u32::try_from(bins).unwrap_or(u32::MAX);
            let (group, from, to) = (self.group, count(before), count(self.bins.len()));
            plan.decisions.push(Decision::Grow { group, from, to, load, capacity });
        }
    }

    /// Gives targets without owner a place: the largest first.
    fn place_unowned(&mut self, budget: &mut Budget, plan: &mut Plan) {
        let mut unowned = std::mem::take(&mut self.unowned);
        if unowned.is_empty() {
            return;
        }
        let order = |target: u64, load: u64| {
            let pinned = self.book.rules.pin(self.tag(target).rule).is_some();
            (!pinned, Reverse(load), target)
        };
        unowned.sort_unstable_by_key(|(target, load)| order(*target, *load));
        let mut shelves = self.shelves(100);
        for (target, load) in unowned {
            let found = shelves.choose(self.wish(target, load, None, Reach::Any));
            if found.is_none()
                && let Some(shard) = self.await_room(target, load, &mut shelves, budget, plan)
            {
                self.refuse(plan, target, Reason::AwaitingRoom { shard, load });
                continue;
            }
            let Some(index) = self.found_or_open(found, &mut shelves, target, load) else {
                self.refuse(plan, target, self.no_place(target, load));
                self.press(target, load);
                continue;
            };
            self.note_place(target, index);
            let bin = &mut self.bins[index];
            let shard = bin.id;
            if bin.status == Status::Wanted {
                bin.reserved += load;
                shelves.renew(index, bin);
                plan.busy = true;
                self.refuse(plan, target, Reason::AwaitingShard { shard, load });
                continue;
            }
            bin.add(target, State::Active, load);
            self.undrain(index, plan);
            shelves.renew(index, &self.bins[index]);
            plan.placed.push((target, shard, load));
            if self.bins[index].status == Status::Waiting {
                plan.busy = true;
                self.refuse(plan, target, Reason::AwaitingAgent { shard, load });
            }
        }
    }

    /// The bins by their room, when they may be filled to that many percent.
    pub(super) fn shelves(&self, percent: u64) -> Shelves {
        Shelves::new(&self.bins, percent, self.comfortable().min(percent * 10_000))
    }

    /// How full a bin may become before a lesser one is better, in millionths. While shards are being added those that
    /// are there take no more than their fair share, or a hundredth more than what the fullest has anyhow.
    fn comfortable(&self) -> u64 {
        let brim = self.limits.relieve_to * 10_000;
        if self.bins.len() == self.existing {
            return brim;
        }
        let usable = self.bins.iter().filter(|bin| bin.is_usable());
        let capacity: u64 = usable.map(|bin| bin.capacity).sum();
        let ready = self.bins.iter().filter(|bin| bin.status == Status::Ready);
        let fullest = ready.map(|bin| level(bin.committed, bin.capacity)).max().unwrap_or(0);
        (level(self.total.1, capacity) * 102 / 100).max(fullest + 10_000).min(1_000_000)
    }

    /// How places are chosen.
    pub(super) fn fit(&self) -> Fit {
        if self.is_fine_grained() { Fit::Spread } else { Fit::Best }
    }

    fn undrain(&mut self, index: usize, plan: &mut Plan) {
        let bin = &mut self.bins[index];
        if std::mem::take(&mut bin.draining) | std::mem::take(&mut bin.drained) {
            self.tell_undrained(index, plan);
        }
    }

    /// The drain of a shard is over before it is empty.
    pub(super) fn stop_drain(&mut self, index: usize, plan: &mut Plan) {
        if std::mem::take(&mut self.bins[index].draining) {
            self.tell_undrained(index, plan);
        }
    }

    fn tell_undrained(&self, index: usize, plan: &mut Plan) {
        let (shard, load) = (self.bins[index].id, self.bins[index].committed);
        let is_other = |bin: &&Bin| bin.id != shard && bin.status != Status::Wanted;
        let others = self.bins.iter().filter(is_other);
        let room = others.map(Bin::free).sum();
        plan.decisions.push(Decision::DrainStopped { shard, load, room });
    }

    pub(super) fn no_room(&self, load: u64) -> Reason {
        let capacity = self.bins.iter().map(|bin| bin.capacity).max();
        let capacity = capacity.unwrap_or(self.limits.max_series);
        if load > capacity {
            return Reason::Oversize { load, capacity };
        }
        let usable = self.bins.iter().filter(|bin| bin.is_usable());
        let largest_free = usable.map(Bin::free).max().unwrap_or(0);
        Reason::NoRoom { load, largest_free, shards: self.existing }
    }

    /// A bin with room, an existing one if possible; else one that is wanted from now on.
    pub(super) fn find_or_open(
        &mut self,
        shelves: &mut Shelves,
        target: u64,
        load: u64,
        not: Option<usize>,
    ) -> Option<usize> {
        let found = shelves.choose(self.wish(target, load, not, Reach::Any));
        self.found_or_open(found, shelves, target, load)
    }

    /// The bin that was found, else one that is wanted from now on.
    fn found_or_open(
        &mut self,
        found: Option<usize>,
        shelves: &mut Shelves,
        target: u64,
        load: u64,
    ) -> Option<usize> {
        let index = match found {
            Some(index) => index,
            None => {
                let before = self.bins.len();
                let index = self.open(self.tag(target), load)?;
                for opened in before..self.bins.len() {
                    shelves.renew(opened, &self.bins[opened]);
                }
                index
            }
        };
        if self.bins[index].status == Status::Wanted {
            self.need = (self.need.0 + 1, self.need.1 + load);
        }
        Some(index)
    }

    /// A load in search of a place; the emptiest or the fullest that fits, as the group does it.
    pub(super) fn wish(
        &self,
        target: u64,
        load: u64,
        not: Option<usize>,
        reach: Reach,
    ) -> Wish<'_> {
        let (copies, fit, tag) = (self.copies.of(target), self.fit(), self.tag(target));
        Wish { load, not, reach, copies, fit, tag, planner: self }
    }

    /// Wants a shard that may take a target of that kind, and those below it.
    fn open(&mut self, tag: Tag, load: u64) -> Option<usize> {
        let count = u32::try_from(self.bins.len()).ok()?;
        let last = self.book.rules.first_allowed(tag.rule, count)?;
        let possible = self.limits.scalable && last < self.limits.max_shards;
        if !possible || self.is_promised(tag, load) {
            return None;
        }
        for ordinal in count..=last {
            let id = ShardId { group: self.group, ordinal };
            let mut bin = Bin::wanted(id, self.limits.max_series);
            bin.owner = self.book.rules.owner_of(ordinal);
            if bin.owner == 0 {
                self.common_capacity = self.common_capacity.saturating_add(bin.capacity);
            }
            self.bins.push(bin);
        }
        self.smallest = self.smallest.min(self.limits.max_series);
        Some(self.bins.len() - 1)
    }

    /// Moves the targets of lost shards, at a bounded rate. What has no place stays with its owner: it may return.
    fn evacuate(&mut self, budget: &mut Budget, plan: &mut Plan) {
        let mut stranded = std::mem::take(&mut self.stranded);
        if stranded.is_empty() {
            return;
        }
        stranded.sort_unstable_by_key(|(target, load, _)| (Reverse(*load), *target));
        let mut shelves = self.shelves(100);
        plan.busy = true;
        for (target, load, from) in stranded {
            let lost = self.bins[from].id;
            let found = shelves.choose(self.wish(target, load, Some(from), Reach::Any));
            if found.is_none()
                && let Some(shard) = self.await_room(target, load, &mut shelves, budget, plan)
            {
                self.refuse(plan, target, Reason::AwaitingRoom { shard, load });
                continue;
            }
            let place = self.found_or_open(found, &mut shelves, target, load);
            let Some(to) = place else {
                self.press(target, load);
                self.refuse(plan, target, Reason::OwnerLost { shard: lost, load });
                continue;
            };
            if self.bins[to].status != Status::Ready || !budget.take() {
                self.bins[to].reserved += load;
                self.note_place(target, to);
                shelves.renew(to, &self.bins[to]);
                self.refuse(plan, target, Reason::OwnerLost { shard: lost, load });
                continue;
            }
            self.bins[from].take(target);
            self.bins[to].put(target, State::Active, load);
            self.note_place(target, to);
            self.undrain(to, plan);
            shelves.renew(to, &self.bins[to]);
            let (from, to) = (lost, self.bins[to].id);
            let group = self.group;
            plan.moves.push(MoveReport {
                group,
                target,
                from,
                to,
                load,
                phase: MovePhase::Evacuated,
            });
        }
    }

    /// Begins a move, or keeps its place free until its destination is there. Whether it has begun.
    pub(super) fn begin_move(
        &mut self,
        wanted: Wanted,
        why: WhyMoved,
        budget: &mut Budget,
        plan: &mut Plan,
    ) -> bool {
        let Wanted { target, load, from, to } = wanted;
        plan.busy = true;
        // A relative may have come there in between.
        if !self.may_take(self.tag(target), to) {
            return false;
        }
        self.note_place(target, to);
        let possible = self.bins[to].status == Status::Ready && self.bins[from].can_give();
        if !possible || !budget.take() {
            self.bins[to].reserved += load;
            return false;
        }
        self.bins[from].put(target, State::Leaving, load);
        self.bins[to].put(target, State::Joining, load);
        let (from, to) = (self.bins[from].id, self.bins[to].id);
        let group = self.group;
        plan.history.moves.insert((group, target), Move { from, to, since: self.now });
        plan.moves.push(MoveReport { group, target, from, to, load, phase: MovePhase::Begun(why) });
        true
    }

    /// Whether a target went to a bin in vain not long ago.
    pub(super) fn has_failed_at(&self, target: u64, index: usize) -> bool {
        let cooldown = self.history.cooldowns.get(&(self.group, target));
        let remembered = cooldown.filter(|it| !it.is_forgotten(self.limits, self.now));
        remembered.is_some_and(|it| it.ordinals.contains(&self.bins[index].id.ordinal))
    }

    /// Whether a target may be moved now.
    pub(super) fn is_movable(&self, target: u64) -> bool {
        let cooldown = self.history.cooldowns.get(&(self.group, target));
        let resting = cooldown.is_some_and(|cooldown| cooldown.until > self.now);
        !resting && !self.failed.contains(&target)
    }

    /// Targets and load that made shards wanted.
    pub(super) fn need(&self) -> (usize, u64) {
        self.need
    }

    fn emit(self, plan: &mut Plan) {
        for mut bin in self.bins {
            if bin.status != Status::Wanted {
                plan.tally.sums.insert(bin.id, bin.holds);
            }
            if bin.slots().is_empty() {
                if (bin.draining || bin.drained) && bin.status != Status::Wanted {
                    plan.history.drained.insert(bin.id);
                }
            } else if bin.draining {
                plan.history.draining.insert(self.group, bin.id.ordinal);
            }
            let desired = bin.desired();
            let beyond = bin.slots().iter().filter(|slot| slot.load > bin.capacity);
            plan.oversize.extend(beyond.map(|slot| (slot.target, bin.id, slot.load)));
            if bin.known && bin.status != Status::Wanted {
                plan.shards.insert(bin.id, desired);
            }
        }
    }
}

/// A move that is wanted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    pub(super) target: u64,
    pub(super) load: u64,
    pub(super) from: usize,
    pub(super) to: usize,
}
