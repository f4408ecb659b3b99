//! The trial scrape: one GET as Prometheus would send it, whose answer is counted and thrown away.
//!
//! Whatever the target does, a trial ends within the target's scrape timeout and holds one chunk and one line of the
//! body at a time. The exposition formats asked for are the job's without protobuf, which we cannot count.

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use promconf::target::Target;
use promconf::{NameValidation, ScrapeConfig};
use reqwest::StatusCode;
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};

use crate::client::{self, ClientError, HttpClient};
use crate::count::{Count, CountError, Counter, Rules};
use crate::exposition::{DEFAULT_MAX_LINE, Format};

/// Counted between two chances for other tasks to run.
const SLICE: usize = 32 << 10;

/// How long a connection is kept: long enough for jobs that ask one exporter about many, and not until a million
/// targets have been asked once each.
const IDLE: Duration = Duration::from_millis(250);

/// Bounds on what a target may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a body, uncompressed. The job's own `body_size_limit` holds as well.
    pub max_body: u64,
    /// Bytes of a line.
    pub max_line: u32,
}

impl Default for Limits {
    /// 1 GiB a body, 1 MiB a line.
    fn default() -> Self {
        Self { max_body: 1 << 30, max_line: DEFAULT_MAX_LINE }
    }
}

/// Why a trial gave no count.
#[derive(Debug, thiserror::Error)]
pub enum ScrapeError {
    #[error("request target")]
    Request(#[source] ClientError),
    #[error("no complete answer within {0:?}")]
    Timeout(Duration),
    #[error("server returned HTTP status {0}")]
    Status(StatusCode),
    #[error("received unsupported Content-Type {0:?}")]
    ContentType(String),
    #[error("read body")]
    Body(#[source] reqwest::Error),
    /// The job's limit.
    #[error("body size limit exceeded (limit: {limit} bytes)")]
    BodySizeLimit { limit: u64 },
    /// Our own bound.
    #[error("body is longer than {limit} bytes")]
    TooLong { limit: u64 },
    #[error(transparent)]
    Count(#[from] CountError),
}

/// Makes the trial scrapes of one job.
#[derive(Debug, Clone)]
pub struct Scraper {
    client: HttpClient,
    rules: Arc<Rules>,
    limits: Limits,
    body_size_limit: Option<u64>,
    accept: HeaderValue,
    compress: bool,
    fallback: Format,
}

impl Scraper {
    /// Builds the job's client. Fails where the job's HTTP configuration cannot work.
    pub fn new(job: &ScrapeConfig, limits: Limits) -> Result<Self, ClientError> {
        let accept = accept(&job.scrape_protocols, job.name_validation);
        let accept =
            HeaderValue::try_from(accept).map_err(|_| ClientError::Header("Accept".to_owned()))?;
        let fallback = match job.fallback_scrape_protocol.as_deref() {
            Some(protocol) if protocol.starts_with("OpenMetrics") => Format::OpenMetrics,
            _ => Format::Text,
        };
        Ok(Self {
            client: client::build_for_many(&job.http, Path::new(""), job.scrape_timeout, IDLE)?,
            rules: Arc::new(Rules::new(job)),
            limits,
            body_size_limit: job.body_size_limit,
            accept,
            compress: job.enable_compression,
            fallback,
        })
    }

    /// Scrapes a target once and counts.
    pub async fn trial(&self, target: &Target) -> Result<Count, ScrapeError> {
        let timeout = target.scrape_timeout();
        let exchange = async {
            let response = self.request(target, timeout).await?;
            let mut counter = self.counter(target, &response)?;
            self.read(response, &mut counter).await?;
            counter.finish().map_err(ScrapeError::Count)
        };
        match tokio::time::timeout(timeout, exchange).await {
            Ok(Err(error)) if error.is_timeout() => Err(ScrapeError::Timeout(timeout)),
            Ok(outcome) => outcome,
            Err(_) => Err(ScrapeError::Timeout(timeout)),
        }
    }

    async fn request(
        &self,
        target: &Target,
        timeout: Duration,
    ) -> Result<reqwest::Response, ScrapeError> {
        let seconds = timeout.as_secs_f64().to_string();
        let seconds = HeaderValue::try_from(seconds).map_err(|_| {
            ScrapeError::Request(ClientError::Header("X-Prometheus-Scrape-Timeout-Seconds".into()))
        })?;
        let encoding = HeaderValue::from_static(if self.compress { "gzip" } else { "identity" });
        let headers = HeaderMap::from_iter([
            (ACCEPT, self.accept.clone()),
            (ACCEPT_ENCODING, encoding),
            (HeaderName::from_static("x-prometheus-scrape-timeout-seconds"), seconds),
        ]);
        let response = self.client.get(&target.url(), headers, timeout).await;
        let response = response.map_err(ScrapeError::Request)?;
        match response.status() {
            StatusCode::OK => Ok(response),
            status => Err(ScrapeError::Status(status)),
        }
    }

    fn counter(
        &self,
        target: &Target,
        response: &reqwest::Response,
    ) -> Result<Counter, ScrapeError> {
        let format = format(response.headers().get(CONTENT_TYPE), self.fallback)?;
        let labels = target.public_labels();
        Ok(Counter::new(Arc::clone(&self.rules), labels, format, self.limits.max_line))
    }

    async fn read(
        &self,
        mut response: reqwest::Response,
        counter: &mut Counter,
    ) -> Result<(), ScrapeError> {
        while let Some(chunk) = response.chunk().await.map_err(body_error)? {
            for slice in chunk.chunks(SLICE) {
                counter.feed(slice)?;
                self.check_size(counter.bytes())?;
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }

    fn check_size(&self, bytes: u64) -> Result<(), ScrapeError> {
        // Prometheus refuses a body that reaches its limit.
        if let Some(limit) = self.body_size_limit.filter(|limit| bytes >= *limit) {
            return Err(ScrapeError::BodySizeLimit { limit });
        }
        let limit = self.limits.max_body;
        if bytes > limit { Err(ScrapeError::TooLong { limit }) } else { Ok(()) }
    }
}

impl ScrapeError {
    fn is_timeout(&self) -> bool {
        match self {
            Self::Request(ClientError::Send(error) | ClientError::Token(error))
            | Self::Body(error) => error.is_timeout(),
            _ => false,
        }
    }
}

fn body_error(error: reqwest::Error) -> ScrapeError {
    ScrapeError::Body(error.without_url())
}

/// The `Accept` header (scrape/scrape.go, `acceptHeader`).
fn accept(protocols: &[String], validation: NameValidation) -> String {
    const TEXT: [&str; 4] = [
        "OpenMetricsText1.0.0",
        "OpenMetricsText0.0.1",
        "PrometheusText1.0.0",
        "PrometheusText0.0.4",
    ];
    let mut wanted: Vec<&str> =
        protocols.iter().map(String::as_str).filter(|name| TEXT.contains(name)).collect();
    if wanted.is_empty() {
        wanted.extend(TEXT);
    }
    let escaping = match validation {
        NameValidation::Utf8 => "allow-utf-8",
        NameValidation::Legacy => "underscores",
    };
    let mut accept = String::new();
    let mut weight = 6;
    for name in wanted {
        accept += match name {
            "OpenMetricsText1.0.0" => "application/openmetrics-text;version=1.0.0",
            "OpenMetricsText0.0.1" => "application/openmetrics-text;version=0.0.1",
            "PrometheusText1.0.0" => "text/plain;version=1.0.0",
            _ => "text/plain;version=0.0.4",
        };
        if name.ends_with("1.0.0") {
            accept += &format!(";escaping={escaping}");
        }
        accept += &format!(";q=0.{weight},");
        weight -= 1;
    }
    accept + &format!("*/*;q=0.{weight}")
}

/// The grammar of a body. A missing or unknown type is taken as the job's fallback, and without one as text: what
/// Prometheus 2 does. Prometheus 3 refuses such a target, which the shard will then report.
fn format(content_type: Option<&HeaderValue>, fallback: Format) -> Result<Format, ScrapeError> {
    let text = content_type.map_or("", |value| value.to_str().unwrap_or(""));
    let media_type = text.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    match media_type.as_str() {
        "application/openmetrics-text" => Ok(Format::OpenMetrics),
        "text/plain" => Ok(Format::Text),
        "application/vnd.google.protobuf" => Err(ScrapeError::ContentType(media_type)),
        _ => Ok(fallback),
    }
}
