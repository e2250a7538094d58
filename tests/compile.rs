//! `nin compile` as people use it: a model in C and C++ programs, and what is said when it cannot be.

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::{Bench, Folder, model};
use ndarray_npy::WriteNpyExt as _;
use nin::Model;
use nin::data::{Images, Normalisation, Preprocessing, Spec};
use nin::ndarray::{Array4, ArrayD};
use nin::train::{self, Info, Recipe};
use nin::weights::{self, Moments};

/// Weights of the digits model with the words that training leaves.
fn digits(folder: &Folder) {
    let digits = Model::from_file(model("digits.nin"), &[]).unwrap();
    let fresh = train::init(digits.graph(), &Recipe::default());
    let names = "zero one two three four five six seven eight nine";
    let info = Info {
        normalisation: Some(Normalisation { mean: vec![0.1307], deviation: vec![0.3081] }),
        classes: Some(names.split(' ').map(str::to_owned).collect()),
        ..Info::default()
    };
    weights::save(&folder.path("w"), fresh.tensors(), Moments::default(), &info.metadata())
        .unwrap();
    fs::copy(model("digits.nin"), folder.path("digits.nin")).unwrap();
    for file in ["seven.png", "seven.raw"] {
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(file);
        fs::copy(example, folder.path(file)).unwrap();
    }
}

/// Whether a compiler is there; says so if not.
#[expect(clippy::print_stderr, reason = "a check that is left out is to be seen")]
fn has(compiler: &str) -> bool {
    let found = Command::new(compiler).arg("--version").output().is_ok();
    if !found {
        eprintln!("no `{compiler}` on this machine: its example is not built and not tested");
    }
    found
}

/// What a program of the examples prints, built with the warnings of careful people.
fn example(
    folder: &Folder,
    (compiler, flags): (&str, &[&str]),
    (source, library): (&str, &str),
    arguments: &[&str],
) -> String {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(source);
    let program = folder.path("program");
    let built = Command::new(compiler)
        .args(["-O2", "-Wall", "-Wextra", "-Werror", "-pedantic", "-I."])
        .args(flags)
        .args([&source, Path::new(library), Path::new("-o"), &program])
        .current_dir(folder.place())
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let mut command = Command::new(program);
    let run = command.args(arguments).current_dir(folder.place()).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    String::from_utf8(run.stdout).unwrap()
}

#[test]
fn c_and_cplusplus_classify_as_nin_does() {
    let folder = Folder::new();
    digits(&folder);
    let expected = folder.run("predict digits.nin --weights w seven.png --top 1 -q");
    let expected = expected.replace("seven.png", "seven.raw");
    if has("cc") {
        folder.run("compile digits.nin -o digits --weights w --isa portable");
        let made = ("classify.c", "digits.o");
        let said = example(&folder, ("cc", &["-std=c99"]), made, &["seven.raw"]);
        assert_eq!(said, expected);
    }
    if has("c++") {
        folder.run("compile digits.nin -o digits --weights w --emit staticlib,header");
        let (flags, made) = (["-std=c++17", "-pthread"], ("classify.cpp", "digits.a"));
        let said = example(&folder, ("c++", &flags), made, &["seven.raw"; 2]);
        assert_eq!(said, format!("{expected}{expected}"));
    }
}

/// Training images and labels of `mnist-10k` as files of MNIST's form.
fn mnist(folder: &Folder) {
    let data = "mnist-10k".parse::<Spec>().unwrap().load().unwrap();
    let Images::Bytes(images) = data.train().images() else { panic!("pictures are bytes") };
    let labels = data.train().labels().iter().map(|&label| label as u8);
    let write = |name: &str, head: &[u32], body: Vec<u8>| {
        let head = head.iter().flat_map(|word| word.to_be_bytes());
        fs::write(folder.path(name), head.chain(body).collect::<Vec<u8>>()).unwrap();
    };
    let count = images.dim().0 as u32;
    write("images", &[0x803, count, 28, 28], images.iter().copied().collect());
    write("labels", &[0x801, count], labels.collect());
}

#[test]
fn c_trains_what_nin_runs() {
    let folder = Folder::new();
    if !has("cc") {
        return;
    }
    mnist(&folder);
    fs::copy(model("digits.nin"), folder.path("digits.nin")).unwrap();
    folder.run("init digits.nin -o w");
    folder.run("compile digits.nin -o digits --train --batch 32");
    let arguments = ["w", "images", "labels", "150"];
    let said = example(&folder, ("cc", &["-std=c99"]), ("train.c", "digits.o"), &arguments);
    let loss = |line: &str| -> f64 {
        let (_, rest) = line.split_once("loss ").unwrap();
        rest.split(',').next().unwrap().parse().unwrap()
    };
    let losses: Vec<f64> = said.lines().map(loss).collect();
    assert!(losses.len() == 10 && losses[9] < 0.7 * losses[0], "{said}");
    let evaluation = folder.json("eval digits.nin --weights w --data mnist-10k --json -q");
    assert!(evaluation["accuracy"].as_f64().unwrap() > 0.5, "{said}{evaluation}");
}

#[test]
fn headers_are_c_and_cplusplus() {
    let bench = Bench::new();
    bench.run("init m.nin -o w");
    for (flags, declared) in [
        ("", "void bars_prepare("),
        // What follows makes a name of any word.
        ("--name int", "void int_forward("),
        ("--name class --train", "struct class_settings {"),
        ("--weights w", "bars_normalise("),
        ("--train --batch 8", "#define BARS_BATCH 8"),
    ] {
        bench.run(&format!("compile m.nin -o bars.h --emit header {flags}"));
        let header = fs::read_to_string(bench.path("bars.h")).unwrap();
        assert!(header.contains(declared), "{header}");
        for (compiler, flags) in [("cc", "-xc -std=c99"), ("c++", "-xc++ -std=c++11")] {
            if has(compiler) {
                let checked = Command::new(compiler)
                    .args(["-fsyntax-only", "-Wall", "-Wextra", "-Werror", "-pedantic"])
                    .args(flags.split(' '))
                    .arg(bench.path("bars.h"))
                    .output()
                    .unwrap();
                let errors = String::from_utf8_lossy(&checked.stderr);
                assert!(checked.status.success(), "{errors}");
            }
        }
    }
}

/// What a compiler says that links these files, if it refuses.
fn links(bench: &Bench, flags: &str) -> Result<(), String> {
    let mut cc = Command::new("cc");
    let linked = cc.args(flags.split(' ')).current_dir(bench.place()).output().unwrap();
    let errors = String::from_utf8_lossy(&linked.stderr).into_owned();
    if linked.status.success() { Ok(()) } else { Err(errors) }
}

/// A linker takes what it needs from the first archive that has it. Were names all that it goes by, two models of one name would
/// both be the first.
#[test]
fn two_models_of_one_name_in_a_program_are_an_error() {
    let bench = Bench::new();
    if !has("cc") {
        return;
    }
    for (folder, flags) in [
        ("narrow", "-D width=6"),
        ("wide", "-D width=7"),
        ("again", "-D width=7"),
        ("named", "-D width=7 --name other"),
        ("capitals", "-D width=7 --name BARS"),
    ] {
        fs::create_dir(bench.path(folder)).unwrap();
        bench.run(&format!("compile m.nin -o {folder}/net --emit staticlib,header {flags}"));
        let name = flags.split("--name ").nth(1).unwrap_or("bars");
        let part = format!(
            "#include \"{folder}/net.h\"\nsize_t {folder}(void) {{ return {name}_workspace_bytes(); }}\n"
        );
        fs::write(bench.path(&format!("{folder}.c")), part).unwrap();
    }
    let program = |folders: &[&str]| {
        let declared = folders.iter().map(|folder| format!("size_t {folder}(void);\n"));
        let called: Vec<String> = folders.iter().map(|folder| format!("{folder}()")).collect();
        let (declared, sum) = (declared.collect::<String>(), called.join(" == "));
        let main = format!("#include <stddef.h>\n{declared}int main(void) {{ return {sum}; }}\n");
        fs::write(bench.path("main.c"), main).unwrap();
        let parts: Vec<String> = folders.iter().map(|folder| format!("{folder}.c")).collect();
        let libraries: Vec<String> =
            folders.iter().map(|folder| format!("{folder}/net.a")).collect();
        links(&bench, &format!("-o program main.c {} {}", parts.join(" "), libraries.join(" ")))
    };
    program(&["narrow"]).unwrap();
    program(&["narrow", "named"]).unwrap();
    // Different names, and both are there.
    assert!(Command::new(bench.path("program")).status().unwrap().success());
    for both in [["narrow", "wide"], ["wide", "narrow"]] {
        let errors = program(&both).expect_err("a name twice");
        assert!(errors.contains("bars_") && !errors.contains("undefined"), "{errors}");
    }
    // One model from two files is one model.
    program(&["wide", "again"]).unwrap();
    // A header is that of its library.
    fs::copy(bench.path("wide/net.a"), bench.path("narrow/net.a")).unwrap();
    let errors = program(&["narrow"]).expect_err("the library of another header");
    assert!(errors.contains("bars_workspace_bytes_"), "{errors}");
    // Headers alike: two in one file.
    for (second, name, fits) in [
        ("again", "bars", true),
        ("wide", "bars", true),
        ("named", "other", true),
        ("narrow", "bars", false),
        ("capitals", "BARS", false),
    ] {
        let text = format!("#include \"wide/net.h\"\n#include \"{second}/net.h\"\n");
        fs::write(bench.path("both.c"), text).unwrap();
        let checked = links(&bench, "-fsyntax-only -Wall -Wextra -Werror -pedantic both.c");
        assert_eq!(checked.is_ok(), fits, "{second}: {checked:?}");
        if let Err(errors) = checked {
            assert!(errors.contains(name) && errors.contains("nin compile --name"), "{errors}");
        }
    }
}

/// A header without its names is for those who look functions up, or declare them by hand.
#[test]
fn functions_go_by_their_plain_names_too() {
    let bench = Bench::new();
    if !has("cc") {
        return;
    }
    bench.run("compile m.nin -o net --emit obj,header,shared");
    let text = "#define NIN_PLAIN_NAMES\n#include \"net.h\"\n\
                int main(void) { return bars_workspace_bytes() != BARS_WORKSPACE_BYTES; }\n";
    fs::write(bench.path("main.c"), text).unwrap();
    for library in ["net.o", "./net.so"] {
        links(&bench, &format!("-o program main.c {library}")).unwrap();
        let run = Command::new("./program").current_dir(bench.place()).status().unwrap();
        assert!(run.success(), "{library}");
    }
}

/// As docs/ahead-of-time.md has it: the same algorithms, instruction set and batch give the same bits.
#[test]
fn libraries_give_the_results_of_nin_run() {
    let folder = Folder::new();
    if !has("cc") {
        return;
    }
    digits(&folder);
    let images = Array4::from_shape_fn((3, 1, 28, 28), |(n, _, y, x)| {
        ((n * 31 + y * 7 + x * x * 3) % 17) as f32 / 8.0 - 1.0
    });
    images.write_npy(fs::File::create(folder.path("x.npy")).unwrap()).unwrap();
    let bytes = |floats: &[f32]| floats.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
    fs::write(folder.path("x.raw"), bytes(images.as_slice().unwrap())).unwrap();
    let program = "#include <stdio.h>\n#include \"digits.h\"\n\
        static float images[3 * DIGITS_IMAGE], results[3 * DIGITS_OUTPUT];\n\
        static char workspace[DIGITS_WORKSPACE_BYTES];\n\
        int main(void) {\n\
            if (fread(images, sizeof images, 1, stdin) != 1) return 1;\n\
            digits_forward(images, results, 3, workspace);\n\
            return fwrite(results, sizeof results, 1, stdout) != 1;\n}\n";
    fs::write(folder.path("main.c"), program).unwrap();
    for algo in ["", "--algo winograd", "--algo direct"] {
        folder.run(&format!(
            "compile digits.nin -o digits --weights w --isa portable --batch 3 {algo}"
        ));
        let built = Command::new("cc")
            .args(["main.c", "digits.o", "-o", "program"])
            .current_dir(folder.place())
            .output()
            .unwrap();
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        let input = fs::File::open(folder.path("x.raw")).unwrap();
        let run = Command::new(folder.path("program")).stdin(input).output().unwrap();
        // What a library takes unasked, `nin run` takes by name.
        let algo = if algo.is_empty() { "--algo auto" } else { algo };
        folder.run(&format!(
            "run digits.nin --weights w --input x.npy -o y.npy --isa portable {algo}"
        ));
        let expected: ArrayD<f32> = ndarray_npy::read_npy(folder.path("y.npy")).unwrap();
        assert!(run.stdout == bytes(expected.as_slice().unwrap()), "{algo}");
    }
}

/// Every kind of file, from another folder and with one thread more or less to compile with.
#[test]
fn the_same_input_gives_the_same_files() {
    let made = |folder: &str, flags: &str| -> Vec<Vec<u8>> {
        let bench = Bench::new();
        bench.run("init m.nin -o w");
        fs::create_dir(bench.path(folder)).unwrap();
        bench.run(&format!(
            "compile m.nin -o {folder}/net --emit obj,staticlib,shared,header,clif,asm {flags}"
        ));
        let endings = ["o", "a", "so", "h", "clif", "s"];
        endings
            .map(|ending| fs::read(bench.path(&format!("{folder}/net.{ending}"))).unwrap())
            .into()
    };
    for flags in ["--isa dispatch --weights w", "--isa portable", "--train --batch 9"] {
        assert!(made("here", flags) == made("over-there", flags), "{flags}");
    }
}

/// Unwinders need every function's frame.
#[test]
fn every_function_has_a_frame_to_unwind() {
    let bench = Bench::new();
    if !has("readelf") {
        return;
    }
    bench.run(
        "compile m.nin -o out --emit obj,shared --isa portable --target x86_64-unknown-linux-gnu",
    );
    for file in ["out.o", "out.so"] {
        let shown = |flag: &str| -> String {
            let output = Command::new("readelf").args([flag, "-W"]).arg(bench.path(file)).output();
            String::from_utf8(output.unwrap().stdout).unwrap()
        };
        let (symbols, frames) = (shown("--syms"), shown("--debug-dump=frames"));
        assert!(symbols.contains(" bars.portable.infer_block_0_step_0\n"), "{symbols}");
        let table = symbols.rsplit("Symbol table").next().unwrap();
        let mut functions: Vec<u64> = Vec::new();
        for line in table.lines().filter(|line| line.contains(" FUNC ")) {
            let at = line.split_whitespace().nth(1).unwrap();
            functions.push(u64::from_str_radix(at, 16).unwrap());
        }
        let pcs = frames.lines().filter_map(|line| line.split_once(" pc=")?.1.split("..").next());
        let mut begins: Vec<u64> = pcs.map(|at| u64::from_str_radix(at, 16).unwrap()).collect();
        functions.sort_unstable();
        begins.sort_unstable();
        // Public functions go by two names.
        functions.dedup();
        assert!(functions.len() > 10 && begins == functions, "{file}: {symbols}{frames}");
    }
}

#[test]
fn several_kinds_have_endings_and_one_has_the_name_given() {
    let bench = Bench::new();
    let line = "compile m.nin -o out --emit obj,staticlib,shared,header,clif,asm,obj";
    let (_, notes) = bench.run_with_notes(line);
    for file in ["out.o", "out.a", "out.so", "out.h", "out.clif", "out.s"] {
        assert!(notes.contains(file) && bench.path(file).is_file(), "{file}: {notes}");
    }
    bench.run("compile m.nin -o one.h --emit header --name bars8 -D width=8");
    let header = fs::read_to_string(bench.path("one.h")).unwrap();
    assert!(header.contains("void bars8_forward("), "{header}");
}

#[test]
fn what_cannot_be_compiled_is_told_and_leaves_no_file() {
    let bench = Bench::new();
    bench.run("init m.nin -o w");
    bench.run("init m.nin -D width=7 -o other");
    let bytes = fs::read(bench.path("w")).unwrap();
    fs::write(bench.path("cut"), &bytes[..bytes.len() / 2]).unwrap();
    let bars = Model::from_file(bench.path("m.nin"), &[]).unwrap();
    let fresh = train::init(bars.graph(), &Recipe::default());
    for (file, preprocessing) in [
        ("centred", Preprocessing::Mean { scale: 1.0 }),
        ("whitened", Preprocessing::Zca { scale: 55.0, bias: 0.1 }),
        ("local", Preprocessing::Lcn { kernel: 7, threshold: 1e-4 }),
    ] {
        let info = Info { preprocessing: Some(preprocessing), ..Info::default() };
        let (tensors, words) = (fresh.tensors(), info.metadata());
        weights::save(&bench.path(file), tensors, Moments::default(), &words).unwrap();
    }
    fs::create_dir(bench.path("taken.h")).unwrap();
    fs::write(bench.path("name.nin"), fs::read(bench.path("m.nin")).unwrap()).unwrap();
    let before = bench.contents();
    for (line, code, says) in [
        ("compile m.nin", 2, "--output"),
        ("compile m.nin -o out --emit exe", 2, "staticlib"),
        ("compile m.nin -o out --isa avx9", 2, "dispatch"),
        ("compile m.nin -o out --batch 0", 2, "from 1 to"),
        ("compile m.nin -o out --algo quick", 2, "no algorithm `quick`"),
        ("compile m.nin -o out --algo conv9=direct", 1, "no layer of that name"),
        ("compile m.nin -o out --train --weights w", 2, "--weights"),
        ("compile m.nin -o m.nin --emit obj", 2, "m.nin is named twice"),
        ("compile m.nin -o w --emit obj --weights w", 2, "w is named twice"),
        ("compile m.nin -o out --weights nothing", 1, "nothing"),
        ("compile m.nin -o out --weights other", 1, "mlpconv1.conv.weight"),
        ("compile m.nin -o out --weights cut", 1, "not a whole safetensors file"),
        ("compile m.nin -o out --weights m.nin", 1, "m.nin"),
        ("compile m.nin -o out --weights centred", 1, "prepared by `mean`"),
        ("compile m.nin -o out --weights whitened", 1, "prepared by `zca`"),
        ("compile m.nin -o out --weights local", 1, "compile without weights"),
        ("compile m.nin -o out --name 8bars", 1, "`8bars` is no name"),
        ("compile m.nin -o out --name bars-8", 1, "`bars-8` is no name"),
        ("compile m.nin -o out --target nowhere", 1, "`nowhere`"),
        ("compile m.nin -o out --target riscv64gc-unknown-linux-gnu", 1, "x86-64 and aarch64"),
        ("compile m.nin -o out --target aarch64-unknown-linux-gnu --isa avx2", 1, "avx2"),
        (
            "compile m.nin -o out --target x86_64-pc-windows-msvc --emit header,shared",
            1,
            "--emit obj",
        ),
        ("compile m.nin -o nowhere/out", 1, "nowhere"),
        ("compile m.nin -o taken", 1, "taken.h"),
    ] {
        let errors = bench.fails(code, line);
        assert!(errors.contains(says), "nin {line}: {errors}");
        assert!(bench.contents() == before, "nin {line} left something");
    }
}
