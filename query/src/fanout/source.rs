//! The series of one endpoint, read by a task of its own into a short queue.

use std::sync::Arc;
use std::time::Duration;

use axum::http::uri::PathAndQuery;
use model::Labels;
use proto::thanos::{AggrChunk, SeriesRequest};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tonic::{Status, Streaming};

use super::BATCH;
use super::budget::{Budget, Held};
use super::wire::{Frame, SeriesCodec};
use crate::endpoints::Member;
use crate::metrics::Metrics;
use crate::warning::Warning;

/// Batches that wait for the merge.
const QUEUE: usize = 4;

/// One series as an endpoint sent it.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) labels: Labels,
    pub(super) chunks: Vec<AggrChunk>,
    pub(super) held: Held,
}

/// What a reader passes on. A queue that closes without `End` or `Failed` is a failure, too.
#[derive(Debug)]
pub(super) enum Event {
    Batch(Vec<Item>),
    Warning(Warning),
    /// The stream broke; there is nothing after it.
    Failed(Warning),
    /// More data than the request may hold.
    OverBudget,
    /// The stream was complete.
    End,
}

/// One endpoint's part of a request.
pub(super) struct Request {
    pub(super) member: Arc<Member>,
    pub(super) request: SeriesRequest,
    /// Labels to remove here; not empty means that the series have to be sorted again.
    pub(super) strip: Vec<String>,
    pub(super) frame_timeout: Option<Duration>,
    pub(super) deadline: Instant,
    pub(super) budget: Budget,
    pub(super) metrics: Metrics,
}

/// A running reader. Dropping it ends the request.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) name: String,
    pub(super) events: mpsc::Receiver<Event>,
    pub(super) task: Option<JoinHandle<()>>,
}

impl Drop for Source {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

pub(super) fn spawn(request: Request) -> Source {
    let (events, receiver) = mpsc::channel(QUEUE);
    let name = request.member.name.clone();
    let reader = Reader { request, events };
    Source { name, events: receiver, task: Some(tokio::spawn(reader.run())) }
}

struct Reader {
    request: Request,
    events: mpsc::Sender<Event>,
}

/// Why there is nothing more to read.
enum Stop {
    /// The merge has gone; nobody wants more.
    Gone,
    Failed(Warning),
    OverBudget,
}

impl From<Warning> for Stop {
    fn from(warning: Warning) -> Self {
        Self::Failed(warning)
    }
}

impl Reader {
    async fn run(self) {
        let last = match self.read().await {
            Ok(()) => Event::End,
            Err(Stop::Failed(warning)) => Event::Failed(warning),
            Err(Stop::OverBudget) => Event::OverBudget,
            Err(Stop::Gone) => return,
        };
        // A merge that has gone needs no end.
        drop(self.events.send(last).await);
    }

    async fn send(&self, event: Event) -> Result<(), Stop> {
        self.events.send(event).await.map_err(|_| Stop::Gone)
    }

    async fn read(&self) -> Result<(), Stop> {
        let mut stream = self.open().await?;
        let mut sorter = (!self.request.strip.is_empty()).then(|| Sorter::new(&self.request));
        let mut order = Order::new(&self.request);
        let mut frames = 0_u64;
        while let Some(frame) = self.frame(&mut stream).await? {
            frames += 1;
            let series = match frame {
                Frame::Series(series) => series,
                Frame::Warning(text) => {
                    let endpoint = self.request.member.name.clone();
                    self.send(Event::Warning(Warning::FromEndpoint { endpoint, text })).await?;
                    continue;
                }
                Frame::Other => continue,
            };
            let items = self.hold(series)?;
            if let Some(sorter) = &mut sorter {
                sorter.add(items);
                self.request.budget.room().await;
                continue;
            }
            let (items, outcome) = order.check(items);
            if !items.is_empty() {
                self.send(Event::Batch(items)).await?;
            }
            outcome?;
            if self.request.budget.is_tight() {
                // No more reading ahead: wait until the merge has taken all of it.
                drop(self.events.reserve_many(QUEUE).await.map_err(|_| Stop::Gone)?);
            }
        }
        if frames == 0 {
            self.request.metrics.empty_stream_responses.inc();
        }
        for batch in sorter.map(Sorter::finish).unwrap_or_default() {
            self.send(Event::Batch(batch)).await?;
        }
        Ok(())
    }

    fn hold(&self, series: Vec<(Labels, Vec<AggrChunk>)>) -> Result<Vec<Item>, Stop> {
        let hold = |(labels, chunks): (Labels, Vec<AggrChunk>)| {
            let held = self.request.budget.take(bytes(&labels, &chunks));
            held.map(|held| Item { labels, chunks, held }).ok_or(Stop::OverBudget)
        };
        series.into_iter().map(hold).collect()
    }

    /// Connects and sends the request.
    async fn open(&self) -> Result<Streaming<Frame>, Warning> {
        let Request { member, request, .. } = &self.request;
        let mut client = tonic::client::Grpc::new(member.channel.clone())
            .max_decoding_message_size(proto::MAX_MESSAGE_BYTES);
        let call = super::call_until(self.request.deadline, request.clone());
        let response = self.within(async {
            client.ready().await.map_err(|error| Status::unavailable(svc::chain(&error)))?;
            let path = PathAndQuery::from_static("/thanos.Store/Series");
            client.server_streaming(call, path, SeriesCodec).await
        });
        response
            .await?
            .map(tonic::Response::into_inner)
            .map_err(|status| super::failed(member, &status, self.request.frame_timeout))
    }

    async fn frame(&self, stream: &mut Streaming<Frame>) -> Result<Option<Frame>, Warning> {
        self.within(stream.message()).await?.map_err(|status| {
            super::failed(&self.request.member, &status, self.request.frame_timeout)
        })
    }

    /// Waits for the endpoint, but not longer than a frame may take, nor when it has stopped answering its checks.
    async fn within<T>(&self, wait: impl Future<Output = T>) -> Result<T, Warning> {
        let Request { member, frame_timeout, .. } = &self.request;
        super::answer(member, *frame_timeout, wait).await
    }
}

/// Checks that an endpoint keeps its promise of order, without which the merge would lose series silently.
struct Order {
    endpoint: String,
    last: Option<Labels>,
}

impl Order {
    fn new(request: &Request) -> Self {
        Self { endpoint: request.member.name.clone(), last: None }
    }

    /// The series up to the first that is out of order.
    fn check(&mut self, mut items: Vec<Item>) -> (Vec<Item>, Result<(), Warning>) {
        let first_wrong = items.iter().position(|item| {
            let wrong = self.last.as_ref().is_some_and(|last| *last > item.labels);
            self.last = Some(item.labels.clone());
            wrong
        });
        let Some(first_wrong) = first_wrong else { return (items, Ok(())) };
        items.truncate(first_wrong);
        (items, Err(Warning::OutOfOrder { endpoint: self.endpoint.clone() }))
    }
}

/// Holds all series of an endpoint, to sort them without their replica labels.
struct Sorter {
    strip: Vec<String>,
    items: Vec<Item>,
}

impl Sorter {
    fn new(request: &Request) -> Self {
        Self { strip: request.strip.clone(), items: Vec::new() }
    }

    fn add(&mut self, items: Vec<Item>) {
        self.items.extend(items.into_iter().map(|item| {
            let labels =
                item.labels.filter(|name| !self.strip.iter().any(|replica| replica == name));
            Item { labels, ..item }
        }));
    }

    fn finish(mut self) -> Vec<Vec<Item>> {
        self.items.sort_by(|a, b| a.labels.cmp(&b.labels));
        let mut rest = self.items.into_iter().peekable();
        let mut batches = Vec::new();
        while rest.peek().is_some() {
            batches.push(rest.by_ref().take(BATCH).collect());
        }
        batches
    }
}

/// About what a series takes in memory.
fn bytes(labels: &Labels, chunks: &[AggrChunk]) -> usize {
    let data = |chunk: &AggrChunk| {
        let parts = [&chunk.raw, &chunk.count, &chunk.sum, &chunk.min, &chunk.max, &chunk.counter];
        parts.into_iter().flatten().map(|part| part.data.len()).sum::<usize>()
    };
    let chunks: usize = chunks.iter().map(|chunk| size_of::<AggrChunk>() + data(chunk)).sum();
    size_of::<Item>() + labels.text_len() + labels.len() * 8 + chunks
}
