//! Everything into the bucket, the head included: what a shard does before it is taken away for good.
//!
//! A Prometheus that scrapes nothing never writes its head out as a block: that happens once the head spans one and a
//! half block durations, and it no longer grows. So a flush asks for a snapshot (`/api/v1/admin/tsdb/snapshot`), which
//! has hard links to all blocks and one more block made of the head, and ships that folder like any other.
//!
//! A flush is for shards that scrape nothing any more and do not begin again: it waits until the last stale marker is
//! in the head ([`quiet`]), and one that is withdrawn before its block is visible leaves nothing behind. Should
//! Prometheus write the same samples out as a block itself later on, that block is not shipped.
//!
//! What was flushed is remembered beside the blocks ([`record`]), so that it counts after a restart, and so that one
//! snapshot is shipped to its end before another one is made.

mod api;
mod quiet;
mod record;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use block::shipper::LeftOut;
use block::{META, Meta, Shipper};
use model::Labels;
use svc::backoff::Backoff;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::prometheus::Prometheus;
use crate::prometheus::answer::HeadSpan;
use crate::source::Sources;
pub use api::routes;
use quiet::Watch;
use record::{Begun, Record};

/// Between two attempts.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);

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
    #[error("snapshot {0:?} has no block of the head")]
    NoHead(String),
    #[error("prometheus still has {0} targets")]
    Scraping(usize),
    #[error("prometheus is not done yet: its head grew after {0:?}")]
    Growing(Duration),
    #[error("look for a snapshot in the bucket")]
    Bucket(#[from] objstore::Error),
    #[error("read a snapshot")]
    Snapshot(#[from] block::meta::MetaError),
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
        let shipper = Shipper::new(options.clone(), bucket.clone(), metrics.clone())
            .leaving_out(flushed(&options.dir));
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
        if let Some(head) = self.prometheus.head().await?
            && !self.record().covers(head.max_time)
        {
            let name = self.snapshot(head).await?;
            self.ship_snapshot(&name, &labels).await?;
            self.settle().await?;
        }
        let shipped = self.shipped().await?;
        if shipped.complete { Ok(()) } else { Err(Error::Pending(shipped.pending_blocks)) }
    }

    /// Waits until Prometheus has written its last sample; an error when it has not.
    async fn until_quiet(&self, head: HeadSpan) -> Result<(), Error> {
        let mut watch = Watch::new(self.prometheus.longest_interval().await?, Instant::now());
        loop {
            tokio::time::sleep(watch.step()).await;
            let targets = self.prometheus.targets("active").await?.data.active_targets;
            let targets = targets.map_or(0, |targets| targets.len());
            if targets > 0 {
                return Err(Error::Scraping(targets));
            }
            if self.prometheus.head().await? != Some(head) {
                return Err(Error::Growing(watch.seen()));
            }
            if watch.see(Instant::now()) {
                return Ok(());
            }
        }
    }

    /// A snapshot of this head: the one that was begun with, or a new one.
    async fn snapshot(&self, head: HeadSpan) -> Result<String, Error> {
        let mut record = self.record();
        if let Some(begun) = record.begun() {
            if begun.is_of(head) && self.snapshot_folder(&begun.snapshot).is_dir() {
                return Ok(begun.snapshot.clone());
            }
            self.settle().await?;
            record = self.record();
        }
        self.until_quiet(head).await?;
        let name = self.prometheus.snapshot().await?;
        if !is_plain(&name) || !self.snapshot_folder(&name).is_dir() {
            return Err(Error::NoSnapshot(name));
        }
        if self.prometheus.head().await? != Some(head) {
            self.remove_snapshot(&name);
            return Err(Error::Growing(Duration::ZERO));
        }
        record.begin(head, name.clone());
        record.write(&self.options.dir)?;
        Ok(name)
    }

    async fn ship_snapshot(&self, name: &str, labels: &Labels) -> Result<(), Error> {
        let dir = self.snapshot_folder(name);
        let options = block::shipper::Options { dir, ..self.options.clone() };
        let shipper = Shipper::new(options, self.bucket.clone(), self.metrics.clone())
            .leaving_out(flushed(&self.options.dir));
        let blocks = shipper.sync(labels).await?;
        info!(snapshot = name, blocks, "snapshot of the head shipped");
        Ok(())
    }

    /// Ends with the snapshot that was begun with: its head is remembered if that can be seen in the bucket, and
    /// forgotten if not.
    async fn settle(&self) -> Result<(), Error> {
        let mut record = self.record();
        let Some(begun) = record.begun().cloned() else { return Ok(()) };
        match self.head_of(&begun)? {
            Some(head) if self.bucket.exists(&format!("{}/{META}", head.ulid)).await? => {
                record.finish(head.stats.num_samples);
            }
            _ => record.forget(),
        }
        record.write(&self.options.dir)?;
        self.remove_snapshot(&begun.snapshot);
        Ok(())
    }

    /// The block of the head in a snapshot; `None` when the snapshot is gone.
    fn head_of(&self, begun: &Begun) -> Result<Option<Meta>, Error> {
        let name = &begun.snapshot;
        let folder = self.snapshot_folder(name);
        if !is_plain(name) || !folder.is_dir() {
            return Ok(None);
        }
        let unreadable = |_| Error::NoSnapshot(name.clone());
        for entry in std::fs::read_dir(&folder).map_err(unreadable)?.flatten() {
            if block::block_id(&entry.file_name().to_string_lossy()).is_none() {
                continue;
            }
            let meta = Meta::read(&entry.path())?;
            if begun.is_head(&meta) {
                return Ok(Some(meta));
            }
        }
        Err(Error::NoHead(name.clone()))
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

    fn record(&self) -> Record {
        Record::read(&self.options.dir)
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
        let head_max_time = self.prometheus.head().await?.map(|head| head.max_time);
        let record = self.record();
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
                () = self.until(false) => match shutdown.until(self.withdraw()).await {
                    Some(error) => self.show(error),
                    None => return Ok(()),
                },
                () = tokio::time::sleep(wait) => {}
            }
        }
        Ok(())
    }

    /// Ends a flush that is not wanted any more; why not, if it could not be ended.
    async fn withdraw(&self) -> String {
        match self.flusher.settle().await {
            Ok(()) => String::new(),
            Err(cause) => {
                let error = svc::chain(&cause);
                warn!(error, "flush not withdrawn yet");
                error
            }
        }
    }

    fn show(&self, last_error: String) {
        self.shown.send_replace(Shown { flushing: false, last_error });
    }
}

/// Blocks of what was flushed before.
pub fn flushed(dir: &Path) -> LeftOut {
    let dir = dir.to_owned();
    LeftOut::new(move |block| Record::read(&dir).has(block))
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
