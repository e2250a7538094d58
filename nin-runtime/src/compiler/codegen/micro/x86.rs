//! The x86-64 tiles: AVX-512 and AVX2 with FMA, by an assembler.
//!
//! The code keeps to System V's convention: arguments in `rdi rsi rdx rcx r8 r9`, and it touches caller-saved registers
//! only, so it has no frame. It ends in `vzeroupper`, since Cranelift's code around it is encoded as legacy SSE.

use iced_x86::IcedError;
use iced_x86::code_asm::{
    AsmMemoryOperand, AsmRegister64, CodeAssembler, qword_ptr, r8, r9, r10, r11, rax, rcx, rdi,
    rdx, rsi,
};

use super::curve;
use super::vectors::{Avx2, Avx512, Register, Vectors};
use crate::compiler::kernel::{Elems, Epilogue, Group, InitialSum, Reduction, Tile};
use crate::compiler::{Elem, Isa};

/// Steps of k written out in one turn of a group's loop.
const UNROLL: usize = 4;
/// Steps up to which a group is written out whole.
const STRAIGHT: usize = 8;

/// Assembles a tile, of float32 alone; `None` if the instruction set has no assembler's maker, or a displacement of the tile fits no
/// instruction: then the portable maker must write it.
pub(in crate::compiler::codegen) fn assemble(tile: &Tile, isa: Isa) -> Option<Vec<u8>> {
    let Elems { a: Elem::F32, b: Elem::F32, c: Elem::F32, beside: Elem::F32 } = tile.elems;
    if !displacements_fit(tile) {
        return None;
    }
    let code = match isa {
        Isa::Avx2 => Assembler::<Avx2>::new(tile).and_then(Assembler::write),
        Isa::Avx512 => Assembler::<Avx512>::new(tile).and_then(Assembler::write),
        Isa::Auto | Isa::Portable => return None,
    };
    Some(code.expect("the assembler knows these instructions (a bug in nin)"))
}

/// Whether the farthest element of each operand that an instruction names is within 31 bits of its base.
fn displacements_fit(tile: &Tile) -> bool {
    let steps = STRAIGHT.max(UNROLL) as i64;
    let (rows, cols) = (tile.rows as i64, tile.cols as i64);
    let far = [
        tile.a_row * rows + tile.a_k * steps + if tile.reduction.by_column() { cols } else { 0 },
        tile.b_k * steps + cols,
        tile.c_row * rows + cols,
        tile.beside_row * rows + cols,
        tile.a_segment,
        tile.b_segment,
    ];
    let groups = tile.groups.iter().flat_map(|group| [group.a, group.b]);
    far.into_iter().chain(groups).all(|floats| i32::try_from(4 * floats).is_ok())
}

/// A distance in bytes.
fn bytes(floats: i64) -> i32 {
    i32::try_from(Elem::F32.bytes() as i64 * floats).expect("checked before (a bug in nin)")
}

/// A tile being written. The sums take the first registers, row by row; a row of B takes those after them.
struct Assembler<'a, V> {
    tile: &'a Tile,
    a: CodeAssembler,
    v: V,
}

impl<'a, V: Vectors> Assembler<'a, V> {
    fn new(tile: &'a Tile) -> Result<Self, IcedError> {
        let mut a = CodeAssembler::new(64)?;
        // The older encoding, shorter at times, has no register beyond the sixteenth.
        a.set_prefer_vex(V::SPARE < 16);
        Ok(Assembler { tile, a, v: V::default() })
    }

    fn write(mut self) -> Result<Vec<u8>, IcedError> {
        let used = (self.tile.rows + 1) * self.vectors();
        assert!(used <= V::SPARE, "the tile fits the registers (a bug in nin)");
        self.init()?;
        self.segments()?;
        self.epilogue()?;
        self.store()?;
        self.a.vzeroupper()?;
        self.a.ret()?;
        self.a.assemble(0)
    }

    fn vectors(&self) -> usize {
        self.tile.cols.div_ceil(V::LANES)
    }

    /// The register of a vector of a row of sums, or of the row of B, which comes after them.
    fn register(&self, row: usize, vector: usize) -> Register {
        let columns = self.tile.cols - vector * V::LANES;
        Register {
            number: row * self.vectors() + vector,
            half: V::HALVES && columns <= V::LANES / 2,
        }
    }

    /// The register of a vector of the row of B.
    fn b(&self, vector: usize) -> Register {
        self.register(self.tile.rows, vector)
    }

    /// Every sum: its vector, its offset in C (in floats), and its register.
    fn sums(&self) -> Vec<(usize, i64, Register)> {
        let rows = (0..self.tile.rows).flat_map(|row| (0..self.vectors()).map(move |v| (row, v)));
        let sum =
            |((row, vector), c): ((usize, usize), i64)| (vector, c, self.register(row, vector));
        rows.zip(self.offsets(self.tile.c_row)).map(sum).collect()
    }

    /// Where the vector of each sum lies in a map whose rows are `pitch` floats apart.
    fn offsets(&self, pitch: i64) -> Vec<i64> {
        let vectors = (0..self.vectors()).map(|vector| (vector * V::LANES) as i64);
        let rows = (0..self.tile.rows).map(|row| pitch * row as i64);
        rows.flat_map(|row| vectors.clone().map(move |vector| row + vector)).collect()
    }

    fn init(&mut self) -> Result<(), IcedError> {
        for (vector, c, sum) in self.sums() {
            match self.tile.init {
                InitialSum::Zero => self.v.zero(&mut self.a, sum)?,
                InitialSum::Bias => {
                    self.v.load(&mut self.a, sum, at(rcx, (vector * V::LANES) as i64))?;
                }
                InitialSum::Load => self.v.load(&mut self.a, sum, at(rdx, c))?,
                InitialSum::Lowest => self.v.constant(&mut self.a, sum, f32::NEG_INFINITY)?,
            }
        }
        Ok(())
    }

    /// The loop over segments; all groups of one segment stand in its body.
    fn segments(&mut self) -> Result<(), IcedError> {
        let (mut top, mut done) = (self.a.create_label(), self.a.create_label());
        self.a.test(r9, r9)?;
        self.a.jle(done)?;
        self.a.set_label(&mut top)?;
        let tile = self.tile;
        for group in &tile.groups {
            self.group(group)?;
        }
        self.a.add(rdi, bytes(tile.a_segment))?;
        self.a.add(rsi, bytes(tile.b_segment))?;
        self.a.dec(r9)?;
        self.a.jnz(top)?;
        self.a.set_label(&mut done)?;
        Ok(())
    }

    /// One group: straight-line code if it is short, else a loop of [`UNROLL`] steps a turn and the rest.
    fn group(&mut self, group: &Group) -> Result<(), IcedError> {
        self.a.lea(rax, qword_ptr(rdi + bytes(group.a)))?;
        self.a.lea(r10, qword_ptr(rsi + bytes(group.b)))?;
        if group.k <= STRAIGHT {
            return self.steps(group, group.k);
        }
        let mut top = self.a.create_label();
        self.a.mov(r11, (group.k / UNROLL) as u64)?;
        self.a.set_label(&mut top)?;
        self.steps(group, UNROLL)?;
        self.a.add(rax, bytes(self.tile.a_k * UNROLL as i64))?;
        self.a.add(r10, bytes(self.tile.b_k * UNROLL as i64))?;
        self.a.dec(r11)?;
        self.a.jnz(top)?;
        self.steps(group, group.k % UNROLL)
    }

    fn steps(&mut self, group: &Group, steps: usize) -> Result<(), IcedError> {
        let vectors = self.vectors();
        for step in 0..steps as i64 {
            let of_b = if self.tile.reduction == Reduction::Maximum { 0 } else { vectors };
            for vector in 0..of_b {
                let from = at(r10, self.tile.b_k * step + (vector * V::LANES) as i64);
                let b = self.b(vector);
                self.v.load(&mut self.a, b, from)?;
            }
            for row in group.rows.clone() {
                let element = self.tile.a_k * step + self.tile.a_row * row as i64;
                if !self.tile.reduction.by_column() {
                    self.v.broadcast(&mut self.a, at(rax, element))?;
                }
                for vector in 0..vectors {
                    let (sum, b) = (self.register(row, vector), self.b(vector));
                    let own = at(rax, element + (vector * V::LANES) as i64);
                    match self.tile.reduction {
                        Reduction::Product => {
                            self.v.multiply_add(&mut self.a, sum, b, at(rax, element))?;
                        }
                        Reduction::ByColumn => {
                            self.v.multiply_add_vector(&mut self.a, sum, b, own)?;
                        }
                        Reduction::Maximum => self.v.maximum(&mut self.a, sum, b, own)?,
                    }
                }
            }
        }
        Ok(())
    }

    fn epilogue(&mut self) -> Result<(), IcedError> {
        if self.tile.epilogue.is_empty() {
            return Ok(());
        }
        self.v.zero(&mut self.a, Register { number: V::SPARE, half: false })?;
        curve::prepare(&mut self.a, &self.tile.epilogue)?;
        // The row of B is no longer needed.
        let scratch = self.b(0);
        let sums = self.sums();
        let beside = self.offsets(self.tile.beside_row);
        for (&(_, _, sum), beside) in sums.iter().zip(beside) {
            for epilogue in &self.tile.epilogue {
                match epilogue {
                    // A bound above comes when zero is no longer needed.
                    Epilogue::Relu | Epilogue::Relu6 => self.v.relu(&mut self.a, sum)?,
                    Epilogue::Mask => self.v.mask(&mut self.a, sum, scratch, at(r8, beside))?,
                    Epilogue::Add => {
                        let addend = Register { number: scratch.number, half: sum.half };
                        self.v.load(&mut self.a, addend, at(r8, beside))?;
                        self.v.add(&mut self.a, sum, sum, addend)?;
                    }
                    Epilogue::LeakyRelu { .. }
                    | Epilogue::HardSigmoid
                    | Epilogue::HardSwish
                    | Epilogue::Scale { .. } => {
                        let other = Register { number: scratch.number, half: sum.half };
                        curve::apply((&mut self.a, &self.v), *epilogue, sum, other)?;
                    }
                }
            }
        }
        if self.tile.epilogue.contains(&Epilogue::Relu6) {
            let spare = Register { number: V::SPARE, half: false };
            self.v.constant(&mut self.a, spare, Epilogue::SIX)?;
            for (_, _, sum) in sums {
                self.v.at_most(&mut self.a, sum)?;
            }
        }
        Ok(())
    }

    /// Stores the sums; of a partial vector only the lanes that exist.
    fn store(&mut self) -> Result<(), IcedError> {
        let rest = self.tile.cols % V::LANES;
        let last = self.register(0, self.vectors() - 1);
        let is_partial = rest != 0 && !(last.half && rest == V::LANES / 2);
        if is_partial {
            self.v.set_partial(&mut self.a, rest)?;
        }
        for (vector, c, sum) in self.sums() {
            if is_partial && vector + 1 == self.vectors() {
                self.v.store_partial(&mut self.a, sum, at(rdx, c), rest)?;
            } else {
                self.v.store(&mut self.a, sum, at(rdx, c))?;
            }
        }
        Ok(())
    }
}

/// The address of a float behind a base.
fn at(base: AsmRegister64, floats: i64) -> AsmMemoryOperand {
    base + bytes(floats)
}
