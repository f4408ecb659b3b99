//! Shards of fine-grained targets are kept equally full, with the fewest moves: large targets first, only once a shard
//! stands out, and no more than a small share of all targets at a time.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::bins::{Bin, Status, share};
use super::decision::WhyMoved;
use super::group::{Planner, Wanted};
use super::shelves::level;
use super::{Budget, Plan};

/// A shard that holds more than this share of what would be fair gives some away, in percent...
const BEGIN_AT: u64 = 105;
/// ...until it is down to this...
const GOAL: u64 = 105;
/// ...and none is filled further than this by it.
const BRIM: u64 = 103;
/// What a shard gives away leaves it no less than this if that goes: it would only be one more that is too empty.
const LEFT: u64 = 70;
/// Shards that make room for a large target fill others up to this.
const AROUND: u64 = 105;

/// Of all targets one in so many may be moved by it at once, and again in each third of an hour...
const ONE_IN: u64 = 400;
/// ...but always a few: a small cluster has to come to rest, too.
const ALWAYS: u64 = 8;

/// A shard stands out for that long before anything is moved: a large target that is away for a moment will be back,
/// and needs the place that it left.
const PATIENCE_MS: i64 = 90_000;
/// What holds more than this share of what would be fair, in percent, is not waited for, and as many moves more are
/// allowed for it.
const AT_ONCE: u64 = 109;

/// What holds less than one in so many parts of its fair share has not lost a large target: it is new, and is filled at
/// once.
const NEW: u64 = 3;

/// A shard that holds less than that many tenths of its fair share is still being filled.
const FULL: u64 = 8;

const PERIOD_MS: u64 = 1_800_000;

/// Moves for other ends than balance fill no shard further than this share of what would be fair, in percent.
const EVEN: u64 = 107;

/// Shards that stand out, the fullest first, each with what may leave it: load and target, ascending.
type Donors = BTreeMap<(Reverse<u64>, usize), Vec<(u64, u64)>>;

impl Planner<'_> {
    /// Moves load from shards that stand out to the emptiest. Every move makes the fullest of the two less full than it
    /// was, so this comes to rest; between the two bounds nothing moves.
    pub(super) fn balance(&mut self, budget: &mut Budget, plan: &mut Plan) {
        let mut parted = Allowance::refilled(&self.history.parted, self);
        self.part(&mut parted, budget, plan);
        self.thin_out(&mut parted, budget, plan);
        plan.history.parted.insert(self.group, (parted.thousandths, self.now));
        let mut balanced = Allowance::refilled(&self.history.balanced, self);
        let mut urgent = Allowance::refilled(&self.history.urgent, self);
        if self.bins.len() == self.existing && self.is_fine_grained() {
            for pool in self.pools() {
                self.level_out(pool, [&mut balanced, &mut urgent], budget, plan);
            }
        }
        plan.history.urgent.insert(self.group, (urgent.thousandths, self.now));
        plan.history.balanced.insert(self.group, (balanced.thousandths, self.now));
    }

    /// What the settled shards of a pool hold, and what they could.
    pub(super) fn evenness(&self, pool: u16) -> (u64, u64) {
        let fair = |bin: &&Bin| {
            let settled = !bin.draining && !bin.drained && bin.owner == pool;
            bin.status == Status::Ready && settled && !bin.holds_oversize()
        };
        let mut sums = (0u64, 0u64);
        for bin in self.bins.iter().filter(fair) {
            sums = (sums.0.saturating_add(bin.committed), sums.1.saturating_add(bin.capacity));
        }
        sums
    }

    /// Whether a shard that takes a load does not stand out by it.
    pub(super) fn stays_even(&self, to: usize, load: u64, (held, capacity): (u64, u64)) -> bool {
        let bin = &self.bins[to];
        level(bin.committed.saturating_add(load), bin.capacity) * 100
            <= level(held, capacity) * EVEN
    }

    /// The same, in millionths.
    pub(super) fn even_level(&self) -> u64 {
        let (held, capacity) = self.evenness(0);
        level(held, capacity) * EVEN / 100
    }

    /// How far moves for other ends than balance may fill shards, in percent. Where these are less than half full the
    /// other ends come first.
    pub(super) fn evenly(&self) -> u64 {
        let (held, capacity) = self.evenness(0);
        if !self.is_fine_grained() || held < capacity / 2 {
            return self.limits.relieve_to;
        }
        (self.even_level() / 10_000).min(self.limits.relieve_to)
    }

    /// Within the shards of a pool; see [`Planner::pool_of`].
    fn level_out(
        &mut self,
        pool: u16,
        [allowance, for_far]: [&mut Allowance; 2],
        budget: &mut Budget,
        plan: &mut Plan,
    ) {
        let fair = |bin: &Bin| {
            let settled = !bin.draining && !bin.drained && bin.owner == pool;
            bin.status == Status::Ready && settled && !bin.holds_oversize()
        };
        let ready: Vec<usize> = (0..self.bins.len()).filter(|at| fair(&self.bins[*at])).collect();
        let (mut load, mut capacity) = (0u64, 0u64);
        for bin in ready.iter().map(|at| &self.bins[*at]) {
            load = load.saturating_add(bin.committed);
            capacity = capacity.saturating_add(bin.capacity);
        }
        let mean = |bin: &Bin| bin.fair(load, capacity);
        let stands_out = |at: &&usize| {
            let bin = &self.bins[**at];
            bin.committed > share(mean(bin), BEGIN_AT)
        };
        let level_of = |bin: &Bin| level(bin.used(), bin.capacity);
        let donors = ready.iter().filter(stands_out).copied();
        let mut donors: Donors = donors
            .map(|at| ((Reverse(level_of(&self.bins[at])), at), self.candidates_of(pool, at)))
            .collect();
        let emptiest = ready.iter().map(|at| level_of(&self.bins[*at])).min().unwrap_or(0);
        // Not where room is being made for something else.
        let takers = ready.iter().filter(|at| !self.awaited.contains(at));
        let mut takers: BTreeSet<(u64, usize)> =
            takers.map(|at| (level_of(&self.bins[*at]), *at)).collect();
        let is_new = emptiest.saturating_mul(NEW) < level(load, capacity);
        let is_filling = emptiest.saturating_mul(10) < level(load, capacity).saturating_mul(FULL);
        let is_far = |at: &usize| self.bins[*at].committed > share(mean(&self.bins[*at]), AT_ONCE);
        let urgent = is_new || donors.keys().any(|(_, at)| is_far(at));
        if donors.is_empty() || !(self.has_lasted(plan) || urgent) {
            return;
        }
        // The fullest gives one away, then the one that is the fullest now: few moves help most that way.
        while let Some(((_, from), mut candidates)) = donors.pop_first() {
            let fair = mean(&self.bins[from]);
            let committed = self.bins[from].committed;
            let excess = committed.saturating_sub(share(fair, GOAL));
            let Some((level_before, to)) = takers.first().copied() else { return };
            if excess == 0 {
                continue;
            }
            let taker = &self.bins[to];
            let brim = share(mean(taker), BRIM).min(share(taker.capacity, self.limits.relieve_to));
            let deficit = brim.saturating_sub(taker.used());
            let most = committed.saturating_sub(share(fair, LEFT));
            let gently = deficit.min(most.max(excess));
            let picked = self
                .pick_for(&mut candidates, excess, gently, to)
                .or_else(|| self.pick_for(&mut candidates, excess, deficit, to));
            let Some((load_of_it, target)) = picked else {
                // What is pinned does not count: others go on.
                if committed > share(fair, BEGIN_AT)
                    && (self.book.is_empty() || !candidates.is_empty())
                {
                    let fill = level(load, capacity) / 10_000;
                    let far = committed > share(fair, AT_ONCE);
                    let allowance = (!far || is_new).then_some(&mut *allowance);
                    self.make_way(from, &candidates, (fair, fill), allowance, budget, plan);
                    if !far {
                        return;
                    }
                }
                continue;
            };
            let nearly_full = share(self.bins[from].capacity, self.limits.relieve_to);
            let far = committed > share(fair, AT_ONCE);
            // Where no shard is new there are few of these.
            let mut allowed = || {
                committed > nearly_full
                    || allowance.take()
                    || (far && (for_far.take() || !is_filling))
            };
            if budget.is_spent() || !allowed() {
                return;
            }
            let why = WhyMoved::Balance { load: committed, mean: fair };
            self.begin_move(Wanted { target, load: load_of_it, from, to }, why, budget, plan);
            takers.remove(&(level_before, to));
            takers.insert((level_of(&self.bins[to]), to));
            let left = level(self.bins[from].committed, self.bins[from].capacity);
            donors.insert((Reverse(left), from), candidates);
        }
    }

    /// Whether a shard has stood out for long enough.
    fn has_lasted(&self, plan: &mut Plan) -> bool {
        let since = self.history.uneven_since.get(&self.group).copied().unwrap_or(self.now);
        plan.history.uneven_since.insert(self.group, since);
        let lasted = self.now.saturating_sub(since) >= PATIENCE_MS;
        plan.busy |= !lasted;
        lasted
    }

    /// Of what may leave a bin the smallest that takes its excess off it, else the largest that fits into the deficit of
    /// the other one; not what has a copy there. It is taken off the list.
    pub(super) fn pick_for(
        &self,
        candidates: &mut Vec<(u64, u64)>,
        excess: u64,
        deficit: u64,
        to: usize,
    ) -> Option<(u64, u64)> {
        loop {
            let fitting = candidates.partition_point(|(load, _)| *load <= deficit);
            let sufficient = candidates.partition_point(|(load, _)| *load < excess);
            let at = if sufficient < fitting { sufficient } else { fitting.checked_sub(1)? };
            let picked = candidates.remove(at);
            let tag = self.tag(picked.1);
            let fits = self.may_take(tag, to) && self.is_apart(tag, to);
            if fits && !self.has_copy_at(picked.1, to) {
                return Some(picked);
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
        mut allowance: Option<&mut Allowance>,
        budget: &mut Budget,
        plan: &mut Plan,
    ) {
        let committed = self.bins[from].committed;
        let excess = committed.saturating_sub(share(fair, GOAL));
        let sufficient = candidates.iter().find(|(load, _)| *load >= excess);
        let Some((load, target)) = sufficient else { return };
        // It would stand out where it comes to, too.
        if *load > share(fair, GOAL) {
            return;
        }
        let around = (fill * AROUND / 100).min(self.limits.relieve_to);
        let mut shelves = self.shelves(around);
        let goal = (fill * GOAL / 100).min(self.limits.relieve_to);
        let tag = self.tag(*target);
        let open = |at: usize| at != from && self.may_take(tag, at);
        let Some(room) = self.make_room(*load, goal, &mut shelves, open) else { return };
        plan.busy = true;
        let why = WhyMoved::Balance { load: committed, mean: fair };
        for wanted in room.first {
            if budget.is_spent() || !allowance.as_mut().is_none_or(|allowance| allowance.take()) {
                return;
            }
            self.begin_move(wanted, why, budget, plan);
        }
    }
}

/// How many moves a group may still begin for balance.
#[derive(Debug)]
pub(super) struct Allowance {
    thousandths: u64,
}

impl Allowance {
    fn refilled(before: &BTreeMap<u32, (u64, i64)>, planner: &Planner<'_>) -> Self {
        let (targets, _) = planner.total;
        let full = (targets / ONE_IN).max(ALWAYS) * 1_000;
        let left = before.get(&planner.group).copied();
        let thousandths = left.map_or(full, |(left, at)| {
            let elapsed = u64::try_from(planner.now.saturating_sub(at)).unwrap_or(0);
            let gained = u128::from(full) * u128::from(elapsed) / u128::from(PERIOD_MS);
            left.saturating_add(u64::try_from(gained).unwrap_or(u64::MAX)).min(full)
        });
        Self { thousandths }
    }

    pub(super) fn take(&mut self) -> bool {
        let rest = self.thousandths.checked_sub(1_000);
        self.thousandths = rest.unwrap_or(self.thousandths);
        rest.is_some()
    }
}
