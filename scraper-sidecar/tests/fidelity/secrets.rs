//! Where secrets may be, and where they may not.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use regex::Regex;
use serde_json::Value;
use tracing_subscriber::fmt::MakeWriter;

use crate::coordinated::Coordinated;
use crate::corpus::Copy;
use crate::shard::Shard;

/// All log lines of this process, down to the finest of ours.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// From now on; once a process.
    pub(crate) fn capture() -> Self {
        let log = Self::default();
        tracing_subscriber::fmt()
            .with_env_filter(
                "debug,scraper_sidecar=trace,promconf=trace,svc=trace,h2=info,hyper=info,hyper_util=info",
            )
            .with_writer(log.clone())
            .init();
        log
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock()).into_owned()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Every secret in a text: those of configurations, of files, and private keys.
pub(crate) fn in_text(text: &str) -> BTreeSet<String> {
    let marks = Regex::new(r"f?s3cret-[A-Za-z0-9-]+|MIGH[A-Za-z0-9+/=]+").unwrap();
    marks.find_iter(text).map(|mark| mark.as_str().to_owned()).collect()
}

/// Nothing but the configuration holds a secret, and that only where the user has put it.
pub(crate) async fn check(copy: &Copy, system: &Coordinated) {
    check_config(&copy.name, &copy.config_file(), system).await;
}

/// The same for a file of any name.
pub(crate) async fn check_config(name: &str, file: &Path, system: &Coordinated) {
    let config = promconf::load(file).unwrap();
    let before = places(&config.text);
    for path in system.files() {
        let found = in_text(&String::from_utf8_lossy(&fs::read(&path).unwrap()));
        if path.ends_with("prometheus.yml") {
            // Of the Prometheus that answers for a discovery kind that we do not have.
            assert!(found.is_subset(&in_text(&config.text)), "{name}: {}", path.display());
            assert_eq!(mode(&path), 0o600, "{name}: {}", path.display());
        } else {
            assert_eq!(found, BTreeSet::new(), "{name}: {}", path.display());
        }
    }
    for path in system.shards.iter().flat_map(Shard::files) {
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(mode(&path), 0o600, "{name}: {}", path.display());
        let file = path.file_name().unwrap().to_string_lossy().into_owned();
        if file == "assignment.json" {
            check_assignment(&text, &config.text);
        } else if file.ends_with(".yml") {
            let new: Vec<_> = places(&text).difference(&before).cloned().collect();
            assert!(new.is_empty(), "{name}: {file} has secrets in {new:?}");
        } else {
            assert_eq!(in_text(&text), BTreeSet::new(), "{name}: {file}");
        }
    }
    assert_eq!(in_text(&system.said().await), BTreeSet::new(), "{name}: reports and pages");
    assert_eq!(in_text(&format!("{config:?}")), BTreeSet::new(), "{name}: debug output");
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// What a shard was sent, as it keeps it: the configuration as the user has written it, and no secret beside it.
fn check_assignment(text: &str, config: &str) {
    let (_, assignment) = text.split_once('\n').unwrap();
    let mut assignment: Value = serde_json::from_str(assignment).unwrap();
    assert_eq!(assignment["config"]["text"], config);
    assignment["config"]["text"].take();
    assert_eq!(in_text(&assignment.to_string()), BTreeSet::new(), "beside the configuration");
}

/// Each secret with the keys that lead to it, without positions in lists.
fn places(text: &str) -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    let value: Value = serde_saphyr::from_str(text).unwrap();
    collect(&value, "", &mut found);
    found
}

fn collect(value: &Value, path: &str, found: &mut BTreeSet<(String, String)>) {
    match value {
        Value::Object(entries) => {
            for (key, value) in entries {
                collect(value, &format!("{path}.{key}"), found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, path, found)),
        Value::String(text) => {
            found.extend(in_text(text).into_iter().map(|secret| (path.to_owned(), secret)));
        }
        _ => {}
    }
}
