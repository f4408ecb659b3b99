//! A plan as a tree that people can read, and with what each operator cost once it ran.

use std::fmt;
use std::time::Duration;

mod text;
mod walk;

pub(super) use walk::{Explainer, Ids, address};

/// Kind of an operator that only stands for the times at which what is below it is evaluated.
pub(super) const SUBQUERY: &str = "subquery";

/// A node of a plan: what is done, to what, and what it cost if the query was analyzed.
#[derive(Debug, Clone, PartialEq)]
pub struct Operator {
    /// What it does in one word: `select`, `window`, `aggregate`, `join`, ….
    pub kind: &'static str,
    /// What exactly, much as PromQL would write it.
    pub detail: String,
    /// What else there is to know: times, hints for the storage.
    pub notes: Vec<String>,
    /// At how many times it is evaluated.
    pub steps: usize,
    /// What it cost; `None` in a plan that did not run.
    pub cost: Option<Cost>,
    /// Where its input comes from.
    pub children: Vec<Operator>,
    pub(super) id: usize,
}

/// What an operator cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cost {
    /// Time in the operator itself, its children left out. Children that ran at the same time as it count, each on
    /// its own thread.
    pub own: Duration,
    /// Time in the operator and all below it, summed over threads.
    pub total: Duration,
    /// Series that its children handed to it, or that the storage did.
    pub series_in: u64,
    /// Series that it handed on.
    pub series_out: u64,
    /// Samples that it read from storage; histograms count as one.
    pub samples: u64,
    /// The most bytes that it had reserved at one time.
    pub peak_bytes: u64,
}

impl Operator {
    /// The line of the operator without its cost, as Thanos' `query_explain` has names.
    #[must_use]
    pub fn name(&self) -> String {
        let mut name = format!("[{}] {}", self.kind, self.detail);
        name.truncate(name.trim_end().len());
        for note in &self.notes {
            name.push_str(", ");
            name.push_str(note);
        }
        name
    }

    /// Samples read by it and all below it.
    #[must_use]
    pub fn total_samples(&self) -> u64 {
        let own = self.cost.map_or(0, |cost| cost.samples);
        own + self.children.iter().map(Self::total_samples).sum::<u64>()
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, first: &str, rest: &str) -> fmt::Result {
        write!(f, "{first}{}", self.name())?;
        if let Some(cost) = &self.cost {
            write!(f, "  ({cost})")?;
        }
        let last = self.children.len().saturating_sub(1);
        for (at, child) in self.children.iter().enumerate() {
            let (branch, below) =
                if at == last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
            f.write_str("\n")?;
            child.write(f, &format!("{rest}{branch}"), &format!("{rest}{below}"))?;
        }
        Ok(())
    }
}

/// The tree, an operator a line.
impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, "", "")
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "self {:.1?}, total {:.1?}", self.own, self.total)?;
        write!(f, ", series {} → {}", self.series_in, self.series_out)?;
        if self.samples > 0 {
            write!(f, ", {} samples", self.samples)?;
        }
        write!(f, ", peak {} bytes", self.peak_bytes)
    }
}
