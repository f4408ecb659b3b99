//! A list of postings that is read piece by piece, so that memory does not grow with its length.

use crate::source::read;
use crate::{FormatError, ReadAt};

/// How many bytes are read at a time: whole ids.
const PIECE: u64 = 1 << 14;
/// Length of the body and number of ids, before the ids.
const HEADER: u64 = 8;

/// What is left of a list: ascending ids of series.
#[derive(Debug)]
pub(crate) struct StoredPostings {
    /// Where the list begins.
    list: u64,
    /// Where the next piece begins, and how many bytes of ids follow from there.
    next: u64,
    left: u64,
    piece: std::vec::IntoIter<u32>,
    last: Option<u32>,
}

impl StoredPostings {
    /// The list at an offset, after its checksum was compared.
    pub(super) fn open(source: &dyn ReadAt, list: u64) -> Result<Self, FormatError> {
        let what = "postings";
        let corrupt = FormatError::Corrupt { what, offset: list };
        let header = read(source, what, list, HEADER)?;
        let (length, count) = (super::be32(&header), &header[4..]);
        let left = u64::from(length).checked_sub(4);
        let Some(left) = left.filter(|left| *left == u64::from(super::be32(count)) * 4) else {
            return Err(corrupt);
        };
        let mut checksum = crc32c::crc32c(count);
        drop(header);
        let ids = list + HEADER;
        let mut done = 0;
        while done < left {
            let piece = read(source, what, ids + done, (left - done).min(PIECE))?;
            checksum = crc32c::crc32c_append(checksum, &piece);
            done += piece.len() as u64;
        }
        if super::be32(&read(source, what, ids + left, 4)?) != checksum {
            return Err(FormatError::Checksum { what, offset: list });
        }
        Ok(Self { list, next: ids, left, piece: Vec::new().into_iter(), last: None })
    }

    /// The next id; `source` is the one that it was opened with.
    pub(super) fn next(&mut self, source: &dyn ReadAt) -> Result<Option<u32>, FormatError> {
        if self.piece.len() == 0 && self.left > 0 {
            let bytes = read(source, "postings", self.next, self.left.min(PIECE))?;
            let ids = bytes.as_chunks::<4>().0.iter().map(|id| u32::from_be_bytes(*id));
            self.piece = ids.collect::<Vec<u32>>().into_iter();
            self.next += bytes.len() as u64;
            self.left -= bytes.len() as u64;
        }
        let Some(id) = self.piece.next() else { return Ok(None) };
        if self.last.is_some_and(|last| last >= id) {
            return Err(FormatError::Corrupt { what: "order of postings", offset: self.list });
        }
        self.last = Some(id);
        Ok(Some(id))
    }
}
