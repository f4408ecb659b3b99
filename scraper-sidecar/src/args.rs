//! Flags of `shoal scraper-sidecar`, exactly as typed.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{OsStringValueParser, TypedValueParser};

/// Turns a shard's assignment into the configuration of its Prometheus.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Listen host:port for HTTP: probes, metrics, /api/v1/shard.
    #[arg(long = "http-address", default_value = "0.0.0.0:8080")]
    pub http_address: SocketAddr,
    /// Listen host:port for gRPC: the coordinator's assignments.
    #[arg(long = "grpc-address", default_value = "0.0.0.0:8081")]
    pub grpc_address: SocketAddr,
    /// The shard's Prometheus; it has to run with --web.enable-lifecycle.
    #[arg(long = "prometheus.url", default_value = "http://127.0.0.1:9090")]
    pub prometheus_url: String,
    /// Folder for the assignment and the targets' files. Prometheus reads from it, as the same user.
    #[arg(long = "data-dir", default_value = "./data")]
    pub data_dir: PathBuf,
    /// Where Prometheus' configuration is written: its --config.file. Default: prometheus.yml in the data folder.
    #[arg(long = "config.output-file")]
    pub config_output_file: Option<PathBuf>,
    /// The user's prometheus.yml, if it is mounted here. Default and "": the coordinator sends it.
    #[arg(long = "config.file", value_parser = OsStringValueParser::new().map(PathBuf::from))]
    pub config_file: Option<PathBuf>,
    /// Folder that relative paths in a configuration sent by the coordinator are relative to. Default: the data folder.
    #[arg(long = "config.base-dir")]
    pub config_base_dir: Option<PathBuf>,
    /// External label of this shard, name="value" (repeatable); a label of that name in the user's configuration wins.
    #[arg(long = "label", value_name = "name=\"value\"")]
    pub label: Vec<String>,
    /// How often Prometheus is asked what it scrapes.
    #[arg(long = "poll-interval", default_value = "1s", value_parser = svc::args::duration)]
    pub poll_interval: Duration,
    /// How often Prometheus is asked how many series of each target have come and gone. What is known of a target's churn
    /// after six times this is reported.
    #[arg(long = "churn-interval", default_value = "5m", value_parser = svc::args::duration)]
    pub churn_interval: Duration,
}
