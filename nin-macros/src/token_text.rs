//! Tokens to text: [`TokenText`] puts every token on the line and column of its span, so that the text is what the user
//! wrote, comments aside, and remembers which bytes came from which token.

use std::ops::Range;

use nin_dsl::Span as TextSpan;
use proc_macro2::{Delimiter, Group, Punct, Spacing, Span, TokenStream, TokenTree};

/// The text of a token stream and the way back from its bytes to its tokens.
#[derive(Debug)]
pub(crate) struct TokenText {
    pub(crate) text: String,
    /// Which bytes each token became, in order.
    tokens: Vec<(Range<usize>, Span)>,
}

impl TokenText {
    /// Lays out a token stream.
    pub(crate) fn new(tokens: TokenStream) -> TokenText {
        let mut layout =
            Layout { text: String::new(), tokens: vec![], line: 1, column: 0, glue: Glue::Nothing };
        layout.stream(tokens);
        TokenText { text: layout.text, tokens: layout.tokens }
    }

    /// The spans of the first and the last token under a piece of text; of the last token of all for the text's end.
    pub(crate) fn ends(&self, place: TextSpan) -> (Span, Span) {
        let (start, end) = (place.start as usize, place.end as usize);
        let mut under = self.tokens.iter().filter(|(bytes, _)| bytes.end > start);
        let Some((bytes, first)) = under.next().or(self.tokens.last()) else {
            return (Span::call_site(), Span::call_site());
        };
        let rest = under.take_while(|(bytes, _)| bytes.start < end);
        let last = rest.last().map_or(*first, |(_, last)| *last);
        if bytes.start < end { (*first, last) } else { (*first, *first) }
    }
}

/// What must stand between the last token and the next, wherever they are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Glue {
    /// Nothing: the two halves of `::`, or the start.
    Nothing,
    /// A blank, so that two tokens stay two.
    Blank,
    /// The end of the line, which ends a `///`.
    Newline,
}

struct Layout {
    text: String,
    tokens: Vec<(Range<usize>, Span)>,
    /// Where the last token ended: a line from 1 and a column in characters from 0, as spans have them.
    line: usize,
    column: usize,
    glue: Glue,
}

impl Layout {
    fn stream(&mut self, stream: TokenStream) {
        let mut trees = stream.into_iter().peekable();
        while let Some(tree) = trees.next() {
            match tree {
                TokenTree::Punct(hash) if hash.as_char() == '#' => {
                    let bang = trees.next_if(|next| is_punct(next, '!'));
                    if let Some(doc) = trees.peek().and_then(doc_text) {
                        trees.next();
                        self.doc(hash.span(), &doc, bang.is_some());
                    } else {
                        self.punct(&hash);
                        bang.into_iter().for_each(|bang| self.stream(bang.into()));
                    }
                }
                TokenTree::Punct(punct) => self.punct(&punct),
                TokenTree::Group(group) => self.group(&group),
                TokenTree::Ident(ident) => self.word(&ident.to_string(), ident.span()),
                TokenTree::Literal(literal) => self.token(&literal.to_string(), literal.span()),
            }
        }
    }

    /// A word. Rust's keywords are names in the language, and as Rust writes those: `r#fn` is the name `fn`, which stands two
    /// columns further.
    fn word(&mut self, word: &str, span: Span) {
        match word.strip_prefix("r#") {
            Some(name) => self.token(&format!("  {name}"), span),
            None => self.token(word, span),
        }
    }

    fn group(&mut self, group: &Group) {
        let (open, close) = match group.delimiter() {
            Delimiter::Parenthesis => ("(", ")"),
            Delimiter::Brace => ("{", "}"),
            Delimiter::Bracket => ("[", "]"),
            // Around what another macro passes on; it was never written.
            Delimiter::None => return self.stream(group.stream()),
        };
        self.token(open, group.span_open());
        self.stream(group.stream());
        self.token(close, group.span_close());
    }

    fn punct(&mut self, punct: &Punct) {
        self.token(punct.as_char().encode_utf8(&mut [0; 4]), punct.span());
        if punct.spacing() == Spacing::Joint {
            self.glue = Glue::Nothing;
        }
    }

    /// A doc comment, which reaches a macro as an attribute.
    fn doc(&mut self, span: Span, text: &str, inner: bool) {
        let (start, end) = (span.start(), span.end());
        // The attribute's tokens carry the span of the whole comment, by whose length its marks are told apart.
        let marks = (end.column.saturating_sub(start.column)).saturating_sub(text.chars().count());
        if start.line != end.line || (marks == "/***/".len()) {
            let mark = if inner { "/*!" } else { "/**" };
            return self.token(&format!("{mark}{text}*/"), span);
        }
        for line in text.split('\n') {
            let mark = if inner { "//!" } else { "///" };
            self.token(&format!("{mark}{line}"), span);
            self.glue = Glue::Newline;
        }
    }

    /// Appends a token at the place of its span. Tokens that other macros make may stand anywhere, even before the last
    /// one: those follow it at once.
    fn token(&mut self, token: &str, span: Span) {
        let (start, end) = (span.start(), span.end());
        let has_width = start != end;
        let next_line = start.line > self.line;
        let same_line =
            start.line == self.line && start.column >= self.column && self.glue != Glue::Newline;
        if has_width && next_line {
            self.text.extend(std::iter::repeat_n('\n', start.line - self.line));
            self.text.extend(std::iter::repeat_n(' ', start.column));
        } else if has_width && same_line {
            self.text.extend(std::iter::repeat_n(' ', start.column - self.column));
        } else {
            self.text.push_str(match self.glue {
                Glue::Nothing => "",
                Glue::Blank => " ",
                Glue::Newline => "\n",
            });
        }
        (self.line, self.column, self.glue) = (end.line, end.column, Glue::Blank);
        let bytes = self.text.len()..self.text.len() + token.len();
        self.text.push_str(token);
        self.tokens.push((bytes, span));
    }
}

fn is_punct(tree: &TokenTree, mark: char) -> bool {
    matches!(tree, TokenTree::Punct(punct) if punct.as_char() == mark)
}

/// The text of `[doc = "text"]`.
fn doc_text(tree: &TokenTree) -> Option<String> {
    let TokenTree::Group(group) = tree else { return None };
    let mut trees = group.stream().into_iter();
    match (trees.next()?, trees.next()?, trees.next()?, trees.next()) {
        (TokenTree::Ident(doc), equals, TokenTree::Literal(literal), None)
            if doc == "doc" && is_punct(&equals, '=') =>
        {
            match syn::Lit::new(literal) {
                syn::Lit::Str(text) => Some(text.value()),
                _ => None,
            }
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lay_out(text: &str) -> TokenText {
        TokenText::new(text.parse().expect("tokens of Rust"))
    }

    #[test]
    fn tokens_land_where_they_were_written() {
        let text = "\n  model M(a = 1e-5) < // é\n    conv(  a*2 ,kernel=3); relu >";
        assert_eq!(
            lay_out(text).text,
            "\n  model M(a = 1e-5) <\n    conv(  a*2 ,kernel=3); relu >"
        );
    }

    #[test]
    fn doc_comments_keep_their_marks() {
        for text in ["/// a \"b\" \\n c", "/** d */", "/** e\n f */", "//! g", "/*! h */"] {
            assert_eq!(lay_out(text).text, text);
        }
        assert_eq!(lay_out("#[doc = \"i\\nj\"] model").text, "///i\n///j\nmodel");
    }

    #[test]
    fn tokens_without_places_stay_apart() {
        let tokens = quote::quote!(
            /// a
            pub(in a::b) model M < conv(-x / x) relu >
        );
        assert_eq!(
            TokenText::new(tokens).text,
            "/// a\npub ( in a :: b ) model M < conv ( - x / x ) relu >"
        );
    }

    #[test]
    fn raw_identifiers_are_the_names_they_stand_for() {
        assert_eq!(lay_out("M(r#fn = 8) < r#fn >").text, "M(  fn = 8) <   fn >");
    }

    #[test]
    fn bytes_lead_back_to_tokens() {
        let layout = lay_out("< conv(wide + 1) >");
        let at = |start, end| {
            let (first, last) = layout.ends(TextSpan::new(start, end));
            (first.start().column, last.end().column)
        };
        assert_eq!(at(7, 11), (7, 11));
        assert_eq!(at(7, 15), (7, 15));
        assert_eq!(at(18, 18), (17, 18));
        assert_eq!(at(11, 11), (12, 13));
    }
}
