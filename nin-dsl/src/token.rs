//! [`Token`]s, the pieces of a text as its layout sees them.

/// A piece of a model's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) text: String,
    /// Whether it begins a line. A comment never does by itself.
    pub(crate) starts: bool,
    /// Line breaks between it and the token before it.
    pub(crate) newlines: usize,
}

/// What the layout must know of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A word, a number, an operator.
    Text,
    /// `-` before an operand.
    Negation,
    /// `(` of a list of arguments or parameters.
    ListOpen,
    /// Its `)`.
    ListClose,
    /// `,` in a list.
    Comma,
    /// `(` in an expression.
    GroupOpen,
    /// Its `)`.
    GroupClose,
    /// `,` in an expression.
    GroupComma,
    /// `<`.
    ChainOpen,
    /// `>`.
    ChainClose,
    /// `<` of a branch.
    BranchOpen,
    /// Its `>`.
    BranchClose,
    /// A doc comment.
    Doc,
    /// `// ...` or `/* ... */`.
    Comment,
}

impl Token {
    /// A token that nothing is known of but itself.
    pub(crate) fn new(kind: Kind, text: impl Into<String>) -> Token {
        Token { kind, text: text.into(), starts: false, newlines: 0 }
    }

    /// Whether it is a comment.
    pub(crate) fn is_comment(&self) -> bool {
        self.kind == Kind::Comment
    }

    /// What follows must stand on another line.
    pub(crate) fn ends_line(&self) -> bool {
        self.is_comment() && self.text.starts_with("//")
    }
}
