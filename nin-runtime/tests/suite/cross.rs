//! Libraries for aarch64, made on whatever machine this is: they link with that platform's compiler, answer as this machine
//! does, and their tiles keep all sums in registers.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use nin_dsl::graph::Graph;
use nin_runtime::compile::{Options, compile};
use nin_runtime::compiler::Isa;
use nin_runtime::compiler::plan::Algos;
use nin_runtime::export::{About, Contents, Library, LibraryOptions, platform};

use crate::data::Data;
use crate::libraries::{LONG, shipped};
use crate::models::graph;

const COMPILER: &str = "aarch64-linux-gnu-gcc";
const EMULATOR: &str = "qemu-aarch64";

/// Carries the images of standard input to results on standard output.
const PROGRAM: &str = r#"
#include <stdio.h>
#include "net.h"
static float image[NET_IMAGE], results[NET_OUTPUT], workspace[NET_WORKSPACE_BYTES / sizeof(float)];
int main(void)
{
    if (!net_supported())
        return 2;
    while (fread(image, sizeof image, 1, stdin) == 1) {
        net_forward(image, results, 1, workspace);
        if (fwrite(results, sizeof results, 1, stdout) != 1)
            return 1;
    }
    return 0;
}
"#;

fn library(graph: &Graph, data: &Data) -> Library {
    let options = LibraryOptions {
        plain_names: true,
        name: "net".to_owned(),
        batch: 1,
        threads: 2,
        isas: vec![Isa::Portable],
        algo: Algos::default(),
        triple: platform(Some("aarch64-unknown-linux-gnu")).expect("a platform"),
    };
    let compiled =
        Library::compile(graph, Contents::Weights(&data.weights), &About::default(), &options);
    compiled.expect("a library")
}

/// What the emulator makes of a program with the library.
fn emulated(library: &Library, data: &Data) -> Vec<f32> {
    let folder = tempfile::tempdir().expect("a folder");
    let place = |name: &str| folder.path().join(name);
    fs::write(place("net.o"), library.object().unwrap()).unwrap();
    fs::write(place("net.h"), library.header()).unwrap();
    fs::write(place("net.c"), PROGRAM).unwrap();
    let built = Command::new(COMPILER)
        .args(["-Wall", "-Wextra", "-Werror", "-static", "-o", "net", "net.c", "net.o"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let mut child = Command::new(EMULATOR)
        .arg(place("net"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let images: Vec<u8> = data.images.iter().flat_map(|x| x.to_le_bytes()).collect();
    // One image, so that neither side waits for the other with a full pipe.
    child.stdin.take().unwrap().write_all(&images).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", output.status);
    output.stdout.as_chunks::<4>().0.iter().map(|&four| f32::from_le_bytes(four)).collect()
}

#[test]
#[expect(clippy::print_stderr, reason = "a check that is left out is to be seen")]
fn answers_on_aarch64_are_those_of_this_machine() {
    let there = |tool| Command::new(tool).arg("--version").output().is_ok();
    if !there(COMPILER) || !there(EMULATOR) {
        eprintln!("no `{COMPILER}` or no `{EMULATOR}` on this machine: nothing is run for aarch64");
        return;
    }
    let text = "< input(3, 9, 10) conv(7) batchnorm leaky_relu avgpool(2) conv(5, kernel = 1) elu maxpool(2) fc(4) softmax >";
    let joined =
        "< input(3, 9, 10) conv(6) relu add < conv(6) batchnorm relu > < > < conv(6, kernel = 1) >
        concat < > < maxpool(3, stride = 1, pad = 1) > mul < > < gap fc(12) > gap softmax >";
    let mut models = vec![("small", graph(text)), ("joined", graph(joined))];
    for name in ["digits.nin", "nin-mnist.nin", "nin-cifar10-bn.nin", "nin-cifar10-caffe.nin"] {
        models.push((name, shipped(name)));
    }
    for (name, graph) in models {
        let data = Data::draw(&graph, 1, 8);
        let found = emulated(&library(&graph, &data), &data);
        let program = compile(&graph, &Options { batch: 1, threads: 1, ..Options::default() });
        let mut session = program.expect("a program").session(&data.weights).expect("a session");
        let expected = session.forward(data.images.view()).expect("an output");
        assert_eq!(found.len(), expected.len(), "{name}");
        for (&found, &expected) in found.iter().zip(&expected) {
            assert!((found - expected).abs() <= 1e-5, "{name}: {found} instead of {expected}");
        }
    }
}

/// The functions of a library's assembly that are tiles.
fn tiles(library: &Library) -> Vec<String> {
    let assembly = format!("\n{}", library.assembly());
    let functions = assembly.split("\n; ").map(|function| format!("; {function}\n"));
    functions.filter(|function| function.starts_with("; tile")).collect()
}

#[test]
fn tiles_for_aarch64_spill_nothing() {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models");
    for file in fs::read_dir(models).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        if !name.ends_with(".nin") || LONG.contains(&name.as_str()) {
            continue;
        }
        let graph = shipped(&name);
        let tiles = tiles(&library(&graph, &Data::draw(&graph, 1, 9)));
        assert!(tiles.len() > 5, "{name}");
        for tile in tiles {
            // Registers that belong to the caller are kept and given back, by instructions that move the stack's pointer.
            let uses_stack = |line: &&str| {
                line.contains("[sp") && !line.ends_with('!') && !line.contains("[sp], ")
                    || line.contains("[fp")
            };
            let spill = tile.lines().find(uses_stack);
            assert!(spill.is_none(), "{name}: {spill:?} in\n{tile}");
        }
    }
}

#[test]
fn a_tile_for_aarch64() {
    let graph = graph("< input(4, 6, 6) conv(8, kernel = 1) >");
    let tiles = tiles(&library(&graph, &Data::draw(&graph, 1, 10)));
    insta::assert_snapshot!("tile-aarch64", tiles[0]);
}
