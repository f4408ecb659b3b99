//! Brings the generated `prometheus.yml` into the running Prometheus: written once, reloaded until it is loaded.
//!
//! - Prometheus is asked to reload only when it does not run the file yet. Whether it does is read off its own
//!   `prometheus_config_last_reload_success_timestamp_seconds`, so neither a restart of this process nor one of
//!   Prometheus costs a reload, and a reload that a crash has swallowed is made up for.
//! - A file that Prometheus rejects is taken off the disk again in favour of the last one that it loaded: Prometheus
//!   exits when it finds a broken file at its start. The rejected one stays beside it, under its own name, and is tried
//!   again from time to time: what was wrong may be a rule file or a certificate, not the text.
//! - A file with which Prometheus does not come up is taken off the disk for the same reason, and tried once it is up:
//!   only then can it say what is wrong.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::FutureExt;
use futures::future::BoxFuture;
use svc::backoff::Backoff;
use svc::chain;
use tokio::time::Instant;
use tracing::{error, info, warn};

use crate::config::Config;
use crate::error::{Error, Result};
use crate::files::{Written, write_if_changed};
use crate::metrics::Metrics;
use crate::owner::blocking;
use crate::prometheus::{CallError, OwnMetrics, Prometheus, Readiness, Reload};

pub(crate) const LAST_GOOD: &str = "prometheus.last-good.yml";
const REJECTED: &str = "prometheus.rejected.yml";

/// After so many failed connections the file itself may be what keeps Prometheus down: some seconds.
const PATIENT_ATTEMPTS: u32 = 5;

/// The three files, by what they are for, and what stands in for a last good one.
#[derive(Debug, Clone)]
struct Paths {
    /// What Prometheus reads.
    output: PathBuf,
    last_good: PathBuf,
    rejected: PathBuf,
    /// A configuration that scrapes nothing.
    empty: String,
}

/// The state of the roll-out. Not a task: its owner drives it with [`Self::turn`] and [`Self::go_on`].
pub(crate) struct Rollout {
    paths: Paths,
    prometheus: Prometheus,
    metrics: Metrics,
    wanted: String,
    /// When `wanted` was in place.
    written_at: SystemTime,
    phase: Phase,
    /// Prometheus may have loaded the file by itself in the meantime.
    check_first: bool,
    /// `wanted` is not on the disk, but the last good file.
    held_back: bool,
    failed_connections: u32,
    error: Option<String>,
    unreachable: Backoff,
    rejection: Backoff,
}

enum Phase {
    Loaded,
    Waiting(Instant),
    Asking(BoxFuture<'static, Answer>),
}

/// Why the owner has to go on with a roll-out.
pub(crate) enum Turn {
    /// Time for an attempt.
    Due,
    Answered(Answer),
}

/// What became of an attempt.
pub(crate) enum Answer {
    Loaded,
    Rejected(String),
    NotYet(NotYet),
}

/// Why nothing can be said about the configuration.
pub(crate) struct NotYet {
    reason: String,
    /// Nobody listens: the process is not there.
    dead: bool,
}

impl NotYet {
    fn alive(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), dead: false }
    }
}

impl From<CallError> for NotYet {
    fn from(error: CallError) -> Self {
        Self { reason: chain(&error), dead: error.is_connect() }
    }
}

impl Rollout {
    /// Puts `wanted` in place; see [`Self::offer`]. One that Prometheus is known to reject is held back.
    pub(crate) async fn open(
        config: &Config,
        prometheus: Prometheus,
        metrics: Metrics,
        wanted: String,
        empty: String,
    ) -> Result<Self> {
        let paths = Paths {
            output: config.output_file.clone(),
            last_good: config.data_dir.join(LAST_GOOD),
            rejected: config.data_dir.join(REJECTED),
            empty,
        };
        let (files, text) = (paths.clone(), wanted.clone());
        let (held_back, written_at) = blocking(move || {
            let held_back = fs::read(&files.rejected).is_ok_and(|held| held == text.as_bytes());
            let written_at = if held_back { restore(&files)? } else { place(&files, &text)? };
            Ok((held_back, written_at))
        })
        .await?;
        let error = held_back.then(|| "rejected by prometheus before this start".to_owned());
        Ok(Self {
            paths,
            prometheus,
            metrics,
            wanted,
            written_at,
            phase: Phase::Waiting(Instant::now()),
            check_first: true,
            held_back,
            failed_connections: 0,
            error,
            unreachable: Backoff::new(Duration::from_millis(500), Duration::from_secs(5)),
            rejection: Backoff::new(Duration::from_secs(5), Duration::from_secs(60)),
        })
    }

    /// From now on this is the configuration. Returns once it is on the disk; nothing happens when it is the one
    /// already.
    pub(crate) async fn offer(&mut self, text: String) -> Result<()> {
        if text == self.wanted {
            return Ok(());
        }
        let (files, wanted) = (self.paths.clone(), text.clone());
        self.written_at = blocking(move || place(&files, &wanted)).await?;
        self.wanted = text;
        self.held_back = false;
        self.failed_connections = 0;
        self.error = None;
        self.check_first = false;
        self.unreachable.reset();
        self.rejection.reset();
        // An answer on its way would be about the text before.
        self.phase = Phase::Waiting(Instant::now());
        Ok(())
    }

    /// Why Prometheus does not run the configuration; `None` when it does, or was not asked yet.
    pub(crate) fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    /// Waits until there is something to do. May be dropped at any time.
    pub(crate) async fn turn(&mut self) -> Turn {
        match &mut self.phase {
            Phase::Loaded => std::future::pending().await,
            Phase::Waiting(until) => {
                tokio::time::sleep_until(*until).await;
                Turn::Due
            }
            Phase::Asking(answer) => Turn::Answered(answer.await),
        }
    }

    /// Does what [`Self::turn`] has announced. Must not be dropped half-way.
    pub(crate) async fn go_on(&mut self, turn: Turn) -> Result<()> {
        match turn {
            Turn::Due => self.ask().await,
            Turn::Answered(Answer::Loaded) => self.loaded().await,
            Turn::Answered(Answer::Rejected(reason)) => self.was_rejected(reason).await,
            Turn::Answered(Answer::NotYet(not_yet)) => self.not_yet(not_yet).await,
        }
    }

    async fn ask(&mut self) -> Result<()> {
        if self.held_back {
            self.phase = Phase::Waiting(Instant::now() + self.unreachable.wait());
            // A text that may be bad is only on the disk while Prometheus lives.
            if ready(&self.prometheus).await.is_err() {
                return Ok(());
            }
            let (files, wanted) = (self.paths.clone(), self.wanted.clone());
            self.written_at = blocking(move || place(&files, &wanted)).await?;
            self.held_back = false;
            self.failed_connections = 0;
        }
        let attempt = attempt(
            self.prometheus.clone(),
            self.metrics.clone(),
            self.check_first.then_some(self.written_at),
        );
        self.phase = Phase::Asking(attempt.boxed());
        Ok(())
    }

    async fn loaded(&mut self) -> Result<()> {
        if self.error.take().is_some() {
            info!("prometheus runs the configuration");
        }
        self.phase = Phase::Loaded;
        self.failed_connections = 0;
        let (files, wanted) = (self.paths.clone(), self.wanted.clone());
        blocking(move || {
            write_if_changed(&files.last_good, &wanted)?;
            // There is none as a rule.
            drop(fs::remove_file(&files.rejected));
            Ok(())
        })
        .await
    }

    async fn was_rejected(&mut self, reason: String) -> Result<()> {
        let reason = format!("prometheus rejected the configuration: {reason}");
        if self.error.as_ref() != Some(&reason) {
            error!(
                reason,
                rejected_file = %self.paths.rejected.display(),
                "configuration rejected; prometheus goes on with the one before"
            );
        }
        self.error = Some(reason);
        self.phase = Phase::Waiting(Instant::now() + self.rejection.wait());
        self.check_first = false;
        let (files, wanted) = (self.paths.clone(), self.wanted.clone());
        blocking(move || {
            write_if_changed(&files.rejected, &wanted)?;
            restore(&files)
        })
        .await?;
        self.held_back = true;
        Ok(())
    }

    async fn not_yet(&mut self, NotYet { reason, dead }: NotYet) -> Result<()> {
        if self.error.is_none() {
            warn!(reason, "configuration not loaded yet");
        }
        self.error = Some(format!("not loaded yet: {reason}"));
        self.check_first = true;
        self.phase = Phase::Waiting(Instant::now() + self.unreachable.wait());
        self.failed_connections += u32::from(dead);
        if self.failed_connections < PATIENT_ATTEMPTS {
            return Ok(());
        }
        let files = self.paths.clone();
        blocking(move || restore(&files)).await?;
        self.held_back = true;
        Ok(())
    }
}

/// Writes the output file where it differs. Returns since when it is as it is.
fn place(files: &Paths, text: &str) -> Result<SystemTime> {
    match write_if_changed(&files.output, text)? {
        Written::Changed => Ok(SystemTime::now()),
        Written::AsBefore => {
            // The change time is that of the rename; the modification time is a little earlier.
            let metadata = fs::metadata(&files.output).map_err(Error::read(&files.output))?;
            let seconds = u64::try_from(metadata.ctime()).unwrap_or(0);
            let nanoseconds = u32::try_from(metadata.ctime_nsec()).unwrap_or(0);
            Ok(UNIX_EPOCH + Duration::new(seconds, nanoseconds))
        }
    }
}

/// Puts the last good file back, or one that scrapes nothing if there never was one.
fn restore(files: &Paths) -> Result<SystemTime> {
    let good = fs::read_to_string(&files.last_good);
    place(files, good.as_ref().unwrap_or(&files.empty))
}

/// Makes Prometheus load its file. With a time, it is asked first whether it has loaded the file since then.
async fn attempt(prometheus: Prometheus, metrics: Metrics, since: Option<SystemTime>) -> Answer {
    // A reload while the WAL is replayed would hang until its end.
    if let Err(not_yet) = ready(&prometheus).await {
        return Answer::NotYet(not_yet);
    }
    if let Some(since) = since {
        match prometheus.own_metrics().await {
            Ok(own) if has_loaded(&own, since) => return Answer::Loaded,
            Ok(_) => {}
            Err(error) => return Answer::NotYet(error.into()),
        }
    }
    metrics.reloads.inc();
    let reload = prometheus.reload().await;
    if !matches!(reload, Ok(Reload::Loaded)) {
        metrics.reload_failures.inc();
    }
    match reload {
        Ok(Reload::Loaded) => {
            info!("prometheus reloaded");
            Answer::Loaded
        }
        Ok(Reload::Rejected(reason)) => Answer::Rejected(reason),
        Err(CallError::Status { status, text }) if status == reqwest::StatusCode::FORBIDDEN => {
            Answer::NotYet(NotYet::alive(format!(
                "prometheus refuses to reload ({text}): --web.enable-lifecycle"
            )))
        }
        Err(error) => Answer::NotYet(error.into()),
    }
}

async fn ready(prometheus: &Prometheus) -> Result<(), NotYet> {
    match prometheus.ready().await {
        Ok(Readiness::Ready) => Ok(()),
        Ok(Readiness::Starting) => Err(NotYet::alive("prometheus is starting")),
        Err(error) => Err(error.into()),
    }
}

fn has_loaded(own: &OwnMetrics, since: SystemTime) -> bool {
    let since = since.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    own.loaded_well == Some(1.0) && own.loaded_seconds.is_some_and(|loaded| loaded >= since)
}
