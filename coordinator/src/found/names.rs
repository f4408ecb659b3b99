//! Which id a found target has. Pure.
//!
//! What a target is follows from what is requested of whom: its job and its URL ([`promconf::target::identity`]). So a
//! target whose labels change is still the same, and is changed in place on the shard that has it. Where targets of a
//! job share that and differ in labels alone, all of them stay, as in Prometheus; who is who then rests on what was
//! known before: the same labels keep their id, then what is left is paired in order of labels. For the same reason an
//! id that a shard holds from an earlier version, which derived ids from labels, stays in use.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use model::Labels;
use promconf::target::identity;
use promconf::{Config, ScrapeConfig};
use xxhash_rust::xxh64::xxh64;

use super::{Found, FoundTarget};

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
}

impl Memory {
    /// From what was found last, and from what shards hold.
    pub(crate) fn of<'a>(
        config: &Config,
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
        for found in before {
            let labels = &found.target.labels;
            all.extend(identity_of(&found.job, labels).map(|key| (key, found.target.id, labels)));
        }
        // Where every id is the identity there is nothing to remember.
        let odd: HashSet<u64> =
            all.iter().filter(|(key, id, _)| key != id).map(|(key, ..)| *key).collect();
        let mut memory = Self::default();
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
    targets.sort_by(|a, b| (a.identity, &a.target.labels).cmp(&(b.identity, &b.target.labels)));
    // Prometheus, too, scrapes equal targets of a job once.
    targets.dedup_by(|a, b| a.identity == b.identity && a.target.labels == b.target.labels);
    for same in targets.chunk_by_mut(|a, b| a.identity == b.identity) {
        let key = same[0].identity;
        match (memory.by_identity.get(&key), same) {
            (None, [one]) => one.rename(key),
            (Some(known), same) => assign_among(key, same, known.clone()),
            (None, same) => {
                let known = before.get(key).filter(|found| found.identity == key);
                let known = known.map(|found| (key, found.target.labels.clone()));
                assign_among(key, same, known.into_iter().collect());
            }
        }
    }
    targets.sort_by_key(|found| found.target.id);
    targets.dedup_by_key(|found| found.target.id);
}

/// Among targets of one identity, ascending by labels.
fn assign_among(key: u64, targets: &mut [FoundTarget], mut known: Vec<(u64, Labels)>) {
    // Ids in order of preference: the plain one first.
    known.sort_by_key(|(id, _)| (*id != key, *id));
    let mut used: HashSet<u64> = known.iter().map(|(id, _)| *id).collect();
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
    fn rename(&mut self, id: u64) {
        if self.target.id != id {
            Arc::make_mut(&mut self.target).id = id;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use promconf::target::{Populated, populate};

    fn config(params: &str) -> Config {
        let text = format!("scrape_configs:\n- job_name: j\n  params: {{{params}}}\n");
        promconf::parse(&text, Path::new("p.yml")).unwrap()
    }

    fn target(config: &Config, address: &str, env: &str) -> FoundTarget {
        let labels = [("env".to_owned(), env.to_owned())].into();
        match populate(&config.scrape_configs[0], address, &labels).unwrap() {
            Populated::Active(target) => FoundTarget::new(&Arc::from("j"), target),
            Populated::Dropped { .. } => panic!(),
        }
    }

    /// What is found of addresses and their `env`, after `before` and beside what shards hold.
    fn find(config: &Config, list: &[(&str, &str)], before: &Found, held: &[Named]) -> Found {
        let mut targets = list.iter().map(|(address, env)| target(config, address, env)).collect();
        let memory = Memory::of(config, before.targets.iter(), held);
        assign(&mut targets, &memory, before);
        Found { targets, ..Found::default() }
    }

    fn id(found: &Found, env: &str) -> u64 {
        let mut targets = found.targets.iter().map(|found| &found.target);
        targets.find(|target| target.labels.value("env") == env).unwrap().id
    }

    fn held(found: &Found) -> Vec<Named> {
        let named = |found: &FoundTarget| Named {
            id: found.target.id,
            job: Arc::clone(&found.job),
            labels: found.target.labels.clone(),
        };
        found.targets.iter().map(named).collect()
    }

    #[test]
    fn a_target_keeps_its_id_when_its_labels_or_its_jobs_parameters_change() {
        let (plain, other) = (config(""), config("module: [x]"));
        let first = find(&plain, &[("h:1", "prod")], &Found::default(), &[]);
        let second = find(&plain, &[("h:1", "qa")], &first, &[]);
        assert_eq!(id(&first, "prod"), id(&second, "qa"));
        let third = find(&other, &[("h:1", "dev")], &second, &[]);
        assert_eq!(id(&first, "prod"), id(&third, "dev"));
        assert_ne!(third.targets[0].target.id, third.targets[0].identity);
        // Also after a restart, by what the shards hold.
        let restarted = find(&other, &[("h:1", "dev")], &Found::default(), &held(&third));
        assert_eq!(id(&first, "prod"), id(&restarted, "dev"));
    }

    #[test]
    fn targets_that_differ_in_labels_alone_all_stay_and_keep_their_ids() {
        let config = config("");
        let three = [("h:1", "b"), ("h:1", "c"), ("h:1", "d"), ("h:1", "d")];
        let first = find(&config, &three, &Found::default(), &[]);
        assert_eq!(first.targets.len(), 3);
        assert_eq!(id(&first, "b"), first.targets[0].identity);
        // One goes, one comes: the others stay what they are.
        let second = find(&config, &[("h:1", "a"), ("h:1", "c"), ("h:1", "d")], &first, &[]);
        assert_eq!((id(&second, "c"), id(&second, "d")), (id(&first, "c"), id(&first, "d")));
        assert_eq!(id(&second, "a"), id(&first, "b"));
        let third = find(&config, &[("h:1", "d")], &second, &[]);
        assert_eq!(id(&third, "d"), id(&first, "d"));
        let fourth = find(&config, &[("h:1", "d"), ("h:1", "a")], &third, &[]);
        assert_eq!(id(&fourth, "d"), id(&first, "d"));
        assert_ne!(id(&fourth, "a"), id(&fourth, "d"));
        // A rule that changes all of them pairs them in order.
        let fifth = find(&config, &[("h:1", "xa"), ("h:1", "xd")], &fourth, &[]);
        assert_eq!((id(&fifth, "xa"), id(&fifth, "xd")), (id(&fourth, "a"), id(&fourth, "d")));
        let restarted =
            find(&config, &[("h:1", "xa"), ("h:1", "xd")], &Found::default(), &held(&fifth));
        assert_eq!(restarted.targets.len(), 2);
        assert_eq!(id(&restarted, "xd"), id(&fifth, "xd"));
    }

    #[test]
    fn what_shards_report_later_puts_ids_right() {
        let config = config("");
        let first = find(&config, &[("h:1", "b"), ("h:1", "c")], &Found::default(), &[]);
        let second = find(&config, &[("h:1", "c"), ("h:1", "d")], &first, &[]);
        let held = held(&second);
        // A new process, before it has heard the shards.
        let fresh = find(&config, &[("h:1", "c"), ("h:1", "d")], &Found::default(), &[]);
        assert_ne!(id(&fresh, "c"), id(&second, "c"));
        let named = fresh.renamed(&Memory::of(&config, std::iter::empty(), &held));
        assert_eq!((id(&named, "c"), id(&named, "d")), (id(&second, "c"), id(&second, "d")));
    }

    #[test]
    fn a_second_target_of_an_identity_does_not_take_the_first_ones_id() {
        let config = config("");
        let first = find(&config, &[("h:1", "b")], &Found::default(), &[]);
        let second = find(&config, &[("h:1", "a"), ("h:1", "b")], &first, &[]);
        assert_eq!(id(&second, "b"), id(&first, "b"));
    }

    #[test]
    fn ids_of_the_version_before_stay_in_use() {
        let config = config("");
        let mut old = held(&find(&config, &[("h:1", "a"), ("h:2", "b")], &Found::default(), &[]));
        for (n, named) in (1..).zip(&mut old) {
            named.id = n;
        }
        let first = find(&config, &[("h:1", "a"), ("h:2", "b")], &Found::default(), &old);
        let ids: Vec<u64> = first.targets.iter().map(|found| found.target.id).collect();
        assert_eq!(ids, [1, 2]);
        let second = find(&config, &[("h:1", "x"), ("h:2", "y"), ("h:3", "z")], &first, &[]);
        assert_eq!((id(&second, "x"), id(&second, "y")), (id(&first, "a"), id(&first, "b")));
    }

    #[test]
    fn of_two_ids_that_shards_hold_for_one_target_the_plain_one_stays() {
        let config = config("");
        let first = find(&config, &[("h:1", "a")], &Found::default(), &[]);
        let mut both = held(&first);
        both.insert(0, Named { id: 1, ..both[0].clone() });
        let second = find(&config, &[("h:1", "a")], &Found::default(), &both);
        assert_eq!(id(&second, "a"), id(&first, "a"));
        let third = find(&config, &[("h:1", "changed")], &Found::default(), &both);
        assert_eq!(id(&third, "changed"), id(&first, "a"));
    }
}
