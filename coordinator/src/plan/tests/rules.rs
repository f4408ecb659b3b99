//! Pins, exclusive shards, and what is kept apart.

use proptest::prelude::*;

use super::properties::{Happening, calm, config, happen, happening, stays};
use super::world::{World, limits};
use super::*;

const CAPACITY: u64 = 1_000;

fn rule(pin: Option<(&[RangeInclusive<u32>], bool)>, spread: Option<Spread>) -> Rule {
    let pin = pin.map(|(shards, exclusive)| Pin { shards: shards.to_vec(), exclusive });
    Rule { name: Arc::from("rule"), pin, spread }
}

fn pinned(shards: &[RangeInclusive<u32>]) -> Rule {
    rule(Some((shards, false)), None)
}

fn exclusive(shards: &[RangeInclusive<u32>]) -> Rule {
    rule(Some((shards, true)), None)
}

/// A world with these rules, of so many shards at least.
fn world(rules: Vec<Rule>, shards: u32) -> World {
    let mut world = World::new(limits(CAPACITY));
    world.limits.min_shards = shards;
    world.rules = Arc::new(Rules::new(rules));
    world.settle();
    world
}

fn tag(world: &mut World, targets: impl IntoIterator<Item = u64>, rule: u16, family: u32) {
    world.tags.extend(targets.into_iter().map(|id| (id, Tag { rule, family })));
}

fn add(world: &mut World, targets: impl IntoIterator<Item = u64>, series: u64) {
    for id in targets {
        world.target(id, series);
    }
}

fn ordinals(world: &World, targets: impl IntoIterator<Item = u64>) -> Vec<u32> {
    targets.into_iter().map(|id| world.owner(id).ordinal).collect()
}

/// How many of the targets each shard has.
fn spread_of(world: &World, targets: std::ops::Range<u64>) -> Vec<usize> {
    let held = |shard: &ShardView| {
        shard.holdings.iter().filter(|held| targets.contains(&held.target)).count()
    };
    world.shards.iter().map(held).collect()
}

#[test]
fn pinned_targets_come_to_their_shards_in_every_group() {
    let mut world = world(vec![pinned(&[1..=1, 3..=9])], 4);
    world.groups = 2;
    tag(&mut world, 0..10, 1, 0);
    add(&mut world, 0..20, 50);
    world.settle();
    for owner in (0..10).flat_map(|id| world.owners(id)) {
        assert!([1, 3].contains(&owner.ordinal), "{owner}");
    }
    assert_eq!(world.begun, 0);
    assert_eq!((0..20).map(|id| world.owners(id).len()).sum::<usize>(), 40);
}

#[test]
fn what_a_new_rule_pins_elsewhere_moves_there_make_before_break() {
    let mut world = world(vec![pinned(&[2..=2])], 3);
    add(&mut world, 0..6, 100);
    world.settle();
    tag(&mut world, 0..6, 1, 0);
    world.cycle();
    let states: BTreeSet<State> = (0..6).filter_map(|id| world.state_on(id, 2)).collect();
    assert!(states.contains(&State::Joining), "{states:?}");
    assert!((0..6).all(|id| world.holders(id) > 0));
    world.settle();
    assert_eq!(ordinals(&world, 0..6), [2; 6]);
    assert_eq!(world.rolled_back, 0);
}

#[test]
fn an_exclusive_shard_is_left_by_all_others() {
    let mut world = world(vec![exclusive(&[0..=0])], 2);
    add(&mut world, 0..8, 100);
    world.settle();
    tag(&mut world, 0..3, 1, 0);
    world.settle();
    assert_eq!(ordinals(&world, 0..3), [0; 3]);
    assert!(ordinals(&world, 3..8).iter().all(|ordinal| *ordinal != 0));
    // More than the others have room for: a shard is added, the exclusive one stays as it is.
    add(&mut world, 8..30, 100);
    world.settle();
    assert!(ordinals(&world, 3..30).iter().all(|ordinal| *ordinal != 0));
    assert_eq!(world.loads()[0], 315);
}

#[test]
fn shards_up_to_the_pinned_one_are_added() {
    let mut world = world(vec![exclusive(&[2..=4])], 1);
    tag(&mut world, 0..1, 1, 0);
    add(&mut world, 0..2, 100);
    world.settle();
    assert_eq!(ordinals(&world, 0..2), [2, 0]);
    assert_eq!(world.shards.len(), 3);
    // What is not pinned skips the exclusive ones.
    add(&mut world, 10..40, 95);
    world.settle();
    assert!(ordinals(&world, 10..40).iter().all(|ordinal| !(2..=4).contains(ordinal)));
    assert_eq!(world.shards.len(), 7);
}

#[test]
fn others_make_way_for_what_is_pinned_to_a_full_shard() {
    let mut world = world(vec![pinned(&[0..=0])], 1);
    add(&mut world, 0..9, 95);
    world.settle();
    assert_eq!(ordinals(&world, 0..9), [0; 9]);
    tag(&mut world, 20..22, 1, 0);
    add(&mut world, 20..22, 200);
    let plan = world.cycle();
    let reason = &plan.unassigned[0].reason;
    assert_eq!(reason.label(), "pinned_full");
    assert_eq!(
        reason.to_string(),
        "placement rule \"rule\" pins it to shards without room: it needs 205 series, the largest free room there is 100"
    );
    world.settle();
    assert_eq!(ordinals(&world, 20..22), [0; 2]);
    assert!(world.begun <= 4, "{} moves for 410 series", world.begun);
    assert_eq!(world.shards.len(), 2);
}

#[test]
fn what_is_pinned_to_shards_that_cannot_be_added_is_refused_with_the_rule() {
    let mut world = world(vec![pinned(&[5..=5]), exclusive(&[0..=0])], 2);
    world.limits.scalable = false;
    tag(&mut world, 0..1, 1, 0);
    tag(&mut world, 1..12, 2, 0);
    add(&mut world, 0..12, 95);
    world.settle();
    let plan = world.cycle();
    let labels: Vec<_> = plan.unassigned.iter().map(|refused| refused.reason.label()).collect();
    assert_eq!(labels, ["pinned_nowhere", "pinned_full"]);
    assert_eq!(ordinals(&world, 1..11), [0; 10]);
    assert_eq!(world.loads()[1], 0);
}

#[test]
fn targets_of_a_family_that_has_to_be_apart_get_a_shard_each() {
    let mut world = world(vec![rule(None, Some(Spread::Required))], 1);
    tag(&mut world, 0..5, 1, 1);
    tag(&mut world, 5..8, 1, 2);
    add(&mut world, 0..8, 10);
    world.settle();
    assert_eq!(world.shards.len(), 5);
    assert_eq!(spread_of(&world, 0..5), [1; 5]);
    assert!(spread_of(&world, 5..8).iter().all(|count| *count <= 1));
    assert_eq!(world.begun, 0);
}

#[test]
fn what_cannot_be_apart_is_refused_and_what_is_together_stays_until_it_can() {
    let mut world = world(vec![rule(None, Some(Spread::Required))], 2);
    world.limits.scalable = false;
    add(&mut world, 0..4, 10);
    world.settle();
    tag(&mut world, 0..5, 1, 1);
    add(&mut world, 4..5, 10);
    world.settle();
    let plan = world.cycle();
    assert_eq!(plan.unassigned.len(), 1);
    assert_eq!(plan.unassigned[0].reason, Reason::Apart { rule: Arc::from("rule"), shards: 2 });
    assert!((0..4).all(|id| world.holders(id) == 1), "nothing is dropped for a rule");
    let misplaced = plan.decisions.iter().find(|decision| decision.label() == "misplaced");
    assert!(misplaced.is_some_and(Decision::is_trouble), "{:?}", plan.decisions);
    assert!(misplaced.unwrap().to_string().contains("2 targets with 30 series"), "{misplaced:?}");
    for _ in 0..3 {
        world.add_shard();
    }
    world.settle();
    assert_eq!(spread_of(&world, 0..5), [1; 5]);
    assert!(world.cycle().decisions.is_empty());
}

#[test]
fn a_job_is_spread_evenly_where_there_is_room_and_no_shard_is_added_for_it() {
    let mut world = world(vec![rule(None, Some(Spread::Preferred))], 3);
    tag(&mut world, 0..7, 1, 1);
    add(&mut world, 0..7, 20);
    add(&mut world, 100..140, 20);
    world.settle();
    let mut counts = spread_of(&world, 0..7);
    counts.sort_unstable();
    assert_eq!(counts.len(), 3);
    assert!(counts[2] <= 3, "{counts:?}");
    // With more shards they are spread over these, too, a few at a time.
    for _ in 0..4 {
        world.add_shard();
    }
    for _ in 0..5 {
        world.pass(Duration::from_secs(3_600));
        world.settle();
    }
    assert_eq!(spread_of(&world, 0..7), [1; 7]);
}

#[test]
fn a_shard_is_not_drained_while_something_is_pinned_to_it() {
    let mut world = world(vec![pinned(&[2..=2])], 1);
    world.limits.max_idle = Duration::from_secs(60);
    tag(&mut world, 0..1, 1, 0);
    add(&mut world, 0..3, 100);
    for _ in 0..5 {
        world.settle();
        world.pass(Duration::from_secs(61));
    }
    assert_eq!((world.owner(0).ordinal, world.shards.len()), (2, 3));
    world.tags.clear();
    for _ in 0..8 {
        world.settle();
        world.pass(Duration::from_secs(61));
    }
    assert_eq!((world.owner(0).ordinal, world.shards.len()), (0, 1));
}

#[test]
fn what_discovery_does_not_know_yet_keeps_its_pin() {
    let mut world = world(vec![exclusive(&[0..=0])], 2);
    tag(&mut world, 0..3, 1, 0);
    add(&mut world, 0..3, 100);
    world.settle();
    world.hold_jobs = true;
    (0..3).for_each(|id| world.forget(id));
    world.history = History::default();
    let plan = world.cycle();
    assert_eq!(plan.moves, []);
    assert_eq!((0..3).map(|id| world.holders(id)).collect::<Vec<_>>(), [1; 3]);
    assert!(world.state_on(0, 0).is_some());
}

#[test]
fn shards_of_small_targets_are_levelled_among_those_that_may_have_them() {
    let mut world = world(vec![exclusive(&[0..=0])], 3);
    tag(&mut world, 0..2, 1, 0);
    add(&mut world, 0..2, 10);
    add(&mut world, 100..150, 20);
    world.settle();
    let loads = world.loads();
    assert_eq!(loads[0], 30);
    assert!(loads[1].abs_diff(loads[2]) <= 25, "{loads:?}");
    // Two of them grow, so that one shard stands out.
    let grown: Vec<u64> = (100..150).filter(|id| world.owner(*id).ordinal == 1).take(8).collect();
    add(&mut world, grown, 50);
    for _ in 0..4 {
        world.pass(Duration::from_secs(3_600));
        world.settle();
    }
    let loads = world.loads();
    assert_eq!(loads[0], 30);
    assert!(loads[1].abs_diff(loads[2]) * 10 <= loads[1], "{loads:?}");
}

/// Which of these hold: exclusive and other pins, and both kinds of being apart.
fn rules() -> impl Strategy<Value = Vec<Rule>> {
    let all = || {
        vec![
            exclusive(&[1..=2]),
            pinned(&[0..=0, 3..=3]),
            rule(None, Some(Spread::Required)),
            rule(None, Some(Spread::Preferred)),
            rule(Some((&[3..=u32::MAX], false)), Some(Spread::Required)),
        ]
    };
    prop::collection::vec(prop::bool::weighted(0.7), 5).prop_map(move |wanted| {
        // A rule that is not wanted says nothing.
        let rules = all().into_iter().zip(wanted);
        rules.map(|(found, wanted)| if wanted { found } else { rule(None, None) }).collect()
    })
}

/// One target in three falls under a rule; of those that are kept apart there are two families.
fn tags() -> BTreeMap<u64, Tag> {
    let tag = |id: u64| {
        let rule = [0, 0, 1, 2, 3, 4, 5, 0, 0][usize::try_from(id % 9).unwrap()];
        let family =
            if rule >= 3 { u32::from(rule) * 2 + u32::try_from(id / 9 % 2).unwrap() } else { 0 };
        Tag { rule, family }
    };
    (0..40).map(|id| (id, tag(id))).collect()
}

/// Pinned shards have room for all that is pinned to them.
fn modest(happening: Happening) -> Happening {
    let modest = |id: u64, series| if tags()[&id].rule == 0 { series } else { series % 100 };
    match happening {
        Happening::Appear { id, series } => Happening::Appear { id, series: modest(id, series) },
        Happening::Grow { id, series } => Happening::Grow { id, series: modest(id, series) },
        other => other,
    }
}

fn allowed(world: &World, target: u64, ordinal: u32) -> bool {
    let pin = |rule: &Rule| rule.pin.clone();
    match world.rules.get(world.tags[&target].rule).and_then(pin) {
        Some(pin) => pin.contains(ordinal),
        None => {
            world.rules.iter().filter_map(pin).all(|pin| !pin.exclusive || !pin.contains(ordinal))
        }
    }
}

/// A relative on a shard that a target is strictly kept apart from. What is gone leaves with the push that brings it.
fn relative(world: &World, target: u64, shard: &ShardView) -> Option<u64> {
    let tag = world.tags[&target];
    let spread = world.rules.get(tag.rule).and_then(|rule| rule.spread);
    let others = shard.holdings.iter().map(|held| held.target).filter(|id| *id != target);
    let mut held = others.filter(|id| world.targets.contains_key(id));
    if spread == Some(Spread::Required) { held.find(|id| world.tags[id] == tag) } else { None }
}

/// Plans; every new place has to be one that the rules allow.
fn lawful(world: &mut World) -> Result<(), TestCaseError> {
    let plan = world.cycle();
    let begun =
        |report: &&MoveReport| matches!(report.phase, MovePhase::Begun(_) | MovePhase::Evacuated);
    let moved = plan.moves.iter().filter(begun).map(|report| (report.target, report.to));
    let placed = plan.placed.iter().map(|(target, shard, _)| (*target, *shard));
    for (target, to) in moved.chain(placed) {
        prop_assert!(allowed(world, target, to.ordinal), "{target} must not be on {to}");
        let there = world.shards.iter().find(|shard| shard.id == to);
        let together = there.and_then(|shard| relative(world, target, shard));
        prop_assert!(together.is_none(), "{target} came to {together:?} on {to}");
    }
    Ok(())
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn no_place_is_given_that_rules_forbid_and_at_rest_they_all_hold(
        rules in rules(), happenings in prop::collection::vec(happening(), 1..50), groups in 1u32..3,
    ) {
        let mut world = World::new(limits(CAPACITY));
        (world.groups, world.rules, world.tags) = (groups, Arc::new(Rules::new(rules)), tags());
        for happening in happenings {
            happen(&mut world, modest(happening));
            lawful(&mut world)?;
        }
        let world = calm(world);
        for id in world.targets.keys() {
            let owners: Vec<u32> = world.owners(*id).iter().map(|shard| shard.group).collect();
            prop_assert_eq!(owners, (0..groups).collect::<Vec<_>>(), "of {}", id);
        }
        for (shard, load) in world.shards.iter().zip(world.loads()) {
            let alone = shard.holdings.len() == 1;
            prop_assert!(load <= CAPACITY || alone, "{} holds {load}", shard.id);
            for held in &shard.holdings {
                prop_assert!(allowed(&world, held.target, shard.id.ordinal), "{held:?} on {}", shard.id);
                prop_assert_eq!(relative(&world, held.target, shard), None);
            }
        }
    }

    #[test]
    fn rules_that_come_and_go_move_things_and_then_it_is_quiet(
        before in rules(), after in rules(), happenings in prop::collection::vec(happening(), 1..40),
    ) {
        let mut world = World::new(limits(CAPACITY));
        (world.rules, world.tags) = (Arc::new(Rules::new(before)), tags());
        for happening in happenings {
            happen(&mut world, modest(happening));
            world.cycle();
        }
        let mut world = calm(world);
        let owned: Vec<u64> = world.targets.keys().copied().collect();
        world.rules = Arc::new(Rules::new(after));
        for _ in 0..10 {
            lawful(&mut world)?;
            prop_assert!(owned.iter().all(|id| world.holders(*id) > 0));
            world.scrape();
        }
        let mut world = calm(world);
        for shard in &world.shards {
            let misplaced = |held: &&Holding| !allowed(&world, held.target, shard.id.ordinal);
            let misplaced = shard.holdings.iter().find(misplaced);
            prop_assert!(misplaced.is_none(), "{misplaced:?} on {}", shard.id);
        }
        stays(&mut world)?;
    }

    #[test]
    fn where_no_shard_can_be_added_rules_hold_and_only_what_they_forbid_or_has_no_room_waits(
        rules in rules(), happenings in prop::collection::vec(happening(), 1..40), shards in 1usize..6,
    ) {
        let mut world = World::new(limits(CAPACITY));
        (world.rules, world.tags) = (Arc::new(Rules::new(rules)), tags());
        world.limits.scalable = false;
        for _ in 0..shards {
            world.add_shard();
        }
        for happening in happenings {
            happen(&mut world, modest(happening));
            lawful(&mut world)?;
        }
        let mut world = calm(world);
        let plan = world.cycle();
        for refused in &plan.unassigned {
            let load = world.load(refused.target);
            for (shard, used) in world.shards.iter().zip(world.loads()) {
                let fits = used + load <= CAPACITY || used == 0;
                let lawful = allowed(&world, refused.target, shard.id.ordinal)
                    && relative(&world, refused.target, shard).is_none();
                prop_assert!(!(fits && lawful), "{refused:?} fits on {}", shard.id);
            }
        }
        let owned = world.targets.keys().filter(|id| world.owners(**id).len() == 1).count();
        prop_assert_eq!(owned + plan.unassigned.len(), world.targets.len());
    }
}
