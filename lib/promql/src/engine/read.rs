//! The reading end of a selector, which says what reading costs when somebody asked.

use super::ahead::Ahead;
use super::evaluate::{Done, Evaluator};
use super::plan::Select;
use super::profile::Clock;
use crate::error::QueryError;
use crate::pool::Pool;
use crate::storage::{SelectRequest, SeriesData, SeriesSet};

/// Series of one selector.
pub(super) struct Read<'a> {
    pub set: Box<dyn SeriesSet>,
    /// When others decode, too.
    ahead: Option<Ahead>,
    /// The clock, the operator that reads, and the one that it reads for; the same, for a plain selector.
    observer: Option<(&'a Clock, usize, usize)>,
}

impl Evaluator<'_> {
    /// Asks the storage.
    pub(super) fn read(
        &self,
        select: &Select,
        request: &SelectRequest,
    ) -> Result<Read<'_>, QueryError> {
        let observer = self.clock.as_ref().and_then(|clock| {
            let id = clock.profile.find(select)?;
            Some((clock, id, clock.switch(id)))
        });
        let set = self.storage.select(request)?;
        let after = self.options.read_ahead_after;
        let pool = if after < usize::MAX && set.can_take() { Pool::of_process() } else { None };
        let ahead =
            pool.map(|pool| Ahead::new(pool, after, &self.shared.budget, &self.options.cancel));
        Ok(Read { set, ahead, observer })
    }
}

impl Read<'_> {
    pub fn next(&mut self) -> Result<Option<SeriesData>, QueryError> {
        let series = match &mut self.ahead {
            None => self.set.next()?,
            Some(ahead) => ahead.next(&mut *self.set)?,
        };
        if let (Some((clock, id, _)), Some(series)) = (&self.observer, &series) {
            clock.profile.count_read(*id, series.samples.len());
        }
        Ok(series)
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
