//! StoreAPI over one Prometheus, and the shipping of its blocks.
//!
//! Series come from Prometheus' streamed remote read and leave as StoreAPI frames while they arrive: the payload of a
//! chunk is never decoded, and the answer is never held ([`series`]). Everything else is asked of Prometheus' HTTP API.
//! Finished blocks go to the bucket (`block::shipper`), when there is one, and all others when that is asked for
//! ([`flush`]). External labels and the lowest timestamp
//! are asked for again and again ([`source`]); while Prometheus is down the process waits, not ready.

pub mod api;
pub mod args;
pub mod config;
pub mod error;
pub mod flush;
pub mod metrics;
pub mod prometheus;
pub mod series;
pub mod shipping;
pub mod source;

use std::net::SocketAddr;

use tracing::warn;

pub use args::Args;
pub use config::Config;

use api::Api;
use metrics::Metrics;
use prometheus::Prometheus;
use source::Watcher;

/// Where a started sidecar serves.
#[derive(Debug, Clone, Copy)]
pub struct Running {
    pub http: SocketAddr,
    pub grpc: SocketAddr,
}

/// Starts the sidecar; its loops end with `ctx`.
pub async fn run(config: Config, ctx: svc::Context) -> anyhow::Result<Running> {
    for flag in &config.without_effect {
        warn!(flag, "flag has no effect");
    }
    let metrics = Metrics::register(&ctx.metrics);
    let settings = &config.prometheus.http_client;
    let client = settings.client(config.prometheus.timeout)?;
    let prometheus = Prometheus::new(config.prometheus.url.clone(), client, settings.auth()?);
    let (watcher, sources) =
        Watcher::new(prometheus.clone(), config.prometheus, metrics.clone(), ctx.clone());
    let shipping = config
        .shipping
        .map(|shipping| {
            shipping::Loop::new(shipping, prometheus.clone(), sources.clone(), ctx.clone())
        })
        .transpose()?;
    let api = Api { prometheus, sources, store: config.store, metrics };
    let flusher = shipping.as_ref().map(|shipping| shipping.flusher().spawn(&ctx));
    let routes = flush::routes(flusher);
    let http =
        svc::http::serve(config.http_address, config.http_grace_period, routes, &ctx).await?;
    let grpc = svc::grpc::serve(config.grpc_address, api.routes(), &ctx).await?;
    ctx.tasks.spawn("prometheus watcher", watcher.run());
    if let Some(shipping) = shipping {
        ctx.tasks.spawn("shipper", shipping.run());
    }
    Ok(Running { http, grpc })
}
