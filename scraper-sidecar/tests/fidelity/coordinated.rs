//! A coordinator with sidecars as its shards, all in this process, that meet over gRPC as they do elsewhere.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser;
use serde_json::Value;
use tempfile::TempDir;

use crate::shard::{self, Shard};

/// Every page that a coordinator answers GET with.
const PAGES: &[&str] = &[
    "/api/v1/targets",
    "/api/v1/targets?state=dropped",
    "/api/v1/targets/top",
    "/api/v1/shards",
    "/api/v1/unassigned",
    "/api/v1/events?after=0",
    "/api/v1/leader",
    "/api/v1/plan",
    "/api/v1/moves",
    "/api/v1/jobs",
    "/api/v1/status/tsdb",
    "/api/v1/snapshot",
    "/api/v1/stop-scrape",
    "/metrics",
    "/debug",
    "/-/ready",
];

#[derive(Debug, Parser)]
struct Cli {
    #[command(flatten)]
    args: coordinator::Args,
}

pub(crate) struct Coordinated {
    folder: TempDir,
    pub(crate) shards: Vec<Shard>,
    http: SocketAddr,
    ctx: svc::Context,
    client: reqwest::Client,
}

impl Coordinated {
    /// So many shards, without a Prometheus yet, and a coordinator of the file.
    pub(crate) async fn start(config: &Path, shards: usize, flags: &[&str]) -> Self {
        let base = config.parent().unwrap();
        let mut sidecars = Vec::new();
        for number in 0..shards {
            sidecars.push(Shard::start_as(base, number).await);
        }
        let folder = tempfile::tempdir().unwrap();
        let mut list = "replicas:\n- shards:\n".to_owned();
        for shard in &sidecars {
            let (sidecar, prometheus) = (shard.grpc(), shard.prometheus_port);
            writeln!(
                list,
                "  - {{scraperSidecar: '{sidecar}', prometheus: 'http://127.0.0.1:{prometheus}'}}"
            )
            .unwrap();
        }
        fs::write(folder.path().join("shards.yaml"), list).unwrap();
        let ctx = svc::Context::new();
        let running =
            coordinator::run(settings(config, folder.path(), flags), ctx.clone()).await.unwrap();
        let client = svc::http::client(Duration::from_secs(30)).unwrap();
        Self { folder, shards: sidecars, http: running.http, ctx, client }
    }

    pub(crate) async fn get(&self, path: &str) -> Result<String, String> {
        let url = format!("http://{}{path}", self.http);
        let answer = self.client.get(url).send().await.map_err(|error| svc::chain(&error))?;
        answer.text().await.map_err(|error| svc::chain(&error))
    }

    /// `data` of an answer of the API.
    pub(crate) async fn data(&self, path: &str) -> Result<Value, String> {
        let body = self.get(path).await?;
        let mut answer: Value =
            serde_json::from_str(&body).map_err(|error| format!("{error}: {body}"))?;
        Ok(answer["data"].take())
    }

    /// What `POST /-/reload` says: "" when the file is taken.
    pub(crate) async fn reload(&self) -> String {
        let url = format!("http://{}/-/reload", self.http);
        let answer = self.client.post(url).send().await.unwrap();
        let taken = answer.status().is_success();
        let text = answer.text().await.unwrap();
        if taken { String::new() } else { text }
    }

    /// All that it says to others.
    pub(crate) async fn said(&self) -> String {
        let mut said = String::new();
        for page in PAGES {
            said.push_str(&self.get(page).await.unwrap());
        }
        for shard in &self.shards {
            said.push_str(&shard.said().await);
        }
        said
    }

    /// Every file that it has written itself.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        shard::files_below(self.folder.path())
    }

    pub(crate) async fn stop(self) {
        self.ctx.shutdown.trigger();
        self.ctx.tasks.join(Duration::from_secs(30)).await.unwrap();
        for shard in self.shards {
            shard.stop().await;
        }
    }
}

/// Checked flags.
fn settings(config: &Path, folder: &Path, flags: &[&str]) -> coordinator::Config {
    let own = [
        "coordinator".to_owned(),
        "--shard.backend=static".to_owned(),
        "--http-address=127.0.0.1:0".to_owned(),
        format!("--config.file={}", config.display()),
        format!("--shard.static-file={}", folder.join("shards.yaml").display()),
        format!("--data-dir={}", folder.join("data").display()),
    ];
    let all = own.into_iter().chain(flags.iter().map(|flag| (*flag).to_owned()));
    Cli::parse_from(all).args.try_into().unwrap()
}
