//! The levels of x86-64 that nin makes code for, and what each needs of the CPU and of the system: one table, by which a JIT looks
//! for what it may use, libraries choose their code, Cranelift gets its settings, and documents speak.

use crate::compiler::isa::Isa;

/// A register of CPUID's answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// Leaf 1, ECX.
    Leaf1Ecx,
    /// Leaf 7, EBX.
    Leaf7Ebx,
}

/// What a CPU can have.
#[derive(Clone, Copy)]
pub(super) struct Feature {
    /// Its name, as Rust has it.
    pub(super) name: &'static str,
    /// Where CPUID tells of it.
    pub(super) word: Word,
    /// The bit there.
    pub(super) bit: u32,
    /// Cranelift's setting, if it makes use of it.
    pub(super) setting: Option<&'static str>,
    /// Whether this CPU has it and the system lets it be used.
    detected: fn() -> bool,
}

/// What more than the level before, or than every CPU of the platform, code of an instruction set needs.
pub(super) struct Level {
    /// The instruction set.
    pub(super) isa: Isa,
    /// Of the CPU.
    pub(super) features: &'static [Feature],
    /// Of XCR0: registers that the system keeps when threads take turns.
    pub(super) state: u32,
}

#[cfg(target_arch = "x86_64")]
use std::arch::is_x86_feature_detected as detected;

#[cfg(not(target_arch = "x86_64"))]
macro_rules! detected {
    ($name:tt) => {
        false
    };
}

macro_rules! feature {
    ($name:tt, $word:ident, $bit:literal, $setting:expr) => {
        Feature {
            name: $name,
            word: Word::$word,
            bit: $bit,
            setting: $setting,
            detected: || detected!($name),
        }
    };
}

/// The levels, the slowest first; what has none of them has only what every CPU of the platform has.
pub(super) const LEVELS: [Level; 2] = [
    Level {
        isa: Isa::Avx2,
        features: &[
            feature!("sse3", Leaf1Ecx, 0, Some("has_sse3")),
            feature!("ssse3", Leaf1Ecx, 9, Some("has_ssse3")),
            feature!("sse4.1", Leaf1Ecx, 19, Some("has_sse41")),
            feature!("sse4.2", Leaf1Ecx, 20, Some("has_sse42")),
            feature!("popcnt", Leaf1Ecx, 23, Some("has_popcnt")),
            feature!("avx", Leaf1Ecx, 28, Some("has_avx")),
            feature!("avx2", Leaf7Ebx, 5, Some("has_avx2")),
            feature!("fma", Leaf1Ecx, 12, Some("has_fma")),
        ],
        // XMM and the upper halves of YMM.
        state: 1 << 1 | 1 << 2,
    },
    Level {
        isa: Isa::Avx512,
        // The assembler's tiles and transforms use them; Cranelift stays with those above.
        features: &[
            feature!("avx512f", Leaf7Ebx, 16, None),
            feature!("avx512vl", Leaf7Ebx, 31, None),
        ],
        // Masks, the upper halves of ZMM, and its registers from the sixteenth on.
        state: 1 << 5 | 1 << 6 | 1 << 7,
    },
];

/// The number of an instruction set's level, from 1; 0 of what every CPU has.
pub(super) fn number(isa: Isa) -> usize {
    LEVELS.iter().position(|level| level.isa == isa).map_or(0, |position| 1 + position)
}

/// Everything that an instruction set needs beyond what every CPU has.
pub(super) fn features(isa: Isa) -> impl Iterator<Item = &'static Feature> {
    LEVELS[..number(isa)].iter().flat_map(|level| level.features)
}

/// What an instruction set needs and this CPU has not, or its system keeps no registers for.
pub(super) fn missing(isa: Isa) -> impl Iterator<Item = &'static str> {
    features(isa).filter(|feature| !(feature.detected)()).map(|feature| feature.name)
}

impl Isa {
    /// Whether this CPU has it, and its system keeps its registers.
    pub fn is_available(self) -> bool {
        missing(self).next().is_none()
    }

    /// Every instruction set that this CPU has, slowest first.
    pub fn available() -> impl Iterator<Item = Isa> {
        Isa::ALL.into_iter().filter(|&isa| isa != Isa::Auto && isa.is_available())
    }
}

impl Level {
    /// The bits of one of CPUID's registers that it needs.
    pub(super) fn mask(&self, word: Word) -> u32 {
        let bits = self.features.iter().filter(|feature| feature.word == word);
        bits.fold(0, |mask, feature| mask | 1 << feature.bit)
    }
}

#[cfg(test)]
mod tests;
