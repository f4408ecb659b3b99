//! A running `shoal demo` in a temporary folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use testkit::{eventually, free_port};
use tokio::sync::{Mutex, MutexGuard};

/// For whole systems of unoptimised binaries on two busy cores.
pub(crate) const PATIENCE: Duration = Duration::from_secs(150);

/// Systems run one at a time, under `cargo test`, too, which has all tests in one process.
pub(crate) static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

/// A demo under test. Killed with all that it has started when dropped.
pub(crate) struct System {
    folder: TempDir,
    arguments: Vec<String>,
    query_port: u16,
    coordinator_port: u16,
    demo: Option<Child>,
    client: reqwest::Client,
    _turn: MutexGuard<'static, ()>,
}

impl System {
    /// Starts a demo with these flags in a fresh folder and waits until query sees every target up.
    pub(crate) async fn start(arguments: &[&str], targets: u64) -> Self {
        testkit::init();
        let mut system = Self {
            folder: tempfile::tempdir().unwrap(),
            arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
            query_port: free_port(),
            coordinator_port: free_port(),
            demo: None,
            client: svc::http::client(Duration::from_secs(60)).unwrap(),
            _turn: ONE_AT_A_TIME.lock().await,
        };
        system.spawn();
        system.until_up(targets).await;
        system
    }

    /// Starts the demo on its folder, without waiting.
    pub(crate) fn spawn(&mut self) {
        let log = fs::File::options().create(true).append(true).open(self.demo_log()).unwrap();
        let demo = Command::new(env!("CARGO_BIN_EXE_shoal"))
            .arg("demo")
            .arg(format!("--data-dir={}", self.data_dir().display()))
            .arg(format!("--http-address=127.0.0.1:{}", self.query_port))
            .arg(format!("--coordinator.http-address=127.0.0.1:{}", self.coordinator_port))
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.demo = Some(demo);
    }

    /// Waits until query sees exactly this many targets up, each owned.
    pub(crate) async fn until_up(&self, targets: u64) {
        eventually(PATIENCE, "every target is up", async || {
            let up = self.value("count(up == 1)").await?;
            if up != targets as f64 {
                return Err(format!(
                    "{up} of {targets} targets are up; demo says:\n{}",
                    self.said()
                ));
            }
            Ok(())
        })
        .await;
    }

    /// Waits until no target is between shards and each of `targets` has exactly one owner per group.
    pub(crate) async fn until_settled(&self, targets: u64, groups: u64) {
        eventually(PATIENCE, "every target has its owners and none is moving", async || {
            let shards = self.shards().await?;
            let owned: u64 = shards.iter().filter_map(|shard| shard["targets"].as_u64()).sum();
            let unready = shards.iter().filter(|shard| shard["engine"] != "ready").count();
            if owned != targets * groups || unready > 0 {
                return Err(format!("{owned} owned, {unready} shards not ready: {shards:?}"));
            }
            Ok(())
        })
        .await;
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn demo_log(&self) -> PathBuf {
        self.folder.path().join("demo.log")
    }

    /// What the demo has printed.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(self.demo_log()).unwrap_or_default()
    }

    /// GET of query's HTTP API; the whole answer.
    pub(crate) async fn ask(
        &self,
        path: &str,
        parameters: &[(&str, &str)],
    ) -> Result<Value, String> {
        self.get(self.query_port, path, parameters).await
    }

    /// GET of the coordinator's HTTP API; `data` of the answer.
    pub(crate) async fn ask_coordinator(&self, path: &str) -> Result<Value, String> {
        self.get(self.coordinator_port, path, &[]).await.map(|mut answer| answer["data"].take())
    }

    async fn get(
        &self,
        port: u16,
        path: &str,
        parameters: &[(&str, &str)],
    ) -> Result<Value, String> {
        let request = self.client.get(format!("http://127.0.0.1:{port}{path}")).query(parameters);
        let response = request.send().await.map_err(|error| svc::chain(&error))?;
        response.json().await.map_err(|error| svc::chain(&error))
    }

    /// The result of an instant query now, without warnings.
    pub(crate) async fn instant(
        &self,
        query: &str,
        more: &[(&str, &str)],
    ) -> Result<Vec<Value>, String> {
        let mut parameters = vec![("query", query)];
        parameters.extend(more);
        let answer = self.ask("/api/v1/query", &parameters).await?;
        if answer["status"] != "success" || answer.get("warnings").is_some() {
            return Err(format!("{query}: {answer}"));
        }
        Ok(answer["data"]["result"].as_array().cloned().unwrap_or_default())
    }

    /// The value of the only element of an instant vector, as query answers by default.
    pub(crate) async fn value(&self, query: &str) -> Result<f64, String> {
        self.value_with(query, &[]).await
    }

    /// The same with more parameters.
    pub(crate) async fn value_with(
        &self,
        query: &str,
        more: &[(&str, &str)],
    ) -> Result<f64, String> {
        let result = self.instant(query, more).await?;
        let [only] = result.as_slice() else {
            return Err(format!("{query}: {} elements", result.len()));
        };
        number(&only["value"][1]).ok_or_else(|| format!("{query}: {only}"))
    }

    /// Seconds since the epoch, by the clock that the samples have.
    pub(crate) fn now(&self) -> f64 {
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64()
    }

    pub(crate) async fn shards(&self) -> Result<Vec<Value>, String> {
        let data = self.ask_coordinator("/api/v1/shards").await?;
        Ok(data["shards"].as_array().cloned().unwrap_or_default())
    }

    /// What the coordinator says of moves and scaling: its events' texts.
    pub(crate) async fn events(&self) -> Vec<Value> {
        let data = self.ask_coordinator("/api/v1/events?after=0").await.unwrap();
        data["events"].as_array().cloned().unwrap()
    }

    /// The generators' addresses.
    pub(crate) fn generators(&self) -> Vec<String> {
        let state: Value =
            serde_json::from_slice(&fs::read(self.data_dir().join("demo.json")).unwrap()).unwrap();
        state["generators"]
            .as_array()
            .unwrap()
            .iter()
            .map(|address| address.as_str().unwrap().to_owned())
            .collect()
    }

    /// Lets a generator expose this many series.
    pub(crate) async fn resize(&self, generator: &str, series: u64) {
        let url = format!("http://{generator}/-/series?n={series}");
        let response = self.client.post(url).send().await.unwrap();
        assert!(response.status().is_success(), "{}", response.text().await.unwrap());
    }

    /// Processes of this system whose command line has all these words.
    pub(crate) fn processes(&self, words: &[&str]) -> Vec<u32> {
        processes_of(self.folder.path())
            .into_iter()
            .filter(|(_, command)| words.iter().all(|word| command.contains(word)))
            .map(|(pid, _)| pid)
            .collect()
    }

    /// `kill -9` of the one process whose command line has all these words.
    pub(crate) fn kill(&self, words: &[&str]) -> u32 {
        let found = self.processes(words);
        let [pid] = found.as_slice() else { panic!("{words:?}: not one process but {found:?}") };
        signal(*pid, Signal::KILL);
        *pid
    }

    /// SIGTERM for the demo; waits for its end and says whether it ended well.
    pub(crate) async fn stop(&mut self) -> bool {
        let mut demo = self.demo.take().unwrap();
        signal(demo.id(), Signal::TERM);
        eventually(PATIENCE, "the demo ends", async || demo.try_wait().unwrap()).await.success()
    }

    /// `kill -9` of the demo itself.
    pub(crate) fn kill_demo(&mut self) {
        let mut demo = self.demo.take().unwrap();
        demo.kill().unwrap();
        demo.wait().unwrap();
    }
}

impl Drop for System {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the demo said:\n{}", self.said());
            show_logs(self.folder.path());
        }
        if let Some(mut demo) = self.demo.take() {
            // It may have ended by itself.
            drop(demo.kill());
            drop(demo.wait());
        }
        for (pid, _) in processes_of(self.folder.path()) {
            signal(pid, Signal::KILL);
        }
    }
}

/// A JSON string with a number in it.
pub(crate) fn number(value: &Value) -> Option<f64> {
    value.as_str()?.parse().ok()
}

pub(crate) fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(pid.try_into().unwrap()).unwrap();
    // An error says that it is gone.
    let _gone = kill_process(pid, signal);
}

/// Every process that logs into the folder, with its command line: all that a demo in it has started, directly or not.
pub(crate) fn processes_of(folder: &Path) -> Vec<(u32, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let logs_here =
            fs::read_link(entry.path().join("fd/1")).is_ok_and(|log| log.starts_with(folder));
        let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if logs_here && pid != std::process::id() {
            found.push((pid, String::from_utf8_lossy(&command).replace('\0', " ")));
        }
    }
    found
}

/// The end of every log in the folder: what one wants to see when a test has failed.
pub(crate) fn show_logs(folder: &Path) {
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "log") {
                let text = fs::read_to_string(&path).unwrap_or_default();
                let from = text.lines().count().saturating_sub(25);
                let end: Vec<&str> = text.lines().skip(from).collect();
                eprintln!("== {}\n{}", path.display(), end.join("\n"));
            }
        }
    }
}
