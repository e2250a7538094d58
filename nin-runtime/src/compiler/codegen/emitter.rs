//! [`Emitter`], what every generator writes with: a CLIF function under construction, with loops and addresses.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::immediates::{Ieee32, Imm64};
use cranelift_codegen::ir::types::{F32, F32X4, I32X4, I64};
use cranelift_codegen::ir::{
    self, ExternalName, FuncRef, GlobalValueData, InstBuilder, MemFlagsData, StackSlotData,
    StackSlotKind, Type, UserExternalName, Value,
};
use cranelift_frontend::FunctionBuilder;
use std::collections::HashMap;

use super::functions::Functions;
use super::target::Target;
use crate::compiler::Elem;
use crate::compiler::kernel::Kernel;

/// Lanes of the widest vector CLIF has on every target.
pub(super) const LANES: usize = 4;

/// Vectors that are worked on together: as many sums keep an adder busy.
const VECTORS: usize = 4;

/// `channels` neighbouring floats, a few vectors at a time: the type of each group's vectors, and their offsets.
pub(super) fn columns(channels: usize) -> Vec<(Type, Vec<i64>)> {
    let mut groups = Vec::new();
    let mut channel = 0;
    while channel < channels {
        let left = channels - channel;
        let (ty, lanes) = if left >= LANES { (F32X4, LANES) } else { (F32, 1) };
        let together = (left / lanes).min(VECTORS);
        groups.push((ty, (0..together).map(|index| (channel + index * lanes) as i64).collect()));
        channel += together * lanes;
    }
    groups
}

/// The namespace of a library's constants and variables; functions have number 0.
const DATA: u32 = 1;

/// A function under construction, and the table of the functions it may call.
pub(super) struct Emitter<'f> {
    /// The builder.
    pub(super) b: FunctionBuilder<'f>,
    functions: &'f mut Functions,
    /// Functions this one calls already.
    imported: HashMap<u32, FuncRef>,
    /// Whether the target multiplies and adds in one instruction; without it `fma` would be a library call.
    fma: bool,
    /// Whether a vector that is loaded may become an operand in memory.
    folds_loads: bool,
}

impl<'f> Emitter<'f> {
    pub(super) fn new(
        b: FunctionBuilder<'f>,
        functions: &'f mut Functions,
        target: &Target,
    ) -> Emitter<'f> {
        let (fma, folds_loads) = (target.fma(), target.folds_loads());
        Emitter { b, functions, imported: HashMap::new(), fma, folds_loads }
    }

    /// Starts the function's body and returns its arguments.
    pub(super) fn arguments(&mut self) -> Vec<Value> {
        let entry = self.b.create_block();
        self.b.append_block_params_for_function_params(entry);
        self.b.switch_to_block(entry);
        self.b.seal_block(entry);
        self.b.block_params(entry).to_vec()
    }

    /// An `i64` constant.
    pub(super) fn int(&mut self, value: i64) -> Value {
        self.b.ins().iconst(I64, value)
    }

    /// A size as an `i64` constant.
    pub(super) fn size(&mut self, value: usize) -> Value {
        self.int(i64::try_from(value).expect("sizes fit 63 bits"))
    }

    /// `a + constant`.
    pub(super) fn add(&mut self, a: Value, constant: i64) -> Value {
        if constant == 0 { a } else { self.b.ins().iadd_imm_s(a, constant) }
    }

    /// `a + b`.
    pub(super) fn sum(&mut self, a: Value, b: Value) -> Value {
        self.b.ins().iadd(a, b)
    }

    /// `a * constant`.
    pub(super) fn mul(&mut self, a: Value, constant: i64) -> Value {
        if constant == 1 { a } else { self.b.ins().imul_imm_s(a, constant) }
    }

    /// The address of float `index * scale` behind `base`.
    pub(super) fn at(&mut self, base: Value, index: Value, scale: usize) -> Value {
        self.element(base, index, scale, Elem::F32)
    }

    /// The address of element `index * scale` behind `base`.
    pub(super) fn element(&mut self, base: Value, index: Value, scale: usize, elem: Elem) -> Value {
        let bytes = scale * elem.bytes();
        let bytes = self.mul(index, i64::try_from(bytes).expect("sizes fit 63 bits"));
        self.b.ins().iadd(base, bytes)
    }

    /// The address of float `offset` behind `base`.
    pub(super) fn floats(&mut self, base: Value, offset: i64) -> Value {
        self.add(base, 4 * offset)
    }

    /// The address that lies `bytes` behind `base`.
    pub(super) fn bytes(&mut self, base: Value, bytes: usize) -> Value {
        self.add(base, i64::try_from(bytes).expect("sizes fit 63 bits"))
    }

    /// The address of so many floats on the stack, which hold anything.
    pub(super) fn stack(&mut self, floats: usize) -> Value {
        let bytes = u32::try_from(4 * floats).expect("little lies on the stack");
        // Aligned as pointers are.
        let slot = StackSlotData::new(StackSlotKind::ExplicitSlot, bytes, 3);
        let slot = self.b.create_sized_stack_slot(slot);
        self.b.ins().stack_addr(I64, slot, 0)
    }

    /// Memory that is mapped and sized by the plan, at any alignment.
    pub(super) fn mem() -> MemFlagsData {
        MemFlagsData::new().with_notrap()
    }

    /// Loads `ty` from float `offset` behind `base`.
    pub(super) fn load(&mut self, ty: Type, base: Value, offset: i64) -> Value {
        let (base, offset) = self.displaced(base, offset);
        if ty == F32X4 && !self.folds_loads {
            let loaded = self.b.ins().load(I32X4, Self::mem(), base, offset);
            return self.bitcast(ty, loaded);
        }
        self.b.ins().load(ty, Self::mem(), base, offset)
    }

    /// Stores a value at float `offset` behind `base`.
    pub(super) fn store(&mut self, value: Value, base: Value, offset: i64) {
        let (base, offset) = self.displaced(base, offset);
        self.b.ins().store(Self::mem(), value, base, offset);
    }

    /// A base and a displacement in bytes that fits an instruction.
    fn displaced(&mut self, base: Value, floats: i64) -> (Value, i32) {
        match i32::try_from(4 * floats) {
            Ok(bytes) => (base, bytes),
            Err(_) => (self.floats(base, floats), 0),
        }
    }

    /// A float32 constant of type `ty`, a scalar or a vector of them.
    pub(super) fn float(&mut self, ty: Type, value: f32) -> Value {
        let scalar = self.b.ins().f32const(Ieee32::with_float(value));
        self.splat(ty, scalar)
    }

    /// A scalar in every lane of `ty`; the scalar itself if `ty` is one.
    pub(super) fn splat(&mut self, ty: Type, scalar: Value) -> Value {
        if ty.is_vector() { self.b.ins().splat(ty, scalar) } else { scalar }
    }

    /// `a * b + c`.
    pub(super) fn mul_add(&mut self, a: Value, b: Value, c: Value) -> Value {
        if self.fma {
            self.b.ins().fma(a, b, c)
        } else {
            let product = self.b.ins().fmul(a, b);
            self.b.ins().fadd(product, c)
        }
    }

    /// `value` where the lanes of `condition` hold, else `other`. Conditions come from a comparison of the same type.
    pub(super) fn choose(&mut self, condition: Value, value: Value, other: Value) -> Value {
        let ty = self.b.func.dfg.value_type(value);
        if ty.is_vector() {
            let mask = self.bitcast(ty, condition);
            self.b.ins().bitselect(mask, value, other)
        } else {
            self.b.ins().select(condition, value, other)
        }
    }

    /// The same bits as another type of the same size.
    pub(super) fn bitcast(&mut self, ty: Type, value: Value) -> Value {
        if self.b.func.dfg.value_type(value) == ty {
            return value;
        }
        let lanes_first = MemFlagsData::new().with_endianness(ir::Endianness::Little);
        self.b.ins().bitcast(ty, lanes_first, value)
    }

    /// Runs `body` for `i = lo, lo + step, ...` while `i < hi`.
    pub(super) fn range(
        &mut self,
        lo: Value,
        hi: Value,
        step: i64,
        body: impl FnOnce(&mut Self, Value),
    ) {
        let (header, inside, exit) =
            (self.b.create_block(), self.b.create_block(), self.b.create_block());
        let i = self.b.append_block_param(header, I64);
        self.b.ins().jump(header, &[lo.into()]);
        self.b.switch_to_block(header);
        let more = self.b.ins().icmp(IntCC::SignedLessThan, i, hi);
        self.b.ins().brif(more, inside, &[], exit, &[]);
        self.b.switch_to_block(inside);
        self.b.seal_block(inside);
        body(self, i);
        let next = self.add(i, step);
        self.b.ins().jump(header, &[next.into()]);
        self.b.seal_block(header);
        self.b.switch_to_block(exit);
        self.b.seal_block(exit);
    }

    /// Runs `body` if a condition holds.
    pub(super) fn when(&mut self, condition: Value, body: impl FnOnce(&mut Self)) {
        let (inside, exit) = (self.b.create_block(), self.b.create_block());
        self.b.ins().brif(condition, inside, &[], exit, &[]);
        self.b.switch_to_block(inside);
        self.b.seal_block(inside);
        body(self);
        self.b.ins().jump(exit, &[]);
        self.b.switch_to_block(exit);
        self.b.seal_block(exit);
    }

    /// Runs `body` for `i` in `0..count`; inline, with constant `i`, where the count is 1.
    pub(super) fn count(&mut self, count: usize, body: impl FnOnce(&mut Self, Value)) {
        let zero = self.int(0);
        if count == 1 {
            body(self, zero);
        } else if count > 1 {
            let count = self.size(count);
            self.range(zero, count, 1, body);
        }
    }

    /// Runs `body` over `total` neighbouring floats: vector by vector, then one by one. It gets the type and the index
    /// of the first float.
    pub(super) fn lanes(&mut self, total: usize, mut body: impl FnMut(&mut Self, Type, Value)) {
        let whole = total / LANES * LANES;
        let zero = self.int(0);
        if whole > 0 {
            let end = self.size(whole);
            self.range(zero, end, LANES as i64, |e, i| body(e, F32X4, i));
        }
        if whole < total {
            let (start, end) = (self.size(whole), self.size(total));
            self.range(start, end, 1, |e, i| body(e, F32, i));
        }
    }

    /// As [`Emitter::lanes`], a few vectors at a time as long as they last: what `body` does besides, it does less often. It
    /// also gets the number of vectors.
    pub(super) fn vectors(
        &mut self,
        total: usize,
        mut body: impl FnMut(&mut Self, Type, Value, usize),
    ) {
        let group = VECTORS * LANES;
        let (groups, vectors) = (total / group, total % group / LANES);
        self.count(groups, |e, index| {
            let i = e.mul(index, group as i64);
            body(e, F32X4, i, VECTORS);
        });
        if vectors > 0 {
            let i = self.size(groups * group);
            body(self, F32X4, i, vectors);
        }
        let (start, end) = (total / LANES * LANES, total);
        if start < end {
            let (start, end) = (self.size(start), self.size(end));
            self.range(start, end, 1, |e, i| body(e, F32, i, 1));
        }
    }

    /// As [`Emitter::lanes`], between two run-time indices.
    pub(super) fn lanes_between(
        &mut self,
        begin: Value,
        end: Value,
        mut body: impl FnMut(&mut Self, Type, Value),
    ) {
        let length = self.b.ins().isub(end, begin);
        let whole = self.b.ins().band_imm_s(length, -(LANES as i64));
        let middle = self.b.ins().iadd(begin, whole);
        self.range(begin, middle, LANES as i64, |e, i| body(e, F32X4, i));
        self.range(middle, end, 1, |e, i| body(e, F32, i));
    }

    /// The larger of two `i64`.
    pub(super) fn max(&mut self, a: Value, b: Value) -> Value {
        self.b.ins().smax(a, b)
    }

    /// The smaller of two `i64`.
    pub(super) fn min(&mut self, a: Value, b: Value) -> Value {
        self.b.ins().smin(a, b)
    }

    /// Calls another generated function; what it returns, if it does.
    pub(super) fn call(&mut self, kernel: &Kernel, arguments: &[Value]) -> Option<Value> {
        let index = self.functions.index(kernel);
        let callee = match self.imported.get(&index) {
            Some(&callee) => callee,
            None => {
                let callee = self.functions.import(index, self.b.func);
                self.imported.insert(index, callee);
                callee
            }
        };
        let call = self.b.ins().call(callee, arguments);
        self.b.inst_results(call).first().copied()
    }

    /// Calls an entry of another table by its number.
    pub(super) fn call_entry(&mut self, index: u32, context: Value) {
        let callee = match self.imported.get(&index) {
            Some(&callee) => callee,
            None => {
                let callee = self.functions.import_entry(index, self.b.func);
                self.imported.insert(index, callee);
                callee
            }
        };
        self.b.ins().call(callee, &[context]);
    }

    /// The address of a numbered constant or variable of a library.
    pub(super) fn data(&mut self, index: u32) -> Value {
        let name = UserExternalName { namespace: DATA, index };
        let name = self.b.func.declare_imported_user_function(name);
        let symbol = self.b.func.create_global_value(GlobalValueData::Symbol {
            name: ExternalName::user(name),
            offset: Imm64::new(0),
            colocated: true,
            tls: false,
        });
        self.b.ins().symbol_value(I64, symbol)
    }

    /// Returns from the function and closes it.
    pub(super) fn finish(
        mut self,
        frontend: cranelift_codegen::isa::TargetFrontendConfig,
        result: Option<Value>,
    ) {
        self.b.ins().return_(result.as_slice());
        self.b.finalize(frontend);
    }
}
