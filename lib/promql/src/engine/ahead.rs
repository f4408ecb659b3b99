//! Reading ahead: while a query works on one series, threads of the pool decode the next ones.
//!
//! Series come in their order whoever decodes them, so that an answer does not depend on it. A batch that no thread has
//! begun when its turn comes is decoded by the query itself; with all cores busy, a query is as fast as without a pool.
//! What is decoded ahead has to fit in the memory that the query leaves free, but is never the reason to refuse it any;
//! where there is too little, there is no reading ahead.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::vec;

use parking_lot::{Condvar, Mutex};

use super::memory::series_bytes;
use crate::budget::{QueryBudget, Spare};
use crate::cancel::CancelFlag;
use crate::pool::Pool;
use crate::storage::{SeriesData, SeriesSet, StorageError, StorageErrorKind, Taken, Undecoded};

/// Samples of a batch, about: much more work than to hand it over.
const BATCH_SAMPLES: usize = 1 << 13;

/// Most series of a batch.
const BATCH_SERIES: usize = 64;

/// Batches that wait, are being decoded, or are decoded.
const AHEAD: usize = 6;

type Batch = Vec<Box<dyn Undecoded>>;

/// What threads have to know of a query.
struct Context {
    budget: Arc<QueryBudget>,
    cancel: CancelFlag,
    /// Whether there is no memory for reading ahead.
    is_tight: AtomicBool,
}

/// Decoded series, and the memory that they have.
struct Decoded {
    series: vec::IntoIter<SeriesData>,
    /// Why there are no more.
    failed: Option<StorageError>,
    memory: Option<Spare>,
}

enum State {
    Waiting(Batch),
    Running,
    Done(Decoded),
    /// Somebody else has it, or nobody wants it any more.
    Gone,
}

/// A batch on its way.
struct Job {
    state: Mutex<State>,
    done: Condvar,
}

/// What became of a batch when its turn came.
enum Claimed {
    Undecoded(Batch),
    Decoded(Decoded),
}

/// Series of one selector, with some of the next ones.
pub(super) struct Ahead {
    pool: &'static Pool,
    context: Arc<Context>,
    jobs: VecDeque<Arc<Job>>,
    /// To be decoded here.
    here: vec::IntoIter<Box<dyn Undecoded>>,
    decoded: Option<Decoded>,
    /// Whether the source has no more, or broke off.
    ended: Option<Result<(), StorageError>>,
    /// How many more samples are decoded here before others help.
    alone: usize,
}

impl Ahead {
    pub fn new(
        pool: &'static Pool,
        after: usize,
        budget: &Arc<QueryBudget>,
        cancel: &CancelFlag,
    ) -> Self {
        let context = Context {
            budget: Arc::clone(budget),
            cancel: cancel.clone(),
            is_tight: AtomicBool::new(false),
        };
        Self {
            pool,
            context: Arc::new(context),
            jobs: VecDeque::new(),
            here: Vec::new().into_iter(),
            decoded: None,
            ended: None,
            alone: after,
        }
    }

    /// The next series of a set, which is only asked through this.
    pub fn next(&mut self, set: &mut dyn SeriesSet) -> Result<Option<SeriesData>, StorageError> {
        loop {
            if let Some(decoded) = &mut self.decoded {
                if let Some(series) = decoded.series.next() {
                    if let Some(memory) = &mut decoded.memory {
                        memory.shrink(series_bytes(&series));
                    }
                    return Ok(Some(series));
                }
                if let Some(error) = self.decoded.take().and_then(|decoded| decoded.failed) {
                    return Err(error);
                }
            }
            if let Some(series) = self.here.next() {
                match series.decode()? {
                    Some(series) => return Ok(Some(series)),
                    None => continue,
                }
            }
            if self.alone == 0 {
                self.read_on(set, true);
            }
            match self.jobs.pop_front().map(|job| job.claim()) {
                Some(Claimed::Undecoded(batch)) => self.here = batch.into_iter(),
                Some(Claimed::Decoded(decoded)) => self.decoded = Some(decoded),
                None if self.ended.is_none() => {
                    let series = set.next()?;
                    if let Some(series) = &series {
                        self.alone = self.alone.saturating_sub(series.samples.len());
                    }
                    return Ok(series);
                }
                None => return self.ended.clone().unwrap_or(Ok(())).map(|()| None),
            }
        }
    }

    /// Has the next series decoded that are there, for when their turn comes.
    pub fn read_on_without_waiting(&mut self, set: &mut dyn SeriesSet) {
        if !self.context.is_tight() {
            self.read_on(set, false);
        }
    }

    /// Takes batches from the source, as many as may be under way. With `wait` at least one, unless it has ended.
    fn read_on(&mut self, set: &mut dyn SeriesSet, wait: bool) {
        let is_tight = self.context.is_tight();
        let most = if is_tight { 1 } else { AHEAD };
        while self.ended.is_none() && self.jobs.len() < most {
            let wait = wait && self.jobs.is_empty();
            let batch = self.batch(set, wait);
            if batch.is_empty() {
                return;
            }
            let job =
                Arc::new(Job { state: Mutex::new(State::Waiting(batch)), done: Condvar::new() });
            self.jobs.push_back(Arc::clone(&job));
            if !is_tight {
                let context = Arc::clone(&self.context);
                let query = Arc::as_ptr(&self.context.budget).addr();
                self.pool.push(query, Box::new(move || job.run(&context)));
            }
        }
    }

    /// Enough series for a batch, or what there is without waiting for more.
    fn batch(&mut self, set: &mut dyn SeriesSet, mut wait: bool) -> Batch {
        let most = if self.context.is_tight() { 1 } else { BATCH_SERIES };
        let (mut batch, mut samples) = (Batch::new(), 0);
        while batch.len() < most && samples < BATCH_SAMPLES {
            match set.take(wait) {
                Ok(Taken::Series(series)) => {
                    samples += series.samples();
                    batch.push(series);
                }
                Ok(Taken::Later) => break,
                Ok(Taken::End) => {
                    self.ended = Some(Ok(()));
                    break;
                }
                Err(error) => {
                    self.ended = Some(Err(error));
                    break;
                }
            }
            wait = false;
        }
        batch
    }
}

impl Drop for Ahead {
    /// Leaves no work behind.
    fn drop(&mut self) {
        for job in &self.jobs {
            let mut state = job.state.lock();
            if let State::Waiting(_) = *state {
                *state = State::Gone;
            }
        }
    }
}

impl Context {
    fn is_tight(&self) -> bool {
        self.is_tight.load(Ordering::Relaxed)
    }

    fn decode(&self, batch: Batch) -> Decoded {
        let mut all = Vec::with_capacity(batch.len());
        let (mut bytes, mut failed) = (0, None);
        for series in batch {
            if self.cancel.is_canceled() {
                failed = Some(StorageError::new(StorageErrorKind::Aborted, "query was canceled"));
                break;
            }
            match series.decode() {
                Ok(Some(series)) => {
                    bytes += series_bytes(&series);
                    all.push(series);
                }
                Ok(None) => {}
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        let memory = Spare::take(&self.budget, bytes);
        if memory.is_none() {
            self.is_tight.store(true, Ordering::Relaxed);
        }
        Decoded { series: all.into_iter(), failed, memory }
    }
}

/// Tells the query that a batch broke off, unless it was decoded.
struct Unfinished<'a>(&'a Job);

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        if let State::Running = *state {
            let failed =
                StorageError::new(StorageErrorKind::Internal, "the decoding of series broke off");
            let (series, memory) = (Vec::new().into_iter(), None);
            *state = State::Done(Decoded { series, failed: Some(failed), memory });
        }
        self.0.done.notify_all();
    }
}

impl Job {
    fn run(&self, context: &Context) {
        let batch = {
            let mut state = self.state.lock();
            match std::mem::replace(&mut *state, State::Running) {
                State::Waiting(batch) => batch,
                other => {
                    *state = other;
                    return;
                }
            }
        };
        let unfinished = Unfinished(self);
        let decoded = context.decode(batch);
        *self.state.lock() = State::Done(decoded);
        drop(unfinished);
    }

    fn claim(&self) -> Claimed {
        let mut state = self.state.lock();
        loop {
            match std::mem::replace(&mut *state, State::Gone) {
                State::Waiting(batch) => return Claimed::Undecoded(batch),
                State::Done(decoded) => return Claimed::Decoded(decoded),
                State::Running => {
                    *state = State::Running;
                    self.done.wait(&mut state);
                }
                // Each batch is claimed once.
                State::Gone => return Claimed::Undecoded(Vec::new()),
            }
        }
    }
}
