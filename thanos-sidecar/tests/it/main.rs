//! The sidecar over its gRPC and HTTP doors, beside real Prometheus processes.

#![allow(clippy::unwrap_used, reason = "a test that lacks its world has failed")]

mod broken;
mod flush;
mod labels;
mod lifecycle;
mod series;
mod shipping;
mod world;
