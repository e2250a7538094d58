//! Folders for new runs, and runs to go on with.

use std::fs;

use ndarray::{Array1, Array4, ArrayD, Axis};
use ndarray_npy::{read_npy, write_npy};

use super::{Row, as_it_is, replace, truncate, write};
use crate::bench::MODEL;

const TRAIN_ARRAYS: &str = "train m.nin --data npy:arrays";
const RESUME: &str = "train --resume run";

pub(super) const ROWS: &[Row] = &[
    Row {
        what: "another run's folder",
        spoil: as_it_is,
        line: "train m.nin --data npy:arrays --out run",
        code: 1,
        says: &["run already holds a run", "`--resume run`, or choose another folder"],
    },
    Row {
        what: "the folder of a run of which a part is lost",
        spoil: |folder| fs::remove_file(folder.join("run/plan.txt")).unwrap(),
        line: "train m.nin --data npy:arrays --out run",
        code: 1,
        says: &["run/model.nin is there already", "choose another folder"],
    },
    Row {
        what: "a folder with a model of this name",
        spoil: |folder| {
            fs::create_dir(folder.join("mine")).unwrap();
            write(folder.join("mine/model.nin"), MODEL);
        },
        line: "train mine/model.nin --data npy:arrays --out mine",
        code: 1,
        says: &["mine/model.nin is there already, and a run would write over it"],
    },
    Row {
        what: "a file in place of the folder",
        spoil: as_it_is,
        line: "train m.nin --data npy:arrays --out m.nin",
        code: 1,
        says: &["m.nin: the run's folder cannot be made", "`--out`"],
    },
    Row {
        what: "a folder below a file",
        spoil: as_it_is,
        line: "train m.nin --data npy:arrays --out m.nin/deeper/run",
        code: 1,
        says: &["m.nin/deeper/run: the run's folder cannot be made", "`--out`"],
    },
    Row {
        what: "a file in place of the folder of runs",
        spoil: |folder| write(folder.join("runs"), "my runs: 3 km, 5 km"),
        line: TRAIN_ARRAYS,
        code: 1,
        says: &["runs: ", "`--out`"],
    },
    Row {
        what: "a run that is not there",
        spoil: as_it_is,
        line: "train --resume nowhere",
        code: 1,
        says: &["nowhere: cannot be resumed: there is no such folder"],
    },
    Row {
        what: "a folder that holds no run",
        spoil: as_it_is,
        line: "train --resume arrays",
        code: 1,
        says: &["arrays: cannot be resumed: there is no `model.nin` in it"],
    },
    Row {
        what: "a run without its checkpoint",
        spoil: |folder| fs::remove_file(folder.join("run/last.safetensors")).unwrap(),
        line: RESUME,
        code: 1,
        says: &["run: cannot be resumed: there is no `last.safetensors` in it"],
    },
    Row {
        what: "a checkpoint cut short",
        spoil: |folder| truncate(folder.join("run/last.safetensors"), 3000),
        line: RESUME,
        code: 1,
        says: &[
            "run: cannot be resumed: ",
            "last.safetensors: not a whole safetensors file",
            "`--weights`",
        ],
    },
    Row {
        what: "an empty checkpoint",
        spoil: |folder| write(folder.join("run/last.safetensors"), ""),
        line: RESUME,
        code: 1,
        says: &["last.safetensors: not a whole safetensors file"],
    },
    Row {
        what: "mere weights for a checkpoint",
        spoil: |folder| {
            fs::copy(folder.join("w.safetensors"), folder.join("run/last.safetensors")).unwrap();
        },
        line: RESUME,
        code: 1,
        says: &["run/last.safetensors: not as a run of nin writes it: its metadata has no `step`"],
    },
    Row {
        what: "a checkpoint with a step that cannot be",
        spoil: |folder| {
            replace(folder.join("run/last.safetensors"), "\"step\":\"4\"", "\"step\":\"1\"");
        },
        line: RESUME,
        code: 1,
        says: &["its last checkpoint does not go with its recipe and data"],
    },
    Row {
        what: "another model",
        spoil: |folder| write(folder.join("n.nin"), MODEL.replace("width = 6", "width = 5")),
        line: "train n.nin --resume run",
        code: 1,
        says: &[
            "n.nin is another model than that of the run in run",
            "resume without naming a model",
        ],
    },
    Row {
        what: "another value of a parameter",
        spoil: as_it_is,
        line: "train m.nin -D width=9 --resume run",
        code: 1,
        says: &["m.nin is another model than that of the run in run"],
    },
    Row {
        what: "a parameter of no model",
        spoil: as_it_is,
        line: "train -D width=9 --resume run",
        code: 2,
        says: &["`-D`", "the run's model is taken from its folder"],
    },
    Row {
        what: "another number of epochs",
        spoil: as_it_is,
        line: "train --resume run --epochs 9",
        code: 2,
        says: &[
            "`--epochs` cannot be used with `--resume`",
            "nin train run/model.nin --recipe run/recipe.toml --weights run/last.safetensors --epochs 9",
        ],
    },
    Row {
        what: "other data to go on with",
        spoil: as_it_is,
        line: "train --resume run --data images:pets",
        code: 1,
        says: &["the data is not what it was: other classes", "`--data`", "`--weights`"],
    },
    Row {
        what: "a share to hold back from now on",
        spoil: as_it_is,
        line: "train --resume run --val 0.5",
        code: 2,
        says: &["--resume", "cannot be used with", "--val"],
    },
    Row {
        what: "a run whose data are gone",
        spoil: |folder| fs::remove_dir_all(folder.join("arrays")).unwrap(),
        line: RESUME,
        code: 1,
        says: &[
            "if they were moved, say where they are: `nin train --resume run --data ...`",
            "arrays: there is no such folder; nin looks for a folder with `train_images.npy`",
        ],
    },
    Row {
        what: "a run whose data have changed",
        spoil: |folder| {
            let file = folder.join("arrays/train_images.npy");
            let images: Array4<u8> = read_npy(&file).unwrap();
            write_npy(&file, &(images / 2)).unwrap();
        },
        line: RESUME,
        code: 1,
        says: &["run: cannot be resumed: the data is not what it was: other training images;"],
    },
    Row {
        what: "a run whose labels were swapped",
        spoil: |folder| {
            let file = folder.join("arrays/train_labels.npy");
            let mut labels: Array1<i64> = read_npy(&file).unwrap();
            labels.swap(0, 5);
            write_npy(&file, &labels).unwrap();
        },
        line: RESUME,
        code: 1,
        says: &["run: cannot be resumed: the data is not what it was: other training labels;"],
    },
    Row {
        what: "a run whose images are in another order",
        spoil: |folder| {
            for name in ["images", "labels"] {
                let file = folder.join(format!("arrays/train_{name}.npy"));
                let turn = |mut array: ArrayD<_>| {
                    array.invert_axis(Axis(0));
                    array.as_standard_layout().into_owned()
                };
                match name {
                    "images" => write_npy(&file, &turn(read_npy::<_, ArrayD<u8>>(&file).unwrap())),
                    _ => {
                        let labels: ArrayD<i64> = read_npy(&file).unwrap();
                        let labels = turn(labels.mapv(|label| label as u8)).mapv(i64::from);
                        write_npy(&file, &labels)
                    }
                }
                .unwrap();
            }
        },
        line: RESUME,
        code: 1,
        says: &["the data is not what it was: other training images and other training labels;"],
    },
    Row {
        what: "a run with another test set",
        spoil: |folder| {
            let file = folder.join("arrays/test_images.npy");
            let images: Array4<u8> = read_npy(&file).unwrap();
            write_npy(&file, &images.mapv(|level| level.max(1))).unwrap();
        },
        line: RESUME,
        code: 1,
        says: &["the data is not what it was: other test images;"],
    },
    Row {
        what: "other data of the same shape to go on with",
        spoil: |folder| {
            fs::create_dir(folder.join("other")).unwrap();
            for name in ["train_images", "train_labels", "test_images", "test_labels"] {
                let name = format!("{name}.npy");
                fs::copy(folder.join("arrays").join(&name), folder.join("other").join(&name))
                    .unwrap();
            }
            let file = folder.join("other/test_labels.npy");
            let mut labels: Array1<i64> = read_npy(&file).unwrap();
            labels.swap(0, 5);
            write_npy(&file, &labels).unwrap();
        },
        line: "train --resume run --data npy:other",
        code: 1,
        says: &["the data is not what it was: other test labels;"],
    },
    Row {
        what: "another instruction set",
        spoil: |folder| {
            let plan = fs::read_to_string(folder.join("run/plan.txt")).unwrap();
            let (isa, rest) = plan.split_once(',').unwrap();
            assert!(isa.starts_with("isa "));
            write(folder.join("run/plan.txt"), format!("isa portable,{rest}"));
        },
        line: "train --resume run --isa avx2",
        code: 2,
        says: &[
            "the run began with `--isa portable` and goes on to its bits with that alone",
            "`nin train --resume run --isa auto` goes on with what this CPU has, in other bits from there on",
        ],
    },
    Row {
        what: "a run whose recipe was spoilt",
        spoil: |folder| write(folder.join("run/recipe.toml"), "data = \"npy:arrays\"\nlr = fast"),
        line: RESUME,
        code: 1,
        says: &["run/recipe.toml:2:6: "],
    },
    Row {
        what: "a run whose recipe has fewer epochs now",
        spoil: |folder| replace(folder.join("run/recipe.toml"), "epochs = 2", "epochs = 1"),
        line: RESUME,
        code: 1,
        says: &["its last checkpoint does not go with its recipe and data"],
    },
    Row {
        what: "a run whose seed was changed",
        spoil: |folder| replace(folder.join("run/recipe.toml"), "seed = 1", "seed = 2"),
        line: RESUME,
        code: 1,
        says: &["its model or its recipe's seed was changed since it began"],
    },
    Row {
        what: "a run whose recipe names no data",
        spoil: |folder| write(folder.join("run/recipe.toml"), "batch = 8"),
        line: RESUME,
        code: 1,
        says: &["the run was started from Rust; go on with it there"],
    },
    Row {
        what: "a run whose model was edited",
        spoil: |folder| replace(folder.join("run/model.nin"), "maxpool", "avgpool"),
        line: RESUME,
        code: 1,
        says: &[
            "run: cannot be resumed: its model or its recipe's seed was changed since it began",
        ],
    },
    Row {
        what: "a run whose model was spoilt",
        spoil: |folder| replace(folder.join("run/model.nin"), "maxpool", "maxpoll"),
        line: RESUME,
        code: 1,
        says: &["error[N010]", "run/model.nin"],
    },
    Row {
        what: "a run whose plan was edited",
        spoil: |folder| replace(folder.join("run/plan.txt"), "isa ", "ISA "),
        line: RESUME,
        code: 1,
        says: &["`plan.txt` does not begin with an instruction set"],
    },
];
