//! A small cluster that does what plans say, at once and without fault unless told otherwise.

use super::*;

/// Limits that tests start from.
pub(super) fn limits(max_series: u64) -> Limits {
    Limits {
        max_series,
        max_samples: 0,
        max_head: 0,
        min_shards: 1,
        max_shards: 999,
        scalable: true,
        max_idle: Duration::ZERO,
        good_scrapes: 2,
        move_timeout: Duration::from_secs(300),
        grace: Duration::from_secs(120),
        moves_per_minute: 100_000,
        fill_to: 90,
        relieve_to: 95,
        drain_to: 90,
        life: LifeLimits::default(),
    }
}

#[derive(Debug, Clone)]
pub(super) struct World {
    pub(super) limits: Limits,
    pub(super) groups: u32,
    pub(super) targets: BTreeMap<u64, Size>,
    pub(super) shards: Vec<ShardView>,
    pub(super) history: History,
    pub(super) now: i64,
    pub(super) hold_jobs: bool,
    pub(super) rules: Arc<Rules>,
    pub(super) tags: BTreeMap<u64, Tag>,
    pub(super) intervals: BTreeMap<u64, u32>,
    pub(super) churn: BTreeMap<u64, u32>,
    /// Targets that a shard cannot scrape.
    pub(super) unscrapable: Vec<(u64, ShardId)>,
    pub(super) begun: usize,
    pub(super) begun_targets: Vec<u64>,
    pub(super) finished: usize,
    pub(super) rolled_back: usize,
}

fn job() -> Arc<str> {
    Arc::from("job")
}

impl World {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            groups: 1,
            targets: BTreeMap::new(),
            shards: Vec::new(),
            history: History::default(),
            now: 1_700_000_000_000,
            hold_jobs: false,
            rules: Arc::default(),
            tags: BTreeMap::new(),
            intervals: BTreeMap::new(),
            churn: BTreeMap::new(),
            unscrapable: Vec::new(),
            begun: 0,
            begun_targets: Vec::new(),
            finished: 0,
            rolled_back: 0,
        }
    }

    /// Adds a target, or changes its size.
    pub(super) fn target(&mut self, id: u64, series: u64) {
        self.targets.insert(id, Size::Counted(series));
    }

    pub(super) fn tentative(&mut self, id: u64, series: u64) {
        self.targets.insert(id, Size::Tentative(series));
    }

    pub(super) fn forget(&mut self, id: u64) {
        self.targets.remove(&id);
    }

    pub(super) fn add_shard(&mut self) {
        let count = self.shards.len();
        self.resize(0, u32::try_from(count).unwrap() + 1);
    }

    pub(super) fn lose(&mut self, index: usize) {
        self.shards[index].condition = Condition::Unreachable { since: self.now };
    }

    pub(super) fn find(&mut self, index: usize) {
        self.shards[index].condition = Condition::Ready;
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.now += i64::try_from(time.as_millis()).unwrap();
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        let targets = self.targets.iter();
        let tag = |id: &u64| self.tags.get(id).copied().unwrap_or_default();
        let targets = targets.map(|(id, size)| TargetView {
            id: *id,
            job: job(),
            size: size.clone(),
            tag: tag(id),
            interval_ms: self.intervals.get(id).copied().unwrap_or(0),
            churn: self.churn.get(id).copied().unwrap_or(0),
        });
        let held = self.tags.iter().filter(|(id, _)| !self.targets.contains_key(id));
        let mut shards = self.shards.clone();
        for shard in &mut shards {
            shard.life.silent |= !group::Planner::is_reachable(shard.condition);
        }
        let held_jobs = if self.hold_jobs { BTreeSet::from([job()]) } else { BTreeSet::new() };
        Snapshot {
            targets: targets.collect(),
            shards,
            groups: self.groups,
            held_jobs,
            rules: Arc::clone(&self.rules),
            held_tags: held.map(|(id, tag)| (*id, *tag)).collect(),
        }
    }

    /// Plans and carries out.
    pub(super) fn cycle(&mut self) -> Plan {
        let plan = plan(&self.snapshot(), &self.limits, &self.history, self.now);
        self.apply(&plan);
        self.now += 1_000;
        plan
    }

    pub(super) fn apply(&mut self, plan: &Plan) {
        self.history = plan.history.clone();
        for report in &plan.moves {
            match report.phase {
                MovePhase::Begun(_) => {
                    self.begun += 1;
                    self.begun_targets.push(report.target);
                }
                MovePhase::Finished { .. } => self.finished += 1,
                MovePhase::RolledBack { .. } => self.rolled_back += 1,
                MovePhase::Evacuated | MovePhase::Deduplicated => {}
            }
        }
        for (id, desired) in &plan.shards {
            let shard = self.shards.iter_mut().find(|shard| shard.id == *id).unwrap();
            if !group::Planner::is_reachable(shard.condition) || shard.life.silent {
                continue;
            }
            let before = std::mem::take(&mut shard.holdings);
            shard.holdings = desired.iter().map(|desired| take_over(&before, *desired)).collect();
        }
        for (group, count) in (0u32..).zip(&plan.shard_counts) {
            self.resize(group, *count);
        }
    }

    pub(super) fn resize(&mut self, group: u32, count: u32) {
        self.shards.retain(|shard| shard.id.group != group || shard.id.ordinal < count);
        for ordinal in 0..count {
            let id = ShardId { group, ordinal };
            if self.shards.iter().all(|shard| shard.id != id) {
                self.shards.push(ShardView {
                    id,
                    capacity: self.limits.max_series,
                    condition: Condition::Ready,
                    known: true,
                    holdings: Vec::new(),
                    life: ShardLife::default(),
                });
            }
        }
        self.shards.sort_by_key(|shard| shard.id);
    }

    /// Every reachable shard scrapes everything that it holds.
    pub(super) fn scrape(&mut self) {
        for shard in &mut self.shards {
            if shard.condition != Condition::Ready {
                continue;
            }
            for holding in &mut shard.holdings {
                let good = !self.unscrapable.contains(&(holding.target, shard.id));
                holding.scrapes += 1;
                holding.good_scrapes = if good { holding.good_scrapes + 1 } else { 0 };
                holding.down = !good;
                if let Some(Size::Counted(series)) = self.targets.get(&holding.target) {
                    holding.series = *series;
                }
            }
        }
    }

    /// Plans, carries out and scrapes until nothing changes any more, and nothing is about to.
    pub(super) fn settle(&mut self) {
        let mut waited = 0;
        for _ in 0..200 {
            let before = self.assignments();
            let plan = self.cycle();
            self.scrape();
            let moving =
                self.shards.iter().flat_map(|s| &s.holdings).any(|h| h.state != State::Active);
            if before == self.assignments() && plan.moves.is_empty() && !moving {
                let waits = plan.busy
                    && (!plan.history.spare_since.is_empty()
                        || !plan.history.uneven_since.is_empty()
                        || !plan.history.waiting_since.is_empty());
                if !waits || waited == 12 {
                    return;
                }
                waited += 1;
                self.pass(Duration::from_secs(30));
            }
        }
        panic!("the world does not settle: {self:#?}");
    }

    pub(super) fn assignments(&self) -> Vec<(ShardId, Vec<(u64, State)>)> {
        let held = |shard: &ShardView| shard.holdings.iter().map(|h| (h.target, h.state)).collect();
        self.shards.iter().map(|shard| (shard.id, held(shard))).collect()
    }

    pub(super) fn loads(&self) -> Vec<u64> {
        let load =
            |shard: &ShardView| shard.holdings.iter().map(|h| self.load(h.target)).sum::<u64>();
        self.shards.iter().map(load).collect()
    }

    pub(super) fn load(&self, target: u64) -> u64 {
        match self.targets.get(&target) {
            Some(Size::Counted(series) | Size::Tentative(series)) => series + SERIES_PER_SCRAPE,
            Some(Size::Unknown) | None => 0,
        }
    }

    pub(super) fn owners(&self, target: u64) -> Vec<ShardId> {
        let owns = |shard: &&ShardView| {
            shard.holdings.iter().any(|h| h.target == target && h.state == State::Active)
        };
        self.shards.iter().filter(owns).map(|shard| shard.id).collect()
    }

    pub(super) fn owner(&self, target: u64) -> ShardId {
        let owners = self.owners(target);
        assert_eq!(owners.len(), 1, "owners of {target}");
        owners[0]
    }

    pub(super) fn holders(&self, target: u64) -> usize {
        self.shards.iter().filter(|s| s.holdings.iter().any(|h| h.target == target)).count()
    }

    /// Gives a shard a target that it has never scraped.
    pub(super) fn hand(&mut self, shard: usize, desired: Desired) {
        let holding = take_over(&[], desired);
        self.shards[shard].holdings.push(holding);
    }

    pub(super) fn state_on(&self, target: u64, shard: usize) -> Option<State> {
        self.shards[shard].holdings.iter().find(|h| h.target == target).map(|h| h.state)
    }
}

fn take_over(before: &[Holding], desired: Desired) -> Holding {
    let held = before.iter().find(|held| held.target == desired.target).cloned();
    let fresh = Holding {
        target: desired.target,
        job: job(),
        state: desired.state,
        series: 0,
        interval_ms: 0,
        churn: 0,
        scrapes: 0,
        good_scrapes: 0,
        down: false,
    };
    Holding { state: desired.state, ..held.unwrap_or(fresh) }
}
