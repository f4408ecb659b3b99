//! What discovery, shards and trial scrapes say, made into what the planner rests on.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use proto::coordination::engine::State as Engine;
use proto::coordination::target_report::Health;
use proto::coordination::{ReportResponse, TargetReport, TargetState};
use tracing::{error, info};

use super::{Cycle, Track};
use crate::Error;
use crate::explore::Trial;
use crate::found::{self, Found};
use crate::plan::{Condition, Holding, ShardId, ShardView, Size, Snapshot, State, TargetView};

/// The size of a target that did not answer, where its job has no other.
const SMALL: u64 = 1_000;

/// What a shard has last reported.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) report: Arc<ReportResponse>,
    /// Whether it was in this turn.
    pub(super) current: bool,
}

pub(super) type Reports = BTreeMap<ShardId, Seen>;

impl Cycle {
    /// Takes a new configuration and new answers of discovery.
    pub(super) async fn take_configuration(&mut self) {
        // Waiting for news marks them as seen: what counts is whether it is the same value.
        let newest = Arc::clone(&self.configs.borrow());
        let reloaded = !Arc::ptr_eq(&newest, &self.config);
        if reloaded {
            self.config = newest;
            self.discovery.update(&self.config.scrape_configs);
            self.complete.clear();
        }
        let groups = Arc::clone(&self.groups.borrow());
        let answered = self.found_in.as_ref().is_none_or(|known| !Arc::ptr_eq(known, &groups));
        if !reloaded && !answered {
            return;
        }
        self.found_in = Some(Arc::clone(&groups));
        let config = Arc::clone(&self.config);
        let mut complete = std::mem::take(&mut self.complete);
        let find = move || {
            let found = found::find(&config, &groups, &mut complete);
            (found, complete)
        };
        match tokio::task::spawn_blocking(find).await {
            Ok((found, complete)) => {
                self.complete = complete;
                self.teller.tell_found(&self.found, &found);
                self.found = Arc::new(found);
            }
            Err(panic) => error!(error = %panic, "relabelling failed, the targets stay"),
        }
    }

    /// Takes the shards that exist.
    pub(super) fn take_fleet(&mut self) {
        self.fleet = Arc::clone(&self.backend.fleet.borrow_and_update());
        let now = super::now_ms();
        for endpoint in &self.fleet.endpoints {
            let ensured = self.agents.ensure(endpoint.id, &endpoint.sidecar, self.shard_timeout);
            let renewed = ensured.unwrap_or_else(|cause| {
                error!(shard = %endpoint.id, error = %svc::chain(&cause), "shard cannot be spoken to");
                false
            });
            match self.tracks.entry(endpoint.id) {
                // At its new address it has said nothing yet.
                Entry::Occupied(mut track) => track.get_mut().known &= !renewed,
                Entry::Vacant(place) => {
                    place.insert(Track {
                        condition: Condition::Starting { since: now },
                        known: endpoint.fresh,
                        ready_once: false,
                        since: now,
                    });
                }
            }
        }
        let fleet = Arc::clone(&self.fleet);
        let exists = |id| fleet.endpoints.binary_search_by_key(&id, |endpoint| endpoint.id).is_ok();
        self.agents.retain(exists);
        self.tracks.retain(|id, _| exists(*id));
    }

    /// Takes results of trial scrapes.
    pub(super) fn take_trials(&mut self) {
        for (id, trial) in self.explorer.take() {
            self.metrics.trial(matches!(trial, Trial::Counted(_)));
            let Some(target) = self.found.get(id) else { continue };
            match trial {
                Trial::Counted(series) => {
                    self.teller.tell_counted(target, series);
                    self.trial_errors.remove(&id);
                    self.sizes.insert(id, Size::Counted(series));
                }
                Trial::Failed { error, attempts, given_up } => {
                    let text = format!("trial scrape {attempts} failed: {error}");
                    if given_up {
                        let guess = self.guess(id);
                        if let Some(target) = self.found.get(id) {
                            self.teller.tell_guessed(target, guess, &error);
                        }
                        self.sizes.insert(id, Size::Tentative(guess));
                    }
                    self.trial_errors.insert(id, text);
                }
            }
        }
        let found = Arc::clone(&self.found);
        self.trial_errors.retain(|id, _| found.get(*id).is_some());
    }

    /// The average of its job, or a small number: the target has to be scraped so that `up == 0` is recorded.
    fn guess(&self, id: u64) -> u64 {
        let Some(target) = self.found.get(id) else { return SMALL };
        let same_job = self.found.targets.iter().filter(|other| other.job == target.job);
        let counted = same_job.filter_map(|other| match self.sizes.get(&other.target.id) {
            Some(Size::Counted(series)) => Some(*series),
            _ => None,
        });
        let (sum, count) = counted.fold((0, 0), |(sum, count), series| (sum + series, count + 1));
        u64::checked_div(sum, count).unwrap_or(SMALL)
    }

    /// Takes what the agents have seen: each shard's condition and last report.
    pub(super) fn take_reports(&mut self, now: i64) -> Reports {
        let mut reports = Reports::new();
        for (id, track) in &mut self.tracks {
            let Some(agent) = self.agents.get(*id) else { continue };
            let view = agent.view.borrow().clone();
            let current = view.good_round == self.round;
            let report = view.held();
            let engine = report.as_ref().filter(|_| current).map(|report| engine(report));
            let grace = i64::try_from(self.limits.grace.as_millis()).unwrap_or(i64::MAX);
            let condition = track.next(engine, now, grace);
            if std::mem::discriminant(&condition) != std::mem::discriminant(&track.condition) {
                self.teller.tell_condition(*id, condition, view.error.as_deref());
            }
            track.condition = condition;
            track.known |= current;
            track.ready_once |= condition == Condition::Ready;
            if let Some(report) = report {
                reports.insert(*id, Seen { report, current });
            }
        }
        self.learn_sizes(&reports);
        reports
    }

    /// Shards count what they scrape.
    fn learn_sizes(&mut self, reports: &Reports) {
        let mut counted: HashMap<u64, u64> = HashMap::new();
        let current = reports.values().filter(|seen| seen.current);
        for report in current.flat_map(|seen| &seen.report.targets) {
            let Some(target) = &report.target else { continue };
            if report.samples_post_relabel > 0 {
                let largest = counted.entry(target.id).or_default();
                *largest = report.samples_post_relabel.max(*largest);
            } else if target.series > 0 {
                // Told by a coordinator before us.
                self.sizes.entry(target.id).or_insert(Size::Counted(target.series));
            }
        }
        let held = counted.len();
        self.sizes.extend(counted.into_iter().map(|(id, series)| (id, Size::Counted(series))));
        if self.sizes.len() > 2 * (held + self.found.targets.len()) + 1_000 {
            let found = Arc::clone(&self.found);
            self.sizes.retain(|id, _| found.get(*id).is_some());
        }
    }

    /// Our epoch has to be above everybody else's: a shard refuses a lower one. A higher one that another coordinator
    /// has claimed ends our term; one that nobody has is left over from a lost lock file.
    pub(super) async fn keep_ahead(&mut self, reports: &Reports) -> Result<(), Error> {
        let seen = reports.values().map(|seen| (seen.report.epoch, seen.report.version)).max();
        let Some((epoch, version)) = seen else { return Ok(()) };
        self.leadership.note_seen(epoch);
        let Some(ours) = self.term else { return Ok(()) };
        if (epoch, version) > (ours, self.version) {
            self.term = None;
            self.term = self.leadership.advance(epoch).await?;
            self.version = 0;
            info!(before = ours, seen = epoch, epoch = self.term, "shards know a higher epoch");
        }
        Ok(())
    }

    /// What the planner rests on.
    pub(super) fn snapshot(&self, reports: &Reports) -> Snapshot {
        let targets = self.found.targets.iter().map(|found| {
            let id = found.target.id;
            let size = self.sizes.get(&id).cloned().unwrap_or(Size::Unknown);
            TargetView { id, job: Arc::clone(&found.job), size }
        });
        let shards = self.fleet.endpoints.iter().filter_map(|endpoint| {
            let track = self.tracks.get(&endpoint.id)?;
            let report = reports.get(&endpoint.id);
            let holdings = report.map(|seen| holdings(&seen.report, &self.found));
            Some(ShardView {
                id: endpoint.id,
                capacity: endpoint.max_series.unwrap_or(self.limits.max_series),
                condition: track.condition,
                known: track.known,
                holdings: holdings.unwrap_or_default(),
            })
        });
        Snapshot {
            targets: targets.collect(),
            shards: shards.collect(),
            groups: self.fleet.groups,
            held_jobs: self.found.held_jobs.clone(),
        }
    }
}

impl Track {
    /// The condition from now on. `engine` is what the shard said of its Prometheus in this turn, if it spoke.
    fn next(&self, engine: Option<Engine>, now: i64, grace: i64) -> Condition {
        let starting = |since: i64| {
            // One that never comes up is not waited for for ever.
            if now - since > grace {
                Condition::EngineDown { since }
            } else {
                Condition::Starting { since }
            }
        };
        match (engine, self.condition) {
            (Some(Engine::Ready), _) => Condition::Ready,
            // A WAL replay takes as long as it takes.
            (Some(Engine::Starting), Condition::Starting { since }) => {
                Condition::Starting { since }
            }
            (Some(Engine::Starting), _) => Condition::Starting { since: now },
            (Some(_), _) if !self.ready_once => starting(self.since),
            (Some(_), Condition::EngineDown { since }) => Condition::EngineDown { since },
            (Some(_), _) => Condition::EngineDown { since: now },
            (None, Condition::Unreachable { since }) => Condition::Unreachable { since },
            (None, Condition::Starting { since }) if !self.ready_once && now - since <= grace => {
                Condition::Starting { since }
            }
            (None, _) if !self.ready_once => Condition::Unreachable { since: self.since },
            (None, _) => Condition::Unreachable { since: now },
        }
    }
}

fn engine(report: &ReportResponse) -> Engine {
    report.engine.as_ref().map_or(Engine::Unspecified, |engine| engine.state())
}

fn holdings(report: &ReportResponse, found: &Found) -> Vec<Holding> {
    report.targets.iter().filter_map(|held| holding(held, found)).collect()
}

fn holding(report: &TargetReport, found: &Found) -> Option<Holding> {
    let target = report.target.as_ref()?;
    let known = found.get(target.id).map(|found| Arc::clone(&found.job));
    let series =
        if report.samples_post_relabel > 0 { report.samples_post_relabel } else { target.series };
    Some(Holding {
        target: target.id,
        job: known.unwrap_or_else(|| Arc::from(target.job.as_str())),
        state: match target.state() {
            TargetState::Leaving => State::Leaving,
            TargetState::Joining => State::Joining,
            TargetState::Active | TargetState::Unspecified => State::Active,
        },
        series,
        scrapes: report.scrapes,
        good_scrapes: report.good_scrapes,
        down: report.health() == Health::Down,
    })
}
