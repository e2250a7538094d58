//! Reading what may be longer than it should be: [`Limited`] ends in an error where a reader goes on past its limit, and
//! [`open`] takes regular files alone, since the others may never end, or never begin.

use std::fs::{self, File, FileType};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::path::Path;

/// A reader that fails after `most` bytes if there are more.
///
/// What a header, a format or nin allows is such a limit: a file that goes on is damaged, hostile or endless, and is read no
/// further.
#[derive(Debug)]
pub struct Limited<R> {
    inner: R,
    left: u64,
    most: u64,
    what: &'static str,
}

impl<R: Read> Limited<R> {
    /// `what` says whose limit it is, such as `the most that nin reads as a text`.
    pub fn new(inner: R, most: u64, what: &'static str) -> Limited<R> {
        Limited { inner, left: most, most, what }
    }
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() {
            return Ok(0);
        }
        if self.left == 0 {
            // One byte more tells an end from an excess.
            return match self.inner.read(&mut [0])? {
                0 => Ok(0),
                _ => Err(io::Error::new(
                    ErrorKind::FileTooLarge,
                    format!("longer than {} bytes, {}", self.most, self.what),
                )),
            };
        }
        let room = usize::try_from(self.left).unwrap_or(usize::MAX).min(into.len());
        let count = self.inner.read(&mut into[..room])?;
        self.left -= count as u64;
        Ok(count)
    }
}

/// Decoders ask for readers that can seek, and go from front to back all the same.
impl<R> Seek for Limited<R> {
    fn seek(&mut self, _: SeekFrom) -> io::Result<u64> {
        Err(ErrorKind::NotSeekable.into())
    }
}

/// Opens a regular file, or a link to one.
///
/// # Errors
/// Those of the file system, and anything else of this name: a pipe that nobody writes to would never open.
pub fn open(file: &Path) -> io::Result<File> {
    match irregular(fs::metadata(file)?.file_type()) {
        None => File::open(file),
        Some(found) => {
            Err(io::Error::new(ErrorKind::InvalidInput, format!("this is {found}, not a file")))
        }
    }
}

/// The bytes of a regular file of at most `most` bytes.
///
/// # Errors
/// As [`open`], and [`ErrorKind::FileTooLarge`].
pub fn read(file: &Path, most: u64, what: &'static str) -> io::Result<Vec<u8>> {
    let mut bytes = vec![];
    Limited::new(open(file)?, most, what).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// What a thing of the file system is, if it is no regular file.
pub(crate) fn irregular(kind: FileType) -> Option<&'static str> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt as _;
        if kind.is_fifo() {
            return Some("a named pipe");
        } else if kind.is_socket() {
            return Some("a socket");
        } else if kind.is_char_device() || kind.is_block_device() {
            return Some("a device");
        }
    }
    match (kind.is_file(), kind.is_dir()) {
        (true, _) => None,
        (_, true) => Some("a folder"),
        _ => Some("something that holds no bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_ends_at_its_limit_and_not_before() {
        let read = |most| {
            let mut bytes = vec![];
            Limited::new(&b"12345"[..], most, "all there is").read_to_end(&mut bytes).map(|_| bytes)
        };
        assert_eq!((read(5).unwrap(), read(9).unwrap()), (b"12345".to_vec(), b"12345".to_vec()));
        for most in [0, 1, 4] {
            let error = read(most).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::FileTooLarge);
            assert_eq!(error.to_string(), format!("longer than {most} bytes, all there is"));
        }
        let mut endless = Limited::new(io::repeat(0), 1 << 20, "enough");
        assert!(io::copy(&mut endless, &mut io::sink()).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn only_regular_files_are_opened() {
        use std::os::unix::fs::symlink;
        use std::os::unix::net::UnixListener;

        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| folder.path().join(name);
        fs::write(place("file"), "text").unwrap();
        symlink("file", place("link")).unwrap();
        symlink("round", place("round")).unwrap();
        let _socket = UnixListener::bind(place("socket")).unwrap();
        assert_eq!(read(&place("link"), 4, "").unwrap(), b"text");
        let error = |path: &Path| open(path).unwrap_err().to_string();
        assert_eq!(error(folder.path()), "this is a folder, not a file");
        assert_eq!(error(&place("socket")), "this is a socket, not a file");
        assert_eq!(error(Path::new("/dev/zero")), "this is a device, not a file");
        assert!(open(&place("round")).is_err() && open(&place("nothing")).is_err());
    }
}
