//! Files that are either whole or not there: what a run leaves behind survives a crash at any moment. And reading no more
//! than there should be.

mod limited;

use std::fs::{self, File, TryLockError};
use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, ErrorKind, Read, Write as _};
use std::path::{Path, PathBuf};
use std::process;

pub(crate) use limited::irregular;
pub use limited::{Limited, open, read};

/// Writes a file through a temporary one beside it, synced and renamed, so that a reader sees the old bytes or the new.
/// Of several writers at once, each writes a whole file, and the last one's stays. Temporary files of writers that were
/// killed go with the next write to their folder.
///
/// A link stays: what it points at is replaced. What is no regular file, such as a pipe or a device, is written to as it
/// is, since a rename would put a file in its place.
///
/// # Errors
/// Those of the file system, and a file that is read-only; the old file is then untouched.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let old = fs::metadata(path).ok();
    let path = match &old {
        Some(old) if old.is_dir() => return Err(ErrorKind::IsADirectory.into()),
        Some(old) if !old.is_file() => {
            return File::options().write(true).open(path)?.write_all(bytes);
        }
        Some(old) if old.permissions().readonly() => return Err(ErrorKind::PermissionDenied.into()),
        Some(_) => &path.canonicalize()?,
        None => path,
    };
    if path.file_name().is_none() {
        let reason = "the path does not end in a file's name";
        return Err(io::Error::new(ErrorKind::InvalidInput, reason));
    }
    // A rename must not cross file systems.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    clear_dead(folder);
    let temporary = Temporary::create(folder).map_err(|error| match error.kind() {
        ErrorKind::NotFound => {
            let reason = format!("there is no folder {}", folder.display());
            io::Error::new(ErrorKind::NotFound, reason)
        }
        _ => error,
    })?;
    (&temporary.file).write_all(bytes)?;
    if let Some(old) = old {
        temporary.file.set_permissions(old.permissions())?;
    }
    temporary.file.sync_all()?;
    temporary.rename(path)
}

/// Around the number in a temporary file's name.
const TEMPORARY: (&str, &str) = (".nin-", ".tmp");

/// A file of one writer alone, under a name that no other file ever gets. It is locked for as long as its writer lives, so that
/// what a dead one has left can be told from what is being written. Goes when it is dropped.
struct Temporary {
    file: File,
    path: PathBuf,
    renamed: bool,
}

impl Temporary {
    fn create(folder: &Path) -> io::Result<Temporary> {
        loop {
            // Every `RandomState` is another, in this process and beside others.
            let number = RandomState::new().hash_one(process::id());
            let path = folder.join(format!("{}{number:016x}{}", TEMPORARY.0, TEMPORARY.1));
            let file = match File::create_new(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(error),
            };
            match file.try_lock() {
                // Before it was locked, another writer may have taken it for a dead one's.
                Ok(()) if !path.exists() => {}
                Err(TryLockError::WouldBlock) => {}
                // Where files cannot be locked, none is ever taken for a dead one's.
                Ok(()) | Err(TryLockError::Error(_)) => {
                    return Ok(Temporary { file, path, renamed: false });
                }
            }
        }
    }

    fn rename(mut self, to: &Path) -> io::Result<()> {
        fs::rename(&self.path, to)?;
        self.renamed = true;
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.renamed {
            // Best effort: the error that led here is the one worth telling.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Takes away what writers left that were killed. Nothing depends on it: what cannot be read, locked or removed stays.
fn clear_dead(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let is_temporary = name.starts_with(TEMPORARY.0) && name.ends_with(TEMPORARY.1);
        // Whatever else has such a name, a pipe for one, is not opened.
        if !is_temporary || !entry.file_type().is_ok_and(|kind| kind.is_file()) {
            continue;
        }
        let opened = File::options().write(true).open(entry.path());
        if opened.as_ref().is_ok_and(|file| file.try_lock().is_ok()) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Reads a text of at most `most` bytes: whatever a user names, a device or a film, is refused without being read whole.
///
/// # Errors
/// Those of the reader, [`ErrorKind::FileTooLarge`], and [`ErrorKind::InvalidData`] if it is not UTF-8.
pub fn read_text(from: impl Read, most: usize) -> io::Result<String> {
    let mut bytes = vec![];
    let what = "the most that nin reads as a text";
    Limited::new(from, most as u64, what).read_to_end(&mut bytes)?;
    String::from_utf8(bytes)
        .map_err(|_| io::Error::new(ErrorKind::InvalidData, "not a text in UTF-8"))
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn links_stay_and_what_is_no_regular_file_stays_what_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| folder.path().join(name);
        fs::write(place("file"), "old").unwrap();
        symlink("file", place("link")).unwrap();
        symlink("/dev/null", place("device")).unwrap();
        write_atomically(&place("link"), b"new").unwrap();
        assert_eq!(fs::read_to_string(place("file")).unwrap(), "new");
        write_atomically(&place("device"), b"new").unwrap();
        for link in ["link", "device"] {
            assert!(fs::symlink_metadata(place(link)).unwrap().is_symlink(), "{link}");
        }
        let refused = write_atomically(folder.path(), b"new").unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::IsADirectory);
    }

    #[test]
    fn permissions_stay_and_a_read_only_file_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        let set = |mode| fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        fs::write(&file, "old").unwrap();
        set(0o640);
        write_atomically(&file, b"new").unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
        set(0o440);
        let refused = write_atomically(&file, b"newer").unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::PermissionDenied);
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
    }

    /// How many temporary files there are in a folder.
    fn temporaries(folder: &Path) -> usize {
        let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.to_string_lossy().ends_with(TEMPORARY.1)).count()
    }

    #[test]
    fn writers_at_once_leave_one_whole_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::thread::scope(|scope| {
            for letter in b'a'..b'e' {
                let file = &file;
                scope.spawn(move || {
                    for _ in 0..100 {
                        write_atomically(file, &[letter; 5000]).unwrap();
                        let read = fs::read(file).unwrap();
                        assert!(read.len() == 5000 && read.iter().all(|&x| x == read[0]));
                    }
                });
            }
        });
        assert_eq!(temporaries(folder.path()), 0);
    }

    #[test]
    fn what_dead_writers_left_goes_and_what_others_write_stays() {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| folder.path().join(name);
        let alive = Temporary::create(folder.path()).unwrap();
        let mut dead = Temporary::create(folder.path()).unwrap();
        // As a killed process leaves it.
        dead.renamed = true;
        let left = dead.path.clone();
        drop(dead);
        fs::write(place("mine.tmp"), "mine").unwrap();
        write_atomically(&place("file"), b"new").unwrap();
        assert!(alive.path.exists() && !left.exists() && place("mine.tmp").exists());
        let path = alive.path.clone();
        drop(alive);
        assert!(!path.exists());
    }

    #[test]
    fn the_longest_names_can_be_written() {
        let folder = tempfile::tempdir().unwrap();
        write_atomically(&folder.path().join("n".repeat(255)), b"new").unwrap();
    }
}
