//! What discovery has found, relabelled: the targets that are to be scraped.

pub(crate) mod names;
pub(crate) mod recall;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use discovery::{JobGroups, JobState};
use model::Labels;
use promconf::TargetGroup;
use promconf::target::{Populated, Populator, Target};

use names::Memory;

/// Dropped targets that are remembered a job; of the rest only the number.
const DROPPED_KEPT: usize = 1_000;

/// Targets that could not be made from their labels, remembered a job.
const ERRORS_KEPT: usize = 20;

/// All jobs' targets.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// What it was found with.
    pub(crate) config: Option<Arc<promconf::Config>>,
    /// Ascending and distinct by id.
    pub(crate) targets: Vec<FoundTarget>,
    /// The ids of these, one beside the other: a search in a million of them would wait for memory at each step.
    ids: Vec<u64>,
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
    /// That of the target, to be at hand.
    id: u64,
    /// Where it comes from: a group of discovery, which its targets share, and the place of its address there. The labels
    /// before relabelling follow from that; with them, a target would take three times the memory.
    group: Arc<TargetGroup>,
    at: u32,
    /// See [`promconf::target::identity`]; its id as a rule.
    identity: u64,
}

impl FoundTarget {
    /// As it comes out of relabelling.
    fn new(target: Target, group: &Arc<TargetGroup>, at: u32) -> Self {
        let (job, id) = (Arc::clone(&target.job), target.id);
        Self { job, id, identity: id, target: Arc::new(target), group: Arc::clone(group), at }
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// What discovery has said: an address, and the labels of its group.
    pub(crate) fn discovered(&self) -> (&str, &BTreeMap<String, String>) {
        let address = self.group.targets.get(self.at as usize);
        (address.map_or("", String::as_str), &self.group.labels)
    }
}

impl Found {
    /// With nothing but these, which ascend by id.
    fn of(targets: Vec<FoundTarget>) -> Self {
        let ids = targets.iter().map(|found| found.id).collect();
        Self { targets, ids, ..Self::default() }
    }

    /// The same, with the ids that are remembered; `is_held` knows the ids that some shard holds.
    pub(crate) fn renamed(&self, memory: &Memory, is_held: impl Fn(u64) -> bool) -> Self {
        let mut targets = self.targets.clone();
        names::assign_again(&mut targets, memory, self, is_held);
        Self {
            config: self.config.clone(),
            dropped: self.dropped.clone(),
            dropped_counts: self.dropped_counts.clone(),
            held_jobs: self.held_jobs.clone(),
            errors: self.errors.clone(),
            ..Self::of(targets)
        }
    }

    /// The target of an id.
    pub(crate) fn get(&self, id: u64) -> Option<&FoundTarget> {
        self.targets.get(self.ids.binary_search(&id).ok()?)
    }

    /// All targets with their ids, ascending by these.
    pub(crate) fn each(&self) -> impl Iterator<Item = (u64, &FoundTarget)> {
        self.ids.iter().copied().zip(&self.targets)
    }

    /// Ids of targets that are new, or not what they were `before`; `None`: of more than one in eight.
    pub(crate) fn changed_since(&self, before: &Self) -> Option<HashSet<u64>> {
        let mut others = before.each().peekable();
        let is_same = |one: &FoundTarget, other: &FoundTarget| {
            (Arc::ptr_eq(&one.target, &other.target) || one.target == other.target)
                && one.job == other.job
        };
        let mut changed = HashSet::new();
        for (id, found) in self.each() {
            while others.next_if(|(other, _)| *other < id).is_some() {}
            let other = others.next_if(|(other, _)| *other == id);
            if !other.is_some_and(|(_, other)| is_same(found, other)) {
                changed.insert(id);
                if changed.len() > self.ids.len() / 8 {
                    return None;
                }
            }
        }
        Some(changed)
    }
}

/// Makes targets of groups. `complete` are the jobs whose discovery has answered in full at some time since the
/// configuration was loaded: they get more. `before` is what was found last, `memory` the ids in use.
pub(crate) fn find(
    config: &Arc<promconf::Config>,
    groups: &[JobGroups],
    complete: &mut HashSet<String>,
    before: &Found,
    memory: &Memory,
) -> Found {
    let by_job: HashMap<&str, &JobGroups> =
        groups.iter().map(|groups| (groups.job.as_str(), groups)).collect();
    let mut found = Found::default();
    let whole = before.whole_groups(config);
    for job in &config.scrape_configs {
        let populator = Populator::new(job);
        let name = Arc::clone(populator.job());
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
            match whole.get(&(&*name, Arc::as_ptr(group))) {
                Some(targets) => found.targets.extend(targets.iter().copied().cloned()),
                None => found.add(&populator, group, before),
            }
        }
    }
    names::assign(&mut found.targets, memory, before);
    let Found { ids, targets, .. } = Found::of(std::mem::take(&mut found.targets));
    Found { config: Some(Arc::clone(config)), ids, targets, ..found }
}

/// What became of groups, by job and group.
type Whole<'a> = HashMap<(&'a str, *const TargetGroup), Vec<&'a FoundTarget>>;

impl Found {
    /// The groups that all became targets, with the same configuration: where discovery still has the very same group
    /// there is nothing to do.
    fn whole_groups(&self, config: &Arc<promconf::Config>) -> Whole<'_> {
        let mut whole = Whole::new();
        if !self.config.as_ref().is_some_and(|known| Arc::ptr_eq(known, config)) {
            return whole;
        }
        for found in &self.targets {
            whole.entry((&*found.job, Arc::as_ptr(&found.group))).or_default().push(found);
        }
        whole.retain(|_, targets| {
            targets.first().is_some_and(|first| first.group.targets.len() == targets.len())
        });
        whole
    }

    /// What is as it was `before` is shared with that.
    fn add(&mut self, populator: &Populator<'_>, group: &Arc<TargetGroup>, before: &Self) {
        let job = populator.job();
        for (address, at) in group.targets.iter().zip(0..) {
            match populator.populate(address, &group.labels) {
                Ok(Populated::Active(target)) => {
                    let known = before.get(target.id).filter(|known| {
                        known.identity == target.id && known.job == *job && *known.target == target
                    });
                    self.targets.push(match known {
                        Some(known) => {
                            FoundTarget { group: Arc::clone(group), at, ..known.clone() }
                        }
                        None => FoundTarget::new(target, group, at),
                    });
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
