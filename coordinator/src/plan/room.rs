//! Room for a large target where none has enough: small ones make way, and it follows once they are gone.

use super::bins::{Status, share};
use super::decision::WhyMoved;
use super::group::{Planner, Wanted};
use super::rules::Tag;
use super::shelves::{Fit, Reach, Shelves, Wish, level};
use super::{Budget, Plan, ShardId};

/// Room is made up to this share of what would be fair, in percent.
const GOAL: u64 = 105;

/// In how many bins room is sought.
const TRIED: usize = 4;

/// A target without owner waits no longer for room than this; then a shard is added for it.
const WAIT_MS: i64 = 300_000;

/// Where there will be room, and what leaves for that. Nothing: what has to leave is on its way already.
#[derive(Debug)]
pub(super) struct Room {
    pub(super) at: usize,
    pub(super) first: Vec<Wanted>,
}

impl Planner<'_> {
    /// Where a target without owner that no bin has room for is to wait for it, instead of having a shard added: where
    /// what is leaving leaves enough, or small ones make way. Only where there are shards enough for all targets, and
    /// for the latter one more; else large targets, replaced one after the other, would have ever more of them added.
    pub(super) fn await_room(
        &mut self,
        target: u64,
        load: u64,
        shelves: &mut Shelves,
        budget: &mut Budget,
        plan: &mut Plan,
    ) -> Option<ShardId> {
        let tag = self.tag(target);
        let pinned = self.book.rules.pin(tag.rule).is_some();
        if pinned || !self.is_fine_grained() || !self.has_to_spare(0, self.limits.fill_to) {
            return None;
        }
        let key = (self.group, target);
        let since = self.history.waiting_since.get(&key).copied().unwrap_or(self.now);
        if self.now.saturating_sub(since) > WAIT_MS {
            return None;
        }
        let room = self.room_to_come(tag, load).or_else(|| {
            if !self.has_to_spare(1, self.limits.relieve_to) {
                return None;
            }
            let usable = self.bins.iter().filter(|bin| bin.is_usable() && bin.owner == 0);
            let fill = level(self.common_load(), usable.map(|bin| bin.capacity).sum()) / 10_000;
            let goal = (fill * GOAL / 100).min(self.limits.relieve_to);
            let open = |at: usize| !self.awaited.contains(&at) && self.may_take(tag, at);
            self.make_room(load, goal, shelves, open)
        })?;
        plan.history.waiting_since.insert(key, since);
        plan.busy = true;
        for wanted in room.first {
            self.begin_move(wanted, WhyMoved::Room { load }, budget, plan);
        }
        self.stop_drain(room.at, plan);
        self.awaited.push(room.at);
        self.bins[room.at].reserved += load;
        shelves.close(room.at);
        Some(self.bins[room.at].id)
    }

    /// Whether there are so many shards more than the load needs when they are filled to that many percent. Those that
    /// are lost count: they may return.
    fn has_to_spare(&self, shards: u64, percent: u64) -> bool {
        let needed = self.limits.max_series.saturating_mul(shards);
        let others = self.common_capacity.saturating_sub(needed);
        self.common_load() <= share(others, percent)
    }

    /// A bin that will have room as soon as what is leaving it is gone.
    fn room_to_come(&self, tag: Tag, load: u64) -> Option<Room> {
        let fits = |at: &usize| {
            let bin = &self.bins[*at];
            bin.status == Status::Ready
                && !self.awaited.contains(at)
                && self.may_take(tag, *at)
                && bin.committed.saturating_add(load) <= bin.capacity
        };
        let least = |at: &usize| (self.bins[*at].draining, self.bins[*at].committed, *at);
        let at = (0..self.existing).filter(fits).min_by_key(least)?;
        Some(Room { at, first: Vec::new() })
    }

    /// Room for a load that no bin may take as it is, when bins may be filled to that many percent. `shelves` is where
    /// those go that make way. The bin is the one that holds least, not counting what is leaving it, so that the same
    /// one is chosen until the load has its place; where its small ones do not suffice, one of the next.
    pub(super) fn make_room(
        &self,
        load: u64,
        percent: u64,
        shelves: &mut Shelves,
        allowed: impl Fn(usize) -> bool,
    ) -> Option<Room> {
        let fits = |at: &usize| {
            let bin = &self.bins[*at];
            let usable = bin.status == Status::Ready && !bin.draining && !bin.drained;
            usable && allowed(*at) && share(bin.capacity, percent) >= load
        };
        let least = |at: &usize| {
            let bin = &self.bins[*at];
            i128::from(bin.committed) - i128::from(share(bin.capacity, percent))
        };
        let mut bins: Vec<usize> = (0..self.existing).filter(fits).collect();
        bins.sort_by_key(least);
        bins.truncate(TRIED);
        // Where no other bin stands out for it, if that can be.
        let mut limits = [Some(self.even_level()), None].into_iter();
        limits.find_map(|most| {
            let mut bins = bins.iter();
            bins.find_map(|at| self.make_room_at(*at, load, (percent, most), shelves))
        })
    }

    fn make_room_at(
        &self,
        at: usize,
        load: u64,
        (percent, most): (u64, Option<u64>),
        shelves: &mut Shelves,
    ) -> Option<Room> {
        let limit = share(self.bins[at].capacity, percent);
        let mut lacking = (self.bins[at].committed + load).saturating_sub(limit);
        let mut first: Vec<Wanted> = Vec::new();
        let mut smaller = self.candidates(at);
        smaller.retain(|(small, _)| *small <= load / 2);
        while let Some((small, target)) = smaller.pop().filter(|_| lacking > 0) {
            let wish = self.wish(target, small, Some(at), Reach::Ready);
            let wish = Wish { fit: Fit::Spread, ..wish };
            // Beside a copy of another group it would soon have to leave again, and so on for ever.
            if let Some(to) = shelves.choose_emptiest(wish, most) {
                shelves.reserve(to, small);
                first.push(Wanted { target, load: small, from: at, to });
                lacking = lacking.saturating_sub(small);
            }
        }
        if lacking > 0 {
            first.iter().for_each(|wanted| shelves.release(wanted.to, wanted.load));
            return None;
        }
        Some(Room { at, first })
    }
}
