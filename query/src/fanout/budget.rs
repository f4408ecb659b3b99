//! How much of other servers' data one request may hold at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::Notify;

/// Part of the bound that series which are read later may take, 1/n, until their turn comes.
const LATER: usize = 8;

/// A bound on the bytes of series that were received but not used yet. Clones share it.
#[derive(Debug, Clone)]
pub struct Budget {
    shared: Arc<Shared>,
    /// For series that are read later.
    turn: Option<Arc<Turn>>,
}

#[derive(Debug)]
struct Shared {
    limit: usize,
    used: AtomicUsize,
}

/// When series that are read later are wanted.
#[derive(Debug, Default)]
pub struct Turn {
    has_come: AtomicBool,
    told: Notify,
}

/// Bytes that are held; given back on drop.
#[derive(Debug, Default)]
pub struct Held {
    budget: Option<Arc<Shared>>,
    bytes: usize,
}

impl Turn {
    /// From now on they may take as much as any.
    pub fn come(&self) {
        self.has_come.store(true, Ordering::Relaxed);
        self.told.notify_waiters();
    }
}

impl Budget {
    /// At most so many bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { shared: Arc::new(Shared { limit, used: AtomicUsize::new(0) }), turn: None }
    }

    /// The same bound for series that are read later. Until their turn comes they get only what leaves most of it to
    /// the others.
    #[must_use]
    pub fn for_later(&self) -> (Self, Arc<Turn>) {
        let turn = Arc::<Turn>::default();
        (Self { shared: self.shared.clone(), turn: Some(turn.clone()) }, turn)
    }

    /// The bound.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.shared.limit
    }

    /// What is held now.
    #[must_use]
    pub fn used(&self) -> usize {
        self.shared.used.load(Ordering::Relaxed)
    }

    /// What may be held now.
    fn open(&self) -> usize {
        if self.waits() { self.shared.limit / LATER } else { self.shared.limit }
    }

    /// Whether these are series whose turn has not come.
    fn waits(&self) -> bool {
        self.turn.as_ref().is_some_and(|turn| !turn.has_come.load(Ordering::Relaxed))
    }

    /// Whether more than half is held: then nobody should read ahead.
    #[must_use]
    pub fn is_tight(&self) -> bool {
        self.used() > self.open() / 2
    }

    /// Returns once there is room for more of series that all have to be held, or their turn has come.
    pub async fn room(&self) {
        while let Some(turn) = &self.turn {
            let told = turn.told.notified();
            if !self.waits() || !self.is_tight() {
                return;
            }
            told.await;
        }
    }

    /// Takes bytes; `None` when they are too many.
    #[must_use]
    pub fn take(&self, bytes: usize) -> Option<Held> {
        let before = self.shared.used.fetch_add(bytes, Ordering::Relaxed);
        let held = Held { budget: Some(self.shared.clone()), bytes };
        // Dropping `held` gives them back.
        (before.saturating_add(bytes) <= self.open()).then_some(held)
    }
}

impl Held {
    /// Both, of one budget.
    pub fn join(&mut self, mut other: Self) {
        if self.budget.is_none() {
            std::mem::swap(self, &mut other);
        }
        self.bytes += std::mem::take(&mut other.bytes);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(budget) = &self.budget {
            budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_given_back_once() {
        let budget = Budget::new(100);
        let mut first = budget.take(60).unwrap();
        assert!(budget.is_tight() && budget.take(41).is_none());
        assert_eq!(budget.used(), 60, "what was refused is not held");
        first.join(budget.take(40).unwrap());
        let mut nothing = Held::default();
        nothing.join(first);
        assert_eq!(budget.used(), 100);
        drop(nothing);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn series_that_are_read_later_leave_most_of_it_to_the_others() {
        let budget = Budget::new(800);
        let (later, turn) = budget.for_later();
        let held = later.take(60).unwrap();
        assert!(later.is_tight() && !budget.is_tight());
        assert!(later.take(41).is_none() && budget.take(740).is_some());
        turn.come();
        assert!(!later.is_tight() && later.take(740).is_some());
        drop(held);
        assert_eq!(budget.used(), 0);
    }

    #[tokio::test]
    async fn room_comes_with_the_turn() {
        let budget = Budget::new(800);
        let (later, turn) = budget.for_later();
        budget.room().await;
        later.room().await;
        let _held = later.take(60).unwrap();
        let mut room = std::pin::pin!(later.room());
        assert!(futures::poll!(&mut room).is_pending());
        turn.come();
        room.await;
    }
}
