//! How many shards a group has: up at once when something has no place, down only from the top and only when empty.

use super::bins::{Bin, Status};
use super::decision::Decision;
use super::group::Planner;
use super::{Plan, Rung, ShardId, ShardView, Shipped};

/// How long a step of scaling is, in milliseconds.
const STEP_MS: i64 = 60_000;

impl Planner<'_> {
    /// Sets the group's number of shards.
    pub(super) fn scale(&mut self, plan: &mut Plan) {
        self.keep_cooldowns(plan);
        self.remember_empty(plan);
        let group = self.group;
        let existing = u32::try_from(self.existing).unwrap_or(u32::MAX);
        let wanted = u32::try_from(self.bins.len()).unwrap_or(u32::MAX);
        let minimum = self.minimum();
        let (base, since) = self.step_begun(existing);
        let highest = base.saturating_add(self.limits.life.scale_step).max(existing);
        let mut count = wanted;
        if wanted > existing {
            count = wanted.max(minimum).min(highest);
            let ((targets, load), max_series) = (self.need(), self.limits.max_series);
            let (from, to) = (existing, count);
            if targets > 0 {
                plan.decisions.push(Decision::ScaleUp {
                    group,
                    from,
                    to,
                    targets,
                    load,
                    max_series,
                });
            }
        } else if existing < minimum && self.limits.scalable {
            count = minimum.min(highest);
            plan.decisions.push(Decision::ScaleToMinimum { group, from: existing, to: count });
        }
        self.show_rungs(plan);
        if wanted <= existing && count == existing {
            let lowest = base.saturating_sub(self.limits.life.scale_step).max(minimum);
            count = self.descend(existing, lowest, plan);
        }
        if count != existing || (base, since) != (existing, self.now) {
            plan.history.scaled.insert(group, (base, since));
        }
        plan.busy |= count != existing;
        plan.shard_counts.push(count);
    }

    fn minimum(&self) -> u32 {
        self.limits.min_shards.min(self.limits.max_shards)
    }

    /// How many shards there were at the beginning of this minute of changes, and when that was.
    fn step_begun(&self, existing: u32) -> (u32, i64) {
        let begun = self.history.scaled.get(&self.group).copied();
        let current = begun.filter(|(_, since)| self.now.saturating_sub(*since) < STEP_MS);
        current.unwrap_or((existing, self.now))
    }

    /// Whether shards of the group can go at all.
    fn can_shrink(&self) -> bool {
        !self.limits.max_idle.is_zero() && self.limits.scalable
    }

    fn view(&self, index: usize) -> Option<&ShardView> {
        let mut mine = self.seen.shards.iter().filter(|shard| shard.id.group == self.group);
        mine.nth(index)
    }

    fn remember_empty(&self, plan: &mut Plan) {
        let shards = self.seen.shards.iter().filter(|shard| shard.id.group == self.group);
        for (bin, shard) in self.bins[..self.existing].iter().zip(shards) {
            if is_empty(bin, shard) && bin.used() == 0 {
                let since = self.history.empty_since.get(&bin.id).copied().unwrap_or(self.now);
                plan.history.empty_since.insert(bin.id, since);
            }
        }
    }

    /// What has shipped everything takes nothing any more, if it can go: a sample that it scraped now would be in the
    /// bucket twice once its head is written out.
    pub(super) fn shut_shipped(&mut self) {
        let minimum = usize::try_from(self.minimum()).unwrap_or(usize::MAX);
        if !self.can_shrink() {
            return;
        }
        for index in (minimum..self.existing).rev() {
            let gone = self.view(index).is_some_and(|shard| {
                shard.life.shipped == Shipped::All && is_empty(&self.bins[index], shard)
            });
            if !gone {
                return;
            }
            self.bins[index].status = Status::Shunned;
        }
    }

    /// Where every shard is on the ladder, as far as it shows by itself.
    fn show_rungs(&self, plan: &mut Plan) {
        let shrinks = self.can_shrink();
        let minimum = usize::try_from(self.minimum()).unwrap_or(usize::MAX);
        let shards = self.seen.shards.iter().filter(|shard| shard.id.group == self.group);
        for (index, (bin, shard)) in self.bins[..self.existing].iter().zip(shards).enumerate() {
            let empty = plan.history.empty_since.contains_key(&bin.id);
            let spare = shrinks && index >= minimum;
            let rung = match shard.life.shipped {
                Shipped::All if empty && spare => Rung::Shipped,
                _ if empty && (spare || bin.drained) => Rung::Empty,
                _ if bin.draining && !bin.slots().is_empty() => Rung::Draining,
                _ => Rung::Active,
            };
            plan.rungs.insert(bin.id, rung);
        }
    }

    /// Takes the highest shards down the last rungs: those that have been empty for long enough ship what they have, one
    /// at a time, and go.
    fn descend(&self, existing: u32, lowest: u32, plan: &mut Plan) -> u32 {
        let mut count = existing;
        while count > lowest && self.can_shrink() {
            let index = usize::try_from(count - 1).unwrap_or(usize::MAX);
            let Some(shard) = self.view(index) else { break };
            let id = shard.id;
            let max_idle = i64::try_from(self.limits.max_idle.as_millis()).unwrap_or(i64::MAX);
            let since = plan.history.empty_since.get(&id);
            let Some(since) = since.copied() else { break };
            let idle = self.now.saturating_sub(since);
            if idle < max_idle && shard.life.shipped != Shipped::All {
                break;
            }
            if shard.life.shipped == Shipped::NotYet {
                let idle_seconds = u64::try_from(idle / 1000).unwrap_or(0);
                plan.decisions.push(Decision::Ship { shard: id, idle_seconds });
                plan.rungs.insert(id, Rung::Shipping);
                break;
            }
            plan.rungs.insert(id, Rung::Removable);
            count -= 1;
        }
        if count < existing {
            let idle_seconds = self.limits.max_idle.as_secs();
            let group = self.group;
            let (from, to) = (existing, count);
            plan.decisions.push(Decision::ScaleDown { group, from, to, idle_seconds });
            let removed = |id: &ShardId| id.group == group && id.ordinal >= count;
            plan.history.empty_since.retain(|id, _| !removed(id));
        }
        count
    }
}

/// Whether a shard has said that it holds nothing.
fn is_empty(bin: &Bin, shard: &ShardView) -> bool {
    shard.holdings.is_empty() && bin.known && Planner::is_reachable(shard.condition)
}
