//! What an operator can ask: the next plan, past moves, jobs, the largest targets, a forecast.

use std::collections::BTreeSet;
use std::time::Duration;

use coordinator::forecast::{self, Forecast, Request};
use testkit::eventually;

use crate::system::{Coordinator, PATIENCE, World};

async fn moves(coordinator: &Coordinator, filter: &str) -> serde_json::Value {
    coordinator.data(&format!("/api/v1/moves{filter}")).await
}

#[tokio::test]
async fn the_plan_names_moves_and_reasons_before_they_happen_and_the_ledger_after() {
    let world = World::new(2, &[400, 400]).await;
    let coordinator = world.coordinator(&["--shard.max-series=2000"]).await;
    eventually(PATIENCE, "every target has an owner", async || world.all_owned()).await;
    let data = eventually(PATIENCE, "nothing is left to do", async || {
        let data = coordinator.data("/api/v1/plan?turns=5").await;
        (data["settled"] == true && data["turns"].as_array().unwrap().len() == 1).then_some(data)
    })
    .await;
    assert_eq!(data["leader"], true);
    assert_eq!(data["inputs"]["targets"], 2);
    assert_eq!(data["inputs"]["countedTargets"], 2);
    assert_eq!(data["inputs"]["load"], 810);
    assert_eq!(data["inputs"]["limits"]["maxSeries"], 2000);
    assert_eq!(data["turns"][0]["moves"], serde_json::json!([]));
    assert_eq!(data["shards"].as_array().unwrap().len(), 2);
    // One that grows makes its shard too full.
    let crowded = world.owners()[0].unwrap();
    assert_eq!(world.owners()[1], Some(crowded), "both fit into one shard");
    for sidecar in &world.sidecars {
        sidecar.shard.lock().series.insert(world.targets[0].address().to_owned(), 1_900);
    }
    let all = eventually(PATIENCE, "the move is in the ledger", async || {
        let all = moves(&coordinator, "").await;
        (all["moves"][0]["kind"] == "finished").then_some(all)
    })
    .await;
    let (newest, before) = (&all["moves"][0], &all["moves"][1]);
    assert_eq!((&before["kind"], &newest["epoch"]), (&"begun".into(), &1.into()));
    assert_eq!(newest["target"], before["target"]);
    let reason = before["detail"].as_str().unwrap();
    assert!(reason.contains("2310 series, 2000 at most are allowed"), "{reason}");
    let (from, url) = (before["from"].as_str().unwrap(), before["url"].as_str().unwrap());
    for (filter, count) in [
        (format!("?job=pods&kind=begun&shard={from}"), 1),
        (format!("?target={url}"), 2),
        ("?limit=1".to_owned(), 2),
        ("?job=other".to_owned(), 0),
        ("?since=2999-01-01T00:00:00Z".to_owned(), 0),
    ] {
        assert_eq!(moves(&coordinator, &filter).await["count"], count, "{filter}: {all}");
    }
    coordinator.stop().await;
    // They outlive a restart.
    let coordinator = world.coordinator(&["--shard.max-series=2000"]).await;
    assert_eq!(moves(&coordinator, "?kind=finished").await["moves"][0], *newest);
    coordinator.stop().await;
}

#[tokio::test]
async fn a_target_that_fits_nowhere_is_in_the_plan_with_the_numbers() {
    let world = World::new(1, &[400, 900]).await;
    let coordinator = world.coordinator(&["--shard.max-series=1000"]).await;
    let data = eventually(PATIENCE, "one has no room", async || {
        let data = coordinator.data("/api/v1/plan").await;
        let refused = data["unassigned"].as_array().unwrap();
        (refused.len() == 1 && refused[0]["kind"] == "no_room").then_some(data)
    })
    .await;
    let reason = data["unassigned"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("it needs 405 series, the largest free room"), "{reason}");
    assert_eq!(data["turns"][0]["unassignedCount"], 1);
    for query in ["turns=0", "turns=51", "turns=x"] {
        assert_eq!(coordinator.get(&format!("/api/v1/plan?{query}")).await.0, 400, "{query}");
    }
    for query in ["limit=x", "since=yesterday"] {
        assert_eq!(coordinator.get(&format!("/api/v1/moves?{query}")).await.0, 400, "{query}");
    }
    coordinator.stop().await;
}

#[tokio::test]
async fn jobs_and_the_largest_targets_are_listed_with_series_and_samples() {
    let world = World::new(1, &[50, 400, 100]).await;
    world.targets[0].set_status(503);
    let coordinator = world.coordinator(&[]).await;
    eventually(PATIENCE, "every target has an owner", async || world.all_owned()).await;
    let job = eventually(PATIENCE, "every size is shown", async || {
        let job = coordinator.data("/api/v1/jobs").await["jobs"][0].clone();
        (job["up"] == 3).then_some(job)
    })
    .await;
    assert_eq!((&job["job"], &job["targets"]), (&"pods".into(), &3.into()));
    assert_eq!(job["unassigned"], 0);
    // The one that did not answer counts as what the played shard says of it: the guess.
    let series = job["series"].as_u64().unwrap();
    assert!(series >= 500, "{job}");
    let samples = job["samplesPerSecond"].as_f64().unwrap();
    let expected = (series + 15) as f64 / 15.0;
    assert!((samples - expected).abs() < 0.01, "{samples} instead of {expected}");
    let top = coordinator.data("/api/v1/targets/top?limit=2&by=samples").await;
    assert_eq!(top["targets"].as_array().unwrap().len(), 2);
    let by_series = coordinator.data("/api/v1/targets/top").await;
    let of = |data: &serde_json::Value| -> Vec<u64> {
        let targets = data["targets"].as_array().unwrap().iter();
        targets.map(|target| target["series"].as_u64().unwrap()).collect()
    };
    let sizes = of(&by_series);
    assert_eq!(sizes.len(), 3);
    assert!(sizes.is_sorted_by(|a, b| a >= b) && sizes.contains(&400), "{sizes:?}");
    assert_eq!(by_series["targets"][0]["shards"], serde_json::json!(["0-0"]));
    assert_eq!(of(&coordinator.data("/api/v1/targets/top?job=x").await), Vec::<u64>::new());
    assert_eq!(coordinator.get("/api/v1/targets/top?by=size").await.0, 400);
    assert_eq!(coordinator.get("/api/v1/jobs?window=long").await.0, 400);
    coordinator.stop().await;
}

#[tokio::test]
async fn a_prometheus_that_is_not_known_is_missing_in_the_sum_of_metrics() {
    let world = World::new(1, &[50]).await;
    let coordinator = world.coordinator(&[]).await;
    let data = eventually(PATIENCE, "the shard is known", async || {
        let data = coordinator.data("/api/v1/status/tsdb").await;
        (data["shards"] == 1).then_some(data)
    })
    .await;
    assert_eq!(data["missing"][0]["shard"], "0-0");
    assert_eq!(data["seriesCountByMetricName"], serde_json::json!([]));
    coordinator.stop().await;
}

pub(crate) async fn forecast(request: Request) -> Forecast {
    let ctx = svc::Context::new();
    let forecast = forecast::run(request, &ctx).await.unwrap();
    ctx.shutdown.trigger();
    forecast
}

pub(crate) fn request(world: &World, max_series: u64) -> Request {
    Request {
        config_file: Some(world.config_file()),
        snapshot: None,
        placement_file: None,
        max_samples: 0,
        max_head: 0,
        max_series,
        max_shards: None,
        replicas: 1,
        scrape: true,
        concurrency: 4,
        timeout: Duration::from_secs(20),
    }
}

#[tokio::test]
async fn a_forecast_counts_targets_and_says_how_many_shards_they_need() {
    let world = World::new(0, &[400, 400, 400, 900]).await;
    let found = forecast(request(&world, 1_000)).await;
    // 405, 405, 405 and 905 into shards of 1000: two of the small ones go together.
    assert_eq!((found.targets, found.counted, found.guessed), (4, 4, 0));
    assert_eq!(found.load, 2_120);
    assert_eq!((found.lower_bound, found.shards_per_group.as_slice()), (3, &[3][..]));
    assert_eq!(found.jobs[0].largest, 905);
    assert!(found.unassigned.is_empty() && found.problems.is_empty(), "{found:?}");
    assert!(found.shards.iter().all(|shard| shard.load_percent <= 100), "{found:?}");
    let two_groups = forecast(Request { replicas: 2, ..request(&world, 1_000) }).await;
    assert_eq!(two_groups.shards_per_group, [3, 3]);
    let bounded = forecast(Request { max_shards: Some(1), ..request(&world, 1_000) }).await;
    assert_eq!(bounded.shards_per_group, [1]);
    assert!(!bounded.unassigned.is_empty());
    // A target that does not answer counts as the mean of its job.
    world.targets[3].set_status(503);
    let guessed = forecast(request(&world, 1_000)).await;
    assert_eq!((guessed.counted, guessed.guessed, guessed.load), (3, 1, 4 * 405));
    assert!(guessed.problems[0].contains("503"), "{guessed:?}");
}

#[tokio::test]
async fn a_snapshot_of_a_coordinator_makes_the_same_forecast_without_a_scrape() {
    let world = World::new(2, &[400, 400]).await;
    let coordinator = world.coordinator(&["--shard.max-series=500"]).await;
    eventually(PATIENCE, "every target has an owner", async || world.all_owned()).await;
    let (status, taken) = coordinator.get("/api/v1/snapshot").await;
    assert_eq!(status, 200);
    coordinator.stop().await;
    let path = world.folder.path().join("state.json");
    std::fs::write(&path, taken).unwrap();
    let snapshot = Some(path);
    let with_config = Request { snapshot: snapshot.clone(), scrape: false, ..request(&world, 500) };
    let alone = Request { config_file: None, ..with_config.clone() };
    for request in [with_config, alone] {
        let found = forecast(request).await;
        assert_eq!((found.counted, found.load), (2, 810));
        assert_eq!((found.shards_per_group.as_slice(), found.shards_now), (&[2][..], Some(2)));
    }
}

/// Names that begin with the coordinator's prefix, without what a type appends.
fn names(text: &str) -> BTreeSet<String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = text.split(|c| !is_name(c)).filter_map(|word| word.strip_prefix(PREFIX));
    let stem = |word: &str| {
        let ends = ["_total", "_bucket", "_count", "_sum"];
        let stem = ends.iter().find_map(|end| word.strip_suffix(end));
        stem.unwrap_or(word).to_owned()
    };
    words.map(stem).collect()
}

/// What the table of docs/metrics.md has, like [`names`].
fn documented() -> BTreeSet<String> {
    let text = include_str!("../../../docs/metrics.md");
    let (_, table) = text.split_once("| --- | --- | --- |\n").unwrap();
    let rows = table.lines().take_while(|line| line.starts_with("| `"));
    let first = rows.map(|row| row.split('|').nth(1).unwrap());
    let named = first.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    names(&named.map(|name| format!("{PREFIX}{name} ")).collect::<String>())
}

const PREFIX: &str = "shoal_coordinator_";

#[tokio::test]
async fn every_metric_is_documented_and_alerts_name_only_metrics_that_there_are() {
    let world = World::new(1, &[50]).await;
    let coordinator = world.coordinator(&[]).await;
    // A family shows with its first member.
    assert_eq!(coordinator.post("/api/v1/stop-scrape?reason=drill").await.0, 200);
    let documented = documented();
    let served = eventually(PATIENCE, "docs/metrics.md has what the page has", async || {
        let (_, page) = coordinator.get("/metrics").await;
        let helps = page.lines().filter_map(|line| line.strip_prefix("# HELP "));
        let served: Vec<&str> = helps.filter_map(|help| help.split(' ').next()).collect();
        let served = names(&served.join(" "));
        let differ: Vec<_> = served.symmetric_difference(&documented).cloned().collect();
        if differ.is_empty() { Ok(served) } else { Err(format!("{differ:?}")) }
    })
    .await;
    let alerts = names(include_str!("../../../examples/alerts.yml"));
    assert!(alerts.len() > 10 && alerts.is_subset(&served), "{alerts:?}");
    coordinator.stop().await;
}
