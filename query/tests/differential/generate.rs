//! Queries: every function and operator of 2.42 in turn, then compositions of them.

use std::collections::HashSet;

use crate::data::{MINUTE, START};
use crate::random::Random;

mod compose;
mod leaf;
mod shapes;
mod systematic;

pub use compose::Composer;

/// When a query is asked for, milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum When {
    Instant(i64),
    Range { start: i64, end: i64, step: i64 },
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Query {
    pub text: String,
    pub when: When,
}

impl Query {
    /// The query for 2.42, where one function has its old name.
    pub fn theirs(&self) -> String {
        self.text.replace("double_exponential_smoothing(", "holt_winters(")
    }

    /// Whether the language says in which order the samples come.
    pub fn is_ordered(&self) -> bool {
        self.text.starts_with("sort(") || self.text.starts_with("sort_desc(")
    }
}

/// At least `count` distinct queries.
pub fn queries(seed: u64, count: usize) -> Vec<Query> {
    let mut random = Random::new(seed);
    let mut seen = HashSet::new();
    let mut queries = Vec::new();
    let mut add = |text: String, when: When| {
        let query = Query { text, when };
        if seen.insert(query.clone()) {
            queries.push(query);
        }
        seen.len()
    };
    for text in systematic::texts() {
        // A range has an order of its own.
        let when = if text.starts_with("sort") { instant(&mut random) } else { any(&mut random) };
        add(text, when);
    }
    for text in systematic::of_scalars() {
        add(text.clone(), instant(&mut random));
        add(text, range(&mut random));
    }
    loop {
        let depth = 2 + random.below(3) as u32;
        let text = Composer::new(&mut random).any(depth);
        if add(text, any(&mut random)) >= count {
            return queries;
        }
    }
}

fn any(random: &mut Random) -> When {
    if random.chance(45) { instant(random) } else { range(random) }
}

/// Times of queries end in 7 ms or, in subqueries, 0 ms; those of samples in 3 ms.
fn instant(random: &mut Random) -> When {
    When::Instant(START + (30 + random.below(145) as i64) * MINUTE + 7_777)
}

fn range(random: &mut Random) -> When {
    let start = START + (10 + random.below(130) as i64) * MINUTE + 2_347;
    let step = *random.pick(&[7_500, 15_000, 30_000, 60_000, 97_000, 300_000, 1_800_000]);
    let steps = 3 + random.below(25) as i64;
    // Not always a multiple of the step.
    let rest = random.below(2) as i64 * 5_000;
    When::Range { start, end: start + steps * step + rest, step }
}
