//! Kinds of discovery that are not ours, done by a stock Prometheus.
//!
//! Each distinct section gets a Prometheus of its own on a loopback port, with the section as it was written and a
//! rule that drops every target: nothing is scraped, but the targets API shows what was discovered. One process a
//! section, so that a section which that Prometheus refuses harms no other job.

mod engine;
mod targets;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use promconf::{Secret, TargetGroup};
use svc::child::Supervisor;
use svc::{Shutdown, chain};
use tokio::time::Instant;

use crate::labels;
use crate::manager::{ErrorLog, Outlet};
use crate::state::{Answer, shared};
use engine::{Counters, Engine};

/// A section that is not ours.
pub(crate) struct Foreign {
    pub kind: String,
    pub section: Secret,
}

const POLL: Duration = Duration::from_secs(1);
/// A first answer may come in parts, since Prometheus passes on every five seconds what its discovery has found: it
/// is complete when it stayed the same for longer than that,
const SETTLED: Duration = Duration::from_secs(6);
/// and an empty one when it also had the time to get through to the targets API.
const SETTLED_EMPTY: Duration = Duration::from_secs(12);
/// After this time without an answer, something is wrong.
const LATE: Duration = Duration::from_secs(60);
const RECORD: &str = "children.json";
const STOP_WITHIN: Duration = Duration::from_secs(5);
const NAME: &str = "prometheus";

/// Runs a Prometheus and passes on what it discovers, until stopped.
pub(crate) async fn run(
    foreign: Foreign,
    binary: PathBuf,
    folder: PathBuf,
    outlet: Outlet,
    stop: Shutdown,
) {
    let folder = folder.join(format!("{}-{}", labels::name("", &foreign.kind), outlet.id()));
    let mut log = ErrorLog::default();
    let engine = match Engine::start(&foreign, binary, &folder, &stop) {
        Ok(engine) => engine,
        Err(cause) => {
            let errors =
                vec![format!("{} discovery by Prometheus: {}", foreign.kind, chain(&cause))];
            log.note(&errors);
            outlet.send(Answer { groups: None, errors }).await;
            return;
        }
    };
    let mut seen = Seen::new(foreign.kind, Instant::now());
    let mut last = None;
    while stop.sleep(POLL).await {
        let Some(found) = stop.until(engine.look()).await else { break };
        let restarts = engine.restarts();
        let answer = match found {
            Ok((counters, targets)) => seen.note(counters, targets, restarts, Instant::now()),
            Err(cause) => {
                let complaint = engine.complaint(&chain(&cause).to_string());
                seen.failed(&complaint, engine.has_ended(), Instant::now())
            }
        };
        if let Some(answer) = answer.filter(|answer| last.as_ref() != Some(answer)) {
            log.note(&answer.errors);
            outlet.send(answer.clone()).await;
            last = Some(answer);
        }
    }
    engine.stop().await;
}

/// Stops what an earlier life has left running below the folder.
pub(crate) async fn sweep(folder: &Path) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let record = entry.path().join(RECORD);
        if record.exists() {
            svc::child::sweep(&record, STOP_WITHIN).await;
        }
    }
}

/// What has been seen of a Prometheus, and what that says about its discovery.
struct Seen {
    kind: String,
    began: Instant,
    restarts: u64,
    /// When the targets were last seen to change, once discovery has answered.
    changed: Option<Instant>,
    settled: bool,
    targets: Vec<Arc<TargetGroup>>,
    updates: f64,
    /// The count of failures when discovery last answered.
    failures: f64,
}

impl Seen {
    fn new(kind: String, now: Instant) -> Self {
        Self {
            kind,
            began: now,
            restarts: 0,
            changed: None,
            settled: false,
            targets: Vec::new(),
            updates: 0.0,
            failures: 0.0,
        }
    }

    /// Takes a look in; `None` as long as it says nothing yet.
    fn note(
        &mut self,
        counters: Counters,
        targets: Vec<TargetGroup>,
        restarts: u64,
        now: Instant,
    ) -> Option<Answer> {
        if restarts != self.restarts {
            let kind = std::mem::take(&mut self.kind);
            *self = Self { restarts, ..Self::new(kind, now) };
        }
        if counters.failed_configs > 0.0 {
            return Some(self.error("Prometheus could not set the section up, see its log"));
        }
        if counters.updates > self.updates {
            (self.updates, self.failures) = (counters.updates, counters.failures);
        }
        let failed = counters.failures - self.failures;
        if self.updates == 0.0 {
            return match failed > 0.0 {
                true => Some(self.error("Prometheus' refreshes fail")),
                false => self.late(now),
            };
        }
        let changed = *self.changed.get_or_insert(now);
        let targets = shared(targets);
        if targets != self.targets {
            self.targets = targets;
            self.changed = Some(now);
        } else {
            let enough = if self.targets.is_empty() { SETTLED_EMPTY } else { SETTLED };
            self.settled |= now.duration_since(changed) >= enough;
        }
        let errors = match failed > 0.0 {
            true => self.error("Prometheus' refreshes fail").errors,
            false => Vec::new(),
        };
        self.settled.then(|| Answer { groups: Some(self.targets.clone()), errors })
    }

    /// Prometheus did not answer.
    fn failed(&mut self, cause: &str, has_ended: bool, now: Instant) -> Option<Answer> {
        (has_ended || self.settled || now.duration_since(self.began) > LATE)
            .then(|| self.error(cause))
    }

    fn late(&self, now: Instant) -> Option<Answer> {
        (now.duration_since(self.began) > LATE)
            .then(|| self.error("Prometheus has not discovered anything yet"))
    }

    fn error(&self, what: &str) -> Answer {
        Answer { groups: None, errors: vec![format!("{} discovery: {what}", self.kind)] }
    }
}

#[cfg(test)]
mod tests;
