//! Counts the series of targets that no shard scrapes yet, by trial scrapes: many at a time, each retried a few times.
//!
//! A target that a shard scrapes is never asked again: the shard's own reports say more.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use scrape::Scraper;
use svc::backoff::Backoff;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::found::FoundTarget;

/// The first wait before a failed trial is tried again.
const FIRST_WAIT: Duration = Duration::from_millis(300);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// A target that failed that often, or for that long, is given to a shard without a count.
const ATTEMPTS: u32 = 3;
const PATIENCE: Duration = Duration::from_secs(10);

/// What a trial has shown.
#[derive(Debug, Clone)]
pub(crate) enum Trial {
    /// Series after metric relabelling.
    Counted(u64),
    Failed {
        error: String,
        attempts: u32,
        /// Whether it has failed for long enough.
        given_up: bool,
    },
}

/// What is to be counted.
#[derive(Debug, Clone, Default)]
struct Wanted {
    config: Option<Arc<promconf::Config>>,
    targets: Vec<FoundTarget>,
}

/// A running explorer.
#[derive(Debug)]
pub(crate) struct Explorer {
    wanted: watch::Sender<Wanted>,
    results: Arc<Mutex<Vec<(u64, Trial)>>>,
    news: Arc<Notify>,
}

impl Explorer {
    /// Starts one that makes at most `concurrency` trials at a time.
    pub(crate) fn start(concurrency: usize, ctx: &svc::Context) -> Self {
        let (wanted, receiver) = watch::channel(Wanted::default());
        let (results, news) = (Arc::default(), Arc::new(Notify::new()));
        let worker = Worker {
            concurrency,
            wanted: receiver,
            results: Arc::clone(&results),
            news: Arc::clone(&news),
            config: None,
            scrapers: HashMap::new(),
            entries: HashMap::new(),
            due: BTreeSet::new(),
            running: JoinSet::new(),
        };
        ctx.tasks.spawn("explorer", worker.run(ctx.shutdown.clone()));
        Self { wanted, results, news }
    }

    /// Sets what is to be counted; what is not among it any more is forgotten.
    pub(crate) fn want(&self, config: &Arc<promconf::Config>, targets: Vec<FoundTarget>) {
        let ids =
            |targets: &[FoundTarget]| targets.iter().map(|target| target.id()).collect::<Vec<_>>();
        self.wanted.send_if_modified(|wanted| {
            let known = wanted.config.as_ref().map(|known| &known.hash);
            let changed = known != Some(&config.hash) || ids(&wanted.targets) != ids(&targets);
            if changed {
                *wanted = Wanted { config: Some(Arc::clone(config)), targets };
            }
            changed
        });
    }

    /// Results since the last call.
    pub(crate) fn take(&self) -> Vec<(u64, Trial)> {
        std::mem::take(&mut self.results.lock())
    }

    /// Returns when there are results to take.
    pub(crate) async fn news(&self) {
        self.news.notified().await;
    }
}

/// A target that is wanted.
struct Entry {
    target: FoundTarget,
    attempts: u32,
    since: Instant,
    backoff: Backoff,
    running: bool,
}

struct Worker {
    concurrency: usize,
    wanted: watch::Receiver<Wanted>,
    results: Arc<Mutex<Vec<(u64, Trial)>>>,
    news: Arc<Notify>,
    config: Option<Arc<promconf::Config>>,
    /// By job, built on first use; an error text where the job's client cannot be built.
    scrapers: HashMap<Arc<str>, Result<Scraper, String>>,
    entries: HashMap<u64, Entry>,
    /// When targets that are not running are due.
    due: BTreeSet<(Instant, u64)>,
    running: JoinSet<(u64, Result<u64, String>)>,
}

impl Worker {
    async fn run(mut self, shutdown: svc::Shutdown) -> anyhow::Result<()> {
        loop {
            self.start_due();
            let next = self.due.first().map(|(at, _)| *at);
            let room = self.running.len() < self.concurrency;
            let wake = async {
                match next.filter(|_| room) {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = shutdown.triggered() => return Ok(()),
                changed = self.wanted.changed() => {
                    if changed.is_err() {
                        shutdown.triggered().await;
                        return Ok(());
                    }
                    self.take_over();
                }
                Some(ended) = self.running.join_next() => {
                    if let Ok((id, outcome)) = ended {
                        self.note(id, outcome);
                    }
                }
                () = wake => {}
            }
        }
    }

    fn take_over(&mut self) {
        let wanted = self.wanted.borrow_and_update().clone();
        let known = self.config.as_ref().map(|config| config.hash.clone());
        if known != wanted.config.as_ref().map(|config| config.hash.clone()) {
            self.scrapers.clear();
            self.config = wanted.config;
        }
        let ids: BTreeSet<u64> = wanted.targets.iter().map(|target| target.id()).collect();
        self.entries.retain(|id, _| ids.contains(id));
        self.due.retain(|(_, id)| ids.contains(id));
        let now = Instant::now();
        for target in wanted.targets {
            let id = target.id();
            let due = &mut self.due;
            self.entries.entry(id).or_insert_with(|| {
                due.insert((now, id));
                let backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
                Entry { target, attempts: 0, since: now, backoff, running: false }
            });
        }
    }

    fn start_due(&mut self) {
        let now = Instant::now();
        while self.running.len() < self.concurrency {
            let Some(&(at, id)) = self.due.first().filter(|(at, _)| *at <= now) else { return };
            self.due.remove(&(at, id));
            let Some(entry) = self.entries.get_mut(&id) else { continue };
            entry.running = true;
            let target = entry.target.clone();
            let scraper = self.scraper(&target.job);
            self.running.spawn(async move {
                let outcome = match scraper {
                    Ok(scraper) => match scraper.trial(&target.target).await {
                        Ok(count) => Ok(count.post_relabel),
                        Err(cause) => Err(svc::chain(&cause)),
                    },
                    Err(text) => Err(text),
                };
                (id, outcome)
            });
        }
    }

    fn scraper(&mut self, job: &Arc<str>) -> Result<Scraper, String> {
        if let Some(known) = self.scrapers.get(job) {
            return known.clone();
        }
        let jobs = self.config.iter().flat_map(|config| &config.scrape_configs);
        let built = match jobs.into_iter().find(|candidate| *candidate.job_name == **job) {
            Some(job) => {
                Scraper::new(job, scrape::Limits::default()).map_err(|cause| svc::chain(&cause))
            }
            None => Err("its job is no longer configured".to_owned()),
        };
        self.scrapers.insert(Arc::clone(job), built.clone());
        built
    }

    fn note(&mut self, id: u64, outcome: Result<u64, String>) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        entry.running = false;
        let trial = match outcome {
            Ok(series) => {
                self.entries.remove(&id);
                Trial::Counted(series)
            }
            Err(error) => {
                entry.attempts += 1;
                self.due.insert((Instant::now() + entry.backoff.wait(), id));
                let attempts = entry.attempts;
                let given_up = attempts >= ATTEMPTS || entry.since.elapsed() >= PATIENCE;
                Trial::Failed { error, attempts, given_up }
            }
        };
        self.results.lock().push((id, trial));
        self.news.notify_one();
    }
}
