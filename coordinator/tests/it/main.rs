//! The coordinator in one process, over its real interfaces: HTTP in front, gRPC to sidecars that the tests play.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod api;
mod assignment;
mod detector;
mod discovery;
mod fake;
mod faults;
mod identity;
mod isolation;
mod leader;
mod load;
mod logs;
mod placement;
mod reload;
mod seeing;
mod stop_scrape;
mod system;
