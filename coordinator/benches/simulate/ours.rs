//! The coordinator's own planner, in charge of some replica groups.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use coordinator::plan::{
    Condition, History, Holding, LifeLimits, Limits, MovePhase, ShardId, ShardLife, ShardView,
    Size, Snapshot, Tag, TargetView, WhyMoved, plan,
};

use super::fleet::{Fleet, Held};
use super::trace::{JOBS, STEP, Trace, mix};

pub(crate) struct Ours {
    pub(crate) fleets: Vec<Fleet>,
    limits: Limits,
    history: History,
    /// As of the last turn.
    draining: BTreeMap<u32, u32>,
    jobs: Vec<Arc<str>>,
    last_moved: i64,
    /// Why targets moved, and how often.
    pub(crate) causes: BTreeMap<&'static str, u64>,
    /// How each target came to where it is, by group and target.
    pub(crate) came: BTreeMap<(u32, u64), &'static str>,
    /// What the last plan said that it decided.
    pub(crate) decisions: Vec<String>,
    epoch: u64,
    version: u64,
}

/// Of a thousand pushes so many are lost, and so many come after the next one.
const LOST: u64 = 3;
const LATE: u64 = 3;

/// Moves of a target of so many series are told.
const LARGE: u64 = 20_000;

pub(crate) fn limits(capacity: u64) -> Limits {
    Limits {
        max_series: capacity,
        max_samples: 0,
        max_head: 0,
        min_shards: 1,
        max_shards: 1_000,
        scalable: true,
        max_idle: Duration::from_secs(600),
        good_scrapes: 2,
        move_timeout: Duration::from_secs(1_800),
        grace: Duration::from_secs(120),
        moves_per_minute: 600,
        fill_to: 90,
        relieve_to: 95,
        drain_to: 90,
        life: LifeLimits::default(),
    }
}

impl Ours {
    pub(crate) fn new(groups: usize, limits: Limits) -> Self {
        let minimum = limits.min_shards as usize;
        Self {
            fleets: (0..groups).map(|_| Fleet::new(minimum)).collect(),
            limits,
            history: History::default(),
            draining: BTreeMap::new(),
            jobs: (0..JOBS).map(|job| Arc::from(format!("job-{job}"))).collect(),
            last_moved: 0,
            causes: BTreeMap::new(),
            came: BTreeMap::new(),
            decisions: Vec::new(),
            epoch: 1,
            version: 0,
        }
    }

    pub(crate) fn step(&mut self, trace: &Trace) {
        for (group, fleet) in self.fleets.iter_mut().enumerate() {
            fleet.befall(trace, group as u64);
        }
        self.decisions.clear();
        if trace.restarted {
            self.history = History::default();
            (self.epoch, self.version) = (self.epoch + 1, 0);
        }
        if trace.now >= trace.coordinator_back {
            self.turn(trace);
        }
        for fleet in &mut self.fleets {
            fleet.scrape(trace);
        }
    }

    /// The shard of a group that is being emptied: while there is no coordinator, that which the last one emptied.
    pub(crate) fn draining(&self, group: u32) -> Option<usize> {
        self.draining.get(&group).map(|ordinal| *ordinal as usize)
    }

    /// Whether no move has begun for ten minutes.
    pub(crate) fn is_calm(&self, now: i64) -> bool {
        now - self.last_moved > 600
    }

    pub(crate) fn set_minimum(&mut self, shards: usize) {
        self.limits.min_shards = shards as u32;
    }

    fn turn(&mut self, trace: &Trace) {
        let seen = self.snapshot(trace);
        let plan = plan(&seen, &self.limits, &self.history, trace.now * 1_000);
        if !plan.moves.is_empty() {
            self.last_moved = trace.now;
        }
        self.decisions = plan.decisions.iter().map(ToString::to_string).collect();
        let large = plan.moves.iter().filter(|report| report.load > LARGE);
        self.decisions.extend(large.map(|report| {
            let phase = cause(&report.phase).unwrap_or("finished");
            format!("large: {} from {} to {}, {phase}", report.load, report.from, report.to)
        }));
        let large = plan.placed.iter().filter(|(_, _, load)| *load > LARGE);
        self.decisions
            .extend(large.map(|(_, shard, load)| format!("large: {load} placed on {shard}")));
        for report in &plan.moves {
            if let Some(cause) = cause(&report.phase) {
                *self.causes.entry(cause).or_default() += 1;
                self.came.insert((report.group, report.target), cause);
            }
        }
        for (target, shard, _) in &plan.placed {
            self.came.insert((shard.group, *target), "placed");
        }
        for (id, desired) in &plan.shards {
            let shard = &mut self.fleets[id.group as usize].shards[id.ordinal as usize];
            if !shard.is_up(trace.now) {
                continue;
            }
            self.version += 1;
            let number = (self.epoch, self.version);
            let late = shard.late.take();
            match mix(trace.now as u64 ^ (self.version << 32)) % 1_000 {
                fate if fate < LOST => {}
                fate if fate < LOST + LATE => shard.late = Some((number, desired.clone())),
                _ => assert!(shard.assign(number, desired), "a push in order is taken"),
            }
            if let Some((number, desired)) = late {
                shard.assign(number, &desired);
            }
        }
        for (fleet, count) in self.fleets.iter_mut().zip(&plan.shard_counts) {
            fleet.resize(*count as usize, trace.now);
        }
        self.history = plan.history;
        self.draining.clone_from(&self.history.draining);
    }

    fn snapshot(&self, trace: &Trace) -> Snapshot {
        // Discovery that has not answered since the restart is not an answer.
        let silent = [trace.slow_job, trace.silent_job];
        let found = trace.targets.iter().filter(|(_, t)| !silent.contains(&Some(t.job)));
        let targets = found.map(|(id, target)| TargetView {
            id,
            job: Arc::clone(&self.jobs[target.job]),
            // The trial scrape takes a turn.
            size: if trace.now - target.born < STEP {
                Size::Unknown
            } else {
                Size::Counted(target.series)
            },
            tag: Tag::default(),
            interval_ms: 0,
            churn: 0,
        });
        let held_jobs: BTreeSet<Arc<str>> =
            silent.iter().flatten().map(|job| Arc::clone(&self.jobs[*job])).collect();
        let shards = (0u32..).zip(&self.fleets).flat_map(|(group, fleet)| {
            (0u32..)
                .zip(&fleet.shards)
                .map(move |(ordinal, shard)| (ShardId { group, ordinal }, shard))
        });
        let shards = shards.map(|(id, shard)| {
            let condition = match shard.down {
                Some(since) => Condition::Unreachable { since: since * 1_000 },
                None if shard.is_up(trace.now) => Condition::Ready,
                None => Condition::Starting { since: shard.born * 1_000 },
            };
            let holding = |(id, held): &(u64, Held)| Holding {
                target: *id,
                job: Arc::clone(
                    trace.targets.get(*id).map_or(&self.jobs[0], |t| &self.jobs[t.job]),
                ),
                state: held.state,
                series: trace.targets.get(*id).map_or(0, |target| target.series),
                interval_ms: 0,
                churn: 0,
                scrapes: held.scrapes,
                good_scrapes: held.good,
                down: held.scrapes > 0 && held.good == 0,
            };
            let capacity = self.limits.max_series;
            let holdings = shard.held.iter().map(holding).collect();
            let life = ShardLife { silent: !shard.is_up(trace.now), ..ShardLife::default() };
            ShardView { id, capacity, condition, known: true, holdings, life }
        });
        Snapshot {
            targets: targets.collect(),
            shards: shards.collect(),
            groups: self.fleets.len() as u32,
            held_jobs,
            ..Snapshot::default()
        }
    }
}

/// Why a target moved, in a word or two; `None` for what is no move of its own.
fn cause(phase: &MovePhase) -> Option<&'static str> {
    match phase {
        MovePhase::Begun(why) => Some(match why {
            WhyMoved::Overload { .. } => "overload",
            WhyMoved::Drain => "drain",
            WhyMoved::Balance { .. } => "balance",
            WhyMoved::Quarantine => "quarantine",
            WhyMoved::Room { .. } => "room",
            WhyMoved::SameOrdinal => "same ordinal",
            WhyMoved::Pinned { .. } | WhyMoved::Apart { .. } | WhyMoved::Yield { .. } => "rule",
        }),
        MovePhase::Evacuated => Some("evacuated"),
        MovePhase::RolledBack { .. } => Some("rolled back"),
        MovePhase::Deduplicated => Some("deduplicated"),
        MovePhase::Finished { .. } => None,
    }
}
