//! Sidecars that take what they are handed and report it, each at a port of its own.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use proto::coordination::assign_response::Outcome;
use proto::coordination::coordination_server::{Coordination, CoordinationServer};
use proto::coordination::target_report::Health;
use proto::coordination::{
    AssignRequest, AssignResponse, Engine, ReportRequest, ReportResponse, StopScrape, Target,
    TargetColumns, TargetReport, engine,
};
use proto::push;
use tonic::service::Routes;
use tonic::{Request, Response, Status};

use crate::world::size;

/// What one holds.
#[derive(Debug, Default)]
struct Held {
    epoch: u64,
    version: u64,
    config_hash: String,
    targets: BTreeMap<u64, Target>,
    digest: u64,
    /// Parts of a push that is not complete yet.
    parts: Vec<Target>,
    stop: StopScrape,
    scrapes: u64,
}

/// A running one.
#[derive(Debug, Clone)]
pub(crate) struct Sidecar {
    pub(crate) address: SocketAddr,
    held: Arc<Mutex<Held>>,
}

impl Sidecar {
    /// One that holds some already, under an epoch of the past if it does.
    pub(crate) async fn start(
        targets: impl Iterator<Item = Target>,
        ordinal: u64,
        ctx: &svc::Context,
    ) -> anyhow::Result<Self> {
        let targets: BTreeMap<u64, Target> = targets.map(|target| (target.id, target)).collect();
        let (epoch, version) = if targets.is_empty() { (0, 0) } else { (1, 1 + ordinal) };
        let digest = push::finish(targets.values().map(share));
        let held = Held { epoch, version, targets, digest, scrapes: 10, ..Held::default() };
        let held = Arc::new(Mutex::new(held));
        let service = CoordinationServer::new(Service { held: Arc::clone(&held) });
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let address = svc::grpc::serve(listen, Routes::new(service), ctx).await?;
        Ok(Self { address, held })
    }

    /// How many targets it holds, and under which epoch.
    pub(crate) fn holds(&self) -> (usize, u64) {
        let held = self.held.lock();
        (held.targets.len(), held.epoch)
    }
}

struct Service {
    held: Arc<Mutex<Held>>,
}

#[tonic::async_trait]
impl Coordination for Service {
    async fn assign(
        &self,
        request: Request<AssignRequest>,
    ) -> Result<Response<AssignResponse>, Status> {
        let mut held = self.held.lock();
        let outcome = held.take(request.into_inner());
        Ok(Response::new(AssignResponse {
            epoch: held.epoch,
            version: held.version,
            config_hash: held.config_hash.clone(),
            outcome: outcome.into(),
            digest: held.digest,
        }))
    }

    async fn report(
        &self,
        request: Request<ReportRequest>,
    ) -> Result<Response<ReportResponse>, Status> {
        let mut held = self.held.lock();
        held.scrapes += 1;
        let ReportRequest { known_digest: known, columns } = request.into_inner();
        let without_labels = known != 0 && known == held.digest;
        let targets = held.targets.values().map(|target| TargetReport {
            target: Some(match without_labels {
                false => target.clone(),
                true => Target { job: String::new(), labels: Vec::new(), ..*target },
            }),
            health: Health::Up.into(),
            last_scrape_ms: 1_700_000_000_000,
            last_scrape_duration_seconds: 0.25,
            scrapes: held.scrapes,
            good_scrapes: held.scrapes,
            samples_scraped: size(target.id),
            samples_post_relabel: size(target.id),
            // One in ten churns.
            churn_per_hour: Some(if target.id % 10 == 0 { 600 } else { 0 }),
            ..TargetReport::default()
        });
        let (targets, columns) = match without_labels && columns {
            true => (Vec::new(), Some(TargetColumns::of(targets))),
            false => (targets.collect(), None),
        };
        Ok(Response::new(ReportResponse {
            epoch: held.epoch,
            version: held.version,
            config_hash: held.config_hash.clone(),
            targets,
            columns,
            engine: Some(Engine { state: engine::State::Ready.into(), ..Engine::default() }),
            protocol: push::PROTOCOL,
            stop: Some(held.stop.clone()),
            without_labels,
        }))
    }
}

impl Held {
    fn take(&mut self, request: AssignRequest) -> Outcome {
        if (request.epoch, request.version) < (self.epoch, self.version) {
            return Outcome::RefusedStale;
        }
        let later = request.part.is_some_and(|part| part.index > 0);
        if request.config.is_empty() && request.config_hash != self.config_hash && !later {
            return Outcome::NeedConfig;
        }
        self.config_hash = request.config_hash;
        match request.delta {
            Some(delta) if (request.epoch, delta.base_version) != (self.epoch, self.version) => {
                return Outcome::NeedWhole;
            }
            Some(delta) => {
                self.targets.retain(|id, _| delta.removed.binary_search(id).is_err());
                self.targets.extend(delta.changed.into_iter().map(|target| (target.id, target)));
            }
            None => {
                self.parts.extend(request.targets);
                if request.part.is_some_and(|part| part.index + 1 < part.count) {
                    return Outcome::PartTaken;
                }
                let all = std::mem::take(&mut self.parts);
                self.targets = all.into_iter().map(|target| (target.id, target)).collect();
            }
        }
        (self.epoch, self.version) = (request.epoch, request.version);
        self.digest = push::finish(self.targets.values().map(share));
        self.stop = request.stop.unwrap_or_default();
        Outcome::Applied
    }
}

fn share(target: &Target) -> u64 {
    let labels = target.labels.iter().map(|label| (label.name.as_str(), label.value.as_str()));
    push::digest_of(target.id, &target.job, target.state, labels)
}
