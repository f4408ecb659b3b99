//! Selectors that a query has more than once, such as that of `a` in `(a - b) / a`: the source is asked once, and what
//! the first of them read is kept for the others.
//!
//! What is kept are samples, so it is kept only while it is little and nobody else misses the memory; otherwise the
//! source is asked again. A query that then has too little memory starts over and keeps nothing (`Engine::run`).

use std::sync::Arc;

use model::Matcher;

use super::evaluate::Evaluator;
use super::explain::address;
use super::memory::series_bytes;
use super::plan::Select;
use crate::budget::{Reserved, Spare};
use crate::storage::{SelectRequest, SeriesData, SeriesSet, Storage, StorageError};

/// Most bytes that a query keeps of one selector.
const MOST: usize = 1 << 26;

/// Selectors of a query that ask for the same.
#[derive(Default)]
pub(super) struct Twins {
    families: Vec<Family>,
    /// Whether anything was kept.
    kept: bool,
}

/// All that ask for one thing.
struct Family {
    /// Where those lie in the plan that were not read yet, in the order in which they will be.
    selects: Vec<usize>,
    kept: Option<Kept>,
}

/// How a selector gets its series.
pub(super) enum Turn {
    Kept(Kept),
    /// From the source; others want the same, of which this is one.
    ReadAndKeep(usize),
    Read,
}

/// Series that are being read, and kept.
pub(super) struct Keeping {
    series: Vec<SeriesData>,
    memory: Reserved,
    bytes: usize,
}

/// Series as they were read.
#[derive(Clone)]
pub(super) struct Kept {
    series: Arc<Vec<SeriesData>>,
    _memory: Arc<Reserved>,
}

impl Twins {
    /// Of selectors and what each asks for, those that ask for what another one asks for.
    pub fn of(storage: &dyn Storage, requests: &[(usize, &SelectRequest)]) -> Self {
        let mut families: Vec<(&SelectRequest, Vec<usize>)> = Vec::new();
        for (select, request) in requests {
            match families.iter_mut().find(|(other, _)| is_same(storage, other, request)) {
                Some((_, selects)) => selects.push(*select),
                None => families.push((request, vec![*select])),
            }
        }
        families.retain(|(_, selects)| selects.len() > 1);
        let family = |(_, selects)| Family { selects, kept: None };
        Self { families: families.into_iter().map(family).collect(), kept: false }
    }

    /// Whether a selector asks for what one before it asks for.
    pub fn is_later(&self, select: usize) -> bool {
        self.families.iter().any(|family| family.selects[1..].contains(&select))
    }

    fn family(&mut self, select: usize) -> Option<&mut Family> {
        self.families.iter_mut().find(|family| family.selects.contains(&select))
    }

    /// A selector's turn has come.
    fn claim(&mut self, select: usize) -> Turn {
        let Some(family) = self.family(select) else { return Turn::Read };
        family.selects.retain(|other| *other != select);
        let Some(next) = family.selects.first() else {
            return family.kept.take().map_or(Turn::Read, Turn::Kept);
        };
        family.kept.clone().map_or(Turn::ReadAndKeep(*next), Turn::Kept)
    }
}

impl Evaluator<'_> {
    pub(super) fn claim_twin(&self, select: &Select) -> Turn {
        self.upcoming.borrow_mut().twins.claim(address(select))
    }

    /// Whether series were kept for other selectors.
    pub(super) fn has_kept(&self) -> bool {
        self.upcoming.borrow().twins.kept
    }

    /// Has others that ask for the same get what was read.
    pub(super) fn keep_for(&self, select: usize, keeping: Keeping) {
        let twins = &mut self.upcoming.borrow_mut().twins;
        twins.kept = true;
        if let Some(family) = twins.family(select) {
            let Keeping { series, memory, .. } = keeping;
            family.kept = Some(Kept { series: Arc::new(series), _memory: Arc::new(memory) });
        }
    }
}

impl Keeping {
    pub fn new(evaluator: &Evaluator<'_>) -> Self {
        let memory = evaluator.reserve("series of a selector that occurs again");
        Self { series: Vec::new(), memory, bytes: 0 }
    }

    /// Keeps a copy of a series; `false` when there is too little memory.
    pub fn add(&mut self, evaluator: &Evaluator<'_>, series: &SeriesData) -> bool {
        let bytes = series_bytes(series);
        self.bytes += bytes;
        // What is not spare would be missed by somebody.
        let is_spare = || Spare::take(&evaluator.shared.budget, self.bytes).is_some();
        if self.bytes > MOST || !is_spare() || self.memory.grow(bytes).is_err() {
            return false;
        }
        self.series.push(series.clone());
        true
    }
}

impl Kept {
    pub fn into_set(self) -> Box<dyn SeriesSet> {
        Box::new(Again { kept: self, next: 0 })
    }
}

/// Series that were read before.
struct Again {
    kept: Kept,
    next: usize,
}

impl SeriesSet for Again {
    fn next(&mut self) -> Result<Option<SeriesData>, StorageError> {
        self.next += 1;
        Ok(self.kept.series.get(self.next - 1).cloned())
    }

    /// They were told when it was read.
    fn warnings(&mut self) -> Vec<String> {
        Vec::new()
    }
}

/// Whether two requests have the same answer.
fn is_same(storage: &dyn Storage, one: &SelectRequest, other: &SelectRequest) -> bool {
    let condition = |matcher: &Matcher| (matcher.name.clone(), matcher.kind, matcher.value.clone());
    let conditions =
        |request: &SelectRequest| request.matchers.iter().map(condition).collect::<Vec<_>>();
    (one.start, one.end) == (other.start, other.end)
        && conditions(one) == conditions(other)
        && storage.same_samples(&one.hints, &other.hints)
}
