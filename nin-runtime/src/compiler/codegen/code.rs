//! What is left of a program once all of it is written.

use cranelift_codegen::isa::unwind::UnwindInfo;
use cranelift_module::ModuleReloc;

use crate::compiler::kernel::Kernel;

/// One function's machine code.
pub struct MachineCode {
    /// What it is.
    pub kernel: Kernel,
    /// How many others it is, too: blocks, steps and the like that differ in nothing but their offsets.
    pub others: usize,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Their alignment.
    pub align: u64,
    /// Calls to other functions of the program, by number.
    pub relocs: Vec<ModuleReloc>,
    /// How its frame is unwound; `None` of an assembler's code, which has none.
    pub unwind: Option<UnwindInfo>,
    /// Its assembly, as the code generator writes it, if asked for.
    pub assembly: Option<String>,
}
