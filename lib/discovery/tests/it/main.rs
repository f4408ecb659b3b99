//! Discovery as a whole: real files, real HTTP.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod beside_prometheus;
mod bridge;
mod consul;
mod dns;
mod docker;
mod file;
mod http;
mod jobs;
mod registries;
mod servers;
mod support;
