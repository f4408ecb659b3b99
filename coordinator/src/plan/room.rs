//! Room for a large target where none has enough: small ones make way, and it follows once they are gone.

use super::bins::{Status, share};
use super::group::{Planner, Wanted};
use super::shelves::{Fit, Reach, Shelves, Wish};

/// Where there will be room, and what leaves for that. Nothing: what has to leave is on its way already.
#[derive(Debug)]
pub(super) struct Room {
    pub(super) at: usize,
    pub(super) first: Vec<Wanted>,
}

impl Planner<'_> {
    /// Room for a load that no bin may take as it is, when bins may be filled to that many percent. `shelves` is where
    /// those go that make way. The bin is the one that holds least, not counting what is leaving it: so the same one is
    /// chosen until the load has its place.
    pub(super) fn make_room(
        &self,
        load: u64,
        percent: u64,
        shelves: &mut Shelves,
        allowed: impl Fn(usize) -> bool,
    ) -> Option<Room> {
        let fits = |at: &usize| {
            let bin = &self.bins[*at];
            let usable = bin.status == Status::Ready && !bin.draining && !bin.drained;
            usable && allowed(*at) && share(bin.capacity, percent) >= load
        };
        let limit = |at: usize| share(self.bins[at].capacity, percent);
        let least = |at: &usize| {
            let spare = i128::from(limit(*at)) - i128::from(self.bins[*at].committed);
            (spare, std::cmp::Reverse(*at))
        };
        let at = (0..self.existing).filter(fits).max_by_key(least)?;
        let mut lacking = (self.bins[at].committed + load).saturating_sub(limit(at));
        let mut first = Vec::new();
        for (small, target) in self.candidates(at).into_iter().rev() {
            if lacking == 0 {
                break;
            }
            if small > load / 2 {
                continue;
            }
            let wish = self.wish(target, small, Some(at), Reach::Ready);
            let wish = Wish { fit: Fit::Spread, ..wish };
            if let Some(to) = shelves.choose(wish) {
                shelves.reserve(to, small);
                first.push(Wanted { target, load: small, from: at, to });
                lacking = lacking.saturating_sub(small);
            }
        }
        (lacking == 0).then_some(Room { at, first })
    }
}
