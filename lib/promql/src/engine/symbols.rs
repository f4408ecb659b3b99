//! The texts of a query's labels as numbers: each text is kept once, and is the same as another if its number is.

use std::hash::{BuildHasher, Hasher, RandomState};

use hashbrown::HashTable;

use super::memory::{room_in_list, room_in_table, room_in_text};
use crate::budget::Reserved;
use crate::error::QueryError;

/// The numbers of a label's name and of its value.
pub(super) type Label = (u32, u32);

/// Names and values of labels. There is one table for a query.
pub(super) struct Symbols {
    names: Texts,
    values: Texts,
    /// By the number of a name, the value that it had last: series come sorted, and most go through more than one
    /// operator.
    recent: Vec<u32>,
    memory: Reserved,
}

impl Symbols {
    /// None yet. Their memory is reserved in `memory`.
    pub fn new(memory: Reserved) -> Self {
        let (names, values) = (Texts::default(), Texts::default());
        Self { names, values, recent: Vec::new(), memory }
    }

    /// Name and value of a label.
    pub fn text(&self, (name, value): Label) -> (&str, &str) {
        (self.names.get(name), self.values.get(value))
    }

    /// The numbers of a label that has some. `guess` is what name it might have.
    #[inline]
    pub fn find(&mut self, name: &str, value: &str, guess: Option<u32>) -> Option<Label> {
        let name = self.names.find(name, guess)?;
        let recent = self.recent.get_mut(name as usize)?;
        *recent = self.values.find(value, Some(*recent))?;
        Some((name, *recent))
    }

    /// The numbers of a label, new if it has none so far. `guess` is what name it might have.
    #[inline]
    pub fn number(
        &mut self,
        name: &str,
        value: &str,
        guess: Option<u32>,
    ) -> Result<Label, QueryError> {
        let Self { names, values, recent, memory } = self;
        room_in_list(memory, recent, 1)?;
        let name = names.number(name, guess, memory)?;
        if let Some(recent) = recent.get_mut(name as usize) {
            *recent = values.number(value, Some(*recent), memory)?;
            return Ok((name, *recent));
        }
        let value = values.number(value, None, memory)?;
        recent.push(value);
        Ok((name, value))
    }
}

/// Texts, numbered in order of appearance.
#[derive(Default)]
struct Texts {
    /// All of them, one after the other.
    text: String,
    /// Where each ends.
    ends: Vec<u32>,
    by_text: HashTable<u32>,
    /// Not to be guessed: outsiders choose the texts.
    seed: RandomState,
}

impl Texts {
    /// The text of a number.
    #[inline]
    fn get(&self, symbol: u32) -> &str {
        text(&self.text, &self.ends, symbol)
    }

    #[inline]
    fn is(&self, symbol: u32, wanted: &str) -> bool {
        self.get(symbol).as_bytes() == wanted.as_bytes()
    }

    /// The number of a text that has one. `guess` is tried first.
    #[inline]
    fn find(&self, wanted: &str, guess: Option<u32>) -> Option<u32> {
        match guess {
            Some(guess) if self.is(guess, wanted) => Some(guess),
            _ => self.find_hashed(wanted, hash(&self.seed, wanted)),
        }
    }

    /// The number of a text, new if it has none so far. `guess` is tried first.
    #[inline]
    fn number(
        &mut self,
        wanted: &str,
        guess: Option<u32>,
        memory: &mut Reserved,
    ) -> Result<u32, QueryError> {
        match guess {
            Some(guess) if self.is(guess, wanted) => Ok(guess),
            _ => self.number_unguessed(wanted, memory),
        }
    }

    fn number_unguessed(&mut self, wanted: &str, memory: &mut Reserved) -> Result<u32, QueryError> {
        let hashed = hash(&self.seed, wanted);
        match self.find_hashed(wanted, hashed) {
            Some(symbol) => Ok(symbol),
            None => self.add(wanted, hashed, memory),
        }
    }

    fn find_hashed(&self, wanted: &str, hashed: u64) -> Option<u32> {
        self.by_text.find(hashed, |symbol| self.is(*symbol, wanted)).copied()
    }

    fn add(&mut self, added: &str, hashed: u64, memory: &mut Reserved) -> Result<u32, QueryError> {
        let full = || QueryError::Execution("the labels of a query are too many".to_owned());
        let symbol = u32::try_from(self.ends.len()).map_err(|_| full())?;
        let end = end_of(self.text.len(), added.len()).ok_or_else(full)?;
        let Self { text: all, ends, by_text, seed } = self;
        room_in_text(memory, all, added.len())?;
        room_in_list(memory, ends, 1)?;
        let rehash = |symbol: &u32| hash(seed, text(all, ends, *symbol));
        room_in_table(memory, by_text, rehash)?;
        by_text.insert_unique(hashed, symbol, rehash);
        all.push_str(added);
        ends.push(end);
        Ok(symbol)
    }
}

#[inline]
fn text<'a>(all: &'a str, ends: &[u32], symbol: u32) -> &'a str {
    let at = symbol as usize;
    let start = if at == 0 { 0 } else { ends[at - 1] as usize };
    &all[start..ends[at] as usize]
}

fn hash(seed: &RandomState, text: &str) -> u64 {
    let mut hasher = seed.build_hasher();
    hasher.write(text.as_bytes());
    hasher.finish()
}

/// Where a text ends that is put behind others; `None` if that cannot be told.
fn end_of(before: usize, len: usize) -> Option<u32> {
    u32::try_from(before.checked_add(len)?).ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::budget::{MemoryBudget, QueryBudget};

    fn symbols(limit: u64, process: &MemoryBudget) -> Symbols {
        let budget = Arc::new(QueryBudget::new(limit, process.clone()));
        Symbols::new(Reserved::none(&budget, None, "texts"))
    }

    fn bytes(texts: &Texts) -> usize {
        let lists = texts.text.capacity() + size_of::<u32>() * texts.ends.capacity();
        lists + texts.by_text.allocation_size()
    }

    #[test]
    fn a_label_has_one_pair_of_numbers_whatever_came_before_and_is_guessed() {
        let mut symbols = symbols(u64::MAX, &MemoryBudget::default());
        let texts = ["pod", "a", "po", "d", "poda", "ä"];
        let labels = || texts.into_iter().flat_map(|name| texts.map(|value| (name, value)));
        for (at, text) in (0_u32..).zip(texts) {
            assert_eq!(symbols.find(text, text, None), None);
            assert_eq!(symbols.number(text, text, None), Ok((at, at)));
        }
        let guesses = || (0..6).map(Some).chain([None]);
        for (name, value) in labels() {
            let number = |text| texts.iter().position(|other| *other == text).unwrap() as u32;
            let expected = (number(name), number(value));
            for guess in guesses() {
                assert_eq!(symbols.number(name, value, guess), Ok(expected), "{name} {guess:?}");
                assert_eq!(symbols.find(name, value, guess), Some(expected), "{name} {guess:?}");
            }
            assert_eq!(symbols.text(expected), (name, value));
        }
        assert_eq!(symbols.find("pods", "a", Some(0)), None);
        assert_eq!(symbols.find("pod", "b", Some(0)), None);
    }

    #[test]
    fn memory_is_what_was_taken_and_is_given_back() {
        let process = MemoryBudget::default();
        let mut symbols = symbols(u64::MAX, &process);
        assert_eq!(process.used(), 0);
        let label = |n: u32| (format!("name-{}", n % 100), format!("value-{n}"));
        for n in 0..5000 {
            let (name, value) = label(n);
            symbols.number(&name, &value, None).unwrap();
            let recent = size_of::<u32>() * symbols.recent.capacity();
            let all = bytes(&symbols.names) + bytes(&symbols.values) + recent;
            assert_eq!(process.used(), all as u64);
        }
        let used = process.used();
        for n in 0..5000 {
            let (name, value) = label(n);
            assert_eq!(symbols.number(&name, &value, None), Ok((n % 100, n)));
        }
        assert_eq!(process.used(), used);
        drop(symbols);
        assert_eq!(process.used(), 0);
    }

    #[test]
    fn what_does_not_fit_is_refused_and_known_labels_are_found_still() {
        let process = MemoryBudget::default();
        for limit in [100, 1000, 4000, 20_000] {
            let mut symbols = symbols(limit, &process);
            let mut numbered = 0;
            let label = |n: u32| (format!("name-{}", n / 3), format!("value-{n}"));
            let error = loop {
                let (name, value) = label(numbered);
                match symbols.number(&name, &value, None) {
                    Ok(_) => numbered += 1,
                    Err(error) => break error,
                }
            };
            assert!(matches!(error, QueryError::Memory(_)), "{error}");
            assert!(u64::from(numbered) >= limit / 100 - 1 && process.used() <= limit);
            for n in 0..numbered {
                let (name, value) = label(n);
                assert_eq!(symbols.find(&name, &value, None), Some((n / 3, n)));
            }
            let (name, value) = label(numbered);
            assert_eq!(symbols.find(&name, &value, None), None);
        }
    }

    #[test]
    fn more_text_than_can_be_counted_is_refused() {
        let most = u32::MAX as usize;
        assert_eq!(end_of(most - 3, 3), Some(u32::MAX));
        assert_eq!(end_of(most - 3, 4), None);
        assert_eq!(end_of(1, usize::MAX), None);
    }
}
