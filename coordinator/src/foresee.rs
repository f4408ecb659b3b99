//! What the next turns would do: the planner asked again and again, each plan taken as carried out. Pure, as it is.

use std::collections::HashMap;
use std::sync::Arc;

use crate::plan::{
    Condition, Desired, History, Holding, Limits, Plan, ShardId, ShardView, Size, Snapshot, State,
    TargetView, plan,
};

/// The plans of the next turns, `step` milliseconds apart and `turns` at most, and the world after them. Every next
/// owner is assumed to scrape well, every wanted shard to come up, sizes to stay. Ends early with a plan that changes
/// nothing; that one is the last.
#[must_use]
pub fn foresee(
    mut seen: Snapshot,
    limits: &Limits,
    history: &History,
    now: i64,
    (step, turns): (i64, usize),
) -> (Vec<Plan>, Snapshot) {
    let mut plans: Vec<Plan> = Vec::new();
    let mut now = now;
    while plans.len() < turns {
        let before = plans.last().map_or(history, |plan| &plan.history);
        let next = plan(&seen, limits, before, now);
        let settled = is_settled(&next, &seen);
        if !settled {
            carry_out(&mut seen, &next, limits);
        }
        plans.push(next);
        if settled {
            break;
        }
        now = now.saturating_add(step);
    }
    (plans, seen)
}

/// Whether a plan leaves everything as it is, and so would the next one.
fn is_settled(plan: &Plan, seen: &Snapshot) -> bool {
    plan.moves.is_empty()
        && plan.placed.is_empty()
        && plan.removed.is_empty()
        && plan.history.moves.is_empty()
        && (0u32..).zip(&plan.shard_counts).all(|(group, count)| shards_of(seen, group) == *count)
}

fn shards_of(seen: &Snapshot, group: u32) -> u32 {
    let count = seen.shards.iter().filter(|shard| shard.id.group == group).count();
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn carry_out(seen: &mut Snapshot, plan: &Plan, limits: &Limits) {
    let targets: HashMap<u64, &TargetView> =
        seen.targets.iter().map(|target| (target.id, target)).collect();
    for shard in &mut seen.shards {
        let Some(desired) = plan.shards.get(&shard.id) else { continue };
        let known = std::mem::take(&mut shard.holdings);
        let known: HashMap<u64, Holding> =
            known.into_iter().map(|held| (held.target, held)).collect();
        shard.holdings = desired
            .iter()
            .filter_map(|desired| holding(*desired, &known, &targets, limits))
            .collect();
    }
    for (group, count) in (0u32..).zip(&plan.shard_counts) {
        for ordinal in shards_of(seen, group)..*count {
            seen.shards.push(new_shard(ShardId { group, ordinal }, limits));
        }
        seen.shards.retain(|shard| shard.id.group != group || shard.id.ordinal < *count);
    }
    seen.shards.sort_unstable_by_key(|shard| shard.id);
}

fn new_shard(id: ShardId, limits: &Limits) -> ShardView {
    ShardView {
        id,
        capacity: limits.max_series,
        condition: Condition::Ready,
        known: true,
        holdings: Vec::new(),
        life: crate::plan::ShardLife::default(),
    }
}

/// A target on its shard, after as many good scrapes as anybody asks for.
fn holding(
    desired: Desired,
    known: &HashMap<u64, Holding>,
    targets: &HashMap<u64, &TargetView>,
    limits: &Limits,
) -> Option<Holding> {
    let held = known.get(&desired.target);
    let found = targets.get(&desired.target);
    let series = match found.map(|found| &found.size) {
        Some(Size::Counted(series) | Size::Tentative(series)) => *series,
        Some(Size::Unknown) | None => held.map_or(0, |held| held.series),
    };
    let job = found.map(|found| &found.job).or(held.map(|held| &held.job))?;
    let scrapes = held.map_or(0, |held| held.scrapes).max(limits.good_scrapes);
    let down = held.is_some_and(|held| held.down) && desired.state != State::Joining;
    Some(Holding {
        target: desired.target,
        job: Arc::clone(job),
        state: desired.state,
        series,
        interval_ms: held.map_or(0, |held| held.interval_ms),
        churn: held.map_or(0, |held| held.churn),
        scrapes,
        good_scrapes: if down { 0 } else { scrapes },
        down,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn world(sizes: &[u64], shards: u32, capacity: u64) -> Snapshot {
        let job: Arc<str> = Arc::from("job");
        let targets = (1u64..).zip(sizes).map(|(id, series)| TargetView {
            id,
            job: Arc::clone(&job),
            size: Size::Counted(*series),
            tag: crate::plan::Tag::default(),
            interval_ms: 0,
            churn: 0,
        });
        let limits = Limits { max_series: capacity, ..limits() };
        let shards = (0..shards).map(|ordinal| new_shard(ShardId { group: 0, ordinal }, &limits));
        Snapshot {
            targets: targets.collect(),
            shards: shards.collect(),
            groups: 1,
            ..Snapshot::default()
        }
    }

    fn limits() -> Limits {
        crate::forecast::limits(1_000, None).unwrap()
    }

    #[test]
    fn an_empty_world_is_filled_and_then_nothing_happens_any_more() {
        let sizes = [400; 10];
        let (plans, after) =
            foresee(world(&sizes, 1, 1_000), &limits(), &History::default(), 0, (10_000, 100));
        assert!(plans.len() > 1 && plans.len() < 100, "{}", plans.len());
        assert!(plans.last().unwrap().unassigned.is_empty());
        assert_eq!(after.shards.len(), 5, "two of 405 fit into a shard of 1000");
        let held: usize = after.shards.iter().map(|shard| shard.holdings.len()).sum();
        assert_eq!(held, 10);
    }

    #[test]
    fn a_move_is_begun_in_one_turn_and_finished_in_a_later_one() {
        let mut seen = world(&[600, 600], 2, 1_000);
        let job = Arc::clone(&seen.targets[0].job);
        seen.shards[0].holdings = [1, 2]
            .map(|target| Holding {
                target,
                job: Arc::clone(&job),
                state: State::Active,
                interval_ms: 0,
                churn: 0,
                series: 600,
                scrapes: 9,
                good_scrapes: 9,
                down: false,
            })
            .to_vec();
        let (plans, after) = foresee(seen, &limits(), &History::default(), 0, (10_000, 100));
        let phases: Vec<&str> =
            plans.iter().flat_map(|plan| &plan.moves).map(|report| report.phase.label()).collect();
        assert_eq!(phases, ["begun", "finished"]);
        let held: Vec<usize> = after.shards.iter().map(|shard| shard.holdings.len()).collect();
        assert_eq!(held, [1, 1]);
    }
}
