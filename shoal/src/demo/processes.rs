//! The children of the demo. The shards' processes are the coordinator's own.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use svc::child::{Spec, Supervisor};

use super::Args;
use super::layout::Layout;

pub(super) const QUERY: &str = "query";
pub(super) const COORDINATOR: &str = "coordinator";

/// How often the coordinator looks at its shards: short, so that one can watch.
const CYCLE: &str = "2s";

/// Starts or adopts all of them, the targets first.
pub(super) fn start(supervisor: &Supervisor, layout: &Layout, args: &Args) -> anyhow::Result<()> {
    let shoal = std::env::current_exe().context("find this program")?;
    for spec in specs(&shoal, layout, args) {
        let name = spec.name.clone();
        supervisor.start(spec).with_context(|| format!("start {name}"))?;
    }
    Ok(())
}

fn specs(shoal: &std::path::Path, layout: &Layout, args: &Args) -> Vec<Spec> {
    let spec = |name: &str, program: PathBuf, arguments: Vec<String>, stop_within: u64| Spec {
        name: name.to_owned(),
        program,
        arguments,
        env: Vec::new(),
        log_file: layout.log_file(name),
        stop_within: Duration::from_secs(stop_within),
    };
    let mut specs = Vec::new();
    for (number, address) in layout.generators().iter().enumerate() {
        let name = format!("metrics-generator-{number}");
        let arguments = vec![
            "tools".to_owned(),
            "metrics-generator".to_owned(),
            format!("--listen-address={address}"),
            format!("--series={}", args.series_per_target),
            format!("--seed={number}"),
        ];
        specs.push(spec(&name, shoal.to_path_buf(), arguments, 5));
    }
    if let Some(address) = layout.node_exporter() {
        let arguments = vec![format!("--web.listen-address={address}")];
        specs.push(spec("node-exporter", "prometheus-node-exporter".into(), arguments, 5));
    }
    // The coordinator stops its shards, each Prometheus writing out its head, before it ends.
    specs.push(spec(COORDINATOR, shoal.to_path_buf(), coordinator_arguments(layout, args), 60));
    specs.push(spec(QUERY, shoal.to_path_buf(), query_arguments(layout, args), 15));
    specs
}

fn coordinator_arguments(layout: &Layout, args: &Args) -> Vec<String> {
    let mut arguments = vec![
        "coordinator".to_owned(),
        format!("--config.file={}", layout.config_file().display()),
        format!("--http-address={}", args.coordinator_http_address),
        format!("--data-dir={}", layout.coordinator_dir().display()),
        "--shard.backend=local".to_owned(),
        format!("--shard.max-series={}", args.max_series),
        format!("--replicas={}", args.replicas),
        format!("--coordinator.interval={CYCLE}"),
        format!("--objstore.config-file={}", layout.objstore_file().display()),
    ];
    arguments.extend_from_slice(&args.coordinator_args);
    arguments
}

fn query_arguments(layout: &Layout, args: &Args) -> Vec<String> {
    let mut arguments = vec![
        "query".to_owned(),
        format!("--http-address={}", args.http_address),
        format!("--endpoint.coordinator=http://{}", args.coordinator_http_address),
        "--store.response-timeout=30s".to_owned(),
        "--query.replica-label=prometheus_replica".to_owned(),
        "--query.replica-label=prometheus_shard".to_owned(),
    ];
    arguments.extend(layout.query_grpc().map(|address| format!("--grpc-address={address}")));
    arguments
}
