//! Weights files.

use std::fs;

use super::{Row, as_it_is, replace, truncate, write};

const EVAL: &str = "eval m.nin --weights w.safetensors --data npy:arrays";

pub(super) const ROWS: &[Row] = &[
    Row {
        what: "weights that are not there",
        spoil: as_it_is,
        line: "eval m.nin --weights none.safetensors --data npy:arrays",
        code: 1,
        says: &["none.safetensors: "],
    },
    Row {
        what: "weights of another width",
        spoil: as_it_is,
        line: "train m.nin -D width=7 --data npy:arrays --weights w.safetensors",
        code: 1,
        says: &[
            "w.safetensors: the weights do not fit the model: `mlpconv1.conv.weight` is [6, 1, 3, 3], and the model's \
             is [7, 1, 3, 3]; `mlpconv1.conv.bias` is [6], and the model's is [7]; ",
            "and 4 more",
        ],
    },
    Row {
        what: "weights of another model",
        spoil: |folder| {
            let other = "model Other < input(1, 8, 8) mlpconv(6, 6) maxpool(2) conv(3, kernel = 1) gap softmax >";
            write(folder.join("other.nin"), other);
        },
        line: "eval other.nin --weights w.safetensors --data npy:arrays",
        code: 1,
        says: &[
            "the model's `conv1.weight` [3, 6, 1, 1] is missing; the model's `conv1.bias` [3] is missing; \
             `mlpconv2.cccp1.bias` [3] is none of the model's weights",
        ],
    },
    Row {
        what: "weights cut short",
        spoil: |folder| truncate(folder.join("w.safetensors"), 700),
        line: EVAL,
        code: 1,
        says: &["w.safetensors: not a whole safetensors file"],
    },
    Row {
        what: "something else for weights",
        spoil: as_it_is,
        line: "predict m.nin --weights arrays/train_images.npy pets/test/rows/0004.png",
        code: 1,
        says: &["train_images.npy: not a whole safetensors file"],
    },
    Row {
        what: "weights of another type",
        spoil: |folder| replace(folder.join("w.safetensors"), "\"F32\"", "\"I32\""),
        line: EVAL,
        code: 1,
        says: &["w.safetensors: ", " holds I32; nin reads F32"],
    },
    Row {
        what: "weights of a run that diverged",
        spoil: |folder| {
            let file = folder.join("w.safetensors");
            let mut bytes = fs::read(&file).unwrap();
            let end = bytes.len();
            bytes[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
            write(file, bytes);
        },
        line: "train m.nin --data npy:arrays --weights w.safetensors",
        code: 1,
        says: &["weights", "not finite"],
    },
    Row {
        what: "a run folder for weights",
        spoil: as_it_is,
        line: "train m.nin --data npy:arrays --weights run",
        code: 1,
        says: &["run is a folder; the run's weights are run/last.safetensors"],
    },
    Row {
        what: "metadata that makes no sense",
        spoil: |folder| {
            replace(folder.join("run/last.safetensors"), "\\\"mean\\\"", "\\\"maen\\\"");
        },
        line: "eval m.nin --weights run/last.safetensors --data npy:arrays",
        code: 1,
        says: &["run/last.safetensors: ", "`normalisation`", "missing field `mean`"],
    },
];
