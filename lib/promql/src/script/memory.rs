//! Series in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::histogram::FloatHistogram;
use model::{Labels, is_stale_marker};

use super::histogram::Chunks;
use crate::storage::{
    HistogramSample, Samples, SelectRequest, SeriesData, SeriesSet, Storage, StorageError,
};

/// A sample: a number or a histogram.
#[derive(Clone)]
struct Point {
    value: f64,
    histogram: Option<Arc<FloatHistogram>>,
}

/// All series of a test.
#[derive(Default)]
pub struct Memory {
    series: BTreeMap<Labels, BTreeMap<i64, Point>>,
    /// Since when samples count, by their time, where that is known.
    starts: BTreeMap<Labels, BTreeMap<i64, i64>>,
}

impl Memory {
    /// Adds samples; at a time that has one already the old one stays, as in a database.
    pub fn append(&mut self, labels: Labels, samples: impl IntoIterator<Item = (i64, f64)>) {
        let stored = self.series.entry(labels).or_default();
        for (time, value) in samples {
            stored.entry(time).or_insert(Point { value, histogram: None });
        }
    }

    /// Adds native histograms in the same way.
    pub fn append_histograms(
        &mut self,
        labels: Labels,
        samples: impl IntoIterator<Item = (i64, Arc<FloatHistogram>)>,
    ) {
        let stored = self.series.entry(labels).or_default();
        for (time, histogram) in samples {
            let point = Point { value: 0.0, histogram: Some(histogram) };
            stored.entry(time).or_insert(point);
        }
    }

    /// Says since when the samples of a series count: pairs of a sample's time and its start, milliseconds.
    pub fn set_starts(&mut self, labels: Labels, starts: impl IntoIterator<Item = (i64, i64)>) {
        self.starts.entry(labels).or_default().extend(starts);
    }

    fn starts_of(&self, labels: &Labels, timestamps: &[i64]) -> Option<Vec<i64>> {
        let known = self.starts.get(labels)?;
        Some(timestamps.iter().map(|time| known.get(time).copied().unwrap_or(0)).collect())
    }

    /// The samples of a time range. Hints of histograms are those that a database would give.
    fn samples(
        &self,
        labels: &Labels,
        points: &BTreeMap<i64, Point>,
        range: (i64, i64),
    ) -> Samples {
        let mut samples = Samples::default();
        let mut chunks = Chunks::default();
        let mut was_histogram = false;
        for (time, point) in points {
            let mut histogram = point.histogram.as_ref().map(|histogram| chunks.read(histogram));
            if histogram.is_none() {
                chunks.see_number();
                if was_histogram && is_stale_marker(point.value) {
                    // The end of a series of histograms is a histogram.
                    let stale = FloatHistogram { sum: point.value, ..FloatHistogram::default() };
                    histogram = Some(Arc::new(stale));
                }
            }
            was_histogram = histogram.is_some();
            if (range.0..=range.1).contains(time) {
                let index = samples.values.len();
                samples.timestamps.push(*time);
                samples.values.push(if was_histogram { 0.0 } else { point.value });
                samples
                    .histograms
                    .extend(histogram.map(|histogram| HistogramSample { index, histogram }));
            }
        }
        samples.start_timestamps = self.starts_of(labels, &samples.timestamps);
        samples
    }
}

impl Storage for Memory {
    fn select(&self, request: &SelectRequest) -> Result<Box<dyn SeriesSet>, StorageError> {
        let passes = |labels: &&Labels| {
            request.matchers.iter().all(|matcher| matcher.matches_labels(labels))
        };
        let range = (request.start, request.end);
        let series: Vec<SeriesData> = self
            .series
            .iter()
            .filter(|(labels, _)| passes(labels))
            .map(|(labels, points)| {
                let samples = self.samples(labels, points, range);
                SeriesData { labels: labels.clone(), samples }
            })
            .filter(|data| !data.samples.is_empty())
            .collect();
        Ok(Box::new(Found(series.into_iter())))
    }

    fn select_ahead(&self, request: &SelectRequest) -> Option<Box<dyn SeriesSet>> {
        self.select(request).ok()
    }
}

struct Found(std::vec::IntoIter<SeriesData>);

impl SeriesSet for Found {
    fn next(&mut self) -> Result<Option<SeriesData>, StorageError> {
        Ok(self.0.next())
    }

    fn warnings(&mut self) -> Vec<String> {
        Vec::new()
    }
}
