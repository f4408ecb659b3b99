//! What weighs on shards beyond series: samples a second, and what their heads hold of the past.

use proto::coordination::engine;

use super::Cycle;
use super::observe::Reports;
use super::tags::millis;
use crate::headroom::{Caps, Look};
use crate::plan::{MovePhase, Plan, SERIES_PER_SCRAPE, ShardId};
use crate::shard::Endpoint;
use crate::shard::told::{Report, Told};

impl Cycle {
    /// Looks at what the Prometheus of each shard holds, where that is limited.
    pub(super) fn take_headroom(&mut self, reports: &Reports, now: i64) {
        if self.caps == Caps::default() {
            return;
        }
        for endpoint in &self.fleet.endpoints {
            let base = self.max_series_of(endpoint);
            let current = reports.get(&endpoint.id).filter(|seen| seen.current);
            let look = current.and_then(|seen| look(&seen.report));
            let track = self.tracks.get_mut(&endpoint.id);
            if let (Some(look), Some(track)) = (look, track) {
                track.headroom.see(look, self.caps, base, now);
            }
        }
    }

    /// What a shard may hold as configured.
    pub(super) fn max_series_of(&self, endpoint: &Endpoint) -> u64 {
        endpoint.max_series.unwrap_or(self.limits.max_series)
    }

    /// Remembers what moves take off shards: their heads keep it for a while.
    pub(super) fn note_departed(&mut self, plan: &Plan, now: i64) {
        if self.caps == Caps::default() {
            return;
        }
        for report in &plan.moves {
            let left: ShardId = match report.phase {
                MovePhase::Begun(_) => continue,
                MovePhase::RolledBack { .. } => report.to,
                MovePhase::Finished { .. } | MovePhase::Evacuated | MovePhase::Deduplicated => {
                    report.from
                }
            };
            if let Some(track) = self.tracks.get_mut(&left) {
                track.headroom.depart(report.load, now);
            }
        }
    }

    /// How often a target is scraped that discovery does not know (yet), in milliseconds; 0 where that does not count.
    pub(super) fn interval_of_held(&self, target: &Told) -> u32 {
        if self.limits.max_samples == 0 {
            return 0;
        }
        let own = target.labels.value(promconf::target::SCRAPE_INTERVAL);
        let jobs = &self.config.scrape_configs;
        let of_job = || {
            let job = jobs.iter().find(|job| *job.job_name == *target.job);
            job.map(|job| job.scrape_interval)
        };
        model::duration::parse(own).ok().or_else(of_job).map_or(0, millis)
    }
}

/// What is seen of a shard whose Prometheus is well.
fn look(report: &Report) -> Option<Look> {
    let engine = report.engine.as_ref().filter(|it| it.state() == engine::State::Ready)?;
    let active = report.held().map(|held| {
        let told = held.target.series;
        let counted = held.samples_post_relabel;
        (if counted > 0 { counted } else { told }).saturating_add(SERIES_PER_SCRAPE)
    });
    let active = active.fold(0, u64::saturating_add);
    Some(Look { head: engine.head_series, memory: engine.memory_bytes, active })
}
