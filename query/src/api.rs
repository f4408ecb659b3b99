//! Prometheus' HTTP API (v1) with Thanos' parameters, and a page for people.
//!
//! Rules, alerts and exemplars answer with empty success: Grafana asks for them at start-up, and there is no source of
//! them yet.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, delete, get};
use tokio::sync::Semaphore;
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;

use crate::active::ActiveQueries;
use crate::config::QueryConfig;
use crate::fanout::{Budget, PartialResponse, Scope};
use crate::metrics::Metrics;
use crate::source::Source;

mod active;
mod explain;
mod federate;
mod json;
mod labels;
mod page;
mod params;
mod query;
mod respond;
mod run;
mod status;
mod syntax;
mod targets;
mod workers;

use params::Params;
use respond::{ApiError, ErrorKind};
use workers::Workers;

/// Most bytes of a form.
const MAX_FORM: usize = 16 << 20;

/// What handlers answer from, and how.
#[derive(Debug)]
pub struct Setup {
    /// Where data comes from.
    pub source: Source,
    /// How queries are evaluated.
    pub query: QueryConfig,
    /// What `/api/v1/status/flags` shows.
    pub flags: Vec<(&'static str, String)>,
    /// What the page links to.
    pub coordinators: Vec<url::Url>,
    /// Path before all routes, `/…` or nothing.
    pub route_prefix: String,
    /// Where requests are counted.
    pub metrics: Metrics,
}

/// What handlers share.
#[derive(Debug, Clone)]
pub struct Api {
    source: Source,
    engine: promql::Engine,
    settings: Arc<QueryConfig>,
    flags: Arc<Vec<(&'static str, String)>>,
    coordinators: Arc<[url::Url]>,
    gate: Arc<Semaphore>,
    active: ActiveQueries,
    workers: Workers,
    metrics: Metrics,
    started: jiff::Timestamp,
    prefix: Arc<str>,
}

impl Api {
    /// Handlers over a source.
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        let Setup { source, query, flags, coordinators, route_prefix, metrics } = setup;
        let permits = query.max_concurrent.min(Semaphore::MAX_PERMITS);
        metrics.gate_max.set(i64::try_from(permits).unwrap_or(i64::MAX));
        Self {
            source,
            engine: promql::Engine::new(promql::EngineOptions {
                parser: query.features.parser,
                delayed_name_removal: query.features.delayed_name_removal,
                use_start_timestamps: query.features.use_start_timestamps,
                memory: promql::MemoryBudget::new(query.max_memory),
            }),
            settings: Arc::new(query),
            flags: Arc::new(flags),
            coordinators: coordinators.into(),
            gate: Arc::new(Semaphore::new(permits)),
            active: ActiveQueries::default(),
            workers: Workers::default(),
            metrics,
            started: jiff::Timestamp::now(),
            prefix: route_prefix.into(),
        }
    }

    /// All routes, below the prefix.
    pub fn routes(self, cors: bool) -> Router {
        let api = Router::new()
            .route("/api/v1/query", get(query::instant).post(query::instant))
            .route("/api/v1/query_range", get(query::range).post(query::range))
            .route("/api/v1/query_explain", get(explain::instant).post(explain::instant))
            .route("/api/v1/query_range_explain", get(explain::range).post(explain::range))
            .route("/api/v1/format_query", get(syntax::format).post(syntax::format))
            .route("/api/v1/parse_query", get(syntax::parse).post(syntax::parse))
            .route("/api/v1/queries", get(active::list))
            .route("/api/v1/queries/{id}", delete(active::kill))
            .route("/api/v1/query_exemplars", get(status::exemplars).post(status::exemplars))
            .route("/api/v1/labels", get(labels::names).post(labels::names))
            .route("/api/v1/label/{name}/values", get(labels::values))
            .route("/api/v1/series", get(labels::series).post(labels::series))
            .route("/api/v1/metadata", get(targets::metadata))
            .route("/api/v1/targets", get(targets::targets))
            .route("/api/v1/rules", get(status::rules))
            .route("/api/v1/alerts", get(status::alerts))
            .route("/api/v1/stores", get(status::stores))
            .route("/api/v1/status/buildinfo", get(status::build_info))
            .route("/api/v1/status/runtimeinfo", get(status::runtime_info))
            .route("/api/v1/status/flags", get(status::flags))
            .route("/api/v1/{*rest}", any(unknown))
            .route("/federate", get(federate::federate))
            .route("/", get(page::page))
            .layer(DefaultBodyLimit::max(MAX_FORM))
            .layer(middleware::from_fn_with_state(self.metrics.clone(), count));
        let api = if cors { api.layer(middleware::from_fn(allow_origins)) } else { api };
        // Whoever waits for a large answer would wait longer for a smaller one.
        let api = api.layer(CompressionLayer::new().quality(CompressionLevel::Fastest));
        let prefix = self.prefix.clone();
        let api = api.with_state(self);
        if prefix.is_empty() { api } else { Router::new().nest(&prefix, api) }
    }

    /// Reads a query in the language that is served.
    fn parse(&self, query: &str) -> Result<promql::ast::Expr, ApiError> {
        promql::parse::parse_with(query, &self.settings.features.parser)
            .map_err(|error| ApiError::parameter("query", error))
    }

    /// Which endpoints a request means, and until when.
    fn scope(&self, params: &Params) -> Result<Scope, ApiError> {
        let timeout = params.duration("timeout")?.unwrap_or(self.settings.timeout);
        self.scope_within(params, timeout.min(self.settings.timeout))
    }

    fn scope_within(&self, params: &Params, timeout: Duration) -> Result<Scope, ApiError> {
        let partial = params.bool("partial_response")?.unwrap_or(self.settings.partial_response);
        Ok(Scope {
            partial_response: if partial { PartialResponse::Warn } else { PartialResponse::Abort },
            store_matchers: params.selectors("storeMatch[]")?,
            deadline: tokio::time::Instant::now() + timeout,
            budget: Budget::new(self.settings.max_buffered_bytes),
        })
    }

    /// The labels that tell replicas apart; `None` when replicas are wanted as they are.
    fn replica_labels(&self, params: &Params) -> Result<Option<Vec<String>>, ApiError> {
        let dedup = params.bool("dedup")?.unwrap_or(true);
        let given: Vec<String> = params.all("replicaLabels[]").map(str::to_owned).collect();
        let labels = if given.is_empty() { self.settings.replica_labels.clone() } else { given };
        Ok((dedup && !labels.is_empty()).then_some(labels))
    }
}

async fn unknown() -> ApiError {
    ApiError::new(ErrorKind::NotFound, "no such endpoint in the API")
}

/// Counts requests by route.
async fn count(State(metrics): State<Metrics>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let response = next.run(request).await;
    let handler = route.as_ref().map_or("", MatchedPath::as_str);
    metrics.request(handler, response.status().as_u16(), started.elapsed());
    response
}

/// Every web page may use the API, as with Prometheus.
async fn allow_origins(request: Request, next: Next) -> Response {
    let is_preflight = request.method() == Method::OPTIONS;
    let mut response =
        if is_preflight { StatusCode::NO_CONTENT.into_response() } else { next.run(request).await };
    let headers = [
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, OPTIONS"),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, "Accept, Authorization, Content-Type, Origin"),
        (header::ACCESS_CONTROL_EXPOSE_HEADERS, "Date"),
    ];
    for (name, value) in headers {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}
