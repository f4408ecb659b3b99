//! The lock of coordinators that share a folder: one file a term, whose name ends in the term's epoch.
//!
//! A term is begun by creating the file of the next epoch, which only one can do (a hard link to a name that exists
//! fails). Its holder keeps the file locked (`flock`, gone at once when the process dies) and touches it at every
//! beat (which a process that hangs does not do). So the highest file says who leads:
//!
//! - its lock is free: the holder is dead, the next term may begin at once;
//! - it is locked and was not touched for a whole lease, as measured by the watcher's own clock: the holder hangs
//!   (SIGSTOP, a dead disk). Where epochs fence it off (shards on the network), the next term begins and the shards
//!   refuse what the old holder still sends. Where they do not (child processes of the local backend) it is killed
//!   first, which only works, and is only needed, on the machine that it runs on;
//! - a holder that sees a higher file than its own has been deposed.
//!
//! No file is ever changed by anyone but its holder, so a holder that wakes up late can break nothing.

use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};
use tracing::{error, info, warn};

use super::{Fence, Holder};
use crate::Error;

/// A longer file is none of ours.
const MAX_RECORD: u64 = 64 << 10;

/// What a term's file says.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Record {
    url: String,
    host: String,
    /// The boot and the process namespace that `pid` means something in.
    machine: String,
    pid: u32,
    /// In milliseconds since the epoch.
    since: i64,
}

/// A term of ours.
#[derive(Debug)]
struct Held {
    epoch: u64,
    path: PathBuf,
    /// Locked for as long as it is open.
    file: File,
}

/// Another's term, as last looked at.
#[derive(Debug)]
struct Watched {
    epoch: u64,
    beat: Option<SystemTime>,
    /// Since when the beat is the same.
    since: Instant,
    complained: bool,
}

/// One coordinator's hand on the lock.
#[derive(Debug)]
pub(super) struct FileLock {
    /// `<path>.<epoch>` are the files.
    path: PathBuf,
    lease: Duration,
    fence: Fence,
    url: String,
    held: Option<Held>,
    watched: Option<Watched>,
}

impl FileLock {
    /// Creates the folder if need be.
    pub(super) fn open(path: &Path, lease: Duration, fence: Fence) -> Result<Self, Error> {
        let folder = folder_of(path);
        fs::create_dir_all(folder)
            .map_err(|source| Error::CreateFolder { path: folder.to_owned(), source })?;
        Ok(Self {
            path: path.to_owned(),
            lease,
            fence,
            url: String::new(),
            held: None,
            watched: None,
        })
    }

    /// Under which URL a term that begins from now on is shown.
    pub(super) fn set_url(&mut self, url: String) {
        self.url = url;
    }

    /// Begins a term if nobody else leads: its epoch, which is above `floor` and above all before.
    pub(super) fn acquire(&mut self, floor: u64) -> Result<Option<u64>, Error> {
        let highest = self.highest()?;
        let Some(epoch) = highest else { return self.claim(floor.saturating_add(1)) };
        let next = epoch.max(floor).saturating_add(1);
        let path = self.term(epoch);
        let file = match File::open(&path) {
            Ok(file) => file,
            // Its holder has just begun another term, or somebody cleans up: the next look shows it.
            Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(Error::Read { path, source }),
        };
        match file.try_lock() {
            Ok(()) => {
                drop(file);
                self.claim(next)
            }
            Err(TryLockError::WouldBlock) => self.watch(epoch, &file, next),
            Err(TryLockError::Error(source)) => Err(Error::Read { path, source }),
        }
    }

    /// Begins another term, above `seen`, out of the one that is held.
    pub(super) fn advance(&mut self, seen: u64) -> Result<Option<u64>, Error> {
        if !self.renew()? {
            return Ok(None);
        }
        let ours = self.held.as_ref().map_or(0, |held| held.epoch);
        let claimed = self.claim(ours.max(seen).saturating_add(1));
        if !matches!(claimed, Ok(Some(_))) {
            self.held = None;
        }
        claimed
    }

    /// Shows that its holder lives. `false`: there is no term of ours any more.
    pub(super) fn renew(&mut self) -> Result<bool, Error> {
        let highest = self.highest()?;
        let Some(held) = &self.held else { return Ok(false) };
        if highest != Some(held.epoch) {
            warn!(ours = held.epoch, highest, "another coordinator has begun a higher term");
            self.held = None;
            return Ok(false);
        }
        held.file
            .set_modified(SystemTime::now())
            .map_err(|source| Error::Write { path: held.path.clone(), source })?;
        Ok(true)
    }

    /// Ends a term of ours; its file stays, so that no epoch comes twice.
    pub(super) fn release(&mut self) {
        self.held = None;
    }

    /// Who holds the highest term, locked or not.
    pub(super) fn holder(&self) -> Option<Holder> {
        let epoch = self.highest().ok().flatten()?;
        let record = self.read(epoch)?;
        let ours = self.held.as_ref().is_some_and(|held| held.epoch == epoch);
        Some(Holder { epoch, url: record.url, host: record.host, since: record.since, ours })
    }

    /// Judges a term that is locked by another.
    fn watch(&mut self, epoch: u64, file: &File, next: u64) -> Result<Option<u64>, Error> {
        let beat = file.metadata().and_then(|found| found.modified()).ok();
        let now = Instant::now();
        let known =
            self.watched.as_mut().filter(|known| known.epoch == epoch && known.beat == beat);
        let Some(known) = known else {
            self.watched = Some(Watched { epoch, beat, since: now, complained: false });
            return Ok(None);
        };
        let silent = now.duration_since(known.since);
        if silent < self.lease {
            return Ok(None);
        }
        let first = !std::mem::replace(&mut known.complained, true);
        if first {
            warn!(epoch, ?silent, lease = ?self.lease, "the leader hangs");
        }
        match self.fence {
            Fence::Epoch => self.claim(next),
            Fence::Kill => {
                self.kill(epoch, first);
                // Once it is dead its lock is free, and the next look takes over.
                Ok(None)
            }
        }
    }

    /// Ends the process that holds a term. Its lock is held, so its id is not another's by now.
    fn kill(&self, epoch: u64, complain: bool) {
        let Some(record) = self.read(epoch) else { return };
        let pid = i32::try_from(record.pid).ok().and_then(rustix::process::Pid::from_raw);
        let Some(pid) = pid.filter(|_| record.machine == machine()) else {
            if complain {
                error!(
                    epoch,
                    host = record.host,
                    "the leader hangs on another machine, and so do its shards: not taking over"
                );
            }
            return;
        };
        if record.pid == std::process::id() {
            return;
        }
        match rustix::process::kill_process(pid, rustix::process::Signal::KILL) {
            Ok(()) => warn!(epoch, pid = record.pid, "killed the leader that hangs"),
            Err(cause) if complain => {
                error!(epoch, pid = record.pid, error = %cause, "the leader that hangs cannot be killed");
            }
            Err(_) => {}
        }
    }

    /// Begins the term of an epoch, unless somebody else just did.
    fn claim(&mut self, epoch: u64) -> Result<Option<u64>, Error> {
        let temporary = self.path.with_file_name(format!(
            "{}.claim-{}-{:x}",
            self.name(),
            std::process::id(),
            std::ptr::from_ref(self).addr()
        ));
        let claimed = self.create(epoch, &temporary);
        // Linked or not, it has served.
        drop(fs::remove_file(&temporary));
        let Some(held) = claimed? else { return Ok(None) };
        info!(epoch, lock = %self.path.display(), "term begun");
        self.held = Some(held);
        self.watched = None;
        self.forget_below(epoch);
        Ok(Some(epoch))
    }

    fn create(&self, epoch: u64, temporary: &Path) -> Result<Option<Held>, Error> {
        let error = |source| Error::Write { path: temporary.to_owned(), source };
        let record = Record {
            url: self.url.clone(),
            host: host_name(),
            machine: machine(),
            pid: std::process::id(),
            since: crate::cycle::now_ms(),
        };
        let content = serde_json::to_vec(&record).map_err(|cause| error(cause.into()))?;
        drop(fs::remove_file(temporary));
        svc::durable::write(temporary, &content).map_err(error)?;
        let file = File::options().read(true).write(true).open(temporary).map_err(error)?;
        // Locked before it has its name: whoever sees it sees it locked.
        file.try_lock().map_err(|cause| error(cause.into()))?;
        let path = self.term(epoch);
        match fs::hard_link(temporary, &path) {
            Ok(()) => {}
            Err(cause) if cause.kind() == ErrorKind::AlreadyExists => return Ok(None),
            Err(source) => return Err(Error::Write { path, source }),
        }
        let folder = folder_of(&path);
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(|source| Error::Write { path: folder.to_owned(), source })?;
        Ok(Some(Held { epoch, path, file }))
    }

    /// Terms that are over are of no more use.
    fn forget_below(&self, epoch: u64) {
        for old in self.epochs().unwrap_or_default().into_iter().filter(|old| *old < epoch) {
            // What stays is forgotten next time.
            drop(fs::remove_file(self.term(old)));
        }
    }

    fn highest(&self) -> Result<Option<u64>, Error> {
        Ok(self.epochs()?.into_iter().max())
    }

    fn epochs(&self) -> Result<Vec<u64>, Error> {
        let folder = folder_of(&self.path);
        let error = |source| Error::Read { path: folder.to_owned(), source };
        let prefix = format!("{}.", self.name());
        let mut epochs = Vec::new();
        for entry in fs::read_dir(folder).map_err(error)? {
            let name = entry.map_err(error)?.file_name();
            let epoch = |name: &str| name.strip_prefix(&prefix)?.parse::<u64>().ok();
            epochs.extend(name.to_str().and_then(epoch));
        }
        Ok(epochs)
    }

    fn read(&self, epoch: u64) -> Option<Record> {
        let path = self.term(epoch);
        let length = fs::metadata(&path).ok()?.len();
        let content = (length <= MAX_RECORD).then(|| fs::read(&path).ok()).flatten()?;
        serde_json::from_slice(&content).ok()
    }

    fn term(&self, epoch: u64) -> PathBuf {
        self.path.with_file_name(format!("{}.{epoch}", self.name()))
    }

    fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

pub(super) fn host_name() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}

/// What process ids are unique in: a boot of a kernel, and a namespace of it.
fn machine() -> String {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let namespace = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    format!("{} {}", boot.trim(), namespace.display())
}

#[cfg(test)]
mod tests;
