//! The local backend while another coordinator leads: its shards are listed and left alone, until they are ours.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use svc::child::Supervisor;
use tokio::sync::watch;
use tracing::{info, warn};

use super::record::Record;
use super::{CHILDREN_FILE, Fleet, Local, publish};
use crate::config::LocalConfig;
use crate::events::Events;
use crate::leader::Leadership;

/// How long shards may take to stop.
const STOP_WITHIN: Duration = Duration::from_secs(60);

/// How often the leader's record is read.
const LOOK: Duration = Duration::from_secs(2);

/// A backend that waits for its turn.
pub(super) struct Standby {
    pub(super) data_dir: PathBuf,
    pub(super) config: LocalConfig,
    pub(super) leadership: Leadership,
    pub(super) events: Events,
    pub(super) sender: watch::Sender<Arc<Fleet>>,
}

impl Standby {
    /// Lists the leader's shards until we lead; `false` at shutdown.
    pub(super) async fn wait(&self, shutdown: &svc::Shutdown) -> bool {
        loop {
            match Record::peek(&self.data_dir) {
                Ok(record) => publish(&record, &self.config, &self.sender),
                Err(cause) => {
                    warn!(error = %svc::chain(&cause), "the leader's record of shards is unreadable");
                }
            }
            tokio::select! {
                () = shutdown.triggered() => return false,
                () = self.leadership.leads() => return true,
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    /// Nobody takes over any more what a leader has left that went a moment ago, if this was the last one.
    pub(super) async fn end(&self) {
        if self.config.keep_shards {
            return;
        }
        if let Some(_alone) = self.leadership.folder().leave() {
            svc::child::sweep(&self.data_dir.join(CHILDREN_FILE), STOP_WITHIN).await;
        }
    }

    /// Takes over the processes that run, and starts those that are missing.
    pub(super) async fn take_over(self, shutdown: &svc::Shutdown) -> anyhow::Result<Local> {
        let guard = self.leadership.guard();
        let supervisor = Supervisor::open(&self.data_dir.join(CHILDREN_FILE), shutdown)?;
        let record = Record::open(&self.data_dir)?;
        info!(shards = record.shards().count(), "local shards are ours");
        let mut local = Local {
            shards_dir: self.data_dir.join("shards"),
            config: self.config,
            supervisor,
            record,
            statuses: std::collections::BTreeMap::new(),
            events: self.events,
            sender: self.sender,
            leadership: self.leadership,
            _guard: guard,
        };
        local.stop_foreign_groups().await;
        if let Err(cause) = local.reconcile().await {
            // Whatever was started before the error does not outlive this process.
            local.supervisor.stop_all().await;
            return Err(cause.into());
        }
        Ok(local)
    }
}
