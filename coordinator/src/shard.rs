//! The shards: where they come from and how they are spoken to.
//!
//! A backend is a task that publishes the shards that exist and takes how many there should be; what it does about
//! that is its own business. An agent is a task that speaks to one shard, so that a shard that hangs delays nobody.

pub(crate) mod agent;
mod believe;
mod lanes;
mod local;
mod probe;
pub(crate) mod push;
pub(crate) mod shipping;
mod static_list;
pub(crate) mod told;

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::watch;

use crate::config::{BackendConfig, Config};
use crate::events::Events;
use crate::leader::Leadership;
use crate::plan::ShardId;

pub(crate) use local::CHILDREN_FILE;

/// A shard that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) id: ShardId,
    /// `host:port` of the scraper-sidecar's gRPC.
    pub(crate) sidecar: String,
    /// `host:port` of the thanos-sidecar's gRPC.
    pub(crate) store_api: Option<String>,
    /// URL of the Prometheus.
    pub(crate) prometheus: Option<String>,
    /// Most series that it may hold, where that differs from the flag.
    pub(crate) max_series: Option<u64>,
    /// `host:port` of the thanos-sidecar's HTTP, where that uploads blocks.
    pub(crate) shipper: Option<String>,
    /// Whether it was just made: it holds nothing.
    pub(crate) fresh: bool,
}

/// What the backend publishes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Fleet {
    /// Replica groups that there are to be.
    pub(crate) groups: u32,
    /// Ascending by id.
    pub(crate) endpoints: Vec<Endpoint>,
}

/// How many shards there are to be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// By group.
    pub(crate) counts: Vec<u32>,
    /// Shards that are not wanted any more and whose data is in the bucket, all of it.
    pub(crate) shipped: BTreeSet<ShardId>,
}

/// A running backend.
#[derive(Debug)]
pub(crate) struct Backend {
    pub(crate) fleet: watch::Receiver<Arc<Fleet>>,
    /// `None` until the first plan.
    pub(crate) wanted: watch::Sender<Option<Wanted>>,
}

impl Backend {
    /// Starts the configured backend.
    pub(crate) async fn start(
        config: &Config,
        leadership: &Leadership,
        events: &Events,
        ctx: &svc::Context,
    ) -> anyhow::Result<Self> {
        let (wanted, wishes) = watch::channel(None);
        let fleet = match &config.backend {
            BackendConfig::Local(local) => {
                local::start(&config.data_dir, local, wishes, leadership, events, ctx).await?
            }
            BackendConfig::Static { file } => static_list::start(file, ctx).await?,
        };
        Ok(Self { fleet, wanted })
    }
}
