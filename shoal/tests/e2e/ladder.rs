//! Shards that are not needed any more go down the ladder, and leave nothing that is not in the bucket.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;
use testkit::eventually;

use crate::system::{PATIENCE, System};

const TARGETS: u64 = 5;

#[tokio::test]
async fn a_shard_that_is_not_needed_goes_once_its_head_is_in_the_bucket() {
    let arguments = [
        "--targets=4",
        "--series-per-target=1000",
        "--shard.max-series=2800",
        "--coordinator.arg=--shard.max-idle-time=20s",
    ];
    let mut system = System::start(&arguments, TARGETS).await;
    system.until_settled(TARGETS, 1).await;
    let before = system.shards().await.unwrap().len();
    assert!(before > 1, "{before} shards");
    for generator in system.generators() {
        system.resize(&generator, 100).await;
    }
    eventually(PATIENCE, "one shard is left", async || {
        let shards = system.shards().await?;
        let states: Vec<&str> =
            shards.iter().map(|shard| shard["state"].as_str().unwrap_or_default()).collect();
        if states == ["active"] { Ok(()) } else { Err(format!("{states:?}")) }
    })
    .await;
    system.until_settled(TARGETS, 1).await;
    system.until_up(TARGETS).await;

    let kinds: Vec<Value> =
        system.events().await.iter().map(|event| event["kind"].clone()).collect();
    for wanted in ["drain_begun", "move_finished", "ship", "scale_down", "shard_removed"] {
        assert!(kinds.iter().any(|kind| kind == wanted), "no {wanted} in {kinds:?}");
    }
    let bucket = blocks(&system.data_dir().join("bucket"));
    let removed: BTreeSet<String> = (1..before).map(|ordinal| ordinal.to_string()).collect();
    let in_bucket: BTreeSet<String> = bucket
        .iter()
        .map(|meta| meta["thanos"]["labels"]["prometheus_shard"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(in_bucket, removed, "the shard that stays keeps its head to itself");
    for shard in &removed {
        // What went away had scraped for a while before; all of it is in one block, up to its last sample.
        let of_shard: Vec<&Value> = bucket
            .iter()
            .filter(|meta| meta["thanos"]["labels"]["prometheus_shard"] == shard.as_str())
            .collect();
        assert_eq!(of_shard.len(), 1, "{of_shard:?}");
        let samples = of_shard[0]["stats"]["numSamples"].as_u64().unwrap();
        assert!(samples > 1000, "{samples} samples of shard {shard}");
    }
    let shards = system.data_dir().join("coordinator/shards");
    let folders: BTreeSet<String> = fs::read_dir(shards)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    for shard in &removed {
        let aside = format!("0-{shard}.shipped-");
        assert!(folders.iter().any(|name| name.starts_with(&aside)), "{folders:?}");
        assert!(!folders.contains(&format!("0-{shard}")), "{folders:?}");
    }
    assert!(system.stop().await);
}

/// The descriptions of all blocks of a bucket that is a folder.
fn blocks(bucket: &Path) -> Vec<Value> {
    let metas = fs::read_dir(bucket).unwrap().filter_map(|entry| {
        let meta = fs::read(entry.unwrap().path().join("meta.json")).ok()?;
        Some(serde_json::from_slice(&meta).unwrap())
    });
    metas.collect()
}
