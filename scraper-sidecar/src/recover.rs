//! The assignment, rebuilt from the files that Prometheus scrapes by: what is done when the persisted one is lost.
//!
//! A target's files say all but its state, so each comes back as owned, and the user's configuration is lost: the
//! generated one stays in place until the coordinator has sent the user's again. Nothing that is scraped stops being
//! scraped; what two shards then own is for the coordinator to settle.

use std::collections::BTreeMap;
use std::path::Path;

use model::Labels;
use promconf::shard_file::{OWN_PARAM_PREFIX, targets_file_name};
use promconf::target::{ADDRESS, TARGET_ID};
use proto::coordination::TargetState;
use serde::Deserialize;
use svc::chain;
use tracing::{error, warn};

use crate::assignment::Target;
use crate::config::Config;
use crate::files;

/// What the files say.
#[derive(Debug, PartialEq)]
pub(crate) struct Recovered {
    /// Ascending by id, ids distinct.
    pub(crate) targets: Vec<Target>,
    /// The generated configuration.
    pub(crate) rendered: String,
}

#[derive(Deserialize)]
struct Group {
    targets: Vec<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

/// Reads Prometheus' configuration and the files of targets that belong to it; `None` when there is nothing to read.
pub(crate) fn from_files(config: &Config, now_ms: i64) -> Option<Recovered> {
    let path = &config.output_file;
    let rendered = std::fs::read_to_string(path).ok()?;
    let parsed = promconf::parse(&rendered, path)
        .inspect_err(|cause| error!(error = %chain(cause), "prometheus' file cannot be read back"))
        .ok()?;
    let folder = files::targets_dir(config);
    let mut targets = Vec::new();
    for job in &parsed.scrape_configs {
        let file = folder.join(targets_file_name(&job.job_name));
        targets.extend(read_job(&file, &job.job_name, now_ms));
    }
    targets.sort_by_key(|target| target.id);
    targets.dedup_by_key(|target| target.id);
    (!targets.is_empty()).then(|| {
        warn!(targets = targets.len(), "assignment rebuilt from prometheus' files");
        Recovered { targets, rendered }
    })
}

fn read_job(file: &Path, job: &str, now_ms: i64) -> Vec<Target> {
    // A job without targets has no file.
    let Ok(text) = std::fs::read(file) else { return Vec::new() };
    let groups: Vec<Group> = match serde_json::from_slice(&text) {
        Ok(groups) => groups,
        Err(cause) => {
            error!(file = %file.display(), error = %cause, "file of targets cannot be read back");
            return Vec::new();
        }
    };
    groups.into_iter().filter_map(|group| target(group, job, now_ms)).collect()
}

fn target(group: Group, job: &str, now_ms: i64) -> Option<Target> {
    let [address] = group.targets.as_slice() else { return None };
    let id = group.labels.get(TARGET_ID)?.parse().ok()?;
    let labels = group
        .labels
        .iter()
        .filter(|(name, _)| *name != TARGET_ID && !name.starts_with(OWN_PARAM_PREFIX))
        .map(|(name, value)| (name.as_str(), value.as_str()));
    Some(Target {
        id,
        job: job.to_owned(),
        labels: Labels::from_pairs(labels.chain([(ADDRESS, address.as_str())])),
        state: TargetState::Active,
        series: 0,
        given_ms: now_ms,
    })
}
