//! The whole road from a checked graph to a program, stage by stage, in one function.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant};

use nin_dsl::graph::{Graph, Node, Op};
use nin_dsl::shape::Shape;

use crate::compiler::autodiff::{self, Computations};
use crate::compiler::codegen::{self, Assembly, Target};
use crate::compiler::fuse::{self, Passes};
use crate::compiler::plan::{self, Algos, Demand, Plan};
use crate::compiler::{Checked, Isa};
use crate::error::Error;
use crate::host::cores;
use crate::run::exec;
use crate::run::exec::{CompileTimes, Program};
use crate::run::jit::CodeMemory;

/// What a program is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Purpose {
    /// Running the model.
    #[default]
    Inference,
    /// Training it, and running it between epochs.
    Training,
}

/// How to compile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Images a call may hold at most.
    pub batch: usize,
    /// Threads of a session.
    pub threads: usize,
    /// Instruction set.
    pub isa: Isa,
    /// Inference only, or training too.
    pub purpose: Purpose,
    /// Algorithms of convolutions.
    pub algo: Algos,
}

/// What a program runs on. No result depends on the number of threads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Threads.
    pub threads: usize,
    /// Instruction set.
    pub isa: Isa,
    /// Algorithms of convolutions.
    pub algo: Algos,
}

impl Default for Machine {
    /// All cores and the best instruction set.
    fn default() -> Machine {
        let Options { threads, isa, algo, .. } = Options::default();
        Machine { threads, isa, algo }
    }
}

impl Machine {
    /// How to compile for it.
    pub fn options(&self, batch: usize, purpose: Purpose) -> Options {
        let Machine { threads, isa, ref algo } = *self;
        Options { batch, threads, isa, purpose, algo: algo.clone() }
    }
}

/// Most images a call may hold: what bounds every size computed from it.
pub(crate) const MAX_BATCH: usize = 1 << 20;
/// Most threads of a session.
const MAX_THREADS: usize = 1024;

impl Default for Options {
    /// Inference on up to 128 images a call, on every core, with the best instruction set.
    fn default() -> Options {
        let threads = cores();
        Options {
            batch: 128,
            threads,
            isa: Isa::Auto,
            purpose: Purpose::Inference,
            algo: Algos::default(),
        }
    }
}

/// Compiles a checked graph.
///
/// # Errors
/// [`Error::Options`] for a batch or a number of threads out of range, [`Error::Algo`] for a hint that does not fit,
/// [`Error::NotClassifier`] if a model to be trained does not yield a vector, [`Error::LoneNumber`] if it would normalise one
/// number a channel, and what the code generator or the system refuse.
pub fn compile(graph: &Graph, options: &Options) -> Result<Program, Error> {
    let mut watch = Watch { since: Instant::now() };
    let target = Target::host(options.isa)?;
    check(graph, options)?;
    let plan = planned(graph, options.purpose, options.demand(&target));
    let planning = watch.lap();
    let clif = codegen::write(plan::verify(graph, &plan), &target);
    let writing = watch.lap();
    let code = codegen::translate(clif, &target, options.threads, Assembly::Drop)?;
    let translating = watch.lap();
    let code = CodeMemory::link(&code, &target)?;
    let linking = watch.lap();
    Ok(Program::new(exec::Inner {
        graph: graph.clone(),
        plan,
        code,
        isa: target.name,
        threads: options.threads,
        compile_times: CompileTimes { planning, writing, translating, linking },
    }))
}

/// Takes the time from stage to stage.
struct Watch {
    since: Instant,
}

impl Watch {
    /// How long it was since the last call.
    fn lap(&mut self) -> Duration {
        let before = std::mem::replace(&mut self.since, Instant::now());
        self.since - before
    }
}

/// The road from a checked graph to its plan. Every stage checks what it hands on where assertions are on.
pub fn planned(graph: &Graph, purpose: Purpose, demand: Demand<'_>) -> Plan {
    let checked = Checked::of(graph);
    let computations = Computations::of(&checked, purpose == Purpose::Training);
    let passes = Passes::of(&checked, &computations);
    plan::plan(&checked, passes, demand)
}

impl Options {
    /// What a plan for a target is made for.
    fn demand<'a>(&'a self, target: &'a Target) -> Demand<'a> {
        Demand { batch: self.batch, registers: target.registers(), algos: &self.algo }
    }
}

/// Whether a graph can be compiled as the options say.
pub(crate) fn check(graph: &Graph, options: &Options) -> Result<(), Error> {
    let out_of_range = |name: &'static str, value, most| Error::Options { name, value, most };
    if !(1..=MAX_BATCH).contains(&options.batch) {
        return Err(out_of_range("batch", options.batch, MAX_BATCH));
    }
    if !(1..=MAX_THREADS).contains(&options.threads) {
        return Err(out_of_range("threads", options.threads, MAX_THREADS));
    }
    let logits = graph.node(graph.logits()).shape;
    if options.purpose == Purpose::Training && matches!(logits, Shape::Map { .. }) {
        return Err(Error::NotClassifier { output: logits.dims() });
    }
    if options.purpose == Purpose::Training {
        check_numbers(graph, options.batch)?;
    }
    options.algo.check(graph)?;
    Ok(())
}

/// Whether every batch normalisation gets more than one number a channel of some batch of at most so many images.
pub(crate) fn check_numbers(graph: &Graph, images: usize) -> Result<(), Error> {
    let is_lone =
        |node: &&Node| matches!(node.op, Op::BatchNorm { .. }) && images * node.shape.pixels() == 1;
    match graph.nodes().iter().find(is_lone) {
        Some(node) => Err(Error::LoneNumber { layer: graph.layer(node.layer).name.clone() }),
        None => Ok(()),
    }
}

/// A stage of the road that can be printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The checked graph.
    Graph,
    /// The differentiated graph.
    Train,
    /// Fused blocks.
    Fused,
    /// The plan.
    Plan,
    /// Every function before translation.
    Clif,
    /// Every function's assembly.
    Asm,
}

/// Every stage and its word.
pub const STAGES: [(Stage, &str); 6] = [
    (Stage::Graph, "graph"),
    (Stage::Train, "train"),
    (Stage::Fused, "fused"),
    (Stage::Plan, "plan"),
    (Stage::Clif, "clif"),
    (Stage::Asm, "asm"),
];

impl FromStr for Stage {
    type Err = String;

    fn from_str(text: &str) -> Result<Stage, String> {
        let found = STAGES.iter().find(|(_, word)| *word == text);
        found.map(|(stage, _)| *stage).ok_or_else(|| format!("no stage `{text}`"))
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = STAGES.iter().find(|(stage, _)| stage == self).map_or("", |(_, word)| word);
        f.write_str(word)
    }
}

/// What the compiler makes of a graph at one stage, as text.
///
/// # Errors
/// As [`compile`].
pub fn show(graph: &Graph, options: &Options, stage: Stage) -> Result<String, Error> {
    if stage == Stage::Graph {
        // It is the same whatever it is compiled for, and whether it can be or not.
        return Ok(graph.to_string());
    }
    let target = Target::host(options.isa)?;
    check(graph, options)?;
    let plan = || planned(graph, options.purpose, options.demand(&target));
    let clif = || codegen::write(plan::verify(graph, &plan()), &target);
    Ok(match stage {
        Stage::Graph => unreachable!("printed above"),
        Stage::Train => autodiff::differentiate(graph).display(graph),
        Stage::Fused => {
            let checked = Checked::of(graph);
            let trains = options.purpose == Purpose::Training;
            let computations = Computations::of(&checked, trains);
            let Passes { inference, training } = Passes::of(&checked, &computations);
            fuse::display(graph, &training.unwrap_or(inference))
        }
        Stage::Plan => plan().display(graph),
        Stage::Clif => clif().display(),
        Stage::Asm => {
            let assembly = if target.is_x86_64() { Assembly::Drop } else { Assembly::Keep };
            codegen::listing(&codegen::translate(clif(), &target, options.threads, assembly)?)
        }
    })
}
