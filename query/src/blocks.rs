//! A folder of blocks as a source: what Prometheus' `--storage.tsdb.path` or a bucket's copy holds, without a WAL.
//!
//! One series is read at a time, so that memory does not grow with their number.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::Labels;
use model::histogram::CounterResetHint;
use promql::storage::{
    Hints, HistogramSample, Samples, SelectRequest, SeriesData, SeriesSet, Storage, StorageError,
    StorageErrorKind, Taken, Undecoded,
};
use serde::Deserialize;
use tsdb::block::{self, Block, BlockError, BlockSeries, Merge, MergedSeries, matching_series};

use crate::active::Progress;
use crate::fanout::LabelsQuery;
use crate::source::Reading;
use crate::warning::Warnings;

/// How many samples a chunk has, as a rule.
const USUAL_CHUNK: usize = 120;

/// A folder of blocks that cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder or a meta.json is not there or cannot be read.
    #[error("read {}", .0.display())]
    Io(PathBuf, #[source] std::io::Error),
    /// A meta.json says something else than a meta.json.
    #[error("understand {}", .0.display())]
    Meta(PathBuf, #[source] serde_json::Error),
    /// A block's files.
    #[error(transparent)]
    Block(#[from] BlockError),
}

/// What of meta.json matters here.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Meta {
    min_time: i64,
    /// Excluded.
    max_time: i64,
    #[serde(default)]
    thanos: ThanosMeta,
}

#[derive(Debug, Default, Deserialize)]
struct ThanosMeta {
    #[serde(default)]
    downsample: Downsample,
}

#[derive(Debug, Default, Deserialize)]
struct Downsample {
    #[serde(default)]
    resolution: i64,
}

/// Blocks, oldest first. Clones share them.
#[derive(Debug, Clone)]
pub struct Blocks {
    all: Arc<[Dated]>,
}

#[derive(Debug)]
struct Dated {
    /// First and last time, milliseconds, both included.
    range: (i64, i64),
    block: Arc<Block>,
}

impl Blocks {
    /// Opens every raw block among the subfolders; a subfolder without meta.json is none, a downsampled one is passed
    /// over. What comes or goes later is not noticed.
    pub fn open(folder: &Path) -> Result<Self, OpenError> {
        let unreadable = |error| OpenError::Io(folder.to_owned(), error);
        let mut all = Vec::new();
        for entry in fs::read_dir(folder).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            let Some(meta) = meta(&path)? else { continue };
            if meta.thanos.downsample.resolution > 0 {
                tracing::warn!(block = %path.display(), "downsampled block passed over");
                continue;
            }
            let range = (meta.min_time, meta.max_time.saturating_sub(1));
            all.push(Dated { range, block: Block::open(&path)? });
        }
        all.sort_by(|a, b| (a.range, a.block.folder()).cmp(&(b.range, b.block.folder())));
        Ok(Self { all: all.into() })
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The blocks with data from one time to another, both included.
    fn within(&self, min_time: i64, max_time: i64) -> Vec<Arc<Block>> {
        let reaches = |dated: &&Dated| dated.range.0 <= max_time && dated.range.1 >= min_time;
        self.all.iter().filter(reaches).map(|dated| dated.block.clone()).collect()
    }

    /// Label names of the series that a query means, unsorted and perhaps repeated.
    pub fn label_names(&self, query: &LabelsQuery) -> Result<Vec<String>, BlockError> {
        let mut all = Vec::new();
        for block in self.within(query.min_time, query.max_time) {
            if query.matchers.is_empty() {
                all.extend(block.index().label_names().map(str::to_owned));
                continue;
            }
            for series in block.select(&query.matchers, query.min_time, query.max_time)? {
                for (name, _) in series?.labels.iter() {
                    if !all.iter().any(|known| known == name) {
                        all.push(name.to_owned());
                    }
                }
            }
        }
        Ok(all)
    }

    /// Values of a label among the series that a query means, unsorted and perhaps repeated.
    pub fn label_values(&self, name: &str, query: &LabelsQuery) -> Result<Vec<String>, BlockError> {
        let mut all = Vec::new();
        for block in self.within(query.min_time, query.max_time) {
            if query.matchers.is_empty() {
                all.extend(block.index().label_values(name).map(str::to_owned));
                continue;
            }
            let failed = |source| BlockError { path: block.folder().join("index"), source };
            let wanted = matching_series(block.index(), &query.matchers).map_err(failed)?;
            for value in block.index().label_values(name) {
                let having = block.index().postings(name, value).map_err(failed)?;
                if having.iter().any(|id| wanted.binary_search(id).is_ok()) {
                    all.push(value.to_owned());
                }
            }
        }
        Ok(all)
    }

    /// The series that pass all matchers and have a chunk in the time range, in order of labels.
    pub fn select(&self, query: &LabelsQuery) -> Result<Merge, BlockError> {
        let (min_time, max_time) = (query.min_time, query.max_time);
        Merge::new(&self.within(min_time, max_time), &query.matchers, min_time, max_time)
    }
}

/// `None` when there is none.
fn meta(block: &Path) -> Result<Option<Meta>, OpenError> {
    let path = block.join("meta.json");
    match fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|e| OpenError::Meta(path, e)),
        Err(error) if absent(&error) => Ok(None),
        Err(error) => Err(OpenError::Io(path, error)),
    }
}

fn absent(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory)
}

/// The series of one query.
#[derive(Debug)]
pub struct BlocksStorage {
    blocks: Blocks,
    progress: Arc<Progress>,
}

impl BlocksStorage {
    /// `progress` is told of every series.
    #[must_use]
    pub fn new(blocks: Blocks, progress: Arc<Progress>) -> Self {
        Self { blocks, progress }
    }
}

impl Storage for BlocksStorage {
    fn select(&self, request: &SelectRequest) -> Result<Box<dyn SeriesSet>, StorageError> {
        let range = (request.start, request.end);
        let blocks = self.blocks.within(range.0, range.1);
        let merge = Merge::new(&blocks, &request.matchers, range.0, range.1).map_err(failed)?;
        let newest_at = request.hints.newest_at;
        Ok(Box::new(Selected { merge, range, newest_at, progress: self.progress.clone() }))
    }

    fn select_ahead(&self, request: &SelectRequest) -> Option<Box<dyn SeriesSet>> {
        self.select(request).ok()
    }

    fn same_samples(&self, one: &Hints, other: &Hints) -> bool {
        one.newest_at == other.newest_at
    }
}

impl Reading for BlocksStorage {
    fn warnings(&self) -> Warnings {
        Warnings::default()
    }
}

#[expect(clippy::needless_pass_by_value, reason = "an argument of map_err")]
fn failed(error: BlockError) -> StorageError {
    StorageError::new(StorageErrorKind::Internal, svc::chain(&error))
}

struct Selected {
    merge: Merge,
    range: (i64, i64),
    /// Of the samples up to here, only the newest counts.
    newest_at: Option<i64>,
    progress: Arc<Progress>,
}

impl SeriesSet for Selected {
    fn next(&mut self) -> Result<Option<SeriesData>, StorageError> {
        while let Some(series) = self.merge.next() {
            if let Some(series) = self.found(series)?.read()? {
                return Ok(Some(series));
            }
        }
        Ok(None)
    }

    fn warnings(&mut self) -> Vec<String> {
        Vec::new()
    }

    fn can_take(&self) -> bool {
        true
    }

    fn take(&mut self, _: bool) -> Result<Taken, StorageError> {
        match self.merge.next() {
            Some(series) => Ok(Taken::Series(Box::new(self.found(series)?))),
            None => Ok(Taken::End),
        }
    }
}

impl Selected {
    fn found(&self, series: Result<MergedSeries, BlockError>) -> Result<Found, StorageError> {
        let mut series = series.map_err(failed)?;
        if let Some(time) = self.newest_at {
            series.parts.iter_mut().for_each(|(_, part)| pass_over(part, time));
        }
        Ok(Found { series, range: self.range, progress: self.progress.clone() })
    }
}

/// Takes away the first chunks when the one after them begins no later than a time up to which only the newest sample
/// counts.
fn pass_over(part: &mut BlockSeries, time: i64) {
    if !part.deleted.is_empty() {
        return;
    }
    let begun = part.chunks.partition_point(|chunk| chunk.min_time <= time);
    let Some(last) = begun.checked_sub(1) else { return };
    let first = part.chunks[last].min_time;
    // Chunks may overlap.
    let before = part.chunks[..last].iter().take_while(|chunk| chunk.max_time < first).count();
    part.chunks.drain(..before);
}

/// A series whose chunks are still to be read.
struct Found {
    series: MergedSeries,
    range: (i64, i64),
    progress: Arc<Progress>,
}

impl Found {
    fn read(self) -> Result<Option<SeriesData>, StorageError> {
        let mut samples = block::Samples::default();
        let usual = Undecoded::samples(&self);
        samples.timestamps.reserve(usual);
        samples.values.reserve(usual);
        self.series.read(self.range, &mut samples).map_err(failed)?;
        let samples = columns(samples);
        self.progress.add(samples.len());
        let labels = self.series.labels;
        Ok((!samples.is_empty()).then_some(SeriesData { labels, samples }))
    }
}

impl Undecoded for Found {
    fn samples(&self) -> usize {
        let chunks = self.series.parts.iter().map(|(_, part)| part.chunks.len()).sum::<usize>();
        USUAL_CHUNK * chunks
    }

    fn decode(self: Box<Self>) -> Result<Option<SeriesData>, StorageError> {
        self.read()
    }
}

/// Floats and histograms in order of time; of two at one time the float stays. A stale histogram becomes a stale
/// marker like that of a float, which means the same to PromQL.
fn columns(samples: block::Samples) -> Samples {
    let block::Samples { timestamps, values, histograms } = samples;
    if histograms.is_empty() {
        return Samples { timestamps, values, ..Samples::default() };
    }
    let mut all = Samples::default();
    let mut floats = timestamps.into_iter().zip(values).peekable();
    let mut after_histogram = false;
    for sample in histograms {
        while let Some((time, value)) = floats.next_if(|(time, _)| *time <= sample.timestamp) {
            all.timestamps.push(time);
            all.values.push(value);
            after_histogram = false;
        }
        if all.timestamps.last().is_some_and(|last| *last >= sample.timestamp) {
            continue;
        }
        let index = all.timestamps.len();
        all.timestamps.push(sample.timestamp);
        let mut histogram = sample.histogram;
        if histogram.is_stale() {
            all.values.push(model::stale_marker());
            after_histogram = false;
            continue;
        }
        // What a hint says is about the sample before, which the first one does not have.
        if !after_histogram && histogram.counter_reset_hint != CounterResetHint::Gauge {
            histogram.counter_reset_hint = CounterResetHint::Unknown;
        }
        after_histogram = true;
        all.values.push(0.0);
        all.histograms.push(HistogramSample { index, histogram: Arc::new(histogram) });
    }
    for (time, value) in floats {
        all.timestamps.push(time);
        all.values.push(value);
    }
    all
}

/// The label sets of a selection.
pub(crate) fn label_sets(merge: Merge) -> impl Iterator<Item = Result<Labels, BlockError>> {
    merge.map(|series| series.map(|series| series.labels))
}

#[cfg(test)]
mod tests {
    use tsdb::index::ChunkMeta;

    use super::*;

    #[test]
    fn chunks_whose_samples_are_all_older_than_the_one_that_counts_are_passed_over() {
        let left = |chunks: &[(i64, i64)], deleted: Vec<block::Interval>, time: i64| {
            let meta = |(min_time, max_time)| ChunkMeta { min_time, max_time, reference: 0 };
            let chunks = chunks.iter().copied().map(meta).collect();
            let mut part = BlockSeries { labels: Labels::empty(), chunks, deleted };
            pass_over(&mut part, time);
            part.chunks.iter().map(|chunk| chunk.min_time).collect::<Vec<_>>()
        };
        let apart = [(0, 9), (10, 19), (20, 29)];
        assert_eq!(left(&apart, Vec::new(), -1), [0, 10, 20]);
        assert_eq!(left(&apart, Vec::new(), 9), [0, 10, 20]);
        assert_eq!(left(&apart, Vec::new(), 10), [10, 20]);
        assert_eq!(left(&apart, Vec::new(), 99), [20]);
        let overlapping = [(0, 9), (10, 25), (20, 29)];
        assert_eq!(left(&overlapping, Vec::new(), 22), [10, 20]);
        let deleted = vec![block::Interval { min_time: 20, max_time: 21 }];
        assert_eq!(left(&apart, deleted, 99), [0, 10, 20]);
        assert!(left(&[], Vec::new(), 0).is_empty());
    }
}
