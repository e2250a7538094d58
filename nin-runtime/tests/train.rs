//! Training end to end on a problem small enough for a test: runs learn, resume to the same bits, and fail with care.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use ndarray::Array4;
use nin_dsl::graph::Role;
use nin_runtime::compiler::Isa;
use nin_runtime::compiler::optimizer::{Optimizer, Squares};
use nin_runtime::compiler::plan::Algos;
use nin_runtime::data::{Dataset, Preprocessing, Split};
use nin_runtime::error::Error;
use nin_runtime::model::Model;
use nin_runtime::train::{
    Augment, Checkpoint, Event, Init, LastLayer, LayerSettings, Outcome, Recipe, Resumed,
    RunFolder, Schedule, TrainError, Trainer,
};

use nin_runtime::compile::Machine;
use nin_runtime::weights::Weights;

const TEXT: &str = "
model Bars(width = 6) <
    input(1, 8, 8)
    mlpconv(width, width)
    maxpool(2)
    dropout(0.2)
    mlpconv(width, 3)
    gap
    softmax
>";

fn model() -> Model {
    Model::from_text("bars", TEXT, &[]).unwrap()
}

/// Rows, columns or a diagonal, at a place and a brightness that depend on the image's number.
fn bars(images: usize) -> Split {
    let level = |(n, _, y, x): (usize, usize, usize, usize)| {
        let place = n / 3 % 8;
        let on = match n % 3 {
            0 => y == place,
            1 => x == place,
            _ => (x + y) % 8 == place,
        };
        if on { 120 + (n * 7 % 100) as u8 } else { (n * 31 + y * 5 + x * 3) as u8 % 30 }
    };
    let images = Array4::from_shape_fn((images, 1, 8, 8), level);
    let labels = (0..images.dim().0).map(|n| (n % 3) as u32).collect();
    Split::new(images, labels).unwrap()
}

fn data() -> Dataset {
    let classes = ["rows", "columns", "diagonals"].map(str::to_owned).to_vec();
    Dataset::new("bars", bars(210), bars(48), classes).unwrap()
}

fn recipe() -> Recipe {
    Recipe { epochs: 4, batch: 16, lr: 0.1, ..Recipe::default() }
}

/// Everything that has something to remember: squared gradients, falls of the rate, crops and flips.
fn varied() -> Recipe {
    Recipe {
        lr: 0.01,
        label_smoothing: 0.1,
        optimizer: Optimizer::AdamW(Squares::default()),
        augment: Augment { pad: 1, flip: true },
        schedule: Schedule::Plateau { factor: 0.5, patience: 1, warmup: 0.1 },
        layers: vec![LayerSettings {
            name: "mlpconv1.cccp1".to_owned(),
            lr: Some(0.5),
            bias_lr: Some(2.0),
            ..LayerSettings::default()
        }],
        ..recipe()
    }
}

fn machine(threads: usize) -> Machine {
    Machine { threads, ..Machine::default() }
}

/// What the plan of [`TEXT`] would not take by itself.
fn hints() -> Algos {
    "auto,mlpconv1=winograd2,mlpconv2.kernel-grad=winograd4".parse().unwrap()
}

fn go_on(_: &Event) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// A whole run in `folder`: its weights and the losses of its steps.
fn whole(folder: &Path, recipe: Recipe, machine: Machine) -> (Weights, Vec<f64>) {
    let data = data();
    let mut trainer = Trainer::with_machine(&model(), &data, recipe, machine).unwrap();
    trainer.record_in(RunFolder::create(folder).unwrap()).unwrap();
    let mut losses = vec![];
    let outcome = trainer.run(|event| {
        if let Event::Step(report) = event {
            losses.push(report.loss);
        }
        ControlFlow::Continue(())
    });
    assert_eq!(outcome.unwrap(), Outcome::Finished);
    (trainer.weights(), losses)
}

#[test]
fn a_run_learns_and_keeps_its_files() {
    let folder = tempfile::tempdir().unwrap();
    let data = data();
    let recipe = Recipe { epochs: 12, validation: 0.1, ..recipe() };
    let mut trainer = Trainer::new(&model(), &data, recipe.clone()).unwrap();
    trainer.record_in(RunFolder::create(folder.path()).unwrap()).unwrap();
    let mut reports = vec![];
    let outcome = trainer.run(|event| {
        if let Event::Epoch(report) = event {
            reports.push(report.clone());
        }
        ControlFlow::Continue(())
    });
    assert_eq!(outcome.unwrap(), Outcome::Finished);
    let [first, .., last] = reports.as_slice() else { panic!("{reports:?}") };
    assert!(last.train_loss < 0.5 * first.train_loss, "{first:?} {last:?}");
    assert!(last.test.accuracy() > 0.9, "{last:?}");
    assert_eq!(last.validation.as_ref().map(|validation| validation.images), Some(21));
    assert_eq!(trainer.images(), (189, 21));
    let run = RunFolder::open(folder.path()).unwrap();
    assert_eq!(run.recipe().unwrap(), recipe);
    let kept = run.model().unwrap();
    assert_eq!(kept.graph().nodes(), model().graph().nodes());
    let checkpoint = Checkpoint::read(&run.last(), kept.graph()).unwrap();
    assert_eq!(checkpoint.weights, trainer.weights());
    assert_eq!(checkpoint.info.normalisation.as_ref(), Some(data.normalisation()));
    assert_eq!(checkpoint.info.classes.as_deref(), Some(data.classes()));
    assert!(Checkpoint::read(&run.best(), kept.graph()).is_ok());
    // 12 steps an epoch, and a line for each epoch.
    let metrics = fs::read_to_string(folder.path().join("metrics.jsonl")).unwrap();
    assert_eq!(metrics.lines().count(), 12 * 12 + 12);
    assert!(matches!(RunFolder::create(folder.path()), Err(TrainError::UnderWay { .. })));
    drop(trainer);
    assert!(matches!(RunFolder::create(folder.path()), Err(TrainError::Occupied { .. })));
}

#[test]
fn threads_do_not_change_a_bit() {
    let folder = tempfile::tempdir().unwrap();
    for (name, recipe) in [("plain", recipe()), ("varied", varied())] {
        let run = |threads: usize| {
            let folder = folder.path().join(format!("{name}-{threads}"));
            whole(&folder, recipe.clone(), machine(threads))
        };
        let one = run(1);
        assert_eq!(one, run(2));
        assert_eq!(one, run(3));
    }
}

/// How recipes write dropout that is scaled at the test instead of in training: what a layer reads is twice as large, so its
/// kernel is half as large, moves at a quarter of the rate and decays four times as fast. Powers of two round alike.
#[test]
fn a_layer_that_reads_twice_as_much_learns_the_same_from_half_the_kernel() {
    let folder = tempfile::tempdir().unwrap();
    let plain = Recipe {
        bias_lr: 2.0,
        weight_decay: 1e-3,
        clip: f64::INFINITY,
        epochs: 12,
        init: Init::Gaussian { std: 0.5 },
        preprocessing: Preprocessing::Mean { scale: 1.0 },
        ..recipe()
    };
    let doubled = Recipe {
        preprocessing: Preprocessing::Mean { scale: 2.0 },
        layers: vec![LayerSettings {
            name: "mlpconv1.conv".to_owned(),
            std: Some(0.25),
            lr: Some(0.25),
            bias_lr: Some(8.0),
            weight_decay: Some(4e-3),
        }],
        ..plain.clone()
    };
    let (weights, losses) = whole(&folder.path().join("plain"), plain, machine(1));
    let (halved, same) = whole(&folder.path().join("doubled"), doubled, machine(1));
    let epochs: Vec<f64> = losses.chunks(14).map(|epoch| epoch.iter().sum()).collect();
    assert!(epochs[11] < 0.9 * epochs[0], "{epochs:?}");
    assert_eq!(losses, same);
    for (tensor, halved) in weights.tensors().iter().zip(halved.tensors()) {
        let factor = if tensor.name == "mlpconv1.conv.weight" { 0.5 } else { 1.0 };
        let expected: Vec<f32> = tensor.values.iter().map(|x| x * factor).collect();
        assert_eq!(halved.values, expected, "{}", tensor.name);
    }
}

/// Interrupted in the middle of an epoch, at the last step of one, and between two: the files end the same.
#[test]
fn an_interrupted_run_ends_in_the_same_files() {
    ends_in_the_same_files(Recipe { validation: 0.1, ..recipe() }, Algos::default());
    ends_in_the_same_files(Recipe { validation: 0.1, ..varied() }, Algos::default());
}

/// A resumed run is told of no algorithms: it must find them in its folder, or its bits would be others.
#[test]
fn a_run_with_hints_ends_in_the_same_files() {
    ends_in_the_same_files(recipe(), hints());
    let folder = tempfile::tempdir().unwrap();
    let run = |name: &str, algo: Algos| {
        let path = folder.path().join(name);
        let weights = whole(&path, recipe(), Machine { algo, ..machine(1) }).0;
        (weights, RunFolder::open(path).unwrap().made_with().unwrap().1)
    };
    let (hinted, kept) = run("hinted", hints());
    assert_eq!(kept, hints());
    assert_ne!(hinted, run("auto", Algos::default()).0);
}

fn ends_in_the_same_files(recipe: Recipe, algo: Algos) {
    let folder = tempfile::tempdir().unwrap();
    let uninterrupted = folder.path().join("whole");
    let machine = Machine { algo, ..machine(2) };
    let (expected, _) = whole(&uninterrupted, recipe.clone(), machine.clone());
    let data = data();
    let path = folder.path().join("resumed");
    let mut trainer = Trainer::with_machine(&model(), &data, recipe, machine).unwrap();
    trainer.record_in(RunFolder::create(&path).unwrap()).unwrap();
    let stop_at = |trainer: &mut Trainer, stop: u64| {
        let outcome = trainer.run(|event| match event {
            Event::Step(report) if report.step == stop => ControlFlow::Break(()),
            Event::Epoch(report) if u64::from(report.epoch) * 1000 == stop => {
                ControlFlow::Break(())
            }
            Event::Step(_) | Event::Epoch(_) => ControlFlow::Continue(()),
        });
        assert_eq!(outcome.unwrap(), Outcome::Stopped);
    };
    stop_at(&mut trainer, 7);
    for stop in [12, 2000, 30] {
        // A line beyond the checkpoint, as a crash leaves it, and half a line.
        let metrics = path.join("metrics.jsonl");
        let mut text = fs::read_to_string(&metrics).unwrap();
        text.push_str("{\"step\":99,\"epoch\":9,\"loss\":1,\"lr\":1,\"images_per_s\":1}\n{\"st");
        fs::write(&metrics, text).unwrap();
        drop(trainer);
        trainer = Trainer::resume(RunFolder::open(&path).unwrap(), &data, 1).unwrap();
        stop_at(&mut trainer, stop);
    }
    drop(trainer);
    let mut trainer = Trainer::resume(RunFolder::open(&path).unwrap(), &data, 3).unwrap();
    assert_eq!(trainer.step(), 30);
    assert_eq!(trainer.run(go_on).unwrap(), Outcome::Finished);
    assert_eq!(trainer.weights(), expected);
    for name in ["last.safetensors", "best.safetensors", "model.nin", "recipe.toml", "plan.txt"] {
        let [a, b] = [&uninterrupted, &path].map(|folder| fs::read(folder.join(name)).unwrap());
        assert!(a == b, "{name} differs");
    }
    // The metrics say the same but for times and speeds.
    let figures = |folder: &Path| -> Vec<serde_json::Value> {
        let text = fs::read_to_string(folder.join("metrics.jsonl")).unwrap();
        let line = |line: &str| {
            let mut value: serde_json::Value = serde_json::from_str(line).unwrap();
            let object = value.as_object_mut().unwrap();
            object.retain(|key, _| key != "images_per_s" && key != "seconds");
            value
        };
        text.lines().map(line).collect()
    };
    assert_eq!(figures(&uninterrupted), figures(&path));
}

/// A network whose outputs are all dead guesses for ever, and that is told once.
/// What decays differs from the first step on; with one step, nothing else does.
#[test]
fn only_kernels_decay() {
    let text = "< input(1, 8, 8) conv(5) batchnorm relu conv(3, kernel = 1) gap batchnorm fc(3) >";
    let (data, model) = (data(), Model::from_text("decay", text, &[]).unwrap());
    let after_a_step = |weight_decay: f64| {
        let recipe = Recipe { epochs: 1, batch: 210, weight_decay, ..recipe() };
        let mut trainer = Trainer::new(&model, &data, recipe).unwrap();
        assert_eq!(trainer.run(go_on).unwrap(), Outcome::Finished);
        trainer.weights()
    };
    let (without, with) = (after_a_step(0.0), after_a_step(0.5));
    let pairs = without.tensors().iter().zip(with.tensors());
    for (weight, (without, with)) in model.graph().weights().iter().zip(pairs) {
        let decays = weight.role == Role::Kernel;
        assert_eq!(without.values != with.values, decays, "{}", weight.name);
    }
}

#[test]
fn a_batch_normalisation_needs_more_than_one_number() {
    let text = "< input(1, 8, 8) conv(5) gap batchnorm fc(3) >";
    let model = Model::from_text("lone", text, &[]).unwrap();
    let (all, one) = (data(), {
        let classes = ["rows", "columns", "diagonals"].map(str::to_owned).to_vec();
        Dataset::new("one", bars(1), bars(48), classes).unwrap()
    });
    for (data, batch) in [(&all, 1), (&one, 16)] {
        let refused = Trainer::new(&model, data, Recipe { batch, ..recipe() });
        assert!(matches!(
            refused.unwrap_err(),
            TrainError::Run(Error::LoneNumber { layer }) if layer == "batchnorm1"
        ));
    }
    // The last batch of an epoch has one image.
    let recipe = Recipe { batch: 209, epochs: 1, ..recipe() };
    let mut trainer = Trainer::new(&model, &all, recipe).unwrap();
    assert_eq!(trainer.run(go_on).unwrap(), Outcome::Finished);
    let finite = |values: &[f32]| values.iter().all(|x| x.is_finite());
    assert!(trainer.weights().tensors().iter().all(|tensor| finite(&tensor.values)));
}

#[test]
fn a_dead_network_is_told() {
    let data = data();
    let last_layer = LastLayer { bias: -50.0, ..LastLayer::default() };
    let recipe = Recipe { epochs: 9, last_layer, ..recipe() };
    let mut trainer = Trainer::new(&model(), &data, recipe).unwrap();
    let (mut told, mut dead) = (vec![], vec![]);
    let outcome = trainer.run(|event| {
        match event {
            Event::Step(report) if report.guessing => told.push(report.step),
            Event::Step(_) => {}
            Event::Epoch(report) => dead.clone_from(&report.test.dead),
        }
        ControlFlow::Continue(())
    });
    assert_eq!(outcome.unwrap(), Outcome::Finished);
    assert_eq!((told, dead), (vec![100], vec![0, 1, 2]));
}

/// What is counted to a hundred steps, or to three epochs, goes on where it was, and is told once.
#[test]
fn a_resumed_run_tells_what_the_whole_one_would() {
    let folder = tempfile::tempdir().unwrap();
    let data = data();
    let last_layer = LastLayer { bias: -50.0, ..LastLayer::default() };
    let recipe = Recipe { epochs: 9, last_layer, ..recipe() };
    let mut trainer = Trainer::new(&model(), &data, recipe).unwrap();
    trainer.record_in(RunFolder::create(folder.path()).unwrap()).unwrap();
    let (mut guessing, mut stays_dead) = (vec![], vec![]);
    // Stopped every 17 steps; an epoch has 14.
    loop {
        let outcome = trainer.run(|event| match event {
            Event::Step(report) => {
                guessing.extend(report.guessing.then_some(report.step));
                match report.step % 17 {
                    0 => ControlFlow::Break(()),
                    _ => ControlFlow::Continue(()),
                }
            }
            Event::Epoch(report) => {
                stays_dead.extend(report.stays_dead.then_some(report.epoch));
                ControlFlow::Continue(())
            }
        });
        if outcome.unwrap() == Outcome::Finished {
            break;
        }
        drop(trainer);
        trainer = Trainer::resume(RunFolder::open(folder.path()).unwrap(), &data, 1).unwrap();
    }
    assert_eq!((guessing, stays_dead), (vec![100], vec![3]));
}

/// A run that goes on by another plan, on request, ends; unasked it does not go on.
#[test]
fn a_run_is_planned_anew_on_request_alone() {
    let folder = tempfile::tempdir().unwrap();
    let data = data();
    let portable = Machine { isa: Isa::Portable, ..machine(1) };
    let mut trainer = Trainer::with_machine(&model(), &data, recipe(), portable).unwrap();
    trainer.record_in(RunFolder::create(folder.path()).unwrap()).unwrap();
    trainer.run(|_| ControlFlow::Break(())).unwrap();
    drop(trainer);
    let open = || RunFolder::open(folder.path()).unwrap();
    let plan = folder.path().join("plan.txt");
    let kept = fs::read_to_string(&plan).unwrap();
    fs::write(&plan, format!("{kept}of another version\n")).unwrap();
    let message = Trainer::resume(open(), &data, 1).unwrap_err().to_string();
    assert!(
        message.contains("another version of nin") && message.contains("`--isa auto`"),
        "{message}"
    );
    let mut trainer = Trainer::resume_replanned(open(), &data, 1, Isa::Portable).unwrap();
    let resumed = Resumed { knows_data: true, replanned: true };
    assert_eq!((trainer.resumed(), trainer.step()), (Some(resumed), 1));
    assert_eq!(fs::read_to_string(&plan).unwrap(), kept);
    assert_eq!(trainer.run(go_on).unwrap(), Outcome::Finished);
    drop(trainer);
    // The plan that the folder keeps is that of the run from now on.
    let trainer = Trainer::resume(open(), &data, 1).unwrap();
    assert_eq!(trainer.resumed(), Some(Resumed { knows_data: true, replanned: false }));
}

/// Such a model goes by the name of its file, which in a run's folder is another.
#[test]
fn a_model_without_a_name_is_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let data = data();
    let text = TEXT.split_once("= 6)").unwrap().1.replace("width", "6");
    let model = Model::from_text("mine", &text, &[]).unwrap();
    let mut trainer = Trainer::new(&model, &data, recipe()).unwrap();
    trainer.record_in(RunFolder::create(folder.path()).unwrap()).unwrap();
    trainer.run(|_| ControlFlow::Break(())).unwrap();
    drop(trainer);
    Trainer::resume(RunFolder::open(folder.path()).unwrap(), &data, 1).unwrap();
}

/// Runs of the versions before digests were kept go on, and say that they do not know their data.
#[test]
fn a_checkpoint_without_a_digest_is_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let data = data();
    let mut trainer = Trainer::new(&model(), &data, recipe()).unwrap();
    trainer.record_in(RunFolder::create(folder.path()).unwrap()).unwrap();
    trainer.run(|_| ControlFlow::Break(())).unwrap();
    drop(trainer);
    let last = folder.path().join("last.safetensors");
    let mut bytes = fs::read(&last).unwrap();
    let key = b"data_digest";
    let place = bytes.windows(key.len()).position(|window| window == key).unwrap();
    bytes[place..][..key.len()].copy_from_slice(b"nobody_asks");
    fs::write(&last, bytes).unwrap();
    let trainer = Trainer::resume(RunFolder::open(folder.path()).unwrap(), &data, 1).unwrap();
    assert_eq!(trainer.resumed(), Some(Resumed { knows_data: false, replanned: false }));
}

/// Behind a dead layer a bias still learns, so that the loss is not that of guessing; the answers are.
#[test]
fn a_network_that_answers_every_image_alike_is_told() {
    let text = "< input(1, 8, 8) conv(4) relu gap fc(3) softmax >";
    let model = Model::from_text("m", text, &[]).unwrap();
    let data = data();
    let told = |dead: bool| {
        let mut trainer = Trainer::new(&model, &data, Recipe { epochs: 5, ..recipe() }).unwrap();
        if dead {
            trainer.start_from(&Weights::zeros(model.graph())).unwrap();
        }
        let mut told = vec![];
        let outcome = trainer.run(|event| {
            match event {
                Event::Step(report) => assert!(!report.guessing),
                Event::Epoch(report) if report.guessing => told.push(report.epoch),
                Event::Epoch(_) => {}
            }
            ControlFlow::Continue(())
        });
        assert_eq!(outcome.unwrap(), Outcome::Finished);
        told
    };
    assert_eq!((told(true), told(false)), (vec![3], vec![]));
}

/// One of the outputs is dead from the start, the others learn.
#[test]
fn outputs_that_stay_dead_are_told() {
    let data = data();
    let mut trainer = Trainer::new(&model(), &data, Recipe { epochs: 5, ..recipe() }).unwrap();
    let mut weights = trainer.weights();
    let name = "mlpconv2.cccp1.bias";
    let place = weights.tensors().iter().position(|tensor| tensor.name == name).unwrap();
    weights.values_mut().nth(place).unwrap()[1] = -50.0;
    trainer.start_from(&weights).unwrap();
    let mut told = vec![];
    let outcome = trainer.run(|event| {
        match event {
            Event::Step(report) => assert!(!report.guessing),
            Event::Epoch(report) => {
                assert_eq!(report.test.dead, [1]);
                told.push(report.stays_dead);
            }
        }
        ControlFlow::Continue(())
    });
    assert_eq!(outcome.unwrap(), Outcome::Finished);
    assert_eq!(told, [false, false, true, false, false]);
}

#[test]
fn a_diverging_run_stops_and_keeps_its_last_good_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let data = data();
    let recipe = Recipe {
        lr: 1e30,
        schedule: Schedule::Constant { warmup: 0.0 },
        last_layer: LastLayer { lr: 1.0, ..LastLayer::default() },
        ..recipe()
    };
    let mut trainer = Trainer::new(&model(), &data, recipe).unwrap();
    trainer.record_in(RunFolder::create(folder.path()).unwrap()).unwrap();
    let error = trainer.run(go_on).unwrap_err();
    assert!(matches!(error, TrainError::Diverged { .. }), "{error}");
    let last = RunFolder::open(folder.path()).unwrap().last();
    assert!(Checkpoint::read(&last, model().graph()).unwrap().weights.is_finite());
}

#[test]
fn data_that_does_not_fit_the_model_is_refused_before_anything_starts() {
    let data = data();
    let error = |text: &str| {
        let model = Model::from_text("m", text, &[]).unwrap();
        Trainer::new(&model, &data, recipe()).unwrap_err().to_string()
    };
    let message = error("< input(1, 28, 28) conv(3) gap softmax >");
    assert!(message.contains("1x28x28") && message.contains("input(1, 8, 8)"), "{message}");
    let message = error("< input(1, 8, 8) conv(10) gap softmax >");
    assert!(message.contains("10 outputs") && message.contains("3 classes"), "{message}");
}

#[test]
fn a_folder_without_a_run_is_no_run_to_resume() {
    let folder = tempfile::tempdir().unwrap();
    let error = RunFolder::open(folder.path()).unwrap_err().to_string();
    assert!(error.contains("model.nin"), "{error}");
}
