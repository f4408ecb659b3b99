//! Sidecars and targets that misbehave.

use std::time::Duration;

use proto::coordination::engine;
use testkit::eventually;

use crate::fake::{Held, Mode};
use crate::system::{PATIENCE, World};

#[tokio::test]
async fn a_sidecar_that_accepts_and_never_answers_delays_nobody_else() {
    let world = World::new(3, &[100; 4]).await;
    world.sidecars[1].shard.lock().mode = Mode::Hang;
    let arguments =
        ["--shard.max-series=250", "--coordinator.shard-timeout=3s", "--shard.grace=1s"];
    let coordinator = world.coordinator(&arguments).await;
    eventually(PATIENCE, "the others hold all targets", async || world.all_owned()).await;
    assert_eq!(world.sidecars[1].holds(), []);
    let assigned = world.sidecars[0].shard.lock().assigned;
    // New targets reach the others while the hung one hangs.
    let more = testkit::target::Target::start(crate::system::page(10)).await;
    let mut addresses: Vec<&str> =
        world.targets.iter().map(testkit::target::Target::address).collect();
    addresses.push(more.address());
    world.write_config_for(&addresses, "");
    eventually(PATIENCE, "the new target has an owner", async || {
        world.sidecars.iter().any(|sidecar| sidecar.state_of(more.address()).is_some())
    })
    .await;
    assert!(world.sidecars[0].shard.lock().assigned > assigned);
    let shards = coordinator.data("/api/v1/shards").await;
    assert_eq!(shards["shards"][1]["engine"], "unreachable");
    assert!(shards["shards"][1]["lastError"].as_str().unwrap().contains("no answer within"));
    coordinator.stop().await;
}

#[tokio::test]
async fn a_shard_that_returns_after_its_targets_were_evacuated_does_not_keep_duplicates() {
    let world = World::new(2, &[50, 50]).await;
    let coordinator = world.coordinator(&["--shard.max-series=250", "--shard.grace=1s"]).await;
    eventually(PATIENCE, "every target has an owner", async || world.all_owned()).await;
    let first = world.owners()[0].unwrap();
    world.sidecars[first].shard.lock().mode = Mode::Hang;
    eventually(PATIENCE, "its targets move", async || {
        world
            .targets
            .iter()
            .all(|target| world.sidecars[1 - first].state_of(target.address()).is_some())
    })
    .await;
    world.sidecars[first].shard.lock().mode = Mode::Normal;
    eventually(PATIENCE, "one owner each", async || world.all_owned()).await;
    let events = coordinator.events("").await;
    let evacuated = events.iter().filter(|event| event.contains("evacuated from lost shard"));
    assert_eq!(evacuated.count(), 2, "{events:#?}");
    coordinator.stop().await;
}

#[tokio::test]
async fn what_is_on_its_way_to_a_slow_shard_is_not_decided_on_again() {
    let world = World::new(2, &[50, 50]).await;
    let arguments =
        ["--shard.max-series=250", "--shard.grace=1s", "--coordinator.shard-timeout=10s"];
    let coordinator = world.coordinator(&arguments).await;
    eventually(PATIENCE, "every target has an owner", async || world.all_owned()).await;
    let first = world.owners()[0].unwrap();
    // Longer than a turn waits for it.
    let assigned = {
        let mut shard = world.sidecars[1 - first].shard.lock();
        shard.mode = Mode::Slow(Duration::from_millis(1_500));
        shard.assigned
    };
    world.sidecars[first].shard.lock().engine = engine::State::Unreachable;
    eventually(PATIENCE, "its targets move", async || {
        world.owners() == [Some(1 - first), Some(1 - first)]
    })
    .await;
    let asked = world.sidecars[first].shard.lock().reports;
    eventually(PATIENCE, "some turns", async || {
        world.sidecars[first].shard.lock().reports > asked + 4
    })
    .await;
    assert_eq!(coordinator.events("move_").await.len(), 2);
    assert_eq!(world.sidecars[1 - first].shard.lock().assigned, assigned + 1);
    coordinator.stop().await;
}

#[tokio::test]
async fn duplicates_of_a_shard_that_returns_last_no_longer_than_one_cycle() {
    let world = World::new(2, &[10; 12]).await;
    let coordinator = world.coordinator(&["--shard.max-series=1000", "--shard.grace=1s"]).await;
    eventually(PATIENCE, "every target has an owner", async || world.all_owned()).await;
    let away = world.owners()[0].unwrap();
    let (away, heir) = (&world.sidecars[away], &world.sidecars[1 - away]);
    let (had, own) = (away.holds(), heir.holds());
    {
        let mut shard = away.shard.lock();
        // It has had them for long: it keeps them when it is back.
        shard.held.values_mut().for_each(|held| held.scrapes = 1000);
        shard.mode = Mode::Hang;
    }
    eventually(PATIENCE, "its targets are proven elsewhere", async || {
        let shard = heir.shard.lock();
        shard.held.len() == 12 && shard.held.values().all(|held| held.good >= 2)
    })
    .await;
    assert_eq!(away.holds(), had, "it knows nothing of that");
    let pushes = heir.shard.lock().history.len();
    let asked = {
        let mut shard = away.shard.lock();
        shard.mode = Mode::Normal;
        shard.reports
    };
    eventually(PATIENCE, "it tells what it has", async || away.shard.lock().reports > asked).await;
    let asked = heir.shard.lock().reports;
    eventually(PATIENCE, "one owner each", async || world.all_owned()).await;
    {
        let shard = heir.shard.lock();
        let last = shard.history[pushes..].iter().position(|held| held.len() < 12).unwrap();
        assert_eq!(shard.history[pushes + last], own, "one assignment takes all duplicates away");
        // Each cycle asks for one report: the one in which the other told of them, and the next, which has heard it.
        let cycles = shard.reports_before[pushes + last].saturating_sub(asked);
        assert!(cycles <= 2, "they lasted {cycles} cycles");
    }
    assert_eq!(away.holds(), had);
    assert_eq!(coordinator.events("move_deduplicated").await.len(), had.len());
    assert_eq!(coordinator.events("move_begun").await, [""; 0]);
    coordinator.stop().await;
}

#[tokio::test]
async fn duplicates_that_a_new_coordinator_finds_are_ended_without_a_move() {
    let world = World::new(2, &[10; 12]).await;
    let coordinator = world.coordinator(&["--shard.max-series=1000"]).await;
    eventually(PATIENCE, "every target has an owner", async || world.all_owned()).await;
    coordinator.stop().await;
    // As if each had returned while nobody led: both hold all of them.
    let [left, right] = [0, 1].map(|i| world.sidecars[i].targets());
    for sidecar in &world.sidecars {
        let mut shard = sidecar.shard.lock();
        for target in left.iter().chain(&right) {
            let held = Held { target: target.clone(), scrapes: 9, good: 9 };
            shard.held.entry(target.id).or_insert(held);
        }
        assert_eq!(shard.held.len(), 12);
    }
    let pushes = world.sidecars[0].shard.lock().history.len();
    let coordinator = world.coordinator(&["--shard.max-series=1000"]).await;
    eventually(PATIENCE, "one owner each", async || world.all_owned()).await;
    assert_eq!(coordinator.events("move_deduplicated").await.len(), 12);
    assert_eq!(coordinator.events("move_begun").await, [""; 0]);
    // Until they were ended in one assignment, each shard was left with all that it had.
    {
        let shard = world.sidecars[0].shard.lock();
        let (last, before) = shard.history[pushes..].split_last().unwrap();
        assert!(before.iter().all(|held| held.len() == 12), "{before:?}");
        assert!(last.len() < 12, "{last:?}");
    }
    coordinator.stop().await;
}

#[tokio::test]
async fn a_shard_whose_prometheus_is_dead_for_long_loses_its_targets() {
    let world = World::new(2, &[50, 50]).await;
    let coordinator = world.coordinator(&["--shard.max-series=250", "--shard.grace=1s"]).await;
    eventually(PATIENCE, "every target has an owner", async || world.all_owned()).await;
    let first = world.owners()[0].unwrap();
    world.sidecars[first].shard.lock().engine = engine::State::Unreachable;
    eventually(PATIENCE, "its targets move", async || {
        world.owners().iter().all(|owner| *owner == Some(1 - first))
    })
    .await;
    coordinator.stop().await;
}

#[tokio::test]
async fn a_shard_that_refuses_assignments_is_tried_again() {
    let world = World::new(1, &[50]).await;
    world.sidecars[0].shard.lock().mode = Mode::Stubborn;
    let coordinator = world.coordinator(&[]).await;
    eventually(PATIENCE, "its error is shown", async || {
        let shards = coordinator.data("/api/v1/shards").await;
        shards["shards"][0]["lastError"]
            .as_str()
            .is_some_and(|error| error.contains("disk is full"))
    })
    .await;
    world.sidecars[0].shard.lock().mode = Mode::Normal;
    eventually(PATIENCE, "the target has an owner", async || world.all_owned()).await;
    coordinator.stop().await;
}

#[tokio::test]
async fn a_coordinator_with_an_empty_data_folder_goes_above_the_epoch_of_its_shards() {
    let world = World::new(1, &[50]).await;
    {
        let mut shard = world.sidecars[0].shard.lock();
        (shard.epoch, shard.version) = (7, 100);
    }
    let coordinator = world.coordinator(&[]).await;
    eventually(PATIENCE, "the target has an owner", async || world.all_owned()).await;
    assert_eq!(world.sidecars[0].shard.lock().epoch, 8);
    coordinator.stop().await;
}

#[tokio::test]
async fn a_target_that_is_down_or_sends_garbage_is_scraped_all_the_same() {
    let world = World::new(1, &[50, 50]).await;
    world.targets[0].set_status(503);
    world.targets[1].set_body("this is { no exposition");
    let coordinator = world.coordinator(&[]).await;
    eventually(PATIENCE, "both have an owner", async || world.all_owned()).await;
    let told = coordinator.events("target_sized").await;
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told.iter().all(|event| event.contains("assuming 1000 series")), "{told:?}");
    assert!(told.iter().any(|event| event.contains("503")), "{told:?}");
    coordinator.stop().await;
}

#[tokio::test]
async fn a_target_that_never_answers_does_not_hold_up_the_others() {
    let world = World::new(1, &[50, 50]).await;
    world.targets[0].set_delay(PATIENCE);
    let coordinator = world.coordinator(&[]).await;
    let quick = world.targets[1].address();
    eventually(PATIENCE, "the other one has an owner", async || {
        world.sidecars[0].state_of(quick).is_some()
    })
    .await;
    eventually(PATIENCE, "both have an owner", async || world.all_owned()).await;
    coordinator.stop().await;
}

#[tokio::test]
async fn a_shard_that_changes_its_address_keeps_its_targets() {
    let mut world = World::new(2, &[50, 50]).await;
    let coordinator = world.coordinator(&["--shard.max-series=250"]).await;
    eventually(PATIENCE, "every target has an owner", async || world.all_owned()).await;
    let before = world.owners();
    // The same shard behind another port.
    let first = before[0].unwrap();
    let moved = world.sidecars[first].listen_again(&world.sidecars_ctx).await;
    world.sidecars[first] = moved;
    world.write_shards(2, 1);
    let address = world.sidecars[first].address.to_string();
    eventually(PATIENCE, "the new address is used and answers", async || {
        let shards = coordinator.data("/api/v1/shards").await;
        shards["shards"].as_array().unwrap().iter().any(|shard| {
            shard["scraperSidecar"] == address.as_str()
                && shard["engine"] == "ready"
                && shard["targets"] == 2
        })
    })
    .await;
    assert_eq!(world.owners(), before);
    assert_eq!(coordinator.events("target_assigned").await.len(), 2);
    coordinator.stop().await;
}
