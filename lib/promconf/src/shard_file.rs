//! The configuration of one shard: the user's, with discovery replaced by files of targets that are relabelled already.
//!
//! All else stays as it was written: text of scalars, tags, keys that we do not know, merge keys. What Prometheus makes
//! of the result is what it makes of the user's file, with these edits:
//!
//! - each job's `static_configs` and `*_sd_configs` become one `file_sd_configs` entry, its `relabel_configs` go; a job
//!   with `params` gets one rule of ours, so that they do not hide a target's own parameters;
//! - jobs of `scrape_config_files` stand in the file itself;
//! - relative paths are absolute;
//! - `global.external_labels` has the shard's labels, and `$(VAR)` in its values is expanded.
//!
//! Known edges: Prometheus fills in `job`, `__metrics_path__` and `__scheme__` where a target has none, so a rule of the
//! user that removes one of them, and sets no other, has no effect on a shard. A label name outside
//! `[a-zA-Z_][a-zA-Z0-9_]*` in a file of targets makes Prometheus 2 refuse that file.

mod external_labels;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;

use model::Labels;

use crate::schema::{self, TOP};
use crate::target::{ADDRESS, PARAM_PREFIX};
use crate::yaml::{self, Node, Value};
use crate::{Error, inline, load};

/// How the user's file is changed for one shard.
pub struct Edits<'a> {
    /// Absolute; where the files of targets are.
    pub targets_dir: &'a Path,
    /// External labels to add; one that the user has set stays the user's.
    pub labels: &'a [(String, String)],
    /// Environment variables for `$(VAR)` in external labels. `${VAR}` and `$VAR` are Prometheus' own syntax, and left
    /// to it.
    pub env: &'a dyn Fn(&str) -> Option<String>,
    /// Absolute; where relative paths start.
    pub config_dir: &'a Path,
}

/// How often Prometheus reads the files of targets when it misses a change of them.
const REFRESH: &str = "1m";

/// A parameter of a target under a name that the job's own `params` do not overwrite: before 3.0 Prometheus lets their
/// first value win over a `__param_*` label. A rule of the generated job puts it where it belongs.
pub const OWN_PARAM_PREFIX: &str = "__shoal_param_";

/// Rewrites the user's file, `text`, for one shard; `path` is what errors call it. The same input gives the same output.
pub fn rewrite(text: &str, path: &Path, edits: &Edits<'_>) -> Result<String, Error> {
    let (mut root, _) = load::parse_document(text, path)?;
    let included = inline::read(&root, path, edits.config_dir)?;
    inline::merge(&mut root, included);
    schema::resolve_paths(&mut root, TOP, edits.config_dir);
    if let Some(entries) = root.raw_entries_mut() {
        external_labels::edit(entries, path, edits)?;
        let jobs = entries.iter_mut().find(|(key, _)| key.scalar() == Some("scrape_configs"));
        if let Some((_, Node { value: Value::Sequence(jobs), .. })) = jobs {
            for (i, job) in jobs.iter_mut().enumerate() {
                replace_discovery(job, edits.targets_dir).ok_or_else(|| Error::Invalid {
                    file: path.to_owned(),
                    line: job.line,
                    key: format!("scrape_configs[{i}].job_name"),
                    what: "is empty".to_owned(),
                })?;
            }
        }
    }
    Ok(yaml::emit(&root))
}

/// The name of a job's file of targets: readable, and distinct for distinct jobs.
#[must_use]
pub fn targets_file_name(job: &str) -> String {
    let readable: String = job
        .chars()
        .take(64)
        .map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' })
        .collect();
    format!("{readable}-{:016x}.json", xxhash_rust::xxh64::xxh64(job.as_bytes(), 0))
}

/// A file of targets for file discovery: one group a target, sorted.
pub fn targets_file<'a>(targets: impl Iterator<Item = &'a Labels>) -> String {
    let mut targets: Vec<&Labels> = targets.collect();
    targets.sort_by(|a, b| (a.value(ADDRESS), a).cmp(&(b.value(ADDRESS), b)));
    let mut out = String::from("[");
    for (i, target) in targets.into_iter().enumerate() {
        out.push_str(if i > 0 { ",\n" } else { "\n" });
        let own_params = target.iter().filter_map(|(name, value)| {
            Some((format!("{OWN_PARAM_PREFIX}{}", name.strip_prefix(PARAM_PREFIX)?), value))
        });
        let labels: BTreeMap<String, &str> = target
            .iter()
            .filter(|(name, _)| *name != ADDRESS)
            .map(|(name, value)| (name.to_owned(), value))
            .chain(own_params)
            .collect();
        let group = serde_json::json!({ "targets": [target.value(ADDRESS)], "labels": labels });
        out.push_str(&group.to_string());
    }
    out.push_str(if out.len() > 1 { "\n]\n" } else { "]\n" });
    out
}

/// `None` when the job has no name.
fn replace_discovery(job: &mut Node, targets_dir: &Path) -> Option<()> {
    let effective = job.entries()?.ok()?;
    let (_, name) = effective.iter().find(|(key, _)| key.scalar() == Some("job_name"))?;
    let file = targets_dir.join(targets_file_name(name.scalar().filter(|name| !name.is_empty())?));
    let has_params = effective.iter().any(|(key, params)| {
        key.scalar() == Some("params") && params.raw_entries().is_some_and(|all| !all.is_empty())
    });
    let entries = job.raw_entries_mut()?;
    remove_discovery(entries);
    let files = Node::sequence(vec![Node::string(file.to_string_lossy())]);
    let provider = Node::mapping(vec![
        (Node::key("files"), files),
        (Node::key("refresh_interval"), Node::key(REFRESH)),
    ]);
    entries.push((Node::key("file_sd_configs"), Node::sequence(vec![provider])));
    if has_params {
        let rule = Node::mapping(vec![
            (Node::key("action"), Node::key("labelmap")),
            (Node::key("regex"), Node::string(format!("{OWN_PARAM_PREFIX}(.+)"))),
            (Node::key("replacement"), Node::string(format!("{PARAM_PREFIX}$1"))),
        ]);
        entries.push((Node::key("relabel_configs"), Node::sequence(vec![rule])));
    }
    Some(())
}

/// Removes discovery and relabelling from a job, and from what is merged into it.
fn remove_discovery(entries: &mut Vec<(Node, Node)>) {
    let goes = |key: &Node| {
        key.scalar().is_some_and(|key| {
            key == "relabel_configs" || key == "static_configs" || key.ends_with("_sd_configs")
        })
    };
    entries.retain(|(key, _)| !goes(key));
    for (_, merged) in entries.iter_mut().filter(|(key, _)| key.is_merge_key()) {
        match &mut merged.value {
            Value::Mapping(entries) => remove_discovery(entries),
            Value::Sequence(items) => {
                items.iter_mut().filter_map(Node::raw_entries_mut).for_each(remove_discovery)
            }
            Value::Scalar { .. } => {}
        }
    }
}
