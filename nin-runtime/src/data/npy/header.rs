//! What stands before the numbers of a `.npy` file: a length, and a text in Python's syntax.

use std::io::{self, Read as _};

use ndarray_npy::npy::header::Header;

use crate::data::sniff;

/// What every file begins with.
const MAGIC: &[u8] = b"\x93NUMPY";
/// What a `.npz` file is, and what to do about it.
pub(super) const ARCHIVE: &str =
    "a zip archive, as of `numpy.savez`: save each array by itself with `numpy.save`";
/// Bytes of the text that describes an array; NumPy reads no longer ones either, and a hundred are usual.
const MOST_HEADER: usize = 10_000;
/// Brackets within brackets of that text: the parser calls itself at each.
const MOST_NESTING: usize = 8;

/// Reads what stands before the numbers, or says what is there instead.
pub(super) fn read(reader: &mut impl io::Read) -> Result<Header, String> {
    const CUT: &str = "one without a whole header";
    let mut bytes = vec![];
    // So much of it is read, or less at the end of the file.
    let mut more = |count: usize, bytes: &mut Vec<u8>| {
        let read = reader.by_ref().take(count as u64).read_to_end(bytes);
        read.map_err(|error| error.to_string()).map(|read| read == count)
    };
    more(MAGIC.len() + 2, &mut bytes)?;
    match bytes.strip_prefix(MAGIC) {
        Some(&[version, _]) => {
            let place = if version == 1 { 2 } else { 4 };
            let start = bytes.len();
            if !more(place, &mut bytes)? {
                return Err(CUT.to_owned());
            }
            let digits = bytes[start..].iter().rev();
            let length = digits.fold(0, |length: usize, &byte| length << 8 | usize::from(byte));
            if length > MOST_HEADER {
                return Err(format!("one with a header of {length} bytes"));
            }
            let start = bytes.len();
            if !more(length, &mut bytes)? {
                return Err(CUT.to_owned());
            }
            parsable(&mut bytes[start..])?;
        }
        Some(_) => return Err(CUT.to_owned()),
        None if MAGIC.starts_with(&bytes) => return Err(CUT.to_owned()),
        None => {
            return Err(match sniff::kind(&bytes) {
                Some(sniff::ZIP) => ARCHIVE.to_owned(),
                kind => kind.unwrap_or("a file of another kind").to_owned(),
            });
        }
    }
    // What does not parse is not worth printing.
    Header::from_reader(&mut bytes.as_slice())
        .map_err(|_| "one with a header that makes no sense".to_owned())
}

/// Takes the `L` away with which Python 2 ended whole numbers, and refuses a text that the parser has no stack for.
fn parsable(text: &mut [u8]) -> Result<(), String> {
    let (mut nesting, mut deepest) = (0usize, 0);
    let (mut quote, mut before) = (None, b' ');
    for byte in text {
        match *byte {
            b'(' | b'[' | b'{' => nesting += 1,
            b')' | b']' | b'}' => nesting = nesting.saturating_sub(1),
            mark @ (b'\'' | b'"') if quote.is_none_or(|open| open == mark) => {
                quote = quote.is_none().then_some(mark);
            }
            b'L' if quote.is_none() && before.is_ascii_digit() => *byte = b' ',
            _ => {}
        }
        deepest = deepest.max(nesting);
        before = *byte;
    }
    match deepest > MOST_NESTING {
        true => Err("one with a header that makes no sense".to_owned()),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(version: u8, length: &[u8], text: &str) -> Result<Header, String> {
        read(&mut [MAGIC, &[version, 0], length, text.as_bytes()].concat().as_slice())
    }

    /// Python 2 wrote sizes as long numbers.
    #[test]
    fn long_numbers_are_numbers() {
        let text = "{'descr': '|u1', 'fortran_order': False, 'shape': (3L, 28L)}";
        let length = [text.len() as u8 + 1, 0];
        assert_eq!(found(1, &length, &format!("{text}\n")).unwrap().shape, [3, 28]);
    }

    /// However a header is nested and whatever length it claims, it costs neither the stack nor memory.
    #[test]
    fn headers_are_short_and_flat() {
        let long = found(2, &[0xff; 4], "{").unwrap_err();
        assert_eq!(long, "one with a header of 4294967295 bytes");
        let senseless = |text: &str| {
            let error = found(1, &(text.len() as u16).to_le_bytes(), text).unwrap_err();
            assert_eq!(error, "one with a header that makes no sense");
        };
        for open in ["(", "[", "{", "{1:(["] {
            senseless(&open.repeat(9_000 / open.len()));
            // As deep as is parsed, and as wide as there is room.
            senseless(&format!("{}{}", open.repeat(8 / open.len()), "1,".repeat(4_900)));
        }
    }
}
