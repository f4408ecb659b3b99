//! The shard's Prometheus, asked over its HTTP API. Every call has a timeout and a bound on the answer.

mod answers;
mod own_metrics;

use std::collections::HashMap;
use std::time::Duration;

use model::Labels;
use reqwest::{Response, StatusCode};
use serde::de::DeserializeOwned;
use url::Url;

use crate::churn::{Added, Stretch};
pub(crate) use answers::{ActiveTarget, Discovered, Health, Samples, Size, WalReplay};
pub(crate) use own_metrics::OwnMetrics;

/// A status call; Prometheus answers these from memory.
const QUICK: Duration = Duration::from_secs(5);
/// Lists of all targets, queries over them.
const SLOW: Duration = Duration::from_secs(20);
/// Prometheus answers a reload once it is done, rule files and all.
const RELOAD: Duration = Duration::from_secs(120);

/// A status answer, or an error's text.
const SMALL: usize = 1 << 20;
/// 2 to 3 KiB a target: enough for 100,000.
const LARGE: usize = 512 << 20;

/// Everything that the sidecar asks about scrapes, in one query: values of one scrape stay together.
const SCRAPES: &str =
    "{__name__=~\"up|scrape_samples_scraped|scrape_samples_post_metric_relabeling\"}";

/// A call that has no usable answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    #[error("ask prometheus")]
    Send(#[source] reqwest::Error),
    #[error("read prometheus' answer")]
    Body(#[source] svc::http::BodyError),
    #[error("prometheus answered {status}: {text}")]
    Status { status: StatusCode, text: String },
    #[error("parse prometheus' answer")]
    Parse(#[source] serde_json::Error),
    #[error("parsing was interrupted")]
    Interrupted(#[source] tokio::task::JoinError),
}

impl CallError {
    /// Whether nobody took the call.
    pub(crate) fn is_connect(&self) -> bool {
        matches!(self, Self::Send(error) if error.is_connect())
    }

    /// Whether the machine said that nobody listens.
    pub(crate) fn is_refused(&self) -> bool {
        let first: &(dyn std::error::Error + 'static) = self;
        let mut causes = std::iter::successors(Some(first), |cause| cause.source());
        causes.any(|cause| {
            let io = cause.downcast_ref::<std::io::Error>();
            io.is_some_and(|io| io.kind() == std::io::ErrorKind::ConnectionRefused)
        })
    }
}

/// What `/-/ready` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Readiness {
    Ready,
    Starting,
}

/// How a reload went.
#[derive(Debug)]
pub(crate) enum Reload {
    Loaded,
    /// Prometheus read the file and did not like it, in its own words.
    Rejected(String),
}

/// A client of one Prometheus. Clones share connections.
#[derive(Debug, Clone)]
pub(crate) struct Prometheus {
    base: Url,
    client: reqwest::Client,
}

impl Prometheus {
    pub(crate) fn new(base: &Url) -> anyhow::Result<Self> {
        Ok(Self { base: base.clone(), client: svc::http::client(RELOAD)? })
    }

    /// `Starting` while the WAL is replayed.
    pub(crate) async fn ready(&self) -> Result<Readiness, CallError> {
        let response = self.get("-/ready", &[], QUICK).await?;
        match response.status() {
            StatusCode::OK => Ok(Readiness::Ready),
            StatusCode::SERVICE_UNAVAILABLE => Ok(Readiness::Starting),
            _ => Err(refusal(response).await),
        }
    }

    /// Reads configuration and rules again; returns when that is done.
    pub(crate) async fn reload(&self) -> Result<Reload, CallError> {
        let request = self.client.post(self.url("-/reload")).timeout(RELOAD);
        let response = request.send().await.map_err(CallError::Send)?;
        match response.status() {
            status if status.is_success() => Ok(Reload::Loaded),
            StatusCode::INTERNAL_SERVER_ERROR => Ok(Reload::Rejected(error_text(response).await)),
            _ => Err(refusal(response).await),
        }
    }

    /// What is scraped now. Targets without our id are left out.
    pub(crate) async fn targets(&self) -> Result<Vec<ActiveTarget>, CallError> {
        let response = self.get("api/v1/targets", &[("state", "active")], SLOW).await?;
        let page: answers::TargetsPage = parse(response, LARGE).await?;
        Ok(page.into_ours())
    }

    /// What is scraped now, as discovery has told it.
    pub(crate) async fn discovered(&self) -> Result<Vec<Discovered>, CallError> {
        let response = self.get("api/v1/targets", &[("state", "active")], SLOW).await?;
        Ok(parse::<answers::DiscoveredPage>(response, LARGE).await?.active_targets)
    }

    /// What the latest successful scrape of each target brought, by the target's public labels.
    pub(crate) async fn samples(&self) -> Result<Samples, CallError> {
        let response = self.get("api/v1/query", &[("query", SCRAPES)], SLOW).await?;
        let vector: answers::Vector = parse(response, LARGE).await?;
        Ok(vector.into_samples())
    }

    /// What scrapes have added in a stretch of time, by the target's public labels. Targets without any are not in it.
    pub(crate) async fn added(
        &self,
        stretch: Stretch,
    ) -> Result<HashMap<Labels, Added>, CallError> {
        let (sum, max) =
            tokio::try_join!(self.added_by("sum", stretch), self.added_by("max", stretch))?;
        let mut added: HashMap<Labels, Added> = HashMap::with_capacity(sum.len());
        for (labels, sum) in sum {
            added.entry(labels).or_default().sum = sum;
        }
        for (labels, max) in max {
            added.entry(labels).or_default().max = max;
        }
        Ok(added)
    }

    async fn added_by(
        &self,
        aggregate: &str,
        Stretch { from, until }: Stretch,
    ) -> Result<Vec<(Labels, f64)>, CallError> {
        // Up to Prometheus 2 a range has both of its ends.
        let range = until.saturating_sub(from).saturating_sub(1);
        let query = format!("{aggregate}_over_time(scrape_series_added[{range}ms]) > 0");
        let time = format!("{}.{:03}", until / 1000, until % 1000);
        let parameters = [("query", query.as_str()), ("time", time.as_str())];
        let response = self.get("api/v1/query", &parameters, SLOW).await?;
        Ok(parse::<answers::Vector>(response, LARGE).await?.into_values())
    }

    /// Series in the head. The answer's lists are cut where Prometheus knows how (`limit`, 2.47 and up).
    pub(crate) async fn head_series(&self) -> Result<u64, CallError> {
        let response = self.get("api/v1/status/tsdb", &[("limit", "1")], SLOW).await?;
        Ok(parse::<answers::TsdbStatus>(response, SMALL).await?.head_stats.num_series)
    }

    pub(crate) async fn wal_replay(&self) -> Result<WalReplay, CallError> {
        let response = self.get("api/v1/status/walreplay", &[], QUICK).await?;
        parse(response, SMALL).await
    }

    pub(crate) async fn version(&self) -> Result<String, CallError> {
        let response = self.get("api/v1/status/buildinfo", &[], QUICK).await?;
        Ok(parse::<answers::BuildInfo>(response, SMALL).await?.version)
    }

    /// Prometheus' own process and configuration metrics.
    pub(crate) async fn own_metrics(&self) -> Result<OwnMetrics, CallError> {
        let response = self.get("metrics", &[], QUICK).await?;
        if !response.status().is_success() {
            return Err(refusal(response).await);
        }
        own_metrics::read(response).await
    }

    async fn get(
        &self,
        path: &str,
        parameters: &[(&str, &str)],
        timeout: Duration,
    ) -> Result<Response, CallError> {
        let request = self.client.get(self.url(path)).query(parameters).timeout(timeout);
        request.send().await.map_err(CallError::Send)
    }

    fn url(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{path}", self.base.path()));
        url
    }
}

/// `data` of an answer in Prometheus' envelope. Long answers are parsed off the async threads.
async fn parse<T: DeserializeOwned + Send + 'static>(
    response: Response,
    limit: usize,
) -> Result<T, CallError> {
    if !response.status().is_success() {
        return Err(refusal(response).await);
    }
    let body = svc::http::read_body(response, limit).await.map_err(CallError::Body)?;
    tokio::task::spawn_blocking(move || serde_json::from_slice::<answers::Envelope<T>>(&body))
        .await
        .map_err(CallError::Interrupted)?
        .map(|envelope| envelope.data)
        .map_err(CallError::Parse)
}

async fn refusal(response: Response) -> CallError {
    CallError::Status { status: response.status(), text: error_text(response).await }
}

/// At most a few lines are for people; more is cut.
async fn error_text(response: Response) -> String {
    const SHOWN: usize = 2000;
    match svc::http::read_body(response, SMALL).await {
        Ok(body) => {
            let text = promconf::without_values(String::from_utf8_lossy(&body).trim());
            text.chars().take(SHOWN).collect()
        }
        Err(error) => svc::chain(&error),
    }
}
