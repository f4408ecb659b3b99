//! Speaks to one shard's scraper-sidecar, one call at a time, each with a deadline.
//!
//! The cycle asks for a report by raising the round, and hands over an assignment; what came of both it reads from the
//! agent's view. A shard that hangs holds up its own agent only.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use prost::Message;
use proto::coordination::assign_response::Outcome;
use proto::coordination::coordination_client::CoordinationClient;
use proto::coordination::{AssignRequest, AssignResponse, ReportRequest, ReportResponse};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tonic::transport::Channel;
use tonic::{Request, Status};
use tracing::{Instrument, debug, info_span, warn};

use super::lanes::Lanes;
use super::told::Report;
use super::{believe, probe};
use crate::Error;
use crate::detect::Engine;
use crate::metrics::Pushes;
use crate::plan::ShardId;
use crate::shard::push::Push;

/// How often a push is sent again because the shard lacks what it builds on: once for the configuration, once for all.
const RETRIES: usize = 2;

/// How long the cycle waits for those that are usually quick. Whoever takes longer is seen in a later turn.
pub(crate) const PROMPT: Duration = Duration::from_secs(1);

/// What the cycle wants of an agent.
#[derive(Debug, Clone, Default)]
struct Command {
    round: u64,
    /// Where the shard's Prometheus is, to be asked when the sidecar does not answer.
    prometheus: Option<String>,
    push: Option<Arc<Push>>,
}

/// What an agent has seen.
#[derive(Debug, Clone, Default)]
pub(crate) struct View {
    /// The last round that ended, well or not.
    pub(crate) round: u64,
    /// The last round that ended well; 0: none yet.
    pub(crate) good_round: u64,
    pub(crate) report: Option<Arc<Report>>,
    /// Why the last round did not end well.
    pub(crate) error: Option<String>,
    /// What Prometheus itself said after that.
    pub(crate) direct: Option<Engine>,
    /// Whether the last report took longer than anybody should wait for.
    slow: bool,
    /// Whether a push is under way: no report comes before its end.
    pushing: bool,
    /// The last push that was answered, and how.
    pub(crate) pushed: Option<(u64, u64)>,
    pub(crate) push_error: Option<String>,
    /// The last push that the shard has taken, and the last good round before it.
    pub(crate) applied: Option<(u64, Arc<Push>)>,
}

impl View {
    /// Whether a report can be waited for: new ones are given the chance, one that failed or was slow last time has to
    /// prove itself first.
    fn is_prompt(&self, round: u64) -> bool {
        let answered = self.round == 0 || self.good_round + 1 == round;
        answered && !self.slow && !self.pushing
    }

    /// Whether the end of a push can be waited for.
    pub(crate) fn takes_promptly(&self) -> bool {
        self.push_error.is_none() && !self.slow && !self.pushing
    }

    /// What it has taken since its last report, if that is so.
    fn newer(&self) -> Option<&Arc<Push>> {
        let newer = self.applied.as_ref().filter(|(round, _)| *round >= self.good_round);
        newer.map(|(_, push)| push)
    }

    /// Of the targets that the shard holds, as far as known; 0: nothing is.
    fn digest(&self) -> u64 {
        let reported = self.report.as_ref().map_or(0, |report| report.digest);
        self.newer().map_or(reported, |push| push.digest())
    }

    /// What the shard holds, as far as known: its last report, or what it has taken since.
    pub(crate) fn held(&self) -> Option<Arc<Report>> {
        let report = self.report.as_ref()?;
        let Some(push) = self.newer() else { return Some(Arc::clone(report)) };
        Some(Arc::new(Report {
            epoch: push.epoch,
            version: push.version,
            config_hash: push.config.hash.clone(),
            stop: Some(push.stop.clone()),
            ..report.with_targets(&push.targets, push.digest())
        }))
    }
}

/// A handle to one agent.
#[derive(Debug)]
pub(crate) struct Agent {
    pub(crate) address: String,
    commands: watch::Sender<Command>,
    pub(crate) view: watch::Receiver<View>,
}

/// All agents, by shard. Dropping it ends them.
#[derive(Debug)]
pub(crate) struct Agents {
    by_shard: HashMap<ShardId, Agent>,
    /// For what is asked of Prometheus itself; made with the first agent.
    http: Option<reqwest::Client>,
    tasks: JoinSet<()>,
    pushes: Pushes,
    lanes: Arc<Lanes>,
}

impl Agents {
    /// None yet; `pushes` is to count what is sent as assignments.
    pub(crate) fn new(pushes: Pushes) -> Self {
        Self {
            by_shard: HashMap::new(),
            http: None,
            tasks: JoinSet::new(),
            pushes,
            lanes: Arc::default(),
        }
    }

    /// Starts the agent of a shard, anew when its address has changed. Whether it was.
    pub(crate) fn ensure(
        &mut self,
        shard: ShardId,
        address: &str,
        prometheus: Option<&str>,
        timeout: Duration,
    ) -> Result<bool, Error> {
        // Ended tasks are forgotten here: their commands' senders are gone.
        while self.tasks.try_join_next().is_some() {}
        if let Some(agent) = self.by_shard.get(&shard).filter(|agent| agent.address == address) {
            agent.commands.send_if_modified(|command| {
                let changed = command.prometheus.as_deref() != prometheus;
                command.prometheus = prometheus.map(str::to_owned);
                changed
            });
            return Ok(false);
        }
        let channel = svc::grpc::channel(address, timeout).map_err(Error::Address)?;
        let client = CoordinationClient::new(channel)
            .max_decoding_message_size(proto::MAX_MESSAGE_BYTES)
            .max_encoding_message_size(proto::MAX_MESSAGE_BYTES);
        let http = match &self.http {
            Some(http) => http.clone(),
            None => self.http.insert(svc::http::client(timeout).map_err(Error::Address)?).clone(),
        };
        let prometheus = prometheus.map(str::to_owned);
        let (commands, received) = watch::channel(Command { prometheus, ..Command::default() });
        let (shown, view) = watch::channel(View::default());
        let pushes = self.pushes.clone();
        let lanes = Arc::clone(&self.lanes);
        let worker =
            Worker { client, http, timeout, pushes, lanes, received, shown, without_known: false };
        self.tasks.spawn(worker.run().instrument(info_span!("agent", %shard)));
        let agent = Agent { address: address.to_owned(), commands, view };
        self.by_shard.insert(shard, agent);
        Ok(true)
    }

    /// Ends the agents of shards that are no more.
    pub(crate) fn retain(&mut self, keep: impl Fn(ShardId) -> bool) {
        self.by_shard.retain(|shard, _| keep(*shard));
    }

    pub(crate) fn get(&self, shard: ShardId) -> Option<&Agent> {
        self.by_shard.get(&shard)
    }

    /// Asks all shards for a report and waits for those that answered promptly last time, a moment at most.
    pub(crate) async fn report(&self, round: u64, timeout: Duration) {
        let mut awaited = Vec::new();
        for agent in self.by_shard.values() {
            let trusted = agent.view.borrow().is_prompt(round);
            agent.commands.send_modify(|command| command.round = round);
            if trusted {
                awaited.push(agent.view.clone());
            }
        }
        let waits = awaited.into_iter().map(|mut view| async move {
            // An error says that the agent is gone.
            view.wait_for(|view| view.round >= round).await.is_ok()
        });
        // Whoever has not answered by then is seen in the next round.
        drop(tokio::time::timeout(timeout.min(PROMPT), futures::future::join_all(waits)).await);
    }
}

impl Agent {
    /// Hands over an assignment; one that was not sent yet is replaced.
    pub(crate) fn push(&self, push: Push) {
        self.commands.send_modify(|command| command.push = Some(Arc::new(push)));
    }

    /// What it was handed and has not answered for yet: it may hold that already, or still what it held before.
    pub(crate) fn under_way(&self) -> Option<Arc<Push>> {
        let push = self.commands.borrow().push.clone()?;
        (self.view.borrow().pushed < Some((push.epoch, push.version))).then_some(push)
    }

    /// Returns when a push has been answered, failed, or been overtaken.
    pub(crate) async fn pushed(&self, epoch: u64, version: u64) {
        let mut view = self.view.clone();
        // An error says that the agent is gone: then there is nothing to wait for.
        drop(view.wait_for(|view| view.pushed >= Some((epoch, version))).await);
    }
}

struct Worker {
    client: CoordinationClient<Channel>,
    http: reqwest::Client,
    timeout: Duration,
    pushes: Pushes,
    lanes: Arc<Lanes>,
    received: watch::Receiver<Command>,
    shown: watch::Sender<View>,
    /// Whether the next report is asked for with all labels, since the last one was none.
    without_known: bool,
}

impl Worker {
    /// Runs until its handle is dropped.
    async fn run(mut self) {
        let mut round = 0;
        let mut version = None;
        while self.received.changed().await.is_ok() {
            let command = self.received.borrow_and_update().clone();
            if command.round > round {
                round = command.round;
                self.report(round, command.prometheus.as_deref()).await;
            }
            let Some(push) = command.push else { continue };
            if version < Some((push.epoch, push.version)) {
                version = Some((push.epoch, push.version));
                self.assign(&push).await;
            }
        }
    }

    async fn report(&mut self, round: u64, prometheus: Option<&str>) {
        let began = Instant::now();
        let known_digest = if self.without_known { 0 } else { self.shown.borrow().digest() };
        let request = Request::new(ReportRequest { known_digest, columns: true });
        let answer = tokio::time::timeout(self.timeout, self.client.report(request)).await;
        let outcome = match answer.unwrap_or_else(|_| Err(self.late())) {
            Ok(report) => self.kept(report.into_inner(), known_digest),
            Err(status) => Err(describe(&status)),
        };
        self.without_known = outcome.is_err();
        let slow = began.elapsed() > PROMPT;
        let direct = match prometheus.filter(|_| outcome.is_err()) {
            Some(prometheus) => Some(probe::ask(&self.http, prometheus).await),
            None => None,
        };
        self.shown.send_modify(|view| {
            (view.round, view.direct, view.slow) = (round, direct, slow);
            match outcome {
                Ok(report) => {
                    view.good_round = round;
                    view.error = None;
                    view.report = Some(Arc::new(report));
                }
                Err(error) => {
                    if view.error.is_none() {
                        debug!(error, "shard did not report");
                    }
                    view.error = Some(error);
                }
            }
        });
    }

    /// A report as it is kept, if it can be true: it shares what has not changed since the last one, or since the push
    /// after it.
    fn kept(&self, report: ReportResponse, asked: u64) -> Result<Report, String> {
        let view = self.shown.borrow();
        let reported = view.report.as_ref().map(|report| &report.targets);
        let known = view.newer().map(|push| &push.targets).or(reported);
        let report = Report::from_wire(report, asked, known.unwrap_or(&Arc::default()))?;
        let taken = view.applied.as_ref();
        let doubt = believe::doubt(&report)
            .or_else(|| taken.and_then(|(_, push)| believe::contradiction(&report, push)));
        doubt.map_or(Ok(report), Err)
    }

    async fn assign(&mut self, push: &Arc<Push>) {
        self.shown.send_modify(|view| view.pushing = true);
        let outcome = self.send(push).await;
        self.pushes.ended(match &outcome {
            Ok(()) => Pushes::APPLIED,
            Err(failed) => failed.outcome,
        });
        if let Err(failed) = &outcome {
            let Failed { error, .. } = failed;
            warn!(
                error,
                epoch = push.epoch,
                version = push.version,
                "shard did not take its targets"
            );
        }
        self.shown.send_modify(|view| {
            view.pushing = false;
            view.pushed = Some((push.epoch, push.version));
            if outcome.is_ok() {
                view.applied = Some((view.good_round, Arc::clone(push)));
            }
            view.push_error = outcome.err().map(|failed| failed.error);
        });
    }

    async fn send(&mut self, push: &Push) -> Result<(), Failed> {
        let lanes = Arc::clone(&self.lanes);
        let _lane = lanes.enter().await;
        let held = push.take_held();
        let (mut with_config, mut whole) = (push.with_config, false);
        let mut response = self.call(push.messages(&held, with_config, whole)).await?;
        for _ in 0..RETRIES {
            match response.outcome() {
                Outcome::NeedConfig => with_config = true,
                Outcome::NeedWhole => whole = true,
                _ => break,
            }
            response = self.call(push.messages(&held, with_config, whole)).await?;
        }
        let digest = push.digest();
        let error = match response.outcome() {
            Outcome::Applied | Outcome::Unchanged if ![0, digest].contains(&response.digest) => {
                "it says that it took other targets than it was sent"
            }
            Outcome::Applied | Outcome::Unchanged => return Ok(()),
            Outcome::RefusedStale => {
                let error = format!(
                    "it refused epoch {} version {}: it has epoch {} version {}",
                    push.epoch, push.version, response.epoch, response.version
                );
                return Err(Failed { outcome: Pushes::REFUSED_STALE, error });
            }
            Outcome::NeedConfig => "it asked again for the configuration it was sent",
            Outcome::NeedWhole => "it asked again for everything it was sent",
            Outcome::PartTaken => "it waits for parts that there are not",
            Outcome::Unspecified => "it answered with no outcome",
        };
        Err(error.to_owned().into())
    }

    /// Sends a push, and returns the answer to its last message, or to the first one that ended it.
    async fn call(&mut self, messages: Vec<AssignRequest>) -> Result<AssignResponse, String> {
        let mut last = AssignResponse::default();
        for message in messages {
            self.pushes.bytes.inc_by(message.encoded_len() as u64);
            let request = Request::new(message);
            let answer = tokio::time::timeout(self.timeout, self.client.assign(request)).await;
            let answer = answer.unwrap_or_else(|_| Err(self.late()));
            last = answer.map(tonic::Response::into_inner).map_err(|status| describe(&status))?;
            if last.outcome() != Outcome::PartTaken {
                break;
            }
        }
        Ok(last)
    }

    fn late(&self) -> Status {
        Status::deadline_exceeded(format!("no answer within {:?}", self.timeout))
    }
}

/// Why a push did not end well.
struct Failed {
    /// One of those of [`Pushes`].
    outcome: &'static str,
    error: String,
}

impl From<String> for Failed {
    fn from(error: String) -> Self {
        Self { outcome: Pushes::FAILED, error }
    }
}

/// A status for people: its message, and the cause where the connection failed.
fn describe(status: &Status) -> String {
    match std::error::Error::source(status) {
        Some(source) => svc::chain(source),
        None => format!("{}: {}", status.code(), status.message()),
    }
}
