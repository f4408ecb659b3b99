//! Fuzzing of what reads foreign bytes, on stable Rust: `cargo xtask fuzz parser chunks --minutes 60`.
//!
//! A [`Target`] makes inputs out of random numbers, by rules that know its grammar or format, and says of any input
//! what is wrong with how it is read. The [`run()`] loop feeds it, catches panics, watches time and memory, and writes
//! what failed, made small, as a file. `cases/` keeps such files; the tests read every one of them again.
//!
//! An input depends on the seed and its number only. A stack overflow, which nothing can catch, is found again from
//! the number that the last progress line shows: `--from`.

pub mod blocks;
pub mod chunks;
pub mod frames;
pub mod memory;
pub mod parser;
pub mod random;
mod run;

pub use run::{Found, Limits, Summary, replay, run};

use random::Random;

/// Something that reads bytes.
pub trait Target: Send + Sync {
    /// Its name at the command line and of its folder of cases.
    fn name(&self) -> &'static str;

    /// An input, often nearly valid.
    fn input(&self, random: &mut Random) -> Vec<u8>;

    /// What is wrong with how it is read; panics are wrong, too.
    fn check(&self, input: &[u8]) -> Result<(), String>;
}

/// Every target.
#[must_use]
pub fn targets() -> Vec<Box<dyn Target>> {
    vec![
        Box::new(parser::Parser::new()),
        Box::new(chunks::Chunks),
        Box::new(blocks::Blocks::new()),
        Box::new(frames::Frames),
    ]
}
