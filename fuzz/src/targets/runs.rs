//! Recipes, and the folders that runs leave.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use ndarray::Array4;
use nin_runtime::compiler::Isa;
use nin_runtime::compiler::plan::Algos;
use nin_runtime::data::{Dataset, Split};
use nin_runtime::model::Model;
use nin_runtime::train::{Recipe, RunFolder, Schedule, Trainer};

use nin_runtime::compile::Machine;

use super::Check;
use super::scratch::Scratch;

/// Settings of recipes, and what stands in a run's other texts.
pub(super) const SETTINGS: &[&str] = &[
    "epochs = ",
    "batch = ",
    "seed = ",
    "lr = ",
    "validation = ",
    "clip = inf\n",
    "[augment]\n",
    "pad = ",
    "flip = true\n",
    "[schedule]\n",
    "kind = \"cosine\"\n",
    "kind = \"plateau\"\n",
    "kind = \"step\"\n",
    "parts = [0.5, 0.9]\n",
    "warmup = ",
    "[optimizer]\n",
    "kind = \"adamw\"\n",
    "[preprocessing]\n",
    "kind = \"zca\"\n",
    "kind = \"lcn\"\n",
    "[normalisation]\n",
    "mean = [0.5]\n",
    "deviation = [0.25]\n",
    "[[layers]]\n",
    "name = \"conv1\"\n",
    "std = ",
    "nan",
    "inf",
    "1e-400",
    "\"\"\"",
    "== model.nin\n",
    "== recipe.toml\n",
    "== plan.txt\n",
    "== metrics.jsonl\n",
    "isa portable, algo auto\n",
    "{\"step\":1,\"epoch\":1}\n",
    "\u{feff}",
];

/// A recipe is refused at a place in it, or written so that it is read again to the same.
pub(super) fn recipe() -> Check {
    let graph = super::weights::graph();
    Box::new(move |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let recipe = match Recipe::from_toml(&text) {
            Ok(recipe) => recipe,
            Err(error) => {
                let _said = error.to_string();
                return Ok(());
            }
        };
        let _ = recipe.check_layers(&graph);
        let written = recipe.to_toml();
        match Recipe::from_toml(&written) {
            Ok(same) if same == recipe => Ok(()),
            other => Err(format!("is written as\n{written}\nwhich is {other:?}")),
        }
    })
}

const TEXTS: [&str; 4] = ["model.nin", "recipe.toml", "plan.txt", "metrics.jsonl"];
/// What a model of a changed folder may have for the run to be gone on with: others are only read.
const MOST_MACS: u64 = 1 << 20;
/// And its recipe.
const MOST_BATCH: usize = 256;

/// A run is refused, or goes on by a step and is saved.
pub(super) fn folder() -> Check {
    let (scratch, data) = (Scratch::new(), data());
    let machine = Machine { threads: 1, isa: Isa::Portable, algo: Algos::default() };
    let text = "model Two < input(1, 6, 6) conv(2, kernel = 3) gap softmax >";
    let model = Model::from_text("two.nin", text, &[]).expect("a model");
    let schedule = Schedule::Constant { warmup: 0.0 };
    let recipe = Recipe { epochs: 2, batch: 2, schedule, ..Recipe::default() };
    let run = scratch.file("whole");
    let mut trainer = Trainer::with_machine(&model, &data, recipe, machine).expect("a run");
    trainer.record_in(RunFolder::create(&run).expect("a folder")).expect("a record");
    trainer.run(|_| ControlFlow::Break(())).expect("a step");
    Box::new(move |bytes| {
        let changed = scratch.file("changed");
        copy(&run, &changed);
        for (name, text) in sections(&String::from_utf8_lossy(bytes)) {
            fs::write(changed.join(name), text).expect("a file of the temporary folder");
        }
        let gone_on = go_on(&changed, &data);
        fs::remove_dir_all(&changed).expect("a temporary folder");
        gone_on
    })
}

/// Four images of two classes.
fn data() -> Dataset {
    let split = || {
        let images = Array4::from_shape_fn((4, 1, 6, 6), |(n, _, y, x)| (n * 50 + y * 6 + x) as u8);
        Split::new(images, vec![0, 1, 0, 1]).expect("a split")
    };
    Dataset::new("four", split(), split(), vec!["a".to_owned(), "b".to_owned()]).expect("a dataset")
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).expect("a temporary folder");
    for entry in fs::read_dir(from).expect("a run's folder") {
        let entry = entry.expect("an entry");
        fs::copy(entry.path(), to.join(entry.file_name())).expect("a file of a run");
    }
}

/// The texts of an input by their names; whatever is named otherwise is left out.
fn sections(text: &str) -> Vec<(&'static str, &str)> {
    let sections = text.split("== ").filter_map(|section| section.split_once('\n'));
    let known = sections.filter_map(|(name, text)| {
        TEXTS.iter().find(|known| **known == name).map(|known| (*known, text))
    });
    known.collect()
}

fn go_on(changed: &Path, data: &Dataset) -> Result<(), String> {
    let Ok(folder) = RunFolder::open(changed) else { return Ok(()) };
    let (Ok(model), Ok(recipe)) = (folder.model(), folder.recipe()) else { return Ok(()) };
    if model.graph().macs_total() > MOST_MACS || recipe.batch > MOST_BATCH {
        return Ok(());
    }
    let mut trainer = match Trainer::resume(folder, data, 1) {
        Ok(trainer) => trainer,
        Err(error) => {
            let _said = error.to_string();
            return Ok(());
        }
    };
    if let Err(error) = trainer.run(|_| ControlFlow::Break(())) {
        let _said = error.to_string();
        return Ok(());
    }
    drop(trainer);
    let folder = RunFolder::open(changed).map_err(|error| format!("is not kept: {error}"))?;
    Trainer::resume(folder, data, 1)
        .map(drop)
        .map_err(|error| format!("went on and does not go on again: {error}"))
}
