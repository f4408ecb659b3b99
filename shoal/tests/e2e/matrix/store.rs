//! What is in the bucket, for query: a store, as far as this test needs one. A Prometheus that scrapes nothing, on copies
//! of the blocks of the shard that comes and goes, with a thanos-sidecar.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use testkit::prometheus::{Prometheus, PrometheusConfig, PrometheusOptions};
use testkit::{eventually, free_port};

use super::fleet::Fleet;
use crate::system::PATIENCE;

/// The labels of all blocks that it may show.
const LABELS: [(&str, &str); 2] = [("prometheus_replica", "0"), ("prometheus_shard", "1")];

pub(super) struct Store {
    bucket: PathBuf,
    prometheus: Prometheus,
}

impl Store {
    /// Starts it, without a block.
    pub(super) async fn start(bucket: PathBuf) -> Self {
        let labels = LABELS.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let prometheus = Prometheus::start(PrometheusOptions {
            config: PrometheusConfig::ExternalLabels(labels.to_vec()),
            // Blocks stay as they are.
            args: ["--storage.tsdb.min-block-duration=2h", "--storage.tsdb.max-block-duration=2h"]
                .map(str::to_owned)
                .to_vec(),
            ..PrometheusOptions::default()
        });
        Self { bucket, prometheus: prometheus.await }
    }

    /// The arguments of its thanos-sidecar, which listens on that port.
    pub(super) fn sidecar_arguments(&self, port: u16) -> Vec<String> {
        vec![
            "thanos-sidecar".to_owned(),
            format!("--http-address=127.0.0.1:{}", free_port()),
            format!("--grpc-address=127.0.0.1:{port}"),
            format!("--prometheus.url={}", self.prometheus.url()),
            format!("--tsdb.path={}", self.prometheus.data_dir().display()),
            "--prometheus.get_config_interval=1s".to_owned(),
        ]
    }

    /// Takes what has come into the bucket, and waits until query shows what was scraped there after that time.
    pub(super) async fn take(&mut self, fleet: &Fleet, since: f64) {
        self.prometheus.stop().await;
        for block in blocks(&self.bucket) {
            let copy = self.prometheus.data_dir().join(block.file_name().unwrap());
            if !copy.exists() {
                copy_folder(&block, &copy);
            }
        }
        self.prometheus.start_again().await;
        let window = (super::samples::now() - since).floor();
        let query = format!("count_over_time(up{{prometheus_shard=\"1\"}}[{window}s])");
        eventually(PATIENCE, "query shows what is in the bucket", async || {
            let found = fleet.instant(&query, &[("dedup", "false")]).await?;
            if found.is_empty() { Err("nothing is there".to_owned()) } else { Ok(()) }
        })
        .await;
    }

    /// No sample is in the bucket more than once.
    pub(super) fn has_nothing_twice(&self) {
        let mut times: Vec<(i64, i64)> = Vec::new();
        for block in blocks(&self.bucket) {
            let meta = fs::read(block.join("meta.json")).unwrap();
            let meta: Value = serde_json::from_slice(&meta).unwrap();
            for (name, value) in LABELS {
                assert_eq!(meta["thanos"]["labels"][name], value, "{meta}");
            }
            times.push((meta["minTime"].as_i64().unwrap(), meta["maxTime"].as_i64().unwrap()));
        }
        times.sort_unstable();
        assert!(!times.is_empty(), "nothing is in the bucket");
        assert!(times.windows(2).all(|pair| pair[0].1 <= pair[1].0), "blocks overlap: {times:?}");
    }
}

/// Those that can be seen.
fn blocks(bucket: &Path) -> Vec<PathBuf> {
    let folders = fs::read_dir(bucket).unwrap().map(|entry| entry.unwrap().path());
    folders.filter(|folder| folder.join("meta.json").exists()).collect()
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let copy = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &copy);
        } else {
            fs::copy(entry.path(), copy).unwrap();
        }
    }
}
