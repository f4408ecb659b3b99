//! Whole systems: the real binary, real Prometheus processes, real data.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "tests")]

/// Starting, watching and stopping a demo.
mod system;

/// The demo's defaults, and starting again on the same folder.
mod first_light;

/// A target that outgrows its shard.
mod growth;

/// `kill -9` of each kind of process.
mod kills;

/// A shard goes, and its data is in the bucket.
mod ladder;

/// Discovery that is down, lies or does not answer.
mod guard;

/// Several coordinators.
mod leaders;

/// Each process, failing in each way, in each phase.
mod matrix;

/// What may be wrong with a shard.
mod troubles;

/// Two independent replica groups.
mod replicas;

/// The same answers as one big Prometheus.
mod same_answers;

/// Blocks of the shards in the bucket.
mod bucket;

/// What cannot work is said in one sentence.
mod bad_input;
