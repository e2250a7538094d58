//! MATLAB's MAT files of version 5, as much of them as datasets need: arrays of numbers by name, compressed or not.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use flate2::read::ZlibDecoder;

use super::DataError;

/// Bytes of the text, version and byte order before the first element.
const HEADER: usize = 128;
/// Elements are padded to whole words of this length.
const WORD: u64 = 8;
const MATRIX: u32 = 14;
const COMPRESSED: u32 = 15;
/// Classes of matrix that hold plain numbers: `double` to `uint64`.
const NUMERIC: std::ops::RangeInclusive<u8> = 6..=15;
/// The flag of a matrix with an imaginary part.
const COMPLEX: u8 = 0x08;
/// Arrays of more dimensions are no data of nin's.
const MOST_DIMS: usize = 8;

/// Numbers as a file stores them, which may be narrower than the array's class.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Numbers {
    /// Stored as `uint8`.
    Bytes(Vec<u8>),
    /// Stored as anything else.
    Others(Vec<f64>),
}

/// An array; the first dimension varies fastest.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Array {
    pub(super) dims: Vec<usize>,
    pub(super) numbers: Numbers,
}

/// The arrays of these names that a file holds.
///
/// # Errors
/// A file that cannot be read, is of another version or damaged, or holds something else under one of the names.
pub(super) fn read(file: &Path, names: &[&str]) -> Result<BTreeMap<String, Array>, DataError> {
    let opened = File::open(file).map_err(|error| DataError::io(file, error))?;
    let wrong = |found: String| DataError::Format {
        file: file.to_owned(),
        expected: "a MAT file of version 5".to_owned(),
        found,
    };
    elements(BufReader::new(opened), names).map_err(|Wrong(found)| wrong(found))
}

/// What is found in place of a file that can be read.
struct Wrong(String);

impl From<io::Error> for Wrong {
    fn from(error: io::Error) -> Wrong {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Wrong("one that ends too early".to_owned()),
            _ => Wrong(format!("a damaged one ({error})")),
        }
    }
}

fn elements(mut from: impl Read, names: &[&str]) -> Result<BTreeMap<String, Array>, Wrong> {
    let mut header = Vec::with_capacity(HEADER);
    from.by_ref().take(HEADER as u64).read_to_end(&mut header)?;
    if header.starts_with(b"MATLAB 7.3") || header.starts_with(b"\x89HDF") {
        return Err(Wrong("version 7.3: save it with `-v7`".to_owned()));
    }
    match header.get(HEADER - 4..) {
        Some([0, 1, b'I', b'M']) => {}
        Some([1, 0, b'M', b'I']) => {
            return Err(Wrong("one with its bytes in big-endian order".to_owned()));
        }
        _ => return Err(Wrong("a file of another kind".to_owned())),
    }
    let mut found = BTreeMap::new();
    while let Some(tag) = first_tag(&mut from)? {
        let mut body = from.by_ref().take(u64::from(tag.bytes));
        let named = match tag.kind {
            COMPRESSED => {
                let mut inside = ZlibDecoder::new(&mut body);
                match Tag::read(&mut inside)? {
                    tag if tag.kind == MATRIX => matrix(&mut inside, names)?,
                    _ => None,
                }
            }
            MATRIX => matrix(&mut body, names)?,
            _ => None,
        };
        found.extend(named);
        // What was not asked for is passed over.
        io::copy(&mut body, &mut io::sink())?;
        if body.limit() > 0 {
            return Err(Wrong("one that ends too early".to_owned()));
        }
    }
    Ok(found)
}

/// What stands before an element.
struct Tag {
    kind: u32,
    bytes: u32,
    /// The element itself, if it is so short that it lies in its tag.
    within: Option<[u8; 4]>,
}

impl Tag {
    fn read(from: &mut impl Read) -> Result<Tag, Wrong> {
        let mut word = [0; WORD as usize];
        from.read_exact(&mut word)?;
        Ok(Tag::of(word))
    }

    fn of(word: [u8; WORD as usize]) -> Tag {
        let [a, b, c, d, rest @ ..] = word;
        let first = u32::from_le_bytes([a, b, c, d]);
        match first >> 16 {
            0 => Tag { kind: first, bytes: u32::from_le_bytes(rest), within: None },
            bytes => Tag { kind: first & 0xffff, bytes, within: Some(rest) },
        }
    }
}

/// The tag of the next element, or none at the end of the file.
fn first_tag(from: &mut impl Read) -> Result<Option<Tag>, Wrong> {
    let mut word = Vec::with_capacity(WORD as usize);
    from.take(WORD).read_to_end(&mut word)?;
    match <[u8; WORD as usize]>::try_from(word.as_slice()) {
        Ok(word) => Ok(Some(Tag::of(word))),
        Err(_) if word.is_empty() => Ok(None),
        Err(_) => Err(Wrong("one that ends too early".to_owned())),
    }
}

/// The kind and the bytes of the next element.
fn element(from: &mut impl Read) -> Result<(u32, Vec<u8>), Wrong> {
    let Tag { kind, bytes, within } = Tag::read(from)?;
    if let Some(within) = within {
        let bytes =
            within.get(..bytes as usize).ok_or_else(|| Wrong("a damaged one".to_owned()))?;
        return Ok((kind, bytes.to_vec()));
    }
    let mut body = Vec::new();
    from.take(u64::from(bytes)).read_to_end(&mut body)?;
    if body.len() < bytes as usize {
        return Err(Wrong("one that ends too early".to_owned()));
    }
    // The last element of a compressed matrix may lack its padding.
    let padding = u64::from(bytes).next_multiple_of(WORD) - u64::from(bytes);
    io::copy(&mut from.take(padding), &mut io::sink())?;
    Ok((kind, body))
}

/// A matrix that is asked for, with its name.
fn matrix(from: &mut impl Read, names: &[&str]) -> Result<Option<(String, Array)>, Wrong> {
    let (_, flags) = element(from)?;
    let (_, dims) = element(from)?;
    let (_, name) = element(from)?;
    let name = String::from_utf8_lossy(&name).into_owned();
    if !names.contains(&name.as_str()) {
        return Ok(None);
    }
    let (class, flags) = match flags[..] {
        [class, flags, ..] => (class, flags),
        _ => return Err(Wrong("a damaged one".to_owned())),
    };
    if !NUMERIC.contains(&class) || flags & COMPLEX != 0 {
        return Err(Wrong(format!("`{name}`, which is no array of real numbers")));
    }
    let (dims, _) = dims.as_chunks::<4>();
    let dims: Vec<usize> = dims.iter().map(|&dim| u32::from_le_bytes(dim) as usize).collect();
    let (kind, bytes) = element(from)?;
    let numbers = numbers(kind, bytes)
        .ok_or_else(|| Wrong(format!("`{name}`, stored as numbers of an unknown kind ({kind})")))?;
    let count = match &numbers {
        Numbers::Bytes(numbers) => numbers.len(),
        Numbers::Others(numbers) => numbers.len(),
    };
    let expected = dims.iter().try_fold(1usize, |product, &dim| product.checked_mul(dim));
    if dims.len() > MOST_DIMS || expected != Some(count) {
        return Err(Wrong(format!("`{name}` of {dims:?} with {count} numbers")));
    }
    Ok(Some((name, Array { dims, numbers })))
}

/// Numbers out of their bytes; `None` of a kind that is none.
fn numbers(kind: u32, bytes: Vec<u8>) -> Option<Numbers> {
    macro_rules! wide {
        ($number:ty) => {{
            let (words, _) = bytes.as_chunks::<{ size_of::<$number>() }>();
            words.iter().map(|&word| <$number>::from_le_bytes(word) as f64).collect()
        }};
    }
    Some(Numbers::Others(match kind {
        1 => wide!(i8),
        2 => return Some(Numbers::Bytes(bytes)),
        3 => wide!(i16),
        4 => wide!(u16),
        5 => wide!(i32),
        6 => wide!(u32),
        7 => wide!(f32),
        9 => wide!(f64),
        12 => wide!(i64),
        13 => wide!(u64),
        _ => return None,
    }))
}
