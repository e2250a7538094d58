//! From plan to machine code.
//!
//! Functions are written on demand: the entries name blocks, blocks name tiles, and the table of `functions` grows
//! until nothing new is named. The result is plain data, so that a JIT and an object file share every byte.

mod activation;
mod affine;
mod band;
mod block;
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
mod target;
mod update;
mod winograd;

use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::ir::{Function, UserFuncName, Value};
use cranelift_codegen::isa::TargetIsa;
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use cranelift_module::{FuncId, ModuleReloc};

use crate::compiler::kernel::{Entry, Kernel, PassKind, Update};
use crate::compiler::plan::{Pass, Plan, Planned};
use crate::error::Error;
use crate::host::parallel;
pub use code::MachineCode;
use emitter::Emitter;
use functions::Functions;
pub(crate) use listing::listing;
pub use target::Target;

/// The functions of a program, each as its maker leaves it.
pub struct Clif {
    functions: Vec<(Kernel, Body)>,
    /// The number of the first.
    first: usize,
}

/// What a maker leaves.
enum Body {
    /// IR, to be translated.
    Clif(Box<Function>),
    /// Machine code, from an assembler.
    Assembled(Vec<u8>),
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
    write_all(target, &roots, first, |e, kernel| {
        match kernel {
            Kernel::Tile(tile) => micro::clif::emit(e, tile),
            Kernel::Transform(transform) => micro::clif_transform::emit(e, transform),
            Kernel::Block { pass, index } => block::emit(e, graph, plan, *pass, *index),
            Kernel::Step { pass, block, step } => {
                block::emit_step(e, graph, plan, *pass, (*block, *step));
            }
            Kernel::Strip => pack::emit(e, plan),
            Kernel::Follow { rule } => update::follow(e, plan, *rule),
            Kernel::Entry(entry) => driver::emit(e, graph, plan, *entry),
            Kernel::Export(_) | Kernel::Intrinsic(_) => {
                unreachable!("no entry calls a library's interface (a bug in nin)")
            }
        }
        None
    })
}

/// Writes functions and what they call, numbered from `first` on. What `emit` yields, its function returns.
fn write_all(
    target: &Target,
    roots: &[Kernel],
    first: usize,
    mut emit: impl FnMut(&mut Emitter<'_>, &Kernel) -> Option<Value>,
) -> Clif {
    let mut table = Functions::new(target, first);
    for kernel in roots {
        table.index(kernel);
    }
    let mut scratch = FunctionBuilderContext::new();
    let mut functions = Vec::new();
    while let Some(kernel) = table.get(functions.len()).cloned() {
        let assembled = match &kernel {
            Kernel::Tile(tile) => micro::x86::assemble(tile, target.name),
            Kernel::Transform(transform) => micro::x86_transform::assemble(transform, target.name),
            Kernel::Intrinsic(intrinsic) => Some(intrinsic::assemble(*intrinsic, target)),
            Kernel::Block { .. }
            | Kernel::Step { .. }
            | Kernel::Strip
            | Kernel::Follow { .. }
            | Kernel::Entry(_)
            | Kernel::Export(_) => None,
        };
        let body = assembled.map(Body::Assembled).unwrap_or_else(|| {
            let number = u32::try_from(first + functions.len()).expect("few functions");
            let name = UserFuncName::user(0, number);
            let mut function = Function::with_name_signature(name, table.signature(&kernel));
            let builder = FunctionBuilder::new(&mut function, &mut scratch);
            let mut e = Emitter::new(builder, &mut table, target);
            let result = emit(&mut e, &kernel);
            e.finish(target.frontend(), result);
            Body::Clif(Box::new(function))
        });
        functions.push((kernel, body));
    }
    Clif { functions, first }
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
    let translated = parallel::map(threads, functions, |(number, (kernel, body))| match body {
        Body::Clif(function) => translate_one(number, kernel, *function, target, assembly),
        Body::Assembled(bytes) => {
            let (relocs, unwind, assembly) = (Vec::new(), None, None);
            Ok(MachineCode { kernel, bytes, align: 64, relocs, unwind, assembly })
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
        | Kernel::Strip
        | Kernel::Follow { .. }
        | Kernel::Entry(_)
        | Kernel::Export(_)
        | Kernel::Intrinsic(_) => target.isa(),
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
    Ok(MachineCode { kernel, bytes, align, relocs, unwind, assembly: text })
}

impl Clif {
    /// How many functions there are.
    pub(crate) fn len(&self) -> usize {
        self.functions.len()
    }

    /// Every function as text: `nin show --stage clif`.
    pub fn display(&self) -> String {
        let all = (self.first..).zip(&self.functions);
        let text = |(number, (kernel, body)): (usize, &(Kernel, Body))| match body {
            Body::Clif(function) => format!("; u0:{number} is {kernel}\n{function}\n"),
            Body::Assembled(bytes) => {
                let length = bytes.len();
                format!("; u0:{number} is {kernel}\n; {length} bytes by the assembler\n\n")
            }
        };
        all.map(text).collect()
    }
}
