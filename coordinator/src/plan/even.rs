//! No shard stands out far, not even for a minute: what levels shards takes few moves and its time, and a large target
//! that comes, goes or is replaced does not wait for it.

use super::bins::{Bin, Status, share};
use super::decision::WhyMoved;
use super::group::{Planner, Wanted};
use super::shelves::level;
use super::{Budget, Plan};

/// A shard that holds more than this share of what would be fair is relieved at once, whatever that takes, in permille...
const FAR: u64 = 1_085;
/// ...until it holds no more than this...
const NEAR: u64 = 1_060;
/// ...and none is filled further than this by it, or else than this.
const BRIMS: [u64; 2] = [1_040, 1_075];

/// A shard is being filled until it has once held this share of what is fair, in percent: before, it counts only if it
/// holds more than others.
const FILLED: u64 = 90;
/// ...or half of it, and something for that long: what it lacks then few moves can give it.
const HALF: u64 = 50;
const FILLING_MS: i64 = 480_000;

/// In how many of the emptiest shards a place is sought.
const TRIED: usize = 8;

/// Of a pool's shards: the fullest that counts, and how full they are on average, in millionths.
#[derive(Debug, Clone, Copy)]
struct Standing {
    fullest: usize,
    mean: u64,
}

impl Planner<'_> {
    /// Which shards have been as full as others.
    pub(super) fn remember_filled(&self, plan: &mut Plan) {
        let settled = |bin: &&Bin| !bin.draining && !bin.drained && bin.is_usable();
        for pool in self.pools() {
            let (held, capacity) = self.evenness(pool);
            let fair = level(held, capacity);
            for bin in self.bins[..self.existing].iter().filter(|bin| bin.owner == pool) {
                let since = self.history.filling_since.get(&bin.id).copied().unwrap_or(self.now);
                let is_old = self.now.saturating_sub(since) > FILLING_MS;
                let enough = if is_old { HALF } else { FILLED };
                let is_filled = level(bin.committed, bin.capacity) >= fair * enough / 100
                    || self.history.filled.contains(&bin.id);
                if settled(&bin) && is_filled {
                    plan.history.filled.insert(bin.id);
                } else if settled(&bin) && bin.committed > 0 {
                    plan.history.filling_since.insert(bin.id, since);
                }
            }
        }
    }

    /// How full the fullest of a pool's shards is that counts, and they on average.
    fn standing(&self, pool: u16, plan: &Plan) -> Option<Standing> {
        let counts = |at: &usize| {
            let bin = &self.bins[*at];
            let fair = bin.status == Status::Ready && bin.owner == pool && bin.committed > 0;
            fair && !bin.holds_oversize()
        };
        let fills = |at: &usize| !plan.history.filled.contains(&self.bins[*at].id);
        let (filling, settled): (Vec<usize>, Vec<usize>) =
            (0..self.existing).filter(counts).partition(fills);
        let level_of = |at: &usize| level(self.bins[*at].committed, self.bins[*at].capacity);
        let sum = |bins: &[usize]| {
            let load = bins.iter().map(|at| self.bins[*at].committed).fold(0, u64::saturating_add);
            let capacity = bins.iter().map(|at| self.bins[*at].capacity);
            (load, capacity.fold(0, u64::saturating_add))
        };
        let (load, capacity) = sum(&settled);
        let more = |at: &usize| level_of(at) > level(load, capacity);
        let above: Vec<usize> = filling.into_iter().filter(more).collect();
        let (load_above, capacity_above) = sum(&above);
        let counted = settled.into_iter().chain(above);
        let fullest = counted.max_by_key(|at| (level_of(at), std::cmp::Reverse(*at)))?;
        let mean = level(load.saturating_add(load_above), capacity.saturating_add(capacity_above));
        Some(Standing { fullest, mean })
    }

    /// Relieves what stands out far.
    pub(super) fn even_out(&mut self, budget: &mut Budget, plan: &mut Plan) {
        if !self.is_fine_grained() {
            return;
        }
        let kept = std::mem::take(&mut budget.kept);
        for pool in self.pools() {
            self.even_out_pool(pool, budget, plan);
        }
        budget.kept = kept;
    }

    fn even_out_pool(&mut self, pool: u16, budget: &mut Budget, plan: &mut Plan) {
        let mut known: Option<(usize, Vec<(u64, u64)>)> = None;
        while let Some(Standing { fullest: from, mean }) = self.standing(pool, plan) {
            let bin = &self.bins[from];
            if budget.is_spent() || level(bin.committed, bin.capacity) * 1_000 <= mean * FAR {
                return;
            }
            let load = bin.committed;
            let why = WhyMoved::Balance { load, mean: part(bin.capacity, mean, 1_000) };
            // With what is being filled, so that few moves follow.
            let (held, capacity) = self.evenness(pool);
            let fair = level(held, capacity);
            let excess = load.saturating_sub(part(bin.capacity, fair, NEAR));
            let mut candidates = match known.take() {
                Some((of, candidates)) if of == from => candidates,
                _ => self.candidates_of(pool, from),
            };
            let wanted = self.find_taker(pool, from, (excess, fair), &candidates);
            let Some(wanted) = wanted else { return };
            candidates.retain(|(_, target)| *target != wanted.target);
            if !self.begin_move(wanted, why, budget, plan) {
                return;
            }
            known = Some((from, candidates));
        }
    }

    /// What is to leave a bin first, and where to: one of the emptiest, which does not stand out by it.
    fn find_taker(
        &self,
        pool: u16,
        from: usize,
        (excess, fair): (u64, u64),
        candidates: &[(u64, u64)],
    ) -> Option<Wanted> {
        let emptiest = self.emptiest(pool, from);
        let places = BRIMS.iter().flat_map(|brim| emptiest.iter().map(move |to| (*brim, *to)));
        places.into_iter().find_map(|(brim, to)| {
            let taker = &self.bins[to];
            let even = part(taker.capacity, fair, brim).saturating_sub(taker.committed);
            // What leaves it is there for another while.
            let room = share(taker.capacity, self.limits.relieve_to).saturating_sub(taker.used());
            let picked = self.pick_for(&mut candidates.to_vec(), excess, even.min(room), to);
            picked.map(|(load, target)| Wanted { target, load, from, to })
        })
    }

    /// Those with most room, the emptiest first.
    fn emptiest(&self, pool: u16, not: usize) -> Vec<usize> {
        let open = |at: &usize| {
            let bin = &self.bins[*at];
            let settled = !bin.draining && !bin.drained && bin.owner == pool;
            let open = *at != not && bin.status == Status::Ready && settled;
            open && !bin.holds_oversize() && !self.awaited.contains(at)
        };
        let level_of = |at: &usize| level(self.bins[*at].used(), self.bins[*at].capacity);
        let mut bins: Vec<usize> = (0..self.existing).filter(open).collect();
        bins.sort_by_key(level_of);
        bins.truncate(TRIED);
        bins
    }
}

/// So many permille of a level, in series.
fn part(capacity: u64, level: u64, permille: u64) -> u64 {
    let series = u128::from(capacity) * u128::from(level) * u128::from(permille) / 1_000_000_000;
    u64::try_from(series).unwrap_or(u64::MAX)
}
