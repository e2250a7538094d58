//! [`Intrinsic`] functions: registers of the CPU that Cranelift has no instructions for.

use iced_x86::IcedError;
use iced_x86::code_asm::{
    CodeAssembler, dword_ptr, eax, ebx, ecx, r8d, r9d, r10d, r11d, rbx, rdi, rsp,
};

use super::level::{LEVELS, Word};
use super::target::Target;
use crate::compiler::kernel::Intrinsic;

/// MXCSR: flush to zero (bit 15) and denormals are zero (bit 6).
const MXCSR_FLUSH: i32 = 1 << 15 | 1 << 6;

/// A function's bytes.
pub(super) fn assemble(intrinsic: Intrinsic, target: &Target) -> Vec<u8> {
    if !target.is_x86_64() {
        return aarch64(intrinsic);
    }
    let assembled = CodeAssembler::new(64).and_then(|mut a| {
        match intrinsic {
            Intrinsic::Flush => flush(&mut a)?,
            Intrinsic::Restore => restore(&mut a)?,
            Intrinsic::Detect => detect(&mut a)?,
        }
        a.assemble(0)
    });
    assembled.expect("these instructions are x86-64's (a bug in nin)")
}

fn flush(a: &mut CodeAssembler) -> Result<(), IcedError> {
    a.sub(rsp, 8)?;
    a.stmxcsr(dword_ptr(rsp))?;
    a.mov(eax, dword_ptr(rsp))?;
    a.mov(ecx, eax)?;
    a.or(ecx, MXCSR_FLUSH)?;
    a.mov(dword_ptr(rsp), ecx)?;
    a.ldmxcsr(dword_ptr(rsp))?;
    a.add(rsp, 8)?;
    a.ret()
}

fn restore(a: &mut CodeAssembler) -> Result<(), IcedError> {
    a.push(rdi)?;
    a.ldmxcsr(dword_ptr(rsp))?;
    a.pop(rdi)?;
    a.ret()
}

/// The number of the best of [`LEVELS`] that the CPU has and the system keeps the registers of, from 1; 0 if it is none.
fn detect(a: &mut CodeAssembler) -> Result<(), IcedError> {
    /// Leaf 1, ECX: whether XCR0 can be read.
    const OSXSAVE: i32 = 1 << 27;
    let (level, leaf1, leaf7, xcr0) = (r9d, r10d, r11d, r8d);
    let mut done = a.create_label();
    a.push(rbx)?;
    a.xor(level, level)?;
    a.xor(eax, eax)?;
    a.xor(ecx, ecx)?;
    a.cpuid()?;
    a.cmp(eax, 7)?;
    a.jb(done)?;
    a.mov(eax, 1)?;
    a.xor(ecx, ecx)?;
    a.cpuid()?;
    a.mov(leaf1, ecx)?;
    a.test(ecx, OSXSAVE)?;
    a.je(done)?;
    a.xor(ecx, ecx)?;
    a.xgetbv()?;
    a.mov(xcr0, eax)?;
    a.mov(eax, 7)?;
    a.xor(ecx, ecx)?;
    a.cpuid()?;
    a.mov(leaf7, ebx)?;
    for (number, needs) in (1..).zip(&LEVELS) {
        let words = [
            (leaf1, needs.mask(Word::Leaf1Ecx)),
            (leaf7, needs.mask(Word::Leaf7Ebx)),
            (xcr0, needs.state),
        ];
        for (word, mask) in words.into_iter().filter(|&(_, mask)| mask != 0) {
            a.mov(eax, word)?;
            a.and(eax, mask.cast_signed())?;
            a.cmp(eax, mask.cast_signed())?;
            a.jne(done)?;
        }
        a.mov(level, number)?;
    }
    a.set_label(&mut done)?;
    a.mov(eax, level)?;
    a.pop(rbx)?;
    a.ret()
}

/// Instructions of aarch64, which the assembler does not know.
fn aarch64(intrinsic: Intrinsic) -> Vec<u8> {
    /// `ret`.
    const RET: u32 = 0xd65f_03c0;
    let words: &[u32] = match intrinsic {
        // mrs x0, fpcr; orr x1, x0, #1 << 24; msr fpcr, x1
        Intrinsic::Flush => &[0xd53b_4400, 0xb268_0001, 0xd51b_4401, RET],
        // msr fpcr, x0
        Intrinsic::Restore => &[0xd51b_4400, RET],
        // mov x0, #0: its vectors are all of one length.
        Intrinsic::Detect => &[0xd280_0000, RET],
    };
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}
