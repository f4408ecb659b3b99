//! Query over its public HTTP and gRPC, with StoreAPI servers in this process.

#![allow(clippy::unwrap_used, reason = "a test that lacks its world has failed")]

mod blocks;
mod completeness;
mod deduplication;
mod downsampled;
mod explain;
mod fake;
mod federate;
mod grafana;
mod histograms;
mod http_api;
mod limits;
mod server;
mod stacking;
