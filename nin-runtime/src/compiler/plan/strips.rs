//! Strips: what becomes of the weights after a batch, cut into shares for threads.
//!
//! A strip is a few output channels of one convolution, those of one forward panel of a group, over all rows of its kernel, and their
//! biases; or the weights of one batch normalisation or PReLU. Whatever is prepared of a strip is made of the strip's own weights, so a
//! thread sums its gradients over the slices, takes the optimizer's step and rebuilds the prepared forms without a word to
//! others.

use std::ops::Range;

use super::{ConvPlan, NormPlan, Plan, Product, SlopePlan};

/// The strips of one convolution or batch normalisation.
#[derive(Clone, Copy, Debug)]
pub struct StripGroup<'a> {
    /// The number of its first strip.
    pub first: usize,
    /// Whose weights they are.
    pub owner: StripOwner<'a>,
    /// Groups of the convolution, each of which is cut by itself.
    pub groups: usize,
    /// Output channels of a group.
    pub channels: usize,
    /// Channels of a strip; the last of a group may have fewer.
    pub width: usize,
}

/// Whose weights the strips of a group are.
#[derive(Clone, Copy, Debug)]
pub enum StripOwner<'a> {
    /// A convolution's, with the statistics of the batch normalisation that is merged into it.
    Conv(&'a ConvPlan),
    /// Those of a batch normalisation that is merged into no convolution, whose rows lie there in the prepared weights.
    Norm(&'a NormPlan, usize),
    /// The slopes of a PReLU.
    Slope(&'a SlopePlan),
}

impl StripGroup<'_> {
    /// How many strips there are.
    pub fn count(&self) -> usize {
        self.groups * self.of_group()
    }

    /// How many strips a group of the convolution has.
    pub fn of_group(&self) -> usize {
        self.channels.div_ceil(self.width)
    }

    /// The places of a group's strips with as many channels, and how many those are: all whole strips, then what is left.
    pub fn runs(&self) -> [(Range<usize>, usize); 2] {
        let whole = self.channels / self.width;
        [(0..whole, self.width), (whole..self.of_group(), self.channels % self.width)]
    }

    /// The channels of each strip.
    fn sizes(self) -> impl Iterator<Item = usize> + use<> {
        let runs = self.runs();
        (0..self.groups).flat_map(move |_| {
            runs.clone().into_iter().flat_map(|(places, channels)| places.map(move |_| channels))
        })
    }

    /// Weights of an output channel.
    fn rows(&self) -> usize {
        match self.owner {
            StripOwner::Conv(conv) => conv.rows(),
            StripOwner::Norm(..) | StripOwner::Slope(_) => 1,
        }
    }
}

impl ConvPlan {
    /// Rows of its kernel as a matrix with a column for each output channel.
    pub fn rows(&self) -> usize {
        self.geometry.weights() / self.geometry.outputs()
    }
}

impl Plan {
    /// The strips of all weights, in the order of their numbers.
    pub fn strip_groups(&self) -> impl Iterator<Item = StripGroup<'_>> {
        let convs = self.convs.iter().map(|conv| {
            let channels = [conv.geometry.groups, conv.geometry.cout];
            (StripOwner::Conv(conv), channels, conv.tile(Product::Forward).cols)
        });
        let norms = self
            .free_norms()
            .map(|(norm, rows)| (StripOwner::Norm(norm, rows), [1, norm.channels], norm.channels));
        let slopes = self
            .slopes
            .iter()
            .map(|slope| (StripOwner::Slope(slope), [1, slope.channels], slope.channels));
        convs.chain(norms).chain(slopes).scan(0, |first, (owner, [groups, channels], width)| {
            let group = StripGroup { first: *first, owner, groups, channels, width };
            *first += group.count();
            Some(group)
        })
    }

    /// How many strips there are.
    pub fn strips(&self) -> usize {
        self.strip_groups().map(|group| group.count()).sum()
    }

    /// The strips of thread `part` of `parts`, which have about as many weights as every other thread's.
    pub fn strips_of(&self, part: usize, parts: usize) -> Range<usize> {
        let sizes = || {
            self.strip_groups().flat_map(|group| {
                let rows = group.rows();
                group.sizes().map(move |channels| rows * channels)
            })
        };
        let total: usize = sizes().sum();
        // A strip is the thread's that its middle falls to.
        let before = |part: usize| {
            let middles = sizes().scan(0, |sum, size| {
                let middle = 2 * *sum + size;
                *sum += size;
                Some(middle)
            });
            middles.take_while(|middle| middle * parts < 2 * total * part).count()
        };
        before(part)..before(part + 1)
    }
}

#[cfg(test)]
mod tests {
    use crate::compile::{Purpose, planned};
    use crate::compiler::Isa;
    use crate::compiler::codegen::Target;
    use crate::compiler::plan::{Algos, Demand};
    use crate::model::Model;

    #[test]
    fn every_strip_is_one_threads() {
        let text = "model M < input(3, 12, 12) mlpconv(50, 7, kernel = 3) batchnorm conv(100, kernel = 3) gap softmax >";
        let model = Model::from_text("m.nin", text, &[]).unwrap();
        let target = Target::host(Isa::Portable).unwrap();
        let demand = Demand { batch: 128, registers: target.registers(), algos: &Algos::default() };
        let plan = planned(model.graph(), Purpose::Training, demand);
        for parts in [1, 2, 3, 16, 100] {
            let ranges: Vec<_> = (0..parts).map(|part| plan.strips_of(part, parts)).collect();
            assert_eq!(ranges[0].start, 0);
            assert!(ranges.windows(2).all(|pair| pair[0].end == pair[1].start));
            assert_eq!(ranges[parts - 1].end, plan.strips());
        }
    }
}
