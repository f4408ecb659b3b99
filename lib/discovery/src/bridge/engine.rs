//! The Prometheus process, and what its API says.

use std::fs::DirBuilder;
use std::io::{Read, Seek, SeekFrom};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use promconf::TargetGroup;
use svc::Shutdown;
use svc::child::Spec;
use svc::durable;
use svc::http::{BodyError, read_body};

use super::{Foreign, NAME, RECORD, STOP_WITHIN, Supervisor, targets};

const TIMEOUT: Duration = Duration::from_secs(30);
/// Longest answer that is read, in bytes: some 100,000 targets.
const MAX_BODY: usize = 512 << 20;
/// How much of the end of the log is looked at for a complaint, in bytes.
const LOG_TAIL: u64 = 16 << 10;
const MAX_COMPLAINT: usize = 400;

#[derive(Debug, thiserror::Error)]
pub(super) enum EngineError {
    #[error("write below {}", path.display())]
    Write { path: PathBuf, source: std::io::Error },
    #[error("find a free port")]
    Port(#[source] std::io::Error),
    #[error(transparent)]
    Child(#[from] svc::child::Error),
    #[error("build HTTP client")]
    Client(#[source] ClientError),
    #[error("ask Prometheus")]
    Ask(#[source] reqwest::Error),
    #[error("Prometheus answered HTTP status {0}")]
    Status(reqwest::StatusCode),
    #[error(transparent)]
    Body(#[from] BodyError),
    #[error("read Prometheus' targets")]
    Json(#[from] serde_json::Error),
}

/// What building a client has failed with.
#[derive(Debug, thiserror::Error)]
#[error("{0:#}")]
pub(super) struct ClientError(anyhow::Error);

/// Counters of Prometheus' own metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Counters {
    /// How often discovery has answered.
    pub updates: f64,
    /// How often it has failed to.
    pub failures: f64,
    /// Sections that could not be set up.
    pub failed_configs: f64,
}

pub(super) struct Engine {
    supervisor: Supervisor,
    client: reqwest::Client,
    address: SocketAddr,
    log_file: PathBuf,
    folder: PathBuf,
}

impl Engine {
    /// Writes the configuration and starts Prometheus, which may take a while to answer.
    pub fn start(
        foreign: &Foreign,
        binary: PathBuf,
        folder: &Path,
        stop: &Shutdown,
    ) -> Result<Self, EngineError> {
        let failed = |source| EngineError::Write { path: folder.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
        let config_file = folder.join("prometheus.yml");
        let config = targets::config(&foreign.kind, foreign.section.expose());
        durable::write_with_mode(&config_file, config.as_bytes(), durable::PRIVATE)
            .map_err(failed)?;
        let client =
            svc::http::client(TIMEOUT).map_err(|cause| EngineError::Client(ClientError(cause)))?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(EngineError::Port)?;
        let address = listener.local_addr().map_err(EngineError::Port)?;
        drop(listener);
        let supervisor = Supervisor::open(&folder.join(RECORD), stop)?;
        let log_file = folder.join("prometheus.log");
        supervisor.start(Spec {
            name: NAME.to_owned(),
            program: binary,
            arguments: vec![
                format!("--config.file={}", config_file.display()),
                format!("--storage.tsdb.path={}", folder.join("data").display()),
                "--storage.tsdb.retention.time=2h".to_owned(),
                format!("--web.listen-address={address}"),
            ],
            env: Vec::new(),
            log_file: log_file.clone(),
            stop_within: STOP_WITHIN,
        })?;
        Ok(Self { supervisor, client, address, log_file, folder: folder.to_owned() })
    }

    /// Counters and targets. The counters are read first: targets are at least as new.
    pub async fn look(&self) -> Result<(Counters, Vec<TargetGroup>), EngineError> {
        let metrics = self.get("/metrics").await?;
        let counters = targets::counters(&String::from_utf8_lossy(&metrics));
        let answer = self.get("/api/v1/targets?state=dropped").await?;
        Ok((counters, targets::read(&answer)?))
    }

    async fn get(&self, path: &str) -> Result<bytes::Bytes, EngineError> {
        let url = format!("http://{}{path}", self.address);
        let response = self.client.get(url).send().await;
        let response = response.map_err(|cause| EngineError::Ask(cause.without_url()))?;
        if !response.status().is_success() {
            return Err(EngineError::Status(response.status()));
        }
        Ok(read_body(response, MAX_BODY).await?)
    }

    pub fn restarts(&self) -> u64 {
        self.supervisor.status().first().map_or(0, |status| status.restarts)
    }

    /// Whether the process has ended at least once.
    pub fn has_ended(&self) -> bool {
        self.supervisor.status().first().is_some_and(|status| status.last_exit.is_some())
    }

    /// What Prometheus last complained about, or else what we saw ourselves.
    pub fn complaint(&self, seen: &str) -> String {
        let line = self.has_ended().then(|| self.last_complaint()).flatten();
        line.unwrap_or_else(|| seen.to_owned())
    }

    fn last_complaint(&self) -> Option<String> {
        let mut file = std::fs::File::open(&self.log_file).ok()?;
        let length = file.metadata().ok()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL))).ok()?;
        let mut tail = Vec::new();
        file.take(LOG_TAIL).read_to_end(&mut tail).ok()?;
        let tail = String::from_utf8_lossy(&tail);
        let line = tail.lines().rev().find(|line| line.contains("err="))?;
        let said = line.find("err=").and_then(|at| line.get(at + "err=".len()..))?;
        Some(promconf::without_values(said).chars().take(MAX_COMPLAINT).collect())
    }

    /// Ends the process and removes what it has written.
    pub async fn stop(self) {
        self.supervisor.stop(NAME).await;
        // What cannot be removed is overwritten by the next life.
        drop(std::fs::remove_dir_all(&self.folder));
    }
}
