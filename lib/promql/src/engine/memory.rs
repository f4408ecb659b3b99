//! How many bytes things of the engine take, and reserving them.

use hashbrown::HashTable;

use super::evaluate::{Done, Evaluator, Series};
use super::row::{Row, Steps};
use crate::budget::{Reserved, histogram_bytes, labels_bytes};
use crate::error::QueryError;
use crate::storage::{Samples, SeriesData};

impl Evaluator<'_> {
    /// Nothing reserved yet. `what` is for the error when there is too little: a plural.
    pub(super) fn reserve(&self, what: &'static str) -> Reserved {
        Reserved::none(&self.shared.budget, self.clock.as_ref().map(|clock| clock.bytes()), what)
    }

    /// Reserved already.
    pub(super) fn reserved(
        &self,
        what: &'static str,
        bytes: usize,
    ) -> Result<Reserved, QueryError> {
        let mut held = self.reserve(what);
        held.grow(bytes)?;
        Ok(held)
    }
}

impl Steps {
    /// Bytes of a set of so many steps.
    pub(super) fn bytes(len: usize) -> usize {
        8 * len.div_ceil(64)
    }
}

impl Row {
    /// Bytes of a row without histograms.
    pub(super) fn plain_bytes(len: usize) -> usize {
        8 * len + Steps::bytes(len)
    }

    /// Bytes of this row, with the histograms that nobody else may hold any more.
    pub(super) fn bytes(&self) -> usize {
        let plain = size_of::<Self>() + Self::plain_bytes(self.values.len());
        if !self.has_histograms() {
            return plain;
        }
        let mut bytes = plain + size_of::<usize>() * self.histograms.len();
        let mut before = None;
        for (_, histogram) in self.iter_histograms() {
            let at = std::sync::Arc::as_ptr(histogram);
            if before.replace(at) != Some(at) {
                bytes += histogram_bytes(histogram.weight());
            }
        }
        bytes
    }
}

impl Series {
    pub(super) fn bytes(&self) -> usize {
        size_of::<bool>() + labels_bytes(&self.labels)
    }
}

/// Bytes of a series as it was read.
pub(super) fn series_bytes(series: &SeriesData) -> usize {
    labels_bytes(&series.labels) + samples_bytes(&series.samples)
}

/// Bytes of decoded samples.
pub(super) fn samples_bytes(samples: &Samples) -> usize {
    let starts = samples.start_timestamps.as_ref().map_or(0, Vec::capacity);
    let counts = samples.counts.as_ref().map_or(0, Vec::capacity);
    let columns = samples.timestamps.capacity() + samples.values.capacity() + starts + counts;
    let histograms = samples
        .histograms
        .iter()
        .map(|sample| size_of_val(sample) + histogram_bytes(sample.histogram.weight()));
    8 * columns + histograms.sum::<usize>()
}

/// Reserves room for a copy of a row and its labels.
pub(super) fn keep(held: &mut Reserved, series: &Series, row: &Row) -> Done {
    Ok(held.grow(series.bytes() + row.bytes())?)
}

/// How large a list has to become to take more; `None` if it is large enough.
fn grown(len: usize, capacity: usize, more: usize) -> Option<usize> {
    /// Few enough not to matter.
    const LEAST: usize = 16;
    (capacity - len < more).then(|| (2 * capacity).max(len + more).max(LEAST))
}

/// Makes room in a list, reserved first.
pub(super) fn room_in_list<T>(held: &mut Reserved, list: &mut Vec<T>, more: usize) -> Done {
    if let Some(capacity) = grown(list.len(), list.capacity(), more) {
        held.grow(size_of::<T>() * (capacity - list.capacity()))?;
        list.reserve_exact(capacity - list.len());
    }
    Ok(())
}

/// Makes room in a text, reserved first.
pub(super) fn room_in_text(held: &mut Reserved, text: &mut String, more: usize) -> Done {
    if let Some(capacity) = grown(text.len(), text.capacity(), more) {
        held.grow(capacity - text.capacity())?;
        text.reserve_exact(capacity - text.len());
    }
    Ok(())
}

/// Makes room for one more in a table, reserved first.
pub(super) fn room_in_table<T>(
    held: &mut Reserved,
    table: &mut HashTable<T>,
    hash: impl Fn(&T) -> u64,
) -> Done {
    /// The first places, with their control bytes.
    const LEAST: usize = 128;
    if table.len() < table.capacity() {
        return Ok(());
    }
    // A table doubles.
    let before = table.allocation_size();
    let most = before.max(LEAST);
    held.grow(most)?;
    table.reserve(1, hash);
    held.shrink((before + most).saturating_sub(table.allocation_size()));
    Ok(())
}
