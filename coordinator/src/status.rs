//! What the API shows: the world as the last cycle saw it.

use std::collections::HashMap;
use std::sync::Arc;

use proto::coordination::StopScrape;
use proto::coordination::engine;

use crate::found::Found;
use crate::plan::{History, Limits, ShardId, Snapshot, Unassigned};
use crate::shard::Endpoint;
use crate::shard::told::{Held, Report};

/// The world as the last cycle saw it.
#[derive(Debug, Default)]
pub(crate) struct Status {
    pub(crate) found: Arc<Found>,
    /// What the last plan rested on, with the sizes of the targets.
    pub(crate) seen: Snapshot,
    pub(crate) basis: Basis,
    pub(crate) shards: Vec<ShardStatus>,
    pub(crate) unassigned: Vec<Unassigned>,
    /// The last failed trial scrape of targets that are not counted yet.
    pub(crate) trial_errors: HashMap<u64, String>,
    /// What is not scraped for now.
    pub(crate) stop: Arc<StopScrape>,
}

/// What else a plan rests on.
#[derive(Debug, Clone, Default)]
pub(crate) struct Basis {
    pub(crate) limits: Limits,
    /// After the last plan.
    pub(crate) history: History,
    /// When it was made, in milliseconds since the epoch.
    pub(crate) now: i64,
}

/// A shard as the last cycle saw it.
#[derive(Debug)]
pub(crate) struct ShardStatus {
    pub(crate) endpoint: Endpoint,
    /// As configured.
    pub(crate) max_series: u64,
    /// What it may hold now, and what it holds, as planned with: in series, and with samples a second and what its head
    /// holds of the past where these are limited.
    pub(crate) capacity: u64,
    pub(crate) load: u64,
    /// While it is ready its rung on the ladder (`active`, `draining`, `empty`, `shipping`, `shipped`, `removable`), else
    /// what is wrong with it: `starting`, `engine_down`, `agent_down`, `unreachable`, `lost`, `quarantined`.
    pub(crate) state: &'static str,
    /// `ready`, `starting`, `unreachable`.
    pub(crate) engine: &'static str,
    /// Series of what it holds.
    pub(crate) series: u64,
    /// Series of it that end an hour, as planned with.
    pub(crate) churn: u64,
    /// How often its Prometheus was seen to start anew lately.
    pub(crate) restarts: usize,
    pub(crate) report: Option<Arc<Report>>,
    pub(crate) error: Option<String>,
}

impl ShardStatus {
    /// All values of its state.
    pub(crate) const STATES: [&'static str; 12] = [
        "active",
        "draining",
        "empty",
        "shipping",
        "shipped",
        "removable",
        "starting",
        "engine_down",
        "agent_down",
        "unreachable",
        "lost",
        "quarantined",
    ];
}

impl Status {
    /// What shards say of each target, in order of shard.
    pub(crate) fn reports(&self) -> HashMap<u64, Vec<(ShardId, Held<'_>)>> {
        let mut reports: HashMap<u64, Vec<(ShardId, Held<'_>)>> = HashMap::new();
        for shard in &self.shards {
            let held = shard.report.iter().flat_map(|report| report.held());
            for held in held {
                reports.entry(held.target.id).or_default().push((shard.endpoint.id, held));
            }
        }
        reports
    }
}

/// A shard's Prometheus, in a word.
pub(crate) fn engine_name(report: Option<&Report>) -> &'static str {
    let engine = report.and_then(|report| report.engine.as_ref());
    match engine.map_or(engine::State::Unspecified, |engine| engine.state()) {
        engine::State::Ready => "ready",
        engine::State::Starting => "starting",
        engine::State::Unreachable | engine::State::Unspecified => "unreachable",
    }
}
