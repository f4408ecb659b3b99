//! The guard's memory in a turn: what shards hold against the first answers of discovery.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use tracing::warn;

use super::observe::Reports;
use super::{Cycle, now_ms};
use crate::found::recall::News;

impl Cycle {
    /// Compares first answers with what shards hold.
    pub(super) fn take_doubts(&mut self, reports: &Reports) {
        if !self.recall.is_done() {
            let all_heard = self
                .fleet
                .endpoints
                .iter()
                .all(|endpoint| self.tracks.get(&endpoint.id).is_some_and(|track| track.known));
            let (held, found) = (held_by_job(reports), self.found_by_job());
            for news in self.recall.compare(&held, &found, all_heard, now_ms()) {
                self.teller.tell_doubt(&news);
            }
        }
        self.metrics.discovery_held(self.recall.held().len());
    }

    /// Of each job whose discovery has answered in full.
    fn found_by_job(&self) -> HashMap<Arc<str>, usize> {
        let jobs = self.config.scrape_configs.iter();
        let mut found: HashMap<Arc<str>, usize> =
            jobs.map(|job| (Arc::from(job.job_name.as_str()), 0)).collect();
        for target in &self.found.targets {
            *found.entry(Arc::clone(&target.job)).or_default() += 1;
        }
        found.retain(|job, _| !self.found.held_jobs.contains(job));
        found
    }

    /// Jobs of which shards keep what they hold, whatever was found.
    pub(super) fn held_jobs(&self) -> BTreeSet<Arc<str>> {
        self.found.held_jobs.union(&self.recall.held()).cloned().collect()
    }
}

/// How many targets shards hold of each job.
fn held_by_job(reports: &Reports) -> HashMap<Arc<str>, usize> {
    let mut ids: HashMap<&str, Vec<u64>> = HashMap::new();
    for held in reports.values().flat_map(|seen| &*seen.report.targets) {
        ids.entry(&held.job).or_default().push(held.id);
    }
    let distinct = |(job, mut ids): (&str, Vec<u64>)| {
        ids.sort_unstable();
        ids.dedup();
        (Arc::from(job), ids.len())
    };
    ids.into_iter().map(distinct).collect()
}

impl super::tell::Teller {
    pub(super) fn tell_doubt(&self, news: &News) {
        let (message, kind) = match news {
            News::Held { job, held, found } => {
                warn!(%job, held, found, "holding the first answer of discovery, shards hold more");
                let text =
                    format!("discovery of job {job} has {found} targets, shards hold {held}");
                (format!("{text}: they keep them for now"), "discovery_held")
            }
            News::Believed { job, held, found } => {
                warn!(%job, held, found, "believing a discovery answer after its grace time");
                let text = format!("discovery of job {job} still has {found} targets of {held}");
                (format!("{text}: it is believed"), "discovery_believed")
            }
        };
        self.tell_event(kind, message);
    }
}
