//! Rules that do not know series: hashmod, a ring of virtual nodes, the fewest targets. Someone else decides how many
//! shards there are, and always knows how many suffice; shards pick their lists up by polling.

use std::collections::{BTreeMap, BTreeSet};

use coordinator::plan::State;

use super::fleet::{Fleet, Held};
use super::trace::{INTERVAL, STEP, Trace, mix};

/// A shard that is away for longer gives its targets up, where the rule knows of shards at all.
const GRACE: i64 = 30;
const VIRTUAL_NODES: u64 = 512;
/// How often somebody looks at how many shards suffice, and how long fewer must do before one goes.
const SCALING: i64 = 60;
const MAX_IDLE: i64 = 600;

const NOBODY: usize = usize::MAX;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    Hashmod,
    Ring,
    LeastTargets,
}

pub(crate) struct Hashed {
    pub(crate) fleet: Fleet,
    rule: Rule,
    capacity: u64,
    fill: u64,
    /// Since when fewer shards would do.
    spare_since: i64,
    /// Who is to scrape each target, by id.
    owners: Vec<usize>,
    members: Vec<usize>,
}

impl Hashed {
    pub(crate) fn new(rule: Rule, capacity: u64, fill: u64, shards: usize) -> Self {
        let (owners, members) = (Vec::new(), Vec::new());
        let fleet = Fleet::new(shards);
        Self { fleet, rule, capacity, fill, spare_since: 0, owners, members }
    }

    pub(crate) fn step_without_scaling(&mut self, trace: &Trace) {
        self.fleet.befall(trace, 0);
        self.allocate(trace);
        self.poll(trace);
        self.fleet.scrape(trace);
    }

    pub(crate) fn step(&mut self, trace: &Trace) {
        self.step_without_scaling(trace);
        if trace.now % SCALING == 0 {
            self.scale(trace);
        }
    }

    /// Shards that come into question; hashmod knows only their number.
    fn members(&self, now: i64) -> Vec<usize> {
        let shards = self.fleet.shards.iter().enumerate();
        let counts = |shard: &super::fleet::Shard| {
            self.rule == Rule::Hashmod || shard.down.is_none_or(|since| now - since < GRACE)
        };
        shards.filter(|(_, shard)| counts(shard)).map(|(at, _)| at).collect()
    }

    fn allocate(&mut self, trace: &Trace) {
        let members = self.members(trace.now);
        if members.is_empty() {
            return;
        }
        self.owners.resize(trace.ids(), NOBODY);
        match self.rule {
            Rule::Hashmod => {
                for id in trace.targets.ids() {
                    self.owners[*id as usize] = members[(mix(*id) % members.len() as u64) as usize];
                }
            }
            Rule::Ring => self.by_ring(trace, &members),
            Rule::LeastTargets => self.by_count(trace, &members),
        }
        self.members = members;
    }

    fn by_ring(&mut self, trace: &Trace, members: &[usize]) {
        if self.members != members {
            self.owners.fill(NOBODY);
        }
        let lacking = |id: &&u64| self.owners[**id as usize] == NOBODY;
        let lacking: Vec<u64> = trace.targets.ids().iter().filter(lacking).copied().collect();
        if lacking.is_empty() {
            return;
        }
        let ring: BTreeMap<u64, usize> = members
            .iter()
            .flat_map(|at| {
                (0..VIRTUAL_NODES).map(move |node| (mix(((*at as u64 + 1) << 32) | node), *at))
            })
            .collect();
        for id in lacking {
            let next = ring.range(mix(id)..).next().or_else(|| ring.iter().next());
            if let Some((_, at)) = next {
                self.owners[id as usize] = *at;
            }
        }
    }

    fn by_count(&mut self, trace: &Trace, members: &[usize]) {
        let mut counts: BTreeMap<usize, usize> = members.iter().map(|at| (*at, 0)).collect();
        let mut lacking = Vec::new();
        for id in trace.targets.ids() {
            match counts.get_mut(&self.owners[*id as usize]) {
                Some(count) => *count += 1,
                None => lacking.push(*id),
            }
        }
        let mut emptiest: BTreeSet<(usize, usize)> =
            counts.into_iter().map(|(at, count)| (count, at)).collect();
        for id in lacking {
            if let Some((count, at)) = emptiest.pop_first() {
                self.owners[id as usize] = at;
                emptiest.insert((count + 1, at));
            }
        }
    }

    /// Each shard takes its list when its time comes.
    fn poll(&mut self, trace: &Trace) {
        let mut lists: Vec<Vec<u64>> = vec![Vec::new(); self.fleet.shards.len()];
        for id in trace.targets.ids() {
            if let Some(list) = lists.get_mut(self.owners[*id as usize]) {
                list.push(*id);
            }
        }
        for (at, shard) in self.fleet.shards.iter_mut().enumerate() {
            let due = (trace.now / STEP) % (INTERVAL / STEP) == at as i64 % (INTERVAL / STEP);
            if !due || !shard.is_up(trace.now) {
                continue;
            }
            let list = std::mem::take(&mut lists[at]);
            let held = Held::new(State::Active);
            shard.held = list.into_iter().map(|id| (id, held)).collect();
        }
    }

    /// As if an autoscaler knew the load: as many shards as the bound says, fewer only after the idle time.
    fn scale(&mut self, trace: &Trace) {
        let bound = trace.load().div_ceil(self.capacity * self.fill / 100) as usize;
        let count = self.fleet.shards.len();
        if bound >= count {
            self.spare_since = trace.now;
            self.fleet.resize(bound, trace.now);
        } else if trace.now - self.spare_since >= MAX_IDLE {
            self.spare_since = trace.now;
            self.fleet.resize(count - 1, trace.now);
        }
    }
}
