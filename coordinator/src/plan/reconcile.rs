//! What the shards hold against what discovery knows: who owns each target, and how moves under way go on.

use super::bins::Status;
use super::decision::{Decision, MovePhase, MoveReport, Reason};
use super::group::Planner;
use super::lifecycle::CutOff;
use super::shelves::level;
use super::tally::Sum;
use super::{
    Condition, Cooldown, Holding, Limits, Move, Plan, SERIES_PER_SCRAPE, ShardId, Size, State, Tag,
    TargetView,
};

/// A target on a shard, as reported.
#[derive(Debug, Clone, Copy)]
struct Holder<'a> {
    target: u64,
    bin: usize,
    holding: &'a Holding,
}

/// A target that two shards have.
#[derive(Debug, Clone, Copy)]
pub(super) struct Duplicate {
    target: u64,
    load: u64,
    keeper: usize,
    other: usize,
    /// Whether it may as well be the other one's.
    open: bool,
}

/// A shard that returns takes back what it had up to this share of what is fair, in percent.
const KEPT: u64 = 104;

/// How many times the wanted good scrapes a next owner may try before failing scrapes end the move.
const PATIENCE: u64 = 3;
const DAY_MS: i64 = 86_400_000;

impl Planner<'_> {
    /// Fills the bins with what is there and stays there, and collects what has no owner.
    pub(super) fn reconcile(&mut self, plan: &mut Plan) {
        self.report_lost(plan);
        let seen = self.seen;
        let shards = seen.shards.iter().filter(|shard| shard.id.group == self.group);
        let mut holders: Vec<Holder<'_>> = Vec::with_capacity(seen.targets.len());
        for (bin, shard) in shards.enumerate() {
            holders.extend(shard.holdings.iter().map(|holding| {
                let target = holding.target;
                Holder { target, bin, holding }
            }));
        }
        holders.sort_by_key(|holder| (holder.target, holder.bin));
        // A shard that names a target twice holds it once.
        holders.dedup_by_key(|holder| (holder.target, holder.bin));
        let mut rest = holders.as_slice();
        for target in seen.targets.iter() {
            // What the shards hold of targets before this one is no longer discovered.
            let vanished = rest.iter().take_while(|holder| holder.target < target.id).count();
            self.vanish(&rest[..vanished], plan);
            rest = &rest[vanished..];
            let own = rest.iter().take_while(|holder| holder.target == target.id).count();
            plan.tally.missing += usize::from(own == 0);
            self.settle(target, &rest[..own], plan);
            rest = &rest[own..];
        }
        self.vanish(rest, plan);
        self.end_duplicates(plan);
    }

    fn report_lost(&self, plan: &mut Plan) {
        if let Some(CutOff { silent, shards }) = self.cut_off {
            plan.decisions.push(Decision::CutOff { group: self.group, silent, shards });
        }
        let shards = self.seen.shards.iter().filter(|shard| shard.id.group == self.group);
        for (bin, shard) in self.bins.iter().zip(shards) {
            if bin.status == Status::Lost && !shard.holdings.is_empty() {
                let series = |held: &Holding| held.series.saturating_add(SERIES_PER_SCRAPE);
                let load = shard.holdings.iter().map(series).sum();
                let targets = shard.holdings.len();
                plan.decisions.push(Decision::Lost { shard: shard.id, targets, load });
            }
        }
    }

    /// Targets that discovery does not know: gone, unless their job's discovery has not answered in full.
    fn vanish(&mut self, holders: &[Holder<'_>], plan: &mut Plan) {
        for same in holders.chunk_by(|a, b| a.target == b.target) {
            let holding = same[0].holding;
            if self.seen.held_jobs.contains(&holding.job) {
                let size = Size::Counted(holding.series);
                let held = TargetView {
                    id: holding.target,
                    job: holding.job.clone(),
                    size,
                    tag: Tag::default(),
                    interval_ms: holding.interval_ms,
                    churn: holding.churn,
                };
                self.kept.push(holding.target);
                self.settle(&held, same, plan);
                continue;
            }
            for Holder { bin, holding, .. } in same {
                let Holding { series, interval_ms, churn, .. } = **holding;
                let sum = Sum::of(series, interval_ms, churn, self.limits);
                self.bins[*bin].holds.add(sum);
            }
            for holder in same.iter().filter(|holder| self.bins[holder.bin].known) {
                plan.removed.push((holding.target, self.bins[holder.bin].id));
            }
        }
    }

    /// Decides who scrapes a target, from who does.
    fn settle(&mut self, target: &TargetView, holders: &[Holder<'_>], plan: &mut Plan) {
        let told = holders.iter().map(|holder| holder.holding.series).max().unwrap_or(0);
        let series = match target.size {
            Size::Counted(series) | Size::Tentative(series) => series,
            Size::Unknown => told,
        };
        let sum = Sum::of(series, target.interval_ms, target.churn, self.limits);
        for holder in holders {
            self.bins[holder.bin].holds.add(sum);
        }
        let load = sum.load;
        self.total = (self.total.0 + 1, self.total.1.saturating_add(load));
        self.remember_let_go(holders, plan);
        let alive = |holder: &&Holder<'_>| self.bins[holder.bin].status != Status::Lost;
        let owner = holders.iter().filter(alive).filter(|h| !is_joining(h)).min_by_key(|holder| {
            let bin = &self.bins[holder.bin];
            let active = holder.holding.state == State::Active;
            let given_up = self.is_given_up(holder, holders);
            // A shard that was away and returns has what it had: all is as full again as it was before.
            let longest = std::cmp::Reverse(holder.holding.scrapes);
            (bin.status, given_up, !active, !self.has_proved(holder), longest, bin.id)
        });
        let joiner = holders.iter().filter(alive).filter(|h| is_joining(h)).min_by_key(|holder| {
            let bin = &self.bins[holder.bin];
            (std::cmp::Reverse(holder.holding.good_scrapes), bin.id)
        });
        match (owner, joiner) {
            (Some(owner), Some(joiner)) => self.go_on(*owner, *joiner, load, plan),
            (Some(owner), None) => self.keep(*owner, holders, load, plan),
            (None, Some(joiner)) => self.bins[joiner.bin].put(target.id, State::Active, load),
            (None, None) => match holders.first() {
                Some(lost) => {
                    self.bins[lost.bin].put(target.id, State::Active, load);
                    self.stranded.push((target.id, load, lost.bin));
                }
                None if target.size == Size::Unknown => {
                    plan.busy = true;
                    self.refuse(plan, target.id, Reason::Sizing);
                }
                None => self.unowned.push((target.id, load)),
            },
        }
    }

    /// Whether a shard scrapes a target well, as it has said in this turn.
    fn has_proved(&self, holder: &Holder<'_>) -> bool {
        let bin = &self.bins[holder.bin];
        let good_scrapes = holder.holding.good_scrapes;
        bin.status == Status::Ready && bin.heard && good_scrapes >= self.limits.good_scrapes
    }

    /// What was decided about who lets go of a target stays in mind until that is done.
    fn remember_let_go(&self, holders: &[Holder<'_>], plan: &mut Plan) {
        if self.history.let_go.is_empty() {
            return;
        }
        for holder in holders {
            let key = (self.bins[holder.bin].id, holder.target);
            if let Some(keeper) = self.history.let_go.get(&key)
                && holders.iter().any(|other| self.bins[other.bin].id == *keeper)
            {
                plan.history.let_go.insert(key, *keeper);
            }
        }
    }

    /// Whether a shard was to let go of a target already, and whose it is then scrapes it well.
    fn is_given_up(&self, holder: &Holder<'_>, holders: &[Holder<'_>]) -> bool {
        let key = (self.bins[holder.bin].id, holder.target);
        self.history.let_go.get(&key).is_some_and(|keeper| {
            let mut others = holders.iter();
            others.any(|other| self.bins[other.bin].id == *keeper && self.has_proved(other))
        })
    }

    /// An owner without a next owner: it stays the owner, unless its move has begun and not arrived yet. A second
    /// owner (a shard that was away and returned) lets go once the first one scrapes well. Which of the two that is shows
    /// when both have told of themselves in the same turn: before that, neither lets go.
    fn keep(&mut self, owner: Holder<'_>, holders: &[Holder<'_>], load: u64, plan: &mut Plan) {
        let target = owner.target;
        let key = (self.group, target);
        let leaving = owner.holding.state == State::Leaving;
        if let Some(begun) = self.history.moves.get(&key).copied().filter(|_| leaving) {
            let to = self.bins.iter().position(|bin| bin.id == begun.to);
            let usable = to.filter(|to| self.bins[*to].is_usable());
            if let Some(to) = usable.filter(|_| !self.is_overdue(begun)) {
                plan.busy = true;
                plan.history.moves.insert(key, begun);
                self.bins[owner.bin].put(target, State::Leaving, load);
                self.bins[to].put(target, State::Joining, load);
                return;
            }
            self.roll_back(begun, (target, load), "the next owner did not take it", plan);
        }
        let proved = self.has_proved(&owner);
        self.bins[owner.bin].put(target, State::Active, load);
        for other in holders.iter().filter(|other| other.bin != owner.bin) {
            if self.bins[other.bin].status == Status::Lost {
                continue;
            }
            if proved && self.bins[other.bin].heard {
                let open = holders.len() == 2 && self.has_proved(other) && is_active(other);
                let (keeper, other) = (owner.bin, other.bin);
                self.duplicates.push(Duplicate { target, load, keeper, other, open });
            } else {
                plan.busy = true;
                self.bins[other.bin].put(target, State::Leaving, load);
            }
        }
    }

    /// Has all but one let go of each target that several have. A shard that was away and returns has what it had, and
    /// what would make it stand out stays with its heir: shards may have been added meanwhile.
    fn end_duplicates(&mut self, plan: &mut Plan) {
        let mut duplicates = std::mem::take(&mut self.duplicates);
        duplicates.sort_unstable_by_key(|it| (std::cmp::Reverse(it.load), it.target, it.other));
        let fair = self.is_fine_grained();
        for Duplicate { target, load, mut keeper, mut other, open } in duplicates {
            let known = (self.bins[other].id, target);
            let decided = self.history.let_go.get(&known) == Some(&self.bins[keeper].id);
            if open && fair && !decided && self.is_better_kept_by(other, keeper, load) {
                self.bins[keeper].take(target);
                self.bins[other].put(target, State::Active, load);
                (keeper, other) = (other, keeper);
            }
            let (from, to) = (self.bins[other].id, self.bins[keeper].id);
            if self.let_go(target, from, to, plan) {
                let group = self.group;
                let phase = MovePhase::Deduplicated;
                plan.moves.push(MoveReport { group, target, from, to, load, phase });
            }
        }
    }

    /// Whether a bin that stands out has a load that another has, too, and would not stand out with.
    fn is_better_kept_by(&self, other: usize, keeper: usize, load: u64) -> bool {
        let [other, keeper] = [other, keeper].map(|at| &self.bins[at]);
        if other.status != Status::Ready || other.draining || other.owner != keeper.owner {
            return false;
        }
        let usable = self.bins.iter().filter(|bin| bin.is_usable() && bin.owner == keeper.owner);
        let capacity = usable.map(|bin| bin.capacity).fold(0, u64::saturating_add);
        let beyond = |bin: &super::bins::Bin, load: u64| {
            let fair = level(self.total.1, capacity) * KEPT / 100;
            level(bin.committed.saturating_add(load), bin.capacity) > fair
        };
        beyond(keeper, 0) && !beyond(other, load)
    }

    /// Has a shard let go of a target that is another one's. Whether that was not decided before.
    fn let_go(&self, target: u64, from: ShardId, to: ShardId, plan: &mut Plan) -> bool {
        let key = (from, target);
        plan.history.let_go.insert(key, to);
        self.history.let_go.get(&key) != Some(&to)
    }

    /// A move under way: finished, rolled back, or it goes on.
    fn go_on(&mut self, owner: Holder<'_>, joiner: Holder<'_>, load: u64, plan: &mut Plan) {
        let target = owner.target;
        let key = (self.group, target);
        let (from, to) = (self.bins[owner.bin].id, self.bins[joiner.bin].id);
        let known = self.history.moves.get(&key).copied().filter(|begun| begun.to == to);
        let begun = known.unwrap_or(Move { from, to, since: self.now });
        let milliseconds = self.now - begun.since;
        let good_scrapes = joiner.holding.good_scrapes;
        let ready = self.bins[joiner.bin].status == Status::Ready;
        // A target that is down for both proves nothing, and nothing can be missed by moving it.
        let both_heard = self.bins[owner.bin].heard && self.bins[joiner.bin].heard;
        let down_for_both = both_heard
            && owner.holding.down
            && joiner.holding.down
            && joiner.holding.scrapes >= self.limits.good_scrapes;
        if self.has_proved(&joiner) || (ready && down_for_both) {
            self.bins[joiner.bin].put(target, State::Active, load);
            let group = self.group;
            let phase = MovePhase::Finished { good_scrapes, milliseconds };
            self.let_go(target, from, to, plan);
            plan.moves.push(MoveReport { group, target, from, to, load, phase });
            return;
        }
        let failing = joiner.holding.down
            && !owner.holding.down
            && joiner.holding.scrapes >= PATIENCE * self.limits.good_scrapes;
        let quarantined = self.bins[joiner.bin].quarantined;
        if failing || quarantined || self.is_overdue(begun) {
            let why = if quarantined {
                "the next owner is in quarantine"
            } else if failing {
                "the next owner cannot scrape it"
            } else {
                "the next owner did not show enough good scrapes in time"
            };
            self.bins[owner.bin].put(target, State::Active, load);
            self.roll_back(begun, (target, load), why, plan);
            return;
        }
        plan.busy = true;
        plan.history.moves.insert(key, begun);
        self.bins[owner.bin].put(target, State::Leaving, load);
        self.bins[joiner.bin].put(target, State::Joining, load);
    }

    fn is_overdue(&self, begun: Move) -> bool {
        let timeout = i64::try_from(self.limits.move_timeout.as_millis()).unwrap_or(i64::MAX);
        self.now.saturating_sub(begun.since) > timeout
    }

    fn roll_back(
        &mut self,
        begun: Move,
        (target, load): (u64, u64),
        why: &'static str,
        plan: &mut Plan,
    ) {
        let key = (self.group, target);
        let before = self.history.cooldowns.get(&key);
        let failures = before.map_or(0, |cooldown| cooldown.failures);
        let mut ordinals = before.map(|cooldown| cooldown.ordinals.clone()).unwrap_or_default();
        ordinals.insert(begun.to.ordinal);
        let until =
            self.now.saturating_add(cooldown_ms(self.limits).saturating_mul(1 << failures.min(6)));
        let cooldown = Cooldown { until, failures: failures + 1, ordinals };
        plan.history.cooldowns.insert(key, cooldown);
        self.failed.insert(target);
        let group = self.group;
        let Move { from, to, since } = begun;
        let phase = MovePhase::RolledBack { why, milliseconds: self.now - since };
        plan.moves.push(MoveReport { group, target, from, to, load, phase });
    }

    /// Cooldowns that still count (or whose number of failures does), for targets that still exist.
    pub(super) fn keep_cooldowns(&self, plan: &mut Plan) {
        for (key, cooldown) in &self.history.cooldowns {
            let forgotten = cooldown.is_forgotten(self.limits, self.now);
            let (group, target) = key;
            let is_known = self.seen.targets.binary_search_by_key(target, |seen| seen.id).is_ok()
                || self.kept.binary_search(target).is_ok();
            let mine = *group == self.group && is_known;
            if mine && !forgotten {
                plan.history.cooldowns.entry(*key).or_insert_with(|| cooldown.clone());
            }
        }
    }

    /// Whether the agent of a shard answers.
    pub(super) fn is_reachable(condition: Condition) -> bool {
        !matches!(condition, Condition::Unreachable { .. } | Condition::AgentDown { .. })
    }
}

impl Cooldown {
    /// Whether it is so long over that the next failure would be the first one again.
    pub(super) fn is_forgotten(&self, limits: &Limits, now: i64) -> bool {
        self.until.saturating_add(10 * cooldown_ms(limits).min(DAY_MS)) < now
    }
}

fn cooldown_ms(limits: &Limits) -> i64 {
    i64::try_from(limits.life.cooldown.as_millis()).unwrap_or(i64::MAX)
}

fn is_joining(holder: &Holder<'_>) -> bool {
    holder.holding.state == State::Joining
}

fn is_active(holder: &Holder<'_>) -> bool {
    holder.holding.state == State::Active
}
