//! Ids over edits, restarts and versions.

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
        Populated::Active(target) => {
            let targets = vec![address.to_owned()];
            let group = promconf::TargetGroup { targets, labels, ..Default::default() };
            FoundTarget::new(target, &Arc::new(group), 0)
        }
        Populated::Dropped { .. } => panic!(),
    }
}

/// What is found of addresses and their `env`, after `before` and beside what shards hold.
fn find(config: &Config, list: &[(&str, &str)], before: &Found, held: &[Named]) -> Found {
    let mut targets = list.iter().map(|(address, env)| target(config, address, env)).collect();
    let memory = Memory::of(config, None, before.targets.iter(), held);
    assign(&mut targets, &memory, before);
    Found::of(targets)
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
    let memory = Memory::of(&config, None, std::iter::empty(), &held);
    let named = fresh.renamed(&memory, |id| held.iter().any(|named| named.id == id));
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

#[test]
fn a_target_keeps_its_id_when_its_url_changes() {
    let (old, new) = (config("module: [x]"), config("module: [y]"));
    let list = [("h:1", "a"), ("h:2", "b")];
    let first = find(&old, &list, &Found::default(), &[]);
    let second = find(&new, &list, &first, &[]);
    assert_eq!((id(&first, "a"), id(&first, "b")), (id(&second, "a"), id(&second, "b")));
    assert!(second.targets.iter().all(|found| found.target.id != found.identity));
    assert!(second.targets.is_sorted_by_key(|found| found.target.id));
    // Labels that change later, and a restart, leave it.
    let third = find(&new, &[("h:1", "x"), ("h:2", "b")], &second, &[]);
    assert_eq!((id(&third, "x"), id(&third, "b")), (id(&first, "a"), id(&first, "b")));
    let restarted = find(&new, &list, &Found::default(), &held(&second));
    assert_eq!((id(&first, "a"), id(&first, "b")), (id(&restarted, "a"), id(&restarted, "b")));
    // So does the way back.
    let back = find(&old, &list, &second, &[]);
    assert_eq!((id(&first, "a"), id(&first, "b")), (id(&back, "a"), id(&back, "b")));
}

#[test]
fn a_url_that_changes_while_nobody_looks_keeps_the_id_that_shards_hold() {
    let (old, new) = (config("module: [x]"), config("module: [y]"));
    let list = [("h:1", "a"), ("h:2", "b")];
    let held = held(&find(&old, &list, &Found::default(), &[]));
    let fresh = find(&new, &list, &Found::default(), &[]);
    let (first, second) = held.split_at(1);
    let is_held = |id: u64| held.iter().any(|named| named.id == id);
    // One shard reports after the other.
    let one = fresh.renamed(&Memory::of(&new, None, std::iter::empty(), first), is_held);
    let settled = || one.targets.iter().filter(|found| is_held(found.target.id));
    assert_eq!(settled().count(), 1);
    let two = one.renamed(&Memory::of(&new, None, settled(), second), is_held);
    let ids: Vec<u64> = two.targets.iter().map(|found| found.target.id).collect();
    assert_eq!(ids, held.iter().map(|named| named.id).collect::<Vec<_>>());
}

#[test]
fn another_address_or_one_of_several_is_no_successor() {
    let (old, new) = (config("module: [x]"), config("module: [y]"));
    let first = find(&old, &[("h:1", "a")], &Found::default(), &[]);
    let moved = find(&new, &[("h:2", "a")], &first, &[]);
    assert_eq!(moved.targets[0].target.id, moved.targets[0].identity);
    // What stays keeps its id, and what comes beside it is new.
    let both = find(&old, &[("h:1", "a"), ("h:1", "b")], &first, &[]);
    assert_eq!(id(&both, "a"), id(&first, "a"));
    assert_ne!(id(&both, "b"), id(&first, "a"));
}

#[test]
fn a_target_whose_own_id_is_in_use_for_another_is_not_lost() {
    let (old, new) = (config("module: [x]"), config("module: [y]"));
    let first = find(&old, &[("h:1", "a")], &Found::default(), &[]);
    let second = find(&new, &[("h:1", "a")], &first, &[]);
    // The old URL comes back beside the new one.
    let mut targets = vec![target(&new, "h:1", "a"), target(&old, "h:1", "c")];
    let memory = Memory::of(&new, None, second.targets.iter(), &[]);
    assign(&mut targets, &memory, &second);
    let third = Found::of(targets);
    assert_eq!(third.targets.len(), 2);
    assert_eq!(id(&third, "a"), id(&first, "a"));
    assert_ne!(id(&third, "c"), id(&first, "a"));
    let mut targets = vec![target(&new, "h:1", "a"), target(&old, "h:1", "c")];
    assign(&mut targets, &Memory::of(&new, None, third.targets.iter(), &[]), &third);
    assert_eq!(targets, third.targets);
}

#[test]
fn what_is_new_or_has_other_labels_has_changed_unless_that_is_too_much_to_tell() {
    let config = config("");
    let addresses: Vec<String> = (0..32).map(|host| format!("h:{host}")).collect();
    let list = |env: &'static str, changed: usize| -> Vec<(&str, &str)> {
        let env = |at| if at < changed { env } else { "prod" };
        addresses.iter().enumerate().map(|(at, address)| (address.as_str(), env(at))).collect()
    };
    let first = find(&config, &list("", 0), &Found::default(), &[]);
    let ids = |found: &Found, env: &str| -> HashSet<u64> {
        let all = found.each().filter(|(_, found)| found.target.labels.value("env") == env);
        all.map(|(id, _)| id).collect()
    };
    let same = find(&config, &list("", 0), &first, &[]);
    assert_eq!(same.changed_since(&first), Some(HashSet::new()));
    let relabelled = find(&config, &list("qa", 3), &first, &[]);
    assert_eq!(relabelled.changed_since(&first), Some(ids(&relabelled, "qa")));
    assert_eq!(ids(&relabelled, "qa").len(), 3);
    let mut more = list("", 0);
    more.push(("new:1", "dev"));
    let more = find(&config, &more, &first, &[]);
    assert_eq!(more.changed_since(&first), Some(ids(&more, "dev")));
    assert_eq!(first.changed_since(&more), Some(HashSet::new()), "what is gone is nobody's news");
    assert_eq!(find(&config, &list("qa", 5), &first, &[]).changed_since(&first), None);
    assert_eq!(first.changed_since(&Found::default()), None);
}
