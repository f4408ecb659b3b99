//! One request to all endpoints that may have an answer, and their answers as one.
//!
//! Each endpoint's stream is read by its own task ([`source`]) into a short queue; [`merge`] joins the queues in order
//! of labels. Nothing is held whole, except where an endpoint cannot remove replica labels itself: then its series are
//! stripped and sorted here. Dropping the answer ends the tasks, and with them the requests.

use std::sync::Arc;
use std::time::Duration;

use model::Matcher;
use proto::thanos;
use tokio::time::Instant;
use tonic::Code;

use crate::endpoints::{Endpoints, Health, Member};
use crate::metrics::Metrics;
use crate::warning::{Warning, Warnings};

pub mod budget;
mod labels;
pub mod merge;
mod source;
mod unary;
pub(crate) mod wire;

pub use budget::Budget;
pub use labels::{LabelsQuery, Metadata};
pub use merge::{Merged, RawChunk, RawSeries};

/// Series per frame asked for, and per queue entry.
const BATCH: usize = 64;

/// What a failed endpoint means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartialResponse {
    /// A warning in the answer.
    Warn,
    /// The end of the request.
    Abort,
}

impl PartialResponse {
    /// As StoreAPI writes it.
    #[must_use]
    pub fn to_thanos(self) -> thanos::PartialResponseStrategy {
        match self {
            Self::Warn => thanos::PartialResponseStrategy::Warn,
            Self::Abort => thanos::PartialResponseStrategy::Abort,
        }
    }
}

/// Which endpoints are asked, and what happens when one fails.
#[derive(Debug, Clone)]
pub struct Scope {
    /// What a failed endpoint means.
    pub partial_response: PartialResponse,
    /// `storeMatch[]`: when not empty, at least one of these has to match the endpoint's `__address__`.
    pub store_matchers: Vec<Vec<Matcher>>,
    /// When all of it ends.
    pub deadline: Instant,
    /// How much received data may wait for its use.
    pub budget: Budget,
}

/// A request for series.
#[derive(Debug, Clone)]
pub struct SeriesQuery {
    /// All have to pass.
    pub matchers: Vec<Matcher>,
    /// First wanted time, milliseconds.
    pub min_time: i64,
    /// Last wanted time, milliseconds.
    pub max_time: i64,
    /// Labels only.
    pub skip_chunks: bool,
    /// Labels to remove.
    pub without_replica_labels: Vec<String>,
    /// Most series; 0 for all.
    pub limit: u64,
    /// What the samples are for.
    pub hints: Option<thanos::QueryHints>,
    /// Which samples; raw ones unless a StoreAPI client asked for others.
    pub resolution: Resolution,
}

/// Which samples endpoints may send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolution {
    /// Coarsest, milliseconds; 0 for raw samples.
    pub max_window: i64,
    /// Numbers of StoreAPI's `Aggr`.
    pub aggregates: Vec<i32>,
}

impl Default for Resolution {
    /// Raw samples.
    fn default() -> Self {
        Self { max_window: 0, aggregates: vec![thanos::Aggr::Raw.into()] }
    }
}

/// Why a request as a whole failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FanoutError {
    /// Something is missing, and partial answers are refused.
    #[error("{0}")]
    Aborted(Warning),
    /// The request's own deadline.
    #[error("query timed out while reading from endpoints")]
    Deadline,
    /// More received data than may be held.
    #[error(
        "query holds more than {limit} bytes of series that wait to be merged (--query.max-buffered-bytes)"
    )]
    TooManyBytes {
        /// The bound.
        limit: usize,
    },
}

/// Sends requests to endpoints. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Fanout {
    endpoints: Endpoints,
    response_timeout: Option<Duration>,
    metrics: Metrics,
}

/// The endpoints of one request.
struct Selection {
    members: Vec<Arc<Member>>,
    warnings: Warnings,
}

impl Fanout {
    /// `response_timeout` bounds the wait for each frame; `None` leaves only the deadline.
    #[must_use]
    pub fn new(endpoints: Endpoints, response_timeout: Option<Duration>, metrics: Metrics) -> Self {
        Self { endpoints, response_timeout, metrics }
    }

    /// The endpoints behind it.
    #[must_use]
    pub fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    /// Starts reading series; the answer is in order of labels. Has to be called within a tokio runtime.
    pub fn series(&self, query: &SeriesQuery, scope: &Scope) -> Result<Merged, FanoutError> {
        let selected = self.select(&query.matchers, query.min_time, query.max_time, scope)?;
        let requests = selected.members.iter().map(|member| {
            let status = member.status();
            let supported =
                status.info.as_ref().is_some_and(|info| info.supports_without_replica_labels);
            let request = series_request(query, scope, supported);
            let strip = !supported && !query.without_replica_labels.is_empty();
            source::Request {
                member: member.clone(),
                request,
                strip: if strip { query.without_replica_labels.clone() } else { Vec::new() },
                frame_timeout: self.response_timeout,
                deadline: scope.deadline,
                budget: scope.budget.clone(),
                metrics: self.metrics.clone(),
            }
        });
        let sources = requests.map(source::spawn).collect();
        Ok(Merged::new(sources, selected.warnings, scope, query.limit))
    }

    /// Which endpoints may have an answer; the missing ones are warnings.
    fn select(
        &self,
        matchers: &[Matcher],
        min_time: i64,
        max_time: i64,
        scope: &Scope,
    ) -> Result<Selection, FanoutError> {
        let may_have = |info: &crate::endpoints::Info| info.may_have(matchers, min_time, max_time);
        let selected = self.select_by(scope, may_have);
        let first_missing =
            |warnings: &Warnings| warnings.clone().into_iter().find(Warning::is_incomplete);
        match (scope.partial_response, first_missing(&selected.warnings)) {
            (PartialResponse::Abort, Some(warning)) => Err(FanoutError::Aborted(warning)),
            _ => Ok(selected),
        }
    }

    /// Members in an order that only depends on who they are: replicas keep their order from query to query.
    fn select_by(
        &self,
        scope: &Scope,
        may_have: impl Fn(&crate::endpoints::Info) -> bool,
    ) -> Selection {
        let view = self.endpoints.now();
        let mut warnings = Warnings::default();
        warnings.extend(view.problems.iter().cloned());
        if view.members.is_empty() && view.problems.is_empty() {
            warnings.push(Warning::NoEndpoints);
        }
        let mut members = Vec::new();
        for member in view.members.iter().filter(|member| scope.includes(member)) {
            let status = member.status();
            let endpoint = member.name.clone();
            match (&status.info, status.health) {
                (Some(info), _) if !may_have(info) => {}
                (Some(info), Health::Up) => members.push((info.label_sets.clone(), member.clone())),
                _ if !view.expects(member) => {}
                (_, Health::Unknown) => warnings.push(Warning::NotChecked { endpoint }),
                (_, Health::Up | Health::Down) => {
                    let reason = status.last_error.clone().unwrap_or_default();
                    warnings.push(Warning::Down { endpoint, reason });
                }
            }
        }
        members.sort_by(|(a_sets, a), (b_sets, b)| (a_sets, &a.address).cmp(&(b_sets, &b.address)));
        Selection { members: members.into_iter().map(|(_, member)| member).collect(), warnings }
    }
}

impl Scope {
    fn includes(&self, member: &Member) -> bool {
        let matches = |set: &Vec<Matcher>| {
            set.iter().all(|matcher| {
                matcher.matches(if matcher.name == "__address__" { &member.address } else { "" })
            })
        };
        self.store_matchers.is_empty() || self.store_matchers.iter().any(matches)
    }
}

/// How much later than here a request ends on the other side, so that here it is the deadline that ends it.
const REMOTE_GRACE: Duration = Duration::from_secs(1);

/// A gRPC request that does not outlive its deadline on the other side.
fn call_until<T>(deadline: Instant, message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.set_timeout(deadline.saturating_duration_since(Instant::now()) + REMOTE_GRACE);
    request
}

fn series_request(query: &SeriesQuery, scope: &Scope, strips: bool) -> thanos::SeriesRequest {
    thanos::SeriesRequest {
        min_time: query.min_time,
        max_time: query.max_time,
        matchers: query.matchers.iter().map(proto::convert::matcher_to_thanos).collect(),
        max_resolution_window: query.resolution.max_window,
        aggregates: query.resolution.aggregates.clone(),
        partial_response_disabled: scope.partial_response == PartialResponse::Abort,
        partial_response_strategy: scope.partial_response.to_thanos().into(),
        skip_chunks: query.skip_chunks,
        query_hints: query.hints.clone(),
        without_replica_labels: match strips {
            true => query.without_replica_labels.clone(),
            false => Vec::new(),
        },
        // Where replica labels go here, several series become one, so that a limit there would cut too early.
        limit: match strips || query.without_replica_labels.is_empty() {
            true => remote_limit(query.limit),
            false => 0,
        },
        response_batch_size: BATCH as i64,
        ..thanos::SeriesRequest::default()
    }
}

/// One more than wanted shows that there are more; 0 stays "all".
fn remote_limit(limit: u64) -> i64 {
    if limit == 0 { 0 } else { i64::try_from(limit).map_or(0, |limit| limit.saturating_add(1)) }
}

/// Waits for an endpoint: `after` at most, and no longer than it answers its health checks.
async fn answer<T>(
    member: &Member,
    after: Option<Duration>,
    wait: impl Future<Output = T>,
) -> Result<T, Warning> {
    let too_late = async {
        match after {
            Some(after) => tokio::time::sleep(after).await,
            None => std::future::pending().await,
        }
    };
    let endpoint = || member.name.clone();
    tokio::select! {
        biased;
        value = wait => Ok(value),
        () = too_late => {
            Err(Warning::Silent { endpoint: endpoint(), after: after.unwrap_or_default() })
        }
        reason = member.lost() => Err(Warning::Failed { endpoint: endpoint(), reason }),
    }
}

/// A failed call as a warning.
fn failed(member: &Member, status: &tonic::Status, timeout: Option<Duration>) -> Warning {
    let endpoint = member.name.clone();
    match (status.code(), timeout) {
        (Code::Cancelled | Code::DeadlineExceeded, Some(after)) if status.message().is_empty() => {
            Warning::Silent { endpoint, after }
        }
        _ => Warning::Failed { endpoint, reason: crate::endpoints::describe(status) },
    }
}
