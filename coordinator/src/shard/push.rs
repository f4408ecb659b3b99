//! An assignment on its way to a shard.

use std::sync::Arc;

use proto::coordination::{AssignRequest, ReportResponse, StopScrape, Target};
use proto::push;

/// What a shard is to hold, and what it was last known to hold.
#[derive(Debug)]
pub(crate) struct Push {
    pub(crate) epoch: u64,
    pub(crate) version: u64,
    pub(crate) config: Arc<promconf::Config>,
    /// Whether the shard is known to have another configuration.
    pub(crate) with_config: bool,
    pub(crate) targets: Vec<Target>,
    pub(crate) stop: StopScrape,
    /// What the shard has reported, or taken since.
    pub(crate) held: Arc<ReportResponse>,
}

impl Push {
    /// Of its targets.
    pub(crate) fn digest(&self) -> u64 {
        push::digest(&self.targets)
    }

    /// The messages, in order: the difference to what the shard holds, unless it holds that from another epoch or the
    /// `whole` is asked for.
    pub(crate) fn messages(&self, with_config: bool, whole: bool) -> Vec<AssignRequest> {
        let mut request = AssignRequest {
            epoch: self.epoch,
            version: self.version,
            config_hash: self.config.hash.clone(),
            ..AssignRequest::default()
        };
        if with_config {
            request.config = self.config.text.clone().into();
        }
        if self.held.protocol < push::PROTOCOL {
            // It knows one message with everything, and nothing else.
            request.targets.clone_from(&self.targets);
            return vec![request];
        }
        request.digest = self.digest();
        request.stop = Some(self.stop.clone());
        if whole || self.held.epoch != self.epoch {
            request.targets.clone_from(&self.targets);
        } else {
            let held = self.held.targets.iter().filter_map(|held| held.target.as_ref());
            request.delta = Some(push::delta(self.held.version, held, &self.targets));
        }
        push::messages(request, push::PART_BYTES)
    }
}
