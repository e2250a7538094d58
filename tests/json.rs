//! What `--json` prints: one object and nothing else, with exactly the documented members (`docs/json.md`), of the
//! documented types, and every number finite.

mod common;

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use common::{Bench, model};

/// Holds a value against a form: an object has the form's members and no others, a list only items of the form's one; the
/// words stand for types, and a member `*` for any number of members.
fn conforms(value: &Value, form: &Value, place: &str) {
    let fits = match form {
        Value::Object(members) => {
            let object = value.as_object().unwrap_or_else(|| panic!("{place} is {value}"));
            match members.get("*") {
                Some(any) => {
                    object
                        .iter()
                        .for_each(|(key, value)| conforms(value, any, &format!("{place}.{key}")));
                }
                None => {
                    assert!(object.keys().eq(members.keys()), "{place} has {:?}", object.keys());
                    for (key, form) in members {
                        conforms(&object[key], form, &format!("{place}.{key}"));
                    }
                }
            }
            true
        }
        Value::Array(item) => {
            let list = value.as_array().unwrap_or_else(|| panic!("{place} is {value}"));
            list.iter().for_each(|value| conforms(value, &item[0], &format!("{place}[]")));
            true
        }
        Value::String(word) => match word.as_str() {
            "text" => value.as_str().is_some_and(|text| !text.is_empty()),
            "whole" => value.is_u64(),
            "whole?" => value.is_u64() || value.is_null(),
            "text?" => value.is_string() || value.is_null(),
            // JSON has no other numbers, and what is not finite is printed as null.
            "number" => value.is_number(),
            "number?" => value.is_number() || value.is_null(),
            "flag" => value.is_boolean(),
            "share" => value.as_f64().is_some_and(|share| (0.0..=1.0).contains(&share)),
            "number or list" => {
                value.is_number()
                    || value.as_array().is_some_and(|list| list.iter().all(Value::is_u64))
            }
            other => panic!("no type `{other}`"),
        },
        other => panic!("no form {other}"),
    };
    assert!(fits, "{place} is {value}, expected {form}");
}

fn diagnostics() -> Value {
    json!([{"code": "text", "severity": "text", "message": "text", "line": "whole?", "column": "whole?"}])
}

/// Every argument that a layer can have.
const ARGUMENTS: [&str; 24] = [
    "c",
    "h",
    "w",
    "channels",
    "kernel",
    "stride",
    "pad",
    "bias",
    "groups",
    "dilation",
    "multiplier",
    "count",
    "ceil",
    "p",
    "slope",
    "alpha",
    "by",
    "eps",
    "momentum",
    "ghost",
    "n",
    "size",
    "beta",
    "k",
];

fn check_form() -> Value {
    json!({
        "model": "text",
        "params": {"*": "number"},
        "input": ["whole"],
        "output": ["whole"],
        "layers": [{
            "name": "text",
            "kind": "text",
            "inputs": ["text"],
            "args": {"*": "number or list"},
            "input": ["whole"],
            "output": ["whole"],
            "params": "whole",
            "macs": "whole",
            "activation_bytes": "whole",
            "receptive_field": ["whole"],
            "line": "whole",
        }],
        "totals": {"params": "whole", "macs": "whole", "activation_bytes": "whole"},
        "diagnostics": diagnostics(),
    })
}

#[test]
fn check_describes_every_model() {
    let bench = Bench::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut checked = 0;
    for folder in ["models", "nin-dsl/tests/corpus"] {
        for entry in fs::read_dir(root.join(folder)).unwrap() {
            let file = entry.unwrap().path();
            if file.extension().is_none_or(|extension| extension != "nin") {
                continue;
            }
            let model = bench.json(&format!("check {} --json", file.display()));
            conforms(&model, &check_form(), "model");
            let layers = model["layers"].as_array().unwrap();
            for args in layers.iter().map(|layer| layer["args"].as_object().unwrap()) {
                assert!(args.keys().all(|key| ARGUMENTS.contains(&key.as_str())), "{args:?}");
            }
            for total in ["params", "macs", "activation_bytes"] {
                let sum: u64 = layers.iter().map(|layer| layer[total].as_u64().unwrap()).sum();
                assert_eq!(model["totals"][total], sum, "{}: {total}", file.display());
            }
            assert_eq!(layers.first().unwrap()["input"], model["input"]);
            assert_eq!(layers.last().unwrap()["output"], model["output"]);
            checked += 1;
        }
    }
    assert!(checked > 10, "only {checked} models");
    let cifar = bench.json(&format!("check {} --json", model("nin-cifar10.nin").display()));
    assert_eq!((&cifar["model"], &cifar["input"]), (&json!("Cifar10"), &json!([3, 32, 32])));
    assert_eq!(cifar["params"], json!({"width": 192, "classes": 10}));
    assert_eq!(cifar["totals"]["params"], 966_986);
    let layer = &cifar["layers"][1];
    assert_eq!((&layer["name"], &layer["kind"]), (&json!("mlpconv1"), &json!("mlpconv")));
    let args = json!({"channels": [192, 160, 96], "kernel": [5, 5], "stride": [1, 1], "pad": [2, 2, 2, 2]});
    assert_eq!(layer["args"], args);
    assert_eq!((&layer["inputs"], &layer["receptive_field"]), (&json!(["input1"]), &json!([5, 5])));
    assert_eq!(cifar["layers"][0]["inputs"], json!([]));
}

#[test]
fn check_names_what_a_join_reads() {
    let bench = Bench::new();
    let text = "< input(2, 9, 7) relu add < conv(2) relu mul < > < gap > > < > < maxpool(3, stride = 1, pad = 1) > gap >";
    fs::write(bench.path("joins.nin"), text).unwrap();
    let object = bench.json("check joins.nin --json");
    conforms(&object, &check_form(), "model");
    let layers = object["layers"].as_array().unwrap();
    let read: Vec<_> = layers.iter().map(|layer| (&layer["name"], &layer["inputs"])).collect();
    let expected = json!([
        ["input1", []],
        ["relu1", ["input1"]],
        ["conv1", ["relu1"]],
        ["relu2", ["conv1"]],
        ["gap1", ["relu2"]],
        ["mul1", ["relu2", "gap1"]],
        ["maxpool1", ["relu1"]],
        ["add1", ["mul1", "relu1", "maxpool1"]],
        ["gap2", ["add1"]],
    ]);
    assert_eq!(json!(read), expected);
    let named = |name: &str| layers.iter().find(|layer| layer["name"] == name).unwrap();
    // The gate sees all rows and columns; an add has its input's shape, as its branches do.
    assert_eq!(named("gap1")["receptive_field"], json!([11, 9]));
    assert_eq!(named("add1")["receptive_field"], json!([11, 9]));
    assert_eq!((&named("add1")["input"], &named("add1")["macs"]), (&json!([2, 9, 7]), &json!(0)));
    assert_eq!(named("maxpool1")["args"]["pad"], json!([1, 1, 1, 1]));
}

#[test]
fn check_lists_what_is_wrong_and_where() {
    let bench = Bench::new();
    let text = "model Odd <\n  input(1, 9, 9)\n  /* é */ maxpool(2)\n  conv(0) conv(0)\n>";
    fs::write(bench.path("bad.nin"), text).unwrap();
    fs::write(bench.path("odd.nin"), text.replace("conv(0) conv(0)", "gap")).unwrap();
    let listed = |line: &str, code: i32| {
        let output = bench.command(line).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "nin {line}");
        assert!(!output.stderr.is_empty(), "nin {line}: people are told too");
        let object: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(object["model"], "Odd");
        conforms(&object["diagnostics"], &diagnostics(), "diagnostics");
        let place = |diagnostic: &Value| {
            let [code, severity] =
                ["code", "severity"].map(|key| diagnostic[key].as_str().unwrap().to_owned());
            (
                code,
                severity,
                diagnostic["line"].as_u64().unwrap(),
                diagnostic["column"].as_u64().unwrap(),
            )
        };
        let list = object["diagnostics"].as_array().unwrap().iter().map(place).collect::<Vec<_>>();
        (object, list)
    };
    let one = |code: &str, severity: &str, line, column| {
        (code.to_owned(), severity.to_owned(), line, column)
    };
    // Columns count characters, and a warning leaves the description whole.
    let (object, list) = listed("check odd.nin --json", 0);
    conforms(&object, &check_form(), "model");
    assert_eq!(list, [one("N060", "warning", 3, 11)]);
    let (object, list) = listed("check odd.nin --json --deny-warnings", 1);
    conforms(&object, &json!({"model": "text", "diagnostics": diagnostics()}), "model");
    assert_eq!(list, [one("N060", "error", 3, 11)]);
    let (object, list) = listed("check bad.nin --json", 1);
    conforms(&object, &json!({"model": "text", "diagnostics": diagnostics()}), "model");
    assert!(list.contains(&one("N030", "error", 4, 8)), "{list:?}");
    assert!(list.contains(&one("N030", "error", 4, 16)), "{list:?}");
    // Where there is no text to judge there is no object.
    bench.fails(1, "check absent.nin --json");
    bench.fails(2, "check m.nin --json -D width");
}

#[test]
fn eval_counts_every_image() {
    let bench = Bench::new();
    bench.run("init m.nin -o w");
    for (split, images) in [("test", 60), ("train", 300)] {
        let report =
            bench.json(&format!("eval m.nin --weights w --data mnist:data --split {split} --json"));
        let form = json!({
            "accuracy": "share",
            "loss": "number",
            "images": "whole",
            "confusion": [["whole"]],
            "per_class": ["share"],
        });
        conforms(&report, &form, "report");
        assert_eq!(report["images"], images);
        let rows: Vec<Vec<u64>> = serde_json::from_value(report["confusion"].clone()).unwrap();
        assert!(rows.len() == 10 && rows.iter().all(|row| row.len() == 10), "{report}");
        assert_eq!(rows.iter().flatten().sum::<u64>(), images);
        let right: u64 = (0..10).map(|class| rows[class][class]).sum();
        assert_eq!(report["accuracy"], right as f64 / images as f64);
        assert_eq!(report["per_class"].as_array().unwrap().len(), 10);
    }
}

#[test]
fn predict_ranks_classes() {
    let bench = Bench::new();
    bench.run("init m.nin -o w");
    let picture = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/seven.png");
    fs::copy(picture, bench.path("a.png")).unwrap();
    fs::copy(bench.path("a.png"), bench.path("b.png")).unwrap();
    for (top, count) in [("", 5), ("--top 3", 3), ("--top 99", 10)] {
        let report = bench.json(&format!("predict m.nin --weights w a.png b.png {top} --json"));
        let form = json!({
            "images": [{"file": "text", "top": [{"class": "text", "probability": "share"}]}],
        });
        conforms(&report, &form, "report");
        assert_eq!(
            (&report["images"][0]["file"], &report["images"][1]["file"]),
            (&json!("a.png"), &json!("b.png"))
        );
        let list = report["images"][1]["top"].as_array().unwrap();
        let shares: Vec<f64> =
            list.iter().map(|one| one["probability"].as_f64().unwrap()).collect();
        assert!(shares.is_sorted_by(|a, b| a >= b) && shares.len() == count, "{report}");
        assert!(shares.iter().sum::<f64>() < 1.0001, "{report}");
    }
}

#[test]
fn bench_tunes() {
    let bench = Bench::new();
    for mode in ["infer", "train"] {
        let line =
            format!("bench m.nin -D width=32 --mode {mode} --batch 8 --threads 2 --tune --json");
        let report = bench.json(&line);
        let mut form = json!({
            "model": "text",
            "params": {"*": "number"},
            "mode": "text",
            "batch": "whole",
            "threads": "whole",
            "isa": "text",
            "cpu": "text",
            "products": [{
                "layer": "text",
                "product": "text",
                "auto": "text",
                "best": "text",
                "times": [{"algo": "text", "us": "number"}],
            }],
            "call": {"suggested": "text", "auto_ms": "number", "suggested_ms": "number"},
            "algo": "text",
            "file": "text",
            "waited_percent": "number?",
            "preempted": "whole?",
            "busy": "flag",
        });
        if report["call"].is_null() {
            form["call"] = json!("text?");
        }
        conforms(&report, &form, "report");
        let products = report["products"].as_array().unwrap();
        assert!(!products.is_empty(), "{report}");
        for product in products {
            let times = product["times"].as_array().unwrap();
            assert!(times.len() > 1 && times[0]["algo"] == product["auto"], "{product}");
            assert!(times.iter().all(|time| time["us"].as_f64().unwrap() > 0.0), "{product}");
            assert!(mode == "train" || product["product"] == "forward", "{product}");
        }
        assert!(Path::new(report["file"].as_str().unwrap()).is_file(), "{report}");
        // The list is the one that `tuned` stands for.
        let tuned = line.replace("--tune", "--algo tuned --runs 1");
        assert_eq!(bench.json(&tuned)["algo"], report["algo"]);
    }
}

#[test]
fn bench_measures() {
    let bench = Bench::new();
    for (mode, layers) in
        [("infer", ""), ("infer", " --layers"), ("train", ""), ("train", " --layers")]
    {
        let line = format!(
            "bench m.nin -D width=7 --mode {mode} --batch 8 --runs 5 --threads 2 --json{layers}"
        );
        let report = bench.json(&line);
        let form = json!({
            "model": "text",
            "params": {"*": "number"},
            "mode": "text",
            "batch": "whole",
            "threads": "whole",
            "isa": "text",
            "algo": "text",
            "cpu": "text",
            "compile_ms": "number",
            "code_bytes": "whole",
            "arena_bytes": "whole",
            "peak_rss_bytes": "whole?",
            "runs": "whole",
            "median_ms": "number",
            "min_ms": "number",
            "spread_percent": "number",
            "waited_percent": "number?",
            "preempted": "whole?",
            "busy": "flag",
            "images_per_s": "number",
            "gflops": "number",
            "peak_gflops": "number",
            "percent_of_peak": "number",
            "layers": [{
                "name": "text",
                "kernel": "text",
                "median_ms": "number",
                "gflops": "number",
                "percent_of_peak": "number",
                "percent_of_peak_real": "number",
                "bytes": "whole",
                "percent_of_bandwidth": "number",
                "bound": "text?",
            }],
        });
        conforms(&report, &form, "report");
        assert_eq!((&report["model"], &report["params"]), (&json!("Bars"), &json!({"width": 7})));
        assert_eq!((&report["mode"], &report["batch"]), (&json!(mode), &json!(8)));
        assert_eq!(report["layers"].as_array().unwrap().is_empty(), layers.is_empty(), "{report}");
        assert_eq!((&report["runs"], &report["threads"]), (&json!(5), &json!(2)));
        let number = |key: &str| report[key].as_f64().unwrap();
        for key in
            ["compile_ms", "min_ms", "images_per_s", "gflops", "peak_gflops", "percent_of_peak"]
        {
            assert!(number(key) > 0.0, "{key} in {report}");
        }
        assert!(number("min_ms") <= number("median_ms"), "{report}");
        assert_eq!(report["waited_percent"].is_number(), cfg!(target_os = "linux"), "{report}");
        let close = |a: f64, b: f64| (a / b - 1.0).abs() < 1e-6;
        assert!(close(number("images_per_s"), 8000.0 / number("median_ms")), "{report}");
        assert!(
            close(number("percent_of_peak"), 100.0 * number("gflops") / number("peak_gflops")),
            "{report}"
        );
        let check = bench.json("check m.nin -D width=7 --json");
        let macs = check["totals"]["macs"].as_f64().unwrap();
        // In training each product thrice, but for the gradient of the images: 7 maps of 3 x 3 taps at 8 x 8 places.
        let multiplied = if mode == "infer" { macs } else { 3.0 * macs - (7 * 9 * 64) as f64 };
        let operations = 1e9 * number("gflops") / number("images_per_s");
        assert!(close(operations, 2.0 * multiplied), "{operations} of {multiplied}: {report}");
    }
}
