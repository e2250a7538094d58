//! The command as its users meet it: exit codes, messages, JSON, files, Ctrl-C.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use ndarray::{Array1, Array4, ArrayD};
use serde_json::Value;

const MODEL: &str = "
model Bars(width = 6) <
    input(1, 8, 8)
    mlpconv(width, width)
    maxpool(2)
    dropout(0.2)
    mlpconv(width, 10)
    gap
    softmax
>
";

/// A folder with a model, `m.nin`, and images it can learn, `data`.
struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Bench {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("m.nin"), MODEL).unwrap();
        fs::create_dir(folder.path().join("data")).unwrap();
        for (set, images) in [("train", 300), ("t10k", 60)] {
            let classes = (0..images).map(|n| (n % 10) as u8);
            let pixels = (0..images).flat_map(|n| (0..64).map(move |at| level(n, at / 8, at % 8)));
            let write = |kind: &str, magic: u32, sizes: &[u32], body: Vec<u8>| {
                let words =
                    std::iter::once(&magic).chain(sizes).flat_map(|word| word.to_be_bytes());
                let file = folder.path().join("data").join(format!("{set}-{kind}-ubyte"));
                fs::write(file, words.chain(body).collect::<Vec<u8>>()).unwrap();
            };
            let count = images as u32;
            write("labels-idx1", 0x801, &[count], classes.collect());
            write("images-idx3", 0x803, &[count, 8, 8], pixels.collect());
        }
        Bench { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nin"));
        command.args(line.split_whitespace()).current_dir(self.folder.path());
        command
    }

    /// Runs a line that must succeed, and returns its standard output.
    fn run(&self, line: &str) -> String {
        let output = self.command(line).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "nin {line}: {}\n{errors}", output.status);
        String::from_utf8(output.stdout).unwrap()
    }

    fn json(&self, line: &str) -> Value {
        serde_json::from_str(&self.run(line)).unwrap()
    }

    /// Runs a line that must fail with `code`, and returns its standard error.
    fn fails(&self, code: i32, line: &str) -> String {
        let output = self.command(line).output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "nin {line}: {errors}");
        assert!(output.stdout.is_empty(), "nin {line} printed results");
        errors
    }
}

/// Class `n % 10` is a bar at its own place: five rows, five columns.
fn level(n: usize, y: usize, x: usize) -> u8 {
    let class = n % 10;
    let on = if class < 5 { y == class + 1 } else { x == class - 4 };
    if on { 255 } else { ((n * 37 + y * 11 + x * 5) % 40) as u8 }
}

fn model(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("models").join(name)
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn a_wrong_command_line_exits_with_2() {
    let bench = Bench::new();
    for line in [
        "",
        "chekc m.nin",
        "check",
        "check m.nin -D width",
        "check m.nin -D width=1e999",
        "bench m.nin --threads 0",
        "bench m.nin --isa avx9",
        "show m.nin --stage soup",
        "train m.nin --data mnist:data --epochs 0",
        "train m.nin --data mnist:data --lr -1",
        "train m.nin --data mnist:data --val 1",
        "train m.nin --resume r --epochs 3",
        "run m.nin --weights w --input x -o y --grads g",
    ] {
        bench.fails(2, line);
    }
    assert!(bench.fails(2, "train m.nin").contains("--data mnist-10k"));
    let errors = bench.fails(2, "train m.nin --data minst:data");
    assert!(errors.contains("did you mean `mnist`"), "{errors}");
}

#[test]
fn a_wrong_model_or_file_exits_with_1_and_says_which() {
    let bench = Bench::new();
    assert!(bench.fails(1, "check none.nin").contains("none.nin"));
    fs::write(bench.path("bad.nin"), "< input(1, 8, 8) conv2d(3) gap softmax >").unwrap();
    let errors = bench.fails(1, "check bad.nin");
    assert!(errors.contains("N010") && errors.contains("bad.nin:1:18"), "{errors}");
    assert!(bench.fails(1, "check m.nin -D depth=3").contains("depth"));
    let errors = bench.fails(1, "train m.nin --data mnist:nowhere");
    assert!(errors.contains("train-images-idx3-ubyte.gz"), "{errors}");
    let errors = bench.fails(1, "train m.nin --data mnist-10k");
    assert!(errors.contains("input(1, 28, 28)"), "{errors}");
    assert!(!bench.path("runs").exists(), "nothing starts before the data fits");
    fs::write(bench.path("r.toml"), "learning_rate = 1").unwrap();
    let errors = bench.fails(1, "train m.nin --data mnist:data --recipe r.toml");
    assert!(errors.contains("r.toml:1:1: there is no setting `learning_rate`"), "{errors}");
    fs::write(bench.path("r.toml"), "lr = -1").unwrap();
    let errors = bench.fails(1, "train m.nin --data mnist:data --recipe r.toml");
    assert!(errors.contains("r.toml:1:6: `lr` is -1"), "{errors}");
    let errors = bench.fails(1, "eval m.nin --weights m.nin --data mnist:data");
    assert!(errors.contains("safetensors"), "{errors}");
    bench.run("init m.nin -o w.safetensors");
    let errors = bench.fails(1, "eval m.nin -D width=7 --weights w.safetensors --data mnist:data");
    assert!(errors.contains("[6, 1, 3, 3]") && errors.contains("[7, 1, 3, 3]"), "{errors}");
}

#[test]
fn warnings_are_errors_on_request() {
    let bench = Bench::new();
    fs::write(bench.path("odd.nin"), "< input(1, 9, 9) conv(3) maxpool(2) gap softmax >").unwrap();
    let output = bench.command("check odd.nin").output().unwrap();
    assert!(output.status.success());
    assert!(String::from_utf8(output.stderr).unwrap().contains("warning[N060]"));
    assert!(bench.fails(1, "check odd.nin --deny-warnings").contains("N060"));
    let quiet = bench.command("check odd.nin -q").output().unwrap();
    assert!(quiet.status.success() && quiet.stderr.is_empty());
}

#[test]
fn check_describes_a_model_in_json() {
    let bench = Bench::new();
    let checked = bench.json(&format!("check {} --json", model("nin-cifar10.nin").display()));
    assert_eq!(
        keys(&checked),
        ["diagnostics", "input", "layers", "model", "output", "params", "totals"]
    );
    assert_eq!(checked["totals"]["params"], 966_986);
    assert_eq!(checked["input"], serde_json::json!([3, 32, 32]));
    let layer = &checked["layers"][1];
    assert_eq!(layer["name"], "mlpconv1");
    assert_eq!(layer["kind"], "mlpconv");
    assert_eq!(layer["args"]["channels"], serde_json::json!([192, 160, 96]));
    assert_eq!(layer["args"]["kernel"], 5);
    assert!(layer["line"].as_u64().unwrap() > 1);
    fs::write(bench.path("bad.nin"), "<\n  input(1, 8, 8) conv(0)\n>").unwrap();
    let output = bench.command("check bad.nin --json").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let object: Value = serde_json::from_slice(&output.stdout).unwrap();
    let diagnostic = &object["diagnostics"][0];
    assert_eq!(keys(diagnostic), ["code", "column", "line", "message", "severity"]);
    assert_eq!(
        (diagnostic["severity"].as_str(), diagnostic["line"].as_u64()),
        (Some("error"), Some(2))
    );
}

#[test]
fn every_stage_can_be_shown() {
    let bench = Bench::new();
    for stage in ["ast", "graph", "train", "fused", "plan", "clif", "asm", "dot", "svg"] {
        let text = bench.run(&format!("show m.nin --stage {stage} --batch 4"));
        assert!(text.lines().count() > 3, "{stage}: {text}");
    }
    // What `ast` prints is a model.
    fs::write(bench.path("again.nin"), bench.run("show m.nin --stage ast")).unwrap();
    let graph = |file: &str| bench.run(&format!("show {file} --stage graph"));
    assert_eq!(graph("m.nin"), graph("again.nin"));
}

/// With `UPDATE_DOCS=1` in the environment it is drawn anew.
#[test]
fn the_picture_in_the_readme_is_what_show_draws() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/nin-cifar10.svg");
    let line = format!("show {} --stage svg", model("nin-cifar10.nin").display());
    let drawn = Bench::new().run(&line);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&file, &drawn).unwrap();
    }
    assert!(fs::read_to_string(&file).unwrap() == drawn, "{} is out of date", file.display());
}

#[test]
fn a_closed_pipe_ends_it_quietly() {
    let bench = Bench::new();
    let mut child = bench
        .command("show m.nin --stage clif")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_ne!(output.status.code(), Some(101));
}

#[test]
fn a_model_is_trained_evaluated_and_asked() {
    let bench = Bench::new();
    let results =
        bench.run("train m.nin --data mnist:data --epochs 30 --batch 30 --val 0.1 --threads 2");
    assert!(results.contains("test accuracy"), "{results}");
    for name in [
        "model.nin",
        "recipe.toml",
        "plan.txt",
        "metrics.jsonl",
        "last.safetensors",
        "best.safetensors",
    ] {
        assert!(bench.path("runs/Bars-1").join(name).is_file(), "{name}");
    }
    let metrics = fs::read_to_string(bench.path("runs/Bars-1/metrics.jsonl")).unwrap();
    let last: Value = serde_json::from_str(metrics.lines().last().unwrap()).unwrap();
    assert_eq!(
        keys(&last),
        [
            "epoch",
            "seconds",
            "test_accuracy",
            "test_loss",
            "train_accuracy",
            "train_loss",
            "val_accuracy"
        ]
    );
    let evaluated =
        bench.json("eval m.nin --weights runs/Bars-1/last.safetensors --data mnist:data --json");
    assert_eq!(keys(&evaluated), ["accuracy", "confusion", "images", "loss", "per_class"]);
    assert_eq!(evaluated["accuracy"], last["test_accuracy"]);
    assert!(evaluated["accuracy"].as_f64().unwrap() > 0.9, "{evaluated}");
    assert_eq!(evaluated["images"], 60);
    // The same through the folder's name is a slip with an answer.
    let errors = bench.fails(1, "eval m.nin --weights runs/Bars-1 --data mnist:data");
    assert!(errors.contains("last.safetensors"), "{errors}");
    // A test image of class 7 as a picture, and at twice the size, in colour and 16 bits.
    let n = 7;
    png(
        &bench.path("a.png"),
        8,
        |y, x| vec![level(n, y, x)],
        png::ColorType::Grayscale,
        png::BitDepth::Eight,
    );
    let colour = |y: usize, x: usize| [[level(n, y / 2, x / 2); 2]; 3].concat();
    png(&bench.path("b.png"), 16, colour, png::ColorType::Rgb, png::BitDepth::Sixteen);
    let predicted =
        bench.json("predict m.nin --weights runs/Bars-1/last.safetensors a.png b.png --json");
    for image in 0..2 {
        let top = &predicted["images"][image]["top"];
        assert_eq!(top.as_array().unwrap().len(), 5);
        assert_eq!(top[0]["class"], "7", "{predicted}");
    }
    bench.fails(1, "predict m.nin --weights runs/Bars-1/last.safetensors m.nin");
}

fn png(
    file: &Path,
    side: usize,
    pixel: impl Fn(usize, usize) -> Vec<u8>,
    colour: png::ColorType,
    depth: png::BitDepth,
) {
    let mut encoder = png::Encoder::new(fs::File::create(file).unwrap(), side as u32, side as u32);
    encoder.set_color(colour);
    encoder.set_depth(depth);
    let bytes: Vec<u8> = (0..side * side).flat_map(|at| pixel(at / side, at % side)).collect();
    encoder.write_header().unwrap().write_image_data(&bytes).unwrap();
}

#[test]
fn arrays_run_through_a_model_and_back() {
    let bench = Bench::new();
    bench.run("init m.nin --seed 5 -o w.safetensors");
    let images = Array4::from_shape_fn((5, 1, 8, 8), |(n, _, y, x)| (n + y * x) as f32 / 20.0);
    ndarray_npy::write_npy(bench.path("x.npy"), &images).unwrap();
    ndarray_npy::write_npy(bench.path("l.npy"), &Array1::from_vec(vec![0i64, 3, 9, 2, 2])).unwrap();
    let line = "run m.nin --weights w.safetensors --input x.npy -o y.npy";
    let loss: f64 =
        bench.run(&format!("{line} --labels l.npy --grads g.safetensors")).trim().parse().unwrap();
    let results: ArrayD<f32> = ndarray_npy::read_npy(bench.path("y.npy")).unwrap();
    assert_eq!(results.shape(), [5, 10]);
    let expected: f64 = [0, 3, 9, 2, 2]
        .iter()
        .enumerate()
        .map(|(n, &label)| -f64::from(results[[n, label]]).ln() / 5.0)
        .sum();
    assert!((loss - expected).abs() < 1e-5, "{loss}, expected {expected}");
    // Memory order is none of the array's meaning.
    let turned = images.view().permuted_axes([3, 2, 1, 0]);
    let turned = turned.as_standard_layout();
    ndarray_npy::write_npy(bench.path("turned.npy"), &turned.permuted_axes([3, 2, 1, 0])).unwrap();
    bench.run(&line.replace("x.npy", "turned.npy").replace("y.npy", "again.npy"));
    let read = |name: &str| fs::read(bench.path(name)).unwrap();
    assert_eq!(read("y.npy"), read("again.npy"));
    // The gradients are a weights file of the model.
    bench.run("eval m.nin --weights g.safetensors --data mnist:data");
    let wrong = |name: &str, expected: &str| {
        let errors = bench.fails(1, &line.replace("x.npy", name));
        assert!(errors.contains(name) && errors.contains(expected), "{errors}");
    };
    ndarray_npy::write_npy(bench.path("double.npy"), &images.mapv(f64::from)).unwrap();
    wrong("double.npy", "float32");
    ndarray_npy::write_npy(bench.path("flat.npy"), &Array1::<f32>::zeros(64)).unwrap();
    wrong("flat.npy", "[N, C, H, W]");
    ndarray_npy::write_npy(bench.path("small.npy"), &Array4::<f32>::zeros((2, 1, 7, 8))).unwrap();
    wrong("small.npy", "[N, 1, 8, 8]");
    wrong("m.nin", "float32");
    ndarray_npy::write_npy(bench.path("l.npy"), &Array1::from_vec(vec![0i64, 3, 10, 2, 2]))
        .unwrap();
    let errors = bench.fails(1, &format!("{line} --labels l.npy"));
    assert!(errors.contains("image 2 has the label 10"), "{errors}");
}

#[test]
fn bench_reports_in_json() {
    let bench = Bench::new();
    for mode in ["infer", "train"] {
        let report =
            bench.json(&format!("bench m.nin --mode {mode} --batch 8 --runs 5 --threads 2 --json"));
        assert_eq!(
            keys(&report),
            [
                "algo",
                "arena_bytes",
                "batch",
                "code_bytes",
                "compile_ms",
                "cpu",
                "gflops",
                "images_per_s",
                "isa",
                "layers",
                "macs",
                "median_ms",
                "min_ms",
                "mode",
                "model",
                "params",
                "peak_gflops",
                "peak_rss_bytes",
                "percent_of_peak",
                "runs",
                "threads",
                "weights"
            ]
        );
        assert_eq!((report["mode"].as_str(), report["runs"].as_u64()), (Some(mode), Some(5)));
        assert!(report["percent_of_peak"].as_f64().unwrap() > 0.0, "{report}");
    }
}

#[test]
fn bench_times_every_part() {
    let bench = Bench::new();
    let report = bench.json("bench m.nin --mode train --batch 8 --runs 2 --layers --json");
    let layers = report["layers"].as_array().unwrap();
    let names: Vec<&str> = layers.iter().map(|layer| layer["name"].as_str().unwrap()).collect();
    assert!(names.contains(&"loss"), "{names:?}");
    for layer in layers {
        assert_eq!(
            keys(layer),
            [
                "bound",
                "bytes",
                "gflops",
                "kernel",
                "median_ms",
                "name",
                "percent_of_bandwidth",
                "percent_of_peak"
            ]
        );
        assert!(layer["bytes"].as_u64().unwrap() > 0, "{layer}");
        let share = |key: &str| layer[key].as_f64().unwrap();
        let near = match layer["bound"].as_str() {
            Some("fma") => share("percent_of_peak") > 50.0,
            Some("memory") => share("percent_of_bandwidth") > 50.0,
            None => share("percent_of_peak").max(share("percent_of_bandwidth")) <= 50.0,
            Some(other) => panic!("no bound {other}"),
        };
        assert!(near, "{layer}");
    }
    let table = bench.run("bench m.nin --batch 8 --runs 2 --layers");
    assert!(table.contains("mlpconv1.conv"), "{table}");
    assert!(!table.contains("  dropout1"), "dropout does nothing at inference: {table}");
}

#[test]
fn bench_sweeps_a_parameter() {
    let bench = Bench::new();
    fs::write(
        bench.path("two.nin"),
        MODEL.replace("width = 6", "width = 6, top = 10").replace("width, 10", "width, top"),
    )
    .unwrap();
    let report = bench.json(
        "bench two.nin --batch 2 --runs 1 --sweep width=4,6 --sweep top=10,2 --plot s.svg --json",
    );
    assert_eq!(keys(&report), ["model", "sweep", "variants"]);
    assert_eq!(report["sweep"], serde_json::json!({"width": [4, 6], "top": [10, 2]}));
    let variants = report["variants"].as_array().unwrap();
    let params: Vec<_> = variants.iter().map(|variant| &variant["params"]).collect();
    let pairs = [(4, 10), (4, 2), (6, 10), (6, 2)];
    let expected = pairs.map(|(width, top)| serde_json::json!({"width": width, "top": top}));
    assert_eq!(params, expected.iter().collect::<Vec<_>>());
    for (variant, (width, top)) in variants.iter().zip(pairs) {
        let macs = 64 * (9 * width + width * width) + 16 * (9 * width * width + width * top);
        assert_eq!(variant["macs"].as_u64(), Some(macs));
        assert!(variant["median_ms"].as_f64().unwrap() > 0.0);
    }
    let svg = fs::read_to_string(bench.path("s.svg")).unwrap();
    let svg = roxmltree::Document::parse(&svg).unwrap();
    let circles = svg.descendants().filter(|node| node.has_tag_name("circle")).count();
    assert_eq!(circles, 2 * 4, "a dot a variant in each panel");
    let texts: Vec<&str> =
        svg.descendants().filter_map(|node| node.text()).map(str::trim).collect();
    assert!(texts.contains(&"top = 2") && texts.contains(&"width"), "{texts:?}");
    let table = bench.run("bench m.nin --batch 2 --runs 1 --sweep width=3,5");
    let first = |line: &str| line.split_whitespace().next().map(str::to_owned);
    let firsts: Vec<_> = table.lines().filter_map(first).collect();
    assert_eq!(firsts[2..], ["width", "3", "5"], "{table}");
}

#[test]
fn a_sweep_with_a_mistake_times_nothing() {
    let bench = Bench::new();
    for line in [
        "--sweep width",
        "--sweep width=",
        "--sweep width=4,",
        "--sweep width=4,x",
        "--sweep width=4,4",
        "--sweep width=4 --sweep width=6",
        "--sweep width=4 -D width=6",
        "--sweep width=4 --layers",
        "--plot s.svg",
    ] {
        bench.fails(2, &format!("bench m.nin {line}"));
    }
    let errors = bench.fails(1, "bench m.nin --sweep widht=4,6");
    assert!(errors.contains("did you mean `width`"), "{errors}");
    let errors = bench.fails(1, "bench m.nin --sweep width=4,0");
    assert!(errors.contains("N030") && errors.contains("not valid with width = 0"), "{errors}");
    let errors = bench.fails(1, "bench m.nin --sweep width=4 --plot none/s.svg");
    assert!(errors.contains("none/s.svg"), "{errors}");
}

#[cfg(unix)]
#[test]
fn ctrl_c_saves_and_the_run_goes_on_to_the_same_bits() {
    let bench = Bench::new();
    // The slowest instruction set: the run must not end before the signal, and goes on with the same one unasked.
    let line =
        "train m.nin --data mnist:data --epochs 60 --batch 10 --val 0.1 --threads 2 --isa portable";
    bench.run(&format!("{line} --out whole"));
    let child = bench
        .command(&format!("{line} --out parts"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The metrics are flushed at the end of an epoch.
    let metrics = bench.path("parts/metrics.jsonl");
    while fs::metadata(&metrics).map_or(0, |metadata| metadata.len()) == 0 {
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
    let Output { status, stderr, .. } = child.wait_with_output().unwrap();
    let errors = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(130), "{errors}");
    assert!(errors.contains("nin train --resume parts"), "{errors}");
    fs::write(bench.path("other.nin"), MODEL.replace("width = 6", "width = 5")).unwrap();
    assert!(bench.fails(1, "train other.nin --resume parts").contains("another model"));
    bench.fails(2, "train --resume parts --isa avx2");
    bench.run("train m.nin --resume parts --threads 3");
    for name in ["last.safetensors", "best.safetensors"] {
        let [a, b] = ["whole", "parts"].map(|run| fs::read(bench.path(run).join(name)).unwrap());
        assert!(a == b, "{name} differs");
    }
    assert!(bench.fails(1, &format!("{line} --out parts")).contains("--resume"));
}

#[test]
fn files_are_laid_out_and_checked() {
    let bench = Bench::new();
    let text = "// Bars.\nmodel Bars(width=6)<input(1,8,8) conv(width) // all\n gap>";
    fs::write(bench.path("b.nin"), text).unwrap();
    assert!(bench.fails(1, "fmt --check b.nin").contains("b.nin is not laid out"));
    assert_eq!(fs::read_to_string(bench.path("b.nin")).unwrap(), text);
    bench.run("fmt b.nin");
    assert_eq!(
        fs::read_to_string(bench.path("b.nin")).unwrap(),
        "// Bars.\nmodel Bars(width = 6) <\n    input(1, 8, 8)\n    conv(width) // all\n    gap\n>\n",
    );
    bench.run("fmt --check b.nin");
    fs::write(bench.path("bad.nin"), "model Bad < input(1, 8, 8").unwrap();
    assert!(bench.fails(1, "fmt bad.nin").contains("error[N001]"));
    // Each file is judged, and what is wrong is said even if nothing else is.
    fs::write(bench.path("c.nin"), text).unwrap();
    let errors = bench.fails(1, "-q fmt --check bad.nin c.nin b.nin");
    assert!(errors.contains("error[N001]") && errors.contains("c.nin is not laid out"), "{errors}");
    assert!(!errors.contains("b.nin"), "{errors}");
    assert!(bench.fails(1, "fmt absent.nin").contains("absent.nin"));
}

#[test]
fn codes_are_explained() {
    let bench = Bench::new();
    assert!(bench.run("explain n012").starts_with("error[N012]: an argument given twice\n\n"));
    let all = bench.run("explain");
    assert!(all.lines().count() > 30);
    for line in all.lines() {
        let [code, severity, title] = *line.splitn(3, "  ").collect::<Vec<_>>() else {
            panic!("{line}");
        };
        let explained = bench.run(&format!("explain {code}"));
        let begins = format!("{}[{code}]: {}\n\n", severity.trim(), title.trim());
        assert!(explained.starts_with(&begins), "{explained}");
        assert!(explained.len() > begins.len() + 50, "{code} is hardly explained");
    }
    assert!(bench.fails(2, "explain N999").contains("N999"));
}

#[test]
fn denied_warnings_are_errors() {
    let bench = Bench::new();
    fs::write(bench.path("w.nin"), "< input(1, 7, 7) maxpool(2) gap >").unwrap();
    bench.run("-q check w.nin");
    assert!(bench.fails(1, "-q check w.nin --deny-warnings").contains("error[N060]"));
}
