//! The shapes of joins: what [`Op::Add`], [`Op::Concat`] and [`Op::Mul`] yield of two shapes or more; `None` if they do not
//! go together.

use super::Op;
use crate::shape::Shape;

/// How values become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Join {
    /// By [`Op::Add`].
    Add,
    /// By [`Op::Concat`].
    Concat,
    /// By [`Op::Mul`].
    Mul,
}

impl Join {
    /// The op that computes it.
    pub fn op(self) -> Op {
        match self {
            Join::Add => Op::Add,
            Join::Concat => Op::Concat,
            Join::Mul => Op::Mul,
        }
    }

    /// The shape it yields of these, by the rule of its own.
    pub fn shape(self, inputs: &[Shape]) -> Option<Shape> {
        match self {
            Join::Add => add(inputs),
            Join::Concat => concat(inputs),
            Join::Mul => mul(inputs),
        }
    }
}

/// The shape of a sum: that of every input.
pub fn add(inputs: &[Shape]) -> Option<Shape> {
    let (&first, rest) = inputs.split_first()?;
    rest.iter().all(|&shape| shape == first).then_some(first)
}

/// The shape of channels one after the other.
pub fn concat(inputs: &[Shape]) -> Option<Shape> {
    let (&first, rest) = inputs.split_first()?;
    let channels = inputs.iter().map(|shape| shape.channels()).sum();
    let fits = |shape: &Shape| match (first, *shape) {
        (Shape::Vector { .. }, Shape::Vector { .. }) => true,
        (Shape::Map { .. }, Shape::Map { .. }) => {
            (shape.height(), shape.width()) == (first.height(), first.width())
        }
        (Shape::Vector { .. }, Shape::Map { .. }) | (Shape::Map { .. }, Shape::Vector { .. }) => {
            false
        }
    };
    rest.iter().all(fits).then(|| match first {
        Shape::Vector { .. } => Shape::Vector { n: channels },
        Shape::Map { .. } => Shape::map(channels, first.height(), first.width()),
    })
}

/// The shape of a product: that of its largest inputs, a map if any input is one.
pub fn mul(inputs: &[Shape]) -> Option<Shape> {
    let is_map = |shape: &&Shape| matches!(shape, Shape::Map { .. });
    let largest = inputs.iter().filter(is_map).max_by_key(|shape| shape.pixels());
    let result = *largest.or(inputs.first())?;
    let fits = |&shape: &Shape| {
        shape == result || (shape.pixels() == 1 && shape.channels() == result.channels())
    };
    inputs.iter().all(fits).then_some(result)
}
