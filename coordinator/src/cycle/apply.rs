//! The plan, carried out: assignments to shards, the number of shards to the backend, the picture to the API.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use proto::convert::labels_to_coordination;
use proto::coordination::{ReportResponse, Target, TargetState};
use tracing::{debug, info};

use super::Cycle;
use super::observe::Reports;
use crate::metrics::{Shown, ShownShard};
use crate::plan::{
    Condition, Desired, History, Plan, Reason, SERIES_PER_SCRAPE, ShardId, Size, Snapshot, State,
};
use crate::shard::agent::Push;
use crate::status::{Basis, ShardStatus, Status, engine_name};

impl Cycle {
    /// Asks for trial scrapes of what has no size yet.
    pub(super) fn explore(&mut self, plan: &Plan) {
        let unsized_ids = plan.unassigned.iter().filter(|refused| refused.reason == Reason::Sizing);
        let mut ids: Vec<u64> = unsized_ids.map(|refused| refused.target).collect();
        ids.sort_unstable();
        ids.dedup();
        let targets = ids.into_iter().filter_map(|id| self.found.get(id).cloned()).collect();
        self.explorer.want(&self.config, targets);
    }

    /// Hands every shard that answered in this turn what it is to hold, where that differs from what it holds, and
    /// waits for the answers for the time that a shard has. Others get theirs when they answer again.
    pub(super) async fn apply(&mut self, plan: &Plan, reports: &Reports) {
        // The turn may have taken long (the process may have been stopped): what counts is who leads now.
        let Some(epoch) = self.term.filter(|epoch| self.leadership.term() == Some(*epoch)) else {
            return;
        };
        self.backend.wanted.send_if_modified(|wanted| {
            let changed = wanted.as_ref() != Some(&plan.shard_counts);
            *wanted = Some(plan.shard_counts.clone());
            changed
        });
        let mut pushed = Vec::new();
        for (shard, desired) in &plan.shards {
            let Some(seen) = reports.get(shard).filter(|seen| seen.current) else { continue };
            if self.is_applied(&seen.report, desired) {
                continue;
            }
            let targets = self.targets(desired, &seen.report);
            let with_config = seen.report.config_hash != self.config.hash;
            self.version += 1;
            let (version, config) = (self.version, Arc::clone(&self.config));
            debug!(%shard, epoch, version, targets = targets.len(), with_config, "assigning");
            if let Some(agent) = self.agents.get(*shard) {
                // One that failed last time is not waited for: its answer is seen in a later turn.
                let trusted = agent.view.borrow().push_error.is_none();
                agent.push(Push { epoch, version, config, with_config, targets });
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
        let in_time = tokio::time::timeout(self.shard_timeout, answers).await.is_ok();
        info!(epoch, version = self.version, shards = count, in_time, "assignments sent");
    }

    /// Whether a shard has already applied this, from us.
    fn is_applied(&self, report: &ReportResponse, desired: &[Desired]) -> bool {
        if Some(report.epoch) != self.term
            || report.config_hash != self.config.hash
            || report.targets.len() != desired.len()
        {
            return false;
        }
        let held: HashMap<u64, TargetState> = report
            .targets
            .iter()
            .filter_map(|held| held.target.as_ref())
            .map(|target| (target.id, target.state()))
            .collect();
        desired.iter().all(|desired| held.get(&desired.target) == Some(&to_proto(desired.state)))
    }

    /// Targets as they go over the wire: as discovered, or, where discovery is not complete yet, as the shard has them.
    fn targets(&self, desired: &[Desired], report: &ReportResponse) -> Vec<Target> {
        let held: HashMap<u64, &Target> = report
            .targets
            .iter()
            .filter_map(|held| held.target.as_ref())
            .map(|target| (target.id, target))
            .collect();
        let target = |desired: &Desired| {
            let id = desired.target;
            let series = match self.sizes.get(&id) {
                Some(Size::Counted(series) | Size::Tentative(series)) => *series,
                Some(Size::Unknown) | None => 0,
            };
            let state = to_proto(desired.state).into();
            match self.found.get(id) {
                Some(found) => Some(Target {
                    id,
                    job: found.job.to_string(),
                    labels: labels_to_coordination(&found.target.labels),
                    state,
                    series,
                }),
                None => held.get(&id).map(|held| Target { state, ..(*held).clone() }),
            }
        };
        desired.iter().filter_map(target).collect()
    }

    /// Publishes the picture and the metrics.
    pub(super) fn show(&self, seen: Snapshot, plan: &Plan, mut reports: Reports) {
        let loads: HashMap<u64, u64> = seen
            .targets
            .iter()
            .map(|target| match target.size {
                Size::Counted(series) | Size::Tentative(series) => (target.id, series),
                Size::Unknown => (target.id, 0),
            })
            .map(|(id, series)| (id, series + SERIES_PER_SCRAPE))
            .collect();
        let mut shards = Vec::with_capacity(seen.shards.len());
        for (view, endpoint) in seen.shards.iter().zip(&self.fleet.endpoints) {
            let held = view.holdings.iter();
            let series = held
                .map(|held| {
                    loads.get(&held.target).copied().unwrap_or(held.series + SERIES_PER_SCRAPE)
                })
                .sum();
            let known = reports.remove(&view.id);
            let current = known.as_ref().filter(|seen| seen.current).map(|seen| &*seen.report);
            let agent = self.agents.get(view.id).map(|agent| agent.view.borrow().clone());
            shards.push(ShardStatus {
                endpoint: endpoint.clone(),
                max_series: view.capacity,
                state: self.state_name(view.id, view.condition, plan),
                engine: engine_word(view.condition, current),
                series,
                report: known.map(|seen| seen.report),
                error: agent.and_then(|view| view.error.or(view.push_error)),
            });
        }
        self.show_metrics(&seen, plan, &shards);
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
        };
        self.status.send_replace(Arc::new(status));
    }

    fn state_name(&self, id: ShardId, condition: Condition, plan: &Plan) -> &'static str {
        let lost = |decision: &crate::plan::Decision| matches!(decision, crate::plan::Decision::Lost { shard, .. } if *shard == id);
        if plan.decisions.iter().any(lost) {
            return "lost";
        }
        match condition {
            Condition::Ready if plan.history.draining.get(&id.group) == Some(&id.ordinal) => {
                "draining"
            }
            Condition::Ready => "active",
            Condition::Starting { .. } => "starting",
            Condition::EngineDown { .. } => "engine_down",
            Condition::Unreachable { .. } => "unreachable",
        }
    }

    fn show_metrics(&self, seen: &Snapshot, plan: &Plan, shards: &[ShardStatus]) {
        let mut owned: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
        for view in &seen.shards {
            let held = view.holdings.iter().map(|held| held.target);
            owned.entry(view.id.group).or_default().extend(held);
        }
        let mut missing = 0;
        for group in 0..seen.groups {
            let mut held = owned.remove(&group).unwrap_or_default();
            held.sort_unstable();
            let lacks = |target: &&crate::plan::TargetView| held.binary_search(&target.id).is_err();
            missing += seen.targets.iter().filter(lacks).count();
        }
        self.metrics.show(&Shown {
            active: self.found.targets.len(),
            dropped: self.found.dropped_counts.values().sum(),
            missing,
            discovery_errors: self.found.errors.values().map(Vec::len).sum(),
            epoch: self.leadership.holder().map_or(0, |holder| holder.epoch),
            unassigned: plan.unassigned.iter().map(|refused| refused.reason.label()).collect(),
            shards: shards
                .iter()
                .map(|shard| ShownShard {
                    name: shard.endpoint.id.to_string(),
                    engine: shard.engine,
                    series: shard.series,
                    targets: shard.report.as_ref().map_or(0, |report| report.targets.len()),
                })
                .collect(),
        });
    }
}

fn engine_word(condition: Condition, current: Option<&ReportResponse>) -> &'static str {
    match condition {
        // Not up yet is no fault.
        Condition::Starting { .. } => "starting",
        _ => engine_name(current),
    }
}

fn to_proto(state: State) -> TargetState {
    match state {
        State::Active => TargetState::Active,
        State::Leaving => TargetState::Leaving,
        State::Joining => TargetState::Joining,
    }
}
