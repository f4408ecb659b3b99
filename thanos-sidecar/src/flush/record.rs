//! What was flushed: a small file beside the blocks.

use std::path::Path;

use serde::{Deserialize, Serialize};
use tracing::error;

use super::Error;

const NAME: &str = "shoal.flush.json";

/// Which head is in the bucket, or on its way there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Record {
    /// The head's youngest sample, in milliseconds.
    max_time: Option<i64>,
    /// The snapshot that is being shipped; none: it is done.
    snapshot: Option<String>,
}

impl Record {
    pub fn begun(max_time: i64, snapshot: String) -> Self {
        Self { max_time: Some(max_time), snapshot: Some(snapshot) }
    }

    pub fn done(max_time: i64) -> Self {
        Self { max_time: Some(max_time), snapshot: None }
    }

    /// Reads the file. One that is missing or damaged counts as nothing done: the head is shipped again, then, as a
    /// block of its own.
    pub fn read(dir: &Path) -> Self {
        let path = dir.join(NAME);
        match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|cause| {
                error!(file = %path.display(), error = %cause, "record of flushes is broken and counts as none");
                Self::default()
            }),
            Err(_) => Self::default(),
        }
    }

    pub fn write(&self, dir: &Path) -> Result<(), Error> {
        let path = dir.join(NAME);
        let failed = |source| Error::Write { path: path.clone(), source };
        let bytes = serde_json::to_vec(self).map_err(|cause| failed(cause.into()))?;
        svc::durable::write(&path, &bytes).map_err(failed)
    }

    /// Whether a head that ends then is in the bucket.
    pub fn covers(&self, max_time: i64) -> bool {
        self.snapshot.is_none() && self.max_time.is_some_and(|flushed| max_time <= flushed)
    }

    pub fn snapshot(&self) -> Option<&str> {
        self.snapshot.as_deref()
    }

    /// The snapshot of a head that ends then.
    pub fn snapshot_of(&self, max_time: i64) -> Option<&str> {
        self.snapshot().filter(|_| self.max_time == Some(max_time))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_survives_and_a_broken_one_counts_as_none() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Record::read(folder.path()), Record::default());
        let begun = Record::begun(7, "s".to_owned());
        begun.write(folder.path()).unwrap();
        assert_eq!(Record::read(folder.path()), begun);
        assert_eq!((begun.snapshot_of(7), begun.snapshot_of(8)), (Some("s"), None));
        assert!(!begun.covers(7));
        let done = Record::done(7);
        assert!(done.covers(7) && !done.covers(8));
        for text in ["", "{", "[]", r#"{"maxTime":7,"snapshot":null,"more":1}"#] {
            std::fs::write(folder.path().join(NAME), text).unwrap();
            assert_eq!(Record::read(folder.path()), Record::default(), "{text}");
        }
    }
}
