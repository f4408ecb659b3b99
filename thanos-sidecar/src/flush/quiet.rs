//! When a Prometheus that scrapes nothing any more has written its last sample.
//!
//! A series that ends gets a stale marker for the scrape that did not come, a little after the one after that would
//! have come (`endOfRunStaleness` of Prometheus' scrape loop). Nothing that Prometheus tells says that all of them are
//! written, so it is watched for longer than that takes. The age of its last sample is no measure: a process that was
//! stopped meanwhile (SIGSTOP, a paused machine) writes them once it goes on. What counts is for how long it was seen
//! to run without a target and without a new sample.

use std::time::{Duration, Instant};

/// How many scrape intervals: two and a tenth, and what a busy machine is late.
const INTERVALS: f64 = 2.5;
/// How many looks are taken in that time. A stop of any length counts for no more than the time between two.
const LOOKS: u32 = 25;

/// How long a Prometheus has been seen to run without anything new.
#[derive(Debug)]
pub struct Watch {
    step: Duration,
    looked: Instant,
    seen: Duration,
}

impl Watch {
    /// Begins to look now; `interval` is the longest time between two scrapes.
    pub fn new(interval: Duration, now: Instant) -> Self {
        let step = (interval.mul_f64(INTERVALS) / LOOKS).max(Duration::from_millis(1));
        Self { step, looked: now, seen: Duration::ZERO }
    }

    /// How long to wait for the next look.
    pub fn step(&self) -> Duration {
        self.step
    }

    /// It has answered, and nothing was new. Whether that was seen for long enough.
    pub fn see(&mut self, now: Instant) -> bool {
        self.seen += now.duration_since(self.looked).min(self.step);
        self.looked = now;
        self.seen >= self.step * LOOKS
    }

    /// For how long it was seen to run.
    pub fn seen(&self) -> Duration {
        self.seen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(10);

    #[test]
    fn it_takes_two_and_a_half_intervals() {
        let begun = Instant::now();
        let mut watch = Watch::new(INTERVAL, begun);
        let mut now = begun;
        loop {
            now += watch.step();
            if watch.see(now) {
                break;
            }
        }
        assert_eq!(now - begun, Duration::from_secs(25));
        assert_eq!(watch.seen(), Duration::from_secs(25));
    }

    #[test]
    fn a_stop_does_not_count() {
        let begun = Instant::now();
        let mut watch = Watch::new(INTERVAL, begun);
        let mut now = begun + watch.step();
        assert!(!watch.see(now));
        now += Duration::from_secs(3600);
        assert!(!watch.see(now), "it was stopped for an hour");
        let mut looks = 0;
        while !watch.see(now) {
            now += watch.step();
            looks += 1;
        }
        assert!(looks >= LOOKS - 3, "{looks}");
    }

    #[test]
    fn looks_that_come_faster_do_not_count_for_more() {
        let begun = Instant::now();
        let mut watch = Watch::new(INTERVAL, begun);
        assert!((0..1000).all(|_| !watch.see(begun)));
    }
}
