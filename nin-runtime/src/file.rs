//! Files that are either whole or not there: what a run leaves behind survives a crash at any moment. And texts of a size
//! that people write.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write as _};
use std::path::{Path, PathBuf};

/// Writes a file through a temporary one beside it, synced and renamed, so that a reader sees the old bytes or the new.
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
    let temporary = beside(path)?;
    let created = File::create(&temporary).map_err(|error| match (error.kind(), path.parent()) {
        (ErrorKind::NotFound, Some(folder)) => {
            let reason = format!("there is no folder {}", folder.display());
            io::Error::new(ErrorKind::NotFound, reason)
        }
        _ => error,
    });
    let written = created.and_then(|mut file| {
        file.write_all(bytes)?;
        if let Some(old) = old {
            file.set_permissions(old.permissions())?;
        }
        file.sync_all()
    });
    let renamed = written.and_then(|()| fs::rename(&temporary, path));
    if renamed.is_err() {
        // Best effort: the first error is the one worth telling.
        let _ = fs::remove_file(&temporary);
    }
    renamed
}

/// Reads a text of at most `most` bytes: whatever a user names, a device or a film, is refused without being read whole.
///
/// # Errors
/// Those of the reader, [`ErrorKind::FileTooLarge`], and [`ErrorKind::InvalidData`] if it is not UTF-8.
pub fn read_text(from: impl Read, most: usize) -> io::Result<String> {
    let mut bytes = vec![];
    from.take(most as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > most {
        let reason = format!("longer than {most} bytes, the most that nin reads as a text");
        return Err(io::Error::new(ErrorKind::FileTooLarge, reason));
    }
    String::from_utf8(bytes)
        .map_err(|_| io::Error::new(ErrorKind::InvalidData, "not a text in UTF-8"))
}

/// `.<name>.tmp` in the same folder: a rename must not cross file systems.
fn beside(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or_else(|| {
        io::Error::new(ErrorKind::InvalidInput, "the path does not end in a file's name")
    })?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(".tmp");
    Ok(path.with_file_name(hidden))
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
}
