//! The HTTP API.

use testkit::eventually;

use crate::system::{PATIENCE, World};

#[tokio::test]
async fn targets_have_prometheus_shape_and_their_owner() {
    let world = World::new(1, &[50, 20]).await;
    let relabel = "    relabel_configs:\n      - source_labels: [__address__]\n        regex: DROPPED\n        action: drop\n"
        .replace("DROPPED", world.targets[1].address());
    world.write_config(&relabel);
    let coordinator = world.coordinator(&[]).await;
    let data = eventually(PATIENCE, "the target is shown with its owner", async || {
        let data = coordinator.data("/api/v1/targets").await;
        (data["activeTargets"][0]["state"] == "active").then_some(data)
    })
    .await;
    let target = &data["activeTargets"][0];
    let address = world.targets[0].address();
    let url = format!("http://{address}/metrics");
    assert_eq!(target["discoveredLabels"]["__address__"], address);
    assert_eq!(target["labels"]["instance"], address);
    assert_eq!(target["labels"]["job"], "pods");
    assert_eq!(target["scrapePool"], "pods");
    assert_eq!(target["scrapeUrl"], url);
    assert_eq!(target["globalUrl"], url);
    assert_eq!(target["health"], "up");
    assert_eq!(target["lastError"], "");
    assert_eq!(target["lastScrape"], "2023-11-14T22:13:20.000Z");
    assert_eq!(target["lastScrapeDuration"], 0.25);
    assert_eq!(target["scrapeInterval"], "15s");
    assert_eq!(target["scrapeTimeout"], "2s");
    assert_eq!(target["series"], 50);
    assert_eq!(target["shards"], serde_json::json!([{"id": "0-0", "state": "active"}]));
    assert_eq!(data["activeTargets"].as_array().unwrap().len(), 1);
    let dropped = world.targets[1].address();
    assert_eq!(data["droppedTargets"][0]["discoveredLabels"]["__address__"], dropped);
    assert_eq!(data["droppedTargetCounts"]["pods"], 1);

    let active = coordinator.data("/api/v1/targets?state=active").await;
    assert_eq!(active["droppedTargets"].as_array().unwrap().len(), 0);
    let other = coordinator.data("/api/v1/targets?scrapePool=other").await;
    assert_eq!(other["activeTargets"].as_array().unwrap().len(), 0);
    let (status, body) = coordinator.get("/api/v1/targets?state=lost").await;
    assert_eq!(status, 400);
    assert!(body.contains("bad_data"), "{body}");
    coordinator.stop().await;
}

#[tokio::test]
async fn shards_are_listed_with_what_query_needs() {
    let world = World::new(1, &[50]).await;
    let sidecar = world.sidecars[0].address;
    let list = format!(
        "replicas:\n- shards:\n  - scraperSidecar: {sidecar}\n    storeAPI: 127.0.0.1:1234\n    prometheus: http://127.0.0.1:1236\n    maxSeries: 500\n"
    );
    std::fs::write(world.folder.path().join("shards.yaml"), list).unwrap();
    let coordinator = world.coordinator(&[]).await;
    let shard = eventually(PATIENCE, "the shard holds the target", async || {
        let shard = coordinator.data("/api/v1/shards").await["shards"][0].clone();
        (shard["targets"] == 1).then_some(shard)
    })
    .await;
    let expected = serde_json::json!({
        "id": "0-0", "group": 0, "ordinal": 0, "state": "active", "storeAPI": "127.0.0.1:1234",
        "scraperSidecar": sidecar.to_string(), "prometheus": "http://127.0.0.1:1236", "series": 55,
        "headSeries": 1234, "memoryBytes": 0, "targets": 1, "maxSeries": 500, "engine": "ready", "restarts": 0,
        "walReplayCurrent": 0, "walReplayMax": 0, "prometheusVersion": "2.42.0",
    });
    assert_eq!(shard, expected);
    coordinator.stop().await;
}

#[tokio::test]
async fn events_tell_what_happened_and_only_what_is_new_is_asked_for() {
    let world = World::new(1, &[50]).await;
    let coordinator = world.coordinator(&[]).await;
    eventually(PATIENCE, "the target is assigned", async || {
        coordinator.events("target_assigned").await.len() == 1
    })
    .await;
    let url = format!("http://{}/metrics", world.targets[0].address());
    assert_eq!(
        coordinator.events("target_found").await,
        [format!("found target {url} (job pods)")]
    );
    assert_eq!(coordinator.events("target_sized").await, [format!("counted 50 series of {url}")]);
    let assigned = coordinator.events("target_assigned").await;
    assert_eq!(assigned, [format!("assigned {url} (55 series) to shard 0-0")]);
    let last = coordinator.data("/api/v1/events").await["last"].as_u64().unwrap();
    let newer = coordinator.data(&format!("/api/v1/events?after={last}")).await;
    assert!(
        newer["events"].as_array().unwrap().iter().all(|event| event["seq"].as_u64() > Some(last))
    );
    assert_eq!(coordinator.get("/api/v1/events?after=x").await.0, 400);
    coordinator.stop().await;
}

#[tokio::test]
async fn probes_and_metrics_are_served() {
    let world = World::new(1, &[50]).await;
    let coordinator = world.coordinator(&[]).await;
    assert_eq!(coordinator.get("/-/healthy").await.0, 200);
    assert_eq!(coordinator.get("/-/ready").await.0, 200);
    eventually(PATIENCE, "the picture is complete", async || {
        coordinator.metric(r#"shoal_coordinator_targets{state="active"}"#).await > 0.5
            && coordinator.metric("shoal_coordinator_missing_targets").await < 0.5
    })
    .await;
    let (_, page) = coordinator.get("/metrics").await;
    for line in [
        r#"shoal_coordinator_shards{engine="ready"} 1"#,
        r#"shoal_coordinator_shard_series{shard="0-0"} 55"#,
        r#"shoal_coordinator_shard_targets{shard="0-0"} 1"#,
        r#"shoal_coordinator_unassigned_targets{reason="no_room"} 0"#,
        r#"shoal_coordinator_trial_scrapes_total{outcome="counted"} 1"#,
        "shoal_coordinator_config_last_reload_successful 1",
        "shoal_coordinator_cycle_duration_seconds_count",
        "shoal_coordinator_epoch 1",
    ] {
        assert!(page.contains(line), "{line} is missing in:\n{page}");
    }
    coordinator.stop().await;
}
