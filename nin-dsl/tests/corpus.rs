//! What becomes of good models over the whole language: each text in `corpus/`, with the canonical print and the graph
//! beside it.

use std::fs;
use std::path::Path;

use nin_dsl::{Source, check, parse};

#[test]
fn models_print_and_check_as_before() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let entries = fs::read_dir(folder).expect("the corpus");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "nin"));
    paths.sort();
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("corpus");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| {
        for path in paths {
            let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
            let text = fs::read_to_string(&path).expect("a text");
            let source = Source::new(format!("{name}.nin"), text);
            let model = parse(&source).unwrap_or_else(|errors| panic!("{name}: {errors:?}"));
            let (graph, diagnostics) = check(&model, &[]);
            assert_eq!(diagnostics, [], "{name}");
            let graph = graph.expect("a model without errors has a graph");
            graph.verify();
            insta::assert_snapshot!(name, format!("{model}\n{graph}"));
        }
    });
}
