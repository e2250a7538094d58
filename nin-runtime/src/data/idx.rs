//! The idx format of MNIST and its kin: a magic number, sizes, then bytes; plain or gzipped.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use ndarray::Array4;

use super::DataError;

/// What the first two bytes of a gzip archive are.
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// Magic number of an array of bytes with three dimensions.
const IMAGES: u32 = 0x0803;
/// Magic number of an array of bytes with one dimension.
const LABELS: u32 = 0x0801;

/// Grey images: `[N, 1, H, W]`.
pub(super) fn images(file: &Path, bytes: &[u8]) -> Result<Array4<u8>, DataError> {
    let ([n, h, w], body) = array(file, bytes, IMAGES, "idx images")?;
    Ok(Array4::from_shape_vec((n, 1, h, w), body).expect("the size was checked"))
}

/// Labels: `[N]`.
pub(super) fn labels(file: &Path, bytes: &[u8]) -> Result<Vec<u32>, DataError> {
    let ([_], body) = array(file, bytes, LABELS, "idx labels")?;
    Ok(body.into_iter().map(u32::from).collect())
}

/// The first of `names` that lies in a folder, plain or with `.gz`, and its bytes.
pub(super) fn find(
    folder: &Path,
    names: &[&str],
    what: &str,
) -> Result<(PathBuf, Vec<u8>), DataError> {
    let candidates: Vec<String> =
        names.iter().flat_map(|name| [(*name).to_owned(), format!("{name}.gz")]).collect();
    let found = candidates.iter().map(|name| folder.join(name)).find(|path| path.is_file());
    let Some(file) = found else {
        let candidates: Vec<&str> = candidates.iter().map(String::as_str).collect();
        return Err(DataError::missing(folder, what, &candidates));
    };
    match fs::read(&file) {
        Ok(bytes) => Ok((file, bytes)),
        Err(error) => Err(DataError::io(&file, error)),
    }
}

/// Sizes and contents of an array of bytes with `RANK` dimensions.
fn array<const RANK: usize>(
    file: &Path,
    bytes: &[u8],
    magic: u32,
    kind: &str,
) -> Result<([usize; RANK], Vec<u8>), DataError> {
    let format = |expected: String, found: String| DataError::Format {
        file: file.to_owned(),
        expected,
        found,
    };
    let mut bytes = unpacked(bytes).map_err(|error| {
        format(format!("a gzip archive of {kind}"), format!("a damaged one ({error})"))
    })?;
    let header = 4 + 4 * RANK;
    let (words, _) = bytes.as_chunks::<4>();
    let word = |index: usize| words.get(index).map(|&four| u32::from_be_bytes(four));
    match word(0) {
        Some(found) if found == magic => {}
        Some(found) => {
            return Err(format(
                format!("{kind} (magic number {magic:#06x})"),
                format!("{found:#06x}"),
            ));
        }
        None => return Err(format(kind.to_owned(), format!("{} bytes", bytes.len()))),
    }
    if bytes.len() < header {
        return Err(format(
            format!("a header of {header} bytes"),
            format!("{} bytes", bytes.len()),
        ));
    }
    let sizes: [usize; RANK] =
        std::array::from_fn(|index| word(index + 1).expect("within the header") as usize);
    let body = sizes.iter().try_fold(1usize, |product, &size| product.checked_mul(size));
    let total = body.and_then(|body| body.checked_add(header));
    if total != Some(bytes.len()) {
        let sizes = sizes.map(|size| size.to_string()).join(" x ");
        return Err(format(
            format!("{sizes} bytes after a header of {header}"),
            format!("{} in all", bytes.len()),
        ));
    }
    bytes.drain(..header);
    Ok((sizes, bytes))
}

/// The bytes themselves, or what the archive holds.
fn unpacked(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    if !bytes.starts_with(&GZIP) {
        return Ok(bytes.to_vec());
    }
    let mut plain = Vec::new();
    GzDecoder::new(bytes).read_to_end(&mut plain)?;
    Ok(plain)
}
