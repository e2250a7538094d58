//! Static libraries: an `ar` archive, in the variant of GNU and of Windows, with one object file in it.

use target_lexicon::BinaryFormat;

use super::{Library, object};
use crate::error::Error;

const MAGIC: &[u8] = b"!<arch>\n";
/// Bytes of a member's header.
const HEADER: usize = 60;

/// The bytes of a library's archive: an index of the names that linkers look for, then the object file.
pub(super) fn write(library: &Library) -> Result<Vec<u8>, Error> {
    if library.format() == BinaryFormat::Macho {
        let reason =
            "Apple's archives have another form; take `--emit obj` and `libtool`".to_owned();
        return Err(Error::Format { reason });
    }
    let object = object::write(library)?;
    let names: Vec<&str> = library.public_symbols().map(|(_, name)| name).collect();
    let count = u32::try_from(names.len()).expect("few functions");
    let texts: usize = names.iter().map(|name| name.len() + 1).sum();
    let index = (4 + 4 * names.len() + texts).next_multiple_of(2);
    let at = u32::try_from(MAGIC.len() + HEADER + index).expect("few functions");
    let mut symbols = count.to_be_bytes().to_vec();
    symbols.extend(names.iter().flat_map(|_| at.to_be_bytes()));
    symbols.extend(names.iter().flat_map(|name| name.bytes().chain([0])));
    symbols.resize(index, 0);
    let mut bytes = MAGIC.to_vec();
    // The index has no name. A longer name than 15 letters would need a table of its own.
    for (name, content) in [("/", symbols), ("nin.o/", object)] {
        let size = content.len();
        // Name, time, owner, group and mode: the same bytes wherever it is written.
        bytes.extend(format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{size:<10}`\n", 0, 0, 0, 644).bytes());
        bytes.extend(content);
        bytes.resize(bytes.len().next_multiple_of(2), b'\n');
    }
    Ok(bytes)
}
