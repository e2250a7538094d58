//! [`Writer`], which writes the functions of a program, each once: those that differ only in their offsets are one.

use std::collections::HashMap;
use std::mem;

use cranelift_codegen::ir::{Function, UserExternalName, UserFuncName, Value};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};

use super::emitter::Emitter;
use super::functions::{Functions, Placed, Width};
use super::target::Target;
use super::{Body, Clif, Written, intrinsic, micro};
use crate::compiler::kernel::Kernel;

/// The functions of a program under construction. What `emit` yields, its function returns.
pub(super) struct Writer<'t, F> {
    target: &'t Target,
    emit: F,
    table: Functions,
    scratch: FunctionBuilderContext,
    /// A function that was one of others already: the next one takes its memory.
    spare: Function,
    /// The bodies of the table's functions, as far as they are written.
    bodies: Vec<Option<Body>>,
    /// How many kernels a function is besides the first, by its number.
    others: HashMap<u32, usize>,
    /// The numbers of functions that read offsets, by what is quickly compared of them.
    alike: HashMap<Outline, Vec<u32>>,
    first: usize,
}

impl<'t, F: FnMut(&mut Emitter<'_>, &Kernel) -> Option<Value>> Writer<'t, F> {
    /// A writer whose first functions are `roots`, numbered from `first` on.
    pub(super) fn new(
        target: &'t Target,
        (roots, width): (&[Kernel], Width),
        first: usize,
        emit: F,
    ) -> Self {
        let mut table = Functions::new(target, first, width);
        for kernel in roots {
            table.index(kernel);
        }
        let (scratch, spare) = (FunctionBuilderContext::new(), Function::new());
        let (bodies, others, alike) = (Vec::new(), HashMap::new(), HashMap::new());
        Writer { target, emit, table, scratch, spare, bodies, others, alike, first }
    }

    /// Writes a function that reads offsets, unless there is one like it, and puts its own into the table. What it calls that reads
    /// offsets was placed right before it.
    pub(super) fn place(&mut self, kernel: Kernel) {
        let end = self.table.offsets().len();
        let offsets = match kernel {
            Kernel::Block { pass, index } => {
                let first = self.table.placed(&Kernel::Step { pass, block: index, step: 0 });
                first.map_or(end, |step| step.offsets)
            }
            _ => end,
        };
        let (function, own) = self.write(&kernel, Some(offsets));
        assert!(own.is_empty() || offsets == end, "a block of steps has no offsets of its own");
        self.table.tabulate(&own);
        let alike = self.alike.entry(Outline::of(&function)).or_default();
        let is_same = |other: &&u32| match &self.bodies[**other as usize - self.first] {
            Some(Body::Clif(other)) => other.stencil == function.stencil,
            _ => unreachable!("what reads offsets is intermediate code (a bug in nin)"),
        };
        let number = match alike.iter().find(is_same) {
            Some(&number) => {
                *self.others.entry(number).or_default() += 1;
                self.spare = function;
                self.spare.clear();
                number
            }
            None => {
                let number = self.table.index(&kernel);
                alike.push(number);
                self.store(number, Body::of(number, function));
                number
            }
        };
        self.table.place(kernel, Placed { function: number, offsets });
    }

    /// Writes everything that was asked for and not written yet.
    pub(super) fn finish(mut self) -> Clif {
        let mut position = 0;
        while let Some(kernel) = self.table.get(position).cloned() {
            let is_written = self.bodies.get(position).is_some_and(Option::is_some);
            if !is_written && kernel != Kernel::Offsets {
                let number = u32::try_from(self.first + position).expect("few functions");
                let body = match self.assemble(&kernel) {
                    Some(bytes) => Body::Assembled(bytes),
                    None => Body::of(number, self.write(&kernel, None).0),
                };
                self.store(number, body);
            }
            position += 1;
        }
        let Writer { table, bodies, others, first, .. } = self;
        let offsets = || Body::Offsets(table.offsets().to_vec(), table.width());
        let mut bodies = bodies.into_iter();
        let functions = (first..).map_while(|number| {
            let kernel = table.get(number - first)?.clone();
            let others = u32::try_from(number).ok().and_then(|number| others.get(&number));
            // The table of offsets has none, and may be the last.
            let body = bodies.next().flatten().unwrap_or_else(offsets);
            Some(Written { kernel, others: others.copied().unwrap_or(0), body })
        });
        let functions = functions.collect();
        Clif { functions, first }
    }

    fn store(&mut self, number: u32, body: Body) {
        let position = number as usize - self.first;
        if self.bodies.len() <= position {
            self.bodies.resize_with(position + 1, || None);
        }
        self.bodies[position] = Some(body);
    }

    /// The machine code of a kernel for which there is an assembler.
    fn assemble(&self, kernel: &Kernel) -> Option<Vec<u8>> {
        match kernel {
            Kernel::Tile(tile) => micro::x86::assemble(tile, self.target.name),
            Kernel::Transform(transform) => {
                micro::x86_transform::assemble(transform, self.target.name)
            }
            Kernel::Intrinsic(intrinsic) => Some(intrinsic::assemble(*intrinsic, self.target)),
            Kernel::Block { .. }
            | Kernel::Step { .. }
            | Kernel::Strips { .. }
            | Kernel::Sums { .. }
            | Kernel::Gather { .. }
            | Kernel::Track { .. }
            | Kernel::Follow { .. }
            | Kernel::Entry(_)
            | Kernel::Export(_)
            | Kernel::Offsets => None,
        }
    }

    /// A kernel's function, and the offsets that it reads from position `offsets` of the table on.
    fn write(&mut self, kernel: &Kernel, offsets: Option<usize>) -> (Function, Vec<u64>) {
        let signature = self.table.signature(kernel);
        let mut function = mem::replace(&mut self.spare, Function::new());
        function.signature = signature;
        let builder = FunctionBuilder::new(&mut function, &mut self.scratch);
        let mut e = Emitter::new(builder, &mut self.table, self.target, offsets);
        let result = (self.emit)(&mut e, kernel);
        let own = e.finish(self.target.frontend(), result);
        (function, own)
    }
}

/// What functions that are the same have in common, and few others: how much there is of each kind of thing, and what is called.
#[derive(PartialEq, Eq, Hash)]
struct Outline {
    counts: [usize; 4],
    callees: Vec<UserExternalName>,
}

impl Outline {
    fn of(function: &Function) -> Outline {
        let dfg = &function.dfg;
        let counts = [dfg.num_insts(), dfg.num_blocks(), dfg.num_values(), dfg.ext_funcs.len()];
        let callees = function.params.user_named_funcs().values().cloned().collect();
        Outline { counts, callees }
    }
}

impl Body {
    /// A numbered function's.
    fn of(number: u32, mut function: Function) -> Body {
        function.name = UserFuncName::user(0, number);
        Body::Clif(Box::new(function))
    }
}
