//! A shard whose Prometheus crashes again and again: its load is spread over the others, where it may fit, or show which
//! of it is to blame.

use std::cmp::Reverse;

use super::bins::Status;
use super::decision::{Decision, WhyMoved};
use super::group::{Planner, Wanted};
use super::{Budget, Plan, ShardView, State};

/// A target that no Prometheus survives would take one shard after the other with it: that many of a group are in
/// quarantine at most, and one more for each so many shards.
const ALWAYS: usize = 1;
const ONE_IN: usize = 10;

/// Which of a group's shards are treated as quarantined: the lowest ordinals first, as far as allowed.
pub(super) fn admitted<'a>(shards: impl Iterator<Item = &'a ShardView> + Clone) -> Vec<bool> {
    let mut free = ALWAYS + shards.clone().count() / ONE_IN;
    let admit = |shard: &ShardView| {
        let admitted = shard.life.quarantined && free > 0;
        free -= usize::from(admitted);
        admitted
    };
    shards.map(admit).collect()
}

/// What a shard that is in quarantine comes to when its Prometheus is not ready: it will crash again, and its targets
/// are not kept waiting for that.
pub(super) fn status(is_ready: bool) -> Status {
    if is_ready { Status::Shunned } else { Status::Lost }
}

impl Planner<'_> {
    /// Moves everything that quarantined shards own to others, with a new shard where the others have no room. Those
    /// that are not ready are evacuated like lost ones.
    pub(super) fn spread(&mut self, budget: &mut Budget, plan: &mut Plan) {
        let quarantined: Vec<usize> =
            (0..self.existing).filter(|at| self.bins[*at].quarantined).collect();
        for from in quarantined {
            let bin = &self.bins[from];
            let owned = bin.slots().iter().filter(|slot| slot.state == State::Active);
            let mut leaving: Vec<(u64, u64)> = owned.map(|slot| (slot.load, slot.target)).collect();
            if bin.status != Status::Shunned || leaving.is_empty() {
                continue;
            }
            let (shard, load) = (bin.id, bin.committed);
            plan.decisions.push(Decision::Spread { shard, targets: leaving.len(), load });
            leaving.sort_unstable_by_key(|(load, target)| (Reverse(*load), *target));
            let mut shelves = self.shelves(self.limits.relieve_to);
            for (load, target) in leaving {
                if budget.is_spent() || !self.is_movable(target) {
                    plan.busy = true;
                    continue;
                }
                if let Some(to) = self.find_or_open(&mut shelves, target, load, Some(from)) {
                    let wanted = Wanted { target, load, from, to };
                    self.begin_move(wanted, WhyMoved::Quarantine, budget, plan);
                    shelves.renew(to, &self.bins[to]);
                }
            }
        }
    }
}
