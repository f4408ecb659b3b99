//! Troubles of a shard, told apart from outside.

use std::fmt::Write as _;

use proto::coordination::engine;
use serde_json::Value;
use testkit::eventually;
use testkit::target::Target;

use crate::fake::Mode;
use crate::system::{Coordinator, PATIENCE, World};

/// Two shards, each with something that answers like its Prometheus.
async fn world_with_engines(series: &[usize]) -> (World, Vec<Target>) {
    let world = World::new(2, series).await;
    let mut engines = Vec::new();
    let mut list = "replicas:\n- shards:\n".to_owned();
    for sidecar in &world.sidecars {
        let engine = Target::start(r#"{"status":"success","data":{"current":3,"max":9}}"#).await;
        let (sidecar, engine_address) = (sidecar.address, engine.address());
        writeln!(list, "  - scraperSidecar: {sidecar}\n    prometheus: http://{engine_address}")
            .unwrap();
        engines.push(engine);
    }
    std::fs::write(world.folder.path().join("shards.yaml"), list).unwrap();
    (world, engines)
}

async fn shard(coordinator: &Coordinator, shard: usize) -> Value {
    coordinator.data("/api/v1/shards").await["shards"][shard].clone()
}

async fn until_state(coordinator: &Coordinator, index: usize, state: &str) {
    eventually(PATIENCE, state, async || {
        let shard = shard(coordinator, index).await;
        if shard["state"] == state { Ok(()) } else { Err(shard) }
    })
    .await;
    let line = format!("shoal_coordinator_shard_states{{state=\"{state}\"}}");
    assert!(coordinator.metric(&line).await >= 1.0, "{line}");
}

#[tokio::test]
async fn a_dead_sidecar_beside_a_living_prometheus_keeps_its_targets_and_a_partitioned_one_does_not()
 {
    let (world, engines) = world_with_engines(&[50, 50]).await;
    let arguments =
        ["--shard.max-series=250", "--shard.grace=1s", "--coordinator.shard-timeout=300ms"];
    let coordinator = world.coordinator(&arguments).await;
    eventually(PATIENCE, "every target has an owner", async || world.all_owned()).await;
    let first = world.owners()[0].unwrap();
    world.sidecars[first].shard.lock().mode = Mode::Hang;
    until_state(&coordinator, first, "agent_down").await;
    // While Prometheus replays its WAL it is no dead shard either.
    engines[first].set_status(503);
    // A new target goes to the other one, once the grace time of dead shards is over.
    let more = Target::start(crate::system::page(10)).await;
    let mut addresses: Vec<&str> = world.targets.iter().map(Target::address).collect();
    addresses.push(more.address());
    world.write_config_for(&addresses, "");
    eventually(PATIENCE, "the new target has an owner", async || {
        world.sidecars[1 - first].state_of(more.address()).is_some()
    })
    .await;
    let asked = world.sidecars[1 - first].shard.lock().reports;
    eventually(PATIENCE, "many turns", async || {
        world.sidecars[1 - first].shard.lock().reports > asked + 20
    })
    .await;
    assert_eq!(shard(&coordinator, first).await["state"], "agent_down");
    assert_eq!(coordinator.events("move_").await, [""; 0]);
    assert_eq!(coordinator.events("shard_agent_down").await.len(), 1);
    // Now nothing answers any more.
    engines[first].set_status(500);
    eventually(PATIENCE, "its targets move", async || {
        world
            .targets
            .iter()
            .all(|target| world.sidecars[1 - first].state_of(target.address()).is_some())
    })
    .await;
    until_state(&coordinator, first, "lost").await;
    assert_eq!(coordinator.events("shard_unreachable").await.len(), 1);
    coordinator.stop().await;
}

#[tokio::test]
async fn a_prometheus_that_replays_its_wal_is_waited_for_and_one_that_is_dead_is_not() {
    let (world, _engines) = world_with_engines(&[50, 50]).await;
    let coordinator = world.coordinator(&["--shard.max-series=250", "--shard.grace=1s"]).await;
    eventually(PATIENCE, "every target has an owner", async || world.all_owned()).await;
    let before = world.owners();
    let first = before[0].unwrap();
    world.sidecars[first].shard.lock().engine = engine::State::Starting;
    until_state(&coordinator, first, "starting").await;
    let asked = world.sidecars[first].shard.lock().reports;
    eventually(PATIENCE, "longer than the grace time", async || {
        world.sidecars[first].shard.lock().reports > asked + 20
    })
    .await;
    assert_eq!(world.owners(), before);
    world.sidecars[first].shard.lock().engine = engine::State::Unreachable;
    eventually(PATIENCE, "its targets move", async || {
        world.owners() == [Some(1 - first), Some(1 - first)]
    })
    .await;
    coordinator.stop().await;
}

#[tokio::test]
async fn a_crash_loop_ends_in_quarantine_and_a_stable_time_ends_that() {
    let (world, _engines) = world_with_engines(&[50, 50]).await;
    let arguments = ["--shard.max-series=250", "--shard.quarantine-release=2s"];
    let coordinator = world.coordinator(&arguments).await;
    world.sidecars.iter().for_each(|sidecar| sidecar.shard.lock().process_start_ms = 1_000);
    eventually(PATIENCE, "every target has an owner", async || world.all_owned()).await;
    let first = world.owners()[0].unwrap();
    for crash in 1..=3 {
        eventually(PATIENCE, "the restart before was seen", async || {
            let restarts = shard(&coordinator, first).await["restarts"].clone();
            if restarts == crash - 1 { Ok(()) } else { Err(restarts) }
        })
        .await;
        let asked = world.sidecars[first].shard.lock().reports;
        eventually(PATIENCE, "it is asked", async || {
            world.sidecars[first].shard.lock().reports > asked + 1
        })
        .await;
        world.sidecars[first].shard.lock().process_start_ms = 1_000 + i64::from(crash);
    }
    eventually(PATIENCE, "its targets move, each proven at its next owner", async || {
        world.owners() == [Some(1 - first), Some(1 - first)]
    })
    .await;
    let told = coordinator.events("shard_quarantined").await;
    let said =
        format!("shard 0-{first} is in quarantine: its Prometheus started 3 times within 1800 s");
    assert_eq!(told, [said]);
    assert_eq!(coordinator.events("move_finished").await.len(), 2);
    assert_eq!(coordinator.events("move_evacuated").await, [""; 0]);
    until_state(&coordinator, first, "active").await;
    let told = coordinator.events("shard_released").await;
    assert!(told[0].contains("it was stable for 2 s"), "{told:?}");
    coordinator.stop().await;
}

#[tokio::test]
async fn a_returning_shard_is_reconciled_at_once_when_its_sidecar_is_back_and_not_before() {
    let (world, engines) = world_with_engines(&[50, 50]).await;
    let arguments =
        ["--shard.max-series=250", "--shard.grace=1s", "--coordinator.shard-timeout=300ms"];
    let coordinator = world.coordinator(&arguments).await;
    eventually(PATIENCE, "every target has an owner", async || world.all_owned()).await;
    let first = world.owners()[0].unwrap();
    let (away, heir) = (&world.sidecars[first], &world.sidecars[1 - first]);
    let had = away.holds();
    engines[first].set_status(500);
    {
        let mut shard = away.shard.lock();
        // It has had them for long: it keeps them when it is back.
        shard.held.values_mut().for_each(|held| (held.scrapes, held.good) = (1000, 1000));
        shard.mode = Mode::Hang;
    }
    eventually(PATIENCE, "its targets are proven elsewhere", async || {
        let shard = heir.shard.lock();
        shard.held.len() == 2 && shard.held.values().all(|held| held.good >= 2)
    })
    .await;
    // Its Prometheus can be reached again, its sidecar cannot be asked yet.
    engines[first].set_status(200);
    until_state(&coordinator, first, "agent_down").await;
    let asked = heir.shard.lock().reports;
    eventually(PATIENCE, "some turns", async || heir.shard.lock().reports > asked + 3).await;
    assert_eq!(coordinator.events("move_deduplicated").await, [""; 0]);
    assert_eq!(heir.holds().len(), 2);
    away.shard.lock().mode = Mode::Normal;
    eventually(PATIENCE, "one owner each", async || world.all_owned()).await;
    assert_eq!(away.holds(), had);
    assert_eq!(coordinator.events("move_deduplicated").await.len(), had.len());
    assert_eq!(coordinator.events("move_begun").await, [""; 0]);
    coordinator.stop().await;
}
