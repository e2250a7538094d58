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
