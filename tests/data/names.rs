//! Names that people and their systems give: classes and files whose characters steer a terminal or mark up a page are shown
//! and never obeyed, and numbers that are not what they seem are pointed out.

use std::fs;

use ndarray::{Array1, Array4};
use ndarray_npy::write_npy;

use crate::bench::{Bench, SIDE};

/// Clears a screen, turns text round, forges a line, marks up a page.
const CLASSES: [&str; 3] = ["co\x1b[2Jls", "\u{9b}31m\u{202e}<b>\"&", "rows\nerror: forged\t\r"];
/// As they are shown.
const SHOWN: [&str; 3] =
    ["co\\u001b[2Jls", "\\u009b31m\\u202e<b>\"&", "rows\\nerror: forged\\t\\r"];

/// Whether a terminal could be steered by a text.
fn steers(text: &str) -> bool {
    let odd = |c: char| {
        c.is_control() && !matches!(c, '\n' | '\t') || ('\u{202a}'..='\u{202e}').contains(&c)
    };
    text.chars().any(odd)
}

#[cfg(unix)]
#[test]
fn names_are_shown_and_not_obeyed() {
    let bench = Bench::new(20);
    for set in ["train", "test"] {
        for (from, to) in ["columns", "diagonals", "rows"].into_iter().zip(CLASSES) {
            let folder = bench.path("pets").join(set);
            fs::rename(folder.join(from), folder.join(to)).unwrap();
        }
    }
    let picture = "a\x1b]0;owned\x07\nfile.png";
    let any = fs::read_dir(bench.path("pets/test").join(CLASSES[2])).unwrap().next().unwrap();
    fs::copy(any.unwrap().path(), bench.path(picture)).unwrap();
    let shown = |text: &str| {
        assert!(!steers(text), "{text:?}");
        assert!(!text.lines().any(|line| line.starts_with("error")), "{text}");
    };
    let all = |text: &str| assert!(SHOWN.iter().all(|name| text.contains(name)), "{text}");
    let told = |line: &str| {
        let (results, notes) = bench.run_with_notes(line);
        shown(&results);
        shown(&notes);
        results
    };
    // So short that outputs are dead or not, and named if they are.
    told("train m.nin --data images:pets --epochs 2 --batch 8 --out run");
    all(&told("data images:pets -v"));
    all(&told("eval m.nin --weights run/last.safetensors --data images:pets"));
    for line in [
        "predict m.nin --weights run/last.safetensors",
        "features m.nin -o maps.png --weights run/last.safetensors",
    ] {
        for json in [false, true] {
            if json && line.starts_with("features") {
                continue;
            }
            let mut command = bench.command(line);
            command.arg(picture).args(json.then_some("--json"));
            let output = command.output().unwrap();
            assert!(output.status.success());
            let text = String::from_utf8(output.stdout).unwrap();
            shown(&text);
            assert_eq!(text.lines().count(), 1, "{text}");
            if json {
                // What is written out is still the name.
                let value: serde_json::Value = serde_json::from_str(&text).unwrap();
                assert_eq!(value["images"][0]["file"], picture);
                let top = value["images"][0]["top"].as_array().unwrap();
                assert!(
                    CLASSES.iter().all(|class| top.iter().any(|one| one["class"] == *class)),
                    "{top:?}"
                );
            } else if line.starts_with("predict") {
                all(&text);
                assert!(text.starts_with("a\\u001b]0;owned\\u0007\\nfile.png: "), "{text}");
            }
        }
    }
    let page = fs::read_to_string(bench.path("run/report.html")).unwrap();
    assert!(!steers(&page) && !page.contains("<b>\""), "a class is markup");
    assert!(page.contains("\\u009b31m\\u202e&lt;b&gt;&quot;&amp;"), "{}", &page[..400]);
    // A text's own characters are drawn as others, and its file is named.
    let text = "model M <\n input(1, 8, 8) conv(4) gap \x1b[2J\u{9b}31mfoo softmax\n>";
    fs::write(bench.path("m\x1b[31m\u{9b}.nin"), text).unwrap();
    for line in ["check", "fmt"] {
        let refused = bench.command(line).arg("m\x1b[31m\u{9b}.nin").output().unwrap();
        let said = String::from_utf8(refused.stderr).unwrap();
        assert!(!steers(&said) && said.contains("m\\u001b[31m\\u009b.nin:2"), "{said}");
    }
    // Errors name files too.
    let missing = bench
        .command("predict m.nin --weights run/last.safetensors")
        .arg("no\x1b[31m")
        .output()
        .unwrap();
    shown(&String::from_utf8(missing.stderr).unwrap().replace("error: ", ""));
    let unknown = bench.command("predict m.nin").arg("--no\x1b[31m").output().unwrap();
    shown(&String::from_utf8(unknown.stderr).unwrap().replace("error: ", ""));
}

/// Levels from 0 to 255 as floats teach a network that no picture fits.
#[test]
fn pictures_that_are_no_such_numbers_are_warned_of() {
    let bench = Bench::new(8);
    for (factor, warned) in [(255.0, true), (1.0, false)] {
        for set in ["train", "test"] {
            let count = if set == "train" { 24 } else { 12 };
            let images = Array4::from_shape_fn((count, 1, SIDE, SIDE), |(n, _, y, x)| {
                factor * (((n + y) * (x + 3)) % 11) as f32 / 10.0
            });
            let labels = (0..count as i64).map(|n| n % 3).collect::<Array1<i64>>();
            write_npy(bench.path(&format!("arrays/{set}_images.npy")), &images).unwrap();
            write_npy(bench.path(&format!("arrays/{set}_labels.npy")), &labels).unwrap();
        }
        for kind in ["normalise", "mean"] {
            fs::write(bench.path("r.toml"), format!("[preprocessing]\nkind = \"{kind}\"\n"))
                .unwrap();
            let run = format!("{kind}-{factor}");
            bench.run(&format!(
                "train m.nin --data npy:arrays --recipe r.toml --epochs 1 --batch 8 --out {run}"
            ));
            let picture = "pets/test/rows/0008.png";
            let line = format!("predict m.nin --weights {run}/last.safetensors {picture}");
            let (_, notes) = bench.run_with_notes(&line);
            let says = "perhaps levels from 0 to 255: pictures are given as fractions from 0 to 1";
            assert_eq!(notes.contains(says), warned, "{line}: {notes}");
        }
    }
}

#[test]
fn doubtful_data_is_learnt_from_with_a_warning() {
    let bench = Bench::new(4);
    let (_, notes) = bench.run_with_notes("data npy:arrays");
    assert!(!notes.contains("warning"), "{notes}");
    // 12 bits of 16.
    write_npy(bench.path("arrays/train_images.npy"), &Array4::from_elem((12, 1, SIDE, SIDE), 15u8))
        .unwrap();
    let labels = (0..12).map(|n| [0i64, 2, 5][n % 3]).collect::<Array1<i64>>();
    write_npy(bench.path("arrays/train_labels.npy"), &labels).unwrap();
    let (_, notes) = bench.run_with_notes("data npy:arrays");
    assert!(
        notes.contains("warning: npy:arrays: no training image has the label 1, 3 or 4"),
        "{notes}"
    );
    assert!(
        notes
            .contains("warning: npy:arrays: 100 % of the training images are nearly of one colour"),
        "{notes}"
    );
}
