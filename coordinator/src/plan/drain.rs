//! The highest shard is emptied when the others can take what it has. For a large target room is made first.

use std::cmp::Reverse;

use super::bins::{Bin, Status, share};
use super::decision::{Decision, WhyMoved};
use super::group::{Planner, Wanted};
use super::shelves::{Reach, Shelves, level};
use super::{Budget, Plan, State};

/// Of fine-grained targets the others have to have room for this much more than what the shard holds, in percent of its
/// capacity, before it is drained: loads that go up and down a little do not open and empty shards all the time.
const SPARE: u64 = 10;

/// Others have to have had room for that long before the drain of a shard of fine-grained targets begins: a large one
/// that is away for a moment will be back.
const PATIENCE_MS: i64 = 180_000;

/// A drain that takes longer no longer waits for places where nothing stands out.
const HURRY_MS: i64 = 300_000;

/// Room for a large one is made so that its new shard has no more than this share of what will be fair, in percent.
const EVEN: u64 = 105;

/// For so many large targets room is made at the same time.
const ROOMS: usize = 4;

impl Planner<'_> {
    /// Empties the highest shard that holds something when the others can take it all and stay below the band.
    pub(super) fn drain(&mut self, budget: &mut Budget, plan: &mut Plan) {
        let wanted = self.bins.len() > self.existing;
        if self.limits.max_idle.is_zero() || !self.limits.scalable || wanted {
            for index in 0..self.bins.len() {
                self.stop_drain(index, plan);
            }
            return;
        }
        let highest = self.bins.iter().rposition(|bin| !bin.slots().is_empty());
        let minimum = usize::try_from(self.limits.min_shards).unwrap_or(usize::MAX);
        let Some(from) = highest.filter(|from| *from >= minimum.max(1)) else { return };
        let was_draining = self.bins[from].draining;
        let below = &self.bins[..=from];
        let all_ready = below.iter().all(|bin| bin.status == Status::Ready);
        if was_draining && !all_ready && below.iter().all(Bin::is_usable) {
            // One is being restarted, say: what was begun goes on once it is back.
            plan.history.draining_since.insert(self.group, self.draining_since());
            plan.busy = true;
            return;
        }
        // Once begun it may go further than where it would begin: that keeps it from turning back at the edge.
        let percent = if was_draining { self.limits.relieve_to } else { self.limits.drain_to };
        let fits = all_ready && self.fits_below(from, percent);
        let places = if fits { self.places_below(from) } else { None };
        let Some((places, rooms)) = places else {
            self.stop_drain(from, plan);
            return;
        };
        plan.busy = true;
        if !was_draining {
            let since = self.history.spare_since.get(&self.group).copied().unwrap_or(self.now);
            if self.is_fine_grained() && self.now.saturating_sub(since) < PATIENCE_MS {
                plan.history.spare_since.insert(self.group, since);
                return;
            }
            let (shard, load) = (self.bins[from].id, self.bins[from].committed);
            let room = self.bins[..from].iter().map(Bin::free).sum();
            plan.decisions.push(Decision::DrainBegun { shard, load, room });
            self.bins[from].draining = true;
        }
        self.awaited.extend(rooms);
        plan.history.draining_since.insert(self.group, self.draining_since());
        self.hand_down(from, places, budget, plan);
    }

    /// A coordinator that knows of nothing yet finds the highest shard half empty, with moves from it to others under
    /// way: its drain goes on.
    pub(super) fn resume_drain(&mut self) {
        let knows = self.history.filled.iter().any(|id| id.group == self.group);
        let highest = self.bins.iter().rposition(|bin| !bin.slots().is_empty());
        let Some(at) = highest.filter(|_| !knows && self.is_fine_grained()) else { return };
        let bin = &self.bins[at];
        let leaves = bin.slots().iter().any(|slot| slot.state == State::Leaving);
        let (held, capacity) = self.evenness(bin.owner);
        let half = level(bin.committed, bin.capacity) < level(held, capacity) / 2;
        self.bins[at].draining |= leaves && half;
    }

    fn draining_since(&self) -> i64 {
        self.history.draining_since.get(&self.group).copied().unwrap_or(self.now)
    }

    fn is_in_a_hurry(&self) -> bool {
        self.now.saturating_sub(self.draining_since()) > HURRY_MS
    }

    /// Begins what can begin without a shard that stands out meanwhile: what waits for that does so until the others hold
    /// more. When nothing is left but such, it goes nevertheless, one after the other.
    fn hand_down(
        &mut self,
        from: usize,
        places: Vec<Wanted>,
        budget: &mut Budget,
        plan: &mut Plan,
    ) {
        let even = self.evenness(self.bins[from].owner);
        let mut under_way = self.bins.iter().any(|bin| bin.reserved > 0);
        let gently = self.is_fine_grained() && !self.is_in_a_hurry();
        let mut waiting = Vec::new();
        for wanted in places {
            if !self.is_movable(wanted.target) {
                continue;
            }
            if gently && !self.stays_even(wanted.to, wanted.load, even) {
                self.bins[wanted.to].reserved += wanted.load;
                self.awaited.push(wanted.to);
                waiting.push(wanted);
                continue;
            }
            under_way |= self.begin_move(wanted, WhyMoved::Drain, budget, plan);
        }
        if let Some(wanted) = waiting.pop().filter(|_| !under_way) {
            self.bins[wanted.to].reserved -= wanted.load;
            self.begin_move(wanted, WhyMoved::Drain, budget, plan);
        }
    }

    /// Whether the bins below have room for all that a bin owns when they are filled to that many percent, and some to
    /// spare.
    fn fits_below(&self, from: usize, percent: u64) -> bool {
        let bin = &self.bins[from];
        let owned = bin.slots().iter().filter(|slot| slot.state == State::Active);
        let load: u64 = owned.map(|slot| slot.load).sum();
        // Shards that are for a rule's targets alone take nothing else.
        let below = self.bins[..from].iter().filter(|other| other.owner == bin.owner);
        let room: u64 = below.filter_map(|bin| bin.room(percent)).sum();
        let begun = bin.draining || !self.is_fine_grained();
        let spare = if begun { 0 } else { share(bin.capacity, SPARE) };
        load.saturating_add(spare) <= room
    }

    /// How full a bin below may be once everything is there, in percent, without standing out.
    fn even_below(&self, from: usize) -> u64 {
        let pool = self.bins[..=from].iter().filter(|bin| bin.owner == self.bins[from].owner);
        let load = pool.clone().map(|bin| bin.committed).sum();
        let below = pool.filter(|bin| bin.id != self.bins[from].id);
        let capacity = below.map(|bin| bin.capacity).sum();
        level(load, capacity) * EVEN / 1_000_000
    }

    /// A place below for everything that a bin owns, or what has to make room there first, and where that is; `None` when
    /// something can have neither. Of fine-grained targets a single bin may take more than all of them on average: it is they that
    /// are to stay below the band.
    fn places_below(&self, from: usize) -> Option<(Vec<Wanted>, Vec<usize>)> {
        let fine = self.is_fine_grained() || self.bins[from].draining;
        let percent = if fine { self.limits.relieve_to } else { self.limits.drain_to };
        let even = self.even_below(from);
        let gently = fine && even < percent && !self.is_in_a_hurry();
        let evenly = gently.then(|| self.places_within(from, even, even));
        let goal = if fine { even.min(percent) } else { percent };
        evenly.flatten().or_else(|| self.places_within(from, percent, goal))
    }

    /// The same, where bins may be filled to that many percent, and those where room is made to `goal`.
    fn places_within(
        &self,
        from: usize,
        percent: u64,
        goal: u64,
    ) -> Option<(Vec<Wanted>, Vec<usize>)> {
        let owned = self.bins[from].slots().iter().filter(|slot| slot.state == State::Active);
        let mut leaving: Vec<(u64, u64)> = owned.map(|slot| (slot.load, slot.target)).collect();
        leaving.sort_unstable_by_key(|(load, target)| (Reverse(*load), *target));
        let mut shelves = Shelves::new(&self.bins[..from], percent, percent * 10_000);
        let mut places = Vec::with_capacity(leaving.len());
        let mut rooms = Vec::new();
        for (load, target) in leaving {
            let to = shelves.choose(self.wish(target, load, None, Reach::Ready));
            if let Some(to) = to.filter(|to| !self.has_failed_at(target, *to)) {
                shelves.reserve(to, load);
                places.push(Wanted { target, load, from, to });
                continue;
            }
            if rooms.len() == ROOMS {
                return None;
            }
            let tag = self.tag(target);
            let open = |at: usize| self.may_take(tag, at) && !self.has_failed_at(target, at);
            let room = self.make_room(load, goal, &mut shelves, |at| {
                at < from && !rooms.contains(&at) && open(at)
            })?;
            // Nothing else comes there meanwhile.
            shelves.close(room.at);
            // One after the other: where room is made there is less than elsewhere, for a while.
            if rooms.is_empty() || !self.is_fine_grained() {
                places.extend(room.first);
            }
            rooms.push(room.at);
        }
        Some((places, rooms))
    }
}
