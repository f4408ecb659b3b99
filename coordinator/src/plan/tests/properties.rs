//! What is true of every plan.

use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

use super::world::{World, limits};
use super::*;

const CAPACITY: u64 = 1_000;

/// What may happen to a cluster.
#[derive(Debug, Clone)]
pub(super) enum Happening {
    Appear { id: u64, series: u64 },
    Vanish { id: u64 },
    Grow { id: u64, series: u64 },
    Lose { shard: usize },
    Return { shard: usize },
    Forget,
    Pass { seconds: u64 },
    Scrape,
}

fn series() -> impl Strategy<Value = u64> {
    prop_oneof![8 => 0u64..500, 2 => 500u64..1_000, 1 => 1_000u64..3_000]
}

pub(super) fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        6 => (0u64..40, series()).prop_map(|(id, series)| Happening::Appear { id, series }),
        2 => (0u64..40).prop_map(|id| Happening::Vanish { id }),
        4 => (0u64..40, series()).prop_map(|(id, series)| Happening::Grow { id, series }),
        1 => (0usize..8).prop_map(|shard| Happening::Lose { shard }),
        2 => (0usize..8).prop_map(|shard| Happening::Return { shard }),
        1 => Just(Happening::Forget),
        2 => (1u64..200).prop_map(|seconds| Happening::Pass { seconds }),
        6 => Just(Happening::Scrape),
    ]
}

pub(super) fn happen(world: &mut World, happening: Happening) {
    let shards = world.shards.len().max(1);
    match happening {
        Happening::Appear { id, series } => world.target(id, series),
        Happening::Vanish { id } => world.forget(id),
        Happening::Grow { id, series } => {
            if world.targets.contains_key(&id) {
                world.target(id, series);
            }
        }
        Happening::Lose { shard } => {
            if shard < world.shards.len() {
                world.lose(shard % shards);
            }
        }
        Happening::Return { shard } => {
            if shard < world.shards.len() {
                world.find(shard % shards);
            }
        }
        // The coordinator was restarted.
        Happening::Forget => world.history = History::default(),
        Happening::Pass { seconds } => world.pass(Duration::from_secs(seconds)),
        Happening::Scrape => world.scrape(),
    }
}

fn live(groups: u32, happenings: Vec<Happening>, max_idle: Duration) -> World {
    let mut limits = limits(CAPACITY);
    limits.max_idle = max_idle;
    let mut world = World::new(limits);
    world.groups = groups;
    for happening in happenings {
        happen(&mut world, happening);
        world.cycle();
    }
    world
}

/// With nothing known of the past either, nothing moves in a world at rest.
pub(super) fn stays(world: &mut World) -> Result<(), TestCaseError> {
    let at_rest = world.assignments();
    world.history = History::default();
    let plan = world.cycle();
    prop_assert_eq!(&plan.moves, &[]);
    prop_assert_eq!(&plan.placed, &[]);
    prop_assert_eq!(world.assignments(), at_rest);
    Ok(())
}

/// All shards are back, and everything has come to rest.
pub(super) fn calm(mut world: World) -> World {
    for shard in 0..world.shards.len() {
        world.find(shard);
    }
    // The first round ends what was under way; then long enough for every cooldown of a failed move, and as often as
    // anything is left to do: some moves are made a few at a time.
    let mut before = None;
    while before.as_ref() != Some(&world.assignments()) {
        before = Some(world.assignments());
        world.pass(Duration::from_secs(36_000));
        world.settle();
    }
    world
}

/// All properties together see well over 10,000 worlds. What they found is in `proptest-regressions/`.
pub(super) fn config() -> ProptestConfig {
    let failure_persistence =
        Some(Box::new(FileFailurePersistence::SourceParallel("proptest-regressions")) as _);
    ProptestConfig { failure_persistence, ..ProptestConfig::with_cases(1_200) }
}

/// Many small targets, shards that are far from full: there is always an elsewhere.
fn airy(sizes: &[u64], groups: u32, shards: u32) -> World {
    let mut world = World::new(limits(100_000));
    world.groups = groups;
    world.limits.min_shards = shards;
    for (id, series) in (0u64..).zip(sizes) {
        world.target(id, *series);
    }
    world
}

/// A target whose copies are on fewer ordinals than there are groups.
fn together(world: &World, groups: u32) -> Option<u64> {
    let apart = |id: u64| {
        let ordinals: BTreeSet<u32> = world.owners(id).iter().map(|shard| shard.ordinal).collect();
        ordinals.len() == groups as usize
    };
    world.targets.keys().copied().find(|id| !apart(*id))
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn every_target_comes_to_exactly_one_owner_a_group(
        happenings in prop::collection::vec(happening(), 1..60), groups in 1u32..3,
    ) {
        let world = calm(live(groups, happenings, Duration::ZERO));
        for id in world.targets.keys() {
            let owners: Vec<u32> = world.owners(*id).iter().map(|shard| shard.group).collect();
            prop_assert_eq!(owners, (0..groups).collect::<Vec<_>>());
            prop_assert_eq!(world.holders(*id), usize::try_from(groups).unwrap());
        }
        let held = world.shards.iter().flat_map(|shard| &shard.holdings);
        prop_assert!(held.clone().all(|holding| world.targets.contains_key(&holding.target)));
    }

    #[test]
    fn no_shard_comes_to_rest_beyond_its_capacity_unless_one_target_alone_exceeds_it(
        happenings in prop::collection::vec(happening(), 1..60),
    ) {
        let world = calm(live(1, happenings, Duration::ZERO));
        for (shard, load) in world.shards.iter().zip(world.loads()) {
            let alone = shard.holdings.len() == 1;
            prop_assert!(load <= CAPACITY || alone, "{} holds {load}", shard.id);
        }
    }

    #[test]
    fn at_rest_a_plan_changes_nothing_even_after_a_restart(
        happenings in prop::collection::vec(happening(), 1..60), groups in 1u32..3,
    ) {
        let mut world = calm(live(groups, happenings, Duration::ZERO));
        stays(&mut world)?;
    }

    #[test]
    fn the_same_input_gives_the_same_plan(
        happenings in prop::collection::vec(happening(), 1..40),
    ) {
        let world = live(2, happenings, Duration::ZERO);
        let first = plan(&world.snapshot(), &world.limits, &world.history, world.now);
        let second = plan(&world.snapshot(), &world.limits, &world.history, world.now);
        prop_assert_eq!(format!("{first:?}"), format!("{second:?}"));
    }

    #[test]
    fn an_owned_target_always_keeps_a_shard_that_scrapes_it(
        happenings in prop::collection::vec(happening(), 1..60),
    ) {
        let mut world = World::new(limits(CAPACITY));
        world.limits.max_idle = Duration::from_secs(30);
        for happening in happenings {
            happen(&mut world, happening);
            let owned: Vec<u64> =
                world.targets.keys().copied().filter(|id| world.holders(*id) > 0).collect();
            world.cycle();
            for id in owned {
                prop_assert!(world.holders(id) > 0, "target {id} lost its owner");
            }
        }
    }

    #[test]
    fn new_targets_need_few_shards(sizes in prop::collection::vec(1u64..500, 1..80)) {
        let mut world = World::new(limits(CAPACITY));
        for (id, series) in (0u64..).zip(&sizes) {
            world.target(id, *series);
        }
        world.settle();
        let load: u64 = sizes.iter().map(|series| series + SERIES_PER_SCRAPE).sum();
        // Best fit decreasing needs at most 11/9 of the optimum and a little.
        let bound = load.div_ceil(CAPACITY) * 4 / 3 + 1;
        prop_assert!(u64::try_from(world.shards.len()).unwrap() <= bound.max(1));
        prop_assert_eq!(world.begun, 0);
    }

    #[test]
    fn scaling_down_comes_to_rest_and_loses_nothing(
        happenings in prop::collection::vec(happening(), 1..40),
    ) {
        let mut world = calm(live(1, happenings, Duration::from_secs(30)));
        for _ in 0..60 {
            world.pass(Duration::from_secs(31));
            world.settle();
        }
        let before = world.assignments();
        world.pass(Duration::from_secs(31));
        world.settle();
        prop_assert_eq!(world.assignments(), before);
        for id in world.targets.keys() {
            prop_assert_eq!(world.owners(*id).len(), 1);
        }
    }

    #[test]
    fn two_groups_have_no_target_on_the_same_ordinal_where_another_has_room(
        sizes in prop::collection::vec(0u64..500, 1..60), groups in 2u32..4, shards in 3u32..6,
        happenings in prop::collection::vec(happening(), 1..20),
    ) {
        let mut world = airy(&sizes, groups, shards);
        for happening in happenings {
            happen(&mut world, happening);
            world.cycle();
        }
        let mut world = calm(world);
        // Only a few are parted in one go, so that it takes a while until all are.
        for _ in 0..world.targets.len() {
            if together(&world, groups).is_none() {
                break;
            }
            world.pass(Duration::from_secs(3_600));
            world.settle();
        }
        prop_assert_eq!(together(&world, groups), None);
    }

    #[test]
    fn where_no_shard_can_be_added_only_what_fits_nowhere_is_unassigned(
        happenings in prop::collection::vec(happening(), 1..40), shards in 1usize..5,
    ) {
        let mut world = World::new(limits(CAPACITY));
        world.limits.scalable = false;
        for _ in 0..shards {
            world.add_shard();
        }
        for happening in happenings {
            happen(&mut world, happening);
            world.cycle();
        }
        let mut world = calm(world);
        let plan = world.cycle();
        let free = world.loads().iter().map(|load| CAPACITY.saturating_sub(*load)).max().unwrap_or(0);
        for refused in &plan.unassigned {
            let load = world.load(refused.target);
            prop_assert!(load > free, "target {} of {load} has no owner, {free} are free", refused.target);
        }
        let owned = world.targets.keys().filter(|id| world.owners(**id).len() == 1).count();
        prop_assert_eq!(owned + plan.unassigned.len(), world.targets.len());
    }

    #[test]
    fn one_shard_more_moves_no_more_than_its_share(
        sizes in prop::collection::vec(0u64..60, 100..300), shards in 2usize..8,
    ) {
        let mut world = World::new(limits(3_000));
        world.limits.min_shards = u32::try_from(shards).unwrap();
        for (id, series) in (0u64..).zip(&sizes) {
            world.target(id, *series);
        }
        let mut world = calm(world);
        world.pass(Duration::from_secs(36_000));
        let before = world.begun;
        world.add_shard();
        let start = world.now;
        world.settle();
        let seconds = u64::try_from(world.now - start).unwrap() / 1_000;
        // Eight at once and eight each half hour, and as many again for what stands out far.
        prop_assert!(world.begun - before <= 16 + usize::try_from(seconds / 112).unwrap() + 2);
    }
}

proptest! {
    // Each of these worlds lives for more than a day.
    #![proptest_config(ProptestConfig { cases: 200, ..config() })]

    #[test]
    fn at_rest_and_with_time_no_shard_of_small_targets_stands_out(
        sizes in prop::collection::vec(0u64..60, 100..200), shards in 2usize..6,
    ) {
        let mut world = World::new(limits(6_000));
        for (id, series) in (0u64..).zip(&sizes) {
            world.target(id, *series);
        }
        world.settle();
        for _ in 0..shards {
            world.add_shard();
        }
        for _ in 0..30 {
            world.pass(Duration::from_secs(3_600));
            world.settle();
        }
        let loads = world.loads();
        let (most, sum) = (loads.iter().max().copied().unwrap(), loads.iter().sum::<u64>());
        let count = u64::try_from(loads.len()).unwrap();
        // 1.10 times the mean, and what one target more or less makes.
        prop_assert!(most * count <= sum * 110 / 100 + 65 * count, "{loads:?}");
    }

    #[test]
    fn small_targets_use_no_more_shards_than_their_load_needs_and_one(
        before in prop::collection::vec(0u64..60, 50..200),
        after in prop::collection::vec(0u64..60, 20..200),
    ) {
        let mut world = World::new(limits(2_000));
        world.limits.max_idle = Duration::from_secs(30);
        for (id, series) in (0u64..).zip(&before) {
            world.target(id, *series);
        }
        world.settle();
        before.iter().zip(0u64..).for_each(|(_, id)| world.forget(id));
        for (id, series) in (0u64..).zip(&after) {
            world.target(id, *series);
        }
        for _ in 0..20 {
            world.settle();
            world.pass(Duration::from_secs(31));
        }
        let load: u64 = after.iter().map(|series| series + SERIES_PER_SCRAPE).sum();
        let bound = load.div_ceil(2_000 * world.limits.fill_to / 100);
        let used = world.loads().iter().filter(|load| **load > 0).count();
        prop_assert!(u64::try_from(used).unwrap() <= bound + 1, "{used} for {load}");
    }
}
