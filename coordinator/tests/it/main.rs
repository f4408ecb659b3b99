//! The coordinator in one process, over its real interfaces: HTTP in front, gRPC to sidecars that the tests play.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod api;
mod assignment;
mod fake;
mod faults;
mod leader;
mod reload;
mod seeing;
mod system;
