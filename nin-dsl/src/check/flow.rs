//! [`Flow`], what is known of the shape between two layers.

use std::fmt;

use crate::layer::Yields;
use crate::shape::Shape;

/// What is known of a shape.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Flow {
    /// All of it: the builder has it.
    Shape(Shape),
    /// A map of unknown size.
    Map,
    /// A vector of unknown size.
    Vector,
    /// Nothing, before the input or after an unknown layer.
    Unknown,
}

impl Flow {
    pub(super) fn is_map(self) -> bool {
        matches!(self, Flow::Map | Flow::Shape(Shape::Map { .. }))
    }

    pub(super) fn is_vector(self) -> bool {
        matches!(self, Flow::Vector | Flow::Shape(Shape::Vector { .. }))
    }

    /// What a layer in error leaves.
    pub(super) fn after(self, yields: Yields) -> Flow {
        match yields {
            Yields::Same | Yields::Joined => self,
            Yields::Map => Flow::Map,
            Yields::Vector | Yields::End => Flow::Vector,
        }
    }

    /// What a join leaves of branches whose shapes are not all known, or do not go together.
    pub(super) fn joined(branches: &[Flow]) -> Flow {
        if branches.iter().any(|flow| flow.is_map()) {
            Flow::Map
        } else if branches.iter().all(|flow| flow.is_vector()) {
            Flow::Vector
        } else {
            Flow::Unknown
        }
    }
}

impl fmt::Display for Flow {
    /// As a message names it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Flow::Shape(Shape::Vector { n }) => write!(f, "{n} features"),
            Flow::Shape(shape) => write!(f, "{shape}"),
            Flow::Map => f.write_str("a map"),
            Flow::Vector => f.write_str("a vector"),
            Flow::Unknown => f.write_str("something unknown"),
        }
    }
}
