//! Asks Prometheus, again and again, what it really does. Only this task waits for it.

use std::sync::Arc;
use std::time::Duration;

use svc::chain;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::churn::Stretch;
use crate::config::Config;
use crate::metrics::Metrics;
use crate::observe::{Look, Scores};
use crate::owner::Held;
use crate::prometheus::{CallError, Prometheus, Readiness};

/// A poll of a large shard takes its time; the pause after it is at least this many times longer...
const PAUSE_FACTOR: u32 = 5;
/// ...but no longer than that: it may be this process that was stopped meanwhile.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// Scrapes have their time when they begin, and are there when they have ended: a stretch of time is asked for once this
/// part of another one has passed since its end.
const SETTLING: i64 = 10;

/// A stretch that is so many times as long as it should be is not asked for any more.
const LONGEST: i64 = 3;

/// How far Prometheus is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum EngineState {
    #[default]
    Unreachable,
    Starting,
    Ready,
}

/// The process as seen last. Numbers stay when it goes away; `state` tells.
#[derive(Debug, Clone, Default)]
pub(crate) struct Engine {
    pub(crate) state: EngineState,
    pub(crate) head_series: u64,
    pub(crate) memory_bytes: u64,
    /// Segments replayed so far and in all; 0 and 0 when no replay runs.
    pub(crate) wal_replay: (u64, u64),
    pub(crate) version: String,
    /// When the process was started, in milliseconds since the epoch; 0: not known.
    pub(crate) process_start_ms: i64,
}

/// What the last poll saw.
#[derive(Debug, Clone, Default)]
pub(crate) struct Observed {
    pub(crate) engine: Engine,
    pub(crate) scores: Arc<Scores>,
}

/// Starts to poll.
pub(crate) fn spawn(
    config: &Config,
    prometheus: Prometheus,
    held: watch::Receiver<Arc<Held>>,
    metrics: Metrics,
    ctx: &svc::Context,
) -> watch::Receiver<Arc<Observed>> {
    let (publish, observed) = watch::channel(Arc::default());
    let interval = i64::try_from(config.churn_interval.as_millis()).unwrap_or(i64::MAX);
    let churn = Churned { interval, until: now_ms(), tried: now_ms() };
    let poller = Poller { prometheus, held, metrics, last: Observed::default(), churn, publish };
    ctx.tasks.spawn("prometheus poll", poller.run(config.poll_interval, ctx.shutdown.clone()));
    observed
}

struct Poller {
    prometheus: Prometheus,
    held: watch::Receiver<Arc<Held>>,
    metrics: Metrics,
    last: Observed,
    churn: Churned,
    publish: watch::Sender<Arc<Observed>>,
}

/// How far it is known what scrapes have added. In milliseconds, times since the epoch.
#[derive(Debug)]
struct Churned {
    interval: i64,
    until: i64,
    tried: i64,
}

impl Churned {
    /// What is to be asked for now.
    fn due(&mut self, now: i64) -> Option<Stretch> {
        // The clock may be set back.
        if (0..self.interval).contains(&now.saturating_sub(self.tried)) {
            return None;
        }
        self.tried = now;
        let stretch = Stretch { from: self.until, until: now - self.interval / SETTLING };
        let length = stretch.until.saturating_sub(stretch.from);
        if length < 1_000 || length > LONGEST.saturating_mul(self.interval) {
            self.until = stretch.until;
            return None;
        }
        Some(stretch)
    }
}

impl Poller {
    async fn run(mut self, interval: Duration, shutdown: svc::Shutdown) -> anyhow::Result<()> {
        loop {
            let started = Instant::now();
            let Some(answered) = shutdown.until(self.poll()).await else { return Ok(()) };
            let took = started.elapsed();
            self.metrics.poll_duration.set(took.as_secs_f64());
            if !shutdown.sleep(pause(interval, took, answered)).await {
                return Ok(());
            }
        }
    }

    /// Whether Prometheus has answered.
    async fn poll(&mut self) -> bool {
        let before = self.last.engine.state;
        let outcome = self.look().await;
        if let Err(error) = &outcome {
            self.metrics.poll_failures.inc();
            self.last.engine.state = EngineState::Unreachable;
            if before != EngineState::Unreachable {
                warn!(error = %chain(error), "prometheus does not answer");
            }
        }
        let state = self.last.engine.state;
        if state == EngineState::Ready {
            self.metrics.last_poll.set(jiff::Timestamp::now().as_millisecond() as f64 / 1000.0);
            if before != EngineState::Ready {
                info!(version = self.last.engine.version, "prometheus is ready");
            }
        }
        self.metrics.prometheus_up.set(i64::from(state == EngineState::Ready));
        self.publish.send_replace(Arc::new(self.last.clone()));
        outcome.is_ok()
    }

    async fn look(&mut self) -> Result<(), CallError> {
        match self.prometheus.ready().await? {
            Readiness::Ready => self.look_at_running().await,
            Readiness::Starting => {
                let replay = self.prometheus.wal_replay().await?;
                self.last.engine.wal_replay = replay.progress();
                // Also of one that never gets ready it is to be seen that it starts again and again.
                if let Some(own) = self.known(self.prometheus.own_metrics().await) {
                    self.last.engine.process_start_ms = own.start_ms();
                }
                self.last.engine.state = EngineState::Starting;
                Ok(())
            }
        }
    }

    async fn look_at_running(&mut self) -> Result<(), CallError> {
        let stretch = self.churn.due(now_ms());
        let added = async {
            match stretch {
                Some(stretch) => Some(self.prometheus.added(stretch).await),
                None => None,
            }
        };
        let (own, targets, samples, head, added) = tokio::join!(
            self.prometheus.own_metrics(),
            self.prometheus.targets(),
            self.prometheus.samples(),
            self.prometheus.head_series(),
            added,
        );
        let (own, targets) = (own?, targets?);
        let added = stretch.zip(added.and_then(|added| self.known(added)));
        if let Some((Stretch { until, .. }, _)) = added {
            self.churn.until = until;
        }
        let look = Look {
            process_start: own.start_seconds,
            loaded: own.loaded_seconds,
            targets,
            samples: self.known(samples),
            added,
        };
        let assignment = Arc::clone(&self.held.borrow().assignment);
        self.last.scores = Arc::new(self.last.scores.after(&assignment.targets, look));
        if let Some(series) = self.known(head) {
            self.last.engine.head_series = series;
            self.metrics.head_series.set(series.cast_signed());
        }
        if self.last.engine.state != EngineState::Ready {
            self.last.engine.version = self.prometheus.version().await?;
        }
        let engine = &mut self.last.engine;
        engine.memory_bytes = own.resident_bytes.unwrap_or(0.0) as u64;
        engine.process_start_ms = own.start_ms();
        engine.wal_replay = (0, 0);
        engine.state = EngineState::Ready;
        Ok(())
    }

    /// For answers that one can do without until the next poll.
    fn known<T>(&self, answer: Result<T, CallError>) -> Option<T> {
        answer
            .inspect_err(|error| {
                self.metrics.poll_failures.inc();
                debug!(error = %chain(error), "part of a poll failed");
            })
            .ok()
    }
}

fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

/// How long to wait after a poll. One without an answer has cost Prometheus nothing: whether it is back is asked soon.
fn pause(interval: Duration, took: Duration, answered: bool) -> Duration {
    if !answered {
        return interval;
    }
    let spared = took.saturating_mul(PAUSE_FACTOR).min(LONGEST_PAUSE.max(interval));
    interval.saturating_sub(took).max(spared)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_shard_is_spared_and_one_that_did_not_answer_is_asked_again_soon() {
        let [interval, short, long] = [1_000, 100, 9_000].map(Duration::from_millis);
        assert_eq!(pause(interval, short, true), Duration::from_millis(900));
        assert_eq!(pause(interval, 10 * short, true), Duration::from_secs(5));
        assert_eq!(pause(interval, long, true), LONGEST_PAUSE);
        assert_eq!(pause(60 * interval, long, true), Duration::from_secs(51));
        assert_eq!(pause(interval, long, false), interval);
    }

    #[test]
    fn stretches_follow_each_other_and_one_that_failed_is_part_of_the_next() {
        let mut churn = Churned { interval: 100_000, until: 0, tried: 0 };
        assert_eq!(churn.due(99_999), None);
        let first = churn.due(100_000).unwrap();
        assert_eq!(first, Stretch { from: 0, until: 90_000 });
        churn.until = first.until;
        assert_eq!(churn.due(100_001), None);
        assert_eq!(churn.due(200_000), Some(Stretch { from: 90_000, until: 190_000 }));
        // That one was not answered.
        assert_eq!(churn.due(300_000), Some(Stretch { from: 90_000, until: 290_000 }));
        // Too long ago: it begins anew.
        assert_eq!(churn.due(900_000), None);
        assert_eq!(churn.due(1_000_000), Some(Stretch { from: 890_000, until: 990_000 }));
        assert_eq!((churn.due(200_000), churn.until), (None, 190_000));
        assert_eq!(churn.due(300_000), Some(Stretch { from: 190_000, until: 290_000 }));
    }
}
