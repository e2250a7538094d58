//! Strips: what becomes of the weights after a batch, cut into shares for threads.
//!
//! A strip is a few output channels of one convolution, those of one forward panel, over all rows of its kernel, and their
//! biases; or the weights of one batch normalisation. Whatever is prepared of a strip is made of the strip's own weights, so a
//! thread sums its gradients over the slices, takes the optimizer's step and rebuilds the prepared forms without a word to
//! others.

use std::ops::Range;

use super::{ConvPlan, NormPlan, Plan, Product};

/// The strips of one convolution or batch normalisation.
#[derive(Clone, Copy, Debug)]
pub struct StripGroup<'a> {
    /// The number of its first strip.
    pub first: usize,
    /// Whose weights they are.
    pub owner: StripOwner<'a>,
    /// Output channels of all strips together.
    pub channels: usize,
    /// Channels of a strip; the last may have fewer.
    pub width: usize,
}

/// Whose weights the strips of a group are.
#[derive(Clone, Copy, Debug)]
pub enum StripOwner<'a> {
    /// A convolution's, with the statistics of the batch normalisation that is merged into it.
    Conv(&'a ConvPlan),
    /// Those of a batch normalisation that is merged into no convolution, whose rows lie there in the prepared weights.
    Norm(&'a NormPlan, usize),
}

impl StripGroup<'_> {
    /// How many strips there are.
    pub fn count(&self) -> usize {
        self.channels.div_ceil(self.width)
    }

    /// The numbers of strips with as many channels, and how many those are: all whole strips, then what is left.
    pub fn runs(&self) -> [(Range<usize>, usize); 2] {
        let whole = self.first + self.channels / self.width;
        [
            (self.first..whole, self.width),
            (whole..self.first + self.count(), self.channels % self.width),
        ]
    }

    /// Weights of an output channel.
    fn rows(&self) -> usize {
        match self.owner {
            StripOwner::Conv(conv) => conv.rows(),
            StripOwner::Norm(..) => 1,
        }
    }
}

impl ConvPlan {
    /// Rows of its kernel as a matrix with a column for each output channel.
    pub fn rows(&self) -> usize {
        self.geometry.weights() / self.geometry.cout
    }
}

impl Plan {
    /// The strips of all weights, in the order of their numbers.
    pub fn strip_groups(&self) -> impl Iterator<Item = StripGroup<'_>> {
        let convs = self.convs.iter().map(|conv| {
            (StripOwner::Conv(conv), conv.geometry.cout, conv.tile(Product::Forward).cols)
        });
        let norms = self
            .free_norms()
            .map(|(norm, rows)| (StripOwner::Norm(norm, rows), norm.channels, norm.channels));
        convs.chain(norms).scan(0, |first, (owner, channels, width)| {
            let group = StripGroup { first: *first, owner, channels, width };
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
                group
                    .runs()
                    .into_iter()
                    .flat_map(move |(numbers, channels)| numbers.map(move |_| rows * channels))
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
