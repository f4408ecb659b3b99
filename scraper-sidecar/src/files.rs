//! Prometheus' files: what is in them, and how they get onto the disk.
//!
//! Everything is written whole or not at all, mode 0600: the configuration may hold passwords, targets may hold tokens
//! in `__param_*`. Prometheus therefore has to run as the same user.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use model::Labels;
use promconf::shard_file::{self, Edits};
use promconf::target::TARGET_ID;
use svc::durable;

use crate::assignment::{Assignment, UserConfig};
use crate::config::{Config, ConfigSource};
use crate::error::{Error, Result};

/// What a configuration sent by the coordinator is called in errors.
const PUSHED_NAME: &str = "prometheus.yml";

/// An existing file and a new one get the same content in different ways; this says which way it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Written {
    Changed,
    AsBefore,
}

/// Where the files of targets are; below the data folder.
pub(crate) fn targets_dir(config: &Config) -> PathBuf {
    config.data_dir.join("targets")
}

/// Makes the folders that everything else is written to.
pub(crate) fn make_folders(config: &Config) -> Result<()> {
    let targets = targets_dir(config);
    fs::create_dir_all(&targets).map_err(Error::write(&targets))?;
    let output = config.output_file.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(output).map_err(Error::write(output))
}

/// The shard's prometheus.yml, from the user's; without one, a configuration that scrapes nothing but has the shard's
/// external labels, so that Prometheus (and what reads its labels) can start.
pub(crate) fn render_config(config: &Config, user: Option<&UserConfig>) -> Result<String> {
    let text = user.map_or("", |user| user.text.as_str());
    let path = match &config.source {
        ConfigSource::Pushed { base_dir } => base_dir.join(PUSHED_NAME),
        ConfigSource::File(path) => path.clone(),
    };
    let broken = |error: promconf::Error| Error::UserConfig(svc::chain(&error));
    promconf::parse(text, &path).map_err(broken)?;
    let env = |name: &str| std::env::var(name).ok();
    let edits = Edits {
        targets_dir: &targets_dir(config),
        labels: &config.labels,
        env: &env,
        config_dir: config.source.base_dir(),
    };
    shard_file::rewrite(text, &path, &edits).map_err(broken)
}

/// The files of targets, by name: one a job, empty where the emergency switch has stopped the job.
pub(crate) fn render_targets(assignment: &Assignment) -> BTreeMap<String, String> {
    let mut jobs: BTreeMap<&str, Vec<Labels>> = BTreeMap::new();
    for target in &assignment.targets {
        let mut labels = target.labels.to_builder();
        labels.set(TARGET_ID, target.id.to_string());
        let listed = jobs.entry(&target.job).or_default();
        if !assignment.is_stopped(&target.job) {
            listed.push(labels.build());
        }
    }
    jobs.into_iter()
        .map(|(job, targets)| {
            (shard_file::targets_file_name(job), shard_file::targets_file(targets.iter()))
        })
        .collect()
}

/// Brings the folder of targets to `files`: writes what differs, removes what is gone. Returns how many files it
/// touched.
pub(crate) fn write_targets(folder: &Path, files: &BTreeMap<String, String>) -> Result<usize> {
    let mut touched = 0;
    for (name, content) in files {
        let written = write_if_changed(&folder.join(name), content)?;
        touched += usize::from(written == Written::Changed);
    }
    for entry in fs::read_dir(folder).map_err(Error::read(folder))? {
        let path = entry.map_err(Error::read(folder))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !files.contains_key(&name) && (name.ends_with(".json") || name.ends_with(".json.tmp")) {
            fs::remove_file(&path).map_err(Error::write(&path))?;
            touched += 1;
        }
    }
    Ok(touched)
}

/// Leaves a file alone that has this content already.
pub(crate) fn write_if_changed(path: &Path, content: &str) -> Result<Written> {
    match fs::read(path) {
        Ok(held) if held == content.as_bytes() => return Ok(Written::AsBefore),
        Ok(_) => {}
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => {}
        Err(cause) => return Err(Error::read(path)(cause)),
    }
    durable::write_with_mode(path, content.as_bytes(), durable::PRIVATE)
        .map_err(Error::write(path))?;
    Ok(Written::Changed)
}

#[cfg(test)]
mod tests;
