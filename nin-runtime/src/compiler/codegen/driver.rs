//! The entries: the functions that Rust (or C) calls. Each walks the range its context names.

use std::mem::offset_of;
use std::ops::Range;

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::I64;
use cranelift_codegen::ir::{InstBuilder, Value};
use nin_dsl::graph::Graph;

use super::emitter::Emitter;
use super::scope::Scope;
use super::slices::sum_of_slices;
use super::{context, group, layout, norm, pool, update};
use crate::compiler::abi::Context;
use crate::compiler::autodiff::TensorId;
use crate::compiler::kernel::{Entry, Kernel, PassKind};
use crate::compiler::plan::{ConvPlan, Part, Plan};

/// Writes an entry.
pub(super) fn emit(e: &mut Emitter<'_>, graph: &Graph, plan: &Plan, entry: Entry) {
    let context = e.arguments()[0];
    let begin = context::load(e, I64, context, offset_of!(Context, begin));
    let end = context::load(e, I64, context, offset_of!(Context, end));
    match entry {
        Entry::Prepare => e.range(begin, end, 1, |e, number| {
            e.call(&Kernel::Strip, &[context, number]);
        }),
        Entry::Infer => infer(e, graph, plan, context, (begin, end)),
        Entry::Part { pass } => part(e, graph, plan, pass, context, (begin, end)),
        Entry::Train { phase } => {
            if phase == 0 {
                let sums = context::load(e, I64, context, offset_of!(Context, gradients));
                pool::zero(e, sums, plan.slice_floats);
                group::clear(e, plan, context, (begin, end));
            }
            let blocks = plan.phases()[phase].blocks.clone();
            let zero = e.int(0);
            let scope = Scope::open(e, graph, plan, PassKind::Training, context, (begin, zero));
            let summed: Vec<&ConvPlan> = plan.summed_in_domain(blocks.clone()).collect();
            for conv in &summed {
                scope.clear_sums(e, conv);
            }
            match plan.groups.and_then(|groups| groups.chunk) {
                Some(ghost) => by_group(e, plan, ghost, context, (begin, end)),
                None => {
                    let blocks = (PassKind::Training, blocks.clone());
                    chunks(e, plan, blocks, context, (begin, end), |_, _, _| {});
                }
            }
            group::fold(e, plan, blocks, context, (begin, end));
            for conv in &summed {
                scope.finish_sums(e, conv);
            }
        }
        Entry::Gather { phase } => {
            for &gather in &plan.phases()[phase].gathers {
                norm::gather(e, plan, context, gather, end);
            }
        }
        Entry::Reduce => reduce(e, plan, context, (begin, end)),
        Entry::Update { rule } => update::emit(e, graph, plan, rule, context, (begin, end)),
        Entry::Track => norm::track(e, plan, context, end),
    }
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
    e.range(begin, end, images as i64, |e, first| {
        let left = e.b.ins().isub(end, first);
        let chunk = e.size(images);
        let count = e.min(left, chunk);
        for index in blocks {
            e.call(&Kernel::Block { pass, index }, &[context, first, count]);
        }
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
    for (index, &Part { block, step, .. }) in parts.iter().enumerate() {
        let asked = e.b.ins().icmp_imm_s(IntCC::Equal, number, index as i64);
        e.when(asked, |e| match step {
            Some(step) => {
                let kernel = Kernel::Step { pass: kind, block, step };
                e.call(&kernel, &[context, first, image, begin, end]);
            }
            None => {
                e.call(&Kernel::Block { pass: kind, index: block }, &[context, first, image]);
            }
        });
    }
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
