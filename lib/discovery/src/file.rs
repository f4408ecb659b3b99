//! `file_sd_configs` (Prometheus discovery/file).

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use promconf::{TargetGroup, glob, parse_target_groups_json, parse_target_groups_yaml};
use svc::{Shutdown, chain};
use tokio::sync::Notify;

use crate::manager::{ErrorLog, Outlet};
use crate::state::{Answer, shared, shared_with};
use crate::watch::Watch;

/// Longest file that is read, in bytes.
const MAX_FILE: u64 = 64 << 20;
/// After a change, more changes are awaited that long: files are seldom written alone.
const SETTLE: Duration = Duration::from_millis(50);
const FILEPATH: &str = "__meta_filepath";

/// What was last read of each file.
type Known = BTreeMap<PathBuf, Vec<Arc<TargetGroup>>>;

#[derive(Debug, thiserror::Error)]
enum FileError {
    #[error("read {}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{} is longer than {MAX_FILE} bytes", path.display())]
    TooLong { path: PathBuf },
    #[error(transparent)]
    Content(#[from] promconf::Error),
}

/// Reads the files at once, whenever their folders change, and every `refresh_interval`.
pub(crate) async fn run(
    patterns: Vec<PathBuf>,
    refresh_interval: Duration,
    watch: Arc<Watch>,
    outlet: Outlet,
    stop: Shutdown,
) {
    let changed = Arc::new(Notify::new());
    let mut known = Known::new();
    let mut log = ErrorLog::default();
    loop {
        // First watch, then read: a change in between is seen by one of them.
        for folder in patterns.iter().filter_map(|pattern| pattern.parent()) {
            watch.listen(folder, &changed);
        }
        let job = patterns.clone();
        let read = tokio::task::spawn_blocking(move || read_all(&job, known));
        let Some(Ok((read, errors))) = stop.until(read).await else { return };
        known = read;
        log.note(&errors);
        let groups = known.values().flatten().cloned().collect();
        if stop.until(outlet.send(Answer { groups: Some(groups), errors })).await.is_none() {
            return;
        }
        let next = async {
            tokio::select! {
                () = changed.notified() => tokio::time::sleep(SETTLE).await,
                () = tokio::time::sleep(refresh_interval) => {}
            }
        };
        if stop.until(next).await.is_none() {
            return;
        }
    }
}

/// A file that cannot be read keeps what was last read of it; one that is gone is forgotten.
fn read_all(patterns: &[PathBuf], mut known: Known) -> (Known, Vec<String>) {
    let mut fresh = Known::new();
    let mut errors = Vec::new();
    for pattern in patterns {
        let paths = match glob::expand(pattern) {
            Ok(paths) => paths,
            Err(source) => {
                let error = FileError::Read { path: pattern.clone(), source };
                errors.push(chain(&error).to_string());
                known.keys().filter(|path| path.parent() == pattern.parent()).cloned().collect()
            }
        };
        for path in paths {
            if fresh.contains_key(&path) {
                continue;
            }
            let before = known.remove(&path).unwrap_or_default();
            let groups = match read(&path) {
                Ok(groups) => shared_with(before, shared(groups)),
                Err(cause) => {
                    errors.push(chain(&cause).to_string());
                    before
                }
            };
            fresh.insert(path, groups);
        }
    }
    (fresh, errors)
}

fn read(path: &Path) -> Result<Vec<TargetGroup>, FileError> {
    let failed = |source| FileError::Read { path: path.to_owned(), source };
    let mut content = Vec::new();
    File::open(path)
        .map_err(failed)?
        .take(MAX_FILE + 1)
        .read_to_end(&mut content)
        .map_err(failed)?;
    if content.len() as u64 > MAX_FILE {
        return Err(FileError::TooLong { path: path.to_owned() });
    }
    let is_json = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("json"));
    let mut groups = if is_json {
        parse_target_groups_json(&content, path)?
    } else {
        let text = String::from_utf8(content)
            .map_err(|cause| failed(std::io::Error::new(std::io::ErrorKind::InvalidData, cause)))?;
        parse_target_groups_yaml(&text, path)?
    };
    for group in &mut groups {
        group.labels.insert(FILEPATH.to_owned(), path.to_string_lossy().into_owned());
    }
    Ok(groups)
}
