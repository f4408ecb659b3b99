//! Each class of trouble, and each way from one to another.

use super::*;

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;

fn patience() -> Patience {
    Patience {
        starting: Duration::from_secs(120),
        replay: Duration::from_secs(600),
        restarts: 3,
        window: Duration::from_secs(1800),
        release: Duration::from_secs(900),
    }
}

struct Shard {
    detector: Detector,
    now: i64,
}

const READY: Look = Look::Answered { engine: Engine::Ready, started: None };
const DOWN: Look = Look::Answered { engine: Engine::Down, started: None };
const PARTITIONED: Look = Look::Silent { direct: Some(Engine::Down) };
const NOBODY_TO_ASK: Look = Look::Silent { direct: None };
const AGENT_DEAD: Look = Look::Silent { direct: Some(Engine::Ready) };

fn starting(replayed: u64) -> Look {
    Look::Answered { engine: Engine::Starting { replayed }, started: None }
}

fn ready_since(started: i64) -> Look {
    Look::Answered { engine: Engine::Ready, started: Some(started) }
}

impl Shard {
    fn new() -> Self {
        Self { detector: Detector::new(0), now: 0 }
    }

    fn ready() -> Self {
        let mut shard = Self::new();
        assert_eq!(shard.sees(READY), Condition::Ready);
        shard
    }

    fn sees(&mut self, look: Look) -> Condition {
        self.verdict(look);
        self.detector.condition()
    }

    fn verdict(&mut self, look: Look) -> Option<Verdict> {
        self.detector.look(look, self.now, &patience())
    }

    fn after(&mut self, time: i64) -> &mut Self {
        self.now += time;
        self
    }
}

#[test]
fn a_new_shard_is_starting_until_the_grace_time_is_over_and_then_down_since_its_beginning() {
    let mut shard = Shard::new();
    for look in [DOWN, NOBODY_TO_ASK, PARTITIONED, Look::Pending] {
        assert_eq!(shard.sees(look), Condition::Starting { since: 0 });
    }
    shard.after(121 * SECOND);
    assert_eq!(shard.sees(DOWN), Condition::EngineDown { since: 0 });
    let mut shard = Shard::new();
    assert_eq!(shard.after(121 * SECOND).sees(PARTITIONED), Condition::Unreachable { since: 0 });
}

#[test]
fn a_dead_prometheus_is_down_since_the_first_look_that_saw_it() {
    let mut shard = Shard::ready();
    assert_eq!(shard.after(SECOND).sees(DOWN), Condition::EngineDown { since: SECOND });
    assert_eq!(shard.after(SECOND).sees(DOWN), Condition::EngineDown { since: SECOND });
    assert_eq!(shard.after(SECOND).sees(READY), Condition::Ready);
}

#[test]
fn a_dead_sidecar_beside_a_living_prometheus_is_no_partition() {
    let mut shard = Shard::ready();
    assert_eq!(shard.after(SECOND).sees(AGENT_DEAD), Condition::AgentDown { since: SECOND });
    let replays = Look::Silent { direct: Some(Engine::Starting { replayed: 1 }) };
    assert_eq!(shard.after(SECOND).sees(replays), Condition::AgentDown { since: SECOND });
    // The machine goes, too: a new trouble with a grace time of its own.
    assert_eq!(shard.after(SECOND).sees(PARTITIONED), Condition::Unreachable { since: 3 * SECOND });
    assert_eq!(shard.after(SECOND).sees(AGENT_DEAD), Condition::AgentDown { since: 4 * SECOND });
    assert_eq!(shard.after(SECOND).sees(READY), Condition::Ready);
}

#[test]
fn a_partition_is_what_answers_nowhere() {
    for look in [PARTITIONED, NOBODY_TO_ASK] {
        let mut shard = Shard::ready();
        assert_eq!(shard.after(SECOND).sees(look), Condition::Unreachable { since: SECOND });
        assert_eq!(shard.after(SECOND).sees(look), Condition::Unreachable { since: SECOND });
        // The sidecar is back, Prometheus is not: that one is dead.
        assert_eq!(shard.after(SECOND).sees(DOWN), Condition::EngineDown { since: 3 * SECOND });
    }
}

#[test]
fn an_answer_that_is_still_awaited_says_nothing() {
    let mut shard = Shard::ready();
    assert_eq!(shard.after(MINUTE).sees(Look::Pending), Condition::Ready);
    shard.sees(DOWN);
    assert_eq!(shard.after(MINUTE).sees(Look::Pending), Condition::EngineDown { since: MINUTE });
}

#[test]
fn a_replay_takes_as_long_as_it_takes_while_it_gets_on() {
    let mut shard = Shard::ready();
    let began = shard.now + MINUTE;
    for replayed in 0..100 {
        let now = shard.after(MINUTE).sees(starting(replayed));
        assert_eq!(now, Condition::Starting { since: began });
    }
    assert_eq!(shard.after(MINUTE).sees(READY), Condition::Ready);
}

#[test]
fn a_replay_that_gets_stuck_counts_as_down_until_it_gets_on() {
    let mut shard = Shard::ready();
    shard.sees(starting(0));
    assert_eq!(shard.after(MINUTE).sees(starting(7)), Condition::Starting { since: 0 });
    assert_eq!(shard.after(10 * MINUTE).sees(starting(7)), Condition::Starting { since: 0 });
    let stuck = Condition::EngineDown { since: MINUTE };
    assert_eq!(shard.after(SECOND).sees(starting(7)), stuck);
    assert_eq!(shard.after(SECOND).sees(starting(7)), stuck);
    let now = shard.now + SECOND;
    assert_eq!(shard.after(SECOND).sees(starting(8)), Condition::Starting { since: now });
}

#[test]
fn a_prometheus_that_is_back_is_starting_not_down() {
    let mut shard = Shard::ready();
    shard.sees(DOWN);
    let now = shard.now + SECOND;
    assert_eq!(shard.after(SECOND).sees(starting(0)), Condition::Starting { since: now });
}

#[test]
fn three_starts_within_the_window_are_a_quarantine_that_ends_after_a_stable_time() {
    let mut shard = Shard::new();
    assert_eq!(shard.verdict(ready_since(1)), None);
    assert_eq!(shard.after(5 * MINUTE).verdict(ready_since(2)), None);
    assert_eq!(shard.after(5 * MINUTE).verdict(ready_since(3)), None);
    let within = Duration::from_secs(1800);
    let wanted = Verdict::Quarantined { restarts: 3, within };
    assert_eq!(shard.after(5 * MINUTE).verdict(ready_since(4)), Some(wanted));
    assert!(shard.detector.is_quarantined());
    assert_eq!(shard.detector.restarts(), 3);
    // One more start, or being away, begins the stable time anew.
    assert_eq!(shard.after(10 * MINUTE).verdict(ready_since(5)), None);
    assert_eq!(shard.after(10 * MINUTE).verdict(DOWN), None);
    assert_eq!(shard.after(15 * MINUTE).verdict(ready_since(5)), None);
    assert!(shard.detector.is_quarantined());
    let released = Verdict::Released { stable: 15 * MINUTE + SECOND };
    assert_eq!(shard.after(SECOND).verdict(ready_since(5)), Some(released));
    assert!(!shard.detector.is_quarantined());
    assert_eq!(shard.detector.restarts(), 0);
}

#[test]
fn starts_that_are_far_apart_are_no_quarantine() {
    let mut shard = Shard::new();
    for start in 1..20 {
        assert_eq!(shard.after(16 * MINUTE).verdict(ready_since(start)), None);
    }
}

#[test]
fn a_crash_loop_that_never_gets_ready_is_one_too() {
    let mut shard = Shard::ready();
    let replays = |started| Look::Answered {
        engine: Engine::Starting { replayed: 3 },
        started: Some(started),
    };
    let looks = [replays(1), DOWN, replays(2), DOWN, replays(3), DOWN, replays(4)];
    let verdicts: Vec<_> =
        looks.into_iter().map(|look| shard.after(30 * SECOND).verdict(look)).collect();
    assert_eq!(verdicts.iter().flatten().count(), 1, "{verdicts:?}");
    assert!(shard.detector.is_quarantined());
}

#[test]
fn where_the_start_is_not_told_coming_back_counts() {
    let mut shard = Shard::ready();
    for _ in 0..2 {
        shard.after(SECOND).sees(DOWN);
        assert_eq!(shard.after(SECOND).verdict(READY), None);
    }
    shard.after(SECOND).sees(DOWN);
    assert!(shard.after(SECOND).verdict(READY).is_some());
}

#[test]
fn a_dead_sidecar_is_no_restart_of_prometheus() {
    let mut shard = Shard::new();
    for _ in 0..10 {
        assert_eq!(shard.after(SECOND).verdict(ready_since(1)), None);
        assert_eq!(shard.after(SECOND).verdict(AGENT_DEAD), None);
        assert_eq!(shard.after(SECOND).verdict(PARTITIONED), None);
    }
    assert_eq!(shard.detector.restarts(), 0);
}
