//! Selectors that a query has more than once, such as that of `a` in `(a - b) / a`: the source is asked once, and what
//! the first of them read is kept for the others.
//!
//! What is kept are samples, so it is kept only while it is little and nobody else misses the memory; otherwise the
//! source is asked again.

use std::vec;

use model::Matcher;

use super::evaluate::Evaluator;
use super::explain::address;
use super::memory::series_bytes;
use super::plan::Select;
use crate::budget::Spare;
use crate::storage::{SelectRequest, SeriesData, SeriesSet, Storage, StorageError};

/// Most bytes that a query keeps of one selector.
const MOST: usize = 1 << 26;

/// Memory is taken in pieces of this many bytes, to ask for it seldom.
const PIECE: usize = 1 << 18;

/// All selectors of a query that ask for the same, in the order in which they are read.
#[derive(Default)]
pub(super) struct Twins {
    families: Vec<Family>,
}

struct Family {
    /// Where those lie in the plan that were not read yet.
    selects: Vec<usize>,
    kept: Option<Kept>,
}

/// Series as they were read.
#[derive(Default)]
pub(super) struct Kept {
    series: Vec<SeriesData>,
    /// What nobody else misses, and how much of it is not used yet.
    memory: Vec<Spare>,
    free: usize,
    bytes: usize,
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
        Self { families: families.into_iter().map(family).collect() }
    }

    /// Whether a selector asks for what one before it asks for.
    pub fn is_later(&self, select: usize) -> bool {
        self.families.iter().any(|family| family.selects[1..].contains(&select))
    }

    fn family(&mut self, select: usize) -> Option<&mut Family> {
        self.families.iter_mut().find(|family| family.selects.contains(&select))
    }

    /// A selector's turn has come: what another one has kept for it, or else whether it should keep what it reads.
    fn claim(&mut self, select: usize) -> Turn {
        let Some(family) = self.family(select) else { return Turn::Read };
        family.selects.retain(|other| *other != select);
        match (family.selects.is_empty(), &family.kept) {
            (true, _) => family.kept.take().map_or(Turn::Read, Turn::Kept),
            (false, Some(kept)) => Turn::Kept(kept.copied()),
            (false, None) => Turn::ReadAndKeep(family.selects[0]),
        }
    }
}

/// How a selector gets its series.
pub(super) enum Turn {
    Kept(Kept),
    /// From the source; others want the same, of which this is one.
    ReadAndKeep(usize),
    Read,
}

impl Kept {
    /// Keeps a copy of a series; `false` when there is too little memory.
    pub fn add(&mut self, evaluator: &Evaluator<'_>, series: &SeriesData) -> bool {
        let bytes = series_bytes(series);
        self.bytes += bytes;
        if self.bytes > MOST {
            return false;
        }
        if self.free < bytes {
            let piece = bytes.max(PIECE);
            let Some(memory) = Spare::take(&evaluator.shared.budget, piece) else { return false };
            self.memory.push(memory);
            self.free += piece;
        }
        self.free -= bytes;
        self.series.push(series.clone());
        true
    }

    /// The series for one of several; the memory stays with the others'.
    fn copied(&self) -> Self {
        Self { series: self.series.clone(), ..Self::default() }
    }

    pub fn into_set(self) -> Box<dyn SeriesSet> {
        Box::new(Again { series: self.series.into_iter(), _memory: self.memory })
    }
}

impl Evaluator<'_> {
    pub(super) fn claim_twin(&self, select: &Select) -> Turn {
        self.upcoming.borrow_mut().twins.claim(address(select))
    }

    /// Keeps what was read for another selector.
    pub(super) fn keep_for(&self, select: usize, kept: Kept) {
        if let Some(family) = self.upcoming.borrow_mut().twins.family(select) {
            family.kept = Some(kept);
        }
    }
}

/// Series that were read before.
struct Again {
    series: vec::IntoIter<SeriesData>,
    _memory: Vec<Spare>,
}

impl SeriesSet for Again {
    fn next(&mut self) -> Result<Option<SeriesData>, StorageError> {
        Ok(self.series.next())
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
