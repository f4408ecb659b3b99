//! The reading end of a selector, which says what reading costs when somebody asked.

use super::ahead::Ahead;
use super::evaluate::{Done, Evaluator};
use super::plan::Select;
use super::profile::Clock;
use super::selectors::Begun;
use super::twins::{Keeping, Turn};
use crate::error::QueryError;
use crate::pool::Pool;
use crate::storage::{SelectRequest, SeriesData, SeriesSet, StorageError, StorageErrorKind};

/// How many series of one selector are read until those of the next ones that have come by then are decoded.
const LOOK_AFTER: u64 = 64;

/// Series of one selector.
pub(super) struct Read<'a> {
    evaluator: &'a Evaluator<'a>,
    request: &'a SelectRequest,
    pub set: Box<dyn SeriesSet>,
    /// When others decode, too.
    ahead: Option<Ahead>,
    /// Whether the source was asked before the selector's turn had come.
    early: bool,
    /// For another selector that asks for the same.
    keeping: Option<(usize, Keeping)>,
    /// Series so far.
    count: u64,
    /// The clock, the operator that reads, and the one that it reads for; the same, for a plain selector.
    observer: Option<(&'a Clock, usize, usize)>,
}

/// What a source gives.
struct Answer {
    set: Box<dyn SeriesSet>,
    ahead: Option<Ahead>,
    early: bool,
}

impl Evaluator<'_> {
    /// Series of a selector whose turn has come.
    pub(super) fn read<'a>(
        &'a self,
        select: &Select,
        request: &'a SelectRequest,
    ) -> Result<Read<'a>, QueryError> {
        let observer = self.clock.as_ref().and_then(|clock| {
            let id = clock.profile.find(select)?;
            Some((clock, id, clock.switch(id)))
        });
        let (answer, keeping) = match self.claim_twin(select) {
            Turn::Kept(kept) => (Answer { set: kept.into_set(), ahead: None, early: false }, None),
            Turn::ReadAndKeep(other) => {
                (self.answer(select, request)?, Some((other, Keeping::new(self))))
            }
            Turn::Read => (self.answer(select, request)?, None),
        };
        let Answer { set, ahead, early } = answer;
        Ok(Read { evaluator: self, request, set, ahead, early, keeping, count: 0, observer })
    }

    /// Asks the source, unless it was asked already.
    fn answer(&self, select: &Select, request: &SelectRequest) -> Result<Answer, QueryError> {
        if let Some(Begun { mut set, ahead, .. }) = self.claim(select, request) {
            set.want();
            return Ok(Answer { set, ahead, early: true });
        }
        let set = self.storage.select(request)?;
        let ahead = self.ahead(&*set);
        Ok(Answer { set, ahead, early: false })
    }

    /// Help with decoding, where there is any.
    pub(super) fn ahead(&self, set: &dyn SeriesSet) -> Option<Ahead> {
        let after = self.options.read_ahead_after;
        let pool = if after < usize::MAX && set.can_take() { Pool::of_process() } else { None };
        pool.map(|pool| Ahead::new(pool, after, &self.shared.budget, &self.options.cancel))
    }
}

impl Read<'_> {
    pub fn next(&mut self) -> Result<Option<SeriesData>, QueryError> {
        let series = match self.series() {
            // With the others gone, there may be room enough.
            Err(error)
                if self.early && self.count == 0 && error.kind == StorageErrorKind::Limit =>
            {
                self.early = false;
                self.set = self.evaluator.storage.select(self.request)?;
                self.ahead = self.evaluator.ahead(&*self.set);
                self.series()?
            }
            series => series?,
        };
        let Some(series) = series else {
            if let Some((other, keeping)) = self.keeping.take() {
                self.evaluator.keep_for(other, keeping);
            }
            return Ok(None);
        };
        if let Some((_, keeping)) = &mut self.keeping
            && !keeping.add(self.evaluator, &series)
        {
            self.keeping = None;
        }
        self.count += 1;
        if self.count == 1 {
            self.evaluator.begin_upcoming();
        }
        if self.count.is_multiple_of(LOOK_AFTER) {
            self.evaluator.decode_upcoming();
        }
        if let Some((clock, id, _)) = &self.observer {
            clock.profile.count_read(*id, series.samples.len());
        }
        Ok(Some(series))
    }

    fn series(&mut self) -> Result<Option<SeriesData>, StorageError> {
        match &mut self.ahead {
            None => self.set.next(),
            Some(ahead) => ahead.next(&mut *self.set),
        }
    }

    /// Gives a series to whom it was read for.
    pub fn hand_over(&self, series: SeriesData, each: &mut dyn FnMut(SeriesData) -> Done) -> Done {
        let Some((clock, id, above)) = self.observer else { return each(series) };
        if above != id {
            clock.profile.count_row(id);
        }
        clock.switch(above);
        let done = each(series);
        clock.switch(id);
        done
    }
}

impl Drop for Read<'_> {
    fn drop(&mut self) {
        if let Some((clock, _, above)) = self.observer {
            clock.switch(above);
        }
    }
}
