//! From text to a checked [`Config`].

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::config::folder_of;
use crate::inline::{self, Included};
use crate::reader::Section;
use crate::schema::{self, TOP};
use crate::yaml::{self, Node};
use crate::{Config, Error, Global, ScrapeConfig, UnknownField};

/// Loads a file, `scrape_config_files` included. Paths in the result are absolute; relative ones started from the
/// folder of the file that holds them.
pub fn load(path: &Path) -> Result<Config, Error> {
    let bytes = fs::read(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    parse(text(&bytes, path)?, path)
}

/// The text of a file, `path`, that has to be UTF-8.
pub fn text<'a>(bytes: &'a [u8], path: &Path) -> Result<&'a str, Error> {
    std::str::from_utf8(bytes).map_err(|cause| {
        let before = &bytes[..cause.valid_up_to()];
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        Error::Syntax { file: path.to_owned(), line, what: "is not UTF-8".to_owned() }
    })
}

/// Like [`load`], with the text of the main file at hand.
pub fn parse(text: &str, path: &Path) -> Result<Config, Error> {
    let (mut root, unknown_fields) = parse_document(text, path)?;
    let included = inline::read(&root, path, &folder_of(path))?;
    let (global, scrape_configs) = read_jobs(&root, path, &included)?;
    let mut unknown_fields = unknown_fields;
    unknown_fields.extend(included.iter().flat_map(|file| schema::unknown_fields(&file.root, TOP)));
    let text = if included.is_empty() {
        text.to_owned()
    } else {
        inline::merge(&mut root, included);
        yaml::emit(&root)
    };
    let hash = Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Config { text, hash, global, scrape_configs, unknown_fields })
}

/// The document with merge keys at its top resolved, and what is unknown in it.
pub(crate) fn parse_document(text: &str, path: &Path) -> Result<(Node, Vec<UnknownField>), Error> {
    let (root, more) = yaml::parse(text).map_err(|cause| Error::Syntax {
        file: path.to_owned(),
        line: cause.line,
        what: cause.what,
    })?;
    let mut unknown_fields = schema::unknown_fields(&root, TOP);
    if more {
        unknown_fields.push(UnknownField {
            path: "<second document>".to_owned(),
            line: text.lines().count(),
        });
    }
    let root = match root.entries() {
        Some(Ok(entries)) => Node { value: yaml::Value::Mapping(entries), ..root },
        None if root.is_null() => Node::mapping(Vec::new()),
        None | Some(Err(_)) => {
            let (line, what) = (root.line, "the configuration has to be a mapping".to_owned());
            return Err(Error::Syntax { file: path.to_owned(), line, what });
        }
    };
    Ok((root, unknown_fields))
}

fn read_jobs(
    root: &Node,
    path: &Path,
    included: &[Included],
) -> Result<(Global, Vec<ScrapeConfig>), Error> {
    let top = Section::open(path, String::new(), root)?;
    for key in ["rule_files", "scrape_config_files"] {
        let invalid = |pattern: &&String| !crate::discovery::is_pattern(pattern);
        if let Some(pattern) = top.strings(key)?.unwrap_or_default().iter().find(invalid) {
            return Err(top.error(key, format!("invalid path {pattern:?}")));
        }
    }
    let global = Global::read(&top)?;
    let mut jobs: Vec<ScrapeConfig> = Vec::new();
    let mut seen: HashMap<String, String> = HashMap::new();
    let mut tops = vec![top];
    for file in included {
        tops.push(Section::open(&file.path, String::new(), &file.root)?);
    }
    for top in &tops {
        let folder = folder_of(top.file());
        for section in top.sections("scrape_configs")? {
            let job = ScrapeConfig::read(&section, &global, &folder)?;
            let place = format!("{}:{}", top.file().display(), section.line_of("job_name"));
            if let Some(first) = seen.insert(job.job_name.clone(), place) {
                let what = format!("job name {:?} is taken, first found at {first}", job.job_name);
                return Err(section.error("job_name", what));
            }
            jobs.push(job);
        }
    }
    Ok((global, jobs))
}

#[cfg(test)]
mod tests;
