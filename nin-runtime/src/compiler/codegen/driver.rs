//! The entries: the functions that Rust (or C) calls. Each walks the range its context names.

use std::mem::offset_of;
use std::ops::Range;

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::I64;
use cranelift_codegen::ir::{InstBuilder, Value};
use nin_dsl::graph::Graph;

use super::calls::CallList;
use super::emitter::Emitter;
use super::scope::Scope;
use super::slices::sum_of_slices;
use super::{context, group, layout, norm, pool};
use crate::compiler::abi::Context;
use crate::compiler::autodiff::TensorId;
use crate::compiler::kernel::{Entry, Kernel, PassKind, Update};
use crate::compiler::plan::{Part, Plan};

/// Writes an entry.
pub(super) fn emit(e: &mut Emitter<'_>, graph: &Graph, plan: &Plan, entry: Entry) {
    let context = e.arguments()[0];
    let begin = context::load(e, I64, context, offset_of!(Context, begin));
    let end = context::load(e, I64, context, offset_of!(Context, end));
    match entry {
        Entry::Prepare => strips(e, plan, None, context, (begin, end)),
        Entry::Infer => infer(e, graph, plan, context, (begin, end)),
        Entry::Part { pass } => part(e, graph, plan, pass, context, (begin, end)),
        Entry::Train { phase } => {
            if phase == 0 {
                let sums = context::load(e, I64, context, offset_of!(Context, gradients));
                pool::zero(e, sums, plan.slice_floats);
                group::clear(e, plan, context, (begin, end));
            }
            let blocks = plan.phases()[phase].blocks.clone();
            let sums: Vec<[Kernel; 2]> = sums_of(plan, phase).collect();
            call_all(e, sums.iter().map(|[clear, _]| clear.clone()), &[context]);
            match plan.groups.and_then(|groups| groups.chunk) {
                Some(ghost) => by_group(e, plan, ghost, context, (begin, end)),
                None => {
                    let blocks = (PassKind::Training, blocks.clone());
                    chunks(e, plan, blocks, context, (begin, end), |_, _, _| {});
                }
            }
            group::fold(e, plan, blocks, context, (begin, end));
            call_all(e, sums.into_iter().map(|[_, end]| end), &[context]);
        }
        Entry::Gather { phase } => call_all(e, gathers_of(plan, phase), &[context, end]),
        Entry::Reduce => reduce(e, plan, context, (begin, end)),
        Entry::Update { rule } => strips(e, plan, Some(rule), context, (begin, end)),
        Entry::Track => call_all(e, tracks_of(plan), &[context, end]),
    }
}

/// What clears the sums in Winograd's domain that a phase makes, and what brings them back.
pub(super) fn sums_of(plan: &Plan, phase: usize) -> impl Iterator<Item = [Kernel; 2]> {
    let summed = plan.summed_in_domain(plan.phases()[phase].blocks.clone());
    summed.map(|summed| {
        let conv = plan.convs.iter().position(|conv| conv.node == summed.node);
        let conv = conv.expect("every convolution is planned (a bug in nin)");
        [false, true].map(|ends| Kernel::Sums { conv, ends })
    })
}

/// What is gathered after a phase.
pub(super) fn gathers_of(plan: &Plan, phase: usize) -> impl Iterator<Item = Kernel> {
    let count = plan.phases()[phase].gathers.len();
    (0..count).map(move |number| Kernel::Gather { phase, number })
}

/// What moves running statistics.
pub(super) fn tracks_of(plan: &Plan) -> impl Iterator<Item = Kernel> {
    (0..plan.norms.len()).map(|norm| Kernel::Track { norm })
}

/// What becomes of strips, by owner, with the numbers of its first one and of that behind its last.
pub(super) fn strips_of(plan: &Plan) -> impl Iterator<Item = (Kernel, [usize; 2])> {
    plan.strip_groups().enumerate().map(|(owner, strips)| {
        (Kernel::Strips { owner }, [strips.first, strips.first + strips.count()])
    })
}

/// Calls kernels that read offsets, one after the other.
fn call_all(e: &mut Emitter<'_>, kernels: impl Iterator<Item = Kernel>, arguments: &[Value]) {
    let calls = CallList::of(e, kernels.map(|kernel| (kernel, [])));
    e.count(calls.len(), |e, number| calls.call(e, number, |_| arguments));
}

/// Writes the function that begins or ends the sums of a kernel's gradient in Winograd's domain.
pub(super) fn sums(e: &mut Emitter<'_>, graph: &Graph, plan: &Plan, (conv, ends): (usize, bool)) {
    let context = e.arguments()[0];
    let (zero, conv) = (e.int(0), &plan.convs[conv]);
    let scope = Scope::open(e, graph, plan, PassKind::Training, context, (zero, zero));
    if ends { scope.finish_sums(e, conv) } else { scope.clear_sums(e, conv) }
}

/// Writes the function that gathers something of all slices after a phase.
pub(super) fn gather(e: &mut Emitter<'_>, plan: &Plan, (phase, number): (usize, usize)) {
    let [context, images] = *e.arguments() else {
        unreachable!("what gathers takes two arguments (a bug in nin)")
    };
    norm::gather(e, plan, context, plan.phases()[phase].gathers[number], images);
}

/// Writes the function that moves the running statistics of a batch normalisation.
pub(super) fn track(e: &mut Emitter<'_>, plan: &Plan, norm: usize) {
    let [context, images] = *e.arguments() else {
        unreachable!("what moves statistics takes two arguments (a bug in nin)")
    };
    norm::track(e, plan, &plan.norms[norm], context, images);
}

/// Takes the strips `begin..end` through the end of a step by a rule, or only rebuilds what is prepared of them.
fn strips(
    e: &mut Emitter<'_>,
    plan: &Plan,
    rule: Option<Update>,
    context: Value,
    (begin, end): (Value, Value),
) {
    let owners = CallList::of(e, strips_of(plan));
    let rule = match rule {
        Some(rule) => e.address(&Kernel::Follow { rule }),
        None => e.int(0),
    };
    e.count(owners.len(), |e, owner| {
        let [first, last] = [0, 1].map(|bound| owners.number(e, owner, bound));
        let (from, to) = (e.max(begin, first), e.min(end, last));
        let has_some = e.b.ins().icmp(IntCC::SignedLessThan, from, to);
        e.when(has_some, |e| {
            let [from, to] = [from, to].map(|number| e.b.ins().isub(number, first));
            let arguments = [context, from, to, rule];
            owners.call(e, owner, |_| &arguments);
        });
    });
}

/// Carries the images `begin..end` through blocks of a pass, chunk by chunk; `after` gets each chunk's first image and
/// count.
fn chunks(
    e: &mut Emitter<'_>,
    plan: &Plan,
    (pass, blocks): (PassKind, Range<usize>),
    context: Value,
    (begin, end): (Value, Value),
    after: impl FnOnce(&mut Emitter<'_>, Value, Value),
) {
    let images = plan.full_chunk(pass);
    let blocks = CallList::of(e, blocks.map(|index| (Kernel::Block { pass, index }, [])));
    e.range(begin, end, images as i64, |e, first| {
        let left = e.b.ins().isub(end, first);
        let chunk = e.size(images);
        let count = e.min(left, chunk);
        let arguments = [context, first, count];
        e.count(blocks.len(), |e, number| blocks.call(e, number, |_| &arguments));
        after(e, first, count);
    });
}

/// Carries the images `begin..end` through a training step, group by group: what a block reads of a group's sums is made of them
/// before it.
fn by_group(e: &mut Emitter<'_>, plan: &Plan, ghost: usize, context: Value, range: (Value, Value)) {
    let training = super::pass(plan, PassKind::Training);
    group::each(e, ghost, range, |e, number, first, count| {
        for (index, planned) in training.blocks.iter().enumerate() {
            for &gather in &planned.gathers {
                group::gather_one(e, plan, context, gather, (number, count));
            }
            let block = Kernel::Block { pass: PassKind::Training, index };
            e.call(&block, &[context, first, count]);
        }
    });
}

fn infer(e: &mut Emitter<'_>, graph: &Graph, plan: &Plan, context: Value, range: (Value, Value)) {
    let last = graph.result();
    let shape = graph.output();
    let buffer = plan.inference.buffer(TensorId::Value(last));
    let arena = context::load(e, I64, context, offset_of!(Context, arena));
    let results = context::load(e, I64, context, offset_of!(Context, results));
    let blocks = 0..plan.inference.blocks.len();
    chunks(e, plan, (PassKind::Inference, blocks), context, range, |e, first, count| {
        let from = e.bytes(arena, buffer.offset);
        let to = e.at(results, first, shape.elements());
        let zero = e.int(0);
        e.range(zero, count, 1, |e, image| {
            let (from, to) =
                (e.at(from, image, shape.elements()), e.at(to, image, shape.elements()));
            layout::export(e, shape, from, to);
        });
    });
}

/// One part of a pass, on one image; after the last part of inference, its result.
fn part(
    e: &mut Emitter<'_>,
    graph: &Graph,
    plan: &Plan,
    kind: PassKind,
    context: Value,
    (begin, end): (Value, Value),
) {
    let mut field = |offset| context::load(e, I64, context, offset);
    let number = field(offset_of!(Context, part));
    let (first, image) = (field(offset_of!(Context, first)), field(offset_of!(Context, image)));
    let pass = super::pass(plan, kind);
    let parts = &pass.parts;
    let kernel = |&Part { block, step, .. }: &Part| match step {
        Some(step) => Kernel::Step { pass: kind, block, step },
        None => Kernel::Block { pass: kind, index: block },
    };
    let calls = CallList::of(e, parts.iter().map(|part| (kernel(part), [])));
    let is_part = e.b.ins().icmp_imm_u(IntCC::UnsignedLessThan, number, parts.len() as i64);
    let of_step = [context, first, image, begin, end];
    e.when(is_part, |e| {
        calls.call(e, number, |kernel| match kernel {
            Kernel::Step { .. } => &of_step,
            _ => &of_step[..3],
        });
    });
    if kind == PassKind::Inference {
        let asked = e.b.ins().icmp_imm_s(IntCC::Equal, number, parts.len() as i64);
        e.when(asked, |e| {
            let last = graph.result();
            let shape = graph.output();
            let buffer = pass.buffer(TensorId::Value(last));
            let shared = context::load(e, I64, context, offset_of!(Context, shared));
            let results = context::load(e, I64, context, offset_of!(Context, results));
            let from = e.bytes(shared, buffer.offset);
            let from = e.at(from, image, shape.elements());
            let number = e.b.ins().iadd(first, image);
            let to = e.at(results, number, shape.elements());
            layout::export(e, shape, from, to);
        });
    }
}

/// Sums the slices' gradients pairwise, as a tree, into the first slice's.
fn reduce(e: &mut Emitter<'_>, plan: &Plan, context: Value, (begin, end): (Value, Value)) {
    let gradients = context::load(e, I64, context, offset_of!(Context, gradients));
    e.lanes_between(begin, end, |e, ty, i| {
        let at = e.at(gradients, i, 1);
        let sum = sum_of_slices(e, plan, ty, at);
        e.store(sum, at, 0);
    });
}
