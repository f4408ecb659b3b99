//! Where series come from: the only door between the engine and stored data.
//!
//! The engine reads the answer for a selector series by series, so that a source which streams (StoreAPI, a block
//! reader) never has to hold more than one series. While it reads one selector, a source may begin on the next ones.

use std::fmt;
use std::sync::Arc;

use model::histogram::FloatHistogram;
use model::{Labels, Matcher};

mod downsampled;

pub use downsampled::{Aggregate, Downsampled, Piece};

/// A source of series.
pub trait Storage: Send + Sync {
    /// The series that pass all matchers, with their samples in the requested time range. Samples outside of it do no
    /// harm, and series without samples are skipped.
    ///
    /// # Errors
    ///
    /// An error ends the query. An answer that lacks something is no error but a warning of the [`SeriesSet`].
    fn select(&self, request: &SelectRequest) -> Result<Box<dyn SeriesSet>, StorageError>;

    /// The same for a selector that the query reads later, after others of which it has the first series. The source may
    /// begin at once, as long as it takes nothing away from those others, and holds little before
    /// [`SeriesSet::want`]. `None` when it would rather be asked when the selector's turn has come, as it is when it
    /// cannot answer now.
    fn select_ahead(&self, request: &SelectRequest) -> Option<Box<dyn SeriesSet>> {
        let _request = request;
        None
    }

    /// Whether two selections that differ in nothing but their hints have the same samples: then a query that wants both
    /// asks for one. What is to become of labels does not matter; whoever uses less of the rest can say so.
    fn same_samples(&self, one: &Hints, other: &Hints) -> bool {
        let Hints { grouping, by, projection, .. } = one.clone();
        *one == Hints { grouping, by, projection, ..other.clone() }
    }
}

/// What a selector of a query needs.
#[derive(Debug, Clone)]
pub struct SelectRequest {
    /// All have to pass.
    pub matchers: Vec<Matcher>,
    /// First wanted sample time, milliseconds, inclusive.
    pub start: i64,
    /// Last wanted sample time, milliseconds, inclusive.
    pub end: i64,
    /// What the samples are for; a source may use or ignore it.
    pub hints: Hints,
}

/// What a source may use to send less. Same meaning as Prometheus' `SelectHints`
/// (storage/interface.go).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hints {
    /// Step of the query in milliseconds; 0 for an instant query.
    pub step: i64,
    /// Range of the matrix selector in milliseconds; 0 for an instant selector.
    pub range: i64,
    /// Innermost function or aggregation around the selector, or "".
    pub function: String,
    /// Labels of the aggregation directly around the selector.
    pub grouping: Vec<String>,
    /// Whether `grouping` is meant as `by` (else `without`).
    pub by: bool,
    /// The labels that the query looks at, when it does not look at all: under an aggregation. What tells series apart
    /// is not among them, so that a source which leaves out labels has to keep the series apart in another way.
    pub projection: Option<Projection>,
    /// What the selector is after where samples are downsampled.
    pub aggregate: Aggregate,
    /// Of the samples up to this time, milliseconds, only the newest counts: what an instant selector's first step
    /// looks at.
    pub newest_at: Option<i64>,
}

/// Some labels, or all but some.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Projection {
    /// Names.
    pub labels: Vec<String>,
    /// Whether these are meant, or all others.
    pub include: bool,
}

/// Series in ascending order of labels, each label set once.
pub trait SeriesSet: Send {
    /// The next series; `None` at the end.
    ///
    /// # Errors
    ///
    /// Whatever keeps the rest from being read. It ends the query; the engine asks no more.
    fn next(&mut self) -> Result<Option<SeriesData>, StorageError>;

    /// What the user should know about the answer; complete once `next` gave `None`.
    fn warnings(&mut self) -> Vec<String>;

    /// Its turn has come: called before `next` of a set of [`Storage::select_ahead`]. When that then fails for want of
    /// room ([`StorageErrorKind::Limit`]) before the first series, the engine asks for the selector once more.
    fn want(&mut self) {}

    /// Whether series can be taken before they are decoded. Then the engine may use `take` in place of `next`, and has
    /// other threads decode what it took.
    fn can_take(&self) -> bool {
        false
    }

    /// The next series, still to be decoded. Without `wait`, only if it is there already.
    ///
    /// # Errors
    ///
    /// Those of [`SeriesSet::next`].
    fn take(&mut self, wait: bool) -> Result<Taken, StorageError> {
        let _wait = wait;
        Ok(Taken::End)
    }
}

/// What [`SeriesSet::take`] found.
pub enum Taken {
    /// The next series.
    Series(Box<dyn Undecoded>),
    /// There is none yet.
    Later,
    /// There are no more.
    End,
}

/// A series whose samples are still to be decoded, which any thread can do.
pub trait Undecoded: Send {
    /// About how many samples there are: how much work it will be.
    fn samples(&self) -> usize;

    /// Decodes it. `None` when it has no samples in the requested range.
    ///
    /// # Errors
    ///
    /// Bytes that are no chunk, and what else [`SeriesSet::next`] would have said of this series.
    fn decode(self: Box<Self>) -> Result<Option<SeriesData>, StorageError>;
}

/// One series with its samples in the requested range.
#[derive(Debug, Clone)]
pub struct SeriesData {
    /// What identifies it.
    pub labels: Labels,
    /// Its samples.
    pub samples: Samples,
}

/// Samples as columns of one length, with native histograms in a side column.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Samples {
    /// Milliseconds, ascending, distinct.
    pub timestamps: Vec<i64>,
    /// Values, stale markers included; 0 where the sample is a histogram.
    pub values: Vec<f64>,
    /// The samples that are histograms, ascending by index; empty for almost every series.
    pub histograms: Vec<HistogramSample>,
    /// Since when each sample counts, milliseconds, 0 where that is unknown; `None` when it is of all.
    pub start_timestamps: Option<Vec<i64>>,
    /// How many samples each one stands for, where some are downsampled and [`Hints::aggregate`] is a count or a sum and
    /// a count; `None` when each is one.
    pub counts: Option<Vec<f64>>,
}

/// A sample that is a native histogram. A stale one has the stale marker as its sum.
#[derive(Debug, Clone, PartialEq)]
pub struct HistogramSample {
    /// Index into the timestamps.
    pub index: usize,
    /// The histogram.
    pub histogram: Arc<FloatHistogram>,
}

impl Samples {
    /// How many samples there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.timestamps.len().min(self.values.len())
    }

    /// Whether there is no sample.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Why a source gave up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageError {
    /// What kind of failure.
    pub kind: StorageErrorKind,
    /// One sentence for the user.
    pub message: String,
}

/// Kinds of failure of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StorageErrorKind {
    /// The query was cancelled while the source worked.
    Aborted,
    /// The source did not answer in time.
    Timeout,
    /// The query asked for more than the source may give: the user's to change.
    Limit,
    /// Everything else.
    Internal,
}

impl StorageError {
    /// An error of a kind.
    pub fn new(kind: StorageErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}

impl fmt::Display for StorageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for StorageError {}
