//! One bad shard is one bad shard: what hangs, is slow, lies or is half dead delays nobody else's turn.

use std::time::Duration;

use proto::coordination::TargetState;
use testkit::eventually;

use crate::fake::Mode;
use crate::system::{Coordinator, PATIENCE, World};

/// Turns that others have to see go by.
const TURNS: usize = 20;

impl World {
    fn reports(&self, sidecar: usize) -> usize {
        self.sidecars[sidecar].shard.lock().reports
    }

    fn set_mode(&self, sidecar: usize, mode: Mode) {
        self.sidecars[sidecar].shard.lock().mode = mode;
    }

    async fn turns_go_by(&self, sidecar: usize) {
        let seen = self.reports(sidecar);
        eventually(PATIENCE, "the others are asked again and again", async || {
            self.reports(sidecar) >= seen + TURNS
        })
        .await;
    }
}

async fn error_of(coordinator: &Coordinator, shard: usize) -> String {
    let shards = coordinator.data("/api/v1/shards").await;
    shards["shards"][shard]["lastError"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn turns_go_by_while_one_call_to_a_hung_sidecar_has_not_even_ended() {
    let world = World::new(3, &[100; 4]).await;
    world.set_mode(1, Mode::Hang);
    // So long that the call to the hung one lasts longer than the test.
    let arguments =
        ["--shard.max-series=250", "--coordinator.shard-timeout=1h", "--shard.grace=1s"];
    let coordinator = world.coordinator(&arguments).await;
    eventually(PATIENCE, "the others hold all targets", async || world.all_owned()).await;
    world.turns_go_by(0).await;
    world.turns_go_by(2).await;
    assert_eq!(world.reports(1), 1, "it is still being asked for the first time");
    assert_eq!(error_of(&coordinator, 1).await, "");
    assert_eq!(world.sidecars[1].holds(), []);
    coordinator.stop().await;
}

#[tokio::test]
async fn a_sidecar_that_begins_to_hang_in_mid_flight_delays_nobody_either() {
    let world = World::new(2, &[100, 100]).await;
    let arguments = ["--shard.max-series=250", "--coordinator.shard-timeout=1h"];
    let coordinator = world.coordinator(&arguments).await;
    eventually(PATIENCE, "every target has an owner", async || world.all_owned()).await;
    world.turns_go_by(1).await;
    world.set_mode(1, Mode::Hang);
    world.turns_go_by(0).await;
    let asked = world.reports(1);
    world.turns_go_by(0).await;
    assert_eq!(world.reports(1), asked);
    coordinator.stop().await;
}

#[tokio::test]
async fn a_slow_sidecar_is_served_at_its_own_pace_and_the_others_at_theirs() {
    let world = World::new(2, &[100, 100, 100, 100]).await;
    world.set_mode(1, Mode::Slow(Duration::from_millis(1500)));
    let arguments =
        ["--shard.max-series=250", "--coordinator.shard-timeout=1m", "--shard.grace=1m"];
    let coordinator = world.coordinator(&arguments).await;
    // Two do not fit on the quick one.
    eventually(PATIENCE, "every target has an owner", async || world.all_owned()).await;
    assert_eq!(world.sidecars[1].holds().len(), 2);
    let (quick, slow) = (world.reports(0), world.reports(1));
    eventually(PATIENCE, "the slow one has answered a few times more", async || {
        world.reports(1) >= slow + 4
    })
    .await;
    let (quick, slow) = (world.reports(0) - quick, world.reports(1) - slow);
    assert!(quick > 2 * slow, "{quick} turns of the quick one, {slow} of the slow one");
    let shards = coordinator.data("/api/v1/shards").await;
    assert_eq!(shards["shards"][1]["state"], "active");
    coordinator.stop().await;
}

#[tokio::test]
async fn a_sidecar_that_reports_but_never_takes_its_targets_does_not_keep_them_from_others() {
    let world = World::new(2, &[100, 100]).await;
    world.set_mode(0, Mode::Deaf);
    let arguments = ["--shard.max-series=250", "--coordinator.shard-timeout=1s"];
    let coordinator = world.coordinator(&arguments).await;
    eventually(PATIENCE, "the other one has all targets", async || {
        world.owners() == [Some(1), Some(1)]
    })
    .await;
    world.turns_go_by(1).await;
    assert!(error_of(&coordinator, 0).await.contains("no answer within"));
    // It listens again, and takes part.
    world.set_mode(0, Mode::Normal);
    eventually(PATIENCE, "no error is left", async || error_of(&coordinator, 0).await.is_empty())
        .await;
    coordinator.stop().await;
}

#[tokio::test]
async fn lies_are_shown_and_not_believed() {
    for (lie, said) in [
        (Mode::FalseEpoch, "not believed: it reports epoch 18446744073709551615"),
        (Mode::FalseSeries, "not believed: it reports 18446744073709551615 series"),
        (Mode::FalseTargets, "not believed: it reports 0 targets as version"),
    ] {
        let world = World::new(2, &[100, 100]).await;
        let arguments = ["--shard.max-series=250", "--shard.grace=1s"];
        let coordinator = world.coordinator(&arguments).await;
        eventually(PATIENCE, "every target has an owner", async || world.all_owned()).await;
        let liar = world.owners()[0].unwrap();
        world.set_mode(liar, lie);
        eventually(PATIENCE, "the lie is shown", async || {
            let error = error_of(&coordinator, liar).await;
            if error.starts_with(said) { Ok(()) } else { Err(error) }
        })
        .await;
        eventually(PATIENCE, "an honest one scrapes everything", async || {
            let honest = &world.sidecars[1 - liar];
            world.targets.iter().all(|target| honest.state_of(target.address()).is_some())
        })
        .await;
        assert_eq!(coordinator.metric("shoal_coordinator_epoch ").await, 1.0);
        world.set_mode(liar, Mode::Normal);
        eventually(PATIENCE, "one owner each", async || world.all_owned()).await;
        eventually(PATIENCE, "it is trusted again", async || {
            error_of(&coordinator, liar).await.is_empty()
        })
        .await;
        coordinator.stop().await;
    }
}

#[tokio::test]
async fn one_sidecar_behind_two_addresses_is_one_shard() {
    let world = World::new(1, &[100, 100, 100]).await;
    let address = world.sidecars[0].address;
    let list = format!(
        "replicas:\n- shards:\n  - scraperSidecar: {address}\n  - scraperSidecar: {}\n",
        world.sidecars[0].listen_again(&world.sidecars_ctx).await.address
    );
    std::fs::write(world.folder.path().join("shards.yaml"), list).unwrap();
    let arguments = ["--shard.max-series=1000", "--shard.grace=1s"];
    let coordinator = world.coordinator(&arguments).await;
    eventually(PATIENCE, "the second one is found out", async || {
        let errors = [error_of(&coordinator, 0).await, error_of(&coordinator, 1).await];
        let doubted = errors.iter().filter(|error| error.starts_with("not believed")).count();
        let held = world.sidecars[0].holds();
        let active = held.iter().filter(|(_, state)| *state == TargetState::Active).count();
        if doubted == 1 && active == 3 { Ok(()) } else { Err(format!("{errors:?} {held:?}")) }
    })
    .await;
    coordinator.stop().await;
}
