//! The project's own tasks: `cargo xtask demo | test | lint | bench | fuzz | codegen`.

mod bench;
mod demo;
mod install;
mod layers;
mod lint;
mod test;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, ensure};
use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "The project's own tasks")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Installs what is missing, builds release and runs `shoal demo`; what follows is handed to it.
    Demo {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Installs what the tests need and runs all of them; what follows is handed to the test runner.
    Test {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Format, clippy, tidiness, layers and generated code.
    Lint,
    /// Builds release and prints every benchmark, or the named ones.
    Bench { names: Vec<String> },
    /// Fuzzes with every check on: the targets named, all without; `--minutes 60 --seed 7 --from 0`.
    Fuzz {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Renews the code generated from the .proto files.
    Codegen,
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().task {
        Task::Demo { arguments } => demo::run(&arguments),
        Task::Test { arguments } => test::run(&arguments),
        Task::Lint => lint::run(),
        Task::Bench { names } => bench::run(&names),
        Task::Fuzz { arguments } => fuzz(&arguments),
        Task::Codegen => cargo(&["run", "--quiet", "--package", "codegen"]),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("xtask: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// The workspace's root folder.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_path_buf).unwrap_or_default()
}

/// Where cargo builds to.
fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Runs cargo in the workspace; fails when it fails.
fn cargo(arguments: &[&str]) -> anyhow::Result<()> {
    run(cargo_command().args(arguments))
}

/// Builds the fuzzer in its own profile and runs it.
fn fuzz(arguments: &[String]) -> anyhow::Result<()> {
    let mut command = cargo_command();
    command.args(["run", "--profile", "fuzz", "--package", "fuzz", "--"]).args(arguments);
    run(&mut command)
}

/// The cargo that runs us, in the workspace. What it has told us of our own package is taken out of the environment:
/// build scripts that look at it (ring's) would run again whenever cargo is called now by us and now by hand.
fn cargo_command() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in std::env::vars_os() {
        let told = name.to_str().is_some_and(|name| {
            name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")
        });
        if told {
            command.env_remove(name);
        }
    }
    command.current_dir(root());
    command
}

/// Runs a command and shows it; fails when it fails.
fn run(command: &mut Command) -> anyhow::Result<()> {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let shown = words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
    say(&format!("$ {shown}"));
    let status = command.status().with_context(|| format!("start {shown}"))?;
    ensure!(status.success(), "{shown} ended with {status}");
    Ok(())
}

/// One line for the person at the terminal.
#[expect(clippy::print_stderr, reason = "a command-line tool talks to its user")]
fn say(line: &str) {
    eprintln!("{line}");
}
