//! What the coordinator and people are told: the assignment beside what was seen of it. Pure but for reading the latest
//! of both.

use std::sync::Arc;

use proto::coordination::target_report::Health as WireHealth;
use proto::coordination::{
    self as wire, ReportRequest, ReportResponse, TargetColumns, TargetReport, TargetState, engine,
};
use serde::Serialize;
use tokio::sync::watch;

use crate::assignment::Target;
use crate::observe::Score;
use crate::owner::Held;
use crate::poll::{EngineState, Observed};
use crate::prometheus::Health;

/// The latest of both sides. Cloneable.
#[derive(Debug, Clone)]
pub(crate) struct Views {
    pub(crate) held: watch::Receiver<Arc<Held>>,
    pub(crate) observed: watch::Receiver<Arc<Observed>>,
}

impl Views {
    fn latest(&self) -> (Arc<Held>, Arc<Observed>) {
        (Arc::clone(&self.held.borrow()), Arc::clone(&self.observed.borrow()))
    }

    /// For the coordinator, as it asks for it.
    pub(crate) fn report(&self, asked: &ReportRequest) -> ReportResponse {
        let (held, observed) = self.latest();
        report(&held, &observed, asked)
    }

    /// For people.
    pub(crate) fn summary(&self) -> Summary {
        let (held, observed) = self.latest();
        summary(&held, &observed)
    }
}

/// Without labels where these are known: they are most of a report. Then in columns, too, for who takes them.
fn report(held: &Held, observed: &Observed, asked: &ReportRequest) -> ReportResponse {
    let assignment = &held.assignment;
    let without_labels = asked.known_digest != 0 && asked.known_digest == assignment.digest();
    let ready = observed.engine.state == EngineState::Ready;
    let said = |target| report_target(observed.scores.of(target), ready);
    let in_columns = without_labels && asked.columns;
    let columns = in_columns.then(|| TargetColumns::of(assignment.targets.iter().map(said)));
    let each = assignment.targets.iter().filter(|_| !in_columns);
    ReportResponse {
        epoch: assignment.epoch,
        version: assignment.version,
        config_hash: assignment.config_hash().to_owned(),
        targets: each
            .map(|target| TargetReport {
                target: Some(wire_target(target, without_labels)),
                ..said(target)
            })
            .collect(),
        engine: Some(report_engine(held, observed)),
        protocol: proto::push::PROTOCOL,
        stop: Some(assignment.stop.clone()),
        without_labels,
        columns,
    }
}

fn wire_target(target: &Target, without_labels: bool) -> wire::Target {
    if !without_labels {
        return wire::Target::from(target);
    }
    let Target { id, series, churn_per_hour, .. } = *target;
    wire::Target {
        id,
        state: target.state.into(),
        series,
        churn_per_hour,
        ..wire::Target::default()
    }
}

/// While Prometheus is not there, no target counts as healthy or proven, whatever was seen before; sizes and churn stay.
fn report_target(score: Score, ready: bool) -> TargetReport {
    let health = match score.health {
        Health::Up if ready => WireHealth::Up,
        Health::Down if ready => WireHealth::Down,
        _ => WireHealth::Unknown,
    };
    TargetReport {
        target: None,
        health: health.into(),
        last_error: score.last_error,
        last_scrape_ms: score.last_scrape.map_or(0, |time| time.as_millisecond()),
        last_scrape_duration_seconds: score.last_scrape_duration_seconds,
        scrapes: score.scrapes,
        good_scrapes: if ready { score.good_scrapes } else { 0 },
        samples_scraped: score.size.scraped,
        samples_post_relabel: score.size.post_relabel,
        churn_per_hour: score.churn.per_hour(),
    }
}

fn report_engine(held: &Held, observed: &Observed) -> wire::Engine {
    let engine = &observed.engine;
    let state = match engine.state {
        EngineState::Unreachable => engine::State::Unreachable,
        EngineState::Starting => engine::State::Starting,
        EngineState::Ready => engine::State::Ready,
    };
    wire::Engine {
        state: state.into(),
        head_series: engine.head_series,
        memory_bytes: engine.memory_bytes,
        config_error: held.config_error.clone(),
        wal_replay_current: engine.wal_replay.0,
        wal_replay_max: engine.wal_replay.1,
        version: engine.version.clone(),
        process_start_ms: engine.process_start_ms,
    }
}

/// `data` of `/api/v1/shard`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Summary {
    epoch: u64,
    version: u64,
    config_hash: String,
    config_error: String,
    /// What the emergency switch keeps from being scraped; an empty job is all of them.
    stopped: Vec<Stopped>,
    targets: TargetCounts,
    engine: EngineSummary,
}

#[derive(Debug, Serialize)]
struct Stopped {
    job: String,
    reason: String,
}

#[derive(Debug, Default, Serialize)]
struct TargetCounts {
    total: usize,
    active: usize,
    leaving: usize,
    joining: usize,
    up: usize,
    down: usize,
    unknown: usize,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct EngineSummary {
    state: &'static str,
    version: String,
    head_series: u64,
    memory_bytes: u64,
    wal_replay_current: u64,
    wal_replay_max: u64,
}

fn summary(held: &Held, observed: &Observed) -> Summary {
    let report = report(held, observed, &ReportRequest::default());
    let mut counts = TargetCounts { total: report.targets.len(), ..TargetCounts::default() };
    for target in &report.targets {
        match target.health() {
            WireHealth::Up => counts.up += 1,
            WireHealth::Down => counts.down += 1,
            WireHealth::Unknown | WireHealth::Unspecified => counts.unknown += 1,
        }
    }
    for target in &held.assignment.targets {
        match target.state {
            TargetState::Leaving => counts.leaving += 1,
            TargetState::Joining => counts.joining += 1,
            TargetState::Active | TargetState::Unspecified => counts.active += 1,
        }
    }
    let engine = &observed.engine;
    let stops = held.assignment.stop.stops.iter();
    Summary {
        epoch: report.epoch,
        version: report.version,
        config_hash: report.config_hash,
        config_error: held.config_error.clone(),
        stopped: stops
            .map(|stop| Stopped { job: stop.job.clone(), reason: stop.reason.clone() })
            .collect(),
        targets: counts,
        engine: EngineSummary {
            state: match engine.state {
                EngineState::Unreachable => "unreachable",
                EngineState::Starting => "starting",
                EngineState::Ready => "ready",
            },
            version: engine.version.clone(),
            head_series: engine.head_series,
            memory_bytes: engine.memory_bytes,
            wal_replay_current: engine.wal_replay.0,
            wal_replay_max: engine.wal_replay.1,
        },
    }
}
