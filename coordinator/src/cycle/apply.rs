//! The plan, carried out: assignments to shards, the number of shards to the backend, the picture to the API.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use proto::coordination::{StopScrape, TargetState};
use proto::push::PROTOCOL;
use tracing::{debug, info};

use super::Cycle;
use super::observe::Reports;
use crate::churn::PerHour;
use crate::found::FoundTarget;
use crate::metrics::{Shown, ShownShard};
use crate::plan::{
    Condition, Desired, History, Plan, Reason, Rung, ShardId, Shipped, Size, Snapshot, State, Sum,
};
use crate::shard::Wanted;
use crate::shard::agent::PROMPT;
use crate::shard::push::Push;
use crate::shard::told::{Report, Told};
use crate::status::{Basis, ShardStatus, Status, engine_name};
use crate::stop;

impl Cycle {
    /// Asks for trial scrapes of what has no size yet.
    pub(super) fn explore(&mut self, plan: &Plan) {
        let unsized_ids = plan.unassigned.iter().filter(|refused| refused.reason == Reason::Sizing);
        let mut ids: Vec<u64> = unsized_ids.map(|refused| refused.target).collect();
        ids.sort_unstable();
        ids.dedup();
        let found = ids.into_iter().filter_map(|id| self.found.get(id).cloned());
        let scraped = found.filter(|found| stop::reason(&self.stop, &found.job).is_none());
        self.explorer.want(&self.config, scraped.collect());
    }

    /// Hands every shard that answered in this turn, and has answered for what it was handed before, what it is to hold,
    /// where that differs from what it holds, and waits a moment for the answers. Others get theirs when they answer
    /// again.
    pub(super) async fn apply(&mut self, plan: &Plan, reports: &Reports) {
        // The turn may have taken long (the process may have been stopped): what counts is who leads now.
        let Some(epoch) = self.term.filter(|epoch| self.leadership.term() == Some(*epoch)) else {
            return;
        };
        self.want(plan);
        let mut outdated = Vec::new();
        for (shard, desired) in &plan.shards {
            let Some(seen) = reports.get(shard).filter(|seen| seen.is_certain()) else { continue };
            if !self.is_applied(*shard, &seen.report, desired) {
                outdated.push((shard, seen, desired));
            }
        }
        let mut pushed = Vec::new();
        for (shard, seen, desired) in outdated {
            let targets = self.targets(desired, &seen.report);
            let with_config = seen.report.config_hash != self.config.hash;
            self.version += 1;
            let (version, config) = (self.version, Arc::clone(&self.config));
            debug!(%shard, epoch, version, targets = targets.len(), with_config, "assigning");
            if let Some(agent) = self.agents.get(*shard) {
                // One that failed last time is not waited for: its answer is seen in a later turn.
                let trusted = agent.view.borrow().takes_promptly();
                let stop = StopScrape::clone(&self.stop);
                let held = Mutex::new(Some(Arc::clone(&seen.report)));
                let digest = OnceLock::new();
                agent.push(Push {
                    epoch,
                    version,
                    config,
                    with_config,
                    targets,
                    digest,
                    stop,
                    held,
                });
                if trusted {
                    pushed.push(agent.pushed(epoch, version));
                }
            }
        }
        let count = pushed.len();
        if count == 0 {
            return;
        }
        let answers = futures::future::join_all(pushed);
        let patience = self.shard_timeout.min(PROMPT);
        let in_time = tokio::time::timeout(patience, answers).await.is_ok();
        info!(epoch, version = self.version, shards = count, in_time, "assignments sent");
    }

    /// Tells the backend how many shards there are to be, and the shards that are to go to ship what they have.
    fn want(&self, plan: &Plan) {
        let mut shipped = BTreeSet::new();
        for (shard, rung) in &plan.rungs {
            self.shippers.want(*shard, *rung);
            if *rung == Rung::Removable && self.shippers.shipped(*shard) == Shipped::All {
                shipped.insert(*shard);
            }
        }
        let next = Wanted { counts: plan.shard_counts.clone(), shipped };
        self.backend.wanted.send_if_modified(|wanted| {
            let changed = wanted.as_ref() != Some(&next);
            *wanted = Some(next);
            changed
        });
    }

    /// Whether a shard has already applied this, from us.
    fn is_applied(&mut self, shard: ShardId, report: &Report, desired: &[Desired]) -> bool {
        if Some(report.epoch) != self.term
            || report.config_hash != self.config.hash
            || report.targets.len() != desired.len()
        {
            return false;
        }
        if report.protocol >= PROTOCOL && !self.is_switched(report) {
            return false;
        }
        // Both ascend by id.
        let is_same = |(held, desired): (&Told, &Desired)| {
            held.id == desired.target && held.state == to_proto(desired.state)
        };
        report.targets.iter().zip(desired).all(is_same) && self.is_all_as_found(shard, report)
    }

    /// Whether a shard has the labels that are found now, of all that is found. What was compared once is not compared
    /// again before one side has changed.
    fn is_all_as_found(&mut self, shard: ShardId, report: &Report) -> bool {
        let Some(track) = self.tracks.get_mut(&shard) else { return false };
        let sides = Some((report.digest, self.found_number));
        if track.as_found == sides {
            return true;
        }
        let found = &self.found;
        let before = Some((report.digest, self.found_number.wrapping_sub(1)));
        let changed = self.found_changed.as_ref().filter(|_| track.as_found == before);
        let may_differ = |id: &u64| changed.is_none_or(|changed| changed.contains(id));
        let is_same = |held: &Told| found.get(held.id).is_none_or(|found| is_as_found(held, found));
        let same = |held: &Told| !may_differ(&held.id) || is_same(held);
        let all_same = report.targets.iter().all(same);
        track.as_found = sides.filter(|_| all_same);
        all_same
    }

    /// Targets as they go over the wire: as discovered, or, where discovery is not complete yet, as the shard has them.
    fn targets(&self, desired: &[Desired], report: &Report) -> Arc<[Told]> {
        // Both ascend by id.
        let mut all_held = report.held().peekable();
        let target = |desired: &Desired| {
            let (id, state) = (desired.target, to_proto(desired.state));
            while all_held.next_if(|held| held.target.id < id).is_some() {}
            let held = all_held.next_if(|held| held.target.id == id);
            let Some(found) = self.found.get(id) else {
                return held.map(|held| Told { state, ..held.target.clone() });
            };
            let (series, churn) = held.map_or_else(|| self.hints(id), |held| held.hints());
            let (job, labels) = (Arc::clone(&found.job), found.target.labels.clone());
            Some(Told { id, job, labels, state, series, churn })
        };
        desired.iter().filter_map(target).collect()
    }

    /// Series of a target, and those that end an hour, for a shard that does not have it yet.
    fn hints(&self, target: u64) -> (u64, PerHour) {
        let series = match self.sizes.get(&target) {
            Some(Size::Counted(series) | Size::Tentative(series)) => *series,
            Some(Size::Unknown) | None => 0,
        };
        let churn = self.churn.of(target);
        (series, Some(churn).filter(|churn| *churn > 0).into())
    }

    /// Publishes the picture and the metrics.
    pub(super) fn show(&self, seen: Snapshot, plan: &Plan, mut reports: Reports) {
        let mut shards = Vec::with_capacity(seen.shards.len());
        for (view, endpoint) in seen.shards.iter().zip(&self.fleet.endpoints) {
            let sum = plan.tally.sums.get(&view.id).copied();
            let Sum { series, load, churn } = sum.unwrap_or_default();
            let known = reports.remove(&view.id);
            let current = known.as_ref().filter(|seen| seen.current).map(|seen| &*seen.report);
            let agent = self.agents.get(view.id).map(|agent| agent.view.borrow().clone());
            shards.push(ShardStatus {
                endpoint: endpoint.clone(),
                max_series: self.max_series_of(endpoint),
                capacity: view.capacity,
                load,
                state: self.state_name(view.id, view.condition, plan),
                engine: engine_word(view.condition, current),
                series,
                churn,
                restarts: self.tracks.get(&view.id).map_or(0, |track| track.detector.restarts()),
                report: known.map(|seen| seen.report),
                error: self
                    .tracks
                    .get(&view.id)
                    .and_then(|track| track.doubt.clone())
                    .or_else(|| agent.and_then(|view| view.error.or(view.push_error)))
                    .or_else(|| self.shipping_error(view.id, plan)),
            });
        }
        self.show_metrics(&seen, plan, plan.tally.missing, &shards);
        let status = Status {
            found: Arc::clone(&self.found),
            basis: Basis {
                limits: self.limits.clone(),
                history: if self.term.is_some() {
                    plan.history.clone()
                } else {
                    History::default()
                },
                now: super::now_ms(),
            },
            seen,
            shards,
            unassigned: plan.unassigned.clone(),
            trial_errors: self.trial_errors.clone(),
            stop: Arc::clone(&self.stop),
        };
        self.status.send_replace(Arc::new(status));
    }

    fn shipping_error(&self, id: ShardId, plan: &Plan) -> Option<String> {
        let shipping = plan.rungs.get(&id) == Some(&Rung::Shipping);
        self.shippers.error(id).filter(|_| shipping)
    }

    fn state_name(&self, id: ShardId, condition: Condition, plan: &Plan) -> &'static str {
        if self.tracks.get(&id).is_some_and(|track| track.detector.is_quarantined()) {
            return "quarantined";
        }
        let lost = |decision: &crate::plan::Decision| matches!(decision, crate::plan::Decision::Lost { shard, .. } if *shard == id);
        if plan.decisions.iter().any(lost) {
            return "lost";
        }
        match condition {
            Condition::Ready => plan.rungs.get(&id).copied().unwrap_or(Rung::Active).name(),
            Condition::Starting { .. } => "starting",
            Condition::EngineDown { .. } => "engine_down",
            Condition::AgentDown { .. } => "agent_down",
            Condition::Unreachable { .. } => "unreachable",
        }
    }

    fn show_metrics(&self, seen: &Snapshot, plan: &Plan, missing: usize, shards: &[ShardStatus]) {
        self.metrics.show(&Shown {
            active: self.found.targets.len(),
            dropped: self.found.dropped_counts.values().sum(),
            missing,
            held_jobs: seen.held_jobs.len(),
            oversize: plan.oversize.len(),
            moving: if self.term.is_some() { plan.history.moves.len() } else { 0 },
            discovery_errors: self.found.errors.values().map(Vec::len).sum(),
            epoch: self.leadership.holder().map_or(0, |holder| holder.epoch),
            unassigned: plan.unassigned.iter().map(|refused| refused.reason.label()).collect(),
            shards: shards
                .iter()
                .map(|shard| ShownShard {
                    name: shard.endpoint.id.to_string(),
                    engine: shard.engine,
                    state: shard.state,
                    series: shard.series,
                    load: shard.load,
                    capacity: shard.capacity,
                    churn: shard.churn,
                    targets: shard.report.as_ref().map_or(0, |report| report.targets.len()),
                    has_config_error: has_config_error(shard.report.as_deref()),
                })
                .collect(),
        });
    }
}

fn has_config_error(report: Option<&Report>) -> bool {
    let engine = report.and_then(|report| report.engine.as_ref());
    engine.is_some_and(|engine| !engine.config_error.is_empty())
}

fn engine_word(condition: Condition, current: Option<&Report>) -> &'static str {
    match condition {
        // Not up yet is no fault.
        Condition::Starting { .. } => "starting",
        _ => engine_name(current),
    }
}

/// Whether a shard has a target with the labels that it has now.
pub(super) fn is_as_found(held: &Told, found: &FoundTarget) -> bool {
    held.job == found.job && held.labels == found.target.labels
}

fn to_proto(state: State) -> TargetState {
    match state {
        State::Active => TargetState::Active,
        State::Leaving => TargetState::Leaving,
        State::Joining => TargetState::Joining,
    }
}
