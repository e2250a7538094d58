//! What the documents quote is there: files they link to, and the code that the guides show.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The documents of the repository's root and of `docs/`.
fn documents() -> Vec<PathBuf> {
    let listed =
        [root().to_owned(), root().join("docs")].map(|folder| fs::read_dir(folder).unwrap());
    let files = listed.into_iter().flatten().map(|entry| entry.unwrap().path());
    files.filter(|file| file.extension().is_some_and(|extension| extension == "md")).collect()
}

#[test]
fn links_lead_somewhere() {
    let mut followed = 0;
    for file in documents() {
        let text = fs::read_to_string(&file).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = link.split('#').next().unwrap_or_default();
            if path.is_empty() || path.contains("://") {
                continue;
            }
            assert!(file.with_file_name(path).exists(), "{}: no {path}", file.display());
            followed += 1;
        }
    }
    assert!(followed > 10, "only {followed} links");
}

#[test]
fn the_readme_shows_the_model_that_it_trains() {
    let read = |name: &str| fs::read_to_string(root().join(name)).unwrap();
    assert!(read("README.md").contains(&format!("```text\n{}```", read("models/digits.nin"))));
}

/// A section's heading names a file or a folder, and the Rust in it stands there, whatever its indentation.
#[test]
fn the_guide_to_ops_shows_code_that_is_there() {
    let guide = fs::read_to_string(root().join("docs/add-an-op.md")).unwrap();
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut shown = 0;
    for section in guide.split("\n## ").skip(1) {
        let heading = section.lines().next().unwrap();
        let named = heading.split('`').nth(1).map(|path| root().join(path));
        for block in section.split("```rust,ignore\n").skip(1) {
            let code = words(block.split("\n```").next().unwrap());
            let place = named.as_ref().unwrap_or_else(|| panic!("{heading} names no file"));
            let files = match place.is_dir() {
                true => fs::read_dir(place).unwrap().map(|entry| entry.unwrap().path()).collect(),
                false => vec![place.clone()],
            };
            let mut texts = files.iter().filter_map(|file| fs::read_to_string(file).ok());
            assert!(texts.any(|text| words(&text).contains(&code)), "{heading}: {code}");
            shown += 1;
        }
    }
    assert!(shown > 4, "only {shown} pieces of code");
}

/// What stands in the page on speed outside of what `benches/peers/measure.py` writes and `benches/peers/run.py` prints: no figure that was measured, for it would be another
/// run's than the tables'. These are none: settings, counts and examples.
#[test]
fn the_page_on_speed_says_no_figure_that_its_tables_do_not_hold() {
    const SETTLED: [&str; 7] = [
        "more than 100 % of the peak",
        "16 x 16 pixels 14 % meet only padding",
        "of a 3 x 3 on 8 x 8 16 %",
        "at least 3 % less",
        "at least 1 % less",
        "is 1.20 x",
        "does 1.20 times in a second",
    ];
    const UNITS: [&str; 11] =
        ["%", "x", "times", "us", "ms", "s", "images/s", "GFLOP/s", "GB/s", "KiB", "MiB"];
    let page = fs::read_to_string(root().join("docs/performance.md")).unwrap();
    let mut unmeasured = page;
    for what in ["measured", "peers"] {
        let (before, rest) = unmeasured.split_once(&format!("<!-- {what}: begin -->")).unwrap();
        let (_, after) = rest.split_once(&format!("<!-- {what}: end -->")).unwrap();
        unmeasured = format!("{before} {after}");
    }
    let prose: String = unmeasured.split("\n```").step_by(2).collect();
    let mut prose = prose.split_whitespace().collect::<Vec<_>>().join(" ");
    for settled in SETTLED {
        assert!(prose.contains(settled), "`{settled}` no longer stands there");
        prose = prose.replace(settled, "");
    }
    let words: Vec<&str> = prose
        .split(' ')
        .map(|word| word.trim_matches(|c: char| ",.;:()*|\"".contains(c)))
        .collect();
    let is_number = |word: &str| {
        word.starts_with(|c: char| c.is_ascii_digit())
            && word.chars().all(|c| c.is_ascii_digit() || ",.".contains(c))
    };
    for three in words.windows(3) {
        let size = three[1] == "x" && is_number(three[2]);
        let measured = is_number(three[0]) && UNITS.contains(&three[1]) && !size;
        assert!(!measured, "`{}` is in no table that is measured", three.join(" "));
    }
}

/// People depend on the crate `nin` and on no other: what an example in its documentation imports, they can import. Examples of
/// the crates that it re-exports are compiled where they stand, with `nin` beside them.
#[test]
fn examples_in_the_documentation_name_the_facade_alone() {
    let mut folders = vec![root().join("src"), root().join("nin-runtime/src")];
    let mut examples = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            for line in text.lines().map(str::trim_start) {
                let Some(line) = line.strip_prefix("///").or(line.strip_prefix("//!")) else {
                    continue;
                };
                examples += usize::from(line.trim_start().starts_with("use nin::"));
                for other in ["nin_runtime::", "nin_dsl::", "nin_macros::", "use ndarray::"] {
                    assert!(!line.contains(other), "{}: {line}", path.display());
                }
            }
        }
    }
    assert!(examples > 20, "only {examples} imports");
}

/// `benches/peers/measure.py` wrote them, all in one run on a quiet machine.
#[test]
fn the_tables_on_speed_agree_with_themselves() {
    let page = fs::read_to_string(root().join("docs/performance.md")).unwrap();
    let (_, rest) = page.split_once("<!-- measured: begin -->").unwrap();
    let (measured, _) = rest.split_once("<!-- measured: end -->").unwrap();
    for remark in ["the machine was busy", "Only a trial"] {
        assert!(!measured.contains(remark), "figures that say little: {remark}");
    }
    let cells = |line: &str| -> Vec<String> {
        line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
    };
    let mut columns: Option<[usize; 3]> = None;
    for line in measured.lines() {
        let cells = cells(line);
        let column = |name: &str| cells.iter().position(|cell| cell == name);
        if let (Some(auto), Some(direct), Some(ratio)) =
            (column("`auto`: images/s"), column("`direct`: images/s"), column("`auto` is"))
        {
            columns = Some([auto, direct, ratio]);
        } else if line.is_empty() {
            columns = None;
        } else if let Some(columns) = columns.filter(|_| !line.contains("---")) {
            let number =
                |at: usize| cells[at].trim_end_matches(" x").replace(',', "").parse::<f64>();
            let [auto, direct, ratio] = columns.map(|at| number(at).unwrap());
            assert!((auto / direct / ratio - 1.0).abs() < 0.1, "{line}");
        }
    }
}
