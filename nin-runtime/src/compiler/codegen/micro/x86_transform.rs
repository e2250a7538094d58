//! The x86-64 transforms: AVX-512F and AVX2 with FMA, by the assembler that writes the tiles, in the same convention.
//!
//! Channels are walked a vector at a time. The columns of a tile go through the map one by one into scratch; then its rows do,
//! and are finished and stored. Straight-line code gets its registers in one walk: a value's is free after its last use.

use iced_x86::IcedError;
use iced_x86::code_asm::{
    AsmMemoryOperand, AsmRegister64, CodeAssembler, dword_ptr, qword_ptr, r8, r9, r10, r11, rax,
    rcx, rdi, rdx, rsi,
};

use super::curve;
use super::vectors::{Arithmetic, Avx2, Avx512, Register};
use crate::compiler::kernel::{Epilogue, InitialSum, Transform};
use crate::compiler::winograd::{Straight, Term};
use crate::compiler::{Elem, Isa};

/// Assembles a transform, of float32 alone; `None` if the instruction set has no assembler's maker, or a displacement fits no instruction: then
/// the portable maker must write it.
pub(in crate::compiler::codegen) fn assemble(transform: &Transform, isa: Isa) -> Option<Vec<u8>> {
    let [Elem::F32, Elem::F32, Elem::F32] = transform.elems;
    if !displacements_fit(transform) {
        return None;
    }
    let code = match isa {
        Isa::Avx2 => Assembler::<Avx2>::new(transform).and_then(Assembler::write),
        Isa::Avx512 => Assembler::<Avx512>::new(transform).and_then(Assembler::write),
        Isa::Auto | Isa::Portable => return None,
    };
    Some(code.expect("the assembler knows these instructions (a bug in nin)"))
}

/// Whether the farthest element of each operand that an instruction names is within 31 bits of its base.
fn displacements_fit(transform: &Transform) -> bool {
    let (from, to) = (transform.map.from() as i64, transform.map.to() as i64);
    let far = [(transform.from, from), (transform.to, to), (transform.beside, to)];
    let far = far.map(|(strides, count)| strides.map(|stride| stride * count));
    let far = far.map(|[y, x]| y + x);
    far.into_iter().all(|floats| i32::try_from(4 * floats).is_ok())
}

/// A distance in bytes.
fn bytes(floats: i64) -> i32 {
    i32::try_from(Elem::F32.bytes() as i64 * floats).expect("checked before (a bug in nin)")
}

/// A transform being written.
struct Assembler<'a, V> {
    transform: &'a Transform,
    a: CodeAssembler,
    v: V,
    /// Along columns, then along rows.
    directions: [Straight; 2],
    /// Constants in the order in which they lie in scratch.
    constants: Vec<f32>,
    /// Whether half a vector is enough for the channels at hand.
    half: bool,
}

/// Where the values of straight-line code are.
struct RegisterAllocator {
    /// The register of each value that has one.
    of: Vec<Option<Register>>,
    /// Uses that each value has before it.
    uses: Vec<usize>,
    /// Registers that hold nothing.
    free: Vec<Register>,
}

impl RegisterAllocator {
    /// Before the first term: nothing is loaded.
    fn new(code: &Straight, registers: usize, half: bool) -> RegisterAllocator {
        let mut uses = vec![0; code.inputs + code.terms.len()];
        for term in &code.terms {
            match *term {
                Term::Scaled { of, .. } => uses[of] += 1,
                Term::Sum { a, b, .. } => [a, b].into_iter().for_each(|value| uses[value] += 1),
            }
        }
        code.outputs.iter().flatten().for_each(|&value| uses[value] += 1);
        let of = vec![None; uses.len()];
        let free = (0..registers).rev().map(|number| Register { number, half }).collect();
        RegisterAllocator { of, uses, free }
    }

    fn take(&mut self) -> Register {
        self.free.pop().expect("every size's values fit the registers (a bug in nin)")
    }

    /// Counts a use of a value; its register is free after the last.
    fn used(&mut self, value: usize) {
        self.uses[value] -= 1;
        if self.uses[value] == 0 {
            self.free.extend(self.of[value].take());
        }
    }

    /// Hands a value's register, which is used for the last time, to another value.
    fn pass_on(&mut self, value: usize, to: usize) {
        self.uses[value] -= 1;
        self.of[to] = self.of[value].take();
    }
}

impl<'a, V: Arithmetic> Assembler<'a, V> {
    fn new(transform: &'a Transform) -> Result<Self, IcedError> {
        let directions = [0, 1].map(|direction| transform.straight(direction));
        let mut constants: Vec<f32> = Vec::new();
        for term in directions.iter().flat_map(|code| &code.terms) {
            let (Term::Scaled { factor, .. } | Term::Sum { factor, .. }) = *term;
            if factor.abs() != 1.0 && !constants.contains(&factor) {
                constants.push(factor);
            }
        }
        // A scale of minus one is multiplied by.
        constants.push(-1.0);
        assert!(
            Transform::CONSTANTS + constants.len() <= Transform::SCRATCH,
            "scratch holds every constant (a bug in nin)"
        );
        let mut a = CodeAssembler::new(64)?;
        // The older encoding, shorter at times, has no register beyond the sixteenth.
        a.set_prefer_vex(V::SPARE < 16);
        Ok(Assembler { transform, a, v: V::default(), directions, constants, half: false })
    }

    fn write(mut self) -> Result<Vec<u8>, IcedError> {
        for (number, constant) in self.constants.iter().enumerate() {
            let at = rsi + bytes((Transform::CONSTANTS + number) as i64);
            self.a.mov(dword_ptr(at), constant.to_bits().cast_signed())?;
        }
        curve::prepare(&mut self.a, &self.transform.epilogue)?;
        // What is read beside the output is addressed by how far it is from it.
        self.a.sub(r8, rdx)?;
        let (whole, rest) =
            (self.transform.channels / V::LANES, self.transform.channels % V::LANES);
        if whole > 0 {
            let mut top = self.a.create_label();
            self.a.mov(r9, whole as u64)?;
            self.a.set_label(&mut top)?;
            self.vector(V::LANES)?;
            for pointer in [rdi, rdx, rcx] {
                self.a.add(pointer, bytes(V::LANES as i64))?;
            }
            self.a.dec(r9)?;
            self.a.jnz(top)?;
        }
        if rest > 0 {
            self.v.set_partial(&mut self.a, rest)?;
            self.vector(rest)?;
        }
        self.a.vzeroupper()?;
        self.a.ret()?;
        self.a.assemble(0)
    }

    /// One vector of channels, of which the first `lanes` are stored.
    fn vector(&mut self, lanes: usize) -> Result<(), IcedError> {
        self.half = V::HALVES && lanes <= V::LANES / 2;
        let Transform { from: [from_y, from_x], to: [to_y, _], real, wanted, .. } = self.transform;
        let [real_y, real_x] = real;
        let pitch = (real_x.len() * V::LANES) as i64;
        let first = from_y * real_y.start as i64 + from_x * real_x.start as i64;
        self.a.lea(r10, qword_ptr(rdi + bytes(first)))?;
        self.a.mov(r11, rsi)?;
        self.times(real_x.len(), |s| {
            s.straight(
                0,
                |y| at(r10, from_y * y as i64),
                |s, y, register| s.v.store(&mut s.a, register, at(r11, pitch * y as i64)),
            )?;
            s.a.add(r10, bytes(*from_x))?;
            s.a.add(r11, bytes(V::LANES as i64))
        })?;
        self.a.mov(r10, rsi)?;
        self.a.mov(r11, rdx)?;
        let drift = self.transform.beside[0] - *to_y;
        self.times(wanted[0], |s| {
            s.straight(
                1,
                |x| at(r10, (x * V::LANES) as i64),
                |s, x, register| s.finish(x, register, lanes),
            )?;
            s.a.add(r10, bytes(pitch))?;
            if drift != 0 {
                s.a.add(r8, bytes(drift))?;
            }
            s.a.add(r11, bytes(*to_y))
        })?;
        if drift != 0 {
            self.a.sub(r8, bytes(drift * wanted[0] as i64))?;
        }
        Ok(())
    }

    /// Runs `body` so many times, counting in `rax`.
    fn times(
        &mut self,
        count: usize,
        body: impl FnOnce(&mut Self) -> Result<(), IcedError>,
    ) -> Result<(), IcedError> {
        // A tile may lie in padding alone.
        if count == 0 {
            return Ok(());
        }
        let mut top = self.a.create_label();
        self.a.mov(rax, count as u64)?;
        self.a.set_label(&mut top)?;
        body(self)?;
        self.a.dec(rax)?;
        self.a.jnz(top)
    }

    /// Epilogue and store of an output in a register that may be overwritten.
    fn finish(&mut self, x: usize, register: Register, lanes: usize) -> Result<(), IcedError> {
        let [to, beside] = [self.transform.to, self.transform.beside].map(|of| of[1] * x as i64);
        let to = at(r11, to);
        let [zero, scratch] = [V::SPARE, V::SCRATCH].map(|number| Register { number, ..register });
        let start = match self.transform.init {
            InitialSum::Zero => None,
            InitialSum::Lowest => unreachable!("transforms add (a bug in nin)"),
            InitialSum::Bias => Some(rcx + 0),
            InitialSum::Load => Some(to),
        };
        if let Some(start) = start {
            self.v.load(&mut self.a, scratch, start)?;
            self.v.add(&mut self.a, register, register, scratch)?;
        }
        for epilogue in &self.transform.epilogue {
            self.v.zero(&mut self.a, zero)?;
            match epilogue {
                Epilogue::Relu => self.v.relu(&mut self.a, register)?,
                Epilogue::Relu6 => {
                    self.v.relu(&mut self.a, register)?;
                    self.v.constant(&mut self.a, zero, Epilogue::SIX)?;
                    self.v.at_most(&mut self.a, register)?;
                }
                Epilogue::Mask => {
                    let mask = r11 + r8 + bytes(beside);
                    self.v.mask(&mut self.a, register, scratch, mask)?;
                }
                Epilogue::Add => {
                    self.v.load(&mut self.a, scratch, r11 + r8 + bytes(beside))?;
                    self.v.add(&mut self.a, register, register, scratch)?;
                }
                Epilogue::LeakyRelu { .. }
                | Epilogue::HardSigmoid
                | Epilogue::HardSwish
                | Epilogue::Scale { .. } => {
                    curve::apply((&mut self.a, &self.v), *epilogue, register, scratch)?;
                }
            }
        }
        if lanes == V::LANES {
            self.v.store(&mut self.a, register, to)
        } else {
            self.v.store_partial(&mut self.a, register, to, lanes)
        }
    }

    /// Straight-line code of a direction. Inputs are loaded where they are first used; `store` gets each output as soon as it is
    /// computed, in a register that it may overwrite.
    fn straight(
        &mut self,
        direction: usize,
        input: impl Fn(usize) -> AsmMemoryOperand,
        mut store: impl FnMut(&mut Self, usize, Register) -> Result<(), IcedError>,
    ) -> Result<(), IcedError> {
        let code = self.directions[direction].clone();
        let mut registers = RegisterAllocator::new(&code, V::SCRATCH, self.half);
        for (number, output) in code.outputs.iter().enumerate() {
            if output.is_none() {
                let register = registers.take();
                self.v.zero(&mut self.a, register)?;
                store(self, number, register)?;
                registers.free.push(register);
            }
        }
        for value in 0..code.inputs {
            self.store_outputs(&code, value, &mut registers, &input, &mut store)?;
        }
        for (number, term) in code.terms.iter().enumerate() {
            self.term(term, code.inputs + number, &mut registers, &input)?;
            self.store_outputs(&code, code.inputs + number, &mut registers, &input, &mut store)?;
        }
        Ok(())
    }

    /// The register of a value; an input that has none yet is loaded.
    fn register(
        &mut self,
        value: usize,
        registers: &mut RegisterAllocator,
        input: impl Fn(usize) -> AsmMemoryOperand,
    ) -> Result<Register, IcedError> {
        if let Some(register) = registers.of[value] {
            return Ok(register);
        }
        let register = registers.take();
        registers.of[value] = Some(register);
        self.v.load(&mut self.a, register, input(value))?;
        Ok(register)
    }

    /// Stores a value where it is an output.
    fn store_outputs(
        &mut self,
        code: &Straight,
        value: usize,
        registers: &mut RegisterAllocator,
        input: impl Fn(usize) -> AsmMemoryOperand,
        store: &mut impl FnMut(&mut Self, usize, Register) -> Result<(), IcedError>,
    ) -> Result<(), IcedError> {
        for (number, output) in code.outputs.iter().enumerate() {
            if *output != Some(value) {
                continue;
            }
            let register = self.register(value, registers, &input)?;
            if registers.uses[value] == 1 {
                store(self, number, register)?;
            } else {
                let copy = registers.take();
                self.v.copy(&mut self.a, copy, register)?;
                store(self, number, copy)?;
                registers.free.push(copy);
            }
            registers.used(value);
        }
        Ok(())
    }

    /// Prepares to multiply with a constant.
    fn constant(&mut self, factor: f32) -> Result<AsmMemoryOperand, IcedError> {
        let number = self.constants.iter().position(|&constant| constant == factor);
        let number = number.expect("every constant was gathered (a bug in nin)");
        let constant = at(rsi, (Transform::CONSTANTS + number) as i64);
        self.v.broadcast(&mut self.a, constant)?;
        Ok(constant)
    }

    /// One operation, whose result is value `to`.
    fn term(
        &mut self,
        term: &Term,
        to: usize,
        registers: &mut RegisterAllocator,
        input: impl Fn(usize) -> AsmMemoryOperand,
    ) -> Result<(), IcedError> {
        match *term {
            Term::Scaled { factor, of } => {
                let from = self.register(of, registers, &input)?;
                registers.used(of);
                let result = registers.take();
                registers.of[to] = Some(result);
                let constant = self.constant(factor)?;
                self.v.multiply(&mut self.a, result, from, constant)
            }
            Term::Sum { a, factor, b } if factor.abs() == 1.0 => {
                let [x, y] =
                    [self.register(a, registers, &input)?, self.register(b, registers, &input)?];
                registers.used(a);
                registers.used(b);
                let result = registers.take();
                registers.of[to] = Some(result);
                if factor == 1.0 {
                    self.v.add(&mut self.a, result, x, y)
                } else {
                    self.v.subtract(&mut self.a, result, x, y)
                }
            }
            Term::Sum { a, factor, b } => {
                let [x, y] =
                    [self.register(a, registers, &input)?, self.register(b, registers, &input)?];
                let constant = self.constant(factor)?;
                if !self.transform.is_fused() {
                    let result = registers.take();
                    registers.of[to] = Some(result);
                    registers.used(a);
                    registers.used(b);
                    self.v.multiply(&mut self.a, result, y, constant)?;
                    return self.v.add(&mut self.a, result, x, result);
                }
                // The instruction overwrites one of its operands.
                if registers.uses[b] == 1 {
                    registers.pass_on(b, to);
                    self.v.multiply_then_add(&mut self.a, y, constant, x)?;
                    registers.used(a);
                    return Ok(());
                }
                if registers.uses[a] == 1 {
                    registers.pass_on(a, to);
                    registers.used(b);
                    return self.v.multiply_add(&mut self.a, x, y, constant);
                }
                let result = registers.take();
                registers.of[to] = Some(result);
                self.v.copy(&mut self.a, result, x)?;
                self.v.multiply_add(&mut self.a, result, y, constant)?;
                registers.used(a);
                registers.used(b);
                Ok(())
            }
        }
    }
}

/// The address of a float behind a base.
fn at(base: AsmRegister64, floats: i64) -> AsmMemoryOperand {
    base + bytes(floats)
}
