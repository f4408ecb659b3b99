//! Kvass' coordinator by its rules as they were read: trial scrape, first fit, relief at the limit, hand-over without
//! confirmation, scale-up by what does not fit, scale-down from the tail after an idle time.

use std::collections::BTreeMap;

use coordinator::plan::{SERIES_PER_SCRAPE, State};

use super::fleet::{Fleet, Held};
use super::trace::{STEP, Trace};

const MAX_IDLE: i64 = 600;

pub(crate) struct Kvass {
    pub(crate) fleet: Fleet,
    capacity: u64,
    idle_since: BTreeMap<usize, i64>,
}

impl Kvass {
    pub(crate) fn new(capacity: u64, shards: usize) -> Self {
        Self { fleet: Fleet::new(shards), capacity, idle_since: BTreeMap::new() }
    }

    pub(crate) fn step(&mut self, trace: &Trace) {
        self.fleet.befall(trace, 0);
        if trace.now >= trace.coordinator_back {
            self.turn(trace);
        }
        self.fleet.scrape(trace);
    }

    fn turn(&mut self, trace: &Trace) {
        let changeable: Vec<bool> =
            self.fleet.shards.iter().map(|shard| shard.is_up(trace.now)).collect();
        self.collect_garbage(trace, &changeable);
        let mut loads = self.fleet.loads(trace);
        let mut lacking = self.alleviate(trace, &changeable, &mut loads);
        lacking += self.assign(trace, &changeable, &mut loads);
        self.scale(trace, &changeable, lacking, &mut loads);
    }

    /// Not discovered any more, or taken over by another shard.
    fn collect_garbage(&mut self, trace: &Trace, changeable: &[bool]) {
        let mut normal = vec![usize::MAX; trace.ids()];
        let loads = self.fleet.loads(trace);
        for (at, shard) in self.fleet.shards.iter().enumerate().filter(|(at, _)| changeable[*at]) {
            for id in
                shard.held.iter().filter(|(_, held)| held.state == State::Active).map(|(id, _)| id)
            {
                let best = &mut normal[*id as usize];
                if *best == usize::MAX || loads[at] < loads[*best] {
                    *best = at;
                }
            }
        }
        for (at, shard) in
            self.fleet.shards.iter_mut().enumerate().filter(|(at, _)| changeable[*at])
        {
            shard.held.retain(|id| {
                let found = trace.targets.get(id);
                let active = found.is_some_and(|target| Some(target.job) != trace.slow_job);
                let owner = normal[id as usize];
                active && (owner == at || owner == usize::MAX)
            });
        }
    }

    fn alleviate(&mut self, trace: &Trace, changeable: &[bool], loads: &mut [u64]) -> u64 {
        let mut lacking = 0;
        for from in (0..loads.len()).filter(|from| changeable[*from]) {
            if loads[from] < self.capacity {
                continue;
            }
            let mut ids: Vec<u64> = self.normal_of(from);
            // The order of a map in Go.
            ids.sort_by_key(|id| super::trace::mix(*id ^ trace.now as u64));
            for id in ids {
                if loads[from] <= self.capacity {
                    break;
                }
                let load = load(trace, id);
                match self.first_fit(load, changeable, loads, Some(from)) {
                    Some(to) => self.transfer(id, load, (from, to), loads),
                    None => lacking += load,
                }
            }
        }
        lacking
    }

    fn normal_of(&self, shard: usize) -> Vec<u64> {
        let held = self.fleet.shards[shard].held.iter();
        held.filter(|(_, held)| held.state == State::Active).map(|(id, _)| *id).collect()
    }

    fn transfer(&mut self, id: u64, load: u64, (from, to): (usize, usize), loads: &mut [u64]) {
        if let Some(held) = self.fleet.shards[from].held.get_mut(id) {
            held.state = State::Leaving;
        }
        self.fleet.shards[to].held.insert(id, Held::new(State::Active));
        loads[from] -= load.min(loads[from]);
        loads[to] += load;
    }

    fn first_fit(
        &self,
        load: u64,
        changeable: &[bool],
        loads: &[u64],
        not: Option<usize>,
    ) -> Option<usize> {
        (0..loads.len())
            .find(|at| Some(*at) != not && changeable[*at] && loads[*at] + load < self.capacity)
    }

    fn assign(&mut self, trace: &Trace, changeable: &[bool], loads: &mut [u64]) -> u64 {
        // A dead sidecar's status cannot be read: what it holds is on no shard.
        let mut held = vec![false; trace.ids()];
        for (shard, _) in self.fleet.shards.iter().zip(changeable).filter(|(_, up)| **up) {
            shard.held.iter().for_each(|(id, _)| held[*id as usize] = true);
        }
        let mut lacking = 0;
        for (id, target) in trace.targets.iter() {
            let unsized_yet = trace.now - target.born < STEP;
            if held[id as usize] || unsized_yet || Some(target.job) == trace.slow_job {
                continue;
            }
            let load = load(trace, id);
            if load > self.capacity {
                continue;
            }
            match self.first_fit(load, changeable, loads, None) {
                Some(to) => {
                    let held = Held::new(State::Active);
                    self.fleet.shards[to].held.insert(id, held);
                    loads[to] += load;
                }
                None => lacking += load,
            }
        }
        lacking
    }

    fn scale(&mut self, trace: &Trace, changeable: &[bool], lacking: u64, loads: &mut [u64]) {
        let count = loads.len();
        for at in 0..count {
            if self.fleet.shards[at].held.is_empty() {
                self.idle_since.entry(at).or_insert(trace.now);
            } else {
                self.idle_since.remove(&at);
            }
        }
        if lacking > 0 {
            let up = changeable.iter().filter(|up| **up).count();
            let wanted = up + (lacking / self.capacity) as usize + 1;
            self.fleet.resize(count.max(wanted), trace.now);
            return;
        }
        let mut kept = count;
        while kept > 1 && changeable[kept - 1] {
            let idle = self.idle_since.get(&(kept - 1));
            if idle.is_none_or(|since| trace.now - since < MAX_IDLE) {
                break;
            }
            self.idle_since.remove(&(kept - 1));
            kept -= 1;
        }
        self.fleet.resize(kept, trace.now);
        for from in (1..kept).rev() {
            if !changeable[from] || self.fleet.shards[from].held.is_empty() {
                continue;
            }
            let mut trial = loads[..from].to_vec();
            let mut places = Vec::new();
            for id in self.normal_of(from) {
                let load = load(trace, id);
                let Some(to) = self.first_fit(load, changeable, &trial, None) else { return };
                trial[to] += load;
                places.push((id, load, to));
            }
            for (id, load, to) in places {
                self.transfer(id, load, (from, to), loads);
            }
        }
    }
}

fn load(trace: &Trace, id: u64) -> u64 {
    trace.targets.get(id).map_or(0, |target| target.series + SERIES_PER_SCRAPE)
}
