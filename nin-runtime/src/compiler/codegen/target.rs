//! What code is generated for: an instruction set, its tile shape, and Cranelift's settings for it.

use cranelift_codegen::ir::Endianness;
use cranelift_codegen::isa::{self, CallConv, OwnedTargetIsa, TargetFrontendConfig, TargetIsa};
use cranelift_codegen::settings::{self, Configurable};
use target_lexicon::{Architecture, Triple};

use super::functions::Width;
use super::level;
use crate::compiler::isa::Isa;
use crate::compiler::kernel::Registers;
use crate::error::Error;

/// A resolved target.
pub struct Target {
    /// Which maker writes its tiles; never [`Isa::Auto`].
    pub name: Isa,
    registers: Registers,
    isa: OwnedTargetIsa,
    tile_isa: OwnedTargetIsa,
    fma: bool,
}

/// Which instructions Cranelift writes for x86-64. Arithmetic is the same but for [`Encoding::Fma`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encoding {
    /// What every CPU of the platform has.
    Baseline,
    /// AVX's forms of the same operations, which name their result's register and need fewer moves: a JIT may use them for
    /// [`Isa::Portable`] where it runs, since bits are those of a library for every CPU.
    Avx,
    /// The same, and multiplications that add.
    Fma,
}

impl Encoding {
    /// What an instruction set implies.
    fn of(isa: Isa) -> Encoding {
        match isa {
            Isa::Auto | Isa::Portable => Encoding::Baseline,
            Isa::Avx2 | Isa::Avx512 => Encoding::Fma,
        }
    }

    /// Cranelift's settings for it.
    fn settings(self) -> impl Iterator<Item = &'static str> {
        let isa = match self {
            Encoding::Baseline => Isa::Portable,
            Encoding::Avx | Encoding::Fma => Isa::Avx2,
        };
        let all = level::features(isa).filter_map(|feature| feature.setting);
        all.filter(move |&setting| self == Encoding::Fma || setting != "has_fma")
    }
}

/// 16 registers of four: eight sums, a row of B and a broadcast. More rows spill.
const SSE: Registers = Registers { lanes: 4, halves: false, panels: &[(2, 4)], busy: 8 };
/// 16 registers of four with [`Encoding::Avx`]: sums, a row of B, a broadcast and a product. Cranelift broadcasts from memory,
/// which costs no arithmetic unit, only what is multiplied once.
const AVX: Registers = Registers { lanes: 4, halves: false, panels: &[(1, 12)], busy: 8 };
/// 32 registers of four; a multiplication takes one lane of A, so A costs a register for four rows.
const NEON: Registers =
    Registers { lanes: 4, halves: false, panels: &[(4, 6), (2, 12), (1, 24)], busy: 16 };
/// 16 registers of eight: sums, a row of B and a broadcast.
const AVX2: Registers =
    Registers { lanes: 8, halves: false, panels: &[(2, 6), (3, 4), (1, 12)], busy: 10 };
/// 32 registers of sixteen: sums, a row of B and zero; A is broadcast from memory by the multiplication.
const AVX512: Registers =
    Registers { lanes: 16, halves: true, panels: &[(3, 9), (2, 14), (4, 6), (1, 16)], busy: 10 };

impl Target {
    /// The CPU this runs on.
    ///
    /// # Errors
    /// [`Error::Target`] if Cranelift has no back end for it, or it lacks the instruction set asked for.
    pub fn host(isa: Isa) -> Result<Target, Error> {
        let name = match isa {
            Isa::Auto => Isa::available().last().unwrap_or(Isa::Portable),
            named => named,
        };
        if !name.is_available() {
            let missing: Vec<&str> = level::missing(name).collect();
            let missing = missing.join(", ");
            let reason = format!(
                "its CPU, or the system on it, has no {name} (it lacks {missing}); `--isa auto` takes what it has"
            );
            return Err(Error::Target { reason });
        }
        let encoding = match name {
            Isa::Portable if Isa::Avx2.is_available() => Encoding::Avx,
            named => Encoding::of(named),
        };
        Target::build(&Triple::host(), name, encoding)
    }

    /// Any CPU of a platform that has an instruction set; the same code wherever it is generated. [`Isa::Auto`] stands for
    /// what every CPU of the platform has.
    ///
    /// # Errors
    /// [`Error::Target`] if Cranelift has no back end for it, or its CPUs never have the instruction set.
    pub fn of(triple: &Triple, isa: Isa) -> Result<Target, Error> {
        let architecture = triple.architecture;
        if Encoding::of(isa) != Encoding::Baseline && architecture != Architecture::X86_64 {
            let reason = format!("{isa} is for x86-64, and this is {architecture}");
            return Err(Error::Target { reason });
        }
        Target::build(triple, isa, Encoding::of(isa))
    }

    fn build(triple: &Triple, isa: Isa, encoding: Encoding) -> Result<Target, Error> {
        // Blocks want the optimiser. It moves a tile's loads away from their uses until registers run out, so tiles are
        // translated in program order.
        let settings = |opt_level| cranelift_isa(triple, encoding, opt_level);
        let (blocks, tiles) = (settings("speed")?, settings("none")?);
        let aarch64 = matches!(triple.architecture, Architecture::Aarch64(_));
        let registers = match isa {
            Isa::Auto | Isa::Portable if aarch64 => NEON,
            Isa::Auto | Isa::Portable if encoding == Encoding::Avx => AVX,
            Isa::Auto | Isa::Portable => SSE,
            Isa::Avx2 => AVX2,
            Isa::Avx512 => AVX512,
        };
        let name = if isa == Isa::Auto { Isa::Portable } else { isa };
        let fma = aarch64 || encoding == Encoding::Fma;
        Ok(Target { name, registers, isa: blocks, tile_isa: tiles, fma })
    }

    /// The platform.
    pub(crate) fn triple(&self) -> &Triple {
        self.isa.triple()
    }

    /// The registers its tiles are made of.
    pub fn registers(&self) -> &Registers {
        &self.registers
    }

    pub(crate) fn is_x86_64(&self) -> bool {
        self.triple().architecture == Architecture::X86_64
    }

    pub(crate) fn isa(&self) -> &dyn TargetIsa {
        &*self.isa
    }

    pub(super) fn tile_isa(&self) -> &dyn TargetIsa {
        &*self.tile_isa
    }

    /// Settings for a module that holds the code.
    pub(crate) fn owned_isa(&self) -> OwnedTargetIsa {
        self.isa.clone()
    }

    /// Whether it multiplies and adds in one instruction.
    pub fn fma(&self) -> bool {
        self.fma
    }

    /// Whether a vector may be an operand in memory at any alignment. In the baseline it may not, and Cranelift 0.135 forgets
    /// that for comparisons (`cmpps`).
    pub(super) fn folds_loads(&self) -> bool {
        self.fma || !self.is_x86_64()
    }

    /// Numbers as generated code loads them.
    pub(super) fn bytes_of(&self, numbers: &[u64], width: Width) -> Vec<u8> {
        let unused = size_of::<u64>() - width.bytes();
        let bytes = |number: &u64| match self.isa.endianness() {
            Endianness::Little => number.to_le_bytes()[..width.bytes()].to_vec(),
            Endianness::Big => number.to_be_bytes()[unused..].to_vec(),
        };
        numbers.iter().flat_map(bytes).collect()
    }

    pub(crate) fn call_conv(&self) -> CallConv {
        self.isa.default_call_conv()
    }

    /// The convention of calls between generated functions: tiles made by an assembler use System V's everywhere.
    pub(super) fn tile_call_conv(&self) -> CallConv {
        match self.name {
            Isa::Avx2 | Isa::Avx512 => CallConv::SystemV,
            Isa::Auto | Isa::Portable => self.call_conv(),
        }
    }

    pub(super) fn frontend(&self) -> TargetFrontendConfig {
        self.isa.frontend_config()
    }
}

fn cranelift_isa(
    triple: &Triple,
    encoding: Encoding,
    opt_level: &str,
) -> Result<OwnedTargetIsa, Error> {
    let mut flags = settings::builder();
    let verify = if cfg!(debug_assertions) { "true" } else { "false" };
    for (name, value) in
        [("opt_level", opt_level), ("is_pic", "false"), ("enable_verifier", verify)]
    {
        flags.set(name, value).expect("Cranelift has these settings");
    }
    let refused = |reason: String| Error::Target { reason };
    let mut builder = isa::lookup(triple.clone()).map_err(|error| refused(error.to_string()))?;
    for name in encoding.settings() {
        builder.enable(name).expect("Cranelift has these settings");
    }
    builder.finish(settings::Flags::new(flags)).map_err(|error| refused(error.to_string()))
}
