//! Servers with Prometheus' query API, as processes.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use bytes::Bytes;
use query::{Features, LocalConfig, serve_blocks};
use reqwest::{Response, header};

use super::PATIENCE;

/// As the first argument: be our server.
pub const SERVE: &str = "serve";

/// Which program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `shoal tools promql serve` of `$SHOAL_BIN`; without that, this program as the same server.
    Shoal,
    Prometheus,
    VictoriaMetrics,
}

/// Seconds.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    pub start: i64,
    pub end: i64,
    pub step: i64,
}

/// A running server. Killed when dropped.
pub struct Server {
    kind: Kind,
    child: Child,
    url: String,
    client: reqwest::Client,
}

impl Server {
    /// Starts over a folder of blocks, or VictoriaMetrics over one of its own, and waits until it answers.
    pub async fn start(kind: Kind, folder: &Path) -> Self {
        let address = format!("127.0.0.1:{}", testkit::free_port());
        let mut command = match kind {
            Kind::Shoal => shoal(folder, &address),
            Kind::Prometheus => prometheus(folder, &address),
            Kind::VictoriaMetrics => victoria(folder, &address),
        };
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("start {command:?}: {error}"));
        let client = svc::http::client(PATIENCE).unwrap();
        let server = Self { kind, child, url: format!("http://{address}"), client };
        testkit::eventually(PATIENCE, "the server answers", async || {
            let url = format!("{}/api/v1/query?query=1", server.url);
            server.client.get(url).send().await?.error_for_status()
        })
        .await;
        server
    }

    /// A range query; the whole body.
    pub async fn range(&self, query: &str, times: Times) -> Bytes {
        let response = self.ask(query, times).await;
        let status = response.status();
        let body = response.bytes().await.unwrap();
        assert!(status.is_success(), "{:?}: {}", self.kind, String::from_utf8_lossy(&body));
        body
    }

    /// A range query whose answer is read and forgotten; gives its length in bytes.
    pub async fn call(&self, query: &str, times: Times) -> usize {
        let mut response = self.ask(query, times).await.error_for_status().unwrap();
        let mut length = 0;
        while let Some(piece) = response.chunk().await.unwrap() {
            length += piece.len();
        }
        length
    }

    /// Without compression, which none of the three does itself.
    async fn ask(&self, query: &str, times: Times) -> Response {
        let Times { start, end, step } = times;
        let [start, end, step] = [start, end, step].map(|number| number.to_string());
        let mut form = vec![("query", query), ("start", &start), ("end", &end), ("step", &step)];
        if self.kind == Kind::VictoriaMetrics {
            form.push(("nocache", "1"));
        }
        let url = format!("{}/api/v1/query_range", self.url);
        let plain = (header::ACCEPT_ENCODING, "identity");
        self.client.get(url).header(plain.0, plain.1).query(&form).send().await.unwrap()
    }

    /// VictoriaMetrics only: takes samples and writes them to disk.
    pub async fn import(&self, lines: String) {
        let url = format!("{}/api/v1/import", self.url);
        let sent = self.client.post(url).body(lines).send().await.unwrap();
        sent.error_for_status().unwrap();
        let url = format!("{}/internal/force_flush", self.url);
        self.client.get(url).send().await.unwrap().error_for_status().unwrap();
    }

    /// Ends it in good order.
    pub fn stop(mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.child.wait().unwrap();
    }

    /// User and system time so far (proc(5), fields 14 and 15, in hundredths).
    pub fn cpu_seconds(&self) -> f64 {
        let stat = self.proc("stat");
        let fields: Vec<&str> = stat[stat.rfind(')').unwrap()..].split_whitespace().collect();
        (fields[12].parse::<f64>().unwrap() + fields[13].parse::<f64>().unwrap()) / 100.0
    }

    /// Largest resident memory so far.
    pub fn peak_bytes(&self) -> f64 {
        self.status("VmHWM")
    }

    /// Resident memory now; the peak starts over from it.
    pub fn start_peak_over(&self) -> f64 {
        fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5").unwrap();
        self.status("VmRSS")
    }

    fn status(&self, name: &str) -> f64 {
        let status = self.proc("status");
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() * 1024.0
    }

    fn proc(&self, file: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{file}", self.child.id())).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn shoal(folder: &Path, address: &str) -> Command {
    let Some(program) = std::env::var_os("SHOAL_BIN") else {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.arg(SERVE).arg(folder).arg(address);
        return command;
    };
    let mut command = Command::new(program);
    command.args(["tools", "promql", "serve"]);
    command.arg("--tsdb.path").arg(folder).arg(format!("--http-address={address}"));
    command
}

/// Is a server over the folder and at the address that are the next arguments.
pub fn serve() -> ExitCode {
    let mut arguments = std::env::args().skip(2);
    let (folder, address) = (arguments.next().unwrap(), arguments.next().unwrap());
    let config = LocalConfig {
        folder: folder.into(),
        http_address: address.parse().unwrap(),
        timeout: PATIENCE,
        max_concurrent: 20,
        lookback: Duration::from_secs(300),
        max_samples: 50_000_000,
        features: Features::default(),
    };
    svc::run(async move |ctx| serve_blocks(config, &ctx).await.map(drop))
}

fn prometheus(folder: &Path, address: &str) -> Command {
    let config = folder.join("prometheus.yml");
    fs::write(&config, "global: {}\n").unwrap();
    let mut command = Command::new("prometheus");
    command.arg(format!("--config.file={}", config.display()));
    command.arg(format!("--storage.tsdb.path={}", folder.display()));
    command.args(["--storage.tsdb.retention.time=100y", "--log.level=error"]);
    command.arg(format!("--web.listen-address={address}"));
    command
}

fn victoria(folder: &Path, address: &str) -> Command {
    let mut command = Command::new("victoria-metrics");
    command.arg(format!("-storageDataPath={}", folder.display()));
    command.arg(format!("-httpListenAddr={address}"));
    command.args(["-retentionPeriod=100y", "-search.disableCache", "-loggerLevel=ERROR"]);
    command.arg("-search.maxUniqueTimeseries=1000000");
    command
}
