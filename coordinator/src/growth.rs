//! How many series jobs and targets had a while ago.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::plan::{Size, TargetView};

/// Jobs are noted once a minute, for two hours.
const MINUTE: i64 = 60_000;
const POINTS: usize = 121;

/// Targets are noted twice an hour; what they are compared with is half an hour to an hour old.
const HALF_HOUR: i64 = 30 * MINUTE;

/// Series of a job at a time, in milliseconds since the epoch.
type Point = (i64, u64);

#[derive(Debug, Default)]
struct Known {
    jobs: BTreeMap<Arc<str>, VecDeque<Point>>,
    noted: Option<i64>,
    /// Since when each was noted, and the series of each target, ascending by id.
    older: Option<(i64, Vec<(u64, u64)>)>,
    newer: Option<(i64, Vec<(u64, u64)>)>,
}

/// The record of it. Cloneable; all clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Growth {
    known: Arc<Mutex<Known>>,
}

impl Growth {
    /// Notes what there is, if it is time. `targets` ascend by id.
    pub(crate) fn note(&self, targets: &[TargetView], now: i64) {
        let mut known = self.known.lock();
        if targets.is_empty() || known.noted.is_some_and(|noted| now - noted < MINUTE) {
            return;
        }
        known.noted = Some(now);
        let mut jobs: BTreeMap<&Arc<str>, (u64, bool)> = BTreeMap::new();
        for target in targets {
            let (series, all) = jobs.entry(&target.job).or_insert((0, true));
            *series += counted(target).unwrap_or(0);
            *all &= !matches!(target.size, Size::Unknown);
        }
        known.jobs.retain(|job, _| jobs.contains_key(job));
        for (job, (series, all)) in jobs {
            // What is counted for the first time has not grown.
            if !all && !known.jobs.contains_key(job) {
                continue;
            }
            let points = known.jobs.entry(Arc::clone(job)).or_default();
            if points.len() == POINTS {
                points.pop_front();
            }
            points.push_back((now, series));
        }
        if known.newer.as_ref().is_none_or(|(at, _)| now - at >= HALF_HOUR) {
            let sizes = targets.iter().filter_map(|target| Some((target.id, counted(target)?)));
            let newest = Some((now, sizes.collect()));
            known.older = std::mem::replace(&mut known.newer, newest);
        }
    }

    /// The series of a job `ago` milliseconds before `now`, or as long ago as is known.
    pub(crate) fn of_job(&self, job: &str, now: i64, ago: i64) -> Option<Point> {
        let known = self.known.lock();
        let points = known.jobs.get(job)?;
        let before = points.iter().rev().find(|(at, _)| now - at >= ago);
        before.or(points.front()).copied()
    }

    /// The series of targets half an hour to an hour ago (less after a start): when, and those of each by id.
    pub(crate) fn of_targets(&self) -> Option<(i64, Vec<(u64, u64)>)> {
        let known = self.known.lock();
        known.older.as_ref().or(known.newer.as_ref()).cloned()
    }
}

/// The series that were really counted.
pub(crate) fn counted(target: &TargetView) -> Option<u64> {
    match target.size {
        Size::Counted(series) => Some(series),
        Size::Tentative(_) | Size::Unknown => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn targets(series: &[u64]) -> Vec<TargetView> {
        let target = |(id, series): (u64, &u64)| TargetView {
            id,
            job: Arc::from("job"),
            size: Size::Counted(*series),
            tag: crate::plan::Tag::default(),
            interval_ms: 0,
            churn: 0,
        };
        (0..).zip(series).map(target).collect()
    }

    #[test]
    fn jobs_are_compared_with_an_hour_ago_and_targets_with_at_least_half_of_that() {
        let growth = Growth::default();
        for minute in 0..200 {
            let series = 100 + u64::try_from(minute).unwrap();
            growth.note(&targets(&[series, 7]), minute * MINUTE);
            // Within the same minute nothing is noted.
            growth.note(&targets(&[1_000_000, 7]), minute * MINUTE + 1);
        }
        let now = 199 * MINUTE;
        assert_eq!(growth.of_job("job", now, 60 * MINUTE), Some((139 * MINUTE, 246)));
        let oldest = growth.of_job("job", now, 1_000 * MINUTE);
        assert_eq!(oldest, Some((79 * MINUTE, 186)));
        assert_eq!(growth.of_job("other", now, 0), None);
        assert_eq!(growth.of_targets(), Some((150 * MINUTE, vec![(0, 250), (1, 7)])));
    }

    #[test]
    fn sizes_that_come_in_after_a_start_are_no_growth() {
        let growth = Growth::default();
        let mut first = targets(&[500, 500]);
        first[1].size = Size::Unknown;
        growth.note(&first, 0);
        growth.note(&targets(&[500, 500]), MINUTE);
        growth.note(&first, 2 * MINUTE);
        assert_eq!(growth.of_job("job", 2 * MINUTE, 60 * MINUTE), Some((MINUTE, 1_000)));
    }

    #[test]
    fn a_job_that_is_gone_is_forgotten() {
        let growth = Growth::default();
        growth.note(&targets(&[1]), 0);
        let mut other = targets(&[2]);
        other[0].job = Arc::from("other");
        growth.note(&other, MINUTE);
        assert_eq!(growth.of_job("job", MINUTE, 0), None);
        assert_eq!(growth.of_job("other", MINUTE, 0), Some((MINUTE, 2)));
    }
}
