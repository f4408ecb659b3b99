//! What discovery, shards and trial scrapes say, made into what the planner rests on.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use proto::coordination::TargetState;
use proto::coordination::engine::State as EngineState;
use proto::coordination::target_report::Health;
use tracing::{error, info};

use super::{Cycle, Track};
use crate::Error;
use crate::detect::{Detector, Engine, Look};
use crate::explore::Trial;
use crate::found;
use crate::found::names::Memory;
use crate::found::{Found, FoundTarget};
use crate::headroom::Headroom;
use crate::plan::{Holding, ShardId, ShardLife, ShardView, Size, Snapshot, State, Tag, TargetView};
use crate::shard::push::Push;
use crate::shard::told::{Held, Report, Told};

/// The size of a target that did not answer, where its job has no other.
const SMALL: u64 = 1_000;

/// What a shard has last reported.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) report: Arc<Report>,
    /// Whether it came in since the last turn.
    pub(super) current: bool,
    /// What the shard was handed and has not answered for yet.
    pub(super) under_way: Option<Arc<Push>>,
}

impl Seen {
    /// Whether it is known what the shard holds now, and it can be told something.
    pub(super) fn is_certain(&self) -> bool {
        self.current && self.under_way.is_none()
    }
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
            self.recall.configure(&self.config);
        }
        let groups = Arc::clone(&self.groups.borrow());
        let answered = self.found_in.as_ref().is_none_or(|known| !Arc::ptr_eq(known, &groups));
        if !reloaded && !answered {
            return;
        }
        self.found_in = Some(Arc::clone(&groups));
        let config = Arc::clone(&self.config);
        let mut complete = std::mem::take(&mut self.complete);
        let (before, waiting) = (Arc::clone(&self.found), self.naming.waiting.clone());
        let find = move || {
            let memory =
                Memory::of(&config, before.config.as_deref(), before.targets.iter(), &waiting);
            let found = found::find(&config, &groups, &mut complete, &before, &memory);
            (found, complete)
        };
        match tokio::task::spawn_blocking(find).await {
            Ok((found, complete)) => {
                self.complete = complete;
                self.teller.tell_found(&self.found, &found);
                self.set_found(found);
                self.forget_names();
            }
            Err(panic) => error!(error = %panic, "relabelling failed, the targets stay"),
        }
    }

    pub(super) fn set_found(&mut self, found: Found) {
        self.found_changed = found.changed_since(&self.found);
        self.found_number += 1;
        self.found = Arc::new(found);
    }

    /// Takes the shards that exist.
    pub(super) fn take_fleet(&mut self) {
        self.fleet = Arc::clone(&self.backend.fleet.borrow_and_update());
        let now = super::now_ms();
        for endpoint in &self.fleet.endpoints {
            let prometheus = endpoint.prometheus.as_deref();
            let ensured =
                self.agents.ensure(endpoint.id, &endpoint.sidecar, prometheus, self.shard_timeout);
            let renewed = ensured.unwrap_or_else(|cause| {
                error!(shard = %endpoint.id, error = %svc::chain(&cause), "shard cannot be spoken to");
                false
            });
            self.shippers.ensure(endpoint.id, endpoint.shipper.as_deref());
            match self.tracks.entry(endpoint.id) {
                // At its new address it has said nothing yet.
                Entry::Occupied(mut track) => track.get_mut().known &= !renewed,
                Entry::Vacant(place) => {
                    place.insert(Track {
                        detector: Detector::new(now),
                        known: endpoint.fresh,
                        looked_at: 0,
                        doubt: None,
                        deaf_since: None,
                        as_found: None,
                        headroom: Headroom::default(),
                    });
                }
            }
        }
        let fleet = Arc::clone(&self.fleet);
        let exists = |id| fleet.endpoints.binary_search_by_key(&id, |endpoint| endpoint.id).is_ok();
        self.agents.retain(exists);
        self.shippers.retain(exists);
        self.tracks.retain(|id, _| exists(*id));
    }

    /// Takes results of trial scrapes.
    pub(super) fn take_trials(&mut self) {
        let mut means = None;
        for (id, trial) in self.explorer.take() {
            self.metrics.trial(matches!(trial, Trial::Counted(_)));
            let Some(target) = self.found.get(id) else { continue };
            match trial {
                Trial::Counted(series) => {
                    self.teller.tell_counted(target, series);
                    self.trial_errors.remove(&id);
                    self.sizes.insert(id, Size::Counted(series));
                    self.resized.insert(id);
                }
                Trial::Failed { error, attempts, given_up } => {
                    let text = format!("trial scrape {attempts} failed: {error}");
                    if given_up {
                        let means = means.get_or_insert_with(|| self.means());
                        let mean = self.found.get(id).and_then(|target| means.get(&target.job));
                        let guess = mean.copied().unwrap_or(SMALL);
                        if let Some(target) = self.found.get(id) {
                            self.teller.tell_guessed(target, guess, &error);
                        }
                        self.sizes.insert(id, Size::Tentative(guess));
                        self.resized.insert(id);
                    }
                    self.trial_errors.insert(id, text);
                }
            }
        }
        let found = Arc::clone(&self.found);
        self.trial_errors.retain(|id, _| found.get(*id).is_some());
    }

    /// The mean size of each job's targets, as far as they were counted: what one is taken for that does not answer. It
    /// has to be scraped nevertheless, so that `up == 0` is recorded.
    fn means(&self) -> HashMap<Arc<str>, u64> {
        let mut sums: HashMap<&Arc<str>, (u64, u64)> = HashMap::new();
        for target in &self.found.targets {
            if let Some(Size::Counted(series)) = self.sizes.get(&target.id()) {
                let (sum, count) = sums.entry(&target.job).or_default();
                (*sum, *count) = (sum.saturating_add(*series), *count + 1);
            }
        }
        let mean = |(job, (sum, count)): (&Arc<str>, (u64, u64))| (Arc::clone(job), sum / count);
        sums.into_iter().map(mean).collect()
    }

    /// Takes what the agents have seen: each shard's condition and last report.
    pub(super) fn take_reports(&mut self, now: i64) -> Reports {
        let doubles = self.doubles();
        let mut reports = Reports::new();
        for (id, track) in &mut self.tracks {
            let Some(agent) = self.agents.get(*id) else { continue };
            let mut view = agent.view.borrow().clone();
            let same_as = |other| format!("not believed: it reports what shard {other} does");
            track.doubt = doubles.get(id).map(same_as);
            view.error = track.doubt.clone().or(view.error);
            let report = view.held().filter(|_| !doubles.contains_key(id));
            let look = if view.round <= track.looked_at {
                Look::Pending
            } else if view.error.is_some() {
                Look::Silent { direct: view.direct }
            } else {
                answered(report.as_deref())
            };
            track.looked_at = view.round;
            let before = track.detector.condition();
            let verdict = track.detector.look(look, now, &self.patience);
            let condition = track.detector.condition();
            if std::mem::discriminant(&condition) != std::mem::discriminant(&before) {
                self.teller.tell_condition(*id, condition, view.error.as_deref());
            }
            if let Some(verdict) = verdict {
                self.teller.tell_verdict(*id, verdict);
            }
            let current = matches!(look, Look::Answered { .. });
            track.known |= current;
            track.deaf_since = view.push_error.as_ref().and(track.deaf_since.or(Some(now)));
            if let Some(report) = report {
                let under_way = agent.under_way();
                reports.insert(*id, Seen { report, current, under_way });
            }
        }
        self.learn_sizes(&reports);
        reports
    }

    /// Shards that report the very assignment of another one: two addresses of one sidecar, or a copy of its folder. The
    /// one that was handed it is believed, else the lowest.
    fn doubles(&self) -> BTreeMap<ShardId, ShardId> {
        let mut holders: HashMap<(u64, u64), Vec<(bool, ShardId)>> = HashMap::new();
        for id in self.tracks.keys() {
            let Some(agent) = self.agents.get(*id) else { continue };
            let view = agent.view.borrow();
            let Some(report) = view.report.as_ref().filter(|report| report.version > 0) else {
                continue;
            };
            let applied = view.applied.as_ref().map(|(_, push)| (push.epoch, push.version));
            let is_given = applied == Some((report.epoch, report.version));
            let same = holders.entry((report.epoch, report.version)).or_default();
            same.push((!is_given, *id));
        }
        let mut doubles = BTreeMap::new();
        for mut same in holders.into_values().filter(|same| same.len() > 1) {
            same.sort_unstable();
            let believed = same[0].1;
            doubles.extend(same[1..].iter().map(|(_, id)| (*id, believed)));
        }
        doubles
    }

    /// Shards count what they scrape, and what ends of it; of several counts of one target the largest is taken.
    fn learn_sizes(&mut self, reports: &Reports) {
        let current = || {
            let current = reports.values().filter(|seen| seen.current);
            current.flat_map(|seen| seen.report.held())
        };
        let mut counted: HashMap<u64, u64> = HashMap::new();
        let mut churned: HashMap<u64, u32> = HashMap::new();
        let before = Arc::clone(&self.status.borrow());
        let learned: HashMap<ShardId, &Report> = before
            .shards
            .iter()
            .filter_map(|shard| Some((shard.endpoint.id, &**shard.report.as_ref()?)))
            .collect();
        for (shard, seen) in reports.iter().filter(|(_, seen)| seen.current) {
            let learned = learned.get(shard).copied();
            for report in seen.report.news(learned) {
                let (target, series) = (report.target, report.samples_post_relabel);
                if series > 0 {
                    if self.sizes.get(&target.id) != Some(&Size::Counted(series)) {
                        counted.insert(target.id, 0);
                    }
                } else if target.series > 0 {
                    // Told by a coordinator before us.
                    self.sizes.entry(target.id).or_insert_with(|| {
                        self.resized.insert(target.id);
                        Size::Counted(target.series)
                    });
                }
                match (report.churn.get(), target.churn.get()) {
                    (Some(ended), _) if self.churn.is_news(target.id, ended) => {
                        churned.insert(target.id, 0);
                    }
                    (None, Some(told)) if self.churn.recall(target.id, told) => {
                        self.resized.insert(target.id);
                    }
                    _ => {}
                }
            }
        }
        self.resized.extend(counted.keys());
        if !counted.is_empty() || !churned.is_empty() {
            for report in current() {
                if let Some(largest) = counted.get_mut(&report.target.id) {
                    *largest = report.samples_post_relabel.max(*largest);
                }
                if let Some(most) = churned.get_mut(&report.target.id) {
                    *most = report.churn.get().unwrap_or(0).max(*most);
                }
            }
        }
        self.sizes.extend(counted.into_iter().map(|(id, series)| (id, Size::Counted(series))));
        for (id, ended) in churned {
            if self.churn.learn(id, ended) {
                self.resized.insert(id);
            }
        }
        self.forget_sizes(reports);
    }

    /// Forgets sizes of what is neither found nor held, once they are many.
    fn forget_sizes(&mut self, reports: &Reports) {
        let held: usize = reports.values().map(|seen| seen.report.targets.len()).sum();
        let known = self.sizes.len().max(self.churn.len());
        if known <= 2 * (held + self.found.targets.len()) + 1_000 {
            return;
        }
        let held: HashSet<u64> =
            reports.values().flat_map(|seen| &*seen.report.targets).map(|told| told.id).collect();
        let found = Arc::clone(&self.found);
        let is_there = |id: u64| held.contains(&id) || found.get(id).is_some();
        self.sizes.retain(|id, _| is_there(*id));
        self.churn.retain(is_there);
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

    /// What is found, with sizes: as in the last turn where nothing of it has changed since.
    fn views(&mut self) -> Arc<[TargetView]> {
        let before = Arc::clone(&self.status.borrow());
        let resized = std::mem::take(&mut self.resized);
        let same_rules = Arc::ptr_eq(&before.seen.rules, &self.tags.rules);
        if same_rules && resized.is_empty() && Arc::ptr_eq(&before.found, &self.found) {
            return Arc::clone(&before.seen.targets);
        }
        // Both ascend by id: what was known is taken over in passing.
        let mut known = before.seen.targets.iter().peekable();
        let traits = self.tags.of_found().chain(std::iter::repeat((Tag::default(), 0)));
        let view = |((id, found), (tag, interval_ms)): ((u64, &FoundTarget), (Tag, u32))| {
            while known.next_if(|known| known.id < id).is_some() {}
            let known = known.next_if(|known| known.id == id && !resized.contains(&id));
            let (size, churn) = match known {
                Some(known) => (known.size.clone(), known.churn),
                None => (self.sizes.get(&id).cloned().unwrap_or(Size::Unknown), self.churn.of(id)),
            };
            TargetView { id, job: Arc::clone(&found.job), size, tag, interval_ms, churn }
        };
        self.found.each().zip(traits).map(view).collect()
    }

    /// What the planner rests on.
    pub(super) fn snapshot(&mut self, reports: &Reports) -> Snapshot {
        let targets = self.views();
        let shards = self.fleet.endpoints.iter().filter_map(|endpoint| {
            let track = self.tracks.get(&endpoint.id)?;
            let report = reports.get(&endpoint.id);
            let holdings = report.map(|seen| self.holdings(seen));
            Some(ShardView {
                id: endpoint.id,
                capacity: track.headroom.capacity(self.max_series_of(endpoint)),
                condition: track.detector.condition(),
                known: track.known,
                holdings: holdings.unwrap_or_default(),
                life: ShardLife {
                    shipped: self.shippers.shipped(endpoint.id),
                    quarantined: track.detector.is_quarantined(),
                    deaf_since: track.deaf_since,
                    silent: !report.is_some_and(Seen::is_certain),
                },
            })
        });
        let shards = shards.collect();
        Snapshot {
            targets,
            shards,
            groups: self.fleet.groups,
            held_jobs: self.held_jobs(),
            rules: Arc::clone(&self.tags.rules),
            held_tags: self.tags.of_held(&self.found, reports),
        }
    }

    /// What a shard holds, and what it was handed: it holds one or the other, and what it is about to take is given to
    /// nobody else.
    fn holdings(&self, seen: &Seen) -> Vec<Holding> {
        let timed = self.limits.max_samples > 0;
        let interval = |told: &Told| match timed && self.found.get(told.id).is_none() {
            true => self.interval_of_held(told),
            false => 0,
        };
        let held = seen.report.held().map(|held| holding(held, interval(held.target)));
        let mut holdings: Vec<Holding> = held.collect();
        let Some(push) = &seen.under_way else { return holdings };
        let reported = holdings.len();
        for told in &*push.targets {
            match holdings[..reported].binary_search_by_key(&told.id, |held| held.target) {
                Ok(at) => holdings[at].state = state(told.state),
                Err(_) => holdings.push(handed(told, interval(told))),
            }
        }
        holdings.sort_unstable_by_key(|held| held.target);
        holdings
    }
}

/// What a shard that has answered says of its Prometheus.
fn answered(report: Option<&Report>) -> Look {
    let engine = report.and_then(|report| report.engine.as_ref());
    let started = engine.map_or(0, |engine| engine.process_start_ms);
    let engine = match engine.map_or(EngineState::Unspecified, |engine| engine.state()) {
        EngineState::Ready => Engine::Ready,
        EngineState::Starting => {
            Engine::Starting { replayed: engine.map_or(0, |engine| engine.wal_replay_current) }
        }
        EngineState::Unreachable | EngineState::Unspecified => Engine::Down,
    };
    Look::Answered { engine, started: Some(started).filter(|started| *started > 0) }
}

fn holding(report: Held<'_>, interval_ms: u32) -> Holding {
    let (target, (series, churn)) = (report.target, report.hints());
    Holding {
        target: target.id,
        job: Arc::clone(&target.job),
        state: state(target.state),
        series,
        interval_ms,
        churn: churn.get().unwrap_or(0),
        scrapes: report.scrapes,
        good_scrapes: report.good_scrapes,
        down: report.health == Health::Down,
    }
}

/// A target on its way to a shard.
fn handed(told: &Told, interval_ms: u32) -> Holding {
    Holding {
        target: told.id,
        job: Arc::clone(&told.job),
        state: state(told.state),
        series: told.series,
        interval_ms,
        churn: told.churn.get().unwrap_or(0),
        scrapes: 0,
        good_scrapes: 0,
        down: false,
    }
}

fn state(told: TargetState) -> State {
    match told {
        TargetState::Leaving => State::Leaving,
        TargetState::Joining => State::Joining,
        TargetState::Active | TargetState::Unspecified => State::Active,
    }
}
