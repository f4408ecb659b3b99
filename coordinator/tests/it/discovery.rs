//! Discovery that is down, slow or half empty, above all just after a restart.

use std::time::Duration;

use testkit::eventually;
use testkit::target::Target;

use crate::system::{PATIENCE, World, page};

/// An `http_sd` server that lists some of the targets.
fn list(server: &Target, targets: &[Target]) {
    let addresses: Vec<&str> = targets.iter().map(Target::address).collect();
    server.set_body(serde_json::json!([{"targets": addresses, "labels": {}}]).to_string());
}

async fn world_with_http_sd() -> (World, Target) {
    let world = World::new(2, &[10; 12]).await;
    let server = Target::start("[]").await;
    server.set_content_type("application/json");
    list(&server, &world.targets);
    let address = server.address();
    let config = format!(
        "scrape_configs:\n  - job_name: pods\n    http_sd_configs: [{{url: 'http://{address}/', refresh_interval: 1s}}]\n"
    );
    svc::durable::write(&world.config_file(), config.as_bytes()).unwrap();
    (world, server)
}

/// The shards know the epoch of the newest coordinator.
async fn taken_over(world: &World, epoch: u64) {
    eventually(PATIENCE, "the shards know the new epoch", async || {
        world.sidecars.iter().all(|sidecar| sidecar.shard.lock().epoch > epoch)
    })
    .await;
}

fn held(world: &World) -> usize {
    world.sidecars.iter().map(|sidecar| sidecar.shard.lock().held.len()).sum()
}

#[tokio::test]
async fn a_restart_beside_a_broken_or_half_empty_discovery_drops_nothing() {
    let (world, server) = world_with_http_sd().await;
    let coordinator = world.coordinator(&[]).await;
    eventually(PATIENCE, "every target has an owner", async || world.all_owned()).await;
    coordinator.stop().await;
    let (owners, epoch) = (world.owners(), world.sidecars[0].shard.lock().epoch);

    server.set_status(503);
    let coordinator = world.coordinator(&[]).await;
    taken_over(&world, epoch).await;
    eventually(PATIENCE, "the outage is shown", async || {
        coordinator.metric("shoal_coordinator_discovery_errors").await > 0.5
    })
    .await;
    assert_eq!(world.owners(), owners);
    coordinator.stop().await;
    let epoch = world.sidecars[0].shard.lock().epoch;

    server.set_status(200);
    list(&server, &world.targets[..3]);
    let coordinator = world.coordinator(&[]).await;
    taken_over(&world, epoch).await;
    eventually(PATIENCE, "the answer is held", async || {
        coordinator.metric("shoal_coordinator_discovery_held_jobs").await > 0.5
    })
    .await;
    assert_eq!(
        coordinator.events("discovery_held").await,
        ["discovery of job pods has 3 targets, shards hold 12: they keep them for now"]
    );
    // The guard leaves room for what is new.
    let more = Target::start(page(10)).await;
    let mut addresses: Vec<&str> = world.targets[..3].iter().map(Target::address).collect();
    addresses.push(more.address());
    server.set_body(serde_json::json!([{"targets": addresses}]).to_string());
    eventually(PATIENCE, "the new target has an owner", async || {
        world.sidecars.iter().any(|sidecar| sidecar.state_of(more.address()).is_some())
    })
    .await;
    assert_eq!((world.owners(), held(&world)), (owners.clone(), 13));
    list(&server, &world.targets);
    eventually(PATIENCE, "the answer is believed", async || {
        coordinator.metric("shoal_coordinator_discovery_held_jobs").await < 0.5
            && held(&world) == 12
    })
    .await;
    assert_eq!(world.owners(), owners);
    coordinator.stop().await;
}

#[tokio::test]
async fn a_restart_beside_a_discovery_that_does_not_answer_yet_drops_nothing() {
    let (world, server) = world_with_http_sd().await;
    let coordinator = world.coordinator(&[]).await;
    eventually(PATIENCE, "every target has an owner", async || world.all_owned()).await;
    coordinator.stop().await;
    let (owners, epoch) = (world.owners(), world.sidecars[0].shard.lock().epoch);

    server.set_delay(Duration::from_secs(600));
    let coordinator = world.coordinator(&[]).await;
    taken_over(&world, epoch).await;
    eventually(PATIENCE, "the job is held", async || {
        let job = coordinator.data("/api/v1/jobs").await["jobs"][0].clone();
        job["held"] == true && coordinator.metric("shoal_coordinator_held_jobs").await > 0.5
    })
    .await;
    // Turns go by, and the shards are handed what they hold.
    let turns = async || coordinator.metric("shoal_coordinator_cycle_duration_seconds_count").await;
    let before = turns().await;
    eventually(PATIENCE, "some turns", async || turns().await > before + 5.0).await;
    assert_eq!((world.owners(), held(&world)), (owners, 12));
    assert_eq!(coordinator.data("/api/v1/plan").await["turns"][0]["removedCount"], 0);
    coordinator.stop().await;
}

#[tokio::test]
async fn an_answer_that_stays_small_is_believed_after_the_grace_time() {
    let (world, server) = world_with_http_sd().await;
    let coordinator = world.coordinator(&[]).await;
    eventually(PATIENCE, "every target has an owner", async || world.all_owned()).await;
    coordinator.stop().await;
    list(&server, &world.targets[..3]);
    let coordinator = world.coordinator(&["--discovery.grace=1s"]).await;
    eventually(PATIENCE, "the others are gone", async || held(&world) == 3).await;
    assert_eq!(coordinator.events("discovery_").await.len(), 2);
    coordinator.stop().await;
}

#[tokio::test]
async fn small_jobs_are_guarded_where_that_is_asked_for() {
    let (world, server) = world_with_http_sd().await;
    list(&server, &world.targets[..3]);
    let coordinator = world.coordinator(&[]).await;
    eventually(PATIENCE, "all three have an owner", async || held(&world) == 3).await;
    list(&server, &[]);
    eventually(PATIENCE, "an empty answer is believed", async || held(&world) == 0).await;
    coordinator.stop().await;

    list(&server, &world.targets[..3]);
    let coordinator = world.coordinator(&["--discovery.min-targets=1"]).await;
    eventually(PATIENCE, "all three have an owner again", async || held(&world) == 3).await;
    list(&server, &[]);
    eventually(PATIENCE, "the answer is held", async || {
        coordinator.metric("shoal_coordinator_discovery_errors").await > 0.5
    })
    .await;
    let turns = async || coordinator.metric("shoal_coordinator_cycle_duration_seconds_count").await;
    let before = turns().await;
    eventually(PATIENCE, "some turns", async || turns().await > before + 5.0).await;
    assert_eq!(held(&world), 3);
    coordinator.stop().await;
}
