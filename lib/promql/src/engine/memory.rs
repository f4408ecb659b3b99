//! How many bytes things of the engine take, and reserving them.

use super::evaluate::{Done, Evaluator, Series};
use super::row::{Row, Steps};
use crate::budget::{Reserved, histogram_bytes, labels_bytes};
use crate::storage::{Samples, SeriesData};
use model::Labels;

/// What a hash map of label sets takes for an entry beside the text: key, value, a control byte, and room to grow.
pub(super) const ENTRY: usize = 2 * (size_of::<Labels>() + size_of::<usize>());

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
    ) -> Result<Reserved, crate::QueryError> {
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
