//! The C interface of a library compiled ahead: functions that choose a body for the CPU, fill a context and call the
//! body's entries, and functions that tell sizes and constants.
//!
//! They are the driver of whoever has no Rust around the code: one thread a call, all memory from the caller, and nothing
//! that is written but the caller's memory and the answer of the CPU, which is asked once.

mod train;

use std::mem::offset_of;

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{F32, I32, I64};
use cranelift_codegen::ir::{InstBuilder, Value};
use nin_dsl::graph::Graph;

use super::emitter::Emitter;
use super::functions::Width;
use super::level;
use super::signature::{INT, POINTER};
use super::target::Target;
use super::writer::Writer;
use super::{Clif, context};
use crate::compiler::Elem;
use crate::compiler::Isa;
use crate::compiler::abi::Context;
use crate::compiler::kernel::{Constant, Entry, Export, Intrinsic, Kernel, Memory, Prepared};
use crate::compiler::plan::{self, Plan};

/// What a library's functions refer to besides functions. Its position in [`Front::data`] is its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Datum {
    /// The prepared weights of a body.
    Prepared(usize),
    /// A constant.
    Constant(Constant),
    /// The names of the classes, each ended by a zero.
    Names,
    /// Where each name begins, in 32 bits.
    NameStarts,
    /// 1 more than the answer of [`Intrinsic::Detect`]; 0 before it was asked.
    Level,
}

/// A library's code for one instruction set.
pub(crate) struct FrontBody<'a> {
    pub(crate) isa: Isa,
    pub(crate) plan: &'a Plan,
    /// Its entries; the first has the number `first`.
    pub(crate) entries: Vec<Entry>,
    pub(crate) first: usize,
}

/// What the interface is made of.
pub(crate) struct Front<'a> {
    pub(crate) graph: &'a Graph,
    /// At least one, the fastest last.
    pub(crate) bodies: Vec<FrontBody<'a>>,
    pub(crate) data: Vec<Datum>,
    /// Where its weights are.
    pub(crate) prepared: Prepared,
    /// Names of classes.
    pub(crate) names: usize,
}

/// Writes the functions of an interface and what they call, numbered from `first` on. The target is what every CPU of the
/// platform has.
pub(crate) fn write(front: &Front<'_>, exports: &[Export], target: &Target, first: usize) -> Clif {
    let roots: Vec<Kernel> = exports.iter().map(|&export| Kernel::Export(export)).collect();
    let writer = Writer::new(target, (&roots, Width::Narrow), first, |e, kernel| {
        let Kernel::Export(export) = kernel else {
            unreachable!("an interface calls entries by number (a bug in nin)")
        };
        let arguments = e.arguments();
        front.export(e, *export, &arguments)
    });
    writer.finish()
}

impl FrontBody<'_> {
    /// The least answer of [`Intrinsic::Detect`] with which a CPU runs it.
    fn level(&self) -> i64 {
        level::number(self.isa) as i64
    }

    /// Prepares all weights, in an arena.
    fn prepare(
        &self,
        e: &mut Emitter<'_>,
        context: Value,
        (weights, prepared, arena): (Value, Value, Value),
    ) {
        let (zero, all) = (e.int(0), e.size(self.plan.strips()));
        for (value, offset) in [
            (weights, offset_of!(Context, weights)),
            (prepared, offset_of!(Context, prepared)),
            (arena, offset_of!(Context, arena)),
            (zero, offset_of!(Context, begin)),
            (all, offset_of!(Context, end)),
        ] {
            context::store(e, value, context, offset);
        }
        self.call(e, Entry::Prepare, context);
    }

    fn call(&self, e: &mut Emitter<'_>, entry: Entry, context: Value) {
        let position = self.entries.iter().position(|other| *other == entry);
        let position = position.expect("the body has this entry (a bug in nin)");
        e.call_entry(u32::try_from(self.first + position).expect("few functions"), context);
    }
}

impl Front<'_> {
    /// Bytes that callers reserve.
    pub(crate) fn bytes(&self, memory: Memory) -> usize {
        let of_body = |body: &FrontBody<'_>| match memory {
            Memory::Workspace => match self.prepared {
                Prepared::Embedded => body.plan.arena(),
                Prepared::Passed => {
                    let preparing = preparing_arena(body.plan) + body.plan.preparing_bytes;
                    body.plan.arena().max(preparing)
                }
                Prepared::State => train::Workspace::of(body.plan).bytes,
            },
            Memory::Prepared => body.plan.prepared_bytes,
            Memory::State => train::State::of(body.plan).bytes,
        };
        let most = self.bodies.iter().map(of_body).max().expect("a library has a body");
        most.next_multiple_of(plan::LINE)
    }

    /// The body of a function.
    fn export(&self, e: &mut Emitter<'_>, export: Export, arguments: &[Value]) -> Option<Value> {
        match export {
            Export::Forward(_) => {
                self.forward(e, arguments);
                None
            }
            Export::Prepare => {
                self.prepare(e, arguments);
                None
            }
            Export::Load => {
                self.load(e, arguments);
                None
            }
            Export::Step => Some(self.step(e, arguments)),
            Export::Save => {
                self.save(e, arguments);
                None
            }
            Export::Supported => Some(self.supported(e)),
            Export::Level => Some(self.level(e)),
            Export::Size(size) => Some(e.size(self.bytes(size))),
            Export::Constant(constant) => Some(self.address(e, Datum::Constant(constant))),
            Export::ClassName => Some(self.class_name(e, arguments[0])),
        }
    }

    fn address(&self, e: &mut Emitter<'_>, datum: Datum) -> Value {
        let position = self.data.iter().position(|other| *other == datum);
        let position = position.expect("the library has this constant (a bug in nin)");
        e.data(u32::try_from(position).expect("few constants"))
    }

    fn forward(&self, e: &mut Emitter<'_>, arguments: &[Value]) {
        let (images, results, n) = (arguments[0], arguments[1], arguments[2]);
        let (&workspace, passed) = arguments[3..].split_last().expect("memory to work in");
        flushed(e, |e| {
            let context = context::on_stack(e);
            for (value, offset) in [
                (images, offset_of!(Context, images)),
                (results, offset_of!(Context, results)),
                (n, offset_of!(Context, end)),
                (workspace, offset_of!(Context, arena)),
                (workspace, offset_of!(Context, shared)),
            ] {
                context::store(e, value, context, offset);
            }
            self.on_body(e, |e, number, body| {
                let prepared = match (self.prepared, passed) {
                    (Prepared::State, &[state]) => {
                        e.bytes(state, train::State::of(body.plan).prepared)
                    }
                    (_, &[prepared]) => prepared,
                    _ => self.address(e, Datum::Prepared(number)),
                };
                context::store(e, prepared, context, offset_of!(Context, prepared));
                body.call(e, Entry::Infer, context);
            });
        });
    }

    fn prepare(&self, e: &mut Emitter<'_>, arguments: &[Value]) {
        let [tensors, prepared, workspace] = *arguments else {
            unreachable!("prepare takes three arguments (a bug in nin)")
        };
        self.each_number(e, tensors, workspace, |e, in_file, in_plan| {
            let number = e.load(F32, in_file, 0);
            e.store(number, in_plan, 0);
        });
        flushed(e, |e| {
            let context = context::on_stack(e);
            self.on_body(e, |e, _, body| {
                let arena = e.bytes(workspace, preparing_arena(body.plan));
                body.prepare(e, context, (workspace, prepared, arena));
            });
        });
    }

    /// Runs `copy` with the place of each number of the weights in the tensors of files and where the plan has it: weights lie
    /// alike in the plans of all bodies.
    fn each_number(
        &self,
        e: &mut Emitter<'_>,
        tensors: Value,
        weights: Value,
        mut copy: impl FnMut(&mut Emitter<'_>, Value, Value),
    ) {
        let plan = self.bodies[0].plan;
        for (number, id) in self.graph.weight_ids().enumerate() {
            let offset = i32::try_from(8 * number).expect("few tensors");
            let from = e.b.ins().load(POINTER, Emitter::mem(), tensors, offset);
            let to = e.floats(weights, plan.weights[id.index()] as i64);
            let (taps, inputs, outputs) = plan::matrix(self.graph, id);
            e.count(taps, |e, tap| {
                let (from, to) = (e.at(from, tap, 1), e.at(to, tap, inputs * outputs));
                e.count(inputs, |e, input| {
                    let (from, to) = (e.at(from, input, taps), e.at(to, input, outputs));
                    e.count(outputs, |e, output| {
                        let from = e.at(from, output, inputs * taps);
                        let to = e.at(to, output, 1);
                        copy(e, from, to);
                    });
                });
            });
        }
    }

    /// Runs the fastest body that the CPU has: where there are several, by its level; the slowest is for all others.
    fn on_body(
        &self,
        e: &mut Emitter<'_>,
        mut run: impl FnMut(&mut Emitter<'_>, usize, &FrontBody<'_>),
    ) {
        let (slowest, faster) = self.bodies.split_first().expect("a library has a body");
        if faster.is_empty() {
            return run(e, 0, slowest);
        }
        let level = e.call(&Kernel::Export(Export::Level), &[]).expect("it has a result");
        let exit = e.b.create_block();
        for (number, body) in faster.iter().enumerate().rev() {
            let (inside, next) = (e.b.create_block(), e.b.create_block());
            let has = e.b.ins().icmp_imm_s(IntCC::SignedGreaterThanOrEqual, level, body.level());
            e.b.ins().brif(has, inside, &[], next, &[]);
            e.b.switch_to_block(inside);
            e.b.seal_block(inside);
            run(e, 1 + number, body);
            e.b.ins().jump(exit, &[]);
            e.b.switch_to_block(next);
            e.b.seal_block(next);
        }
        run(e, 0, slowest);
        e.b.ins().jump(exit, &[]);
        e.b.switch_to_block(exit);
        e.b.seal_block(exit);
    }

    fn supported(&self, e: &mut Emitter<'_>) -> Value {
        let least = self.bodies[0].level();
        if least == 0 {
            return e.b.ins().iconst(INT, 1);
        }
        let level = e.call(&Kernel::Export(Export::Level), &[]).expect("it has a result");
        let has = e.b.ins().icmp_imm_s(IntCC::SignedGreaterThanOrEqual, level, least);
        e.b.ins().uextend(INT, has)
    }

    /// The CPU's level. Threads that ask at the same time store the same answer.
    fn level(&self, e: &mut Emitter<'_>) -> Value {
        let at = self.address(e, Datum::Level);
        let known = e.b.ins().load(I32, Emitter::mem().with_aligned(), at, 0);
        let (ask, exit) = (e.b.create_block(), e.b.create_block());
        let answer = e.b.append_block_param(exit, I32);
        e.b.ins().brif(known, exit, &[known.into()], ask, &[]);
        e.b.switch_to_block(ask);
        e.b.seal_block(ask);
        let found = e.call(&Kernel::Intrinsic(Intrinsic::Detect), &[]).expect("it has a result");
        let found = e.add(found, 1);
        let found = e.b.ins().ireduce(I32, found);
        e.b.ins().store(Emitter::mem().with_aligned(), found, at, 0);
        e.b.ins().jump(exit, &[found.into()]);
        e.b.switch_to_block(exit);
        e.b.seal_block(exit);
        let answer = e.b.ins().uextend(I64, answer);
        e.add(answer, -1)
    }

    /// The name of a class, or null where there is no such class.
    fn class_name(&self, e: &mut Emitter<'_>, class: Value) -> Value {
        let (inside, exit) = (e.b.create_block(), e.b.create_block());
        let name = e.b.append_block_param(exit, POINTER);
        let none = e.int(0);
        let exists = e.b.ins().icmp_imm_u(IntCC::UnsignedLessThan, class, self.names as i64);
        e.b.ins().brif(exists, inside, &[], exit, &[none.into()]);
        e.b.switch_to_block(inside);
        e.b.seal_block(inside);
        let (names, starts) = (self.address(e, Datum::Names), self.address(e, Datum::NameStarts));
        let at = e.at(starts, class, 1);
        let start = e.b.ins().load(I32, Emitter::mem(), at, 0);
        let start = e.b.ins().uextend(I64, start);
        let found = e.b.ins().iadd(names, start);
        e.b.ins().jump(exit, &[found.into()]);
        e.b.switch_to_block(exit);
        e.b.seal_block(exit);
        name
    }
}

/// Where passed weights are prepared in a workspace, in bytes: before it they lie on their way from the caller's tensors.
fn preparing_arena(plan: &Plan) -> usize {
    (plan.weight_floats * Elem::F32.bytes()).next_multiple_of(plan::LINE)
}

/// Runs `body` with denormals flushed to zero.
fn flushed(e: &mut Emitter<'_>, body: impl FnOnce(&mut Emitter<'_>)) {
    let before = e.call(&Kernel::Intrinsic(Intrinsic::Flush), &[]).expect("it has a result");
    body(e);
    e.call(&Kernel::Intrinsic(Intrinsic::Restore), &[before]);
}
