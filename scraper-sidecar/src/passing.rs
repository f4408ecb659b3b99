//! Targets whose labels have changed, those included that say where to scrape: what they were before goes on being
//! scraped until they were scraped once as they are now. Pure.
//!
//! Prometheus takes a target with other labels for another one: it ends the old loop at once, and begins the new one at
//! an offset of its own within the interval, so that up to an interval is missed. Here the old loop ends later.
//! What is kept is not persisted: after a restart in between, an edit costs what it costs in Prometheus.

use std::collections::BTreeMap;

use model::duration;
use promconf::target::{SCRAPE_INTERVAL, TARGET_ID};

use crate::assignment::{Assignment, Target};
use crate::observe::Scores;

/// Beyond two intervals an old loop goes on for no longer than this, in milliseconds: Prometheus takes up changed files
/// within some seconds.
const PATIENCE_MS: i64 = 30_000;

/// Former targets, as they still stand in Prometheus' files.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Passing {
    /// As they were, by id; newest last.
    former: BTreeMap<u64, Vec<Target>>,
    /// When the last labels changed, and when all of this ends in any case, in ms since the epoch.
    since_ms: i64,
    until_ms: i64,
}

impl Passing {
    /// After the assignment has changed.
    pub(crate) fn after(&self, held: &Assignment, next: &Assignment, now_ms: i64) -> Self {
        let mut passing = self.clone();
        passing.former.retain(|id, _| next.target(*id).is_some());
        for target in &next.targets {
            let Some(before) = held.target(target.id) else { continue };
            if before.labels == target.labels && before.job == target.job {
                continue;
            }
            let former = passing.former.entry(target.id).or_default();
            former.push(before.clone());
            // What is scraped under its new labels is no former target, even where it was one.
            former.retain(|former| former.labels != target.labels || former.job != target.job);
            former.dedup_by(|a, b| a.labels == b.labels && a.job == b.job);
            let interval = interval_ms(before).max(interval_ms(target));
            passing.since_ms = now_ms;
            passing.until_ms = passing.until_ms.max(now_ms + 2 * interval + PATIENCE_MS);
        }
        passing.former.retain(|_, former| !former.is_empty());
        passing
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.former.is_empty()
    }

    /// What goes on being scraped.
    pub(crate) fn targets(&self) -> impl Iterator<Item = &Target> {
        self.former.values().flatten()
    }

    /// Whether every target was scraped under its new labels, or it has taken too long.
    pub(crate) fn is_over(&self, scores: &Scores, now_ms: i64) -> bool {
        let is_scraped = |id: &u64| {
            let labelled = scores.by_target.get(id).and_then(|score| score.labelled);
            labelled.is_some_and(|time| time.as_millisecond() >= self.since_ms)
        };
        now_ms >= self.until_ms || self.former.keys().all(is_scraped)
    }
}

fn interval_ms(target: &Target) -> i64 {
    let interval = duration::parse(target.labels.value(SCRAPE_INTERVAL)).unwrap_or_default();
    i64::try_from(interval.as_millis()).unwrap_or(i64::MAX / 4)
}

/// A target's labels as they stand in Prometheus' files.
pub(crate) fn written(target: &Target) -> model::Labels {
    let mut labels = target.labels.to_builder();
    labels.set(TARGET_ID, target.id.to_string());
    labels.build()
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use model::Labels;
    use proto::coordination::TargetState;

    use super::*;
    use crate::observe::Score;

    fn assignment(targets: &[(u64, &str)]) -> Assignment {
        let target = |(id, env): &(u64, &str)| Target {
            id: *id,
            job: "j".to_owned(),
            labels: Labels::from_pairs([("env", *env), (SCRAPE_INTERVAL, "1m")]),
            state: TargetState::Active,
            series: 1,
            churn_per_hour: None,
            given_ms: 0,
        };
        Assignment { targets: targets.iter().map(target).collect(), ..Assignment::default() }
    }

    fn scores(times: &[(u64, i64)]) -> Scores {
        let mut scores = Scores::default();
        for (id, ms) in times {
            let mut score = Score::new(0);
            score.labelled = Some(Timestamp::from_millisecond(*ms).unwrap());
            scores.by_target.insert(*id, score);
        }
        scores
    }

    fn envs(passing: &Passing) -> Vec<&str> {
        passing.targets().map(|target| target.labels.value("env")).collect()
    }

    #[test]
    fn a_former_target_stays_until_all_were_scraped_under_their_new_labels() {
        let (first, second) = (
            assignment(&[(1, "a"), (2, "b"), (3, "c")]),
            assignment(&[(1, "x"), (2, "y"), (3, "c")]),
        );
        let passing = Passing::default().after(&first, &second, 1_000);
        assert_eq!(envs(&passing), ["a", "b"]);
        assert!(!passing.is_over(&scores(&[(1, 1_500), (2, 999)]), 2_000));
        assert!(passing.is_over(&scores(&[(1, 1_500), (2, 1_000)]), 2_000));
        assert!(!passing.is_over(&scores(&[]), 150_999));
        assert!(passing.is_over(&scores(&[]), 151_000));
    }

    #[test]
    fn what_goes_or_returns_is_no_former_target() {
        let (a, b, c) = (assignment(&[(1, "a")]), assignment(&[(1, "b")]), assignment(&[(1, "c")]));
        let one = Passing::default().after(&a, &b, 0);
        let two = one.after(&b, &c, 1);
        assert_eq!(envs(&two), ["a", "b"]);
        let back = two.after(&c, &a, 2);
        assert_eq!(envs(&back), ["b", "c"]);
        assert!(back.after(&a, &assignment(&[]), 3).is_empty());
        assert_eq!(one.after(&b, &b, 4), one);
    }
}
