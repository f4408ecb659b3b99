//! `shoal demo`: the whole system on this machine, out of child processes and a folder.
//!
//! Metric generators and a node exporter are the targets; the coordinator (local backend) starts one Prometheus with
//! its two sidecars per shard; query answers for all of them. Everything that is decided here and has to outlast the
//! process (ports, pids) lies in the data folder: started again on it, the demo goes on where it was.

mod configuration;
mod layout;
mod narrator;
mod processes;
mod screen;

use std::fs::{File, TryLockError};
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroU64};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use svc::child::Supervisor;

use layout::Layout;
use narrator::Narrator;
use screen::Screen;

/// From SIGTERM to SIGKILL for children that were left over.
const SWEEP_WITHIN: Duration = Duration::from_secs(15);

/// Flags of `shoal demo`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Where everything is kept; started again on the same folder, the demo goes on where it was.
    #[arg(long = "data-dir", default_value = "shoal-data")]
    data_dir: PathBuf,
    /// Metric generators to run.
    #[arg(long = "targets", default_value = "6")]
    targets: u32,
    /// Series that each generator exposes.
    #[arg(long = "series-per-target", default_value = "10045")]
    series_per_target: u64,
    /// Most series that one Prometheus shard may hold.
    #[arg(long = "shard.max-series", default_value = "30000")]
    max_series: NonZeroU64,
    /// Independent replica groups: each scrapes every target.
    #[arg(long = "replicas", default_value = "1")]
    replicas: NonZeroU32,
    /// Where query listens.
    #[arg(long = "http-address", default_value = "127.0.0.1:10902")]
    http_address: SocketAddr,
    /// Where the coordinator listens.
    #[arg(long = "coordinator.http-address", default_value = "127.0.0.1:9091")]
    coordinator_http_address: SocketAddr,
    /// A further flag for the coordinator; repeatable.
    #[arg(long = "coordinator.arg", allow_hyphen_values = true)]
    coordinator_args: Vec<String>,
    /// Your own prometheus.yml in place of the generated one; no generators are started then.
    #[arg(long = "config.file")]
    config_file: Option<PathBuf>,
}

/// Runs the demo until it is told to stop.
pub(crate) fn run(args: Args) -> ExitCode {
    svc::run(async |ctx| start(args, ctx).await)
}

async fn start(args: Args, ctx: svc::Context) -> anyhow::Result<()> {
    std::fs::create_dir_all(&args.data_dir)
        .with_context(|| format!("create {}", args.data_dir.display()))?;
    let data_dir = args
        .data_dir
        .canonicalize()
        .with_context(|| format!("open {}", args.data_dir.display()))?;
    let lock = lock(&data_dir)?;
    let layout = Layout::open(&data_dir, &args)?;
    configuration::write(&layout, &args)?;
    check_free("--http-address", args.http_address, &layout).await?;
    check_free("--coordinator.http-address", args.coordinator_http_address, &layout).await?;

    let supervisor = Supervisor::open(&layout.children_file(), &ctx.shutdown)
        .context("open the demo's children")?;
    let screen = Screen::new();
    screen.line(&format!("data folder: {}", data_dir.display()));
    if let Err(error) = processes::start(&supervisor, &layout, &args) {
        stop(&supervisor, &layout, &screen).await;
        return Err(error);
    }
    let narrator = Narrator::new(&args, &layout, screen.clone())?;
    let shutdown = ctx.shutdown.clone();
    ctx.tasks.spawn("demo", async move {
        shutdown.until(narrator.run()).await;
        shutdown.triggered().await;
        stop(&supervisor, &layout, &screen).await;
        drop(lock);
        Ok(())
    });
    Ok(())
}

/// One demo a folder.
fn lock(data_dir: &Path) -> anyhow::Result<File> {
    let path = data_dir.join("demo.lock");
    let file = File::create(&path).with_context(|| format!("create {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => bail!("another demo runs on {}", data_dir.display()),
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("lock {}", path.display()))
        }
    }
}

/// A port that somebody else holds is said at once, not found in a child's log. After a crash of the demo it may be
/// our own children that hold it; they are adopted then.
async fn check_free(flag: &str, address: SocketAddr, layout: &Layout) -> anyhow::Result<()> {
    if layout.children_file().exists() {
        return Ok(());
    }
    svc::http::bind(address).await.map(drop).with_context(|| format!("check {flag}"))
}

/// Query first, so that nobody sees half a system; then the coordinator, which stops its shards; the targets last.
async fn stop(supervisor: &Supervisor, layout: &Layout, screen: &Screen) {
    screen.line("stopping: query, coordinator and its shards, generators");
    supervisor.stop(processes::QUERY).await;
    supervisor.stop(processes::COORDINATOR).await;
    // What a coordinator that was killed has left.
    ::coordinator::sweep(&layout.coordinator_dir(), SWEEP_WITHIN).await;
    supervisor.stop_all().await;
    // Without children there is nothing to adopt; the next start checks its ports again.
    let _absent_is_fine = std::fs::remove_file(layout.children_file());
    screen.line("stopped; the data stays for the next start");
}
