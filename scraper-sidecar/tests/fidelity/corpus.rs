//! The corpus, and copies of it whose hosts, ports and durations suit a test.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use regex::{Captures, Regex};
use tempfile::TempDir;

/// A host of the corpus, perhaps with a port.
const HOST: &str =
    r"(?P<host>\b(?:[a-z0-9-]+\.)+example|\b10(?:\.[0-9]{1,3}){3})(?::(?P<port>[0-9]{2,5}))?\b";

/// The names of all files, without `.yml`, sorted.
pub(crate) fn names() -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder())
        .unwrap()
        .filter_map(|entry| {
            Some(entry.unwrap().file_name().to_str()?.strip_suffix(".yml")?.to_owned())
        })
        .collect();
    names.sort();
    names
}

/// Where the corpus is.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/corpus")
}

/// Where a file in older words would be.
pub(crate) fn by_hand(name: &str) -> String {
    format!("by-hand/{name}.yml")
}

/// Every port that the corpus has behind a host.
pub(crate) fn ports() -> BTreeSet<String> {
    let host = Regex::new(HOST).unwrap();
    let mut ports = BTreeSet::new();
    for path in files(&folder()) {
        let text = fs::read_to_string(&path).unwrap();
        ports.extend(
            host.captures_iter(&text).filter_map(|c| Some(c.name("port")?.as_str().to_owned())),
        );
    }
    ports
}

/// A copy of the whole corpus in a folder of its own.
pub(crate) struct Copy {
    pub(crate) name: String,
    pub(crate) folder: TempDir,
    /// `127.<n>.`: what the addresses of all its hosts begin with.
    pub(crate) prefix: String,
}

impl Copy {
    /// As it stands, for `promtool`, but for a variable that is there.
    pub(crate) fn plain(name: &str) -> Self {
        Self::new(name, "192.0.", |_, text| text.replace("POD_NAME", "CARGO_PKG_NAME"))
    }

    /// Hosts become loopback addresses that begin with `127.<n>.`, ports as given, scrapes follow each other quickly,
    /// and `$(POD_NAME)` becomes a variable that is there.
    pub(crate) fn live(name: &str, n: usize, ports: &BTreeMap<String, u16>) -> Self {
        let prefix = format!("127.{n}.");
        let rules = Rules::new(ports);
        let mut hosts = BTreeMap::new();
        Self::new(name, &prefix, |path, text| {
            if path
                .components()
                .any(|part| matches!(part.as_os_str().to_str(), Some("secrets" | "tls")))
            {
                return text.to_owned();
            }
            rules.apply(text, &prefix, &mut hosts)
        })
    }

    fn new(name: &str, prefix: &str, mut edit: impl FnMut(&Path, &str) -> String) -> Self {
        let copy = tempfile::tempdir().unwrap();
        let from = folder();
        for path in files(&from) {
            let relative = path.strip_prefix(&from).unwrap();
            let main = relative.components().count() == 1;
            if main && relative.file_stem().is_none_or(|stem| stem != name) {
                continue;
            }
            let to = copy.path().join(relative);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            let text = edit(relative, &fs::read_to_string(&path).unwrap());
            fs::write(to, text).unwrap();
        }
        Self { name: name.to_owned(), folder: copy, prefix: prefix.to_owned() }
    }

    pub(crate) fn config_file(&self) -> PathBuf {
        self.folder.path().join(format!("{}.yml", self.name))
    }

    /// What a Prometheus is given to compare with: the file itself, or one that says the same in older words.
    pub(crate) fn original(&self) -> PathBuf {
        let by_hand = self.folder.path().join(by_hand(&self.name));
        if by_hand.exists() { by_hand } else { self.config_file() }
    }
}

struct Rules<'a> {
    host: Regex,
    port: Regex,
    duration: Regex,
    ports: &'a BTreeMap<String, u16>,
}

impl<'a> Rules<'a> {
    fn new(ports: &'a BTreeMap<String, u16>) -> Self {
        let any_port: Vec<&str> = ports.keys().map(String::as_str).collect();
        Self {
            host: Regex::new(HOST).unwrap(),
            port: Regex::new(&format!(r"\b(?:{})\b", any_port.join("|"))).unwrap(),
            duration: Regex::new(r#"(?P<key>\w+)(?P<between>["']?:\s*(?:&\w+\s+)?["']?)(?P<n>[0-9]+)(?P<unit>[sm])\b"#)
                .unwrap(),
            ports,
        }
    }

    fn apply(&self, text: &str, prefix: &str, hosts: &mut BTreeMap<String, usize>) -> String {
        // Ports first: an address may look like one of them.
        let text = self.port.replace_all(text, |c: &Captures<'_>| self.ports[&c[0]].to_string());
        let text = self.host.replace_all(&text, |c: &Captures<'_>| {
            let next = hosts.len() + 1;
            let n = *hosts.entry(c["host"].to_owned()).or_insert(next);
            let port = c.name("port").map_or(String::new(), |port| format!(":{}", port.as_str()));
            format!("{prefix}0.{n}{port}")
        });
        let text = self.duration.replace_all(&text, |c: &Captures<'_>| {
            let n: u64 = c["n"].parse().unwrap();
            let seconds = if &c["unit"] == "m" { 60 * n } else { n };
            // Different durations stay different, and a timeout stays below its interval.
            let base = if c["key"].contains("timeout") { 1900 } else { 2000 };
            format!("{}{}{}ms", &c["key"], &c["between"], base + seconds)
        });
        text.replace("POD_NAME", "CARGO_PKG_NAME")
    }
}

/// Every file below a folder but those for people.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_none_or(|ending| ending != "md") {
            found.push(path);
        }
    }
    found.sort();
    found
}
