//! The files of a tar archive, gzipped or not, one after the other.

use std::io::{self, BufRead, ErrorKind, Read};

use tar::{Archive, EntryType, PaxExtensions};

use super::unpack::Unpacked;
use crate::file::Limited;

/// Bytes that an archive unpacks to at most; the published sets are a fifth of it.
const MOST_BYTES: u64 = 1 << 30;
/// What a header says of the file after it, such as a long name, is at most this long: systems' paths are shorter.
const MOST_EXTENSION: u64 = 1 << 16;

/// What the headers before a file's own say of it.
#[derive(Default)]
struct Extension {
    name: Option<Vec<u8>>,
    size: Option<u64>,
}

/// Hands the name, without its folders, and the bytes of every regular file to `each`; links, folders and devices are
/// passed over.
///
/// # Errors
/// Those of `archive` and of `each`, and an archive that is damaged, longer than any set, or of a form that nin does not
/// read.
pub(super) fn files(
    archive: impl BufRead,
    mut each: impl FnMut(&[u8], &mut dyn Read) -> io::Result<()>,
) -> io::Result<()> {
    let what = "the most that nin unpacks of an archive";
    let limited = Limited::new(Unpacked::new(archive)?, MOST_BYTES, what);
    let mut tar = Archive::new(limited);
    let mut extension = Extension::default();
    // The crate would read a long name whole, however long it is: raw entries are left to whoever iterates.
    for entry in tar.entries()?.raw(true) {
        let mut entry = entry?;
        let size = entry.size();
        match entry.header().entry_type() {
            EntryType::GNULongName => {
                let mut name = extended(&mut entry, size)?;
                name.truncate(name.iter().position(|&byte| byte == 0).unwrap_or(name.len()));
                extension.name = Some(name);
            }
            EntryType::XHeader => extension.add(&extended(&mut entry, size)?),
            EntryType::GNULongLink | EntryType::XGlobalHeader => {}
            EntryType::Regular | EntryType::Continuous => {
                let said = std::mem::take(&mut extension);
                if said.size.is_some_and(|said| said != size) {
                    return Err(refused("one whose headers disagree on a file's size"));
                }
                let path = said.name.unwrap_or_else(|| entry.path_bytes().into_owned());
                let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
                each(name, &mut entry)?;
            }
            EntryType::GNUSparse => return Err(refused("one with sparse files")),
            _ => extension = Extension::default(),
        }
    }
    // The checksum is at the very end.
    io::copy(&mut tar.into_inner(), &mut io::sink())?;
    Ok(())
}

/// An extension's bytes.
fn extended(entry: &mut impl Read, size: u64) -> io::Result<Vec<u8>> {
    if size > MOST_EXTENSION {
        return Err(refused(&format!("one with a header of {size} bytes")));
    }
    let mut bytes = vec![];
    entry.read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn refused(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what)
}

impl Extension {
    /// Adds what a pax header says; what nobody can read there was not meant for nin.
    fn add(&mut self, records: &[u8]) {
        for record in PaxExtensions::new(records).map_while(Result::ok) {
            match record.key_bytes() {
                b"path" => self.name = Some(record.value_bytes().to_owned()),
                b"size" => self.size = record.value().ok().and_then(|size| size.parse().ok()),
                _ => {}
            }
        }
    }
}
