//! The kill matrix: each process, killed, stopped for a while or restarted, in each phase of a system's life.
//!
//! Every system goes round: at rest on one shard; grown beyond it, so that a second one is started (scale-up) and gets
//! targets (hand-over); shrunk again, so that the second one is drained, ships what it has into the bucket, and is
//! removed. In each phase one process suffers. After each fault every target has one owner and flows, and after each
//! round no series has a gap that is longer than the outage of the Prometheus that scraped it: what the removed shard
//! has scraped comes from the bucket then, where nothing is twice.

use std::fmt;

use futures::StreamExt as _;

use crate::system::ONE_AT_A_TIME;
use fleet::Fleet;
use samples::Outage;

pub(crate) mod fleet;
pub(crate) mod samples;
mod store;

/// What suffers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Prometheus,
    ScraperSidecar,
    ThanosSidecar,
    Coordinator,
    Query,
}

/// What happens to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// SIGKILL; its supervisor starts it again.
    Kill,
    /// SIGSTOP, and SIGCONT after [`fleet::STOPPED`].
    Stop,
    /// SIGTERM; its supervisor starts it again.
    Restart,
}

/// When it happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Steady,
    ScaleUp,
    HandOver,
    Drain,
    Shipping,
}

impl Phase {
    /// Whether a shard may go in it.
    fn may_remove(self) -> bool {
        matches!(self, Self::Drain | Self::Shipping)
    }
}

/// A cell of the matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cell {
    kind: Kind,
    fault: Fault,
    phase: Phase,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} of {:?} during {:?}", self.fault, self.kind, self.phase)
    }
}

const KINDS: [Kind; 5] =
    [Kind::Prometheus, Kind::ScraperSidecar, Kind::ThanosSidecar, Kind::Coordinator, Kind::Query];
const FAULTS: [Fault; 3] = [Fault::Kill, Fault::Stop, Fault::Restart];
const PHASES: [Phase; 5] =
    [Phase::Steady, Phase::ScaleUp, Phase::HandOver, Phase::Drain, Phase::Shipping];

/// Systems that live at the same time: they mostly wait, and this is what two cores carry.
const AT_ONCE: usize = 3;

#[tokio::test]
async fn any_process_may_fail_in_any_phase() {
    testkit::init();
    let _turn = ONE_AT_A_TIME.lock().await;
    let lives = futures::stream::iter(KINDS).map(life).buffer_unordered(AT_ONCE);
    let cells: usize = lives.collect::<Vec<_>>().await.into_iter().sum();
    assert_eq!(cells, KINDS.len() * FAULTS.len() * PHASES.len(), "cells of the matrix");
}

/// The life of one system, in which all faults happen to one kind of process. How many cells it went through.
async fn life(kind: Kind) -> usize {
    let (fleet, mut store) = Fleet::start().await;
    let mut cells = 0;
    for fault in FAULTS {
        let (began, mut outages) = (samples::now(), Vec::new());
        for phase in PHASES {
            let cell = Cell { kind, fault, phase };
            eprintln!("{cell}");
            outages.extend(suffer(&fleet, cell).await);
            cells += 1;
        }
        fleet.until_shards(1).await;
        store.take(&fleet, began).await;
        eprintln!("no gap in the round of {fault:?} of {kind:?}?");
        samples::have_no_gap(&fleet, began, &outages).await;
    }
    store.has_nothing_twice();
    fleet.stop().await;
    cells
}

/// Lets the fault happen in its phase and waits until everything is well again.
async fn suffer(fleet: &Fleet, cell: Cell) -> Option<Outage> {
    let victim = loop {
        fleet.reach(cell).await;
        // What is to go may have gone in the meantime.
        if let Some(victim) = fleet.victim(cell).await {
            break victim;
        }
    };
    let begin = samples::now();
    fleet.strike(&victim, cell.fault).await;
    fleet.until_back(&victim, cell).await;
    // What ships does not scrape.
    let scrapes = cell.kind == Kind::Prometheus && cell.phase != Phase::Shipping;
    let outage = scrapes.then(|| Outage { begin, end: samples::now() });
    fleet.until_well(cell, begin).await;
    outage
}
