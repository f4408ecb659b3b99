//! The life of a shard, as far as planning goes: the rungs of the ladder down which one leaves, and what is known of it
//! beyond its condition.
//!
//! A shard that is not needed any more goes down one rung after another, and up again from most of them:
//!
//! | rung | what holds | what comes next |
//! | --- | --- | --- |
//! | active | it takes targets | the others can take all it has: draining |
//! | draining | it takes a target only where no other shard can; its own move to others | nothing left: empty |
//! | empty | it holds nothing and is still queried; a scale-up fills it before a new shard is made | idle for the time asked for: shipping; without an object store: removable |
//! | shipping | it was asked to put all of its data, the head included, into the bucket | all of it is there: shipped |
//! | shipped | it takes nothing any more: what it scraped now could not be told from what is shipped | removable |
//! | removable | it is counted out; its data folder is kept | |
//!
//! Only the highest ordinals go, the top one first.

use std::time::Duration;

use super::{Condition, Limits, ShardView};

/// What is known of a shard beyond its condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ShardLife {
    pub shipped: Shipped,
    /// Its Prometheus crashes again and again: it takes nothing, and its load is spread over others.
    pub quarantined: bool,
    /// Since when it has not taken what it was to hold, in milliseconds since the epoch.
    pub deaf_since: Option<i64>,
    /// Whether it has said nothing in this turn, or has not answered yet what it was handed: what is known of what it
    /// holds may be no longer so, and it can be told nothing.
    pub silent: bool,
}

/// Whether a shard's data is in the bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Shipped {
    /// There is no object store: the data stays on the shard's disk.
    #[default]
    Nowhere,
    /// Not all of it, as far as known.
    NotYet,
    /// All of it, up to the last sample of the head.
    All,
}

/// Bounds of what happens to shards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LifeLimits {
    /// How long a shard keeps its targets whose Prometheus answers but whose sidecar does not: it goes on scraping
    /// them. Zero: for ever.
    pub agent_grace: Duration,
    /// How long shards that do not answer at all keep their targets when they are most of a group: then it may be the
    /// coordinator that is cut off. No shorter than the grace time.
    pub partition_grace: Duration,
    /// Most shards that are added to or removed from a group in a minute.
    pub scale_step: u32,
    /// How long a target stays where it is after a failed move; doubled with each failure, up to 64 times.
    pub cooldown: Duration,
}

impl Default for LifeLimits {
    fn default() -> Self {
        Self {
            agent_grace: Duration::from_secs(3600),
            partition_grace: Duration::from_secs(1200),
            scale_step: 100,
            cooldown: Duration::from_secs(60),
        }
    }
}

/// Where a shard is on the ladder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rung {
    Active,
    Draining,
    Empty,
    Shipping,
    Shipped,
    Removable,
}

impl Rung {
    /// As the API and the metric show it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Draining => "draining",
            Self::Empty => "empty",
            Self::Shipping => "shipping",
            Self::Shipped => "shipped",
            Self::Removable => "removable",
        }
    }
}

/// Fewer silent shards than that are a coincidence.
const SILENT: usize = 3;

/// Most of a group does not answer at all, its Prometheus servers neither: rather than that all of them are dead, the
/// coordinator is cut off from them, and they scrape on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CutOff {
    pub(super) silent: usize,
    pub(super) shards: usize,
}

impl CutOff {
    pub(super) fn of<'a>(group: impl Iterator<Item = &'a ShardView>) -> Option<Self> {
        let (mut silent, mut shards) = (0, 0);
        for shard in group {
            shards += 1;
            silent += usize::from(matches!(shard.condition, Condition::Unreachable { .. }));
        }
        (silent >= SILENT && 2 * silent > shards).then_some(Self { silent, shards })
    }
}

/// How long a shard in this condition keeps its targets; `None`: for ever. One that has not said what it holds may hold
/// anything, and is not waited for any longer than a dead one.
pub(super) fn grace(
    condition: Condition,
    known: bool,
    cut_off: bool,
    limits: &Limits,
) -> Option<Duration> {
    match condition {
        Condition::Unreachable { .. } if cut_off => {
            Some(limits.life.partition_grace.max(limits.grace))
        }
        Condition::AgentDown { .. } if known => {
            let grace = limits.life.agent_grace.max(limits.grace);
            (!limits.life.agent_grace.is_zero()).then_some(grace)
        }
        _ => Some(limits.grace),
    }
}
