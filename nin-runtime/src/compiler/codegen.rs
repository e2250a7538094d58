//! From plan to machine code.
//!
//! Functions are written on demand: the entries name blocks, blocks name tiles, and the table of `functions` grows
//! until nothing new is named. The result is plain data, so that a JIT and an object file share every byte.

mod activation;
mod affine;
mod band;
mod block;
mod calls;
mod code;
mod context;
mod conv;
mod depth;
mod domain;
mod driver;
mod elementwise;
mod emitter;
pub(crate) mod front;
mod functions;
mod grad;
mod group;
mod intrinsic;
mod join;
mod layout;
mod level;
mod listing;
mod loss;
mod lrn;
mod math;
mod micro;
mod norm;
mod normal;
mod pack;
mod panels;
mod pixels;
mod pool;
mod prelu;
mod rectify;
mod scope;
mod signature;
mod slices;
mod strip;
mod sums;
mod target;
mod update;
mod winograd;
mod writer;

use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::ir::Function;
use cranelift_codegen::isa::TargetIsa;
use cranelift_module::{FuncId, ModuleReloc};

use crate::compiler::fuse::Domain;
use crate::compiler::kernel::{Entry, Kernel, PassKind, Update};
use crate::compiler::plan::{Pass, Plan, Planned, PlannedBlock};
use crate::error::Error;
use crate::host::parallel;
pub use code::MachineCode;
use functions::Width;
pub(crate) use listing::listing;
pub use target::Target;
use writer::Writer;

/// The functions of a program, each as its maker leaves it.
pub struct Clif {
    functions: Vec<Written>,
    /// The number of the first.
    first: usize,
}

/// A function that is written.
struct Written {
    /// What it is.
    kernel: Kernel,
    /// How many others it is, too.
    others: usize,
    /// What its maker left.
    body: Body,
}

/// What a maker leaves.
enum Body {
    /// IR, to be translated.
    Clif(Box<Function>),
    /// Machine code, from an assembler.
    Assembled(Vec<u8>),
    /// The table of offsets.
    Offsets(Vec<u64>, Width),
}

/// Whether to keep the code generator's text of each function, which costs time and need not be kept for x86-64, whose
/// bytes can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Assembly {
    /// No.
    Drop,
    /// Yes.
    Keep,
}

/// The pass of a plan.
fn pass(plan: &Plan, kind: PassKind) -> &Pass {
    match kind {
        PassKind::Inference => &plan.inference,
        PassKind::Training => plan.training.as_ref().expect("the plan trains (a bug in nin)"),
    }
}

/// The entries of a plan's program, in the order of their numbers.
pub fn entries(plan: &Plan) -> Vec<Entry> {
    let part = |pass| Entry::Part { pass };
    let mut entries = vec![Entry::Prepare, Entry::Infer, part(PassKind::Inference)];
    if plan.training.is_some() {
        entries.push(part(PassKind::Training));
        for (number, phase) in plan.phases().iter().enumerate() {
            entries.push(Entry::Train { phase: number });
            let gathers = !phase.gathers.is_empty();
            entries.extend(gathers.then_some(Entry::Gather { phase: number }));
        }
        entries.push(Entry::Reduce);
        entries.extend(Update::ALL.map(|rule| Entry::Update { rule }));
        entries.extend((!plan.norms.is_empty()).then_some(Entry::Track));
    }
    entries
}

/// Writes every function of a program.
pub fn write(planned: Planned<'_>, target: &Target) -> Clif {
    write_entries(planned, target, &entries(planned.plan()), 0)
}

/// Writes some entries of a program and what they call, numbered from `first` on in that order.
pub(crate) fn write_entries(
    planned: Planned<'_>,
    target: &Target,
    entries: &[Entry],
    first: usize,
) -> Clif {
    let (graph, plan) = (planned.graph(), planned.plan());
    let roots: Vec<Kernel> = entries.iter().map(|&entry| Kernel::Entry(entry)).collect();
    let roots = (&roots[..], Width::of(plan.farthest()));
    let mut writer = Writer::new(target, roots, first, |e, kernel| {
        match kernel {
            Kernel::Tile(tile) => micro::clif::emit(e, tile),
            Kernel::Transform(transform) => micro::clif_transform::emit(e, transform),
            Kernel::Block { pass, index } => block::emit(e, graph, plan, *pass, *index),
            Kernel::Step { pass, block, step } => {
                block::emit_step(e, graph, plan, *pass, (*block, *step));
            }
            Kernel::Strips { owner } => pack::emit(e, graph, plan, *owner),
            Kernel::Sums { conv, ends } => driver::sums(e, graph, plan, (*conv, *ends)),
            Kernel::Gather { phase, number } => driver::gather(e, plan, (*phase, *number)),
            Kernel::Track { norm } => driver::track(e, plan, *norm),
            Kernel::Follow { rule } => update::follow(e, plan, *rule),
            Kernel::Entry(entry) => driver::emit(e, graph, plan, *entry),
            Kernel::Export(_) | Kernel::Intrinsic(_) | Kernel::Offsets => {
                unreachable!("no entry calls a library's interface (a bug in nin)")
            }
        }
        None
    });
    placed(plan, entries).into_iter().for_each(|kernel| writer.place(kernel));
    writer.finish()
}

/// What entries call that reads offsets, callees first.
fn placed(plan: &Plan, entries: &[Entry]) -> Vec<Kernel> {
    let mut kernels = Vec::new();
    let walks = |pass: PassKind| {
        entries.iter().any(|entry| match entry {
            Entry::Infer => pass == PassKind::Inference,
            Entry::Train { .. } => pass == PassKind::Training,
            Entry::Part { pass: other } => pass == *other,
            Entry::Prepare
            | Entry::Gather { .. }
            | Entry::Reduce
            | Entry::Update { .. }
            | Entry::Track => false,
        })
    };
    for kind in [PassKind::Inference, PassKind::Training].into_iter().filter(|&kind| walks(kind)) {
        for (index, PlannedBlock { block, steps, .. }) in pass(plan, kind).blocks.iter().enumerate()
        {
            let steps = if block.domain == Domain::Image { steps.len() } else { 0 };
            let step = |step| Kernel::Step { pass: kind, block: index, step };
            kernels.extend((0..steps).map(step));
            kernels.push(Kernel::Block { pass: kind, index });
        }
    }
    for entry in entries {
        match *entry {
            Entry::Train { phase } => kernels.extend(driver::sums_of(plan, phase).flatten()),
            Entry::Gather { phase } => kernels.extend(driver::gathers_of(plan, phase)),
            Entry::Track => kernels.extend(driver::tracks_of(plan)),
            Entry::Prepare => kernels.extend(driver::strips_of(plan).map(|(kernel, _)| kernel)),
            Entry::Infer | Entry::Part { .. } | Entry::Reduce | Entry::Update { .. } => {}
        }
    }
    kernels
}

/// Translates every function, on at most `threads` threads.
///
/// # Errors
/// [`Error::Codegen`] if a function is beyond what the code generator can do (too large, say).
pub fn translate(
    clif: Clif,
    target: &Target,
    threads: usize,
    assembly: Assembly,
) -> Result<Vec<MachineCode>, Error> {
    let functions = clif.functions.into_iter().enumerate();
    let translated = parallel::map(threads, functions, |(number, written)| {
        let Written { kernel, others, body } = written;
        let plain = |kernel, bytes| {
            let (relocs, unwind, assembly) = (Vec::new(), None, None);
            MachineCode { kernel, others, bytes, align: 64, relocs, unwind, assembly }
        };
        match body {
            Body::Clif(function) => {
                let code = translate_one(number, kernel, *function, target, assembly)?;
                Ok(MachineCode { others, ..code })
            }
            Body::Assembled(bytes) => Ok(plain(kernel, bytes)),
            Body::Offsets(offsets, width) => Ok(plain(kernel, target.bytes_of(&offsets, width))),
        }
    });
    translated.into_iter().collect()
}

fn translate_one(
    number: usize,
    kernel: Kernel,
    function: Function,
    target: &Target,
    assembly: Assembly,
) -> Result<MachineCode, Error> {
    let isa: &dyn TargetIsa = match kernel {
        Kernel::Tile(_) => target.tile_isa(),
        Kernel::Transform(_)
        | Kernel::Block { .. }
        | Kernel::Step { .. }
        | Kernel::Strips { .. }
        | Kernel::Sums { .. }
        | Kernel::Gather { .. }
        | Kernel::Track { .. }
        | Kernel::Follow { .. }
        | Kernel::Entry(_)
        | Kernel::Export(_)
        | Kernel::Intrinsic(_)
        | Kernel::Offsets => target.isa(),
    };
    let mut context = cranelift_codegen::Context::for_function(function);
    context.set_disasm(assembly == Assembly::Keep);
    let refused = |reason: String| Error::Codegen { kernel: kernel.to_string(), reason };
    let translated = context.compile(isa, &mut ControlPlane::default());
    let code = translated.map_err(|error| refused(error.inner.to_string()))?;
    let unwind = code.create_unwind_info(isa).map_err(|error| refused(error.to_string()))?;
    let (bytes, align) = (code.code_buffer().to_vec(), u64::from(code.buffer.alignment));
    let text = code.vcode.clone();
    let id = FuncId::from_u32(u32::try_from(number).expect("few functions"));
    let code = context.compiled_code().expect("just compiled");
    let relocs = code.buffer.relocs().iter();
    let relocs =
        relocs.map(|reloc| ModuleReloc::from_mach_reloc(reloc, &context.func, id)).collect();
    Ok(MachineCode { kernel, others: 0, bytes, align, relocs, unwind, assembly: text })
}

impl Clif {
    /// How many functions there are.
    pub(crate) fn len(&self) -> usize {
        self.functions.len()
    }

    /// Every function as text: `nin show --stage clif`.
    pub fn display(&self) -> String {
        let all = (self.first..).zip(&self.functions);
        let text = |(number, written): (usize, &Written)| {
            let body = match &written.body {
                Body::Clif(function) => format!("{function}\n"),
                Body::Assembled(bytes) => format!("; {} bytes by the assembler\n\n", bytes.len()),
                Body::Offsets(offsets, width) => {
                    format!("; {} numbers of {} bytes\n\n", offsets.len(), width.bytes())
                }
            };
            let name = listing::name(&written.kernel, written.others);
            format!("; u0:{number} is {name}\n{body}")
        };
        all.map(text).collect()
    }
}
