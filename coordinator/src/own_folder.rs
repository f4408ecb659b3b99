//! A folder for what two coordinators on the same data folder must not share.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use crate::Error;

/// More coordinators than that on one data folder are a mistake.
const MOST: u32 = 16;

/// A folder that is ours for as long as this lives. It is made when it is used.
#[derive(Debug)]
pub(crate) struct OwnFolder {
    pub(crate) path: PathBuf,
    /// Locked for as long as it is open.
    _lock: File,
}

impl OwnFolder {
    /// The first of `base`, `base-1`, `base-2`, … that nobody has.
    pub(crate) fn claim(base: &Path) -> Result<Self, Error> {
        let name = base.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let parent = base.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(parent)
            .map_err(|source| Error::CreateFolder { path: parent.to_owned(), source })?;
        for number in 0..MOST {
            let name = if number == 0 { name.clone() } else { format!("{name}-{number}") };
            let lock_path = parent.join(format!("{name}.lock"));
            let error = |source| Error::Write { path: lock_path.clone(), source };
            let lock = File::create(&lock_path).map_err(error)?;
            match lock.try_lock() {
                Ok(()) => return Ok(Self { path: parent.join(name), _lock: lock }),
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(source)) => return Err(error(source)),
            }
        }
        Err(Error::Leadership(format!("{MOST} coordinators use {} already", parent.display())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_a_folder_of_its_own_and_the_first_one_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().join("data/discovery");
        let first = OwnFolder::claim(&base).unwrap();
        let second = OwnFolder::claim(&base).unwrap();
        assert_eq!(first.path, base);
        assert_eq!(second.path, folder.path().join("data/discovery-1"));
        drop(first);
        assert_eq!(OwnFolder::claim(&base).unwrap().path, base);
    }
}
