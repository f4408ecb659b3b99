//! Why a query gave no answer.

use crate::budget::MemoryError;
use crate::parse::ParseError;
use crate::storage::StorageError;

/// Why a query gave no answer. Display is the text that Prometheus' API puts into `error`, and each variant has an
/// `errorType` there (promql/engine.go; `returnAPIError` of web/api/v1/api.go).
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum QueryError {
    /// Not PromQL, or of a type that the kind of query cannot give: the user's mistake (`bad_data`).
    #[error("{0}")]
    Parse(#[from] ParseError),
    /// The query makes no sense over this data (`execution`).
    #[error("{0}")]
    Execution(String),
    /// More samples than one query may hold (`execution`).
    #[error("query processing would load too many samples into memory in query execution")]
    TooManySamples,
    /// More memory than the query, or all queries together, may use (`execution`).
    #[error("{0}")]
    Memory(Box<MemoryError>),
    /// The deadline passed (`timeout`).
    #[error("query timed out in expression evaluation")]
    Timeout,
    /// The caller went away (`canceled`).
    #[error("query was canceled in expression evaluation")]
    Canceled,
    /// The source of series failed (`internal`, unless its kind says otherwise).
    #[error("{0}")]
    Storage(StorageError),
}

impl From<StorageError> for QueryError {
    fn from(error: StorageError) -> Self {
        Self::Storage(error)
    }
}

impl From<MemoryError> for QueryError {
    fn from(error: MemoryError) -> Self {
        Self::Memory(Box::new(error))
    }
}
