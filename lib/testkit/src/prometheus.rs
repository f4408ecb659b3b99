//! A real Prometheus, and its `promtool`.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::{eventually, free_port};

/// How long Prometheus may take to replay its WAL, or to end after SIGTERM.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where the configuration comes from.
#[derive(Debug, Clone)]
pub enum PrometheusConfig {
    /// A whole prometheus.yml, written into the data's folder.
    Text(String),
    /// A file that somebody else writes; it has to exist.
    File(PathBuf),
    /// Nothing to scrape, only these external labels.
    ExternalLabels(Vec<(String, String)>),
}

/// How to start a Prometheus.
#[derive(Debug, Clone)]
pub struct PrometheusOptions {
    pub config: PrometheusConfig,
    /// Where blocks and WAL live; a temporary folder by default.
    pub data_dir: Option<PathBuf>,
    /// A free one by default.
    pub port: Option<u16>,
    /// Further flags.
    pub args: Vec<String>,
}

impl Default for PrometheusOptions {
    fn default() -> Self {
        Self {
            config: PrometheusConfig::ExternalLabels(Vec::new()),
            data_dir: None,
            port: None,
            args: Vec::new(),
        }
    }
}

/// A running Prometheus with lifecycle and admin API on a loopback port. Killed when dropped.
#[derive(Debug)]
pub struct Prometheus {
    port: u16,
    data_dir: PathBuf,
    config_file: PathBuf,
    args: Vec<String>,
    child: Option<Child>,
    client: reqwest::Client,
    folder: TempDir,
}

impl Prometheus {
    /// Starts it and waits until it is ready.
    pub async fn start(options: PrometheusOptions) -> Self {
        let mut prometheus = Self::prepare(options);
        prometheus.start_again().await;
        prometheus
    }

    /// All but the process, for [`Self::spawn`].
    #[must_use]
    pub fn prepare(options: PrometheusOptions) -> Self {
        crate::init();
        let folder = tempfile::tempdir().expect("make a temporary folder");
        let PrometheusOptions { config, data_dir, port, args } = options;
        let config_file = match config {
            PrometheusConfig::File(path) => path,
            PrometheusConfig::Text(text) => write_config(folder.path(), &text),
            PrometheusConfig::ExternalLabels(labels) => {
                write_config(folder.path(), &empty_config(&labels))
            }
        };
        Self {
            port: port.unwrap_or_else(free_port),
            data_dir: data_dir.unwrap_or_else(|| folder.path().join("data")),
            config_file,
            args,
            child: None,
            client: svc::http::client(Duration::from_secs(30)).expect("HTTP client"),
            folder,
        }
    }

    /// Whether the process lives; one that has ended may be spawned again.
    pub fn is_running(&mut self) -> bool {
        if self.exit_status().is_some() {
            self.child = None;
        }
        self.child.is_some()
    }

    /// Starts it on the same port, data and configuration after [`Self::kill`] or [`Self::stop`], and waits until it
    /// is ready.
    pub async fn start_again(&mut self) {
        self.spawn();
        let ready = format!("{}/-/ready", self.url());
        let client = self.client.clone();
        eventually(PATIENCE, "prometheus is ready", async || {
            if let Some(status) = self.exit_status() {
                panic!("prometheus ended with {status}; its log:\n{}", self.log());
            }
            client.get(&ready).send().await.and_then(reqwest::Response::error_for_status)
        })
        .await;
    }

    /// Starts it without waiting.
    pub fn spawn(&mut self) {
        assert!(self.child.is_none(), "prometheus runs already");
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_path())
            .expect("open prometheus' log");
        let errors = log.try_clone().expect("share prometheus' log");
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", self.config_file.display()))
            .arg(format!("--storage.tsdb.path={}", self.data_dir.display()))
            .arg(format!("--web.listen-address=127.0.0.1:{}", self.port))
            .args(["--web.enable-lifecycle", "--web.enable-admin-api", "--log.level=info"])
            .args(&self.args)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .spawn();
        self.child =
            Some(child.unwrap_or_else(|cause| panic!("{}", missing("prometheus", &cause))));
    }

    /// `http://127.0.0.1:<port>`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The port, which stays the same over restarts.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where its blocks are.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// The configuration file that it reads; a test may rewrite it.
    #[must_use]
    pub fn config_file(&self) -> &Path {
        &self.config_file
    }

    /// An instant query, now; `data` of the answer.
    pub async fn query(&self, query: &str) -> serde_json::Value {
        self.get("/api/v1/query", &[("query", query)]).await
    }

    /// The sum over an instant vector's values; `None` when it is empty.
    pub async fn query_value(&self, query: &str) -> Option<f64> {
        let data = self.query(query).await;
        let values: Vec<f64> = data["result"]
            .as_array()?
            .iter()
            .filter_map(|sample| sample["value"][1].as_str()?.parse().ok())
            .collect();
        (!values.is_empty()).then(|| values.iter().sum())
    }

    /// Any GET of the HTTP API; `data` of the answer. Panics with Prometheus' own words when it refuses.
    pub async fn get(&self, path: &str, parameters: &[(&str, &str)]) -> serde_json::Value {
        let request = self.client.get(format!("{}{path}", self.url())).query(parameters);
        let response = request.send().await.expect("ask prometheus");
        let mut answer: serde_json::Value = response.json().await.expect("read prometheus' answer");
        assert_eq!(answer["status"], "success", "{path} {parameters:?}: {answer}");
        answer["data"].take()
    }

    /// Reads its configuration again.
    pub async fn reload(&self) {
        let response = self.client.post(format!("{}/-/reload", self.url())).send().await;
        let response = response.expect("ask prometheus to reload");
        let status = response.status();
        let text = response.text().await.unwrap_or_default();
        assert!(status.is_success(), "prometheus refused to reload: {text}");
    }

    /// SIGTERM, and waits for the end: the head is left in the WAL.
    pub async fn stop(&mut self) {
        if self.child.is_none() {
            return;
        }
        self.signal(Signal::TERM);
        eventually(PATIENCE, "prometheus ends after SIGTERM", async || self.exit_status()).await;
        self.child = None;
    }

    /// SIGSTOP: it answers nothing and does nothing until [`Self::go_on`].
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// SIGCONT.
    pub fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("it was started");
        let id = i32::try_from(child.id()).ok().and_then(Pid::from_raw).expect("a process id");
        // An error says that it has ended by itself.
        let _ended = kill_process(id, signal);
    }

    /// SIGKILL, and waits for the end.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // An error says that it has ended already.
            drop(child.kill());
            drop(child.wait());
        }
    }

    /// What it has logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("prometheus.log")
    }

    fn exit_status(&mut self) -> Option<std::process::ExitStatus> {
        self.child.as_mut()?.try_wait().expect("look after prometheus")
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Runs `promtool` and returns its standard output; panics with its words when it fails.
pub fn promtool<S: AsRef<str>>(args: impl IntoIterator<Item = S>) -> String {
    let args: Vec<String> = args.into_iter().map(|arg| arg.as_ref().to_owned()).collect();
    let output = Command::new("promtool")
        .args(&args)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|cause| panic!("{}", missing("promtool", &cause)));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "promtool {args:?} failed:\n{text}{errors}");
    text
}

fn missing(binary: &str, cause: &std::io::Error) -> String {
    format!("{binary} does not start ({cause}); install it: apt-get install prometheus")
}

fn write_config(folder: &Path, text: &str) -> PathBuf {
    let path = folder.join("prometheus.yml");
    std::fs::write(&path, text).expect("write prometheus.yml");
    path
}

/// JSON strings are YAML strings.
fn empty_config(labels: &[(String, String)]) -> String {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let labels: Vec<String> =
        labels.iter().map(|(name, value)| format!("{}: {}", quoted(name), quoted(value))).collect();
    format!("global:\n  external_labels: {{{}}}\n", labels.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn prometheus_starts_answers_and_survives_a_kill() {
        let labels = vec![("replica".to_owned(), "0".to_owned())];
        let mut prometheus = Prometheus::start(PrometheusOptions {
            config: PrometheusConfig::ExternalLabels(labels),
            ..PrometheusOptions::default()
        })
        .await;
        assert_eq!(prometheus.query_value("vector(1) + 1").await, Some(2.0));
        assert_eq!(prometheus.query_value("absent_metric").await, None);
        prometheus.reload().await;
        prometheus.kill();
        prometheus.start_again().await;
        let config = prometheus.get("/api/v1/status/config", &[]).await;
        assert!(config["yaml"].as_str().unwrap().contains("replica: \"0\""), "{config}");
        prometheus.stop().await;
        assert!(prometheus.log().contains("See you next time!"), "{}", prometheus.log());
    }
}
