//! The HTTP API over a folder of blocks, as `shoal tools promql serve` starts it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;

use crate::api::{Api, Setup};
use crate::blocks::Blocks;
use crate::config::QueryConfig;
use crate::dedup::Function;
use crate::features::Features;
use crate::metrics::Metrics;
use crate::source::Source;

/// How long running requests may go on after the signal to stop.
const GRACE: Duration = Duration::from_secs(5);

/// Settings of a server over local blocks.
#[derive(Debug, Clone)]
pub struct LocalConfig {
    /// The folder whose subfolders are blocks.
    pub folder: PathBuf,
    /// Where to listen; port 0 for any.
    pub http_address: SocketAddr,
    /// Longest run of a query.
    pub timeout: Duration,
    /// Most queries evaluated at a time.
    pub max_concurrent: usize,
    /// How old the newest sample of a series may be to count.
    pub lookback: Duration,
    /// Most samples that a query may hold.
    pub max_samples: u64,
    /// What is on beside the stable language.
    pub features: Features,
}

/// Opens the blocks and serves them; gives the address.
pub async fn serve_blocks(config: LocalConfig, ctx: &svc::Context) -> anyhow::Result<SocketAddr> {
    crate::pages::keep_small();
    let LocalConfig {
        folder,
        http_address,
        timeout,
        max_concurrent,
        lookback,
        max_samples,
        features,
    } = config;
    let open = {
        let folder = folder.clone();
        tokio::task::spawn_blocking(move || Blocks::open(&folder))
    };
    let blocks = open.await.context("open blocks")?.context("open blocks")?;
    tracing::info!(folder = %folder.display(), blocks = blocks.len(), "blocks opened");
    let api = Api::new(Setup {
        source: Source::Blocks(blocks),
        query: QueryConfig {
            timeout,
            max_concurrent,
            lookback,
            dynamic_lookback: false,
            auto_downsampling: false,
            replica_labels: Vec::new(),
            function: Function::Chain,
            partial_response: false,
            default_subquery_step: Duration::from_secs(60),
            default_step: Duration::from_secs(1),
            default_metadata_range: None,
            max_samples,
            max_buffered_bytes: usize::MAX,
            max_memory_per_query: u64::MAX,
            max_memory: u64::MAX,
            features,
        },
        flags: vec![
            ("tsdb.path", folder.display().to_string()),
            ("http-address", http_address.to_string()),
        ],
        coordinators: Vec::new(),
        route_prefix: String::new(),
        metrics: ctx.metrics.register(Metrics::register),
    });
    svc::http::serve(http_address, GRACE, api.routes(true), ctx).await
}
