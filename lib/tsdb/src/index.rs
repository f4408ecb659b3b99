//! The index of a block (tsdb/docs/format/index.md, tsdb/index/index.go): which series there are, by label, and where
//! their chunks lie. Versions 1 to 3 are read, version 2 is written.
//!
//! Symbols and the table of postings are held in memory; series and postings are read as they are asked for.

mod offsets;
pub mod postings;
mod section;
mod series;
mod stored;
mod symbols;
mod writer;

use model::Labels;

use crate::source::{read, read_up_to};
use crate::{FormatError, ReadAt};

use self::offsets::PostingsTable;
use self::section::{Toc, checked_section};
use self::symbols::Symbols;

pub use series::{ChunkMeta, SeriesEntry};
pub(crate) use stored::StoredPostings;
pub(crate) use writer::put_uvarint;
pub use writer::{IndexWriter, WriteError};

const MAGIC: u32 = 0xBAAA_D700;
const HEADER_BYTES: u64 = 5;
/// Ids of series count in steps of so many bytes, from version 2 on.
const SERIES_ALIGN: u64 = 16;
/// A series is first read with this many bytes, and again when it turns out longer.
const SERIES_GUESS: u64 = 512;

/// An open index.
pub struct Index {
    source: Box<dyn ReadAt>,
    version: u8,
    toc: Toc,
    symbols: Symbols,
    table: PostingsTable,
}

impl std::fmt::Debug for Index {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Index")
            .field("version", &self.version)
            .field("toc", &self.toc)
            .field("symbols", &self.symbols.len())
            .finish_non_exhaustive()
    }
}

impl Index {
    /// Reads header, table of contents, symbols and the table of postings.
    pub fn open(source: Box<dyn ReadAt>) -> Result<Self, FormatError> {
        let header = read(&*source, "index header", 0, HEADER_BYTES)?;
        let (magic, version) = (be32(&header), header.get(4).copied().unwrap_or_default());
        if magic != MAGIC {
            return Err(FormatError::Magic { what: "an index", found: magic });
        }
        if !(1..=3).contains(&version) {
            return Err(FormatError::Version { what: "the index", version });
        }
        drop(header);
        let toc = Toc::read(&*source)?;
        let symbols = Symbols::read(&*source, toc.symbols, version)?;
        let table = PostingsTable::read(&*source, toc.postings_table)?;
        Ok(Self { source, version, toc, symbols, table })
    }

    /// The version of the format.
    #[must_use]
    pub fn version(&self) -> u8 {
        self.version
    }

    /// All label names, sorted.
    pub fn label_names(&self) -> impl Iterator<Item = &str> {
        self.table.names().filter(|name| !name.is_empty())
    }

    /// All values of a label, sorted.
    pub fn label_values<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        self.table.values(name)
    }

    /// The ids of all series, ascending, which is the order of their labels.
    pub fn all_postings(&self) -> Result<Vec<u32>, FormatError> {
        self.postings("", "")
    }

    /// The ids of all series with this label, ascending; none when there is no such value.
    pub fn postings(&self, name: &str, value: &str) -> Result<Vec<u32>, FormatError> {
        match self.table.find(name, value) {
            Some(offset) => self.postings_at(offset),
            None => Ok(Vec::new()),
        }
    }

    /// The ids of all series whose label has a value that passes, ascending. Only values that start with `prefix`
    /// are asked about.
    pub fn postings_where(
        &self,
        name: &str,
        prefix: &str,
        mut passes: impl FnMut(&str) -> bool,
    ) -> Result<Vec<u32>, FormatError> {
        let mut lists = Vec::new();
        for (value, offset) in self.table.entries_with_prefix(name, prefix) {
            if passes(value) {
                lists.push(self.postings_at(offset)?);
            }
        }
        Ok(postings::union(lists))
    }

    /// Like [`Index::postings`], to be read piece by piece; `None` when there is no such value.
    pub(crate) fn stored_postings(
        &self,
        name: &str,
        value: &str,
    ) -> Result<Option<StoredPostings>, FormatError> {
        let offset = self.table.find(name, value);
        offset.map(|offset| StoredPostings::open(&*self.source, offset)).transpose()
    }

    /// The next id of such a list.
    pub(crate) fn next_of(&self, list: &mut StoredPostings) -> Result<Option<u32>, FormatError> {
        list.next(&*self.source)
    }

    fn postings_at(&self, offset: u64) -> Result<Vec<u32>, FormatError> {
        let section = checked_section(&*self.source, "postings", offset)?;
        postings::decode(&section, offset)
    }

    /// A series: its labels and where its chunks lie.
    pub fn series(&self, id: u32) -> Result<SeriesEntry, FormatError> {
        let scale = if self.version == 1 { 1 } else { SERIES_ALIGN };
        let offset = u64::from(id) * scale;
        let mut bytes = read_up_to(&*self.source, "series", offset, SERIES_GUESS)?;
        let needed = series::needed_bytes(&bytes, offset)?;
        if needed > bytes.len() as u64 {
            bytes = read(&*self.source, "series", offset, needed)?;
        }
        series::decode(&bytes, offset, &self.symbols)
    }

    /// Labels only.
    pub fn series_labels(&self, id: u32) -> Result<Labels, FormatError> {
        self.series(id).map(|series| series.labels)
    }

    /// Where the series begin and end, in bytes.
    #[must_use]
    pub fn series_range(&self) -> std::ops::Range<u64> {
        self.toc.series..self.toc.label_indices
    }
}

/// The first four bytes as a number, or 0.
fn be32(bytes: &[u8]) -> u32 {
    bytes.first_chunk::<4>().map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests;
