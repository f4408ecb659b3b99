//! Label sets to dense numbers, which is how groups, match groups and results are told apart.
//!
//! A label set is a list of numbers of the query's symbol table, so it is compared without looking at text. As series
//! come sorted, most of their labels are those of the one before, at the same place: only what differs is looked up.

use std::cell::RefCell;
use std::hash::{BuildHasher, Hasher};

use hashbrown::{DefaultHashBuilder, HashTable};
use model::{Labels, METRIC_NAME};

use super::evaluate::Evaluator;
use super::memory::{room_in_list, room_in_table};
use super::symbols::{Label, Symbols};
use crate::budget::Reserved;
use crate::error::QueryError;

/// Label sets by number, in order of appearance.
pub(super) struct Ordinals<'q> {
    symbols: &'q RefCell<Symbols>,
    /// The labels of all sets, one set after the other, each sorted by the text of its names.
    labels: Vec<Label>,
    /// Where each set ends.
    ends: Vec<u32>,
    by_key: HashTable<u32>,
    /// A quick one will do: outsiders choose texts, but not their numbers.
    seed: DefaultHashBuilder,
    /// The set that was found last.
    last: Option<u32>,
    /// The set that is being looked for.
    key: Vec<Label>,
    memory: Reserved,
}

impl Evaluator<'_> {
    /// No label set yet. `what` is for the error when there is too little memory: a plural.
    pub(super) fn ordinals(&self, what: &'static str) -> Ordinals<'_> {
        Ordinals::new(&self.symbols, self.reserve(what))
    }
}

impl<'q> Ordinals<'q> {
    fn new(symbols: &'q RefCell<Symbols>, memory: Reserved) -> Self {
        Self {
            symbols,
            labels: Vec::new(),
            ends: Vec::new(),
            by_key: HashTable::new(),
            seed: DefaultHashBuilder::default(),
            last: None,
            key: Vec::new(),
            memory,
        }
    }

    /// The number of a label set, given sorted by name, and whether it is a new one.
    pub fn of<'l>(
        &mut self,
        labels: impl Iterator<Item = (&'l str, &'l str)>,
    ) -> Result<(usize, bool), QueryError> {
        let symbols = self.symbols;
        let mut symbols = symbols.borrow_mut();
        let near = set(&self.labels, &self.ends, self.last);
        self.key.clear();
        let mut same = true;
        for (at, (name, value)) in labels.enumerate() {
            let guess = near.get(at).copied();
            let label = symbols.number(name, value, guess.map(|(name, _)| name))?;
            same &= guess == Some(label);
            self.key.push(label);
        }
        if same
            && near.len() == self.key.len()
            && let Some(last) = self.last
        {
            return Ok((last as usize, false));
        }
        let hashed = hash(&self.seed, &self.key);
        let found = self.find_hashed(hashed);
        let (ordinal, new) = match found {
            Some(ordinal) => (ordinal, false),
            None => (self.add(hashed)?, true),
        };
        self.last = Some(ordinal);
        Ok((ordinal as usize, new))
    }

    /// The number of a label set, given sorted by name, that has one.
    pub fn find<'l>(&mut self, labels: impl Iterator<Item = (&'l str, &'l str)>) -> Option<usize> {
        let mut symbols = self.symbols.borrow_mut();
        let near = set(&self.labels, &self.ends, self.last);
        self.key.clear();
        let mut same = true;
        for (at, (name, value)) in labels.enumerate() {
            let guess = near.get(at).copied();
            let label = symbols.find(name, value, guess.map(|(name, _)| name))?;
            same &= guess == Some(label);
            self.key.push(label);
        }
        if same
            && near.len() == self.key.len()
            && let Some(last) = self.last
        {
            return Some(last as usize);
        }
        let ordinal = self.find_hashed(hash(&self.seed, &self.key))?;
        self.last = Some(ordinal);
        Some(ordinal as usize)
    }

    /// The label set of a number.
    pub fn labels(&self, ordinal: usize) -> Labels {
        let symbols = self.symbols.borrow();
        let ordinal = u32::try_from(ordinal).ok();
        let labels = set(&self.labels, &self.ends, ordinal).iter();
        Labels::from_sorted(labels.map(|label| symbols.text(*label))).unwrap_or_default()
    }

    fn find_hashed(&self, hashed: u64) -> Option<u32> {
        let is_key = |ordinal: &u32| set(&self.labels, &self.ends, Some(*ordinal)) == self.key;
        self.by_key.find(hashed, is_key).copied()
    }

    fn add(&mut self, hashed: u64) -> Result<u32, QueryError> {
        let Self { labels, ends, by_key, seed, key, memory, .. } = self;
        let full = || QueryError::Execution("the label sets of a query are too many".to_owned());
        let ordinal = u32::try_from(ends.len()).map_err(|_| full())?;
        let end = u32::try_from(labels.len() + key.len()).map_err(|_| full())?;
        room_in_list(memory, labels, key.len())?;
        room_in_list(memory, ends, 1)?;
        let rehash = |ordinal: &u32| hash(seed, set(labels, ends, Some(*ordinal)));
        room_in_table(memory, by_key, rehash)?;
        by_key.insert_unique(hashed, ordinal, rehash);
        labels.extend_from_slice(key);
        ends.push(end);
        Ok(ordinal)
    }
}

/// One of many sets; empty for `None`.
#[inline]
fn set<'a>(labels: &'a [Label], ends: &[u32], ordinal: Option<u32>) -> &'a [Label] {
    let Some(ordinal) = ordinal else { return &[] };
    let at = ordinal as usize;
    let start = if at == 0 { 0 } else { ends[at - 1] as usize };
    &labels[start..ends[at] as usize]
}

fn hash(seed: &DefaultHashBuilder, key: &[Label]) -> u64 {
    let mut hasher = seed.build_hasher();
    for (name, value) in key {
        hasher.write_u64(u64::from(*name) << 32 | u64::from(*value));
    }
    hasher.finish()
}

/// Which labels of a series make its key.
pub(super) struct KeyLabels<'n> {
    /// Sorted, none twice.
    names: Vec<&'n str>,
    /// Whether `names` are those that count, or those that don't.
    listed: bool,
}

impl<'n> KeyLabels<'n> {
    /// The labels with these names.
    pub fn by(names: impl IntoIterator<Item = &'n str>) -> Self {
        Self::new(names.into_iter().collect(), true)
    }

    /// All labels but those with these names.
    pub fn all_but(names: impl IntoIterator<Item = &'n str>) -> Self {
        Self::new(names.into_iter().collect(), false)
    }

    /// How `by` or `on`, and `without` or `ignoring`, choose: the latter never want the metric name.
    pub fn chosen(names: &'n [String], listed: bool) -> Self {
        let names = names.iter().map(String::as_str);
        if listed { Self::by(names) } else { Self::all_but(names.chain([METRIC_NAME])) }
    }

    fn new(mut names: Vec<&'n str>, listed: bool) -> Self {
        names.sort_unstable();
        names.dedup();
        Self { names, listed }
    }

    /// Those of a label set that count. Both are sorted, so one walk along them is enough.
    pub fn of<'l>(
        &self,
        mut labels: impl Iterator<Item = (&'l str, &'l str)>,
    ) -> impl Iterator<Item = (&'l str, &'l str)> {
        let mut names = self.names.as_slice();
        std::iter::from_fn(move || {
            loop {
                if names.is_empty() && self.listed {
                    return None;
                }
                let (name, value) = labels.next()?;
                while names.first().is_some_and(|first| *first < name) {
                    names = &names[1..];
                }
                if self.listed == (names.first() == Some(&name)) {
                    return Some((name, value));
                }
            }
        })
    }
}

#[cfg(test)]
mod tests;
