//! The inputs that mutations start from: a target's corpus, and files that are in the repository for other reasons.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::targets::Target;

/// A longer file is no seed: its mutations would all be in one place of it.
const MOST_BYTES: u64 = 64 << 10;

/// The repository's root.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The seeds of a target, in order of their names.
///
/// # Errors
/// A folder or a file that cannot be read.
pub fn seeds(target: &Target) -> io::Result<Vec<(PathBuf, Vec<u8>)>> {
    let mut files = vec![];
    for folder in target.folders() {
        for entry in fs::read_dir(repository().join(folder))? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            if metadata.is_file() && metadata.len() <= MOST_BYTES {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    files.into_iter().map(|file| fs::read(&file).map(|bytes| (file, bytes))).collect()
}
