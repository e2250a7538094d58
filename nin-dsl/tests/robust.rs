//! No text makes the parser or the checker panic, run out of stack or take long, and what passes reads back from its
//! print.

use std::time::{Duration, Instant};

use nin_dsl::{Code, Diagnostic, Graph, Number, Source, ast, check, format, limits, parse};
use proptest::prelude::*;

const MODELS: [&str; 6] = [
    include_str!("../../models/nin-cifar10-caffe.nin"),
    include_str!("../../models/nin-imagenet.nin"),
    include_str!("corpus/marks.nin"),
    include_str!("corpus/blocks.nin"),
    include_str!("corpus/repeats.nin"),
    include_str!("corpus/branches.nin"),
];

/// Reads and checks a text, and holds the result to what is promised of any.
fn examine(text: &str) -> Result<(), Vec<Diagnostic>> {
    let source = Source::new("m.nin", text);
    let judged = parse(&source).map(|model| (check(&model, &[]), model));
    let diagnostics = match &judged {
        Ok(((_, diagnostics), _)) => diagnostics,
        Err(diagnostics) => diagnostics,
    };
    for diagnostic in diagnostics {
        for label in &diagnostic.labels {
            let (start, end) = (label.span.start as usize, label.span.end as usize);
            assert!(text.get(start..end).is_some(), "{diagnostic}: {label:?} is not in the text");
        }
        nin_dsl::diagnostic::render(diagnostic, &source, false);
    }
    match judged {
        Ok(((Some(graph), _), model)) => {
            graph.verify();
            assert_reads_back(&model, &graph);
            Ok(())
        }
        Ok(((None, diagnostics), _)) | Err(diagnostics) => {
            assert!(!diagnostics.is_empty(), "refused without a reason");
            Err(diagnostics)
        }
    }
}

fn assert_reads_back(model: &ast::Model, graph: &Graph) {
    let graph = graph.clone().without_places();
    let resolved = format::resolved(model, &[]).expect("it has been checked");
    for printed in [model.to_string(), resolved.to_string()] {
        let again = parse(&Source::new("m.nin", printed.as_str())).expect("a print parses");
        assert_eq!(again.to_string(), printed, "a print is its own print");
        let (again, _) = check(&again, &[]);
        assert_eq!(again.map(Graph::without_places).as_ref(), Some(&graph), "{printed}");
    }
}

#[test]
fn an_empty_line_of_a_doc_comment_stays() {
    let text = "/// One.\n///\n/// Two.\nmodel M <\n    input(1, 2, 2)\n    relu\n>\n";
    let model = parse(&Source::new("m.nin", text)).expect("it parses");
    assert_eq!(model.to_string(), text);
}

fn first_code(text: &str) -> Option<Code> {
    let started = Instant::now();
    let result = examine(text);
    let taken = started.elapsed();
    assert!(taken < Duration::from_secs(10), "{} bytes took {taken:?}", text.len());
    result.err().map(|diagnostics| diagnostics[0].code)
}

#[test]
fn depth_is_refused_before_the_stack_ends() {
    let chain = |value: &str| format!("< input(3, 8, 8) conv({value}) >");
    let nested = |n: usize| format!("{}8{}", "(".repeat(n), ")".repeat(n));
    // The chain and the call are two of the levels.
    assert_eq!(first_code(&chain(&nested(limits::NESTING - 2))), None);
    assert_eq!(first_code(&chain(&nested(limits::NESTING - 1))), Some(Code::NestedTooDeep));
    assert_eq!(first_code(&chain(&nested(100_000))), Some(Code::NestedTooDeep));
    assert_eq!(first_code(&chain(&"-".repeat(100_000))), Some(Code::Syntax));
    assert_eq!(first_code(&"<".repeat(100_000)), Some(Code::NestedTooDeep));
    assert_eq!(first_code(&"/*".repeat(100_000)), Some(Code::NestedTooDeep));
    assert_eq!(first_code(&chain(&"-(".repeat(100_000))), Some(Code::NestedTooDeep));
}

#[test]
fn length_costs_no_more_than_it_must() {
    // Enough for a cost that grows with the square to show.
    let terms = limits::TEXT_BYTES / 64;
    let sum = format!("< input(3, 8, 8) conv(1{}) >", "+1-1".repeat(terms));
    assert_eq!(first_code(&sum), None);
    let product = format!("< input(3, 8, 8) conv(1{}) >", "*1".repeat(terms));
    assert_eq!(first_code(&product), None);
    let comments = format!("{} < input(3, 8, 8) >", "/**/ ".repeat(terms));
    assert_eq!(first_code(&comments), None);
    let docs = format!("{} model M < input(3, 8, 8) >", "///\n".repeat(terms));
    assert_eq!(first_code(&docs), None);
    let blanks = format!("< input(3, 8, 8) repeat(2) < repeat(2) < {} > > >", " ; relu".repeat(9));
    assert_eq!(first_code(&blanks.replace(" ; ", &" ".repeat(terms / 9))), None);
    let channels = format!("< input(1, 1, 1) mlpconv({}) >", "1,".repeat(terms));
    assert_eq!(first_code(&channels), None);
    assert_eq!(first_code(&"a".repeat(terms)), Some(Code::Syntax));
    assert_eq!(first_code(&" ".repeat(limits::TEXT_BYTES + 1)), Some(Code::TooLarge));
}

#[test]
fn counts_are_limited() {
    let layers = |n: usize| format!("< input(1, 1, 1) {} >", "relu ".repeat(n - 1));
    assert_eq!(first_code(&layers(limits::LAYERS)), None);
    assert_eq!(first_code(&layers(limits::LAYERS + 1)), Some(Code::TooLarge));
    assert_eq!(first_code(&layers(400_000)), Some(Code::TooLarge));
    let params: String = (0..200_000).map(|i| format!("p{i} = 1,")).collect();
    assert_eq!(first_code(&format!("model M({params}) < >")), Some(Code::TooLarge));
    assert_eq!(
        first_code(&format!("block B({params}) < > < input(1, 1, 1) >")),
        Some(Code::TooLarge)
    );
    let blocks: String = (0..100_000).map(|i| format!("block b{i} < > ")).collect();
    assert_eq!(first_code(&format!("{blocks} < input(1, 1, 1) >")), Some(Code::TooLarge));
}

#[test]
fn expansion_is_limited() {
    // Each block uses the next one twice: the last one 2^60 times.
    let doubling = |end: &str| {
        let blocks: String =
            (0..60).map(|i| format!("block b{i} < b{} b{} > ", i + 1, i + 1)).collect();
        format!("{blocks} block b60 < {end} > < input(1, 1, 1) b0 >")
    };
    assert_eq!(first_code(&doubling("relu")), Some(Code::TooLarge));
    assert_eq!(first_code(&doubling("")), Some(Code::TooLarge));
    assert_eq!(first_code(&doubling("b0")), Some(Code::RecursiveBlock));
    // Each block uses all of them: as many paths as there are orders.
    let all: String = (0..100).map(|i| format!("b{i} ")).collect();
    let blocks: String = (0..100).map(|i| format!("block b{i} < {all} >\n")).collect();
    assert_eq!(first_code(&format!("{blocks} < input(1, 1, 1) b0 >")), Some(Code::RecursiveBlock));
    let repeats = |n: usize| format!("{}relu{}", "repeat(1) < ".repeat(n), " >".repeat(n));
    // The model's own chain is one of the levels.
    let nested = |n: usize| format!("< input(1, 1, 1) {} >", repeats(n));
    assert_eq!(first_code(&nested(limits::NESTING - 1)), None);
    assert_eq!(first_code(&nested(limits::NESTING)), Some(Code::NestedTooDeep));
    let inside = format!("block b < {} > < input(1, 1, 1) b >", repeats(limits::NESTING - 1));
    assert_eq!(first_code(&inside), None);
    let chain: String = (0..900).map(|i| format!("block b{i} < b{} > ", i + 1)).collect();
    let chain = format!("{chain} block b900 < relu > < input(1, 1, 1) b0 >");
    assert_eq!(first_code(&chain), Some(Code::NestedTooDeep));
}

#[test]
fn branches_are_limited() {
    let nested =
        |n: usize| format!("< input(1, 1, 1) {}relu{} >", "add < > < ".repeat(n), " >".repeat(n));
    assert_eq!(first_code(&nested(limits::NESTING - 1)), None);
    assert_eq!(first_code(&nested(limits::NESTING)), Some(Code::NestedTooDeep));
    assert_eq!(first_code(&nested(100_000)), Some(Code::NestedTooDeep));
    let unclosed = format!("< input(1, 1, 1) {}", "add < > < ".repeat(limits::NESTING - 1));
    assert_eq!(first_code(&unclosed), Some(Code::Syntax));
    // By way of blocks, as deep as the expansion may go and no deeper.
    let blocks = |n: usize| {
        let blocks: String =
            (0..n).map(|i| format!("block b{i} < mul < > < b{} > > ", i + 1)).collect();
        format!("{blocks} block b{n} < relu > < input(1, 1, 1) b0 >")
    };
    assert_eq!(first_code(&blocks(31)), None);
    assert_eq!(first_code(&blocks(32)), Some(Code::NestedTooDeep));
    // Many side by side.
    let branches = |n: usize, chain: &str| format!("< input(1, 1, 1) add {} >", chain.repeat(n));
    assert_eq!(first_code(&branches(limits::EXPANSIONS, "< >")), None);
    assert_eq!(first_code(&branches(limits::EXPANSIONS + 1, "< >")), Some(Code::TooLarge));
    assert_eq!(first_code(&branches(limits::LAYERS - 2, "< relu >")), None);
    assert_eq!(first_code(&branches(limits::LAYERS - 1, "< relu >")), Some(Code::TooLarge));
    assert_eq!(first_code(&branches(400_000, "< >")), Some(Code::TooLarge));
    let odd: String = (0..9_000).map(|c| format!("< conv({}) >", c % 99 + 1)).collect();
    assert_eq!(first_code(&format!("< input(1, 1, 1) add {odd} >")), Some(Code::BranchShapes));
    let joins = |n: usize| format!("< input(1, 1, 1) {} >", "add < > < > ".repeat(n));
    assert_eq!(first_code(&joins(limits::EXPANSIONS / 2)), None);
    assert_eq!(first_code(&joins(limits::EXPANSIONS / 2 + 1)), Some(Code::TooLarge));
}

#[test]
fn the_largest_models_are_counted_without_wrapping() {
    // 2^28 numbers in each activation, and about as many parameters as there may be.
    let wide = "< input(1, 16384, 16384) mlpconv(1, 1, kernel = 10923) relu >";
    assert_eq!(first_code(wide), None);
    assert_eq!(first_code("< input(16384, 1, 1) fc(16384) >"), Some(Code::TooLarge));
    let doubled = "< input(1, 16384, 16384) concat < > < > >";
    assert_eq!(first_code(doubled), Some(Code::TooLarge));
    let largest = 1i64 << 28;
    for far in [format!("stride = {largest}"), format!("kernel = {largest}, pad = {largest}")] {
        let chain = format!("conv(1, {far}) ").repeat(4);
        let text = format!("< input(1, 9, 9) {chain} >");
        assert!(matches!(first_code(&text), None | Some(Code::TooLarge)), "{text}");
    }
}

/// Words and marks of the language, and some that are not.
fn soup() -> impl Strategy<Value = String> {
    let token = prop::sample::select(vec![
        "<",
        ">",
        "(",
        ")",
        ",",
        ";",
        "=",
        "+",
        "-",
        "*",
        "/",
        "model",
        "pub",
        "block",
        "repeat",
        "input",
        "conv",
        "depthwise",
        "(1, 3)",
        "groups",
        "dilation",
        "count = window",
        "mlpconv",
        "maxpool",
        "avgpool",
        "dropout",
        "relu",
        "leaky_relu(0.1)",
        "elu(0.5)",
        "relu6",
        "sigmoid",
        "tanh",
        "silu",
        "gelu",
        "hard_sigmoid",
        "hard_swish",
        "prelu",
        "scale(-2)",
        "gap",
        "gmp",
        "lrn(3)",
        "batchnorm(ghost = 4)",
        "fc",
        "softmax",
        "ceil",
        "floor",
        "same",
        "kernel",
        "stride",
        "pad",
        "bias",
        "round",
        "p",
        "k",
        "n",
        "M",
        "a",
        "b",
        "0",
        "1",
        "2",
        "3",
        "8",
        "0.5",
        "1e-5",
        "9223372036854775807",
        "268435456",
        "1.",
        "1e",
        "0x1",
        "'",
        "\"",
        "é",
        "🦀",
        "//",
        "///",
        "/*",
        "*/",
        "/**",
        "\n",
        "\r\n",
        "input(3, 8, 8)",
        "conv(4)",
        "maxpool(2)",
        "model M(a = 2) <",
        "block B(a, k = 2) <",
        "B(4)",
        "repeat(2) <",
        "add",
        "concat",
        "mul",
        "add <",
        "> <",
        "< >",
        "> < >",
        "mul < > < gap",
        "add < conv(3) > < >",
    ]);
    let separator = prop::sample::select(vec!["", " "]);
    prop::collection::vec((token, separator), 0..40)
        .prop_map(|tokens| tokens.iter().map(|(token, blank)| format!("{token}{blank}")).collect())
}

/// A model with a few pieces cut out, doubled or replaced.
fn mutated() -> impl Strategy<Value = String> {
    let edit = (any::<prop::sample::Index>(), 0usize..8, soup(), 0usize..3);
    (prop::sample::select(MODELS.to_vec()), prop::collection::vec(edit, 0..4)).prop_map(
        |(model, edits)| {
            let mut characters: Vec<char> = model.chars().collect();
            for (place, length, insert, kind) in edits {
                let start = place.index(characters.len() + 1);
                let end = (start + length).min(characters.len());
                let removed: Vec<char> = characters[start..end].to_vec();
                let put: Vec<char> = match kind {
                    0 => vec![],
                    1 => removed.repeat(2),
                    _ => insert.chars().take(length).collect(),
                };
                characters.splice(start..end, put);
            }
            characters.into_iter().collect()
        },
    )
}

/// Arithmetic of every form, most of it with a value.
fn expression() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        (-20i64..20).prop_map(|n| n.to_string()),
        (-2.0f64..2.0).prop_map(|x| Number::Real(x).to_string()),
        Just("a".to_owned()),
    ];
    leaf.prop_recursive(5, 40, 4, |inner| {
        let operator = prop::sample::select(vec!["+", "-", "*", "/", " - ", " / "]);
        prop_oneof![
            inner.clone().prop_map(|e| format!("({e})")),
            inner.clone().prop_map(|e| format!("-({e})")),
            (inner.clone(), operator, inner)
                .prop_map(|(a, operator, b)| format!("{a}{operator}{b}")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_judged(text in any::<String>()) {
        let _ = examine(&text);
    }

    #[test]
    fn any_bytes_are_judged(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = examine(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn any_tokens_are_judged(text in soup()) {
        let _ = examine(&text);
    }

    #[test]
    fn any_mistake_in_a_model_is_judged(text in mutated()) {
        let _ = examine(&text);
    }

    #[test]
    fn any_override_is_judged(whole in any::<i64>(), real in any::<f64>()) {
        for (model, text) in MODELS.iter().enumerate() {
            let ast = parse(&Source::new("m.nin", *text)).expect("a model");
            let name = ["width", "classes", "b", "rate", "depth", "width"][model].to_owned();
            for value in [Number::Whole(whole), Number::Real(real)] {
                let overrides = [(name.clone(), value)];
                let (graph, diagnostics) = check(&ast, &overrides);
                prop_assert!(graph.is_some() || !diagnostics.is_empty());
                if let Some(graph) = graph {
                    graph.verify();
                    let resolved = format::resolved(&ast, &overrides).expect("it has been checked");
                    assert_reads_back(&resolved, &graph);
                }
            }
        }
    }

    /// Parentheses in a print are neither missing nor needless: the value stays, and so does the next print.
    #[test]
    fn an_expression_keeps_its_value_in_print(value in expression()) {
        let text = format!("model M(a = 3) < input(3, 8, 8) dropout({value}) conv(a) >");
        let Ok(model) = parse(&Source::new("m.nin", text.as_str())) else {
            // `--1` and `a--1`'s like are no expressions of the language.
            return Ok(());
        };
        let printed = model.to_string();
        let again = parse(&Source::new("m.nin", printed.as_str())).expect("a print parses");
        prop_assert_eq!(again.to_string(), printed);
        let messages = |model| -> Vec<String> {
            check(model, &[]).1.iter().map(Diagnostic::to_string).collect()
        };
        prop_assert_eq!(messages(&again), messages(&model));
    }
}
