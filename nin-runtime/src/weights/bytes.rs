//! The bytes of a safetensors file, read no further than its header says.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::Path;

use nin_dsl::limits::{PARAMETERS, TEXT_BYTES};
use safetensors::tensor::Metadata;

use crate::host::memory;

/// Bytes of a header: a model's text, and a name and a shape for each of its tensors.
const MOST_HEADER: u64 = 8 * TEXT_BYTES as u64;
/// Bytes of numbers: a checkpoint of the largest model with both moments of its optimizer.
const MOST_NUMBERS: u64 = 3 * 4 * PARAMETERS + (1 << 20);
/// Bytes of the header's length, which come first.
const LENGTH: usize = size_of::<u64>();

/// Bytes that tell what a file is that is no safetensors file.
const TELLING: u64 = 1024;

/// Puts a whole file into `bytes`, a header and what it promises; whether the header makes sense is left to whoever parses
/// it. After an error `bytes` holds how the file begins.
///
/// # Errors
/// Those of the file system; [`ErrorKind::InvalidData`] of a file that is longer or shorter than its header says, or whose
/// header promises more than any model has.
pub(super) fn read(file: &Path, bytes: &mut Vec<u8>) -> io::Result<()> {
    let mut from = File::open(file)?;
    let mut more = |count: u64, bytes: &mut Vec<u8>| -> io::Result<u64> {
        Ok(from.by_ref().take(count).read_to_end(bytes)? as u64)
    };
    more(LENGTH as u64, bytes)?;
    let Some(&length) = bytes.first_chunk::<LENGTH>() else {
        return Err(wrong("it ends before its header".to_owned()));
    };
    let header = u64::from_le_bytes(length);
    if header > MOST_HEADER {
        more(TELLING, bytes)?;
        return Err(wrong(format!("its header would be {header} bytes long")));
    }
    if more(header, bytes)? != header {
        return Err(wrong("it ends within its header".to_owned()));
    }
    let Ok(metadata) = serde_json::from_slice::<Metadata>(&bytes[LENGTH..]) else {
        return Ok(());
    };
    let numbers = metadata.data_len() as u64;
    let fits = usize::try_from(numbers).is_ok_and(|bytes| memory::check(bytes).is_ok());
    if numbers > MOST_NUMBERS || !fits {
        return Err(wrong(format!("its header promises {numbers} bytes of numbers")));
    }
    // A byte more tells a file that goes on.
    let read = more(numbers + 1, bytes)?;
    match read == numbers {
        true => Ok(()),
        false => {
            let other = if read > numbers { "more" } else { "less" };
            Err(wrong(format!(
                "its header promises {numbers} bytes of numbers, and there is {other}"
            )))
        }
    }
}

fn wrong(reason: String) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, reason)
}
