//! A coordinator with its local shards and a query, supervised by the test as an init system would.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use svc::child::{Spec, Supervisor};
use tempfile::TempDir;
use testkit::target::Target;
use testkit::{eventually, free_port};

use super::store::Store;
use super::{Cell, Fault, Kind, Phase};
use crate::system::{PATIENCE, processes_of, show_logs, signal};

/// The scrape interval, in seconds.
pub(crate) const INTERVAL: f64 = 2.0;

/// How long a stopped process is stopped: longer than anybody waits for an answer.
pub(super) const STOPPED: Duration = Duration::from_secs(5);

const TARGETS: usize = 3;
/// Series of a target, and of the one that has grown. All fit on one shard before, and no longer after.
const SMALL: usize = 150;
const GROWN: usize = 700;
const MAX_SERIES: usize = 1000;

/// A system under test. Killed with all that it has started when dropped.
pub(super) struct Fleet {
    folder: TempDir,
    targets: Vec<Target>,
    supervisor: Supervisor,
    coordinator_port: u16,
    query_port: u16,
    store_port: u16,
    client: reqwest::Client,
}

/// A process that suffers.
#[derive(Debug)]
pub(super) struct Victim {
    words: Vec<String>,
    pid: u32,
    /// The shard and the address of a Prometheus.
    engine: Option<(&'static str, String)>,
}

impl Fleet {
    /// Starts it and a store, and waits until query sees every target up.
    pub(super) async fn start() -> (Self, Store) {
        let folder = tempfile::tempdir().unwrap();
        let mut targets = Vec::new();
        for _ in 0..TARGETS {
            targets.push(Target::start(page(SMALL)).await);
        }
        let supervisor =
            Supervisor::open(&folder.path().join("children.json"), &svc::Shutdown::default())
                .unwrap();
        let fleet = Self {
            folder,
            targets,
            supervisor,
            coordinator_port: free_port(),
            query_port: free_port(),
            store_port: free_port(),
            client: svc::http::client(Duration::from_secs(20)).unwrap(),
        };
        fleet.write_configuration();
        let store = Store::start(fleet.path("bucket")).await;
        fleet.spawn("store", store.sidecar_arguments(fleet.store_port));
        fleet.spawn("coordinator", fleet.coordinator_arguments());
        fleet.spawn("query", fleet.query_arguments());
        fleet.until_shards(1).await;
        fleet.until_flowing(super::samples::now()).await;
        (fleet, store)
    }

    fn write_configuration(&self) {
        let addresses: Vec<&str> = self.targets.iter().map(Target::address).collect();
        let configuration = json!({
            "global": {
                "scrape_interval": format!("{INTERVAL}s"),
                "scrape_timeout": format!("{INTERVAL}s"),
            },
            "scrape_configs": [{"job_name": "matrix", "static_configs": [{"targets": addresses}]}],
        });
        fs::write(self.path("prometheus.yml"), configuration.to_string()).unwrap();
        let bucket = self.path("bucket");
        fs::create_dir(&bucket).unwrap();
        let bucket = json!({"type": "FILESYSTEM", "config": {"directory": bucket}});
        fs::write(self.path("bucket.yml"), bucket.to_string()).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn spawn(&self, name: &str, arguments: Vec<String>) {
        let spec = Spec {
            name: name.to_owned(),
            program: env!("CARGO_BIN_EXE_shoal").into(),
            arguments,
            env: Vec::new(),
            log_file: self.path(&format!("{name}.log")),
            stop_within: Duration::from_secs(60),
        };
        self.supervisor.start(spec).unwrap();
    }

    fn coordinator_arguments(&self) -> Vec<String> {
        [
            "coordinator",
            &format!("--config.file={}", self.path("prometheus.yml").display()),
            &format!("--http-address=127.0.0.1:{}", self.coordinator_port),
            &format!("--data-dir={}", self.path("data").display()),
            "--shard.backend=local",
            &format!("--shard.max-series={MAX_SERIES}"),
            &format!("--objstore.config-file={}", self.path("bucket.yml").display()),
            "--shard.max-idle-time=5s",
            // Here faults come faster than any stable time.
            "--shard.quarantine-restarts=0",
            "--coordinator.interval=1s",
            "--coordinator.shard-timeout=2s",
            "--local.keep-shards",
        ]
        .map(str::to_owned)
        .to_vec()
    }

    fn query_arguments(&self) -> Vec<String> {
        [
            "query",
            &format!("--http-address=127.0.0.1:{}", self.query_port),
            &format!("--grpc-address=127.0.0.1:{}", free_port()),
            &format!("--endpoint.coordinator=http://127.0.0.1:{}", self.coordinator_port),
            &format!("--endpoint=127.0.0.1:{}", self.store_port),
            "--query.replica-label=prometheus_replica",
            "--query.replica-label=prometheus_shard",
        ]
        .map(str::to_owned)
        .to_vec()
    }

    /// The targets' `instance` labels.
    pub(super) fn instances(&self) -> impl Iterator<Item = &str> {
        self.targets.iter().map(Target::address)
    }

    /// Brings the system to the phase in which the fault is to happen.
    pub(super) async fn reach(&self, cell: Cell) {
        match cell.phase {
            Phase::Steady => self.until_shards(1).await,
            Phase::ScaleUp => self.grow().await,
            Phase::HandOver => {
                while !self.is_handed_over("0-1", 2).await {
                    // It was over before one has looked: another round.
                    self.shrink();
                    self.until_shards(1).await;
                    self.grow().await;
                }
            }
            Phase::Drain => {
                self.until_shards(2).await;
                self.shrink();
                while !self.is_handed_over("0-0", 1).await {
                    self.grow().await;
                    self.until_shards(2).await;
                    self.shrink();
                }
            }
            Phase::Shipping => {
                while !self.is_shipping().await {
                    self.grow().await;
                    self.until_shards(2).await;
                    self.shrink();
                }
            }
        }
    }

    /// Waits until the second shard ships what it has, or until it is gone.
    async fn is_shipping(&self) -> bool {
        eventually(PATIENCE, "the second shard ships what it has", async || {
            let shards = self.shards().await?;
            match shards.get(1) {
                Some(shard) if shard["state"] == "shipping" => Ok(true),
                Some(shard) => Err(shard.to_string()),
                None if shards.is_empty() => Err("no shards yet".to_owned()),
                None => Ok(false),
            }
        })
        .await
    }

    /// Lets the targets need a second shard and waits for it to be listed.
    async fn grow(&self) {
        self.targets[0].set_body(page(GROWN));
        eventually(PATIENCE, "a second shard", async || {
            let shards = self.shards().await?;
            if shards.len() == 2 { Ok(()) } else { Err(format!("{shards:?}")) }
        })
        .await;
    }

    fn shrink(&self) {
        self.targets[0].set_body(page(SMALL));
    }

    /// Waits until the shard is about to get a target, or until it is too late for that, there being so many shards
    /// in use.
    async fn is_handed_over(&self, shard: &str, too_late: usize) -> bool {
        eventually(PATIENCE, &format!("a target is handed over to {shard}"), async || {
            let owners = self.owners().await?;
            if owners.iter().any(|(_, to, state)| to == shard && state == "joining") {
                return Ok(true);
            }
            let used: BTreeSet<&str> = owners.iter().map(|(_, shard, _)| shard.as_str()).collect();
            if used.len() == too_late { Ok(false) } else { Err(format!("{owners:?}")) }
        })
        .await
    }

    /// The process that suffers, unless its shard was removed. Of the two shards it is the one with more to lose: the new
    /// one while it starts, the receiver or the giver of what is handed over in turns.
    pub(super) async fn victim(&self, cell: Cell) -> Option<Victim> {
        let first = cell.phase == Phase::Steady
            || (cell.phase == Phase::HandOver && cell.fault == Fault::Stop)
            || (cell.phase == Phase::Drain && cell.fault != Fault::Stop);
        let shard = if first { "0-0" } else { "0-1" };
        let folder = format!("/shards/{shard}/");
        let words: Vec<&str> = match cell.kind {
            Kind::Prometheus => vec!["--storage.tsdb.path", &folder],
            Kind::ScraperSidecar => vec!["scraper-sidecar", &folder],
            Kind::ThanosSidecar => vec!["thanos-sidecar", &folder],
            Kind::Coordinator => vec!["coordinator", "--shard.backend"],
            Kind::Query => vec!["query", "--endpoint.coordinator"],
        };
        let words: Vec<String> = words.into_iter().map(str::to_owned).collect();
        eventually(PATIENCE, &format!("{words:?} runs"), async || {
            let shards = self.shards().await?;
            let found = shards.iter().find(|listed| listed["id"] == shard);
            if found.is_none() && cell.phase.may_remove() && shards.len() == 1 {
                return Ok(None);
            }
            let url = found.and_then(|found| found["prometheus"].as_str());
            let url = url.ok_or_else(|| format!("{shards:?}"))?.to_owned();
            let pid = self.pid(&words).ok_or("it does not run")?;
            let engine = (cell.kind == Kind::Prometheus).then_some((shard, url));
            Ok::<_, String>(Some(Victim { words: words.clone(), pid, engine }))
        })
        .await
    }

    /// The one process of this system whose command line has all these words.
    fn pid(&self, words: &[String]) -> Option<u32> {
        let has_all = |command: &str| words.iter().all(|word| command.contains(word));
        let mut found = processes_of(self.folder.path()).into_iter();
        found.find(|(_, command)| has_all(command)).map(|(pid, _)| pid)
    }

    /// Lets the fault happen; one that passes by itself has passed then.
    pub(super) async fn strike(&self, victim: &Victim, fault: Fault) {
        match fault {
            Fault::Kill => signal(victim.pid, Signal::KILL),
            Fault::Restart => signal(victim.pid, Signal::TERM),
            Fault::Stop => {
                signal(victim.pid, Signal::STOP);
                // The length of the fault itself; nothing is waited for.
                tokio::time::sleep(STOPPED).await;
                signal(victim.pid, Signal::CONT);
            }
        }
    }

    /// Waits until the process runs again, a Prometheus until it is ready.
    pub(super) async fn until_back(&self, victim: &Victim, cell: Cell) {
        eventually(PATIENCE, &format!("{cell}: the process is back"), async || {
            let Some(pid) = self.pid(&victim.words) else {
                // What is drained may have been removed meanwhile.
                let removed = cell.phase.may_remove() && self.shards().await?.len() == 1;
                return if removed { Ok(()) } else { Err("it does not run".to_owned()) };
            };
            if (pid == victim.pid) != (cell.fault == Fault::Stop) {
                return Err(format!("it runs as {pid}"));
            }
            match &victim.engine {
                Some((shard, url)) => self.scrapes(shard, url).await,
                None => Ok(()),
            }
        })
        .await;
    }

    /// Whether a Prometheus that has just started scrapes what it has: it looks at its files of targets only every
    /// five seconds (`DiscoveryReloadInterval` of its scrape manager), and is ready before.
    async fn scrapes(&self, shard: &str, url: &str) -> Result<(), String> {
        let answer = self.get(&format!("{url}/api/v1/targets?state=active")).await?;
        if answer["activeTargets"].as_array().is_some_and(|targets| !targets.is_empty()) {
            return Ok(());
        }
        let owners = self.owners().await?;
        let has_none = owners.iter().all(|(_, owner, _)| owner != shard);
        if has_none { Ok(()) } else { Err(format!("it scrapes nothing yet of {owners:?}")) }
    }

    /// Waits until every target has one owner or is being handed over, and has been scraped since.
    pub(super) async fn until_well(&self, cell: Cell, since: f64) {
        eventually(PATIENCE, &format!("{cell}: every target has an owner"), async || {
            let owners = self.owners().await?;
            let unassigned = self.coordinator("/api/v1/unassigned").await?;
            let owned = self.instances().all(|instance| {
                let states = owners.iter().filter(|(target, _, _)| target == instance);
                states.filter(|(_, _, state)| state != "joining").count() == 1
            });
            let none = unassigned["unassigned"].as_array().is_some_and(Vec::is_empty);
            if owned && none { Ok(()) } else { Err(format!("{owners:?}; {unassigned}")) }
        })
        .await;
        self.until_flowing(since).await;
    }

    async fn until_flowing(&self, since: f64) {
        eventually(PATIENCE, "every target is up and scraped again", async || {
            let query = format!("count((timestamp(up) > {since}) and up == 1)");
            let result = self.instant(&query, &[]).await?;
            let up = result.first().and_then(|one| one["value"][1].as_str());
            if up == Some(&TARGETS.to_string()) { Ok(()) } else { Err(format!("{result:?}")) }
        })
        .await;
    }

    /// Waits until there are so many shards, all ready, each target has one owner and none is moving.
    pub(super) async fn until_shards(&self, count: usize) {
        eventually(PATIENCE, &format!("{count} shards at rest"), async || {
            let (shards, owners) = (self.shards().await?, self.owners().await?);
            let ready = shards.iter().filter(|shard| shard["engine"] == "ready").count();
            let active = owners.iter().filter(|(_, _, state)| state == "active").count();
            let used = shards.iter().filter(|shard| shard["targets"] != 0).count();
            let at_rest = active == TARGETS && owners.len() == TARGETS;
            if at_rest && ready == shards.len() && shards.len() == count && used == count {
                Ok(())
            } else {
                Err(format!("{shards:?}; {owners:?}"))
            }
        })
        .await;
    }

    /// Target, shard and state of everything that is held.
    async fn owners(&self) -> Result<Vec<(String, String, String)>, String> {
        let data = self.coordinator("/api/v1/targets?state=active").await?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let targets = data["activeTargets"].as_array().cloned().unwrap_or_default();
        let mut owners = Vec::new();
        for target in &targets {
            let instance = text(&target["labels"]["instance"]);
            for owner in target["shards"].as_array().into_iter().flatten() {
                owners.push((instance.clone(), text(&owner["id"]), text(&owner["state"])));
            }
        }
        Ok(owners)
    }

    async fn shards(&self) -> Result<Vec<Value>, String> {
        let data = self.coordinator("/api/v1/shards").await?;
        Ok(data["shards"].as_array().cloned().unwrap_or_default())
    }

    /// GET of the coordinator's HTTP API; `data` of the answer.
    async fn coordinator(&self, path: &str) -> Result<Value, String> {
        self.get(&format!("http://127.0.0.1:{}{path}", self.coordinator_port)).await
    }

    /// `data` of an answer.
    async fn get(&self, url: &str) -> Result<Value, String> {
        let response = self.client.get(url).send().await.map_err(|error| svc::chain(&error))?;
        let mut answer: Value = response.json().await.map_err(|error| svc::chain(&error))?;
        Ok(answer["data"].take())
    }

    /// The result of an instant query now, without warnings.
    pub(super) async fn instant(
        &self,
        query: &str,
        more: &[(&str, &str)],
    ) -> Result<Vec<Value>, String> {
        let mut parameters = vec![("query", query)];
        parameters.extend(more);
        let url = format!("http://127.0.0.1:{}/api/v1/query", self.query_port);
        let request = self.client.get(url).query(&parameters);
        let response = request.send().await.map_err(|error| svc::chain(&error))?;
        let answer: Value = response.json().await.map_err(|error| svc::chain(&error))?;
        if answer["status"] != "success" || answer.get("warnings").is_some() {
            let (error, warnings) = (&answer["error"], &answer["warnings"]);
            return Err(format!("{query}: {error}, {warnings}"));
        }
        Ok(answer["data"]["result"].as_array().cloned().unwrap_or_default())
    }

    /// Stops it and sees that no process stays.
    pub(super) async fn stop(self) {
        self.supervisor.stop_all().await;
        coordinator::sweep(&self.path("data"), PATIENCE).await;
        assert_eq!(processes_of(self.folder.path()), [], "processes were left behind");
    }
}

impl Drop for Fleet {
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

/// A target's page with so many series.
pub(crate) fn page(series: usize) -> String {
    let mut page = String::from("# TYPE metrics0 gauge\n");
    for number in 0..series {
        page.push_str(&format!("metrics{}{{series=\"{number}\"}} {number}\n", number.min(1)));
    }
    page
}
