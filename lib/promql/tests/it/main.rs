//! What the crate does seen from outside: upstream's corpora when they are there, our own scripts always.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "all of it is test code; clippy sees that only of functions marked as tests"
)]

mod ahead;
mod conformance;
mod downsampled;
mod engine;
mod explain;
mod generated;
mod memory;
mod parse_corpus;
mod runner;
mod script_corpus;
mod selectors;
