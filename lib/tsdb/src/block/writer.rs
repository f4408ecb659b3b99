//! Writing a whole block: series in order of labels, each with its chunks.

use std::fs::{self, File};
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

use model::Labels;

use crate::chunk::{Encoding, xor};
use crate::index::{ChunkMeta, IndexWriter, WriteError};

use super::segment::{ChunkError, SegmentWriter};

/// As Prometheus' `DefaultChunkSegmentSize`.
const SEGMENT_BYTES: u64 = 512 << 20;

/// As many samples as Prometheus puts into a chunk.
const CHUNK_SAMPLES: usize = 120;

/// Why a block could not be written.
#[derive(Debug, thiserror::Error)]
pub enum BlockWriteError {
    /// A folder or meta.json.
    #[error("write {}", .0.display())]
    Io(PathBuf, #[source] io::Error),
    /// The index.
    #[error(transparent)]
    Index(#[from] WriteError),
    /// The chunks.
    #[error(transparent)]
    Chunks(#[from] ChunkError),
}

type MakeFile = Box<dyn FnMut(&str) -> io::Result<BufWriter<File>> + Send>;

/// Writes a block's folder. It is no block before [`Self::finish`], which writes meta.json last.
pub struct BlockWriter {
    folder: PathBuf,
    index: IndexWriter<BufWriter<File>>,
    segments: SegmentWriter<BufWriter<File>, MakeFile>,
    range: Option<(i64, i64)>,
    counts: [u64; 3],
}

impl std::fmt::Debug for BlockWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlockWriter").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl BlockWriter {
    /// `folder` is named by the block's ULID, and made. The symbols are all names and values of all labels, sorted
    /// and distinct.
    pub fn new<'a>(
        folder: &Path,
        symbols: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, BlockWriteError> {
        let chunks = folder.join("chunks");
        fs::create_dir_all(&chunks).map_err(failed(&chunks))?;
        let path = folder.join("index");
        let index = BufWriter::new(File::create(&path).map_err(failed(&path))?);
        let make: MakeFile =
            Box::new(move |name| Ok(BufWriter::new(File::create(chunks.join(name))?)));
        Ok(Self {
            folder: folder.to_owned(),
            index: IndexWriter::new(index, symbols)?,
            segments: SegmentWriter::new(SEGMENT_BYTES, make),
            range: None,
            counts: [0; 3],
        })
    }

    /// Appends a series of floats; labels must ascend from series to series, and timestamps (milliseconds) within it.
    pub fn floats(
        &mut self,
        labels: &Labels,
        samples: &[(i64, f64)],
    ) -> Result<(), BlockWriteError> {
        let chunks = samples.chunks(CHUNK_SAMPLES).filter_map(|part| {
            let mut encoder = xor::Encoder::new();
            for (timestamp, value) in part {
                encoder.append(*timestamp, *value);
            }
            let range = (part.first()?.0, part.last()?.0);
            Some((Encoding::Xor, encoder.finish(), range))
        });
        let chunks: Vec<_> = chunks.collect();
        self.counts[0] += samples.len() as u64;
        self.chunks(labels, chunks.iter().map(|(e, payload, range)| (*e, &payload[..], *range)))
    }

    /// Appends a series: of each chunk its encoding, payload, and first and last time.
    fn chunks<'a>(
        &mut self,
        labels: &Labels,
        chunks: impl IntoIterator<Item = (Encoding, &'a [u8], (i64, i64))>,
    ) -> Result<(), BlockWriteError> {
        let mut metas = Vec::new();
        for (encoding, payload, (min_time, max_time)) in chunks {
            let reference = self.segments.write(encoding, payload)?;
            metas.push(ChunkMeta { min_time, max_time, reference });
            let (least, most) = self.range.unwrap_or((min_time, max_time));
            self.range = Some((least.min(min_time), most.max(max_time)));
        }
        self.index.add_series(labels, &metas)?;
        self.counts[1] += 1;
        self.counts[2] += metas.len() as u64;
        Ok(())
    }

    /// Flushes the files and writes meta.json.
    pub fn finish(self) -> Result<(), BlockWriteError> {
        self.segments.finish()?;
        let index = self.folder.join("index");
        let file = self.index.finish()?.into_inner();
        file.map_err(io::IntoInnerError::into_error).map_err(failed(&index))?;
        let name = self.folder.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
        let [samples, series, chunks] = self.counts;
        let (min_time, max_time) = self.range.unwrap_or_default();
        let max_time = max_time.saturating_add(1);
        let meta = format!(
            r#"{{"ulid":"{name}","minTime":{min_time},"maxTime":{max_time},"stats":{{"numSamples":{samples},"numSeries":{series},"numChunks":{chunks}}},"compaction":{{"level":1,"sources":["{name}"]}},"version":1}}"#
        );
        let path = self.folder.join("meta.json");
        fs::write(&path, meta).map_err(failed(&path))
    }
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> BlockWriteError + '_ {
    |error| BlockWriteError::Io(path.to_owned(), error)
}
