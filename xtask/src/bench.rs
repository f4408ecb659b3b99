//! `cargo xtask bench`: every performance claim, as a ratio against a peer in the same run.

use anyhow::ensure;

use crate::cargo;
use crate::install::{self, Need};

/// The benchmarks: a name, the crate, its bench target, and what it needs beside the real binary, if it drives that.
const BENCHES: &[(&str, &str, &str, Option<&[Need]>)] = &[
    ("exposition", "scrape", "exposition", None),
    ("sidecar", "thanos-sidecar", "stream", Some(install::DEMO)),
    ("plan", "coordinator", "plan", None),
    ("coordinator", "coordinator", "simulate", None),
    ("scale", "coordinator", "scale", None),
    ("promql", "query", "promql", Some(install::PEERS)),
];

/// Runs all benchmarks, or the named ones.
pub(crate) fn run(names: &[String]) -> anyhow::Result<()> {
    for name in names {
        let known = BENCHES.iter().any(|(bench, ..)| bench == name);
        ensure!(
            known,
            "no benchmark {name}; there are: {}",
            BENCHES.iter().map(|(bench, ..)| *bench).collect::<Vec<_>>().join(", ")
        );
    }
    let wanted = |name: &str| names.is_empty() || names.iter().any(|wanted| wanted == name);
    for (name, package, target, needs) in BENCHES.iter().filter(|(name, ..)| wanted(name)) {
        crate::say(&format!("== {name}"));
        let mut bench = crate::cargo_command();
        bench.args(["bench", "--quiet", "--package", package, "--bench", target]);
        if let Some(needs) = needs {
            install::debian_packages(needs)?;
            cargo(&["build", "--release", "--package", "shoal"])?;
            bench.env("SHOAL_BIN", crate::target().join("release/shoal"));
        }
        crate::run(&mut bench)?;
    }
    Ok(())
}
