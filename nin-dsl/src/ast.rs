//! What was written, before any name is looked up: [`Model`] and its parts, each with its [`Span`].
//!
//! `Display` is the canonical print ([`crate::format`]), which reads back as the same model.

use crate::number::{Number, Operator};
use crate::span::Span;

/// Words that can name neither a model nor a parameter: in Rust these are a struct and its fields, and no identifier is
/// spelt so, not even a raw one.
pub const NO_IDENTIFIERS: &[&str] = &["_", "self", "Self", "super", "crate"];

/// A word with its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Name {
    /// The word.
    pub text: String,
    /// Where it stands.
    pub span: Span,
}

/// One text: blocks, and one model `pub model NAME(param = default, ...) < ... >` or bare chain `< ... >`.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// The model's name. A bare chain is named after its source; the span is then the chain's opening `<`.
    pub name: Name,
    /// What `model` brings; `None` for a bare chain.
    pub head: Option<Head>,
    /// The chain.
    pub chain: Vec<Item>,
    /// From the first doc comment or word to the closing `>`; blocks stand outside.
    pub span: Span,
    /// The blocks of the text, in order.
    pub blocks: Vec<Block>,
}

/// What stands around a model's name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Head {
    /// The lines of its doc comment, without the slashes.
    pub docs: Vec<String>,
    /// `pub` or `pub(...)`.
    pub visibility: Option<Visibility>,
    /// The parameters, in order.
    pub params: Vec<Param>,
}

/// `block NAME(param, param = default, ...) < ... >`: a chain under a name.
#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    /// The lines of its doc comment, without the slashes.
    pub docs: Vec<String>,
    /// `pub` or `pub(...)`.
    pub visibility: Option<Visibility>,
    /// The block's name.
    pub name: Name,
    /// What a use of it may give, in order of position.
    pub slots: Vec<Slot>,
    /// The chain.
    pub chain: Vec<Item>,
}

/// A parameter of a block.
#[derive(Clone, Debug, PartialEq)]
pub struct Slot {
    /// Its name.
    pub name: Name,
    /// Its value where none is given, a constant; `None` if one must be.
    pub default: Option<Expr>,
}

/// `pub` or `pub(...)`, which mean something only in Rust.
#[derive(Clone, Debug, PartialEq)]
pub struct Visibility {
    /// As written.
    pub text: String,
    /// Where it stands.
    pub span: Span,
}

/// `name = default`.
#[derive(Clone, Debug, PartialEq)]
pub struct Param {
    /// The parameter's name.
    pub name: Name,
    /// Its value where no other is given; a constant.
    pub default: Expr,
}

/// A link of a chain.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// A layer, or a use of a block.
    Call(Call),
    /// A chain several times over.
    Repeat(Repeat),
}

/// `repeat(count) < ... >`.
#[derive(Clone, Debug, PartialEq)]
pub struct Repeat {
    /// How many times.
    pub count: Expr,
    /// The chain.
    pub chain: Vec<Item>,
    /// The word and the count, without the chain.
    pub span: Span,
}

/// A layer, or a block in use, with its arguments and branches: `maxpool(3, stride = 2)`, `add < relu > < >`, or a word alone.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// The layer's word, or the block's name.
    pub word: Name,
    /// The arguments, as written.
    pub args: Vec<Argument>,
    /// The chains after it, whether the word takes any or not.
    pub branches: Vec<Branch>,
    /// From the word to the closing parenthesis, without the branches.
    pub span: Span,
}

/// One of the chains that a layer joins.
#[derive(Clone, Debug, PartialEq)]
pub struct Branch {
    /// The chain; empty for a branch that yields what it reads.
    pub chain: Vec<Item>,
    /// From `<` to `>`.
    pub span: Span,
}

/// `value` or `name = value`.
#[derive(Clone, Debug, PartialEq)]
pub struct Argument {
    /// The name, if it is given by name.
    pub name: Option<Name>,
    /// The value.
    pub value: Expr,
    /// Name and value.
    pub span: Span,
}

/// A value with its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Expr {
    /// What it is.
    pub kind: ExprKind,
    /// Where it stands, parentheses included.
    pub span: Span,
}

/// A number, a name, or arithmetic over them.
///
/// Operators of one precedence make one flat list, so that a long sum is not a deep tree: what recurses over an
/// expression recurses over parentheses alone, and those are limited.
#[derive(Clone, Debug, PartialEq)]
pub enum ExprKind {
    /// `12`, `0.5`, `1e-5`.
    Number(Number),
    /// A parameter, or one of the words `ceil floor same`.
    Name(String),
    /// `(vertical, horizontal)` or `(top, left, bottom, right)`: a whole value, never an operand.
    Several(Vec<Expr>),
    /// `-operand`.
    Negate(Box<Expr>),
    /// `first operator operand operator operand ...`, left to right, all of one precedence.
    Arithmetic {
        /// The leftmost operand.
        first: Box<Expr>,
        /// The rest, each with the operator before it.
        rest: Vec<(Operator, Expr)>,
    },
}

impl Model {
    /// The parameters; none for a bare chain.
    pub fn params(&self) -> &[Param] {
        self.head.as_ref().map_or(&[], |head| &head.params)
    }
}
