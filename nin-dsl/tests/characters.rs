//! Characters that are none of the language's, and tokens and lines of any length: what is said names them, and stays short
//! and printable.

use nin_dsl::diagnostic::render;
use nin_dsl::{Diagnostic, Source, limits, read};

fn diagnostics(source: &Source) -> Vec<Diagnostic> {
    match read(source, &[]) {
        Ok((_, warnings)) => warnings,
        Err(diagnostics) => diagnostics,
    }
}

/// Everything that is said of a text, drawn and in brief.
fn said(text: &str) -> String {
    let source = Source::new("m.nin", text);
    let drawn = |diagnostic: &Diagnostic| {
        format!("{}\n{}\n", render(diagnostic, &source, false), diagnostic.brief(&source))
    };
    diagnostics(&source).iter().map(drawn).collect()
}

/// Text, place from 1, message, advice.
type Told = (&'static str, (usize, usize), &'static str, Option<&'static str>);

#[test]
fn characters_of_no_use_are_named_where_they_stand() {
    let told: [Told; 17] = [
        (
            "< input(1, 8, 8)\n  conv(4)\u{a0}gap >",
            (2, 10),
            "expected a layer or `>`, found a no-break space (U+00A0)",
            Some("put an ordinary blank in its place"),
        ),
        (
            "< input(1, 8, 8)\u{3000}gap >",
            (1, 17),
            "expected a layer or `>`, found an ideographic space (U+3000)",
            Some("put an ordinary blank in its place"),
        ),
        (
            "< input(1, 8, 8) ga\u{200b}p >",
            (1, 20),
            "expected a layer or `>`, found a zero-width space (U+200B)",
            Some("remove it"),
        ),
        (
            "< input(1, 8, 8) ga\u{feff}p >",
            (1, 20),
            "expected a layer or `>`, found a byte order mark (U+FEFF)",
            Some("remove it"),
        ),
        (
            "// Old line ends.\r< input(1, 8, 8) gap >\r",
            (1, 18),
            "expected the end of the text, found a carriage return (U+000D)",
            Some("save the text with the line ends of Unix or Windows"),
        ),
        (
            "< input(1, 8, 8)\0 gap >",
            (1, 17),
            "expected a layer or `>`, found a NUL (U+0000)",
            Some("remove it"),
        ),
        (
            "< input(1, 8, 8) \u{1b}[31mgap >",
            (1, 18),
            "expected a layer or `>`, found an escape character (U+001B)",
            Some("remove it"),
        ),
        (
            "< input(1, 8, 8) \u{202e}gap >",
            (1, 18),
            "expected a layer or `>`, found an invisible character (U+202E)",
            Some("remove it"),
        ),
        ("model Größe < input(1, 8, 8) >", (1, 7), "`ö` (U+00F6) cannot stand in a name", None),
        ("< input(1, 8, 8) éap >", (1, 18), "`é` (U+00E9) cannot stand in a name", None),
        // Cyrillic.
        ("< input(1, 8, 8) gаp >", (1, 18), "`а` (U+0430) cannot stand in a name", None),
        ("< input(1, 8, 8) fc(网) >", (1, 21), "`网` (U+7F51) cannot stand in a name", None),
        // Decomposed: a letter and an accent.
        (
            "< input(1, 8, 8) ga\u{301}p >",
            (1, 18),
            "a combining accent (U+0301) cannot stand in a name",
            None,
        ),
        (
            "< input(1, 8, 8) conv(4, pad = 3 \u{2212} 2) >",
            (1, 34),
            "expected `,` or `)`, found `−` (U+2212)",
            Some("write `-`"),
        ),
        (
            "< input(1, 8, 8) conv(4, kernel ＝ 3) >",
            (1, 33),
            "expected `,` or `)`, found `＝` (U+FF1D)",
            Some("write `=`"),
        ),
        (
            "< input(1, 8, 8) conv(4, pad = “same”) >",
            (1, 32),
            "expected a value, found `“` (U+201C)",
            None,
        ),
        (
            "model M(r#fn = 8) < input(1, 8, 8) fc(r#fn) >",
            (1, 10),
            "expected `=`, found `#`",
            Some("Rust's `r#` is for Rust alone: write the name without it"),
        ),
    ];
    for (text, (line, column), message, advice) in told {
        let source = Source::new("m.nin", text);
        let found = diagnostics(&source);
        let [only] = &*found else { panic!("{text:?}: {found:?}") };
        let place = source.location(only.span().expect("a place"));
        assert_eq!(only.message, message, "{text:?}");
        assert_eq!((place.line, place.column), (line, column), "{text:?}");
        assert_eq!(only.help.first().map(String::as_str), advice, "{text:?}");
    }
}

#[test]
fn line_ends_of_windows_and_a_byte_order_mark_are_no_mistake() {
    let unix = "// A net.\n/// Doc.\nmodel M <\n    input(1, 8, 8)\n    foo\n>\n";
    let windows = format!("\u{feff}{}", unix.replace('\n', "\r\n"));
    let places = [unix, &windows].map(|text| {
        let source = Source::new("m.nin", text);
        let found = diagnostics(&source);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].message, "there is no layer `foo`");
        source.location(found[0].span().expect("a place"))
    });
    assert_eq!(places[0], places[1]);
    // Editors do not count the mark.
    let first = Source::new("m.nin", "\u{feff}< foo >");
    assert_eq!(first.location(diagnostics(&first)[0].span().expect("a place")).column, 3);
    assert!(read(&Source::new("m.nin", "\u{feff}\r\n< input(1, 8, 8) gap >\r\n"), &[]).is_ok());
}

#[test]
fn what_is_said_of_long_tokens_and_lines_is_short() {
    let word = "a".repeat(1 << 20);
    let digits = "1".repeat(1 << 20);
    let layers = "relu ".repeat(1 << 13);
    for text in [
        format!("< input(1, 8, 8) {word} gap >"),
        format!("model {word} < input(1, 8, 8) gap >"),
        format!("model M({word} = 1) < input(1, 8, 8) gap >"),
        format!("block {word} < relu > block {word} < relu > < input(1, 8, 8) gap >"),
        format!("< input(1, 8, 8) conv({word}) >"),
        format!("< input(1, 8, 8) conv(4, {word} = 1) >"),
        format!("{word} < input(1, 8, 8) gap >"),
        format!("< input(1, 8, 8) conv({digits}) >"),
        format!("< input(1, 8, 8) conv(0.{digits}) >"),
        format!("< input(1, 8, 8) conv(1{word}) >"),
        format!("< input(1, 8, 8) conv(1 {word}) >"),
        format!("< input(1, 8, 8) ö{word} >"),
        format!("< input(1, 8, 8) {layers} foo >"),
        format!("< input(1, 8, 8) gap softmax /* {word} */ relu >"),
        format!("< input(1, 8, 8) gap softmax(/* {word} */)\nrelu >"),
        format!("< input(1, 8, 8) conv(4 /* {word} */ 3) >"),
    ] {
        let said = said(&text);
        let length = said.len();
        assert!((20..4_000).contains(&length), "{length} bytes of {}", &text[..40]);
    }
    let longest = "a".repeat(limits::NAME_BYTES);
    assert_eq!(said(&format!("model {longest} < input(1, 8, 8) gap >")), "");
    let blocks: String = (0..1000).map(|i| format!("block b{i:0>100} < relu > ")).collect();
    let unknown = format!("{blocks} < input(1, 8, 8) other >");
    let errors = diagnostics(&Source::new("m.nin", unknown));
    let error = errors.iter().find(|error| error.message.contains("other")).expect("an error");
    assert!(error.help.concat().len() < 8_000, "{error:?}");
}

#[test]
fn nothing_of_a_text_moves_a_terminals_cursor() {
    let evil = "\u{1b}[2J\u{1b}]0;t\u{7}\u{9b}\u{8}\u{202e}\u{200b}";
    for text in [
        format!("< input(1, 8, 8) {evil} gap >"),
        format!("< input(1, 8, 8) foo /* {evil} */ >"),
        format!("< input(1, 8, 8) gap softmax(/* {evil} */)\nrelu >"),
        format!("/// {evil}\n< input(1, 8, 8) gap >"),
        format!("model M /* {evil} */ (a = 1, a /* {evil} */ = 2) < input(1, 8, 8) gap >"),
    ] {
        let source = Source::new(format!("{evil}.nin"), &*text);
        let found = diagnostics(&source);
        assert!(!found.is_empty(), "{text:?} is fine");
        for diagnostic in found {
            let drawn = render(&diagnostic, &source, false);
            let brief = diagnostic.brief(&source);
            for said in [drawn, brief] {
                let moves = |c: char| c.is_control() && c != '\n' || c == '\u{202e}';
                assert!(!said.contains(moves), "{said:?}");
            }
        }
    }
}

/// A bare chain is named after its file, and the name is printed in many places.
#[test]
fn a_model_is_called_nothing_that_moves_it_either() {
    let source = Source::new("models/\u{1b}[2J\u{9b}é.nin", "< input(1, 8, 8) gap >");
    let (graph, _) = read(&source, &[]).expect("a model");
    assert_eq!(graph.name(), "\\u{1b}[2J\\u{9b}é");
}
