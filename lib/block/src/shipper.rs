//! Shipping: finished blocks of a TSDB's folder, uploaded to a bucket.
//!
//! A pass ([`Shipper::sync`]) looks at the local blocks, oldest first. One that the state file lists, or whose
//! `meta.json` is in the bucket, is done. Any other is staged as hard links, so that Prometheus may compact or delete it
//! meanwhile, and uploaded: chunks, index, `meta.json` last. A pass that is killed anywhere leaves a block that nobody
//! sees; the next pass writes all of its files again. Unlike upstream the state file is written after each block, and
//! lists blocks without samples, which are never uploaded: both keep Prometheus' delayed compaction from waiting.

mod metrics;
mod overlap;
mod stage;
mod state;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use model::Labels;
use objstore::Bucket;
use tracing::{debug, error, info, warn};
use ulid::Ulid;

use crate::meta::MetaError;
use crate::{CHUNKS, INDEX, META, Meta, block_id};
pub use metrics::Metrics;
use overlap::OverlapChecker;
use stage::Staged;
use state::State;

/// Files of a block that are uploaded at a time when nothing is said.
const CONCURRENCY: usize = 2;

/// How to ship.
#[derive(Debug, Clone)]
pub struct Options {
    /// The TSDB's folder.
    pub dir: PathBuf,
    /// Name of the state file in that folder.
    pub state_file: String,
    /// What uploaded descriptions name as their source.
    pub source: String,
    /// Upload blocks of compaction level 2 and up, too.
    pub upload_compacted: bool,
    /// Go on with younger blocks when one fails, and upload compacted blocks that overlap others.
    pub allow_out_of_order_uploads: bool,
    /// Leave blocks out whose description cannot be read.
    pub skip_corrupted_blocks: bool,
    /// Record a SHA-256 for each file.
    pub hash_files: bool,
    /// Files of a block that are uploaded at a time; 0 takes the default.
    pub concurrency: usize,
}

/// A pass that did not ship everything.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("read {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("write {}", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("block {block} is damaged")]
    Corrupted {
        block: String,
        #[source]
        source: MetaError,
    },
    #[error("describe block {block}")]
    Describe {
        block: Ulid,
        #[source]
        source: MetaError,
    },
    #[error("ship block {block}")]
    Bucket {
        block: Ulid,
        #[source]
        source: objstore::Error,
    },
    #[error("look through the bucket for overlaps with block {block}")]
    Overlaps {
        block: Ulid,
        #[source]
        source: objstore::Error,
    },
    #[error("compacted block {block} overlaps block {other} in the bucket")]
    Overlap { block: Ulid, other: Ulid },
    #[error("no external labels: they are what tells blocks of different origin apart")]
    NoLabels,
    #[error("{0} blocks were not shipped")]
    Several(usize),
    #[error("file task ended")]
    Task(#[from] tokio::task::JoinError),
}

/// Blocks that are not to be shipped, as their samples are in the bucket otherwise. Cloneable.
#[derive(Clone)]
pub struct LeftOut(Arc<dyn Fn(&Meta) -> bool + Send + Sync>);

impl LeftOut {
    /// Asked once for each block that is to be shipped.
    pub fn new(is_left_out: impl Fn(&Meta) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(is_left_out))
    }
}

impl fmt::Debug for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LeftOut")
    }
}

/// Ships one TSDB's blocks to one bucket.
#[derive(Debug)]
pub struct Shipper {
    options: Options,
    bucket: Bucket,
    metrics: Metrics,
    left_out: Option<LeftOut>,
}

impl Shipper {
    /// A shipper; nothing is done yet.
    pub fn new(options: Options, bucket: Bucket, metrics: Metrics) -> Self {
        Self { options, bucket, metrics, left_out: None }
    }

    /// The same, without some blocks: they count as shipped.
    #[must_use]
    pub fn leaving_out(mut self, left_out: LeftOut) -> Self {
        self.left_out = Some(left_out);
        self
    }

    /// One pass: ships what has to be shipped, and returns how many blocks that were. An error says what was not
    /// shipped; the next pass tries again.
    pub async fn sync(&self, labels: &Labels) -> Result<usize, Error> {
        self.metrics.dir_syncs.inc();
        let result = self.pass(labels).await;
        match &result {
            Ok(_) if self.options.upload_compacted => {
                self.metrics.upload_compacted_done.set(1);
            }
            Ok(_) => {}
            Err(_) => {
                self.metrics.dir_sync_failures.inc();
            }
        }
        result
    }

    /// How many local blocks are still to be shipped, by the state file.
    pub async fn pending(&self) -> Result<usize, Error> {
        let path = self.options.dir.join(&self.options.state_file);
        let state = tokio::task::spawn_blocking(move || State::read(&path)).await?;
        let ours = |meta: &&Meta| self.options.upload_compacted || meta.compaction.level <= 1;
        let metas = self.local_blocks().await?;
        Ok(metas.iter().filter(ours).filter(|meta| !state.has(meta.ulid)).count())
    }

    async fn pass(&self, labels: &Labels) -> Result<usize, Error> {
        if labels.is_empty() {
            return Err(Error::NoLabels);
        }
        let state_path = self.options.dir.join(&self.options.state_file);
        let before = State::read(&state_path);
        let metas = self.local_blocks().await?;
        let mut state = before.only(|id| metas.iter().any(|meta| meta.ulid == id));
        let mut overlaps = OverlapChecker::new(&self.bucket, labels);
        let (mut uploaded, mut failed) = (0, 0);
        for meta in metas {
            if state.has(meta.ulid) {
                continue;
            }
            match self.ship(&meta, labels, &mut overlaps).await {
                Ok(Outcome::NotOurs) => {}
                Ok(outcome) => {
                    uploaded += usize::from(outcome == Outcome::Uploaded);
                    state.add(meta.ulid);
                    self.write_state(&state, &state_path).await?;
                }
                Err(error) if self.options.allow_out_of_order_uploads => {
                    error!(block = %meta.ulid, error = %svc::chain(&error), "block was not shipped");
                    failed += 1;
                }
                Err(error) => return Err(error),
            }
        }
        if state != before || !state_path.exists() {
            self.write_state(&state, &state_path).await?;
        }
        match failed {
            0 => Ok(uploaded),
            failed => Err(Error::Several(failed)),
        }
    }

    async fn ship(
        &self,
        meta: &Meta,
        labels: &Labels,
        overlaps: &mut OverlapChecker<'_>,
    ) -> Result<Outcome, Error> {
        let block = meta.ulid;
        let compacted = meta.compaction.level > 1;
        if compacted && !self.options.upload_compacted {
            return Ok(Outcome::NotOurs);
        }
        if meta.stats.num_samples == 0 {
            debug!(%block, "block has no samples and is not uploaded");
            return Ok(Outcome::Done);
        }
        let failed = |source| Error::Bucket { block, source };
        if self.bucket.exists(&format!("{block}/{META}")).await.map_err(failed)? {
            return Ok(Outcome::Done);
        }
        if self.left_out.as_ref().is_some_and(|LeftOut(is_left_out)| is_left_out(meta)) {
            info!(%block, "block is not uploaded: its samples are in the bucket");
            return Ok(Outcome::Done);
        }
        if compacted && !self.options.allow_out_of_order_uploads {
            overlaps.check(meta).await?;
        }
        if let Err(error) = self.upload(meta, labels).await {
            self.metrics.upload_failures.inc();
            return Err(error);
        }
        overlaps.add(meta);
        self.metrics.uploads.inc();
        info!(%block, samples = meta.stats.num_samples, "block uploaded");
        Ok(Outcome::Uploaded)
    }

    /// Uploads one block: all other files first, the description last.
    async fn upload(&self, meta: &Meta, labels: &Labels) -> Result<(), Error> {
        let block = meta.ulid;
        let staged = Staged::new(&self.options, meta.clone()).await?;
        let description = staged.describe(&self.options.source, labels)?;
        let failed = |source| Error::Bucket { block, source };
        let concurrency = match self.options.concurrency {
            0 => CONCURRENCY,
            given => given,
        };
        let folder = staged.folder();
        futures::stream::iter(staged.segments())
            .map(|name| async move {
                let rel_path = format!("{CHUNKS}/{name}");
                self.bucket.put_file(&format!("{block}/{rel_path}"), &folder.join(rel_path)).await
            })
            .buffer_unordered(concurrency)
            .try_for_each(|_| async { Ok(()) })
            .await
            .map_err(failed)?;
        self.bucket
            .put_file(&format!("{block}/{INDEX}"), &folder.join(INDEX))
            .await
            .map_err(failed)?;
        self.bucket.put(&format!("{block}/{META}"), Bytes::from(description)).await.map_err(failed)
    }

    async fn write_state(&self, state: &State, path: &Path) -> Result<(), Error> {
        let (state, path) = (state.clone(), path.to_owned());
        tokio::task::spawn_blocking(move || state.write(&path)).await?
    }

    /// The descriptions of all blocks, oldest first.
    async fn local_blocks(&self) -> Result<Vec<Meta>, Error> {
        let dir = self.options.dir.clone();
        let read = tokio::task::spawn_blocking(move || read_blocks(&dir)).await??;
        let mut metas = Vec::with_capacity(read.len());
        for (block, meta) in read {
            match meta {
                Ok(meta) => metas.push(meta),
                // Prometheus removed it while we looked.
                Err(error) if error.is_not_found() && !self.options.dir.join(&block).exists() => {}
                Err(source) => {
                    self.metrics.corrupted_blocks.inc();
                    if !self.options.skip_corrupted_blocks {
                        return Err(Error::Corrupted { block, source });
                    }
                    warn!(block, error = %svc::chain(&source), "damaged block left out");
                }
            }
        }
        metas.sort_by_key(|meta| (meta.min_time, meta.ulid));
        Ok(metas)
    }
}

/// What became of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Uploaded,
    /// Uploaded before, or nothing to upload: never to be looked at again.
    Done,
    /// Left to others, and not listed.
    NotOurs,
}

type Read = (String, Result<Meta, MetaError>);

fn read_blocks(dir: &Path) -> Result<Vec<Read>, Error> {
    let unreadable = |source| Error::Read { path: dir.to_owned(), source };
    let mut blocks = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        // A symbolic link is no folder here: what it points to may lie outside.
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_folder && block_id(&name).is_some() {
            let meta = Meta::read(&entry.path());
            blocks.push((name, meta));
        }
    }
    Ok(blocks)
}
