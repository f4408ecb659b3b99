//! The Prometheus beside this sidecar: its HTTP API and its streamed remote read.

pub mod answer;
pub mod auth;
pub mod frames;

use std::collections::BTreeMap;
use std::time::Duration;

use model::{Labels, Matcher};
use prost::Message;
use proto::prometheus::{ChunkedReadResponse, ReadRequest};
use reqwest::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE};
use reqwest::{RequestBuilder, Response};
use serde::de::DeserializeOwned;
use url::Url;

use crate::error::Error;
use answer::{
    Answer, ConfigAnswer, Envelope, HeadSpan, MetadataAnswer, SnapshotAnswer, TargetsAnswer,
    TsdbAnswer,
};
use auth::Auth;
use frames::FrameDecoder;

/// The longest JSON answer that is read, in bytes.
const MAX_ANSWER: usize = 512 << 20;
/// The longest error text that is passed on, in bytes.
const MAX_ERROR_TEXT: usize = 64 << 10;
/// How much of `/metrics` is read to find one metric, in bytes.
const MAX_METRICS_PAGE: usize = 64 << 20;
/// How long a stream may bring nothing before it counts as dead. Not counted while the client is the slow one.
const STREAM_SILENCE: Duration = Duration::from_secs(120);
/// The longest that a stream may take in all: as long as a gRPC connection lives.
const STREAM_LONGEST: Duration = Duration::from_secs(3600);

/// A large head takes minutes to write.
const SNAPSHOT_LONGEST: Duration = Duration::from_secs(1800);

/// Times outside these, in milliseconds, are left out of a query: Prometheus takes no others as text.
const FIRST_TIME: i64 = -62_135_596_800_000;
const LAST_TIME: i64 = 253_402_300_799_999;

/// A client of one Prometheus. Cloneable.
#[derive(Debug, Clone)]
pub struct Prometheus {
    base: Url,
    client: reqwest::Client,
    auth: Auth,
}

/// What restricts an answer about labels or series.
#[derive(Debug, Clone, Copy)]
pub struct Selection<'a> {
    pub matchers: &'a [Matcher],
    /// Milliseconds, both ends inclusive.
    pub start: i64,
    pub end: i64,
    /// Entries; 0 is no limit. Older versions ignore it.
    pub limit: i64,
}

impl Prometheus {
    /// A client of the Prometheus at `base`, which may have a path.
    pub fn new(base: Url, client: reqwest::Client, auth: Auth) -> Self {
        Self { base, client, auth }
    }

    /// The external labels, as they are in effect now.
    pub async fn external_labels(&self) -> Result<Labels, Error> {
        let config: Answer<ConfigAnswer> = self.get("/api/v1/status/config", &[]).await?;
        answer::external_labels(&config.data.yaml)
    }

    /// The longest time between two scrapes of a target: of the jobs that it has now, and of all targets that this
    /// process has scraped, whose loops may not have ended yet.
    pub async fn longest_interval(&self) -> Result<Duration, Error> {
        let config: Answer<ConfigAnswer> = self.get("/api/v1/status/config", &[]).await?;
        let of_jobs = answer::longest_interval(&config.data.yaml)?;
        let path = "/metrics";
        let response = self.send(path, self.client.get(self.url(path))).await?;
        let page = svc::http::read_body(response, MAX_METRICS_PAGE)
            .await
            .map_err(|source| Error::Body { path: path.to_owned(), source })?;
        let seen = answer::longest_seen_interval(&String::from_utf8_lossy(&page));
        Ok(seen.map_or(of_jobs, |seen| seen.max(of_jobs)))
    }

    /// The flags it was started with.
    pub async fn flags(&self) -> Result<BTreeMap<String, String>, Error> {
        Ok(self.get("/api/v1/status/flags", &[]).await?.data)
    }

    /// The lowest timestamp in its storage, in milliseconds; `None` while it has none.
    pub async fn lowest_timestamp(&self) -> Result<Option<i64>, Error> {
        let path = "/metrics";
        let mut response = self.send(path, self.client.get(self.url(path))).await?;
        let mut line = answer::LineFinder::new("prometheus_tsdb_lowest_timestamp ");
        let mut read = 0;
        while let Some(part) = response.chunk().await.map_err(Error::Stream)? {
            read += part.len();
            if let Some(value) = line.feed(&part) {
                return Ok(answer::lowest_timestamp(&value));
            }
            if read > MAX_METRICS_PAGE {
                break;
            }
        }
        Ok(None)
    }

    /// The samples in the head; `None` while it has none.
    pub async fn head(&self) -> Result<Option<HeadSpan>, Error> {
        let limit = [("limit", "1".to_owned())];
        let status: Answer<TsdbAnswer> = self.get("/api/v1/status/tsdb", &limit).await?;
        Ok(status.data.head_stats.span())
    }

    /// Hard links to all blocks, and a block of the head, in a folder below `snapshots`. Returns its name.
    pub async fn snapshot(&self) -> Result<String, Error> {
        let path = "/api/v1/admin/tsdb/snapshot";
        let request = self.client.post(self.url(path)).timeout(SNAPSHOT_LONGEST);
        let snapshot: Answer<SnapshotAnswer> = self.json(path, request).await?;
        Ok(snapshot.data.name)
    }

    /// Label names of the selected series, sorted.
    pub async fn label_names(
        &self,
        selection: Selection<'_>,
    ) -> Result<Answer<Vec<String>>, Error> {
        self.post("/api/v1/labels", &selection.parameters()).await
    }

    /// Values of one label on the selected series, sorted.
    pub async fn label_values(
        &self,
        label: &str,
        selection: Selection<'_>,
    ) -> Result<Answer<Vec<String>>, Error> {
        let mut url = self.url("/api/v1/label");
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.push(label).push("values");
        }
        let request = self.client.get(url).query(&selection.parameters());
        self.json("/api/v1/label/<name>/values", request).await
    }

    /// The label sets of the selected series, in no order.
    pub async fn series(
        &self,
        selection: Selection<'_>,
    ) -> Result<Answer<Vec<BTreeMap<String, String>>>, Error> {
        self.post("/api/v1/series", &selection.parameters()).await
    }

    /// Scrape targets; `state` is `active`, `dropped` or `any`.
    pub async fn targets(&self, state: &str) -> Result<Answer<TargetsAnswer>, Error> {
        self.get("/api/v1/targets", &[("state", state.to_owned())]).await
    }

    /// Metadata by metric name. `limit` below 0 is no limit.
    pub async fn metadata(
        &self,
        metric: &str,
        limit: i32,
    ) -> Result<Answer<MetadataAnswer>, Error> {
        let mut parameters = Vec::new();
        if !metric.is_empty() {
            parameters.push(("metric", metric.to_owned()));
        }
        if limit >= 0 {
            parameters.push(("limit", limit.to_string()));
        }
        self.get("/api/v1/metadata", &parameters).await
    }

    /// Starts a streamed remote read. Dropping the stream ends it in Prometheus, too.
    pub async fn read(&self, request: &ReadRequest) -> Result<FrameStream, Error> {
        let path = "/api/v1/read";
        let body = snap::raw::Encoder::new()
            .compress_vec(&request.encode_to_vec())
            .map_err(|error| Error::Configuration(error.to_string()))?;
        let request = self
            .client
            .post(self.url(path))
            .timeout(STREAM_LONGEST)
            .header(CONTENT_TYPE, "application/x-protobuf")
            .header(CONTENT_ENCODING, "snappy")
            .header("X-Prometheus-Remote-Read-Version", "0.1.0")
            .body(body);
        let response = self.send(path, request).await?;
        let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        match kind {
            Some(kind) if kind.starts_with("application/x-streamed-protobuf") => {}
            other => return Err(Error::NotStreamed(other.unwrap_or_default().to_owned())),
        }
        Ok(FrameStream { response, decoder: FrameDecoder::default() })
    }

    async fn get<T: DeserializeOwned + Default>(
        &self,
        path: &str,
        parameters: &[(&'static str, String)],
    ) -> Result<Answer<T>, Error> {
        self.json(path, self.client.get(self.url(path)).query(parameters)).await
    }

    async fn post<T: DeserializeOwned + Default>(
        &self,
        path: &str,
        parameters: &[(&'static str, String)],
    ) -> Result<Answer<T>, Error> {
        self.json(path, self.client.post(self.url(path)).form(parameters)).await
    }

    async fn json<T: DeserializeOwned + Default>(
        &self,
        path: &str,
        request: RequestBuilder,
    ) -> Result<Answer<T>, Error> {
        let response = self.send(path, request).await?;
        let body = svc::http::read_body(response, MAX_ANSWER)
            .await
            .map_err(|source| Error::Body { path: path.to_owned(), source })?;
        let envelope: Envelope<T> = serde_json::from_slice(&body)
            .map_err(|source| Error::Json { path: path.to_owned(), source })?;
        Ok(Answer { data: envelope.data.unwrap_or_default(), warnings: envelope.warnings })
    }

    /// Sends a request; any answer but 2xx is an error with Prometheus' own text.
    async fn send(&self, path: &str, request: RequestBuilder) -> Result<Response, Error> {
        let unreachable = |source| Error::Unreachable { path: path.to_owned(), source };
        // It runs on the same machine as a rule: compressing costs more than it saves.
        let request = self.auth.apply(request.header(ACCEPT_ENCODING, "identity"))?;
        let response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let text = svc::http::read_body(response, MAX_ERROR_TEXT).await.unwrap_or_default();
        Err(Error::Refused { path: path.to_owned(), status, message: answer::error_text(&text) })
    }

    fn url(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{path}", self.base.path().trim_end_matches('/')));
        url
    }
}

impl Selection<'_> {
    fn parameters(&self) -> Vec<(&'static str, String)> {
        let mut parameters = Vec::new();
        if !self.matchers.is_empty() {
            let matchers: Vec<String> = self.matchers.iter().map(ToString::to_string).collect();
            parameters.push(("match[]", format!("{{{}}}", matchers.join(","))));
        }
        if self.start >= FIRST_TIME {
            parameters.push(("start", seconds(self.start)));
        }
        if self.end <= LAST_TIME {
            parameters.push(("end", seconds(self.end)));
        }
        if self.limit > 0 {
            parameters.push(("limit", self.limit.to_string()));
        }
        parameters
    }
}

/// Milliseconds as Prometheus reads times: seconds with a fraction.
fn seconds(milliseconds: i64) -> String {
    let sign = if milliseconds < 0 { "-" } else { "" };
    let positive = milliseconds.unsigned_abs();
    format!("{sign}{}.{:03}", positive / 1000, positive % 1000)
}

/// The answer to a remote read, frame by frame.
#[derive(Debug)]
pub struct FrameStream {
    response: Response,
    decoder: FrameDecoder,
}

impl FrameStream {
    /// The next frame; `None` after the last.
    pub async fn next(&mut self) -> Result<Option<ChunkedReadResponse>, Error> {
        loop {
            if let Some(frame) = self.decoder.next_frame()? {
                return Ok(Some(frame));
            }
            let part = tokio::time::timeout(STREAM_SILENCE, self.response.chunk())
                .await
                .map_err(|_| Error::Silent(STREAM_SILENCE))?
                .map_err(Error::Stream)?;
            match part {
                Some(part) => self.decoder.feed(&part),
                None => return self.decoder.finish().map(|()| None).map_err(Error::Frame),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_sent_in_seconds() {
        assert_eq!(seconds(1_500), "1.500");
        assert_eq!(seconds(-1), "-0.001");
    }

    #[test]
    fn a_selection_leaves_out_what_restricts_nothing() {
        let all = Selection { matchers: &[], start: i64::MIN, end: i64::MAX, limit: 0 };
        assert!(all.parameters().is_empty());
        let matchers = [Matcher::equal("job", "a\"b"), Matcher::equal("x", "")];
        let some = Selection { matchers: &matchers, start: 0, end: 1_000, limit: 5 };
        let wanted = [
            ("match[]", r#"{job="a\"b",x=""}"#),
            ("start", "0.000"),
            ("end", "1.000"),
            ("limit", "5"),
        ];
        assert_eq!(some.parameters(), wanted.map(|(name, value)| (name, value.to_owned())));
    }

    #[test]
    fn a_path_in_the_base_url_is_kept() {
        svc::run::init_crypto();
        let client = svc::http::client(Duration::from_secs(1)).unwrap();
        for base in ["http://h:1/prefix", "http://h:1/prefix/"] {
            let prometheus =
                Prometheus::new(Url::parse(base).unwrap(), client.clone(), Auth::default());
            assert_eq!(prometheus.url("/api/v1/read").as_str(), "http://h:1/prefix/api/v1/read");
        }
    }
}
