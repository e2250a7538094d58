//! The command as its users meet it: exit codes, messages, JSON, files, Ctrl-C.

mod common;

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use ndarray::{Array1, Array4, ArrayD};
use serde_json::Value;

use common::{Bench, MODEL, keys, level, model};

#[test]
fn a_wrong_command_line_of_training_exits_with_2() {
    let bench = Bench::new();
    for line in [
        "train m.nin --data mnist:data --epochs 0",
        "train m.nin --data mnist:data --lr -1",
        "train m.nin --data mnist:data --val 1",
        "train m.nin --resume r --epochs 3",
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
    assert!(bench.fails(1, "check odd.nin -q --deny-warnings").contains("error[N060]"));
    let quiet = bench.command("check odd.nin -q").output().unwrap();
    assert!(quiet.status.success() && quiet.stderr.is_empty());
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
    // A model that cannot be trained has a graph, too.
    fs::write(bench.path("map.nin"), "< input(1, 8, 8) maxpool(2) >").unwrap();
    assert!(graph("map.nin").contains("1x4x4"), "{}", graph("map.nin"));
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
fn branches_are_seen() {
    let bench = Bench::new();
    let text = "model Gated(c = 8) < input(1, 9, 7) conv(c) add < conv(c) mul < > < gap fc(2) relu fc(c) > > < > gap >";
    fs::write(bench.path("gated.nin"), text).unwrap();
    let table = bench.run("check gated.nin");
    let rows: Vec<&str> = table.lines().skip_while(|row| !row.starts_with("input1")).collect();
    let starts = [
        "input1 ",
        "conv1 ",
        "< conv2 ",
        "  < >",
        "  < gap1 ",
        "    fc1 ",
        "    relu1 ",
        "    fc2 > ",
        "  mul1 > ",
        "< >",
        "add1 ",
        "gap2 ",
        "---",
    ];
    for (row, start) in rows.iter().zip(starts) {
        assert!(row.starts_with(start), "{start} in\n{table}");
    }
    assert!(rows[1].ends_with(" 3") && rows[4].ends_with(" 13x11"), "{table}");
    let drawn = bench.run("show gated.nin --stage svg");
    let drawn = roxmltree::Document::parse(&drawn).unwrap();
    let said: Vec<&str> = drawn.descendants().filter_map(|node| node.text()).collect();
    assert!(["+", "×", "add1", "mul1"].iter().all(|text| said.contains(text)), "{said:?}");
    let dot = bench.run("show gated.nin --stage dot");
    assert!(dot.contains("n2 -> n7") && dot.contains("n1 -> n8"), "{dot}");
}

/// With joins of every kind.
#[test]
fn a_model_with_branches_is_trained_shown_and_timed() {
    let bench = Bench::new();
    let text = "model Joins(width = 4) < input(1, 8, 8) conv(width) relu add < conv(width, bias = 0) batchnorm > < > relu
        mul < > < gap fc(2) relu fc(width) > concat < mlpconv(4, 4) > < maxpool(3, stride = 1, pad = 1) > conv(10, kernel = 1) gap softmax >";
    fs::write(bench.path("j.nin"), text).unwrap();
    bench.run("train j.nin --data mnist:data --epochs 1 --batch 30 --threads 2 --out run");
    assert!(fs::read_to_string(bench.path("run/report.html")).unwrap().contains("Joins"));
    let weights = "--weights run/last.safetensors";
    let picture = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/seven.png");
    fs::copy(picture, bench.path("a.png")).unwrap();
    assert!(bench.run(&format!("predict j.nin {weights} a.png")).starts_with("a.png: "));
    bench.run(&format!("features j.nin {weights} a.png -o maps.png"));
    let layers = bench.run("bench j.nin --batch 4 --runs 1 --threads 1 --layers");
    assert!(
        ["conv2 + norm + add + relu", "mul1", "concat1"].iter().all(|part| layers.contains(part)),
        "{layers}"
    );
    bench.run("bench j.nin --batch 4 --runs 1 --threads 1 --algo auto,conv2=winograd,mlpconv1.forward=direct");
    assert!(bench.fails(1, "bench j.nin --algo add1=direct").contains("no convolution"));
    let table = bench.run(
        "sweep j.nin -D width=3,4 --data mnist:data --epochs 1 --seeds 1 --threads 2 --out sweep",
    );
    assert!(table.contains("Joins width = 3") && table.contains("Joins width = 4"), "{table}");
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
                "percent_of_peak",
                "percent_of_peak_real"
            ]
        );
        assert!(layer["bytes"].as_u64().unwrap() > 0, "{layer}");
        let share = |key: &str| layer[key].as_f64().unwrap();
        let near = match layer["bound"].as_str() {
            Some("fma") => share("percent_of_peak_real") > 50.0,
            Some("memory") => share("percent_of_bandwidth") > 50.0,
            None => share("percent_of_peak_real").max(share("percent_of_bandwidth")) <= 50.0,
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
    // A pipe can be read once only.
    let mut command = bench.command("bench - --batch 2 --runs 1 --sweep width=3,5");
    let output = command.stdin(fs::File::open(bench.path("m.nin")).unwrap()).output().unwrap();
    let table = String::from_utf8(output.stdout).unwrap();
    let first = |line: &str| line.split_whitespace().next().map(str::to_owned);
    let firsts: Vec<_> = table.lines().filter_map(first).collect();
    assert_eq!(firsts[2..], ["GFLOP/s", "width", "3", "5"], "{table}");
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
        "--sweep wid-th=4",
        "--sweep width=4 --layers",
        "--sweep width=4 --plot m.nin",
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
fn a_perf_map_names_generated_functions() {
    let bench = Bench::new();
    bench.run("init m.nin -o w");
    for line in ["bench m.nin --batch 1 --runs 1", "eval m.nin --weights w --data mnist:data"] {
        let (_, notes) = bench.run_with_notes(&format!("{line} --perf-map"));
        let said = notes.lines().find(|line| line.starts_with("/tmp/perf-"));
        let file = said.expect("the file's name").split(':').next().unwrap();
        let map = fs::read_to_string(file).unwrap();
        fs::remove_file(file).unwrap();
        assert!(map.lines().any(|line| line.ends_with(" nin: infer block 0 step 1")), "{map}");
        assert!(map.lines().any(|line| line.contains(" nin: tile ")), "{map}");
        for line in map.lines() {
            let mut words = line.split(' ');
            let mut number = || usize::from_str_radix(words.next().unwrap(), 16).unwrap();
            assert!(number() != 0 && number() != 0, "{line}");
        }
    }
}
