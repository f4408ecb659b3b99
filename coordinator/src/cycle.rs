//! One turn after another: observe, plan, apply. All the I/O between discovery, planner and shards, and no decision.

mod apply;
mod naming;
mod observe;
mod switch;
mod tell;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use discovery::JobGroups;
use proto::coordination::StopScrape;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::error;

use crate::config::Config;
use crate::detect::{Detector, Patience};
use crate::epoch::Folder;
use crate::events::Events;
use crate::explore::Explorer;
use crate::found::Found;
use crate::metrics::Metrics;
use crate::plan::{self, History, Limits, ShardId, Size};
use crate::shard::agent::Agents;
use crate::shard::shipping::Shippers;
use crate::shard::{Backend, Fleet};
use crate::status::Status;
use crate::stop::Switch;
use naming::Naming;
use tell::Teller;

/// While something is under way the next turn comes no later than this.
const BUSY_INTERVAL: Duration = Duration::from_secs(1);

/// News that come together are taken together.
const GATHER: Duration = Duration::from_millis(100);

/// What the cycle knows of a shard from turn to turn.
#[derive(Debug)]
struct Track {
    detector: Detector,
    /// Whether it has reported once, or is new and empty.
    known: bool,
    /// The last round whose end was looked at.
    looked_at: u64,
    /// Since when it has not taken what it was handed.
    deaf_since: Option<i64>,
}

/// The loop and all that it owns.
pub(crate) struct Cycle {
    interval: Duration,
    shard_timeout: Duration,
    limits: Limits,
    patience: Patience,
    folder: Folder,
    backend: Backend,
    configs: watch::Receiver<Arc<promconf::Config>>,
    stops: watch::Receiver<Arc<StopScrape>>,
    switch: Switch,
    /// As it is in this turn.
    stop: Arc<StopScrape>,
    config: Arc<promconf::Config>,
    discovery: discovery::Manager,
    groups: watch::Receiver<Arc<Vec<JobGroups>>>,
    /// Jobs whose discovery has answered in full since the configuration was loaded.
    complete: HashSet<String>,
    found: Arc<Found>,
    naming: Naming,
    /// The answers of discovery that `found` was made of.
    found_in: Option<Arc<Vec<JobGroups>>>,
    explorer: Explorer,
    sizes: HashMap<u64, Size>,
    trial_errors: HashMap<u64, String>,
    fleet: Arc<Fleet>,
    agents: Agents,
    shippers: Shippers,
    tracks: BTreeMap<ShardId, Track>,
    history: History,
    round: u64,
    version: u64,
    teller: Teller,
    metrics: Metrics,
    status: watch::Sender<Arc<Status>>,
}

impl Cycle {
    /// Starts discovery and the explorer; nothing else happens before [`Self::run`].
    #[expect(clippy::too_many_arguments, reason = "one caller hands over all that the loop owns")]
    pub(crate) fn new(
        config: &Config,
        folder: Folder,
        backend: Backend,
        configs: watch::Receiver<Arc<promconf::Config>>,
        switch: Switch,
        metrics: Metrics,
        events: Events,
        status: watch::Sender<Arc<Status>>,
        ctx: &svc::Context,
    ) -> Self {
        let loaded = Arc::clone(&configs.borrow());
        let config_dir = config.config_file.parent().unwrap_or(std::path::Path::new(""));
        let (discovery, groups) = discovery::Manager::start_with(
            &loaded.scrape_configs,
            config_dir,
            config.discovery.clone(),
            ctx,
        );
        Self {
            interval: config.interval,
            shard_timeout: config.shard_timeout,
            limits: config.limits.clone(),
            patience: config.patience.clone(),
            folder,
            backend,
            configs,
            stops: switch.watch(),
            stop: Arc::clone(&switch.watch().borrow()),
            switch,
            config: loaded,
            discovery,
            groups,
            complete: HashSet::new(),
            found: Arc::default(),
            naming: Naming::default(),
            found_in: None,
            explorer: Explorer::start(config.explore_concurrency, ctx),
            sizes: HashMap::new(),
            trial_errors: HashMap::new(),
            fleet: Arc::default(),
            agents: Agents::new(metrics.pushed_bytes.clone()),
            shippers: Shippers::default(),
            tracks: BTreeMap::new(),
            history: History::default(),
            round: 0,
            version: 0,
            teller: Teller::new(events, metrics.clone()),
            metrics,
            status,
        }
    }

    /// Runs until shutdown.
    pub(crate) async fn run(mut self, shutdown: svc::Shutdown) -> anyhow::Result<()> {
        loop {
            let started = Instant::now();
            let Some(busy) = shutdown.until(self.turn()).await else { return Ok(()) };
            self.metrics.cycle_took(started.elapsed());
            let pause = if busy { self.interval.min(BUSY_INTERVAL) } else { self.interval };
            if shutdown.until(self.wait(started + pause)).await.is_none() {
                return Ok(());
            }
        }
    }

    /// Waits for the next turn's time, or for news.
    async fn wait(&mut self, until: Instant) {
        let news = async {
            tokio::select! {
                Ok(()) = self.groups.changed() => {}
                Ok(()) = self.configs.changed() => {}
                Ok(()) = self.stops.changed() => {}
                Ok(()) = self.backend.fleet.changed() => {}
                () = self.explorer.news() => {}
                else => std::future::pending().await,
            }
        };
        if tokio::time::timeout_at(until, news).await.is_ok() {
            tokio::time::sleep(GATHER).await;
        }
    }

    /// One turn. Whether something is under way that the next one should not wait long for.
    async fn turn(&mut self) -> bool {
        self.take_configuration().await;
        self.take_fleet();
        self.take_trials();
        self.round += 1;
        self.agents.report(self.round, self.shard_timeout).await;
        let now = now_ms();
        let reports = self.take_reports(now);
        if let Err(cause) = self.keep_ahead(&reports) {
            error!(error = %svc::chain(&cause), "epoch was not raised, the shards refuse assignments");
        }
        self.take_names(&reports);
        self.take_switch(&reports);
        let seen = self.snapshot(&reports);
        let plan = plan::plan(&seen, &self.limits, &self.history, now);
        self.history = plan.history.clone();
        self.teller.tell(&plan, &self.found, &reports);
        self.explore(&plan);
        self.apply(&plan, &reports).await;
        self.show(seen, &plan, reports);
        plan.busy
    }
}

/// Now, in milliseconds since the epoch.
fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}
