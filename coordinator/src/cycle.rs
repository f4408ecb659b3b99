//! One turn after another: observe, plan, apply. All the I/O between discovery, planner and shards, and no decision.

mod apply;
mod doubt;
mod load;
mod naming;
mod observe;
mod switch;
mod tags;
mod tell;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use discovery::JobGroups;
use proto::coordination::StopScrape;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::error;

use crate::Error;
use crate::churn::Churn;
use crate::config::Config;
use crate::detect::{Detector, Patience};
use crate::events::Events;
use crate::explore::Explorer;
use crate::found::Found;
use crate::found::recall::Recall;
use crate::growth::Growth;
use crate::headroom::{Caps, Headroom};
use crate::leader::Leadership;
use crate::ledger::Ledger;
use crate::metrics::Metrics;
use crate::own_folder::OwnFolder;
use crate::placement::Placement;
use crate::plan::{self, History, Limits, ShardId, Size};
use crate::reload::Loaded;
use crate::shard::agent::Agents;
use crate::shard::shipping::Shippers;
use crate::shard::{Backend, Fleet};
use crate::status::Status;
use crate::stop::Switch;
use naming::Naming;
use tags::Tags;
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
    /// Why its reports are not believed.
    doubt: Option<String>,
    /// Since when it has not taken what it was handed.
    deaf_since: Option<i64>,
    /// The targets, by their digest, whose labels were compared with those found, and the number of these.
    as_found: Option<(u64, u64)>,
    headroom: Headroom,
}

/// The loop and all that it owns.
pub(crate) struct Cycle {
    interval: Duration,
    shard_timeout: Duration,
    limits: Limits,
    caps: Caps,
    leadership: Leadership,
    /// The epoch of our term in this turn; `None`: another coordinator leads.
    term: Option<u64>,
    patience: Patience,
    backend: Backend,
    configs: watch::Receiver<Arc<promconf::Config>>,
    placements: watch::Receiver<Arc<Placement>>,
    tags: Tags,
    stops: watch::Receiver<Arc<StopScrape>>,
    switch: Switch,
    /// As it is in this turn.
    stop: Arc<StopScrape>,
    config: Arc<promconf::Config>,
    discovery: discovery::Manager,
    /// Of the discovery.
    _folder: OwnFolder,
    groups: watch::Receiver<Arc<Vec<JobGroups>>>,
    /// Jobs whose discovery has answered in full since the configuration was loaded.
    complete: HashSet<String>,
    found: Arc<Found>,
    /// How often that has changed, and what was other then than the time before: `None` is too much to tell.
    found_number: u64,
    found_changed: Option<HashSet<u64>>,
    naming: Naming,
    recall: Recall,
    /// The answers of discovery that `found` was made of.
    found_in: Option<Arc<Vec<JobGroups>>>,
    explorer: Explorer,
    sizes: HashMap<u64, Size>,
    churn: Churn,
    /// Targets of which one of these has changed since the last snapshot.
    resized: HashSet<u64>,
    trial_errors: HashMap<u64, String>,
    fleet: Arc<Fleet>,
    agents: Agents,
    shippers: Shippers,
    tracks: BTreeMap<ShardId, Track>,
    history: History,
    round: u64,
    version: u64,
    teller: Teller,
    ledger: Ledger,
    growth: Growth,
    metrics: Metrics,
    status: watch::Sender<Arc<Status>>,
}

impl Cycle {
    /// Starts discovery and the explorer; nothing else happens before [`Self::run`].
    #[expect(clippy::too_many_arguments, reason = "one caller hands over all that the loop owns")]
    pub(crate) fn new(
        config: &Config,
        leadership: Leadership,
        backend: Backend,
        (configs, placements): Loaded,
        switch: Switch,
        metrics: Metrics,
        events: Events,
        (ledger, growth): (Ledger, Growth),
        status: watch::Sender<Arc<Status>>,
        ctx: &svc::Context,
    ) -> Result<Self, Error> {
        let loaded = Arc::clone(&configs.borrow());
        let config_dir = config.config_file.parent().unwrap_or(std::path::Path::new(""));
        let own = OwnFolder::claim(&config.discovery.bridge_dir)?;
        let options =
            discovery::Options { bridge_dir: own.path.clone(), ..config.discovery.clone() };
        let (discovery, groups) =
            discovery::Manager::start_with(&loaded.scrape_configs, config_dir, options, ctx);
        let mut recall = Recall::new(config.discovery.guard.clone(), now_ms());
        recall.configure(&loaded);
        Ok(Self {
            interval: config.interval,
            shard_timeout: config.shard_timeout,
            limits: config.limits.clone(),
            caps: config.caps,
            patience: config.patience.clone(),
            leadership,
            term: None,
            backend,
            configs,
            placements,
            tags: Tags::default(),
            stops: switch.watch(),
            stop: Arc::clone(&switch.watch().borrow()),
            switch,
            config: loaded,
            discovery,
            _folder: own,
            groups,
            complete: HashSet::new(),
            found: Arc::default(),
            found_number: 0,
            found_changed: None,
            naming: Naming::default(),
            recall,
            found_in: None,
            explorer: Explorer::start(config.explore_concurrency, ctx),
            sizes: HashMap::new(),
            churn: Churn::default(),
            resized: HashSet::new(),
            trial_errors: HashMap::new(),
            fleet: Arc::default(),
            agents: Agents::new(metrics.pushes.clone()),
            shippers: Shippers::default(),
            tracks: BTreeMap::new(),
            history: History::default(),
            round: 0,
            version: 0,
            teller: Teller::new(events, metrics.clone()),
            ledger,
            growth,
            metrics,
            status,
        })
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
                Ok(()) = self.placements.changed() => {}
                Ok(()) = self.stops.changed() => {}
                Ok(()) = self.backend.fleet.changed() => {}
                () = self.explorer.news() => {}
                () = self.leadership.changed() => {}
                else => std::future::pending().await,
            }
        };
        if tokio::time::timeout_at(until, news).await.is_ok() {
            tokio::time::sleep(GATHER).await;
        }
    }

    /// One turn. Whether something is under way that the next one should not wait long for. One that does not lead
    /// looks and shows, and does nothing.
    async fn turn(&mut self) -> bool {
        let mut watch = Stopwatch::start(&self.metrics);
        self.take_term();
        self.take_configuration().await;
        self.take_fleet();
        self.take_trials();
        self.round += 1;
        self.agents.report(self.round, self.shard_timeout).await;
        let now = now_ms();
        let reports = self.take_reports(now);
        if let Err(cause) = self.keep_ahead(&reports).await {
            error!(error = %svc::chain(&cause), "epoch was not raised, the shards refuse assignments");
        }
        self.take_names(&reports);
        self.take_doubts(&reports);
        self.take_switch(&reports);
        self.take_placement();
        self.take_headroom(&reports, now);
        let seen = self.snapshot(&reports);
        watch.end("observe");
        let plan = plan::plan(&seen, &self.limits, &self.history, now);
        watch.end("plan");
        if self.term.is_some() {
            self.history = plan.history.clone();
            self.note_departed(&plan, now);
            self.teller.tell(&plan, &self.found, &reports);
            self.explore(&plan);
            self.apply(&plan, &reports).await;
            self.note(&plan, now).await;
        }
        watch.end("apply");
        self.growth.note(&seen.targets, now);
        self.show(seen, &plan, reports);
        watch.end("show");
        plan.busy
    }

    /// Writes moves and decisions into the ledger.
    async fn note(&self, plan: &plan::Plan, now: i64) {
        let Some(epoch) = self.term else { return };
        if plan.moves.is_empty() && plan.decisions.is_empty() && !self.ledger.has_standing() {
            return;
        }
        let (ledger, found) = (self.ledger.clone(), Arc::clone(&self.found));
        let done = plan::Plan {
            moves: plan.moves.clone(),
            decisions: plan.decisions.clone(),
            ..plan::Plan::default()
        };
        let noted = tokio::task::spawn_blocking(move || ledger.note(&done, &found, epoch, now));
        if let Err(panic) = noted.await {
            error!(error = %panic, "moves were not noted");
        }
    }

    /// Whether we lead in this turn. Who begins to lead begins as after a restart: the shards say what was decided.
    fn take_term(&mut self) {
        let term = self.leadership.term();
        if term != self.term {
            self.version = 0;
            if term.is_none() || self.term.is_none() {
                self.history = History::default();
                self.ledger.reread();
                if let Err(cause) = self.switch.reread() {
                    error!(error = %svc::chain(&cause), "the stop-scrape switch could not be read again");
                }
                self.explorer.want(&self.config, Vec::new());
            }
        }
        self.term = term;
    }
}

/// How long the parts of a turn take.
struct Stopwatch {
    metrics: Metrics,
    since: Instant,
}

impl Stopwatch {
    fn start(metrics: &Metrics) -> Self {
        Self { metrics: metrics.clone(), since: Instant::now() }
    }

    /// Ends a part; the next one begins.
    fn end(&mut self, phase: &str) {
        let now = Instant::now();
        self.metrics.phase_took(phase, now - self.since);
        self.since = now;
    }
}

/// Now, in milliseconds since the epoch.
pub(crate) fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}
