//! What has ended and is in heads yet, beside series.

use proptest::prelude::*;

use super::properties::{calm, config, happen, happening, stays};
use super::world::{World, limits};
use super::*;
use crate::churn::Churn;

const CAPACITY: u64 = 1_000;

/// Shards of 1,000 series and so many in the head.
fn world(max_head: u64) -> World {
    World::new(Limits { max_head, ..limits(CAPACITY) })
}

#[test]
fn a_target_weighs_what_it_takes_of_a_head_where_that_is_more() {
    let same = Limits { max_head: 1_000, ..limits(CAPACITY) };
    // 20 an hour are 60 in a head that is cut after three hours.
    assert_eq!(same.load(95, 0, 20), 160);
    assert_eq!(same.load(95, 0, 0), 100);
    // Where a head may hold twice as much, as much churn as there are series is free.
    let twice = Limits { max_head: 2_000, ..limits(CAPACITY) };
    for (churn, load) in [(10, 100), (33, 100), (34, 101), (100, 200)] {
        assert_eq!(twice.load(95, 0, churn), load, "{churn}");
    }
    assert_eq!(limits(CAPACITY).load(95, 0, 1_000_000), 100);
    // A head that is smaller than the shard is as large as the shard may be.
    let half = Limits { max_head: 500, ..limits(CAPACITY) };
    assert_eq!((half.load(95, 0, 0), half.load(95, 0, 20)), (100, 160));
    // Samples and heads are shares beside each other.
    let both = Limits { max_samples: 50, ..same };
    assert_eq!((both.load(95, 5_000, 20), both.load(95, 5_000, 200)), (400, 700));
    assert_eq!(twice.load(u64::MAX, 0, u32::MAX), u64::MAX);
}

#[test]
fn targets_that_churn_need_more_shards_and_move_off_a_head_that_is_too_full() {
    let mut world = world(1_000);
    (0..8).for_each(|id| world.target(id, 95));
    world.settle();
    assert_eq!(world.shards.len(), 1);
    // Two begin to churn: 100 and 450 each, beside 600.
    world.churn.extend([(0, 150), (1, 150)]);
    world.settle();
    assert!(world.loads_in_heads().iter().all(|load| *load <= 1_000), "{world:?}");
    assert_ne!(world.owner(0), world.owner(1), "{:?}", world.assignments());
    let plan = world.cycle();
    assert!(plan.decisions.is_empty() && plan.moves.is_empty(), "{plan:?}");
}

#[test]
fn a_target_whose_churn_alone_fills_a_head_gets_a_shard_of_its_own() {
    let mut world = world(1_000);
    (0..3).for_each(|id| world.target(id, 295));
    world.churn.insert(0, 1_000);
    world.settle();
    let plan = world.cycle();
    assert_eq!(plan.oversize, [(0, world.owner(0), 3_300)]);
    assert_eq!(world.owner(1), world.owner(2));
    assert_ne!(world.owner(0), world.owner(1));
}

#[test]
fn what_discovery_does_not_know_yet_churns_as_it_did() {
    let mut world = world(1_000);
    (0..2).for_each(|id| world.target(id, 95));
    world.churn.extend([(0, 100), (1, 100)]);
    world.settle();
    assert_eq!(world.shards.len(), 1);
    world.hold_jobs = true;
    (0..2).for_each(|id| world.forget(id));
    for held in &mut world.shards[0].holdings {
        (held.series, held.churn) = (95, 100);
    }
    // 800 are taken, so that a load of 300 needs a shard more.
    world.target(10, 295);
    world.settle();
    assert_eq!(world.owner(10).ordinal, 1);
}

impl World {
    /// What is in the heads once they have kept what has ended for as long as they do.
    fn loads_in_heads(&self) -> Vec<u64> {
        let in_head = |held: &Holding| {
            let churn = self.churn.get(&held.target).copied().unwrap_or(0);
            self.load(held.target) + ended(churn)
        };
        let held = self.shards.iter().map(|shard| shard.holdings.iter());
        held.map(|held| held.map(in_head).sum()).collect()
    }
}

/// What happens to a world with that much churn of each target.
fn live(mut world: World, happenings: &[properties::Happening], churn: &[u32]) -> World {
    world.churn = (0..).zip(churn.iter().copied()).collect();
    for happening in happenings {
        happen(&mut world, happening.clone());
        world.cycle();
    }
    world
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..config() })]

    #[test]
    fn at_rest_no_head_is_too_full_unless_one_target_alone_fills_it(
        happenings in prop::collection::vec(happening(), 1..60), max_head in 1_000u64..4_000,
        churn in prop::collection::vec(prop_oneof![3 => Just(0u32), 2 => 1u32..300], 40),
    ) {
        let mut world = calm(live(world(max_head), &happenings, &churn));
        let loads = world.loads().into_iter().zip(world.loads_in_heads());
        for (shard, (series, head)) in world.shards.iter().zip(loads) {
            let is_alone = shard.holdings.len() == 1;
            prop_assert!(series <= CAPACITY || is_alone, "{} has {series} series", shard.id);
            prop_assert!(head <= max_head || is_alone, "the head of {} has {head}", shard.id);
        }
        for id in world.targets.keys() {
            prop_assert_eq!(world.owners(*id).len(), 1);
        }
        stays(&mut world)?;
    }

    #[test]
    fn without_churn_or_without_a_limit_of_heads_plans_are_as_they_were(
        happenings in prop::collection::vec(happening(), 1..60), max_head in 1u64..4_000,
        churn in prop::collection::vec(1u32..300, 40),
    ) {
        let plain = live(World::new(limits(CAPACITY)), &happenings, &[]);
        let limited = live(world(max_head), &happenings, &[]);
        let churning = live(World::new(limits(CAPACITY)), &happenings, &churn);
        for other in [limited, churning] {
            prop_assert_eq!(plain.assignments(), other.assignments());
            prop_assert_eq!(&plain.history, &other.history);
            prop_assert_eq!((plain.begun, plain.finished), (other.begun, other.finished));
        }
    }

    #[test]
    fn the_same_world_gives_the_same_plan(
        happenings in prop::collection::vec(happening(), 1..40),
        churn in prop::collection::vec(0u32..300, 40),
    ) {
        let world = live(world(1_500), &happenings, &churn);
        let once = || plan(&world.snapshot(), &world.limits, &world.history, world.now);
        let (one, other) = (once(), once());
        prop_assert_eq!(one.shards, other.shards);
        prop_assert_eq!(one.moves, other.moves);
        prop_assert_eq!(one.history, other.history);
    }

    #[test]
    fn churn_that_goes_up_and_down_a_little_moves_nothing(
        sizes in prop::collection::vec(0u64..300, 1..40), seed in any::<u64>(),
        churn in prop::collection::vec(prop_oneof![Just(0u32), 20u32..200], 40),
    ) {
        let (mut world, mut known) = (world(1_500), Churn::default());
        for (id, series) in (0u64..).zip(&sizes) {
            world.target(id, *series);
        }
        for (id, told) in (0u64..).zip(&churn) {
            known.learn(id, *told);
            world.churn.insert(id, known.of(id));
        }
        let mut world = calm(world);
        let at_rest = world.assignments();
        for step in 0..20u64 {
            for (id, told) in (0u64..).zip(&churn) {
                // A tenth to either side.
                let wobble = 90 + (seed ^ (step * 31 + id).wrapping_mul(0x9E37_79B9)) % 21;
                known.learn(id, u32::try_from(u64::from(*told) * wobble / 100).unwrap());
                world.churn.insert(id, known.of(id));
            }
            let plan = world.cycle();
            prop_assert_eq!(&plan.moves, &[]);
            prop_assert_eq!(world.assignments(), at_rest.clone());
            world.scrape();
        }
    }
}
