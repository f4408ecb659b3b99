//! `scrape_config_files`: their jobs become jobs of the main file.

use std::fs;
use std::path::{Path, PathBuf};

use crate::reader::string_list;
use crate::schema::{self, TOP};
use crate::yaml::{self, Node};
use crate::{Error, glob, load};

const KEY: &str = "scrape_config_files";

/// One file of `scrape_config_files`.
pub(crate) struct Included {
    pub path: PathBuf,
    /// The folder of its relative paths, relative to the main file's if the pattern is.
    folder: PathBuf,
    pub root: Node,
}

/// Reads the files that the document names. Patterns are expanded relative to `folder`.
pub(crate) fn read(root: &Node, file: &Path, folder: &Path) -> Result<Vec<Included>, Error> {
    let Some(patterns) = entry(root).filter(|node| !node.is_null()) else { return Ok(Vec::new()) };
    let invalid = |what: String| Error::Invalid {
        file: file.to_owned(),
        line: patterns.line,
        key: KEY.to_owned(),
        what,
    };
    let texts =
        string_list(patterns).ok_or_else(|| invalid("has to be a list of strings".to_owned()))?;
    let mut included = Vec::new();
    for pattern in &texts {
        if !crate::discovery::is_pattern(pattern) {
            return Err(invalid(format!("invalid scrape config file path {pattern:?}")));
        }
        let full = schema::join(folder, pattern);
        let paths =
            glob::expand(&full).map_err(|source| Error::Read { path: full.clone(), source })?;
        for path in paths {
            let bytes =
                fs::read(&path).map_err(|source| Error::Read { path: path.clone(), source })?;
            let (root, _) = yaml::parse(load::text(&bytes, &path)?).map_err(|cause| {
                Error::Syntax { file: path.clone(), line: cause.line, what: cause.what }
            })?;
            included.push(Included {
                path,
                folder: Path::new(pattern).parent().unwrap_or(Path::new("")).to_owned(),
                root,
            });
        }
    }
    Ok(included)
}

/// The same document with the jobs of the included files in place of `scrape_config_files`.
pub(crate) fn merge(root: &mut Node, included: Vec<Included>) {
    let Some(entries) = root.raw_entries_mut() else { return };
    entries.retain(|(key, _)| key.scalar() != Some(KEY));
    let mut more = Vec::new();
    for Included { folder, mut root, .. } in included {
        schema::resolve_paths(&mut root, TOP, &folder);
        let Some(Ok(entries)) = root.entries() else { continue };
        for (key, value) in entries {
            if key.scalar() == Some("scrape_configs") {
                more.extend(value.items().unwrap_or_default().to_vec());
            }
        }
    }
    if more.is_empty() {
        return;
    }
    match entries.iter_mut().find(|(key, _)| key.scalar() == Some("scrape_configs")) {
        Some((_, jobs)) => {
            let mut all = jobs.items().unwrap_or_default().to_vec();
            all.extend(more);
            *jobs = Node::sequence(all);
        }
        None => entries.push((Node::key("scrape_configs"), Node::sequence(more))),
    }
}

fn entry(root: &Node) -> Option<&Node> {
    root.raw_entries()?.iter().find(|(key, _)| key.scalar() == Some(KEY)).map(|(_, value)| value)
}
