//! [`Scratch`]: a folder that a check writes its input to, for readers of files.

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

/// A folder that goes away with the check.
pub(super) struct Scratch(TempDir);

impl Scratch {
    pub(super) fn new() -> Scratch {
        Scratch(TempDir::new().expect("a temporary folder"))
    }

    /// The same with files.
    pub(super) fn with<'a>(files: impl IntoIterator<Item = (&'a str, Vec<u8>)>) -> Scratch {
        let scratch = Scratch::new();
        for (name, bytes) in files {
            scratch.write(name, &bytes);
        }
        scratch
    }

    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let file = self.file(name);
        fs::write(&file, bytes).expect("a file of the temporary folder can be written");
        file
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(super) fn path(&self) -> &std::path::Path {
        self.0.path()
    }
}
