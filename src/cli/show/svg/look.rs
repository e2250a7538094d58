//! Colours and what they mean.

use nin_dsl::graph::Activation;

/// A colour with a meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Look {
    Input,
    Conv,
    Pointwise,
    MaxPool,
    AvgPool,
    GlobalAvgPool,
    GlobalMaxPool,
    Fc,
    Softmax,
    Relu,
    LeakyRelu,
    Elu,
    Relu6,
    Sigmoid,
    Tanh,
    Silu,
    Gelu,
    HardSigmoid,
    HardSwish,
    PRelu,
    Scale,
    BatchNorm,
    Lrn,
}

impl Look {
    /// An activation's.
    pub(super) fn of(activation: Activation) -> Look {
        match activation {
            Activation::LeakyRelu { .. } => Look::LeakyRelu,
            Activation::Elu { .. } => Look::Elu,
            Activation::Relu6 => Look::Relu6,
            Activation::Sigmoid => Look::Sigmoid,
            Activation::Tanh => Look::Tanh,
            Activation::Silu => Look::Silu,
            Activation::Gelu => Look::Gelu,
            Activation::HardSigmoid => Look::HardSigmoid,
            Activation::HardSwish => Look::HardSwish,
            Activation::Scale { .. } => Look::Scale,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Look::Input => "input",
            Look::Conv => "convolution",
            Look::Pointwise => "1×1 convolution",
            Look::MaxPool => "max pool",
            Look::AvgPool => "average pool",
            Look::GlobalAvgPool => "global average",
            Look::GlobalMaxPool => "global maximum",
            Look::Fc => "fully connected",
            Look::Softmax => "softmax",
            Look::Relu => "ReLU",
            Look::LeakyRelu => "leaky ReLU",
            Look::Elu => "ELU",
            Look::Relu6 => "ReLU6",
            Look::Sigmoid => "sigmoid",
            Look::Tanh => "tanh",
            Look::Silu => "SiLU",
            Look::Gelu => "GELU",
            Look::HardSigmoid => "hard sigmoid",
            Look::HardSwish => "hard swish",
            Look::PRelu => "PReLU",
            Look::Scale => "scale",
            Look::BatchNorm => "batch norm",
            Look::Lrn => "response norm",
        }
    }

    /// One that is seen on light and on dark paper.
    pub(super) fn colour(self) -> &'static str {
        match self {
            Look::Input => "#9aa7b4",
            Look::Conv => "#4d86c6",
            Look::Pointwise => "#57b3ad",
            Look::MaxPool => "#dd7152",
            Look::AvgPool => "#e2a04e",
            Look::GlobalAvgPool => "#ad7bbf",
            Look::GlobalMaxPool => "#b5566b",
            Look::Fc => "#7a80cf",
            Look::Softmax => "#62a862",
            Look::Relu => "#f0c23c",
            Look::LeakyRelu => "#c3cf55",
            Look::Elu => "#a5713d",
            Look::Relu6 => "#d9a13b",
            Look::Sigmoid => "#8c6bb1",
            Look::Tanh => "#6f8f3f",
            Look::Silu => "#3f9fb5",
            Look::Gelu => "#b5577a",
            Look::HardSigmoid => "#a893cf",
            Look::HardSwish => "#6dbfd0",
            Look::PRelu => "#b8a24a",
            Look::Scale => "#7f8c8d",
            Look::BatchNorm => "#d98bb0",
            Look::Lrn => "#5f9a8a",
        }
    }
}
