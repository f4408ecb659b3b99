//! From a push to scraped series and back to a report.

use proto::coordination::assign_response::Outcome;
use proto::coordination::target_report::Health;
use proto::coordination::{ReportRequest, Stop, StopScrape, TargetColumns, TargetState, engine};
use testkit::eventually;
use testkit::target::Target;

use crate::world::{CONFIG, PATIENCE, World, push, target};

const PAGE: &str = "a 1\nb{x=\"1\"} 2\nnoise 3\n";
const RELOADED: &str = "prometheus_config_last_reload_success_timestamp_seconds";

#[tokio::test]
async fn assigned_targets_are_scraped_with_their_labels_and_reported() {
    let world = World::new().await;
    let prometheus = world.start_prometheus().await;
    let (one, two) = (Target::start(PAGE).await, Target::start(PAGE).await);
    let mut joining = target(2, two.address(), &[("env", "qa"), ("__param_module", "m 1")]);
    joining.state = TargetState::Joining.into();
    let targets = vec![target(1, one.address(), &[("env", "prod")]), joining];
    let response = world.assign(push(1, CONFIG, targets)).await;
    assert_eq!(response.outcome(), Outcome::Applied);
    assert_eq!((response.epoch, response.version), (1, 1));

    for id in [1, 2] {
        let proven = world.target(id, "three good scrapes", |t| t.good_scrapes >= 3).await;
        assert_eq!(proven.health(), Health::Up);
        assert!(proven.scrapes >= proven.good_scrapes && proven.last_scrape_ms > 0);
        let sized = world.target(id, "a size", |t| t.samples_scraped > 0).await;
        assert_eq!((sized.samples_scraped, sized.samples_post_relabel), (3, 2));
    }
    let scrapes = two.scrapes();
    assert_eq!(scrapes[0].query["module"], "m 1");

    let data = prometheus.query("b").await;
    let series = data["result"].as_array().unwrap();
    assert_eq!(series.len(), 2);
    for (env, address) in [("prod", one.address()), ("qa", two.address())] {
        let expected = serde_json::json!({
            "__name__": "b", "x": "1", "env": env, "instance": address, "job": "app",
        });
        assert!(series.iter().any(|s| s["metric"] == expected), "{data}");
    }
    assert_eq!(prometheus.query_value("noise").await, None);

    let report = world.report().await;
    assert_eq!(report.targets[1].target.as_ref().unwrap().state(), TargetState::Joining);
    let engine = report.engine.unwrap();
    assert_eq!(engine.state(), engine::State::Ready);
    assert!(engine.head_series >= 14, "{engine:?}");
    assert!(engine.memory_bytes > 1_000_000 && engine.version.starts_with(char::is_numeric));
    assert_eq!(engine.config_error, "");

    let summary: serde_json::Value =
        serde_json::from_str(&world.page("/api/v1/shard").await).unwrap();
    assert_eq!(summary["data"]["targets"]["up"], 2, "{summary}");
    assert_eq!(summary["data"]["targets"]["joining"], 1, "{summary}");
    assert_eq!(world.metric("shoal_scraper_sidecar_prometheus_up").await, 1.0);
}

#[tokio::test]
async fn a_report_leaves_out_labels_only_where_they_are_known_and_has_columns_for_who_takes_them() {
    let world = World::new().await;
    let mut wanted = target(7, "127.0.0.1:1", &[("env", "prod")]);
    wanted.state = TargetState::Leaving.into();
    let taken = world.assign(push(1, CONFIG, vec![wanted.clone()])).await;
    let asked = |known_digest, columns| ReportRequest { known_digest, columns };
    let short = world.report_as(asked(taken.digest, false)).await;
    assert!(short.without_labels && short.columns.is_none());
    let only = proto::coordination::Target {
        id: 7,
        state: wanted.state,
        series: wanted.series,
        ..Default::default()
    };
    assert_eq!(short.targets[0].target.as_ref(), Some(&only));
    let columns = TargetColumns::of(short.targets.into_iter());
    let shortest = world.report_as(asked(taken.digest, true)).await;
    assert_eq!((shortest.columns, shortest.targets), (Some(columns), Vec::new()));
    for other in [0, taken.digest ^ 1] {
        let whole = world.report_as(asked(other, true)).await;
        assert!(!whole.without_labels && whole.columns.is_none());
        assert_eq!(whole.targets[0].target.as_ref(), Some(&wanted));
    }
}

#[tokio::test]
async fn targets_come_and_go_without_a_reload() {
    let world = World::new().await;
    let prometheus = world.start_prometheus().await;
    let (one, two) = (Target::start(PAGE).await, Target::start(PAGE).await);
    world.assign(push(1, CONFIG, vec![target(1, one.address(), &[])])).await;
    world.target(1, "the first target is up", |t| t.health() == Health::Up).await;
    let reloads = world.metric("shoal_scraper_sidecar_reloads_total").await;
    let reloaded = async || {
        let page = reqwest::get(format!("{}/metrics", prometheus.url())).await.unwrap();
        let page = page.text().await.unwrap();
        page.lines().find(|line| line.starts_with(RELOADED)).unwrap().to_owned()
    };
    let before = reloaded().await;

    let both = vec![target(1, one.address(), &[]), target(2, two.address(), &[])];
    let mut more = push(2, CONFIG, both);
    more.config.clear();
    assert_eq!(world.assign(more).await.outcome(), Outcome::Applied);
    world.target(2, "the second target is up", |t| t.health() == Health::Up).await;
    let first = world.target(1, "the first is still counted", |_| true).await;
    assert!(first.scrapes > 1);
    world.assign(push(3, CONFIG, vec![target(2, two.address(), &[])])).await;
    eventually(PATIENCE, "the first target is gone", async || {
        prometheus.query_value("count(up)").await == Some(1.0)
    })
    .await;
    assert_eq!(world.report().await.targets.len(), 1);
    assert_eq!(reloaded().await, before);
    assert_eq!(world.metric("shoal_scraper_sidecar_reloads_total").await, reloads);
}

#[tokio::test]
async fn a_failing_target_is_reported_down_with_its_error() {
    let world = World::new().await;
    let _prometheus = world.start_prometheus().await;
    let broken = Target::start("this is {no exposition\n").await;
    let gone = testkit::free_port();
    let targets =
        vec![target(1, broken.address(), &[]), target(2, &format!("127.0.0.1:{gone}"), &[])];
    world.assign(push(1, CONFIG, targets)).await;
    for (id, words) in [(1, "invalid"), (2, "refused")] {
        let down = world.target(id, "down", |t| t.health() == Health::Down && t.scrapes > 1).await;
        assert!(down.last_error.contains(words), "{}", down.last_error);
        assert_eq!((down.good_scrapes, down.samples_scraped), (0, 0));
    }
    broken.set_body(PAGE);
    let mended = world.target(1, "mended", |t| t.good_scrapes >= 2).await;
    assert_eq!(mended.last_error, "");
}

#[tokio::test]
async fn stale_and_repeated_pushes_change_nothing() {
    let world = World::new().await;
    let first = push(7, CONFIG, vec![target(1, "a:1", &[])]);
    let mut unknown = first.clone();
    unknown.config.clear();
    assert_eq!(world.assign(unknown).await.outcome(), Outcome::NeedConfig);
    assert_eq!(world.assign(first.clone()).await.outcome(), Outcome::Applied);
    let files = world.files();
    let mut old_epoch = first.clone();
    (old_epoch.epoch, old_epoch.version) = (0, 99);
    let old_version = push(6, CONFIG, vec![]);
    for (push, outcome) in [
        (old_epoch, Outcome::RefusedStale),
        (old_version, Outcome::RefusedStale),
        (first, Outcome::Unchanged),
    ] {
        let response = world.assign(push).await;
        assert_eq!(response.outcome(), outcome);
        assert_eq!((response.epoch, response.version), (1, 7));
    }
    assert_eq!(world.files(), files);
    assert_eq!(world.report().await.targets.len(), 1);
}

#[tokio::test]
async fn a_target_whose_labels_change_misses_no_interval() {
    let world = World::new().await;
    let prometheus = world.start_prometheus().await;
    let apps = [Target::start(PAGE).await, Target::start(PAGE).await, Target::start(PAGE).await];
    let targets = |env: &str| {
        let target = |(id, app): (u64, &Target)| {
            let labels =
                [("env", env), ("__scrape_interval__", "2s"), ("__scrape_timeout__", "2s")];
            target(id, app.address(), &labels)
        };
        (1..).zip(&apps).map(target).collect::<Vec<_>>()
    };
    world.assign(push(1, CONFIG, targets("old"))).await;
    for id in 1..=3 {
        world.target(id, "three good scrapes", |t| t.good_scrapes >= 3).await;
    }
    let scrapes = world.target(1, "a size", |t| t.samples_post_relabel > 0).await.scrapes;
    let reloads = world.metric("shoal_scraper_sidecar_reloads_total").await;
    world.assign(push(2, CONFIG, targets("new"))).await;
    eventually(PATIENCE, "only the new labels are scraped", async || {
        let page = prometheus.get("/api/v1/targets", &[("state", "active")]).await;
        let active = page["activeTargets"].as_array().unwrap();
        active.len() == 3 && active.iter().all(|target| target["labels"]["env"] == "new")
    })
    .await;
    for id in 1..=3 {
        let target = world.target(id, "still proven", |t| t.good_scrapes >= 2).await;
        assert!(target.scrapes > scrapes && target.samples_post_relabel == 2, "not begun anew");
    }
    for app in &apps {
        let times = async |env: &str| -> Vec<f64> {
            let query = format!("up{{instance=\"{}\",env=\"{env}\"}}[1h]", app.address());
            let data = prometheus.query(&query).await;
            let values = data["result"][0]["values"].as_array().unwrap().clone();
            values.iter().map(|value| value[0].as_f64().unwrap()).collect()
        };
        let (old, new) = (times("old").await, times("new").await);
        let mut all = [old.clone(), new.clone()].concat();
        all.sort_by(f64::total_cmp);
        let gap = all.windows(2).map(|pair| pair[1] - pair[0]).fold(0.0, f64::max);
        // Twice the interval is what Prometheus alone may leave.
        assert!(gap < 3.5, "a gap of {gap} seconds between {old:?} and {new:?}");
        assert!(old.first() < new.first(), "{old:?} {new:?}");
    }
    assert_eq!(world.metric("shoal_scraper_sidecar_reloads_total").await, reloads);
}

#[tokio::test]
async fn a_stopped_shard_scrapes_nothing_keeps_its_targets_and_goes_on_after_restarts() {
    let mut world = World::new().await;
    let prometheus = world.start_prometheus().await;
    let app = Target::start(PAGE).await;
    let targets = || vec![target(1, app.address(), &[])];
    world.assign(push(1, CONFIG, targets())).await;
    world.target(1, "scraped", |t| t.good_scrapes >= 2 && t.samples_post_relabel == 2).await;
    let stop = Stop { job: String::new(), reason: "it burns".to_owned(), since_ms: 1 };
    let mut stopped = push(2, CONFIG, targets());
    stopped.stop = Some(StopScrape { revision: 7, stops: vec![stop] });
    assert_eq!(world.assign(stopped).await.outcome(), Outcome::Applied);
    let nothing_active = async || {
        let page = prometheus.get("/api/v1/targets", &[("state", "active")]).await;
        page["activeTargets"].as_array().unwrap().is_empty()
    };
    eventually(PATIENCE, "prometheus scrapes nothing", nothing_active).await;
    // With nobody to ask, too.
    world.stop_sidecar().await;
    let asked = app.scrapes().len();
    world.start_sidecar().await;
    let report = world
        .reported("prometheus is ready", |r| {
            r.engine.as_ref().unwrap().state() == engine::State::Ready
        })
        .await;
    let (held, stop) = (&report.targets, report.stop.as_ref().unwrap());
    assert_eq!((held.len(), stop.revision, stop.stops[0].reason.as_str()), (1, 7, "it burns"));
    assert!(nothing_active().await && app.scrapes().len() == asked);
    assert_eq!(world.metric("shoal_scraper_sidecar_scrape_stopped{job=\"\"}").await, 1.0);
    // A push that knows of no switch, as that of an older coordinator, does not end it.
    world.assign(push(3, CONFIG, targets())).await;
    assert_eq!(world.report().await.stop.unwrap().revision, 7);
    let mut resumed = push(4, CONFIG, targets());
    resumed.stop = Some(StopScrape { revision: 8, stops: Vec::new() });
    world.assign(resumed).await;
    world.target(1, "scraped again", |t| t.good_scrapes >= 2).await;
}
