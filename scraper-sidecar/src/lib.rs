//! The sidecar of one shard: turns its assignment into configuration of a stock Prometheus, and says what that
//! Prometheus really scrapes.
//!
//! Who does what, each a task of its own:
//!
//! - [`owner`] holds the assignment. It alone decides on pushes, persists them and writes Prometheus' files; inside it,
//!   [`rollout`] brings the generated `prometheus.yml` into the running Prometheus.
//! - [`poll`] asks Prometheus what it does, about each second, and keeps the scores of [`observe`].
//! - [`api`] answers from what those two have published last; no answer waits for Prometheus.
//!
//! **Invariant:** an acknowledged assignment survives a crash at any instant, and the next start makes Prometheus' files
//! from it before anything else, with or without a coordinator.

mod api;
mod args;
mod assignment;
mod churn;
mod config;
mod error;
mod files;
mod inbox;
mod metrics;
mod observe;
mod owner;
mod passing;
mod poll;
mod prometheus;
mod recover;
mod report;
mod rollout;
mod state_file;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;

pub use args::Args;
pub use config::Config;

use crate::metrics::Metrics;
use crate::owner::Owner;
use crate::prometheus::Prometheus;

/// How long running HTTP requests may take to end after SIGTERM.
const HTTP_GRACE: Duration = Duration::from_secs(5);

/// Where a started sidecar listens.
#[derive(Debug, Clone, Copy)]
pub struct Running {
    pub http: SocketAddr,
    pub grpc: SocketAddr,
}

/// Writes Prometheus' files from the persisted assignment, then serves. Returns once both ports listen.
pub async fn run(config: Config, ctx: svc::Context) -> anyhow::Result<Running> {
    let config = Arc::new(config);
    let metrics = ctx.metrics.register(Metrics::register);
    let prometheus = Prometheus::new(&config.prometheus_url)?;
    let (mut owner, handle) = Owner::open(Arc::clone(&config), prometheus.clone(), metrics.clone())
        .await
        .context("start from the persisted assignment")?;
    let observed = poll::spawn(&config, prometheus, handle.held.clone(), metrics, &ctx);
    owner.follow(observed.clone());
    let views = report::Views { held: handle.held.clone(), observed };
    let routes = api::grpc_routes(handle, views.clone());
    let http =
        svc::http::serve(config.http_address, HTTP_GRACE, api::http_routes(views), &ctx).await?;
    let grpc = svc::grpc::serve(config.grpc_address, routes, &ctx).await?;
    let shutdown = ctx.shutdown.clone();
    ctx.tasks.spawn("assignment owner", owner.run(shutdown));
    ctx.probe.ready();
    Ok(Running { http, grpc })
}
