//! `format::source` keeps the model and every comment, and leaves what it has laid out alone.

#[path = "format/models.rs"]
mod models;

use nin_dsl::{Graph, Source, check, format, parse};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

fn laid_out(text: &str) -> String {
    format::source(&Source::new("m.nin", text)).unwrap_or_else(|e| panic!("{text}\n{e:?}"))
}

#[test]
fn a_text_is_laid_out() {
    let text = "// A file.\n\n\n/// Doc.\n//not doc\npub ( in a :: b )model M(a=1,b = - 2.5e-3 , // of all\n\n /* c */ c=(1+2) *3,)<  // begins\n
  input(1,28,28); conv( 8,kernel=a+(2),) /* after */ /* again */ relu()

  // Before a gap.
  /* lead */ gap // last
  // The end.
> // after it
block s(c,) <conv(c)repeat(2)<relu // twice
> >";
    insta::assert_snapshot!(laid_out(text), @r"
    // A file.

    /// Doc.
    //not doc
    pub(in a::b) model M(
        a = 1,
        b = -2.5e-3, // of all
        /* c */ c = (1 + 2) * 3,
    ) < // begins
        input(1, 28, 28)
        conv(8, kernel = a + (2)) /* after */ /* again */
        relu

        // Before a gap.
        /* lead */ gap // last
        // The end.
    > // after it

    block s(c) <
        conv(c)
        repeat(2) <
            relu // twice
        >
    >
    ");
}

#[test]
fn lists_are_broken_where_they_must_be() {
    let text = "model Long(first_parameter = 1, second_parameter = 22, third_parameter = 333, fourth = 4444) <
    input(1, 28, 28)
    conv( // channels
        8, /* five */ kernel = 5 // pixels
        , stride = 1
        // more to come
        , pad = ( 1 // one
        + 1) /* and */ )
    conv // eight
    (8)
    stage(8, // first
        /* second */ 9, 10 /* third */,
        11, /* fourth */
        // and the last
    )
    repeat( // twice
    2) < relu /* a
    b */ >
>
block stage(a, b, c, d) < conv(a) conv(b) conv(c) conv(d) >";
    insta::assert_snapshot!(laid_out(text), @r"
    model Long(first_parameter = 1, second_parameter = 22, third_parameter = 333, fourth = 4444) <
        input(1, 28, 28)
        conv( // channels
            8,
            /* five */ kernel = 5, // pixels
            stride = 1,
            // more to come
            pad = (1 // one
                + 1), /* and */
        )
        conv( // eight
            8,
        )
        stage(
            8, // first
            /* second */ 9,
            10 /* third */,
            11, /* fourth */
            // and the last
        )
        repeat( // twice
            2,
        ) <
            relu /* a
        b */
        >
    >

    block stage(a, b, c, d) <
        conv(a)
        conv(b)
        conv(c)
        conv(d)
    >
    ");
}

#[test]
fn branches_are_laid_out() {
    let text = "< input(8, 8, 8) mul<><gap fc(2)relu fc(8)sigmoid>
add<conv(16,bias=0)batchnorm relu;conv(16,bias=0)batchnorm><conv(16, kernel = 1, bias = 0)>, relu
add // of three
 <relu // first

conv(16)> // after the first
// before the second
<   > /* between */ < /* inside */ >
/* lead */ concat<add<relu><repeat(2)<relu>>><>
block_of(1 // one
)<><relu>
concat < mlpconv(first_of_many, second_of_many, kernel = 3) relu mlpconv(first_of_many, second_of_many) >

< add < conv(channels_of_the_inner_branch) > < mlpconv(channels_of_the_inner_branch, channels_of_the_inner_branch) > relu >
gap >";
    insta::assert_snapshot!(laid_out(text), @r"
    <
        input(8, 8, 8)
        mul < > < gap fc(2) relu fc(8) sigmoid >
        add
            < conv(16, bias = 0) batchnorm relu conv(16, bias = 0) batchnorm >
            < conv(16, kernel = 1, bias = 0) >
        relu
        add // of three
            <
                relu // first

                conv(16)
            > // after the first
            // before the second
            < > /* between */
            < /* inside */
            >
        /* lead */ concat < add < relu > < repeat(2) < relu > > > < >
        block_of(
            1, // one
        )
            < >
            < relu >
        concat
            <
                mlpconv(first_of_many, second_of_many, kernel = 3)
                relu
                mlpconv(first_of_many, second_of_many)
            >
            <
                add
                    < conv(channels_of_the_inner_branch) >
                    < mlpconv(channels_of_the_inner_branch, channels_of_the_inner_branch) >
                relu
            >
        gap
    >
    ");
}

const MODELS: &[&str] = &[
    include_str!("corpus/bare.nin"),
    include_str!("corpus/blocks.nin"),
    include_str!("corpus/marks.nin"),
    include_str!("corpus/branches.nin"),
    include_str!("corpus/repeats.nin"),
    include_str!("../../models/nin-cifar10.nin"),
    include_str!("../../models/nin-imagenet.nin"),
];

/// The words and marks of a text. Doc comments are left out, since what stands around them matters.
fn pieces(text: &str) -> Vec<String> {
    let mut pieces: Vec<String> = vec![];
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let end = match first {
            _ if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            _ if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
            '0'..='9' => {
                let dotted = rest.find(|c| !word(c) && c != '.').unwrap_or(rest.len());
                let exponent = rest[..dotted].ends_with('e') && rest[dotted..].starts_with('-');
                let digits =
                    |at: usize| rest[at..].find(|c| !word(c)).map_or(rest.len(), |n| at + n);
                if exponent { digits(dotted + 1) } else { dotted }
            }
            _ if word(first) => rest.find(|c| !word(c)).unwrap_or(rest.len()),
            _ => first.len_utf8(),
        };
        let (piece, after) = rest.split_at(end);
        if !piece.trim().is_empty() && !piece.starts_with("//") && !piece.starts_with("/*") {
            pieces.push(piece.to_owned());
        }
        rest = after;
    }
    // A path of `pub(in ...)` takes no comments.
    if let Some(open) = pieces.windows(2).position(|pair| pair[0] == "pub" && pair[1] == "(") {
        let close = open + pieces[open..].iter().position(|piece| piece == ")").expect("a `)`");
        let path = pieces[open + 2..close].join(" ").replace(": :", "::");
        pieces.splice(open + 2..close, [path]);
    }
    pieces
}

/// What may stand between two pieces.
fn between() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        6 => Just(" "),
        3 => Just("\n"),
        2 => select(vec![
            "  ", "\t", "\r\n", "\n\n", "\n \n\n", " // one\n", " //two  \r\n", "\n// three\n",
            "\n\n// four\n\n", "/* five */", " /* six */ ", "\n/* seven\n    of two lines */\n",
            "\n/* eight */ ", " /**/\n", " /* /* nine */ */ // ten\n", " //// eleven\n",
            "/*** twelve */", "\n\n\n/* thirteen */ /* fourteen */\n\n\n",
        ]),
    ]
}

/// A text with all kinds of blanks and comments between its pieces.
fn sprinkled(source: impl Strategy<Value = impl AsRef<str>>) -> impl Strategy<Value = String> {
    let gaps = vec(between(), 400);
    (source, gaps, any::<bool>()).prop_map(|(text, gaps, documented)| {
        let pieces = pieces(text.as_ref());
        // A bare chain has no doc comment.
        let documented = documented && pieces[0] != "<";
        let mut sprinkled =
            String::from(if documented { "/// Doc. \n/** And\n more. */" } else { "" });
        for (piece, gap) in pieces.iter().zip(gaps.iter().cycle()) {
            sprinkled.push(' ');
            sprinkled.push_str(piece);
            // A slash before a comment would be a part of it.
            sprinkled.push_str(if piece == "/" { " " } else { "" });
            // A path ends at its parenthesis.
            sprinkled.push_str(if piece.starts_with("in ") { "" } else { gap });
        }
        sprinkled
    })
}

/// A text of the grammar, whatever it may mean.
fn drawn() -> impl Strategy<Value = String> {
    let value = select(vec![
        "3",
        "0.5",
        "1e-5",
        "a",
        "-b",
        "same",
        "2 * a",
        "(1 + 2) * -a",
        "-(3)",
        "a - -1",
        "8 / (a / 2)",
        "a_rather_long_parameter_that_fills_its_line_all_alone + another_one_of_the_same_length",
    ]);
    let argument = (proptest::option::of(select(vec!["kernel", "c", "round"])), value.clone())
        .prop_map(|(name, value)| name.map_or(value.into(), |name| format!("{name} = {value}")));
    let list = |item: BoxedStrategy<String>| {
        (vec(item, 0..5), any::<bool>()).prop_map(|(items, comma)| match items.len() {
            0 => String::new(),
            _ => format!("({}{})", items.join(", "), if comma { "," } else { "" }),
        })
    };
    let call =
        (select(vec!["conv", "stage", "relu"]), list(argument.boxed()), select(vec!["", ";", ","]))
            .prop_map(|(word, arguments, separator)| format!("{word}{arguments} {separator}"));
    let item = call.prop_recursive(4, 24, 4, |inner| {
        let chain = vec(inner, 0..4).prop_map(|chain| format!("< {} >", chain.join(" ")));
        let word = select(vec!["add", "concat", "mul()", "relu", "stage(8, a = 1)"]);
        prop_oneof![
            chain.clone().prop_map(|chain| format!("repeat(2 * a) {chain}")),
            (word, vec(chain, 1..4))
                .prop_map(|(word, branches)| format!("{word} {}", branches.join(" "))),
        ]
    });
    let chain = vec(item, 0..5).prop_map(|chain| format!("< {} >", chain.join(" ")));
    let param =
        (select(vec!["a", "b", "other"]), value).prop_map(|(name, v)| format!("{name} = {v}"));
    let slot = prop_oneof![param.clone(), Just("c".to_owned())];
    let block = (list(slot.boxed()), chain.clone())
        .prop_map(|(slots, chain)| format!("block stage{slots} {chain}"));
    let model = (list(param.boxed()), chain, select(vec!["", "pub", "pub(crate)"]))
        .prop_map(|(params, chain, public)| format!("{public} model M{params} {chain}"));
    (vec(block.clone(), 0..2), model, vec(block, 0..2))
        .prop_map(|(before, model, after)| [before, vec![model], after].concat().join("\n"))
}

/// The comments of a text in order, without blanks at the ends of lines.
fn comments(text: &str) -> Vec<String> {
    let mut found = vec![];
    let mut rest = text;
    while let Some(start) = rest.find('/') {
        rest = &rest[start..];
        let end = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            let mut depth = 0;
            let mut at = 0;
            loop {
                let step = if rest[at..].starts_with("/*") {
                    1
                } else if rest[at..].starts_with("*/") {
                    -1
                } else {
                    0
                };
                depth += step;
                at += if step == 0 { 1 } else { 2 };
                if depth == 0 {
                    break at;
                }
            }
        } else {
            rest = &rest[1..];
            continue;
        };
        found.push(rest[..end].trim_end().to_owned());
        rest = &rest[end..];
    }
    found
}

fn meaning(text: &str) -> (String, Option<Graph>) {
    let model = parse(&Source::new("m.nin", text)).unwrap_or_else(|e| panic!("{text}\n{e:?}"));
    (model.to_string(), check(&model, &[]).0.map(Graph::without_places))
}

/// Lays a text out and holds the result to what is promised of any: the same meaning, every comment, and no further
/// change. Returns the graph, if there is one.
fn keep(text: &str) -> Result<Option<Graph>, TestCaseError> {
    let once = laid_out(text);
    prop_assert_eq!(comments(&once), comments(text), "{}\n--\n{}", text, once);
    // Expressions keep the parentheses and numbers they were written with; the model's print does not.
    let (before, after) = (meaning(text), meaning(&once));
    prop_assert_eq!(&before, &after, "{}", text);
    prop_assert_eq!(laid_out(&once), once);
    Ok(after.1)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_kept_with_its_comments(text in sprinkled(drawn())) {
        keep(&text)?;
    }

    #[test]
    fn real_models_are_kept_with_their_comments(text in sprinkled(select(MODELS))) {
        prop_assert!(keep(&text)?.is_some(), "{text}");
    }

    #[test]
    fn any_model_is_kept_with_its_comments(text in sprinkled(models::models())) {
        prop_assert!(keep(&text)?.is_some(), "{text}");
    }

    /// Without comments, layout adds nothing to the print of a model but the definitions' order.
    #[test]
    fn a_print_is_laid_out(text in drawn()) {
        let printed = parse(&Source::new("m.nin", text.as_str())).expect("a model").to_string();
        prop_assert_eq!(laid_out(&printed), printed);
    }
}

#[test]
fn models_that_come_with_nin_are_laid_out() {
    let models = concat!(env!("CARGO_MANIFEST_DIR"), "/../models");
    let folders = [models.to_owned(), format!("{models}/ablation")];
    let entries = folders.iter().flat_map(|folder| std::fs::read_dir(folder).expect("models"));
    let paths = entries.map(|entry| entry.expect("an entry").path());
    for path in paths.filter(|path| path.is_file()) {
        let text = std::fs::read_to_string(&path).expect("a text");
        assert_eq!(laid_out(&text), text, "{}", path.display());
    }
}
