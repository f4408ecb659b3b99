//! What may be wrong with a shard, told apart with real processes: a dead sidecar, a Prometheus that replays its WAL, a
//! dead one, a partition, a crash loop. Each has its own name, and its own answer.

use std::fs;
use std::fs::File;
use std::path::PathBuf;
use std::process::Command;

use rustix::process::Signal;

use crate::matrix::samples::{Outage, now};
use crate::system::ONE_AT_A_TIME;
use testkit::prometheus::Prometheus;
use world::{GRACE, QUARANTINE_RESTARTS, World};

mod line;
mod world;

/// What is waited beyond a time that has to pass, in seconds: some turns.
const SOME_TURNS: f64 = 3.0;

#[tokio::test]
async fn troubles_of_a_shard_are_told_apart_and_each_is_answered_in_its_own_way() {
    testkit::init();
    let _turn = ONE_AT_A_TIME.lock().await;
    let mut world = World::start().await;
    let began = now();
    let mut outages = Vec::new();

    without_its_sidecar_a_shard_goes_on(&world).await;
    outages.push(a_replay_is_waited_for(&mut world).await);
    assert_eq!(world.events("move_").await, [] as [serde_json::Value; 0]);
    outages.push(a_dead_prometheus_loses_its_targets(&mut world).await);
    a_partition_ends_without_duplicates(&world).await;
    outages.extend(a_crash_loop_ends_in_quarantine(&mut world).await);

    world.have_no_gap(began, &outages).await;
    world.stop().await;
}

async fn without_its_sidecar_a_shard_goes_on(world: &World) {
    let since = now();
    world.signal_sidecar(0, Signal::STOP);
    world.until_state(0, "agent_down").await;
    world.until_over(since, GRACE + SOME_TURNS).await;
    assert_eq!(world.state(0).await, "agent_down");
    world.until_scraped(0, now()).await;
    world.signal_sidecar(0, Signal::CONT);
    world.until_state(0, "active").await;
    world.until_owned_by(0).await;
}

/// Part of the WAL is a pipe: its replay takes as long as nobody writes into that.
async fn a_replay_is_waited_for(world: &mut World) -> Outage {
    let begin = now();
    let engine = &mut world.shards[0].engine;
    let pipe = put_pipe(engine);
    engine.kill();
    engine.spawn();
    world.until_state(0, "starting").await;
    world.until_over(begin, GRACE + SOME_TURNS).await;
    assert_eq!(world.state(0).await, "starting");
    let segment = pipe.clone();
    // Returns once Prometheus reads it, and ends it.
    tokio::task::spawn_blocking(move || drop(File::create(segment).unwrap())).await.unwrap();
    world.until_state(0, "active").await;
    world.until_scraped(0, now()).await;
    // Read to its end, it is as good as an empty segment; the next replay finds one.
    fs::write(pipe.with_extension("empty"), "").unwrap();
    fs::rename(pipe.with_extension("empty"), pipe).unwrap();
    world.until_owned_by(0).await;
    Outage { begin, end: now() }
}

/// After the last segment of the WAL.
fn put_pipe(engine: &Prometheus) -> PathBuf {
    let wal = engine.data_dir().join("wal");
    let names = fs::read_dir(&wal).unwrap().map(|entry| entry.unwrap().file_name());
    let numbers = names.filter_map(|name| name.to_str()?.parse::<u32>().ok());
    let pipe = wal.join(format!("{:08}", numbers.max().unwrap() + 1));
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    pipe
}

async fn a_dead_prometheus_loses_its_targets(world: &mut World) -> Outage {
    let begin = now();
    world.shards[0].engine.kill();
    world.until_state(0, "engine_down").await;
    world.until_state(0, "lost").await;
    world.until_owned_by(1).await;
    world.until_scraped(1, begin).await;
    let outage = Outage { begin, end: now() };
    assert_eq!(world.events("move_evacuated").await.len(), 3);
    // It returns to find its targets gone.
    world.shards[0].engine.start_again().await;
    world.until_state(0, "active").await;
    world.until_idle(0).await;
    world.until_owned_by(1).await;
    outage
}

/// What is cut off goes on scraping: for the coordinator it is lost, for the data it is not.
async fn a_partition_ends_without_duplicates(world: &World) {
    let since = now();
    world.shards[1].cut_off();
    world.until_state(1, "unreachable").await;
    world.until_state(1, "lost").await;
    world.until_scraped(0, since).await;
    world.until_scraped(1, now()).await;
    world.shards[1].reconnect();
    world.until_state(1, "active").await;
    // Whoever has proved itself keeps it.
    world.until_owned_once().await;
    assert_eq!(world.events("move_deduplicated").await.len(), 3);
    assert_eq!(world.events("move_evacuated").await.len(), 6);
    assert_eq!(world.events("move_begun").await, [] as [serde_json::Value; 0]);
}

async fn a_crash_loop_ends_in_quarantine(world: &mut World) -> Vec<Outage> {
    let owners = world.until_owned_once().await;
    let victim = usize::from(!owners.contains("0-0"));
    let mut outages = Vec::new();
    for restarts in world.restarts(victim).await + 1..=QUARANTINE_RESTARTS {
        let begin = now();
        let engine = &mut world.shards[victim].engine;
        engine.kill();
        engine.start_again().await;
        world.until_restarts(victim, restarts).await;
        if restarts == QUARANTINE_RESTARTS {
            world.until_owned_by(1 - victim).await;
        }
        world.until_all_scraped(now()).await;
        outages.push(Outage { begin, end: now() });
    }
    assert_eq!(world.events("shard_quarantined").await.len(), 1);
    world.until_state(victim, "active").await;
    assert_eq!(world.events("shard_released").await.len(), 1);
    world.until_owned_by(1 - victim).await;
    outages
}
