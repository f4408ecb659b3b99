//! `shoal tools metrics-generator`: a scrape target with exactly as many series as asked for, whose values change.
//!
//! Every value is a function of seed, series and time, so a scrape needs no state and a restarted generator goes on
//! where it was. The series for `n` are the first `n` of one endless list: growing adds, shrinking removes the last.
//! Where some are to churn, these are replaced by others each minute.

mod page;
mod shape;
#[cfg(test)]
mod tests;
mod value;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use axum::Router;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tower_http::compression::{CompressionLayer, CompressionLevel};

use page::{Format, Page};
use shape::Shape;

/// The most series one generator serves.
const MAX_SERIES: u64 = 5_000_000;
/// How long running scrapes may go on after SIGTERM.
const GRACE: Duration = Duration::from_secs(5);

/// Flags of `shoal tools metrics-generator`, exactly as typed.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Address to serve `/metrics` on.
    #[arg(long = "listen-address", default_value = "127.0.0.1:9400")]
    listen_address: SocketAddr,
    /// Number of series, changeable while it runs: `POST /-/series?n=20000`.
    #[arg(long = "series", default_value_t = 10_045, value_parser = clap::value_parser!(u64).range(..=MAX_SERIES))]
    series: u64,
    /// So many of the series are replaced by others each minute.
    #[arg(long = "churn", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=MAX_SERIES))]
    churn: u64,
    /// Generators with different seeds serve different values.
    #[arg(long = "seed", default_value_t = 0)]
    seed: u64,
    /// Part of the seed and of the pods' names.
    #[arg(long = "instance-name", default_value = "")]
    instance_name: String,
}

/// Serves until shutdown. Returns once the port is bound.
pub async fn run(args: Args, ctx: svc::Context) -> anyhow::Result<()> {
    let Args { listen_address, series, churn, seed, instance_name } = args;
    let listener = svc::http::bind(listen_address).await?;
    let bound = listener.local_addr().context("read bound address")?;
    let app = routes(Arc::new(Generator::new(series, churn, seed, &instance_name)));
    let shutdown = ctx.shutdown.clone();
    ctx.tasks.spawn("metrics generator", async move {
        let draining = shutdown.clone();
        let server = axum::serve(listener, app).with_graceful_shutdown(shutdown.triggered_owned());
        let deadline = async {
            draining.triggered().await;
            tokio::time::sleep(GRACE).await;
        };
        tokio::select! {
            served = async { server.await } => served.context("serve HTTP"),
            () = deadline => Ok(()),
        }
    });
    ctx.probe.ready();
    tracing::info!(address = %bound, series, "serving generated metrics");
    Ok(())
}

/// What the routes share.
struct Generator {
    series: AtomicU64,
    churn: u64,
    shape: Arc<Shape>,
    /// The latest time served, in milliseconds: the clock may be set back, counters may not.
    latest: AtomicI64,
}

impl Generator {
    fn new(series: u64, churn: u64, seed: u64, instance_name: &str) -> Self {
        let shape = Arc::new(Shape::new(seed, instance_name));
        Self { series: AtomicU64::new(series), churn, shape, latest: AtomicI64::new(i64::MIN) }
    }

    /// Now in milliseconds, never less than before.
    fn now(&self) -> i64 {
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        let now = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
        self.latest.fetch_max(now, Ordering::Relaxed).max(now)
    }
}

fn routes(generator: Arc<Generator>) -> Router {
    let compression = CompressionLayer::new().gzip(true).quality(CompressionLevel::Fastest);
    Router::new()
        .route("/metrics", get(metrics).layer(compression))
        .route("/-/series", get(series).post(set_series))
        .route("/-/healthy", get(|| async { "OK\n" }))
        .route("/-/ready", get(|| async { "OK\n" }))
        .with_state(generator)
}

/// The page is made while it is sent, so that no number of series takes memory.
async fn metrics(State(generator): State<Arc<Generator>>, headers: HeaderMap) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("");
    let format = Format::choose(accept);
    let series = generator.series.load(Ordering::Relaxed);
    let (shape, now) = (Arc::clone(&generator.shape), generator.now());
    let page = Page::new(shape, series, generator.churn, now, format);
    let parts = futures::stream::iter(page.map(Ok::<_, Infallible>));
    ([(header::CONTENT_TYPE, format.content_type())], Body::from_stream(parts)).into_response()
}

async fn series(State(generator): State<Arc<Generator>>) -> String {
    format!("{}\n", generator.series.load(Ordering::Relaxed))
}

/// The parameters of `POST /-/series`.
#[derive(serde::Deserialize)]
struct NewSeries {
    n: Option<String>,
}

async fn set_series(
    State(generator): State<Arc<Generator>>,
    Query(NewSeries { n }): Query<NewSeries>,
) -> Result<String, (StatusCode, String)> {
    let bad = |what: String| (StatusCode::BAD_REQUEST, what + "\n");
    let text = n.ok_or_else(|| bad("parameter n is missing: the new number of series".into()))?;
    let wanted: u64 = text.parse().map_err(|_| bad(format!("n is no whole number: {text:?}")))?;
    if wanted > MAX_SERIES {
        return Err(bad(format!("n is {wanted}, at most {MAX_SERIES} are served")));
    }
    let before = generator.series.swap(wanted, Ordering::Relaxed);
    tracing::info!(before, series = wanted, "number of series changed");
    Ok(format!("{wanted}\n"))
}
