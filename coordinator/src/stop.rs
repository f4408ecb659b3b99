//! The emergency switch: keeps shards from scraping, all jobs or some, without taking their targets away.
//!
//! It is persisted here and at every shard, with the moment of its last change. The newest change counts: a coordinator
//! that has lost its folder learns it from the shards, and shards keep to it while no coordinator is there.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use proto::coordination::{Stop, StopScrape};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tracing::{error, info, warn};

use crate::Error;

const FILE: &str = "stop-scrape.json";

/// The switch. Cloneable; all clones are one.
#[derive(Debug, Clone)]
pub(crate) struct Switch {
    path: Arc<Path>,
    /// Held while it is changed.
    changing: Arc<Mutex<()>>,
    state: watch::Sender<Arc<StopScrape>>,
}

/// As it is on the disk.
#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    revision: u64,
    stops: Vec<StoredStop>,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredStop {
    job: String,
    reason: String,
    since_ms: i64,
}

impl Switch {
    /// As it was left in the folder; off, where there is nothing.
    pub(crate) fn open(data_dir: &Path) -> Result<Self, Error> {
        let path = data_dir.join(FILE);
        let state = read(&path)?;
        for stop in &state.stops {
            warn!(job = stop.job, reason = stop.reason, "scraping is still stopped");
        }
        let (state, _) = watch::channel(Arc::new(state));
        Ok(Self { path: path.into(), changing: Arc::default(), state })
    }

    /// The state, now and from now on.
    pub(crate) fn watch(&self) -> watch::Receiver<Arc<StopScrape>> {
        self.state.subscribe()
    }

    /// Stops a job, or all where it is empty. Returns once that is on the disk, which may take a moment.
    pub(crate) fn stop(&self, job: &str, reason: &str, now_ms: i64) -> Result<(), Error> {
        self.change(now_ms, |stops| {
            stops.retain(|stop| stop.job != job);
            let (job, reason) = (job.to_owned(), reason.to_owned());
            stops.push(Stop { job, reason, since_ms: now_ms });
            stops.sort_by(|a, b| a.job.cmp(&b.job));
        })?;
        warn!(job, reason, "scraping is stopped");
        Ok(())
    }

    /// Ends the stop of a job, or every stop where there is none named. Whether there was one.
    pub(crate) fn resume(&self, job: Option<&str>, now_ms: i64) -> Result<bool, Error> {
        let ends = |stop: &Stop| job.is_none_or(|job| stop.job == job);
        let found = self.state.borrow().stops.iter().any(ends);
        if found {
            self.change(now_ms, |stops| stops.retain(|stop| !ends(stop)))?;
            info!(job = job.unwrap_or_default(), "scraping goes on");
        }
        Ok(found)
    }

    fn change(&self, now_ms: i64, change: impl FnOnce(&mut Vec<Stop>)) -> Result<(), Error> {
        let _changing = self.changing.lock();
        let mut next = StopScrape::clone(&self.state.borrow());
        change(&mut next.stops);
        // Above the last one even where the clock was set back.
        next.revision = u64::try_from(now_ms).unwrap_or(0).max(next.revision + 1);
        self.put(next)
    }

    /// Takes over what a shard holds, where that is newer: another coordinator has changed it.
    pub(crate) fn adopt(&self, seen: &StopScrape) -> Result<(), Error> {
        let _changing = self.changing.lock();
        if seen.revision <= self.state.borrow().revision {
            return Ok(());
        }
        for stop in &seen.stops {
            warn!(
                job = stop.job,
                reason = stop.reason,
                "scraping was stopped by another coordinator"
            );
        }
        self.put(seen.clone())
    }

    /// Takes over what another coordinator has left in the folder, where that is newer.
    pub(crate) fn reread(&self) -> Result<(), Error> {
        self.show(&read(&self.path)?);
        Ok(())
    }

    /// Takes over what is newer and leaves the file alone: it may be another coordinator's.
    pub(crate) fn show(&self, seen: &StopScrape) {
        let _changing = self.changing.lock();
        if seen.revision > self.state.borrow().revision {
            self.state.send_replace(Arc::new(seen.clone()));
        }
    }

    fn put(&self, next: StopScrape) -> Result<(), Error> {
        let stops = next.stops.iter().cloned();
        let stored = |Stop { job, reason, since_ms }| StoredStop { job, reason, since_ms };
        let stored = Stored { revision: next.revision, stops: stops.map(stored).collect() };
        let failed = |source| Error::Write { path: self.path.to_path_buf(), source };
        let text = serde_json::to_vec(&stored).map_err(|cause| failed(cause.into()))?;
        svc::durable::write(&self.path, &text).map_err(failed)?;
        self.state.send_replace(Arc::new(next));
        Ok(())
    }
}

/// Now, in milliseconds since the epoch.
pub(crate) fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}

/// Why a job is not scraped; `None` where it is.
pub(crate) fn reason<'a>(stop: &'a StopScrape, job: &str) -> Option<&'a str> {
    let mut stops = stop.stops.iter();
    stops.find(|stop| stop.job.is_empty() || stop.job == job).map(|stop| stop.reason.as_str())
}

fn read(path: &Path) -> Result<StopScrape, Error> {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => {
            return Ok(StopScrape::default());
        }
        Err(source) => return Err(Error::Read { path: path.to_owned(), source }),
    };
    match serde_json::from_slice::<Stored>(&text) {
        Ok(Stored { revision, stops }) => {
            let stop = |StoredStop { job, reason, since_ms }| Stop { job, reason, since_ms };
            Ok(StopScrape { revision, stops: stops.into_iter().map(stop).collect() })
        }
        Err(cause) => {
            let aside = PathBuf::from(format!("{}.corrupt", path.display()));
            let failed = |source| Error::Write { path: aside.clone(), source };
            std::fs::rename(path, &aside).map_err(failed)?;
            error!(
                file = %path.display(), set_aside = %aside.display(), error = %cause,
                "the stop-scrape switch is corrupt, it is as the shards have it"
            );
            Ok(StopScrape::default())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jobs(switch: &Switch) -> Vec<String> {
        switch.watch().borrow().stops.iter().map(|stop| stop.job.clone()).collect()
    }

    #[test]
    fn it_stays_as_it_was_left_and_each_change_is_newer_than_the_last() {
        let folder = tempfile::tempdir().unwrap();
        let switch = Switch::open(folder.path()).unwrap();
        switch.stop("b", "disk full", 1_000).unwrap();
        switch.stop("", "everything burns", 500).unwrap();
        assert_eq!(switch.watch().borrow().revision, 1_001);
        let again = Switch::open(folder.path()).unwrap();
        assert_eq!(jobs(&again), ["", "b"]);
        let state = Arc::clone(&again.watch().borrow());
        assert_eq!(reason(&state, "a"), Some("everything burns"));
        assert!(again.resume(Some(""), 2_000).unwrap());
        assert!(!again.resume(Some("none"), 3_000).unwrap());
        let state = Arc::clone(&Switch::open(folder.path()).unwrap().watch().borrow());
        assert_eq!((reason(&state, "a"), reason(&state, "b")), (None, Some("disk full")));
        assert_eq!(state.revision, 2_000);
        assert!(again.resume(None, 4_000).unwrap());
        assert_eq!(jobs(&again), Vec::<String>::new());
    }

    #[test]
    fn what_a_shard_holds_counts_when_it_is_newer() {
        let folder = tempfile::tempdir().unwrap();
        let switch = Switch::open(folder.path()).unwrap();
        switch.stop("a", "mine", 1_000).unwrap();
        let stop = Stop { job: "b".to_owned(), reason: "theirs".to_owned(), since_ms: 1 };
        let mut seen = StopScrape { revision: 1_000, stops: vec![stop] };
        switch.adopt(&seen).unwrap();
        assert_eq!(jobs(&switch), ["a"]);
        seen.revision = 1_001;
        switch.adopt(&seen).unwrap();
        assert_eq!(jobs(&switch), ["b"]);
        assert_eq!(jobs(&Switch::open(folder.path()).unwrap()), ["b"]);
    }

    #[test]
    fn a_corrupt_file_is_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE), "{\"revision\":").unwrap();
        assert_eq!(jobs(&Switch::open(folder.path()).unwrap()), Vec::<String>::new());
        assert!(folder.path().join("stop-scrape.json.corrupt").exists());
    }
}
