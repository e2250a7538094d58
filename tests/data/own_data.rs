//! From one's own images to a trained model that names them, as files and as arrays; fine-tuning and validation.

use std::fs;

use serde_json::Value;

use crate::bench::{Bench, CLASSES};

/// The lines of a run's metrics that are about an epoch.
fn epochs(bench: &Bench, run: &str) -> Vec<Value> {
    let text = fs::read_to_string(bench.path(run).join("metrics.jsonl")).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|line| line.get("step").is_none()).collect()
}

#[test]
fn image_files_become_a_model_that_names_them() {
    let bench = Bench::new(60);
    let (results, notes) = bench.run_with_notes(
        "train m.nin --data images:pets --epochs 12 --batch 16 --val 0.1 --out run",
    );
    assert!(results.contains("best on validation run"), "{results}");
    assert!(
        notes.contains("162 images to train, 18 to validate, 90 to test, 3 classes"),
        "{notes}"
    );
    for (split, images) in [("test", 90), ("train", 180)] {
        let line = format!(
            "eval m.nin --weights run/best.safetensors --data images:pets --split {split} --json"
        );
        let evaluated = bench.json(&line);
        assert_eq!(evaluated["images"], images);
        assert!(evaluated["accuracy"].as_f64().unwrap() > 0.9, "{evaluated}");
    }
    let table = bench.run("eval m.nin --weights run/best.safetensors --data images:pets");
    assert!(CLASSES.iter().all(|class| table.contains(class)), "{table}");
    let answer =
        bench.run("predict m.nin --weights run/last.safetensors pets/test/rows/0089.png --top 1");
    assert!(answer.starts_with("pets/test/rows/0089.png: rows "), "{answer}");
    // The same images as arrays are the same run but for the classes' names.
    bench.run("train m.nin --data npy:arrays --epochs 12 --batch 16 --val 0.1 --out again");
    let figures = |run: &str| -> Vec<Value> {
        let keep = |mut line: Value| {
            line.as_object_mut().unwrap().remove("seconds");
            line
        };
        epochs(&bench, run).into_iter().map(keep).collect()
    };
    assert_eq!(figures("run"), figures("again"));
    let line = "eval m.nin --weights run/last.safetensors --data npy:arrays";
    let (_, notes) = bench.run_with_notes(line);
    assert!(notes.contains("class 0 is `columns` to the weights and `0` in npy:"), "{notes}");
}

#[test]
fn the_best_weights_are_those_of_the_best_epoch_on_the_validation_images() {
    let bench = Bench::new(40);
    // Fast enough to get worse again after an epoch or two.
    bench.run(
        "train m.nin --data npy:arrays --epochs 6 --batch 8 --val 0.25 --lr 0.3 --seed 3 --out run",
    );
    let accuracies: Vec<f64> =
        epochs(&bench, "run").iter().map(|line| line["val_accuracy"].as_f64().unwrap()).collect();
    let best = accuracies.iter().copied().fold(0.0, f64::max);
    let first_best = accuracies.iter().position(|&accuracy| accuracy == best).unwrap();
    let test = epochs(&bench, "run")[first_best]["test_accuracy"].clone();
    let line = "eval m.nin --weights run/best.safetensors --data npy:arrays --json";
    assert_eq!(bench.json(line)["accuracy"], test, "{accuracies:?}");
}

#[test]
fn fine_tuning_starts_where_the_weights_are() {
    let bench = Bench::new(40);
    bench.run("train m.nin --data npy:arrays --epochs 8 --batch 8 --out first");
    let line = "train m.nin --data npy:arrays --epochs 1 --batch 8 --lr 0.001";
    bench.run(&format!("{line} --weights first/last.safetensors --out second"));
    bench.run(&format!("{line} --out fresh"));
    let loss = |run: &str| epochs(&bench, run)[0]["train_loss"].as_f64().unwrap();
    let trained = epochs(&bench, "first")[7]["train_loss"].as_f64().unwrap();
    assert!(loss("second") < 1.2 * trained + 0.05, "{} after {trained}", loss("second"));
    assert!(loss("fresh") > 2.0 * loss("second"), "{} {}", loss("fresh"), loss("second"));
    // The recipe says where it began, so that it can be done again by its recipe alone.
    let recipe = fs::read_to_string(bench.path("second/recipe.toml")).unwrap();
    assert!(recipe.contains("first/last.safetensors"), "{recipe}");
    bench.run("train m.nin --recipe second/recipe.toml --out third");
    let weights = |run: &str| fs::read(bench.path(run).join("last.safetensors")).unwrap();
    assert!(weights("second") == weights("third"), "the same recipe ends in the same weights");
}

/// Whitened, contrast-normalised or centred: a run keeps its statistics, and whoever uses its weights applies them.
#[test]
fn statistics_of_the_training_images_go_with_the_weights() {
    let bench = Bench::new(40);
    for (kind, kept) in [("zca", true), ("mean", true), ("lcn", false)] {
        let recipe = format!(
            "epochs = 8\nbatch = 8\nvalidation = 0.1\n[preprocessing]\nkind = \"{kind}\"\n"
        );
        fs::write(bench.path("r.toml"), recipe).unwrap();
        bench.run(&format!("train m.nin --data npy:arrays --recipe r.toml --out {kind}"));
        let statistics = bench.path(kind).join("statistics.safetensors");
        assert_eq!(statistics.is_file(), kept, "{kind}");
        let last = epochs(&bench, kind).pop().unwrap();
        let line = format!("eval m.nin --weights {kind}/last.safetensors --data npy:arrays --json");
        assert_eq!(bench.json(&line)["accuracy"], last["test_accuracy"], "{kind}");
        assert!(last["test_accuracy"].as_f64().unwrap() > 0.5, "{kind}: {last}");
        // Single pictures are prepared as the training images were: as many are recognised.
        let mut files = vec![];
        for class in CLASSES {
            for entry in fs::read_dir(bench.path("pets/test").join(class)).unwrap() {
                files.push((class, entry.unwrap().path()));
            }
        }
        let names =
            files.iter().map(|(_, file)| format!(" {}", file.display())).collect::<String>();
        let line = format!("predict m.nin --weights {kind}/last.safetensors --json{names}");
        let answers = bench.json(&line);
        let right = files.iter().zip(answers["images"].as_array().unwrap()).filter(
            |((class, _), answer)| {
                let number = CLASSES.iter().position(|known| known == class).unwrap();
                answer["top"][0]["class"].as_str() == Some(&*number.to_string())
            },
        );
        let accuracy = right.count() as f64 / files.len() as f64;
        assert!(
            (accuracy - last["test_accuracy"].as_f64().unwrap()).abs() < 0.02,
            "{kind}: {accuracy}"
        );
        bench.run(&format!("train --resume {kind}"));
        if kept {
            fs::remove_file(statistics).unwrap();
            let message = bench.fails(1, &line);
            assert!(message.contains("statistics.safetensors"), "{message}");
        }
    }
}

#[test]
fn a_dataset_is_shown_as_figures_and_as_a_picture() {
    let bench = Bench::new(4);
    let printed = bench.run("data images:pets -o sheet.png");
    assert!(printed.contains("12 training and 6 test images, 1x8x8, 3 classes"), "{printed}");
    let row = printed.lines().find(|line| line.starts_with("diagonals")).unwrap();
    assert_eq!(
        row.split_whitespace().collect::<Vec<_>>(),
        ["diagonals", "4", "33.33", "%", "2", "33.33", "%"]
    );
    let decoder = png::Decoder::new(std::io::BufReader::new(
        fs::File::open(bench.path("sheet.png")).unwrap(),
    ));
    let mut reader = decoder.read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let sheet = reader.next_frame(&mut pixels).unwrap();
    // A row a class, every pixel enlarged four times: the first image's bar is its first column.
    assert_eq!((sheet.height, sheet.width), (3 * 34 + 2, 4 * 34 + 2));
    let at = |y: usize, x: usize| pixels[y * sheet.width as usize + x];
    assert!(at(2, 2) == at(33, 5) && at(2, 2) >= 160 && at(2, 6) < 30, "{} {}", at(2, 2), at(2, 6));
    assert_eq!(at(0, 0), 255);
}
