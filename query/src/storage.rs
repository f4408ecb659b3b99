//! `promql`'s storage over the fan-out. Tasks read and merge; the thread that evaluates the query takes series from a
//! short queue, decodes their chunks and makes replicas one.

use std::sync::Arc;

use model::Labels;
use parking_lot::Mutex;
use promql::storage::{
    Aggregate, Hints, Samples, SelectRequest, SeriesData, SeriesSet, Storage, StorageError,
    StorageErrorKind, Taken, Undecoded,
};
use proto::thanos;
use svc::Shutdown;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TryRecvError;

mod decode;

use crate::active::{Listed, Progress};
use crate::dedup::{self, Function};
use crate::fanout::budget::Turn;
use crate::fanout::wire::{self, Frame};
use crate::fanout::{
    Budget, Fanout, FanoutError, Merged, RawChunk, RawSeries, Resolution, Scope, SeriesQuery,
};
use crate::source::Reading;
use crate::warning::{Warning, Warnings};

/// Series per queue entry.
const BATCH: usize = 64;

/// Bytes of a sample in a chunk, as a rule at least.
const USUAL_SAMPLE: usize = 2;

/// Queue entries that wait for the evaluation.
const QUEUE: usize = 4;

/// Functions that take every drop of a value for a counter reset.
const COUNTER_FUNCTIONS: [&str; 6] = ["rate", "increase", "irate", "resets", "xrate", "xincrease"];

/// Which samples a query wants.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Labels that tell replicas apart; `None` when replicas are wanted as they are.
    pub replica_labels: Option<Vec<String>>,
    /// Coarsest resolution of downsampled data, milliseconds; 0 for raw samples.
    pub max_resolution: i64,
}

/// The series of one query.
pub struct QueryStorage {
    fanout: Fanout,
    runtime: Handle,
    scope: Scope,
    wanted: Wanted,
    function: Function,
    canceled: Shutdown,
    progress: Arc<Progress>,
    warnings: Arc<Mutex<Warnings>>,
}

impl QueryStorage {
    /// `listed` is the query that reads; all reading ends with it.
    #[must_use]
    pub fn new(
        fanout: Fanout,
        scope: Scope,
        wanted: Wanted,
        function: Function,
        listed: &Listed,
    ) -> Self {
        Self {
            fanout,
            runtime: Handle::current(),
            scope,
            wanted,
            function,
            canceled: listed.reading(),
            progress: listed.progress(),
            warnings: Arc::default(),
        }
    }
}

impl Reading for QueryStorage {
    fn warnings(&self) -> Warnings {
        self.warnings.lock().clone().in_order()
    }
}

impl Storage for QueryStorage {
    fn select(&self, request: &SelectRequest) -> Result<Box<dyn SeriesSet>, StorageError> {
        Ok(Box::new(self.received(request, self.scope.clone(), None)?))
    }

    fn select_ahead(&self, request: &SelectRequest) -> Option<Box<dyn SeriesSet>> {
        let (budget, turn) = self.scope.budget.for_later();
        let scope = Scope { budget, ..self.scope.clone() };
        Some(Box::new(self.received(request, scope, Some(turn)).ok()?))
    }

    fn same_samples(&self, one: &Hints, other: &Hints) -> bool {
        let raw = self.wanted.max_resolution == 0;
        is_counter(one) == is_counter(other)
            && (one.step, one.range) == (other.step, other.range)
            && (raw || one.aggregate == other.aggregate)
    }
}

/// Whether every drop of a value is meant to be a counter reset.
fn is_counter(hints: &Hints) -> bool {
    COUNTER_FUNCTIONS.contains(&hints.function.as_str())
}

impl QueryStorage {
    /// Asks the endpoints. `turn`: when the series are wanted, if not now.
    fn received(
        &self,
        request: &SelectRequest,
        scope: Scope,
        turn: Option<Arc<Turn>>,
    ) -> Result<Received, StorageError> {
        let query = SeriesQuery {
            matchers: request.matchers.clone(),
            min_time: request.start,
            max_time: request.end,
            skip_chunks: false,
            without_replica_labels: self.wanted.replica_labels.clone().unwrap_or_default(),
            limit: 0,
            hints: Some(wire_hints(&request.hints)),
            resolution: resolution(self.wanted.max_resolution, request.hints.aggregate),
        };
        let _inside = self.runtime.enter();
        let merged = self.fanout.series(&query, &scope).map_err(|e| storage_error(&e))?;
        let (sender, batches) = mpsc::channel(QUEUE);
        let feed = feed(merged, sender, scope.budget.clone(), self.warnings.clone());
        let canceled = self.canceled.clone();
        self.runtime.spawn(async move { canceled.until(feed).await });
        let decoder = Decoder {
            start: request.start,
            end: request.end,
            function: if self.wanted.replica_labels.is_some() {
                self.function
            } else {
                Function::Chain
            },
            counter: is_counter(&request.hints),
            aggregate: request.hints.aggregate,
            warnings: self.warnings.clone(),
        };
        Ok(Received {
            batches,
            batch: Vec::new().into_iter(),
            decoder: Arc::new(decoder),
            progress: self.progress.clone(),
            budget: scope.budget,
            turn,
            ended: false,
        })
    }
}

/// What an endpoint may send: raw samples, or what a function is after of downsampled ones. Where an endpoint has no
/// downsampled data, it sends raw samples whatever is asked for.
fn resolution(max_window: i64, aggregate: Aggregate) -> Resolution {
    use thanos::Aggr;
    if max_window == 0 {
        return Resolution::default();
    }
    let columns: &[Aggr] = match aggregate {
        Aggregate::Average | Aggregate::SumAndCount => &[Aggr::Count, Aggr::Sum],
        Aggregate::Count => &[Aggr::Count],
        Aggregate::Sum => &[Aggr::Sum],
        Aggregate::Min => &[Aggr::Min],
        Aggregate::Max => &[Aggr::Max],
        Aggregate::Counter => &[Aggr::Counter],
    };
    Resolution { max_window, aggregates: columns.iter().map(|column| (*column).into()).collect() }
}

/// The projection is kept back: an endpoint that leaves out labels would give other series than one that does not, and
/// replicas that cannot be told apart any more.
fn wire_hints(hints: &Hints) -> thanos::QueryHints {
    thanos::QueryHints {
        step_millis: hints.step,
        func: Some(thanos::Func { name: hints.function.clone() }),
        grouping: (!hints.grouping.is_empty())
            .then(|| thanos::Grouping { by: hints.by, labels: hints.grouping.clone() }),
        range: (hints.range > 0).then_some(thanos::Range { millis: hints.range }),
        ..thanos::QueryHints::default()
    }
}

fn storage_error(error: &FanoutError) -> StorageError {
    let kind = match error {
        FanoutError::Deadline => StorageErrorKind::Timeout,
        FanoutError::Aborted(_) => StorageErrorKind::Internal,
        FanoutError::TooManyBytes { .. } => StorageErrorKind::Limit,
    };
    StorageError::new(kind, error.to_string())
}

type Batch = Result<Vec<RawSeries>, StorageError>;

/// Moves series from the merge into the queue. The queue closes after an empty batch, or after an error.
async fn feed(
    mut merged: Merged,
    sender: mpsc::Sender<Batch>,
    budget: Budget,
    warnings: Arc<Mutex<Warnings>>,
) {
    loop {
        if budget.is_tight() && sender.reserve_many(QUEUE).await.is_err() {
            return;
        }
        let mut batch = Vec::with_capacity(BATCH);
        let mut ended = None;
        while batch.len() < BATCH && ended.is_none() && (batch.is_empty() || !budget.is_tight()) {
            match merged.next().await {
                Ok(Some(series)) => batch.push(series),
                Ok(None) => ended = Some(Ok(Vec::new())),
                Err(error) => ended = Some(Err(storage_error(&error))),
            }
        }
        if ended.is_some() {
            warnings.lock().extend(merged.warnings().clone());
        }
        if !batch.is_empty() && sender.send(Ok(batch)).await.is_err() {
            return;
        }
        if let Some(last) = ended {
            // Whoever has gone needs no end.
            drop(sender.send(last).await);
            return;
        }
    }
}

struct Received {
    batches: mpsc::Receiver<Batch>,
    batch: std::vec::IntoIter<RawSeries>,
    decoder: Arc<Decoder>,
    progress: Arc<Progress>,
    budget: Budget,
    /// When the series are wanted, if they are read later.
    turn: Option<Arc<Turn>>,
    ended: bool,
}

impl SeriesSet for Received {
    fn next(&mut self) -> Result<Option<SeriesData>, StorageError> {
        loop {
            match self.received(true)? {
                Some(received) => match received.decoded() {
                    Some(series) => return Ok(Some(series)),
                    None => continue,
                },
                None => return Ok(None),
            }
        }
    }

    fn warnings(&mut self) -> Vec<String> {
        Vec::new()
    }

    fn want(&mut self) {
        if let Some(turn) = &self.turn {
            turn.come();
        }
    }

    fn can_take(&self) -> bool {
        true
    }

    fn take(&mut self, wait: bool) -> Result<Taken, StorageError> {
        if !wait && self.budget.is_tight() {
            return Ok(Taken::Later);
        }
        Ok(match self.received(wait)? {
            Some(series) => Taken::Series(Box::new(series)),
            None if self.ended => Taken::End,
            None => Taken::Later,
        })
    }
}

impl Received {
    /// The next series; `None` at the end, and when there is none yet and nobody wants to wait.
    fn received(&mut self, wait: bool) -> Result<Option<Undone>, StorageError> {
        loop {
            if let Some(series) = self.batch.next() {
                let (decoder, progress) = (self.decoder.clone(), self.progress.clone());
                return Ok(Some(Undone { series, decoder, progress }));
            }
            if self.ended {
                return Ok(None);
            }
            let batch = match self.batches.try_recv() {
                Ok(batch) => Some(batch),
                Err(TryRecvError::Empty) if !wait => return Ok(None),
                Err(TryRecvError::Empty) => self.batches.blocking_recv(),
                Err(TryRecvError::Disconnected) => None,
            };
            let broken_off = || {
                let message = "query was canceled while reading from endpoints";
                StorageError::new(StorageErrorKind::Aborted, message)
            };
            let batch = batch.ok_or_else(broken_off)??;
            self.ended = batch.is_empty();
            self.batch = batch.into_iter();
        }
    }
}

/// A series whose chunks are still to be decoded.
struct Undone {
    series: RawSeries,
    decoder: Arc<Decoder>,
    progress: Arc<Progress>,
}

impl Undone {
    fn decoded(self) -> Option<SeriesData> {
        let RawSeries { labels, chunks, held } = self.series;
        let samples = self.decoder.decode(&labels, chunks);
        drop(held);
        self.progress.add(samples.len());
        (!samples.is_empty()).then_some(SeriesData { labels, samples })
    }
}

impl Undecoded for Undone {
    fn samples(&self) -> usize {
        let raw = self.series.chunks.iter().filter_map(|chunk| chunk.chunk.raw.as_ref());
        raw.map(|chunk| chunk.data.len() / USUAL_SAMPLE).sum()
    }

    fn decode(self: Box<Self>) -> Result<Option<SeriesData>, StorageError> {
        Ok(self.decoded())
    }
}

/// Chunks of one series to its samples.
struct Decoder {
    start: i64,
    end: i64,
    function: Function,
    counter: bool,
    aggregate: Aggregate,
    warnings: Arc<Mutex<Warnings>>,
}

impl Decoder {
    fn decode(&self, labels: &Labels, mut chunks: Vec<RawChunk>) -> Samples {
        chunks.retain(|c| c.chunk.max_time >= self.start && c.chunk.min_time <= self.end);
        if is_one_replica(&chunks) {
            return self.samples(labels, chunks, self.start, self.end);
        }
        let whole = |chunks| self.samples(labels, chunks, i64::MIN, i64::MAX);
        let replicas = dedup::into_replicas(chunks).into_iter().map(whole).collect();
        // Cut only now: where replicas take turns must not depend on where the query starts.
        decode::cut(dedup::deduplicate(replicas, self.function, self.counter), self.start, self.end)
    }

    /// The samples from one time to another.
    fn samples(&self, labels: &Labels, chunks: Vec<RawChunk>, from: i64, to: i64) -> Samples {
        if chunks.iter().any(|chunk| chunk.chunk.raw.is_none()) {
            return decode::cut(self.downsampled(labels, chunks), from, to);
        }
        let mut samples = Samples::default();
        for chunk in chunks {
            if let Err(reason) = decode::append(&mut samples, &chunk.chunk, from, to) {
                self.leave_out(labels, reason);
            }
        }
        samples
    }

    /// All samples of chunks of which some are downsampled.
    fn downsampled(&self, labels: &Labels, chunks: Vec<RawChunk>) -> Samples {
        let mut pieces = Vec::with_capacity(chunks.len());
        for chunk in chunks {
            match decode::piece(&chunk.chunk, self.aggregate) {
                Ok(piece) => pieces.push(piece),
                Err(reason) => self.leave_out(labels, reason),
            }
        }
        self.aggregate.join(pieces)
    }

    fn leave_out(&self, labels: &Labels, reason: String) {
        tracing::debug!(%labels, reason, "chunk left out");
        self.warnings.lock().push(Warning::Chunk { reason });
    }
}

/// Whether chunks (in order of time) are of one source and do not overlap.
fn is_one_replica(chunks: &[RawChunk]) -> bool {
    chunks.windows(2).all(|pair| {
        pair[0].source == pair[1].source && pair[0].chunk.max_time < pair[1].chunk.min_time
    })
}

/// What is in one message of a Series stream.
#[derive(Debug, Default)]
pub struct Message {
    /// Labels and raw samples of its series, in its order; of replicas nothing is known here.
    pub series: Vec<SeriesData>,
    /// Why chunks were left out.
    pub left_out: Vec<String>,
}

/// Reads one message of a StoreAPI Series stream, and the samples of all its chunks, as a query reads what it receives.
///
/// # Errors
///
/// Bytes that are no such message.
pub fn read_message(message: Vec<u8>) -> Result<Message, String> {
    let frame = wire::frame(&message.into()).map_err(|error| error.to_string())?;
    let mut found = Message::default();
    let Frame::Series(all) = frame else { return Ok(found) };
    for (labels, chunks) in all {
        let mut samples = Samples::default();
        for chunk in chunks {
            let appended = match &chunk.raw {
                Some(_) => decode::append(&mut samples, &chunk, i64::MIN, i64::MAX),
                // Which aggregate is wanted is for a query to say.
                None => decode::piece(&chunk, Aggregate::Counter)
                    .and(decode::piece(&chunk, Aggregate::SumAndCount))
                    .map(drop),
            };
            found.left_out.extend(appended.err());
        }
        found.series.push(SeriesData { labels, samples });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(encoding: i32, samples: &[(i64, f64)]) -> thanos::AggrChunk {
        let mut encoder = tsdb::chunk::xor::Encoder::new();
        for (timestamp, value) in samples {
            encoder.append(*timestamp, *value);
        }
        let data = encoder.finish().into();
        thanos::AggrChunk {
            min_time: samples[0].0,
            max_time: samples[samples.len() - 1].0,
            raw: Some(thanos::Chunk { r#type: encoding, data, hash: 0 }),
            ..thanos::AggrChunk::default()
        }
    }

    fn decode(chunks: Vec<(u32, thanos::AggrChunk)>) -> (Samples, Vec<String>) {
        let warnings: Arc<Mutex<Warnings>> = Arc::default();
        let decoder = Decoder {
            start: 10,
            end: 30,
            function: Function::Penalty,
            counter: false,
            aggregate: Aggregate::Average,
            warnings: warnings.clone(),
        };
        let chunks = chunks.into_iter().map(|(source, chunk)| RawChunk { source, chunk }).collect();
        let samples = decoder.decode(&Labels::empty(), chunks);
        let texts = warnings.lock().texts();
        (samples, texts)
    }

    #[test]
    fn chunks_become_samples_in_the_range() {
        let (samples, warnings) = decode(vec![
            (0, chunk(0, &[(0, 0.0), (10, 1.0)])),
            (0, chunk(0, &[(20, 2.0), (30, 3.0), (31, 4.0)])),
            (0, chunk(0, &[(40, 5.0)])),
        ]);
        assert_eq!((samples.timestamps, samples.values), (vec![10, 20, 30], vec![1.0, 2.0, 3.0]));
        assert!(warnings.is_empty());
    }

    #[test]
    fn what_cannot_be_decoded_is_a_warning_beside_the_rest() {
        let mut broken = chunk(0, &[(21, 1.0), (22, 2.0)]);
        if let Some(raw) = &mut broken.raw {
            raw.data.truncate(5);
        }
        let aggregated = thanos::AggrChunk { raw: None, ..chunk(0, &[(25, 1.0)]) };
        let (samples, warnings) = decode(vec![
            (0, chunk(0, &[(20, 2.0)])),
            (0, broken),
            (0, chunk(77, &[(24, 1.0)])),
            (0, aggregated),
        ]);
        assert_eq!(samples.timestamps, [20]);
        let expected = [
            "some samples are left out: chunk ends within sample 0 of 2",
            "some samples are left out: chunk encoding 77 is unknown",
            "some samples are left out: a downsampled chunk lacks the column that was asked for",
        ];
        assert_eq!(warnings, expected);
    }
}
