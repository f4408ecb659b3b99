//! What weighs on a shard beside series: samples a second, and what its head holds of the past.

use std::collections::BTreeSet;

use coordinator::forecast::Request;
use testkit::eventually;
use testkit::target::Target;

use crate::seeing::{forecast, request};
use crate::system::{PATIENCE, World};

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
