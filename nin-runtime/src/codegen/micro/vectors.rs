//! What a tile needs of an x86-64 vector instruction set, register by number.

use iced_x86::IcedError;
use iced_x86::code_asm::registers::{xmm, ymm, zmm};
use iced_x86::code_asm::{
    AsmMemoryOperand, AsmRegisterXmm, AsmRegisterYmm, AsmRegisterZmm, CodeAssembler, dword_bcst,
    dword_ptr, eax, k1, k2, qword_ptr, xmmword_ptr, ymmword_ptr, zmmword_ptr,
};

/// An instruction set's vectors.
pub(super) trait Vectors: Default {
    /// Floats in a vector.
    const LANES: usize;
    /// The last register: broadcasts, and zero in the epilogue.
    const SPARE: usize;

    /// Sets a register to zero.
    fn zero(&self, a: &mut CodeAssembler, register: usize) -> Result<(), IcedError>;
    /// Loads a vector.
    fn load(
        &self,
        a: &mut CodeAssembler,
        register: usize,
        from: AsmMemoryOperand,
    ) -> Result<(), IcedError>;
    /// Stores a vector.
    fn store(
        &self,
        a: &mut CodeAssembler,
        register: usize,
        to: AsmMemoryOperand,
    ) -> Result<(), IcedError>;
    /// Prepares to store the first `lanes` lanes of vectors.
    fn set_partial(&self, a: &mut CodeAssembler, lanes: usize) -> Result<(), IcedError>;
    /// Stores the lanes that were prepared for. The register's value is lost.
    fn store_partial(
        &self,
        a: &mut CodeAssembler,
        register: usize,
        to: AsmMemoryOperand,
        lanes: usize,
    ) -> Result<(), IcedError>;
    /// Prepares to multiply with a float in memory.
    fn broadcast(&self, a: &mut CodeAssembler, element: AsmMemoryOperand) -> Result<(), IcedError>;
    /// `sum += b * element`, the element that was prepared for.
    fn multiply_add(
        &self,
        a: &mut CodeAssembler,
        sum: usize,
        b: usize,
        element: AsmMemoryOperand,
    ) -> Result<(), IcedError>;
    /// `max(sum, 0)`, NaN kept. The spare register holds zero.
    fn relu(&self, a: &mut CodeAssembler, sum: usize) -> Result<(), IcedError>;
    /// Zero where the mask is not positive. The spare register holds zero, `scratch` may be overwritten.
    fn mask(
        &self,
        a: &mut CodeAssembler,
        sum: usize,
        scratch: usize,
        mask: AsmMemoryOperand,
    ) -> Result<(), IcedError>;
}

/// What a transform needs besides.
pub(super) trait Arithmetic: Vectors {
    /// The register before the spare one: scratch of the epilogue.
    const SCRATCH: usize = Self::SPARE - 1;

    /// `to = from`.
    fn copy(&self, a: &mut CodeAssembler, to: usize, from: usize) -> Result<(), IcedError>;
    /// `to = x + y`.
    fn add(&self, a: &mut CodeAssembler, to: usize, x: usize, y: usize) -> Result<(), IcedError>;
    /// `to = x - y`.
    fn subtract(
        &self,
        a: &mut CodeAssembler,
        to: usize,
        x: usize,
        y: usize,
    ) -> Result<(), IcedError>;
    /// `sum += memory`, a vector.
    fn add_memory(
        &self,
        a: &mut CodeAssembler,
        sum: usize,
        memory: AsmMemoryOperand,
    ) -> Result<(), IcedError>;
    /// `to = x * factor`, a float in memory.
    fn multiply(
        &self,
        a: &mut CodeAssembler,
        to: usize,
        x: usize,
        factor: AsmMemoryOperand,
    ) -> Result<(), IcedError>;
    /// `sum += x * factor`, a float in memory.
    fn add_product(
        &self,
        a: &mut CodeAssembler,
        sum: usize,
        x: usize,
        factor: AsmMemoryOperand,
    ) -> Result<(), IcedError>;
    /// `x = x * factor + y`, the factor a float in memory.
    fn multiply_then_add(
        &self,
        a: &mut CodeAssembler,
        x: usize,
        factor: AsmMemoryOperand,
        y: usize,
    ) -> Result<(), IcedError>;
}

/// The predicate "less than" of `vcmpps`; false for NaN.
const LESS: u32 = 1;

/// AVX2 with FMA.
#[derive(Default)]
pub(super) struct Avx2;

impl Vectors for Avx2 {
    const LANES: usize = 8;
    const SPARE: usize = 15;

    fn zero(&self, a: &mut CodeAssembler, register: usize) -> Result<(), IcedError> {
        a.vxorps(YMM[register], YMM[register], YMM[register])
    }

    fn load(
        &self,
        a: &mut CodeAssembler,
        register: usize,
        from: AsmMemoryOperand,
    ) -> Result<(), IcedError> {
        a.vmovups(YMM[register], ymmword_ptr(from))
    }

    fn store(
        &self,
        a: &mut CodeAssembler,
        register: usize,
        to: AsmMemoryOperand,
    ) -> Result<(), IcedError> {
        a.vmovups(ymmword_ptr(to), YMM[register])
    }

    fn set_partial(&self, _: &mut CodeAssembler, _: usize) -> Result<(), IcedError> {
        Ok(())
    }

    /// Four lanes, two, one, as the bits of `lanes` say.
    fn store_partial(
        &self,
        a: &mut CodeAssembler,
        register: usize,
        mut to: AsmMemoryOperand,
        lanes: usize,
    ) -> Result<(), IcedError> {
        let low = XMM[register];
        if lanes & 4 != 0 {
            a.vmovups(xmmword_ptr(to), low)?;
            a.vextractf128(low, YMM[register], 1)?;
            to = to + 16;
        }
        if lanes & 2 != 0 {
            a.vmovlps(qword_ptr(to), low)?;
            a.vpermilps(low, low, 0b1110)?;
            to = to + 8;
        }
        if lanes & 1 != 0 {
            a.vmovss(dword_ptr(to), low)?;
        }
        Ok(())
    }

    fn broadcast(&self, a: &mut CodeAssembler, element: AsmMemoryOperand) -> Result<(), IcedError> {
        a.vbroadcastss(YMM[Self::SPARE], dword_ptr(element))
    }

    fn multiply_add(
        &self,
        a: &mut CodeAssembler,
        sum: usize,
        b: usize,
        _: AsmMemoryOperand,
    ) -> Result<(), IcedError> {
        a.vfmadd231ps(YMM[sum], YMM[b], YMM[Self::SPARE])
    }

    fn relu(&self, a: &mut CodeAssembler, sum: usize) -> Result<(), IcedError> {
        // Where an operand is NaN, a maximum is its second one.
        a.vmaxps(YMM[sum], YMM[Self::SPARE], YMM[sum])
    }

    fn mask(
        &self,
        a: &mut CodeAssembler,
        sum: usize,
        scratch: usize,
        mask: AsmMemoryOperand,
    ) -> Result<(), IcedError> {
        a.vcmpps(YMM[scratch], YMM[Self::SPARE], ymmword_ptr(mask), LESS)?;
        a.vandps(YMM[sum], YMM[sum], YMM[scratch])
    }
}

/// AVX-512F.
#[derive(Default)]
pub(super) struct Avx512;

impl Vectors for Avx512 {
    const LANES: usize = 16;
    const SPARE: usize = 31;

    fn zero(&self, a: &mut CodeAssembler, register: usize) -> Result<(), IcedError> {
        a.vpxord(ZMM[register], ZMM[register], ZMM[register])
    }

    fn load(
        &self,
        a: &mut CodeAssembler,
        register: usize,
        from: AsmMemoryOperand,
    ) -> Result<(), IcedError> {
        a.vmovups(ZMM[register], zmmword_ptr(from))
    }

    fn store(
        &self,
        a: &mut CodeAssembler,
        register: usize,
        to: AsmMemoryOperand,
    ) -> Result<(), IcedError> {
        a.vmovups(zmmword_ptr(to), ZMM[register])
    }

    fn set_partial(&self, a: &mut CodeAssembler, lanes: usize) -> Result<(), IcedError> {
        a.mov(eax, (1_u32 << lanes) - 1)?;
        a.kmovw(k1, eax)
    }

    fn store_partial(
        &self,
        a: &mut CodeAssembler,
        register: usize,
        to: AsmMemoryOperand,
        _: usize,
    ) -> Result<(), IcedError> {
        a.vmovups(zmmword_ptr(to).k1(), ZMM[register])
    }

    fn broadcast(&self, _: &mut CodeAssembler, _: AsmMemoryOperand) -> Result<(), IcedError> {
        Ok(())
    }

    fn multiply_add(
        &self,
        a: &mut CodeAssembler,
        sum: usize,
        b: usize,
        element: AsmMemoryOperand,
    ) -> Result<(), IcedError> {
        a.vfmadd231ps(ZMM[sum], ZMM[b], dword_bcst(element))
    }

    fn relu(&self, a: &mut CodeAssembler, sum: usize) -> Result<(), IcedError> {
        // Where an operand is NaN, a maximum is its second one.
        a.vmaxps(ZMM[sum], ZMM[Self::SPARE], ZMM[sum])
    }

    fn mask(
        &self,
        a: &mut CodeAssembler,
        sum: usize,
        _: usize,
        mask: AsmMemoryOperand,
    ) -> Result<(), IcedError> {
        a.vcmpps(k2, ZMM[Self::SPARE], zmmword_ptr(mask), LESS)?;
        a.vmovaps(ZMM[sum].k2().z(), ZMM[sum])
    }
}

impl Arithmetic for Avx2 {
    fn copy(&self, a: &mut CodeAssembler, to: usize, from: usize) -> Result<(), IcedError> {
        a.vmovaps(YMM[to], YMM[from])
    }

    fn add(&self, a: &mut CodeAssembler, to: usize, x: usize, y: usize) -> Result<(), IcedError> {
        a.vaddps(YMM[to], YMM[x], YMM[y])
    }

    fn subtract(
        &self,
        a: &mut CodeAssembler,
        to: usize,
        x: usize,
        y: usize,
    ) -> Result<(), IcedError> {
        a.vsubps(YMM[to], YMM[x], YMM[y])
    }

    fn add_memory(
        &self,
        a: &mut CodeAssembler,
        sum: usize,
        memory: AsmMemoryOperand,
    ) -> Result<(), IcedError> {
        a.vaddps(YMM[sum], YMM[sum], ymmword_ptr(memory))
    }

    fn multiply(
        &self,
        a: &mut CodeAssembler,
        to: usize,
        x: usize,
        factor: AsmMemoryOperand,
    ) -> Result<(), IcedError> {
        self.broadcast(a, factor)?;
        a.vmulps(YMM[to], YMM[x], YMM[Self::SPARE])
    }

    fn add_product(
        &self,
        a: &mut CodeAssembler,
        sum: usize,
        x: usize,
        factor: AsmMemoryOperand,
    ) -> Result<(), IcedError> {
        self.broadcast(a, factor)?;
        a.vfmadd231ps(YMM[sum], YMM[x], YMM[Self::SPARE])
    }

    fn multiply_then_add(
        &self,
        a: &mut CodeAssembler,
        x: usize,
        factor: AsmMemoryOperand,
        y: usize,
    ) -> Result<(), IcedError> {
        self.broadcast(a, factor)?;
        a.vfmadd132ps(YMM[x], YMM[y], YMM[Self::SPARE])
    }
}

impl Arithmetic for Avx512 {
    fn copy(&self, a: &mut CodeAssembler, to: usize, from: usize) -> Result<(), IcedError> {
        a.vmovaps(ZMM[to], ZMM[from])
    }

    fn add(&self, a: &mut CodeAssembler, to: usize, x: usize, y: usize) -> Result<(), IcedError> {
        a.vaddps(ZMM[to], ZMM[x], ZMM[y])
    }

    fn subtract(
        &self,
        a: &mut CodeAssembler,
        to: usize,
        x: usize,
        y: usize,
    ) -> Result<(), IcedError> {
        a.vsubps(ZMM[to], ZMM[x], ZMM[y])
    }

    fn add_memory(
        &self,
        a: &mut CodeAssembler,
        sum: usize,
        memory: AsmMemoryOperand,
    ) -> Result<(), IcedError> {
        a.vaddps(ZMM[sum], ZMM[sum], zmmword_ptr(memory))
    }

    fn multiply(
        &self,
        a: &mut CodeAssembler,
        to: usize,
        x: usize,
        factor: AsmMemoryOperand,
    ) -> Result<(), IcedError> {
        a.vmulps(ZMM[to], ZMM[x], dword_bcst(factor))
    }

    fn add_product(
        &self,
        a: &mut CodeAssembler,
        sum: usize,
        x: usize,
        factor: AsmMemoryOperand,
    ) -> Result<(), IcedError> {
        a.vfmadd231ps(ZMM[sum], ZMM[x], dword_bcst(factor))
    }

    fn multiply_then_add(
        &self,
        a: &mut CodeAssembler,
        x: usize,
        factor: AsmMemoryOperand,
        y: usize,
    ) -> Result<(), IcedError> {
        a.vfmadd132ps(ZMM[x], ZMM[y], dword_bcst(factor))
    }
}

const XMM: [AsmRegisterXmm; 16] = {
    use xmm::*;
    [
        xmm0, xmm1, xmm2, xmm3, xmm4, xmm5, xmm6, xmm7, xmm8, xmm9, xmm10, xmm11, xmm12, xmm13,
        xmm14, xmm15,
    ]
};

const YMM: [AsmRegisterYmm; 16] = {
    use ymm::*;
    [
        ymm0, ymm1, ymm2, ymm3, ymm4, ymm5, ymm6, ymm7, ymm8, ymm9, ymm10, ymm11, ymm12, ymm13,
        ymm14, ymm15,
    ]
};

const ZMM: [AsmRegisterZmm; 32] = {
    use zmm::*;
    [
        zmm0, zmm1, zmm2, zmm3, zmm4, zmm5, zmm6, zmm7, zmm8, zmm9, zmm10, zmm11, zmm12, zmm13,
        zmm14, zmm15, zmm16, zmm17, zmm18, zmm19, zmm20, zmm21, zmm22, zmm23, zmm24, zmm25, zmm26,
        zmm27, zmm28, zmm29, zmm30, zmm31,
    ]
};
