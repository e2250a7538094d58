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
        what: "a checkpoint of PyTorch for weights",
        spoil: |folder| write(folder.join("w.pth"), b"PK\x03\x04\0\0\x08\x08archive/data.pkl"),
        line: "eval m.nin --weights w.pth --data npy:arrays",
        code: 1,
        says: &["w.pth: ", "checkpoint of PyTorch", "safetensors.torch.save_file(torch.load("],
    },
    Row {
        what: "weights by PyTorch's names",
        spoil: |folder| {
            for (from, to) in [
                ("\"mlpconv1.conv.weight\"", "\"mo.0.features.weight\""),
                ("\"mlpconv1.conv.bias\"", "\"mo.0.features.bias\""),
            ] {
                replace(folder.join("w.safetensors"), from, to);
            }
        },
        line: EVAL,
        code: 1,
        says: &[
            "Perhaps `mo.0.features.weight` is meant for `mlpconv1.conv.weight`",
            "`nin init -v`",
        ],
    },
    Row {
        what: "weights of a later version of nin",
        spoil: |folder| {
            let (from, to) = ("\"format_version\":\"1\"", "\"format_version\":\"9\"");
            replace(folder.join("w.safetensors"), from, to);
        },
        line: EVAL,
        code: 1,
        says: &["w.safetensors: ", "its format version is 9, and this nin reads version 1"],
    },
    Row {
        what: "weights for images of more channels",
        spoil: |folder| {
            let file = folder.join("run/last.safetensors");
            let text = String::from_utf8_lossy(&fs::read(&file).unwrap()).into_owned();
            let mean = text.split("\\\"mean\\\":[").nth(1).unwrap().split(']').next().unwrap();
            // The same length: the file's other parts stay where they are.
            let more = format!("{:0<width$}", "0,0.", width = mean.len());
            replace(&file, &format!("[{mean}]"), &format!("[{more}]"));
        },
        line: "predict m.nin --weights run/last.safetensors pets/test/rows/0004.png",
        code: 1,
        says: &["normalises images by 2 means and 1 deviations, and the model reads 1 channels"],
    },
    Row {
        what: "weights for fewer classes",
        spoil: |folder| {
            let (from, to) = (r#"[\"0\",\"1\",\"2\"]"#, r#"[\"00\",\"1 2\"]   "#);
            assert_eq!(from.len(), to.len());
            replace(folder.join("run/last.safetensors"), from, to);
        },
        line: "predict m.nin --weights run/last.safetensors pets/test/rows/0004.png",
        code: 1,
        says: &["its metadata names 2 classes, and the model has 3 outputs"],
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
