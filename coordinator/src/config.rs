//! What the coordinator runs with: checked, complete, free of clap.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail, ensure};

use crate::Error;
use crate::args::{Args, BackendKind, LifeArgs};
use crate::detect::Patience;
use crate::headroom::Caps;
use crate::leader::{Fence, Leadership};
use crate::plan::{LifeLimits, Limits};
use crate::shared_folder::SharedFolder;

/// When shards are added because all are nearly full, so many are that each is filled to this share of its capacity, in
/// percent.
const FILL_TO: u64 = 90;

/// An overloaded shard is relieved down to this share of its capacity, in percent, so that the next few series do not
/// overload it again.
const RELIEVE_TO: u64 = 95;

/// A shard is drained only when the others stay below this share of their capacity, in percent.
const DRAIN_TO: u64 = 90;

/// Checked settings.
#[derive(Debug, Clone)]
pub struct Config {
    pub(crate) config_file: PathBuf,
    pub(crate) placement_file: Option<PathBuf>,
    pub(crate) http_address: SocketAddr,
    pub(crate) data_dir: PathBuf,
    pub(crate) leader_lock_file: PathBuf,
    pub(crate) leader_lease: Duration,
    pub(crate) interval: Duration,
    pub(crate) shard_timeout: Duration,
    pub(crate) limits: Limits,
    pub(crate) caps: Caps,
    pub(crate) patience: Patience,
    pub(crate) explore_concurrency: usize,
    pub(crate) discovery: discovery::Options,
    pub(crate) backend: BackendConfig,
}

/// Settings of one backend.
#[derive(Debug, Clone)]
pub(crate) enum BackendConfig {
    Local(LocalConfig),
    Static { file: PathBuf },
}

/// Settings of the local backend.
#[derive(Debug, Clone)]
pub(crate) struct LocalConfig {
    pub(crate) replicas: u32,
    pub(crate) programs: Programs,
    pub(crate) objstore_config_file: Option<PathBuf>,
    pub(crate) config_dir: PathBuf,
    pub(crate) retention: String,
    pub(crate) prometheus_args: Vec<String>,
    pub(crate) keep_shards: bool,
    pub(crate) delete_shipped: bool,
}

/// The executables of a local shard.
#[derive(Debug, Clone)]
pub(crate) struct Programs {
    pub(crate) prometheus: PathBuf,
    pub(crate) shoal: PathBuf,
}

impl TryFrom<Args> for Config {
    type Error = anyhow::Error;

    fn try_from(args: Args) -> anyhow::Result<Self> {
        check(&args)?;
        let limits = limits(&args);
        let Args {
            config_file,
            placement_file,
            http_address,
            data_dir,
            leader_lock_file,
            leader_lease,
            interval,
            shard_timeout,
            backend,
            static_file,
            load,
            grace,
            life,
            explore_concurrency,
            replicas,
            objstore_config_file,
            discovery_binary,
            discovery_max_loss,
            discovery_min_targets,
            discovery_grace,
            prometheus_binary,
            retention,
            prometheus_args,
            keep_shards,
            delete_shipped,
            ..
        } = args;
        let backend = match backend {
            BackendKind::Static => BackendConfig::Static { file: static_file },
            BackendKind::Local => {
                ensure!(replicas > 0, "--replicas has to be greater than 0");
                model::duration::parse(&retention).context("read --local.retention")?;
                BackendConfig::Local(LocalConfig {
                    replicas,
                    programs: Programs::find(&prometheus_binary)?,
                    objstore_config_file: absolute(objstore_config_file.as_deref())?,
                    config_dir: folder_of(&config_file)?,
                    retention,
                    prometheus_args,
                    keep_shards,
                    delete_shipped,
                })
            }
        };
        let guard = discovery::Guard {
            max_loss: discovery_max_loss,
            min_targets: discovery_min_targets,
            grace: discovery_grace,
        };
        let discovery = discovery_options(discovery_binary, guard, &backend, &data_dir)?;
        Ok(Self {
            config_file,
            placement_file,
            http_address,
            leader_lock_file: leader_lock_file.unwrap_or_else(|| data_dir.join("leader.lock")),
            leader_lease,
            data_dir,
            interval,
            shard_timeout,
            limits,
            caps: Caps { head_series: load.max_head_series, memory: load.max_memory },
            patience: life.patience(grace),
            explore_concurrency,
            discovery,
            backend,
        })
    }
}

impl Config {
    /// The hand on the lock that the settings name, in a data folder where all go by that lock.
    pub(crate) async fn leadership(&self) -> Result<Leadership, Error> {
        let fence = match self.backend {
            BackendConfig::Local(_) => Fence::Kill,
            BackendConfig::Static { .. } => Fence::Epoch,
        };
        let folder = SharedFolder::join(&self.data_dir, &self.leader_lock_file).await?;
        Leadership::open(folder, &self.leader_lock_file, self.leader_lease, fence)
    }
}

fn limits(args: &Args) -> Limits {
    Limits {
        max_series: args.max_series,
        max_samples: args.load.max_samples,
        max_head: args.load.max_head_series,
        min_shards: args.min_shards,
        max_shards: args.max_shards,
        scalable: args.backend == BackendKind::Local,
        max_idle: args.max_idle,
        good_scrapes: args.good_scrapes,
        move_timeout: args.move_timeout,
        grace: args.grace,
        moves_per_minute: args.moves_per_minute,
        fill_to: FILL_TO,
        relieve_to: RELIEVE_TO,
        drain_to: DRAIN_TO,
        life: args.life.limits(),
    }
}

impl LifeArgs {
    fn limits(&self) -> LifeLimits {
        let Self { agent_grace, partition_grace, scale_step, cooldown, .. } = *self;
        LifeLimits { agent_grace, partition_grace, scale_step, cooldown }
    }

    fn patience(&self, grace: Duration) -> Patience {
        Patience {
            starting: grace,
            replay: self.replay_grace,
            restarts: self.quarantine_restarts,
            window: self.quarantine_window,
            release: self.quarantine_release,
        }
    }
}

/// Numbers that make no sense.
fn check(args: &Args) -> anyhow::Result<()> {
    ensure!(args.max_series > 0, "--shard.max-series has to be greater than 0");
    ensure!(args.min_shards <= args.max_shards, "--shard.min-shard exceeds --shard.max-shard");
    ensure!(args.max_shards > 0, "--shard.max-shard has to be greater than 0");
    ensure!(!args.interval.is_zero(), "--coordinator.interval has to be greater than 0");
    ensure!(!args.shard_timeout.is_zero(), "--coordinator.shard-timeout has to be greater than 0");
    ensure!(!args.leader_lease.is_zero(), "--leader.lease has to be greater than 0");
    ensure!(args.life.scale_step > 0, "--shard.max-scale-step has to be greater than 0");
    ensure!(args.moves_per_minute > 0, "--move.max-per-minute has to be greater than 0");
    ensure!(args.explore_concurrency > 0, "--explore.concurrence has to be greater than 0");
    Ok(())
}

impl Programs {
    fn find(prometheus_binary: &Path) -> anyhow::Result<Self> {
        let shoal = std::env::current_exe().context("find own executable")?;
        let prometheus =
            find_program(prometheus_binary).context("find --local.prometheus-binary")?;
        Ok(Self { prometheus, shoal })
    }
}

/// Flags of discovery: the bridge's Prometheus, and the guard.
fn discovery_options(
    binary: Option<PathBuf>,
    guard: discovery::Guard,
    backend: &BackendConfig,
    data_dir: &Path,
) -> anyhow::Result<discovery::Options> {
    ensure!(guard.max_loss > 0.0, "--discovery.max-loss has to be greater than 0");
    let own_prometheus = match backend {
        BackendConfig::Local(local) => Some(local.programs.prometheus.clone()),
        BackendConfig::Static { .. } => None,
    };
    let named = binary.map(|binary| find_program(&binary)).transpose();
    let prometheus_binary = named.context("find --discovery.prometheus-binary")?;
    Ok(discovery::Options {
        guard,
        prometheus_binary: prometheus_binary.or(own_prometheus),
        bridge_dir: data_dir.join("discovery"),
        ..discovery::Options::default()
    })
}

/// The folder that relative paths in the configuration start from.
fn folder_of(config_file: &Path) -> anyhow::Result<PathBuf> {
    let folder = config_file.parent().filter(|folder| !folder.as_os_str().is_empty());
    std::path::absolute(folder.unwrap_or(Path::new("."))).context("find folder of --config.file")
}

fn absolute(path: Option<&Path>) -> anyhow::Result<Option<PathBuf>> {
    let Some(path) = path else { return Ok(None) };
    let absolute = std::path::absolute(path).context("find --objstore.config-file")?;
    ensure!(absolute.is_file(), "--objstore.config-file {} is no file", absolute.display());
    Ok(Some(absolute))
}

/// An executable by path, or by name on PATH.
fn find_program(program: &Path) -> anyhow::Result<PathBuf> {
    if program.components().count() > 1 {
        ensure!(is_executable(program), "{} is no executable file", program.display());
        return Ok(std::path::absolute(program)?);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(program));
    match found.into_iter().find(|candidate| is_executable(candidate)) {
        Some(found) => Ok(found),
        None => bail!("{} is not on PATH", program.display()),
    }
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}
