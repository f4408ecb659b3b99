//! The one task that holds the assignment: decides on pushes one after the other, persists, writes Prometheus' files.

use std::sync::Arc;
use std::time::Duration;

use proto::coordination::assign_response::Outcome;
use proto::coordination::{AssignRequest, AssignResponse};
use svc::{Shutdown, chain};
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{error, info, warn};

use crate::assignment::{Assignment, Authority, Decision, UserConfig};
use crate::config::{Config, ConfigSource};
use crate::error::{Error, Result};
use crate::inbox::Inbox;
use crate::metrics::Metrics;
use crate::passing::Passing;
use crate::poll::Observed;
use crate::prometheus::{Discovered, Prometheus};
use crate::recover::{self, Recovered};
use crate::rollout::Rollout;
use crate::{files, state_file};

/// Pushes that wait their turn. Each may be large, and one coordinator sends one at a time.
const WAITING_PUSHES: usize = 4;

/// How often the user's local file is read again, and a failed write is tried again.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// What the owner shows to everybody else.
#[derive(Debug, Clone, Default)]
pub(crate) struct Held {
    pub(crate) assignment: Arc<Assignment>,
    /// Why Prometheus does not run what it should; empty when it does.
    pub(crate) config_error: String,
}

/// How others reach the owner. Cloneable.
#[derive(Debug, Clone)]
pub(crate) struct Handle {
    pub(crate) held: watch::Receiver<Arc<Held>>,
    pushes: mpsc::Sender<Push>,
}

/// No Debug: the request holds the user's configuration.
struct Push {
    request: AssignRequest,
    reply: oneshot::Sender<Result<AssignResponse>>,
}

impl Handle {
    /// Hands a push over and waits until it is applied; `None` when the process is ending.
    pub(crate) async fn assign(&self, request: AssignRequest) -> Option<Result<AssignResponse>> {
        let (reply, answer) = oneshot::channel();
        self.pushes.send(Push { request, reply }).await.ok()?;
        answer.await.ok()
    }
}

/// The state behind [`Handle`].
pub(crate) struct Owner {
    config: Arc<Config>,
    metrics: Metrics,
    assignment: Arc<Assignment>,
    inbox: Inbox,
    /// Targets under the labels that they had before.
    passing: Passing,
    /// What Prometheus does; `None` until it is looked at.
    observed: Option<watch::Receiver<Arc<Observed>>>,
    rollout: Rollout,
    /// The shard's prometheus.yml made from the assignment's configuration.
    rendered: String,
    /// Why the last push was refused.
    refused: Option<String>,
    /// Why the configuration that was found here (the local file, or the persisted one) is not used.
    unusable: Option<String>,
    /// What the local file held at the last look, when that is not in use yet.
    sighted: Option<Option<UserConfig>>,
    /// Why files are not on the disk.
    unwritten: Option<String>,
    pushes: mpsc::Receiver<Push>,
    held: watch::Sender<Arc<Held>>,
}

impl Owner {
    /// Loads the persisted assignment and writes all of Prometheus' files from it.
    pub(crate) async fn open(
        config: Arc<Config>,
        prometheus: Prometheus,
        metrics: Metrics,
    ) -> Result<(Self, Handle)> {
        let settings = Arc::clone(&config);
        let kept = blocking(move || {
            files::make_folders(&settings)?;
            state_file::load(&settings.data_dir, now_ms())
        })
        .await?;
        let scraped = match kept {
            Some(_) => Vec::new(),
            None => recover::scraped(&config, &prometheus).await,
        };
        let settings = Arc::clone(&config);
        let start = blocking(move || Start::from_disk(&settings, kept, &scraped)).await?;
        metrics.target_files_written.inc_by(start.touched as u64);
        let rollout = Rollout::open(
            &config,
            prometheus,
            metrics.clone(),
            start.rendered.clone(),
            start.empty,
        )
        .await?;
        let (pushes, waiting) = mpsc::channel(WAITING_PUSHES);
        let (held, watching) = watch::channel(Arc::default());
        let owner = Self {
            config,
            metrics,
            inbox: Inbox::after(start.assignment.epoch),
            passing: Passing::default(),
            observed: None,
            assignment: Arc::new(start.assignment),
            rollout,
            rendered: start.rendered,
            refused: None,
            unusable: start.unusable,
            sighted: None,
            unwritten: None,
            pushes: waiting,
            held,
        };
        owner.publish();
        info!(
            epoch = owner.assignment.epoch,
            version = owner.assignment.version,
            targets = owner.assignment.targets.len(),
            "prometheus' files are in place"
        );
        Ok((owner, Handle { held: watching, pushes }))
    }

    /// From now on it sees what Prometheus does.
    pub(crate) fn follow(&mut self, observed: watch::Receiver<Arc<Observed>>) {
        self.observed = Some(observed);
    }

    /// Serves until shutdown.
    pub(crate) async fn run(mut self, shutdown: Shutdown) -> anyhow::Result<()> {
        let mut looks = tokio::time::interval(LOOK_INTERVAL);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.triggered() => return Ok(()),
                Some(push) = self.pushes.recv() => {
                    let answer = self.take(push.request).await;
                    self.publish();
                    // The caller may have gone away; what is applied stays applied.
                    drop(push.reply.send(answer));
                }
                turn = self.rollout.turn() => {
                    let done = self.rollout.go_on(turn).await;
                    self.note_write(done);
                    self.publish();
                }
                () = looked_at(&mut self.observed), if !self.passing.is_empty() => {
                    self.pass().await;
                    self.publish();
                }
                _ = looks.tick() => {
                    self.look_again().await;
                    self.publish();
                }
            }
        }
    }

    async fn take(&mut self, push: AssignRequest) -> Result<AssignResponse> {
        let outcome = self.decide_and_apply(push).await;
        let counted = match &outcome {
            Ok(Outcome::Applied) => "applied",
            Ok(Outcome::Unchanged) => "unchanged",
            Ok(Outcome::RefusedStale) => "refused_stale",
            Ok(Outcome::NeedConfig | Outcome::Unspecified) => "need_config",
            Ok(Outcome::NeedWhole) => "need_whole",
            Ok(Outcome::PartTaken) => "part_taken",
            Err(_) => "error",
        };
        self.metrics.count_assign(counted);
        Ok(AssignResponse {
            epoch: self.assignment.epoch,
            version: self.assignment.version,
            config_hash: self.assignment.config_hash().to_owned(),
            outcome: outcome?.into(),
            digest: self.assignment.digest(),
        })
    }

    async fn decide_and_apply(&mut self, push: AssignRequest) -> Result<Outcome> {
        let (epoch, version) = (push.epoch, push.version);
        let authority = self.authority();
        let decided = self.inbox.decide(&self.assignment, push, authority, now_ms());
        match decided.inspect_err(|error| self.refused = Some(chain(error)))? {
            Decision::Stale => {
                warn!(
                    epoch,
                    version,
                    seen_epoch = self.inbox.seen_epoch,
                    "refused a stale assignment"
                );
                Ok(Outcome::RefusedStale)
            }
            Decision::NeedConfig => Ok(Outcome::NeedConfig),
            Decision::NeedWhole => Ok(Outcome::NeedWhole),
            Decision::PartTaken => Ok(Outcome::PartTaken),
            Decision::Unchanged => {
                // What the coordinator wants is what we hold: an earlier refusal is history.
                self.refused = None;
                if self.unwritten.is_some() {
                    self.write_files().await?;
                }
                Ok(Outcome::Unchanged)
            }
            Decision::Apply(next) => {
                self.adopt(next).await?;
                self.write_files().await?;
                Ok(Outcome::Applied)
            }
        }
    }

    /// Renders and persists an assignment and makes it the held one. After an error all is as before.
    async fn adopt(&mut self, next: Assignment) -> Result<()> {
        let same_config = next.config == self.assignment.config;
        let kept = same_config.then(|| self.rendered.clone());
        let (config, next) = (Arc::clone(&self.config), Arc::new(next));
        let candidate = Arc::clone(&next);
        let prepared = blocking(move || {
            let rendered = match kept {
                Some(rendered) => rendered,
                None => files::render_config(&config, candidate.config.as_ref())?,
            };
            state_file::save(&config.data_dir, &candidate)?;
            Ok(rendered)
        })
        .await;
        let rendered = prepared.inspect_err(|error| {
            error!(error = %chain(error), "assignment not applied");
            self.refused = Some(chain(error));
        })?;
        info!(
            epoch = next.epoch,
            version = next.version,
            targets = next.targets.len(),
            config = next.config_hash(),
            "assignment applied"
        );
        self.tell_stops(&next);
        self.refused = None;
        if !same_config {
            self.unusable = None;
        }
        self.rendered = rendered;
        self.passing = self.passing.after(&self.assignment, &next, now_ms());
        self.assignment = next;
        Ok(())
    }

    fn tell_stops(&self, next: &Assignment) {
        if next.stop.stops == self.assignment.stop.stops {
            return;
        }
        for stop in &next.stop.stops {
            warn!(job = stop.job, reason = stop.reason, "scraping is stopped");
        }
        if next.stop.stops.is_empty() {
            info!("scraping goes on");
        }
    }

    /// Brings the disk to the held assignment: targets first, so that a new job's file is there when it is loaded.
    async fn write_files(&mut self) -> Result<()> {
        let (config, assignment) = (Arc::clone(&self.config), Arc::clone(&self.assignment));
        let passing = self.passing.clone();
        let mut written = blocking(move || {
            let targets = files::render_targets(&assignment, &passing);
            files::write_targets(&files::targets_dir(&config), &targets)
        })
        .await
        .map(|touched| {
            self.metrics.target_files_written.inc_by(touched as u64);
        });
        if written.is_ok() {
            written = self.rollout.offer(self.rendered.clone()).await;
        }
        self.unwritten = written.as_ref().err().map(|error| chain(error));
        written
    }

    /// For what has no caller to tell: the error is logged here, and shown until the next write succeeds.
    fn note_write(&mut self, written: Result<()>) {
        if let Err(cause) = written {
            error!(error = %chain(&cause), "prometheus' files could not be written");
            self.unwritten = Some(chain(&cause));
        }
    }

    /// Ends the scrapes under former labels once those under the new ones have begun.
    async fn pass(&mut self) {
        let scores = match &self.observed {
            Some(observed) => Arc::clone(&observed.borrow().scores),
            None => return,
        };
        if self.passing.is_over(&scores, now_ms()) {
            self.passing = Passing::default();
            let written = self.write_files().await;
            self.note_write(written);
        }
    }

    async fn look_again(&mut self) {
        if let ConfigSource::File(_) = &self.config.source {
            self.look_at_local_file().await;
        }
        if self.unwritten.is_some() {
            let written = self.write_files().await;
            self.note_write(written);
        }
    }

    async fn look_at_local_file(&mut self) {
        let config = Arc::clone(&self.config);
        match blocking(move || read_local(&config)).await {
            Ok(found) if found == self.assignment.config => self.unusable = None,
            // It may be half written (and, being YAML, valid all the same): only what two looks see counts.
            Ok(found) if self.sighted.as_ref() != Some(&found) => self.sighted = Some(found),
            Ok(found) => {
                self.unusable = None;
                let next = Assignment { config: found, ..Assignment::clone(&self.assignment) };
                if self.adopt(next).await.is_ok() {
                    let written = self.write_files().await;
                    self.note_write(written);
                }
            }
            Err(cause) => {
                let reason = chain(&cause);
                if self.unusable.as_ref() != Some(&reason) {
                    error!(error = reason, "configuration file not used; the one before stays");
                }
                self.unusable = Some(reason);
            }
        }
    }

    fn authority(&self) -> Authority {
        match self.config.source {
            ConfigSource::Pushed { .. } => Authority::Coordinator,
            ConfigSource::File(_) => Authority::LocalFile,
        }
    }

    fn publish(&self) {
        let errors = [
            self.unusable.as_deref(),
            self.refused.as_deref(),
            self.unwritten.as_deref(),
            self.rollout.error(),
        ];
        let config_error = errors.into_iter().flatten().collect::<Vec<_>>().join("; ");
        self.metrics.show_held(&self.assignment, config_error.is_empty());
        let held = Held { assignment: Arc::clone(&self.assignment), config_error };
        self.held.send_replace(Arc::new(held));
    }
}

/// Returns after the next look at Prometheus.
async fn looked_at(observed: &mut Option<watch::Receiver<Arc<Observed>>>) {
    let looked = match observed {
        Some(observed) => observed.changed().await.is_ok(),
        None => false,
    };
    if !looked {
        std::future::pending().await
    }
}

/// What the disk says at the start.
struct Start {
    assignment: Assignment,
    rendered: String,
    /// A configuration that scrapes nothing.
    empty: String,
    unusable: Option<String>,
    touched: usize,
}

impl Start {
    /// With the assignment that was persisted, or else with what the shard scrapes as far as that can be told. Also
    /// writes the targets' files. A configuration that cannot be used is replaced: a broken local file by the one
    /// persisted last, and that by none, so that Prometheus can start in any case.
    fn from_disk(
        config: &Config,
        persisted: Option<Assignment>,
        scraped: &[Discovered],
    ) -> Result<Self> {
        let mut kept = None;
        let mut assignment = match persisted {
            Some(assignment) => assignment,
            None => {
                let recovered = recover::from_files(config, scraped, now_ms());
                let targets = recovered.map(|Recovered { targets, rendered }| {
                    kept = Some(rendered);
                    targets
                });
                Assignment { targets: targets.unwrap_or_default(), ..Assignment::default() }
            }
        };
        let mut unusable = None;
        let mut note = |error: Error| {
            error!(error = %chain(&error), "configuration not used");
            unusable.get_or_insert(chain(&error));
        };
        match read_local(config) {
            Ok(None) => {}
            Ok(found) => match files::render_config(config, found.as_ref()) {
                Ok(_) => assignment.config = found,
                Err(error) => note(error),
            },
            Err(error) => note(error),
        }
        let empty = files::render_config(config, None)?;
        // Without the user's configuration what Prometheus runs is the best there is.
        let kept = kept.filter(|_| assignment.config.is_none());
        let made = files::render_config(config, assignment.config.as_ref());
        let rendered = match kept.map_or(made, Ok) {
            Ok(rendered) => rendered,
            Err(error) => {
                note(error);
                empty.clone()
            }
        };
        let targets = files::render_targets(&assignment, &Passing::default());
        let touched = files::write_targets(&files::targets_dir(config), &targets)?;
        Ok(Self { assignment, rendered, empty, unusable, touched })
    }
}

/// The user's local file, where there is one.
fn read_local(config: &Config) -> Result<Option<UserConfig>> {
    let ConfigSource::File(path) = &config.source else { return Ok(None) };
    let read = promconf::load(path).map_err(|error| Error::UserConfig(chain(&error)))?;
    Ok(Some(UserConfig { text: read.text, hash: read.hash }))
}

/// Runs disk work off the async threads.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(Error::Interrupted)?
}

fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
