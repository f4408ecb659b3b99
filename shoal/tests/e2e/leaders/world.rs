//! Coordinators as processes that nobody restarts, their shards, and targets that remember when they were scraped.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use proto::coordination::assign_response::Outcome;
use proto::coordination::coordination_client::CoordinationClient;
use proto::coordination::{AssignRequest, ReportRequest, ReportResponse, TargetState};
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
pub(crate) const LEASE: Duration = Duration::from_secs(10);

/// Targets at the start, and series of each: two and no more of these fit on a shard.
const FEW: (usize, usize) = (3, 150);
/// So many that discovery's losses are doubted; they need two shards, too.
const MANY: (usize, usize) = (12, 40);
const MAX_SERIES: usize = 400;

/// What the coordinators share. Killed with all that was started in it when dropped.
pub(crate) struct World {
    folder: TempDir,
    targets: Vec<Target>,
    /// How many there were at the start, and the series of each.
    size: (usize, usize),
    /// An `http_sd` server that lists the targets; without one they are in the configuration.
    discovery: Option<Target>,
    /// The shards' processes, where they are not the coordinator's.
    network: Option<Supervisor>,
    /// What the coordinators were told to do with shards.
    backend: Vec<String>,
    client: reqwest::Client,
    _turn: MutexGuard<'static, ()>,
}

/// A coordinator that nobody restarts.
pub(crate) struct Coordinator {
    port: u16,
    process: Child,
    client: reqwest::Client,
}

/// What must not change when the leader does.
#[derive(Debug, PartialEq)]
pub(crate) struct Picture {
    /// Of each target.
    owners: BTreeMap<String, Vec<(String, String)>>,
    /// Moves that anybody has ever made.
    moves: usize,
    /// Processes of Prometheus.
    engines: Vec<u32>,
}

impl World {
    /// Shards are the leader's child processes.
    pub(crate) async fn local() -> Self {
        Self::with(vec!["--shard.backend=local".to_owned()], None).await
    }

    /// The same, and targets are discovered.
    pub(crate) async fn discovered() -> Self {
        testkit::init();
        let server = Target::start("[]").await;
        server.set_content_type("application/json");
        Self::with(vec!["--shard.backend=local".to_owned()], Some(server)).await
    }

    /// What discovers targets.
    pub(crate) fn discovery(&self) -> &Target {
        self.discovery.as_ref().unwrap()
    }

    /// Lets discovery answer with so many of the targets.
    pub(crate) fn list(&self, count: usize) {
        let addresses: Vec<&str> = self.targets[..count].iter().map(Target::address).collect();
        self.discovery().set_body(json!([{"targets": addresses, "labels": {}}]).to_string());
    }

    /// The targets' addresses.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = &str> {
        self.targets.iter().map(Target::address)
    }

    /// Two shards that are somebody else's.
    pub(crate) async fn on_the_network() -> Self {
        let mut world = Self::with(Vec::new(), None).await;
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

    async fn with(backend: Vec<String>, discovery: Option<Target>) -> Self {
        testkit::init();
        let turn = ONE_AT_A_TIME.lock().await;
        let mut world = Self {
            folder: tempfile::tempdir().unwrap(),
            targets: Vec::new(),
            size: if discovery.is_some() { MANY } else { FEW },
            discovery,
            network: None,
            backend,
            client: svc::http::client(Duration::from_secs(10)).unwrap(),
            _turn: turn,
        };
        for _ in 0..world.size.0 {
            world.add_target().await;
        }
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// One more target in the configuration that all coordinators read.
    pub(crate) async fn add_target(&mut self) {
        self.targets.push(Target::start(page(self.size.1)).await);
        let interval = format!("{}s", INTERVAL.as_secs());
        let job = match &self.discovery {
            Some(server) => {
                let url = format!("http://{}/", server.address());
                let discovery = json!([{"url": url, "refresh_interval": "1s"}]);
                self.list(self.targets.len());
                json!({"job_name": "pair", "http_sd_configs": discovery})
            }
            None => {
                let addresses: Vec<&str> = self.addresses().collect();
                json!({"job_name": "pair", "static_configs": [{"targets": addresses}]})
            }
        };
        let configuration = json!({
            "global": {"scrape_interval": interval, "scrape_timeout": interval},
            "scrape_configs": [job],
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
    pub(crate) fn coordinator(&self, name: &str) -> Coordinator {
        let port = free_port();
        let log_file = self.path(&format!("{name}.log"));
        let log = fs::File::options().create(true).append(true).open(log_file).unwrap();
        let process = Command::new(env!("CARGO_BIN_EXE_shoal"))
            .arg("coordinator")
            .arg(format!("--config.file={}", self.path("prometheus.yml").display()))
            .arg(format!("--http-address=127.0.0.1:{port}"))
            .arg(format!("--data-dir={}", self.path("data").display()))
            .arg(format!("--shard.max-series={MAX_SERIES}"))
            .arg(format!("--leader.lease={}s", LEASE.as_secs()))
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
    pub(crate) async fn until_at_rest(&self, coordinator: &Coordinator) {
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

    /// Waits until the coordinator leads with this epoch, and all shards have it. Since when it leads, as it says
    /// itself, in seconds since the epoch of all clocks.
    pub(crate) async fn until_led_by(&self, coordinator: &Coordinator, epoch: u64) -> f64 {
        eventually(PATIENCE, "the follower leads and the shards know it", async || {
            let answer = coordinator.data("/api/v1/leader").await?;
            let epochs = coordinator.epochs().await?;
            let leads = answer["leader"] == true && answer["holder"]["epoch"] == epoch;
            if leads && epochs == [epoch, epoch] {
                let since = answer["holder"]["since"].as_str().unwrap_or_default();
                let since: jiff::Timestamp = since.parse().map_err(|_| answer.to_string())?;
                Ok(since.as_millisecond() as f64 / 1000.0)
            } else {
                Err(format!("{answer}; {epochs:?}"))
            }
        })
        .await
    }

    /// Owners, moves and processes.
    pub(crate) async fn picture(&self, coordinator: &Coordinator) -> Picture {
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
    pub(crate) async fn epochs(&self, coordinator: &Coordinator) -> Vec<u64> {
        coordinator.epochs().await.unwrap()
    }

    /// A push of that epoch, with a version above all others, that takes everything away.
    pub(crate) async fn refuses_the_epoch(&self, epoch: u64) {
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
    pub(crate) fn scraped_without_a_gap(&self, since: Instant) {
        for target in &self.targets[..self.size.0] {
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
    pub(crate) fn nothing_is_left(&self) {
        assert_eq!(processes_of(self.folder.path()), [], "processes were left behind");
    }

    /// Stops the shards.
    pub(crate) async fn stop(self) {
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
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn signal(&self, which: Signal) {
        signal(self.process.id(), which);
    }

    /// Waits for its end, and says how it ended.
    pub(crate) async fn ended(&mut self) -> String {
        let status =
            eventually(PATIENCE, "the process ends", async || self.process.try_wait().unwrap());
        status.await.to_string()
    }

    /// Status and body of an answer.
    pub(crate) async fn answer(&self, method: &str, path: &str) -> (u16, String) {
        let method: Method = method.parse().unwrap();
        let request = self.client.request(method, format!("{}{path}", self.url()));
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    /// `data` of a good answer.
    pub(crate) async fn data(&self, path: &str) -> Result<Value, String> {
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
        Ok(self.reports().await?.into_iter().map(|report| report.epoch).collect())
    }

    /// Id and state of each target that each shard holds, as the shards say themselves.
    pub(crate) async fn held(&self) -> Vec<Vec<(u64, TargetState)>> {
        let reports = self.reports().await.unwrap().into_iter();
        let of_shard = |report: ReportResponse| {
            let targets = report.targets.into_iter().filter_map(|held| held.target);
            let mut held: Vec<_> = targets.map(|target| (target.id, target.state())).collect();
            held.sort_unstable_by_key(|(id, _)| *id);
            held
        };
        reports.map(of_shard).collect()
    }

    async fn reports(&self) -> Result<Vec<ReportResponse>, String> {
        let data = self.data("/api/v1/shards").await?;
        let mut reports = Vec::new();
        for shard in data["shards"].as_array().into_iter().flatten() {
            let mut client = client_of(shard["scraperSidecar"].as_str().unwrap_or_default());
            let report = client.report(ReportRequest::default()).await;
            reports.push(report.map_err(|status| status.to_string())?.into_inner());
        }
        Ok(reports)
    }
}

fn client_of(address: &str) -> CoordinationClient<tonic::transport::Channel> {
    CoordinationClient::new(svc::grpc::channel(address, Duration::from_secs(5)).unwrap())
}

/// A target's page.
fn page(series: usize) -> String {
    let mut page = String::from("# TYPE metrics0 gauge\n");
    for number in 0..series {
        page.push_str(&format!("metrics0{{series=\"{number}\"}} {number}\n"));
    }
    page
}
