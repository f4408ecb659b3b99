//! An overloaded shard gives away the fewest and smallest targets that suffice.

use super::bins::{Bin, Status, share};
use super::decision::{Decision, WhyMoved};
use super::group::{Planner, Wanted};
use super::shelves::{Reach, Shelves};
use super::{Budget, Plan, State};

/// The bins by their room: when they may be filled comfortably, and to the brim.
type Both = [Shelves; 2];

impl Planner<'_> {
    /// Relieves every shard that owns more than it may.
    pub(super) fn relieve(&mut self, budget: &mut Budget, plan: &mut Plan) {
        let mut shelves = None;
        for from in 0..self.existing {
            let bin = &self.bins[from];
            if bin.committed <= bin.capacity || bin.status == Status::Lost || is_alone(bin) {
                continue;
            }
            let (shard, load, capacity) = (bin.id, bin.committed, bin.capacity);
            let why = WhyMoved::Overload { load, capacity };
            let both = shelves
                .get_or_insert_with(|| [self.limits.relieve_to, 100].map(|p| self.shelves(p)));
            let wanted = self.relief(from, both);
            if wanted.is_empty() {
                plan.decisions.push(Decision::Overloaded { shard, load, capacity });
            }
            for wanted in wanted {
                self.begin_move(wanted, why, budget, plan);
                for shelves in both.iter_mut() {
                    shelves.renew(wanted.to, &self.bins[wanted.to]);
                    shelves.renew(from, &self.bins[from]);
                }
            }
        }
    }

    /// What has to leave a bin, and where to: within the room there is if that does, else with a new shard.
    fn relief(&mut self, from: usize, both: &mut Both) -> Vec<Wanted> {
        let capacity = self.bins[from].capacity;
        let comfortable = share(capacity, self.limits.relieve_to);
        let not = Some(from);
        for (goal, shelves) in [comfortable, capacity].into_iter().zip(both.iter_mut()) {
            let (wanted, sufficient) = self.pick(from, goal, |planner, target, load| {
                let to = shelves.choose(planner.wish(target, load, not, Reach::Existing))?;
                shelves.reserve(to, load);
                Some(to)
            });
            if sufficient {
                return wanted;
            }
            for Wanted { to, .. } in wanted {
                shelves.renew(to, &self.bins[to]);
            }
        }
        let [shelves, _] = both;
        let (wanted, _) = self.pick(from, comfortable, |planner, target, load| {
            let to = planner.find_or_open(shelves, target, load, not)?;
            // Only so that the next one sees it; the move itself is begun by the caller.
            shelves.reserve(to, load);
            Some(to)
        });
        wanted
    }

    /// Picks targets off a bin until what is left is within the goal: the smallest one that suffices alone, else the
    /// largest that finds a place, and again. Says whether it was enough.
    fn pick(
        &mut self,
        from: usize,
        goal: u64,
        mut find: impl FnMut(&mut Self, u64, u64) -> Option<usize>,
    ) -> (Vec<Wanted>, bool) {
        let mut candidates = self.candidates(from);
        let mut left = self.bins[from].committed;
        let goal = match self.keeper(&self.bins[from]) {
            // Beside a target that exceeds the shard alone there is room for nothing.
            Some((load, keeper)) => {
                candidates.retain(|(_, target)| *target != keeper);
                load
            }
            None => goal,
        };
        let mut wanted = Vec::new();
        while left > goal && !candidates.is_empty() {
            let excess = left - goal;
            let sufficient = candidates.partition_point(|(load, _)| *load < excess);
            let at = sufficient.min(candidates.len() - 1);
            let (load, target) = candidates.remove(at);
            if let Some(to) = find(self, target, load) {
                wanted.push(Wanted { target, load, from, to });
                left -= load;
            }
        }
        (wanted, left <= goal)
    }

    /// What may leave a bin, smallest first.
    pub(super) fn candidates(&self, from: usize) -> Vec<(u64, u64)> {
        let owned = self.bins[from].slots().iter();
        let movable = owned
            .filter(|slot| slot.state == State::Active && self.is_movable(slot.target))
            .map(|slot| (slot.load, slot.target));
        let mut candidates: Vec<(u64, u64)> = movable.collect();
        candidates.sort_unstable();
        candidates
    }

    /// The target that stays when a bin holds one that alone exceeds it, with its load. None where others are pinned:
    /// then it is the large one that can go elsewhere.
    fn keeper(&self, bin: &Bin) -> Option<(u64, u64)> {
        if !bin.holds_oversize() {
            return None;
        }
        let owned = || bin.slots().iter().filter(|slot| slot.state != State::Leaving);
        let largest = owned().map(|slot| (slot.load, slot.target)).max()?;
        let pinned = |target: u64| self.book.rules.pin(self.tag(target).rule).is_some();
        let guest = !self.book.is_empty() && !pinned(largest.1);
        (!guest || owned().all(|slot| !pinned(slot.target))).then_some(largest)
    }
}

fn is_alone(bin: &Bin) -> bool {
    bin.slots().iter().filter(|slot| slot.state != State::Leaving).take(2).count() == 1
}
