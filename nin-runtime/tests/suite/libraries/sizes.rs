//! The sizes that headers and wrappers name: they are one number, which is the plan's, and memory of exactly so many bytes,
//! between fences, is enough for every call and no larger than it must be.

use std::ffi::c_void;
use std::fs;

use nin_dsl::graph::Graph;
use nin_runtime::compile::{Options, compile};
use nin_runtime::compiler::Isa;
use nin_runtime::compiler::plan::Algos;
use nin_runtime::export::{About, Contents, Library, LibraryOptions};
use nin_runtime::weights::Weights;

use super::training::{self, Load, Rates, Settings, Step};
use super::{Forward, ForwardPassed, Prepare, SMALL, options, shipped};
use crate::data::Data;
use crate::models::graph;

const BATCH: usize = 5;

/// A cache line, filled with a number that is none.
#[derive(Clone, Copy, PartialEq)]
#[repr(C, align(64))]
struct Line([u32; 16]);

const UNTOUCHED: Line = Line([0x7fa5_5aa5; 16]);

/// Lines before and after.
const FENCE: usize = 256;

/// Memory between fences.
struct Fenced(Vec<Line>);

impl Fenced {
    fn new(bytes: usize) -> Fenced {
        assert_eq!(bytes % size_of::<Line>(), 0, "whole lines");
        Fenced(vec![UNTOUCHED; bytes / size_of::<Line>() + 2 * FENCE])
    }

    fn start(&mut self) -> *mut c_void {
        self.0[FENCE..].as_mut_ptr().cast()
    }

    /// Whether it was written to its end, but for the line that a tile may read beyond a tensor. The fences were not.
    fn is_full(&self, what: &str) -> bool {
        let end = self.0.len() - FENCE;
        let untouched = |lines: &[Line]| lines.iter().all(|line| *line == UNTOUCHED);
        assert!(untouched(&self.0[..FENCE]), "something before {what} was written");
        assert!(untouched(&self.0[end..]), "something behind {what} was written");
        self.0[end - 2] != UNTOUCHED
    }
}

/// A library with its header's sizes.
struct Sized {
    header: String,
    rust: String,
    library: libloading::Library,
}

impl Sized {
    fn load(graph: &Graph, contents: Contents<'_>) -> Sized {
        Sized::with(graph, contents, &options(&[Isa::Portable], BATCH, &Algos::default()))
    }

    fn with(graph: &Graph, contents: Contents<'_>, options: &LibraryOptions) -> Sized {
        let made = Library::compile(graph, contents, &About::default(), options).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("net.so");
        fs::write(&file, made.shared_library().unwrap()).unwrap();
        // SAFETY: the library was just compiled, and loading it runs nothing.
        let library = unsafe { libloading::Library::new(&file) }.unwrap();
        Sized { header: made.header(), rust: made.rust(), library }
    }

    /// Bytes that the header says, which is what the function and the wrapper say.
    fn bytes(&self, what: &str) -> usize {
        let definition = format!("#define NET_{}_BYTES ", what.to_uppercase());
        let (_, rest) = self.header.split_once(&definition).expect("a size");
        let bytes: usize = rest.lines().next().unwrap().parse().unwrap();
        let name = format!("net_{what}_bytes");
        // SAFETY: as in `by_library`.
        let told =
            unsafe { self.library.get::<unsafe extern "C" fn() -> usize>(&*name).unwrap()() };
        assert_eq!(told, bytes, "{what}");
        let lines = format!("lines({})", bytes / size_of::<Line>());
        assert!(self.rust.contains(&lines), "{lines}: {}", self.rust);
        bytes
    }

    fn memory(&self, what: &str) -> Fenced {
        Fenced::new(self.bytes(what))
    }
}

fn pointers(data: &Data) -> Vec<*const f32> {
    data.weights.tensors().iter().map(|tensor| tensor.values.as_ptr()).collect()
}

/// Whether the workspace of a library with weights is made use of to its end.
fn embedded(graph: &Graph, data: &Data) -> bool {
    let sized = Sized::load(graph, Contents::Weights(&data.weights));
    let mut workspace = sized.memory("workspace");
    let mut results = vec![0.0f32; BATCH * graph.output().elements()];
    // SAFETY: as in `by_library`; should the size be too small, the fence is not.
    unsafe {
        let forward = sized.library.get::<Forward>("net_forward").unwrap();
        forward(data.images.as_ptr(), results.as_mut_ptr(), BATCH, workspace.start());
    }
    workspace.is_full("the workspace")
}

/// The same of workspace and prepared weights of a library without.
fn passed(graph: &Graph, data: &Data) -> [bool; 2] {
    let sized = Sized::load(graph, Contents::Code);
    let (mut workspace, mut prepared) = (sized.memory("workspace"), sized.memory("prepared"));
    let mut results = vec![0.0f32; BATCH * graph.output().elements()];
    // SAFETY: as above.
    unsafe {
        let prepare = sized.library.get::<Prepare>("net_prepare").unwrap();
        prepare(pointers(data).as_ptr(), prepared.start(), workspace.start());
        let forward = sized.library.get::<ForwardPassed>("net_forward").unwrap();
        let (images, results) = (data.images.as_ptr(), results.as_mut_ptr());
        forward(images, results, BATCH, prepared.start(), workspace.start());
    }
    [workspace.is_full("the workspace"), prepared.is_full("prepared weights")]
}

/// The same of workspace and state of a training.
fn trained(graph: &Graph, data: &Data) -> [bool; 2] {
    let sized = Sized::load(graph, Contents::Training);
    let (mut workspace, mut state) = (sized.memory("workspace"), sized.memory("state"));
    let rates = || Rates { rate: 0.1, momentum: 0.9, decay: 1e-4 };
    let rates: Vec<Rates> = data.weights.tensors().iter().map(|_| rates()).collect();
    let settings = Settings { rates: rates.as_ptr(), seed: 1, step: 0, clip: 0.0 };
    let classes = graph.output().elements() as u32;
    let labels: Vec<u32> = (0..BATCH as u32).map(|n| n % classes).collect();
    let (mut losses, mut correct) = ([0.0f32; BATCH], [0; BATCH]);
    let mut results = vec![0.0f32; BATCH * graph.output().elements()];
    // SAFETY: as above.
    unsafe {
        let load = sized.library.get::<Load>("net_load").unwrap();
        load(state.start(), pointers(data).as_ptr(), std::ptr::null(), workspace.start());
        let refused = sized.library.get::<Step>("net_step").unwrap()(
            state.start(),
            data.images.as_ptr(),
            labels.as_ptr(),
            BATCH,
            &raw const settings,
            losses.as_mut_ptr(),
            correct.as_mut_ptr(),
            workspace.start(),
        );
        assert_eq!(refused, 0);
        let forward = sized.library.get::<training::Forward>("net_forward").unwrap();
        let (images, results) = (data.images.as_ptr(), results.as_mut_ptr());
        forward(images, results, BATCH, state.start(), workspace.start());
    }
    [workspace.is_full("the workspace"), state.is_full("the state")]
}

#[test]
fn the_sizes_of_headers_are_what_calls_make_use_of() {
    let (mut in_embedded, mut in_passed, mut in_trained) = (false, [false; 2], [false; 2]);
    for graph in [
        graph(SMALL),
        graph("< input(1, 8, 8) fc(40) relu fc(16) >"),
        graph("< input(2, 9, 9) conv(16) batchnorm relu conv(16) gap >"),
        shipped("digits.nin"),
    ] {
        let data = Data::draw(&graph, BATCH, 3);
        in_embedded |= embedded(&graph, &data);
        in_passed = zip(in_passed, passed(&graph, &data));
        in_trained = zip(in_trained, trained(&graph, &data));
    }
    // With less, something of these models would lie behind the end.
    let full = (in_embedded, in_passed, in_trained);
    assert_eq!(full, (true, [true; 2], [true; 2]), "no model makes use of all of it");
}

#[test]
fn the_workspace_is_the_arena_of_the_plan() {
    for graph in [graph(SMALL), graph("< input(1, 5, 7) conv(3) >"), shipped("digits.nin")] {
        for batch in [1, BATCH] {
            let weights = Weights::zeros(&graph);
            let options =
                LibraryOptions { batch, ..options(&[Isa::Portable], 1, &Algos::default()) };
            let sized = Sized::with(&graph, Contents::Weights(&weights), &options);
            let same = Options { batch, threads: 1, isa: Isa::Portable, ..Options::default() };
            let arena = compile(&graph, &same).unwrap().plan().arena();
            assert_eq!(sized.bytes("workspace"), arena, "{batch}");
        }
    }
}

fn zip(a: [bool; 2], b: [bool; 2]) -> [bool; 2] {
    [a[0] | b[0], a[1] | b[1]]
}
