//! The envelope around every answer, and errors as Prometheus words and numbers them.

use std::convert::Infallible;

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use promql::storage::StorageErrorKind;
use promql::{MemoryScope, QueryError, Reserved, Value};

use super::json::Json;
use super::json::render::{Grid, Renderer};
use crate::fanout::FanoutError;
use crate::source::SourceError;
use crate::warning::{Warning, Warnings};

/// The `data` of an answer.
#[derive(Debug)]
pub(super) enum Data {
    /// JSON.
    Text(Vec<u8>),
    /// A query's result, which is written while it is sent.
    Result(Box<Found>),
}

/// What a query found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) value: Value,
    pub(super) grid: Grid,
    /// JSON of `stats`.
    pub(super) stats: Option<String>,
    /// JSON of `analysis`.
    pub(super) analysis: Option<String>,
    /// The value's memory, given back once all is sent.
    pub(super) memory: Reserved,
}

impl Default for Data {
    fn default() -> Self {
        Self::Text(Vec::new())
    }
}

/// An answer that can be sent.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) data: Data,
    /// Warnings about missing data first.
    pub(super) warnings: Vec<String>,
    pub(super) infos: Vec<String>,
    /// Whether a cache may keep it. Warnings about the query itself don't forbid that, missing data does.
    pub(super) cacheable: bool,
    /// Whether data is missing.
    pub(super) incomplete: bool,
}

impl Answer {
    pub(super) fn new(data: Data, warnings: Warnings) -> Self {
        Self {
            data,
            cacheable: warnings.is_empty(),
            warnings: warnings.texts(),
            infos: Vec::new(),
            incomplete: warnings.into_iter().any(|warning| warning.is_incomplete()),
        }
    }

    pub(super) fn json(json: Json, warnings: Warnings) -> Self {
        Self::new(Data::Text(json.into_bytes()), warnings)
    }

    /// A complete answer from a small tree.
    pub(super) fn of(data: &serde_json::Value) -> Self {
        Self::new(Data::Text(data.to_string().into_bytes()), Warnings::default())
    }

    /// What follows `data`.
    fn tail(&self, json: &mut Json) {
        for (key, texts) in [(",\"warnings\":", &self.warnings), (",\"infos\":", &self.infos)] {
            if !texts.is_empty() {
                json.raw(key);
                json.strings(texts);
            }
        }
        json.raw("}");
    }
}

impl IntoResponse for Answer {
    fn into_response(mut self) -> Response {
        let data = std::mem::take(&mut self.data);
        let (mut head, mut tail) = (Json::default(), Json::default());
        head.raw("{\"status\":\"success\",\"data\":");
        let body = match data {
            Data::Text(text) => {
                self.tail(&mut tail);
                let mut body = head.into_bytes();
                let tail = tail.into_bytes();
                body.reserve_exact(text.len() + tail.len());
                body.extend_from_slice(&text);
                body.extend_from_slice(&tail);
                Body::from(body)
            }
            Data::Result(found) => {
                let Found { value, grid, stats, analysis, memory } = *found;
                head.raw("{");
                for (key, json) in [(",\"stats\":", stats), (",\"analysis\":", analysis)] {
                    if let Some(json) = json {
                        tail.raw(key);
                        tail.raw(&json);
                    }
                }
                tail.raw("}");
                self.tail(&mut tail);
                stream(Renderer::new(head, value, grid, tail), memory)
            }
        };
        respond(StatusCode::OK, body, self.cacheable)
    }
}

/// A small answer as it is, a large one piece by piece as the client takes it.
fn stream(mut renderer: Renderer, memory: Reserved) -> Body {
    let Some((first, last)) = renderer.piece() else { return Body::empty() };
    if last {
        return Body::from(first);
    }
    let rest = std::iter::from_fn(move || {
        let _until_the_end = &memory;
        renderer.piece().map(|(piece, _)| piece)
    });
    let pieces = std::iter::once(first).chain(rest).map(Ok::<_, Infallible>);
    Body::from_stream(futures::stream::iter(pieces))
}

fn respond(status: StatusCode, body: Body, cacheable: bool) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if !cacheable {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}

/// Why a request has no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ApiError {
    kind: ErrorKind,
    message: String,
}

/// Prometheus' error types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ErrorKind {
    BadData,
    Execution,
    Canceled,
    Timeout,
    Internal,
    NotFound,
}

impl ErrorKind {
    fn name(self) -> &'static str {
        match self {
            Self::BadData => "bad_data",
            Self::Execution => "execution",
            Self::Canceled => "canceled",
            Self::Timeout => "timeout",
            Self::Internal => "internal",
            Self::NotFound => "not_found",
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Self::BadData => StatusCode::BAD_REQUEST,
            Self::Execution => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Canceled | Self::Timeout => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::NotFound => StatusCode::NOT_FOUND,
        }
    }
}

impl ApiError {
    pub(super) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    pub(super) fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The text alone, for answers that are no JSON.
    pub(super) fn into_text(self) -> (StatusCode, String) {
        (self.kind.status(), self.message)
    }

    pub(super) fn bad_data(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::BadData, message)
    }

    /// `invalid parameter "…": …`
    pub(super) fn parameter(name: &str, reason: impl std::fmt::Display) -> Self {
        Self::bad_data(format!("invalid parameter \"{name}\": {reason}"))
    }
}

impl From<QueryError> for ApiError {
    fn from(error: QueryError) -> Self {
        let kind = match &error {
            QueryError::Parse(_) => return Self::parameter("query", error),
            QueryError::Execution(_) | QueryError::TooManySamples | QueryError::Memory(_) => {
                ErrorKind::Execution
            }
            QueryError::Timeout => ErrorKind::Timeout,
            QueryError::Canceled => ErrorKind::Canceled,
            QueryError::Storage(storage) => match storage.kind {
                StorageErrorKind::Aborted => ErrorKind::Canceled,
                StorageErrorKind::Timeout => ErrorKind::Timeout,
                StorageErrorKind::Limit => ErrorKind::Execution,
                StorageErrorKind::Internal => ErrorKind::Internal,
            },
        };
        let flag = match &error {
            QueryError::Memory(memory) => match memory.scope {
                MemoryScope::Query => " (--query.max-memory-per-query)",
                MemoryScope::Process => " (--query.max-memory)",
            },
            _ => "",
        };
        Self::new(kind, format!("{error}{flag}"))
    }
}

impl From<FanoutError> for ApiError {
    fn from(error: FanoutError) -> Self {
        let kind = match &error {
            FanoutError::Aborted(Warning::Silent { .. }) | FanoutError::Deadline => {
                ErrorKind::Timeout
            }
            FanoutError::Aborted(_) => ErrorKind::Internal,
            FanoutError::TooManyBytes { .. } => ErrorKind::Execution,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<SourceError> for ApiError {
    fn from(error: SourceError) -> Self {
        let kind = match error {
            SourceError::Fanout(error) => return error.into(),
            SourceError::TooManySeries => ErrorKind::Execution,
            SourceError::Block(_) | SourceError::Broken => ErrorKind::Internal,
        };
        Self::new(kind, error.to_string())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut json = Json::default();
        json.raw("{\"status\":\"error\",\"errorType\":");
        json.string(self.kind.name());
        json.raw(",\"error\":");
        json.string(&self.message);
        json.raw("}");
        respond(self.kind.status(), Body::from(json.into_bytes()), false)
    }
}
