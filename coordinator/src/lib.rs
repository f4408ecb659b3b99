//! Discovers targets, counts series, gives every target to a shard and scales the shards.
//!
//! One loop ([`cycle`]) observes (discovery, the shards' reports), decides ([`plan`], pure) and applies (assignments,
//! number of shards). What shards there are is a backend's business ([`shard`]): child processes on this machine, or a
//! list in a file. The state of record is at the shards: a coordinator that restarts reads their reports and moves
//! nothing.

mod api;
mod args;
mod churn;
mod config;
mod cycle;
mod detect;
mod error;
mod events;
mod explore;
pub mod forecast;
pub mod foresee;
mod found;
mod growth;
mod headroom;
mod leader;
mod ledger;
mod metrics;
mod own_folder;
mod placement;
pub mod plan;
mod reload;
mod shard;
mod shared_folder;
mod status;
mod stop;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;

pub use args::{Args, BackendKind};
pub use config::Config;
pub use error::Error;

/// How long requests may go on after SIGTERM.
const HTTP_GRACE: Duration = Duration::from_secs(5);

/// Moves and decisions of the past, in the data folder.
const MOVES_FILE: &str = "moves.jsonl";

/// Where a running coordinator listens.
#[derive(Debug, Clone, Copy)]
pub struct Running {
    pub http: SocketAddr,
}

/// Loads the configuration, starts discovery, the cycle and, when this coordinator leads, shards, and serves. Returns
/// once it serves; everything ends with `ctx.shutdown`.
pub async fn run(config: Config, ctx: svc::Context) -> anyhow::Result<Running> {
    let loaded = reload::load(&config.config_file).await.context("load --config.file")?;
    let placement = reload::load_placement(config.placement_file.as_deref()).await;
    let placement = placement.context("load --placement.config-file")?;
    let leadership = config.leadership().await?;
    let metrics = metrics::Metrics::register(&ctx);
    let events = events::Events::default();
    let (reloader, loaded) = reload::start(&config, (loaded, placement), &metrics, &ctx);
    let (status, statuses) = tokio::sync::watch::channel(std::sync::Arc::default());
    let ledger = ledger::Ledger::open(&config.data_dir.join(MOVES_FILE));
    let switch = stop::Switch::open(&config.data_dir)?;
    let growth = growth::Growth::default();
    let past = api::tsdb::Past::default();
    let watch_metrics =
        api::tsdb::watch_metrics(past.clone(), statuses.clone(), ctx.shutdown.clone());
    ctx.tasks.spawn("growth of metrics", watch_metrics);
    let routes = api::router(api::Api {
        status: statuses,
        events: events.clone(),
        reloader,
        leadership: leadership.clone(),
        ledger: ledger.clone(),
        growth: growth.clone(),
        past,
        switch: switch.clone(),
        configs: loaded.0.clone(),
    });
    let http = svc::http::serve(config.http_address, HTTP_GRACE, routes, &ctx).await?;
    // Only now, so that a taken port starts no process.
    leadership.start(http, &metrics, &ctx).await?;
    let backend = shard::Backend::start(&config, &leadership, &events, &ctx).await?;
    let kept = (ledger, growth);
    let cycle = cycle::Cycle::new(
        &config, leadership, backend, loaded, switch, metrics, events, kept, status, &ctx,
    )?;
    ctx.tasks.spawn("cycle", cycle.run(ctx.shutdown.clone()));
    ctx.probe.ready();
    Ok(Running { http })
}

/// Stops every process of the local backend that a dead coordinator has left behind in its data folder: SIGTERM, and
/// SIGKILL after `stop_within`. Does nothing where there is none. Not to be called while that coordinator runs.
pub async fn sweep(data_dir: &Path, stop_within: Duration) {
    let children = data_dir.join(shard::CHILDREN_FILE);
    if children.exists() {
        svc::child::sweep(&children, stop_within).await;
    }
}
