//! Which of several coordinators leads. The others serve what they see and hand nothing to anyone.
//!
//! A term has an epoch, which every assignment carries: a shard that knows a higher one refuses it. A term counts for
//! two thirds of a lease after its last good beat, so a leader that cannot beat any more (or was stopped and goes on
//! later) has stopped assigning before the next one may begin.
//!
//! A [`Lock`] is where coordinators agree. There is one of files; a Kubernetes Lease will be another one, with its
//! `leaseTransitions` as the epoch.

mod file;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::watch;
use tracing::{error, info, warn};

use crate::Error;
use crate::metrics::Metrics;
use crate::shared_folder::SharedFolder;
use file::FileLock;

/// The longest time between two beats, and between two looks at another's.
const LONGEST_BEAT: Duration = Duration::from_secs(1);

/// What keeps a leader that hangs from doing harm when it goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fence {
    /// The shards refuse its epoch.
    Epoch,
    /// Its shards are processes that two must not run: it is killed.
    Kill,
}

/// Who has the highest term.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Holder {
    pub(crate) epoch: u64,
    /// Of its HTTP API, as it names itself.
    pub(crate) url: String,
    pub(crate) host: String,
    /// In milliseconds since the epoch.
    pub(crate) since: i64,
    pub(crate) ours: bool,
}

/// Where coordinators agree on who leads. All calls may block.
#[derive(Debug)]
enum Lock {
    File(FileLock),
}

impl Lock {
    /// Begins a term, with an epoch above `floor`, if nobody else leads.
    fn acquire(&mut self, floor: u64) -> Result<Option<u64>, Error> {
        match self {
            Self::File(lock) => lock.acquire(floor),
        }
    }

    /// Goes on to an epoch above `seen`; `None`: the term is over.
    fn advance(&mut self, seen: u64) -> Result<Option<u64>, Error> {
        match self {
            Self::File(lock) => lock.advance(seen),
        }
    }

    /// A beat; `false`: the term is over.
    fn renew(&mut self) -> Result<bool, Error> {
        match self {
            Self::File(lock) => lock.renew(),
        }
    }

    fn release(&mut self) {
        match self {
            Self::File(lock) => lock.release(),
        }
    }

    fn holder(&self) -> Option<Holder> {
        match self {
            Self::File(lock) => lock.holder(),
        }
    }

    fn set_url(&mut self, url: String) {
        match self {
            Self::File(lock) => lock.set_url(url),
        }
    }
}

/// What is known of who leads.
#[derive(Debug, Clone, Default)]
struct Standing {
    term: Option<Term>,
    holder: Option<Holder>,
}

/// A term of ours.
#[derive(Debug, Clone, Copy)]
struct Term {
    epoch: u64,
    /// Until when it counts without another beat.
    until: Instant,
}

/// A term is not given up in good order while one exists. See [`Leadership::guard`].
#[derive(Debug)]
pub(crate) struct Guard {
    alive: Arc<AtomicUsize>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Whether this coordinator leads. Cloneable.
#[derive(Debug, Clone)]
pub(crate) struct Leadership {
    lock: Arc<Mutex<Lock>>,
    standing: watch::Sender<Standing>,
    /// The highest epoch that a shard has shown.
    seen: Arc<AtomicU64>,
    guards: Arc<AtomicUsize>,
    lease: Duration,
    folder: SharedFolder,
}

impl Leadership {
    /// Opens the lock of those who share a data folder; nothing is claimed before [`Self::start`].
    pub(crate) fn open(
        folder: SharedFolder,
        lock_file: &Path,
        lease: Duration,
        fence: Fence,
    ) -> Result<Self, Error> {
        let lock = FileLock::open(lock_file, lease, fence)?;
        Ok(Self {
            lock: Arc::new(Mutex::new(Lock::File(lock))),
            standing: watch::Sender::default(),
            seen: Arc::default(),
            guards: Arc::default(),
            lease,
            folder,
        })
    }

    /// Tries once to lead, and from then on beats, or watches whoever leads, until the end. `http` is where our HTTP API
    /// listens.
    pub(crate) async fn start(
        &self,
        http: SocketAddr,
        metrics: &Metrics,
        ctx: &svc::Context,
    ) -> Result<(), Error> {
        let url = if http.ip().is_unspecified() {
            format!("http://{}:{}", file::host_name(), http.port())
        } else {
            format!("http://{http}")
        };
        self.lock.lock().set_url(url);
        self.beat().await?;
        if self.term().is_none() {
            let holder = self.holder();
            let (epoch, url) = holder.map(|holder| (holder.epoch, holder.url)).unzip();
            info!(epoch, url, "following: another coordinator leads");
        }
        let (task, metrics) = (self.clone(), metrics.clone());
        ctx.tasks.spawn("leadership", task.keep(metrics, ctx.shutdown.clone()));
        Ok(())
    }

    /// The epoch of our term, while it counts.
    pub(crate) fn term(&self) -> Option<u64> {
        let term = self.standing.borrow().term?;
        (Instant::now() < term.until).then_some(term.epoch)
    }

    /// Who leads, or led last.
    pub(crate) fn holder(&self) -> Option<Holder> {
        self.standing.borrow().holder.clone()
    }

    /// The data folder that is shared with the others.
    pub(crate) fn folder(&self) -> &SharedFolder {
        &self.folder
    }

    pub(crate) fn lease(&self) -> Duration {
        self.lease
    }

    /// A shard has shown this epoch: the next term will be above it.
    pub(crate) fn note_seen(&self, epoch: u64) {
        self.seen.fetch_max(epoch, Ordering::Relaxed);
    }

    /// Goes on to a term above an epoch that a shard has shown. `None`: we do not lead any more.
    pub(crate) async fn advance(&self, seen: u64) -> Result<Option<u64>, Error> {
        let started = Instant::now();
        let epoch = self.blocking(move |lock| lock.advance(seen)).await?;
        self.take(epoch, started);
        Ok(epoch)
    }

    /// Keeps the term from being given up in good order while it lives: for what must not run under two leaders.
    pub(crate) fn guard(&self) -> Guard {
        self.guards.fetch_add(1, Ordering::SeqCst);
        Guard { alive: Arc::clone(&self.guards) }
    }

    /// Returns when we lead, at once if we do.
    pub(crate) async fn leads(&self) {
        let mut standing = self.standing.subscribe();
        // An error says that the sender is gone, and `self` holds one.
        drop(standing.wait_for(|standing| standing.term.is_some()).await);
    }

    /// Returns when a term of ours has been ended by another, at once if there is none.
    pub(crate) async fn deposed(&self) {
        let mut standing = self.standing.subscribe();
        drop(standing.wait_for(|standing| standing.term.is_none()).await);
    }

    /// Returns at the next change between leading and following, or of who leads.
    pub(crate) async fn changed(&self) {
        let known = self.who();
        let mut standing = self.standing.subscribe();
        drop(standing.wait_for(|standing| who(standing) != known).await);
    }

    fn who(&self) -> (Option<u64>, Option<u64>) {
        who(&self.standing.borrow())
    }

    async fn keep(self, metrics: Metrics, shutdown: svc::Shutdown) -> anyhow::Result<()> {
        let pause = (self.lease / 5).min(LONGEST_BEAT);
        let mut failing = false;
        loop {
            metrics.leads(self.term().is_some());
            let going_on = shutdown.sleep(pause).await;
            if !going_on {
                break;
            }
            let outcome = self.beat().await;
            if let Err(cause) = &outcome
                && !failing
            {
                error!(error = %svc::chain(cause), "who leads cannot be settled");
            }
            failing = outcome.is_err();
        }
        // What must not run twice ends first; until then the next leader waits.
        while self.guards.load(Ordering::SeqCst) > 0 {
            tokio::time::sleep(pause).await;
            if let Err(cause) = self.beat().await {
                warn!(error = %svc::chain(&cause), "term was not kept until the end");
            }
        }
        self.blocking(|lock| {
            lock.release();
            Ok(())
        })
        .await?;
        self.standing.send_modify(|standing| standing.term = None);
        Ok(())
    }

    /// One beat, or one look at another's.
    async fn beat(&self) -> Result<(), Error> {
        let led = self.standing.borrow().term;
        let floor = self.seen.load(Ordering::Relaxed);
        let started = Instant::now();
        let asked = self.blocking(move |lock| {
            let epoch = match led {
                Some(term) => lock.renew()?.then_some(term.epoch),
                None => lock.acquire(floor)?,
            };
            Ok((epoch, lock.holder()))
        });
        // A disk that hangs ends the term by its time.
        let Ok(outcome) = tokio::time::timeout(self.lease, asked).await else {
            warn!(lease = ?self.lease, "the lock did not answer within a lease");
            return Ok(());
        };
        let (epoch, holder) = outcome?;
        self.take(epoch, started);
        self.standing.send_if_modified(|standing| {
            let changed = standing.holder != holder;
            standing.holder = holder;
            changed
        });
        match (led, epoch) {
            (Some(term), None) => warn!(epoch = term.epoch, "deposed, following from now on"),
            (None, Some(epoch)) => info!(epoch, floor, "leading from now on"),
            _ => {}
        }
        Ok(())
    }

    fn take(&self, epoch: Option<u64>, started: Instant) {
        // The next leader waits for a whole lease.
        let until = started + self.lease * 2 / 3;
        let term = epoch.map(|epoch| Term { epoch, until });
        self.standing.send_modify(|standing| {
            // A beat that began before a newer term did knows nothing of it.
            let newer = |known: Term| epoch.is_some_and(|epoch| known.epoch > epoch);
            if !standing.term.is_some_and(newer) {
                standing.term = term;
            }
        });
    }

    async fn blocking<T: Send + 'static>(
        &self,
        call: impl FnOnce(&mut Lock) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let lock = Arc::clone(&self.lock);
        let called = tokio::task::spawn_blocking(move || call(&mut lock.lock())).await;
        called.unwrap_or_else(|panic| Err(Error::Leadership(panic.to_string())))
    }
}

/// Our epoch and the holder's.
fn who(standing: &Standing) -> (Option<u64>, Option<u64>) {
    let holder = standing.holder.as_ref().map(|holder| holder.epoch);
    (standing.term.map(|term| term.epoch), holder)
}
