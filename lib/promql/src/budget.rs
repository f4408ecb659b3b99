//! Memory of queries in bytes: reserved before it is taken, given back when its owner is dropped.
//!
//! A query draws on its own bound ([`crate::QueryOptions::max_memory`]) and on one that all queries of an engine
//! share ([`MemoryBudget`]). What does not fit in either is refused at once; nobody waits for memory.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use model::Labels;

/// Bytes in use, the most that ever were, and how many may be.
#[derive(Debug)]
struct Meter {
    limit: u64,
    used: AtomicU64,
    peak: AtomicU64,
}

impl Meter {
    fn new(limit: u64) -> Self {
        Self { limit, used: AtomicU64::new(0), peak: AtomicU64::new(0) }
    }

    fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Takes bytes if they fit; else gives what is in use.
    fn take(&self, bytes: u64) -> Result<(), u64> {
        let fits = |used: u64| used.checked_add(bytes).filter(|sum| *sum <= self.limit);
        let before = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits)?;
        self.peak.fetch_max(before + bytes, Ordering::Relaxed);
        Ok(())
    }

    fn give_back(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// What all queries of an engine may hold together, answers included until they are dropped. Clones share it.
#[derive(Debug, Clone)]
pub struct MemoryBudget {
    meter: Arc<Meter>,
}

impl Default for MemoryBudget {
    /// No bound.
    fn default() -> Self {
        Self::new(u64::MAX)
    }
}

impl MemoryBudget {
    /// At most so many bytes.
    #[must_use]
    pub fn new(limit: u64) -> Self {
        Self { meter: Arc::new(Meter::new(limit)) }
    }

    /// The bound, bytes.
    #[must_use]
    pub fn limit(&self) -> u64 {
        self.meter.limit
    }

    /// Bytes in use now.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.meter.used()
    }

    /// The most bytes that ever were in use.
    #[must_use]
    pub fn peak(&self) -> u64 {
        self.meter.peak.load(Ordering::Relaxed)
    }
}

/// Whose bound was met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemoryScope {
    /// That of one query.
    Query,
    /// That of all queries together.
    Process,
}

/// A query wanted more memory than there is for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryError {
    /// Whose bound was met.
    pub scope: MemoryScope,
    /// What the memory was for.
    pub what: &'static str,
    /// Bytes that were asked for.
    pub wanted: u64,
    /// Bytes in use within the bound.
    pub used: u64,
    /// The bound, bytes.
    pub limit: u64,
    /// The query's text; empty until the engine fills it in.
    pub query: String,
}

impl fmt::Display for MemoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, wanted, used, limit, .. } = self;
        let who = match self.scope {
            MemoryScope::Query => "this query",
            MemoryScope::Process => "all queries",
        };
        write!(
            f,
            "query processing would use too much memory: {what} of {:?} need {wanted} more bytes, but {used} of the {limit} bytes that {who} may use are in use",
            self.query
        )
    }
}

impl std::error::Error for MemoryError {}

/// The memory of one query.
#[derive(Debug)]
pub(crate) struct QueryBudget {
    own: Meter,
    process: MemoryBudget,
    /// Bytes in use beside those of `own`.
    spare: AtomicU64,
}

impl QueryBudget {
    pub fn new(limit: u64, process: MemoryBudget) -> Self {
        Self { own: Meter::new(limit), process, spare: AtomicU64::new(0) }
    }

    pub fn peak(&self) -> u64 {
        self.own.peak.load(Ordering::Relaxed)
    }

    fn take(&self, what: &'static str, wanted: u64) -> Result<(), MemoryError> {
        let error = |scope, meter: &Meter, used| MemoryError {
            scope,
            what,
            wanted,
            used,
            limit: meter.limit,
            query: String::new(),
        };
        self.own.take(wanted).map_err(|used| error(MemoryScope::Query, &self.own, used))?;
        let process = &self.process.meter;
        process.take(wanted).map_err(|used| {
            self.own.give_back(wanted);
            error(MemoryScope::Process, process, used)
        })
    }

    /// Takes bytes that nobody else misses.
    fn take_spare(&self, bytes: u64) -> bool {
        let (spare, own, process) =
            (self.spare.load(Ordering::Relaxed), &self.own, &self.process.meter);
        let spare = spare.saturating_add(bytes);
        let fits = spare <= own.limit / 4
            && own.used().saturating_add(spare) <= own.limit
            && process.used().saturating_add(bytes) <= process.limit / 4 * 3
            && process.take(bytes).is_ok();
        if fits {
            self.spare.fetch_add(bytes, Ordering::Relaxed);
        }
        fits
    }

    fn give_back(&self, bytes: u64) {
        self.own.give_back(bytes);
        self.process.meter.give_back(bytes);
    }
}

/// Bytes of one operator while a query is observed.
#[derive(Debug, Default)]
pub(crate) struct OperatorBytes {
    used: AtomicU64,
    peak: AtomicU64,
}

impl OperatorBytes {
    pub fn peak(&self) -> u64 {
        self.peak.load(Ordering::Relaxed)
    }

    fn take(&self, bytes: u64) {
        let used = self.used.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.peak.fetch_max(used, Ordering::Relaxed);
    }

    fn give_back(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Bytes that are reserved; given back on drop.
#[derive(Debug)]
pub struct Reserved {
    budget: Arc<QueryBudget>,
    operator: Option<Arc<OperatorBytes>>,
    what: &'static str,
    bytes: u64,
}

impl Reserved {
    /// Nothing yet. `what` is said when there is no more: a plural.
    pub(crate) fn none(
        budget: &Arc<QueryBudget>,
        operator: Option<&Arc<OperatorBytes>>,
        what: &'static str,
    ) -> Self {
        Self { budget: Arc::clone(budget), operator: operator.map(Arc::clone), what, bytes: 0 }
    }

    /// How many.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), MemoryError> {
        let bytes = bytes as u64;
        self.budget.take(self.what, bytes)?;
        if let Some(operator) = &self.operator {
            operator.take(bytes);
        }
        self.bytes += bytes;
        Ok(())
    }

    /// Makes it at least so many.
    pub(crate) fn reach(&mut self, bytes: usize) -> Result<(), MemoryError> {
        match (bytes as u64).checked_sub(self.bytes) {
            Some(more) if more > 0 => self.grow(usize::try_from(more).unwrap_or(usize::MAX)),
            _ => Ok(()),
        }
    }

    pub(crate) fn shrink(&mut self, bytes: usize) {
        let bytes = (bytes as u64).min(self.bytes);
        self.bytes -= bytes;
        self.budget.give_back(bytes);
        if let Some(operator) = &self.operator {
            operator.give_back(bytes);
        }
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.shrink(usize::MAX);
    }
}

/// Bytes that are useful but not needed: at most a quarter of a query's bound, and as much of it as is free when they
/// are taken. They count for the process but not for the query, which may still have all of its own.
#[derive(Debug)]
pub(crate) struct Spare {
    budget: Arc<QueryBudget>,
    bytes: u64,
}

impl Spare {
    /// `None` where too little is free.
    pub fn take(budget: &Arc<QueryBudget>, bytes: usize) -> Option<Self> {
        let bytes = bytes as u64;
        budget.take_spare(bytes).then(|| Self { budget: Arc::clone(budget), bytes })
    }

    pub fn shrink(&mut self, bytes: usize) {
        let bytes = (bytes as u64).min(self.bytes);
        self.bytes -= bytes;
        self.budget.spare.fetch_sub(bytes, Ordering::Relaxed);
        self.budget.process.meter.give_back(bytes);
    }
}

impl Drop for Spare {
    fn drop(&mut self) {
        self.shrink(usize::MAX);
    }
}

/// Bytes of one label set: its text, where names and values end, and the headers of both.
pub(crate) fn labels_bytes(labels: &Labels) -> usize {
    size_of::<Labels>() + 4 * size_of::<usize>() + labels.text_len() + 8 * labels.len()
}

/// Bytes of a histogram that weighs so much.
pub(crate) fn histogram_bytes(weight: usize) -> usize {
    16 * weight
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused_and_what_is_dropped_is_free_again() {
        let process = MemoryBudget::new(150);
        let one = Arc::new(QueryBudget::new(100, process.clone()));
        let other = Arc::new(QueryBudget::new(100, process.clone()));
        let mut held = Reserved::none(&one, None, "rows");
        held.grow(80).unwrap();
        let error = held.grow(21).unwrap_err();
        assert_eq!((error.scope, error.used, error.limit), (MemoryScope::Query, 80, 100));
        let mut more = Reserved::none(&other, None, "rows");
        let error = more.grow(71).unwrap_err();
        assert_eq!((error.scope, error.used, error.limit), (MemoryScope::Process, 80, 150));
        assert_eq!((held.bytes(), more.bytes(), process.used()), (80, 0, 80));
        held.shrink(30);
        more.reach(71).unwrap();
        more.reach(60).unwrap();
        assert_eq!((process.used(), process.peak()), (121, 121));
        drop((held, more));
        assert_eq!((process.used(), one.peak()), (0, 80));
    }

    #[test]
    fn spare_bytes_are_few_and_never_missed() {
        let process = MemoryBudget::new(200);
        let budget = Arc::new(QueryBudget::new(100, process.clone()));
        let mut spare = Spare::take(&budget, 20).unwrap();
        assert!(Spare::take(&budget, 6).is_none(), "more than a quarter");
        let mut held = Reserved::none(&budget, None, "rows");
        held.grow(100).unwrap();
        assert!(Spare::take(&budget, 1).is_none(), "nothing is free");
        spare.shrink(15);
        assert_eq!((process.used(), budget.peak()), (105, 100));
        held.shrink(40);
        let other = Arc::new(QueryBudget::new(1_000, process.clone()));
        assert!(Spare::take(&other, 86).is_none(), "little is free in the process");
        drop((spare, held));
        assert_eq!(process.used(), 0);
        drop(Spare::take(&other, 86).unwrap());
        assert_eq!(process.used(), 0);
    }
}
