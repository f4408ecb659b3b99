//! What a real Prometheus says of series that come and go, as it is reported.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use proto::coordination::TargetReport;
use testkit::target::Target;

use crate::world::{CONFIG, World, push, target};

/// Replaced series of a scrape, of twice as many.
const REPLACED: u64 = 10;

/// Scraped each second.
const PER_HOUR: u32 = 36_000;

/// A target that replaces, or else adds, some series with every scrape. Its address.
async fn changing(page: fn(u64) -> std::ops::Range<u64>) -> String {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let scrapes = Arc::new(AtomicU64::new(0));
    let answer = async move |State(scrapes): State<Arc<AtomicU64>>| {
        let series = page(scrapes.fetch_add(1, Ordering::Relaxed));
        series.map(|id| format!("changing{{id=\"{id}\"}} 1\n")).collect::<String>()
    };
    let routes = Router::new().route("/metrics", get(answer)).with_state(scrapes);
    tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
    address
}

fn steady_page() -> String {
    (0..100).map(|id| format!("steady{{id=\"{id}\"}} 1\n")).collect()
}

async fn world() -> World {
    World::with(|_, args| args.churn_interval = Duration::from_secs(2)).await
}

/// Waits until a target's churn is as wanted.
async fn churn(world: &World, id: u64, what: &str, wanted: impl Fn(u32) -> bool) -> TargetReport {
    world.target(id, what, |target| target.churn_per_hour.is_some_and(&wanted)).await
}

fn is_right(churn: u32) -> bool {
    churn.abs_diff(PER_HOUR) < PER_HOUR / 10
}

#[tokio::test]
async fn series_that_are_replaced_are_reported_and_those_that_appear_are_not() {
    let world = world().await;
    let prometheus = world.start_prometheus().await;
    let replacing = changing(|n| n * REPLACED..n * REPLACED + 2 * REPLACED).await;
    let growing = changing(|n| 0..100 + n * REPLACED).await;
    let (steady, failing) =
        (Target::start(steady_page()).await, Target::start(steady_page()).await);
    let mut targets = vec![
        target(1, &replacing, &[]),
        target(2, steady.address(), &[]),
        target(3, &growing, &[]),
        target(4, failing.address(), &[]),
    ];
    world.assign(push(1, CONFIG, targets.clone())).await;
    world.target(4, "it was scraped", |target| target.good_scrapes > 1).await;
    failing.set_status(500);
    world.target(4, "its scrape fails", |target| target.last_error.contains("500")).await;
    failing.set_status(200);
    churn(&world, 1, "replaced series are counted", is_right).await;
    for id in [2, 4] {
        churn(&world, id, "there is none", |churn| churn == 0).await;
    }
    churn(&world, 3, "growth is none", |churn| churn < PER_HOUR / 50).await;

    // One that comes from another shard has what that has seen; else nothing is said before it was seen.
    let (moved, fresh) = (Target::start(steady_page()).await, Target::start(steady_page()).await);
    let mut told = target(5, moved.address(), &[]);
    told.churn_per_hour = Some(7_200);
    targets.extend([told, target(6, fresh.address(), &[])]);
    world.assign(push(2, CONFIG, targets)).await;
    let report = world.report().await;
    let of = |id: usize| report.targets[id - 1].churn_per_hour;
    assert_eq!((of(5), of(6)), (Some(7_200), None));
    churn(&world, 6, "it was seen for long enough", |churn| churn == 0).await;
    churn(&world, 5, "what was told fades", |churn| churn > 7_000 && churn < 7_200).await;
    let report = churn(&world, 1, "nothing has changed here", is_right).await;
    assert_eq!(report.samples_post_relabel, 2 * REPLACED);
    drop(prometheus);
}

#[tokio::test]
async fn neither_a_restart_nor_a_reload_of_prometheus_looks_like_churn() {
    let world = world().await;
    let mut prometheus = world.start_prometheus().await;
    let steady = Target::start(steady_page()).await;
    let mut wanted = target(1, steady.address(), &[]);
    world.assign(push(1, CONFIG, vec![wanted.clone()])).await;
    churn(&world, 1, "there is none", |churn| churn == 0).await;
    // All series are new to a loop whose job makes others of them, and to one with other labels.
    let config = CONFIG.replace("regex: noise", "regex: other_noise");
    world.assign(push(2, &config, vec![wanted.clone()])).await;
    added(&prometheus, "", "the job's loops have begun anew").await;
    wanted = target(1, steady.address(), &[("env", "prod")]);
    world.assign(push(3, &config, vec![wanted])).await;
    testkit::eventually(crate::world::PATIENCE, "the labels are the new ones", async || {
        prometheus.query_value("sum(scrape_series_added{env=\"prod\"})").await == Some(0.0)
    })
    .await;
    prometheus.stop().await;
    prometheus.start_again().await;
    added(&prometheus, "{env=\"prod\"}", "the process has begun anew").await;
    let seen = world.report().await.targets[0].scrapes;
    let later =
        world.target(1, "it was scraped for some stretches", |t| t.scrapes > seen + 8).await;
    assert_eq!(later.churn_per_hour, Some(0));
}

/// Waits until Prometheus says that all series were added twice.
async fn added(prometheus: &testkit::prometheus::Prometheus, of: &str, what: &str) {
    testkit::eventually(crate::world::PATIENCE, what, async || {
        let sum = format!("max(sum_over_time(scrape_series_added{of}[1h]))");
        prometheus.query_value(&sum).await.is_some_and(|sum| sum >= 200.0)
    })
    .await;
}
