//! The idx format of MNIST and its kin: a magic number, sizes, then bytes; plain or gzipped.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::{Path, PathBuf};

use ndarray::Array4;

use super::unpack::Unpacked;
use super::{DataError, sniff};
use crate::file;
use crate::host::memory;

/// Magic number of an array of bytes with three dimensions.
const IMAGES: u32 = 0x0803;
/// Magic number of an array of bytes with one dimension.
const LABELS: u32 = 0x0801;

/// Grey images: `[N, 1, H, W]`.
pub(super) fn images(file: &Path, bytes: impl BufRead) -> Result<Array4<u8>, DataError> {
    let ([n, h, w], body) = array(file, bytes, IMAGES, "idx images")?;
    Ok(Array4::from_shape_vec((n, 1, h, w), body).expect("the size was checked"))
}

/// Labels: `[N]`.
pub(super) fn labels(file: &Path, bytes: impl BufRead) -> Result<Vec<u32>, DataError> {
    let ([_], body) = array(file, bytes, LABELS, "idx labels")?;
    Ok(body.into_iter().map(u32::from).collect())
}

/// The first of `names` that lies in a folder, plain or with `.gz`.
pub(super) fn find(
    folder: &Path,
    names: &[&str],
    what: &str,
) -> Result<(PathBuf, BufReader<File>), DataError> {
    let candidates: Vec<String> =
        names.iter().flat_map(|name| [(*name).to_owned(), format!("{name}.gz")]).collect();
    let found = candidates.iter().map(|name| folder.join(name)).find(|path| path.exists());
    let Some(file) = found else {
        let candidates: Vec<&str> = candidates.iter().map(String::as_str).collect();
        return Err(DataError::missing(folder, what, &candidates));
    };
    match file::open(&file) {
        Ok(opened) => Ok((file, BufReader::new(opened))),
        Err(error) => Err(DataError::io(&file, error)),
    }
}

/// Sizes and contents of an array of bytes with `RANK` dimensions. The header says how much is read.
fn array<const RANK: usize>(
    file: &Path,
    bytes: impl BufRead,
    magic: u32,
    kind: &str,
) -> Result<([usize; RANK], Vec<u8>), DataError> {
    let format = |expected: String, found: String| DataError::Format {
        file: file.to_owned(),
        expected,
        found,
    };
    let mut bytes = Unpacked::new(bytes).map_err(|error| DataError::io(file, error))?;
    let damaged = match bytes {
        Unpacked::Gzipped(_) => Some(format!("a gzip archive of {kind}")),
        Unpacked::Plain(_) => None,
    };
    let failed = |error: io::Error| match &damaged {
        Some(archive) => format(archive.clone(), format!("a damaged one ({error})")),
        None => DataError::io(file, error),
    };
    let length = 4 + 4 * RANK;
    let mut header = Vec::with_capacity(length);
    bytes.by_ref().take(length as u64).read_to_end(&mut header).map_err(failed)?;
    let (words, _) = header.as_chunks::<4>();
    let word = |index: usize| words.get(index).map(|&four| u32::from_be_bytes(four));
    match word(0) {
        Some(found) if found == magic => {}
        Some(found) => {
            return Err(format(
                format!("{kind} (magic number {magic:#06x})"),
                format!("{found:#06x}{}", sniff::bracketed(&header)),
            ));
        }
        None => return Err(format(kind.to_owned(), format!("{} bytes", header.len()))),
    }
    if header.len() < length {
        return Err(format(
            format!("a header of {length} bytes"),
            format!("{} bytes", header.len()),
        ));
    }
    let sizes: [usize; RANK] =
        std::array::from_fn(|index| word(index + 1).expect("within the header") as usize);
    // A size of zero must not hide that the product of the others overflows.
    let most = sizes.iter().try_fold(length, |product, &size| product.checked_mul(size.max(1)));
    let promised =
        format!("{} bytes after a header of {length}", sizes.map(|n| n.to_string()).join(" x "));
    if most.is_none() {
        return Err(format(promised, "less: no file is as long".to_owned()));
    }
    let total: usize = sizes.iter().product();
    memory::check(total).map_err(|_| DataError::Memory { bytes: total }.within(file.display()))?;
    let mut body = vec![];
    bytes.by_ref().take(total as u64).read_to_end(&mut body).map_err(failed)?;
    if body.len() < total {
        return Err(format(promised, format!("{} in all", length + body.len())));
    }
    match bytes.read(&mut [0]).map_err(failed)? {
        0 => Ok((sizes, body)),
        _ => Err(format(promised, "more".to_owned())),
    }
}
