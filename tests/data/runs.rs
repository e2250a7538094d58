//! What is made of runs: the page of one, and the comparison of many.

use std::fs;

use nin::Model;
use nin::train::{self, Info, Recipe};
use nin::weights::{self, Moments};

use crate::bench::Bench;

#[test]
fn a_run_is_drawn_on_one_page() {
    let bench = Bench::new(40);
    let (results, _) = bench
        .run_with_notes("train m.nin --data images:pets --epochs 2 --batch 8 --val 0.1 --out run");
    assert!(results.ends_with("report run/report.html\n"), "{results}");
    let page = fs::read_to_string(bench.path("run/report.html")).unwrap();
    for part in
        ["<svg", "\nvalidation\n", "Confusion", "Worst mistakes", "First filters", "Feature maps"]
    {
        assert!(page.contains(part), "{part}");
    }
    assert!(page.contains("<th>diagonals</th>") && page.contains("model Bars(width = 6)"));
    // Nothing is fetched from elsewhere.
    let sources = page.split("src=\"").skip(1);
    assert!(sources.clone().count() > 5);
    assert!(sources.into_iter().all(|source| source.starts_with("data:image/png;base64,")));
    assert!(!page.contains("href=") && !page.contains("url(") && !page.contains("<script"));
}

#[test]
fn variants_are_trained_and_set_side_by_side() {
    let bench = Bench::new(20);
    let line = "sweep m.nin -D width=4,6 --seeds 2 --epochs 2 --data npy:arrays --out swept --plot plot.svg";
    let table = bench.run(line);
    let rows: Vec<&str> = table.lines().skip(1).collect();
    assert_eq!(rows.len(), 2, "{table}");
    for (row, width) in rows.iter().zip([4, 6]) {
        assert!(row.starts_with(&format!("Bars width = {width} ")), "{row}");
        for seed in [1, 2] {
            let folder = bench.path(&format!("swept/Bars-width={width}-seed{seed}"));
            assert!(folder.join("last.safetensors").is_file(), "{}", folder.display());
        }
    }
    let svg = fs::read_to_string(bench.path("plot.svg")).unwrap();
    let drawing = roxmltree::Document::parse(&svg).unwrap();
    let texts: Vec<&str> =
        drawing.descendants().filter_map(|node| node.text()).map(str::trim).collect();
    assert!(
        ["Bars width = 4", "Bars width = 6", "epoch"].iter().all(|text| texts.contains(text)),
        "{texts:?}"
    );
    // What is done is not done again.
    assert_eq!(bench.run(line), table);
    // A seed more is a run more.
    let more = bench.run(&line.replace("--seeds 2", "--seeds 3"));
    assert!(more.lines().skip(1).all(|row| row.contains("      3  ")), "{more}");
    let message = bench.fails(1, &line.replace("--epochs 2", "--epochs 3"));
    assert!(message.contains("holds a run of another model or recipe"), "{message}");
}

#[test]
fn feature_maps_are_drawn_and_named() {
    let bench = Bench::new(40);
    bench.run("train m.nin --data images:pets --epochs 8 --batch 8 --out run");
    let picture = "pets/test/rows/0059.png";
    let line =
        format!("features m.nin {picture} {picture} --weights run/last.safetensors -o maps.png");
    let (told, notes) = bench.run_with_notes(&line);
    assert_eq!(told.lines().count(), 2);
    // A share of the activation, which nobody should take for a probability.
    let shares = told.lines().next().unwrap().split("0059.png: of the activation that is drawn, ");
    assert!(shares.last().unwrap().split(',').next().unwrap().ends_with(" % in rows"), "{told}");
    assert!(notes.contains("not probabilities"), "{notes}");
    let file = std::io::BufReader::new(fs::File::open(bench.path("maps.png")).unwrap());
    let reader = png::Decoder::new(file).read_info().unwrap();
    // Two images of 8x8 beside three maps of 4x4, all drawn as 96 pixels, four apart.
    let info = reader.info();
    assert_eq!((info.height, info.width), (2 * 100 + 4, 4 * 100 + 4));
}

/// Outputs far below zero are dead from any seed: each is given up but the last, and the folder is the last one's.
#[test]
fn a_dead_network_is_begun_again_with_the_next_seed() {
    let bench = Bench::new(40);
    let recipe = "epochs = 8\nbatch = 8\n[last_layer]\nbias = -50.0\n";
    fs::write(bench.path("r.toml"), recipe).unwrap();
    let (_, notes) =
        bench.run_with_notes("train m.nin --data npy:arrays --recipe r.toml --reseed 2 --out run");
    for seed in [2, 3] {
        assert!(notes.contains(&format!("given up; beginning again with seed {seed}")), "{notes}");
    }
    assert!(!notes.contains("with seed 4") && notes.contains("the loss has been ln(3)"), "{notes}");
    let recipe = fs::read_to_string(bench.path("run/recipe.toml")).unwrap();
    assert!(recipe.contains("seed = 3\n"), "{recipe}");
}

/// What the other outputs learn does not save a run with a dead one.
#[test]
fn a_network_with_a_dead_output_is_begun_again() {
    let bench = Bench::new(40);
    let model = Model::from_file(bench.path("m.nin"), &[]).unwrap();
    let mut fresh = train::init(model.graph(), &Recipe::default());
    let is_last = |tensor: &weights::Tensor| tensor.name == "mlpconv2.cccp1.bias";
    let place = fresh.tensors().iter().position(is_last).unwrap();
    fresh.values_mut().nth(place).unwrap()[1] = -50.0;
    let words = Info::default().metadata();
    weights::save(&bench.path("w"), fresh.tensors(), Moments::default(), &words).unwrap();
    let line =
        "train m.nin --data npy:arrays --epochs 4 --batch 8 --weights w --reseed 1 --out run";
    let (_, notes) = bench.run_with_notes(line);
    assert!(notes.contains("given up; beginning again with seed 2"), "{notes}");
    assert!(notes.contains("dead outputs: ") && !notes.contains("with seed 3"), "{notes}");
    let recipe = fs::read_to_string(bench.path("run/recipe.toml")).unwrap();
    assert!(recipe.contains("seed = 2\n"), "{recipe}");
}

/// Data that were moved are named once; the run's folder knows it from then on. A run goes on by another plan on request.
#[test]
fn a_run_is_resumed_elsewhere() {
    let bench = Bench::new(8);
    let line = "train m.nin --data npy:arrays --epochs 3 --batch 8 --threads 1 --isa portable";
    bench.run(&format!("{line} --out run"));
    let recipe = || fs::read_to_string(bench.path("run/recipe.toml")).unwrap();
    fs::rename(bench.path("arrays"), bench.path("moved")).unwrap();
    bench.fails(1, "train --resume run");
    bench.run("train --resume run --data npy:moved");
    assert!(recipe().contains(bench.path("moved").to_str().unwrap()), "{}", recipe());
    let (_, notes) = bench.run_with_notes("train --resume run");
    assert!(!notes.contains("warning"), "{notes}");
    assert!(
        notes.contains(
            "the run was finished already; to train on, begin a new run from its weights"
        ),
        "{notes}"
    );
    // As it says.
    let longer = notes.split(": nin ").nth(1).unwrap().lines().next().unwrap().replace(" N", " 4");
    let (_, notes) = bench.run_with_notes(&longer);
    assert!(notes.contains("epoch 4/4"), "{notes}");
    // The best instruction set of this CPU, which on most is another.
    let plan = || fs::read_to_string(bench.path("run/plan.txt")).unwrap();
    let before = plan();
    let (_, notes) = bench.run_with_notes("train --resume run --isa auto");
    assert_eq!(before != plan(), notes.contains("it ends in other bits"), "{notes}");
    assert_eq!(plan().starts_with("isa portable,"), !notes.contains("it ends in other bits"));
    // A sweep whose data were moved finds its runs, too.
    let sweep = |data: &str| format!("sweep m.nin --data npy:{data} --epochs 1 --out swept");
    let table = bench.run(&sweep("moved"));
    fs::rename(bench.path("moved"), bench.path("again")).unwrap();
    assert_eq!(bench.run(&sweep("again")), table);
}
