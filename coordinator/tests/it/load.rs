//! What weighs on a shard beside series: samples a second, and what its head holds of the past.

use std::collections::BTreeSet;

use coordinator::forecast::Request;
use testkit::eventually;
use testkit::target::Target;

use crate::seeing::{forecast, request};
use crate::system::{Coordinator, PATIENCE, World};

/// The first `count` targets are scraped each 5 seconds, the others once a minute.
fn write_jobs(world: &World, count: usize) {
    let (fast, slow) = world.targets.split_at(count);
    let mut text = "scrape_configs:\n".to_owned();
    for (job, interval, targets) in [("fast", "5s", fast), ("slow", "1m", slow)] {
        let addresses: Vec<&str> = targets.iter().map(Target::address).collect();
        text.push_str(&format!(
            "  - job_name: {job}\n    scrape_interval: {interval}\n    scrape_timeout: 2s\n    static_configs:\n      - \
             targets: {addresses:?}\n"
        ));
    }
    svc::durable::write(&world.config_file(), text.as_bytes()).unwrap();
}

#[tokio::test]
async fn a_target_that_is_scraped_often_weighs_more_where_samples_are_limited() {
    let world = World::new(2, &[100, 100, 100, 100]).await;
    write_jobs(&world, 2);
    // By series all four fit into one shard.
    let coordinator = world.coordinator(&["--shard.max-series=1000"]).await;
    eventually(PATIENCE, "every target has an owner", async || world.all_owned()).await;
    assert_eq!(world.owners().into_iter().collect::<BTreeSet<_>>().len(), 1);
    coordinator.stop().await;
    // 105 series each 5 s are 21 of 25 samples a second: 840 of 1,000.
    let limited = ["--shard.max-series=1000", "--shard.max-samples-per-second=25"];
    let coordinator = world.coordinator(&limited).await;
    eventually(PATIENCE, "those scraped often are on a shard each", async || {
        world.all_owned() && world.owners()[0] != world.owners()[1]
    })
    .await;
    let plan = eventually(PATIENCE, "loads are shown as planned with", async || {
        let plan = coordinator.data("/api/v1/plan").await;
        let loads = plan["shards"].as_array().unwrap().iter();
        let loads: Vec<u64> = loads.map(|shard| shard["load"].as_u64().unwrap()).collect();
        (loads.iter().sum::<u64>() == 2 * 840 + 2 * 105).then_some(plan)
    })
    .await;
    assert_eq!(plan["inputs"]["limits"]["maxSamples"], 25);
    assert_eq!(plan["inputs"]["load"], 2 * 840 + 2 * 105);
    let sum = async |name: &str| {
        let of = async |shard| {
            coordinator.metric(&format!("shoal_coordinator_{name}{{shard=\"0-{shard}\"}}")).await
        };
        of(0).await + of(1).await
    };
    assert!((sum("shard_load").await - 1_890.0).abs() < 0.5);
    assert!((sum("shard_series").await - 420.0).abs() < 0.5);
    coordinator.stop().await;
    let found = forecast(Request { max_samples: 25, ..request(&world, 1_000) }).await;
    assert_eq!((found.shards_per_group.as_slice(), found.load), (&[2][..], 420));
    assert!((found.samples_per_second - 45.5).abs() < 0.01, "{found:?}");
    // 45.5 samples a second are more than one shard may have.
    assert_eq!(found.lower_bound, 2);
}

#[tokio::test]
async fn a_shard_whose_head_holds_much_of_the_past_takes_less() {
    let world = World::new(2, &[100, 100, 100, 100, 100, 100]).await;
    // Six of 105 fit into 1,000; here the head has 500 that nobody scrapes any more.
    world.sidecars[0].shard.lock().head_series = 500;
    world.sidecars[1].shard.lock().head_series = 0;
    let coordinator =
        world.coordinator(&["--shard.max-series=1000", "--shard.max-head-series=1000"]).await;
    eventually(PATIENCE, "every target has an owner", async || world.all_owned()).await;
    let data = coordinator.data("/api/v1/plan").await;
    assert_eq!(data["shards"][0]["capacity"], 500, "{data}");
    assert_eq!(data["shards"][1]["capacity"], 1_000, "{data}");
    let count = |shard| world.owners().iter().filter(|owner| **owner == Some(shard)).count();
    assert!(count(0) <= 4, "{:?}", world.owners());
    coordinator.stop().await;
    // Without the limit nothing is in the way of one shard.
    let coordinator = world.coordinator(&["--shard.max-series=1000"]).await;
    let data = eventually(PATIENCE, "the plan is made", async || {
        let data = coordinator.data("/api/v1/plan").await;
        (data["shards"].as_array().unwrap().len() == 2).then_some(data)
    })
    .await;
    assert_eq!(data["shards"][0]["capacity"], 1_000);
    coordinator.stop().await;
}

#[tokio::test]
async fn a_shard_that_nears_its_memory_takes_no_more_than_fits() {
    let world = World::new(2, &[100, 100, 100, 100, 100, 100]).await;
    {
        let mut shard = world.sidecars[0].shard.lock();
        (shard.head_series, shard.memory_bytes) = (600, 6 << 20);
    }
    world.sidecars[1].shard.lock().head_series = 0;
    let coordinator =
        world.coordinator(&["--shard.max-series=2000", "--shard.max-memory=8MB"]).await;
    eventually(PATIENCE, "every target has an owner", async || world.all_owned()).await;
    // 600 of its series in 6 MiB are 800 in 8, of which 600 are of the past; half of 2,000 is the least.
    let data = coordinator.data("/api/v1/plan").await;
    assert_eq!(data["shards"][0]["capacity"], 1_000, "{data}");
    assert_eq!(data["shards"][1]["capacity"], 2_000, "{data}");
    coordinator.stop().await;
}

/// What the API and the metrics say of churn: of all, of the first target, and of the shards.
async fn churn_shown(coordinator: &Coordinator, world: &World) -> serde_json::Value {
    let url = format!("http://{}/metrics", world.targets[0].address());
    let of = |list: &serde_json::Value, name: &str| {
        let list = list.as_array().unwrap().iter();
        let mut named = list.filter(|target| target[name] == url.as_str());
        named.next().map_or(serde_json::Value::Null, |target| target["churnPerHour"].clone())
    };
    let plan = coordinator.data("/api/v1/plan").await;
    let targets = coordinator.data("/api/v1/targets").await;
    let top = coordinator.data("/api/v1/targets/top?by=churn").await;
    let jobs = coordinator.data("/api/v1/jobs").await;
    let (_, snapshot) = coordinator.get("/api/v1/snapshot").await;
    let snapshot: serde_json::Value = serde_json::from_str(&snapshot).unwrap();
    let shards = plan["shards"].as_array().unwrap().iter();
    let shards: u64 = shards.map(|shard| shard["churnPerHour"].as_u64().unwrap()).sum();
    serde_json::json!({
        "plan": plan["inputs"]["churnPerHour"],
        "shards": shards,
        "target": of(&targets["activeTargets"], "scrapeUrl"),
        "top": (top["targets"].as_array().unwrap().len(), of(&top["targets"], "url")),
        "job": (&jobs["jobs"][0]["churnPerHour"], &jobs["jobs"][0]["churnKnown"]),
        "snapshot": of(&snapshot["targets"], "url"),
    })
}

#[tokio::test]
async fn a_target_that_churns_weighs_more_where_heads_are_limited_and_takes_that_along() {
    let world = World::new(2, &[100, 100, 100, 100, 100, 100]).await;
    world.sidecars.iter().for_each(|sidecar| sidecar.shard.lock().head_series = 0);
    let limited = ["--shard.max-series=1000", "--shard.max-head-series=1000"];
    let coordinator = world.coordinator(&limited).await;
    eventually(PATIENCE, "every target has an owner", async || world.all_owned()).await;
    let shards = || world.owners().into_iter().collect::<BTreeSet<_>>().len();
    assert_eq!(shards(), 1, "630 fit into 1,000");
    // Sidecars that say nothing of it are of a version before; nothing is known then.
    let unknown = serde_json::json!({
        "plan": 0, "shards": 0, "target": null, "top": [0, null], "job": [0, 0], "snapshot": 0,
    });
    assert_eq!(churn_shown(&coordinator, &world).await, unknown);
    // 200 an hour are 600 in the head; of another one there is none.
    for (target, churn) in [(0, 200), (1, 0)] {
        let address = world.targets[target].address().to_owned();
        for sidecar in &world.sidecars {
            sidecar.shard.lock().churn.insert(address.clone(), churn);
        }
    }
    eventually(PATIENCE, "the head is relieved", async || world.all_owned() && shards() == 2).await;
    let known = serde_json::json!({
        "plan": 200, "shards": 200, "target": 200, "top": [1, 200], "job": [200, 2], "snapshot": 200,
    });
    eventually(PATIENCE, "it is shown", async || churn_shown(&coordinator, &world).await == known)
        .await;
    let plan = coordinator.data("/api/v1/plan").await;
    let loads = plan["shards"].as_array().unwrap().iter();
    assert_eq!(loads.map(|shard| shard["load"].as_u64().unwrap()).sum::<u64>(), 6 * 105 + 600);
    assert_eq!(plan["inputs"]["limits"]["maxHeadSeries"], 1_000);
    let metric = "shoal_coordinator_shard_churned_series_per_hour";
    let metric =
        async |shard| coordinator.metric(&format!("{metric}{{shard=\"0-{shard}\"}}")).await;
    assert!((metric(0).await + metric(1).await - 200.0).abs() < 0.5);
    let owners = world.owners();
    coordinator.stop().await;
    // What moved has its churn with it, so that it is known after a restart, even of those who saw it.
    let moved = world.sidecars.iter().flat_map(|sidecar| sidecar.targets());
    let told: Vec<u32> = moved.filter_map(|target| target.churn_per_hour).collect();
    assert!(told.iter().all(|churn| *churn == 200), "{told:?}");
    if told.len() == 1 {
        world.sidecars.iter().for_each(|sidecar| sidecar.shard.lock().churn.clear());
    }
    let coordinator = world.coordinator(&limited).await;
    eventually(PATIENCE, "it is known again", async || {
        churn_shown(&coordinator, &world).await["plan"] == 200
    })
    .await;
    assert_eq!(world.owners(), owners);
    coordinator.stop().await;
}
