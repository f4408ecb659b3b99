//! Discovery that is down, answers nothing, loses most of what it had, or does not answer a coordinator that has just
//! started: targets are scraped on, each by the shard that has it, without a hole.

use std::time::Instant;

use reqwest::StatusCode;
use rustix::process::Signal;
use serde_json::Value;
use testkit::eventually;

use crate::leaders::world::{Coordinator, World};
use crate::matrix::samples;
use crate::system::PATIENCE;

/// What discovery is asked, or the shards are handed, so many times counts as lasting.
const TIMES: usize = 4;

#[tokio::test]
async fn targets_are_scraped_without_a_hole_whatever_becomes_of_discovery() {
    let world = World::discovered().await;
    let mut first = world.coordinator("first");
    world.until_at_rest(&first).await;
    let (began, since) = (Instant::now(), samples::now());
    let before = world.picture(&first).await;
    let all = world.addresses().count();

    world.discovery().set_status(503);
    until_complains(&first, "HTTP status 503").await;
    until_asked_again(&world).await;
    assert_eq!(world.picture(&first).await, before, "while discovery is down");

    world.discovery().set_status(200);
    world.list(0);
    until_complains(&first, "an answer with 0 instead of 12 targets is held").await;
    until_asked_again(&world).await;
    assert_eq!(world.picture(&first).await, before, "while discovery answers nothing");

    world.list(1);
    until_complains(&first, "an answer with 1 instead of 12 targets is held").await;
    until_asked_again(&world).await;
    assert_eq!(world.picture(&first).await, before, "while discovery has lost most");

    world.list(all);
    until_complains(&first, "").await;
    world.until_at_rest(&first).await;
    assert_eq!(world.picture(&first).await, before, "after discovery has found itself");

    // A coordinator that starts beside a discovery that does not answer.
    let held = first.held().await;
    assert_eq!(held.iter().map(Vec::len).sum::<usize>(), all);
    world.discovery().set_delay(10 * PATIENCE);
    first.signal(Signal::KILL);
    first.ended().await;
    let mut second = world.coordinator("second");
    world.until_led_by(&second, 2).await;
    until_it_had_turns(&second).await;
    let jobs = second.data("/api/v1/jobs").await.unwrap();
    assert_eq!(jobs["jobs"][0]["held"], true, "{jobs}");
    // It knows none of them, and nothing is taken from the shards.
    assert_eq!(second.held().await, held, "while discovery has not answered yet");

    world.scraped_without_a_gap(began);
    ups_have_no_hole(&world, &second, since).await;
    second.signal(Signal::TERM);
    assert_eq!(second.ended().await, "exit status: 0");
    world.nothing_is_left();
}

/// The value of a metric of the coordinator without labels.
async fn metric(coordinator: &Coordinator, name: &str) -> Result<f64, String> {
    let (_, page) = coordinator.answer("GET", "/metrics").await;
    let value = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.and_then(|value| value.parse().ok()).ok_or_else(|| format!("no {name} in\n{page}"))
}

/// Waits until the coordinator has planned a few times more.
async fn until_it_had_turns(coordinator: &Coordinator) {
    let turns = "shoal_coordinator_cycle_duration_seconds_count";
    let before = metric(coordinator, turns).await.unwrap();
    eventually(PATIENCE, "turns have gone by", async || {
        let count = metric(coordinator, turns).await?;
        if count >= before + TIMES as f64 { Ok(()) } else { Err(count.to_string()) }
    })
    .await;
}

/// Waits until this is a part of what discovery of the job complains of; an empty text: until it does not complain.
async fn until_complains(coordinator: &Coordinator, of: &str) {
    eventually(PATIENCE, &format!("discovery complains: {of:?}"), async || {
        let jobs = coordinator.data("/api/v1/jobs").await?;
        let errors = jobs["jobs"][0]["errors"].as_array().cloned().unwrap_or_default();
        let complains = errors.iter().any(|error| error.as_str().is_some_and(|e| e.contains(of)));
        let as_wanted = if of.is_empty() { errors.is_empty() } else { complains };
        if as_wanted { Ok(()) } else { Err(jobs.to_string()) }
    })
    .await;
}

/// Waits until discovery was asked a few times more.
async fn until_asked_again(world: &World) {
    let before = world.discovery().scrapes().len();
    eventually(PATIENCE, "discovery was asked again", async || {
        world.discovery().scrapes().len() >= before + TIMES
    })
    .await;
}

/// No target's `up` has a hole since then, in all shards' Prometheus servers together.
async fn ups_have_no_hole(world: &World, coordinator: &Coordinator, since: f64) {
    let shards = coordinator.data("/api/v1/shards").await.unwrap();
    let window = (samples::now() - since).floor();
    let mut found: Vec<Value> = Vec::new();
    for shard in shards["shards"].as_array().unwrap() {
        let url = format!("{}/api/v1/query", shard["prometheus"].as_str().unwrap());
        let query = [("query", format!("up[{window}s]"))];
        let response = reqwest::Client::new().get(url).query(&query).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let mut answer: Value = response.json().await.unwrap();
        let series = answer["data"]["result"].take();
        found.extend(series.as_array().unwrap().iter().cloned());
    }
    for address in world.addresses() {
        let series = found.iter().filter(|series| series["metric"]["instance"] == address);
        let points = series.flat_map(|series| series["values"].as_array().unwrap());
        let mut times = Vec::new();
        for point in points {
            assert_eq!(point[1], "1", "{address} was down");
            times.push(point[0].as_f64().unwrap());
        }
        times.sort_by(f64::total_cmp);
        samples::check(&format!("up of {address}"), &times, &[]);
    }
}
