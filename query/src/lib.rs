//! Every StoreAPI endpoint as one Prometheus.
//!
//! [`endpoints`] knows who there is and who is missing, [`fanout`] asks them and merges their streams, [`dedup`] makes
//! replicas one series, [`storage`] hands series to the PromQL engine, [`api`] answers Prometheus' HTTP API,
//! and [`grpc`] offers it all as one StoreAPI again. In place of endpoints, the HTTP API can have a folder of blocks
//! ([`blocks`]) as its [`source`].

pub mod active;
pub mod api;
pub mod args;
pub mod blocks;
pub mod config;
pub mod dedup;
pub mod endpoints;
pub mod error;
pub mod fanout;
mod features;
pub mod grpc;
pub mod metrics;
mod pages;
mod registers;
mod serve;
pub mod source;
pub mod storage;
pub mod warning;

pub use args::Args;
pub use config::Config;
pub use features::Features;
pub use serve::{LocalConfig, serve_blocks};

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;

/// How long readiness waits for the first answer of every endpoint.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(30);

/// How often the metrics about endpoints are renewed.
const METRICS_INTERVAL: Duration = Duration::from_secs(5);

/// Where a running query listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Running {
    /// Prometheus' API and the page.
    pub http: SocketAddr,
    /// StoreAPI.
    pub grpc: SocketAddr,
}

/// Starts everything; returns once requests are served. Readiness follows when every endpoint has been asked once.
pub async fn run(config: Config, ctx: svc::Context) -> anyhow::Result<Running> {
    pages::keep_small();
    for flag in &config.inert_flags {
        tracing::warn!(flag, "flag is accepted but has no effect");
    }
    for feature in &config.inert_features {
        tracing::warn!(feature, "feature is unknown or has no effect");
    }
    let metrics = ctx.metrics.register(metrics::Metrics::register);
    let endpoints = endpoints::Endpoints::spawn(&config.endpoints, &metrics, &ctx)
        .context("start endpoint discovery")?;
    let fanout = fanout::Fanout::new(endpoints.clone(), config.response_timeout, metrics.clone());
    let services = grpc::routes(fanout.clone(), &config.query);
    let api = api::Api::new(api::Setup {
        source: source::Source::Endpoints(fanout),
        query: config.query.clone(),
        flags: config.flags.clone(),
        coordinators: config.endpoints.coordinators.clone(),
        route_prefix: config.route_prefix.clone(),
        metrics: metrics.clone(),
    });
    let http =
        svc::http::serve(config.http_address, config.http_grace, api.routes(config.cors), &ctx)
            .await?;
    let grpc = svc::grpc::serve(config.grpc_address, services, &ctx).await?;
    let (probe, shutdown) = (ctx.probe.clone(), ctx.shutdown.clone());
    ctx.probe.not_ready("waiting for the first answer of every endpoint");
    ctx.tasks.spawn("readiness", async move {
        let settled = endpoints.wait(SETTLE_TIMEOUT, endpoints::View::is_settled);
        if shutdown.until(settled).await.is_some() {
            probe.ready();
        }
        loop {
            metrics.endpoints(&endpoints.now());
            if !shutdown.sleep(METRICS_INTERVAL).await {
                return Ok(());
            }
        }
    });
    Ok(Running { http, grpc })
}
