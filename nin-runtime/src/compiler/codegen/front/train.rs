//! Training through the C interface: a state that holds weights, momentum and prepared weights, and steps on one thread,
//! slice after slice, to the bits of a session's.

use std::mem::offset_of;

use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::types::{F32, F64, I32, I64};
use cranelift_codegen::ir::{InstBuilder, Value};
use cranelift_frontend::Variable;

use super::{Front, FrontBody, flushed};
use crate::compiler::Elem;
use crate::compiler::abi::{Coefficients, Context};
use crate::compiler::codegen::emitter::Emitter;
use crate::compiler::codegen::signature::{INT, POINTER};
use crate::compiler::codegen::slices::slice_bound;
use crate::compiler::codegen::{context, pool};
use crate::compiler::kernel::{Entry, Update};
use crate::compiler::plan::{LINE, Plan};

/// What the header calls `NAME_settings`.
#[repr(C)]
struct StepSettings {
    /// [`Rates`] of each tensor.
    rates: *const Rates,
    /// Seed of dropout.
    seed: u64,
    /// Number of the step, from 0.
    step: u64,
    /// The longest that the gradient may be, or 0.
    clip: f32,
}

/// What the header calls `NAME_rates`.
#[repr(C)]
struct Rates {
    rate: f32,
    momentum: f32,
    decay: f32,
}

/// Where the parts of a state lie, in bytes; weights are first.
pub(super) struct State {
    momentum: usize,
    pub(super) prepared: usize,
    pub(super) bytes: usize,
}

impl State {
    pub(super) fn of(plan: &Plan) -> State {
        let weights = plan.weight_floats * Elem::F32.bytes();
        let (momentum, prepared) = (weights, 2 * weights);
        State { momentum, prepared, bytes: prepared + plan.prepared_bytes }
    }
}

/// Where the parts of a step's memory lie, in bytes; the arena is first.
pub(super) struct Workspace {
    sums: usize,
    statistics: usize,
    store: usize,
    pub(super) bytes: usize,
}

impl Workspace {
    pub(super) fn of(plan: &Plan) -> Workspace {
        let of_floats = |floats: usize| (floats * Elem::F32.bytes()).next_multiple_of(LINE);
        let sums = plan.arena().next_multiple_of(LINE);
        let statistics = sums + of_floats(plan.slices * plan.slice_floats);
        let store = statistics + of_floats(plan.statistics_floats);
        Workspace { sums, statistics, store, bytes: store + plan.store() }
    }
}

/// The arguments of a step.
struct StepCall {
    state: Value,
    images: Value,
    labels: Value,
    n: Value,
    settings: Value,
    losses: Value,
    correct: Value,
    workspace: Value,
}

impl Front<'_> {
    /// Fills a state with tensors, with their momentum or none, and prepares the weights.
    pub(super) fn load(&self, e: &mut Emitter<'_>, arguments: &[Value]) {
        let [state, tensors, momentum, workspace] = *arguments else {
            unreachable!("load takes four arguments (a bug in nin)")
        };
        let copy = |e: &mut Emitter<'_>, in_file: Value, in_plan: Value| {
            let number = e.load(F32, in_file, 0);
            e.store(number, in_plan, 0);
        };
        self.each_number(e, tensors, state, copy);
        let plan = self.bodies[0].plan;
        let moving = e.bytes(state, State::of(plan).momentum);
        pool::zero(e, moving, plan.weight_floats);
        let given = e.b.ins().icmp_imm_s(IntCC::NotEqual, momentum, 0);
        e.when(given, |e| self.each_number(e, momentum, moving, copy));
        flushed(e, |e| {
            let context = context::on_stack(e);
            self.on_body(e, |e, _, body| {
                let prepared = e.bytes(state, State::of(body.plan).prepared);
                body.prepare(e, context, (state, prepared, workspace));
            });
        });
    }

    /// Fills tensors, and those of the momentum if they are wished.
    pub(super) fn save(&self, e: &mut Emitter<'_>, arguments: &[Value]) {
        let [state, tensors, momentum] = *arguments else {
            unreachable!("save takes three arguments (a bug in nin)")
        };
        let copy = |e: &mut Emitter<'_>, in_file: Value, in_plan: Value| {
            let number = e.load(F32, in_plan, 0);
            e.store(number, in_file, 0);
        };
        self.each_number(e, tensors, state, copy);
        let moving = e.bytes(state, State::of(self.bodies[0].plan).momentum);
        let wished = e.b.ins().icmp_imm_s(IntCC::NotEqual, momentum, 0);
        e.when(wished, |e| self.each_number(e, momentum, moving, copy));
    }

    /// Takes a step and yields 0; or does nothing and yields 1, if there are too many or no images or a label is no class.
    pub(super) fn step(&self, e: &mut Emitter<'_>, arguments: &[Value]) -> Value {
        let [state, images, labels, n, settings, losses, correct, workspace] = *arguments else {
            unreachable!("a step takes eight arguments (a bug in nin)")
        };
        let step = StepCall { state, images, labels, n, settings, losses, correct, workspace };
        let sound = self.is_sound(e, &step);
        e.when(sound, |e| {
            flushed(e, |e| self.on_body(e, |e, _, body| self.take(e, body, &step)));
        });
        let wrong = e.b.ins().icmp_imm_s(IntCC::Equal, sound, 0);
        e.b.ins().uextend(INT, wrong)
    }

    /// Whether there are as many images as the plan has room for, and all labels are classes.
    fn is_sound(&self, e: &mut Emitter<'_>, step: &StepCall) -> Value {
        let classes = self.graph.node(self.graph.logits()).shape.elements();
        let batch = self.bodies[0].plan.batch;
        // One below 0 is more than any batch.
        let before = e.add(step.n, -1);
        let fits = e.b.ins().icmp_imm_u(IntCC::UnsignedLessThan, before, batch as i64);
        let sound = e.b.declare_var(cranelift_codegen::ir::types::I8);
        e.b.def_var(sound, fits);
        e.when(fits, |e| {
            let zero = e.int(0);
            e.range(zero, step.n, 1, |e, image| {
                let at = e.at(step.labels, image, 1);
                let label = e.load(I32, at, 0);
                let is_class = e.b.ins().icmp_imm_u(IntCC::UnsignedLessThan, label, classes as i64);
                let before = e.b.use_var(sound);
                let both = e.b.ins().band(before, is_class);
                e.b.def_var(sound, both);
            });
        });
        e.b.use_var(sound)
    }

    /// The step itself.
    fn take(&self, e: &mut Emitter<'_>, body: &FrontBody<'_>, step: &StepCall) {
        let (plan, memory) = (body.plan, Workspace::of(body.plan));
        let mut part = |offset: usize| e.bytes(step.workspace, offset);
        let (sums, statistics, store) =
            (part(memory.sums), part(memory.statistics), part(memory.store));
        let prepared = e.bytes(step.state, State::of(plan).prepared);
        let momentum = e.bytes(step.state, State::of(plan).momentum);
        let mut setting = |offset| setting(e, I64, step.settings, offset);
        let (seed, number) =
            (setting(offset_of!(StepSettings, seed)), setting(offset_of!(StepSettings, step)));
        let one = e.float(F32, 1.0);
        let count = e.b.ins().fcvt_from_uint(F32, step.n);
        let per_image = e.b.ins().fdiv(one, count);
        let dropout = e.int(1);
        let context = context::on_stack(e);
        for (value, offset) in [
            (step.images, offset_of!(Context, images)),
            (step.labels, offset_of!(Context, labels)),
            (step.losses, offset_of!(Context, results)),
            (step.correct, offset_of!(Context, correct)),
            (step.workspace, offset_of!(Context, arena)),
            (step.workspace, offset_of!(Context, shared)),
            (store, offset_of!(Context, store)),
            (statistics, offset_of!(Context, statistics)),
            (step.state, offset_of!(Context, weights)),
            (prepared, offset_of!(Context, prepared)),
            (momentum, offset_of!(Context, momentum)),
            (dropout, offset_of!(Context, dropout)),
            (number, offset_of!(Context, step)),
            (seed, offset_of!(Context, seed)),
            (per_image, offset_of!(Context, per_image)),
        ] {
            context::store(e, value, context, offset);
        }
        phases(e, body, context, step.n, sums);
        self.clip(e, body, context, (step.settings, sums));
        if !plan.norms.is_empty() {
            over(e, context, 0, step.n);
            body.call(e, Entry::Track, context);
        }
        let coefficients = self.coefficients(e, step.settings);
        context::store(e, coefficients, context, offset_of!(Context, coefficients));
        let strips = e.size(plan.strips());
        over(e, context, 0, strips);
        body.call(e, Entry::Update { rule: Update::Momentum }, context);
    }

    /// Scales a gradient that is longer than the settings say. Its norm is that of the slices' sums.
    fn clip(
        &self,
        e: &mut Emitter<'_>,
        body: &FrontBody<'_>,
        context: Value,
        (settings, sums): (Value, Value),
    ) {
        let one = e.float(F32, 1.0);
        context::store(e, one, context, offset_of!(Context, scale));
        let most = setting(e, F32, settings, offset_of!(StepSettings, clip));
        let none = e.float(F32, 0.0);
        let wished = e.b.ins().fcmp(FloatCC::GreaterThan, most, none);
        e.when(wished, |e| {
            let end = e.size(body.plan.weight_floats);
            over(e, context, 0, end);
            body.call(e, Entry::Reduce, context);
            let reduced = e.int(1);
            context::store(e, reduced, context, offset_of!(Context, reduced));
            let scale = clip_scale(e, body.plan, most, sums);
            context::store(e, scale, context, offset_of!(Context, scale));
        });
    }

    /// The caller's rates of every weight, as an update reads them.
    fn coefficients(&self, e: &mut Emitter<'_>, settings: Value) -> Value {
        const BYTES: usize = size_of::<Coefficients>();
        let rates = setting(e, POINTER, settings, offset_of!(StepSettings, rates));
        let count = self.graph.weights().len();
        let coefficients = e.stack(count * BYTES / size_of::<f32>());
        let zero = e.float(F32, 0.0);
        for number in 0..count {
            for (from, to) in [
                (offset_of!(Rates, rate), offset_of!(Coefficients, lr)),
                (offset_of!(Rates, momentum), offset_of!(Coefficients, momentum)),
                (offset_of!(Rates, decay), offset_of!(Coefficients, decay)),
            ] {
                let rate = setting(e, F32, rates, number * size_of::<Rates>() + from);
                context::store(e, rate, coefficients, number * BYTES + to);
            }
            for unused in [
                offset_of!(Coefficients, shrink),
                offset_of!(Coefficients, square_rate),
                offset_of!(Coefficients, epsilon),
            ] {
                context::store(e, zero, coefficients, number * BYTES + unused);
            }
        }
        coefficients
    }
}

/// Loads a field of the caller's settings.
fn setting(
    e: &mut Emitter<'_>,
    ty: cranelift_codegen::ir::Type,
    base: Value,
    offset: usize,
) -> Value {
    let offset = i32::try_from(offset).expect("few tensors");
    e.b.ins().load(ty, Emitter::mem(), base, offset)
}

/// Sets a context's range.
fn over(e: &mut Emitter<'_>, context: Value, begin: usize, end: Value) {
    let begin = e.size(begin);
    context::store(e, begin, context, offset_of!(Context, begin));
    context::store(e, end, context, offset_of!(Context, end));
}

/// Forward and backward: every slice through a phase, then what the next phase needs of their sums.
fn phases(e: &mut Emitter<'_>, body: &FrontBody<'_>, context: Value, n: Value, sums: Value) {
    let plan = body.plan;
    for (phase, planned) in plan.phases().iter().enumerate() {
        e.count(plan.slices, |e, slice| {
            let of_slice = e.at(sums, slice, plan.slice_floats);
            context::store(e, of_slice, context, offset_of!(Context, gradients));
            let begin = e.mul(slice, plan.slice_images() as i64);
            let end = e.add(begin, plan.slice_images() as i64);
            for (bound, offset) in
                [(begin, offset_of!(Context, begin)), (end, offset_of!(Context, end))]
            {
                let bound = slice_bound(e, plan, bound, n);
                context::store(e, bound, context, offset);
            }
            body.call(e, Entry::Train { phase }, context);
        });
        context::store(e, sums, context, offset_of!(Context, gradients));
        if !planned.gathers.is_empty() {
            over(e, context, 0, n);
            body.call(e, Entry::Gather { phase }, context);
        }
    }
}

/// What the gradient is multiplied by so that it is at most so long; summed in the order and the precision of a session.
fn clip_scale(e: &mut Emitter<'_>, plan: &Plan, most: Value, gradient: Value) -> Value {
    /// Numbers whose squares are summed by themselves.
    const RUN: usize = 256;
    let total = zero_sum(e);
    let run = |e: &mut Emitter<'_>, first: Value, numbers: usize| {
        let sum = zero_sum(e);
        e.count(numbers, |e, index| {
            let at = e.at(first, index, 1);
            let number = e.load(F32, at, 0);
            let number = e.b.ins().fpromote(F64, number);
            let square = e.b.ins().fmul(number, number);
            add_to(e, sum, square);
        });
        let sum = e.b.use_var(sum);
        add_to(e, total, sum);
    };
    e.count(plan.weight_floats / RUN, |e, index| {
        let first = e.at(gradient, index, RUN);
        run(e, first, RUN);
    });
    if !plan.weight_floats.is_multiple_of(RUN) {
        let whole = plan.weight_floats / RUN * RUN;
        let first = e.floats(gradient, whole as i64);
        run(e, first, plan.weight_floats - whole);
    }
    let norm = e.b.use_var(total);
    let norm = e.b.ins().sqrt(norm);
    let most = e.b.ins().fpromote(F64, most);
    let longer = e.b.ins().fcmp(FloatCC::GreaterThan, norm, most);
    let share = e.b.ins().fdiv(most, norm);
    let share = e.b.ins().fdemote(F32, share);
    let one = e.float(F32, 1.0);
    e.b.ins().select(longer, share, one)
}

/// A sum in double precision.
fn zero_sum(e: &mut Emitter<'_>) -> Variable {
    let sum = e.b.declare_var(F64);
    let zero = e.b.ins().f64const(0.0);
    e.b.def_var(sum, zero);
    sum
}

fn add_to(e: &mut Emitter<'_>, sum: Variable, value: Value) {
    let before = e.b.use_var(sum);
    let after = e.b.ins().fadd(before, value);
    e.b.def_var(sum, after);
}
