//! A block as a folder: `index`, `chunks/000001…` and, when samples were deleted, `tombstones`. What `meta.json` says
//! is not read here.

mod matching;
mod merge;
mod read;
mod segment;
mod tombstones;
mod writer;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::{Labels, Matcher};

use crate::index::{ChunkMeta, Index};
use crate::{FileSource, FormatError, ReadAt};

use self::matching::Ids;
use self::segment::{FailedChunk, Segments};
use self::tombstones::Tombstones;

pub use matching::matching_series;
pub use merge::{Merge, MergedSeries};
pub use read::Samples;
pub use segment::{Chunk, ChunkError as SegmentWriteError, SegmentWriter};
pub use tombstones::Interval;
pub use writer::{BlockWriteError, BlockWriter};

/// Files up to this size are held in memory; larger ones are read where they are needed.
const IN_MEMORY_BYTES: u64 = 8 << 20;

/// A file of a block that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("read {}", .path.display())]
pub struct BlockError {
    /// Which file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub source: FormatError,
}

/// An open block. Reading it needs no lock.
#[derive(Debug)]
pub struct Block {
    folder: PathBuf,
    index: Index,
    segments: Segments,
    tombstones: Tombstones,
}

impl Block {
    /// Opens the files of a block's folder.
    pub fn open(folder: &Path) -> Result<Arc<Self>, BlockError> {
        let path = folder.join("index");
        let index = open_source(&path).and_then(Index::open).map_err(at(&path))?;
        let chunks = folder.join("chunks");
        let mut segments = Vec::new();
        for path in segment::paths(&chunks).map_err(|error| at(&chunks)(io(error)))? {
            let source = open_source(&path).and_then(segment::checked).map_err(at(&path))?;
            segments.push(source);
        }
        let path = folder.join("tombstones");
        let tombstones = match fs::read(&path) {
            Ok(bytes) => Tombstones::decode(&bytes).map_err(at(&path))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Tombstones::default(),
            Err(error) => return Err(at(&path)(io(error))),
        };
        let segments = Segments::new(segments);
        Ok(Arc::new(Self { folder: folder.to_owned(), index, segments, tombstones }))
    }

    /// The folder that it was opened from.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Its index, for label names and values.
    #[must_use]
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// The series that pass all matchers and have a chunk in the time range (milliseconds, both ends included), in
    /// order of labels. No matcher: every series.
    pub fn select(
        self: &Arc<Self>,
        matchers: &[Matcher],
        min_time: i64,
        max_time: i64,
    ) -> Result<Select, BlockError> {
        let ids = Ids::matching(&self.index, matchers).map_err(|e| self.index_error(e))?;
        let block = Arc::clone(self);
        Ok(Select { block, ids, min_time, max_time, last: None })
    }

    /// A chunk, after its checksum was compared.
    pub fn chunk(&self, reference: u64) -> Result<Chunk, BlockError> {
        self.segments.chunk(reference).map_err(|failed| self.chunk_error(failed))
    }

    fn index_error(&self, source: FormatError) -> BlockError {
        BlockError { path: self.folder.join("index"), source }
    }

    fn chunk_error(&self, failed: FailedChunk) -> BlockError {
        let name = segment::file_name(failed.reference >> 32);
        BlockError { path: self.folder.join("chunks").join(name), source: failed.error }
    }
}

fn at(path: &Path) -> impl FnOnce(FormatError) -> BlockError + '_ {
    |source| BlockError { path: path.to_owned(), source }
}

fn io(source: std::io::Error) -> FormatError {
    FormatError::Io { offset: 0, length: 0, source }
}

fn open_source(path: &Path) -> Result<Box<dyn ReadAt>, FormatError> {
    let file = FileSource::open(path).map_err(io)?;
    if file.size() > IN_MEMORY_BYTES {
        return Ok(Box::new(file));
    }
    Ok(Box::new(fs::read(path).map_err(io)?))
}

/// A series of a block: where its samples of a time range lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockSeries {
    /// Its labels.
    pub labels: Labels,
    /// Those of its chunks that reach into the time range and are not deleted as a whole, oldest first.
    pub chunks: Vec<ChunkMeta>,
    /// Times whose samples are deleted, ascending; they may lie outside of the chunks.
    pub deleted: Vec<Interval>,
}

/// The series of one selection. After an error there are no more.
#[derive(Debug)]
pub struct Select {
    block: Arc<Block>,
    ids: Ids,
    min_time: i64,
    max_time: i64,
    last: Option<Labels>,
}

impl Select {
    /// The next series that has something in the time range.
    fn find(&mut self) -> Result<Option<BlockSeries>, BlockError> {
        loop {
            let id = match self.ids.next(&self.block.index) {
                Ok(Some(id)) => id,
                Ok(None) => return Ok(None),
                Err(error) => return Err(self.block.index_error(error)),
            };
            if let Some(series) = self.series(id)? {
                return Ok(Some(series));
            }
        }
    }

    fn series(&mut self, id: u32) -> Result<Option<BlockSeries>, BlockError> {
        let entry = self.block.index.series(id).map_err(|e| self.block.index_error(e))?;
        if self.last.as_ref().is_some_and(|last| *last >= entry.labels) {
            return Err(self.block.index_error(FormatError::SeriesOrder { series: id }));
        }
        self.last = Some(entry.labels.clone());
        let deleted = self.block.tombstones.of(id);
        let mut chunks = entry.chunks;
        chunks.retain(|chunk| {
            chunk.max_time >= self.min_time
                && chunk.min_time <= self.max_time
                && !deleted.iter().any(|interval| {
                    interval.min_time <= chunk.min_time && chunk.max_time <= interval.max_time
                })
        });
        let deleted = deleted.to_vec();
        Ok((!chunks.is_empty()).then_some(BlockSeries { labels: entry.labels, chunks, deleted }))
    }
}

impl Iterator for Select {
    type Item = Result<BlockSeries, BlockError>;

    fn next(&mut self) -> Option<Self::Item> {
        let found = self.find();
        if found.is_err() {
            self.ids = Ids::none();
        }
        found.transpose()
    }
}
