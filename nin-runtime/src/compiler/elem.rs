//! [`Elem`], what the numbers of a tensor are stored as.

use std::fmt;

/// What the numbers of a tensor are stored as. Whatever is computed is computed in float32: what loads a number converts it, and
/// what stores one rounds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Elem {
    /// IEEE 754 binary32.
    F32,
}

impl Elem {
    /// Bytes of one.
    pub const fn bytes(self) -> usize {
        match self {
            Elem::F32 => 4,
        }
    }
}

impl fmt::Display for Elem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Elem::F32 => "f32",
        })
    }
}
