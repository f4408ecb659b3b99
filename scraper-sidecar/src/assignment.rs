//! What a shard is to scrape, and which pushes it takes. Pure.
//!
//! A push names what it leads to: everything, or a change of the version that was applied last, with a digest of the
//! outcome. Whatever of it is lost, repeated or overtaken on the way, a shard holds one of the assignments that the
//! coordinator meant, whole.

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use model::Labels;
use proto::convert::{labels_from_coordination, labels_to_coordination};
use proto::coordination::{self as wire, StopScrape, TargetState};
use proto::push;

use crate::error::{Error, Result};

/// The user's prometheus.yml. It may hold passwords, so it does not print itself.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct UserConfig {
    pub(crate) text: String,
    /// As the coordinator named it; an opaque id here.
    pub(crate) hash: String,
}

impl fmt::Debug for UserConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserConfig").field("text", &"<secret>").field("hash", &self.hash).finish()
    }
}

/// One target of this shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) id: u64,
    pub(crate) job: String,
    pub(crate) labels: Labels,
    pub(crate) state: TargetState,
    /// As the coordinator counted them.
    pub(crate) series: u64,
    /// Series that end an hour, as the coordinator knows it; `None`: it does not.
    pub(crate) churn_per_hour: Option<u32>,
    /// Since when this process has had it without a break, in ms since the epoch. Scrapes before do not count.
    pub(crate) given_ms: i64,
}

/// The whole desired state of the shard, as applied last.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Assignment {
    /// 0 and 0: nothing was assigned yet.
    pub(crate) epoch: u64,
    pub(crate) version: u64,
    pub(crate) config: Option<UserConfig>,
    /// Ascending by id, ids distinct.
    pub(crate) targets: Vec<Target>,
    /// What of it is not to be scraped for now.
    pub(crate) stop: StopScrape,
}

impl Assignment {
    /// Lower-case hex, or "" without a configuration.
    pub(crate) fn config_hash(&self) -> &str {
        self.config.as_ref().map_or("", |config| &config.hash)
    }

    /// Of its targets, as coordinators compute it.
    pub(crate) fn digest(&self) -> u64 {
        push::finish(self.targets.iter().map(|target| {
            push::digest_of(target.id, &target.job, target.state.into(), target.labels.iter())
        }))
    }

    /// Whether the emergency switch keeps a job from being scraped.
    pub(crate) fn is_stopped(&self, job: &str) -> bool {
        self.stop.stops.iter().any(|stop| stop.job.is_empty() || stop.job == job)
    }

    /// By id.
    pub(crate) fn target(&self, id: u64) -> Option<&Target> {
        self.targets.binary_search_by_key(&id, |target| target.id).ok().map(|i| &self.targets[i])
    }
}

/// What to do with a push.
#[derive(Debug, PartialEq)]
pub(crate) enum Decision {
    Stale,
    Unchanged,
    NeedConfig,
    NeedWhole,
    PartTaken,
    Apply(Assignment),
}

/// Whether the coordinator decides about the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Authority {
    /// It sends the configuration.
    Coordinator,
    /// A local file is used whatever the coordinator sends.
    LocalFile,
}

/// Compares a push with what is held. `seen_epoch` is the highest epoch that any push had, `now_ms` the wall clock.
pub(crate) fn decide(
    held: &Assignment,
    seen_epoch: u64,
    push: wire::AssignRequest,
    authority: Authority,
    now_ms: i64,
) -> Result<Decision> {
    let order = (push.epoch, push.version).cmp(&(held.epoch, held.version));
    if push.epoch < seen_epoch || order.is_lt() {
        return Ok(Decision::Stale);
    }
    if order.is_eq() && (held.epoch, held.version) != (0, 0) {
        return Ok(Decision::Unchanged);
    }
    let config = match authority {
        Authority::LocalFile => held.config.clone(),
        Authority::Coordinator if !push.config.is_empty() => {
            Some(config_from_wire(&push.config, push.config_hash)?)
        }
        Authority::Coordinator if held.config_hash() == push.config_hash => held.config.clone(),
        Authority::Coordinator => return Ok(Decision::NeedConfig),
    };
    let is_delta = push.delta.is_some();
    let targets = match push.delta {
        None => targets_from_wire(held, push.targets, now_ms)?,
        Some(delta) if (push.epoch, delta.base_version) != (held.epoch, held.version) => {
            return Ok(Decision::NeedWhole);
        }
        Some(delta) => changed(held, delta, now_ms)?,
    };
    let stop = push.stop.filter(|stop| stop.revision > held.stop.revision);
    let stop = stop.unwrap_or_else(|| held.stop.clone());
    let (epoch, version) = (push.epoch, push.version);
    let next = Assignment { epoch, version, config, targets, stop };
    match push.digest {
        told if told == 0 || told == next.digest() => Ok(Decision::Apply(next)),
        _ if is_delta => Ok(Decision::NeedWhole),
        _ => Err(Error::Malformed("its targets are not those of its digest".to_owned())),
    }
}

/// The targets after a delta, ascending by id.
fn changed(held: &Assignment, delta: wire::Delta, now_ms: i64) -> Result<Vec<Target>> {
    let news = targets_from_wire(held, delta.changed, now_ms)?;
    let mut targets: BTreeMap<u64, Target> =
        held.targets.iter().map(|target| (target.id, target.clone())).collect();
    for id in delta.removed {
        targets.remove(&id);
    }
    targets.extend(news.into_iter().map(|target| (target.id, target)));
    Ok(targets.into_values().collect())
}

fn config_from_wire(bytes: &[u8], hash: String) -> Result<UserConfig> {
    let text = std::str::from_utf8(bytes)
        .map_err(|cause| Error::UserConfig(format!("prometheus.yml is not UTF-8: {cause}")))?;
    Ok(UserConfig { text: text.to_owned(), hash })
}

fn targets_from_wire(
    held: &Assignment,
    targets: Vec<wire::Target>,
    now_ms: i64,
) -> Result<Vec<Target>> {
    let mut seen = HashSet::with_capacity(targets.len());
    let mut out = Vec::with_capacity(targets.len());
    for target in targets {
        let state = target.state();
        let wire::Target { id, job, labels, series, churn_per_hour, .. } = target;
        if !seen.insert(id) {
            return Err(Error::Malformed(format!("target {id} is given twice")));
        }
        let labels = labels_from_coordination(&labels);
        if labels.get("__address__").is_none() || job.is_empty() {
            return Err(Error::Malformed(format!("target {id} has no address or no job")));
        }
        let given_ms = held.target(id).map_or(now_ms, |target| target.given_ms);
        out.push(Target { id, job, labels, state, series, churn_per_hour, given_ms });
    }
    out.sort_by_key(|target| target.id);
    Ok(out)
}

impl From<&Target> for wire::Target {
    fn from(target: &Target) -> Self {
        Self {
            id: target.id,
            job: target.job.clone(),
            labels: labels_to_coordination(&target.labels),
            state: target.state.into(),
            series: target.series,
            churn_per_hour: target.churn_per_hour,
        }
    }
}

#[cfg(test)]
mod tests;
