//! Flags of `shoal coordinator`, exactly as typed.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use svc::args::duration;

/// Flags of `shoal coordinator`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The one prometheus.yml; watched, and read again on POST /-/reload.
    #[arg(long = "config.file", default_value = "prometheus.yml")]
    pub(crate) config_file: PathBuf,
    /// Where the HTTP API listens.
    #[arg(long = "http-address", default_value = "0.0.0.0:9091")]
    pub(crate) http_address: SocketAddr,
    /// Folder for the coordinator's own state and, with the local backend, the shards' data.
    #[arg(long = "data-dir", default_value = "./data")]
    pub(crate) data_dir: PathBuf,
    /// What several coordinators agree by on who leads: the name, in a folder that they share, that their lock files
    /// begin with. Default: leader.lock in the data folder.
    #[arg(long = "leader.lock-file")]
    pub(crate) leader_lock_file: Option<PathBuf>,
    /// A leader that has shown no life for that long is replaced. One that has died is replaced within a second.
    #[arg(long = "leader.lease", default_value = "15s", value_parser = duration)]
    pub(crate) leader_lease: Duration,
    /// How often shards are asked and targets are planned.
    #[arg(long = "coordinator.interval", default_value = "10s", value_parser = duration)]
    pub(crate) interval: Duration,
    /// How long a shard may take to answer.
    #[arg(long = "coordinator.shard-timeout", default_value = "5s", value_parser = duration)]
    pub(crate) shard_timeout: Duration,
    /// Where shards come from.
    #[arg(long = "shard.backend", value_enum, default_value = "local")]
    pub(crate) backend: BackendKind,
    /// Shards of the static backend: YAML, read again when it changes.
    #[arg(long = "shard.static-file", default_value = "static-shards.yaml")]
    pub(crate) static_file: PathBuf,
    /// Most series a shard may hold.
    #[arg(long = "shard.max-series", default_value_t = 1_000_000)]
    pub(crate) max_series: u64,
    /// Fewest shards of a replica group.
    #[arg(long = "shard.min-shard", default_value_t = 1)]
    pub(crate) min_shards: u32,
    /// Most shards of a replica group.
    #[arg(long = "shard.max-shard", default_value_t = 999_999)]
    pub(crate) max_shards: u32,
    /// How long the highest shard has to be empty before it is removed; 0: shards are never removed.
    #[arg(long = "shard.max-idle-time", default_value = "0", value_parser = duration)]
    pub(crate) max_idle: Duration,
    /// How long a shard that does not answer keeps its targets.
    #[arg(long = "shard.grace", default_value = "2m", value_parser = duration)]
    pub(crate) grace: Duration,
    /// Good scrapes in a row that a target's next shard shows before the old one lets go.
    #[arg(long = "move.good-scrapes", default_value_t = 2)]
    pub(crate) good_scrapes: u64,
    /// A move that takes longer is rolled back.
    #[arg(long = "move.timeout", default_value = "30m", value_parser = duration)]
    pub(crate) move_timeout: Duration,
    /// Most moves that may begin in a minute.
    #[arg(long = "move.max-per-minute", default_value_t = 600)]
    pub(crate) moves_per_minute: u32,
    /// How many targets are counted at the same time before their first assignment.
    #[arg(long = "explore.concurrence", default_value_t = 200)]
    pub(crate) explore_concurrency: usize,
    /// Independent replica groups of the local backend, each scraping everything.
    #[arg(long = "replicas", default_value_t = 1)]
    pub(crate) replicas: u32,
    /// Handed to the thanos-sidecars of the local backend, which then upload blocks.
    #[arg(long = "objstore.config-file")]
    pub(crate) objstore_config_file: Option<PathBuf>,
    /// A Prometheus that answers for the discovery kinds that the coordinator does not have itself: a path, or a name to
    /// be found on PATH. With the local backend its own Prometheus does it unless another one is named.
    #[arg(long = "discovery.prometheus-binary")]
    pub(crate) discovery_binary: Option<PathBuf>,
    /// An answer of discovery that takes more than this share of a job's targets away is held for a while.
    #[arg(long = "discovery.max-loss", default_value_t = 0.5)]
    pub(crate) discovery_max_loss: f64,
    /// How long such an answer is held before it is believed.
    #[arg(long = "discovery.grace", default_value = "5m", value_parser = duration)]
    pub(crate) discovery_grace: Duration,
    /// The Prometheus of the local backend: a path, or a name to be found on PATH.
    #[arg(long = "local.prometheus-binary", default_value = "prometheus")]
    pub(crate) prometheus_binary: PathBuf,
    /// How long the local backend's Prometheus servers keep data.
    #[arg(long = "local.retention", default_value = "15d")]
    pub(crate) retention: String,
    /// A further flag for the local backend's Prometheus servers; repeatable.
    #[arg(long = "local.prometheus-arg", allow_hyphen_values = true)]
    pub(crate) prometheus_args: Vec<String>,
    /// Leave the local backend's processes running on shutdown; the next start takes them over.
    #[arg(long = "local.keep-shards")]
    pub(crate) keep_shards: bool,
}

/// Where shards come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum BackendKind {
    /// Child processes of the coordinator.
    Local,
    /// A list in a file.
    Static,
}
