//! [`Claim`]: one process's hold on a run folder, and whether the run in it was ever set up.
//!
//! It is a lock on a file in the folder, which the kernel lets go with the process, however that ends. The file stays: taking
//! it away would let two processes hold locks of one name. While a run is set up the file says so, so that what a killed
//! set-up leaves is told from files of the user's.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use super::TrainError;

/// The file.
const LOCK: &str = ".nin-lock";
/// What it says while a run is set up.
const SETTING_UP: &str = "setting up";

/// A run folder that no other process can claim.
#[derive(Debug)]
pub(super) struct Claim {
    folder: PathBuf,
    file: File,
    /// The run has no checkpoint yet.
    setting_up: bool,
}

impl Claim {
    /// Claims a folder for this process.
    ///
    /// # Errors
    /// [`TrainError::UnderWay`] if another has it, and those of the file system.
    pub(super) fn take(folder: &Path) -> Result<Claim, TrainError> {
        let path = folder.join(LOCK);
        let opened =
            File::options().read(true).write(true).create(true).truncate(false).open(&path);
        let failed = |error| TrainError::Io { file: path.clone(), error };
        let mut file = opened.map_err(failed)?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => return Err(under_way(folder)),
            // File systems without locks are trusted to have one user.
            Ok(()) | Err(TryLockError::Error(_)) => {}
        }
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(failed)?;
        let setting_up = text.contains(SETTING_UP);
        let claim = Claim { folder: folder.to_owned(), file, setting_up };
        // Best effort: without the number the message to others is less exact.
        let _ = claim.write(Some(std::process::id()));
        Ok(claim)
    }

    /// Whether the run was stopped before its first checkpoint.
    pub(super) fn is_setting_up(&self) -> bool {
        self.setting_up
    }

    /// From now on until [`Claim::set_up`], what is in the folder is nobody's run.
    pub(super) fn begin(&mut self) -> Result<(), TrainError> {
        self.mark(true)
    }

    /// The run has its first checkpoint.
    pub(super) fn set_up(&mut self) -> Result<(), TrainError> {
        self.mark(false)
    }

    fn mark(&mut self, setting_up: bool) -> Result<(), TrainError> {
        if self.setting_up == setting_up {
            return Ok(());
        }
        self.setting_up = setting_up;
        let written = self.write(Some(std::process::id())).and_then(|()| self.file.sync_all());
        written.map_err(|error| TrainError::Io { file: self.folder.join(LOCK), error })
    }

    /// One write of one length: a process that is killed has written all of it or nothing.
    fn write(&self, process: Option<u32>) -> io::Result<()> {
        let process = process.map_or(String::new(), |process| process.to_string());
        let state = if self.setting_up { SETTING_UP } else { "" };
        let mut file = &self.file;
        file.seek(SeekFrom::Start(0))?;
        file.write_all(format!("{process:10} {state:10}\n").as_bytes())
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let _ = self.write(None);
    }
}

/// Whether the run in a folder that nobody holds was stopped before its first checkpoint.
pub(super) fn is_setting_up(folder: &Path) -> bool {
    fs::read_to_string(folder.join(LOCK)).is_ok_and(|text| text.contains(SETTING_UP))
}

/// Whether no process holds a folder, which need not be there.
///
/// # Errors
/// [`TrainError::UnderWay`] if one does.
pub(super) fn check_free(folder: &Path) -> Result<(), TrainError> {
    let Ok(file) = File::options().write(true).open(folder.join(LOCK)) else { return Ok(()) };
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => Err(under_way(folder)),
        Ok(()) | Err(TryLockError::Error(_)) => Ok(()),
    }
}

fn under_way(folder: &Path) -> TrainError {
    let text = fs::read_to_string(folder.join(LOCK)).unwrap_or_default();
    let process = text.split_whitespace().next().and_then(|word| word.parse().ok());
    TrainError::UnderWay { folder: folder.to_owned(), process }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_one_claims_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let claim = Claim::take(folder.path()).unwrap();
        for refused in [Claim::take(folder.path()).map(drop), check_free(folder.path())] {
            let message = refused.unwrap_err().to_string();
            let process = format!("this run is under way in process {}", std::process::id());
            assert!(message.contains(&process), "{message}");
        }
        drop(claim);
        check_free(folder.path()).unwrap();
        Claim::take(folder.path()).unwrap();
    }

    #[test]
    fn what_is_set_up_is_known_until_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let mut claim = Claim::take(folder.path()).unwrap();
        claim.begin().unwrap();
        drop(claim);
        assert!(is_setting_up(folder.path()));
        let mut claim = Claim::take(folder.path()).unwrap();
        assert!(is_setting_up(folder.path()));
        claim.set_up().unwrap();
        assert!(!is_setting_up(folder.path()));
    }
}
