//! Shards that scrape what they are told to, and the marks that a rule gets for it.

use std::collections::{BTreeMap, BTreeSet};

use coordinator::plan::{Desired, SERIES_PER_SCRAPE, State};

use super::excursions::{EVEN, Excursion};
use super::trace::{INTERVAL, STEP, Trace, mix};

/// How long a new shard takes to come up.
const STARTUP: i64 = 40;

/// A shard that came up is being filled for so long.
const FILLING: i64 = 600;

/// Outages with a lower number strike the shard of that ordinal.
const RANDOM: u64 = 24;

/// A shard that has been away for longer is no use to anybody.
const LOST: i64 = 120;

/// What a shard holds of a target.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Held {
    pub(crate) state: State,
    pub(crate) scrapes: u64,
    /// Successful ones in a row.
    pub(crate) good: u64,
}

impl Held {
    pub(crate) fn new(state: State) -> Self {
        Self { state, scrapes: 0, good: 0 }
    }
}

/// What a shard holds, ascending by target.
#[derive(Debug, Clone, Default)]
pub(crate) struct Holds(Vec<(u64, Held)>);

impl Holds {
    fn at(&self, id: u64) -> Result<usize, usize> {
        self.0.binary_search_by_key(&id, |(other, _)| *other)
    }

    pub(crate) fn has(&self, id: u64) -> bool {
        self.at(id).is_ok()
    }

    pub(crate) fn get_mut(&mut self, id: u64) -> Option<&mut Held> {
        let at = self.at(id).ok()?;
        Some(&mut self.0[at].1)
    }

    pub(crate) fn insert(&mut self, id: u64, held: Held) {
        match self.at(id) {
            Ok(at) => self.0[at].1 = held,
            Err(at) => self.0.insert(at, (id, held)),
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &(u64, Held)> {
        self.0.iter()
    }

    pub(crate) fn retain(&mut self, mut keep: impl FnMut(u64) -> bool) {
        self.0.retain(|(id, _)| keep(*id));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<(u64, Held)> for Holds {
    /// Of what ascends.
    fn from_iter<I: IntoIterator<Item = (u64, Held)>>(held: I) -> Self {
        Self(held.into_iter().collect())
    }
}

/// Epoch and version of a push.
pub(crate) type Number = (u64, u64);

#[derive(Debug, Clone)]
pub(crate) struct Shard {
    pub(crate) born: i64,
    /// Since when it has been away.
    pub(crate) down: Option<i64>,
    /// When it last came back.
    back: i64,
    pub(crate) held: Holds,
    /// The last push that it took: older ones are refused.
    pub(crate) taken: Number,
    /// A push that comes after the next one.
    pub(crate) late: Option<(Number, Vec<Desired>)>,
}

impl Shard {
    fn new(born: i64) -> Self {
        Self {
            born,
            back: born + STARTUP,
            down: None,
            held: Holds::default(),
            taken: (0, 0),
            late: None,
        }
    }

    /// As the sidecar does: what is newer than what it has is applied in full, anything else refused.
    pub(crate) fn assign(&mut self, number: Number, desired: &[Desired]) -> bool {
        if number <= self.taken {
            return false;
        }
        self.taken = number;
        let before = std::mem::take(&mut self.held);
        let mut before = before.iter().peekable();
        // Both ascend.
        let take_over = |desired: &Desired| {
            while before.next_if(|(id, _)| *id < desired.target).is_some() {}
            let held = before.next_if(|(id, _)| *id == desired.target);
            let held = held.map_or(Held::new(desired.state), |(_, held)| *held);
            (desired.target, Held { state: desired.state, ..held })
        };
        self.held = desired.iter().map(take_over).collect();
        true
    }

    pub(crate) fn is_up(&self, now: i64) -> bool {
        self.down.is_none() && now - self.born >= STARTUP
    }

    /// Whether it has come up so lately that it is still being filled.
    fn is_young(&self, now: i64) -> bool {
        now - self.back < FILLING
    }
}

/// One replica group's shards.
#[derive(Debug)]
pub(crate) struct Fleet {
    pub(crate) shards: Vec<Shard>,
    /// When each target was last scraped, and whether a shard that holds it has been away since.
    scraped: Vec<(i64, bool)>,
    owner: Vec<usize>,
    /// Which ordinal an outage has struck, by when it began and its number: it stays with that shard.
    hit: BTreeMap<(i64, u64), u64>,
    pub(crate) marks: Marks,
}

/// What it comes down to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Marks {
    pub(crate) missed: u64,
    pub(crate) missed_by_crash: u64,
    pub(crate) scrapes: u64,
    /// In seconds times targets.
    pub(crate) duplicate: i64,
    pub(crate) moved: u64,
    pub(crate) first_waits: (i64, u64),
    /// Max/mean each minute: of the shards that are neither being filled nor emptied, and of all that are up.
    pub(crate) imbalance: Vec<f64>,
    pub(crate) imbalance_of_all: Vec<f64>,
    /// How many minutes in a row max/mean has been beyond what is promised: now, and at most.
    beyond_for: u64,
    pub(crate) longest: u64,
    /// When that was and why, of our own groups.
    pub(crate) excursions: Vec<Excursion>,
    pub(crate) overload: u64,
    pub(crate) shard_steps: u64,
    pub(crate) bound_steps: u64,
    /// Most shards beyond the bound at any time: of those that hold something and are not lost, and of all.
    pub(crate) beyond: i64,
    pub(crate) beyond_with_all: i64,
    /// The former as of the last look.
    pub(crate) last_beyond: i64,
    /// How many looks found more than one of the former beyond the bound.
    pub(crate) too_many: u64,
}

impl Marks {
    /// Adds those of another run.
    pub(crate) fn add(&mut self, other: Self) {
        self.missed += other.missed;
        self.missed_by_crash += other.missed_by_crash;
        self.scrapes += other.scrapes;
        self.duplicate += other.duplicate;
        self.moved += other.moved;
        self.first_waits.0 += other.first_waits.0;
        self.first_waits.1 += other.first_waits.1;
        self.imbalance.extend(other.imbalance);
        self.imbalance_of_all.extend(other.imbalance_of_all);
        self.longest = self.longest.max(other.longest);
        self.excursions.extend(other.excursions);
        self.overload += other.overload;
        self.shard_steps += other.shard_steps;
        self.bound_steps += other.bound_steps;
        self.beyond = self.beyond.max(other.beyond);
        self.beyond_with_all = self.beyond_with_all.max(other.beyond_with_all);
        self.too_many += other.too_many;
    }
}

const NOBODY: usize = usize::MAX;

impl Fleet {
    pub(crate) fn new(shards: usize) -> Self {
        Self {
            shards: vec![Shard::new(-1_000); shards],
            scraped: Vec::new(),
            owner: Vec::new(),
            hit: BTreeMap::new(),
            marks: Marks::default(),
        }
    }

    pub(crate) fn resize(&mut self, count: usize, now: i64) {
        self.shards.truncate(count);
        while self.shards.len() < count {
            self.shards.push(Shard::new(now));
        }
    }

    /// Crashes and returns, as the trace has it.
    pub(crate) fn befall(&mut self, trace: &Trace, salt: u64) {
        let begun = trace.outages.iter().filter(|outage| outage.from <= trace.now);
        self.hit.retain(|(from, _), _| trace.outages.iter().any(|outage| outage.from == *from));
        let count = self.shards.len() as u64;
        for outage in begun.clone() {
            let struck =
                if outage.pick < RANDOM { outage.pick } else { mix(outage.pick ^ salt) % count };
            self.hit.entry((outage.from, outage.pick)).or_insert(struck);
        }
        let away: BTreeSet<u64> =
            begun.filter_map(|outage| self.hit.get(&(outage.from, outage.pick)).copied()).collect();
        for (ordinal, shard) in self.shards.iter_mut().enumerate() {
            let is_away = away.contains(&(ordinal as u64));
            if !is_away && shard.down.is_some() {
                shard.back = trace.now;
            }
            shard.down = if is_away { shard.down.or(Some(trace.now)) } else { None };
        }
    }

    /// Every shard that is up scrapes what is due.
    pub(crate) fn scrape(&mut self, trace: &Trace) {
        let now = trace.now;
        self.scraped.resize(trace.ids(), (i64::MIN, false));
        self.owner.resize(trace.ids(), NOBODY);
        for (ordinal, shard) in self.shards.iter_mut().enumerate() {
            let up = shard.is_up(now);
            for (id, held) in &mut shard.held.0 {
                let at = *id as usize;
                if !up {
                    self.scraped[at].1 = true;
                    continue;
                }
                let phase = mix(*id ^ ((ordinal as u64) << 40)) % (INTERVAL / STEP) as u64;
                if (now / STEP) as u64 % (INTERVAL / STEP) as u64 != phase {
                    continue;
                }
                let Some(target) = trace.targets.get(*id) else { continue };
                held.scrapes += 1;
                // Some shards cannot reach some targets, which shows when they are to take them over.
                if held.state == State::Joining
                    && mix(*id ^ ((ordinal as u64) << 32)).is_multiple_of(500)
                {
                    held.good = 0;
                    continue;
                }
                held.good += 1;
                self.marks.scrapes += 1;
                let (last, excused) = std::mem::replace(&mut self.scraped[at], (now, false));
                if last == i64::MIN {
                    let (sum, count) = &mut self.marks.first_waits;
                    (*sum, *count) = (*sum + now - target.born, *count + 1);
                    continue;
                }
                let gap = now - last;
                self.marks.duplicate += (INTERVAL - gap).max(0);
                let missed = u64::try_from((gap - 1) / INTERVAL).unwrap_or(0);
                if excused {
                    self.marks.missed_by_crash += missed;
                } else {
                    self.marks.missed += missed;
                }
            }
        }
        self.note_moves();
    }

    fn note_moves(&mut self) {
        for (ordinal, shard) in self.shards.iter().enumerate() {
            for (id, held) in shard.held.iter() {
                if held.state == State::Joining {
                    continue;
                }
                let owner = &mut self.owner[*id as usize];
                let elsewhere = *owner != ordinal && *owner != NOBODY;
                let still =
                    elsewhere && self.shards.get(*owner).is_some_and(|shard| shard.held.has(*id));
                if !still {
                    self.marks.moved += u64::from(elsewhere);
                    *owner = ordinal;
                }
            }
        }
    }

    /// Load of each shard in series: of what it owns or is about to own.
    pub(crate) fn loads(&self, trace: &Trace) -> Vec<u64> {
        let load = |id: &u64| trace.targets.get(*id).map_or(0, |t| t.series + SERIES_PER_SCRAPE);
        let owned = |shard: &Shard| -> u64 {
            let held = shard.held.iter().filter(|(_, held)| held.state != State::Leaving);
            held.map(|(id, _)| load(id)).sum()
        };
        self.shards.iter().map(owned).collect()
    }

    /// Takes the measure of the shards. `idle` is the one that is being emptied.
    pub(crate) fn measure(&mut self, trace: &Trace, capacity: u64, fill: u64, idle: Option<usize>) {
        let loads = self.loads(trace);
        let shards = loads.iter().zip(&self.shards).enumerate();
        let serving = shards.filter(|(_, (load, shard))| **load > 0 && shard.is_up(trace.now));
        // Whether it is being filled or emptied, and what it holds.
        let serving: Vec<(bool, u64)> = serving
            .map(|(at, (load, shard))| (Some(at) == idle || shard.is_young(trace.now), *load))
            .collect();
        self.marks.imbalance_of_all.extend(max_of_mean(serving.iter().map(|(_, load)| *load)));
        let imbalance = settled_imbalance(&serving);
        self.marks.imbalance.extend(imbalance);
        let is_beyond = imbalance.is_some_and(|imbalance| imbalance > EVEN);
        self.marks.beyond_for = if is_beyond { self.marks.beyond_for + 1 } else { 0 };
        self.marks.longest = self.marks.longest.max(self.marks.beyond_for);
        let up = loads.iter().zip(&self.shards).filter(|(_, shard)| shard.is_up(trace.now));
        self.marks.overload += up.filter(|(load, _)| **load > capacity).count() as u64;
        let bound = trace.load().div_ceil(capacity * fill / 100);
        self.marks.shard_steps += loads.len() as u64;
        self.marks.bound_steps += bound;
        let is_lost = |shard: &&Shard| shard.down.is_some_and(|since| trace.now - since > LOST);
        let used = self.shards.iter().filter(|shard| !is_lost(shard) && !shard.held.is_empty());
        let beyond = used.count() as i64 - bound as i64;
        self.marks.last_beyond = beyond;
        self.marks.beyond = self.marks.beyond.max(beyond);
        self.marks.beyond_with_all =
            self.marks.beyond_with_all.max(loads.len() as i64 - bound as i64);
        self.marks.too_many += u64::from(beyond > 1);
    }
}

impl Fleet {
    /// The shards whose load counts for max/mean; see [`settled_imbalance`].
    pub(crate) fn counted(&self, trace: &Trace, idle: Option<usize>) -> Vec<usize> {
        let loads = self.loads(trace);
        let serving =
            (0..loads.len()).filter(|at| loads[*at] > 0 && self.shards[*at].is_up(trace.now));
        let changing = |at: &usize| Some(*at) == idle || self.shards[*at].is_young(trace.now);
        let settled: Vec<usize> = serving.clone().filter(|at| !changing(at)).collect();
        let sum: u64 = settled.iter().map(|at| loads[*at]).sum();
        serving.filter(|at| !changing(at) || loads[*at] * settled.len() as u64 > sum).collect()
    }
}

fn max_of_mean(loads: impl Iterator<Item = u64>) -> Option<f64> {
    let (mut count, mut sum, mut max) = (0u64, 0, 0);
    for load in loads {
        (count, sum, max) = (count + 1, sum + load, max.max(load));
    }
    (sum > 0).then(|| max as f64 * count as f64 / sum as f64)
}

/// Max/mean where a shard that is being filled or emptied counts only once it holds more than the others do on average:
/// that it holds less is how it is to be.
fn settled_imbalance(shards: &[(bool, u64)]) -> Option<f64> {
    let settled = || shards.iter().filter(|(changing, _)| !changing).map(|(_, load)| *load);
    let (count, sum) = (settled().count() as u64, settled().sum::<u64>());
    let counts = |changing: bool, load: u64| !changing || load * count > sum;
    max_of_mean(shards.iter().filter(|(changing, load)| counts(*changing, *load)).map(|(_, l)| *l))
}
