//! `shoal tools …`: small helpers for people and tests.

mod metrics_generator;
mod plan;
mod promql;

use std::process::ExitCode;

/// One of them.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Tool {
    /// A scrape target with as many series as asked for, whose values really change.
    MetricsGenerator(metrics_generator::Args),
    /// How many shards a configuration would need: a dry run of discovery, relabelling, counting and placement.
    Plan(plan::Args),
    /// PromQL at a terminal: test scripts, trees, formatting, queries.
    Promql {
        #[command(subcommand)]
        command: promql::Command,
    },
}

/// Runs a tool to its end.
pub(crate) fn run(tool: Tool) -> ExitCode {
    match tool {
        Tool::MetricsGenerator(args) => svc::run(|ctx| metrics_generator::run(args, ctx)),
        Tool::Plan(args) => plan::run(args),
        Tool::Promql { command } => promql::run(command),
    }
}
