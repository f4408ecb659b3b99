//! Reloads that overlap writes, answers that get lost: a Prometheus that is played, so that each happens for sure.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use parking_lot::Mutex;
use testkit::eventually;
use tokio::sync::watch;

use crate::world::{CONFIG, PATIENCE, World, push};

const SUCCESSFUL: &str = "shoal_scraper_sidecar_config_successful";
const RELOADS: &str = "shoal_scraper_sidecar_reloads_total";

/// As much of a Prometheus as a roll-out needs.
#[derive(Clone)]
struct Fake {
    file: PathBuf,
    seen: Arc<Mutex<Seen>>,
    /// A reload that has read the file does not end while this is true.
    held: watch::Sender<bool>,
}

#[derive(Default)]
struct Seen {
    /// What it has loaded.
    running: String,
    /// When, as it says, in seconds.
    loaded: u64,
    reading: bool,
    refused: u32,
    /// Reloads happen, and nobody hears of it.
    is_dumb: bool,
}

impl Fake {
    /// Starts it where a sidecar looks for its Prometheus.
    async fn beside(world: &World) -> Self {
        let fake = Self {
            file: world.output_file(),
            seen: Arc::default(),
            held: watch::Sender::new(false),
        };
        let listener =
            tokio::net::TcpListener::bind(("127.0.0.1", world.prometheus_port)).await.unwrap();
        let routes = Router::new()
            .route("/-/ready", get(|| async {}))
            .route("/metrics", get(metrics))
            .route("/-/reload", post(reload))
            .with_state(fake.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        fake
    }

    fn running(&self) -> String {
        self.seen.lock().running.clone()
    }

    /// One after the other, like the real one; to its end, whoever asked and went away.
    async fn reload(self) -> StatusCode {
        {
            let mut seen = self.seen.lock();
            if seen.reading {
                seen.refused += 1;
                return StatusCode::SERVICE_UNAVAILABLE;
            }
            seen.reading = true;
        }
        let text = std::fs::read_to_string(&self.file).unwrap();
        drop(self.held.subscribe().wait_for(|held| !held).await);
        let mut seen = self.seen.lock();
        seen.reading = false;
        seen.running = text;
        // Later than anything that was written by now.
        seen.loaded = seen.loaded.max(now()) + 1;
        if seen.is_dumb { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK }
    }
}

fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

async fn reload(State(fake): State<Fake>) -> StatusCode {
    tokio::spawn(fake.reload()).await.unwrap()
}

async fn metrics(State(fake): State<Fake>) -> String {
    let loaded = fake.seen.lock().loaded;
    let values = BTreeMap::from([
        ("process_start_time_seconds", 1),
        ("prometheus_config_last_reload_success_timestamp_seconds", loaded),
        ("prometheus_config_last_reload_successful", 1),
    ]);
    values.iter().map(|(name, value)| format!("{name} {value}\n")).collect()
}

/// A sidecar beside a played Prometheus that runs its file.
async fn start() -> (World, Fake) {
    let world = World::new().await;
    let fake = Fake::beside(&world).await;
    is_known(&world).await;
    assert_eq!(fake.running(), world.output());
    (world, fake)
}

/// Waits until the sidecar knows that its file is loaded.
async fn is_known(world: &World) {
    eventually(PATIENCE, "the file is known to be loaded", async || {
        mark(world).exists() && world.metric(SUCCESSFUL).await > 0.5
    })
    .await;
}

fn mark(world: &World) -> PathBuf {
    world.args.data_dir.join("prometheus.loaded")
}

#[tokio::test]
async fn a_reload_that_began_before_a_write_and_ended_after_it_does_not_count() {
    let (world, fake) = start().await;
    fake.held.send_replace(true);
    world.assign(push(1, CONFIG, vec![])).await;
    eventually(PATIENCE, "the first file is read", async || fake.seen.lock().reading).await;
    world.assign(push(2, &CONFIG.replace("cluster: test", "cluster: other"), vec![])).await;
    let second = world.output();
    assert!(second.contains("cluster: other"));
    eventually(PATIENCE, "the second file is not loaded", async || {
        fake.seen.lock().refused > 0 && world.metric(SUCCESSFUL).await < 0.5
    })
    .await;
    fake.held.send_replace(false);
    is_known(&world).await;
    assert_eq!(fake.running(), second);
}

#[tokio::test]
async fn the_reload_of_a_sidecar_that_died_does_not_count_for_what_the_next_one_writes() {
    let (mut world, fake) = start().await;
    world.stop_sidecar().await;
    let before = fake.running();
    // What the dead one has asked for ends only now.
    fake.seen.lock().loaded = now() + 1000;
    world.args.label = vec![r#"prometheus_other="0""#.to_owned()];
    world.start_sidecar().await;
    is_known(&world).await;
    assert_ne!(fake.running(), before);
    assert_eq!(fake.running(), world.output());
}

#[tokio::test]
async fn what_is_loaded_is_known_after_a_restart_and_forgotten_before_the_file_changes() {
    let (mut world, fake) = start().await;
    world.stop_sidecar().await;
    world.start_sidecar().await;
    is_known(&world).await;
    assert_eq!(world.metric(RELOADS).await, 0.0);
    fake.held.send_replace(true);
    world.assign(push(1, CONFIG, vec![])).await;
    assert!(!mark(&world).exists());
    fake.held.send_replace(false);
    is_known(&world).await;
    assert_eq!(fake.running(), world.output());
    assert_eq!(world.metric(RELOADS).await, 1.0);
}

#[tokio::test]
async fn a_reload_whose_answer_is_lost_counts_once_another_one_has_ended_after_it() {
    let (world, fake) = start().await;
    fake.seen.lock().is_dumb = true;
    let before = world.metric(RELOADS).await;
    world.assign(push(1, CONFIG, vec![])).await;
    is_known(&world).await;
    assert_eq!(fake.running(), world.output());
    assert_eq!(world.metric(RELOADS).await, before + 2.0);
}
