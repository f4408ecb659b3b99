//! The planner in single situations; `properties` holds what is true in all of them, `world` plays the cluster.

mod balance;
mod churn;
mod duplicates;
mod life;
mod load;
mod properties;
mod rules;
mod tally;
mod world;

use std::ops::RangeInclusive;
use std::time::Duration;

use super::*;
use world::{World, limits};

#[test]
fn six_generators_and_a_node_exporter_need_exactly_three_shards() {
    let mut world = World::new(limits(30_000));
    for id in 1..=6 {
        world.target(id, 10_045);
    }
    world.target(7, 505);
    world.settle();
    assert_eq!(world.shards.len(), 3);
    assert_eq!(world.loads(), [20_610, 20_100, 20_100]);
    assert_eq!(world.begun, 0, "targets were placed, not moved");
}

#[test]
fn targets_that_were_sized_too_small_are_spread_without_more_shards_than_needed() {
    let mut world = World::new(limits(30_000));
    for id in 1..=6 {
        world.tentative(id, 1_000);
    }
    world.settle();
    assert_eq!(world.shards.len(), 1);
    for id in 1..=6 {
        world.target(id, 10_045);
    }
    world.settle();
    assert_eq!(world.loads(), [20_100, 20_100, 20_100]);
}

#[test]
fn a_shard_that_grows_over_its_cap_gives_away_the_smallest_target_that_suffices() {
    let mut world = World::new(limits(30_000));
    for id in 1..=4 {
        world.target(id, 10_045);
    }
    world.target(5, 4_995);
    world.settle();
    assert_eq!(world.owner(5).ordinal, 0);
    world.target(1, 16_000);
    let plan = world.cycle();
    let moved: Vec<u64> = plan.moves.iter().map(|report| report.target).collect();
    assert_eq!(moved, [5]);
    assert_eq!(world.state_on(5, 0), Some(State::Leaving));
    assert_eq!(world.state_on(5, 1), Some(State::Joining));
    world.settle();
    assert_eq!(world.owner(5).ordinal, 1);
}

#[test]
fn a_target_leaves_its_shard_only_after_two_good_scrapes_at_the_next_one() {
    let mut world = World::new(limits(30_000));
    for id in 1..=4 {
        world.target(id, 10_045);
    }
    world.settle();
    world.target(1, 21_000);
    let mut joined = None;
    for _ in 0..20 {
        world.cycle();
        joined = joined.or(world
            .shards
            .iter()
            .flat_map(|s| &s.holdings)
            .find(|h| h.state == State::Joining)
            .map(|h| h.target));
        for target in 1..=4 {
            let scraped =
                world.shards.iter().flat_map(|s| &s.holdings).filter(|h| h.target == target);
            assert!(scraped.clone().count() >= 1);
            let proved = scraped.clone().any(|h| h.state == State::Active && h.good_scrapes >= 2);
            assert!(proved || scraped.clone().any(|h| h.state != State::Joining));
        }
        world.scrape();
    }
    assert!(joined.is_some());
    assert_eq!(world.finished, 1);
    assert_eq!(world.shards.len(), 3);
}

#[test]
fn a_move_whose_next_owner_cannot_scrape_is_rolled_back_and_not_tried_again_at_once() {
    let mut world = World::new(limits(30_000));
    for id in 1..=4 {
        world.target(id, 10_045);
    }
    world.target(5, 4_995);
    world.settle();
    world.target(1, 16_000);
    world.cycle();
    world.unscrapable.push((5, ShardId { group: 0, ordinal: 1 }));
    for _ in 0..8 {
        world.scrape();
        world.cycle();
    }
    assert_eq!(world.rolled_back, 1);
    assert_eq!(world.state_on(5, 0), Some(State::Active));
    assert_eq!(world.state_on(5, 1), None);
    assert_ne!(world.begun_targets.iter().filter(|target| **target == 5).count(), 2);
}

#[test]
fn a_move_that_takes_too_long_is_rolled_back() {
    let mut world = World::new(limits(30_000));
    for id in 1..=4 {
        world.target(id, 10_045);
    }
    world.settle();
    world.target(1, 21_000);
    world.cycle();
    world.cycle();
    assert_eq!(world.begun, 1);
    let timeout = world.limits.move_timeout;
    world.pass(timeout + Duration::from_secs(1));
    world.cycle();
    assert_eq!(world.rolled_back, 1);
}

#[test]
fn an_oversize_target_gets_a_shard_of_its_own() {
    let mut world = World::new(limits(30_000));
    world.target(1, 45_000);
    world.target(2, 10_000);
    world.target(3, 10_000);
    world.settle();
    assert_eq!(world.loads(), [45_005, 20_010]);
    let plan = world.cycle();
    assert_eq!(plan.oversize, [(1, ShardId { group: 0, ordinal: 0 }, 45_005)]);
}

#[test]
fn what_lies_beside_a_target_that_grew_beyond_a_shard_leaves_it() {
    let mut world = World::new(limits(30_000));
    for id in 1..=4 {
        world.target(id, 10_045);
    }
    world.settle();
    world.target(1, 40_000);
    world.settle();
    let big = world.owner(1);
    for id in 2..=4 {
        assert_ne!(world.owner(id), big);
    }
}

#[test]
fn an_impossible_need_is_reported_and_does_not_scale() {
    let mut limits = limits(30_000);
    limits.scalable = false;
    let mut world = World::new(limits);
    world.add_shard();
    for id in 1..=3 {
        world.target(id, 12_000);
    }
    world.settle();
    let plan = world.cycle();
    assert_eq!(plan.shard_counts, [1]);
    assert_eq!(plan.unassigned.len(), 1);
    assert_eq!(plan.unassigned[0].reason.label(), "no_room");
    assert!(plan.unassigned[0].reason.to_string().contains("no shard has room"));
}

#[test]
fn a_target_that_discovery_lost_is_removed_unless_its_job_is_held() {
    let mut world = World::new(limits(30_000));
    world.target(1, 100);
    world.target(2, 100);
    world.settle();
    world.forget(1);
    world.hold_jobs = true;
    world.settle();
    assert_eq!(world.owner(1).ordinal, 0);
    world.hold_jobs = false;
    world.settle();
    assert_eq!(world.holders(1), 0);
    assert_eq!(world.holders(2), 1);
}

#[test]
fn a_lost_shard_keeps_its_targets_for_the_grace_time_and_then_they_move() {
    let mut world = World::new(limits(30_000));
    for id in 1..=6 {
        world.target(id, 10_045);
    }
    world.settle();
    world.lose(1);
    world.settle();
    assert_eq!(world.shards.len(), 3, "within the grace time nothing happens");
    let grace = world.limits.grace;
    world.pass(grace + Duration::from_secs(1));
    world.settle();
    assert_eq!(world.shards.len(), 4);
    let served = |world: &World, id| {
        world.shards.iter().any(|s| s.id.ordinal != 1 && s.holdings.iter().any(|h| h.target == id))
    };
    assert!((1..=6).all(|id| served(&world, id)));
    // It returns with what it held: one owner each, and nothing moves about.
    world.find(1);
    let begun = world.begun;
    world.settle();
    assert!((1..=6).all(|id| world.holders(id) == 1));
    assert_eq!(world.begun, begun);
}

#[test]
fn evacuation_is_bounded_by_the_rate_of_moves() {
    let mut limits = limits(100_000);
    limits.moves_per_minute = 60;
    let mut world = World::new(limits);
    world.limits.min_shards = 2;
    for id in 1..=100 {
        world.target(id, 495);
    }
    world.settle();
    world.lose(0);
    let grace = world.limits.grace;
    world.pass(grace + Duration::from_secs(1));
    let plan = world.cycle();
    assert_eq!(plan.moves.len(), 10);
    // With the second that a cycle takes.
    world.pass(Duration::from_secs(2));
    let plan = world.cycle();
    assert_eq!(plan.moves.len(), 3);
}

#[test]
fn new_targets_wait_for_a_shard_that_has_not_reported_yet() {
    let mut world = World::new(limits(30_000));
    world.target(1, 100);
    world.settle();
    world.shards[0].known = false;
    world.shards[0].holdings.clear();
    let plan = world.cycle();
    assert!(plan.shards.is_empty(), "nothing is handed to a shard that has not reported");
    assert_eq!(plan.unassigned[0].reason.label(), "awaiting_report");
    assert_eq!(plan.shard_counts, [1]);
}

#[test]
fn scale_down_drains_the_highest_shard_and_removes_it_once_idle() {
    let mut world = World::new(limits(30_000));
    world.limits.max_idle = Duration::from_secs(60);
    for id in 1..=6 {
        world.target(id, 10_045);
    }
    world.settle();
    for id in 1..=6 {
        world.target(id, 3_000);
    }
    world.settle();
    assert_eq!(world.shards.len(), 3, "empty, but not for long enough");
    world.pass(Duration::from_secs(61));
    world.settle();
    world.pass(Duration::from_secs(61));
    world.settle();
    assert_eq!(world.shards.len(), 1);
    assert!((1..=6).all(|id| world.holders(id) == 1));
}

#[test]
fn shards_are_never_removed_by_default() {
    let mut world = World::new(limits(30_000));
    for id in 1..=6 {
        world.target(id, 10_045);
    }
    world.settle();
    for id in 1..=6 {
        world.forget(id);
    }
    world.pass(Duration::from_secs(86_400));
    world.settle();
    assert_eq!(world.shards.len(), 3);
}

#[test]
fn replica_groups_have_their_copies_on_different_ordinals() {
    let mut world = World::new(limits(30_000));
    world.groups = 2;
    for id in 1..=60 {
        world.target(id, 1_000);
    }
    world.settle();
    assert_eq!(world.shards.len(), 6);
    for id in 1..=60 {
        let owners: Vec<u32> = world.owners(id).iter().map(|shard| shard.ordinal).collect();
        assert_eq!(owners.len(), 2);
        assert_ne!(owners[0], owners[1], "{id}");
    }
}

#[test]
fn a_target_that_is_down_everywhere_does_not_block_its_move() {
    let mut world = World::new(limits(30_000));
    for id in 1..=4 {
        world.target(id, 10_045);
    }
    world.target(5, 4_995);
    world.settle();
    for ordinal in 0..2 {
        world.unscrapable.push((5, ShardId { group: 0, ordinal }));
    }
    world.target(1, 16_000);
    world.settle();
    assert_eq!(world.owner(5).ordinal, 1);
    assert_eq!(world.rolled_back, 0);
}

#[test]
fn shard_ids_print_and_parse() {
    let id = ShardId { group: 1, ordinal: 12 };
    assert_eq!(id.to_string(), "1-12");
    assert_eq!("1-12".parse(), Ok(id));
    assert!("1".parse::<ShardId>().is_err());
}
