//! Upstream's scripts and our own.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::conformance::corpus;
use promql::script::run;

/// Evals that do not pass yet, `file:line` each.
const KNOWN_FAILURES: &str = include_str!("known_failures.txt");

fn scripts(folder: &Path) -> BTreeMap<String, String> {
    let mut scripts = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "test") {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            scripts.insert(name, std::fs::read_to_string(&path).unwrap());
        }
    }
    scripts
}

#[test]
fn our_own_scripts_pass() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    let mut failures = Vec::new();
    let mut total = 0;
    for (name, text) in scripts(&folder) {
        let outcomes = run(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        total += outcomes.len();
        for outcome in outcomes {
            if let Some(error) = outcome.error {
                failures.push(format!("{name}:{}: {}: {error}", outcome.line, outcome.query));
            }
        }
    }
    assert!(total > 0, "no eval was found");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn upstreams_scripts_pass_but_for_the_known_failures() {
    let Some(folder) = corpus("promqltest") else { return };
    let known: BTreeSet<String> = KNOWN_FAILURES
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_owned)
        .collect();
    let mut failed = BTreeSet::new();
    let (mut passed_all, mut total_all) = (0, 0);
    for (name, text) in scripts(&folder) {
        let outcomes = run(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        let (mut passed, total) = (0, outcomes.len());
        for outcome in outcomes {
            let Some(error) = outcome.error else {
                passed += 1;
                continue;
            };
            let place = format!("{name}:{}", outcome.line);
            if !known.contains(&place) {
                println!("{place}: {}\n    {error}", outcome.query);
            }
            failed.insert(place);
        }
        println!("{name}: {passed} of {total} pass");
        passed_all += passed;
        total_all += total;
    }
    println!("all files: {passed_all} of {total_all} pass");
    assert!(total_all >= 2214, "only {total_all} evals were found");
    let new: Vec<_> = failed.difference(&known).collect();
    let gone: Vec<_> = known.difference(&failed).collect();
    assert!(new.is_empty(), "failing, but not listed in known_failures.txt: {new:#?}");
    assert!(gone.is_empty(), "listed in known_failures.txt, but passing: {gone:#?}");
}
