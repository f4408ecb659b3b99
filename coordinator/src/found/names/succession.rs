//! Targets whose URL has changed with the configuration go on under the id that they have had. Pure.
//!
//! A new URL is a new identity. Taken for another target, it would begin to be scraped only after it was counted and
//! assigned, while the old one ended at once. Under the old id it is changed in place, and its shard goes on with the
//! old URL until it has scraped the new one.
//!
//! A target succeeds another of its job when it is the only one that comes from the same discovered labels: rules,
//! parameters, path or scheme have changed, and the process behind them has not. Of what shards hold the discovered
//! labels are not known: there address and public labels have to be the same. Another address is another process as a
//! rule, and nobody's successor then.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use model::Labels;
use promconf::target::{
    ADDRESS, META_PREFIX, METRICS_PATH, PARAM_PREFIX, SCHEME, SCRAPE_INTERVAL, SCRAPE_TIMEOUT,
};
use xxhash_rust::xxh64::Xxh64;

use super::Named;
use crate::found::FoundTarget;

/// Gives new targets the ids of those that they succeed. `targets` and `before`, what was found last, ascend by id, and
/// `targets` do afterwards. `held` is what shards hold beside it; ids for which `is_held` holds are not new.
pub(super) fn succeed(
    targets: &mut [FoundTarget],
    before: &[FoundTarget],
    held: &[Named],
    is_held: impl Fn(u64) -> bool,
) {
    let mut new = only_in(targets, before);
    new.retain(|&at| !is_held(targets[at].id));
    if new.is_empty() {
        return;
    }
    let gone = only_in(before, targets);
    let gone = gone.into_iter().map(|at| &before[at]);
    let found = new.iter().map(|&at| (at, as_discovered(&targets[at])));
    let mut heirs = pairs(found, gone.map(|found| (found.id, as_discovered(found))));
    let (named, ids): (HashSet<usize>, HashSet<u64>) = heirs.iter().copied().unzip();
    let is_gone = |id| targets.binary_search_by_key(&id, |found| found.id).is_err();
    let gone = held.iter().filter(|named| is_gone(named.id) && !ids.contains(&named.id));
    let rest = new.iter().filter(|at| !named.contains(at)).map(|&at| {
        let found = &targets[at];
        (at, as_scraped(&found.job, &found.target.labels))
    });
    let gone = gone.map(|named| (named.id, as_scraped(&named.job, &named.labels)));
    heirs.extend(pairs(rest, gone));
    for &(at, id) in &heirs {
        targets[at].rename(id);
    }
    if !heirs.is_empty() {
        targets.sort_by_key(|found| found.id);
    }
}

/// Places of the targets whose ids the others do not have; both ascend by id.
pub(crate) fn only_in(targets: &[FoundTarget], others: &[FoundTarget]) -> Vec<usize> {
    let mut others = others.iter().map(|found| found.id).peekable();
    let mut only = Vec::new();
    for (at, found) in targets.iter().enumerate() {
        let id = found.id;
        while others.next_if(|other| *other < id).is_some() {}
        if others.peek() != Some(&id) {
            only.push(at);
        }
    }
    only
}

/// What a target was before any rule: its job, and what discovery has said of it.
fn as_discovered(found: &FoundTarget) -> (&str, &str, u64) {
    let (address, labels) = found.discovered();
    let of_discovery = |name: &str| {
        let of_job = [SCHEME, METRICS_PATH, SCRAPE_INTERVAL, SCRAPE_TIMEOUT].contains(&name)
            || name.starts_with(PARAM_PREFIX);
        name.starts_with(META_PREFIX) || (!of_job && name != ADDRESS)
    };
    let mut hasher = Xxh64::new(0);
    for (name, value) in labels.iter().filter(|(name, _)| of_discovery(name)) {
        for part in [name, value] {
            hasher.update(part.as_bytes());
            // Never part of UTF-8, so that no two lists of parts look alike.
            hasher.update(&[0xFF]);
        }
    }
    (&found.job, address, hasher.digest())
}

/// What a target is in the data: its job, its address and its public labels.
fn as_scraped<'a>(job: &'a str, labels: &'a Labels) -> (&'a str, &'a str, u64) {
    let public = labels.filter(|name| !name.starts_with("__"));
    (job, labels.value(ADDRESS), public.hash64())
}

/// What has a key that only one of either side has.
fn pairs<K: Hash + Eq>(
    new: impl Iterator<Item = (usize, K)>,
    gone: impl Iterator<Item = (u64, K)>,
) -> Vec<(usize, u64)> {
    let gone = alone(gone);
    let mut pairs: Vec<(usize, u64)> = alone(new)
        .into_iter()
        .filter_map(|(key, at)| Some((at?, gone.get(&key).copied().flatten()?)))
        .collect();
    pairs.sort_unstable();
    pairs
}

/// The only value of each key; `None` where there are several.
fn alone<K: Hash + Eq, V>(all: impl Iterator<Item = (V, K)>) -> HashMap<K, Option<V>> {
    let mut alone = HashMap::new();
    for (value, key) in all {
        alone.entry(key).and_modify(|one| *one = None).or_insert(Some(value));
    }
    alone
}
