//! Who may depend on whom. The table is the architecture; a new edge is a reviewed line here.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, bail, ensure};
use serde_json::Value;

/// Each crate and those of ours that it may use outside of tests.
const LAYERS: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("tsdb", &["model"]),
    ("promql", &["model"]),
    ("proto", &["model"]),
    ("svc", &["model"]),
    ("promconf", &["model"]),
    ("objstore", &["svc"]),
    ("block", &["model", "objstore", "svc"]),
    ("scrape", &["model", "promconf", "svc"]),
    ("discovery", &["model", "promconf", "scrape", "svc"]),
    ("testkit", &["model", "svc"]),
    ("coordinator", &["discovery", "model", "promconf", "proto", "scrape", "svc"]),
    ("scraper-sidecar", &["model", "promconf", "proto", "svc"]),
    ("thanos-sidecar", &["block", "model", "objstore", "proto", "svc"]),
    ("query", &["model", "promql", "proto", "svc", "tsdb"]),
    ("shoal", &["coordinator", "promql", "query", "scraper-sidecar", "svc", "thanos-sidecar"]),
    ("fuzz", &["model", "promql", "proto", "query", "tsdb"]),
    ("codegen", &[]),
    ("xtask", &[]),
];

/// Crates of others that only the named crates of ours may use.
const RESERVED: &[(&str, &[&str])] = &[
    ("kube", &["coordinator", "discovery", "controller"]),
    ("object_store", &["objstore"]),
    ("saphyr-parser", &["promconf"]),
];

/// Crates that stay free of I/O and of serialisation, and what that excludes.
const PURE: &[&str] = &["model", "tsdb", "promql"];
const IMPURE: &[&str] = &["tokio", "axum", "tonic", "kube", "serde", "reqwest"];

/// Compares `cargo metadata` with the table.
pub(crate) fn check() -> anyhow::Result<()> {
    let used = dependencies()?;
    let ours: BTreeSet<&str> = used.keys().map(String::as_str).collect();
    for (name, dependencies) in &used {
        let Some((_, allowed)) = LAYERS.iter().find(|(layer, _)| layer == name) else {
            bail!("crate {name} is not in the table of xtask/src/layers.rs");
        };
        for dependency in dependencies {
            let dependency = dependency.as_str();
            if ours.contains(dependency) {
                ensure!(
                    allowed.contains(&dependency),
                    "{name} must not depend on {dependency} (xtask/src/layers.rs)"
                );
            }
            if let Some((_, owners)) = RESERVED.iter().find(|(reserved, _)| *reserved == dependency)
            {
                ensure!(
                    owners.contains(&name.as_str()),
                    "only {owners:?} may use {dependency}, not {name}"
                );
            }
            let impure = PURE.contains(&name.as_str()) && IMPURE.contains(&dependency);
            ensure!(
                !impure,
                "{name} must not use {dependency}: it knows no I/O and no serialisation"
            );
        }
    }
    Ok(())
}

/// Ordinary (not development or build) dependencies of each workspace crate.
fn dependencies() -> anyhow::Result<BTreeMap<String, BTreeSet<String>>> {
    let output = crate::cargo_command()
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .output()
        .context("run cargo metadata")?;
    let metadata: Value = serde_json::from_slice(&output.stdout).context("read cargo metadata")?;
    let packages = metadata["packages"].as_array().context("cargo metadata has no packages")?;
    let ordinary = |dependency: &&Value| dependency["kind"].is_null();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Ok(packages
        .iter()
        .map(|package| {
            let list = package["dependencies"].as_array().map(Vec::as_slice).unwrap_or_default();
            let names =
                list.iter().filter(ordinary).map(|dependency| text(&dependency["name"])).collect();
            (text(&package["name"]), names)
        })
        .collect())
}
