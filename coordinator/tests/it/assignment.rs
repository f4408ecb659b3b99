//! Targets get owners, keep them, and move without a gap.

use proto::coordination::TargetState;
use testkit::eventually;

use crate::system::{PATIENCE, World};

#[tokio::test]
async fn six_targets_of_equal_size_fill_three_shards_with_two_each() {
    let world = World::new(3, &[100; 6]).await;
    let coordinator = world.coordinator(&["--shard.max-series=250"]).await;
    eventually(PATIENCE, "every target has an owner", async || world.all_owned()).await;
    for sidecar in &world.sidecars {
        assert_eq!(sidecar.holds().len(), 2);
        let shard = sidecar.shard.lock();
        assert!(shard.held.values().all(|held| held.target.series == 100));
        assert!(shard.config.contains("job_name: pods"), "the configuration is sent as written");
    }
    for target in &world.targets {
        assert_eq!(target.scrapes().len(), 1, "one trial scrape, no more once it has an owner");
    }
    coordinator.stop().await;
}

#[tokio::test]
async fn a_restarted_coordinator_moves_nothing_and_counts_nothing_again() {
    let world = World::new(3, &[100; 6]).await;
    let coordinator = world.coordinator(&["--shard.max-series=250"]).await;
    eventually(PATIENCE, "every target has an owner", async || world.all_owned()).await;
    coordinator.stop().await;
    let (before, epoch) = (world.owners(), world.sidecars[0].shard.lock().epoch);
    let coordinator = world.coordinator(&["--shard.max-series=250"]).await;
    eventually(PATIENCE, "the shards know the new epoch", async || {
        world.sidecars.iter().all(|sidecar| sidecar.shard.lock().epoch > epoch)
    })
    .await;
    eventually(PATIENCE, "all targets are seen as owned", async || {
        let shards = coordinator.data("/api/v1/shards").await;
        shards["shards"].as_array().is_some_and(|shards| {
            shards.len() == 3
                && shards.iter().all(|shard| shard["targets"] == 2 && shard["engine"] == "ready")
        })
    })
    .await;
    assert_eq!(world.owners(), before);
    assert_eq!(coordinator.events("move").await, Vec::<String>::new());
    assert_eq!(coordinator.events("target_assigned").await, Vec::<String>::new());
    assert!(world.targets.iter().all(|target| target.scrapes().len() == 1));
    coordinator.stop().await;
}

#[tokio::test]
async fn an_overloaded_shard_gives_a_target_away_only_after_the_next_one_has_scraped_it_twice() {
    let world = World::new(2, &[100, 100, 30]).await;
    let coordinator = world.coordinator(&["--shard.max-series=250"]).await;
    eventually(PATIENCE, "every target has an owner", async || world.all_owned()).await;
    let crowded = world.owners()[0].unwrap();
    assert_eq!(world.owners()[1], Some(crowded), "both large ones fit into one shard");
    for sidecar in &world.sidecars {
        sidecar.shard.lock().series.insert(world.targets[0].address().to_owned(), 160);
    }
    eventually(PATIENCE, "a target has moved", async || {
        coordinator.metric(r#"shoal_coordinator_moves_total{outcome="finished"}"#).await >= 1.0
            && world.all_owned()
    })
    .await;
    let moved: Vec<usize> = (0..3).filter(|i| world.owners()[*i] != Some(crowded)).collect();
    // At no time was a target that had an owner without one that had proved itself.
    for i in moved {
        let address = world.targets[i].address();
        let states = |sidecar: usize| {
            let shard = world.sidecars[sidecar].shard.lock();
            let state = |held: &Vec<(String, TargetState)>| {
                held.iter().find(|(held, _)| held == address).map(|(_, state)| *state)
            };
            let mut states: Vec<_> = shard.history.iter().map(state).collect();
            states.dedup();
            states
        };
        if world.owners()[i] == Some(crowded) || states(crowded).is_empty() {
            continue;
        }
        let left = states(crowded);
        if left.contains(&Some(TargetState::Leaving)) {
            assert!(left.ends_with(&[Some(TargetState::Leaving), None]), "{left:?}");
            let joined = states(1 - crowded);
            assert!(
                joined.ends_with(&[Some(TargetState::Joining), Some(TargetState::Active)]),
                "{joined:?}"
            );
        }
    }
    let events = coordinator.events("move").await;
    assert!(events.iter().any(|event| event.contains("the shard holds")), "{events:?}");
    coordinator.stop().await;
}

#[tokio::test]
async fn a_move_to_a_shard_that_cannot_scrape_the_target_is_rolled_back() {
    let world = World::new(2, &[100, 100]).await;
    let coordinator = world.coordinator(&["--shard.max-series=250"]).await;
    eventually(PATIENCE, "every target has an owner", async || world.all_owned()).await;
    let before = world.owners();
    assert_eq!(before[0], before[1]);
    let other = 1 - before[0].unwrap();
    {
        let mut shard = world.sidecars[other].shard.lock();
        shard.failing = world.targets.iter().map(|target| target.address().to_owned()).collect();
    }
    for target in &world.targets {
        let mut shard = world.sidecars[1 - other].shard.lock();
        shard.series.insert(target.address().to_owned(), 140);
    }
    eventually(PATIENCE, "a move is rolled back", async || {
        coordinator.metric(r#"shoal_coordinator_moves_total{outcome="rolled_back"}"#).await >= 1.0
    })
    .await;
    eventually(PATIENCE, "the targets are where they were", async || {
        coordinator.metric(r#"shoal_coordinator_moves_total{outcome="rolled_back"}"#).await >= 2.0
            && world.owners() == before
    })
    .await;
    coordinator.stop().await;
}

#[tokio::test]
async fn two_replica_groups_hold_every_target_on_different_ordinals() {
    let world = World::new(4, &[100; 4]).await;
    world.write_shards(4, 2);
    let coordinator = world.coordinator(&["--shard.max-series=250"]).await;
    eventually(PATIENCE, "both groups hold everything", async || {
        let held = |i: usize| world.sidecars[i].holds();
        !held(0).is_empty() && !held(1).is_empty() && held(0) == held(3) && held(1) == held(2)
    })
    .await;
    coordinator.stop().await;
}

#[tokio::test]
async fn what_does_not_fit_anywhere_is_listed_with_the_reason() {
    let world = World::new(1, &[100, 100, 300]).await;
    let coordinator = world.coordinator(&["--shard.max-series=150"]).await;
    let reasons = eventually(PATIENCE, "two targets are refused", async || {
        let data = coordinator.data("/api/v1/unassigned").await;
        let refused = data["unassigned"].as_array().unwrap().clone();
        let settled =
            refused.iter().all(|one| one["reason"].as_str().unwrap().contains("no shard has room"));
        (refused.len() == 2 && settled).then_some(refused)
    })
    .await;
    assert!(reasons.iter().all(|one| one["job"] == "pods" && one["group"] == 0));
    eventually(PATIENCE, "the metric says so", async || {
        coordinator.metric("shoal_coordinator_missing_targets").await == 2.0
    })
    .await;
    coordinator.stop().await;
}
