//! The rungs of the ladder, quarantine, dead sidecars, and the size of steps.

use super::world::{World, limits};
use super::*;

const IDLE: Duration = Duration::from_secs(60);

/// Three shards of two targets each, which then shrink so that one shard could hold them all.
fn shrunk(shipped: Shipped) -> World {
    let mut world = World::new(limits(30_000));
    world.limits.max_idle = IDLE;
    for id in 1..=6 {
        world.target(id, 10_045);
    }
    world.settle();
    assert_eq!(world.shards.len(), 3);
    for shard in &mut world.shards {
        shard.life.shipped = shipped;
    }
    for id in 1..=6 {
        world.target(id, 3_000);
    }
    world
}

fn shard(ordinal: u32) -> ShardId {
    ShardId { group: 0, ordinal }
}

fn rungs(plan: &Plan) -> Vec<Rung> {
    plan.rungs.values().copied().collect()
}

fn begin_again(world: &mut World) {
    world.history = History::default();
}

#[test]
fn a_shard_goes_down_the_ladder_rung_by_rung() {
    let mut world = shrunk(Shipped::NotYet);
    let plan = world.cycle();
    assert_eq!(rungs(&plan), [Rung::Active, Rung::Active, Rung::Draining]);
    world.settle();
    let plan = world.cycle();
    assert_eq!(rungs(&plan), [Rung::Active, Rung::Empty, Rung::Empty]);
    world.pass(IDLE);
    let plan = world.cycle();
    // The top one first; it stays for as long as its data is not in the bucket.
    assert_eq!(rungs(&plan), [Rung::Active, Rung::Empty, Rung::Shipping]);
    world.pass(Duration::from_secs(86_400));
    let plan = world.cycle();
    assert_eq!((plan.shard_counts.clone(), rungs(&plan)[2]), (vec![3], Rung::Shipping));
    assert!(plan.decisions.iter().any(|decision| decision.label() == "ship"), "{plan:?}");
    world.shards[2].life.shipped = Shipped::All;
    let plan = world.cycle();
    assert_eq!(plan.shard_counts, [2]);
    assert_eq!(rungs(&plan), [Rung::Active, Rung::Shipping, Rung::Removable]);
    world.shards[1].life.shipped = Shipped::All;
    world.cycle();
    assert_eq!(world.shards.len(), 1);
    assert!((1..=6).all(|id| world.holders(id) == 1));
}

#[test]
fn without_an_object_store_empty_and_idle_is_enough() {
    let mut world = shrunk(Shipped::Nowhere);
    world.settle();
    assert_eq!(rungs(&world.cycle()), [Rung::Active, Rung::Empty, Rung::Empty]);
    world.pass(IDLE);
    let plan = world.cycle();
    assert_eq!(rungs(&plan), [Rung::Active, Rung::Removable, Rung::Removable]);
    assert_eq!(plan.shard_counts, [1]);
}

#[test]
fn a_shard_that_is_shipped_stays_shut_while_it_can_go() {
    let mut world = shrunk(Shipped::NotYet);
    world.settle();
    world.pass(IDLE);
    world.cycle();
    world.shards[2].life.shipped = Shipped::All;
    // So much that all three would be needed, in the very turn that sees the last block in the bucket.
    for id in 7..=14 {
        world.target(id, 6_000);
    }
    let plan = world.cycle();
    assert!(plan.placed.iter().all(|(_, to, _)| *to != shard(2)), "{:?}", plan.placed);
    assert!(world.shards.get(2).is_none_or(|shard| shard.holdings.is_empty()));
    world.settle();
    assert!((1..=14).all(|id| world.holders(id) == 1));
}

#[test]
fn a_coordinator_without_memory_removes_what_is_shipped_and_waits_anew_for_what_is_not() {
    let mut world = shrunk(Shipped::NotYet);
    world.settle();
    world.pass(IDLE);
    world.cycle();
    world.shards[2].life.shipped = Shipped::All;
    begin_again(&mut world);
    let plan = world.cycle();
    assert_eq!(plan.shard_counts, [2]);
    assert_eq!(rungs(&plan), [Rung::Active, Rung::Empty, Rung::Removable]);
}

#[test]
fn a_scale_up_fills_drained_shards_before_it_makes_new_ones() {
    let mut world = shrunk(Shipped::NotYet);
    world.settle();
    world.pass(IDLE);
    assert_eq!(rungs(&world.cycle())[2], Rung::Shipping);
    for id in 1..=6 {
        world.target(id, 10_045);
    }
    world.settle();
    let plan = world.cycle();
    assert_eq!(rungs(&plan), [Rung::Active; 3]);
    assert_eq!(plan.shard_counts, [3]);
    assert!(world.history.drained.is_empty());
}

#[test]
fn new_targets_do_not_go_to_a_drained_shard_while_others_have_room() {
    let mut world = shrunk(Shipped::Nowhere);
    world.settle();
    world.target(7, 3_000);
    world.settle();
    assert_eq!(world.owner(7), shard(0));
    assert_eq!(rungs(&world.cycle()), [Rung::Active, Rung::Empty, Rung::Empty]);
}

#[test]
fn a_shard_that_does_not_answer_is_no_empty_shard() {
    for condition in [Condition::Unreachable { since: 0 }, Condition::AgentDown { since: 0 }] {
        let mut world = shrunk(Shipped::All);
        world.settle();
        while world.shards.len() < 2 {
            world.add_shard();
        }
        let top = world.shards.len() - 1;
        world.shards[top].holdings.clear();
        world.shards[top].condition = condition;
        begin_again(&mut world);
        for _ in 0..3 {
            world.pass(10 * IDLE);
            let counts = world.cycle().shard_counts;
            assert_eq!(counts, [u32::try_from(top + 1).unwrap()], "{condition:?}");
        }
    }
}

#[test]
fn the_fewest_shards_asked_for_stay_though_they_are_shipped() {
    let mut world = shrunk(Shipped::All);
    world.limits.min_shards = 2;
    world.settle();
    world.pass(IDLE);
    world.settle();
    assert_eq!(world.shards.len(), 2);
    // Such a one is used again.
    for id in 1..=4 {
        world.target(id, 10_045);
    }
    world.settle();
    assert!(!world.shards[1].holdings.is_empty());
}

#[test]
fn no_more_shards_than_a_step_come_or_go_in_a_minute() {
    let mut world = World::new(limits(10_000));
    world.limits.life.scale_step = 3;
    world.limits.max_idle = Duration::from_secs(1);
    for id in 1..=10 {
        world.target(id, 8_000);
    }
    for _ in 0..5 {
        world.cycle();
        world.scrape();
    }
    assert_eq!(world.shards.len(), 3);
    world.pass(Duration::from_secs(60));
    world.cycle();
    assert_eq!(world.shards.len(), 6);
    for _ in 0..3 {
        world.pass(Duration::from_secs(60));
        world.settle();
    }
    assert_eq!(world.shards.len(), 10);
    for id in 1..=10 {
        world.forget(id);
    }
    world.pass(Duration::from_secs(60));
    for _ in 0..5 {
        world.cycle();
    }
    assert_eq!(world.shards.len(), 7);
}

/// Ten shards with ten targets each, of which the third one crashes again and again.
fn with_a_crashing_shard() -> World {
    let mut world = World::new(limits(10_000));
    world.limits.min_shards = 10;
    for id in 1..=100 {
        world.target(id, 500);
    }
    world.settle();
    assert_eq!(world.shards.len(), 10);
    assert!(!world.shards[3].holdings.is_empty());
    world.shards[3].life.quarantined = true;
    world
}

#[test]
fn the_load_of_a_quarantined_shard_is_spread_without_a_gap() {
    let mut world = with_a_crashing_shard();
    let plan = world.cycle();
    assert!(plan.decisions.iter().any(|decision| decision.label() == "spread"), "{plan:?}");
    let begun: Vec<_> =
        plan.moves.iter().filter(|report| report.phase.label() == "begun").collect();
    assert!(!begun.is_empty() && begun.iter().all(|report| report.from == shard(3)));
    assert_eq!(world.shards[3].holdings.len(), begun.len(), "it scrapes until the others do");
    world.settle();
    assert!(world.shards[3].holdings.is_empty());
    assert!((1..=100).all(|id| world.holders(id) == 1));
    let heirs: BTreeSet<ShardId> = begun.iter().map(|report| report.to).collect();
    assert!(heirs.len() > 1, "spread over several: {heirs:?}");
    // Nothing new comes to it before it is released, and then it takes part again.
    for id in 101..=110 {
        world.target(id, 500);
    }
    world.settle();
    assert!(world.shards[3].holdings.is_empty());
    world.shards[3].life.quarantined = false;
    world.settle();
    assert!(!world.shards[3].holdings.is_empty());
}

#[test]
fn the_spread_is_bounded_by_the_rate_of_moves() {
    let mut world = with_a_crashing_shard();
    world.limits.moves_per_minute = 12;
    world.history = History::default();
    let plan = world.cycle();
    assert_eq!(plan.moves.len(), 2);
}

#[test]
fn a_quarantined_shard_that_is_starting_again_is_not_waited_for() {
    let mut world = with_a_crashing_shard();
    world.shards[3].condition = Condition::Starting { since: world.now };
    let plan = world.cycle();
    assert!(plan.moves.iter().any(|report| report.phase == MovePhase::Evacuated), "{plan:?}");
    world.settle();
    assert!((1..=100).all(|id| world.holders(id) == 1));
}

#[test]
fn a_move_towards_a_shard_that_comes_into_quarantine_is_rolled_back() {
    let mut world = World::new(limits(30_000));
    world.target(1, 14_000);
    world.target(2, 14_000);
    world.settle();
    world.target(1, 20_000);
    world.cycle();
    let joining = world
        .shards
        .iter()
        .position(|shard| shard.holdings.iter().any(|holding| holding.state == State::Joining));
    let joining = joining.unwrap_or_else(|| {
        world.cycle();
        world
            .shards
            .iter()
            .position(|shard| shard.holdings.iter().any(|h| h.state == State::Joining))
            .unwrap()
    });
    world.shards[joining].life.quarantined = true;
    let plan = world.cycle();
    let rolled_back = plan.moves.iter().find(|report| report.phase.label() == "rolled_back");
    assert!(rolled_back.unwrap().to_string().contains("quarantine"), "{plan:?}");
    assert!(world.shards[joining].holdings.is_empty());
}

#[test]
fn few_shards_are_in_quarantine_at_a_time() {
    let mut world = with_a_crashing_shard();
    for shard in &mut world.shards {
        shard.life.quarantined = true;
    }
    world.settle();
    let emptied = world.shards.iter().filter(|shard| shard.holdings.is_empty()).count();
    assert_eq!(emptied, 2, "one, and one for each ten");
    assert!((1..=100).all(|id| world.holders(id) == 1));
}

#[test]
fn a_shard_without_its_sidecar_keeps_what_it_scrapes_and_gets_nothing_new() {
    let mut world = World::new(limits(30_000));
    for id in 1..=2 {
        world.target(id, 5_000);
    }
    world.settle();
    world.shards[0].condition = Condition::AgentDown { since: world.now };
    let grace = world.limits.grace;
    world.pass(grace + Duration::from_secs(1));
    world.target(3, 5_000);
    let plan = world.cycle();
    assert_eq!(plan.shard_counts, [2], "what is new does not wait for the sidecar");
    assert!(plan.moves.is_empty(), "{:?}", plan.moves);
    world.settle();
    assert_eq!(world.owner(3), shard(1));
    assert_eq!(world.shards[0].holdings.len(), 2);
    // After a grace time of its own it counts as lost.
    world.pass(world.limits.life.agent_grace);
    let plan = world.cycle();
    assert_eq!(plan.moves.len(), 2, "{plan:?}");
    assert!(plan.moves.iter().all(|report| report.phase == MovePhase::Evacuated));
}

#[test]
fn a_shard_without_its_sidecar_that_never_said_what_it_holds_is_waited_for_no_longer_than_a_dead_one()
 {
    let mut world = World::new(limits(30_000));
    world.target(1, 100);
    world.settle();
    world.shards[0].known = false;
    world.shards[0].holdings.clear();
    world.shards[0].condition = Condition::AgentDown { since: world.now };
    assert_eq!(world.cycle().unassigned[0].reason.label(), "awaiting_report");
    let grace = world.limits.grace;
    world.pass(grace);
    world.cycle();
    assert_eq!(world.shards.len(), 2);
}

#[test]
fn a_sidecar_may_be_gone_for_ever_when_that_is_asked_for() {
    let mut world = World::new(limits(30_000));
    world.target(1, 100);
    world.settle();
    world.limits.life.agent_grace = Duration::ZERO;
    world.shards[0].condition = Condition::AgentDown { since: world.now };
    world.pass(Duration::from_secs(1_000_000));
    assert!(world.cycle().moves.is_empty());
}

/// Five full shards, of which so many do not answer at all.
fn with_silent_shards(silent: usize) -> World {
    let mut world = World::new(limits(10_000));
    for id in 1..=5 {
        world.target(id, 8_000);
    }
    world.settle();
    assert_eq!(world.shards.len(), 5);
    for index in 0..silent {
        world.lose(index);
    }
    world.pass(world.limits.grace + Duration::from_secs(1));
    world
}

#[test]
fn shards_that_are_silent_together_keep_their_targets_for_then_the_coordinator_may_be_cut_off() {
    for silent in [4, 5] {
        let mut world = with_silent_shards(silent);
        let plan = world.cycle();
        let cut_off = Decision::CutOff { group: 0, silent, shards: 5 };
        assert_eq!((&plan.moves, &plan.decisions), (&vec![], &vec![cut_off]));
        assert_eq!(plan.shard_counts, [5], "no second fleet beside one that is out of reach");
        // What is new has a place all the same.
        world.target(6, 8_000);
        world.settle();
        assert_eq!((world.owner(6), world.shards.len()), (shard(5), 6));
        // Few of them are dead; many of them are, too, in the end.
        world.pass(world.limits.life.partition_grace);
        let plan = world.cycle();
        assert_eq!(plan.shard_counts, [6 + u32::try_from(silent).unwrap()], "{plan:?}");
    }
}

#[test]
fn a_minority_of_silent_shards_is_lost_and_so_is_the_rest_once_most_have_returned() {
    let mut world = with_silent_shards(2);
    assert_eq!(world.cycle().shard_counts, [7]);
    let mut world = with_silent_shards(3);
    world.cycle();
    world.find(0);
    let plan = world.cycle();
    assert_eq!(plan.shard_counts, [7], "{plan:?}");
    let lost = plan.decisions.iter().filter(|decision| decision.label() == "lost");
    assert_eq!(lost.count(), 2);
}

#[test]
fn most_of_a_group_may_have_a_dead_prometheus_each_and_is_not_waited_for() {
    let mut world = with_silent_shards(0);
    for index in 0..4 {
        world.shards[index].condition = Condition::EngineDown { since: world.now };
    }
    world.pass(world.limits.grace + Duration::from_secs(1));
    assert_eq!(world.cycle().shard_counts, [9]);
}
