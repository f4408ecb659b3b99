//! Every file in `examples/` is read by what it is for, so that none can rot.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser;
use serde_json::Value;
use testkit::eventually;

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("examples")
}

#[test]
fn every_example_has_a_test() {
    for entry in fs::read_dir(examples()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let known = name.starts_with("prometheus")
            || name.starts_with("objstore")
            || ["static-shards.yaml", "placement.yml", "corpus", "alerts.yml"]
                .contains(&name.as_str());
        assert!(known, "examples/{name} is not read by any test");
    }
}

#[test]
fn prometheus_configurations_are_read_without_unknown_fields() {
    for file in files_starting_with("prometheus") {
        let config = promconf::load(&file).unwrap();
        assert!(
            config.unknown_fields.is_empty(),
            "{}: {:?}",
            file.display(),
            config.unknown_fields
        );
        assert!(!config.scrape_configs.is_empty(), "{}", file.display());
    }
}

#[test]
fn alert_rules_are_valid() {
    testkit::promtool(["check", "rules", &examples().join("alerts.yml").to_string_lossy()]);
}

#[test]
fn alerts_are_quiet_when_all_is_well_and_speak_when_it_is_not() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/alerts_test.yml");
    testkit::promtool(["test", "rules", &cases.to_string_lossy()]);
}

#[test]
fn alerts_are_read_by_our_parser_and_rest_on_documented_metrics() {
    let documented = documented_metrics();
    let text = fs::read_to_string(examples().join("alerts.yml")).unwrap();
    let expressions: Vec<&str> =
        text.lines().filter_map(|line| line.trim().strip_prefix("expr: ")).collect();
    assert_eq!(expressions.len(), text.matches("- alert: ").count());
    for expression in expressions {
        let parsed =
            promql::parse(expression).unwrap_or_else(|error| panic!("{expression}: {error}"));
        let mut names = Vec::new();
        selected(&promql::describe(&parsed), &mut names);
        assert!(!names.is_empty(), "{expression}");
        for name in names {
            assert!(documented.contains(&name), "{expression}: {name} is not in docs/metrics.md");
        }
    }
}

/// Full names of docs/metrics.md's table, with the series of histograms.
fn documented_metrics() -> BTreeSet<String> {
    let text = fs::read_to_string(examples().join("../docs/metrics.md")).unwrap();
    let (_, table) = text.split_once("| --- | --- | --- |\n").unwrap();
    let rows = table.lines().take_while(|line| line.starts_with("| `"));
    let mut names = BTreeSet::new();
    for row in rows {
        let first = row.split('|').nth(1).unwrap();
        for name in first.split('`').skip(1).step_by(2) {
            names.insert(format!("shoal_coordinator_{name}"));
            if row.contains("(histogram)") {
                for part in ["bucket", "count", "sum"] {
                    names.insert(format!("shoal_coordinator_{name}_{part}"));
                }
            }
        }
    }
    names
}

/// Names of all selectors.
fn selected(node: &promql::ast::Node, names: &mut Vec<String>) {
    if node.kind.ends_with("Selector") {
        let name = node.fields.iter().find(|(field, _)| *field == "name");
        names.push(name.unwrap().1.clone());
    }
    node.children.iter().for_each(|child| selected(child, names));
}

#[test]
fn bucket_configurations_are_read() {
    let files = files_starting_with("objstore");
    assert_eq!(files.len(), 2);
    for file in files {
        objstore::Config::parse(&fs::read_to_string(&file).unwrap()).unwrap();
    }
}

/// The coordinator's flags, as its subcommand has them.
#[derive(Debug, Parser)]
struct Coordinator {
    #[command(flatten)]
    args: coordinator::Args,
}

#[tokio::test]
async fn static_shards_and_placement_rules_are_listed() {
    testkit::init();
    let folder = tempfile::tempdir().unwrap();
    let config_file = folder.path().join("prometheus.yml");
    fs::write(&config_file, "scrape_configs: []\n").unwrap();
    let Coordinator { args } = Coordinator::parse_from([
        "coordinator".to_owned(),
        "--shard.backend=static".to_owned(),
        "--http-address=127.0.0.1:0".to_owned(),
        format!("--shard.static-file={}", examples().join("static-shards.yaml").display()),
        format!("--placement.config-file={}", examples().join("placement.yml").display()),
        format!("--config.file={}", config_file.display()),
        format!("--data-dir={}", folder.path().join("data").display()),
    ]);
    let ctx = svc::Context::new();
    let running = coordinator::run(args.try_into().unwrap(), ctx.clone()).await.unwrap();
    let url = format!("http://{}/api/v1/plan", running.http);
    let client = svc::http::client(Duration::from_secs(5)).unwrap();
    eventually(Duration::from_secs(20), "both shards are listed", async || {
        let answer: Value = client.get(&url).send().await?.json().await?;
        let shards = answer["data"]["shards"].as_array().map_or(0, Vec::len);
        let rules = answer["data"]["inputs"]["rules"].as_array().map_or(0, Vec::len);
        anyhow::ensure!((shards, rules) == (2, 4), "{answer}");
        Ok(())
    })
    .await;
    ctx.shutdown.trigger();
    ctx.tasks.join(Duration::from_secs(20)).await.unwrap();
}

fn files_starting_with(start: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(examples()).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with(start)).collect()
}
