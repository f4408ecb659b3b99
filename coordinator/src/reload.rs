//! The user's prometheus.yml and placement rules: loaded, watched, and kept when the next ones are broken.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use promconf::Config as PromConfig;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{error, info, warn};

use crate::config::Config;
use crate::metrics::Metrics;
use crate::placement::Placement;

/// How often the file is looked at.
const POLL: Duration = Duration::from_secs(2);

/// Reload requests that may wait.
const REQUESTS: usize = 16;

/// What a reload request gets: nothing, or why the file was refused.
type Answer = oneshot::Sender<Result<(), String>>;

/// Asks for a reload. Cloneable.
#[derive(Debug, Clone)]
pub(crate) struct Reloader {
    requests: mpsc::Sender<Answer>,
}

impl Reloader {
    /// Reads the file now; says why it was refused.
    pub(crate) async fn reload(&self) -> Result<(), String> {
        let (answer, answered) = oneshot::channel();
        let gone = || "shutting down".to_owned();
        self.requests.send(answer).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}

/// Reads and checks the file off the async threads.
pub(crate) async fn load(path: &Path) -> anyhow::Result<PromConfig> {
    let path = path.to_owned();
    Ok(tokio::task::spawn_blocking(move || promconf::load(&path)).await??)
}

/// The same of the placement rules, if there is a file of them.
pub(crate) async fn load_placement(path: Option<&Path>) -> anyhow::Result<Placement> {
    let Some(path) = path.map(Path::to_owned) else { return Ok(Placement::default()) };
    Ok(tokio::task::spawn_blocking(move || Placement::load(&path)).await??)
}

/// The last configuration and the last placement rules that were good.
pub(crate) type Loaded = (watch::Receiver<Arc<PromConfig>>, watch::Receiver<Arc<Placement>>);

/// Watches the files from now on.
pub(crate) fn start(
    config: &Config,
    (loaded, placement): (PromConfig, Placement),
    metrics: &Metrics,
    ctx: &svc::Context,
) -> (Reloader, Loaded) {
    let (requests, received) = mpsc::channel(REQUESTS);
    report_unknown(&loaded);
    metrics.config_loaded(true);
    let (sender, receiver) = watch::channel(Arc::new(loaded));
    let (placement_sender, placements) = watch::channel(Arc::new(placement));
    let watcher = Watcher {
        path: config.config_file.clone(),
        placement_path: config.placement_file.clone(),
        sender,
        placements: placement_sender,
        metrics: metrics.clone(),
        last_error: None,
    };
    ctx.tasks.spawn("configuration watch", watcher.run(received, ctx.shutdown.clone()));
    (Reloader { requests }, (receiver, placements))
}

struct Watcher {
    path: PathBuf,
    placement_path: Option<PathBuf>,
    sender: watch::Sender<Arc<PromConfig>>,
    placements: watch::Sender<Arc<Placement>>,
    metrics: Metrics,
    /// So that a broken file is logged once.
    last_error: Option<String>,
}

impl Watcher {
    async fn run(
        mut self,
        mut requests: mpsc::Receiver<Answer>,
        shutdown: svc::Shutdown,
    ) -> anyhow::Result<()> {
        let mut seen = self.stamp().await;
        let mut sighted = seen;
        loop {
            tokio::select! {
                () = shutdown.triggered() => return Ok(()),
                Some(answer) = requests.recv() => {
                    self.last_error = None;
                    seen = self.stamp().await;
                    // Whoever asked may have gone.
                    drop(answer.send(self.reload().await));
                }
                () = tokio::time::sleep(POLL) => {
                    let stamp = self.stamp().await;
                    // It may be half written (and, being YAML, valid all the same): only what two looks see counts.
                    if std::mem::replace(&mut sighted, stamp) == stamp && stamp != seen {
                        seen = stamp;
                        // The watcher has logged it; there is nobody to tell.
                        drop(self.reload().await);
                    }
                }
            }
        }
    }

    /// Changes when the file, or one of those that it includes, does.
    async fn stamp(&self) -> Option<u64> {
        let (path, placement) = (self.path.clone(), self.placement_path.clone());
        let read = move || -> Option<u64> {
            let text = std::fs::read(&path).ok()?;
            let mut hash = xxhash_rust::xxh64::Xxh64::new(0);
            hash.update(&text);
            if text.windows(INCLUDES.len()).any(|window| window == INCLUDES) {
                // Rare, and then the whole file is read: which files it means, only loading it tells.
                let included = promconf::load(&path).map(|config| config.hash);
                hash.update(included.unwrap_or_default().as_bytes());
            }
            if let Some(placement) = placement {
                hash.update(&std::fs::read(placement).unwrap_or_default());
            }
            Some(hash.digest())
        };
        tokio::task::spawn_blocking(read).await.ok().flatten()
    }

    /// Both or neither.
    async fn load(&self) -> anyhow::Result<(PromConfig, Placement)> {
        let loaded = load(&self.path).await?;
        Ok((loaded, load_placement(self.placement_path.as_deref()).await?))
    }

    async fn reload(&mut self) -> Result<(), String> {
        let loaded = self.load().await;
        self.metrics.config_loaded(loaded.is_ok());
        match loaded {
            Ok((loaded, placement)) => {
                self.last_error = None;
                self.placements.send_if_modified(|known| {
                    let changed = !known.is_same(&placement);
                    *known = Arc::new(placement);
                    changed
                });
                if loaded.hash != self.sender.borrow().hash {
                    info!(hash = loaded.hash, "configuration reloaded");
                    report_unknown(&loaded);
                    self.sender.send_replace(Arc::new(loaded));
                }
                Ok(())
            }
            Err(cause) => {
                let text = svc::chain(cause.as_ref());
                if self.last_error.as_ref() != Some(&text) {
                    error!(error = text, "configuration is broken, the running one stays");
                    self.last_error = Some(text.clone());
                }
                Err(text)
            }
        }
    }
}

const INCLUDES: &[u8] = b"scrape_config_files";

fn report_unknown(config: &PromConfig) {
    for field in &config.unknown_fields {
        warn!(
            field = field.path,
            line = field.line,
            "unknown field in the configuration, carried through"
        );
    }
}
