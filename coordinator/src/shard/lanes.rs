//! How many pushes are under way at the same time, so that a large system's are not all in memory at once.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

const LANES: usize = 64;

/// Who waits for that long while none of the others ends goes all the same: some that hang hold up nobody.
const STUCK: Duration = Duration::from_millis(500);

/// So does who has waited for that long at all, since those that hang take lanes away from the others.
const PATIENCE: Duration = Duration::from_secs(5);

/// The lanes of all agents.
#[derive(Debug)]
pub(super) struct Lanes {
    free: Semaphore,
    ended: AtomicU64,
    stuck: Duration,
    patience: Duration,
}

/// A lane, or leave to go without; to be kept until the push has ended.
#[derive(Debug)]
#[must_use = "it is left when dropped"]
pub(super) struct Lane<'a> {
    ended: &'a AtomicU64,
    permit: Option<SemaphorePermit<'a>>,
}

impl Drop for Lane<'_> {
    fn drop(&mut self) {
        drop(self.permit.take());
        self.ended.fetch_add(1, Ordering::Relaxed);
    }
}

impl Default for Lanes {
    fn default() -> Self {
        Self::new(LANES, STUCK, PATIENCE)
    }
}

impl Lanes {
    fn new(count: usize, stuck: Duration, patience: Duration) -> Self {
        Self { free: Semaphore::new(count), ended: AtomicU64::new(0), stuck, patience }
    }

    /// Waits for a lane, a while at most.
    pub(super) async fn enter(&self) -> Lane<'_> {
        let until = Instant::now() + self.patience;
        let mut before = self.ended.load(Ordering::Relaxed);
        loop {
            let turn = tokio::time::timeout(self.stuck, self.free.acquire()).await;
            let ended = self.ended.load(Ordering::Relaxed);
            let permit = match turn {
                // An error would say that it was closed, which nobody does.
                Ok(permit) => permit.ok(),
                Err(_) if ended != before && Instant::now() < until => {
                    before = ended;
                    continue;
                }
                Err(_) => None,
            };
            return Lane { ended: &self.ended, permit };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(10);
    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn those_that_hang_hold_up_nobody_for_ever() {
        let lanes = Lanes::new(2, SHORT, LONG);
        let (_one, _two) = (lanes.enter().await, lanes.enter().await);
        assert!(lanes.enter().await.permit.is_none());
    }

    /// Has pushes end that hold no lane, `count` of them.
    async fn end(lanes: &Lanes, count: usize) {
        for _ in 0..count {
            tokio::time::sleep(SHORT).await;
            drop(Lane { ended: &lanes.ended, permit: None });
        }
    }

    #[tokio::test]
    async fn a_lane_is_waited_for_while_others_end() {
        let lanes = Lanes::new(1, 50 * SHORT, LONG);
        let first = lanes.enter().await;
        let others = async {
            end(&lanes, 150).await;
            drop(first);
        };
        let (second, ()) = tokio::join!(lanes.enter(), others);
        assert!(second.permit.is_some());
    }

    #[tokio::test]
    async fn a_lane_is_not_waited_for_for_ever() {
        let lanes = Lanes::new(1, 2 * SHORT, 10 * SHORT);
        let _first = lanes.enter().await;
        tokio::select! {
            lane = lanes.enter() => assert!(lane.permit.is_none()),
            () = end(&lanes, usize::MAX) => {}
        }
    }
}
