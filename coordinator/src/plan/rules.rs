//! The operator's placement rules: which shards targets may be on (pins), and which targets are kept apart (spread).

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

use super::bins::Bin;
use super::group::Planner;
use super::{Snapshot, State};

/// What the rules make of a target; nothing, as a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tag {
    /// Which rule it falls under, from 1; 0: none.
    pub rule: u16,
    /// Which targets of its rule it is kept apart from: those with the same number; 0: none.
    pub family: u32,
}

/// All rules, in the order of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules(Vec<Rule>);

/// What holds for the targets of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    pub name: Arc<str>,
    pub pin: Option<Pin>,
    pub spread: Option<Spread>,
}

/// The only shards that a rule's targets may be on, in every replica group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// Ordinals; at least one.
    pub shards: Vec<RangeInclusive<u32>>,
    /// Whether nothing else may be there.
    pub exclusive: bool,
}

impl fmt::Display for Pin {
    /// `0, 2-4, 7-`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, range) in self.shards.iter().enumerate() {
            let comma = if at > 0 { ", " } else { "" };
            match (range.start(), range.end()) {
                (first, &u32::MAX) => write!(f, "{comma}{first}-")?,
                (first, last) if first == last => write!(f, "{comma}{first}")?,
                (first, last) => write!(f, "{comma}{first}-{last}")?,
            }
        }
        Ok(())
    }
}

/// How strictly targets of a family are kept apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spread {
    /// Evenly over the shards that there are, where there is room.
    Preferred,
    /// Never two on one shard: shards are added for it, and what finds none is not scraped.
    Required,
}

impl Pin {
    /// Whether a shard is one of them.
    #[must_use]
    pub fn contains(&self, ordinal: u32) -> bool {
        self.shards.iter().any(|range| range.contains(&ordinal))
    }
}

impl Rules {
    /// As many as a [`Tag`] can name; those beyond are left out.
    #[must_use]
    pub fn new(mut rules: Vec<Rule>) -> Self {
        rules.truncate(usize::from(u16::MAX));
        Self(rules)
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Rule> {
        self.0.iter()
    }

    /// By its number from 1.
    #[must_use]
    pub fn get(&self, rule: u16) -> Option<&Rule> {
        self.0.get(usize::from(rule).checked_sub(1)?)
    }

    pub(super) fn pin(&self, rule: u16) -> Option<&Pin> {
        self.get(rule)?.pin.as_ref()
    }

    fn spread(&self, rule: u16) -> Option<Spread> {
        self.get(rule)?.spread
    }

    /// Exclusive pins with the number of their rule.
    fn exclusive(&self) -> impl Iterator<Item = (u16, &Pin)> {
        let pins = (1..).zip(&self.0).filter_map(|(rule, found)| Some((rule, found.pin.as_ref()?)));
        pins.filter(|(_, pin)| pin.exclusive)
    }

    /// The rule that a shard is for alone; 0: none.
    pub(super) fn owner_of(&self, ordinal: u32) -> u16 {
        self.exclusive().find(|(_, pin)| pin.contains(ordinal)).map_or(0, |(rule, _)| rule)
    }

    /// The lowest ordinal, not below `from`, that targets of a rule (0: of none) may be on.
    pub(super) fn first_allowed(&self, rule: u16, from: u32) -> Option<u32> {
        if let Some(pin) = self.pin(rule) {
            let open = pin.shards.iter().filter(|range| *range.end() >= from);
            return open.map(|range| from.max(*range.start())).min();
        }
        let mut ordinal = from;
        let ranges = || self.exclusive().flat_map(|(_, pin)| &pin.shards);
        while let Some(taken) = ranges().find(|range| range.contains(&ordinal)) {
            ordinal = taken.end().checked_add(1)?;
        }
        Some(ordinal)
    }
}

/// The rules, and which targets of a snapshot they are about.
#[derive(Debug)]
pub(super) struct RuleBook<'a> {
    pub(super) rules: &'a Rules,
    /// Targets that fall under a rule, ascending by id.
    tags: Vec<(u64, Tag)>,
    /// How many targets each family has.
    sizes: HashMap<u32, u64>,
}

impl<'a> RuleBook<'a> {
    pub(super) fn of(seen: &'a Snapshot) -> Self {
        let mut book = Self { rules: &seen.rules, tags: Vec::new(), sizes: HashMap::new() };
        if book.rules.is_empty() {
            return book;
        }
        let found = seen.targets.iter().map(|target| (target.id, target.tag));
        book.tags.extend(found.filter(|(_, tag)| tag.rule != 0));
        for (_, tag) in book.tags.iter().filter(|(_, tag)| tag.family != 0) {
            *book.sizes.entry(tag.family).or_default() += 1;
        }
        if !seen.held_tags.is_empty() {
            let is_found = |id| seen.targets.binary_search_by_key(&id, |target| target.id).is_ok();
            let held = seen.held_tags.iter().filter(|(id, _)| !is_found(**id));
            book.tags.extend(held.map(|(id, tag)| (*id, *tag)));
            book.tags.sort_unstable_by_key(|(id, _)| *id);
        }
        book
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    pub(super) fn tag(&self, target: u64) -> Tag {
        let at = self.tags.binary_search_by_key(&target, |(id, _)| *id);
        at.map_or_else(|_| Tag::default(), |at| self.tags[at].1)
    }

    /// The name of a rule.
    pub(super) fn name(&self, rule: u16) -> Arc<str> {
        self.rules.get(rule).map_or_else(|| Arc::from(""), |rule| Arc::clone(&rule.name))
    }

    fn has_spread(&self) -> bool {
        !self.sizes.is_empty()
    }
}

/// Where a group has what rules are about; made once what is there is known, and kept up as places are given.
#[derive(Debug, Default)]
pub(super) struct Ruled {
    /// Targets by family and bin, whatever their state.
    families: BTreeMap<(u32, usize), u64>,
    /// How many of a family a bin may have before another one is better, by family.
    fair: HashMap<u32, u64>,
    /// Load in each bin that no pin wants there.
    pub(super) foreign: Vec<u64>,
    /// Load of targets that have shards to themselves.
    pub(super) apart: u64,
    /// Pinned targets that found no place on their shards, with their load.
    pub(super) pressed: Vec<(u64, u64, Tag)>,
}

impl Planner<'_> {
    /// Takes note of where everything is.
    pub(super) fn survey(&mut self) {
        if self.book.is_empty() {
            return;
        }
        let mut ruled = Ruled { foreign: vec![0; self.bins.len()], ..Ruled::default() };
        for (at, bin) in self.bins.iter().enumerate() {
            for slot in bin.slots() {
                let tag = self.book.tag(slot.target);
                let pin = self.book.rules.pin(tag.rule);
                if slot.state != State::Leaving {
                    let alone = pin.is_some_and(|pin| pin.exclusive);
                    ruled.apart += if alone { slot.load } else { 0 };
                    ruled.foreign[at] += if pin.is_none() { slot.load } else { 0 };
                }
                if tag.family != 0 {
                    *ruled.families.entry((tag.family, at)).or_default() += 1;
                }
            }
        }
        for (target, load) in &self.unowned {
            let pin = self.book.rules.pin(self.book.tag(*target).rule);
            ruled.apart += if pin.is_some_and(|pin| pin.exclusive) { *load } else { 0 };
        }
        self.ruled = ruled;
        self.share_out();
    }

    /// Load of what has no shards to itself.
    pub(super) fn common_load(&self) -> u64 {
        self.total.1.saturating_sub(self.ruled.apart)
    }

    /// What a fair share of each family is.
    fn share_out(&mut self) {
        if !self.book.has_spread() {
            return;
        }
        let mut places: HashMap<u16, u64> = HashMap::new();
        for (_, tag) in self.book.tags.iter().filter(|(_, tag)| tag.family != 0) {
            let places = *places.entry(tag.rule).or_insert_with(|| {
                let open = |bin: &&Bin| bin.is_usable() && self.pin_allows(*tag, bin);
                self.bins.iter().filter(open).count() as u64
            });
            let size = self.book.sizes.get(&tag.family).copied().unwrap_or(1);
            let fair = match self.book.rules.spread(tag.rule) {
                Some(Spread::Required) => 1,
                Some(Spread::Preferred) => size.div_ceil(places.max(1)).max(1),
                None => u64::MAX,
            };
            self.ruled.fair.insert(tag.family, fair);
        }
    }

    /// A target got a place, or has one reserved.
    pub(super) fn note_place(&mut self, target: u64, index: usize) {
        let tag = self.book.tag(target);
        if tag.family != 0 {
            *self.ruled.families.entry((tag.family, index)).or_default() += 1;
        }
    }

    pub(super) fn tag(&self, target: u64) -> Tag {
        if self.book.is_empty() { Tag::default() } else { self.book.tag(target) }
    }

    fn pin_allows(&self, tag: Tag, bin: &Bin) -> bool {
        match self.book.rules.pin(tag.rule) {
            Some(pin) => pin.contains(bin.id.ordinal),
            None => bin.owner == 0,
        }
    }

    /// Whether pins let a target be in a bin.
    pub(super) fn is_in_place(&self, tag: Tag, index: usize) -> bool {
        self.book.is_empty() || self.pin_allows(tag, &self.bins[index])
    }

    pub(super) fn relatives(&self, tag: Tag, index: usize) -> u64 {
        let known = self.ruled.families.get(&(tag.family, index)).filter(|_| tag.family != 0);
        known.copied().unwrap_or(0)
    }

    pub(super) fn is_strict(&self, tag: Tag) -> bool {
        tag.family != 0 && self.book.rules.spread(tag.rule) == Some(Spread::Required)
    }

    /// Whether a target that is not in a bin may come there.
    pub(super) fn may_take(&self, tag: Tag, index: usize) -> bool {
        self.is_in_place(tag, index) && !(self.is_strict(tag) && self.relatives(tag, index) > 0)
    }

    /// Whether it would not be one too many of its family there.
    pub(super) fn is_apart(&self, tag: Tag, index: usize) -> bool {
        self.relatives(tag, index) < self.fair_share(tag)
    }

    /// How many of its family may be in a bin.
    pub(super) fn fair_share(&self, tag: Tag) -> u64 {
        if tag.family == 0 {
            return u64::MAX;
        }
        self.ruled.fair.get(&tag.family).copied().unwrap_or(u64::MAX)
    }

    /// Which bins a target is levelled out among: those of the same number. `None`: it is not moved for that.
    pub(super) fn pool_of(&self, target: u64) -> Option<u16> {
        let rule = self.tag(target).rule;
        match self.book.rules.pin(rule) {
            None => Some(0),
            Some(pin) => pin.exclusive.then_some(rule),
        }
    }

    /// The pools that there are: shards that anything may be on, and those of each exclusive rule.
    pub(super) fn pools(&self) -> Vec<u16> {
        let exclusive = self.book.rules.exclusive().map(|(rule, _)| rule);
        std::iter::once(0).chain(exclusive).collect()
    }

    /// What may leave a bin for another one of its pool, smallest first.
    pub(super) fn candidates_of(&self, pool: u16, from: usize) -> Vec<(u64, u64)> {
        let mut candidates = self.candidates(from);
        if !self.book.is_empty() {
            candidates.retain(|(_, target)| self.pool_of(*target) == Some(pool));
        }
        candidates
    }

    /// Whether a pinned target may yet get room on shards that exist, once others have left them.
    pub(super) fn is_promised(&self, tag: Tag, load: u64) -> bool {
        if self.book.rules.pin(tag.rule).is_none() {
            return false;
        }
        let mut open = self.ruled.foreign.iter().enumerate().filter(|(_, foreign)| **foreign > 0);
        open.any(|(at, foreign)| {
            let bin = &self.bins[at];
            let kept = bin.committed.saturating_sub(*foreign);
            let fits = kept.saturating_add(load.min(bin.capacity)) <= bin.capacity;
            fits && bin.is_usable() && self.may_take(tag, at)
        })
    }
}
