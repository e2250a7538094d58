//! What the compiler has to know of the ops that make a number of the same number alone: all that decides where their tensors lie
//! and what is kept for the backward pass.
#![warn(clippy::wildcard_enum_match_arm)]

use nin_dsl::graph::{Activation, Op};

use crate::compiler::kernel::{Epilogue, Scalar};

/// What the rule for the gradient of an element reads besides the gradient of its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// Nothing of the forward pass.
    Nothing,
    /// Whether the value is positive.
    Sign,
    /// The value itself, which nothing may work on in place.
    Value,
    /// The operand, which a training step must not overwrite: the value does not tell it.
    Operand,
}

/// An op that works element by element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elementwise {
    /// What the rule for its gradient reads.
    pub reads: Reads,
    /// Whether it may take the place of a value of which others read the sign: it makes no positive number of another, and of a
    /// positive one only where the gradient is zero.
    pub keeps_signs: bool,
}

/// What an op is, if it makes an element of the same element alone.
pub fn elementwise(op: Op) -> Option<Elementwise> {
    let (reads, keeps_signs) = match op {
        // The mask is `output > 0`, so the operand's value can be dropped (or never be stored).
        Op::Relu => (Reads::Sign, true),
        Op::Activation(activation) => (reads(activation), keeps_signs(activation)),
        // A trained slope may become negative.
        Op::PRelu { .. } => (Reads::Operand, false),
        // It zeroes positive numbers, but has made the gradient zero there, since it is the only reader of what is before it.
        Op::Dropout { .. } => (Reads::Nothing, true),
        Op::Input
        | Op::Conv { .. }
        | Op::MaxPool { .. }
        | Op::AvgPool { .. }
        | Op::GlobalAvgPool
        | Op::GlobalMaxPool
        | Op::BatchNorm { .. }
        | Op::Lrn { .. }
        | Op::Softmax
        | Op::Add
        | Op::Concat
        | Op::Mul => return None,
    };
    Some(Elementwise { reads, keeps_signs })
}

fn reads(activation: Activation) -> Reads {
    match activation {
        // A value has its operand's sign, since the slope is not negative.
        Activation::LeakyRelu { .. } => Reads::Sign,
        // The value tells the gradient without another exponential.
        Activation::Elu { .. } => Reads::Value,
        Activation::Relu6 | Activation::Sigmoid | Activation::Tanh | Activation::HardSigmoid => {
            Reads::Value
        }
        // They fall before they rise: two numbers have one value.
        Activation::Silu | Activation::Gelu | Activation::HardSwish => Reads::Operand,
        Activation::Scale { .. } => Reads::Nothing,
    }
}

fn keeps_signs(activation: Activation) -> bool {
    match activation {
        Activation::LeakyRelu { .. }
        | Activation::Elu { .. }
        | Activation::Relu6
        | Activation::Tanh
        | Activation::Silu
        | Activation::Gelu
        | Activation::HardSwish => true,
        // Of zero they make a half.
        Activation::Sigmoid | Activation::HardSigmoid => false,
        // A smaller factor may make zero of a positive number.
        Activation::Scale { by } => by >= 1.0,
    }
}

/// Whether an op works element by element.
pub fn is_elementwise(op: Op) -> bool {
    elementwise(op).is_some()
}

/// What can be done to a number just before it is stored, by whatever made it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Finish {
    /// A ReLU.
    Relu,
    /// Any other activation without weights.
    Activation(Activation),
}

impl Finish {
    /// That of an op.
    pub fn of(op: Op) -> Option<Finish> {
        match op {
            Op::Relu => Some(Finish::Relu),
            Op::Activation(activation) => Some(Finish::Activation(activation)),
            Op::Input
            | Op::Conv { .. }
            | Op::PRelu { .. }
            | Op::MaxPool { .. }
            | Op::AvgPool { .. }
            | Op::GlobalAvgPool
            | Op::GlobalMaxPool
            | Op::Dropout { .. }
            | Op::BatchNorm { .. }
            | Op::Lrn { .. }
            | Op::Softmax
            | Op::Add
            | Op::Concat
            | Op::Mul => None,
        }
    }

    /// What the tiles of convolutions have for it, if anything: what a few instructions do.
    pub fn in_tiles(self) -> Option<Epilogue> {
        let Finish::Activation(activation) = self else { return Some(Epilogue::Relu) };
        match activation {
            Activation::LeakyRelu { slope } => {
                Some(Epilogue::LeakyRelu { slope: Scalar::of(slope) })
            }
            Activation::Relu6 => Some(Epilogue::Relu6),
            Activation::HardSigmoid => Some(Epilogue::HardSigmoid),
            Activation::HardSwish => Some(Epilogue::HardSwish),
            Activation::Scale { by } => Some(Epilogue::Scale { by: Scalar::of(by) }),
            Activation::Elu { .. }
            | Activation::Sigmoid
            | Activation::Tanh
            | Activation::Silu
            | Activation::Gelu => None,
        }
    }

    /// Whether the rule for its gradient can do without its operand, which is stored nowhere then.
    pub fn forgets_its_operand(self) -> bool {
        match self {
            Finish::Relu => true,
            Finish::Activation(activation) => reads(activation) != Reads::Operand,
        }
    }

    /// What it is called: the layer's word.
    pub fn word(self) -> &'static str {
        match self {
            Finish::Relu => "relu",
            Finish::Activation(activation) => activation.word(),
        }
    }
}
