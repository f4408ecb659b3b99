//! Child processes that are kept running: started, watched, restarted with back-off, stopped in order.
//!
//! Which processes run is recorded in a state file (pid and start time), so that the next life of a supervisor that
//! was killed adopts them instead of starting them twice. Children run in process groups of their own: a Ctrl-C at
//! the terminal reaches only the supervisor, which then stops them in its own order.

mod process;
mod record;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::{info, warn};

use crate::Shutdown;
use crate::backoff::Backoff;
use process::Process;
use record::{Record, Records};

/// The first wait before a child is started again; doubles with each quick death.
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// A child that lived this long has its back-off forgotten.
const STEADY: Duration = Duration::from_secs(30);

/// What to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    /// Unique within a supervisor.
    pub name: String,
    pub program: PathBuf,
    pub arguments: Vec<String>,
    /// Added to the supervisor's own environment.
    pub env: Vec<(String, String)>,
    /// Gets standard output and standard error; its folder has to exist.
    pub log_file: PathBuf,
    /// From SIGTERM to SIGKILL.
    pub stop_within: Duration,
}

/// How a child is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    pub name: String,
    /// `None` while it is down.
    pub pid: Option<u32>,
    pub restarts: u64,
    /// How it last ended: `exit status: 1`, `signal: 9 (SIGKILL)`.
    pub last_exit: Option<String>,
}

/// Why children cannot be kept running.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("start {program}")]
    Spawn {
        program: String,
        #[source]
        source: std::io::Error,
    },
    #[error("open log file {path}")]
    Log {
        path: String,
        #[source]
        source: std::io::Error,
    },
    #[error("write {path}")]
    Record {
        path: String,
        #[source]
        source: std::io::Error,
    },
}

/// Keeps children running. Cloneable.
#[derive(Debug, Clone)]
pub struct Supervisor {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    children: Mutex<BTreeMap<String, Child>>,
    records: Mutex<Records>,
    shutdown: Shutdown,
    changes: watch::Sender<u64>,
}

#[derive(Debug)]
struct Child {
    spec: Spec,
    status: Status,
    /// Ends the watching, not the process.
    watching: Shutdown,
    watcher: Option<JoinHandle<()>>,
}

impl Supervisor {
    /// Reads what an earlier life has recorded. An unreadable record is set aside with a warning: its processes then
    /// show as taken ports.
    pub fn open(state_file: &Path, shutdown: &Shutdown) -> Result<Self, Error> {
        let records = Records::open(state_file);
        // Shows at once whether the folder can be written to.
        records
            .save()
            .map_err(|source| Error::Record { path: state_file.display().to_string(), source })?;
        let inner = Inner {
            children: Mutex::default(),
            records: Mutex::new(records),
            shutdown: shutdown.clone(),
            changes: watch::Sender::new(0),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Adopts the recorded child of this name when it still runs with the same command line, else starts it; from
    /// then on it is restarted whenever it ends. Fails only when it cannot be started at all. A name that is
    /// supervised already with an equal spec is left as it is.
    pub fn start(&self, spec: Spec) -> Result<(), Error> {
        if self.inner.children.lock().get(&spec.name).is_some_and(|child| child.spec == spec) {
            return Ok(());
        }
        let process = match self.inner.recorded(&spec) {
            Some(process) => {
                info!(child = spec.name, pid = process.pid(), "adopted");
                process
            }
            None => self.inner.spawn(&spec)?,
        };
        self.inner.watch(spec, process);
        Ok(())
    }

    /// Stops the child of this name, if any, and starts it with the new spec. An equal spec changes nothing.
    pub async fn replace(&self, spec: Spec) -> Result<(), Error> {
        if self.inner.children.lock().get(&spec.name).is_some_and(|child| child.spec == spec) {
            return Ok(());
        }
        self.stop(&spec.name).await;
        self.start(spec)
    }

    /// SIGTERM, a wait, SIGKILL. The child is forgotten afterwards. Unknown names are fine.
    pub async fn stop(&self, name: &str) {
        let Some(mut child) = self.inner.children.lock().remove(name) else { return };
        child.watching.trigger();
        if let Some(watcher) = child.watcher.take() {
            // The watcher hands its process back by ending; a panic there leaves the record, by which we stop.
            drop(watcher.await);
        }
        let record = self.inner.records.lock().get(name).cloned();
        if let Some(process) = record.and_then(|record| Process::find(&record)) {
            process.stop(child.spec.stop_within).await;
        }
        self.inner.forget(name);
        self.inner.changed();
    }

    /// Stops all children, all at once.
    pub async fn stop_all(&self) {
        let names: Vec<String> = self.inner.children.lock().keys().cloned().collect();
        let stops = names.iter().map(|name| self.stop(name));
        futures::future::join_all(stops).await;
    }

    /// Ends the watching and leaves the processes running, for the next supervisor on the same state file to adopt.
    pub fn release(&self) {
        for (_, child) in std::mem::take(&mut *self.inner.children.lock()) {
            child.watching.trigger();
        }
    }

    /// How the children are doing, by name.
    #[must_use]
    pub fn status(&self) -> Vec<Status> {
        self.inner.children.lock().values().map(|child| child.status.clone()).collect()
    }

    /// Changes whenever [`Self::status`] does.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.inner.changes.subscribe()
    }
}

/// What a state file says of a child.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    pub name: String,
    pub arguments: Vec<String>,
}

/// The children that a state file records, whether they run or not. None without the file, or with a broken one.
#[must_use]
pub fn recorded(state_file: &Path) -> Vec<Recorded> {
    let recorded = |record: &Record| Recorded {
        name: record.name.clone(),
        arguments: record.arguments.clone(),
    };
    Records::open(state_file).iter().map(recorded).collect()
}

/// Stops everything that a state file records, its supervisor being dead. Does nothing without the file.
pub async fn sweep(state_file: &Path, stop_within: Duration) {
    let mut records = Records::open(state_file);
    let stops = records.iter().filter_map(Process::find).map(|process| process.stop(stop_within));
    futures::future::join_all(stops).await;
    records.clear();
    if let Err(error) = records.save() {
        warn!(file = %state_file.display(), %error, "record of stopped children not written");
    }
}

impl Inner {
    /// The process that an earlier life started for this spec, if it is still there. One with another command line is
    /// in the way of the new one and is killed.
    fn recorded(&self, spec: &Spec) -> Option<Process> {
        let record = self.records.lock().get(&spec.name).cloned()?;
        let process = Process::find(&record)?;
        if record.program == spec.program
            && record.arguments == spec.arguments
            && record.env == spec.env
        {
            return Some(process);
        }
        warn!(child = spec.name, pid = process.pid(), "recorded with another command line, killed");
        process.kill();
        None
    }

    fn spawn(&self, spec: &Spec) -> Result<Process, Error> {
        let process = Process::spawn(spec)?;
        let record = Record {
            name: spec.name.clone(),
            pid: process.pid(),
            start_time: process.start_time(),
            program: spec.program.clone(),
            arguments: spec.arguments.clone(),
            env: spec.env.clone(),
        };
        let mut records = self.records.lock();
        records.put(record);
        if let Err(error) = records.save() {
            // Without its record a child could be lost after a crash: better not to have it.
            process.kill();
            return Err(Error::Record {
                path: records.path().display().to_string(),
                source: error,
            });
        }
        info!(child = spec.name, pid = process.pid(), "started");
        Ok(process)
    }

    fn forget(&self, name: &str) {
        let mut records = self.records.lock();
        records.remove(name);
        if let Err(error) = records.save() {
            warn!(child = name, %error, "record of stopped child not removed");
        }
    }

    fn watch(self: &Arc<Self>, spec: Spec, process: Process) {
        let watching = self.shutdown.child();
        let name = spec.name.clone();
        let status =
            Status { name: name.clone(), pid: Some(process.pid()), restarts: 0, last_exit: None };
        let watcher =
            tokio::spawn(Arc::clone(self).keep_running(spec.clone(), process, watching.clone()));
        let child = Child { spec, status, watching, watcher: Some(watcher) };
        self.children.lock().insert(name, child);
        self.changed();
    }

    /// Restarts the child whenever it ends, until the watching ends.
    async fn keep_running(self: Arc<Self>, spec: Spec, mut process: Process, watching: Shutdown) {
        let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
        loop {
            let started = tokio::time::Instant::now();
            let Some(exit) = watching.until(process.ended()).await else {
                process.leave();
                return;
            };
            if watching.is_triggered() {
                return;
            }
            warn!(child = spec.name, pid = process.pid(), exit, "ended, to be restarted");
            self.update(&spec.name, |status| {
                status.pid = None;
                status.last_exit = Some(exit);
            });
            if started.elapsed() > STEADY {
                backoff.reset();
            }
            process = loop {
                if !watching.sleep(backoff.wait()).await {
                    return;
                }
                match self.spawn(&spec) {
                    Ok(process) => break process,
                    Err(error) => {
                        warn!(child = spec.name, error = %crate::chain(&error), "not restarted yet")
                    }
                }
            };
            let pid = process.pid();
            self.update(&spec.name, |status| {
                status.pid = Some(pid);
                status.restarts += 1;
            });
        }
    }

    fn update(&self, name: &str, change: impl FnOnce(&mut Status)) {
        if let Some(child) = self.children.lock().get_mut(name) {
            change(&mut child.status);
        }
        self.changed();
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }
}

#[cfg(test)]
mod tests;
