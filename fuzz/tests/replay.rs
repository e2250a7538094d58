//! Every target over its corpus, and over some thousand inputs more from a fixed seed.

use nin_fuzz::{Mutator, Runner, TARGETS, named, seeds};

/// Inputs beside the corpus; those of targets that compile and run a model are dearer.
const MUTATIONS: u64 = 2_000;
const MODELS: u64 = 12;

macro_rules! targets {
    ($($test:ident: $name:literal,)*) => {
        const REPLAYED: &[&str] = &[$($name),*];
        $(
            #[test]
            fn $test() {
                replay($name);
            }
        )*
    };
}

targets! {
    models: "model",
    tokens: "tokens",
    words: "words",
    weights: "weights",
    weights_headers: "weights-header",
    numpy_files: "npy",
    numpy_headers: "npy-header",
    idx_files: "idx",
    cifar_records: "cifar",
    archives: "archive",
    archives_within_gzip: "tar",
    mat_files: "mat",
    mat_elements: "mat-element",
    pictures: "png",
    recipes: "recipe",
    run_folders: "run",
    executors: "differential",
}

#[test]
fn every_target_is_replayed() {
    let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
    assert_eq!(names, REPLAYED);
}

fn replay(name: &str) {
    let target = named(name).expect("a target");
    let seeds = seeds(target).expect("seeds");
    let mut runner = Runner::new(target);
    for (file, bytes) in &seeds {
        if let Err(finding) = runner.run(bytes) {
            panic!("{}: {finding}", file.display());
        }
    }
    let corpus: Vec<Vec<u8>> = seeds.into_iter().map(|(_, bytes)| bytes).collect();
    let mut mutator = Mutator::new(0, &corpus, target.words);
    let is_dear = target.limits.time.as_secs() > 1;
    for run in 0..if is_dear { MODELS } else { MUTATIONS } {
        let input = target.generate.map_or_else(|| mutator.input(), |generate| generate(run));
        if let Err(finding) = runner.run(&input) {
            panic!("{finding}, in `nin-fuzz run {name}`:\n{}", input.escape_ascii());
        }
    }
}
