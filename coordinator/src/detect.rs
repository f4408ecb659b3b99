//! What is wrong with a shard, told apart: a dead Prometheus, a dead sidecar, neither in reach, a Prometheus that starts
//! again, and one that does so again and again. A state machine over what each turn has seen: no clock, no I/O.
//!
//! | seen | condition | its targets |
//! | --- | --- | --- |
//! | the sidecar answers, Prometheus is ready | ready | are scraped |
//! | the sidecar answers, Prometheus replays its WAL | starting, for as long as the replay gets on | wait for it |
//! | the sidecar answers, Prometheus does not | engine down | move after the grace time |
//! | the sidecar does not answer, Prometheus, asked directly, does | agent down | go on being scraped: they move only after a grace time of its own |
//! | neither answers, or nobody knows where Prometheus is | unreachable | move after the grace time |
//!
//! A Prometheus that has started anew several times within a while is in quarantine, whatever its condition, until it
//! has been ready without a break for a while.

use std::collections::VecDeque;
use std::time::Duration;

use crate::plan::Condition;

/// How patient the detector is.
#[derive(Debug, Clone)]
pub(crate) struct Patience {
    /// For a shard that has never been ready, and for the replay of a WAL that does not get on.
    pub(crate) starting: Duration,
    pub(crate) replay: Duration,
    /// So many starts within that time are too many; 0: never.
    pub(crate) restarts: usize,
    pub(crate) window: Duration,
    /// How long a shard has to be ready before its quarantine ends.
    pub(crate) release: Duration,
}

/// A shard's Prometheus, as its sidecar tells or as it answers itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Engine {
    Down,
    /// With the segments of the WAL that are replayed.
    Starting {
        replayed: u64,
    },
    Ready,
}

/// What a turn has seen of a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// It has time to answer yet.
    Pending,
    /// The sidecar has answered. `started` is when the process of Prometheus was, in milliseconds since the epoch,
    /// where that is known.
    Answered { engine: Engine, started: Option<i64> },
    /// The sidecar has not; Prometheus was asked directly, where its address is known.
    Silent { direct: Option<Engine> },
}

/// What people are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Quarantined {
        restarts: usize,
        within: Duration,
    },
    /// After so many milliseconds without a restart.
    Released {
        stable: i64,
    },
}

impl Verdict {
    /// All labels.
    pub(crate) const LABELS: [&'static str; 2] = ["shard_quarantined", "shard_released"];

    /// A short, stable word: the value of a metric's label.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Quarantined { .. } => "shard_quarantined",
            Self::Released { .. } => "shard_released",
        }
    }
}

/// What is known of one shard from turn to turn. Times are in milliseconds since the epoch.
#[derive(Debug, Clone)]
pub(crate) struct Detector {
    condition: Condition,
    ready_once: bool,
    /// When it came into being for us.
    since: i64,
    /// When its Prometheus was started.
    started: Option<i64>,
    /// Whether the sidecar said last that Prometheus does not answer.
    was_down: bool,
    /// Of the replay: segments, and when there were more of them last.
    replayed: (u64, i64),
    /// When it was seen to have started anew, within the window.
    restarts: VecDeque<i64>,
    /// The last restart of a shard in quarantine, or since when it has been ready after that.
    quarantined: Option<i64>,
}

impl Detector {
    pub(crate) fn new(now: i64) -> Self {
        Self {
            condition: Condition::Starting { since: now },
            ready_once: false,
            since: now,
            started: None,
            was_down: false,
            replayed: (0, now),
            restarts: VecDeque::new(),
            quarantined: None,
        }
    }

    pub(crate) fn condition(&self) -> Condition {
        self.condition
    }

    pub(crate) fn is_quarantined(&self) -> bool {
        self.quarantined.is_some()
    }

    /// How often its Prometheus has started anew within the window.
    pub(crate) fn restarts(&self) -> usize {
        self.restarts.len()
    }

    /// Takes what a turn has seen.
    pub(crate) fn look(&mut self, look: Look, now: i64, patience: &Patience) -> Option<Verdict> {
        let restarted = self.has_restarted(look);
        let next = match look {
            Look::Pending if self.ready_once => self.condition,
            Look::Pending => self.silent(now, patience),
            Look::Answered { engine: Engine::Ready, .. } => Condition::Ready,
            Look::Answered { engine: Engine::Starting { replayed }, .. } => {
                self.starting(replayed, restarted, now, patience)
            }
            Look::Answered { engine: Engine::Down, .. } => self.engine_down(now, patience),
            Look::Silent { direct: Some(Engine::Ready | Engine::Starting { .. }) } => {
                match self.condition {
                    Condition::AgentDown { since } => Condition::AgentDown { since },
                    _ => Condition::AgentDown { since: now },
                }
            }
            Look::Silent { .. } => self.silent(now, patience),
        };
        self.condition = next;
        self.ready_once |= next == Condition::Ready;
        self.judge(restarted, now, patience)
    }

    /// Whether Prometheus is another process than before, or, where it does not tell, is back from being down.
    fn has_restarted(&mut self, look: Look) -> bool {
        let Look::Answered { engine, started } = look else { return false };
        let was_down = std::mem::replace(&mut self.was_down, engine == Engine::Down);
        if engine == Engine::Down {
            return false;
        }
        let Some(started) = started else {
            return was_down && self.ready_once && self.started.is_none();
        };
        self.started.replace(started).is_some_and(|before| before != started)
    }

    /// A replay takes as long as it takes, as long as it gets on.
    fn starting(
        &mut self,
        replayed: u64,
        restarted: bool,
        now: i64,
        patience: &Patience,
    ) -> Condition {
        let is_new = !matches!(self.condition, Condition::Starting { .. });
        let stalled = matches!(self.condition, Condition::EngineDown { .. })
            && self.replayed.0 == replayed
            && !restarted
            && self.is_stalled(now, patience);
        if stalled {
            return self.condition;
        }
        if is_new || restarted || self.replayed.0 != replayed {
            self.replayed = (replayed, now);
        }
        match self.condition {
            _ if self.is_stalled(now, patience) => Condition::EngineDown { since: self.replayed.1 },
            Condition::Starting { since } if !restarted => Condition::Starting { since },
            _ => Condition::Starting { since: now },
        }
    }

    fn is_stalled(&self, now: i64, patience: &Patience) -> bool {
        is_over(self.replayed.1, now, patience.replay)
    }

    fn engine_down(&self, now: i64, patience: &Patience) -> Condition {
        match self.condition {
            Condition::EngineDown { since } => Condition::EngineDown { since },
            // One that never comes up is not waited for for ever.
            _ if !self.ready_once && is_over(self.since, now, patience.starting) => {
                Condition::EngineDown { since: self.since }
            }
            _ if !self.ready_once => Condition::Starting { since: self.since },
            _ => Condition::EngineDown { since: now },
        }
    }

    fn silent(&self, now: i64, patience: &Patience) -> Condition {
        match self.condition {
            Condition::Unreachable { since } => Condition::Unreachable { since },
            Condition::Starting { since }
                if !self.ready_once && !is_over(since, now, patience.starting) =>
            {
                Condition::Starting { since }
            }
            _ if !self.ready_once => Condition::Unreachable { since: self.since },
            _ => Condition::Unreachable { since: now },
        }
    }

    /// Whether it goes into quarantine or leaves it.
    fn judge(&mut self, restarted: bool, now: i64, patience: &Patience) -> Option<Verdict> {
        if restarted {
            self.restarts.push_back(now);
        }
        while self.restarts.front().is_some_and(|at| is_over(*at, now, patience.window)) {
            self.restarts.pop_front();
        }
        match self.quarantined {
            None => {
                let restarts = self.restarts.len();
                if patience.restarts == 0 || restarts < patience.restarts {
                    return None;
                }
                self.quarantined = Some(now);
                Some(Verdict::Quarantined { restarts, within: patience.window })
            }
            // It has to be ready all the time.
            Some(_) if restarted || self.condition != Condition::Ready => {
                self.quarantined = Some(now);
                None
            }
            Some(since) if is_over(since, now, patience.release) => {
                self.quarantined = None;
                self.restarts.clear();
                Some(Verdict::Released { stable: now - since })
            }
            Some(_) => None,
        }
    }
}

fn is_over(since: i64, now: i64, time: Duration) -> bool {
    now.saturating_sub(since) > i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
