//! Arrays and pictures of the user's own.

use std::path::Path;

use nin_runtime::data::npy::{self, Expected};
use nin_runtime::data::{Picture, Spec};

use super::Check;
use super::scratch::Scratch;

/// What stands in NumPy's headers.
pub(super) const WORDS: &[&str] = &[
    "{'descr': ",
    "'<f4'",
    "'|u1'",
    "'<i8'",
    "'>i4'",
    "'fortran_order': ",
    "True",
    "False",
    "'shape': (",
    "(3,)",
    "()",
    "[",
    "]",
    "(",
    ")",
    ", ",
    "}",
    "\\'",
    "1L",
    "'|O'",
    "'<U5'",
    "('a', '<f4')",
    "\n",
];

const FOUR: [&str; 4] =
    ["train_images.npy", "train_labels.npy", "test_images.npy", "test_labels.npy"];

/// A dataset of two images of 1x2x2.
fn dataset() -> Scratch {
    let images = array("'|u1'", "(2, 1, 2, 2)", &[7; 8]);
    let labels = array("'|u1'", "(2,)", &[0, 1]);
    Scratch::with(FOUR.map(|name| {
        let bytes = if name.contains("images") { &images } else { &labels };
        (name, bytes.clone())
    }))
}

/// A NumPy file of version 1.
fn array(descr: &str, shape: &str, numbers: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}");
    with_header(header.as_bytes(), numbers)
}

/// A NumPy file around a header: of version 1, or of version 2 if it is long.
fn with_header(header: &[u8], numbers: &[u8]) -> Vec<u8> {
    let mut file = b"\x93NUMPY".to_vec();
    let padded = (header.len() + 1 + 12).next_multiple_of(64) - 12;
    match u16::try_from(padded + 2) {
        Ok(length) => {
            file.extend([1, 0]);
            file.extend(length.to_le_bytes());
        }
        Err(_) => {
            file.extend([2, 0]);
            file.extend((padded as u32).to_le_bytes());
        }
    }
    let length = padded + if file[6] == 1 { 2 } else { 0 };
    file.extend(header);
    file.resize(file.len() + length - header.len() - 1, b' ');
    file.push(b'\n');
    file.extend(numbers);
    file
}

/// A file is refused or read, by itself and as each file of a dataset.
pub(super) fn npy() -> Check {
    let scratch = dataset();
    Box::new(move |bytes| examine(&scratch, bytes))
}

/// The same with magic, version, length and numbers put around a header.
pub(super) fn npy_header() -> Check {
    let scratch = dataset();
    Box::new(move |header| examine(&scratch, &with_header(header, &[1; 24])))
}

fn examine(scratch: &Scratch, bytes: &[u8]) -> Result<(), String> {
    const EXPECTED: Expected = Expected { what: "numbers", dtype: "float32", levels: true };
    let file = scratch.write("x.npy", bytes);
    told_at(&file, npy::read(&file, EXPECTED))?;
    told_at(&file, npy::labels(&file))?;
    let spec: Spec = format!("npy:{}", scratch.path().display()).parse().expect("a dataset");
    for name in ["train_images.npy", "train_labels.npy"] {
        let place = scratch.file(name);
        let whole = std::fs::read(&place).expect("the dataset's file");
        scratch.write(name, bytes);
        let loaded = spec.load();
        scratch.write(name, &whole);
        if let Err(error) = loaded {
            let _said = error.to_string();
        }
    }
    Ok(())
}

/// A message names its file.
fn told_at<T>(file: &Path, read: Result<T, nin_runtime::data::DataError>) -> Result<(), String> {
    match read.map_err(|error| error.to_string()) {
        Err(message) if !message.contains(&*file.to_string_lossy()) => {
            Err(format!("`{message}` names no file"))
        }
        _ => Ok(()),
    }
}

/// A picture is refused or read to as many pixels as it says, with its checksums and with the right ones.
pub(super) fn png() -> Check {
    let scratch = Scratch::new();
    Box::new(move |bytes| {
        let mut mended = bytes.to_vec();
        mend(&mut mended);
        for bytes in [bytes, &mended] {
            let file = scratch.write("p.png", bytes);
            let picture = match Picture::open(&file) {
                Ok(picture) => picture,
                Err(error) => {
                    told_at::<()>(&file, Err(error))?;
                    continue;
                }
            };
            let dims = picture.dims();
            let read = picture.read();
            if read.as_ref().is_ok_and(|pixels| pixels.shape() != dims) {
                return Err(format!("is read to other pixels than {dims:?}"));
            }
            told_at(&file, read)?;
        }
        Ok(())
    })
}

/// Makes every chunk's checksum the right one.
fn mend(bytes: &mut [u8]) {
    let mut rest = bytes.get_mut(8..).unwrap_or_default();
    while let Some((length, after)) = rest.split_first_chunk_mut::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        let Some((body, after)) = after.split_at_mut_checked(length.saturating_add(4)) else {
            return;
        };
        let Some((checksum, after)) = after.split_first_chunk_mut::<4>() else { return };
        *checksum = crc32fast::hash(body).to_be_bytes();
        rest = after;
    }
}
