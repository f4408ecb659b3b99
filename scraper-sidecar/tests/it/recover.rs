//! Restarts of everything, in any order.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use proto::coordination::assign_response::Outcome;
use proto::coordination::engine::State;
use proto::coordination::target_report::Health;
use testkit::target::Target;
use tonic::Code;

use crate::world::{CONFIG, World, push, target};

const RELOADS: &str = "shoal_scraper_sidecar_reloads_total";

#[tokio::test]
async fn a_restarted_sidecar_needs_no_coordinator_and_touches_no_file() {
    let mut world = World::new().await;
    let _prometheus = world.start_prometheus().await;
    let app = Target::start("a 1\n").await;
    world.assign(push(5, CONFIG, vec![target(1, app.address(), &[])])).await;
    world.target(1, "the target is proven", |t| t.good_scrapes >= 2).await;
    let files = world.files();
    world.stop_sidecar().await;
    world.start_sidecar().await;
    assert_eq!(world.files(), files);
    let report = world.report().await;
    assert_eq!((report.epoch, report.version), (1, 5));
    assert_eq!(report.targets[0].target.as_ref().unwrap().series, 3);
    world.target(1, "the target proves itself anew", |t| t.good_scrapes >= 2).await;
    assert_eq!(world.metric(RELOADS).await, 0.0);
    // A coordinator that lost its memory learns the hash here and need not send the configuration.
    let mut next = push(6, CONFIG, vec![]);
    next.config.clear();
    assert_eq!(world.assign(next).await.version, 6);
}

#[tokio::test]
async fn a_reload_that_a_crash_has_swallowed_is_made_up_for() {
    let mut world = World::new().await;
    let prometheus = world.start_prometheus().await;
    testkit::eventually(crate::world::PATIENCE, "nothing is left to be reloaded", async || {
        world.metric("shoal_scraper_sidecar_config_successful").await > 0.5
    })
    .await;
    world.stop_sidecar().await;
    // As if the sidecar had died between its write and its reload.
    let text = world.output().replace("prometheus_replica", "prometheus_other");
    std::fs::write(world.output_file(), text).unwrap();
    world.args.label = vec![r#"prometheus_other="0""#.to_owned()];
    world.start_sidecar().await;
    testkit::eventually(crate::world::PATIENCE, "prometheus runs the file", async || {
        let config = prometheus.get("/api/v1/status/config", &[]).await;
        config["yaml"].as_str().unwrap().contains("prometheus_other")
    })
    .await;
    assert_eq!(world.metric(RELOADS).await, 1.0);
}

#[tokio::test]
async fn a_corrupt_assignment_is_set_aside_and_the_sidecar_starts_empty() {
    let world = World::with(|_, args| {
        std::fs::write(args.data_dir.join("assignment.json"), "{\"half\":").unwrap();
    })
    .await;
    let aside = world.args.data_dir.join("assignment.json.corrupt-1");
    assert_eq!(std::fs::read_to_string(aside).unwrap(), "{\"half\":");
    let report = world.report().await;
    assert_eq!((report.epoch, report.version, report.targets.len()), (0, 0, 0));
    assert!(world.output().contains("prometheus_replica"));
    world.assign(push(1, CONFIG, vec![target(1, "a:1", &[])])).await;
    assert_eq!(world.report().await.targets.len(), 1);
}

#[tokio::test]
async fn a_lost_assignment_is_rebuilt_from_what_prometheus_scrapes_and_misses_no_scrape() {
    let mut world = World::new().await;
    let prometheus = world.start_prometheus().await;
    let app = Target::start("a 1\n").await;
    let config = CONFIG.replace("- job_name: app\n", "- job_name: app\n  params: {p: [job]}\n");
    let own = [("__param_p", "own"), ("env", "ü\n\"")];
    world.assign(push(5, &config, vec![target(1, app.address(), &own)])).await;
    world.target(1, "the target is proven", |t| t.good_scrapes >= 2).await;
    let before = world.report().await.targets[0].target.clone().unwrap();
    for corrupt in [true, false] {
        world.stop_sidecar().await;
        let file = world.args.data_dir.join("assignment.json");
        if corrupt {
            let content = std::fs::read_to_string(&file).unwrap();
            std::fs::write(&file, content.replace("epoch", "epocH")).unwrap();
        } else {
            // The one from before was not written again: there is none.
            assert!(!file.exists());
        }
        let files = world.files();
        world.start_sidecar().await;
        assert_eq!(world.files(), files, "prometheus notices nothing");
        let report = world.report().await;
        assert_eq!((report.epoch, report.version, report.config_hash.as_str()), (0, 0, ""));
        let rebuilt = report.targets[0].target.clone().unwrap();
        let wanted = proto::coordination::Target { series: 0, ..before.clone() };
        assert_eq!(rebuilt, wanted);
        world.target(1, "it proves itself anew", |t| t.good_scrapes >= 2).await;
    }
    assert!(world.args.data_dir.join("assignment.json.corrupt-1").exists());
    let missed = prometheus.query_value("min(min_over_time(up[10m]))").await;
    assert_eq!(missed, Some(1.0));
    // A coordinator sees that it has to send everything.
    let mut next = push(6, &config, vec![target(1, app.address(), &own)]);
    next.config.clear();
    assert_eq!(world.assign(next).await.outcome(), Outcome::NeedConfig);
    let next = push(7, &config, vec![target(1, app.address(), &own)]);
    assert_eq!(world.assign(next).await.outcome(), Outcome::Applied);
    assert_eq!(world.report().await.targets[0].target.as_ref().unwrap(), &before);
}

#[tokio::test]
async fn where_the_files_of_targets_are_broken_too_prometheus_says_what_it_scrapes() {
    let mut world = World::new().await;
    let prometheus = world.start_prometheus().await;
    let app = Target::start("a 1\n").await;
    let config = CONFIG.replace("- job_name: app\n", "- job_name: app\n  params: {p: [job]}\n");
    let own = [("__param_p", "own"), ("env", "ü\n\"")];
    world.assign(push(5, &config, vec![target(1, app.address(), &own)])).await;
    world.target(1, "the target is proven", |t| t.good_scrapes >= 2).await;
    let before = world.report().await.targets[0].target.clone().unwrap();
    let contents = |world: &World| -> Vec<(PathBuf, String)> {
        world.files().into_iter().map(|(path, content, _)| (path, content)).collect()
    };
    let files = contents(&world);
    for lost in ["a file of targets", "the configuration"] {
        world.stop_sidecar().await;
        let assignment = world.args.data_dir.join("assignment.json");
        if assignment.exists() {
            std::fs::write(&assignment, "{\"half\":").unwrap();
        }
        for (path, content) in &files {
            if lost == "the configuration" && *path == world.output_file() {
                // What was loaded last is kept elsewhere, too.
                std::fs::remove_file(path).unwrap();
            } else if lost == "a file of targets" && *path != world.output_file() {
                std::fs::write(path, &content[..content.len() / 2]).unwrap();
            }
        }
        world.start_sidecar().await;
        assert_eq!(contents(&world), files, "without {lost}");
        let rebuilt = world.report().await.targets[0].target.clone().unwrap();
        let wanted = proto::coordination::Target { series: 0, ..before.clone() };
        assert_eq!(rebuilt, wanted, "without {lost}");
        world.target(1, "it proves itself anew", |t| t.good_scrapes >= 2).await;
    }
    let missed = prometheus.query_value("min(min_over_time(up[10m]))").await;
    assert_eq!(missed, Some(1.0));
    assert_eq!(prometheus.query_value("count(count_over_time(up[10m]))").await, Some(1.0));
}

#[tokio::test]
async fn prometheus_may_start_long_after_the_first_assignment() {
    let world = World::new().await;
    let app = Target::start("a 1\n").await;
    world.assign(push(1, CONFIG, vec![target(1, app.address(), &[])])).await;
    let report = world
        .reported("prometheus is missed", |r| !r.engine.as_ref().unwrap().config_error.is_empty())
        .await;
    assert_eq!(report.engine.unwrap().state(), State::Unreachable);
    assert_eq!(report.targets[0].health(), Health::Unknown);
    for (path, _, _) in world.files() {
        let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", path.display());
    }

    let _prometheus = world.start_prometheus().await;
    world.target(1, "the target is proven", |t| t.good_scrapes >= 2).await;
    let report = world
        .reported("no error is left", |r| r.engine.as_ref().unwrap().config_error.is_empty())
        .await;
    assert_eq!(report.engine.unwrap().state(), State::Ready);
    // It has read the file at its start.
    assert_eq!(world.metric(RELOADS).await, 0.0);
}

#[tokio::test]
async fn a_killed_prometheus_is_reported_and_its_targets_prove_themselves_anew() {
    let world = World::new().await;
    let mut prometheus = world.start_prometheus().await;
    let app = Target::start("a 1\n").await;
    world.assign(push(1, CONFIG, vec![target(1, app.address(), &[])])).await;
    let before = world.target(1, "proven", |t| t.good_scrapes >= 3 && t.samples_scraped > 0).await;
    prometheus.kill();
    let report = world
        .reported("unreachable", |r| r.engine.as_ref().unwrap().state() == State::Unreachable)
        .await;
    let dead = &report.targets[0];
    assert_eq!((dead.health(), dead.good_scrapes), (Health::Unknown, 0));
    assert_eq!(dead.samples_scraped, before.samples_scraped);
    prometheus.start_again().await;
    let after = world.target(1, "proven again", |t| t.good_scrapes >= 2).await;
    assert!(after.scrapes >= before.scrapes + 2, "{after:?}");
    assert!(after.last_scrape_ms > before.last_scrape_ms);
}

#[tokio::test]
async fn a_push_that_cannot_be_written_is_an_error_until_it_can() {
    let world = World::new().await;
    let targets = world.args.data_dir.join("targets");
    std::fs::remove_dir(&targets).unwrap();
    std::fs::write(&targets, "in the way").unwrap();
    let first = push(1, CONFIG, vec![target(1, "a:1", &[])]);
    for _ in 0..2 {
        let error = world.try_assign(first.clone()).await.unwrap_err();
        assert_eq!(error.code(), Code::Internal);
        assert!(error.message().contains("targets"), "{}", error.message());
    }
    assert!(world.report().await.engine.unwrap().config_error.contains("targets"));
    std::fs::remove_file(&targets).unwrap();
    std::fs::create_dir(&targets).unwrap();
    assert_eq!(world.assign(first).await.outcome(), Outcome::Unchanged);
    assert_eq!(world.files().len(), 2);
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_is_one_clear_sentence_at_the_start() {
    testkit::init();
    let world = World::new().await;
    let mut args = world.args.clone();
    let file = world.output_file();
    args.data_dir = file.join("below");
    let error = scraper_sidecar::run(args.try_into().unwrap(), svc::Context::new()).await;
    let text = format!("{:#}", error.unwrap_err());
    assert!(text.contains(&file.display().to_string()), "{text}");
    assert!(text.contains("Not a directory"), "{text}");
}
