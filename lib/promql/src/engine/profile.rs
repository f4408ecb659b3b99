//! What each operator of a query costs, when somebody asked: time, rows and bytes.
//!
//! An operator hands rows to the one above it in the middle of its own work, so time is not nested but handed to and
//! fro: a clock per thread knows whose work is being done and charges the time since the last change to it.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::explain::{Cost, Ids, Operator, SUBQUERY, address};
use crate::budget::OperatorBytes;

/// What is known of one operator.
#[derive(Debug, Default)]
struct Account {
    nanoseconds: AtomicU64,
    series: AtomicU64,
    rows: AtomicU64,
    samples: AtomicU64,
    bytes: Arc<OperatorBytes>,
}

/// What is known of all operators of a query; threads share it.
#[derive(Debug)]
pub(super) struct Profile {
    ids: Ids,
    accounts: Vec<Account>,
}

impl Profile {
    /// For operators found at addresses.
    pub fn new(ids: Ids, count: usize) -> Self {
        Self { ids, accounts: (0..count).map(|_| Account::default()).collect() }
    }

    /// The number of the operator that a node of the plan is.
    pub fn find<T>(&self, node: &T) -> Option<usize> {
        self.ids.get(&address(node)).copied()
    }

    /// Counts a row handed on.
    pub fn count_row(&self, id: usize) {
        self.accounts[id].rows.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a series read from storage.
    pub fn count_read(&self, id: usize, samples: usize) {
        self.accounts[id].series.fetch_add(1, Ordering::Relaxed);
        self.accounts[id].samples.fetch_add(samples as u64, Ordering::Relaxed);
    }

    /// Writes what is known into a tree.
    pub fn fill(&self, operator: &mut Operator) {
        let account = &self.accounts[operator.id];
        let own = Duration::from_nanos(account.nanoseconds.load(Ordering::Relaxed));
        let mut cost = Cost {
            own,
            total: own,
            series_in: account.series.load(Ordering::Relaxed),
            series_out: account.rows.load(Ordering::Relaxed),
            samples: account.samples.load(Ordering::Relaxed),
            peak_bytes: account.bytes.peak(),
        };
        for child in &mut operator.children {
            self.fill(child);
            if let Some(child) = child.cost {
                cost.total += child.total;
                cost.series_in += child.series_out;
            }
        }
        if operator.kind == SUBQUERY {
            // The window above does the work.
            cost.series_out = cost.series_in;
        }
        operator.cost = Some(cost);
    }
}

/// Whose work a thread does.
#[derive(Debug)]
pub(super) struct Clock {
    pub profile: Arc<Profile>,
    current: Cell<usize>,
    since: Cell<Instant>,
}

impl Clock {
    /// Starts with the work of an operator.
    pub fn start(profile: Arc<Profile>, operator: usize) -> Self {
        Self { profile, current: Cell::new(operator), since: Cell::new(Instant::now()) }
    }

    /// From now on it is the work of another operator. Gives the one before.
    pub fn switch(&self, to: usize) -> usize {
        let now = Instant::now();
        let from = self.current.replace(to);
        let spent = now.saturating_duration_since(self.since.replace(now));
        let spent = u64::try_from(spent.as_nanos()).unwrap_or(u64::MAX);
        self.profile.accounts[from].nanoseconds.fetch_add(spent, Ordering::Relaxed);
        from
    }

    pub fn current(&self) -> usize {
        self.current.get()
    }

    /// Where the current operator's bytes are counted.
    pub fn bytes(&self) -> &Arc<OperatorBytes> {
        &self.profile.accounts[self.current.get()].bytes
    }
}

impl Drop for Clock {
    /// Charges the rest.
    fn drop(&mut self) {
        self.switch(self.current());
    }
}
