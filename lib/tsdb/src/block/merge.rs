//! Several blocks as one: each series once, in order of labels.

use std::iter::Peekable;
use std::sync::Arc;

use model::{Labels, Matcher};

use super::{Block, BlockError, BlockSeries, Samples, Select};

/// A series and its parts, in the order of the blocks that were given.
#[derive(Debug, Clone)]
pub struct MergedSeries {
    /// Its labels.
    pub labels: Labels,
    /// In which block, and what of it.
    pub parts: Vec<(Arc<Block>, BlockSeries)>,
}

impl MergedSeries {
    /// Appends the samples of a time range (both ends included). Blocks may overlap: of two samples at one time the
    /// one of the earlier block stays.
    pub fn read(&self, range: (i64, i64), samples: &mut Samples) -> Result<(), BlockError> {
        for (block, series) in &self.parts {
            if self.parts.len() == 1 {
                return block.read(series, range, samples);
            }
            let mut part = Samples::default();
            block.read(series, range, &mut part)?;
            samples.join(part);
        }
        Ok(())
    }
}

/// The series of several blocks in order of labels. After an error there are no more.
#[derive(Debug)]
pub struct Merge {
    selects: Vec<(Arc<Block>, Peekable<Select>)>,
}

impl Merge {
    /// The series that pass all matchers and have a chunk in the time range (milliseconds, both ends included). Blocks
    /// are best given oldest first: then the samples of a series need no sorting.
    pub fn new(
        blocks: &[Arc<Block>],
        matchers: &[Matcher],
        min_time: i64,
        max_time: i64,
    ) -> Result<Self, BlockError> {
        let select = |block: &Arc<Block>| {
            let select = block.select(matchers, min_time, max_time)?;
            Ok((Arc::clone(block), select.peekable()))
        };
        Ok(Self { selects: blocks.iter().map(select).collect::<Result<_, BlockError>>()? })
    }
}

impl Iterator for Merge {
    type Item = Result<MergedSeries, BlockError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let [(block, select)] = &mut self.selects[..] {
            let found = select.next()?;
            return Some(found.map(|series| {
                let labels = series.labels.clone();
                MergedSeries { labels, parts: vec![(Arc::clone(block), series)] }
            }));
        }
        let mut first: Option<Labels> = None;
        for (_, select) in &mut self.selects {
            match select.peek() {
                Some(Ok(series)) if first.as_ref().is_none_or(|first| series.labels < *first) => {
                    first = Some(series.labels.clone());
                }
                None | Some(Ok(_)) => {}
                Some(Err(_)) => {
                    let failed = select.next().and_then(Result::err);
                    self.selects.clear();
                    return failed.map(Err);
                }
            }
        }
        let labels = first?;
        let mut parts = Vec::new();
        for (block, select) in &mut self.selects {
            let same = |next: &Result<BlockSeries, BlockError>| {
                next.as_ref().is_ok_and(|series| series.labels == labels)
            };
            if let Some(Ok(series)) = select.next_if(same) {
                parts.push((Arc::clone(block), series));
            }
        }
        Some(Ok(MergedSeries { labels, parts }))
    }
}
