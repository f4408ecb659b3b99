//! The loop: inputs, one after another, until the time is over.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::Target;
use crate::memory::measured;
use crate::random::Random;

/// What an input may cost.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How long it may take.
    pub time: Duration,
    /// Bytes of memory, however short it is.
    pub memory: usize,
    /// Bytes of memory for each of its bytes on top.
    pub memory_per_byte: usize,
}

impl Limits {
    /// For optimised code on a machine that does other things, too.
    pub const DEFAULT: Self =
        Self { time: Duration::from_secs(2), memory: 4 << 20, memory_per_byte: 8 << 10 };
}

/// An input that is read wrongly.
#[derive(Debug, Clone)]
pub struct Found {
    /// Its number.
    pub number: u64,
    /// What is wrong.
    pub problem: String,
    /// The input, made small.
    pub input: Vec<u8>,
}

/// What a run has seen.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    /// How many inputs were read.
    pub inputs: u64,
    /// The number after the last input.
    pub next: u64,
    /// How long the slowest took, and its number.
    pub slowest: (Duration, u64),
    /// Most bytes of memory that one needed.
    pub most_memory: usize,
}

thread_local! {
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Makes panics of this thread silent, their place is kept. Call it once in a program.
fn quiet_panics() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        std::panic::set_hook(Box::new(|info| PANIC.set(Some(info.to_string()))));
    });
}

/// What is wrong with how an input is read, and what reading it cost. What took too long may only have had to wait for
/// a processor, so it gets another try, and one more.
fn check(
    target: &dyn Target,
    input: &[u8],
    limits: Limits,
) -> (Result<(), String>, Duration, usize) {
    let mut best = check_once(target, input, limits);
    for _ in 0..2 {
        if best.1 <= limits.time {
            break;
        }
        let again = check_once(target, input, limits);
        if again.1 < best.1 {
            best = again;
        }
    }
    best
}

fn check_once(
    target: &dyn Target,
    input: &[u8],
    limits: Limits,
) -> (Result<(), String>, Duration, usize) {
    let begun = Instant::now();
    let (outcome, memory) = measured(|| catch_unwind(AssertUnwindSafe(|| target.check(input))));
    let time = begun.elapsed();
    let allowed = limits.memory + limits.memory_per_byte * input.len();
    let verdict = match outcome {
        Err(_) => Err(PANIC.take().unwrap_or_else(|| "panic".to_owned())),
        Ok(Err(problem)) => Err(problem),
        Ok(Ok(())) if time > limits.time => Err(format!("took {time:?}")),
        Ok(Ok(())) if memory > allowed => Err(format!("needed {memory} bytes of memory")),
        Ok(Ok(())) => Ok(()),
    };
    (verdict, time, memory)
}

/// Leaves out parts of an input for as long as it is read wrongly.
fn small(target: &dyn Target, mut input: Vec<u8>, limits: Limits) -> Vec<u8> {
    let begun = Instant::now();
    let mut part = input.len() / 2;
    while part > 0 && begun.elapsed() < limits.time * 10 {
        let mut at = 0;
        while at + part <= input.len() && begun.elapsed() < limits.time * 10 {
            let mut shorter = input.clone();
            shorter.drain(at..at + part);
            match check(target, &shorter, limits).0 {
                Err(_) => input = shorter,
                Ok(()) => at += part,
            }
        }
        part /= 2;
    }
    input
}

/// Feeds a target with the inputs from a number on, for a time or until one is read wrongly. `progress` is told now
/// and then.
pub fn run(
    target: &dyn Target,
    (seed, from): (u64, u64),
    time: Duration,
    limits: Limits,
    mut progress: impl FnMut(&Summary),
) -> Result<Summary, Found> {
    quiet_panics();
    let begun = Instant::now();
    let mut told = begun;
    let mut summary = Summary { next: from, ..Summary::default() };
    while begun.elapsed() < time {
        let number = summary.next;
        let made = catch_unwind(AssertUnwindSafe(|| target.input(&mut Random::new(seed, number))));
        let Ok(input) = made else {
            let problem = PANIC.take().unwrap_or_default();
            return Err(Found {
                number,
                problem: format!("making it: {problem}"),
                input: Vec::new(),
            });
        };
        let (verdict, time, memory) = check(target, &input, limits);
        if let Err(problem) = verdict {
            return Err(Found { number, problem, input: small(target, input, limits) });
        }
        summary.inputs += 1;
        summary.next += 1;
        summary.slowest = summary.slowest.max((time, number));
        summary.most_memory = summary.most_memory.max(memory);
        if told.elapsed() > Duration::from_secs(10) {
            told = Instant::now();
            progress(&summary);
        }
    }
    Ok(summary)
}

/// Reads every kept case of a target again: which are read wrongly, and why; and how many there are.
pub fn replay(
    target: &dyn Target,
    cases: &Path,
    limits: Limits,
) -> std::io::Result<(Vec<(PathBuf, String)>, usize)> {
    quiet_panics();
    let folder = cases.join(target.name());
    let (mut wrong, mut count) = (Vec::new(), 0);
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let input = std::fs::read(&path)?;
        count += 1;
        if let Err(problem) = check(target, &input, limits).0 {
            wrong.push((path, problem));
        }
    }
    Ok((wrong, count))
}
