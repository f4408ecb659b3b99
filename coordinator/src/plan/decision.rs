//! What a plan says to people: moves, scale decisions and reasons, each with the numbers it rests on.

use std::fmt;
use std::sync::Arc;

use super::ShardId;

/// Why a group does not scrape a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// The first trial scrape is under way.
    Sizing,
    /// A shard has not said yet what it holds; it may be the owner.
    AwaitingReport { shard: ShardId },
    /// It has a place on a shard that is being added.
    AwaitingShard { shard: ShardId, load: u64 },
    /// It has a place on a shard that does not answer yet.
    AwaitingAgent { shard: ShardId, load: u64 },
    /// Others leave a shard to make room for it.
    AwaitingRoom { shard: ShardId, load: u64 },
    /// Its owner is lost and there is no place for it (or the rate of evacuations is reached).
    OwnerLost { shard: ShardId, load: u64 },
    /// Nothing has room and no shard can be added.
    NoRoom { load: u64, largest_free: u64, shards: usize },
    /// It alone exceeds a shard's capacity, and there is no empty shard for it.
    Oversize { load: u64, capacity: u64 },
    /// The shards that a placement rule pins it to have no room.
    PinnedFull { rule: Arc<str>, load: u64, free: u64 },
    /// None of the shards that a placement rule pins it to is there.
    PinnedNowhere { rule: Arc<str> },
    /// Every shard that it may be on has a target that a placement rule keeps it apart from.
    Apart { rule: Arc<str>, shards: usize },
}

impl Reason {
    /// A short, stable word: the value of a metric's label.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Sizing => "sizing",
            Self::AwaitingReport { .. } => "awaiting_report",
            Self::AwaitingShard { .. } => "awaiting_shard",
            Self::AwaitingAgent { .. } => "awaiting_agent",
            Self::AwaitingRoom { .. } => "awaiting_room",
            Self::OwnerLost { .. } => "owner_lost",
            Self::NoRoom { .. } => "no_room",
            Self::Oversize { .. } => "oversize",
            Self::PinnedFull { .. } => "pinned_full",
            Self::PinnedNowhere { .. } => "pinned_nowhere",
            Self::Apart { .. } => "apart",
        }
    }

    /// All labels, so that a metric shows zeros, too.
    pub const LABELS: [&'static str; 11] = [
        "sizing",
        "awaiting_report",
        "awaiting_shard",
        "awaiting_agent",
        "awaiting_room",
        "owner_lost",
        "no_room",
        "oversize",
        "pinned_full",
        "pinned_nowhere",
        "apart",
    ];

    /// Labels of reasons that do not pass by themselves.
    pub const LASTING: [&'static str; 6] =
        ["owner_lost", "no_room", "oversize", "pinned_full", "pinned_nowhere", "apart"];
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sizing => write!(f, "its series are being counted"),
            Self::AwaitingReport { shard } => {
                write!(f, "shard {shard}, which may own it, has not reported yet")
            }
            Self::AwaitingShard { shard, load } => {
                write!(f, "shard {shard} is being added for its {load} series")
            }
            Self::AwaitingAgent { shard, load } => {
                write!(f, "shard {shard}, which has room for its {load} series, is not reachable")
            }
            Self::AwaitingRoom { shard, load } => {
                write!(f, "shard {shard} is making room for its {load} series")
            }
            Self::OwnerLost { shard, load } => {
                write!(
                    f,
                    "its shard {shard} is lost, and its {load} series wait for a place or their turn"
                )
            }
            Self::NoRoom { load, largest_free, shards } => write!(
                f,
                "no shard has room: it needs {load} series, the largest free room on {shards} shards is {largest_free}"
            ),
            Self::Oversize { load, capacity } => write!(
                f,
                "no shard has room: its {load} series alone exceed the {capacity} of a shard, and there is no empty \
                 shard for it"
            ),
            Self::PinnedFull { rule, load, free } => write!(
                f,
                "placement rule {rule:?} pins it to shards without room: it needs {load} series, the largest free room \
                 there is {free}"
            ),
            Self::PinnedNowhere { rule } => write!(
                f,
                "placement rule {rule:?} pins it to shards that do not exist or take nothing, and none of them can be \
                 added"
            ),
            Self::Apart { rule, shards } => write!(
                f,
                "placement rule {rule:?} keeps it apart from others: each of the {shards} shards that it may be on has \
                 one of them or no room, and none can be added"
            ),
        }
    }
}

/// Why a target leaves its shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhyMoved {
    /// The shard holds more than it may.
    Overload { load: u64, capacity: u64 },
    /// The shard is being emptied so that it can be removed.
    Drain,
    /// A large target has no owner, and fits nowhere as it is.
    Room { load: u64 },
    /// The shard is fuller than the others.
    Balance { load: u64, mean: u64 },
    /// The shard's Prometheus crashes again and again.
    Quarantine,
    /// Another replica group has it on the same ordinal.
    SameOrdinal,
    /// A placement rule, by its number, wants it elsewhere or the shard for others.
    Pinned { rule: u16 },
    /// A placement rule, by its number, keeps it apart from another target of the shard.
    Apart { rule: u16 },
    /// Targets that are pinned to the shard have no other place.
    Yield { load: u64 },
}

impl fmt::Display for WhyMoved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Overload { load, capacity } => {
                write!(f, "the shard holds {load} series, {capacity} at most are allowed")
            }
            Self::Drain => write!(f, "the shard is being drained"),
            Self::Room { load } => {
                write!(f, "a target of {load} series without owner needs its room")
            }
            Self::Quarantine => write!(f, "the shard is in quarantine"),
            Self::SameOrdinal => write!(f, "another group has it on the same ordinal"),
            Self::Pinned { rule } => write!(f, "placement rule {rule} has it on other shards"),
            Self::Apart { rule } => {
                write!(f, "placement rule {rule} keeps it apart from others on the shard")
            }
            Self::Yield { load } => {
                write!(f, "{load} series that are pinned to the shard have no other place")
            }
            Self::Balance { load, mean } => {
                write!(f, "the shard holds {load} series, {mean} would be its fair share")
            }
        }
    }
}

/// One step of a move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MoveReport {
    pub group: u32,
    pub target: u64,
    pub from: ShardId,
    pub to: ShardId,
    pub load: u64,
    pub phase: MovePhase,
}

/// What happened to a move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MovePhase {
    Begun(WhyMoved),
    Finished {
        good_scrapes: u64,
        milliseconds: i64,
    },
    RolledBack {
        why: &'static str,
        milliseconds: i64,
    },
    /// The owner is lost: the target moved without its help.
    Evacuated,
    /// Two shards scraped it (one was away); the second one lets go.
    Deduplicated,
}

impl MovePhase {
    /// All labels.
    pub const LABELS: [&'static str; 5] =
        ["begun", "finished", "rolled_back", "evacuated", "deduplicated"];

    /// A short, stable word: the value of a metric's label.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Begun(_) => "begun",
            Self::Finished { .. } => "finished",
            Self::RolledBack { .. } => "rolled_back",
            Self::Evacuated => "evacuated",
            Self::Deduplicated => "deduplicated",
        }
    }

    pub(super) fn is_begun(&self) -> bool {
        matches!(self, Self::Begun(_))
    }
}

impl fmt::Display for MoveReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to, load, phase, .. } = self;
        match phase {
            MovePhase::Begun(why) => {
                write!(f, "move of {load} series from shard {from} to {to} begun: {why}")
            }
            MovePhase::Finished { good_scrapes, milliseconds } => write!(
                f,
                "move of {load} series from shard {from} to {to} finished after {milliseconds} ms and {good_scrapes} \
                 good scrapes"
            ),
            MovePhase::RolledBack { why, milliseconds } => write!(
                f,
                "move of {load} series from shard {from} to {to} rolled back after {milliseconds} ms: {why}"
            ),
            MovePhase::Evacuated => {
                write!(f, "{load} series evacuated from lost shard {from} to {to}")
            }
            MovePhase::Deduplicated => {
                write!(f, "both shard {from} and {to} scraped its {load} series: {to} keeps it")
            }
        }
    }
}

/// A decision about shards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// What does not fit needs more shards.
    ScaleUp { group: u32, from: u32, to: u32, targets: usize, load: u64, max_series: u64 },
    /// All shards together are nearly full.
    Grow { group: u32, from: u32, to: u32, load: u64, capacity: u64 },
    /// There are fewer shards than the operator wants.
    ScaleToMinimum { group: u32, from: u32, to: u32 },
    /// The highest shards have been empty for long enough.
    ScaleDown { group: u32, from: u32, to: u32, idle_seconds: u64 },
    /// The highest shard's load fits into the others.
    DrainBegun { shard: ShardId, load: u64, room: u64 },
    /// What was being emptied is needed again, or the others have no more room for what it holds.
    DrainStopped { shard: ShardId, load: u64, room: u64 },
    /// A shard holds too much, and nothing can be done about it.
    Overloaded { shard: ShardId, load: u64, capacity: u64 },
    /// A shard has been in trouble for longer than the grace time.
    Lost { shard: ShardId, targets: usize, load: u64 },
    /// Most shards of a group do not answer at all: they keep their targets for longer than one of them would.
    CutOff { group: u32, silent: usize, shards: usize },
    /// A shard is in quarantine: its load moves to others.
    Spread { shard: ShardId, targets: usize, load: u64 },
    /// Placement rules want targets elsewhere, and there is no room for them there.
    Misplaced { group: u32, targets: usize, load: u64 },
    /// A shard has been empty for long enough, and now puts all of its data into the bucket.
    Ship { shard: ShardId, idle_seconds: u64 },
}

impl Decision {
    /// All labels.
    pub const LABELS: [&'static str; 10] = [
        "scale_up",
        "scale_down",
        "drain_begun",
        "drain_stopped",
        "overloaded",
        "lost",
        "cut_off",
        "spread",
        "ship",
        "misplaced",
    ];

    /// Whether it is about trouble, and not how things are to go.
    #[must_use]
    pub fn is_trouble(&self) -> bool {
        matches!(
            self,
            Self::Lost { .. }
                | Self::CutOff { .. }
                | Self::Overloaded { .. }
                | Self::Misplaced { .. }
        )
    }

    /// A short, stable word.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::ScaleUp { .. } | Self::Grow { .. } | Self::ScaleToMinimum { .. } => "scale_up",
            Self::ScaleDown { .. } => "scale_down",
            Self::DrainBegun { .. } => "drain_begun",
            Self::DrainStopped { .. } => "drain_stopped",
            Self::Overloaded { .. } => "overloaded",
            Self::Lost { .. } => "lost",
            Self::CutOff { .. } => "cut_off",
            Self::Spread { .. } => "spread",
            Self::Ship { .. } => "ship",
            Self::Misplaced { .. } => "misplaced",
        }
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ScaleUp { group, from, to, targets, load, max_series } => write!(
                f,
                "scale group {group} from {from} to {to} shards: {load} series of {targets} targets do not fit \
                 ({max_series} at most a shard)"
            ),
            Self::Grow { group, from: 0, to, load, .. } => {
                write!(f, "begin group {group} with {to} shards: {load} series are known so far")
            }
            Self::Grow { group, from, to, load, capacity } => write!(
                f,
                "grow group {group} from {from} to {to} shards: {load} series nearly fill the {capacity} of its shards"
            ),
            Self::ScaleToMinimum { group, from, to } => {
                write!(
                    f,
                    "scale group {group} from {from} to {to} shards: that many at least are wanted"
                )
            }
            Self::ScaleDown { group, from, to, idle_seconds } => write!(
                f,
                "scale group {group} from {from} to {to} shards: the highest have been empty for {idle_seconds} s"
            ),
            Self::DrainBegun { shard, load, room } => {
                write!(
                    f,
                    "drain shard {shard}: its {load} series fit into the {room} free on the others"
                )
            }
            Self::DrainStopped { shard, load, room } => write!(
                f,
                "shard {shard} is no longer drained: it has {load} series, and {room} are free on the others"
            ),
            Self::Overloaded { shard, load, capacity } => write!(
                f,
                "shard {shard} holds {load} series, {capacity} at most are allowed, and nothing can be moved off it"
            ),
            Self::Lost { shard, targets, load } => write!(
                f,
                "shard {shard} is lost: its {targets} targets with {load} series move to others"
            ),
            Self::CutOff { group, silent, shards } => write!(
                f,
                "group {group} may be cut off from the coordinator: {silent} of its {shards} shards do not answer at \
                 all, and keep their targets for now"
            ),
            Self::Spread { shard, targets, load } => write!(
                f,
                "spread shard {shard}, which is in quarantine: its {targets} targets with {load} series move to others"
            ),
            Self::Misplaced { group, targets, load } => write!(
                f,
                "group {group} cannot follow its placement rules: {targets} targets with {load} series stay on other \
                 shards for want of room"
            ),
            Self::Ship { shard, idle_seconds } => write!(
                f,
                "ship all data of shard {shard}: it has been empty for {idle_seconds} s, and goes once it is in the bucket"
            ),
        }
    }
}
