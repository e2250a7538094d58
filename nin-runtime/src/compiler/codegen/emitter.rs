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

use super::functions::{Functions, Placed, Width};
use super::target::Target;
use crate::compiler::Elem;
use crate::compiler::kernel::Kernel;

/// Lanes of the widest vector CLIF has on every target.
pub(super) const LANES: usize = 4;

/// Vectors that are worked on together: as many sums keep an adder busy.
pub(super) const VECTORS: usize = 4;

/// Neighbouring channels that one turn of a loop handles together.
pub(super) struct Columns {
    /// The first of them.
    pub(super) first: Value,
    /// The type of the vectors that they fill.
    pub(super) ty: Type,
    /// Where each vector begins, counted from the first.
    pub(super) offsets: Vec<i64>,
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
    /// What it reads of the table of offsets, if others may share it.
    offsets: Option<OwnOffsets>,
}

/// The offsets that a function reads.
struct OwnOffsets {
    /// Where they begin in the table.
    first: usize,
    /// The same at run time: the function's last argument.
    at: Option<Value>,
    /// They themselves.
    bytes: Vec<u64>,
}

impl<'f> Emitter<'f> {
    pub(super) fn new(
        b: FunctionBuilder<'f>,
        functions: &'f mut Functions,
        target: &Target,
        first_offset: Option<usize>,
    ) -> Emitter<'f> {
        let (fma, folds_loads) = (target.fma(), target.folds_loads());
        let own = |first| OwnOffsets { first, at: None, bytes: Vec::new() };
        let offsets = first_offset.map(own);
        Emitter { b, functions, imported: HashMap::new(), fma, folds_loads, offsets }
    }

    /// Starts the function's body and returns its arguments, without that which says where its offsets are.
    pub(super) fn arguments(&mut self) -> Vec<Value> {
        let entry = self.b.create_block();
        self.b.append_block_params_for_function_params(entry);
        self.b.switch_to_block(entry);
        self.b.seal_block(entry);
        let mut arguments = self.b.block_params(entry).to_vec();
        if let Some(own) = &mut self.offsets {
            own.at = arguments.pop();
        }
        arguments
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

    /// The address `bytes` behind `base`, where the plan has put something. A function that others may share reads the offset from
    /// its part of the table.
    pub(super) fn place(&mut self, base: Value, bytes: usize) -> Value {
        let Some(own) = &mut self.offsets else { return self.bytes(base, bytes) };
        let at = own.at.expect("arguments come first (a bug in nin)");
        let index = own.bytes.len();
        own.bytes.push(bytes as u64);
        let bytes = self.tabulated(at, index);
        self.sum(base, bytes)
    }

    /// The same with an offset in floats.
    pub(super) fn place_floats(&mut self, base: Value, floats: usize) -> Value {
        self.place(base, Elem::F32.bytes() * floats)
    }

    /// The number at an index of a part of the table of offsets.
    pub(super) fn tabulated(&mut self, part: Value, index: usize) -> Value {
        let flags = Self::mem().with_readonly().with_can_move().with_aligned();
        let width = self.functions.width();
        let offset = i32::try_from(width.bytes() * index).expect("a function is small");
        match width {
            Width::Narrow => self.b.ins().uload32(flags, part, offset),
            Width::Wide => self.b.ins().load(I64, flags, part, offset),
        }
    }

    /// Where number `index * scale` of a part of the table of offsets is.
    pub(super) fn row_of_table(&mut self, part: Value, index: Value, scale: usize) -> Value {
        let before = self.mul(index, (scale * self.functions.width().bytes()) as i64);
        self.sum(part, before)
    }

    /// Where a position of the table of offsets is.
    pub(super) fn table(&mut self, position: usize) -> Value {
        let (base, first) = match &self.offsets {
            Some(own) => (own.at.expect("arguments come first (a bug in nin)"), own.first),
            None => (self.address(&Kernel::Offsets), 0),
        };
        let ahead = position.checked_sub(first).expect("offsets follow each other (a bug in nin)");
        let width = self.functions.width();
        self.bytes(base, width.bytes() * ahead)
    }

    /// Adds numbers to the table of offsets; their position.
    pub(super) fn tabulate(&mut self, numbers: &[u64]) -> usize {
        self.functions.tabulate(numbers)
    }

    /// The function that a kernel is which reads offsets, and where its own begin.
    pub(super) fn placed(&self, kernel: &Kernel) -> Placed {
        self.functions.placed(kernel).expect("what is called is placed before (a bug in nin)")
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

    /// Runs `body` for the channels of a row, a few vectors at a time as long as they last.
    pub(super) fn columns(&mut self, channels: usize, mut body: impl FnMut(&mut Self, &Columns)) {
        let group = VECTORS * LANES;
        let of = |first: Value, ty: Type, vectors: usize| {
            let offsets = (0..vectors as i64).map(|index| index * i64::from(ty.lane_count()));
            Columns { first, ty, offsets: offsets.collect() }
        };
        self.count(channels / group, |e, index| {
            let first = e.mul(index, group as i64);
            body(e, &of(first, F32X4, VECTORS));
        });
        let mut at = channels / group * group;
        for (ty, vectors) in [(F32X4, channels % group / LANES), (F32, channels % LANES)] {
            if vectors > 0 {
                let first = self.size(at);
                body(self, &of(first, ty, vectors));
                at += vectors * LANES;
            }
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

    /// Calls another generated function, with its offsets if it reads any; what it returns, if it does.
    pub(super) fn call(&mut self, kernel: &Kernel, arguments: &[Value]) -> Option<Value> {
        match self.functions.placed(kernel) {
            Some(Placed { function, offsets }) => {
                let at = self.table(offsets);
                self.call_placed(function, arguments, at);
                None
            }
            None => {
                let callee = self.import(kernel);
                let call = self.b.ins().call(callee, arguments);
                self.b.inst_results(call).first().copied()
            }
        }
    }

    /// Calls a numbered function that reads the offsets at an address.
    pub(super) fn call_placed(&mut self, function: u32, arguments: &[Value], offsets: Value) {
        let callee = self.import_number(function);
        let arguments: Vec<Value> = arguments.iter().copied().chain([offsets]).collect();
        self.b.ins().call(callee, &arguments);
    }

    /// The address of a function that reads no offsets.
    pub(super) fn address(&mut self, kernel: &Kernel) -> Value {
        let function = self.import(kernel);
        self.b.ins().func_addr(I64, function)
    }

    /// Calls the function of an optimizer's rule that lies at an address.
    pub(super) fn call_rule(&mut self, rule: Value, arguments: &[Value]) {
        let signature = self.functions.rule_signature();
        let signature = self.b.import_signature(signature);
        self.b.ins().call_indirect(signature, rule, arguments);
    }

    fn import(&mut self, kernel: &Kernel) -> FuncRef {
        let index = self.functions.index(kernel);
        self.import_number(index)
    }

    fn import_number(&mut self, index: u32) -> FuncRef {
        *self.imported.entry(index).or_insert_with(|| self.functions.import(index, self.b.func))
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

    /// Returns from the function and closes it; the offsets that it reads.
    pub(super) fn finish(
        mut self,
        frontend: cranelift_codegen::isa::TargetFrontendConfig,
        result: Option<Value>,
    ) -> Vec<u64> {
        self.b.ins().return_(result.as_slice());
        self.b.finalize(frontend);
        self.offsets.map_or(Vec::new(), |own| own.bytes)
    }
}
