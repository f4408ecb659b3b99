//! The local backend: per shard three child processes of ours, a Prometheus, a scraper-sidecar and a thanos-sidecar.
//!
//! Which shards there are and on which ports is kept in `local.json`, which processes run in `children.json`: a
//! coordinator that was killed finds its children again. A shard that is removed keeps its data folder.

mod ports;
mod rebuild;
mod record;
mod specs;
mod standby;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::bail;
use svc::child::{Status, Supervisor};
use tokio::sync::watch;
use tracing::{error, info, warn};

use super::{Endpoint, Fleet, Wanted};
use crate::Error;
use crate::config::LocalConfig;
use crate::events::Events;
use crate::leader::{Guard, Leadership};
use crate::plan::ShardId;
use record::{LocalShard, Record};
use specs::{ROLES, Role};
use standby::Standby;

/// Which processes run; see [`svc::child::Supervisor`].
pub(crate) const CHILDREN_FILE: &str = "children.json";

/// How often things are looked at that do not tell: configuration files that a Prometheus waits for.
const QUICK_LOOK: Duration = Duration::from_millis(100);
const SLOW_LOOK: Duration = Duration::from_secs(5);

/// Starts the shards that were there before, and from then on as many as are wanted. While another coordinator leads
/// these are its processes: then they are only listed.
pub(super) async fn start(
    data_dir: &Path,
    config: &LocalConfig,
    wishes: watch::Receiver<Option<Wanted>>,
    leadership: &Leadership,
    events: &Events,
    ctx: &svc::Context,
) -> anyhow::Result<watch::Receiver<Arc<Fleet>>> {
    std::fs::create_dir_all(data_dir)
        .map_err(|source| Error::CreateFolder { path: data_dir.into(), source })?;
    let data_dir =
        data_dir.canonicalize().map_err(|source| Error::Read { path: data_dir.into(), source })?;
    let (sender, receiver) = watch::channel(Arc::default());
    let (shutdown, leadership) = (ctx.shutdown.clone(), leadership.clone());
    let standby = Standby {
        data_dir,
        config: config.clone(),
        leadership: leadership.clone(),
        events: events.clone(),
        sender,
    };
    if leadership.term().is_some() {
        let local = standby.take_over(&shutdown).await?;
        ctx.tasks.spawn("local shards", local.run(wishes, shutdown));
    } else {
        ctx.tasks.spawn("local shards", async move {
            if !standby.wait(&shutdown).await {
                standby.end().await;
                return Ok(());
            }
            standby.take_over(&shutdown).await?.run(wishes, shutdown).await
        });
    }
    Ok(receiver)
}

struct Local {
    shards_dir: PathBuf,
    config: LocalConfig,
    supervisor: Supervisor,
    record: Record,
    /// Of the children, by name, as last seen.
    statuses: BTreeMap<String, Status>,
    events: Events,
    sender: watch::Sender<Arc<Fleet>>,
    leadership: Leadership,
    /// Nobody else leads while these processes are ours.
    _guard: Guard,
}

impl Local {
    async fn run(
        mut self,
        mut wishes: watch::Receiver<Option<Wanted>>,
        shutdown: svc::Shutdown,
    ) -> anyhow::Result<()> {
        let mut changes = self.supervisor.subscribe();
        loop {
            let look = if self.is_waiting() { QUICK_LOOK } else { SLOW_LOOK };
            tokio::select! {
                () = shutdown.triggered() => break,
                () = self.leadership.deposed() => {
                    self.supervisor.release();
                    bail!("another coordinator has taken over the local shards");
                }
                Ok(()) = wishes.changed() => {}
                Ok(()) = changes.changed() => {}
                () = tokio::time::sleep(look) => {}
            }
            let wanted = wishes.borrow_and_update().clone();
            if let Err(cause) = self.turn(wanted.as_ref()).await {
                // A full disk or no more processes: shards that run go on, and the next look tries again.
                error!(error = %svc::chain(&cause), "local shards are not as wanted");
                shutdown.sleep(Duration::from_secs(1)).await;
            }
        }
        self.end().await;
        Ok(())
    }

    /// Whoever is the last one to go stops the shards, unless they are to stay: another one takes them over as they run.
    async fn end(self) {
        if self.config.keep_shards {
            self.supervisor.release();
            info!("shards are left running");
        } else if self.leadership.folder().leave().is_none() {
            self.supervisor.release();
            info!("shards are left running: another coordinator takes them over");
        } else {
            self.supervisor.stop_all().await;
        }
    }

    async fn turn(&mut self, wanted: Option<&Wanted>) -> Result<(), Error> {
        if let Some(wanted) = wanted {
            self.resize(wanted).await?;
        }
        self.reconcile().await
    }

    /// Adds and removes shards at the top of each group.
    async fn resize(&mut self, wanted: &Wanted) -> Result<(), Error> {
        for (group, count) in (0..self.config.replicas).zip(&wanted.counts) {
            for ordinal in self.record.count(group)..*count {
                self.add(ShardId { group, ordinal })?;
            }
            while self.record.count(group) > *count {
                let ordinal = self.record.count(group) - 1;
                let id = ShardId { group, ordinal };
                self.remove(id).await?;
                if wanted.shipped.contains(&id) {
                    self.retire_folder(id)?;
                }
            }
        }
        Ok(())
    }

    /// What is in the bucket must not be scraped on: the next shard of this number begins with an empty folder.
    fn retire_folder(&self, id: ShardId) -> Result<(), Error> {
        let folder = self.folder(id);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let aside = self.shards_dir.join(format!("{id}.shipped-{}", now.as_millis()));
        std::fs::rename(&folder, &aside)
            .map_err(|source| Error::Write { path: aside.clone(), source })?;
        info!(shard = %id, folder = %aside.display(), "data folder of the shard is in the bucket and set aside");
        if self.config.delete_shipped {
            std::fs::remove_dir_all(&aside)
                .map_err(|source| Error::Write { path: aside.clone(), source })?;
            info!(shard = %id, folder = %aside.display(), "data folder deleted, as asked for");
            let message =
                format!("data folder of shard {id} is deleted: all of it is in the bucket");
            self.events.tell("shard_data_deleted", message);
        }
        Ok(())
    }

    fn add(&mut self, id: ShardId) -> Result<(), Error> {
        let fresh = !self.folder(id).exists();
        let ports = ports::free(&self.record.ports(), ROLES.iter().map(|role| role.ports()).sum())?;
        self.record.put(LocalShard::new(id, &ports, fresh));
        self.record.save()?;
        info!(shard = %id, "shard added");
        self.events.tell("shard_added", format!("shard {id} is starting"));
        Ok(())
    }

    async fn remove(&mut self, id: ShardId) -> Result<(), Error> {
        for role in ROLES {
            self.supervisor.stop(&specs::child_name(role, id)).await;
        }
        self.record.remove(id);
        self.record.save()?;
        info!(shard = %id, folder = %self.folder(id).display(), "shard removed, its data stays");
        self.events.tell("shard_removed", format!("shard {id} is stopped; its data stays"));
        Ok(())
    }

    /// After a restart with fewer replica groups: the others' shards are stopped, their data stays.
    async fn stop_foreign_groups(&mut self) {
        for id in
            self.record.ids().filter(|id| id.group >= self.config.replicas).collect::<Vec<_>>()
        {
            if let Err(cause) = self.remove(id).await {
                warn!(shard = %id, error = %svc::chain(&cause), "shard of a removed group not forgotten");
            }
        }
    }

    /// Makes every recorded shard run, and publishes them.
    async fn reconcile(&mut self) -> Result<(), Error> {
        self.replace_taken_ports()?;
        let statuses = self.supervisor.status();
        self.statuses = statuses.into_iter().map(|status| (status.name.clone(), status)).collect();
        for shard in self.record.shards().cloned().collect::<Vec<_>>() {
            self.run_shard(&shard).await?;
        }
        self.publish();
        Ok(())
    }

    async fn run_shard(&self, shard: &LocalShard) -> Result<(), Error> {
        let folder = self.folder(shard.id());
        specs::create_folders(&folder)?;
        for role in ROLES {
            // Prometheus refuses to start without the file that the scraper-sidecar writes.
            if role == Role::Prometheus && !specs::config_file(&folder).exists() {
                continue;
            }
            // Blocks only when the command line has changed, to stop the old one.
            self.supervisor.replace(specs::spec(role, shard, &folder, &self.config)).await?;
        }
        Ok(())
    }

    /// A child that is down and whose port somebody else has taken gets another port.
    fn replace_taken_ports(&mut self) -> Result<(), Error> {
        let mut taken = Vec::new();
        for status in self.supervisor.status().iter().filter(|status| status.pid.is_none()) {
            let Some((role, id)) = specs::parse_child_name(&status.name) else { continue };
            let Some(shard) = self.record.get(id) else { continue };
            for port in shard.ports_of(role).into_iter().filter(|port| !ports::is_free(*port)) {
                taken.push((id, port));
            }
        }
        for (id, port) in taken {
            let free = ports::free(&self.record.ports(), 1)?;
            let Some(free) = free.first().copied() else { continue };
            self.record.replace_port(id, port, free);
            self.record.save()?;
            warn!(shard = %id, port, instead = free, "port is taken, using another one");
            let message =
                format!("port {port} of shard {id} is taken by another process, using {free}");
            self.events.tell("port_replaced", message);
        }
        Ok(())
    }

    /// Whether something is awaited that does not tell when it happens.
    fn is_waiting(&self) -> bool {
        let started = |id| {
            let name = specs::child_name(Role::Prometheus, id);
            self.statuses.contains_key(&name)
        };
        self.record.ids().any(|id| !started(id))
    }

    fn publish(&self) {
        publish(&self.record, &self.config, &self.sender);
    }

    fn folder(&self, id: ShardId) -> PathBuf {
        self.shards_dir.join(id.to_string())
    }
}

/// Shows the shards of a record.
fn publish(record: &Record, config: &LocalConfig, sender: &watch::Sender<Arc<Fleet>>) {
    let uploads = config.objstore_config_file.is_some();
    let endpoints = record.shards().map(|shard| Endpoint {
        id: shard.id(),
        sidecar: specs::address(shard.sidecar_grpc),
        store_api: Some(specs::address(shard.thanos_grpc)),
        prometheus: Some(format!("http://{}", specs::address(shard.prometheus))),
        max_series: None,
        shipper: uploads.then(|| specs::address(shard.thanos_http)),
        fresh: shard.fresh,
    });
    let fleet = Fleet { groups: config.replicas, endpoints: endpoints.collect() };
    sender.send_if_modified(|published| {
        let changed = **published != fleet;
        if changed {
            *published = Arc::new(fleet);
        }
        changed
    });
}

#[cfg(test)]
mod tests;
