//! [`Isa`], the instruction sets that code is generated for.

use std::fmt;
use std::str::FromStr;

/// The choice of instruction set, `--isa`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Isa {
    /// The fastest that this CPU has.
    #[default]
    Auto,
    /// Vectors of four floats, on every CPU.
    Portable,
    /// x86-64 with AVX2 and FMA: vectors of eight.
    Avx2,
    /// x86-64 with AVX-512F and AVX-512VL: vectors of sixteen.
    Avx512,
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Isa {
    type Err = String;

    fn from_str(text: &str) -> Result<Isa, String> {
        let found = Isa::ALL.into_iter().find(|isa| isa.word() == text);
        found.ok_or_else(|| {
            let words = Isa::ALL.map(Isa::word).join(", ");
            format!("no instruction set `{text}`: it is one of {words}")
        })
    }
}

impl Isa {
    /// Every choice.
    pub const ALL: [Isa; 4] = [Isa::Auto, Isa::Portable, Isa::Avx2, Isa::Avx512];

    /// The word that chooses it, such as `avx2`.
    pub fn word(self) -> &'static str {
        match self {
            Isa::Auto => "auto",
            Isa::Portable => "portable",
            Isa::Avx2 => "avx2",
            Isa::Avx512 => "avx512",
        }
    }

    /// What it is, in a few words.
    pub fn summary(self) -> &'static str {
        match self {
            Isa::Auto => "The fastest that this CPU has",
            Isa::Portable => "Vectors of four floats, on every CPU",
            Isa::Avx2 => "x86-64 with AVX2 and FMA: vectors of eight",
            Isa::Avx512 => "x86-64 with AVX-512F and AVX-512VL: vectors of sixteen",
        }
    }
}
