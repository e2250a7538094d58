//! Types of numbers, by the names that NumPy and Python have for them, and what to do about another type than is read.

use std::path::Path;

use super::wrong;
use crate::data::DataError;

/// What is no number.
const OBJECTS: &str = "objects of Python's";
const TEXTS: &str = "texts";
const RECORDS: &str = "records of several fields";

/// What a file should hold, for messages.
#[derive(Clone, Copy, Debug)]
pub struct Expected {
    /// All of it, such as `float32 images [N, C, H, W]`.
    pub what: &'static str,
    /// The type to convert other numbers to, such as `float32`.
    pub dtype: &'static str,
    /// Whether whole numbers may be levels from 0 to 255, for which there is `uint8`.
    pub levels: bool,
}

impl Expected {
    /// The error about numbers of another type, by NumPy's name for it, or about what are no numbers.
    pub fn but_found(self, file: &Path, dtype: &str) -> DataError {
        let to = self.dtype;
        let whole = dtype.starts_with("int") || dtype.starts_with("uint");
        let remedy = match dtype {
            OBJECTS => format!("save `numpy.array(x.tolist(), numpy.{to})`, all of one shape"),
            TEXTS if self.levels => "save numbers".to_owned(),
            TEXTS => "save numbers, such as `numpy.unique(x, return_inverse=True)[1]`".to_owned(),
            RECORDS => "save one field of them".to_owned(),
            _ if whole && self.levels => {
                "save `x.astype(numpy.uint8)` if they are levels from 0 to 255".to_owned()
            }
            _ => format!("save `x.astype(numpy.{to})`"),
        };
        wrong(file, self.what, &format!("{dtype}: {remedy}"))
    }
}

/// What Python calls a type: `float64` for `f8`; no code is that of records.
pub(super) fn dtype(code: &str) -> String {
    let kind = match code.chars().next() {
        Some('f') => "float",
        Some('i') => "int",
        Some('u') => "uint",
        Some('c') => "complex",
        Some('b') => return "bool".to_owned(),
        Some('O') => return OBJECTS.to_owned(),
        Some('U' | 'S' | 'a') => return TEXTS.to_owned(),
        None | Some('V') => return RECORDS.to_owned(),
        _ => return format!("numbers of another kind ({code})"),
    };
    match code[1..].parse::<u32>() {
        Ok(bytes) => format!("{kind}{}", u64::from(bytes) * 8),
        Err(_) => code.to_owned(),
    }
}
