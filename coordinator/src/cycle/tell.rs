//! What people are told: a log line and an event for each thing that happens, with the numbers it rests on.

use std::collections::{BTreeSet, HashSet};

use tracing::{info, warn};

use super::observe::Reports;
use crate::detect::Verdict;
use crate::events::Events;
use crate::found::names::only_in;
use crate::found::{Found, FoundTarget};
use crate::metrics::Metrics;
use crate::plan::{Condition, MovePhase, Plan, Reason, ShardId};

/// More than that of one kind at once are told as a number.
const EACH: usize = 20;

/// Tells everything once.
#[derive(Debug)]
pub(super) struct Teller {
    events: Events,
    metrics: Metrics,
    /// What the last plan has said, so that what lasts is told once.
    decided: BTreeSet<String>,
    placed: HashSet<(u64, ShardId)>,
    /// Why targets are not scraped, of what does not pass by itself.
    refused: BTreeSet<&'static str>,
    guessed: HashSet<u64>,
}

impl Teller {
    pub(super) fn new(events: Events, metrics: Metrics) -> Self {
        Self {
            events,
            metrics,
            decided: BTreeSet::new(),
            placed: HashSet::new(),
            refused: BTreeSet::new(),
            guessed: HashSet::new(),
        }
    }

    pub(super) fn tell_event(&self, kind: &'static str, message: String) {
        self.events.tell(kind, message);
    }

    pub(super) fn tell_found<'a>(&mut self, before: &'a Found, after: &'a Found) {
        let only = |one: &'a Found, other: &Found| -> Vec<&'a FoundTarget> {
            let places = only_in(&one.targets, &other.targets).into_iter();
            places.filter_map(|at| one.targets.get(at)).collect()
        };
        let (new, gone) = (only(after, before), only(before, after));
        if !new.is_empty() || !gone.is_empty() {
            let total = after.targets.len();
            info!(new = new.len(), gone = gone.len(), total, "discovery has changed");
        }
        self.each("target_found", &new, |found| {
            format!("found target {} (job {})", found.target.url(), found.job)
        });
        self.each("target_gone", &gone, |found| {
            format!("target {} (job {}) is gone", found.target.url(), found.job)
        });
        for (job, errors) in &after.errors {
            if before.errors.get(job) != Some(errors) {
                warn!(%job, ?errors, "discovery of a job is not complete");
            }
        }
        self.guessed.retain(|id| after.get(*id).is_some());
    }

    fn each<T>(&self, kind: &'static str, all: &[T], message: impl Fn(&T) -> String) {
        if all.len() > EACH {
            let what = kind.replace('_', " ");
            self.events.tell(kind, format!("{what}: {} times", all.len()));
            return;
        }
        for one in all {
            self.events.tell(kind, message(one));
        }
    }

    pub(super) fn tell_counted(&self, found: &FoundTarget, series: u64) {
        let url = found.target.url();
        info!(job = %found.job, url, series, "target counted");
        self.events.tell("target_sized", format!("counted {series} series of {url}"));
    }

    pub(super) fn tell_guessed(&mut self, found: &FoundTarget, guess: u64, cause: &str) {
        if !self.guessed.insert(found.id()) {
            return;
        }
        let url = found.target.url();
        warn!(job = %found.job, url, guess, error = cause, "target not counted, assigned with a guess");
        let message = format!("{url} could not be counted, assuming {guess} series: {cause}");
        self.events.tell("target_sized", message);
    }

    pub(super) fn tell_condition(&self, shard: ShardId, now: Condition, cause: Option<&str>) {
        let (kind, message) = match now {
            Condition::Ready => ("shard_ready", format!("shard {shard} is ready")),
            Condition::Starting { .. } => {
                ("shard_starting", format!("Prometheus of shard {shard} is starting"))
            }
            Condition::EngineDown { .. } => {
                ("shard_down", format!("Prometheus of shard {shard} does not answer"))
            }
            Condition::AgentDown { .. } => {
                let cause = cause.unwrap_or("no report");
                let message = format!(
                    "sidecar of shard {shard} does not answer, its Prometheus goes on: {cause}"
                );
                ("shard_agent_down", message)
            }
            Condition::Unreachable { .. } => {
                let cause = cause.unwrap_or("no report");
                ("shard_unreachable", format!("shard {shard} does not answer: {cause}"))
            }
        };
        if matches!(now, Condition::Ready | Condition::Starting { .. }) {
            info!(%shard, condition = ?now, "shard has changed");
        } else {
            warn!(%shard, condition = ?now, error = cause, "shard is in trouble");
        }
        self.events.tell(kind, message);
    }

    pub(super) fn tell_verdict(&self, shard: ShardId, verdict: Verdict) {
        let kind = verdict.label();
        let message = match verdict {
            Verdict::Quarantined { restarts, within } => {
                let seconds = within.as_secs();
                warn!(%shard, restarts, within_seconds = seconds, "shard is in quarantine");
                format!(
                    "shard {shard} is in quarantine: its Prometheus started {restarts} times within {seconds} s"
                )
            }
            Verdict::Released { stable } => {
                let seconds = stable / 1000;
                info!(%shard, stable_seconds = seconds, "shard is out of quarantine");
                format!("shard {shard} is out of quarantine: it was stable for {seconds} s")
            }
        };
        self.metrics.decided(kind);
        self.events.tell(kind, message);
    }

    /// Placements, moves and decisions.
    pub(super) fn tell(&mut self, plan: &Plan, found: &Found, reports: &Reports) {
        self.tell_placed(plan, found, reports);
        self.tell_refused(plan, found);
        self.tell_moves(plan, found);
        if !plan.removed.is_empty() {
            info!(targets = plan.removed.len(), "targets that are gone are taken off their shards");
        }
        let mut decided = BTreeSet::new();
        for decision in &plan.decisions {
            let message = decision.to_string();
            // Loads change from turn to turn while the decision stays the same.
            let words = |text: &str| text.split(':').next().unwrap_or_default().to_owned();
            let key = format!("{} {}", decision.label(), words(&message));
            if !self.decided.contains(&key) && decided.insert(key.clone()) {
                if decision.is_trouble() {
                    warn!(kind = decision.label(), decision = message, "decided");
                } else {
                    info!(kind = decision.label(), decision = message, "decided");
                }
                self.metrics.decided(decision.label());
                self.events.tell(decision.label(), message);
            }
            decided.insert(key);
        }
        self.decided = decided;
    }

    /// A shard that does not answer yet is handed nothing in this turn; the next plan may choose anew.
    fn tell_placed(&mut self, plan: &Plan, found: &Found, reports: &Reports) {
        let handed_over = |shard: &ShardId| reports.get(shard).is_some_and(|seen| seen.current);
        let placed: Vec<_> =
            plan.placed.iter().filter(|(_, shard, _)| handed_over(shard)).collect();
        let told = |placed: &&&(u64, ShardId, u64)| self.placed.contains(&(placed.0, placed.1));
        let new: Vec<_> = placed.iter().filter(|placed| !told(placed)).copied().collect();
        // The first start of a large system is no reason for a million lines.
        if new.len() > EACH {
            let load: u64 = new.iter().map(|(_, _, load)| load).sum();
            let shards: BTreeSet<ShardId> = new.iter().map(|(_, shard, _)| *shard).collect();
            info!(targets = new.len(), load, shards = shards.len(), "targets assigned");
        } else {
            for (target, shard, load) in &new {
                info!(url = name(found, *target), %shard, load, "target assigned");
            }
        }
        self.each("target_assigned", &new, |(target, shard, load)| {
            format!("assigned {} ({load} series) to shard {shard}", name(found, *target))
        });
        self.placed = placed.iter().map(|(target, shard, _)| (*target, *shard)).collect();
    }

    /// Targets that nobody scrapes until something changes: told when the first of a kind comes and the last one goes.
    fn tell_refused(&mut self, plan: &Plan, found: &Found) {
        for label in Reason::LASTING {
            let mut same = plan.unassigned.iter().filter(|refused| refused.reason.label() == label);
            let first = same.next();
            let is_new = first.is_some() && self.refused.insert(label);
            match first {
                Some(first) if is_new => {
                    let targets = 1 + same.count();
                    let (example, why) = (name(found, first.target), &first.reason);
                    warn!(reason = label, targets, example, detail = %why, "targets are not scraped");
                    let message = format!("{targets} targets are not scraped, {example}: {why}");
                    self.events.tell("not_scraped", message);
                }
                None if self.refused.remove(label) => {
                    info!(reason = label, targets = 0, "all targets have a place again");
                    self.events.tell("scraped_again", format!("no target waits: {label}"));
                }
                _ => {}
            }
        }
    }

    fn tell_moves(&self, plan: &Plan, found: &Found) {
        for report in &plan.moves {
            self.metrics.moved(report);
            let (url, from, to) = (name(found, report.target), report.from, report.to);
            let (phase, load) = (report.phase.label(), report.load);
            if matches!(report.phase, MovePhase::RolledBack { .. }) {
                warn!(url, %from, %to, load, detail = %report, "move rolled back");
            } else {
                info!(url, %from, %to, load, phase, detail = %report, "target moves");
            }
        }
        for phase in MovePhase::LABELS {
            let same = plan.moves.iter().filter(|report| report.phase.label() == phase);
            let same: Vec<_> = same.collect();
            let kind = kind_of(phase);
            self.each(kind, &same, |report| format!("{}: {report}", name(found, report.target)));
        }
    }
}

fn kind_of(phase: &str) -> &'static str {
    match phase {
        "begun" => "move_begun",
        "finished" => "move_finished",
        "rolled_back" => "move_rolled_back",
        "evacuated" => "move_evacuated",
        _ => "move_deduplicated",
    }
}

/// What people call a target.
fn name(found: &Found, target: u64) -> String {
    found.get(target).map_or_else(|| format!("target {target:016x}"), |found| found.target.url())
}
