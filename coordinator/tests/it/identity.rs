//! What a target is survives its labels, restarts and upgrades.

use proto::coordination::Target;
use testkit::eventually;

use crate::system::{PATIENCE, World};

/// Adds a label to every target.
fn rule(value: &str) -> String {
    format!("    relabel_configs:\n      - {{target_label: team, replacement: {value}}}\n")
}

fn team(target: &Target) -> Option<&str> {
    let mut labels = target.labels.iter();
    labels.find(|label| label.name == "team").map(|label| label.value.as_str())
}

fn all_have(world: &World, value: &str) -> bool {
    world.sidecars.iter().all(|sidecar| {
        let shard = sidecar.shard.lock();
        !shard.held.is_empty() && shard.held.values().all(|held| team(&held.target) == Some(value))
    })
}

fn ids(world: &World) -> Vec<Vec<u64>> {
    let ids = |sidecar: &crate::fake::FakeSidecar| {
        sidecar.shard.lock().held.keys().copied().collect::<Vec<u64>>()
    };
    world.sidecars.iter().map(ids).collect()
}

#[tokio::test]
async fn a_changed_rule_changes_targets_in_place() {
    let world = World::new(3, &[100; 6]).await;
    world.write_config(&rule("a"));
    let coordinator = world.coordinator(&["--shard.max-series=250"]).await;
    eventually(PATIENCE, "every target has an owner", async || world.all_owned()).await;
    let (owners, before) = (world.owners(), ids(&world));
    world.write_config(&rule("b"));
    assert_eq!(coordinator.post("/-/reload").await.0, 200);
    eventually(PATIENCE, "all have the new label", async || all_have(&world, "b")).await;
    assert_eq!((world.owners(), ids(&world)), (owners.clone(), before.clone()));
    coordinator.stop().await;
    // While nobody looks.
    world.write_config(&rule("c"));
    let coordinator = world.coordinator(&["--shard.max-series=250"]).await;
    eventually(PATIENCE, "all have the newest label", async || all_have(&world, "c")).await;
    assert_eq!((world.owners(), ids(&world)), (owners, before));
    assert_eq!(coordinator.events("move").await, Vec::<String>::new());
    assert_eq!(coordinator.events("target_assigned").await, Vec::<String>::new());
    assert!(world.targets.iter().all(|target| target.scrapes().len() == 1), "none counted again");
    coordinator.stop().await;
}

#[tokio::test]
async fn shards_assigned_by_the_version_before_keep_their_targets_and_ids() {
    let world = World::new(3, &[100; 6]).await;
    let coordinator = world.coordinator(&["--shard.max-series=250"]).await;
    eventually(PATIENCE, "every target has an owner", async || world.all_owned()).await;
    coordinator.stop().await;
    for sidecar in &world.sidecars {
        let mut shard = sidecar.shard.lock();
        let old = std::mem::take(&mut shard.held).into_iter().map(|(id, mut held)| {
            held.target.id = id.rotate_left(7);
            (held.target.id, held)
        });
        shard.held = old.collect();
        shard.protocol = 0;
    }
    let (owners, before) = (world.owners(), ids(&world));
    let epoch = world.sidecars[0].shard.lock().epoch;
    let coordinator = world.coordinator(&["--shard.max-series=250"]).await;
    eventually(PATIENCE, "the shards know the new epoch", async || {
        world.sidecars.iter().all(|sidecar| sidecar.shard.lock().epoch > epoch)
    })
    .await;
    world.write_config(&rule("b"));
    assert_eq!(coordinator.post("/-/reload").await.0, 200);
    eventually(PATIENCE, "all have the new label", async || all_have(&world, "b")).await;
    assert_eq!((world.owners(), ids(&world)), (owners, before));
    assert_eq!(coordinator.events("move").await, Vec::<String>::new());
    assert_eq!(coordinator.events("target_assigned").await, Vec::<String>::new());
    assert!(world.targets.iter().all(|target| target.scrapes().len() == 1), "none counted again");
    coordinator.stop().await;
}

#[tokio::test]
async fn one_changed_target_is_a_small_message() {
    let world = World::new(1, &[10]).await;
    let address = world.targets[0].address();
    let list = |env: &str| {
        let group = |n: usize| {
            let env = if n == 500 { env } else { "prod" };
            let labels = serde_json::json!({"__param_n": n.to_string(), "env": env});
            serde_json::json!({"targets": [address], "labels": labels})
        };
        let groups: Vec<serde_json::Value> = (0..1_000).map(group).collect();
        let text = serde_json::to_vec(&groups).unwrap();
        svc::durable::write(&world.folder.path().join("targets.json"), &text).unwrap();
    };
    list("prod");
    let config =
        "scrape_configs:\n  - job_name: pods\n    file_sd_configs: [{files: [targets.json]}]\n";
    svc::durable::write(&world.config_file(), config.as_bytes()).unwrap();
    let coordinator = world.coordinator(&[]).await;
    let held = || world.sidecars[0].shard.lock().held.len();
    eventually(PATIENCE, "all are assigned", async || held() == 1_000).await;
    eventually(PATIENCE, "the picture is complete", async || {
        coordinator.metric("shoal_coordinator_missing_targets").await < 0.5
    })
    .await;
    let sent = async || coordinator.metric("shoal_coordinator_pushed_bytes_total").await;
    let all = sent().await;
    assert!(all > 100_000.0, "{all}");
    list("qa");
    let changed = || {
        let shard = world.sidecars[0].shard.lock();
        let is_changed = |target: &Target| target.labels.iter().any(|label| label.value == "qa");
        shard.held.values().filter(|held| is_changed(&held.target)).count()
    };
    eventually(PATIENCE, "the label has arrived", async || changed() == 1).await;
    let one = sent().await - all;
    assert!(one > 0.0 && one * 100.0 < all, "{one} bytes after {all}");
    assert_eq!(held(), 1_000);
    coordinator.stop().await;
}
