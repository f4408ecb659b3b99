//! Whole blocks: index, chunk segment and tombstones. An input holds the three files, each behind its length. Most
//! changes are made within what a checksum covers, and the checksum is made to fit again: else nothing behind the first
//! checksum would ever be read.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;

use model::{Labels, MatchType, Matcher};
use tempfile::TempDir;
use tsdb::block::{Block, BlockError, Samples};
use tsdb::chunk::Encoding;
use tsdb::index::{ChunkMeta, IndexWriter};

use crate::Target;
use crate::chunks::payload;
use crate::random::{Random, mutate};

const FILES: [&str; 3] = ["index", "chunks/000001", "tombstones"];
/// Magic number and version.
const INDEX_HEADER: usize = 5;
const SEGMENT_HEADER: [u8; 8] = [0x85, 0xBD, 0x40, 0xDD, 1, 0, 0, 0];
const TOMBSTONES_HEADER: [u8; 5] = [0x01, 0x30, 0xBA, 0x30, 1];
/// Six places of sections and a checksum.
const TOC_BYTES: usize = 52;

/// See the module.
#[derive(Debug)]
pub struct Blocks {
    /// Where blocks are opened; `None` when there is no room for a folder.
    folder: Option<TempDir>,
}

impl Blocks {
    /// Blocks in a temporary folder.
    #[must_use]
    pub fn new() -> Self {
        let folder = tempfile::tempdir().ok();
        let folder =
            folder.filter(|folder| fs::create_dir_all(folder.path().join("chunks")).is_ok());
        Self { folder }
    }
}

impl Default for Blocks {
    fn default() -> Self {
        Self::new()
    }
}

impl Target for Blocks {
    fn name(&self) -> &'static str {
        "blocks"
    }

    fn input(&self, random: &mut Random) -> Vec<u8> {
        let mut files = files(random);
        for _ in 0..=random.below(3) {
            let which = *random.pick(&[0, 0, 0, 1, 1, 2]);
            let covered = covered(which, &files[which]);
            if random.once_in(8) || covered.is_empty() {
                mutate(random, &mut files[which]);
            } else {
                let part = *random.pick(&covered);
                change(random, &mut files[which], part);
            }
        }
        let with_length = |file: &Vec<u8>| [&(file.len() as u32).to_be_bytes(), &file[..]].concat();
        files.iter().flat_map(with_length).collect()
    }

    fn check(&self, input: &[u8]) -> Result<(), String> {
        let folder = self.folder.as_ref().ok_or("no temporary folder")?.path();
        write(folder, input).map_err(|error| format!("write the block: {error}"))?;
        match Block::open(folder) {
            Ok(block) => read(&block),
            Err(_) => Ok(()),
        }
    }
}

fn write(folder: &Path, mut input: &[u8]) -> io::Result<()> {
    for name in FILES {
        let length = input.split_off(..4).and_then(|length| length.first_chunk::<4>());
        let length = length.map_or(0, |length| u32::from_be_bytes(*length) as usize);
        let bytes = input.split_off(..length.min(input.len())).unwrap_or_default();
        let path = folder.join(name);
        // Some file systems wait for the disk when a file is written over, but not when it is new.
        let _not_there = fs::remove_file(&path);
        fs::File::create_new(path)?.write_all(bytes)?;
    }
    Ok(())
}

/// All that can be asked of a block. Errors are for the block to tell; what is told has to be in order.
fn read(block: &Arc<Block>) -> Result<(), String> {
    let index = block.index();
    for name in index.label_names().map(str::to_owned).collect::<Vec<_>>() {
        let values: Vec<&str> = index.label_values(&name).collect();
        if !values.is_sorted_by(|a, b| a < b) {
            return Err(format!("values of {name:?} are out of order: {values:?}"));
        }
        for value in values.into_iter().take(20) {
            let _or_an_error = index.postings(&name, value);
        }
    }
    let matcher = |kind, name, value| Matcher::new(kind, name, value).map_err(|e| e.to_string());
    let selections = [
        vec![],
        vec![matcher(MatchType::Equal, "__name__", "m")?],
        vec![matcher(MatchType::Regex, "i", "1|2|.*3")?, matcher(MatchType::NotEqual, "zone", "")?],
        vec![matcher(MatchType::NotRegex, "i", "1.*")?, matcher(MatchType::Equal, "zone", "")?],
    ];
    for matchers in &selections {
        // What a damaged block says is an error, or as good as true.
        let Ok(series) = select(block, matchers)? else { continue };
        if !series.is_sorted_by(|a, b| a < b) {
            return Err("series are out of order".to_owned());
        }
    }
    Ok(())
}

/// Labels of the selected series, each of which was read.
fn select(
    block: &Arc<Block>,
    matchers: &[Matcher],
) -> Result<Result<Vec<Labels>, BlockError>, String> {
    let mut found = Vec::new();
    let selected = match block.select(matchers, i64::MIN, i64::MAX) {
        Ok(selected) => selected,
        Err(error) => return Ok(Err(error)),
    };
    for series in selected {
        let series = match series {
            Ok(series) => series,
            Err(error) => return Ok(Err(error)),
        };
        let mut samples = Samples::default();
        let whole = block.read(&series, (i64::MIN, i64::MAX), &mut samples).is_ok();
        if samples.timestamps.len() != samples.values.len() {
            return Err("columns of different lengths".to_owned());
        }
        let ascends = samples.timestamps.is_sorted_by(|a, b| a < b)
            && samples.histograms.is_sorted_by(|a, b| a.timestamp < b.timestamp);
        if whole && !ascends {
            return Err(format!("timestamps of {} do not ascend", series.labels));
        }
        for chunk in &series.chunks {
            let _or_an_error = block.chunk(chunk.reference);
        }
        found.push(series.labels);
    }
    Ok(Ok(found))
}

/// The files of a sound block.
fn files(random: &mut Random) -> [Vec<u8>; 3] {
    let mut all: Vec<Labels> = (0..1 + random.below(12))
        .map(|_| {
            let mut pairs = vec![("__name__", "m".to_owned()), ("i", random.below(40).to_string())];
            if random.once_in(3) {
                pairs.push(("zone", format!("zone-{}", random.below(3))));
            }
            Labels::from_pairs(pairs)
        })
        .collect();
    all.sort();
    all.dedup();
    let mut symbols: Vec<&str> =
        all.iter().flat_map(Labels::iter).flat_map(|(name, value)| [name, value]).collect();
    symbols.sort_unstable();
    symbols.dedup();
    let mut segment = SEGMENT_HEADER.to_vec();
    let (mut tombstones, mut ids) = (Vec::new(), Vec::new());
    let written = IndexWriter::new(Vec::new(), symbols).and_then(|mut index| {
        for labels in &all {
            let chunks: Vec<ChunkMeta> = (0..random.below(4) as i64)
                .map(|at| {
                    let reference = append_chunk(random, &mut segment);
                    ChunkMeta { min_time: at * 1000, max_time: at * 1000 + 999, reference }
                })
                .collect();
            ids.push(index.add_series(labels, &chunks)?);
        }
        index.finish()
    });
    for id in ids {
        if random.once_in(4) {
            tombstones.extend(uvarint(u64::from(id)));
            tombstones.extend([uvarint(2 * random.below(900) as u64), uvarint(4000)].concat());
        }
    }
    let checksum = crc32c::crc32c(&tombstones).to_be_bytes();
    let tombstones = [&TOMBSTONES_HEADER[..], &tombstones, &checksum].concat();
    [written.unwrap_or_default(), segment, tombstones]
}

/// Gives the chunk's reference.
fn append_chunk(random: &mut Random, segment: &mut Vec<u8>) -> u64 {
    let reference = segment.len() as u64;
    let number = 1 + random.below(6) as u8;
    let payload =
        Encoding::from_disk(number).map(|encoding| payload(random, encoding)).unwrap_or_default();
    segment.extend(uvarint(payload.len() as u64));
    let from = segment.len();
    segment.push(number);
    segment.extend(payload);
    let checksum = crc32c::crc32c(&segment[from..]);
    segment.extend(checksum.to_be_bytes());
    reference
}

fn uvarint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

/// From one byte to another is what the checksum behind it covers.
type Covered = (usize, usize);

/// The parts of a file that have a checksum: in an index found by trying, as it is small here.
fn covered(which: usize, file: &[u8]) -> Vec<Covered> {
    let end = file.len().saturating_sub(4);
    let mut found = Vec::new();
    match which {
        0 => {
            // Symbols follow the header; series and the other sections are aligned.
            let sections = std::iter::once(INDEX_HEADER).chain((0..file.len()).step_by(4));
            found.extend(sections.filter_map(|at| long(file, at)));
            found.extend((0..file.len()).step_by(16).filter_map(|at| short(file, at)));
            found.push((file.len().saturating_sub(TOC_BYTES), end));
        }
        1 => {
            let mut at = SEGMENT_HEADER.len();
            while let Some((from, to)) = short(file, at) {
                // The encoding is covered, too, but not counted.
                found.push((from, to + 1));
                at = to + 5;
            }
        }
        _ => found.push((TOMBSTONES_HEADER.len(), end)),
    }
    found.retain(|&(from, to)| {
        let stored = file.get(to..to.saturating_add(4));
        from < to
            && stored.is_some_and(|stored| *stored == crc32c::crc32c(&file[from..to]).to_be_bytes())
    });
    found
}

/// What a length of four bytes says of the bytes behind it.
fn long(file: &[u8], at: usize) -> Option<Covered> {
    let length = u32::from_be_bytes(*file.get(at..)?.first_chunk::<4>()?) as usize;
    Some((at + 4, (at + 4).saturating_add(length)))
}

/// The same of a variable length of up to two bytes.
fn short(file: &[u8], at: usize) -> Option<Covered> {
    match file.get(at..)? {
        [low, ..] if *low < 0x80 => Some((at + 1, at + 1 + usize::from(*low))),
        [low, high, ..] if *high < 0x80 => {
            let length = usize::from(low & 0x7f) | usize::from(*high) << 7;
            Some((at + 2, at + 2 + length))
        }
        _ => None,
    }
}

/// Changes bytes between two places and makes the checksum behind them fit.
fn change(random: &mut Random, file: &mut [u8], (from, to): Covered) {
    for _ in 0..=random.below(3) {
        let at = from + random.below(to - from);
        file[at] = match random.below(5) {
            0 => file[at] ^ (1 << random.below(8)),
            1 => *random.pick(&[0, 1, 0x7f, 0x80, 0xff]),
            2 => file[at].wrapping_add(1),
            3 => file[at].wrapping_sub(1),
            _ => random.next() as u8,
        };
    }
    let checksum = crc32c::crc32c(&file[from..to]).to_be_bytes();
    file[to..to + 4].copy_from_slice(&checksum);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that lacks its world has failed")]

    use super::*;

    fn opened(blocks: &Blocks, input: &[u8]) -> Option<Arc<Block>> {
        let folder = blocks.folder.as_ref().unwrap().path();
        write(folder, input).unwrap();
        Block::open(folder).ok()
    }

    #[test]
    fn a_kept_block_is_sound() {
        let bytes = include_bytes!("../cases/blocks/a-sound-block");
        let block = opened(&Blocks::new(), bytes).unwrap();
        let labels = select(&block, &[]).unwrap().unwrap();
        assert_eq!(labels, [Labels::from_pairs([("__name__", "m")])]);
    }

    #[test]
    fn changes_reach_what_is_behind_the_checksums() {
        let blocks = Blocks::new();
        let (mut open, mut wrong) = (0, 0);
        for number in 0..200 {
            let input = blocks.input(&mut Random::new(3, number));
            if let Some(block) = opened(&blocks, &input) {
                open += 1;
                wrong += usize::from(select(&block, &[]).unwrap().is_err());
            }
        }
        assert!(open > 80 && wrong > 5, "{open} of 200 open, {wrong} of them are wrong inside");
    }
}
