//! What is around the coordinator: files of targets, sidecars, and one server that answers for all targets.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use proto::convert::labels_to_coordination;
use proto::coordination::{Target, TargetState};
use tempfile::TempDir;

use crate::child::Child;
use crate::sidecars::Sidecar;

const TARGETS_PER_SHARD: usize = 500;
const SERIES: u64 = 50;
/// Targets of one group of a file, and groups of a file.
const GROUP: usize = 20;
const FILE: usize = 10_000;
/// The job, and where its targets serve: `/metrics` is the server's own.
const CONFIG: &str = "global:\n  scrape_interval: 30s\nscrape_configs:\n  - job_name: pods\n    metrics_path: /page\n    \
                      file_sd_configs:\n      - files: ['targets-*.json']\n";

/// Twenty-five to seventy-five series, for want of a real target's.
pub(crate) fn size(id: u64) -> u64 {
    SERIES / 2 + id.wrapping_mul(0x9e37_79b9_7f4a_7c15) % (SERIES + 1)
}

pub(crate) struct World {
    folder: TempDir,
    sidecars: Vec<Sidecar>,
    port: u16,
    ctx: svc::Context,
}

impl World {
    /// Writes the files and starts the sidecars; `held`: these hold everything already.
    pub(crate) async fn start(targets: usize, held: bool) -> anyhow::Result<Self> {
        let ctx = svc::Context::new();
        let mut page = String::new();
        for series in 0..SERIES {
            writeln!(page, "some_metric{{number=\"{series}\"}} 1")?;
        }
        let routes = Router::new().route("/page", get(move || std::future::ready(page.clone())));
        let any = SocketAddr::from(([0, 0, 0, 0], 0));
        let port = svc::http::serve(any, Duration::from_secs(1), routes, &ctx).await?.port();
        let folder = tempfile::tempdir()?;
        let mut world = Self { folder, sidecars: Vec::new(), port, ctx };
        std::fs::write(world.path("prometheus.yml"), CONFIG)?;
        world.add(0, targets)?;
        let shards = targets / TARGETS_PER_SHARD;
        let mut shares: Vec<Vec<Target>> = vec![Vec::new(); shards];
        if held {
            for (at, target) in world.targets(targets)?.into_iter().enumerate() {
                shares[at % shards].push(target);
            }
        }
        let mut list = "replicas:\n  - shards:\n".to_owned();
        for (share, ordinal) in shares.into_iter().zip(0..) {
            let sidecar = Sidecar::start(share.into_iter(), ordinal, &world.ctx).await?;
            writeln!(list, "      - scraperSidecar: {}", sidecar.address)?;
            world.sidecars.push(sidecar);
        }
        std::fs::write(world.path("shards.yaml"), list)?;
        Ok(world)
    }

    pub(crate) async fn stop(self) {
        self.ctx.shutdown.trigger();
        // Whatever has not ended by then ends with the process.
        drop(self.ctx.tasks.join(Duration::from_secs(10)).await);
    }

    pub(crate) fn shards(&self) -> usize {
        self.sidecars.len()
    }

    pub(crate) fn flags(&self) -> Vec<String> {
        vec![
            "--shard.backend=static".to_owned(),
            "--http-address=127.0.0.1:0".to_owned(),
            "--shard.max-series=30000".to_owned(),
            format!("--config.file={}", self.path("prometheus.yml").display()),
            format!("--shard.static-file={}", self.path("shards.yaml").display()),
            format!("--data-dir={}", self.path("data").display()),
        ]
    }

    /// Adds so many targets to the files, from that number on.
    pub(crate) fn add(&self, from: usize, count: usize) -> anyhow::Result<()> {
        let groups: Vec<_> = (from..from + count).step_by(GROUP).collect();
        for (file, groups) in groups.chunks(FILE / GROUP).enumerate() {
            let groups: Vec<_> = groups
                .iter()
                .map(|first| {
                    let addresses: Vec<_> = self.group(*first, from + count).collect();
                    serde_json::json!({"targets": addresses, "labels": labels(*first)})
                })
                .collect();
            let path = self.path(&format!("targets-{from}-{file}.json"));
            svc::durable::write(&path, &serde_json::to_vec(&groups)?)?;
        }
        Ok(())
    }

    /// Until every sidecar has been handed something by this coordinator, and all of them hold that many together.
    pub(crate) async fn wait_until_held(
        &self,
        child: &Child,
        targets: usize,
    ) -> anyhow::Result<()> {
        child
            .wait_for(async || {
                let held: Vec<(usize, u64)> = self.sidecars.iter().map(Sidecar::holds).collect();
                let all: usize = held.iter().map(|(targets, _)| targets).sum();
                Ok(all == targets && held.iter().all(|(_, epoch)| *epoch > 1 || self.is_new()))
            })
            .await
    }

    /// Whether the shards began empty.
    fn is_new(&self) -> bool {
        self.shards() * TARGETS_PER_SHARD <= crate::COUNTED
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn group(&self, first: usize, end: usize) -> impl Iterator<Item = String> {
        let port = self.port;
        (first..(first + GROUP).min(end)).map(move |at| {
            // All of 127.0.0.0/8 is this machine.
            let [_, a, b, c] = u32::try_from(at + 256).unwrap_or_default().to_be_bytes();
            format!("127.{a}.{b}.{c}:{port}")
        })
    }

    /// As a shard holds them.
    fn targets(&self, count: usize) -> anyhow::Result<Vec<Target>> {
        let config = promconf::load(&self.path("prometheus.yml"))?;
        let mut targets = Vec::with_capacity(count);
        for first in (0..count).step_by(GROUP) {
            let addresses = self.group(first, count).collect();
            let group = promconf::TargetGroup {
                source: String::new(),
                targets: addresses,
                labels: labels(first),
            };
            for populated in promconf::target::populate_group(&config.scrape_configs[0], &group) {
                let promconf::target::Populated::Active(target) = populated? else { continue };
                targets.push(Target {
                    id: target.id,
                    job: target.job.to_string(),
                    labels: labels_to_coordination(&target.labels),
                    state: TargetState::Active.into(),
                    series: size(target.id),
                    churn_per_hour: None,
                });
            }
        }
        Ok(targets)
    }
}

/// Of a group: what pods of a deployment have in common.
fn labels(first: usize) -> BTreeMap<String, String> {
    let app = first / GROUP;
    BTreeMap::from([
        ("namespace".to_owned(), format!("team-{}", app % 200)),
        ("app".to_owned(), format!("service-{app}")),
        ("cluster".to_owned(), "europe-west-1".to_owned()),
    ])
}
