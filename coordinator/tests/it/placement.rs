//! Placement rules: pins and what is kept apart, from the file to the shards.

use coordinator::forecast::{self, Request};
use proto::coordination::TargetState;
use serde_json::json;
use testkit::eventually;
use testkit::target::Target;

use crate::fake::FakeSidecar;
use crate::seeing::{forecast as forecast_of, request};
use crate::system::{PATIENCE, World};

/// The first `count` targets in the job `db`, the others in `web`, all of one cluster.
fn write_jobs(world: &World, count: usize) {
    let addresses = |targets: &[Target]| -> Vec<String> {
        targets.iter().map(|target| target.address().to_owned()).collect()
    };
    let (db, web) = world.targets.split_at(count);
    let text = format!(
        "global:\n  scrape_interval: 15s\nscrape_configs:\n  - job_name: db\n    static_configs:\n      - targets: {:?}\n  - \
         job_name: web\n    static_configs:\n      - targets: {:?}\n        labels: {{cluster: a}}\n",
        addresses(db),
        addresses(web),
    );
    svc::durable::write(&world.config_file(), text.as_bytes()).unwrap();
}

/// Returns the flag that names the file.
fn write_rules(world: &World, rules: &str) -> String {
    let path = world.folder.path().join("placement.yml");
    svc::durable::write(&path, rules.as_bytes()).unwrap();
    format!("--placement.config-file={}", path.display())
}

/// Whether a sidecar has a target, in whatever state.
fn has(sidecar: &FakeSidecar, target: &Target) -> bool {
    sidecar.state_of(target.address()).is_some()
}

#[tokio::test]
async fn pins_and_what_is_kept_apart_hold_and_are_followed_after_a_reload() {
    let world = World::new(4, &[20, 20, 20, 20, 20]).await;
    write_jobs(&world, 2);
    let web = "- {name: web, job: web, spread: {by: cluster, required: true}}";
    let flag = write_rules(
        &world,
        &format!("rules:\n- {{name: db, job: db, pin: {{shards: [3], exclusive: true}}}}\n{web}"),
    );
    let coordinator = world.coordinator(&[&flag]).await;
    eventually(PATIENCE, "every target has an owner", async || world.all_owned()).await;
    let owners: Vec<usize> = world.owners().into_iter().flatten().collect();
    assert_eq!(owners[..2], [3, 3]);
    let mut apart = owners[2..].to_vec();
    apart.sort_unstable();
    assert_eq!(apart, [0, 1, 2], "one each, and none on the exclusive shard");
    let rules = coordinator.data("/api/v1/plan").await["inputs"]["rules"].clone();
    assert_eq!(
        rules,
        json!([
            {"name": "db", "targets": 2, "pinned": "3", "exclusive": true},
            {"name": "web", "targets": 3, "exclusive": false, "spread": "required"},
        ])
    );
    // A file that makes no sense is refused, names the place, and changes nothing.
    write_rules(&world, "rules:\n- {name: db, job: db, pin: {shards: [one]}}");
    let (status, body) = coordinator.post("/-/reload").await;
    assert!(status >= 400, "{body}");
    assert!(body.contains("placement.yml: rule 1 (\"db\"): pin: \"one\" is none of"), "{body}");
    // Pinned elsewhere they move, and the old shard lets go last.
    write_rules(&world, &format!("rules:\n- {{name: db, job: db, pin: {{shards: [0-1]}}}}\n{web}"));
    assert_eq!(coordinator.post("/-/reload").await.0, 200);
    eventually(PATIENCE, "the pins are followed", async || {
        world.all_owned() && world.owners()[..2].iter().all(|owner| owner.unwrap() < 2)
    })
    .await;
    let left = &world.sidecars[3].shard.lock().history.clone();
    for target in &world.targets[..2] {
        let leaving = |held: &Vec<(String, TargetState)>| {
            held.contains(&(target.address().to_owned(), TargetState::Leaving))
        };
        assert!(left.iter().any(leaving), "{left:?}");
    }
    let begun = coordinator.events("move_begun").await;
    assert!(begun.iter().any(|event| event.contains("placement rule 1 has it on")), "{begun:?}");
    let shards = |target: &Target| world.sidecars.iter().filter(|s| has(s, target)).count();
    assert!(world.targets.iter().all(|target| shards(target) == 1));
    coordinator.stop().await;
}

#[tokio::test]
async fn what_no_shard_may_have_is_listed_with_its_rule() {
    let world = World::new(2, &[20, 20, 20]).await;
    write_jobs(&world, 1);
    let flag = write_rules(
        &world,
        "rules:
- {name: far, job: db, pin: {shards: [7-]}}
- {name: alone, job: web, pin: {shards: [1]}, spread: {required: true}}",
    );
    let coordinator = world.coordinator(&[&flag]).await;
    let refused = eventually(PATIENCE, "two are not scraped", async || {
        let refused = coordinator.data("/api/v1/plan").await["unassigned"].clone();
        let mut refused: Vec<(String, String)> = refused
            .as_array()
            .unwrap()
            .iter()
            .map(|one| (one["kind"].to_string(), one["reason"].to_string()))
            .filter(|(kind, _)| kind != "\"sizing\"")
            .collect();
        refused.sort();
        (refused.len() == 2).then_some(refused)
    })
    .await;
    assert_eq!((&*refused[0].0, &*refused[1].0), ("\"apart\"", "\"pinned_nowhere\""));
    assert!(refused[0].1.contains("placement rule \\\"alone\\\" keeps it apart"), "{refused:?}");
    assert!(refused[1].1.contains("placement rule \\\"far\\\" pins it to"), "{refused:?}");
    let metric = "shoal_coordinator_unassigned_targets{reason=\"apart\"}";
    eventually(PATIENCE, "a metric says so", async || coordinator.metric(metric).await > 0.5).await;
    coordinator.stop().await;
}

#[tokio::test]
async fn a_forecast_follows_placement_rules() {
    let mut world = World::new(0, &[20, 20, 20, 20]).await;
    world.sidecars.clear();
    write_jobs(&world, 1);
    write_rules(
        &world,
        "rules:
- {name: db, job: db, pin: {shards: [2], exclusive: true}}
- {name: web, job: web, spread: {by: cluster, required: true}}",
    );
    let placement_file = Some(world.folder.path().join("placement.yml"));
    let found = forecast_of(Request { placement_file, ..request(&world, 1_000) }).await;
    // Three that are kept apart, and the exclusive shard among them.
    assert_eq!(found.shards_per_group, [4]);
    assert!(found.unassigned.is_empty(), "{found:?}");
    let targets: Vec<usize> = found.shards.iter().map(|shard| shard.targets).collect();
    assert_eq!(targets, [1; 4]);
    let missing = Some(world.folder.path().join("none.yml"));
    let ctx = svc::Context::new();
    let request = Request { placement_file: missing, ..request(&world, 1_000) };
    let error = format!("{:#}", forecast::run(request, &ctx).await.unwrap_err());
    assert!(error.contains("--placement.config-file") && error.contains("none.yml"), "{error}");
}
