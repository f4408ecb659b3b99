//! Ids that shards hold: taken over once from each shard, so that a restart, or a start of this version beside shards
//! that were assigned by one that derived ids from labels, changes no id.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::Cycle;
use super::apply::is_as_found;
use super::observe::Reports;
use crate::found::names::{Memory, Named};
use crate::plan::ShardId;
use crate::shard::told::{Report, Told};

/// What is still to be taken over.
#[derive(Debug, Default)]
pub(super) struct Naming {
    /// Shards that have said what they hold, at which address.
    heard: HashMap<ShardId, String>,
    /// What they hold of jobs whose discovery has not answered in full.
    pub(super) waiting: Vec<Named>,
}

impl Cycle {
    /// Takes over the ids that shards hold which have reported for the first time.
    pub(super) fn take_names(&mut self, reports: &Reports) {
        let mut news = Vec::new();
        for endpoint in &self.fleet.endpoints {
            let Some(seen) = reports.get(&endpoint.id).filter(|seen| seen.current) else {
                continue;
            };
            let before = self.naming.heard.insert(endpoint.id, endpoint.sidecar.clone());
            if before.as_ref() == Some(&endpoint.sidecar) {
                continue;
            }
            let is_news = |held: &&Told| {
                !self.found.get(held.id).is_some_and(|found| is_as_found(held, found))
            };
            news.extend(targets(&seen.report).filter(is_news).map(named));
        }
        let fleet = Arc::clone(&self.fleet);
        let exists = |id| fleet.endpoints.binary_search_by_key(&id, |endpoint| endpoint.id).is_ok();
        self.naming.heard.retain(|id, _| exists(*id));
        if !news.is_empty() {
            // An id that was found and that nobody holds may still change.
            let held: HashSet<u64> = reports
                .values()
                .flat_map(|seen| targets(&seen.report))
                .map(|held| held.id)
                .collect();
            let settled = self.found.targets.iter().filter(|found| held.contains(&found.id()));
            let memory = Memory::of(&self.config, self.found.config.as_deref(), settled, &news);
            self.set_found(self.found.renamed(&memory, |id| held.contains(&id)));
            self.naming.waiting.extend(news);
            self.forget_names();
        }
    }

    /// Forgets ids of jobs of which everything is found.
    pub(super) fn forget_names(&mut self) {
        let known: HashSet<&str> =
            self.config.scrape_configs.iter().map(|job| job.job_name.as_str()).collect();
        let held = &self.found.held_jobs;
        self.naming
            .waiting
            .retain(|named| known.contains(&*named.job) && held.contains(&named.job));
    }
}

fn targets(report: &Report) -> impl Iterator<Item = &Told> {
    report.targets.iter()
}

fn named(target: &Told) -> Named {
    Named { id: target.id, job: Arc::clone(&target.job), labels: target.labels.clone() }
}
