//! Sweeps and feature maps.

use super::{Row, as_it_is, write};

pub(super) const ROWS: &[Row] = &[
    Row {
        what: "two models of one name",
        spoil: as_it_is,
        line: "sweep m.nin m.nin --data npy:arrays --out s",
        code: 2,
        says: &["there are two models `Bars`"],
    },
    Row {
        what: "a parameter that no model has",
        spoil: as_it_is,
        line: "sweep m.nin -D wdith=4,6 --data npy:arrays --out s",
        code: 1,
        says: &["wdith", "the model is not valid with wdith = 4; none was run"],
    },
    Row {
        what: "a parameter that is listed twice",
        spoil: as_it_is,
        line: "sweep m.nin -D width=4,6 -D width=8 --data npy:arrays --out s",
        code: 2,
        says: &["`width` is given twice"],
    },
    Row {
        what: "a sweep over data of another shape",
        spoil: |folder| {
            write(folder.join("large.nin"), "< input(1, 9, 9) mlpconv(3) gap softmax >");
        },
        line: "sweep m.nin large.nin --data npy:arrays --out s",
        code: 1,
        says: &["the model reads 1x9x9 images", "are 1x8x8"],
    },
    Row {
        what: "no folder for a sweep's runs",
        spoil: as_it_is,
        line: "sweep m.nin --data npy:arrays",
        code: 2,
        says: &["--out <DIR>"],
    },
    Row {
        what: "maps over the picture they are of",
        spoil: as_it_is,
        line: "features m.nin --weights w.safetensors pets/test/rows/0004.png -o ./pets/test/rows/0004.png",
        code: 2,
        says: &["is named twice"],
    },
    Row {
        what: "maps of what is no picture",
        spoil: as_it_is,
        line: "features m.nin --weights w.safetensors m.nin -o maps.png",
        code: 1,
        says: &["m.nin: not read as PNG"],
    },
];
