//! What a tile needs of an x86-64 vector instruction set.

use iced_x86::IcedError;
use iced_x86::code_asm::registers::{xmm, ymm, zmm};
use iced_x86::code_asm::{
    AsmMemoryOperand, AsmRegisterXmm, AsmRegisterYmm, AsmRegisterZmm, CodeAssembler, dword_bcst,
    dword_ptr, eax, k1, k2, qword_ptr, rsp, xmmword_ptr, ymmword_ptr, zmmword_ptr,
};

/// A vector register, or the lower half of one.
#[derive(Clone, Copy)]
pub(super) struct Register {
    /// Its number.
    pub(super) number: usize,
    /// Whether only the lower half is worked on.
    pub(super) half: bool,
}

/// An instruction set's vectors.
pub(super) trait Vectors: Default {
    /// Floats in a vector.
    const LANES: usize;
    /// Whether half a vector costs less than a whole one.
    const HALVES: bool;
    /// The last register: broadcasts, and zero in the epilogue.
    const SPARE: usize;

    /// Sets a register to zero.
    fn zero(&self, a: &mut CodeAssembler, register: Register) -> Result<(), IcedError>;
    /// Loads a vector.
    fn load(
        &self,
        a: &mut CodeAssembler,
        register: Register,
        from: AsmMemoryOperand,
    ) -> Result<(), IcedError>;
    /// Stores a vector.
    fn store(
        &self,
        a: &mut CodeAssembler,
        register: Register,
        to: AsmMemoryOperand,
    ) -> Result<(), IcedError>;
    /// Prepares to store the first `lanes` lanes of vectors.
    fn set_partial(&self, a: &mut CodeAssembler, lanes: usize) -> Result<(), IcedError>;
    /// Stores the lanes that were prepared for. The register's value is lost.
    fn store_partial(
        &self,
        a: &mut CodeAssembler,
        register: Register,
        to: AsmMemoryOperand,
        lanes: usize,
    ) -> Result<(), IcedError>;
    /// Prepares to multiply with a float in memory.
    fn broadcast(&self, a: &mut CodeAssembler, element: AsmMemoryOperand) -> Result<(), IcedError>;
    /// `sum += b * element`, the element that was prepared for.
    fn multiply_add(
        &self,
        a: &mut CodeAssembler,
        sum: Register,
        b: Register,
        element: AsmMemoryOperand,
    ) -> Result<(), IcedError>;
    /// `sum += b * vector`, a vector in memory.
    fn multiply_add_vector(
        &self,
        a: &mut CodeAssembler,
        sum: Register,
        b: Register,
        vector: AsmMemoryOperand,
    ) -> Result<(), IcedError>;
    /// `most = max(most, vector)`, a vector in memory, which counts if they are equal; NaN stays. Scratch and the spare register are
    /// lost.
    fn maximum(
        &self,
        a: &mut CodeAssembler,
        most: Register,
        scratch: Register,
        vector: AsmMemoryOperand,
    ) -> Result<(), IcedError>;
    /// `to = x + y`.
    fn add(
        &self,
        a: &mut CodeAssembler,
        to: Register,
        x: Register,
        y: Register,
    ) -> Result<(), IcedError>;
    /// `to = x * y`.
    fn times(
        &self,
        a: &mut CodeAssembler,
        to: Register,
        x: Register,
        y: Register,
    ) -> Result<(), IcedError>;
    /// `to = x / y`.
    fn divide(
        &self,
        a: &mut CodeAssembler,
        to: Register,
        x: Register,
        y: Register,
    ) -> Result<(), IcedError>;
    /// `to = max(x, y)`; `y` where one is NaN.
    fn larger(
        &self,
        a: &mut CodeAssembler,
        to: Register,
        x: Register,
        y: Register,
    ) -> Result<(), IcedError>;
    /// `to = min(x, y)`; `y` where one is NaN.
    fn smaller(
        &self,
        a: &mut CodeAssembler,
        to: Register,
        x: Register,
        y: Register,
    ) -> Result<(), IcedError>;
    /// A float in memory in every lane.
    fn spread(
        &self,
        a: &mut CodeAssembler,
        to: Register,
        from: AsmMemoryOperand,
    ) -> Result<(), IcedError>;
    /// `max(sum, bound)`, NaN kept. The spare register holds the bound: zero, if it is a ReLU.
    fn relu(&self, a: &mut CodeAssembler, sum: Register) -> Result<(), IcedError>;
    /// Sets every lane of a register to a constant. It needs no other register: the constant goes by the red zone below the stack
    /// pointer.
    fn constant(
        &self,
        a: &mut CodeAssembler,
        register: Register,
        value: f32,
    ) -> Result<(), IcedError>;
    /// `min(sum, bound)`, NaN kept. The spare register holds the bound.
    fn at_most(&self, a: &mut CodeAssembler, sum: Register) -> Result<(), IcedError>;
    /// Zero where the mask is not positive. The spare register holds zero, `scratch` may be overwritten.
    fn mask(
        &self,
        a: &mut CodeAssembler,
        sum: Register,
        scratch: Register,
        mask: AsmMemoryOperand,
    ) -> Result<(), IcedError>;
}

/// What a transform needs besides.
pub(super) trait Arithmetic: Vectors {
    /// The register before the spare one: scratch of the epilogue.
    const SCRATCH: usize = Self::SPARE - 1;

    /// `to = from`.
    fn copy(&self, a: &mut CodeAssembler, to: Register, from: Register) -> Result<(), IcedError>;
    /// `to = x - y`.
    fn subtract(
        &self,
        a: &mut CodeAssembler,
        to: Register,
        x: Register,
        y: Register,
    ) -> Result<(), IcedError>;
    /// `to = x * element`, the element that was prepared for.
    fn multiply(
        &self,
        a: &mut CodeAssembler,
        to: Register,
        x: Register,
        element: AsmMemoryOperand,
    ) -> Result<(), IcedError>;
    /// `x = x * element + y`, the element that was prepared for.
    fn multiply_then_add(
        &self,
        a: &mut CodeAssembler,
        x: Register,
        element: AsmMemoryOperand,
        y: Register,
    ) -> Result<(), IcedError>;
}

/// The same instruction on whole registers or on half ones, and memory of their size.
macro_rules! sized {
    ($half:expr, $registers:ident, $memory:ident => $instruction:expr) => {
        if $half {
            let ($registers, $memory) = (YMM, ymmword_ptr::<AsmMemoryOperand>);
            $instruction
        } else {
            let ($registers, $memory) = (ZMM, zmmword_ptr::<AsmMemoryOperand>);
            $instruction
        }
    };
    ($half:expr, $registers:ident => $instruction:expr) => {
        if $half {
            let $registers = YMM;
            $instruction
        } else {
            let $registers = ZMM;
            $instruction
        }
    };
}

/// The predicate "neither is NaN" of `vcmpps`.
const ORDERED: u32 = 7;
/// The predicate "less than" of `vcmpps`; false for NaN.
const LESS: u32 = 1;

/// AVX2 with FMA.
#[derive(Default)]
pub(super) struct Avx2;

impl Vectors for Avx2 {
    const LANES: usize = 8;
    const HALVES: bool = false;
    const SPARE: usize = 15;

    fn zero(&self, a: &mut CodeAssembler, register: Register) -> Result<(), IcedError> {
        a.vxorps(YMM[register.number], YMM[register.number], YMM[register.number])
    }

    fn load(
        &self,
        a: &mut CodeAssembler,
        register: Register,
        from: AsmMemoryOperand,
    ) -> Result<(), IcedError> {
        a.vmovups(YMM[register.number], ymmword_ptr(from))
    }

    fn store(
        &self,
        a: &mut CodeAssembler,
        register: Register,
        to: AsmMemoryOperand,
    ) -> Result<(), IcedError> {
        a.vmovups(ymmword_ptr(to), YMM[register.number])
    }

    fn set_partial(&self, _: &mut CodeAssembler, _: usize) -> Result<(), IcedError> {
        Ok(())
    }

    /// Four lanes, two, one, as the bits of `lanes` say.
    fn store_partial(
        &self,
        a: &mut CodeAssembler,
        register: Register,
        mut to: AsmMemoryOperand,
        lanes: usize,
    ) -> Result<(), IcedError> {
        let low = XMM[register.number];
        if lanes & 4 != 0 {
            a.vmovups(xmmword_ptr(to), low)?;
            a.vextractf128(low, YMM[register.number], 1)?;
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
        sum: Register,
        b: Register,
        _: AsmMemoryOperand,
    ) -> Result<(), IcedError> {
        a.vfmadd231ps(YMM[sum.number], YMM[b.number], YMM[Self::SPARE])
    }

    fn multiply_add_vector(
        &self,
        a: &mut CodeAssembler,
        sum: Register,
        b: Register,
        vector: AsmMemoryOperand,
    ) -> Result<(), IcedError> {
        a.vfmadd231ps(YMM[sum.number], YMM[b.number], ymmword_ptr(vector))
    }

    fn maximum(
        &self,
        a: &mut CodeAssembler,
        most: Register,
        scratch: Register,
        vector: AsmMemoryOperand,
    ) -> Result<(), IcedError> {
        let (most, larger, is_number) = (YMM[most.number], YMM[scratch.number], YMM[Self::SPARE]);
        a.vcmpps(is_number, most, most, ORDERED)?;
        // Where an operand is NaN, or both are equal, a maximum is its second one.
        a.vmaxps(larger, most, ymmword_ptr(vector))?;
        a.vblendvps(most, most, larger, is_number)
    }

    fn add(
        &self,
        a: &mut CodeAssembler,
        to: Register,
        x: Register,
        y: Register,
    ) -> Result<(), IcedError> {
        a.vaddps(YMM[to.number], YMM[x.number], YMM[y.number])
    }

    fn times(
        &self,
        a: &mut CodeAssembler,
        to: Register,
        x: Register,
        y: Register,
    ) -> Result<(), IcedError> {
        a.vmulps(YMM[to.number], YMM[x.number], YMM[y.number])
    }

    fn divide(
        &self,
        a: &mut CodeAssembler,
        to: Register,
        x: Register,
        y: Register,
    ) -> Result<(), IcedError> {
        a.vdivps(YMM[to.number], YMM[x.number], YMM[y.number])
    }

    fn larger(
        &self,
        a: &mut CodeAssembler,
        to: Register,
        x: Register,
        y: Register,
    ) -> Result<(), IcedError> {
        a.vmaxps(YMM[to.number], YMM[x.number], YMM[y.number])
    }

    fn smaller(
        &self,
        a: &mut CodeAssembler,
        to: Register,
        x: Register,
        y: Register,
    ) -> Result<(), IcedError> {
        a.vminps(YMM[to.number], YMM[x.number], YMM[y.number])
    }

    fn spread(
        &self,
        a: &mut CodeAssembler,
        to: Register,
        from: AsmMemoryOperand,
    ) -> Result<(), IcedError> {
        a.vbroadcastss(YMM[to.number], from)
    }

    fn relu(&self, a: &mut CodeAssembler, sum: Register) -> Result<(), IcedError> {
        // Where an operand is NaN, a maximum is its second one.
        a.vmaxps(YMM[sum.number], YMM[Self::SPARE], YMM[sum.number])
    }

    fn constant(
        &self,
        a: &mut CodeAssembler,
        register: Register,
        value: f32,
    ) -> Result<(), IcedError> {
        a.mov(dword_ptr(rsp - 8), value.to_bits())?;
        a.vbroadcastss(YMM[register.number], dword_ptr(rsp - 8))
    }

    fn at_most(&self, a: &mut CodeAssembler, sum: Register) -> Result<(), IcedError> {
        // As a maximum.
        a.vminps(YMM[sum.number], YMM[Self::SPARE], YMM[sum.number])
    }

    fn mask(
        &self,
        a: &mut CodeAssembler,
        sum: Register,
        scratch: Register,
        mask: AsmMemoryOperand,
    ) -> Result<(), IcedError> {
        a.vcmpps(YMM[scratch.number], YMM[Self::SPARE], ymmword_ptr(mask), LESS)?;
        a.vandps(YMM[sum.number], YMM[sum.number], YMM[scratch.number])
    }
}

/// AVX-512F, with AVX-512VL for half vectors.
#[derive(Default)]
pub(super) struct Avx512;

impl Vectors for Avx512 {
    const LANES: usize = 16;
    const HALVES: bool = true;
    const SPARE: usize = 31;

    fn zero(&self, a: &mut CodeAssembler, register: Register) -> Result<(), IcedError> {
        let n = register.number;
        sized!(register.half, r => a.vpxord(r[n], r[n], r[n]))
    }

    fn load(
        &self,
        a: &mut CodeAssembler,
        register: Register,
        from: AsmMemoryOperand,
    ) -> Result<(), IcedError> {
        sized!(register.half, r, memory => a.vmovups(r[register.number], memory(from)))
    }

    fn store(
        &self,
        a: &mut CodeAssembler,
        register: Register,
        to: AsmMemoryOperand,
    ) -> Result<(), IcedError> {
        sized!(register.half, r, memory => a.vmovups(memory(to), r[register.number]))
    }

    fn set_partial(&self, a: &mut CodeAssembler, lanes: usize) -> Result<(), IcedError> {
        a.mov(eax, (1_u32 << lanes) - 1)?;
        a.kmovw(k1, eax)
    }

    fn store_partial(
        &self,
        a: &mut CodeAssembler,
        register: Register,
        to: AsmMemoryOperand,
        _: usize,
    ) -> Result<(), IcedError> {
        self.store(a, register, to.k1())
    }

    fn broadcast(&self, _: &mut CodeAssembler, _: AsmMemoryOperand) -> Result<(), IcedError> {
        Ok(())
    }

    fn multiply_add(
        &self,
        a: &mut CodeAssembler,
        sum: Register,
        b: Register,
        element: AsmMemoryOperand,
    ) -> Result<(), IcedError> {
        let element = dword_bcst(element);
        sized!(sum.half, r => a.vfmadd231ps(r[sum.number], r[b.number], element))
    }

    fn multiply_add_vector(
        &self,
        a: &mut CodeAssembler,
        sum: Register,
        b: Register,
        vector: AsmMemoryOperand,
    ) -> Result<(), IcedError> {
        let (sum, b, half) = (sum.number, b.number, sum.half);
        sized!(half, r, memory => a.vfmadd231ps(r[sum], r[b], memory(vector)))
    }

    fn maximum(
        &self,
        a: &mut CodeAssembler,
        most: Register,
        _: Register,
        vector: AsmMemoryOperand,
    ) -> Result<(), IcedError> {
        let n = most.number;
        sized!(most.half, r, memory => {
            a.vcmpps(k2, r[n], r[n], ORDERED)?;
            // Where an operand is NaN, or both are equal, a maximum is its second one.
            a.vmaxps(r[n].k2(), r[n], memory(vector))
        })
    }

    fn add(
        &self,
        a: &mut CodeAssembler,
        to: Register,
        x: Register,
        y: Register,
    ) -> Result<(), IcedError> {
        sized!(to.half, r => a.vaddps(r[to.number], r[x.number], r[y.number]))
    }

    fn times(
        &self,
        a: &mut CodeAssembler,
        to: Register,
        x: Register,
        y: Register,
    ) -> Result<(), IcedError> {
        sized!(to.half, r => a.vmulps(r[to.number], r[x.number], r[y.number]))
    }

    fn divide(
        &self,
        a: &mut CodeAssembler,
        to: Register,
        x: Register,
        y: Register,
    ) -> Result<(), IcedError> {
        sized!(to.half, r => a.vdivps(r[to.number], r[x.number], r[y.number]))
    }

    fn larger(
        &self,
        a: &mut CodeAssembler,
        to: Register,
        x: Register,
        y: Register,
    ) -> Result<(), IcedError> {
        sized!(to.half, r => a.vmaxps(r[to.number], r[x.number], r[y.number]))
    }

    fn smaller(
        &self,
        a: &mut CodeAssembler,
        to: Register,
        x: Register,
        y: Register,
    ) -> Result<(), IcedError> {
        sized!(to.half, r => a.vminps(r[to.number], r[x.number], r[y.number]))
    }

    fn spread(
        &self,
        a: &mut CodeAssembler,
        to: Register,
        from: AsmMemoryOperand,
    ) -> Result<(), IcedError> {
        sized!(to.half, r => a.vbroadcastss(r[to.number], from))
    }

    fn relu(&self, a: &mut CodeAssembler, sum: Register) -> Result<(), IcedError> {
        let n = sum.number;
        // Where an operand is NaN, a maximum is its second one.
        sized!(sum.half, r => a.vmaxps(r[n], r[Self::SPARE], r[n]))
    }

    fn constant(
        &self,
        a: &mut CodeAssembler,
        register: Register,
        value: f32,
    ) -> Result<(), IcedError> {
        a.mov(dword_ptr(rsp - 8), value.to_bits())?;
        sized!(register.half, r => a.vbroadcastss(r[register.number], dword_ptr(rsp - 8)))
    }

    fn at_most(&self, a: &mut CodeAssembler, sum: Register) -> Result<(), IcedError> {
        let n = sum.number;
        // As a maximum.
        sized!(sum.half, r => a.vminps(r[n], r[Self::SPARE], r[n]))
    }

    fn mask(
        &self,
        a: &mut CodeAssembler,
        sum: Register,
        _: Register,
        mask: AsmMemoryOperand,
    ) -> Result<(), IcedError> {
        let n = sum.number;
        sized!(sum.half, r, memory => {
            a.vcmpps(k2, r[Self::SPARE], memory(mask), LESS)?;
            a.vmovaps(r[n].k2().z(), r[n])
        })
    }
}

impl Arithmetic for Avx2 {
    fn copy(&self, a: &mut CodeAssembler, to: Register, from: Register) -> Result<(), IcedError> {
        a.vmovaps(YMM[to.number], YMM[from.number])
    }

    fn subtract(
        &self,
        a: &mut CodeAssembler,
        to: Register,
        x: Register,
        y: Register,
    ) -> Result<(), IcedError> {
        a.vsubps(YMM[to.number], YMM[x.number], YMM[y.number])
    }

    fn multiply(
        &self,
        a: &mut CodeAssembler,
        to: Register,
        x: Register,
        _: AsmMemoryOperand,
    ) -> Result<(), IcedError> {
        a.vmulps(YMM[to.number], YMM[x.number], YMM[Self::SPARE])
    }

    fn multiply_then_add(
        &self,
        a: &mut CodeAssembler,
        x: Register,
        _: AsmMemoryOperand,
        y: Register,
    ) -> Result<(), IcedError> {
        a.vfmadd132ps(YMM[x.number], YMM[y.number], YMM[Self::SPARE])
    }
}

impl Arithmetic for Avx512 {
    fn copy(&self, a: &mut CodeAssembler, to: Register, from: Register) -> Result<(), IcedError> {
        sized!(to.half, r => a.vmovaps(r[to.number], r[from.number]))
    }

    fn subtract(
        &self,
        a: &mut CodeAssembler,
        to: Register,
        x: Register,
        y: Register,
    ) -> Result<(), IcedError> {
        sized!(to.half, r => a.vsubps(r[to.number], r[x.number], r[y.number]))
    }

    fn multiply(
        &self,
        a: &mut CodeAssembler,
        to: Register,
        x: Register,
        element: AsmMemoryOperand,
    ) -> Result<(), IcedError> {
        sized!(to.half, r => a.vmulps(r[to.number], r[x.number], dword_bcst(element)))
    }

    fn multiply_then_add(
        &self,
        a: &mut CodeAssembler,
        x: Register,
        element: AsmMemoryOperand,
        y: Register,
    ) -> Result<(), IcedError> {
        sized!(x.half, r => a.vfmadd132ps(r[x.number], r[y.number], dword_bcst(element)))
    }
}

const XMM: [AsmRegisterXmm; 16] = {
    use xmm::*;
    [
        xmm0, xmm1, xmm2, xmm3, xmm4, xmm5, xmm6, xmm7, xmm8, xmm9, xmm10, xmm11, xmm12, xmm13,
        xmm14, xmm15,
    ]
};

const YMM: [AsmRegisterYmm; 32] = {
    use ymm::*;
    [
        ymm0, ymm1, ymm2, ymm3, ymm4, ymm5, ymm6, ymm7, ymm8, ymm9, ymm10, ymm11, ymm12, ymm13,
        ymm14, ymm15, ymm16, ymm17, ymm18, ymm19, ymm20, ymm21, ymm22, ymm23, ymm24, ymm25, ymm26,
        ymm27, ymm28, ymm29, ymm30, ymm31,
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
