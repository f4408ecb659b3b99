//! Two shards that the test itself runs, behind lines that it can cut, and a coordinator.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use svc::child::{Spec, Supervisor};
use tempfile::TempDir;
use testkit::prometheus::{Prometheus, PrometheusConfig, PrometheusOptions};
use testkit::target::Target;
use testkit::{eventually, free_port};

use super::line::Line;
use crate::matrix::fleet::{INTERVAL, page};
use crate::matrix::samples::{self, Outage, now};
use crate::system::{PATIENCE, processes_of, show_logs, signal};

/// How long a dead shard keeps its targets, in seconds.
pub(super) const GRACE: f64 = 6.0;

/// That many starts of a Prometheus are a crash loop.
pub(super) const QUARANTINE_RESTARTS: u64 = 5;

const TARGETS: usize = 3;
const SERIES: usize = 100;

/// A Prometheus with its scraper-sidecar.
#[derive(Debug)]
pub(super) struct Shard {
    pub(super) engine: Prometheus,
    /// Between the coordinator and the two.
    to_sidecar: Line,
    to_engine: Line,
}

impl Shard {
    /// The network between the coordinator and the shard goes.
    pub(super) fn cut_off(&self) {
        self.to_sidecar.cut();
        self.to_engine.cut();
    }

    pub(super) fn reconnect(&self) {
        self.to_sidecar.mend();
        self.to_engine.mend();
    }
}

/// Killed with all that it has started when dropped.
pub(super) struct World {
    folder: TempDir,
    targets: Vec<Target>,
    pub(super) shards: Vec<Shard>,
    supervisor: Supervisor,
    coordinator_port: u16,
    client: reqwest::Client,
}

impl World {
    /// Starts it and waits until every target has an owner that scrapes it.
    pub(super) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut targets = Vec::new();
        for _ in 0..TARGETS {
            targets.push(Target::start(page(SERIES)).await);
        }
        let children = folder.path().join("children.json");
        let mut world = Self {
            supervisor: Supervisor::open(&children, &svc::Shutdown::default()).unwrap(),
            folder,
            targets,
            shards: Vec::new(),
            coordinator_port: free_port(),
            client: svc::http::client(Duration::from_secs(20)).unwrap(),
        };
        world.write_configuration();
        for number in 0..2 {
            let shard = world.start_shard(number).await;
            world.shards.push(shard);
        }
        world.start_coordinator();
        world.until_state(0, "active").await;
        world.until_state(1, "active").await;
        world.until_owned_by(0).await;
        world.until_scraped(0, now()).await;
        world
    }

    fn write_configuration(&self) {
        let addresses: Vec<&str> = self.targets.iter().map(Target::address).collect();
        let interval = format!("{INTERVAL}s");
        let configuration = json!({
            "global": {"scrape_interval": interval, "scrape_timeout": interval},
            "scrape_configs": [{"job_name": "app", "static_configs": [{"targets": addresses}]}],
        });
        fs::write(self.path("prometheus.yml"), configuration.to_string()).unwrap();
    }

    async fn start_shard(&self, number: usize) -> Shard {
        let (prometheus, grpc) = (free_port(), free_port());
        let folder = self.path(&format!("shard-{number}"));
        fs::create_dir(&folder).unwrap();
        let output = folder.join("prometheus.yml");
        let arguments = vec![
            "scraper-sidecar".to_owned(),
            format!("--http-address=127.0.0.1:{}", free_port()),
            format!("--grpc-address=127.0.0.1:{grpc}"),
            format!("--prometheus.url=http://127.0.0.1:{prometheus}"),
            format!("--data-dir={}", folder.display()),
            format!("--config.output-file={}", output.display()),
            format!("--label=prometheus_shard=\"{number}\""),
        ];
        self.spawn(&format!("sidecar-{number}"), arguments);
        eventually(PATIENCE, "the shard's configuration", async || output.exists()).await;
        let engine = Prometheus::start(PrometheusOptions {
            config: PrometheusConfig::File(output),
            port: Some(prometheus),
            ..PrometheusOptions::default()
        });
        Shard {
            engine: engine.await,
            to_sidecar: Line::to(grpc).await,
            to_engine: Line::to(prometheus).await,
        }
    }

    fn start_coordinator(&self) {
        let shards: Vec<Value> = self
            .shards
            .iter()
            .map(|shard| {
                let prometheus = format!("http://{}", shard.to_engine.address);
                json!({"scraperSidecar": shard.to_sidecar.address, "prometheus": prometheus})
            })
            .collect();
        let list = json!({"replicas": [{"shards": shards}]});
        fs::write(self.path("shards.yaml"), list.to_string()).unwrap();
        let arguments = [
            "coordinator",
            &format!("--config.file={}", self.path("prometheus.yml").display()),
            &format!("--http-address=127.0.0.1:{}", self.coordinator_port),
            &format!("--data-dir={}", self.path("data").display()),
            "--shard.backend=static",
            &format!("--shard.static-file={}", self.path("shards.yaml").display()),
            "--shard.max-series=1000",
            &format!("--shard.grace={GRACE}s"),
            &format!("--shard.quarantine-restarts={QUARANTINE_RESTARTS}"),
            "--shard.quarantine-release=3s",
            "--coordinator.interval=1s",
            "--coordinator.shard-timeout=1s",
        ];
        self.spawn("coordinator", arguments.map(str::to_owned).to_vec());
    }

    fn spawn(&self, name: &str, arguments: Vec<String>) {
        let spec = Spec {
            name: name.to_owned(),
            program: env!("CARGO_BIN_EXE_shoal").into(),
            arguments,
            env: Vec::new(),
            log_file: self.path(&format!("{name}.log")),
            stop_within: Duration::from_secs(30),
        };
        self.supervisor.start(spec).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A signal for a shard's sidecar.
    pub(super) fn signal_sidecar(&self, shard: usize, what: Signal) {
        let name = format!("sidecar-{shard}");
        let children = self.supervisor.status();
        let sidecar = children.iter().find(|child| child.name == name).unwrap();
        signal(sidecar.pid.unwrap(), what);
    }

    /// Waits until so many seconds have gone by since.
    pub(super) async fn until_over(&self, since: f64, seconds: f64) {
        eventually(PATIENCE, "time goes by", async || now() > since + seconds).await;
    }

    pub(super) async fn until_state(&self, shard: usize, state: &str) {
        eventually(PATIENCE, &format!("shard {shard} is {state}"), async || {
            let shards = self.ask("/api/v1/shards").await?;
            let found = &shards["shards"][shard];
            if found["state"] == state { Ok(()) } else { Err(found.to_string()) }
        })
        .await;
    }

    pub(super) async fn state(&self, shard: usize) -> Value {
        self.ask("/api/v1/shards").await.unwrap()["shards"][shard]["state"].clone()
    }

    /// How often the coordinator has seen a shard's Prometheus start anew.
    pub(super) async fn until_restarts(&self, shard: usize, count: u64) {
        eventually(PATIENCE, &format!("{count} restarts of shard {shard}"), async || {
            let shards = self.ask("/api/v1/shards").await?;
            let found = &shards["shards"][shard];
            if found["restarts"] == count { Ok(()) } else { Err(found.to_string()) }
        })
        .await;
    }

    pub(super) async fn restarts(&self, shard: usize) -> u64 {
        let shards = self.ask("/api/v1/shards").await.unwrap();
        shards["shards"][shard]["restarts"].as_u64().unwrap()
    }

    /// Waits until that shard alone has every target.
    pub(super) async fn until_owned_by(&self, shard: usize) {
        let wanted = format!("0-{shard}");
        eventually(PATIENCE, &format!("shard {wanted} has all targets"), async || {
            let owners = self.owners().await?;
            if owners.iter().all(|owner| *owner == wanted) {
                Ok(())
            } else {
                Err(format!("{owners:?}"))
            }
        })
        .await;
    }

    /// Waits until every target has one owner and none moves; the owners.
    pub(super) async fn until_owned_once(&self) -> BTreeSet<String> {
        let owners = eventually(PATIENCE, "one owner each", async || self.owners().await).await;
        owners.into_iter().collect()
    }

    /// Of every target the one owner.
    async fn owners(&self) -> Result<Vec<String>, String> {
        let data = self.ask("/api/v1/targets?state=active").await?;
        let targets = data["activeTargets"].as_array().cloned().unwrap_or_default();
        let owner = |target: &Value| match target["shards"].as_array()?.as_slice() {
            [only] if only["state"] == "active" => only["id"].as_str().map(str::to_owned),
            _ => None,
        };
        let owners: Vec<String> = targets.iter().filter_map(owner).collect();
        if owners.len() == TARGETS { Ok(owners) } else { Err(format!("{targets:?}")) }
    }

    /// Waits until every target was scraped after that time, whoever did it.
    pub(super) async fn until_all_scraped(&self, since: f64) {
        let query = format!("(timestamp(up) > {since}) and up == 1");
        eventually(PATIENCE, "every target is scraped", async || {
            let mut scraped = BTreeSet::new();
            for shard in &self.shards {
                let found = shard.engine.query(&query).await;
                let series = found["result"].as_array().cloned().unwrap_or_default();
                scraped.extend(series.iter().map(|one| one["metric"]["instance"].to_string()));
            }
            if scraped.len() == TARGETS { Ok(()) } else { Err(format!("{scraped:?}")) }
        })
        .await;
    }

    /// Waits until a shard's Prometheus has scraped every target after that time.
    pub(super) async fn until_scraped(&self, shard: usize, since: f64) {
        let query = format!("count((timestamp(up) > {since}) and up == 1)");
        let engine = &self.shards[shard].engine;
        eventually(PATIENCE, &format!("shard {shard} scrapes every target"), async || {
            let up = engine.query_value(&query).await;
            if up == Some(TARGETS as f64) { Ok(()) } else { Err(format!("{up:?}")) }
        })
        .await;
    }

    /// Waits until a shard's Prometheus has nothing to scrape any more.
    pub(super) async fn until_idle(&self, shard: usize) {
        let engine = &self.shards[shard].engine;
        eventually(PATIENCE, &format!("shard {shard} scrapes nothing"), async || {
            let data = engine.get("/api/v1/targets", &[("state", "active")]).await;
            data["activeTargets"].as_array().is_some_and(Vec::is_empty)
        })
        .await;
    }

    /// Events of one kind, or of several whose names begin so.
    pub(super) async fn events(&self, kind: &str) -> Vec<Value> {
        let data = self.ask("/api/v1/events?after=0").await.unwrap();
        let mut events = data["events"].as_array().cloned().unwrap();
        events.retain(|event| event["kind"].as_str().unwrap().starts_with(kind));
        events
    }

    async fn ask(&self, path: &str) -> Result<Value, String> {
        let url = format!("http://127.0.0.1:{}{path}", self.coordinator_port);
        let response = self.client.get(url).send().await.map_err(|error| svc::chain(&error))?;
        let mut answer: Value = response.json().await.map_err(|error| svc::chain(&error))?;
        Ok(answer["data"].take())
    }

    /// Every target since `began`, as both Prometheus servers together have scraped it.
    pub(super) async fn have_no_gap(&self, began: f64, outages: &[Outage]) {
        for target in &self.targets {
            let instance = target.address();
            let mut times = Vec::new();
            for shard in &self.shards {
                times.extend(scrapes(&shard.engine, instance, began).await);
            }
            times.sort_by(f64::total_cmp);
            samples::check(instance, &times, outages);
        }
    }

    pub(super) async fn stop(self) {
        self.supervisor.stop_all().await;
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            show_logs(self.folder.path());
        }
        self.supervisor.release();
        for (pid, _) in processes_of(self.folder.path()) {
            signal(pid, Signal::KILL);
        }
    }
}

/// When a target was scraped well, in seconds since the epoch.
async fn scrapes(engine: &Prometheus, instance: &str, began: f64) -> Vec<f64> {
    let window = (now() - began).floor();
    let query = format!("up{{instance=\"{instance}\"}}[{window}s]");
    let data = engine.query(&query).await;
    let series = data["result"].as_array().unwrap().iter();
    let points = series.flat_map(|series| series["values"].as_array().unwrap());
    points.filter(|point| point[1] == "1").map(|point| point[0].as_f64().unwrap()).collect()
}
