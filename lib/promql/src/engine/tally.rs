//! Samples that a query looked at, in all and per step, counted as Prometheus does (util/stats/query_stats.go).
//!
//! What is evaluated once and repeated counts at every step. What a subquery reads does not count, but the samples
//! that it makes do, in each window.

use std::cell::{Cell, RefCell};

use super::evaluate::{Done, Evaluator};

/// What reading counts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Counting {
    /// At the step of the query that it is for.
    Step,
    /// At every step.
    Once,
    /// Not at all.
    Off,
}

/// The counts of one thread.
#[derive(Debug)]
pub(super) struct Tally {
    counting: Cell<Counting>,
    samples: Cell<u64>,
    /// What was read to be repeated.
    once: Cell<u64>,
    /// Per step of the query; only when asked for.
    steps: RefCell<Option<Vec<u64>>>,
}

impl Tally {
    /// `steps`: how many there are, when they are to be counted.
    pub fn new(steps: Option<usize>) -> Self {
        Self {
            counting: Cell::new(Counting::Step),
            samples: Cell::new(0),
            once: Cell::new(0),
            steps: RefCell::new(steps.map(|len| vec![0; len])),
        }
    }

    pub fn samples(&self) -> u64 {
        self.samples.get()
    }

    pub fn steps(&self) -> Option<Vec<u64>> {
        self.steps.borrow().clone()
    }

    /// Counts samples; `per_step` tells the steps that used them, and how many each did.
    pub fn add<I: Iterator<Item = (usize, u64)>>(&self, used: u64, per_step: impl FnOnce() -> I) {
        match self.counting.get() {
            Counting::Off => {}
            Counting::Once => self.once.set(self.once.get() + used),
            Counting::Step => {
                self.samples.set(self.samples.get() + used);
                if let Some(steps) = self.steps.borrow_mut().as_mut() {
                    for (step, used) in per_step() {
                        if let Some(count) = steps.get_mut(step) {
                            *count += used;
                        }
                    }
                }
            }
        }
    }

    fn repeat(&self, len: usize) {
        let once = self.once.take();
        self.samples.set(self.samples.get() + once * len as u64);
        for count in self.steps.borrow_mut().iter_mut().flatten() {
            *count += once;
        }
    }
}

impl Evaluator<'_> {
    /// Runs `work`, which counts in another way until it calls what it is given around rows that it hands on.
    pub(super) fn counting(
        &self,
        inside: Counting,
        work: impl FnOnce(&dyn Fn(&mut dyn FnMut() -> Done) -> Done) -> Done,
    ) -> Done {
        let outside = self.tally.counting.get();
        let inside = if outside == Counting::Off { outside } else { inside };
        self.tally.counting.set(inside);
        let done = work(&|hand_on| {
            self.tally.counting.set(outside);
            let done = hand_on();
            self.tally.counting.set(inside);
            done
        });
        self.tally.counting.set(outside);
        done
    }

    /// Counts what was read once at all steps.
    pub(super) fn count_repeated(&self, len: usize) {
        if self.tally.counting.get() == Counting::Step {
            self.tally.repeat(len);
        }
    }
}
