//! `shoal tools promql serve`: Prometheus' HTTP API over a folder of blocks.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ::promql::parse::ParseOptions;
use query::{Features, LocalConfig, serve_blocks};
use svc::args::duration;

/// Flags, named as Prometheus' where it has one.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The folder whose subfolders are blocks. What is only in a WAL is not seen.
    #[arg(long = "tsdb.path")]
    tsdb_path: PathBuf,
    /// Where to listen.
    #[arg(long = "http-address", default_value = "127.0.0.1:9090")]
    http_address: SocketAddr,
    /// Longest run of a query.
    #[arg(long = "query.timeout", default_value = "2m", value_parser = duration)]
    query_timeout: Duration,
    /// Most queries evaluated at a time.
    #[arg(long = "query.max-concurrency", default_value = "20")]
    query_max_concurrency: usize,
    /// How old the newest sample of a series may be to count.
    #[arg(long = "query.lookback-delta", default_value = "5m", value_parser = duration)]
    query_lookback_delta: Duration,
    /// Most samples that a query may hold in memory.
    #[arg(long = "query.max-samples", default_value = "50000000")]
    query_max_samples: u64,
    /// Parts of PromQL that are off by default, as of `shoal query`.
    #[arg(long = "enable-feature", value_delimiter = ',')]
    enable_feature: Vec<String>,
}

/// Serves until told to stop.
pub async fn run(args: Args, ctx: &svc::Context) -> anyhow::Result<()> {
    let (features, unknown) = Features::of(&args.enable_feature);
    for feature in unknown {
        tracing::warn!(feature, "feature is unknown or has no effect");
    }
    let config = LocalConfig {
        folder: args.tsdb_path,
        http_address: args.http_address,
        timeout: args.query_timeout,
        max_concurrent: args.query_max_concurrency,
        lookback: args.query_lookback_delta,
        max_samples: args.query_max_samples,
        features,
    };
    serve_blocks(config, ctx).await?;
    ctx.probe.ready();
    Ok(())
}

/// Serves a folder to this process only; gives the URL.
pub async fn here(folder: PathBuf, ctx: &svc::Context) -> anyhow::Result<String> {
    let config = LocalConfig {
        folder,
        http_address: SocketAddr::from(([127, 0, 0, 1], 0)),
        timeout: Duration::from_secs(3600),
        max_concurrent: 1,
        lookback: Duration::from_secs(300),
        max_samples: u64::MAX,
        features: Features { parser: ParseOptions::ALL, ..Features::default() },
    };
    Ok(format!("http://{}", serve_blocks(config, ctx).await?))
}
