//! The data folder, which several coordinators may share if they agree on one lock of who leads.
//!
//! Each has the folder's file locked (`flock`, shared) for as long as it lives; the file says which lock of leaders
//! they go by. One that goes by another lock would lead beside them, with the same shards' processes and the same
//! records, and is refused. The lock also says who is the last one to go.

use std::fs::{self, File, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::info;

use crate::Error;

const FILE: &str = "coordinators.lock";

/// How long to wait for somebody who has the folder alone: another one that starts, or the last one that goes and stops
/// its shards.
const PATIENCE: Duration = Duration::from_secs(90);
const LOOK: Duration = Duration::from_millis(100);

/// A longer file is none of ours.
const MAX_TEXT: u64 = 64 << 10;

/// A share of a data folder. Cloneable; it ends with its last clone or with [`Self::leave`].
#[derive(Debug, Clone)]
pub(crate) struct SharedFolder {
    lock: Arc<Mutex<Option<File>>>,
}

/// Nobody else uses the folder, nor begins to while this lives.
#[derive(Debug)]
pub(crate) struct Alone {
    _lock: File,
}

impl SharedFolder {
    /// Joins those who share the folder. An error when they go by another lock of who leads than `leader_lock`.
    pub(crate) async fn join(data_dir: &Path, leader_lock: &Path) -> Result<Self, Error> {
        let until = Instant::now() + PATIENCE;
        let mut told = false;
        loop {
            if let Some(lock) = try_join(data_dir, leader_lock)? {
                return Ok(Self { lock: Arc::new(Mutex::new(Some(lock))) });
            }
            if Instant::now() >= until {
                let what = format!("{} is locked by another process", data_dir.display());
                return Err(Error::DataFolder { path: data_dir.to_owned(), what });
            }
            if !std::mem::replace(&mut told, true) {
                info!(folder = %data_dir.display(), "waiting for another coordinator to let go of the data folder");
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Ends this share. The last one has the folder alone.
    pub(crate) fn leave(&self) -> Option<Alone> {
        let lock = self.lock.lock().take()?;
        // First gone, then looked whether others are there: of two that go at a time one is the last.
        lock.unlock().ok()?;
        lock.try_lock().ok()?;
        Some(Alone { _lock: lock })
    }
}

/// `None`: somebody has it alone at the moment.
fn try_join(data_dir: &Path, leader_lock: &Path) -> Result<Option<File>, Error> {
    fs::create_dir_all(data_dir)
        .map_err(|source| Error::CreateFolder { path: data_dir.to_owned(), source })?;
    let path = data_dir.join(FILE);
    let unusable = |source| Error::Write { path: path.clone(), source };
    let mut file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(unusable)?;
    let ours = resolved(leader_lock).to_string_lossy().into_owned();
    match file.try_lock() {
        // What it says is of those who are gone.
        Ok(()) => {
            file.set_len(0).map_err(unusable)?;
            file.write_all(ours.as_bytes()).map_err(unusable)?;
        }
        Err(TryLockError::WouldBlock) => {}
        Err(TryLockError::Error(source)) => return Err(unusable(source)),
    }
    match file.try_lock_shared() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(source)) => return Err(unusable(source)),
    }
    let mut theirs = Vec::new();
    file.rewind().map_err(unusable)?;
    (&file).take(MAX_TEXT).read_to_end(&mut theirs).map_err(unusable)?;
    let theirs = String::from_utf8_lossy(&theirs);
    // A lock is taken once more to be shared, and somebody else may be quicker: so what counts is what is there then.
    if theirs == ours {
        return Ok(Some(file));
    }
    let what = format!(
        "another coordinator uses this data folder with --leader.lock-file={theirs}, this one has {ours}: they would \
         both lead; give them one lock file, or this one another --data-dir"
    );
    Err(Error::DataFolder { path: data_dir.to_owned(), what })
}

/// One name for a file that need not exist while its folder does.
fn resolved(file: &Path) -> PathBuf {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    // The folder of a lock is made when it is used.
    drop(fs::create_dir_all(folder));
    let name = file.file_name().unwrap_or_default();
    folder.canonicalize().map_or_else(|_| file.to_owned(), |folder| folder.join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn coordinators_of_one_lock_share_a_folder_and_one_of_another_lock_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (data, lock) = (folder.path().join("data"), folder.path().join("locks/leader"));
        let first = SharedFolder::join(&data, &lock).await.unwrap();
        let same = folder.path().join("locks/../locks/./leader");
        let second = SharedFolder::join(&data, &same).await.unwrap();
        let other = data.join("leader.lock");
        let error = SharedFolder::join(&data, &other).await.unwrap_err().to_string();
        for words in ["--leader.lock-file=", "locks/leader", "data/leader.lock", "--data-dir"] {
            assert!(error.contains(words), "{error}");
        }
        drop((first, second));
        SharedFolder::join(&data, &other).await.unwrap();
    }

    #[tokio::test]
    async fn the_last_one_to_go_is_alone_and_whoever_comes_then_waits() {
        let folder = tempfile::tempdir().unwrap();
        let lock = folder.path().join("leader.lock");
        let join = async || SharedFolder::join(folder.path(), &lock).await.unwrap();
        let (first, second) = (join().await, join().await);
        assert!(first.leave().is_none());
        let alone = second.leave();
        assert!(alone.is_some());
        assert!(second.leave().is_none(), "it has left");
        assert!(try_join(folder.path(), &lock).unwrap().is_none());
        drop(alone);
        join().await;
    }
}
