//! What nin says about bad models: every text in `errors/` with the drawing of its diagnostics beside it.
//!
//! A first line `// -D name=value ...` gives parameters, as on the command line.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use nin_dsl::diagnostic::render;
use nin_dsl::{Code, Diagnostic, Number, Source, read};

/// The examples: name, text and diagnostics, in order of name.
fn examples() -> Vec<(String, Source, Vec<Diagnostic>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/errors");
    let entries = fs::read_dir(folder).expect("the examples");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "nin"));
    paths.sort();
    let example = |path: &std::path::PathBuf| {
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let source = Source::new(format!("{name}.nin"), fs::read_to_string(path).expect("text"));
        let diagnostics = match read(&source, &overrides(&source.text)) {
            Ok((graph, warnings)) => {
                graph.verify();
                warnings
            }
            Err(diagnostics) => diagnostics,
        };
        (name, source, diagnostics)
    };
    paths.iter().map(example).collect()
}

fn overrides(text: &str) -> Vec<(String, Number)> {
    let line = text.lines().next().and_then(|line| line.strip_prefix("// -D ")).unwrap_or("");
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=').expect("name=value");
        (name.to_owned(), value.parse().expect("a number"))
    };
    line.split_whitespace().map(pair).collect()
}

#[test]
fn diagnostics_are_drawn_as_before() {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("errors");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| {
        for (name, source, diagnostics) in examples() {
            let drawn: Vec<String> =
                diagnostics.iter().map(|diagnostic| render(diagnostic, &source, false)).collect();
            insta::assert_snapshot!(name, drawn.join("\n\n"));
        }
    });
}

#[test]
fn every_code_has_an_example_that_bears_its_number() {
    let mut shown = BTreeSet::new();
    for (name, _, diagnostics) in examples() {
        let code = diagnostics.iter().map(|diagnostic| diagnostic.code);
        let code = code.clone().find(|code| name.starts_with(&code.number().to_lowercase()));
        shown.insert(code.unwrap_or_else(|| panic!("{name} does not show the code of its name")));
    }
    let missing: Vec<&Code> = Code::ALL.iter().filter(|code| !shown.contains(code)).collect();
    assert!(missing.is_empty(), "no example of {missing:?}");
}

#[test]
fn every_diagnostic_points_into_its_text() {
    for (name, source, diagnostics) in examples() {
        assert!(!diagnostics.is_empty(), "{name} is fine");
        for diagnostic in diagnostics {
            assert!(!diagnostic.labels.is_empty(), "{name}: {diagnostic}: no place");
            for label in &diagnostic.labels {
                let (start, end) = (label.span.start as usize, label.span.end as usize);
                assert!(source.text.get(start..end).is_some(), "{name}: {diagnostic}: {label:?}");
            }
        }
    }
}
