//! Two shards that have the same target: which of them keeps it, and when the other lets go.

use proptest::prelude::*;

use super::properties::config;
use super::world::{World, limits};
use super::*;

/// Two targets that were evacuated from a shard that scraped on, unseen.
fn with_a_shard_that_was_away() -> (World, usize, usize) {
    let mut world = World::new(limits(30_000));
    world.limits.min_shards = 2;
    world.target(1, 5_000);
    world.target(2, 5_000);
    world.settle();
    let away = usize::try_from(world.owner(1).ordinal).unwrap();
    assert_eq!((world.owner(2), world.shards.len()), (world.owner(1), 2));
    world.lose(away);
    world.pass(world.limits.grace + Duration::from_secs(1));
    (world, away, 1 - away)
}

#[test]
fn a_shard_that_returns_and_its_heir_are_one_owner_in_the_very_next_plan() {
    let (mut world, away, heir) = with_a_shard_that_was_away();
    world.settle();
    assert_eq!(world.shards[heir].holdings.len(), 2);
    world.find(away);
    assert_eq!((world.holders(1), world.holders(2)), (2, 2));
    let plan = world.cycle();
    assert_eq!((world.holders(1), world.holders(2)), (1, 1));
    assert!(plan.moves.iter().all(|report| report.phase == MovePhase::Deduplicated), "{plan:?}");
}

#[test]
fn of_two_owners_none_lets_go_before_one_of_them_scrapes_well() {
    let (mut world, away, heir) = with_a_shard_that_was_away();
    world.cycle();
    assert_eq!(world.shards[heir].holdings.len(), 2);
    world.find(away);
    // Its Prometheus has started anew, too.
    for holding in &mut world.shards[away].holdings {
        (holding.scrapes, holding.good_scrapes) = (0, 0);
    }
    for _ in 0..world.limits.good_scrapes {
        world.cycle();
        assert_eq!((world.holders(1), world.holders(2)), (2, 2));
        world.scrape();
    }
    world.cycle();
    assert_eq!((world.holders(1), world.holders(2)), (1, 1));
}

/// The keeper of each duplicate that a plan decided on.
fn decided(plan: &Plan) -> Vec<(u64, ShardId)> {
    let duplicates = plan.moves.iter().filter(|report| report.phase == MovePhase::Deduplicated);
    duplicates.map(|report| (report.target, report.to)).collect()
}

/// Both have both targets, and the heir scrapes the first one well already.
fn with_a_shard_that_is_about_to_return() -> (World, usize, usize) {
    let (mut world, away, heir) = with_a_shard_that_was_away();
    world.cycle();
    for holding in &mut world.shards[heir].holdings {
        let good_scrapes = if holding.target == 1 { 2 } else { 1 };
        (holding.scrapes, holding.good_scrapes) = (good_scrapes, good_scrapes);
    }
    for holding in &mut world.shards[away].holdings {
        (holding.scrapes, holding.good_scrapes) = (50, 50);
    }
    assert_eq!((world.holders(1), world.holders(2)), (2, 2));
    (world, away, heir)
}

#[test]
fn a_duplicate_is_decided_on_once_both_have_told_of_themselves_and_all_at_once() {
    for first in [Condition::AgentDown { since: 0 }, Condition::Unreachable { since: 0 }] {
        let (mut world, away, _) = with_a_shard_that_is_about_to_return();
        // Its Prometheus answers again, or its line is up, and its sidecar does not yet.
        world.shards[away].condition = match first {
            Condition::AgentDown { .. } => Condition::AgentDown { since: world.now },
            _ => Condition::Unreachable { since: world.now },
        };
        for _ in 0..3 {
            let plan = world.cycle();
            assert!(plan.moves.is_empty() && plan.busy, "{plan:?}");
            assert_eq!((world.holders(1), world.holders(2)), (2, 2));
        }
        world.find(away);
        let keeper = world.shards[away].id;
        assert_eq!(decided(&world.cycle()), [(1, keeper), (2, keeper)]);
        assert_eq!((world.owner(1), world.owner(2)), (keeper, keeper));
    }
}

#[test]
fn whoever_is_slow_to_answer_is_waited_for_before_a_duplicate_is_decided_on() {
    for slow in 0..2 {
        let (mut world, away, _) = with_a_shard_that_is_about_to_return();
        world.find(away);
        world.shards[slow].life.silent = true;
        for _ in 0..3 {
            let plan = world.cycle();
            assert!(plan.moves.is_empty() && plan.busy, "{plan:?}");
            assert_eq!((world.holders(1), world.holders(2)), (2, 2));
        }
        world.shards[slow].life.silent = false;
        let keeper = world.shards[away].id;
        assert_eq!(decided(&world.cycle()), [(1, keeper), (2, keeper)]);
    }
}

#[test]
fn one_that_returns_while_its_prometheus_still_starts_lets_go_and_does_not_ask_for_it_again() {
    let (mut world, away, heir) = with_a_shard_that_is_about_to_return();
    let keeper = world.shards[heir].id;
    world.shards[away].condition = Condition::Starting { since: world.now };
    let plan = plan(&world.snapshot(), &world.limits, &world.history, world.now);
    assert_eq!(decided(&plan), [(1, keeper)]);
    // It is told, but that is lost; and then it is as good as the heir.
    world.history = plan.history;
    world.find(away);
    let plan = world.cycle();
    assert_eq!(
        decided(&plan),
        [(2, world.shards[away].id)],
        "the other one was not decided on yet"
    );
    assert_eq!((world.owner(1), world.owner(2)), (keeper, world.shards[away].id));
}

#[test]
fn a_decision_that_was_not_heard_is_said_again_to_the_shard_and_to_nobody_else() {
    let (mut world, away, _) = with_a_shard_that_is_about_to_return();
    world.find(away);
    let keeper = world.shards[away].id;
    let plan = plan(&world.snapshot(), &world.limits, &world.history, world.now);
    assert_eq!(decided(&plan), [(1, keeper), (2, keeper)]);
    world.history = plan.history;
    // By now the heir has had them for longer.
    for holding in world.shards.iter_mut().flat_map(|shard| &mut shard.holdings) {
        holding.scrapes = 100 - holding.scrapes;
    }
    assert_eq!(decided(&world.cycle()), []);
    assert_eq!((world.owner(1), world.owner(2)), (keeper, keeper));
    assert!(world.cycle().history.let_go.is_empty(), "what is done is forgotten");
}

#[test]
fn a_keeper_that_fails_before_the_other_has_let_go_keeps_nothing() {
    let (mut world, away, heir) = with_a_shard_that_is_about_to_return();
    world.find(away);
    world.history = plan(&world.snapshot(), &world.limits, &world.history, world.now).history;
    world.shards[away].condition = Condition::EngineDown { since: world.now };
    world.shards[heir].holdings.iter_mut().for_each(|holding| holding.good_scrapes = 2);
    let keeper = world.shards[heir].id;
    assert_eq!(decided(&world.cycle()), [(1, keeper), (2, keeper)]);
    assert_eq!((world.owner(1), world.owner(2)), (keeper, keeper));
}

#[test]
fn a_move_that_ended_while_its_old_owner_was_silent_is_no_duplicate() {
    let mut world = World::new(limits(30_000));
    world.target(1, 5_000);
    world.resize(0, 2);
    let [from, to] = [0, 1].map(|at: usize| world.shards[at].id);
    let begun = Move { from, to, since: world.now };
    world.history.moves.insert((0, 1), begun);
    for (shard, state) in [(0, State::Leaving), (1, State::Joining)] {
        world.hand(shard, Desired { target: 1, state });
    }
    world.scrape();
    world.scrape();
    world.shards[0].life.silent = true;
    let plan = world.cycle();
    assert!(matches!(plan.moves[0].phase, MovePhase::Finished { .. }), "{plan:?}");
    assert_eq!(world.holders(1), 2);
    for _ in 0..2 {
        assert_eq!(world.cycle().moves, []);
    }
    world.shards[0].life.silent = false;
    assert_eq!(world.cycle().moves, []);
    assert_eq!((world.holders(1), world.owner(1)), (1, to));
}

/// How a shard does in a turn.
#[derive(Debug, Clone, Copy)]
struct Form {
    condition: u8,
    silent: bool,
    good_scrapes: u64,
    scrapes: u64,
    /// Whether what it is told is lost.
    lost: bool,
}

fn form() -> impl Strategy<Value = Form> {
    (0u8..8, prop::bool::weighted(0.2), 0u64..5, 0u64..50, prop::bool::weighted(0.5)).prop_map(
        |(condition, silent, good_scrapes, more, lost)| {
            let scrapes = good_scrapes + more;
            Form { condition, silent, good_scrapes, scrapes, lost }
        },
    )
}

fn put_into(form: Form, shard: &mut ShardView, since: i64) {
    shard.condition = match form.condition {
        0 => Condition::Starting { since },
        1 => Condition::EngineDown { since },
        2 => Condition::AgentDown { since },
        3 => Condition::Unreachable { since },
        _ => Condition::Ready,
    };
    shard.life.silent = form.silent;
    for holding in &mut shard.holdings {
        (holding.good_scrapes, holding.scrapes) = (form.good_scrapes, form.scrapes);
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn duplicates_are_ended_on_full_knowledge_and_no_decision_is_taken_back_while_its_keeper_does_well(
        turns in prop::collection::vec((form(), form()), 1..8),
    ) {
        let (mut world, away, _) = with_a_shard_that_is_about_to_return();
        world.find(away);
        let mut before: BTreeMap<u64, ShardId> = BTreeMap::new();
        for (one, other) in turns {
            let now = world.now;
            put_into(one, &mut world.shards[0], now);
            put_into(other, &mut world.shards[1], now);
            let held = world.shards.clone();
            let seen = world.snapshot();
            let plan = plan(&seen, &world.limits, &world.history, now);
            for (target, keeper) in decided(&plan) {
                prop_assert!(seen.shards.iter().all(|shard| !shard.life.silent));
                if let Some(last) = before.insert(target, keeper).filter(|last| *last != keeper) {
                    let last = seen.shards.iter().find(|shard| shard.id == last).unwrap();
                    let good = last.holdings.iter().find(|held| held.target == target);
                    let good = good.is_some_and(|held| held.good_scrapes >= 2);
                    prop_assert!(last.condition != Condition::Ready || !good, "taken back: {:?}", plan.moves);
                }
            }
            world.apply(&plan);
            for ((shard, held), form) in world.shards.iter_mut().zip(held).zip([one, other]) {
                if form.lost {
                    shard.holdings = held.holdings;
                }
            }
            for target in [1, 2] {
                prop_assert!(world.holders(target) > 0);
            }
            world.now += 1_000;
        }
    }
}
