//! What a library compiled ahead promises: through its C interface it computes the bits that a session does, whether nin
//! linked it or the system's compiler, with weights inside or passed, and the same input gives the same file.
#![allow(unsafe_code)]

#[path = "../../src/host/memory/guarded.rs"]
mod guarded;
mod sizes;
mod training;

use std::ffi::{CStr, c_char, c_int, c_void};
use std::fs;
use std::path::Path;
use std::process::Command;

use nin_dsl::graph::Graph;
use nin_runtime::compile::{Options, compile};
use nin_runtime::compiler::Isa;
use nin_runtime::compiler::plan::Algos;
use nin_runtime::data::Normalisation;
use nin_runtime::error::Error;
use nin_runtime::export::{About, Contents, Library, LibraryOptions, platform};
use nin_runtime::model::Model;
use nin_runtime::weights::Weights;
use proptest::prelude::*;

use self::guarded::{Guarded, Side, UNWRITTEN};
use crate::data::Data;
use crate::models::{SMALL as SIZE, classifiers, graph, map_makers};
use crate::settings::{Setting, config, fail, settings};

const SMALL: &str = "< input(3, 9, 10) conv(7, bias = 0) batchnorm relu conv(5, kernel = 1) elu maxpool(2) fc(4) softmax >";

type Forward = unsafe extern "C" fn(*const f32, *mut f32, usize, *mut c_void);
type ForwardPassed = unsafe extern "C" fn(*const f32, *mut f32, usize, *const c_void, *mut c_void);
type Prepare = unsafe extern "C" fn(*const *const f32, *mut c_void, *mut c_void);

/// Images of a call: two chunks and a part of one, where images are small.
fn images(graph: &Graph) -> usize {
    if graph.input().elements() < 10_000 { 19 } else { 1 }
}

fn options(isas: &[Isa], batch: usize, algo: &Algos) -> LibraryOptions {
    let triple = platform(None).expect("a platform");
    let (name, isas, algo) = ("net".to_owned(), isas.to_vec(), algo.clone());
    LibraryOptions { name, plain_names: true, batch, threads: 2, isas, algo, triple }
}

/// Choices of algorithms beside nin's own: one for all, and hints for a layer and for single products.
fn choices() -> [Algos; 3] {
    ["direct", "winograd", "winograd2,mlpconv2.forward=direct,mlpconv2.input-grad=winograd4"]
        .map(|choice| choice.parse().expect("a choice"))
}

fn about(graph: &Graph) -> About {
    let normalisation = Normalisation::identity(graph.input().channels());
    let classes = (0..graph.output().elements()).map(|class| format!("number {class}"));
    About { normalisation: Some(normalisation), classes: classes.collect() }
}

/// A library of a graph with the weights inside, or without.
fn library(graph: &Graph, weights: Option<&Weights>, isas: &[Isa], algo: &Algos) -> Library {
    let options = options(isas, images(graph), algo);
    let contents = weights.map_or(Contents::Code, Contents::Weights);
    Library::compile(graph, contents, &about(graph), &options).expect("a library")
}

/// What a session computes.
fn by_session(graph: &Graph, isa: Isa, algo: &Algos, data: &Data) -> Vec<u32> {
    let (batch, algo) = (images(graph), algo.clone());
    let options = Options { batch, threads: 1, isa, algo, ..Options::default() };
    let program = compile(graph, &options).expect("a program");
    let mut session = program.session(&data.weights).expect("a session");
    session.forward(data.images.view()).expect("an output").iter().map(|x| x.to_bits()).collect()
}

/// Numbers of a caller in memory with a closed page at one side of it.
fn given(floats: &[f32], side: Side) -> Guarded {
    let words: Vec<u32> = floats.iter().map(|x| x.to_bits()).collect();
    Guarded::copy(&words, side)
}

/// Each tensor of weights in such memory.
fn given_tensors(weights: &Weights, side: Side) -> Vec<Guarded> {
    weights.tensors().iter().map(|tensor| given(&tensor.values, side)).collect()
}

/// Where each tensor lies, as a caller passes it.
fn places(tensors: &[Guarded]) -> Vec<*const f32> {
    tensors.iter().map(|tensor| tensor.as_ptr().cast()).collect()
}

/// What a shared library with or without weights computes. All memory has closed pages at one side; workspace and results
/// hold numbers that are none beforehand.
fn by_library(graph: &Graph, file: &Path, data: &Data, (embedded, side): (bool, Side)) -> Vec<u32> {
    let images = given(data.images.as_slice().expect("standard layout"), side);
    let n = data.images.dim().0;
    let mut results = Guarded::new(4 * n * graph.output().elements(), side, UNWRITTEN);
    // SAFETY: the library was just compiled and keeps to its header: the signatures are those, and all buffers have the
    // sizes that it tells.
    unsafe {
        let library = libloading::Library::new(file).expect("a library that loads");
        let supported = library.get::<unsafe extern "C" fn() -> c_int>("net_supported").unwrap();
        assert_eq!(supported(), 1);
        let bytes = |name: &str| {
            let bytes = library.get::<unsafe extern "C" fn() -> usize>(name).expect(name);
            Guarded::new(bytes(), side, UNWRITTEN)
        };
        let mut workspace = bytes("net_workspace_bytes");
        let workspace = workspace.as_mut_ptr().cast();
        let (from, to) = (images.as_ptr().cast(), results.as_mut_ptr().cast());
        if embedded {
            let forward = library.get::<Forward>("net_forward").unwrap();
            forward(from, to, n, workspace);
        } else {
            let tensors = given_tensors(&data.weights, side);
            let mut prepared = bytes("net_prepared_bytes");
            let prepare = library.get::<Prepare>("net_prepare").unwrap();
            prepare(places(&tensors).as_ptr(), prepared.as_mut_ptr().cast(), workspace);
            let forward = library.get::<ForwardPassed>("net_forward").unwrap();
            forward(from, to, n, prepared.as_ptr().cast(), workspace);
        }
    }
    results.words().to_vec()
}

/// Whether there is a C compiler to link object files with; says so if not.
#[expect(clippy::print_stderr, reason = "a check that is left out is to be seen")]
fn has_cc() -> bool {
    let found = Command::new("cc").arg("--version").output().is_ok();
    if !found {
        eprintln!("no `cc` on this machine: object files are not linked and not tested");
    }
    found
}

/// Makes a shared library of an object file or archive with the system's tools.
fn link(file: &Path, to: &Path) {
    let whole = ["-Wl,--whole-archive", "-Wl,--no-whole-archive"];
    let linked = Command::new("cc")
        .args(["-shared", "-nostdlib", "-Wl,--fatal-warnings", "-Wl,-z,defs", "-o"])
        .args([to, Path::new(whole[0]), file, Path::new(whole[1])])
        .output()
        .expect("a C compiler that starts");
    assert!(linked.status.success(), "{}", String::from_utf8_lossy(&linked.stderr));
}

/// Compares every way to the same bits.
fn all_agree(name: &str, graph: &Graph, algo: &Algos) {
    let data = Data::draw(graph, images(graph), 3);
    let folder = tempfile::tempdir().expect("a folder");
    let (shared, linked) = (folder.path().join("shared.so"), folder.path().join("linked.so"));
    let has_cc = has_cc();
    for isa in Isa::available() {
        let expected = by_session(graph, isa, algo, &data);
        for embedded in [true, false] {
            let library = library(graph, embedded.then_some(&data.weights), &[isa], algo);
            fs::write(&shared, library.shared_library().unwrap()).unwrap();
            for side in Side::ALL {
                let found = by_library(graph, &shared, &data, (embedded, side));
                let case = format!("{isa}, {algo}, embedded: {embedded}, {side:?}");
                assert!(found == expected, "{name}, {case}");
            }
            if has_cc {
                let (file, content) = if embedded {
                    (folder.path().join("net.o"), library.object())
                } else {
                    (folder.path().join("net.a"), library.static_library())
                };
                fs::write(&file, content.unwrap()).unwrap();
                link(&file, &linked);
                let found = by_library(graph, &linked, &data, (embedded, Side::Last));
                assert!(found == expected, "{name}, {isa}, {algo}, linked, embedded: {embedded}");
                fs::remove_file(&linked).unwrap();
            }
            // A loaded library must not change under its feet.
            fs::remove_file(&shared).unwrap();
        }
    }
}

/// Shipped models that are left out for the time they take: 39 convolutions of different sizes, or 47 MB of weights that are linked
/// again and again. What they are made of is in the smaller ones with branches, too.
pub(crate) const LONG: [&str; 2] = ["densenet-cifar.nin", "resnet18.nin"];

/// A model of the repository.
pub(crate) fn shipped(name: &str) -> Graph {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models").join(name);
    Model::from_file(file, &[]).expect("a model").graph().clone()
}

#[test]
fn libraries_compute_the_bits_of_sessions() {
    for (name, text) in [
        ("small", SMALL),
        ("map", "< input(2, 7, 9) elu conv(7) conv(3, kernel = 1, stride = 2) batchnorm >"),
    ] {
        all_agree(name, &graph(text), &Algos::default());
    }
}

/// Denormals that come in are zeros in a library too, whatever the caller's setting: as large as weights may be, nothing comes
/// of them.
#[test]
fn denormals_of_callers_are_zeros() {
    let graph = graph("< input(1, 4, 4) conv(3) avgpool(2) gap >");
    let mut weights = Weights::zeros(&graph);
    weights.values_mut().next().expect("a kernel").fill(1e30);
    let images = ndarray::Array4::from_elem((2, 1, 4, 4), f32::MIN_POSITIVE / 4.0);
    let data = Data { weights, images, labels: vec![0; 2] };
    let folder = tempfile::tempdir().unwrap();
    for (isa, embedded) in Isa::available().flat_map(|isa| [(isa, true), (isa, false)]) {
        let library = library(&graph, embedded.then_some(&data.weights), &[isa], &Algos::default());
        let file = folder.path().join(format!("{isa}.{embedded}.so"));
        fs::write(&file, library.shared_library().unwrap()).unwrap();
        let found = by_library(&graph, &file, &data, (embedded, Side::Last));
        assert_eq!(found, [0; 6], "{isa}, embedded: {embedded}");
    }
}

/// Whoever has a header alone: images of bytes are planes one after the other, and a step's settings lie as the code reads them.
#[test]
fn headers_say_what_lies_where() {
    if !has_cc() {
        return;
    }
    let graph = graph("< input(2, 1, 3) conv(2, kernel = 1) gap softmax >");
    let normalisation = Normalisation { mean: vec![0.0, 0.5], deviation: vec![1.0, 0.25] };
    let about = About { normalisation: Some(normalisation), classes: Vec::new() };
    let options = options(&[Isa::Portable], 1, &Algos::default());
    let library = Library::compile(&graph, Contents::Training, &about, &options).unwrap();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("net.h"), library.header()).unwrap();
    let program = "#include \"net.h\"\n\
        static const uint8_t bytes[NET_IMAGE] = { 0, 51, 255, 0, 51, 255 };\n\
        int main(void) {\n\
            float image[NET_IMAGE];\n\
            net_normalise(bytes, image);\n\
            if (image[1] != 0.2f || image[3] != -2 || image[5] != 2) return 1;\n\
            if (offsetof(struct net_settings, seed) != sizeof(void *)) return 2;\n\
            return offsetof(struct net_settings, step) == sizeof(void *) + 8 ? 0 : 3;\n}\n";
    let (source, made) = (folder.path().join("main.c"), folder.path().join("program"));
    fs::write(&source, program).unwrap();
    let built = Command::new("cc").args([&source, Path::new("-o"), &made]).output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let run = Command::new(made).status().unwrap();
    assert_eq!(run.code(), Some(0));
}

/// Random models: the bits of a session's, and nothing outside the callers' memory.
fn check_library(text: &str, setting: Setting) -> Result<(), String> {
    let graph = graph(text);
    let (isa, algo) = (setting.isa, setting.algos());
    let data = Data::draw(&graph, images(&graph), setting.seed);
    let expected = by_session(&graph, isa, &algo, &data);
    let folder = tempfile::tempdir().expect("a folder");
    for embedded in [true, false] {
        let library = library(&graph, embedded.then_some(&data.weights), &[isa], &algo);
        let file = folder.path().join(format!("{embedded}.so"));
        fs::write(&file, library.shared_library().unwrap()).unwrap();
        for side in Side::ALL {
            if by_library(&graph, &file, &data, (embedded, side)) != expected {
                return Err(format!("{isa}, {algo}, embedded: {embedded}, {side:?}"));
            }
        }
    }
    Ok(())
}

#[test]
fn libraries_of_random_models_compute_the_bits_of_sessions() {
    let models = prop_oneof![map_makers(SIZE), classifiers(SIZE)];
    proptest!(config(8), |(text in models, setting in settings(9))| {
        check_library(&text, setting).map_err(fail(&text))?;
    });
}

#[test]
fn libraries_of_the_shipped_models_compute_the_bits_of_sessions() {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models");
    let names = fs::read_dir(models).unwrap().map(|file| file.unwrap().file_name());
    let names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
    assert!(names.len() >= 8, "{names:?}");
    let is_short = |name: &&String| name.ends_with(".nin") && !LONG.contains(&name.as_str());
    for name in names.iter().filter(is_short) {
        all_agree(name, &shipped(name), &Algos::default());
    }
}

#[test]
fn libraries_of_every_algorithm_compute_the_bits_of_sessions() {
    for algo in choices() {
        all_agree("digits", &shipped("digits.nin"), &algo);
    }
}

#[test]
fn a_dispatching_library_computes_the_bits_of_the_fastest_instruction_set() {
    let graph = shipped("digits.nin");
    let data = Data::draw(&graph, images(&graph), 4);
    let best = Isa::available().last().unwrap();
    let isas = match best {
        Isa::Avx2 | Isa::Avx512 => vec![Isa::Portable, Isa::Avx2, Isa::Avx512],
        Isa::Auto | Isa::Portable => vec![Isa::Portable],
    };
    let folder = tempfile::tempdir().unwrap();
    for algo in choices().into_iter().chain([Algos::default()]) {
        let expected = by_session(&graph, best, &algo, &data);
        for embedded in [true, false] {
            let library = library(&graph, embedded.then_some(&data.weights), &isas, &algo);
            let file = folder.path().join(format!("{algo}.{embedded}.so"));
            fs::write(&file, library.shared_library().unwrap()).unwrap();
            let found = by_library(&graph, &file, &data, (embedded, Side::Last));
            assert!(found == expected, "{algo}, embedded: {embedded}");
        }
    }
}

#[test]
fn a_library_tells_what_it_knows_of_its_model() {
    let graph = graph(SMALL);
    let weights = Data::draw(&graph, 1, 5).weights;
    let library = library(&graph, Some(&weights), &[Isa::Portable], &Algos::default());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("net.so");
    fs::write(&file, library.shared_library().unwrap()).unwrap();
    let text = |pointer: *const c_char| {
        // SAFETY: the library's texts end in a zero and live as long as it.
        unsafe { CStr::from_ptr(pointer) }.to_str().unwrap().to_owned()
    };
    // SAFETY: as in `by_library`.
    unsafe {
        let library = libloading::Library::new(&file).unwrap();
        let name = library.get::<unsafe extern "C" fn(usize) -> *const c_char>("net_class_name");
        let name = name.unwrap();
        assert_eq!(text(name(3)), "number 3");
        assert!(name(4).is_null() && name(usize::MAX).is_null());
        let version = library.get::<unsafe extern "C" fn() -> *const c_char>("net_version");
        assert_eq!(text(version.unwrap()()), env!("CARGO_PKG_VERSION"));
        let deviation = library.get::<unsafe extern "C" fn() -> *const f32>("net_deviation");
        assert_eq!(*deviation.unwrap()().add(2), 1.0);
    }
}

#[test]
fn the_code_of_a_net_is_small() {
    let graph = shipped("nin-mnist.nin");
    for isa in [Isa::Portable, Isa::Avx2, Isa::Avx512] {
        let object = library(&graph, None, &[isa], &Algos::default()).object().unwrap();
        assert!(object.len() <= 150 << 10, "{isa}: {} bytes", object.len());
    }
}

/// For every kind of file and content, with any number of threads to compile with.
#[test]
fn same_input_same_bytes() {
    let graph = graph(SMALL);
    let weights = Data::draw(&graph, 1, 6).weights;
    let isas = [Isa::Portable, Isa::Avx2, Isa::Avx512];
    let made = |contents: Contents<'_>, threads: usize| {
        let triple = platform(Some("x86_64-unknown-linux-gnu")).unwrap();
        let options = LibraryOptions { threads, triple, ..options(&isas, 7, &Algos::default()) };
        let library = Library::compile(&graph, contents, &about(&graph), &options).unwrap();
        let files = [library.object(), library.static_library(), library.shared_library()];
        let texts = [library.header(), library.rust(), library.clif().into(), library.assembly()];
        (files.map(Result::unwrap), texts)
    };
    for contents in [Contents::Weights(&weights), Contents::Code, Contents::Training] {
        let first = made(contents, 1);
        for threads in [1, 2, 7] {
            assert!(made(contents, threads) == first, "{threads} threads");
        }
    }
}

/// A caller reaches the library of its header; plain names are beside those with the fingerprint, unless they are left out.
#[test]
fn names_end_in_the_fingerprint_of_the_content() {
    let graph = graph(SMALL);
    let weights = [8, 9].map(|seed| Data::draw(&graph, 1, seed).weights);
    let made = |weights: &Weights, plain_names: bool| {
        let options =
            LibraryOptions { plain_names, ..options(&[Isa::Portable], 1, &Algos::default()) };
        let contents = Contents::Weights(weights);
        Library::compile(&graph, contents, &About::default(), &options).unwrap()
    };
    let [one, other] = weights.each_ref().map(|weights| made(weights, true));
    assert_ne!(one.fingerprint(), other.fingerprint());
    let own = made(&weights[0], false);
    assert_eq!(own.fingerprint(), one.fingerprint());
    let folder = tempfile::tempdir().unwrap();
    let mut loaded = 0;
    let mut has = |library: &Library, name: &str| {
        loaded += 1;
        let file = folder.path().join(format!("{loaded}.so"));
        fs::write(&file, library.shared_library().unwrap()).unwrap();
        // SAFETY: the library was just compiled; nothing is called.
        unsafe { libloading::Library::new(&file).unwrap().get::<*const c_void>(name).is_ok() }
    };
    let printed = format!("net_forward_{}", one.fingerprint());
    assert!(has(&one, "net_forward") && has(&one, &printed));
    assert!(!has(&own, "net_forward") && has(&own, &printed));
    assert!(one.header().contains(&format!("#define net_forward {printed}\n")));
    assert!(own.rust().contains(&format!("#[link_name = \"{printed}\"]")));
}

/// A large image is not returned by value, which would overflow a thread's stack.
#[test]
fn wrappers_return_no_large_images() {
    let wrapper = |side: usize| {
        let graph = graph(&format!("< input(1, {side}, {side}) gap >"));
        let weights = Weights::zeros(&graph);
        library(&graph, Some(&weights), &[Isa::Portable], &Algos::default()).rust()
    };
    for (side, by_value) in [(128, true), (129, false)] {
        let text = wrapper(side);
        assert_eq!(text.contains("pub fn normalise(bytes: &[u8; IMAGE])"), by_value, "{side}");
        assert!(text.contains("pub fn normalise_into(bytes: &[u8], images: &mut [f32])"), "{text}");
    }
}

#[test]
fn what_cannot_be_compiled_is_told() {
    let graph = graph(SMALL);
    let weights = Data::draw(&graph, 1, 7).weights;
    let good = options(&[Isa::Portable], 1, &Algos::default());
    let refused = |graph: &Graph, options: &LibraryOptions| {
        let compiled =
            Library::compile(graph, Contents::Weights(&weights), &About::default(), options);
        compiled.err().expect("a refusal")
    };
    for name in ["", "3net", "my-net", "net.forward", "netz ", "nétz"] {
        let options = LibraryOptions { name: name.to_owned(), ..good.clone() };
        assert!(matches!(refused(&graph, &options), Error::Name { .. }), "{name}");
    }
    let other = self::graph("< input(3, 9, 10) fc(4) >");
    assert!(matches!(refused(&other, &good), Error::Weights(_)));
    for name in
        ["x86_65-unknown-linux-gnu", "riscv64gc-unknown-linux-gnu", "wasm32-wasip1", "nowhere", ""]
    {
        assert!(matches!(platform(Some(name)), Err(Error::Platform { .. })), "{name}");
    }
    let aarch64 = platform(Some("aarch64-unknown-linux-gnu")).unwrap();
    let options = LibraryOptions { triple: aarch64, isas: vec![Isa::Avx2], ..good.clone() };
    assert!(matches!(refused(&graph, &options), Error::Target { .. }));
    let windows = platform(Some("x86_64-pc-windows-msvc")).unwrap();
    let options = LibraryOptions { triple: windows, ..good };
    let library =
        Library::compile(&graph, Contents::Weights(&weights), &About::default(), &options).unwrap();
    assert!(library.object().is_ok());
    assert!(matches!(library.shared_library(), Err(Error::Format { .. })));
}
