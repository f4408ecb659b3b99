//! A group's shards as bins: what each is to hold and what still fits.

use super::lifecycle::grace;
use super::tally::Sum;
use super::{Condition, Desired, Limits, ShardId, ShardView, State, quarantine};

/// A shard under planning, existing or wanted.
#[derive(Debug)]
pub(super) struct Bin {
    pub(super) id: ShardId,
    pub(super) capacity: u64,
    pub(super) status: Status,
    pub(super) known: bool,
    /// Whether what it holds was said in this turn, and it can be told something.
    pub(super) heard: bool,
    pub(super) draining: bool,
    /// Drained, and empty since: filled last.
    pub(super) drained: bool,
    /// The placement rule that it is for alone; 0: none.
    pub(super) owner: u16,
    /// Its Prometheus crashes again and again.
    pub(super) quarantined: bool,
    /// What it holds now.
    pub(super) holds: Sum,
    /// Load of what it owns or is about to own.
    pub(super) committed: u64,
    /// Load of what leaves it (and may come back) or is on its way to it.
    pub(super) reserved: u64,
    /// Distinct by target.
    slots: Vec<Slot>,
    /// Whether `slots` ascend; what is put in order needs no sorting.
    sorted: bool,
    /// How many of its own targets alone exceed the capacity.
    oversize: usize,
}

/// What does not show in a shard's condition.
#[derive(Debug, Clone, Copy)]
pub(super) struct Doubts {
    /// It is treated as quarantined.
    pub(super) quarantined: bool,
    /// Whether it is the coordinator that is cut off; see [`super::lifecycle::CutOff`].
    pub(super) cut_off: bool,
}

/// A target in a bin.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slot {
    pub(super) target: u64,
    pub(super) load: u64,
    pub(super) state: State,
}

/// What can be done with a bin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Status {
    /// Takes targets and moves.
    Ready,
    /// Has room that counts, but moves to it cannot begin yet.
    Waiting,
    /// Keeps what it has, takes nothing, and its room does not count.
    Shunned,
    /// In trouble for longer than the grace time: its room does not count.
    Lost,
    /// Does not exist yet.
    Wanted,
}

impl Bin {
    pub(super) fn existing(shard: &ShardView, doubts: Doubts, limits: &Limits, now: i64) -> Self {
        let status = status(shard, doubts, limits, now);
        let (known, heard) = (shard.known, !shard.life.silent);
        let quarantined = doubts.quarantined;
        let slots = Vec::with_capacity(shard.holdings.len());
        Self { known, heard, status, quarantined, slots, ..Self::wanted(shard.id, shard.capacity) }
    }

    pub(super) fn wanted(id: ShardId, capacity: u64) -> Self {
        Self {
            id,
            capacity,
            status: Status::Wanted,
            known: true,
            heard: false,
            draining: false,
            drained: false,
            owner: 0,
            quarantined: false,
            holds: Sum::default(),
            committed: 0,
            reserved: 0,
            slots: Vec::new(),
            sorted: true,
            oversize: 0,
        }
    }

    /// Gives it a target that it does not have.
    pub(super) fn add(&mut self, target: u64, state: State, load: u64) {
        let slot = Slot { target, load, state };
        self.count(slot);
        self.sorted &= self.slots.last().is_none_or(|last| last.target < target);
        self.slots.push(slot);
    }

    /// Gives it a target, or changes the state of one that it has.
    pub(super) fn put(&mut self, target: u64, state: State, load: u64) {
        match self.position(target) {
            None => self.add(target, state, load),
            Some(at) => {
                self.uncount(self.slots[at]);
                self.slots[at] = Slot { target, load, state };
                self.count(self.slots[at]);
            }
        }
    }

    /// Takes a target from it.
    pub(super) fn take(&mut self, target: u64) {
        if let Some(at) = self.position(target) {
            let slot = self.slots.remove(at);
            self.uncount(slot);
        }
    }

    fn position(&mut self, target: u64) -> Option<usize> {
        if self.sorted && self.slots.last().is_none_or(|last| last.target < target) {
            return None;
        }
        self.sort();
        self.slots.binary_search_by_key(&target, |slot| slot.target).ok()
    }

    fn sort(&mut self) {
        if !self.sorted {
            self.slots.sort_unstable_by_key(|slot| slot.target);
            self.sorted = true;
        }
    }

    fn count(&mut self, slot: Slot) {
        if slot.state == State::Leaving {
            self.reserved += slot.load;
        } else {
            self.committed += slot.load;
            self.oversize += usize::from(slot.load > self.capacity);
        }
    }

    fn uncount(&mut self, slot: Slot) {
        if slot.state == State::Leaving {
            self.reserved -= slot.load;
        } else {
            self.committed -= slot.load;
            self.oversize -= usize::from(slot.load > self.capacity);
        }
    }

    /// Its share of the load of shards that have so much capacity together.
    pub(super) fn fair(&self, load: u64, capacity: u64) -> u64 {
        let fair = u128::from(self.capacity) * u128::from(load) / u128::from(capacity.max(1));
        u64::try_from(fair).unwrap_or(u64::MAX)
    }

    /// Whether its Prometheus is there to hand a target over.
    pub(super) fn can_give(&self) -> bool {
        self.status == Status::Ready || (self.quarantined && self.status == Status::Shunned)
    }

    /// Whether its room counts.
    pub(super) fn is_usable(&self) -> bool {
        !matches!(self.status, Status::Lost | Status::Shunned)
    }

    pub(super) fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// What it is to hold, ascending by target.
    pub(super) fn desired(&mut self) -> Vec<Desired> {
        self.sort();
        let desired = |slot: &Slot| Desired { target: slot.target, state: slot.state };
        self.slots.iter().map(desired).collect()
    }

    pub(super) fn used(&self) -> u64 {
        self.committed + self.reserved
    }

    pub(super) fn free(&self) -> u64 {
        if self.oversize > 0 { 0 } else { self.capacity.saturating_sub(self.used()) }
    }

    pub(super) fn holds_oversize(&self) -> bool {
        self.oversize > 0
    }

    /// How much more fits when it may be filled to that many percent.
    pub(super) fn room(&self, percent: u64) -> Option<u64> {
        if self.oversize > 0 {
            return None;
        }
        share(self.capacity, percent).checked_sub(self.used())
    }
}

/// That many percent of a capacity.
pub(super) fn share(capacity: u64, percent: u64) -> u64 {
    u64::try_from(u128::from(capacity) * u128::from(percent) / 100).unwrap_or(u64::MAX)
}

fn status(shard: &ShardView, doubts: Doubts, limits: &Limits, now: i64) -> Status {
    let Doubts { quarantined, cut_off } = doubts;
    let condition = shard.condition;
    let within = |since: i64, time: std::time::Duration| {
        now.saturating_sub(since) <= i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
    };
    let trouble = |since: i64| {
        let grace = grace(condition, shard.known, cut_off, limits);
        if grace.is_none_or(|grace| within(since, grace)) { Status::Waiting } else { Status::Lost }
    };
    match condition {
        Condition::Ready if quarantined => quarantine::status(true),
        Condition::Starting { .. } | Condition::EngineDown { .. } if quarantined => {
            quarantine::status(false)
        }
        Condition::Ready => match shard.life.deaf_since {
            None => Status::Ready,
            // It scrapes what it has, but it can be given nothing.
            Some(since) if within(since, limits.grace) => Status::Waiting,
            Some(_) => Status::Shunned,
        },
        Condition::Starting { .. } => Status::Waiting,
        Condition::EngineDown { since } | Condition::Unreachable { since } => trouble(since),
        // Its targets are scraped; others do not wait for its room.
        Condition::AgentDown { since } => match trouble(since) {
            Status::Waiting if !within(since, limits.grace) => Status::Shunned,
            status => status,
        },
    }
}
