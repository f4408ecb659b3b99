//! The assignment, rebuilt from the files that Prometheus scrapes by: what is done when the persisted one is lost. Where
//! such a file is broken, too, Prometheus itself says what it scrapes: it goes on with what it has read last.
//!
//! A target's files say all but its state, so each comes back as owned, and the user's configuration is lost: the
//! generated one stays in place until the coordinator has sent the user's again. Nothing that is scraped stops being
//! scraped; what two shards then own is for the coordinator to settle.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use model::Labels;
use promconf::shard_file::{OWN_PARAM_PREFIX, targets_file_name};
use promconf::target::{ADDRESS, PARAM_PREFIX, TARGET_ID};
use proto::coordination::TargetState;
use serde::Deserialize;
use svc::chain;
use tracing::{error, warn};

use crate::assignment::Target;
use crate::config::Config;
use crate::files;
use crate::prometheus::{Discovered, Prometheus};
use crate::rollout::LAST_GOOD;

/// Where Prometheus' file discovery says which file a target comes from.
const FILE_PATH: &str = "__meta_filepath";

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

/// What Prometheus scrapes, as it says; nothing when it does not answer. A new shard's is not asked.
pub(crate) async fn scraped(config: &Config, prometheus: &Prometheus) -> Vec<Discovered> {
    if !config.output_file.exists() && !config.data_dir.join(LAST_GOOD).exists() {
        return Vec::new();
    }
    match prometheus.discovered().await {
        Ok(scraped) => scraped,
        Err(cause) => {
            warn!(error = %chain(&cause), "prometheus does not say what it scrapes");
            Vec::new()
        }
    }
}

/// Reads Prometheus' configuration and the files of targets that belong to it, and completes them from what is
/// `scraped`; `None` when there is nothing to read.
pub(crate) fn from_files(
    config: &Config,
    scraped: &[Discovered],
    now_ms: i64,
) -> Option<Recovered> {
    let last_good = config.data_dir.join(LAST_GOOD);
    let (rendered, parsed) = [&config.output_file, &last_good].into_iter().find_map(read_config)?;
    let folder = files::targets_dir(config);
    let mut targets = Vec::new();
    for job in &parsed.scrape_configs {
        let file = folder.join(targets_file_name(&job.job_name));
        match read_job(&file, &job.job_name, now_ms) {
            Some(read) => targets.extend(read),
            None => targets.extend(scraped_of(scraped, &job.job_name, now_ms)),
        }
    }
    targets.sort_by_key(|target| target.id);
    targets.dedup_by_key(|target| target.id);
    (!targets.is_empty()).then(|| {
        warn!(targets = targets.len(), "assignment rebuilt from prometheus' files");
        Recovered { targets, rendered }
    })
}

/// A generated configuration, as text and read.
fn read_config(path: &PathBuf) -> Option<(String, promconf::Config)> {
    let rendered = std::fs::read_to_string(path).ok()?;
    let parsed = promconf::parse(&rendered, path)
        .inspect_err(|cause| error!(error = %chain(cause), "prometheus' file cannot be read back"))
        .ok()?;
    Some((rendered, parsed))
}

/// `None` when there is no file (as for a job without targets), or a broken one.
fn read_job(file: &Path, job: &str, now_ms: i64) -> Option<Vec<Target>> {
    let text = std::fs::read(file).ok()?;
    let groups: Vec<Group> = serde_json::from_slice(&text)
        .inspect_err(|cause| {
            error!(file = %file.display(), error = %cause, "file of targets cannot be read back");
        })
        .ok()?;
    let targets = groups.into_iter().filter_map(|group| {
        let [address] = group.targets.as_slice() else { return None };
        let address = [(ADDRESS.to_owned(), address.clone())];
        target(group.labels.into_iter().chain(address), job, now_ms)
    });
    Some(targets.collect())
}

fn scraped_of<'a>(
    scraped: &'a [Discovered],
    job: &'a str,
    now_ms: i64,
) -> impl Iterator<Item = Target> + 'a {
    let of_job = scraped.iter().filter(move |target| target.scrape_pool == job);
    // The job's own parameters are among them: what the target had stands beside them under another name.
    let is_given = |name: &str| name != FILE_PATH && !name.starts_with(PARAM_PREFIX);
    of_job.filter_map(move |found| {
        let labels = found.labels.iter().filter(|(name, _)| is_given(name));
        target(labels.map(|(name, value)| (name.clone(), value.clone())), job, now_ms)
    })
}

/// A target from the labels that its file has, its address among them, or from what Prometheus has made of them.
fn target(
    labels: impl Iterator<Item = (String, String)>,
    job: &str,
    now_ms: i64,
) -> Option<Target> {
    let mut labels: BTreeMap<String, String> = labels.collect();
    let id = labels.remove(TARGET_ID)?.parse().ok()?;
    let own_params: Vec<(String, String)> = labels
        .iter()
        .filter_map(|(name, value)| {
            let name = name.strip_prefix(OWN_PARAM_PREFIX)?;
            Some((format!("{PARAM_PREFIX}{name}"), value.clone()))
        })
        .collect();
    labels.retain(|name, _| !name.starts_with(OWN_PARAM_PREFIX));
    labels.extend(own_params);
    Some(Target {
        id,
        job: job.to_owned(),
        labels: Labels::from_pairs(labels),
        state: TargetState::Active,
        series: 0,
        churn_per_hour: None,
        given_ms: now_ms,
    })
}
