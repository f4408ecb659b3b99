//! A coordinator with played sidecars and real HTTP targets.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use coordinator::{Args, Config};
use serde_json::Value;
use tempfile::TempDir;
use testkit::target::Target;

use crate::fake::FakeSidecar;

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Parser)]
struct Cli {
    #[command(flatten)]
    args: Args,
}

/// The world around a coordinator: it survives when the coordinator is restarted.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) folder: TempDir,
    pub(crate) sidecars: Vec<FakeSidecar>,
    pub(crate) targets: Vec<Target>,
    pub(crate) sidecars_ctx: svc::Context,
    client: reqwest::Client,
}

/// A running coordinator.
#[derive(Debug)]
pub(crate) struct Coordinator {
    pub(crate) http: SocketAddr,
    ctx: svc::Context,
    client: reqwest::Client,
}

/// A page of that many series.
pub(crate) fn page(series: usize) -> String {
    let mut page = String::new();
    for i in 0..series {
        writeln!(page, "metric{{n=\"{i}\"}} {i}").unwrap();
    }
    page
}

impl World {
    /// So many sidecars of one replica group, and targets with so many series each.
    pub(crate) async fn new(sidecars: usize, series: &[usize]) -> Self {
        testkit::init();
        let sidecars_ctx = svc::Context::new();
        let mut world = Self {
            folder: tempfile::tempdir().unwrap(),
            sidecars: Vec::new(),
            targets: Vec::new(),
            sidecars_ctx,
            client: svc::http::client(Duration::from_secs(10)).unwrap(),
        };
        for _ in 0..sidecars {
            let sidecar = FakeSidecar::start(&world.sidecars_ctx).await;
            world.sidecars.push(sidecar);
        }
        for series in series {
            world.targets.push(Target::start(page(*series)).await);
        }
        world.write_shards(sidecars, 1);
        world.write_config("");
        world
    }

    /// The first `count` sidecars, in so many replica groups of equal size.
    pub(crate) fn write_shards(&self, count: usize, groups: usize) {
        let mut text = "replicas:\n".to_owned();
        for group in self.sidecars[..count].chunks((count / groups).max(1)) {
            text.push_str("  - shards:\n");
            for sidecar in group {
                writeln!(text, "      - scraperSidecar: {}", sidecar.address).unwrap();
            }
        }
        std::fs::write(self.folder.path().join("shards.yaml"), text).unwrap();
    }

    pub(crate) fn config_file(&self) -> PathBuf {
        self.folder.path().join("prometheus.yml")
    }

    /// All targets in one job; `more` are further lines of it.
    pub(crate) fn write_config(&self, more: &str) {
        let addresses: Vec<&str> = self.targets.iter().map(Target::address).collect();
        self.write_config_for(&addresses, more);
    }

    pub(crate) fn write_config_for(&self, addresses: &[&str], more: &str) {
        let text = format!(
            "global:\n  scrape_interval: 15s\nscrape_configs:\n  - job_name: pods\n    scrape_timeout: 2s\n{more}    \
             static_configs:\n      - targets: {addresses:?}\n"
        );
        svc::durable::write(&self.config_file(), text.as_bytes()).unwrap();
    }

    pub(crate) fn config(&self, arguments: &[&str]) -> Config {
        let path = |name: &str| self.folder.path().join(name).display().to_string();
        let mut all = vec![
            "coordinator".to_owned(),
            "--shard.backend=static".to_owned(),
            "--http-address=127.0.0.1:0".to_owned(),
            "--coordinator.interval=100ms".to_owned(),
            format!("--config.file={}", path("prometheus.yml")),
            format!("--shard.static-file={}", path("shards.yaml")),
            format!("--data-dir={}", path("data")),
        ];
        if !arguments.iter().any(|argument| argument.starts_with("--coordinator.shard-timeout")) {
            all.push("--coordinator.shard-timeout=1s".to_owned());
        }
        all.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        Config::try_from(Cli::parse_from(all).args).unwrap()
    }

    pub(crate) async fn coordinator(&self, arguments: &[&str]) -> Coordinator {
        let ctx = svc::Context::new();
        let running = coordinator::run(self.config(arguments), ctx.clone()).await.unwrap();
        Coordinator { http: running.http, ctx, client: self.client.clone() }
    }

    /// Which sidecar owns each target, by place; `None` while it has no single active owner.
    pub(crate) fn owners(&self) -> Vec<Option<usize>> {
        let owner = |target: &Target| {
            let holders: Vec<(usize, _)> = self
                .sidecars
                .iter()
                .enumerate()
                .filter_map(|(i, sidecar)| Some((i, sidecar.state_of(target.address())?)))
                .collect();
            match holders.as_slice() {
                [(i, proto::coordination::TargetState::Active)] => Some(*i),
                _ => None,
            }
        };
        self.targets.iter().map(owner).collect()
    }

    pub(crate) fn all_owned(&self) -> bool {
        self.owners().iter().all(Option::is_some)
    }
}

impl Coordinator {
    pub(crate) async fn get(&self, path: &str) -> (u16, String) {
        let url = format!("http://{}{path}", self.http);
        let response = self.client.get(url).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    /// `data` of an answer of the API.
    pub(crate) async fn data(&self, path: &str) -> Value {
        let (status, body) = self.get(path).await;
        let mut answer: Value = serde_json::from_str(&body).unwrap();
        assert_eq!((status, answer["status"].as_str()), (200, Some("success")), "{body}");
        answer["data"].take()
    }

    pub(crate) async fn post(&self, path: &str) -> (u16, String) {
        let url = format!("http://{}{path}", self.http);
        let response = self.client.post(url).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    /// The value of a metric's line; 0 when there is none.
    pub(crate) async fn metric(&self, line: &str) -> f64 {
        let (_, page) = self.get("/metrics").await;
        let found = page.lines().find_map(|candidate| candidate.strip_prefix(line));
        found.map_or(0.0, |value| value.trim().parse().unwrap())
    }

    pub(crate) async fn events(&self, kind: &str) -> Vec<String> {
        let data = self.data("/api/v1/events").await;
        let events = data["events"].as_array().unwrap().iter();
        let wanted = events.filter(|event| event["kind"].as_str().unwrap().starts_with(kind));
        wanted.map(|event| event["message"].as_str().unwrap().to_owned()).collect()
    }

    /// As after SIGTERM.
    pub(crate) async fn stop(self) {
        self.ctx.shutdown.trigger();
        self.ctx.tasks.join(PATIENCE).await.unwrap();
    }
}
