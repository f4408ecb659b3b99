//! Two coordinators on one data folder: one leads, the other one looks on, says what it sees, and takes the first one's
//! place when that is killed or hangs. Nothing moves and no scrape is missed, and whoever has hung is fenced off.

use std::time::Instant;

use rustix::process::Signal;
use serde_json::Value;
use testkit::eventually;

use crate::matrix::samples::now;
use crate::system::PATIENCE;
use world::{Coordinator, LEASE, World};

pub(crate) mod world;

/// Between two beats of a leader, and two looks of a follower, in seconds.
const BEAT: f64 = 1.0;
/// What a busy machine may be late, in seconds.
const LATE: f64 = 5.0;

/// What a follower answers, each with Prometheus' envelope.
const READ: [&str; 11] = [
    "/api/v1/leader",
    "/api/v1/plan?turns=3",
    "/api/v1/moves",
    "/api/v1/jobs",
    "/api/v1/targets",
    "/api/v1/targets/top",
    "/api/v1/shards",
    "/api/v1/unassigned",
    "/api/v1/events",
    "/api/v1/status/tsdb",
    "/api/v1/stop-scrape",
];

#[tokio::test]
async fn a_follower_takes_the_local_shards_over_from_a_killed_and_from_a_hung_leader() {
    let mut world = World::local().await;
    let mut first = world.coordinator("first");
    world.until_at_rest(&first).await;
    let began = Instant::now();
    let mut second = world.coordinator("second");
    world.until_at_rest(&second).await;
    looks_on(&second, &first, 1).await;

    let before = world.picture(&second).await;
    let killed = now();
    first.signal(Signal::KILL);
    first.ended().await;
    let led = world.until_led_by(&second, 2).await;
    is_replaced_within("a leader that was killed", led - killed, 0.0, BEAT);
    assert_eq!(world.picture(&second).await, before, "after the kill of the leader");

    let mut first = world.coordinator("first");
    world.until_at_rest(&first).await;
    looks_on(&first, &second, 2).await;
    let stopped = now();
    second.signal(Signal::STOP);
    let led = world.until_led_by(&first, 3).await;
    let lease = LEASE.as_secs_f64();
    is_replaced_within("a leader that hangs", led - stopped, lease - BEAT, lease + 2.0 * BEAT);
    // Two must not run the same processes, so the one that hung is no more.
    assert!(second.ended().await.contains("signal: 9"), "the leader that hung lives");
    assert_eq!(world.picture(&first).await, before, "after the leader hung");

    // One that ends in good order leaves its shards, too, as there is somebody to take them over.
    let mut second = world.coordinator("second");
    world.until_at_rest(&second).await;
    let ended = now();
    first.signal(Signal::TERM);
    assert_eq!(first.ended().await, "exit status: 0");
    let led = world.until_led_by(&second, 4).await;
    is_replaced_within("a leader that ends", led - ended, 0.0, lease);
    assert_eq!(world.picture(&second).await, before, "after the leader has ended");
    world.scraped_without_a_gap(began);

    world.add_target().await;
    world.until_at_rest(&second).await;
    second.signal(Signal::TERM);
    assert_eq!(second.ended().await, "exit status: 0");
    world.nothing_is_left();
}

#[tokio::test]
async fn a_leader_that_hung_is_fenced_off_the_shards_on_the_network_when_it_goes_on() {
    let mut world = World::on_the_network().await;
    let mut first = world.coordinator("first");
    world.until_at_rest(&first).await;
    let began = Instant::now();
    let mut second = world.coordinator("second");
    world.until_at_rest(&second).await;
    looks_on(&second, &first, 1).await;

    let before = world.picture(&second).await;
    let stopped = now();
    first.signal(Signal::STOP);
    let led = world.until_led_by(&second, 2).await;
    let lease = LEASE.as_secs_f64();
    is_replaced_within("a leader that hangs", led - stopped, lease - BEAT, lease + 2.0 * BEAT);
    assert_eq!(world.picture(&second).await, before, "after the leader hung");
    // Work for both of them.
    world.add_target().await;
    world.until_at_rest(&second).await;
    let before = world.picture(&second).await;
    first.signal(Signal::CONT);
    // It does not even begin with what it believed before.
    let answer = first.data("/api/v1/leader").await.unwrap();
    assert_eq!(answer["leader"], false, "{answer}");
    world.until_at_rest(&first).await;
    looks_on(&first, &second, 2).await;
    assert_eq!(world.epochs(&second).await, [2, 2]);
    // What it might have sent on its way.
    world.refuses_the_epoch(1).await;
    assert_eq!(world.picture(&second).await, before, "after the old leader went on");

    second.signal(Signal::KILL);
    second.ended().await;
    world.until_led_by(&first, 3).await;
    assert_eq!(world.picture(&first).await, before, "after the kill of the second leader");
    world.scraped_without_a_gap(began);
    first.signal(Signal::TERM);
    assert_eq!(first.ended().await, "exit status: 0");
    world.stop().await;
}

/// Whether the time between a leader's last moment and the next one's first, in seconds, is as long as it should be.
fn is_replaced_within(who: &str, took: f64, least: f64, most: f64) {
    eprintln!("{who} was replaced after {took:.1} s");
    // Moments are told in milliseconds.
    assert!(took > least - 0.1, "{who} was replaced after {took} s already");
    assert!(took < most + LATE, "{who} was replaced after {took} s only");
}

/// The follower answers every question, names the leader, and changes nothing.
async fn looks_on(follower: &Coordinator, leader: &Coordinator, epoch: u64) {
    let standing = eventually(PATIENCE, "the follower knows the leader", async || {
        let answer = follower.data("/api/v1/leader").await?;
        if answer["holder"]["epoch"] == epoch { Ok(answer) } else { Err(answer.to_string()) }
    })
    .await;
    assert_eq!(standing["leader"], false, "{standing}");
    assert_eq!(standing["holder"]["url"], leader.url());
    assert_eq!(follower.answer("GET", "/-/ready").await.0, 200);
    for path in READ {
        follower.data(path).await.unwrap_or_else(|error| panic!("{path}: {error}"));
    }
    let (status, snapshot) = follower.answer("GET", "/api/v1/snapshot").await;
    let snapshot: Value = serde_json::from_str(&snapshot).unwrap();
    assert_eq!((status, snapshot["shards"].as_array().map(Vec::len)), (200, Some(2)));
    let plan = follower.data("/api/v1/plan?turns=3").await.unwrap();
    assert_eq!((&plan["leader"], &plan["settled"]), (&false.into(), &true.into()), "{plan}");
    for method in ["POST", "DELETE"] {
        let (status, text) = follower.answer(method, "/api/v1/stop-scrape?reason=not%20mine").await;
        assert_eq!(status, 503, "{text}");
        assert!(text.contains("does not lead") && text.contains(&leader.url()), "{text}");
    }
    // The leader has not heard of it, and takes such wishes itself.
    let (status, text) = leader.answer("DELETE", "/api/v1/stop-scrape").await;
    assert!(status == 200 && text.contains(r#""stops":[]"#), "{status} {text}");
}
