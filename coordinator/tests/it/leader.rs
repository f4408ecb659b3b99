//! Several coordinators on one lock: one leads, the others look on and take its place.

use std::fs::File;
use std::path::PathBuf;

use proto::coordination::TargetState;
use testkit::eventually;

use crate::system::{Coordinator, PATIENCE, World};

const EPOCH: &str = "shoal_coordinator_epoch ";
const LEADER: &str = "shoal_coordinator_leader ";

async fn leads(coordinator: &Coordinator) -> bool {
    let (data, gauge) = (
        coordinator.data("/api/v1/leader").await["leader"].as_bool().unwrap(),
        coordinator.metric(LEADER).await > 0.5,
    );
    data && gauge
}

fn term(world: &World, epoch: u64) -> PathBuf {
    world.folder.path().join(format!("data/leader.lock.{epoch}"))
}

#[tokio::test]
async fn a_follower_shows_the_same_picture_and_hands_nothing_out() {
    let world = World::new(2, &[50, 50, 50]).await;
    let leader = world.coordinator(&["--shard.max-series=250"]).await;
    eventually(PATIENCE, "every target has an owner", async || world.all_owned()).await;
    let follower = world.coordinator(&["--shard.max-series=250"]).await;
    eventually(PATIENCE, "the follower sees every owner", async || {
        let data = follower.data("/api/v1/targets?state=active").await;
        let targets = data["activeTargets"].as_array().unwrap();
        targets.len() == 3 && targets.iter().all(|target| target["state"] == "active")
    })
    .await;
    assert_eq!(follower.get("/-/ready").await.0, 200);
    assert!(leads(&leader).await && !leads(&follower).await);
    let (of_leader, of_follower) =
        (leader.data("/api/v1/leader").await, follower.data("/api/v1/leader").await);
    assert_eq!(of_follower["holder"], of_leader["holder"]);
    assert_eq!(of_follower["holder"]["url"], format!("http://{}", leader.http));
    assert_eq!(of_follower["holder"]["epoch"], 1);
    assert_eq!(
        follower.data("/api/v1/shards").await["shards"].as_array().unwrap().len(),
        leader.data("/api/v1/shards").await["shards"].as_array().unwrap().len()
    );
    assert_eq!(follower.events("target_assigned").await, Vec::<String>::new());
    // The leader goes in good order: the follower takes over, and nothing moves.
    let owners = world.owners();
    leader.stop().await;
    eventually(PATIENCE, "the follower leads", async || leads(&follower).await).await;
    eventually(PATIENCE, "every shard has the new epoch", async || {
        world.sidecars.iter().all(|sidecar| sidecar.shard.lock().epoch == 2)
    })
    .await;
    assert_eq!(follower.metric(EPOCH).await, 2.0);
    assert_eq!(world.owners(), owners);
    follower.stop().await;
}

#[tokio::test]
async fn a_leader_that_hangs_is_replaced_after_the_lease_and_its_shards_go_with_the_epoch() {
    let world = World::new(1, &[50]).await;
    // Stands for a process that was stopped: it holds its lock and never touches it.
    std::fs::create_dir(world.folder.path().join("data")).unwrap();
    let hung = File::create(term(&world, 5)).unwrap();
    hung.lock().unwrap();
    let coordinator = world.coordinator(&["--leader.lease=1s"]).await;
    assert!(!leads(&coordinator).await);
    assert_eq!(world.sidecars[0].holds(), []);
    eventually(PATIENCE, "the target has an owner", async || world.all_owned()).await;
    assert!(leads(&coordinator).await);
    assert_eq!(world.sidecars[0].shard.lock().epoch, 6);
    drop(hung);
    coordinator.stop().await;
}

#[tokio::test]
async fn a_leader_that_was_deposed_assigns_nothing_more_and_leads_again_when_it_may() {
    let world = World::new(1, &[50]).await;
    let coordinator = world.coordinator(&["--leader.lease=60s"]).await;
    eventually(PATIENCE, "the target has an owner", async || world.all_owned()).await;
    // Somebody else begins the next term.
    let other = File::create(term(&world, 2)).unwrap();
    other.lock().unwrap();
    eventually(PATIENCE, "it follows", async || !leads(&coordinator).await).await;
    let address = world.targets[0].address();
    let assigned = world.sidecars[0].shard.lock().assigned;
    // Nobody takes the target away while it only looks on.
    world.write_config_for(&[], "");
    eventually(PATIENCE, "it sees that the target is gone", async || {
        let data = coordinator.data("/api/v1/targets").await;
        data["activeTargets"].as_array().unwrap().is_empty()
    })
    .await;
    assert!(!leads(&coordinator).await);
    assert_eq!(world.sidecars[0].shard.lock().assigned, assigned);
    assert_eq!(world.sidecars[0].state_of(address), Some(TargetState::Active));
    drop(other);
    eventually(PATIENCE, "it leads again and acts", async || {
        leads(&coordinator).await && world.sidecars[0].holds().is_empty()
    })
    .await;
    assert!(world.sidecars[0].shard.lock().epoch > 2);
    coordinator.stop().await;
}

#[tokio::test]
async fn what_an_old_leader_still_sends_is_refused() {
    let world = World::new(1, &[50]).await;
    let coordinator = world.coordinator(&[]).await;
    eventually(PATIENCE, "the target has an owner", async || world.all_owned()).await;
    // A leader elsewhere has pushed with a higher epoch, and there is its term.
    let other = File::create(term(&world, 9)).unwrap();
    other.lock().unwrap();
    world.sidecars[0].shard.lock().epoch = 9;
    eventually(PATIENCE, "it gives way", async || !leads(&coordinator).await).await;
    assert_eq!(world.sidecars[0].shard.lock().epoch, 9);
    eventually(PATIENCE, "it does not name itself as the leader any more", async || {
        coordinator.data("/api/v1/leader").await["holder"].is_null()
    })
    .await;
    coordinator.stop().await;
}
