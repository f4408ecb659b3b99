//! Samples a second beside series.

use proptest::prelude::*;

use super::properties::{calm, config, happen, happening, stays};
use super::world::{World, limits};
use super::*;

const CAPACITY: u64 = 1_000;

/// Shards of 1,000 series and so many samples a second.
fn world(max_samples: u64) -> World {
    World::new(Limits { max_samples, ..limits(CAPACITY) })
}

fn every(world: &mut World, seconds: u32, targets: std::ops::Range<u64>) {
    world.intervals.extend(targets.map(|id| (id, seconds * 1_000)));
}

#[test]
fn a_target_weighs_the_larger_of_its_shares() {
    let limits = Limits { max_samples: 50, ..limits(CAPACITY) };
    // 100 series each 5 s are 20 samples a second, two fifths of a shard; each 60 s they are a tenth by series.
    assert_eq!(limits.load(95, 5_000, 0), 400);
    assert_eq!(limits.load(95, 20_000, 0), 100);
    assert_eq!(limits.load(95, 60_000, 0), 100);
    // Rounded up, and as before where an interval or the limit is not known.
    assert_eq!(limits.load(95, 15_001, 0), 134);
    assert_eq!(limits.load(95, 0, 0), 100);
    assert_eq!(Limits { max_samples: 0, ..limits.clone() }.load(95, 5_000, 0), 100);
    let huge = Limits { max_series: u64::MAX, max_samples: 1, ..limits };
    assert_eq!(huge.load(u64::MAX, 1, 0), u64::MAX);
}

#[test]
fn targets_that_are_scraped_often_need_more_shards() {
    let mut world = world(50);
    (0..10).for_each(|id| world.target(id, 95));
    every(&mut world, 60, 0..10);
    world.settle();
    assert_eq!(world.shards.len(), 1);
    every(&mut world, 5, 0..4);
    world.settle();
    assert_eq!(world.shards.len(), 3, "1,600 and 600 in shards of 1,000");
    let plan = world.cycle();
    assert!(plan.decisions.is_empty() && plan.moves.is_empty(), "{plan:?}");
}

#[test]
fn a_target_beyond_the_samples_of_a_shard_gets_one_of_its_own() {
    let mut world = world(50);
    (0..3).for_each(|id| world.target(id, 295));
    every(&mut world, 60, 1..3);
    every(&mut world, 5, 0..1);
    world.settle();
    let plan = world.cycle();
    assert_eq!(plan.oversize, [(0, world.owner(0), 1_200)]);
    assert_eq!(world.owner(1), world.owner(2));
    assert_ne!(world.owner(0), world.owner(1));
}

#[test]
fn what_discovery_does_not_know_yet_weighs_what_its_shard_says() {
    let mut world = world(50);
    (0..2).for_each(|id| world.target(id, 95));
    every(&mut world, 5, 0..2);
    world.settle();
    assert_eq!(world.shards.len(), 1);
    world.hold_jobs = true;
    (0..2).for_each(|id| world.forget(id));
    for held in &mut world.shards[0].holdings {
        (held.series, held.interval_ms) = (95, 5_000);
    }
    // 800 are taken, so that a load of 300 needs a shard more.
    world.target(10, 295);
    world.settle();
    assert_eq!(world.owner(10).ordinal, 1);
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn at_rest_no_shard_has_too_many_series_or_samples_unless_one_target_alone_has(
        happenings in prop::collection::vec(happening(), 1..60), max_samples in 10u64..200,
        seconds in prop::collection::vec(prop::sample::select(vec![5u32, 15, 30, 60]), 40),
    ) {
        let mut world = world(max_samples);
        world.intervals = (0..).zip(&seconds).map(|(id, seconds)| (id, seconds * 1_000)).collect();
        for happening in happenings {
            happen(&mut world, happening);
            world.cycle();
        }
        let mut world = calm(world);
        for shard in world.shards.iter().filter(|shard| shard.holdings.len() > 1) {
            let targets = || shard.holdings.iter().map(|held| held.target);
            let series: u64 = targets().map(|id| world.load(id)).sum();
            let interval = |id: u64| u64::from(world.intervals[&id]);
            // A second, in thousandths.
            let samples: u64 = targets().map(|id| world.load(id) * 1_000_000 / interval(id)).sum();
            prop_assert!(series <= CAPACITY, "{} has {series} series", shard.id);
            prop_assert!(samples <= max_samples * 1_000, "{} has {samples}/1000 a second", shard.id);
        }
        for id in world.targets.keys() {
            prop_assert_eq!(world.owners(*id).len(), 1);
        }
        stays(&mut world)?;
    }

    #[test]
    fn shards_of_different_capacities_are_each_filled_to_their_own(
        sizes in prop::collection::vec(0u64..1_500, 1..40),
        capacities in prop::collection::vec(400u64..4_000, 1..6),
    ) {
        let mut world = World::new(limits(CAPACITY));
        world.limits.scalable = false;
        for capacity in capacities {
            world.add_shard();
            world.shards.last_mut().unwrap().capacity = capacity;
        }
        for (id, series) in (0u64..).zip(&sizes) {
            world.target(id, *series);
            world.cycle();
            world.scrape();
        }
        let mut world = calm(world);
        let loads = world.loads();
        for (shard, load) in world.shards.iter().zip(&loads) {
            prop_assert!(*load <= shard.capacity || shard.holdings.len() == 1, "{} has {load}", shard.id);
        }
        let plan = world.cycle();
        for refused in &plan.unassigned {
            let needed = world.load(refused.target);
            let fits = |(shard, load): (&ShardView, &u64)| load + needed <= shard.capacity;
            prop_assert!(!world.shards.iter().zip(&loads).any(fits), "{refused:?}: {loads:?}");
        }
        let owned = world.targets.keys().filter(|id| world.owners(**id).len() == 1).count();
        prop_assert_eq!(owned + plan.unassigned.len(), world.targets.len());
    }
}
