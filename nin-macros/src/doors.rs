//! The language has two doors, and both lead to the same: what `nin!` makes of a text's tokens is held against what the
//! text itself is read as, for every model and every mistake there is an example of.

use std::collections::BTreeSet;
use std::path::Path;

use nin_dsl::{Code, Diagnostic, Graph, Severity, Source, Span, read};
use proc_macro2::{Group, LineColumn, TokenStream, TokenTree};

use crate::expand;
use crate::token_text::TokenText;

/// The texts in a folder of the workspace, in order of name.
fn texts(folder: &str) -> Vec<Source> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder);
    let entries = std::fs::read_dir(folder).expect("a folder");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "nin"));
    paths.sort();
    let source = |path: &std::path::PathBuf| {
        let name = path.file_stem().expect("a name").to_string_lossy();
        Source::new(name, std::fs::read_to_string(path).expect("a text"))
    };
    paths.iter().map(source).collect()
}

/// All tokens, those in groups too.
fn flat(tokens: TokenStream) -> Vec<TokenTree> {
    let trees = tokens.into_iter().flat_map(|tree| match &tree {
        TokenTree::Group(group) => [vec![tree.clone()], flat(group.stream())].concat(),
        _ => vec![tree],
    });
    trees.collect()
}

/// Tokens as the facade passes them on.
fn through_facade(tokens: &TokenStream) -> TokenStream {
    quote::quote!(nin #tokens)
}

/// The text of the first string in a token or its group.
fn string(tree: &TokenTree) -> Option<String> {
    flat(tree.clone().into()).into_iter().find_map(|tree| match tree {
        TokenTree::Literal(literal) => match syn::Lit::new(literal) {
            syn::Lit::Str(text) => Some(text.value()),
            _ => None,
        },
        _ => None,
    })
}

/// One diagnostic: severity, message with its code, and line and column of its place, both from 1.
type Told = (Severity, String, Option<(usize, usize)>);

/// What an expansion makes rustc say, warnings first, with the place rustc draws.
fn told(expansion: TokenStream) -> Vec<Told> {
    let trees = flat(expansion);
    let after = |i: usize, word: &str| match (&trees[i], trees.get(i + 1), trees.get(i + 2)) {
        (TokenTree::Ident(ident), Some(next), then) if ident == word => {
            string(next).or_else(|| string(then?))
        }
        _ => None,
    };
    let told = (0..trees.len()).filter_map(|i| {
        let (severity, message) = after(i, "deprecated")
            .map(|message| (Severity::Warning, message))
            .or_else(|| after(i, "compile_error").map(|message| (Severity::Error, message)))?;
        let LineColumn { line, column } = trees[i].span().start();
        let first_line = message.lines().next().unwrap_or_default().to_owned();
        Some((severity, first_line, Some((line, column + 1))))
    });
    told.collect()
}

/// What the text itself is told, with the place of the token that a macro would see there: the last one for what is
/// beyond them all, and none without tokens.
fn expected(source: &Source, tokens: &TokenStream) -> Vec<Told> {
    let diagnostics = match read(source, &[]) {
        Ok((_, warnings)) => warnings,
        Err(diagnostics) => diagnostics,
    };
    let layout = TokenText::new(tokens.clone());
    let told = |diagnostic: &Diagnostic| {
        let span = diagnostic.span().expect("a diagnostic has a place");
        let place = if source.slice(span).is_empty() {
            let end = layout.text.len();
            let LineColumn { line, column } = layout.ends(Span::new(end, end)).0.start();
            (line, column + 1)
        } else {
            let at = source.location(span);
            (at.line, at.column)
        };
        let place = (!tokens.is_empty()).then_some(place);
        (diagnostic.severity, format!("{} [{}]", diagnostic.message, diagnostic.code), place)
    };
    let mut told: Vec<Told> = diagnostics.iter().map(told).collect();
    told.sort_by_key(|(severity, ..)| *severity);
    told
}

/// Examples whose mistake is in no token, and why.
const IN_NO_TOKEN: &[(&str, &str)] = &[
    ("n001-unclosed-arguments", "Rust's own lexer refuses a parenthesis without its partner"),
    ("n005-comment", "Rust's own lexer refuses a comment without an end"),
    ("n006-comments", "Rust's own lexer drops comments, however deep they nest"),
];

/// Codes that a macro never reports, and why.
const UNREACHABLE: &[(Code, &str)] = &[
    (Code::UnterminatedComment, "Rust's own lexer refuses it"),
    (Code::UnknownOverride, "an override is the value of a field, and rustc knows the fields"),
];

#[test]
fn mistakes_are_told_at_the_same_tokens() {
    let mut codes: BTreeSet<Code> = BTreeSet::new();
    for source in texts("nin-dsl/tests/errors") {
        let listed = IN_NO_TOKEN.iter().any(|(name, _)| *name == &*source.name);
        let Ok(tokens) = source.text.parse::<TokenStream>() else {
            assert!(listed, "{} is not made of tokens", source.name);
            continue;
        };
        let mut told = told(expand::nin(through_facade(&tokens)));
        if tokens.is_empty() {
            told.iter_mut().for_each(|(.., place)| *place = None);
        }
        let expected = expected(&source, &tokens);
        if listed {
            assert_ne!(told, expected, "{} need not be listed", source.name);
            continue;
        }
        assert_eq!(told, expected, "{}", source.name);
        let is_told = |code: &&Code| {
            let number = format!("[{code}]");
            told.iter().any(|(_, message, _)| message.ends_with(&number))
        };
        codes.extend(Code::ALL.iter().filter(is_told).copied());
    }
    let missing: Vec<Code> =
        Code::ALL.iter().filter(|code| !codes.contains(code)).copied().collect();
    let unreachable: Vec<Code> = UNREACHABLE.iter().map(|(code, _)| *code).collect();
    assert_eq!(missing, unreachable);
}

/// What the expansion hands to the runtime as the model's text: a constant, or an argument beside a bare chain's name.
fn text(expansion: TokenStream) -> String {
    let strings = flat(expansion).into_iter().filter_map(|tree| match tree {
        TokenTree::Literal(_) => string(&tree),
        _ => None,
    });
    let mut texts = strings.filter(|text| text.contains('<'));
    texts.next().expect("a text")
}

fn graph(source: &Source) -> (Graph, Vec<nin_dsl::span::Location>) {
    let (graph, _) = read(source, &[]).unwrap_or_else(|errors| panic!("{errors:?}"));
    let places = graph.layers().iter().map(|layer| source.location(layer.span)).collect();
    (graph.without_places(), places)
}

#[test]
fn models_have_the_same_graph() {
    let models = [texts("models"), texts("nin-dsl/tests/corpus")].concat();
    assert!(models.len() >= 11, "only {} models", models.len());
    for source in models {
        let tokens: TokenStream = source.text.parse().expect("tokens of Rust");
        let laid_out =
            Source { text: TokenText::new(tokens.clone()).text.into(), ..source.clone() };
        assert_eq!(graph(&source), graph(&laid_out), "{}", source.name);
        // The text that is left for the runtime has places of its own.
        let left =
            Source { text: text(expand::nin(through_facade(&tokens))).into(), ..source.clone() };
        assert_eq!(graph(&source).0, graph(&left).0, "{}", source.name);
    }
}

/// The same tokens without places, as other macros make them.
fn placeless(tokens: TokenStream) -> TokenStream {
    let trees = tokens.into_iter().map(|tree| match tree {
        TokenTree::Group(group) => {
            TokenTree::Group(Group::new(group.delimiter(), placeless(group.stream())))
        }
        mut tree => {
            tree.set_span(proc_macro2::Span::call_site());
            tree
        }
    });
    trees.collect()
}

#[test]
fn marks_of_branches_may_touch() {
    let spaced = "< input(3, 8, 8) add < add < relu > < > > < > mul < > < gap > add < > < mul < > < relu > > >";
    let touching = "<input(3,8,8)add<add<relu><>><>mul<><gap>add<><mul<><relu>>>";
    let source = |text: &str| Source::new("m", text);
    let (meant, _) = graph(&source(spaced));
    for text in [spaced, touching, &spaced.replace(" > ", ">\n"), &spaced.replace(" < ", " /**/< ")]
    {
        let tokens: TokenStream = text.parse().expect("tokens of Rust");
        let bare = placeless(tokens.clone());
        for text in [text, &TokenText::new(tokens).text, &TokenText::new(bare).text] {
            assert_eq!(graph(&source(text)).0, meant, "{text}");
        }
    }
}
