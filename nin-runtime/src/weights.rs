//! [`Weights`], a model's trainable numbers by name, and [`WeightsFile`], how they are kept on disk (safetensors).
//!
//! The order, names and dimensions are those of [`Graph::weights`]; every other layout (packed, transformed) belongs to
//! whoever runs the model.

mod bytes;
mod file;
mod names;

use std::collections::BTreeMap;
use std::fmt;

use nin_dsl::graph::{self, Graph, Role};

pub use file::{MOMENTUM_PREFIX, Moments, SQUARES_PREFIX, WeightsError, WeightsFile, save};
use names::Name;

/// One named tensor, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Its name, such as `mlpconv1.cccp1.weight`.
    pub name: String,
    /// `[out, in, kh, kw]` of a convolution, `[out, in]` of an `fc`, `[channels]` of anything else.
    pub dims: Vec<usize>,
    /// `dims.product()` numbers.
    pub values: Vec<f32>,
}

/// The tensors of one model, in the order of [`Graph::weights`].
///
/// Whoever holds `Weights` made for a graph may rely on their order, names and sizes: [`Weights::zeros`] and
/// [`Weights::from_tensors`] are the ways to make them, and the tensors' values are all that can be changed later.
#[derive(Clone, Debug, PartialEq)]
pub struct Weights {
    tensors: Vec<Tensor>,
    /// What each is for.
    roles: Vec<Role>,
}

/// Tensors that do not belong to a graph: the first of them, and how many there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// At least one, in the graph's order, those that the graph does not have at the end.
    pub differences: Vec<Difference>,
}

/// A tensor that does not belong to a graph. The messages name it and both shapes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Difference {
    /// The graph has a weight that was not given.
    #[error("the model's `{}` {} is missing", Name(name), Dims(expected))]
    Missing {
        /// The graph's name for it.
        name: String,
        /// Its dimensions in the graph.
        expected: Vec<usize>,
    },
    /// A tensor was given that the graph does not have.
    #[error("`{}` {} is none of the model's weights", Name(name), Dims(found))]
    Extra {
        /// The name it was given under.
        name: String,
        /// Its dimensions.
        found: Vec<usize>,
    },
    /// A tensor has other dimensions than the graph's.
    #[error("`{}` is {}, and the model's is {}", Name(name), Dims(found), Dims(expected))]
    Shape {
        /// The tensor's name.
        name: String,
        /// Its dimensions in the graph.
        expected: Vec<usize>,
        /// Its dimensions as given.
        found: Vec<usize>,
    },
    /// All tensors are there, but this one is not where the graph has it.
    #[error("`{_0}` is at another place than in the model")]
    Order(String),
}

impl Weights {
    /// Zeros for every weight of a graph.
    pub fn zeros(graph: &Graph) -> Weights {
        let tensor = |weight: &graph::Weight| Tensor {
            name: weight.name.clone(),
            dims: weight.dims.clone(),
            values: vec![0.0; weight.elements()],
        };
        Weights { tensors: graph.weights().iter().map(tensor).collect(), roles: roles(graph) }
    }

    /// Takes tensors in any order and puts them into the graph's.
    ///
    /// # Errors
    /// The tensors that are misshapen, missing or left over.
    pub fn from_tensors(
        graph: &Graph,
        tensors: impl IntoIterator<Item = Tensor>,
    ) -> Result<Weights, Mismatch> {
        let mut given: BTreeMap<String, Tensor> =
            tensors.into_iter().map(|tensor| (tensor.name.clone(), tensor)).collect();
        let differences = differences(graph, given.values());
        if !differences.is_empty() {
            return Err(Mismatch { differences });
        }
        let take = |weight: &graph::Weight| given.remove(&weight.name).expect("none is missing");
        Ok(Weights { tensors: graph.weights().iter().map(take).collect(), roles: roles(graph) })
    }

    /// Takes tensors in any order that belong to the trained weights, such as momentum; running statistics get zeros.
    ///
    /// # Errors
    /// As [`Weights::from_tensors`].
    pub fn from_trained(
        graph: &Graph,
        tensors: impl IntoIterator<Item = Tensor>,
    ) -> Result<Weights, Mismatch> {
        let zeros = Weights::zeros(graph);
        let measured = zeros.tensors.into_iter().zip(zeros.roles);
        let measured = measured.filter(|(_, role)| !role.is_trained()).map(|(tensor, _)| tensor);
        Weights::from_tensors(graph, measured.chain(tensors))
    }

    /// Whether these are weights of the graph: same names and dimensions in the same order.
    ///
    /// # Errors
    /// The tensors that do not fit.
    pub fn check(&self, graph: &Graph) -> Result<(), Mismatch> {
        let mut differences = differences(graph, &self.tensors);
        if differences.is_empty() {
            let mut pairs = graph.weights().iter().zip(&self.tensors);
            let other = pairs.find(|(weight, tensor)| weight.name != tensor.name);
            differences.extend(other.map(|(weight, _)| Difference::Order(weight.name.clone())));
        }
        if differences.is_empty() { Ok(()) } else { Err(Mismatch { differences }) }
    }

    /// The tensors, in the graph's order.
    pub fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    /// The tensors that a loss has gradients for, in the graph's order.
    pub fn trained(&self) -> impl Iterator<Item = &Tensor> {
        let all = self.tensors.iter().zip(&self.roles);
        all.filter(|(_, role)| role.is_trained()).map(|(tensor, _)| tensor)
    }

    /// Each tensor's numbers, in the graph's order.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut [f32]> {
        self.tensors.iter_mut().map(|tensor| tensor.values.as_mut_slice())
    }

    /// The tensor of this name.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.tensors.iter().find(|tensor| tensor.name == name)
    }

    /// Whether every number is finite.
    pub fn is_finite(&self) -> bool {
        self.tensors.iter().all(|tensor| tensor.values.iter().all(|x| x.is_finite()))
    }
}

/// What sets tensors apart from a graph's weights, order aside.
fn differences<'a>(
    graph: &Graph,
    tensors: impl IntoIterator<Item = &'a Tensor>,
) -> Vec<Difference> {
    let mut given: BTreeMap<&str, &[usize]> =
        tensors.into_iter().map(|tensor| (tensor.name.as_str(), &*tensor.dims)).collect();
    let of_weight = |weight: &graph::Weight| {
        let (name, expected) = (weight.name.clone(), weight.dims.clone());
        match given.remove(&*weight.name) {
            None => Some(Difference::Missing { name, expected }),
            Some(dims) if dims != expected => {
                Some(Difference::Shape { name, expected, found: dims.to_vec() })
            }
            Some(_) => None,
        }
    };
    let mut differences: Vec<Difference> = graph.weights().iter().filter_map(of_weight).collect();
    let extra = |(name, dims): (&str, &[usize])| Difference::Extra {
        name: name.to_owned(),
        found: dims.to_vec(),
    };
    differences.extend(given.into_iter().map(extra));
    differences
}

impl std::error::Error for Mismatch {}

impl fmt::Display for Mismatch {
    /// The first few, and what other names probably mean.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 3;
        for (index, difference) in self.differences.iter().take(SHOWN).enumerate() {
            write!(f, "{}{difference}", if index == 0 { "" } else { "; " })?;
        }
        match self.differences.len().saturating_sub(SHOWN) {
            0 => {}
            more => write!(f, "; and {more} more")?,
        }
        let meant = names::meant(&self.differences);
        for (index, (found, expected)) in meant.iter().take(SHOWN).enumerate() {
            let before = if index == 0 { ". Perhaps " } else { ", " };
            write!(f, "{before}`{}` is meant for `{expected}`", Name(found))?;
        }
        match meant.len() {
            0 => Ok(()),
            count => {
                let more = count.saturating_sub(SHOWN);
                let more = if more == 0 { String::new() } else { format!(", and {more} more so") };
                write!(f, "{more}: weights are found by nin's names, as `nin init -v` lists them")
            }
        }
    }
}

/// What each weight of a graph is for.
fn roles(graph: &Graph) -> Vec<Role> {
    graph.weights().iter().map(|weight| weight.role).collect()
}

/// Prints dimensions as `[32, 1, 5, 5]`.
struct Dims<'a>(&'a [usize]);

impl fmt::Display for Dims<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use nin_dsl::Source;

    use super::*;

    /// A graph of two weights.
    pub(super) fn graph() -> Graph {
        let source = Source::new("two", "< input(1, 4, 4) conv(2) >");
        nin_dsl::read(&source, &[]).unwrap().0
    }

    fn tensor(name: &str, dims: &[usize]) -> Tensor {
        let values = vec![0.0; dims.iter().product()];
        Tensor { name: name.to_owned(), dims: dims.to_vec(), values }
    }

    #[test]
    fn tensors_that_do_not_fit_are_named_with_both_shapes() {
        let graph = graph();
        let weight = tensor("conv1.weight", &[2, 1, 3, 3]);
        let fit = |tensors: &[Tensor]| {
            Weights::from_tensors(&graph, tensors.to_vec()).unwrap_err().to_string()
        };
        assert_eq!(fit(std::slice::from_ref(&weight)), "the model's `conv1.bias` [2] is missing");
        assert_eq!(
            fit(&[tensor("conv1.weight", &[2, 1, 5, 5]), tensor("conv1.bias", &[2])]),
            "`conv1.weight` is [2, 1, 5, 5], and the model's is [2, 1, 3, 3]"
        );
        assert_eq!(
            fit(&["a", "b", "c"].map(|name| tensor(name, &[4]))),
            "the model's `conv1.weight` [2, 1, 3, 3] is missing; the model's `conv1.bias` [2] is missing; \
             `a` [4] is none of the model's weights; and 2 more"
        );
        assert_eq!(
            fit(&[weight, tensor("conv1.bias", &[2]), tensor("fc1.bias", &[10])]),
            "`fc1.bias` [10] is none of the model's weights"
        );
    }

    /// Names of PyTorch: wrapped, slipped, and those of a `Sequential`, ten of which sort before two.
    #[test]
    fn names_of_other_systems_are_told_what_they_mean() {
        let graph = graph();
        let fit = |names: [&str; 2]| {
            let tensors = [tensor(names[0], &[2, 1, 3, 3]), tensor(names[1], &[2])];
            Weights::from_tensors(&graph, tensors).unwrap_err().to_string()
        };
        for names in [
            ["module.conv1.weight", "module.conv1.bias"],
            ["conv1.wieght", "conv1.bais"],
            ["features.0.weight", "features.0.bias"],
        ] {
            let message = fit(names);
            let [weight, bias] = names;
            let meant = format!(
                "Perhaps `{weight}` is meant for `conv1.weight`, `{bias}` is meant for `conv1.bias`: weights are found by"
            );
            assert!(message.contains(&meant), "{message}");
        }
        let message = fit(["a\u{1b}[31m", &"b".repeat(1 << 20)]);
        assert!(message.len() < 1000 && !message.contains('\u{1b}'), "{message}");
    }
}
