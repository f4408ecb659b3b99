//! The emergency switch.

use serde_json::json;
use testkit::eventually;

use crate::fake::Mode;
use crate::system::{PATIENCE, World};

fn stopped(world: &World) -> Vec<Vec<String>> {
    let jobs = |sidecar: &crate::fake::FakeSidecar| {
        let shard = sidecar.shard.lock();
        shard.stop.stops.iter().map(|stop| stop.job.clone()).collect()
    };
    world.sidecars.iter().map(jobs).collect()
}

fn ids(world: &World) -> Vec<Vec<u64>> {
    let ids =
        |sidecar: &crate::fake::FakeSidecar| sidecar.shard.lock().held.keys().copied().collect();
    world.sidecars.iter().map(ids).collect()
}

#[tokio::test]
async fn the_switch_reaches_every_shard_survives_restarts_and_moves_nothing() {
    let world = World::new(2, &[100, 100]).await;
    let arguments = ["--shard.max-series=150"];
    let coordinator = world.coordinator(&arguments).await;
    eventually(PATIENCE, "every target has an owner", async || world.all_owned()).await;
    let before = (world.owners(), ids(&world));
    for path in ["", "?reason=", "?reason=x&job=none"] {
        let (status, body) = coordinator.post(&format!("/api/v1/stop-scrape{path}")).await;
        assert_eq!(status, 400, "{body}");
    }
    let (status, body) = coordinator.post("/api/v1/stop-scrape?reason=it%20burns").await;
    assert_eq!(status, 200, "{body}");
    eventually(PATIENCE, "both shards are told", async || stopped(&world) == [[""], [""]]).await;
    eventually(PATIENCE, "every shard has confirmed it", async || {
        let state = coordinator.data("/api/v1/stop-scrape").await;
        state["stops"][0]["reason"] == "it burns" && state["pendingShards"] == json!([])
    })
    .await;
    let target = coordinator.data("/api/v1/targets").await["activeTargets"][0].clone();
    assert_eq!(target["lastError"], "scraping is stopped: it burns");
    assert!(coordinator.metric(r#"shoal_coordinator_scrape_stopped{job=""}"#).await > 0.5);
    let events = coordinator.events("scrape_stopped").await;
    assert_eq!(events, ["scraping of all jobs is stopped: it burns"]);
    coordinator.stop().await;
    assert_eq!(stopped(&world), [[""], [""]], "with nobody there");

    // Even when the coordinator's folder is lost: the shards know.
    std::fs::remove_dir_all(world.folder.path().join("data")).unwrap();
    let coordinator = world.coordinator(&arguments).await;
    eventually(PATIENCE, "the reason is known again", async || {
        coordinator.data("/api/v1/stop-scrape").await["stops"][0]["reason"] == "it burns"
    })
    .await;
    let url = format!("http://{}/api/v1/stop-scrape", coordinator.http);
    assert!(reqwest::Client::new().delete(url).send().await.unwrap().status().is_success());
    eventually(PATIENCE, "both shards go on", async || stopped(&world).concat().is_empty()).await;
    assert_eq!((world.owners(), ids(&world)), before);
    assert_eq!(coordinator.events("move").await, Vec::<String>::new());
    assert_eq!(coordinator.metric(r#"shoal_coordinator_scrape_stopped{job=""}"#).await, 0.0);
    coordinator.stop().await;
}

#[tokio::test]
async fn one_job_is_stopped_alone_and_its_new_targets_are_not_even_counted() {
    let world = World::new(1, &[50, 50]).await;
    world.write_config_for(&[world.targets[0].address()], "");
    let coordinator = world.coordinator(&[]).await;
    let holds = |i: usize| world.sidecars[0].state_of(world.targets[i].address()).is_some();
    eventually(PATIENCE, "the first target has an owner", async || holds(0)).await;
    let (status, _) = coordinator.post("/api/v1/stop-scrape?job=pods&reason=noise").await;
    assert_eq!(status, 200);
    eventually(PATIENCE, "the shard is told", async || stopped(&world) == [["pods"]]).await;
    world.write_config("");
    assert_eq!(coordinator.post("/-/reload").await.0, 200);
    eventually(PATIENCE, "the second one waits", async || {
        coordinator.metric("shoal_coordinator_missing_targets").await > 0.5
    })
    .await;
    assert_eq!(world.targets[1].scrapes().len(), 0, "nobody scrapes it while its job is stopped");
    // A shard that was away learns it when it is back.
    world.sidecars[0].shard.lock().mode = Mode::Stubborn;
    let url = format!("http://{}/api/v1/stop-scrape?job=pods", coordinator.http);
    assert!(reqwest::Client::new().delete(url).send().await.unwrap().status().is_success());
    eventually(PATIENCE, "the shard lags behind", async || {
        coordinator.data("/api/v1/stop-scrape").await["pendingShards"] == json!(["0-0"])
    })
    .await;
    world.sidecars[0].shard.lock().mode = Mode::Normal;
    eventually(PATIENCE, "all are scraped", async || holds(1)).await;
    assert!(stopped(&world).concat().is_empty());
    coordinator.stop().await;
}
