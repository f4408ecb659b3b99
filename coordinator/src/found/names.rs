//! Which id a found target has. Pure.
//!
//! What a target is follows from what is requested of whom: its job and its URL ([`promconf::target::identity`]). So a
//! target whose labels change is still the same, and is changed in place on the shard that has it. Where targets of a
//! job share that and differ in labels alone, all of them stay, as in Prometheus; who is who then rests on what was
//! known before: the same labels keep their id, then what is left is paired in order of labels. For the same reason an
//! id that a shard holds from an earlier version, which derived ids from labels, stays in use. [`succession`] lets a
//! target keep its id when its URL changes with the configuration.

mod succession;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use model::Labels;
use promconf::target::identity;
use promconf::{Config, ScrapeConfig};
use xxhash_rust::xxh64::xxh64;

use super::{Found, FoundTarget};
pub(crate) use succession::only_in;

/// A target under the id that it has had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) id: u64,
    pub(crate) job: Arc<str>,
    pub(crate) labels: Labels,
}

/// Ids in use that do not follow from targets alone, by identity.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    by_identity: HashMap<u64, Vec<(u64, Labels)>>,
    /// What shards hold.
    held: Vec<Named>,
}

impl Memory {
    /// From what was found last, with which configuration, and from what shards hold.
    pub(crate) fn of<'a>(
        config: &Config,
        found_with: Option<&Config>,
        before: impl Iterator<Item = &'a FoundTarget>,
        held: &'a [Named],
    ) -> Self {
        let jobs: HashMap<&str, &ScrapeConfig> =
            config.scrape_configs.iter().map(|job| (job.job_name.as_str(), job)).collect();
        let identity_of = |job: &str, labels: &Labels| {
            jobs.get(job).map(|known| identity(job, labels, &known.params))
        };
        let mut all: Vec<(u64, u64, &Labels)> = Vec::new();
        // Shards first: what was found just after a restart has ids that nobody holds yet.
        for named in held {
            let key = identity_of(&named.job, &named.labels);
            all.extend(key.map(|key| (key, named.id, &named.labels)));
        }
        let same_config = found_with.is_some_and(|known| std::ptr::eq(known, config));
        for found in before {
            let key = match same_config {
                true => Some(found.identity),
                false => jobs.get(&*found.job).map(|job| found.identity_with(job)),
            };
            all.extend(key.map(|key| (key, found.id, &found.target.labels)));
        }
        // Where every id is the identity there is nothing to remember.
        let odd: HashSet<u64> =
            all.iter().filter(|(key, id, _)| key != id).map(|(key, ..)| *key).collect();
        let mut memory = Self { held: held.to_vec(), ..Self::default() };
        let mut known = HashSet::new();
        for (key, id, labels) in all.into_iter().filter(|(key, ..)| odd.contains(key)) {
            if known.insert(id) {
                memory.by_identity.entry(key).or_default().push((id, labels.clone()));
            }
        }
        memory
    }
}

/// Gives every target its id; what is equal in everything stays once. Ascending by id afterwards. `before` is what was
/// found last.
pub(super) fn assign(targets: &mut Vec<FoundTarget>, memory: &Memory, before: &Found) {
    name(targets, memory, before);
    let held: HashSet<u64> = memory.held.iter().map(|named| named.id).collect();
    succession::succeed(targets, &before.targets, &memory.held, |id| held.contains(&id));
}

/// The same for what was found already, once shards have said what they hold; `is_held` knows all of that.
pub(super) fn assign_again(
    targets: &mut Vec<FoundTarget>,
    memory: &Memory,
    before: &Found,
    is_held: impl Fn(u64) -> bool,
) {
    name(targets, memory, before);
    succession::succeed(targets, &[], &memory.held, is_held);
}

/// Ids that are remembered come first: a target whose own one is in use for another gets a further one.
fn name(targets: &mut Vec<FoundTarget>, memory: &Memory, before: &Found) {
    targets.sort_by(|a, b| (a.identity, &a.target.labels).cmp(&(b.identity, &b.target.labels)));
    // Prometheus, too, scrapes equal targets of a job once.
    targets.dedup_by(|a, b| a.identity == b.identity && a.target.labels == b.target.labels);
    let mut used = HashSet::new();
    if !memory.by_identity.is_empty() {
        for same in targets.chunk_by_mut(|a, b| a.identity == b.identity) {
            if let Some(known) = memory.by_identity.get(&same[0].identity) {
                assign_among(same, known.clone(), &mut used);
            }
        }
    }
    for same in targets.chunk_by_mut(|a, b| a.identity == b.identity) {
        let key = same[0].identity;
        match same {
            _ if memory.by_identity.contains_key(&key) => {}
            [one] if !used.contains(&key) => one.rename(key),
            same => {
                let known = before.get(key).filter(|found| found.identity == key);
                let known = known.map(|found| (key, found.target.labels.clone()));
                let known = known.filter(|(id, _)| !used.contains(id));
                assign_among(same, known.into_iter().collect(), &mut used);
            }
        }
    }
    targets.sort_by_key(|found| found.id);
    targets.dedup_by_key(|found| found.id);
}

/// Among targets of one identity, ascending by labels; notes the ids in `used`.
fn assign_among(
    targets: &mut [FoundTarget],
    mut known: Vec<(u64, Labels)>,
    used: &mut HashSet<u64>,
) {
    let Some(key) = targets.first().map(|found| found.identity) else { return };
    // Ids in order of preference: the plain one first.
    known.sort_by_key(|(id, _)| (*id != key, *id));
    used.extend(known.iter().map(|(id, _)| *id));
    let mut rest = Vec::new();
    for target in targets {
        match known.iter().position(|(_, labels)| *labels == target.target.labels) {
            Some(at) => target.rename(known.remove(at).0),
            None => rest.push(target),
        }
    }
    if rest.len() > 1 {
        known.sort_by(|(_, a), (_, b)| a.cmp(b));
    }
    let mut known = known.into_iter();
    let mut fresh = (0_u64..).map(|n| if n == 0 { key } else { xxh64(&n.to_le_bytes(), key) });
    for target in rest {
        let id = known.next().map(|(id, _)| id);
        let id = id.or_else(|| fresh.find(|id| used.insert(*id)));
        target.rename(id.unwrap_or(key));
    }
}

impl FoundTarget {
    /// Its identity with another configuration of its job.
    fn identity_with(&self, job: &ScrapeConfig) -> u64 {
        if *self.target.params == job.params {
            return self.identity;
        }
        identity(&job.job_name, &self.target.labels, &job.params)
    }

    fn rename(&mut self, id: u64) {
        if self.id != id {
            self.id = id;
            Arc::make_mut(&mut self.target).id = id;
        }
    }
}
