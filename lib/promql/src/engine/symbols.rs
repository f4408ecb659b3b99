//! The texts of a query's labels as numbers: each text is kept once, and is the same as another if its number is.

use std::hash::{BuildHasher, Hasher, RandomState};

use hashbrown::HashTable;

use super::memory::{room_in_list, room_in_table, room_in_text};
use crate::budget::Reserved;
use crate::error::QueryError;

/// Names and values of labels, numbered in order of appearance. There is one table for a query.
pub(super) struct Symbols {
    /// All of them, one after the other.
    text: String,
    /// Where each ends.
    ends: Vec<u32>,
    by_text: HashTable<u32>,
    /// Not to be guessed: outsiders choose the texts.
    seed: RandomState,
    memory: Reserved,
}

impl Symbols {
    /// None yet. Their memory is reserved in `memory`.
    pub fn new(memory: Reserved) -> Self {
        let (text, ends) = (String::new(), Vec::new());
        Self { text, ends, by_text: HashTable::new(), seed: RandomState::new(), memory }
    }

    /// The text of a number.
    pub fn text(&self, symbol: u32) -> &str {
        text(&self.text, &self.ends, symbol)
    }

    /// The number of a text that has one. `guess` is tried first.
    pub fn find(&self, wanted: &str, guess: Option<u32>) -> Option<u32> {
        if let Some(guess) = guess.filter(|guess| self.text(*guess) == wanted) {
            return Some(guess);
        }
        self.find_hashed(wanted, hash(&self.seed, wanted))
    }

    /// The number of a text, new if it has none so far. `guess` is tried first.
    pub fn number(&mut self, wanted: &str, guess: Option<u32>) -> Result<u32, QueryError> {
        if let Some(guess) = guess.filter(|guess| self.text(*guess) == wanted) {
            return Ok(guess);
        }
        let hashed = hash(&self.seed, wanted);
        match self.find_hashed(wanted, hashed) {
            Some(symbol) => Ok(symbol),
            None => self.add(wanted, hashed),
        }
    }

    fn find_hashed(&self, wanted: &str, hashed: u64) -> Option<u32> {
        self.by_text.find(hashed, |symbol| self.text(*symbol) == wanted).copied()
    }

    fn add(&mut self, added: &str, hashed: u64) -> Result<u32, QueryError> {
        let full = || QueryError::Execution("the labels of a query are too many".to_owned());
        let symbol = u32::try_from(self.ends.len()).map_err(|_| full())?;
        let end = end_of(self.text.len(), added.len()).ok_or_else(full)?;
        let Self { text: all, ends, by_text, seed, memory } = self;
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

    #[test]
    fn a_text_has_one_number_whatever_is_guessed() {
        let process = MemoryBudget::default();
        let mut symbols = symbols(u64::MAX, &process);
        let texts = ["pod", "", "a", "po", "d", "poda", "ä"];
        for (at, text) in texts.iter().enumerate() {
            assert_eq!(symbols.find(text, None), None);
            assert_eq!(symbols.number(text, None), Ok(at as u32));
        }
        for (at, text) in texts.iter().enumerate() {
            for guess in (0..texts.len() as u32).map(Some).chain([None]) {
                assert_eq!(symbols.number(text, guess), Ok(at as u32), "{text} {guess:?}");
                assert_eq!(symbols.find(text, guess), Some(at as u32), "{text} {guess:?}");
            }
            assert_eq!(symbols.text(at as u32), *text);
        }
        assert_eq!(symbols.find("pods", Some(0)), None);
    }

    #[test]
    fn memory_is_what_was_taken_and_is_given_back() {
        let process = MemoryBudget::default();
        let mut symbols = symbols(u64::MAX, &process);
        assert_eq!(process.used(), 0);
        for n in 0..5000 {
            symbols.number(&format!("value-{n}"), None).unwrap();
            let lists = symbols.text.capacity() + size_of::<u32>() * symbols.ends.capacity();
            let all = lists + symbols.by_text.allocation_size();
            assert_eq!(process.used(), all as u64);
        }
        for n in 0..5000 {
            assert_eq!(symbols.number(&format!("value-{n}"), None), Ok(n));
        }
        drop(symbols);
        assert_eq!(process.used(), 0);
    }

    #[test]
    fn what_does_not_fit_is_refused_and_known_texts_are_found_still() {
        let process = MemoryBudget::default();
        let mut symbols = symbols(4000, &process);
        let mut numbered = 0;
        let error = loop {
            match symbols.number(&format!("value-{numbered}"), None) {
                Ok(_) => numbered += 1,
                Err(error) => break error,
            }
        };
        assert!(matches!(error, QueryError::Memory(_)), "{error}");
        assert!(numbered > 50 && process.used() <= 4000);
        for n in 0..numbered {
            assert_eq!(symbols.number(&format!("value-{n}"), None), Ok(n));
        }
        assert_eq!(symbols.find(&format!("value-{numbered}"), None), None);
    }

    #[test]
    fn more_text_than_can_be_counted_is_refused() {
        let most = u32::MAX as usize;
        assert_eq!(end_of(most - 3, 3), Some(u32::MAX));
        assert_eq!(end_of(most - 3, 4), None);
        assert_eq!(end_of(1, usize::MAX), None);
    }
}
