//! What weighs on shards beyond series: samples a second, and what their heads hold of the past.

use proto::coordination::{TargetState, engine};

use super::Cycle;
use super::observe::Reports;
use super::tags::millis;
use crate::headroom::{Caps, Look};
use crate::plan::{MovePhase, MoveReport, Plan, SERIES_PER_SCRAPE, ShardId, Size, ended};
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
            // What is on its way to a shard was noted already, and is not in its report.
            let certain = reports.get(&endpoint.id).filter(|seen| seen.is_certain());
            let look = certain.and_then(|seen| self.look(&seen.report));
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

    /// Remembers what moves take off shards, and what they bring: heads keep the one for a while, and have nothing of
    /// the other yet.
    pub(super) fn note_departed(&mut self, plan: &Plan, now: i64) {
        if self.caps == Caps::default() {
            return;
        }
        for (target, to, _) in &plan.placed {
            self.arrive(*target, *to, now);
        }
        for report in &plan.moves {
            let (&MoveReport { target, from, to, .. }, ended) = (report, self.ended(report.target));
            let (left, ended) = match report.phase {
                MovePhase::Begun(_) => continue,
                // It was not there for long.
                MovePhase::RolledBack { .. } => (to, 0),
                MovePhase::Deduplicated => (from, ended),
                MovePhase::Finished { .. } | MovePhase::Evacuated => {
                    self.arrive(target, to, now);
                    (from, ended)
                }
            };
            let series = match self.sizes.get(&target) {
                Some(Size::Counted(series) | Size::Tentative(series)) => *series,
                Some(Size::Unknown) | None => 0,
            };
            if let Some(track) = self.tracks.get_mut(&left) {
                track.headroom.depart(series.saturating_add(SERIES_PER_SCRAPE), ended, now);
            }
        }
    }

    fn arrive(&mut self, target: u64, to: ShardId, now: i64) {
        let ended = self.ended(target);
        if let Some(track) = self.tracks.get_mut(&to) {
            track.headroom.arrive(ended, now);
        }
    }

    /// Series of a target that have ended and that its weight has in it.
    fn ended(&self, target: u64) -> u64 {
        if self.limits.max_head == 0 { 0 } else { ended(self.churn.of(target)) }
    }

    /// What is seen of a shard whose Prometheus is well.
    fn look(&self, report: &Report) -> Option<Look> {
        let engine = report.engine.as_ref().filter(|it| it.state() == engine::State::Ready)?;
        let mut look =
            Look { head: engine.head_series, memory: engine.memory_bytes, ..Look::default() };
        for held in report.held() {
            let (told, counted) = (held.target.series, held.samples_post_relabel);
            let series = if counted > 0 { counted } else { told };
            let all = series.saturating_add(SERIES_PER_SCRAPE);
            look.active = look.active.saturating_add(all);
            let is_owned = held.target.state != TargetState::Joining;
            let (churn, ended) = match is_owned {
                true => (self.churn.of(held.target.id), self.ended(held.target.id)),
                false => (0, 0),
            };
            look.ended = look.ended.saturating_add(ended);
            look.weight = look.weight.saturating_add(self.limits.head_load(series, churn));
        }
        Some(look)
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
