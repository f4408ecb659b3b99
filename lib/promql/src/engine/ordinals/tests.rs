//! Label sets against a map of them, and their memory.

use std::collections::HashMap;
use std::sync::Arc;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use super::*;
use crate::budget::{MemoryBudget, QueryBudget};

/// The memory of a query, and what all of it holds.
struct Memory {
    budget: Arc<QueryBudget>,
    process: MemoryBudget,
}

impl Memory {
    fn of(limit: u64) -> Self {
        let process = MemoryBudget::default();
        let budget = Arc::new(QueryBudget::new(limit, process.clone()));
        Self { budget, process }
    }

    fn none(&self) -> Reserved {
        Reserved::none(&self.budget, None, "label sets")
    }

    fn symbols(&self) -> RefCell<Symbols> {
        RefCell::new(Symbols::new(self.none()))
    }
}

fn labels<const N: usize>(pairs: [(&str, &str); N]) -> Labels {
    Labels::from_pairs(pairs)
}

/// Few texts, some of them parts of others, so that everything comes again in other places.
fn any_labels() -> impl Strategy<Value = Labels> {
    let text = prop_oneof![Just("a"), Just("ab"), Just("b"), Just("aba"), Just("__name__")];
    btree_map(text.clone(), text, 0..5).prop_map(Labels::from_pairs)
}

proptest! {
    #[test]
    fn label_sets_are_numbered_as_a_map_of_labels_numbers_them(
        sets in vec((any_labels(), any::<bool>()), 0..60),
    ) {
        let memory = Memory::of(u64::MAX);
        let symbols = memory.symbols();
        let mut ordinals = Ordinals::new(&symbols, memory.none());
        let mut oracle: HashMap<Labels, usize> = HashMap::new();
        for (labels, only_find) in &sets {
            let known = oracle.get(labels).copied();
            if *only_find {
                prop_assert_eq!(ordinals.find(labels.iter()), known);
                continue;
            }
            let expected = (known.unwrap_or(oracle.len()), known.is_none());
            prop_assert_eq!(ordinals.of(labels.iter()), Ok(expected));
            oracle.insert(labels.clone(), expected.0);
        }
        for (labels, ordinal) in oracle {
            prop_assert_eq!(ordinals.labels(ordinal), labels.clone());
            prop_assert_eq!(ordinals.find(labels.iter()), Some(ordinal));
        }
    }

    #[test]
    fn the_labels_of_a_key_are_those_that_a_filter_leaves(
        labels in any_labels(),
        names in vec(prop_oneof![Just("a"), Just("ab"), Just("aa"), Just("b"), Just("z")], 0..4),
        listed in any::<bool>(),
    ) {
        let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
        let is_listed = |name: &str| names.iter().any(|listed| listed == name);
        let expected = labels.filter(|name| {
            if listed { is_listed(name) } else { name != METRIC_NAME && !is_listed(name) }
        });
        let key = KeyLabels::chosen(&names, listed);
        prop_assert_eq!(Labels::from_sorted(key.of(labels.iter())), Some(expected));
    }
}

#[test]
fn the_metric_name_is_as_good_as_any_where_it_is_asked_for() {
    let series = labels([("__name__", "m"), ("a", "1"), ("le", "2")]);
    let chosen = |key: KeyLabels<'_>| Labels::from_sorted(key.of(series.iter())).unwrap();
    let names = ["__name__".to_owned()];
    assert_eq!(chosen(KeyLabels::chosen(&names, true)), labels([("__name__", "m")]));
    assert_eq!(chosen(KeyLabels::chosen(&names, false)), labels([("a", "1"), ("le", "2")]));
    assert_eq!(chosen(KeyLabels::all_but(["le"])), labels([("__name__", "m"), ("a", "1")]));
    assert_eq!(chosen(KeyLabels::by(["z", "le", "a"])), labels([("a", "1"), ("le", "2")]));
}

#[test]
fn a_label_set_is_known_whatever_came_before_it() {
    let memory = Memory::of(u64::MAX);
    let symbols = memory.symbols();
    let mut ordinals = Ordinals::new(&symbols, memory.none());
    let sets = [
        labels([]),
        labels([("a", "b")]),
        labels([("b", "a")]),
        labels([("a", "b"), ("b", "a")]),
        labels([("a", "a"), ("b", "b")]),
        // As long as the one before, with the same values under other names.
        labels([("a", "a"), ("c", "b")]),
        labels([("a", "a"), ("b", "b"), ("c", "c")]),
    ];
    for (at, set) in sets.iter().enumerate() {
        assert_eq!(ordinals.of(set.iter()), Ok((at, true)));
    }
    for before in &sets {
        for (at, set) in sets.iter().enumerate() {
            ordinals.of(before.iter()).unwrap();
            assert_eq!(ordinals.of(set.iter()), Ok((at, false)), "{set} after {before}");
            ordinals.find(before.iter()).unwrap();
            assert_eq!(ordinals.find(set.iter()), Some(at), "{set} after {before}");
        }
    }
}

#[test]
fn the_empty_label_set_is_found_only_once_it_was_given() {
    let memory = Memory::of(u64::MAX);
    let symbols = memory.symbols();
    let mut ordinals = Ordinals::new(&symbols, memory.none());
    let empty = Labels::empty();
    assert_eq!(ordinals.find(empty.iter()), None);
    assert_eq!(ordinals.of(labels([("a", "b")]).iter()), Ok((0, true)));
    assert_eq!(ordinals.find(empty.iter()), None);
    assert_eq!(ordinals.of(empty.iter()), Ok((1, true)));
    assert_eq!(ordinals.of(empty.iter()), Ok((1, false)));
    assert_eq!(ordinals.find(empty.iter()), Some(1));
    assert!(ordinals.labels(1).is_empty());
}

#[test]
fn looking_for_a_label_set_numbers_nothing() {
    let memory = Memory::of(u64::MAX);
    let symbols = memory.symbols();
    let mut ordinals = Ordinals::new(&symbols, memory.none());
    ordinals.of(labels([("a", "b")]).iter()).unwrap();
    let used = memory.process.used();
    // What is new: all, the name, the value, only the label set.
    for pairs in [("x", "y"), ("x", "b"), ("a", "y"), ("b", "a")] {
        assert_eq!(ordinals.find(labels([pairs]).iter()), None);
    }
    assert_eq!(symbols.borrow_mut().find("x", "b", None), None);
    assert_eq!(symbols.borrow_mut().find("a", "y", None), None);
    assert_eq!(memory.process.used(), used);
    assert_eq!(ordinals.of(labels([("b", "a")]).iter()), Ok((1, true)));
}

#[test]
fn two_tables_of_a_query_share_its_texts_but_not_their_numbers() {
    let memory = Memory::of(u64::MAX);
    let symbols = memory.symbols();
    let mut one = Ordinals::new(&symbols, memory.none());
    let mut other = Ordinals::new(&symbols, memory.none());
    let (a, b) = (labels([("a", "1")]), labels([("b", "1")]));
    assert_eq!((one.of(a.iter()), one.of(b.iter())), (Ok((0, true)), Ok((1, true))));
    assert_eq!(other.find(b.iter()), None);
    assert_eq!(other.of(b.iter()), Ok((0, true)));
    assert_eq!((one.labels(0), other.labels(0)), (a, b));
}

#[test]
fn memory_is_what_was_taken_and_is_given_back() {
    let memory = Memory::of(u64::MAX);
    let symbols = memory.symbols();
    let mut ordinals = Ordinals::new(&symbols, memory.none());
    for n in 0..5000 {
        let before = memory.process.used() - ordinals.memory.bytes();
        let set = labels([("le", &(n % 7).to_string()), ("pod", &(n / 7).to_string())]);
        ordinals.of(set.iter()).unwrap();
        let pairs = size_of::<Label>() * ordinals.labels.capacity();
        let ends = size_of::<u32>() * ordinals.ends.capacity();
        let all = pairs + ends + ordinals.by_key.allocation_size();
        assert_eq!(ordinals.memory.bytes(), all as u64);
        assert!(memory.process.used() - ordinals.memory.bytes() >= before, "texts stay");
    }
    let of_texts = memory.process.used() - ordinals.memory.bytes();
    drop(ordinals);
    assert_eq!(memory.process.used(), of_texts);
    drop(symbols);
    assert_eq!(memory.process.used(), 0);
}

#[test]
fn label_sets_that_do_not_fit_are_the_querys_memory_error() {
    let memory = Memory::of(20_000);
    let symbols = memory.symbols();
    let mut ordinals = Ordinals::new(&symbols, memory.none());
    // Few texts, many sets.
    let text = |n: usize| ["1", "2", "3", "4", "5", "6", "7", "8", "9", "0"][n % 10];
    let set = |n: usize| {
        labels([("a", text(n)), ("b", text(n / 10)), ("c", text(n / 100)), ("d", text(n / 1000))])
    };
    let mut numbered = 0;
    let error = loop {
        match ordinals.of(set(numbered).iter()) {
            Ok((ordinal, new)) => assert_eq!((ordinal, new), (numbered, true)),
            Err(error) => break error,
        }
        numbered += 1;
    };
    let QueryError::Memory(error) = error else { panic!("{error}") };
    assert_eq!((error.what, error.limit), ("label sets", 20_000));
    assert!((100..1000).contains(&numbered), "{numbered}");
    for n in 0..numbered {
        assert_eq!(ordinals.find(set(n).iter()), Some(n));
    }
    assert_eq!(ordinals.find(set(numbered).iter()), None);
    drop(ordinals);
    drop(symbols);
    assert_eq!(memory.process.used(), 0);
}
