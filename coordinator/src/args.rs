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
    /// Placement rules: which shards targets are pinned to, and which targets are kept apart. YAML, read again with
    /// --config.file.
    #[arg(long = "placement.config-file")]
    pub(crate) placement_file: Option<PathBuf>,
    /// Where the HTTP API listens.
    #[arg(long = "http-address", default_value = "0.0.0.0:9091")]
    pub(crate) http_address: SocketAddr,
    /// Folder for the coordinator's own state and, with the local backend, the shards' data.
    #[arg(long = "data-dir", default_value = "./data")]
    pub(crate) data_dir: PathBuf,
    /// What several coordinators agree by on who leads: the name, in a folder that they share, that their lock files
    /// begin with. Default: leader.lock in the data folder. All coordinators on one data folder need the same.
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
    #[command(flatten)]
    pub(crate) load: LoadArgs,
    /// Fewest shards of a replica group.
    #[arg(long = "shard.min-shard", default_value_t = 1)]
    pub(crate) min_shards: u32,
    /// Most shards of a replica group.
    #[arg(long = "shard.max-shard", default_value_t = 999_999)]
    pub(crate) max_shards: u32,
    /// How long the highest shard has to be empty before it is removed; 0: shards are never removed. With an object
    /// store it goes only once all of its data is in the bucket; without one its data can be queried for as long as it
    /// is there, so this should be no shorter than the retention.
    #[arg(long = "shard.max-idle-time", default_value = "0", value_parser = duration)]
    pub(crate) max_idle: Duration,
    /// How long a shard that does not answer keeps its targets.
    #[arg(long = "shard.grace", default_value = "2m", value_parser = duration)]
    pub(crate) grace: Duration,
    #[command(flatten)]
    pub(crate) life: LifeArgs,
    /// Good scrapes in a row that a target's next shard shows before the old one lets go.
    #[arg(long = "move.good-scrapes", default_value_t = 2)]
    pub(crate) good_scrapes: u64,
    /// A move that takes longer is rolled back.
    #[arg(long = "move.timeout", default_value = "30m", value_parser = duration)]
    pub(crate) move_timeout: Duration,
    /// Most moves and evacuations that may begin in a minute.
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
    /// An answer of discovery that takes more than this share of a job's targets away is held for a while; see
    /// --discovery.min-targets.
    #[arg(long = "discovery.max-loss", default_value_t = 0.5)]
    pub(crate) discovery_max_loss: f64,
    /// An answer about a job that has fewer targets than this is always believed. 1: about none.
    #[arg(long = "discovery.min-targets", default_value_t = 10)]
    pub(crate) discovery_min_targets: usize,
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
    /// Leave the local backend's processes running on shutdown; the next start takes them over. While another
    /// coordinator uses the data folder they are left to it in any case.
    #[arg(long = "local.keep-shards")]
    pub(crate) keep_shards: bool,
    /// Delete the data folder of a removed shard of the local backend once all of it is in the bucket. Else it is set
    /// aside there, and where there is no bucket it waits for the next shard of that number.
    #[arg(long = "local.delete-shipped-data")]
    pub(crate) delete_shipped: bool,
}

/// Where shards come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum BackendKind {
    /// Child processes of the coordinator.
    Local,
    /// A list in a file.
    Static,
}

/// Flags about what else limits a shard.
#[derive(Debug, Clone, clap::Args)]
pub struct LoadArgs {
    /// Most samples a second that a shard of --shard.max-series may scrape, others in proportion; 0: not limited. What
    /// a target weighs is then the larger of its shares of both.
    #[arg(long = "shard.max-samples-per-second", default_value_t = 0)]
    pub(crate) max_samples: u64,
    /// Most series that the head of a shard's Prometheus may have; 0: not limited. A target then counts with those of
    /// its series that have ended, too, as the head keeps them for some hours. What the head holds beyond that is taken
    /// off what the shard may hold, up to half of it.
    #[arg(long = "shard.max-head-series", default_value_t = 0)]
    pub(crate) max_head_series: u64,
    /// Most memory that a shard's Prometheus may take, as in 16GB; 0: not limited. Beyond half of it a shard holds no
    /// more than fits at the bytes a series that it takes, but half of what it may.
    #[arg(long = "shard.max-memory", default_value = "0", value_parser = bytes)]
    pub(crate) max_memory: u64,
}

/// A number of bytes, as Prometheus' flags have it: the units are powers of 1024.
fn bytes(text: &str) -> Result<u64, String> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let power = match unit.trim_end_matches("iB").trim_end_matches('B') {
        "" => 0,
        "K" => 1,
        "M" => 2,
        "G" => 3,
        "T" => 4,
        _ => return Err(format!("{unit:?} is none of B, KB, MB, GB and TB")),
    };
    let number: u64 = number.parse().map_err(|_| "no number of bytes".to_owned())?;
    number.checked_mul(1 << (10 * power)).ok_or_else(|| "too many bytes".to_owned())
}

/// Flags about shards in trouble, and about how fast things change.
#[derive(Debug, Clone, clap::Args)]
pub struct LifeArgs {
    /// How long a shard keeps its targets whose Prometheus answers but whose sidecar does not; 0: for ever.
    #[arg(long = "shard.agent-grace", default_value = "1h", value_parser = duration)]
    pub(crate) agent_grace: Duration,
    /// How long shards that do not answer at all, their Prometheus servers neither, keep their targets when they are three
    /// or more and most of a replica group: then it may be the coordinator that is cut off.
    #[arg(long = "shard.partition-grace", default_value = "20m", value_parser = duration)]
    pub(crate) partition_grace: Duration,
    /// How long the replay of a WAL may make no progress before the shard counts as down.
    #[arg(long = "shard.replay-grace", default_value = "10m", value_parser = duration)]
    pub(crate) replay_grace: Duration,
    /// So many starts of a shard's Prometheus within --shard.quarantine-window put it into quarantine: it gets no new
    /// targets, and its load is spread over the others. 0: never.
    #[arg(long = "shard.quarantine-restarts", default_value_t = 3)]
    pub(crate) quarantine_restarts: usize,
    /// See --shard.quarantine-restarts.
    #[arg(long = "shard.quarantine-window", default_value = "30m", value_parser = duration)]
    pub(crate) quarantine_window: Duration,
    /// How long a shard in quarantine has to be ready without a restart before it takes targets again.
    #[arg(long = "shard.quarantine-release", default_value = "30m", value_parser = duration)]
    pub(crate) quarantine_release: Duration,
    /// Most shards that are added to or removed from a replica group in a minute.
    #[arg(long = "shard.max-scale-step", default_value_t = 100)]
    pub(crate) scale_step: u32,
    /// How long a target stays where it is after a failed move; doubled with each failure, up to 64 times.
    #[arg(long = "move.cooldown", default_value = "1m", value_parser = duration)]
    pub(crate) cooldown: Duration,
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn bytes_have_the_units_of_prometheus() {
        for (text, number) in [
            ("0", 0),
            ("17", 17),
            ("2KB", 2_048),
            ("3M", 3 << 20),
            ("16GB", 16 << 30),
            ("1TiB", 1 << 40),
        ] {
            assert_eq!(bytes(text), Ok(number), "{text}");
        }
        for text in ["", "GB", "1.5GB", "-1", "1EB", "99999999999TB"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }
}
