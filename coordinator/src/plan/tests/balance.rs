//! Shards that are equally full: growth before they overflow, few moves, room for giants, empty shards for no reason.

use super::world::{World, limits};
use super::*;

/// Four shards of a hundred equal targets each, 80 % full.
fn four(max_idle: Duration) -> World {
    let mut world = World::new(limits(10_000));
    world.limits.min_shards = 4;
    world.limits.max_idle = max_idle;
    for _ in 0..4 {
        world.add_shard();
    }
    for id in 0..400 {
        world.target(id, 75);
    }
    world.settle();
    assert_eq!(world.loads(), [8_000; 4]);
    world
}

#[test]
fn shards_are_added_before_the_last_one_is_full_and_not_earlier() {
    let mut world = four(Duration::ZERO);
    for id in 400..475 {
        world.target(id, 75);
    }
    world.settle();
    assert_eq!(world.shards.len(), 4, "95 % full");
    world.target(475, 75);
    let plan = world.cycle();
    assert_eq!(plan.shard_counts, [5]);
    let grow = Decision::Grow { group: 0, from: 4, to: 5, load: 38_080, capacity: 40_000 };
    assert!(plan.decisions.contains(&grow), "{:?}", plan.decisions);
    assert_eq!(plan.placed.len(), 1, "it does not wait for the new shard");
}

#[test]
fn enough_shards_are_added_at_once() {
    let mut world = four(Duration::ZERO);
    for id in 400..1_000 {
        world.target(id, 75);
    }
    let plan = world.cycle();
    // 80,000 series, each shard filled to 90 %.
    assert_eq!(plan.shard_counts, [9]);
    world.settle();
    assert_eq!(world.shards.len(), 9);
    let loads = world.loads();
    let mean = loads.iter().sum::<u64>() / 9;
    assert!(loads.iter().all(|load| *load * 100 <= mean * 107), "{loads:?}");
}

#[test]
fn one_shard_more_moves_few_targets_at_once_and_a_few_each_half_hour() {
    let mut world = four(Duration::ZERO);
    world.add_shard();
    world.settle();
    assert_eq!(world.begun, 16, "twice the least there is, of 400 targets");
    world.pass(Duration::from_secs(600));
    world.settle();
    assert!((19..=23).contains(&world.begun), "{}", world.begun);
}

#[test]
fn new_targets_go_to_the_emptiest_shard() {
    let mut world = four(Duration::ZERO);
    world.add_shard();
    world.cycle();
    for id in 400..450 {
        world.target(id, 75);
    }
    world.settle();
    assert!((400..450).all(|id| world.owner(id).ordinal == 4));
}

#[test]
fn a_coordinator_that_restarts_after_a_balance_moves_no_more_than_once_more() {
    let mut world = four(Duration::ZERO);
    world.add_shard();
    world.settle();
    world.history = History::default();
    world.settle();
    assert_eq!(world.begun, 32);
}

#[test]
fn two_giants_on_one_shard_part_though_nobody_has_room_for_either() {
    let mut world = World::new(limits(10_000));
    world.limits.min_shards = 6;
    for _ in 0..6 {
        world.add_shard();
    }
    for id in 0..2_400 {
        world.target(id, 15);
    }
    world.settle();
    // Two of the first shard's targets become as large as half of it; what lies beside them leaves.
    let first: Vec<u64> = world.shards[0].holdings.iter().map(|h| h.target).take(2).collect();
    for id in &first {
        world.target(*id, 4_600);
    }
    for _ in 0..8 {
        world.settle();
        world.pass(Duration::from_secs(3_600));
    }
    assert_ne!(world.owner(first[0]), world.owner(first[1]));
    let loads = world.loads();
    let mean = loads.iter().sum::<u64>() / 6;
    assert!(loads.iter().all(|load| *load * 100 <= mean * 107), "{loads:?}");
}

#[test]
fn a_shard_with_a_giant_is_drained_by_making_room_for_it() {
    let mut world = four(Duration::from_secs(60));
    world.limits.min_shards = 1;
    for id in 0..400 {
        if world.owner(id).ordinal == 3 {
            world.forget(id);
        }
    }
    // Nobody has 4,000 free; all together have more.
    world.target(1_000, 3_995);
    world.settle();
    world.limits.max_idle = Duration::ZERO;
    for id in 0..400 {
        if id % 8 == 0 {
            world.forget(id);
        }
    }
    world.settle();
    assert_eq!(world.owner(1_000).ordinal, 3);
    world.limits.max_idle = Duration::from_secs(60);
    for _ in 0..4 {
        world.settle();
        world.pass(Duration::from_secs(61));
    }
    assert_eq!(world.shards.len(), 3);
    assert!(world.loads().iter().all(|load| *load <= 9_500), "{:?}", world.loads());
}

/// Four shards of which the last one is about to be drained, a target a second.
fn four_of_which_one_is_spare() -> World {
    let mut world = four(Duration::from_secs(60));
    world.limits.min_shards = 1;
    world.limits.moves_per_minute = 60;
    for id in 0..400 {
        world.target(id, 45);
    }
    world.cycle();
    world.pass(Duration::from_secs(180));
    world
}

#[test]
fn a_shard_that_restarts_pauses_a_drain_and_nothing_goes_back() {
    let mut world = four_of_which_one_is_spare();
    for _ in 0..20 {
        world.cycle();
        world.scrape();
    }
    assert_eq!(world.history.draining.get(&0), Some(&3));
    world.shards[0].condition = Condition::Starting { since: world.now };
    let before = world.begun;
    for _ in 0..60 {
        world.cycle();
        world.scrape();
    }
    assert_eq!(world.begun, before, "nothing begins while one is away");
    assert_eq!(world.history.draining.get(&0), Some(&3), "but it is not forgotten either");
    world.find(0);
    world.limits.moves_per_minute = 100_000;
    world.pass(Duration::from_secs(60));
    world.settle();
    assert!(world.shards.get(3).is_none_or(|shard| shard.holdings.is_empty()));
    let moved: BTreeSet<u64> = world.begun_targets.iter().copied().collect();
    assert_eq!(moved.len(), world.begun_targets.len(), "no target moved twice");
}

#[test]
fn small_targets_are_drained_only_when_there_is_room_to_spare() {
    let mut world = four(Duration::from_secs(60));
    world.limits.min_shards = 1;
    // 27,000 are 90 % of three shards.
    for id in 0..400 {
        world.target(id, 61);
    }
    world.settle();
    assert_eq!(world.begun, 0, "26,400 and a tenth of a shard do not");
    for id in 0..400 {
        world.target(id, 59);
    }
    world.settle();
    assert_eq!(world.begun, 100, "25,600 and a tenth of a shard do");
}

/// Four shards, 60 % full, of which three would do, and a giant that no shard has room for.
fn four_and_a_giant() -> World {
    let mut world = four(Duration::ZERO);
    for id in 0..100 {
        world.forget(id);
    }
    world.settle();
    world.target(1_000, 4_495);
    world
}

#[test]
fn a_giant_waits_for_room_where_there_is_a_shard_more_than_needed() {
    let mut world = four_and_a_giant();
    let plan = world.cycle();
    assert_eq!(plan.shard_counts, [4]);
    let refused = &plan.unassigned[0];
    assert!(matches!(refused.reason, Reason::AwaitingRoom { load: 4_500, .. }), "{refused:?}");
    let for_it = MovePhase::Begun(WhyMoved::Room { load: 4_500 });
    assert!(plan.moves.iter().all(|report| report.phase == for_it), "{:?}", plan.moves);
    let began = world.now;
    world.settle();
    assert_eq!(world.shards.len(), 4);
    assert_eq!(world.owners(1_000).len(), 1);
    assert!(world.now - began < 60_000);
    assert!(world.loads().iter().all(|load| *load <= 9_500), "{:?}", world.loads());
}

#[test]
fn a_giant_that_has_waited_for_long_gets_a_shard() {
    let mut world = four_and_a_giant();
    // What is to make way for it can be scraped nowhere else.
    for id in 100..400 {
        let owner = world.owner(id);
        let elsewhere = world.shards.iter().map(|shard| shard.id).filter(|id| *id != owner);
        world.unscrapable.extend(elsewhere.map(|shard| (id, shard)).collect::<Vec<_>>());
    }
    for _ in 0..25 {
        world.cycle();
        world.scrape();
        world.pass(Duration::from_secs(10));
    }
    assert_eq!(world.shards.len(), 4);
    for _ in 0..8 {
        world.cycle();
        world.scrape();
        world.pass(Duration::from_secs(10));
    }
    assert_eq!(world.shards.len(), 5);
    assert_eq!(world.owner(1_000).ordinal, 4);
}

#[test]
fn a_giant_that_is_replaced_finds_its_place_again() {
    let mut world = four(Duration::ZERO);
    // Without it the others are more than 5 % above what is fair.
    let first: Vec<u64> = world.shards[1].holdings.iter().map(|h| h.target).take(24).collect();
    first.into_iter().for_each(|id| world.forget(id));
    world.target(1_000, 1_915);
    world.settle();
    assert_eq!(world.begun, 0);
    let at = world.owner(1_000);
    for replaced in 0..3 {
        world.forget(1_000 + replaced);
        for _ in 0..60 {
            let plan = world.cycle();
            assert_eq!(plan.moves, [], "nobody takes its place meanwhile");
            world.scrape();
        }
        world.target(1_001 + replaced, 1_915);
        world.cycle();
        assert_eq!(world.owner(1_001 + replaced), at);
    }
}

#[test]
fn a_shard_that_returns_takes_back_what_it_had() {
    let mut world = four(Duration::ZERO);
    for _ in 0..5 {
        world.scrape();
    }
    for id in 0..400 {
        world.target(id, 55);
    }
    world.cycle();
    let before = world.assignments();
    world.lose(2);
    world.pass(Duration::from_secs(121));
    world.settle();
    assert!((0..400).all(|id| world.owners(id).iter().any(|shard| shard.ordinal != 2)));
    world.find(2);
    world.settle();
    let after = world.assignments();
    assert_eq!(after[..4], before[..]);
    assert_eq!(world.begun, 0, "and nobody moves for it");
}

#[test]
fn a_target_that_could_not_be_moved_to_a_shard_goes_elsewhere_next_time() {
    let mut world = four(Duration::from_secs(60));
    world.limits.min_shards = 1;
    let first: u64 = (0..400).find(|id| world.owner(*id).ordinal == 3).unwrap();
    for id in 0..400 {
        world.target(id, 45);
    }
    // It can be scraped where it is, and on one of the others.
    for ordinal in 0..2 {
        world.unscrapable.push((first, ShardId { group: 0, ordinal }));
    }
    for _ in 0..40 {
        world.settle();
        world.pass(Duration::from_secs(61));
    }
    assert_eq!(world.owner(first).ordinal, 2);
    assert!(world.rolled_back <= 2, "{}", world.rolled_back);
}

/// Whether no shard stands out far by what it owns or is about to own.
fn is_even(world: &World) -> bool {
    let own = |shard: &ShardView| -> u64 {
        let held = shard.holdings.iter().filter(|held| held.state != State::Leaving);
        held.map(|held| world.load(held.target)).sum()
    };
    let loads: Vec<u64> = world.shards.iter().map(own).collect();
    let mean = loads.iter().sum::<u64>() / loads.len() as u64;
    loads.iter().all(|load| load * 1_000 <= mean * 1_090)
}

#[test]
fn a_shard_that_stands_out_far_is_relieved_in_the_same_plan() {
    let mut world = four(Duration::ZERO);
    let first: Vec<u64> = world.shards[1].holdings.iter().map(|h| h.target).collect();
    // 20 of 400 targets have to go, ten may within half an hour.
    first.into_iter().for_each(|id| world.target(id, 95));
    assert!(!is_even(&world));
    world.cycle();
    assert!(is_even(&world), "{:?}", world.loads());
}

#[test]
fn a_coordinator_that_restarts_goes_on_with_a_drain() {
    let mut world = four_of_which_one_is_spare();
    while world.loads()[3] > 2_000 {
        world.cycle();
        world.scrape();
    }
    world.history = History::default();
    world.cycle();
    assert_eq!(world.history.draining.get(&0), Some(&3));
}
