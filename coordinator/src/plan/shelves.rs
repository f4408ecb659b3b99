//! A group's bins in order of their room, so that a place is found without looking at all of them.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use super::bins::{Bin, Status};
use super::group::Planner;
use super::rules::Tag;

/// Bins of one kind are as good as each other but for their room: not draining before draining, ready first.
type Class = (bool, Status);

const CLASSES: [Class; 6] = [
    (false, Status::Ready),
    (false, Status::Waiting),
    (false, Status::Wanted),
    (true, Status::Ready),
    (true, Status::Waiting),
    (true, Status::Wanted),
];

/// How many of the emptiest bins are looked at before any with room will do: they differ only where capacities do.
const LOOKED_AT: usize = 8;

/// Bins by room. Whoever changes a bin says so with [`Shelves::renew`].
#[derive(Debug)]
pub(super) struct Shelves {
    /// How full a bin may become.
    percent: u64,
    /// How full the emptiest bin may become before bins of a lesser class are better, where loads are spread; in
    /// millionths.
    comfortable: u64,
    bins: Vec<Option<Key>>,
    by_room: BTreeSet<(Class, u64, usize)>,
    by_level: BTreeSet<(Class, u64, usize)>,
    /// Empty ones, for what exceeds each of them.
    empty: BTreeSet<(Class, Reverse<u64>, usize)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Key {
    class: Class,
    room: u64,
    used: u64,
    capacity: u64,
}

impl Key {
    fn level(self) -> u64 {
        level(self.used, self.capacity)
    }
}

/// Which bins come into question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// Those that take a target in at once and are not being emptied.
    Ready,
    /// Those that exist.
    Existing,
    /// Those that are wanted, too.
    Any,
}

impl Reach {
    fn allows(self, (draining, status): Class) -> bool {
        match self {
            Self::Ready => !draining && status == Status::Ready,
            Self::Existing => status != Status::Wanted,
            Self::Any => true,
        }
    }
}

/// Which of the bins with room is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fit {
    /// The fullest, so that large loads find room in the others.
    Best,
    /// The emptiest, so that all are equally full.
    Spread,
}

/// A load in search of a place.
#[derive(Clone, Copy)]
pub(super) struct Wish<'a> {
    pub(super) load: u64,
    /// The bin that it comes from.
    pub(super) not: Option<usize>,
    pub(super) reach: Reach,
    /// Where other groups have it: its ordinals are the last choice.
    pub(super) copies: &'a [(u64, u32)],
    pub(super) fit: Fit,
    /// What placement rules make of it.
    pub(super) tag: Tag,
    /// Who knows where these let it be.
    pub(super) planner: &'a Planner<'a>,
}

impl Wish<'_> {
    fn is_apart_at(&self, index: usize) -> bool {
        let ordinal = u32::try_from(index).unwrap_or(u32::MAX);
        Some(index) != self.not && self.copies.iter().all(|(_, copy)| *copy != ordinal)
    }

    /// Whether placement rules let it be there.
    fn is_lawful_at(&self, index: usize) -> bool {
        self.planner.may_take(self.tag, index)
    }

    /// Whether the bin has not its share of its family yet.
    fn is_alone_at(&self, index: usize) -> bool {
        self.planner.is_apart(self.tag, index)
    }
}

/// Bins that are not needed otherwise stay empty, and nobody waits for one that is not there, for the sake of parting.
fn is_fresh((draining, status): &Class) -> bool {
    !draining && matches!(status, Status::Ready | Status::Wanted)
}

impl Shelves {
    pub(super) fn new(bins: &[Bin], percent: u64, comfortable: u64) -> Self {
        let mut shelves = Self {
            percent,
            comfortable,
            bins: vec![None; bins.len()],
            by_room: BTreeSet::new(),
            by_level: BTreeSet::new(),
            empty: BTreeSet::new(),
        };
        for (index, bin) in bins.iter().enumerate() {
            shelves.renew(index, bin);
        }
        shelves
    }

    /// Takes note of what a bin is now; a new one may come after the last.
    pub(super) fn renew(&mut self, index: usize, bin: &Bin) {
        let usable = bin.known && bin.is_usable();
        let room = bin.room(self.percent).filter(|_| usable);
        let new = room.map(|room| Key {
            class: (bin.draining || bin.drained, bin.status),
            room,
            used: bin.used(),
            capacity: bin.capacity,
        });
        if index >= self.bins.len() {
            self.bins.resize(index + 1, None);
        }
        self.set(index, new);
    }

    /// Keeps room in a bin, until it is next renewed.
    pub(super) fn reserve(&mut self, index: usize, load: u64) {
        let key = self.bins.get(index).copied().flatten();
        let new = key.and_then(|key| {
            let room = key.room.checked_sub(load)?;
            Some(Key { room, used: key.used + load, ..key })
        });
        self.set(index, new);
    }

    /// Gives back what [`Shelves::reserve`] kept.
    pub(super) fn release(&mut self, index: usize, load: u64) {
        let key = self.bins.get(index).copied().flatten();
        let new = key.map(|key| Key { room: key.room + load, used: key.used - load, ..key });
        self.set(index, new);
    }

    fn set(&mut self, index: usize, new: Option<Key>) {
        let Some(place) = self.bins.get_mut(index) else { return };
        let old = std::mem::replace(place, new);
        if old == new {
            return;
        }
        if let Some(key) = old {
            self.by_room.remove(&(key.class, key.room, index));
            self.by_level.remove(&(key.class, key.level(), index));
            if key.used == 0 {
                self.empty.remove(&(key.class, Reverse(key.capacity), index));
            }
        }
        if let Some(key) = new {
            self.by_room.insert((key.class, key.room, index));
            self.by_level.insert((key.class, key.level(), index));
            if key.used == 0 {
                self.empty.insert((key.class, Reverse(key.capacity), index));
            }
        }
    }

    /// The best bin for a load: ready ones first, of those the one that fits as wished, of equals the lowest ordinal. A
    /// load that exceeds every bin gets an empty one. None that placement rules forbid; of the others those come last
    /// that have their share of its family. Ordinals where other groups have it come last, but nothing is
    /// waited for, and no draining stopped, for their sake.
    pub(super) fn choose(&self, wish: Wish<'_>) -> Option<usize> {
        if wish.tag.family > 0 {
            let alone = |index: &usize| wish.is_lawful_at(*index) && wish.is_alone_at(*index);
            let chosen = self.choose_within(wish, is_fresh, alone);
            if chosen.is_some() {
                return chosen;
            }
        }
        self.choose_within(wish, |_| true, |index| wish.is_lawful_at(*index))
    }

    fn choose_within(
        &self,
        wish: Wish<'_>,
        of: impl Fn(&Class) -> bool,
        allowed: impl Fn(&usize) -> bool,
    ) -> Option<usize> {
        let here = |index: &usize| Some(*index) != wish.not && allowed(index);
        if wish.copies.is_empty() {
            return self.choose_of(wish, of, here);
        }
        // A shard that would stand out is not worth it: the two are parted once there is room.
        let elsewhere = |index: &usize| wish.is_apart_at(*index) && allowed(index);
        let apart = self.emptiest_of(wish, is_fresh, elsewhere);
        let level = apart.or_else(|| self.emptiest_of(wish, is_fresh, here));
        let fitting = level.or_else(|| self.choose_of(wish, is_fresh, elsewhere));
        fitting.or_else(|| self.choose_of(wish, of, here))
    }

    /// The emptiest bin with room that becomes no fuller than `most`, in millionths, on whose ordinal no other group has
    /// it.
    pub(super) fn choose_emptiest(&self, wish: Wish<'_>, most: Option<u64>) -> Option<usize> {
        let open = |index: &usize| {
            let room = self.bins[*index].is_some_and(|key| {
                let after = level(key.used + wish.load, key.capacity);
                key.room >= wish.load && most.is_none_or(|most| after <= most)
            });
            room && wish.is_apart_at(*index)
                && wish.is_lawful_at(*index)
                && wish.is_alone_at(*index)
        };
        let classes = CLASSES.iter().filter(|class| wish.reach.allows(**class));
        classes.into_iter().find_map(|class| {
            let all = self.by_level.range((*class, 0, 0)..=(*class, u64::MAX, usize::MAX));
            all.map(|(_, _, index)| *index).take(LOOKED_AT).find(open)
        })
    }

    /// The best bin on whose ordinal no other group has it, and that has not its share of its family.
    pub(super) fn choose_apart(&self, wish: Wish<'_>) -> Option<usize> {
        let apart = |index: usize| wish.is_apart_at(index) && wish.is_alone_at(index);
        self.choose_of(wish, is_fresh, |index| apart(*index) && wish.is_lawful_at(*index))
    }

    /// Where loads are spread: the emptiest bin, unless a load would make it too full.
    fn emptiest_of(
        &self,
        wish: Wish<'_>,
        of: impl Fn(&Class) -> bool,
        allowed: impl Fn(&usize) -> bool,
    ) -> Option<usize> {
        if wish.fit != Fit::Spread {
            return None;
        }
        let classes = CLASSES.iter().filter(|class| wish.reach.allows(**class)).filter(|c| of(c));
        let emptiest = classes.into_iter().find_map(|class| {
            let from = (*class, 0, 0)..=(*class, self.comfortable, usize::MAX);
            let open = self.by_level.range(from).filter(|(_, _, index)| allowed(index));
            let mut first = open.take(LOOKED_AT);
            first.find(|(_, _, index)| self.is_comfortable(*index, wish.load))
        });
        emptiest.map(|(_, _, index)| *index)
    }

    fn choose_of(
        &self,
        wish: Wish<'_>,
        of: impl Fn(&Class) -> bool,
        allowed: impl Fn(&usize) -> bool,
    ) -> Option<usize> {
        let classes =
            || CLASSES.iter().filter(|class| wish.reach.allows(**class)).filter(|class| of(class));
        if let Some(index) = self.emptiest_of(wish, &of, &allowed) {
            return Some(index);
        }
        let fullest = classes().find_map(|class| {
            let mut fitting =
                self.by_room.range((*class, wish.load, 0)..=(*class, u64::MAX, usize::MAX));
            fitting.find(|(_, _, index)| allowed(index))
        });
        let exceeding = || {
            classes().find_map(|class| {
                let capacities = (*class, Reverse(wish.load.saturating_sub(1)), 0)
                    ..=(*class, Reverse(0), usize::MAX);
                self.empty.range(capacities).find(|(_, _, index)| allowed(index))
            })
        };
        let fullest = fullest.map(|(_, _, index)| *index);
        fullest.or_else(|| exceeding().map(|(_, _, index)| *index))
    }

    fn is_comfortable(&self, index: usize, load: u64) -> bool {
        self.bins[index].is_some_and(|key| {
            key.room >= load && level(key.used + load, key.capacity) <= self.comfortable
        })
    }

    /// Takes a bin out of the question, until it is next renewed.
    pub(super) fn close(&mut self, index: usize) {
        self.set(index, None);
    }
}

/// How full, in millionths.
pub(super) fn level(used: u64, capacity: u64) -> u64 {
    let millionths = u128::from(used) * 1_000_000 / u128::from(capacity.max(1));
    u64::try_from(millionths).unwrap_or(u64::MAX)
}
