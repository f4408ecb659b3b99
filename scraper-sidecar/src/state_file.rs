//! The assignment on disk, so that a restarted sidecar needs no coordinator.
//!
//! ```text
//! {"format":1,"xxh64":"<16 hex digits>","bytes":<length of the second line>}\n
//! {"epoch":…,"version":…,"config":…,"targets":[…]}
//! ```
//!
//! The first line vouches for the second. The file holds the user's configuration, secrets included: mode 0600.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use model::Labels;
use proto::coordination::{Stop, StopScrape, TargetState};
use serde::{Deserialize, Serialize};
use svc::durable;
use xxhash_rust::xxh64::xxh64;

use crate::assignment::{Assignment, Target, UserConfig};
use crate::error::{Error, Result};

const FORMAT: u32 = 1;

/// The file's name below the data folder.
const NAME: &str = "assignment.json";

#[derive(Serialize, Deserialize)]
struct Header {
    format: u32,
    xxh64: String,
    bytes: usize,
}

#[derive(Serialize, Deserialize)]
struct StoredAssignment {
    epoch: u64,
    version: u64,
    config: Option<StoredConfig>,
    targets: Vec<StoredTarget>,
    /// Absent in files of versions that did not have the switch; those skip it.
    #[serde(default)]
    stop: StoredStops,
}

#[derive(Default, Serialize, Deserialize)]
struct StoredStops {
    revision: u64,
    stops: Vec<StoredStop>,
}

#[derive(Serialize, Deserialize)]
struct StoredStop {
    job: String,
    reason: String,
    since_ms: i64,
}

#[derive(Serialize, Deserialize)]
struct StoredConfig {
    hash: String,
    text: String,
}

#[derive(Serialize, Deserialize)]
struct StoredTarget {
    id: u64,
    job: String,
    labels: BTreeMap<String, String>,
    state: StoredState,
    series: u64,
    /// Absent in files of versions that did not know it; those skip it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    churn_per_hour: Option<u32>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum StoredState {
    Unspecified,
    Active,
    Leaving,
    Joining,
}

/// Persists an assignment; afterwards it survives any crash.
pub(crate) fn save(data_dir: &Path, assignment: &Assignment) -> Result<()> {
    let path = data_dir.join(NAME);
    let content = encode(assignment).map_err(Error::Encode)?;
    durable::write_with_mode(&path, &content, durable::PRIVATE).map_err(Error::write(&path))
}

/// The persisted assignment, where there is one. A file that cannot be trusted is set aside, never deleted, and counts
/// as none.
pub(crate) fn load(data_dir: &Path, now_ms: i64) -> Result<Option<Assignment>> {
    let path = data_dir.join(NAME);
    let content = match std::fs::read(&path) {
        Ok(content) => content,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(Error::read(&path)(cause)),
    };
    match decode(&content, now_ms) {
        Ok(assignment) => Ok(Some(assignment)),
        Err(reason) => {
            let aside = set_aside(&path)?;
            tracing::error!(
                file = %path.display(), set_aside = %aside.display(), reason,
                "the persisted assignment is corrupt and set aside"
            );
            Ok(None)
        }
    }
}

/// Renames to the first free `<name>.corrupt-<n>`.
fn set_aside(path: &Path) -> Result<PathBuf> {
    let mut n = 1;
    loop {
        let aside = path.with_file_name(format!("{NAME}.corrupt-{n}"));
        if !aside.exists() {
            std::fs::rename(path, &aside).map_err(Error::write(&aside))?;
            return Ok(aside);
        }
        n += 1;
    }
}

fn encode(assignment: &Assignment) -> serde_json::Result<Vec<u8>> {
    let body = serde_json::to_vec(&StoredAssignment::from(assignment))?;
    let xxh64 = format!("{:016x}", xxh64(&body, 0));
    let mut content = serde_json::to_vec(&Header { format: FORMAT, xxh64, bytes: body.len() })?;
    content.push(b'\n');
    content.extend_from_slice(&body);
    content.push(b'\n');
    Ok(content)
}

fn decode(content: &[u8], now_ms: i64) -> Result<Assignment, String> {
    let line_end = content.iter().position(|b| *b == b'\n').ok_or("it has no first line")?;
    let header: Header = serde_json::from_slice(&content[..line_end])
        .map_err(|cause| format!("its first line does not parse: {cause}"))?;
    if header.format != FORMAT {
        return Err(format!("it has format {}, known is {FORMAT}", header.format));
    }
    let body = &content[line_end + 1..];
    let body = body.strip_suffix(b"\n").unwrap_or(body);
    if body.len() != header.bytes {
        return Err(format!("it has {} bytes instead of {}", body.len(), header.bytes));
    }
    if format!("{:016x}", xxh64(body, 0)) != header.xxh64 {
        return Err("its checksum does not match".to_owned());
    }
    let stored: StoredAssignment =
        serde_json::from_slice(body).map_err(|cause| format!("it does not parse: {cause}"))?;
    Ok(stored.into_assignment(now_ms))
}

impl From<&Assignment> for StoredAssignment {
    fn from(assignment: &Assignment) -> Self {
        let config = assignment.config.as_ref();
        Self {
            epoch: assignment.epoch,
            version: assignment.version,
            config: config.map(|config| StoredConfig {
                hash: config.hash.clone(),
                text: config.text.clone(),
            }),
            targets: assignment.targets.iter().map(StoredTarget::from).collect(),
            stop: StoredStops::from(&assignment.stop),
        }
    }
}

impl From<&StopScrape> for StoredStops {
    fn from(stop: &StopScrape) -> Self {
        let stops = stop.stops.iter().cloned();
        let stored = |Stop { job, reason, since_ms }| StoredStop { job, reason, since_ms };
        Self { revision: stop.revision, stops: stops.map(stored).collect() }
    }
}

impl From<StoredStops> for StopScrape {
    fn from(stored: StoredStops) -> Self {
        let stop = |StoredStop { job, reason, since_ms }| Stop { job, reason, since_ms };
        Self { revision: stored.revision, stops: stored.stops.into_iter().map(stop).collect() }
    }
}

impl From<&Target> for StoredTarget {
    fn from(target: &Target) -> Self {
        let pair = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        Self {
            id: target.id,
            job: target.job.clone(),
            labels: target.labels.iter().map(pair).collect(),
            state: match target.state {
                TargetState::Unspecified => StoredState::Unspecified,
                TargetState::Active => StoredState::Active,
                TargetState::Leaving => StoredState::Leaving,
                TargetState::Joining => StoredState::Joining,
            },
            series: target.series,
            churn_per_hour: target.churn_per_hour,
        }
    }
}

impl StoredAssignment {
    fn into_assignment(self, now_ms: i64) -> Assignment {
        let mut targets: Vec<Target> =
            self.targets.into_iter().map(|target| target.into_target(now_ms)).collect();
        targets.sort_by_key(|target| target.id);
        targets.dedup_by_key(|target| target.id);
        Assignment {
            epoch: self.epoch,
            version: self.version,
            config: self.config.map(|config| UserConfig { text: config.text, hash: config.hash }),
            targets,
            stop: self.stop.into(),
        }
    }
}

impl StoredTarget {
    fn into_target(self, given_ms: i64) -> Target {
        Target {
            id: self.id,
            job: self.job,
            labels: Labels::from_pairs(self.labels),
            state: match self.state {
                StoredState::Unspecified => TargetState::Unspecified,
                StoredState::Active => TargetState::Active,
                StoredState::Leaving => TargetState::Leaving,
                StoredState::Joining => TargetState::Joining,
            },
            series: self.series,
            churn_per_hour: self.churn_per_hour,
            given_ms,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assignment() -> Assignment {
        let target = |id, state| Target {
            id,
            job: "node".to_owned(),
            labels: Labels::from_pairs([("__address__", "a:1"), ("env", "ü\n\"")]),
            state,
            series: 7,
            churn_per_hour: (id == 1).then_some(60),
            given_ms: 42,
        };
        Assignment {
            epoch: 3,
            version: u64::MAX,
            config: Some(UserConfig { text: "global: {}\n".to_owned(), hash: "abc".to_owned() }),
            targets: vec![target(1, TargetState::Joining), target(u64::MAX, TargetState::Leaving)],
            stop: StopScrape {
                revision: 7,
                stops: vec![Stop { job: "a".to_owned(), reason: "fire".to_owned(), since_ms: 6 }],
            },
        }
    }

    #[test]
    fn what_is_saved_is_loaded() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(load(folder.path(), 42).unwrap(), None);
        save(folder.path(), &assignment()).unwrap();
        assert_eq!(load(folder.path(), 42).unwrap(), Some(assignment()));
    }

    #[test]
    fn a_file_of_the_version_before_the_switch_is_read() {
        let body = r#"{"epoch":3,"version":4,"config":{"hash":"abc","text":"global: {}\n"},"targets":[{"id":9,"job":"node","labels":{"__address__":"a:1"},"state":"active","series":7}]}"#;
        let hash = xxh64(body.as_bytes(), 0);
        let content = format!(
            "{{\"format\":1,\"xxh64\":\"{hash:016x}\",\"bytes\":{}}}\n{body}\n",
            body.len()
        );
        let read = decode(content.as_bytes(), 0).unwrap();
        assert_eq!((read.epoch, read.version, read.targets[0].id), (3, 4, 9));
        assert_eq!(read.stop, StopScrape::default());
        assert_eq!(read.targets[0].churn_per_hour, None);
    }

    #[test]
    fn any_cut_or_flipped_byte_is_noticed() {
        let content = encode(&assignment()).unwrap();
        for cut in 0..content.len() - 1 {
            assert!(decode(&content[..cut], 0).is_err(), "cut at {cut}");
        }
        let body_start = content.iter().position(|b| *b == b'\n').unwrap() + 1;
        for i in body_start..content.len() - 1 {
            let mut flipped = content.clone();
            flipped[i] ^= 1;
            assert!(decode(&flipped, 0).is_err(), "flipped {i}");
        }
    }

    #[test]
    fn a_corrupt_file_is_set_aside_each_time_under_a_new_name() {
        let folder = tempfile::tempdir().unwrap();
        for n in 1..=2 {
            std::fs::write(folder.path().join(NAME), "garbage\n").unwrap();
            assert_eq!(load(folder.path(), 0).unwrap(), None);
            let aside = folder.path().join(format!("{NAME}.corrupt-{n}"));
            assert_eq!(std::fs::read_to_string(aside).unwrap(), "garbage\n");
        }
        assert!(!folder.path().join(NAME).exists());
    }
}
