//! Recipes, and shares held back.

use super::{Row, as_it_is, write};

const BY_RECIPE: &str = "train m.nin --data npy:arrays --recipe r.toml";

pub(super) const ROWS: &[Row] = &[
    Row {
        what: "a recipe that is not there",
        spoil: as_it_is,
        line: BY_RECIPE,
        code: 1,
        says: &["r.toml: "],
    },
    Row {
        what: "a setting that is misspelt",
        spoil: |folder| write(folder.join("r.toml"), "batch = 8\nepoch = 3\n"),
        line: BY_RECIPE,
        code: 1,
        says: &["r.toml:2:1: there is no setting `epoch`; did you mean `epochs`?"],
    },
    Row {
        what: "a learning rate that is no number",
        spoil: |folder| write(folder.join("r.toml"), "lr = nan\n"),
        line: BY_RECIPE,
        code: 1,
        says: &["r.toml:1:6: `lr` is NaN; it must be above 0"],
    },
    Row {
        what: "no epochs",
        spoil: |folder| write(folder.join("r.toml"), "epochs = 0"),
        line: BY_RECIPE,
        code: 1,
        says: &["r.toml:1:10: `epochs` is 0; it must be a whole number from 1"],
    },
    Row {
        what: "a text for a number",
        spoil: |folder| write(folder.join("r.toml"), "lr = \"0.1\""),
        line: BY_RECIPE,
        code: 1,
        says: &["r.toml:1:6: `lr` is \"0.1\"; it must be a number"],
    },
    Row {
        what: "a schedule that nin does not know",
        spoil: |folder| write(folder.join("r.toml"), "[schedule]\nkind = \"linear\""),
        line: BY_RECIPE,
        code: 1,
        says: &[
            "r.toml:2:8: `schedule.kind` is \"linear\"; it must be \"constant\" or \"step\" or ",
        ],
    },
    Row {
        what: "a list that is not closed",
        spoil: |folder| write(folder.join("r.toml"), "lr = 0.1\n[normalisation]\nmean = [0.1"),
        line: BY_RECIPE,
        code: 1,
        says: &["r.toml:3:", "unclosed array"],
    },
    Row {
        what: "batches that leave a batch normalisation one number a channel",
        spoil: |folder| {
            write(folder.join("lone.nin"), "< input(1, 8, 8) conv(4) gap batchnorm fc(3) >");
        },
        line: "train lone.nin --data npy:arrays --batch 1",
        code: 1,
        says: &["`batchnorm1` gets one number a channel", "batches of 2 images or more"],
    },
    Row {
        what: "a recipe that is no text",
        spoil: |folder| write(folder.join("r.toml"), b"\xff\xfe\x00"),
        line: BY_RECIPE,
        code: 1,
        says: &["r.toml: ", "UTF-8"],
    },
    Row {
        what: "a dataset that nin does not know",
        spoil: |folder| write(folder.join("r.toml"), "data = \"nyp:arrays\""),
        line: "train m.nin --recipe r.toml",
        code: 1,
        says: &["r.toml:1:8: `data`: there is no dataset `nyp` (did you mean `npy`?)"],
    },
    Row {
        what: "no dataset anywhere",
        spoil: |folder| write(folder.join("r.toml"), "epochs = 2"),
        line: "train m.nin --recipe r.toml",
        code: 2,
        says: &["give the dataset, such as `--data mnist-10k`"],
    },
    Row {
        what: "constants for other images",
        spoil: |folder| {
            let text = "[normalisation]\nmean = [0.1, 0.2, 0.3]\ndeviation = [1, 1, 1]";
            write(folder.join("r.toml"), text);
        },
        line: BY_RECIPE,
        code: 1,
        says: &["`normalisation` of 1x8x8 images must have a finite mean"],
    },
    Row {
        what: "weights that its recipe names and that are gone",
        spoil: |folder| write(folder.join("r.toml"), "weights = \"gone.safetensors\""),
        line: BY_RECIPE,
        code: 1,
        says: &["gone.safetensors: "],
    },
    Row {
        what: "settings of a layer that the model does not have",
        spoil: |folder| {
            write(folder.join("r.toml"), "[[layers]]\nname = \"mlpconv1.cpcp1\"\nlr = 0.1");
        },
        line: BY_RECIPE,
        code: 1,
        says: &["no layer `mlpconv1.cpcp1` with weights (did you mean `mlpconv1.cccp1`?)"],
    },
    Row {
        what: "weights of a layer that the model does not have",
        spoil: |folder| write(folder.join("r.toml"), "[[layers]]\nname = \"fc1\"\nstd = 0.1"),
        line: "init m.nin --recipe r.toml -o v.safetensors",
        code: 1,
        says: &["no layer `fc1` with weights; there are `mlpconv1.conv`, `mlpconv1.cccp1`"],
    },
    Row {
        what: "fresh weights by a recipe that cannot be followed",
        spoil: |folder| write(folder.join("r.toml"), "[init]\nkind = \"gaussian\"\nstd = -1"),
        line: "init m.nin --recipe r.toml -o v.safetensors",
        code: 1,
        says: &["r.toml:3:7: `init.std` is -1; it must be above 0"],
    },
    Row {
        what: "nothing held back",
        spoil: as_it_is,
        line: "train m.nin --data npy:arrays --val 0",
        code: 2,
        says: &["--val", "above 0 and below 1"],
    },
    Row {
        what: "everything held back",
        spoil: as_it_is,
        line: "train m.nin --data npy:arrays --val 1",
        code: 2,
        says: &["--val", "above 0 and below 1"],
    },
    Row {
        what: "a negative share held back",
        spoil: as_it_is,
        line: "train m.nin --data npy:arrays --val -0.1",
        code: 2,
        says: &["--val", "above 0 and below 1"],
    },
    Row {
        what: "a share that is no number",
        spoil: as_it_is,
        line: "train m.nin --data npy:arrays --val nan",
        code: 2,
        says: &["--val", "above 0 and below 1"],
    },
    Row {
        what: "a share of a small set that is no image",
        spoil: as_it_is,
        line: "train m.nin --data npy:arrays --val 0.01",
        code: 1,
        says: &["`validation` is 0.01, which holds back 0 of 12 training images"],
    },
];
