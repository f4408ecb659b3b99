//! What discovery has found, relabelled: the targets that are to be scraped.

pub(crate) mod names;
pub(crate) mod recall;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use discovery::{JobGroups, JobState};
use model::Labels;
use promconf::target::{Populated, Target, populate_group};

use names::Memory;

/// Dropped targets that are remembered a job; of the rest only the number.
const DROPPED_KEPT: usize = 1_000;

/// Targets that could not be made from their labels, remembered a job.
const ERRORS_KEPT: usize = 20;

/// All jobs' targets.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Ascending and distinct by id.
    pub(crate) targets: Vec<FoundTarget>,
    /// Dropped by relabelling, a bounded number a job.
    pub(crate) dropped: Vec<(Arc<str>, Labels)>,
    pub(crate) dropped_counts: BTreeMap<Arc<str>, usize>,
    /// Jobs of which shards keep what they hold, whatever was found.
    pub(crate) held_jobs: BTreeSet<Arc<str>>,
    /// What discovery or relabelling complains of, by job.
    pub(crate) errors: BTreeMap<Arc<str>, Vec<String>>,
}

/// A target with its job's name, which all targets of the job share.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct FoundTarget {
    pub(crate) job: Arc<str>,
    pub(crate) target: Arc<Target>,
    /// See [`promconf::target::identity`]; its id as a rule.
    identity: u64,
}

impl FoundTarget {
    /// As it comes out of relabelling.
    fn new(job: &Arc<str>, target: Target) -> Self {
        Self { job: Arc::clone(job), identity: target.id, target: Arc::new(target) }
    }
}

impl Found {
    /// The same, with the ids that are remembered; `is_held` knows the ids that some shard holds.
    pub(crate) fn renamed(&self, memory: &Memory, is_held: impl Fn(u64) -> bool) -> Self {
        let mut targets = self.targets.clone();
        names::assign_again(&mut targets, memory, self, is_held);
        Self {
            targets,
            dropped: self.dropped.clone(),
            dropped_counts: self.dropped_counts.clone(),
            held_jobs: self.held_jobs.clone(),
            errors: self.errors.clone(),
        }
    }

    /// The target of an id.
    pub(crate) fn get(&self, id: u64) -> Option<&FoundTarget> {
        let at = self.targets.binary_search_by_key(&id, |found| found.target.id).ok()?;
        self.targets.get(at)
    }
}

/// Makes targets of groups. `complete` are the jobs whose discovery has answered in full at some time since the
/// configuration was loaded: they get more. `before` is what was found last, `memory` the ids in use.
pub(crate) fn find(
    config: &promconf::Config,
    groups: &[JobGroups],
    complete: &mut HashSet<String>,
    before: &Found,
    memory: &Memory,
) -> Found {
    let by_job: HashMap<&str, &JobGroups> =
        groups.iter().map(|groups| (groups.job.as_str(), groups)).collect();
    let mut found = Found::default();
    for job in &config.scrape_configs {
        let name: Arc<str> = Arc::from(job.job_name.as_str());
        let Some(groups) = by_job.get(job.job_name.as_str()) else {
            // Discovery does not know of the new configuration yet.
            found.held_jobs.insert(name);
            continue;
        };
        match &groups.state {
            JobState::Complete => {
                complete.insert(job.job_name.clone());
            }
            JobState::Pending => {
                found.held_jobs.insert(Arc::clone(&name));
            }
            JobState::Partial { errors } => {
                // Once it was complete, what it misses now has its last good answer.
                if !complete.contains(&job.job_name) {
                    found.held_jobs.insert(Arc::clone(&name));
                }
                found.errors.insert(Arc::clone(&name), errors.clone());
            }
        }
        for group in &groups.groups {
            found.add(&name, populate_group(job, group));
        }
    }
    names::assign(&mut found.targets, memory, before);
    found
}

impl Found {
    fn add<E: std::fmt::Display>(&mut self, job: &Arc<str>, populated: Vec<Result<Populated, E>>) {
        for target in populated {
            match target {
                Ok(Populated::Active(target)) => {
                    self.targets.push(FoundTarget::new(job, target));
                }
                Ok(Populated::Dropped { discovered }) => {
                    let count = self.dropped_counts.entry(Arc::clone(job)).or_default();
                    *count += 1;
                    if *count <= DROPPED_KEPT {
                        self.dropped.push((Arc::clone(job), discovered));
                    }
                }
                Err(cause) => {
                    let errors = self.errors.entry(Arc::clone(job)).or_default();
                    if errors.len() < ERRORS_KEPT {
                        errors.push(cause.to_string());
                    }
                }
            }
        }
    }
}
