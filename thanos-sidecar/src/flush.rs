//! Everything into the bucket, the head included: what a shard does before it is taken away for good.
//!
//! A Prometheus that scrapes nothing never writes its head out as a block: that happens once the head spans one and a
//! half block durations, and it no longer grows. So a flush asks for a snapshot (`/api/v1/admin/tsdb/snapshot`), which
//! has hard links to all blocks and one more block made of the head, and ships that folder like any other.
//!
//! The samples of the head would be in the bucket twice if Prometheus went on to write them out as a block itself. A
//! flush is therefore for shards that scrape nothing any more and do not begin again; one that is withdrawn before its
//! block is visible leaves nothing behind.
//!
//! What was flushed is remembered beside the blocks, so that it counts after a restart, and so that one snapshot is
//! shipped to its end before another one is made.

mod api;
mod record;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use block::Shipper;
use model::Labels;
use svc::backoff::Backoff;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::prometheus::Prometheus;
use crate::source::Sources;
pub use api::routes;
use record::Record;

/// Between two attempts.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// How many scrape intervals a head has to be quiet for: two and a tenth, and what a busy machine is late.
const QUIET_INTERVALS: f64 = 2.5;

/// Why not everything is in the bucket.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("ask prometheus")]
    Prometheus(#[from] crate::error::Error),
    #[error("prometheus has no external labels, or has not told them yet")]
    NoLabels,
    #[error("ship blocks")]
    Ship(#[from] block::shipper::Error),
    #[error("write {}", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("prometheus made snapshot {0:?}, which is not in its folder")]
    NoSnapshot(String),
    #[error("prometheus still scrapes: its head grew while the snapshot was made")]
    Growing,
    #[error(
        "prometheus may not be done yet: its last sample is {age:?} old, {quiet:?} are waited for"
    )]
    Restless { age: Duration, quiet: Duration },
    #[error("{0} blocks are not in the bucket yet")]
    Pending(usize),
}

/// Ships whole folders of blocks.
#[derive(Debug)]
pub struct Flusher {
    shipper: Shipper,
    options: block::shipper::Options,
    bucket: objstore::Bucket,
    metrics: block::shipper::Metrics,
    prometheus: Prometheus,
    sources: Sources,
}

/// What is asked of a running flusher, and what it shows.
#[derive(Debug, Clone)]
pub struct Handle {
    flusher: Arc<Flusher>,
    wanted: watch::Sender<bool>,
    shown: watch::Sender<Shown>,
}

/// How it goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Shown {
    flushing: bool,
    last_error: String,
}

/// What is in the bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shipped {
    pending_blocks: usize,
    /// The youngest sample of the head, in milliseconds; `None` when it has none.
    head_max_time: Option<i64>,
    /// Everything, up to that sample.
    complete: bool,
}

impl Flusher {
    /// A flusher beside the loop that ships finished blocks; nothing is done yet.
    pub fn new(
        options: block::shipper::Options,
        bucket: objstore::Bucket,
        metrics: block::shipper::Metrics,
        prometheus: Prometheus,
        sources: Sources,
    ) -> Self {
        let shipper = Shipper::new(options.clone(), bucket.clone(), metrics.clone());
        Self { shipper, options, bucket, metrics, prometheus, sources }
    }

    /// Starts the task that flushes when it is asked to.
    #[must_use]
    pub fn spawn(self, ctx: &svc::Context) -> Handle {
        let (wanted, shown) = (watch::Sender::new(false), watch::Sender::new(Shown::default()));
        let handle = Handle { flusher: Arc::new(self), wanted, shown };
        ctx.tasks.spawn("flusher", handle.clone().run(ctx.shutdown.clone()));
        handle
    }

    /// Ships everything that there is.
    async fn flush(&self) -> Result<(), Error> {
        let labels = self.external_labels().await?;
        self.shipper.sync(&labels).await?;
        if let Some(max_time) = self.prometheus.head_max_time().await? {
            let record = Record::read(&self.options.dir);
            if !record.covers(max_time) {
                self.check_quiet(max_time).await?;
                let name = self.snapshot(&record, max_time).await?;
                self.ship_snapshot(&name, &labels).await?;
                Record::done(max_time).write(&self.options.dir)?;
                self.remove_snapshot(&name);
            }
        }
        let shipped = self.shipped().await?;
        if shipped.complete { Ok(()) } else { Err(Error::Pending(shipped.pending_blocks)) }
    }

    /// A series that ends gets a stale marker for the scrape that did not come, a little after the one after that
    /// would have come (`endOfRunStaleness` of Prometheus' scrape loop). What is shipped before is shipped twice.
    async fn check_quiet(&self, max_time: i64) -> Result<(), Error> {
        let quiet = self.prometheus.longest_interval().await?.mul_f64(QUIET_INTERVALS);
        let age = jiff::Timestamp::now().as_millisecond().saturating_sub(max_time);
        let age = Duration::from_millis(u64::try_from(age).unwrap_or(0));
        if age < quiet { Err(Error::Restless { age, quiet }) } else { Ok(()) }
    }

    /// A snapshot of a head that ends at `max_time`: the one that was begun with, or a new one.
    async fn snapshot(&self, record: &Record, max_time: i64) -> Result<String, Error> {
        match record.snapshot_of(max_time) {
            Some(name) if self.snapshot_folder(name).is_dir() => return Ok(name.to_owned()),
            _ => self.discard(),
        }
        let name = self.prometheus.snapshot().await?;
        if !is_plain(&name) || !self.snapshot_folder(&name).is_dir() {
            return Err(Error::NoSnapshot(name));
        }
        if self.prometheus.head_max_time().await? != Some(max_time) {
            self.remove_snapshot(&name);
            return Err(Error::Growing);
        }
        Record::begun(max_time, name.clone()).write(&self.options.dir)?;
        Ok(name)
    }

    async fn ship_snapshot(&self, name: &str, labels: &Labels) -> Result<(), Error> {
        let dir = self.snapshot_folder(name);
        let options = block::shipper::Options { dir, ..self.options.clone() };
        let shipper = Shipper::new(options, self.bucket.clone(), self.metrics.clone());
        let blocks = shipper.sync(labels).await?;
        info!(snapshot = name, blocks, "snapshot of the head shipped");
        Ok(())
    }

    /// Forgets a snapshot that was begun with and not shipped to its end.
    fn discard(&self) {
        let record = Record::read(&self.options.dir);
        if let Some(name) = record.snapshot() {
            self.remove_snapshot(name);
            if let Err(cause) = Record::default().write(&self.options.dir) {
                warn!(error = %svc::chain(&cause), "record of a snapshot not removed");
            }
        }
    }

    /// What is left behind costs room only.
    fn remove_snapshot(&self, name: &str) {
        if !is_plain(name) {
            return;
        }
        let folder = self.snapshot_folder(name);
        if let Err(error) = std::fs::remove_dir_all(&folder) {
            warn!(folder = %folder.display(), %error, "snapshot not removed");
        }
    }

    fn snapshot_folder(&self, name: &str) -> PathBuf {
        self.options.dir.join("snapshots").join(name)
    }

    async fn external_labels(&self) -> Result<Labels, Error> {
        let labels = match self.prometheus.external_labels().await {
            Ok(labels) => labels,
            Err(_) => {
                let source = self.sources.last().map_err(|_| Error::NoLabels)?;
                source.external_labels.clone()
            }
        };
        if labels.is_empty() { Err(Error::NoLabels) } else { Ok(labels) }
    }

    /// What is in the bucket, by the shipper's own books.
    async fn shipped(&self) -> Result<Shipped, Error> {
        let pending_blocks = self.shipper.pending().await?;
        let head_max_time = self.prometheus.head_max_time().await?;
        let record = Record::read(&self.options.dir);
        let head_is_shipped = head_max_time.is_none_or(|max_time| record.covers(max_time));
        Ok(Shipped {
            pending_blocks,
            head_max_time,
            complete: pending_blocks == 0 && head_is_shipped,
        })
    }
}

impl Handle {
    /// Asks for a flush, or withdraws it.
    fn want(&self, wanted: bool) {
        self.wanted.send_if_modified(|before| std::mem::replace(before, wanted) != wanted);
    }

    /// Returns once a flush is wanted, or not wanted any more.
    async fn until(&self, wish: bool) {
        // Never an error: this handle keeps the channel open.
        drop(self.wanted.subscribe().wait_for(|wanted| *wanted == wish).await);
    }

    async fn run(self, shutdown: svc::Shutdown) -> anyhow::Result<()> {
        let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
        while shutdown.until(self.until(true)).await.is_some() {
            self.shown.send_modify(|shown| shown.flushing = true);
            let outcome = tokio::select! {
                () = shutdown.triggered() => return Ok(()),
                () = self.until(false) => None,
                outcome = self.flusher.flush() => Some(outcome),
            };
            let wait = match outcome {
                Some(Ok(())) => {
                    info!("everything is in the bucket");
                    backoff.reset();
                    self.want(false);
                    self.show(String::new());
                    Duration::ZERO
                }
                Some(Err(cause)) => {
                    let text = svc::chain(&cause);
                    warn!(error = text, "not everything is in the bucket yet");
                    self.show(text);
                    backoff.wait()
                }
                None => Duration::ZERO,
            };
            tokio::select! {
                () = shutdown.triggered() => return Ok(()),
                () = self.until(false) => {
                    self.flusher.discard();
                    self.show(String::new());
                }
                () = tokio::time::sleep(wait) => {}
            }
        }
        Ok(())
    }

    fn show(&self, last_error: String) {
        self.shown.send_replace(Shown { flushing: false, last_error });
    }
}

/// Prometheus names snapshots by time and a random number; it is a part of a path here.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && Path::new(name).file_name().is_some_and(|only| *only == *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_name_is_a_snapshot() {
        assert!(is_plain("20261121T120000Z-1f2e3d4c5b6a7988"));
        for name in ["", ".", "..", "/", "a/b", "../a", "a/"] {
            assert!(!is_plain(name), "{name}");
        }
    }
}
