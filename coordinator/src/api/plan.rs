//! `/api/v1/plan`: what the next turns would do and why; `/api/v1/moves`: what the past ones did.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::response::Response;
use serde::{Deserialize, Serialize};

use super::{Api, bad_data, rfc3339_ms, success, unassigned_list};
use crate::cycle::now_ms;
use crate::foresee::foresee;
use crate::ledger::{Entry, Moved};
use crate::plan::{Limits, MovePhase, Plan, Rule, Size, Snapshot, Spread};
use crate::status::Status;

/// Most turns that are looked ahead.
const MOST_TURNS: usize = 50;

/// Turns are taken to be that far apart: what a busy coordinator waits at most.
const STEP_MS: i64 = 1_000;

/// Entries of each list in an answer; numbers beside the lists count all.
const LISTED: usize = 1_000;

#[derive(Debug, Deserialize)]
pub(super) struct PlanQuery {
    #[serde(default)]
    turns: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    /// When what the plan rests on was seen.
    seen: String,
    /// Whether the coordinator that answers leads. One that does not remembers no moves, cool-downs and drains: it
    /// shows what it would do if it had to begin now.
    leader: bool,
    inputs: Inputs,
    under_way: Vec<UnderWay>,
    cool_downs: Vec<CoolDown>,
    shards: Vec<ShardState>,
    /// The first is the next one. Every next owner is taken to scrape well and every wanted shard to come up.
    turns: Vec<Turn>,
    /// Whether the last turn shown changes nothing any more.
    settled: bool,
    /// After the first turn.
    unassigned: Vec<super::UnassignedTarget>,
}

/// What decisions rest on.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Inputs {
    targets: usize,
    /// Of those the ones whose series were counted.
    counted_targets: usize,
    groups: u32,
    /// Of all targets, for one replica group, with the series that Prometheus adds to each.
    load: u64,
    /// Series of all targets that end an hour, as far as that is known.
    churn_per_hour: u64,
    held_jobs: Vec<String>,
    limits: LimitsShown,
    /// Placement rules, in the order of their file; reasons name them by number or name.
    rules: Vec<RuleShown>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct RuleShown {
    name: String,
    /// Targets that fall under it.
    targets: usize,
    /// Ordinals that they may be on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pinned: Option<String>,
    exclusive: bool,
    /// `preferred` or `required`: how strictly they are kept apart.
    #[serde(skip_serializing_if = "Option::is_none")]
    spread: Option<&'static str>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct LimitsShown {
    max_series: u64,
    /// A second; 0: not limited.
    max_samples: u64,
    /// 0: not limited.
    max_head_series: u64,
    min_shards: u32,
    max_shards: u32,
    scalable: bool,
    max_idle_seconds: u64,
    grace_seconds: u64,
    good_scrapes: u64,
    move_timeout_seconds: u64,
    moves_per_minute: u32,
    fill_to_percent: u64,
    relieve_to_percent: u64,
    drain_to_percent: u64,
}

#[derive(Debug, Serialize)]
struct UnderWay {
    group: u32,
    target: TargetName,
    from: String,
    to: String,
    since: String,
    seconds: i64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct CoolDown {
    group: u32,
    target: TargetName,
    failures: u32,
    remaining_seconds: i64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ShardState {
    id: String,
    state: &'static str,
    load: u64,
    capacity: u64,
    load_percent: u64,
    /// Series of its targets that end an hour.
    churn_per_hour: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    empty_seconds: Option<i64>,
    /// Until it may be removed, as far as being empty goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    removable_in_seconds: Option<i64>,
}

#[derive(Debug, Serialize)]
struct TargetName {
    job: String,
    url: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Turn {
    moves: Vec<Step>,
    move_count: usize,
    /// Targets that get their first owner.
    placed: Vec<Placed>,
    placed_count: usize,
    removed_count: usize,
    unassigned_count: usize,
    decisions: Vec<Made>,
    shard_counts: Vec<u32>,
}

#[derive(Debug, Serialize)]
struct Step {
    group: u32,
    target: TargetName,
    from: String,
    to: String,
    load: u64,
    phase: &'static str,
    why: String,
}

#[derive(Debug, Serialize)]
struct Placed {
    target: TargetName,
    shard: String,
    load: u64,
}

#[derive(Debug, Serialize)]
struct Made {
    kind: &'static str,
    why: String,
}

/// `turns` says how many to look ahead.
pub(super) async fn plan(State(api): State<Api>, Query(query): Query<PlanQuery>) -> Response {
    let turns = query.turns.as_deref().map_or(Ok(1), str::parse);
    let Some(turns) = turns.ok().filter(|turns| (1..=MOST_TURNS).contains(turns)) else {
        return bad_data(format!("turns has to be a number from 1 to {MOST_TURNS}"));
    };
    let status = Arc::clone(&api.status.borrow());
    let leader = api.leadership.term().is_some();
    // A large plan takes a while.
    let answered = tokio::task::spawn_blocking(move || answer(&status, leader, turns)).await;
    match answered {
        Ok(answer) => success(answer),
        Err(panic) => super::internal(panic.to_string()),
    }
}

fn answer(status: &Status, leader: bool, turns: usize) -> Answer {
    let now = now_ms();
    let basis = &status.basis;
    let (plans, _) =
        foresee(status.seen.clone(), &basis.limits, &basis.history, now, (STEP_MS, turns));
    let unassigned = plans.first().map(|plan| unassigned_list(status, &plan.unassigned, LISTED));
    let shown: Vec<Turn> = plans.iter().map(|plan| turn(status, plan)).collect();
    let moves = basis.history.moves.iter().take(LISTED);
    let cooldowns = basis.history.cooldowns.iter().filter(|(_, cooldown)| cooldown.until > now);
    Answer {
        seen: rfc3339_ms(basis.now),
        leader,
        inputs: inputs(status),
        under_way: moves
            .map(|((group, target), step)| UnderWay {
                group: *group,
                target: name(status, *target),
                from: step.from.to_string(),
                to: step.to.to_string(),
                since: rfc3339_ms(step.since),
                seconds: (now - step.since) / 1_000,
            })
            .collect(),
        cool_downs: cooldowns
            .take(LISTED)
            .map(|((group, target), cooldown)| CoolDown {
                group: *group,
                target: name(status, *target),
                failures: cooldown.failures,
                remaining_seconds: (cooldown.until - now) / 1_000,
            })
            .collect(),
        shards: shards(status, now),
        // With fewer plans than asked for, the last one has changed nothing.
        settled: shown.len() < turns,
        turns: shown,
        unassigned: unassigned.unwrap_or_default(),
    }
}

fn inputs(status: &Status) -> Inputs {
    let targets = &status.seen.targets;
    let loads = targets.iter().map(|target| match target.size {
        Size::Counted(series) | Size::Tentative(series) => {
            status.basis.limits.load(series, target.interval_ms, target.churn)
        }
        Size::Unknown => 0,
    });
    let counted = targets.iter().filter(|target| crate::growth::counted(target).is_some());
    Inputs {
        targets: targets.len(),
        counted_targets: counted.count(),
        groups: status.seen.groups,
        load: loads.sum(),
        churn_per_hour: targets.iter().map(|target| u64::from(target.churn)).sum(),
        held_jobs: status.seen.held_jobs.iter().map(ToString::to_string).collect(),
        limits: limits(&status.basis.limits),
        rules: rules(&status.seen),
    }
}

fn rules(seen: &Snapshot) -> Vec<RuleShown> {
    let mut counts: HashMap<u16, usize> = HashMap::new();
    for target in seen.targets.iter().filter(|target| target.tag.rule > 0) {
        *counts.entry(target.tag.rule).or_default() += 1;
    }
    let shown = |(number, rule): (u16, &Rule)| RuleShown {
        name: rule.name.to_string(),
        targets: counts.get(&number).copied().unwrap_or(0),
        pinned: rule.pin.as_ref().map(ToString::to_string),
        exclusive: rule.pin.as_ref().is_some_and(|pin| pin.exclusive),
        spread: rule.spread.map(|spread| match spread {
            Spread::Preferred => "preferred",
            Spread::Required => "required",
        }),
    };
    (1..).zip(seen.rules.iter()).map(shown).collect()
}

fn limits(limits: &Limits) -> LimitsShown {
    LimitsShown {
        max_series: limits.max_series,
        max_samples: limits.max_samples,
        max_head_series: limits.max_head,
        min_shards: limits.min_shards,
        max_shards: limits.max_shards,
        scalable: limits.scalable,
        max_idle_seconds: limits.max_idle.as_secs(),
        grace_seconds: limits.grace.as_secs(),
        good_scrapes: limits.good_scrapes,
        move_timeout_seconds: limits.move_timeout.as_secs(),
        moves_per_minute: limits.moves_per_minute,
        fill_to_percent: limits.fill_to,
        relieve_to_percent: limits.relieve_to,
        drain_to_percent: limits.drain_to,
    }
}

fn shards(status: &Status, now: i64) -> Vec<ShardState> {
    let history = &status.basis.history;
    let max_idle = status.basis.limits.max_idle;
    let state = |shard: &crate::status::ShardStatus| {
        let empty = history.empty_since.get(&shard.endpoint.id).map(|since| now - since);
        let patience = i64::try_from(max_idle.as_millis()).unwrap_or(i64::MAX);
        let removable = empty.filter(|_| max_idle > Duration::ZERO);
        ShardState {
            id: shard.endpoint.id.to_string(),
            state: shard.state,
            load: shard.load,
            capacity: shard.capacity,
            load_percent: shard.load.saturating_mul(100).checked_div(shard.capacity).unwrap_or(0),
            churn_per_hour: shard.churn,
            empty_seconds: empty.map(|empty| empty / 1_000),
            removable_in_seconds: removable.map(|empty| (patience - empty).max(0) / 1_000),
        }
    };
    status.shards.iter().map(state).collect()
}

fn turn(status: &Status, plan: &Plan) -> Turn {
    let moves = plan.moves.iter().take(LISTED).map(|report| Step {
        group: report.group,
        target: name(status, report.target),
        from: report.from.to_string(),
        to: report.to.to_string(),
        load: report.load,
        phase: report.phase.label(),
        why: match &report.phase {
            MovePhase::Begun(why) => why.to_string(),
            _ => report.to_string(),
        },
    });
    let placed = plan.placed.iter().take(LISTED).map(|(target, shard, load)| Placed {
        target: name(status, *target),
        shard: shard.to_string(),
        load: *load,
    });
    let decisions = plan
        .decisions
        .iter()
        .map(|decision| Made { kind: decision.label(), why: decision.to_string() });
    Turn {
        moves: moves.collect(),
        move_count: plan.moves.len(),
        placed: placed.collect(),
        placed_count: plan.placed.len(),
        removed_count: plan.removed.len(),
        unassigned_count: plan.unassigned.len(),
        decisions: decisions.collect(),
        shard_counts: plan.shard_counts.clone(),
    }
}

fn name(status: &Status, target: u64) -> TargetName {
    let found = status.found.get(target);
    TargetName {
        job: found.map(|found| found.job.to_string()).unwrap_or_default(),
        url: found.map_or_else(|| format!("{target:016x}"), |found| found.target.url()),
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct MovesQuery {
    /// Part of its URL, or its id.
    target: String,
    job: String,
    /// `0-1`: what it gave or got, and decisions that name it.
    shard: String,
    kind: String,
    /// RFC 3339, or seconds since the epoch.
    since: String,
    limit: String,
}

#[derive(Debug, Serialize)]
struct Moves {
    /// The newest first.
    moves: Vec<Noted>,
    /// How many there are, listed or not.
    count: usize,
}

#[derive(Debug, Serialize)]
struct Noted {
    seq: u64,
    time: String,
    epoch: u64,
    kind: String,
    #[serde(flatten)]
    moved: Option<Moved>,
    detail: String,
}

/// Moves and decisions of the past, filtered.
pub(super) async fn moves(State(api): State<Api>, Query(query): Query<MovesQuery>) -> Response {
    let limit = if query.limit.is_empty() { Ok(LISTED) } else { query.limit.parse() };
    let Ok(limit) = limit else {
        return bad_data(format!("limit has to be a number, not {:?}", query.limit));
    };
    let Some(since) = parse_time(&query.since) else {
        return bad_data(format!(
            "since has to be RFC 3339 or seconds since the epoch, not {:?}",
            query.since
        ));
    };
    let ledger = api.ledger.clone();
    let follows = api.leadership.term().is_none();
    let found = tokio::task::spawn_blocking(move || {
        if follows {
            // On a shared data folder the leader writes it.
            ledger.reread();
        }
        ledger.find(|entry| entry.time >= since && fits(entry, &query), limit)
    });
    let (moves, count) = match found.await {
        Ok(found) => found,
        Err(panic) => return super::internal(panic.to_string()),
    };
    let noted = |entry: Entry| Noted {
        seq: entry.seq,
        time: rfc3339_ms(entry.time),
        epoch: entry.epoch,
        kind: entry.kind,
        moved: entry.moved,
        detail: entry.detail,
    };
    success(Moves { moves: moves.into_iter().map(noted).collect(), count })
}

fn fits(entry: &Entry, query: &MovesQuery) -> bool {
    let any = |wanted: &str, test: &dyn Fn(&Moved) -> bool| {
        wanted.is_empty() || entry.moved.as_ref().is_some_and(test)
    };
    let MovesQuery { target, job, shard, kind, .. } = query;
    let named = entry.moved.is_none() && entry.detail.contains(&format!("shard {shard} "));
    (kind.is_empty() || entry.kind == *kind)
        && any(target, &|moved| moved.url.contains(target.as_str()) || moved.target == *target)
        && any(job, &|moved| moved.job == *job)
        && (named || any(shard, &|moved| moved.from == *shard || moved.to == *shard))
}

/// Milliseconds since the epoch; empty text is the beginning of time.
fn parse_time(text: &str) -> Option<i64> {
    if text.is_empty() {
        return Some(i64::MIN);
    }
    if let Ok(seconds) = text.parse::<f64>() {
        #[expect(clippy::cast_possible_truncation, reason = "saturates, which is as good")]
        return seconds.is_finite().then_some((seconds * 1_000.0) as i64);
    }
    let time = humantime::parse_rfc3339_weak(text).ok()?;
    let since = time.duration_since(std::time::UNIX_EPOCH).ok()?;
    i64::try_from(since.as_millis()).ok()
}
