//! Who scrapes what, and how many shards there are: values in, values out. No clock, no async, no I/O.
//!
//! [`plan`] takes what was seen ([`Snapshot`]), the operator's bounds ([`Limits`]) and what the planner itself left
//! behind last time ([`History`]), and says what every shard is to hold. The same input gives the same plan; a plan
//! that was carried out and is asked for again changes nothing. Each replica group is planned by itself, with
//! an eye on where the others have a target: on other ordinals where there is room.
//!
//! Loads are in series: what a scrape leaves after metric relabelling plus the five series that Prometheus itself
//! adds per target (`up`, `scrape_duration_seconds`, `scrape_samples_scraped`,
//! `scrape_samples_post_metric_relabeling`, `scrape_series_added`). Where samples a second are limited, too, a target
//! weighs as much as that many series as its samples a second are worth, if these are more ([`Limits::load`]). So each
//! shard has one capacity, and what fits by it fits by both: no sum of series, and none of samples, exceeds the sum of
//! the larger of the two. Heads that are limited are one more share: of what a target's series, and those of it that
//! have ended, take there.

mod balance;
mod bins;
mod copies;
mod decision;
mod drain;
mod even;
mod group;
mod lifecycle;
mod obey;
mod quarantine;
mod reconcile;
mod relieve;
mod room;
mod rules;
mod scale;
mod shelves;
mod tally;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use copies::Copies;
pub use decision::{Decision, MovePhase, MoveReport, Reason, WhyMoved};
pub use lifecycle::{LifeLimits, Rung, ShardLife, Shipped};
use rules::RuleBook;
pub use rules::{Pin, Rule, Rules, Spread, Tag};
pub use tally::{Sum, Tally};

/// Series that Prometheus adds to each target.
pub const SERIES_PER_SCRAPE: u64 = 5;

/// For how many hours the head of a Prometheus keeps what has ended, at most: it is cut each two hours, and keeps one.
pub const HEAD_HOURS: u64 = 3;

/// A shard: replica group and ordinal within it. Printed as `0-1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId {
    pub group: u32,
    pub ordinal: u32,
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.group, self.ordinal)
    }
}

/// Text that names no shard.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a shard id like 0-1: {0:?}")]
pub struct ShardIdError(String);

impl FromStr for ShardId {
    type Err = ShardIdError;

    fn from_str(text: &str) -> Result<Self, ShardIdError> {
        let error = || ShardIdError(text.to_owned());
        let (group, ordinal) = text.split_once('-').ok_or_else(error)?;
        Ok(Self {
            group: group.parse().map_err(|_| error())?,
            ordinal: ordinal.parse().map_err(|_| error())?,
        })
    }
}

/// Everything that a plan rests on.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// What discovery has found; ascending and distinct by id.
    pub targets: Arc<[TargetView]>,
    /// The shards that exist; ascending by id, ordinals of a group without holes.
    pub shards: Vec<ShardView>,
    /// How many replica groups there are to be.
    pub groups: u32,
    /// Jobs whose discovery has not answered in full yet: what a shard holds of them stays, found or not.
    pub held_jobs: BTreeSet<Arc<str>>,
    /// The operator's placement rules.
    pub rules: Arc<Rules>,
    /// What they make of targets that shards hold and discovery does not know (yet).
    pub held_tags: BTreeMap<u64, Tag>,
}

/// A discovered target.
#[derive(Debug, Clone)]
pub struct TargetView {
    pub id: u64,
    pub job: Arc<str>,
    pub size: Size,
    pub tag: Tag,
    /// How often it is scraped, in milliseconds; 0: not known, or of no account.
    pub interval_ms: u32,
    /// Series that end an hour; 0: none, or not known.
    pub churn: u32,
}

/// How many series a target has after metric relabelling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Size {
    /// Counted by a scrape.
    Counted(u64),
    /// A guess: the target did not answer yet, but has to be scraped so that `up == 0` is recorded.
    Tentative(u64),
    /// Not known yet; the first trial scrape is under way.
    Unknown,
}

/// What is known of a shard.
#[derive(Debug, Clone)]
pub struct ShardView {
    pub id: ShardId,
    /// Most series that it may hold.
    pub capacity: u64,
    pub condition: Condition,
    /// Whether `holdings` is what the shard said (or it is new and empty). Nothing is handed to a shard before that.
    pub known: bool,
    pub holdings: Vec<Holding>,
    pub life: ShardLife,
}

/// How a shard does. `since` is in milliseconds since the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// The agent answers and its Prometheus is ready.
    Ready,
    /// The agent answers, Prometheus starts or replays its WAL; or the shard was just made.
    Starting { since: i64 },
    /// The agent answers, Prometheus does not.
    EngineDown { since: i64 },
    /// The agent does not answer, its Prometheus, asked directly, does: it goes on scraping.
    AgentDown { since: i64 },
    /// Neither answers.
    Unreachable { since: i64 },
}

/// A target as a shard holds it.
#[derive(Debug, Clone)]
pub struct Holding {
    pub target: u64,
    pub job: Arc<str>,
    pub state: State,
    /// After metric relabelling, as last counted or told.
    pub series: u64,
    /// Where discovery does not know it; see [`TargetView::interval_ms`].
    pub interval_ms: u32,
    /// Where discovery does not know it; see [`TargetView::churn`].
    pub churn: u32,
    /// Since the shard was given the target.
    pub scrapes: u64,
    /// Successful ones in a row, up to now.
    pub good_scrapes: u64,
    /// Whether the last scrape failed.
    pub down: bool,
}

/// What a shard is to a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// The owner.
    Active,
    /// The owner until the next one has proved itself.
    Leaving,
    /// The next owner, which has to prove itself.
    Joining,
}

impl State {
    /// As the API shows it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Leaving => "leaving",
            Self::Joining => "joining",
        }
    }
}

/// The operator's bounds.
#[derive(Debug, Clone, Default)]
pub struct Limits {
    /// Capacity of a shard that does not exist yet.
    pub max_series: u64,
    /// Most samples a second of such a shard; others in proportion to their capacity. 0: not limited.
    pub max_samples: u64,
    /// Most series of the head of such a shard's Prometheus, others' in proportion. 0: not limited.
    pub max_head: u64,
    pub min_shards: u32,
    pub max_shards: u32,
    /// Whether shards can be added and removed at all.
    pub scalable: bool,
    /// How long the highest shard has to be empty before it is removed; zero: shards are never removed.
    pub max_idle: Duration,
    /// Good scrapes in a row that a next owner has to show.
    pub good_scrapes: u64,
    /// A move that is not finished by then is rolled back.
    pub move_timeout: Duration,
    /// How long a shard that is in trouble keeps its targets.
    pub grace: Duration,
    /// Moves and evacuations that may begin a minute.
    pub moves_per_minute: u32,
    /// How full shards are to be after some were added, in percent.
    pub fill_to: u64,
    /// Down to what share of its capacity an overloaded shard is relieved, in percent.
    pub relieve_to: u64,
    /// Up to what share of their capacity the other shards may be filled by draining one, in percent.
    pub drain_to: u64,
    pub life: LifeLimits,
}

impl Limits {
    /// What a target weighs, in series: those that it has, or those whose share of a shard is its share of the samples
    /// a second or of the head, whichever is most.
    #[must_use]
    pub fn load(&self, series: u64, interval_ms: u32, churn: u32) -> u64 {
        let all = self.head_load(series, churn);
        let each = u128::from(interval_ms) * u128::from(self.max_samples);
        if each == 0 {
            return all;
        }
        let stored = u128::from(series.saturating_add(SERIES_PER_SCRAPE));
        let samples = (stored * 1_000).saturating_mul(u128::from(self.max_series));
        all.max(u64::try_from(samples.div_ceil(each)).unwrap_or(u64::MAX))
    }

    /// The same but for samples. Where a head may have more than what is scraped, that much of churn weighs nothing.
    pub(crate) fn head_load(&self, series: u64, churn: u32) -> u64 {
        let all = series.saturating_add(SERIES_PER_SCRAPE);
        if self.max_head == 0 || churn == 0 {
            return all;
        }
        let held = u128::from(all.saturating_add(ended(churn)));
        let share = held * u128::from(self.max_series.min(self.max_head));
        all.max(u64::try_from(share.div_ceil(u128::from(self.max_head))).unwrap_or(u64::MAX))
    }
}

/// Series that have ended and that a head holds, at most, when so many end an hour.
#[must_use]
pub fn ended(churn: u32) -> u64 {
    u64::from(churn) * HEAD_HOURS
}

impl TargetView {
    /// Samples a second that Prometheus stores of it; 0 where size or interval are not known.
    #[must_use]
    pub fn samples_per_second(&self) -> f64 {
        match self.size {
            Size::Counted(series) | Size::Tentative(series) if self.interval_ms > 0 => {
                series.saturating_add(SERIES_PER_SCRAPE) as f64 * 1_000.0
                    / f64::from(self.interval_ms)
            }
            _ => 0.0,
        }
    }
}

/// What the planner remembers from plan to plan. Losing it (a restart) costs patience, never targets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// Moves under way, by group and target.
    pub moves: BTreeMap<(u32, u64), Move>,
    /// Targets that a failed move keeps in place for a while, by group and target.
    pub cooldowns: BTreeMap<(u32, u64), Cooldown>,
    /// The shard of a group that is being emptied.
    pub draining: BTreeMap<u32, u32>,
    /// Since when it has been, in milliseconds since the epoch.
    pub draining_since: BTreeMap<u32, i64>,
    /// Since when a shard has been without targets, in milliseconds since the epoch.
    pub empty_since: BTreeMap<ShardId, i64>,
    /// Shards that were drained and have got nothing since: they are filled last.
    pub drained: BTreeSet<ShardId>,
    /// Since when a group could do without its highest shard, in milliseconds since the epoch.
    pub spare_since: BTreeMap<u32, i64>,
    /// Shards that have been as full as others.
    pub filled: BTreeSet<ShardId>,
    /// Since when those that have not have held something, in milliseconds since the epoch.
    pub filling_since: BTreeMap<ShardId, i64>,
    /// Since when a shard of a group stands out, in milliseconds since the epoch.
    pub uneven_since: BTreeMap<u32, i64>,
    /// Since when a target without owner has been waiting for room that is being made, by group and target.
    pub waiting_since: BTreeMap<(u32, u64), i64>,
    /// Targets that a shard was to let go of, by shard and target, and whose they are: as long as both have them.
    pub let_go: BTreeMap<(ShardId, u64), ShardId>,
    /// How many shards a group was given or relieved of, and when that began, in milliseconds since the epoch.
    pub scaled: BTreeMap<u32, (u32, i64)>,
    /// What is left of the moves that may begin, in thousandths, and when it was last topped up.
    budget: Option<(u64, i64)>,
    /// The same, for balance, by group.
    balanced: BTreeMap<u32, (u64, i64)>,
    /// And for shards that stand out far.
    urgent: BTreeMap<u32, (u64, i64)>,
    /// The same, for parting what other groups have on the same ordinal.
    parted: BTreeMap<u32, (u64, i64)>,
}

/// A move under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Move {
    pub from: ShardId,
    pub to: ShardId,
    pub since: i64,
}

/// How long a target stays put after a failed move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cooldown {
    pub until: i64,
    pub failures: u32,
    /// Where it went in vain: it goes there again only if it has to.
    pub ordinals: BTreeSet<u32>,
}

/// What is to be.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// What each shard is to hold; shards that have not said yet what they hold are absent.
    pub shards: BTreeMap<ShardId, Vec<Desired>>,
    /// How many shards each group is to have.
    pub shard_counts: Vec<u32>,
    /// Where each shard is on the ladder.
    pub rungs: BTreeMap<ShardId, Rung>,
    pub moves: Vec<MoveReport>,
    /// Targets that got an owner, with their load.
    pub placed: Vec<(u64, ShardId, u64)>,
    /// Targets that left a shard because discovery no longer knows them.
    pub removed: Vec<(u64, ShardId)>,
    /// Every target that a group does not scrape, each with its reason.
    pub unassigned: Vec<Unassigned>,
    /// Targets that alone exceed the capacity of the shard that holds them, with their load.
    pub oversize: Vec<(u64, ShardId, u64)>,
    pub decisions: Vec<Decision>,
    /// Whether something is under way, so that the next plan should not wait long.
    pub busy: bool,
    pub history: History,
    /// What was there before it.
    pub tally: Tally,
}

/// A target on a shard, as it is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Desired {
    pub target: u64,
    pub state: State,
}

/// A target that a group does not scrape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unassigned {
    pub group: u32,
    pub target: u64,
    pub reason: Reason,
}

/// Plans all groups. `now` is in milliseconds since the epoch.
#[must_use]
pub fn plan(seen: &Snapshot, limits: &Limits, history: &History, now: i64) -> Plan {
    let mut plan = Plan::default();
    let mut budget = Budget::refilled(history.budget, limits, now);
    let book = RuleBook::of(seen);
    for group in 0..seen.groups {
        let copies = Copies::of_others(seen, &plan, group).with_failed(limits, history, group, now);
        group::Planner::new(seen, (limits, &book), history, now, group, &copies)
            .run(&mut budget, &mut plan);
    }
    plan.history.budget = Some((budget.thousandths, now));
    plan.busy |= plan.moves.iter().any(|report| report.phase.is_begun());
    plan
}

/// How many moves may begin: a bucket that fills by the minute and holds ten seconds' worth, one at least, and a tenth
/// more that is kept for what stands out.
#[derive(Debug)]
struct Budget {
    thousandths: u64,
    kept: u64,
}

impl Budget {
    fn refilled(left: Option<(u64, i64)>, limits: &Limits, now: i64) -> Self {
        let full = (u64::from(limits.moves_per_minute) * 1000 / 6).max(1000);
        let kept = full / 10_000 * 1_000;
        let full = full + kept;
        let thousandths = left.map_or(full, |(left, at)| {
            let elapsed = u64::try_from(now.saturating_sub(at)).unwrap_or(0);
            let gained = elapsed.saturating_mul(u64::from(limits.moves_per_minute)) / 60;
            left.saturating_add(gained).min(full)
        });
        Self { thousandths, kept }
    }

    /// Whether none may begin any more.
    fn is_spent(&self) -> bool {
        self.thousandths < self.kept + 1000
    }

    /// Whether one more may begin; takes it.
    fn take(&mut self) -> bool {
        let begins = !self.is_spent();
        self.thousandths -= u64::from(begins) * 1000;
        begins
    }
}
