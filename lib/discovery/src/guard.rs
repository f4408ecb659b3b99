//! The discovery guard: whether an answer that takes many targets away is believed.
//!
//! Counts decide, not names: a rolling update that replaces every address is believed at once, an empty answer of a
//! server that has just restarted is not.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use promconf::TargetGroup;

use crate::options::Guard;

/// One job as an answer would change it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Change {
    /// The job's targets, of all providers, before the answer.
    pub before: usize,
    pub after: usize,
}

/// What to do with an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Accept,
    /// The targets that it takes away stay for now.
    Hold,
}

/// Judges an answer by the jobs that it changes. `held_for` is how long answers like it have been held already.
pub(crate) fn judge(
    guard: &Guard,
    changes: impl IntoIterator<Item = Change>,
    held_for: Duration,
) -> Verdict {
    let is_suspect = |change: Change| guard.is_suspect(change.before, change.after);
    match held_for < guard.grace && changes.into_iter().any(is_suspect) {
        true => Verdict::Hold,
        false => Verdict::Accept,
    }
}

/// What is in force while an answer is held: the answer, and of the last good groups the addresses that it lacks.
pub(crate) fn overlay(
    good: &[Arc<TargetGroup>],
    held: &[Arc<TargetGroup>],
) -> Vec<Arc<TargetGroup>> {
    let present: HashSet<&str> =
        held.iter().flat_map(|group| &group.targets).map(String::as_str).collect();
    let kept = good.iter().filter_map(|group| {
        let targets: Vec<String> = group
            .targets
            .iter()
            .filter(|target| !present.contains(target.as_str()))
            .cloned()
            .collect();
        match targets.len() {
            0 => None,
            all if all == group.targets.len() => Some(Arc::clone(group)),
            _ => Some(Arc::new(TargetGroup { targets, ..TargetGroup::clone(group) })),
        }
    });
    held.iter().cloned().chain(kept).collect()
}

/// The number of targets.
pub(crate) fn count(groups: &[Arc<TargetGroup>]) -> usize {
    groups.iter().map(|group| group.targets.len()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(before: usize, after: usize, held_secs: u64) -> Verdict {
        let change = Change { before, after };
        judge(&Guard::default(), [change], Duration::from_secs(held_secs))
    }

    #[test]
    fn an_answer_that_loses_more_than_half_is_held_for_the_grace_time() {
        assert_eq!(verdict(10, 5, 0), Verdict::Accept);
        assert_eq!(verdict(10, 4, 0), Verdict::Hold);
        assert_eq!(verdict(1000, 0, 299), Verdict::Hold);
        assert_eq!(verdict(1000, 0, 300), Verdict::Accept);
    }

    #[test]
    fn small_jobs_and_growing_ones_are_never_held() {
        assert_eq!(verdict(9, 0, 0), Verdict::Accept);
        assert_eq!(verdict(0, 0, 0), Verdict::Accept);
        assert_eq!(verdict(10, 1000, 0), Verdict::Accept);
    }

    #[test]
    fn one_suspect_job_of_several_is_enough() {
        let changes = [Change { before: 100, after: 99 }, Change { before: 20, after: 1 }];
        assert_eq!(judge(&Guard::default(), changes, Duration::ZERO), Verdict::Hold);
    }

    #[test]
    fn the_guard_can_be_turned_off() {
        let change = Change { before: 100, after: 0 };
        for off in [
            Guard { max_loss: 1.0, ..Guard::default() },
            Guard { grace: Duration::ZERO, ..Guard::default() },
        ] {
            assert_eq!(judge(&off, [change], Duration::ZERO), Verdict::Accept);
        }
        let strict = Guard { max_loss: 0.0, min_targets: 0, ..Guard::default() };
        let change = Change { before: 1, after: 0 };
        assert_eq!(judge(&strict, [change], Duration::ZERO), Verdict::Hold);
    }

    #[test]
    fn while_an_answer_is_held_its_new_targets_join_the_old_ones() {
        let group = |source: &str, targets: &[&str]| {
            Arc::new(TargetGroup {
                source: source.to_owned(),
                targets: targets.iter().map(|&target| target.to_owned()).collect(),
                ..TargetGroup::default()
            })
        };
        let good = [group("a", &["1", "2"]), group("b", &["3"])];
        let held = [group("c", &["3", "4"])];
        assert_eq!(overlay(&good, &held), [group("c", &["3", "4"]), group("a", &["1", "2"])]);
    }
}
