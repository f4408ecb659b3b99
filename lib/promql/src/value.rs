//! What a query answers.

use std::sync::Arc;

use model::Labels;
use model::histogram::FloatHistogram;

use crate::budget::Reserved;
use crate::engine::Operator;
use crate::storage::HistogramSample;

/// The answer to a query with everything that the user should know beside it.
#[derive(Debug)]
pub struct QueryResult {
    /// The answer itself.
    pub value: Value,
    /// Things that are probably wrong with the query or the data, each a full text. At most ten and a count.
    pub warnings: Vec<String>,
    /// Things worth knowing, each a full text. At most ten and a count.
    pub infos: Vec<String>,
    /// What the query cost.
    pub stats: Stats,
    /// How many samples each step looked at, by its time in milliseconds, if
    /// [`crate::QueryOptions::per_step_stats`] asked for it. Together they are [`Stats::samples`].
    pub samples_per_step: Option<Vec<(i64, u64)>>,
    /// The plan with what each operator cost, if [`crate::QueryOptions::analyze`] asked for it.
    pub analysis: Option<Operator>,
    /// The memory of the answer, within the budgets until this is dropped.
    pub memory: Reserved,
}

/// By what the user sees: neither memory nor time.
impl PartialEq for QueryResult {
    fn eq(&self, other: &Self) -> bool {
        (&self.value, &self.warnings, &self.infos) == (&other.value, &other.warnings, &other.infos)
    }
}

/// A value of one of PromQL's four types.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// One number.
    Scalar {
        /// Evaluation time, milliseconds.
        time: i64,
        /// The number.
        value: f64,
    },
    /// One text; only a string literal makes it.
    String {
        /// Evaluation time, milliseconds.
        time: i64,
        /// The text.
        value: String,
    },
    /// At most one sample per label set, all at one time. The order is the evaluation's (`sort`, `topk`).
    Vector(Vec<VectorSample>),
    /// Samples over time, ordered by labels for range queries.
    Matrix(Vec<MatrixSeries>),
}

impl Value {
    /// How many series or numbers it has.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Scalar { .. } | Self::String { .. } => 1,
            Self::Vector(samples) => samples.len(),
            Self::Matrix(series) => series.len(),
        }
    }

    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// One element of an instant vector.
#[derive(Debug, Clone, PartialEq)]
pub struct VectorSample {
    /// What identifies it.
    pub labels: Labels,
    /// Evaluation time, milliseconds.
    pub time: i64,
    /// The value; 0 when it is a histogram.
    pub value: f64,
    /// The native histogram that the sample is, in place of a number.
    pub histogram: Option<Arc<FloatHistogram>>,
}

/// One series of a matrix, as columns of one length with histograms in a side column, as [`crate::storage::Samples`].
#[derive(Debug, Clone, PartialEq)]
pub struct MatrixSeries {
    /// What identifies it.
    pub labels: Labels,
    /// Milliseconds, ascending.
    pub timestamps: Vec<i64>,
    /// Values at these times; 0 where the sample is a histogram.
    pub values: Vec<f64>,
    /// The samples that are native histograms, ascending by index into the columns.
    pub histograms: Vec<HistogramSample>,
}

impl MatrixSeries {
    /// The samples as pairs of milliseconds and value, histograms as 0.
    pub fn points(&self) -> impl Iterator<Item = (i64, f64)> + '_ {
        self.timestamps.iter().copied().zip(self.values.iter().copied())
    }
}

/// What a query cost (util/stats/query_stats.go).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Samples that were looked at, each as often as a step used it (`totalQueryableSamples`).
    pub samples: u64,
    /// Most samples held in memory at one time.
    pub peak_samples: u64,
    /// Series read from storage.
    pub series: u64,
    /// The most bytes that the engine had reserved at one time, the answer included.
    pub peak_bytes: u64,
}
