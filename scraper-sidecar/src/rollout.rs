//! Brings the generated `prometheus.yml` into the running Prometheus: written once, reloaded until it is loaded.
//!
//! - Prometheus is asked to reload only when it is not known to run the file ([`Evidence`]). What is known is marked
//!   on the disk, and the mark is taken away before the file changes. So neither a restart of this process nor one of
//!   Prometheus costs a reload, and a reload that a crash has swallowed is made up for.
//! - A file that Prometheus rejects is taken off the disk again in favour of the last one that it loaded: Prometheus
//!   exits when it finds a broken file at its start. The rejected one stays beside it, under its own name, and is tried
//!   again from time to time: what was wrong may be a rule file or a certificate, not the text.
//! - A file with which Prometheus does not come up is taken off the disk for the same reason, and tried once it is up:
//!   only then can it say what is wrong.

mod evidence;

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use svc::backoff::Backoff;
use svc::chain;
use tokio::time::Instant;
use tracing::{error, info, warn};
use xxhash_rust::xxh64::xxh64;

use crate::config::Config;
use crate::error::{Error, Result};
use crate::files::write_if_changed;
use crate::metrics::Metrics;
use crate::owner::blocking;
use crate::prometheus::{CallError, Prometheus, Readiness, Reload};
use evidence::Evidence;

pub(crate) const LAST_GOOD: &str = "prometheus.last-good.yml";
const REJECTED: &str = "prometheus.rejected.yml";
const MARK: &str = "prometheus.loaded";

/// After so many failed connections the file itself may be what keeps Prometheus down: some seconds.
const PATIENT_ATTEMPTS: u32 = 5;

/// The files, by what they are for, and what stands in for a last good one.
#[derive(Debug, Clone)]
struct Paths {
    /// What Prometheus reads.
    output: PathBuf,
    last_good: PathBuf,
    rejected: PathBuf,
    /// A hash of what Prometheus reads, once it has loaded that.
    mark: PathBuf,
    /// A configuration that scrapes nothing.
    empty: String,
}

/// The state of the roll-out. Not a task: its owner drives it with [`Self::turn`] and [`Self::go_on`].
pub(crate) struct Rollout {
    paths: Paths,
    prometheus: Prometheus,
    metrics: Metrics,
    wanted: String,
    phase: Phase,
    /// Since `wanted` is in place.
    evidence: Evidence,
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
    Asking(BoxFuture<'static, (Answer, Evidence)>),
}

/// Why the owner has to go on with a roll-out.
pub(crate) enum Turn {
    /// Time for an attempt.
    Due,
    Answered(Answer, Evidence),
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
    /// It cannot be connected to: the process is not there, as a rule.
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
            mark: config.data_dir.join(MARK),
            empty,
        };
        let (files, text) = (paths.clone(), wanted.clone());
        let (held_back, loaded) = blocking(move || {
            let held_back = fs::read(&files.rejected).is_ok_and(|held| held == text.as_bytes());
            if held_back {
                restore(&files)?;
            } else {
                place(&files, &text)?;
            }
            let marked = fs::read(&files.mark).is_ok_and(|mark| mark == mark_of(&text).as_bytes());
            Ok((held_back, marked && !held_back))
        })
        .await?;
        let error = held_back.then(|| "rejected by prometheus before this start".to_owned());
        Ok(Self {
            paths,
            prometheus,
            metrics,
            wanted,
            phase: if loaded { Phase::Loaded } else { Phase::Waiting(Instant::now()) },
            evidence: Evidence::default(),
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
        blocking(move || place(&files, &wanted)).await?;
        self.wanted = text;
        self.evidence = Evidence::default();
        self.held_back = false;
        self.failed_connections = 0;
        self.error = None;
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
            Phase::Asking(answer) => {
                let (answer, evidence) = answer.await;
                Turn::Answered(answer, evidence)
            }
        }
    }

    /// Does what [`Self::turn`] has announced. Must not be dropped half-way.
    pub(crate) async fn go_on(&mut self, turn: Turn) -> Result<()> {
        let answer = match turn {
            Turn::Due => return self.ask().await,
            Turn::Answered(answer, evidence) => {
                self.evidence = evidence;
                answer
            }
        };
        match answer {
            Answer::Loaded => self.loaded().await,
            Answer::Rejected(reason) => self.was_rejected(reason).await,
            Answer::NotYet(not_yet) => self.not_yet(not_yet).await,
        }
    }

    async fn ask(&mut self) -> Result<()> {
        if self.held_back {
            self.phase = Phase::Waiting(Instant::now() + self.unreachable.wait());
            // A text that may be bad is only on the disk while Prometheus lives.
            if !matches!(self.prometheus.ready().await, Ok(Readiness::Ready)) {
                return Ok(());
            }
            let (files, wanted) = (self.paths.clone(), self.wanted.clone());
            blocking(move || place(&files, &wanted)).await?;
            self.evidence = Evidence::default();
            self.held_back = false;
            self.failed_connections = 0;
        }
        let attempt = attempt(self.prometheus.clone(), self.metrics.clone(), self.evidence);
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
            write_if_changed(&files.mark, &mark_of(&wanted))?;
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

/// Writes the output file where it differs; nobody is known to have loaded it then.
fn place(files: &Paths, text: &str) -> Result<()> {
    if !fs::read(&files.output).is_ok_and(|held| held == text.as_bytes()) {
        match fs::remove_file(&files.mark) {
            Err(cause) if cause.kind() != ErrorKind::NotFound => {
                return Err(Error::write(&files.mark)(cause));
            }
            _ => {}
        }
    }
    write_if_changed(&files.output, text).map(drop)
}

/// What the mark says of a text.
fn mark_of(text: &str) -> String {
    format!("{:016x}\n", xxh64(text.as_bytes(), 0))
}

/// Puts the last good file back, or one that scrapes nothing if there never was one.
fn restore(files: &Paths) -> Result<()> {
    let good = fs::read_to_string(&files.last_good);
    place(files, good.as_ref().unwrap_or(&files.empty))
}

/// Makes Prometheus load its file, unless it is known to have done so by itself.
async fn attempt(
    prometheus: Prometheus,
    metrics: Metrics,
    mut evidence: Evidence,
) -> (Answer, Evidence) {
    match look(&prometheus, &mut evidence).await {
        Err(not_yet) => (Answer::NotYet(not_yet), evidence),
        Ok(true) => (Answer::Loaded, evidence),
        Ok(false) => (reload(&prometheus, &metrics).await, evidence),
    }
}

/// Whether Prometheus has loaded its file. An error where it could not do so now.
async fn look(prometheus: &Prometheus, evidence: &mut Evidence) -> Result<bool, NotYet> {
    // A reload while the WAL is replayed would hang until its end.
    match prometheus.ready().await {
        Ok(Readiness::Ready) => {}
        Ok(Readiness::Starting) => return Err(NotYet::alive("prometheus is starting")),
        Err(error) => {
            if error.is_refused() {
                evidence.nobody();
            }
            return Err(error.into());
        }
    }
    Ok(evidence.look(&prometheus.own_metrics().await?))
}

async fn reload(prometheus: &Prometheus, metrics: &Metrics) -> Answer {
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
