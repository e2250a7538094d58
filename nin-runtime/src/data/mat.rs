//! MATLAB's MAT files of version 5, as much of them as datasets need: arrays of numbers by name, compressed or not.

use std::collections::BTreeMap;
use std::io::{self, BufReader, Read};
use std::path::Path;

use flate2::read::ZlibDecoder;

use super::{DataError, sniff};
use crate::file;
use crate::host::memory;

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
/// Bytes of what is said of an array before its numbers: flags, dimensions, a name.
const MOST_SAID: u32 = 1 << 12;

/// An array; the first dimension varies fastest. Its numbers are as the file stores them, which may be narrower than the
/// array's class.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Array {
    pub(super) dims: Vec<usize>,
    width: Width,
    bytes: Vec<u8>,
}

/// How numbers are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Width {
    I8,
    U8,
    I16,
    U16,
    I32,
    U32,
    F32,
    F64,
    I64,
    U64,
}

impl Width {
    /// What an element's kind stands for; `None` of a kind that holds no numbers.
    fn of(kind: u32) -> Option<Width> {
        Some(match kind {
            1 => Width::I8,
            2 => Width::U8,
            3 => Width::I16,
            4 => Width::U16,
            5 => Width::I32,
            6 => Width::U32,
            7 => Width::F32,
            9 => Width::F64,
            12 => Width::I64,
            13 => Width::U64,
            _ => return None,
        })
    }

    /// Bytes of a number.
    fn bytes(self) -> usize {
        match self {
            Width::I8 | Width::U8 => 1,
            Width::I16 | Width::U16 => 2,
            Width::I32 | Width::U32 | Width::F32 => 4,
            Width::F64 | Width::I64 | Width::U64 => 8,
        }
    }
}

impl Array {
    /// How many numbers there are.
    pub(super) fn len(&self) -> usize {
        self.bytes.len() / self.width.bytes()
    }

    /// The numbers, if they are stored as `uint8`.
    pub(super) fn into_bytes(self) -> Option<Vec<u8>> {
        (self.width == Width::U8).then_some(self.bytes)
    }

    /// The numbers, whatever they are stored as.
    pub(super) fn numbers(&self) -> Vec<f64> {
        macro_rules! wide {
            ($number:ty) => {{
                let (words, _) = self.bytes.as_chunks::<{ size_of::<$number>() }>();
                words.iter().map(|&word| <$number>::from_le_bytes(word) as f64).collect()
            }};
        }
        match self.width {
            Width::I8 => wide!(i8),
            Width::U8 => wide!(u8),
            Width::I16 => wide!(i16),
            Width::U16 => wide!(u16),
            Width::I32 => wide!(i32),
            Width::U32 => wide!(u32),
            Width::F32 => wide!(f32),
            Width::F64 => wide!(f64),
            Width::I64 => wide!(i64),
            Width::U64 => wide!(u64),
        }
    }
}

/// The arrays of these names that a file holds.
///
/// # Errors
/// A file that cannot be read, is of another version or damaged, or holds something else under one of the names.
pub(super) fn read(file: &Path, names: &[&str]) -> Result<BTreeMap<String, Array>, DataError> {
    let opened = file::open(file).map_err(|error| DataError::io(file, error))?;
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
        _ => {
            let found = sniff::kind(&header).unwrap_or("a file of another kind");
            return Err(Wrong(found.to_owned()));
        }
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
        if let Some((name, array)) = named
            && found.insert(name.clone(), array).is_some()
        {
            return Err(Wrong(format!("`{name}` twice")));
        }
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

/// The bytes of the next element, which says something of an array.
fn said(from: &mut impl Read) -> Result<Vec<u8>, Wrong> {
    let tag = Tag::read(from)?;
    match tag.bytes > MOST_SAID {
        true => Err(Wrong("a damaged one".to_owned())),
        false => body(from, &tag),
    }
}

/// The bytes of an element, padding passed over.
fn body(from: &mut impl Read, tag: &Tag) -> Result<Vec<u8>, Wrong> {
    let length = tag.bytes as usize;
    if let Some(within) = tag.within {
        let bytes = within.get(..length).ok_or_else(|| Wrong("a damaged one".to_owned()))?;
        return Ok(bytes.to_vec());
    }
    let mut body = Vec::new();
    from.take(u64::from(tag.bytes)).read_to_end(&mut body)?;
    if body.len() < length {
        return Err(Wrong("one that ends too early".to_owned()));
    }
    // The last element of a compressed matrix may lack its padding.
    let padding = u64::from(tag.bytes).next_multiple_of(WORD) - u64::from(tag.bytes);
    io::copy(&mut from.take(padding), &mut io::sink())?;
    Ok(body)
}

/// A matrix that is asked for, with its name. Its numbers are read once their count is known to be that of its dimensions.
fn matrix(from: &mut impl Read, names: &[&str]) -> Result<Option<(String, Array)>, Wrong> {
    let (flags, dims, name) = (said(from)?, said(from)?, said(from)?);
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
    let tag = Tag::read(from)?;
    let width = Width::of(tag.kind).ok_or_else(|| {
        Wrong(format!("`{name}`, stored as numbers of an unknown kind ({})", tag.kind))
    })?;
    let (bytes, count) = (tag.bytes as usize, tag.bytes as usize / width.bytes());
    let expected = dims.iter().try_fold(1usize, |product, &dim| product.checked_mul(dim));
    if dims.len() > MOST_DIMS || expected != Some(count) {
        return Err(Wrong(format!("`{name}` of {dims:?} with {count} numbers")));
    }
    memory::check(bytes).map_err(|_| {
        Wrong(format!("`{name}` of {bytes} bytes, which this machine has no memory for"))
    })?;
    Ok(Some((name, Array { dims, width, bytes: body(from, &tag)? })))
}
