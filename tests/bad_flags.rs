//! Wrong models, flags, weights and arrays: each is refused with the right exit code and a message that says what is
//! wrong, prints no results, and leaves every file as it was.

mod common;

use std::fs;
use std::io::Write as _;
use std::process::Stdio;

use ndarray::{Array, Array4};

use common::Bench;

/// A command line that is refused.
struct Row {
    /// Its arguments.
    line: &'static str,
    /// Its exit code: 1 for the model, the data and the environment, 2 for the command line.
    code: i32,
    /// What the message must contain.
    says: &'static [&'static str],
}

const fn row(line: &'static str, code: i32, says: &'static [&'static str]) -> Row {
    Row { line, code, says }
}

/// Verbs and their arguments.
const COMMAND_LINES: &[Row] = &[
    row("", 2, &["Usage: nin", "train"]),
    row("chekc m.nin", 2, &["'check'"]),
    row("check", 2, &["<MODEL.nin>"]),
    row("check m.nin m.nin", 2, &["unexpected argument 'm.nin'"]),
    row("check m.nin --jsno", 2, &["'--json'"]),
    row("check m.nin -q -v", 2, &["'--quiet'", "'--verbose'"]),
    row("show m.nin", 2, &["--stage"]),
    row("show m.nin --stage nonsense", 2, &["nonsense", "graph", "plan", "asm"]),
    row("show m.nin --stage plna", 2, &["'plan'"]),
    row("bench m.nin --mode both", 2, &["infer", "train"]),
    row("bench m.nin --runs 0", 2, &["from 1 to"]),
    row("bench m.nin --isa avx9", 2, &["avx9", "auto, portable, avx2, avx512"]),
    row("bench m.nin --algo fast", 2, &["no algorithm `fast`", "auto, direct, winograd"]),
    row("bench m.nin --algo winograd9", 2, &["winograd9", "winograd2 to winograd7"]),
    row("bench m.nin --algo auto,direct", 2, &["second choice", "LAYER=direct"]),
    row("bench m.nin --algo =direct", 2, &["names no layer"]),
    row("bench m.nin --algo conv1.up=direct", 2, &["`up`", "forward, input-grad, kernel-grad"]),
    row("bench m.nin --algo tuned,auto", 2, &["`auto` is a second choice", "tuned"]),
    row("bench m.nin --algo conv1=tuned", 2, &["no algorithm `tuned`"]),
    row("bench m.nin --tune --layers", 2, &["'--tune'", "'--layers'"]),
    row("bench m.nin --tune --algo direct", 2, &["'--tune'", "'--algo"]),
    row("compile m.nin -o l --algo tuned --isa dispatch", 2, &["one instruction set", "dispatch"]),
    row("bench m.nin --threads 0", 2, &["from 1 to 1024"]),
    row("bench m.nin --threads 99999999", 2, &["from 1 to 1024"]),
    row("bench m.nin --threads -1", 2, &["from 1 to 1024"]),
    row("bench m.nin --threads two", 2, &["from 1 to 1024"]),
    row("bench m.nin --batch 0", 2, &["from 1 to 1048576"]),
    row("bench m.nin --batch -5", 2, &["from 1 to 1048576"]),
    row("bench m.nin --batch 99999999999999999999", 2, &["from 1 to 1048576"]),
    row("init m.nin", 2, &["--output"]),
    row("init m.nin -o new --seed -1", 2, &["from 0 to"]),
    row("init m.nin -o new --seed 18446744073709551615", 2, &["from 0 to 9223372036854775807"]),
    row("eval m.nin --weights w --data mnist:data --split nonsense", 2, &["train, test"]),
    row("predict m.nin --weights w", 2, &["IMAGE.png"]),
    row("predict m.nin --weights w --top 0 x.png", 2, &["from 1 to"]),
    row("run m.nin --weights w --input x.npy -o y.npy --grads g", 2, &["--labels"]),
    row("explain N999", 2, &["N999", "from N001"]),
    row("completions tcsh", 2, &["bash", "fish", "zsh"]),
    row("man tarin", 2, &["tarin", "train"]),
    row("man --out m.nin", 1, &["m.nin"]),
];

/// Files given as models.
const MODELS: &[Row] = &[
    row("check absent.nin", 1, &["absent.nin: No such file"]),
    row("check data", 1, &["data: Is a directory"]),
    row("check latin1.nin", 1, &["latin1.nin: not a text in UTF-8"]),
    row("check binary.nin", 1, &["binary.nin: not a text in UTF-8"]),
    row("check nul.nin", 1, &["N001", "nul.nin:1:18", "␀"]),
    row("check long.nin", 1, &["long.nin: longer than 4194304 bytes"]),
    row("check chains.nin", 1, &["N006", "64 levels"]),
    row("check parentheses.nin", 1, &["N006", "64 levels"]),
    row("check repeats.nin", 1, &["repeats.nin:1:18", "10000"]),
    row("check empty.nin", 1, &["N007", "no model"]),
    row("check comment.nin", 1, &["N007", "no model"]),
    row("check two.nin", 1, &["two.nin:2"]),
    row("check many.nin", 1, &["N046", "268435456"]),
    row("show map.nin --stage plan", 1, &["must end in a vector", "gap"]),
    row("show bare.nin --stage plan --algo conv9=direct", 1, &["`conv9=direct`", "conv1"]),
    row("show bare.nin --stage plan --algo gap1=direct", 1, &["no convolution", "conv1"]),
    row("show bare.nin --stage plan --algo conv1=winograd7", 1, &["winograd2 for F(2x2, 3x3)"]),
    row("bench map.nin --mode train", 1, &["must end in a vector", "gap"]),
    row("predict map.nin --weights w x.png", 1, &["maps of 10x8x8"]),
    row("fmt absent.nin", 1, &["absent.nin"]),
    row("fmt --check m.nin ugly.nin", 1, &["ugly.nin", "nin fmt ugly.nin"]),
    // Whatever the machine has: 2^50 bytes of images.
    row("bench huge.nin --batch 1048576", 1, &["no memory", "smaller batch"]),
    row("bench huge.nin --threads 1024 --batch 1 --mode train", 1, &["no memory", "fewer threads"]),
];

/// `-D NAME=VALUE`.
const PARAMETERS: &[Row] = &[
    row("check m.nin -D", 2, &["NAME=VALUE"]),
    row("check m.nin -D width", 2, &["NAME=VALUE", "width=96"]),
    row("check m.nin -D =3", 2, &["NAME=VALUE"]),
    row("check m.nin -D width=", 2, &["NAME=VALUE"]),
    row("check m.nin -D wid-th=3", 2, &["NAME=VALUE"]),
    row("check m.nin -D width=NaN", 2, &["`NaN` is not a number"]),
    row("check m.nin -D width=wide", 2, &["`wide` is not a number"]),
    row("check m.nin -D width=1e999", 2, &["does not fit"]),
    row("check m.nin -D width=99999999999999999999", 2, &["does not fit"]),
    row("check m.nin -D width=8 -D width=9", 2, &["`-D width=...` is given twice"]),
    row("check m.nin -D witdh=8", 1, &["N023", "did you mean `width`"]),
    row("check m.nin -D width=0", 1, &["N030", "at least 1"]),
    row("check m.nin -D width=-8", 1, &["N030", "at least 1"]),
    row("check m.nin -D width=7.5", 1, &["N031", "whole"]),
    row("check m.nin -D width=1000000", 1, &["N046", "limit"]),
    row("check bare.nin -D width=8", 1, &["N023", "width"]),
];

/// Files given as weights.
const WEIGHTS: &[Row] = &[
    row("run m.nin --weights absent --input x.npy -o y.npy", 1, &["absent: No such file"]),
    row("run m.nin --weights data --input x.npy -o y.npy", 1, &["data: Is a directory"]),
    row("run m.nin --weights m.nin --input x.npy -o y.npy", 1, &["m.nin", "safetensors"]),
    row("run m.nin --weights half --input x.npy -o y.npy", 1, &["half", "safetensors"]),
    row("run m.nin --weights start --input x.npy -o y.npy", 1, &["start", "safetensors"]),
    row("run m.nin --weights endless --input x.npy -o y.npy", 1, &["endless", "safetensors"]),
    row("run m.nin --weights nan --input x.npy -o y.npy", 1, &["nan", "not finite"]),
    row("eval m.nin --weights other --data mnist:data", 1, &["[7, 1, 3, 3]", "[6, 1, 3, 3]"]),
    row("eval m.nin --weights large --data mnist:data", 1, &["large", "not finite"]),
    row("predict m.nin --weights absent x.png", 1, &["absent: No such file"]),
];

/// Files given as images and labels.
const ARRAYS: &[Row] = &[
    row("run m.nin --weights w --input absent.npy -o y.npy", 1, &["absent.npy: No such file"]),
    row("run m.nin --weights w --input data -o y.npy", 1, &["data", "a folder, not a file"]),
    row("run m.nin --weights w --input m.nin -o y.npy", 1, &["m.nin", "float32 images"]),
    row(
        "run m.nin --weights w --input double.npy -o y.npy",
        1,
        &["double.npy", "float32", "float64"],
    ),
    row("run m.nin --weights w --input flat.npy -o y.npy", 1, &["flat.npy", "[2, 64]"]),
    row("run m.nin --weights w --input small.npy -o y.npy", 1, &["small.npy", "[N, 1, 8, 8]"]),
    row("run m.nin --weights w --input none.npy -o y.npy", 1, &["none.npy", "at least 1"]),
    row("run m.nin --weights w --input turned.npy -o y.npy", 1, &["turned.npy", "[8, 8, 1, 2]"]),
    row(
        "run m.nin --weights w --input short.npy -o y.npy",
        1,
        &["short.npy", "bytes after the header"],
    ),
    row(
        "run m.nin --weights w --input long.npy -o y.npy",
        1,
        &["long.npy", "bytes after the header"],
    ),
    row(
        "run m.nin --weights w --input huge.npy -o y.npy",
        1,
        &["huge.npy", "bytes after the header"],
    ),
    row(
        "run m.nin --weights w --input over.npy -o y.npy",
        1,
        &["over.npy", "bytes after the header"],
    ),
    row(
        "run m.nin --weights w --input x.npy --labels three.npy -o y.npy",
        1,
        &["three.npy", "3 labels for 2 images"],
    ),
    row(
        "run m.nin --weights w --input x.npy --labels real.npy -o y.npy",
        1,
        &["real.npy", "int64"],
    ),
    row("run m.nin --weights w --input x.npy --labels rows.npy -o y", 1, &["rows.npy", "reshape"]),
    row("run m.nin --weights w --input x.npy --labels ten.npy -o y.npy", 1, &["image 1", "0 to 9"]),
    row(
        "run m.nin --weights w --input x.npy --labels less.npy -o y.npy",
        1,
        &["-1 at index 0", "from 0"],
    ),
    row("predict m.nin --weights w m.nin", 1, &["m.nin", "PNG"]),
    row("predict m.nin --weights w absent.png", 1, &["absent.png"]),
];

/// Files to be written.
const OUTPUTS: &[Row] = &[
    row("init m.nin -o absent/w", 1, &["absent/w: there is no folder absent"]),
    row("init m.nin -o data", 1, &["data", "directory"]),
    row("init m.nin -o kept", 1, &["kept", "denied"]),
    row("init m.nin -o m.nin", 2, &["m.nin", "another name"]),
    row("init m.nin -o data/../m.nin", 2, &["m.nin", "another name"]),
    row("run m.nin --weights w --input x.npy -o x.npy", 2, &["x.npy", "another name"]),
    row("run m.nin --weights w --input x.npy -o absent/y.npy", 1, &["there is no folder absent"]),
    row("run m.nin --weights w --input x.npy -o y --labels l.npy --grads y", 2, &["another name"]),
    row("run m.nin --weights w --input x.npy -o y --labels l.npy --grads w", 2, &["another name"]),
];

/// A folder with everything the rows name.
fn folder() -> Bench {
    let bench = Bench::new();
    let write = |name: &str, bytes: &[u8]| fs::write(bench.path(name), bytes).unwrap();
    write("latin1.nin", b"// caf\xe9\n< input(1, 8, 8) conv(3) gap >");
    write("nul.nin", b"< input(1, 8, 8) \0 conv(3) gap >");
    write("long.nin", format!("// {}\n< input(1, 8, 8) gap >", "x".repeat(5_000_000)).as_bytes());
    write("chains.nin", "<".repeat(100_000).as_bytes());
    let deep = ["< input(1, 8, 8) conv(", &"(".repeat(100_000), "1", &")".repeat(100_000), ") >"];
    write("parentheses.nin", deep.concat().as_bytes());
    write("repeats.nin", b"< input(1, 8, 8) repeat(9999) < repeat(9999) < relu > > gap >");
    write("empty.nin", b"");
    write("comment.nin", b"// nothing but this\n");
    write("two.nin", b"< input(1, 8, 8) gap >\n< input(1, 8, 8) gap >");
    write("many.nin", b"< input(1, 4096, 4096) fc(17) >");
    write("map.nin", b"< input(1, 8, 8) conv(10) >");
    write("ugly.nin", b"< input(1,8,8)gap >");
    write("bare.nin", b"< input(1, 8, 8) conv(10) gap >");
    write("huge.nin", b"< input(1, 16384, 16384) conv(1) gap >");
    for (line, name) in [("m.nin", "w"), ("m.nin -D width=7", "other"), ("m.nin", "kept")] {
        bench.run(&format!("init {line} -o {name}"));
    }
    let mut permissions = fs::metadata(bench.path("kept")).unwrap().permissions();
    permissions.set_readonly(true);
    fs::set_permissions(bench.path("kept"), permissions).unwrap();
    let weights = fs::read(bench.path("w")).unwrap();
    let ending = |last: f32| [&weights[..weights.len() - 4], &last.to_le_bytes()].concat();
    write("binary.nin", &ending(f32::NAN));
    write("nan", &ending(f32::NAN));
    write("half", &weights[..weights.len() / 2]);
    write("start", &weights[..5]);
    write("endless", &[&[0xff; 8], &weights[8..]].concat());
    // Every number after the header is the largest there is.
    let body = 8 + u64::from_le_bytes(weights[..8].try_into().unwrap()) as usize;
    let numbers = f32::MAX.to_le_bytes().repeat((weights.len() - body) / 4);
    write("large", &[&weights[..body], &numbers].concat());
    arrays(&bench);
    bench
}

/// The rows' images and labels.
fn arrays(bench: &Bench) {
    let images = Array4::<f32>::zeros((2, 1, 8, 8));
    ndarray_npy::write_npy(bench.path("x.npy"), &images).unwrap();
    ndarray_npy::write_npy(bench.path("double.npy"), &images.mapv(f64::from)).unwrap();
    let flat = images.to_shape((2, 64)).unwrap();
    ndarray_npy::write_npy(bench.path("flat.npy"), &flat).unwrap();
    ndarray_npy::write_npy(bench.path("small.npy"), &Array4::<f32>::zeros((2, 1, 7, 8))).unwrap();
    ndarray_npy::write_npy(bench.path("none.npy"), &Array4::<f32>::zeros((0, 1, 8, 8))).unwrap();
    ndarray_npy::write_npy(bench.path("turned.npy"), &images.t()).unwrap();
    let whole = fs::read(bench.path("x.npy")).unwrap();
    let write = |name: &str, bytes: &[u8]| fs::write(bench.path(name), bytes).unwrap();
    write("short.npy", &whole[..200]);
    write("long.npy", &[&whole[..], b"more"].concat());
    // Headers are padded with spaces, which other sides can replace.
    let header = String::from_utf8(whole[..128].to_vec().split_off(10)).unwrap();
    let announcing = |shape: &str| {
        let header = header.trim_end().replace("(2, 1, 8, 8)", shape);
        [&whole[..10], format!("{header:117}\n").as_bytes()].concat()
    };
    write("huge.npy", &announcing("(1000000000000, 1, 8, 8)"));
    write("over.npy", &announcing("(4611686018427387904, 0, 8, 8)"));
    for (name, labels) in [
        ("l.npy", vec![0i64, 9]),
        ("three.npy", vec![0, 1, 2]),
        ("ten.npy", vec![0, 10]),
        ("less.npy", vec![-1, 0]),
    ] {
        ndarray_npy::write_npy(bench.path(name), &Array::from(labels)).unwrap();
    }
    let rows = ndarray::arr2(&[[0i64], [9]]);
    ndarray_npy::write_npy(bench.path("rows.npy"), &rows).unwrap();
    ndarray_npy::write_npy(bench.path("real.npy"), &Array::from(vec![0f32, 9.0])).unwrap();
}

#[test]
fn what_is_wrong_is_told_and_nothing_is_touched() {
    let bench = folder();
    let before = bench.contents();
    let tables = [COMMAND_LINES, MODELS, PARAMETERS, WEIGHTS, ARRAYS, OUTPUTS];
    for Row { line, code, says } in tables.into_iter().flatten() {
        let errors = bench.fails(*code, line);
        for text in *says {
            assert!(errors.contains(text), "nin {line}: no `{text}` in\n{errors}");
        }
        assert!(!errors.contains('\x1b'), "nin {line} coloured a file:\n{errors}");
        assert!(errors.lines().count() < 40, "nin {line} said too much:\n{errors}");
        assert!(bench.contents() == before, "nin {line} changed a file");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn endless_devices_are_not_read_to_their_end_and_full_ones_are_told_of() {
    let bench = Bench::new();
    assert!(bench.fails(1, "check /dev/zero").contains("longer than"));
    assert!(bench.fails(1, "init m.nin -o /dev/full").contains("No space left"));
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let printed = bench.command("check m.nin").stdout(full).output().unwrap();
    assert_eq!(printed.status.code(), Some(1));
    assert!(String::from_utf8(printed.stderr).unwrap().contains("No space left"));
}

#[test]
fn a_text_is_read_as_any_editor_writes_it_and_from_a_pipe() {
    let bench = Bench::new();
    let text = "// Ünïcödé\r\n< input(1, 8, 8)\r\n\tmlpconv(4, 10)\r\n gap softmax >\r\n";
    fs::write(bench.path("dos.nin"), format!("\u{feff}{text}")).unwrap();
    let checked = bench.run("check dos.nin");
    let command = bench.command("check -").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut child = command.unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let piped = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(piped.stdout).unwrap(), checked.replacen("dos", "stdin", 1));
}
