//! A scraper-sidecar that a test plays: it takes assignments as the real one does, and "scrapes" on every report.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use proto::coordination::assign_response::Outcome;
use proto::coordination::coordination_server::{Coordination, CoordinationServer};
use proto::coordination::target_report::Health;
use proto::coordination::{
    AssignRequest, AssignResponse, Engine, ReportRequest, ReportResponse, StopScrape, Target,
    TargetColumns, TargetReport, TargetState, engine,
};
use proto::push;
use tonic::service::Routes;
use tonic::{Request, Response, Status};

/// What it does with calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Normal,
    /// Accepts and never answers.
    Hang,
    /// Answers reports and refuses assignments.
    Stubborn,
    /// Answers reports, and assignments never.
    Deaf,
    /// Answers all, but that much later.
    Slow(Duration),
    /// Reports an epoch that nobody can have.
    FalseEpoch,
    /// Reports more series than there can be.
    FalseSeries,
    /// Reports none of the targets that it has.
    FalseTargets,
}

#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) target: Target,
    pub(crate) scrapes: u64,
    pub(crate) good: u64,
}

#[derive(Debug)]
pub(crate) struct Shard {
    pub(crate) mode: Mode,
    pub(crate) engine: engine::State,
    pub(crate) epoch: u64,
    pub(crate) version: u64,
    pub(crate) config: String,
    pub(crate) config_hash: String,
    pub(crate) held: BTreeMap<u64, Held>,
    /// Addresses that it cannot scrape.
    pub(crate) failing: Vec<String>,
    /// Series by address.
    pub(crate) series: HashMap<String, u64>,
    /// Series that end an hour, by address.
    pub(crate) churn: HashMap<String, u32>,
    pub(crate) assigned: usize,
    /// Reports that were asked for.
    pub(crate) reports: usize,
    /// When its Prometheus was started.
    pub(crate) process_start_ms: i64,
    /// Of the head of its Prometheus.
    pub(crate) head_series: u64,
    pub(crate) memory_bytes: u64,
    /// 0: it is of the version before deltas.
    pub(crate) protocol: u32,
    pub(crate) stop: StopScrape,
    /// What it held after each assignment: address and state.
    pub(crate) history: Vec<Vec<(String, TargetState)>>,
    /// How many reports had been asked for at each of these.
    pub(crate) reports_before: Vec<usize>,
}

/// A running one. Stops with its context.
#[derive(Debug, Clone)]
pub(crate) struct FakeSidecar {
    pub(crate) address: SocketAddr,
    pub(crate) shard: Arc<Mutex<Shard>>,
}

pub(crate) fn address_of(target: &Target) -> String {
    let label = target.labels.iter().find(|label| label.name == "__address__").unwrap();
    label.value.clone()
}

impl FakeSidecar {
    pub(crate) async fn start(ctx: &svc::Context) -> Self {
        let shard = Arc::new(Mutex::new(Shard {
            mode: Mode::Normal,
            engine: engine::State::Ready,
            epoch: 0,
            version: 0,
            config: String::new(),
            config_hash: String::new(),
            held: BTreeMap::new(),
            failing: Vec::new(),
            series: HashMap::new(),
            churn: HashMap::new(),
            assigned: 0,
            reports: 0,
            process_start_ms: 0,
            head_series: 1234,
            memory_bytes: 0,
            protocol: push::PROTOCOL,
            stop: StopScrape::default(),
            history: Vec::new(),
            reports_before: Vec::new(),
        }));
        let service = CoordinationServer::new(Service { shard: Arc::clone(&shard) });
        let listen = "127.0.0.1:0".parse().unwrap();
        let address = svc::grpc::serve(listen, Routes::new(service), ctx).await.unwrap();
        Self { address, shard }
    }

    /// The same shard at a further address.
    pub(crate) async fn listen_again(&self, ctx: &svc::Context) -> Self {
        let shard = Arc::clone(&self.shard);
        let service = CoordinationServer::new(Service { shard: Arc::clone(&shard) });
        let listen = "127.0.0.1:0".parse().unwrap();
        let address = svc::grpc::serve(listen, Routes::new(service), ctx).await.unwrap();
        Self { address, shard }
    }

    /// Address and state of what it holds, in order of address.
    pub(crate) fn holds(&self) -> Vec<(String, TargetState)> {
        holds(&self.shard.lock())
    }

    /// What it holds, in full.
    pub(crate) fn targets(&self) -> Vec<Target> {
        self.shard.lock().held.values().map(|held| held.target.clone()).collect()
    }

    pub(crate) fn state_of(&self, address: &str) -> Option<TargetState> {
        self.holds().into_iter().find(|(held, _)| held == address).map(|(_, state)| state)
    }
}

fn holds(shard: &Shard) -> Vec<(String, TargetState)> {
    let held = shard.held.values().map(|held| (address_of(&held.target), held.target.state()));
    let mut held: Vec<_> = held.collect();
    held.sort();
    held
}

struct Service {
    shard: Arc<Mutex<Shard>>,
}

impl Service {
    async fn hang_if_told(&self) {
        let mode = self.shard.lock().mode;
        match mode {
            Mode::Hang => std::future::pending::<()>().await,
            Mode::Slow(time) => tokio::time::sleep(time).await,
            _ => {}
        }
    }
}

#[tonic::async_trait]
impl Coordination for Service {
    async fn assign(
        &self,
        request: Request<AssignRequest>,
    ) -> Result<Response<AssignResponse>, Status> {
        self.hang_if_told().await;
        if self.shard.lock().mode == Mode::Deaf {
            std::future::pending::<()>().await;
        }
        let request = request.into_inner();
        let mut shard = self.shard.lock();
        if shard.mode == Mode::Stubborn {
            return Err(Status::internal("disk is full"));
        }
        shard.assigned += 1;
        let outcome = take(&mut shard, request);
        let held: Vec<Target> = shard.held.values().map(|held| held.target.clone()).collect();
        Ok(Response::new(AssignResponse {
            epoch: shard.epoch,
            version: shard.version,
            config_hash: shard.config_hash.clone(),
            outcome: outcome.into(),
            digest: push::digest(&held),
        }))
    }

    async fn report(
        &self,
        request: Request<ReportRequest>,
    ) -> Result<Response<ReportResponse>, Status> {
        self.shard.lock().reports += 1;
        self.hang_if_told().await;
        let mut shard = self.shard.lock();
        let mut report = report(&mut shard);
        shorten(&mut report, request.get_ref().known_digest);
        match shard.mode {
            Mode::FalseEpoch => report.epoch = u64::MAX,
            Mode::FalseSeries => {
                report.targets.iter_mut().for_each(|held| held.samples_post_relabel = u64::MAX);
            }
            Mode::FalseTargets => report.targets.clear(),
            _ => {}
        }
        if report.without_labels && request.get_ref().columns {
            let targets = std::mem::take(&mut report.targets);
            report.columns = Some(TargetColumns::of(targets.into_iter()));
        }
        Ok(Response::new(report))
    }
}

/// As sidecars do: without labels where these are known.
fn shorten(report: &mut ReportResponse, known_digest: u64) {
    let held: Vec<Target> = report.targets.iter().filter_map(|held| held.target.clone()).collect();
    if report.protocol < push::PROTOCOL || known_digest != push::digest(&held) {
        return;
    }
    report.without_labels = true;
    for target in report.targets.iter_mut().filter_map(|held| held.target.as_mut()) {
        *target = Target { job: String::new(), labels: Vec::new(), ..target.clone() };
    }
}

fn take(shard: &mut Shard, request: AssignRequest) -> Outcome {
    if (request.epoch, request.version) < (shard.epoch, shard.version) {
        return Outcome::RefusedStale;
    }
    if request.config.is_empty() && request.config_hash != shard.config_hash {
        return Outcome::NeedConfig;
    }
    if !request.config.is_empty() {
        shard.config = String::from_utf8(request.config.to_vec()).unwrap();
        shard.config_hash = request.config_hash;
    }
    assert!(request.part.is_none(), "the tests' targets fit into one message");
    let targets = match request.delta {
        Some(delta) if (request.epoch, delta.base_version) != (shard.epoch, shard.version) => {
            return Outcome::NeedWhole;
        }
        Some(delta) => {
            let kept = shard.held.values().map(|held| held.target.clone());
            let mut targets: BTreeMap<u64, Target> = kept.map(|kept| (kept.id, kept)).collect();
            targets.retain(|id, _| !delta.removed.contains(id));
            targets.extend(delta.changed.into_iter().map(|target| (target.id, target)));
            targets.into_values().collect()
        }
        None => request.targets,
    };
    assert!([0, push::digest(&targets)].contains(&request.digest), "the digest is of the outcome");
    if shard.protocol >= push::PROTOCOL {
        shard.stop = request.stop.unwrap_or_default();
    }
    (shard.epoch, shard.version) = (request.epoch, request.version);
    let mut before = std::mem::take(&mut shard.held);
    for target in targets {
        let known = before.remove(&target.id);
        let (scrapes, good) = known.map_or((0, 0), |held| (held.scrapes, held.good));
        shard.held.insert(target.id, Held { target, scrapes, good });
    }
    let now = holds(shard);
    shard.history.push(now);
    shard.reports_before.push(shard.reports);
    Outcome::Applied
}

fn report(shard: &mut Shard) -> ReportResponse {
    let mut targets = Vec::new();
    let Shard { held, failing, series, churn, .. } = shard;
    for held in held.values_mut() {
        let address = address_of(&held.target);
        let fails = failing.contains(&address);
        held.scrapes += 1;
        held.good = if fails { 0 } else { held.good + 1 };
        let series = series.get(&address).copied().unwrap_or(held.target.series);
        targets.push(TargetReport {
            target: Some(held.target.clone()),
            health: if fails { Health::Down } else { Health::Up }.into(),
            last_error: if fails { "connection refused".to_owned() } else { String::new() },
            last_scrape_ms: 1_700_000_000_000,
            last_scrape_duration_seconds: 0.25,
            scrapes: held.scrapes,
            good_scrapes: held.good,
            samples_scraped: if fails { 0 } else { series },
            samples_post_relabel: if fails { 0 } else { series },
            churn_per_hour: churn.get(&address).copied(),
        });
    }
    ReportResponse {
        epoch: shard.epoch,
        version: shard.version,
        config_hash: shard.config_hash.clone(),
        targets,
        engine: Some(Engine {
            state: shard.engine.into(),
            head_series: shard.head_series,
            memory_bytes: shard.memory_bytes,
            version: "2.42.0".to_owned(),
            process_start_ms: shard.process_start_ms,
            ..Engine::default()
        }),
        protocol: shard.protocol,
        stop: (shard.protocol >= push::PROTOCOL).then(|| shard.stop.clone()),
        without_labels: false,
        columns: None,
    }
}
