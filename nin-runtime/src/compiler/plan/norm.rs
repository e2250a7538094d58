//! What a batch normalisation needs besides its operand: where its numbers lie, a row of channels each.

use nin_dsl::graph::{BatchNormWeights, Graph, NodeId, Op};

use super::{ALIGN, ConvPlan, Room};
use crate::compiler::Elem;

/// A batch normalisation's geometry and places (offsets in floats, but for that in the prepared weights; everything is float32).
#[derive(Clone, Debug, PartialEq)]
pub struct NormPlan {
    /// The node.
    pub node: NodeId,
    /// Channels.
    pub channels: usize,
    /// Numbers of a channel in one image.
    pub pixels: usize,
    /// Keeps the divisor away from zero.
    pub eps: f64,
    /// How far a step moves the running statistics.
    pub momentum: f64,
    /// Images of a group; 0 if the whole batch is one.
    pub ghost: usize,
    /// Its weights.
    pub weights: BatchNormWeights,
    /// Three [`Affine`] rows in the prepared weights (offset in bytes), from the running statistics; `None` if it is merged into a convolution, whose
    /// kernel and bias are all that is read of it.
    pub prepared: Option<usize>,
    /// The rows of a training step.
    pub training: Option<StepRows>,
}

/// The rows a training step of a batch normalisation works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepRows {
    /// In every slice's sums: rows of mean and squared deviations, those of the slice's images.
    pub moments: usize,
    /// In the statistics of the whole batch: rows in the order of [`Row`]. Of groups, those of the first, then its sums, in the
    /// order of [`GroupSum`]; then those of the next.
    pub statistics: usize,
}

/// The sums over a group of images, rows beside its statistics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupSum {
    /// The mean of the images so far.
    Mean,
    /// Their squared deviations.
    Squares,
    /// What the group adds to the gradient of the scale.
    Scale,
    /// What it adds to that of the shift.
    Shift,
}

impl GroupSum {
    /// Rows of a group.
    const COUNT: usize = 4;
}

/// The rows by which an element becomes `(x - mean) * factor + shift`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Affine {
    /// The mean.
    Mean,
    /// `scale / sqrt(variance + eps)`.
    Factor,
    /// The shift.
    Shift,
}

/// The rows of a batch's statistics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Row {
    /// What normalises; the first three rows, as they are prepared for inference.
    Affine(Affine),
    /// `1 / sqrt(variance + eps)`.
    Inverse,
    /// The unbiased variance, for the running one.
    Unbiased,
    /// Of the operand's gradient, `factor ((dy - mean dy) - slope (x - mean))`: the mean of `dy`.
    GradMean,
    /// Its slope.
    GradSlope,
}

impl StepRows {
    /// Rows of moments: mean and squared deviations.
    const MOMENTS: usize = 2;
}

impl Row {
    /// Rows of a batch normalisation.
    const COUNT: usize = 7;

    /// Its number.
    fn number(self) -> usize {
        match self {
            Row::Affine(row) => row.number(),
            Row::Inverse => 3,
            Row::Unbiased => 4,
            Row::GradMean => 5,
            Row::GradSlope => 6,
        }
    }
}

impl Affine {
    /// Rows that normalise.
    pub(super) const COUNT: usize = 3;

    fn number(self) -> usize {
        match self {
            Affine::Mean => 0,
            Affine::Factor => 1,
            Affine::Shift => 2,
        }
    }
}

impl NormPlan {
    /// From one row to the next, in floats.
    fn row(&self) -> usize {
        self.channels.next_multiple_of(ALIGN)
    }

    /// From the first of the rows that normalise to one of them.
    pub fn affine(&self, row: Affine) -> usize {
        row.number() * self.row()
    }

    /// Where its rows lie in the statistics of the batch, or those of its first group.
    pub fn statistics(&self) -> usize {
        self.step().statistics
    }

    /// From its first row in the statistics to one of them.
    pub fn statistic(&self, row: Row) -> usize {
        row.number() * self.row()
    }

    /// Where a slice's rows of mean and squared deviations lie, behind its gradients.
    pub fn moments(&self) -> usize {
        self.step().moments
    }

    /// From the first of a slice's rows, of means, to that of squared deviations.
    pub fn squares(&self) -> usize {
        self.row()
    }

    /// From a group's first row in the statistics to one of its sums.
    pub fn group_sum(&self, sum: GroupSum) -> usize {
        (Row::COUNT + sum as usize) * self.row()
    }

    /// All rows of a group's sums, in floats.
    pub fn group_sums(&self) -> usize {
        GroupSum::COUNT * self.row()
    }

    /// From one group's rows to the next one's, in floats.
    pub fn group_floats(&self) -> usize {
        (Row::COUNT + GroupSum::COUNT) * self.row()
    }

    fn step(&self) -> StepRows {
        self.training.expect("the plan trains (a bug in nin)")
    }
}

/// The batch normalisations of a graph, and the room that a training step needs for them (in floats).
pub(super) struct Norms {
    pub(super) norms: Vec<NormPlan>,
    /// Moments of one slice.
    pub(super) moments: usize,
    /// Statistics of one batch.
    pub(super) statistics: usize,
}

/// Plans every batch normalisation, for training steps of at most so many images or for none.
pub(super) fn norms(
    graph: &Graph,
    training: Option<usize>,
    convs: &[ConvPlan],
    room: &mut Room,
) -> Norms {
    let mut all = Norms { norms: Vec::new(), moments: 0, statistics: 0 };
    for id in graph.ids() {
        let Op::BatchNorm { eps, momentum, ghost, weights } = graph.node(id).op else { continue };
        let shape = graph.node(id).shape;
        let (channels, pixels) = (shape.channels(), shape.pixels());
        let row = channels.next_multiple_of(ALIGN);
        let rows = StepRows { moments: all.moments, statistics: all.statistics };
        let is_merged = convs.iter().any(|conv| conv.norm == Some(id));
        let prepared = (!is_merged).then(|| room.place(Affine::COUNT * row, Elem::F32));
        match training {
            None => {}
            Some(_) if ghost == 0 => {
                all.moments += StepRows::MOMENTS * row;
                all.statistics += Row::COUNT * row;
            }
            // Even one image that has no group of its own finds a place.
            Some(batch) => {
                all.statistics += batch.div_ceil(ghost) * (Row::COUNT + GroupSum::COUNT) * row;
            }
        }
        let node = id;
        all.norms.push(NormPlan {
            node,
            channels,
            pixels,
            eps,
            momentum,
            ghost,
            weights,
            prepared,
            training: training.map(|_| rows),
        });
    }
    all
}
