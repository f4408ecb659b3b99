//! The configuration: changed, broken, rejected, local.

use testkit::eventually;
use testkit::prometheus::Prometheus;
use testkit::target::Target;
use tonic::Code;

use crate::world::{CONFIG, PATIENCE, World, push, target};

const RELOADS: &str = "shoal_scraper_sidecar_reloads_total";

#[tokio::test]
async fn a_changed_configuration_is_reloaded_once() {
    let world = World::new().await;
    let prometheus = world.start_prometheus().await;
    world.assign(push(1, CONFIG, vec![])).await;
    let running = async |text: &str| {
        eventually(PATIENCE, "prometheus runs the configuration", async || {
            let config = prometheus.get("/api/v1/status/config", &[]).await;
            config["yaml"].as_str().unwrap().contains(text)
        })
        .await;
    };
    running("cluster: test").await;
    running("prometheus_replica: \"0\"").await;
    let before = world.metric(RELOADS).await;
    world.assign(push(2, &CONFIG.replace("cluster: test", "cluster: changed"), vec![])).await;
    running("cluster: changed").await;
    assert_eq!(world.metric(RELOADS).await, before + 1.0);
    world
        .reported("no error is left", |r| r.engine.as_ref().unwrap().config_error.is_empty())
        .await;
}

#[tokio::test]
async fn a_broken_configuration_is_refused_and_the_old_one_stays() {
    let world = World::new().await;
    world.assign(push(1, CONFIG, vec![target(1, "a:1", &[])])).await;
    let files = world.files();
    let broken = CONFIG.replace("scrape_interval: 1s", "scrape_interval: often");
    let error = world.try_assign(push(2, &broken, vec![])).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    for words in ["prometheus.yml:2:", "global.scrape_interval"] {
        assert!(error.message().contains(words), "{}", error.message());
    }
    let report = world.report().await;
    assert!(report.engine.unwrap().config_error.contains(error.message()));
    assert_eq!((report.version, report.targets.len()), (1, 1));
    assert_eq!(world.files(), files);
    world.assign(push(3, CONFIG, vec![])).await;
    world
        .reported("the refusal is forgotten", |r| {
            !r.engine.as_ref().unwrap().config_error.contains("global.scrape_interval")
        })
        .await;
}

#[tokio::test]
async fn a_configuration_that_prometheus_rejects_is_named_and_never_found_by_a_restart() {
    let mut world = World::new().await;
    let mut prometheus = world.start_prometheus().await;
    let app = Target::start("a 1\n").await;
    let targets = || vec![target(1, app.address(), &[])];
    world.assign(push(1, CONFIG, targets())).await;
    world.target(1, "the target is proven", |t| t.good_scrapes >= 2).await;
    let good = world.output();

    let unknown = format!("{CONFIG}no_prometheus_knows_this: 1\n");
    world.assign(push(2, &unknown, targets())).await;
    let rejected = |r: &proto::coordination::ReportResponse| {
        r.engine.as_ref().unwrap().config_error.contains("no_prometheus_knows_this")
    };
    world.reported("the rejection is reported", rejected).await;
    eventually(PATIENCE, "the good file is back", async || world.output() == good).await;
    let kept = std::fs::read_to_string(world.args.data_dir.join("prometheus.rejected.yml"));
    assert!(kept.unwrap().contains("no_prometheus_knows_this"));

    // All of the pod restarts: Prometheus finds a file that it can start from.
    world.stop_sidecar().await;
    prometheus.kill();
    world.start_sidecar().await;
    assert_eq!(world.output(), good);
    prometheus.start_again().await;
    world.target(1, "scraped again", |t| t.good_scrapes >= 2).await;
    assert!(!world.report().await.engine.unwrap().config_error.is_empty());

    world.assign(push(3, CONFIG, targets())).await;
    world
        .reported("the mended configuration runs", |r| {
            r.version == 3 && r.engine.as_ref().unwrap().config_error.is_empty()
        })
        .await;
}

#[tokio::test]
async fn a_configuration_that_prometheus_cannot_start_with_is_named_too() {
    let world = World::new().await;
    let unknown = format!("{CONFIG}no_prometheus_knows_this: 1\n");
    world.assign(push(1, &unknown, vec![])).await;
    // A supervisor restarts what exits at once.
    let mut prometheus = Prometheus::prepare(world.prometheus_options());
    eventually(PATIENCE, "prometheus says what is wrong", async || {
        if !prometheus.is_running() {
            prometheus.spawn();
        }
        let error = world.report().await.engine.unwrap().config_error;
        if error.contains("no_prometheus_knows_this") { Ok(()) } else { Err(error) }
    })
    .await;
    world.assign(push(2, CONFIG, vec![])).await;
    world
        .reported("the mended configuration runs", |r| {
            r.engine.as_ref().unwrap().config_error.is_empty()
        })
        .await;
}

#[tokio::test]
async fn a_local_file_is_used_instead_of_what_is_pushed_and_watched() {
    let world = World::with(|folder, args| {
        let path = folder.join("user.yml");
        std::fs::write(&path, CONFIG).unwrap();
        args.config_file = Some(path);
    })
    .await;
    assert!(world.output().contains("cluster: test"));
    // Without it the file would be suspected after some seconds, and taken away.
    let _prometheus = world.start_prometheus().await;
    let response = world.assign(push(1, "broken: [", vec![target(1, "a:1", &[])])).await;
    let hash = promconf_hash(CONFIG);
    assert_eq!(response.config_hash, hash);
    let path = world.args.config_file.clone().unwrap();
    std::fs::write(&path, CONFIG.replace("1s", "often")).unwrap();
    world
        .reported("the broken file is named", |r| {
            r.engine.as_ref().unwrap().config_error.contains("user.yml:2: global.scrape_interval")
        })
        .await;
    assert!(world.output().contains("cluster: test"));
    std::fs::write(&path, CONFIG.replace("cluster: test", "cluster: mended")).unwrap();
    let report = world.reported("the mended file is used", |r| r.config_hash != hash).await;
    assert!(world.output().contains("cluster: mended"));
    assert_eq!(report.targets.len(), 1);
}

fn promconf_hash(text: &str) -> String {
    promconf::parse(text, std::path::Path::new("user.yml")).unwrap().hash
}
