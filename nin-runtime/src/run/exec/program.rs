//! [`Program`], a compiled model.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use nin_dsl::graph::Graph;

use crate::compiler::Isa;
use crate::compiler::plan::{Algos, Plan};
use crate::run::jit::call::Callee;
use crate::run::jit::{CodeMemory, Symbol};

/// A compiled model: machine code for one model, one batch size and one instruction set. Cheap to clone, shared between
/// threads; its code lives as long as any clone or session.
#[derive(Clone)]
pub struct Program {
    inner: Arc<Inner>,
}

/// What clones share.
pub(crate) struct Inner {
    pub(crate) graph: Graph,
    pub(crate) plan: Plan,
    pub(crate) code: CodeMemory,
    pub(crate) isa: Isa,
    pub(crate) threads: usize,
    pub(crate) compile_times: CompileTimes,
}

/// How long the stages took from a checked graph to callable code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CompileTimes {
    /// To the plan: differentiating, fusing, choosing algorithms, placing tensors.
    pub planning: Duration,
    /// Writing every function, by Cranelift's builder or an assembler.
    pub writing: Duration,
    /// Translating to machine code, on all threads.
    pub translating: Duration,
    /// Mapping it and linking its calls.
    pub linking: Duration,
}

impl CompileTimes {
    /// All of it.
    pub fn total(&self) -> Duration {
        self.planning + self.writing + self.translating + self.linking
    }
}

impl Program {
    pub(crate) fn new(inner: Inner) -> Program {
        Program { inner: Arc::new(inner) }
    }

    /// The model.
    pub fn graph(&self) -> &Graph {
        &self.inner.graph
    }

    /// The plan the code was generated from.
    pub fn plan(&self) -> &Plan {
        &self.inner.plan
    }

    /// The instruction set of the code; never [`Isa::Auto`].
    pub fn isa(&self) -> Isa {
        self.inner.isa
    }

    /// The choice of algorithms that its plan was made by.
    pub fn algo(&self) -> &Algos {
        &self.inner.plan.algos
    }

    /// Threads of each session.
    pub fn threads(&self) -> usize {
        self.inner.threads
    }

    /// Images a call may hold at most.
    pub fn batch(&self) -> usize {
        self.inner.plan.batch
    }

    /// Bytes of machine code.
    pub fn code_bytes(&self) -> usize {
        self.inner.code.bytes()
    }

    /// Where every function lies, for profilers; addresses hold while the program lives.
    pub fn symbols(&self) -> &[Symbol] {
        self.inner.code.symbols()
    }

    /// Bytes of one session's arenas, all threads together, and of what a training step with batch normalisation keeps of
    /// every image.
    pub fn arena_bytes(&self) -> usize {
        let plan = &self.inner.plan;
        self.inner.threads * plan.arena() + plan.store()
    }

    /// Bytes of one session's tensors: weights, what training keeps beside them whatever the optimizer, and arenas.
    pub(crate) fn session_bytes(&self) -> usize {
        let plan = &self.inner.plan;
        let (momentum, sums) = match plan.training {
            Some(_) => (plan.weight_floats, plan.slices * plan.slice_floats),
            None => (0, 0),
        };
        let floats = plan.weight_floats + momentum + sums;
        floats * size_of::<f32>() + plan.prepared_bytes + self.arena_bytes()
    }

    /// Bytes that an optimizer takes beside them if it keeps squares.
    pub(crate) fn squares_bytes(&self) -> usize {
        self.inner.plan.weight_floats * size_of::<f32>()
    }

    /// How long it took from the checked graph to callable code.
    pub fn compile_time(&self) -> Duration {
        self.inner.compile_times.total()
    }

    /// The same, stage by stage.
    pub fn compile_times(&self) -> CompileTimes {
        self.inner.compile_times
    }

    /// How many functions its code consists of.
    pub fn functions(&self) -> usize {
        self.inner.code.symbols().len()
    }

    pub(crate) fn callee(&self) -> Callee<'_> {
        let Inner { graph, plan, code, .. } = &*self.inner;
        Callee { code, graph, plan }
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program")
            .field("model", &self.inner.graph.name())
            .field("batch", &self.batch())
            .field("isa", &self.inner.isa)
            .field("code_bytes", &self.code_bytes())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
