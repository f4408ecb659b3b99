//! Coordinators as processes that nobody restarts, their shards, and targets that remember when they were scraped.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use proto::coordination::assign_response::Outcome;
use proto::coordination::coordination_client::CoordinationClient;
use proto::coordination::{AssignRequest, ReportRequest};
use reqwest::Method;
use rustix::process::Signal;
use serde_json::{Value, json};
use svc::child::{Spec, Supervisor};
use tempfile::TempDir;
use testkit::target::Target;
use testkit::{eventually, free_port};
use tokio::sync::MutexGuard;

use crate::system::{ONE_AT_A_TIME, PATIENCE, processes_of, show_logs, signal};

/// The scrape interval.
const INTERVAL: Duration = Duration::from_secs(2);

/// Longest time between two scrapes: an interval, and what one may come late on a busy machine. A missed scrape is two
/// intervals.
const LONGEST: Duration = Duration::from_millis(3500);

/// Long enough that a busy machine does not look like a leader that hangs.
const LEASE: &str = "10s";

const TARGETS: usize = 3;
/// Series of a target: two and no more fit on a shard.
const SERIES: usize = 150;
const MAX_SERIES: usize = 400;

/// What the coordinators share. Killed with all that was started in it when dropped.
pub(super) struct World {
    folder: TempDir,
    targets: Vec<Target>,
    /// The shards' processes, where they are not the coordinator's.
    network: Option<Supervisor>,
    /// What the coordinators were told to do with shards.
    backend: Vec<String>,
    client: reqwest::Client,
    _turn: MutexGuard<'static, ()>,
}

/// A coordinator that nobody restarts.
pub(super) struct Coordinator {
    port: u16,
    process: Child,
    client: reqwest::Client,
}

/// What must not change when the leader does.
#[derive(Debug, PartialEq)]
pub(super) struct Picture {
    /// Of each target.
    owners: BTreeMap<String, Vec<(String, String)>>,
    /// Moves that anybody has ever made.
    moves: usize,
    /// Processes of Prometheus.
    engines: Vec<u32>,
}

impl World {
    /// Shards are the leader's child processes.
    pub(super) async fn local() -> Self {
        let backend = ["--shard.backend=local"];
        Self::with(backend.map(str::to_owned).to_vec()).await
    }

    /// Two shards that are somebody else's.
    pub(super) async fn on_the_network() -> Self {
        let mut world = Self::with(Vec::new()).await;
        let file = world.path("shards.yaml");
        let network =
            Supervisor::open(&world.path("network.json"), &svc::Shutdown::default()).unwrap();
        let sidecars = [0, 1].map(|ordinal| world.start_shard(&network, ordinal));
        let shards = sidecars.map(|address| json!({"scraperSidecar": address}));
        fs::write(&file, json!({"replicas": [{"shards": shards}]}).to_string()).unwrap();
        world.backend = vec![
            "--shard.backend=static".to_owned(),
            format!("--shard.static-file={}", file.display()),
        ];
        world.network = Some(network);
        world
    }

    async fn with(backend: Vec<String>) -> Self {
        testkit::init();
        let turn = ONE_AT_A_TIME.lock().await;
        let mut world = Self {
            folder: tempfile::tempdir().unwrap(),
            targets: Vec::new(),
            network: None,
            backend,
            client: svc::http::client(Duration::from_secs(10)).unwrap(),
            _turn: turn,
        };
        for _ in 0..TARGETS {
            world.add_target().await;
        }
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// One more target in the configuration that all coordinators read.
    pub(super) async fn add_target(&mut self) {
        self.targets.push(Target::start(page()).await);
        let addresses: Vec<&str> = self.targets.iter().map(Target::address).collect();
        let interval = format!("{}s", INTERVAL.as_secs());
        let configuration = json!({
            "global": {"scrape_interval": interval, "scrape_timeout": interval},
            "scrape_configs": [{"job_name": "pair", "static_configs": [{"targets": addresses}]}],
        });
        let text = configuration.to_string();
        svc::durable::write(&self.path("prometheus.yml"), text.as_bytes()).unwrap();
    }

    /// A Prometheus and its scraper-sidecar. Where the coordinator finds them.
    fn start_shard(&self, network: &Supervisor, ordinal: usize) -> String {
        let folder = self.path(&format!("shard-{ordinal}"));
        fs::create_dir(&folder).unwrap();
        let (grpc, prometheus) = (free_port(), free_port());
        let output = folder.join("prometheus.yml");
        let start = |name: &str, program: &str, arguments: Vec<String>| {
            let spec = Spec {
                name: format!("{name}-{ordinal}"),
                program: program.into(),
                arguments,
                env: Vec::new(),
                log_file: folder.join(format!("{name}.log")),
                stop_within: Duration::from_secs(30),
            };
            network.start(spec).unwrap();
        };
        let sidecar = vec![
            "scraper-sidecar".to_owned(),
            format!("--http-address=127.0.0.1:{}", free_port()),
            format!("--grpc-address=127.0.0.1:{grpc}"),
            format!("--prometheus.url=http://127.0.0.1:{prometheus}"),
            format!("--data-dir={}", folder.join("sidecar").display()),
            format!("--config.output-file={}", output.display()),
        ];
        start("sidecar", env!("CARGO_BIN_EXE_shoal"), sidecar);
        // It is started again until the sidecar has written its file.
        let engine = vec![
            format!("--config.file={}", output.display()),
            format!("--storage.tsdb.path={}", folder.join("data").display()),
            format!("--web.listen-address=127.0.0.1:{prometheus}"),
            "--web.enable-lifecycle".to_owned(),
        ];
        start("prometheus", "prometheus", engine);
        format!("127.0.0.1:{grpc}")
    }

    /// Starts a coordinator on the common folder.
    pub(super) fn coordinator(&self, name: &str) -> Coordinator {
        let port = free_port();
        let log_file = self.path(&format!("{name}.log"));
        let log = fs::File::options().create(true).append(true).open(log_file).unwrap();
        let process = Command::new(env!("CARGO_BIN_EXE_shoal"))
            .arg("coordinator")
            .arg(format!("--config.file={}", self.path("prometheus.yml").display()))
            .arg(format!("--http-address=127.0.0.1:{port}"))
            .arg(format!("--data-dir={}", self.path("data").display()))
            .arg(format!("--shard.max-series={MAX_SERIES}"))
            .arg(format!("--leader.lease={LEASE}"))
            .arg("--coordinator.interval=1s")
            .arg("--coordinator.shard-timeout=2s")
            .args(&self.backend)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Coordinator { port, process, client: self.client.clone() }
    }

    /// Waits until the coordinator sees each target scraped by one shard, and nothing left to do.
    pub(super) async fn until_at_rest(&self, coordinator: &Coordinator) {
        eventually(PATIENCE, "every target has an owner that scrapes it", async || {
            let plan = coordinator.data("/api/v1/plan?turns=3").await?;
            let owners = coordinator.owners().await?;
            let owned = self.targets.iter().all(|target| {
                let shards = owners.get(target.address()).map_or(&[][..], Vec::as_slice);
                matches!(shards, [(_, state)] if state == "active")
            });
            let up = coordinator.data("/api/v1/jobs").await?["jobs"][0]["up"].clone();
            let all_up = up == self.targets.len();
            if owned && all_up && owners.len() == self.targets.len() && plan["settled"] == true {
                Ok(())
            } else {
                Err(format!("{up} up; {owners:?}; {plan}"))
            }
        })
        .await;
    }

    /// Waits until the coordinator leads with this epoch, and all shards have it.
    pub(super) async fn until_led_by(&self, coordinator: &Coordinator, epoch: u64) {
        let began = Instant::now();
        eventually(PATIENCE, "the follower leads and the shards know it", async || {
            let answer = coordinator.data("/api/v1/leader").await?;
            let epochs = coordinator.epochs().await?;
            let leads = answer["leader"] == true && answer["holder"]["epoch"] == epoch;
            if leads && epochs == [epoch, epoch] {
                Ok(())
            } else {
                Err(format!("{answer}; {epochs:?}"))
            }
        })
        .await;
        eprintln!("led with epoch {epoch} after {:?}", began.elapsed());
    }

    /// Owners, moves and processes.
    pub(super) async fn picture(&self, coordinator: &Coordinator) -> Picture {
        let moves = coordinator.data("/api/v1/moves").await.unwrap();
        let moves = moves["moves"].as_array().unwrap();
        Picture {
            owners: coordinator.owners().await.unwrap(),
            moves: moves.iter().filter(|entry| entry.get("from").is_some()).count(),
            engines: self.processes("--storage.tsdb.path"),
        }
    }

    fn processes(&self, word: &str) -> Vec<u32> {
        let all = processes_of(self.folder.path()).into_iter();
        let mut found: Vec<u32> =
            all.filter(|(_, command)| command.contains(word)).map(|(pid, _)| pid).collect();
        found.sort_unstable();
        found
    }

    /// What each shard has applied last.
    pub(super) async fn epochs(&self, coordinator: &Coordinator) -> Vec<u64> {
        coordinator.epochs().await.unwrap()
    }

    /// A push of that epoch, with a version above all others, that takes everything away.
    pub(super) async fn refuses_the_epoch(&self, epoch: u64) {
        let shards = fs::read_to_string(self.path("shards.yaml")).unwrap();
        let shards: Value = serde_json::from_str(&shards).unwrap();
        for shard in shards["replicas"][0]["shards"].as_array().unwrap() {
            let mut client = client_of(shard["scraperSidecar"].as_str().unwrap());
            let push = AssignRequest { epoch, version: u64::MAX, ..AssignRequest::default() };
            let answer = client.assign(push).await.unwrap().into_inner();
            assert_eq!(answer.outcome(), Outcome::RefusedStale, "{answer:?}");
        }
    }

    /// No target has waited longer than it should since then.
    pub(super) fn scraped_without_a_gap(&self, since: Instant) {
        for target in &self.targets[..TARGETS] {
            let scrapes = target.scrapes().into_iter().filter(|scrape| {
                let agent = scrape.headers.get("user-agent").and_then(|agent| agent.to_str().ok());
                agent.is_some_and(|agent| agent.starts_with("Prometheus/")) && scrape.at >= since
            });
            let mut times = vec![since];
            times.extend(scrapes.map(|scrape| scrape.at));
            times.push(Instant::now());
            for pair in times.windows(2) {
                let gap = pair[1] - pair[0];
                let after = pair[0] - since;
                let address = target.address();
                assert!(
                    gap < LONGEST,
                    "{address}: no scrape for {gap:?}, {after:?} after the start"
                );
            }
        }
    }

    /// No process lives any more.
    pub(super) fn nothing_is_left(&self) {
        assert_eq!(processes_of(self.folder.path()), [], "processes were left behind");
    }

    /// Stops the shards.
    pub(super) async fn stop(self) {
        if let Some(network) = &self.network {
            network.stop_all().await;
        }
        self.nothing_is_left();
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            show_logs(self.folder.path());
        }
        if let Some(network) = &self.network {
            network.release();
        }
        for (pid, _) in processes_of(self.folder.path()) {
            signal(pid, Signal::KILL);
        }
    }
}

impl Coordinator {
    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(super) fn signal(&self, which: Signal) {
        signal(self.process.id(), which);
    }

    /// Waits for its end, and says how it ended.
    pub(super) async fn ended(&mut self) -> String {
        let status =
            eventually(PATIENCE, "the process ends", async || self.process.try_wait().unwrap());
        status.await.to_string()
    }

    /// Status and body of an answer.
    pub(super) async fn answer(&self, method: &str, path: &str) -> (u16, String) {
        let method: Method = method.parse().unwrap();
        let request = self.client.request(method, format!("{}{path}", self.url()));
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    /// `data` of a good answer.
    pub(super) async fn data(&self, path: &str) -> Result<Value, String> {
        let request = self.client.get(format!("{}{path}", self.url()));
        let response = request.send().await.map_err(|error| svc::chain(&error))?;
        let mut answer: Value = response.json().await.map_err(|error| svc::chain(&error))?;
        if answer["status"] != "success" {
            return Err(answer.to_string());
        }
        Ok(answer["data"].take())
    }

    /// Shards and states of each target.
    async fn owners(&self) -> Result<BTreeMap<String, Vec<(String, String)>>, String> {
        let data = self.data("/api/v1/targets?state=active").await?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let targets = data["activeTargets"].as_array().cloned().unwrap_or_default();
        let of = |target: &Value| {
            let shards = target["shards"].as_array().cloned().unwrap_or_default();
            let states = shards.iter().map(|shard| (text(&shard["id"]), text(&shard["state"])));
            (text(&target["labels"]["instance"]), states.collect())
        };
        Ok(targets.iter().map(of).collect())
    }

    async fn epochs(&self) -> Result<Vec<u64>, String> {
        let data = self.data("/api/v1/shards").await?;
        let mut epochs = Vec::new();
        for shard in data["shards"].as_array().into_iter().flatten() {
            let mut client = client_of(shard["scraperSidecar"].as_str().unwrap_or_default());
            let report = client.report(ReportRequest {}).await;
            epochs.push(report.map_err(|status| status.to_string())?.into_inner().epoch);
        }
        Ok(epochs)
    }
}

fn client_of(address: &str) -> CoordinationClient<tonic::transport::Channel> {
    CoordinationClient::new(svc::grpc::channel(address, Duration::from_secs(5)).unwrap())
}

/// A target's page.
fn page() -> String {
    let mut page = String::from("# TYPE metrics0 gauge\n");
    for number in 0..SERIES {
        page.push_str(&format!("metrics0{{series=\"{number}\"}} {number}\n"));
    }
    page
}
