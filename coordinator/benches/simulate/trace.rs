//! The life of a cluster in virtual time: what there is to scrape, and what befalls shards and coordinator. Seeded; every
//! rule lives through the same days.

/// The coordinator plans that often.
pub(crate) const STEP: i64 = 20;
pub(crate) const DAY: i64 = 86_400;
/// Every target is scraped that often.
pub(crate) const INTERVAL: i64 = 60;

/// SplitMix64.
#[derive(Debug, Clone)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    /// In [0, 1).
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// The sum of twelve uniform ones is near enough.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.unit()).sum::<f64>() - 6.0
    }
}

pub(crate) fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) job: usize,
    pub(crate) series: u64,
    pub(crate) born: i64,
}

/// Targets by id; ids only ever grow.
#[derive(Debug, Default)]
pub(crate) struct Targets {
    ids: Vec<u64>,
    table: Vec<Option<Target>>,
}

impl Targets {
    fn insert(&mut self, id: u64, target: Target) {
        self.ids.push(id);
        self.table.resize(id as usize + 1, None);
        self.table[id as usize] = Some(target);
    }

    fn remove(&mut self, id: u64) {
        if let Ok(at) = self.ids.binary_search(&id) {
            self.ids.remove(at);
            self.table[id as usize] = None;
        }
    }

    pub(crate) fn get(&self, id: u64) -> Option<&Target> {
        self.table.get(id as usize)?.as_ref()
    }

    fn get_mut(&mut self, id: u64) -> Option<&mut Target> {
        self.table.get_mut(id as usize)?.as_mut()
    }

    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }

    pub(crate) fn ids(&self) -> &[u64] {
        &self.ids
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &Target)> {
        self.ids.iter().filter_map(|id| Some((*id, self.get(*id)?)))
    }
}

#[derive(Debug)]
struct Deployment {
    replicas: u64,
    pods: Vec<u64>,
    series: f64,
    /// Pods that a rolling update has still to replace.
    rolling: usize,
}

/// A shard that is away, by a number that each rule takes modulo its shards.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outage {
    pub(crate) pick: u64,
    pub(crate) from: i64,
    pub(crate) until: i64,
}

/// What there is now.
pub(crate) struct Trace {
    random: Random,
    pub(crate) now: i64,
    days: i64,
    pub(crate) targets: Targets,
    next_id: u64,
    deployments: Vec<Deployment>,
    nodes: Vec<[u64; 3]>,
    pub(crate) outages: Vec<Outage>,
    /// A new coordinator was started, and will not plan before then.
    pub(crate) coordinator_back: i64,
    /// A restarted coordinator's discovery has not answered for this job.
    pub(crate) slow_job: Option<usize>,
    /// A job whose discovery fails or answers nothing. Peers are taken to go on with the last answer.
    pub(crate) silent_job: Option<usize>,
    pub(crate) restarted: bool,
}

pub(crate) const JOBS: usize = 6;

impl Trace {
    pub(crate) fn new(seed: u64, days: i64) -> Self {
        let mut trace = Self {
            random: Random(seed),
            now: 0,
            days,
            targets: Targets::default(),
            next_id: 1,
            deployments: Vec::new(),
            nodes: Vec::new(),
            outages: Vec::new(),
            coordinator_back: 0,
            slow_job: None,
            silent_job: None,
            restarted: false,
        };
        for _ in 0..150 {
            trace.add_node();
        }
        for _ in 0..130 {
            let series = 400.0 * (1.1 * trace.random.normal()).exp();
            trace.deploy(series.max(20.0), 3 + trace.random.clone().below(50));
            trace.random.next();
        }
        // The few that are as large as hundreds of others.
        for _ in 0..20 {
            let series = 20_000.0 * (12.5f64).powf(trace.random.unit());
            trace.deploy(series, 1);
        }
        trace
    }

    fn deploy(&mut self, series: f64, replicas: u64) {
        self.deployments.push(Deployment { replicas, pods: Vec::new(), series, rolling: 0 });
        let at = self.deployments.len() - 1;
        for _ in 0..replicas {
            self.add_pod(at);
        }
    }

    fn add(&mut self, job: usize, series: f64) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        let series = (series * (1.0 + 0.1 * self.random.normal())).max(1.0) as u64;
        self.targets.insert(id, Target { job, series, born: self.now });
        id
    }

    fn add_pod(&mut self, deployment: usize) {
        let id = self.add(3 + deployment % 3, self.deployments[deployment].series);
        self.deployments[deployment].pods.push(id);
    }

    fn add_node(&mut self) {
        let node = [self.add(0, 1_200.0), self.add(1, 8_000.0), self.add(2, 3_000.0)];
        self.nodes.push(node);
    }

    pub(crate) fn ids(&self) -> usize {
        usize::try_from(self.next_id).unwrap_or(usize::MAX)
    }

    pub(crate) fn load(&self) -> u64 {
        self.targets
            .iter()
            .map(|(_, target)| target.series + coordinator::plan::SERIES_PER_SCRAPE)
            .sum()
    }

    pub(crate) fn is_over(&self) -> bool {
        self.now >= self.days * DAY
    }

    /// Goes on by a step.
    pub(crate) fn advance(&mut self) {
        self.now += STEP;
        self.restarted = false;
        if self.coordinator_back <= self.now - 120 {
            self.slow_job = None;
        }
        let minute = self.now % 60 == 0;
        if minute {
            self.grow_nodes();
            self.churn();
            self.befall();
        }
        if self.now % 600 == 0 {
            self.drift();
        }
        self.outages.retain(|outage| outage.until > self.now);
    }

    /// 70 % more nodes by two thirds of the time, then some go again.
    fn grow_nodes(&mut self) {
        let part = self.now as f64 / (self.days * DAY) as f64;
        let wanted = if part < 0.66 {
            150.0 + 105.0 * part / 0.66
        } else {
            255.0 - 120.0 * (part - 0.66) / 0.34
        };
        while (self.nodes.len() as f64) < wanted.floor() {
            self.add_node();
        }
        while self.nodes.len() as f64 > wanted.ceil() {
            let at = self.random.below(self.nodes.len() as u64) as usize;
            for id in self.nodes.swap_remove(at) {
                self.targets.remove(id);
            }
        }
    }

    /// Rolling updates, autoscaling by the time of day, pods that are rescheduled.
    fn churn(&mut self) {
        let count = self.deployments.len();
        if self.random.below(12) == 0 {
            let at = self.random.below(count as u64) as usize;
            self.deployments[at].rolling = self.deployments[at].pods.len();
        }
        let hour = (self.now % DAY) as f64 / 3_600.0;
        let tide = 1.0 + 0.25 * (std::f64::consts::TAU * (hour - 8.0) / 24.0).sin();
        for at in 0..count {
            let deployment = &mut self.deployments[at];
            let step = deployment.rolling.min(deployment.pods.len().div_ceil(5));
            deployment.rolling -= step;
            let reschedule = usize::from(self.random.below(600) == 0);
            for _ in 0..step + reschedule {
                if self.deployments[at].pods.is_empty() {
                    break;
                }
                let id = self.deployments[at].pods.remove(0);
                self.targets.remove(id);
                self.add_pod(at);
            }
            let base = self.deployments[at].replicas;
            let wanted = if base == 1 { 1 } else { (base as f64 * tide).round() as usize };
            if self.deployments[at].pods.len() < wanted {
                self.add_pod(at);
            } else if self.deployments[at].pods.len() > wanted {
                let id = self.deployments[at].pods.remove(0);
                self.targets.remove(id);
            }
        }
    }

    /// Sizes change: each a little, and now and then one a lot.
    fn drift(&mut self) {
        let mut random = self.random.clone();
        for target in self.targets.table.iter_mut().flatten() {
            let factor = 1.0 + 0.002 * random.normal();
            target.series = (target.series as f64 * factor).max(1.0) as u64;
        }
        let at = random.below(self.deployments.len() as u64) as usize;
        for id in &self.deployments[at].pods {
            if let Some(target) = self.targets.get_mut(*id) {
                target.series = target.series * 105 / 100;
            }
        }
        self.random = random;
    }

    fn befall(&mut self) {
        let hour = 3_600;
        // A crash, over before anybody acts, and one that lasts.
        if self.now % (6 * hour) == 3 * hour {
            self.fall(45, 0);
        }
        if self.now % (12 * hour) == 7 * hour {
            self.fall(600, 0);
        }
        // All shards are restarted, one after the other.
        if self.now % DAY == 20 * hour {
            for pick in 0..24 {
                let from = self.now + i64::try_from(pick).unwrap_or(0) * 90;
                self.outages.push(Outage { pick, from, until: from + 40 });
            }
        }
        // Discovery of a job is out for a quarter of an hour.
        if self.now % (8 * hour) == 6 * hour {
            self.silent_job = Some(self.random.clone().below(JOBS as u64) as usize);
        } else if self.now % (8 * hour) == 6 * hour + hour / 4 {
            self.silent_job = None;
        }
        if self.now % (5 * hour) == 4 * hour {
            self.restarted = true;
            self.coordinator_back = self.now + 60;
            self.slow_job = (self.now % (10 * hour) == 4 * hour).then_some(3);
        }
    }

    fn fall(&mut self, seconds: i64, delay: i64) {
        let from = self.now + delay;
        self.outages.push(Outage { pick: self.random.next(), from, until: from + seconds });
    }
}
