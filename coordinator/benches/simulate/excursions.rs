//! When max/mean is beyond what is promised: from when to when, how far, and for what.

use std::collections::{BTreeMap, BTreeSet};

use coordinator::plan::{SERIES_PER_SCRAPE, State};

use super::fleet::Fleet;
use super::trace::Trace;

/// Max/mean that is promised.
pub(crate) const EVEN: f64 = 1.10;

/// Minutes in a row beyond it.
#[derive(Debug, Clone)]
pub(crate) struct Excursion {
    pub(crate) seed: u64,
    /// In seconds.
    pub(crate) from: i64,
    pub(crate) minutes: i64,
    pub(crate) worst: f64,
    pub(crate) cause: String,
}

/// How a group's shards were a minute ago.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// Which shards counted, and what they held on average.
    counted: BTreeSet<usize>,
    mean: f64,
    holds: Vec<BTreeMap<u64, u64>>,
    open: bool,
    seed: u64,
    pub(crate) excursions: Vec<Excursion>,
}

impl Watch {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, ..Self::default() }
    }

    /// Takes note of a minute. `why` says of a target how it came to where it is.
    pub(crate) fn look(
        &mut self,
        fleet: &Fleet,
        trace: &Trace,
        counted: &[usize],
        why: impl Fn(u64) -> &'static str,
    ) {
        let holds: Vec<BTreeMap<u64, u64>> =
            fleet.shards.iter().map(|shard| owned(shard, trace)).collect();
        let load = |at: &usize| holds[*at].values().sum::<u64>();
        let sum: u64 = counted.iter().map(load).sum();
        let mean = sum as f64 / counted.len().max(1) as f64;
        let fullest = counted.iter().max_by_key(|at| load(at)).copied();
        let counted: BTreeSet<usize> = counted.iter().copied().collect();
        if let Some(fullest) = fullest.filter(|at| load(at) as f64 > EVEN * mean) {
            let ratio = load(&fullest) as f64 / mean;
            if !self.open {
                let cause = self.cause(fullest, load(&fullest), &holds, &counted, why);
                self.excursions.push(Excursion {
                    seed: self.seed,
                    from: trace.now,
                    minutes: 0,
                    worst: ratio,
                    cause,
                });
            }
            if let Some(last) = self.excursions.last_mut() {
                last.minutes += 1;
                last.worst = last.worst.max(ratio);
            }
            self.open = true;
        } else {
            self.open = false;
        }
        (self.counted, self.mean, self.holds) = (counted, mean, holds);
    }

    /// What has brought a shard beyond: what came to it, what grew on it, or shards that count, or do no more.
    fn cause(
        &self,
        fullest: usize,
        load: u64,
        holds: &[BTreeMap<u64, u64>],
        counted: &BTreeSet<usize>,
        why: impl Fn(u64) -> &'static str,
    ) -> String {
        let before = self.holds.get(fullest);
        let load_before: u64 = before.map_or(0, |held| held.values().sum());
        if before.is_some() && load <= load_before.max((EVEN * self.mean) as u64) {
            let (more, fewer) = (
                counted.difference(&self.counted).count(),
                self.counted.difference(counted).count(),
            );
            return match (more, fewer) {
                (0, 0) => "others hold less".to_owned(),
                (_, 0) => "others come to count".to_owned(),
                _ => "others do not count any more".to_owned(),
            };
        }
        let mut came: BTreeMap<&str, u64> = BTreeMap::new();
        for (target, load) in &holds[fullest] {
            match before.and_then(|held| held.get(target)) {
                Some(before) => *came.entry("growth").or_default() += load.saturating_sub(*before),
                None => *came.entry(why(*target)).or_default() += load,
            }
        }
        let most = came.into_iter().max_by_key(|(_, load)| *load);
        most.map_or_else(String::new, |(why, _)| format!("came to the fullest: {why}"))
    }
}

fn owned(shard: &super::fleet::Shard, trace: &Trace) -> BTreeMap<u64, u64> {
    let held = shard.held.iter().filter(|(_, held)| held.state != State::Leaving);
    let load = |id: u64| trace.targets.get(id).map_or(0, |t| t.series + SERIES_PER_SCRAPE);
    held.map(|(id, _)| (*id, load(*id))).collect()
}

/// How often, for how long and for what the groups were beyond.
pub(crate) fn tell(excursions: &[Excursion], looks: usize) {
    let minutes: i64 = excursions.iter().map(|excursion| excursion.minutes).sum();
    println!(
        "  beyond 1.10 {} times, for {minutes} of {looks} minutes of all groups",
        excursions.len()
    );
    let mut causes: BTreeMap<&str, i64> = BTreeMap::new();
    for excursion in excursions {
        *causes.entry(&excursion.cause).or_default() += excursion.minutes;
    }
    let mut causes: Vec<_> = causes.into_iter().collect();
    causes.sort_by_key(|(cause, minutes)| (std::cmp::Reverse(*minutes), *cause));
    for (cause, minutes) in causes {
        println!("    {minutes:>4} min  {cause}");
    }
    if let Some(longest) = excursions.iter().max_by_key(|excursion| excursion.minutes) {
        let Excursion { seed, from, minutes, worst, cause } = longest;
        let hour = *from as f64 / 3_600.0;
        println!(
            "  the longest: {minutes} min from hour {hour:.2} of seed {seed}, up to {worst:.3}: {cause}"
        );
    }
}
