//! [`Weights`], a model's trainable numbers by name, and [`WeightsFile`], how they are kept on disk (safetensors).
//!
//! The order, names and dimensions are those of [`Graph::weights`]; every other layout (packed, transformed) belongs to
//! whoever runs the model.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fmt, fs, io};

use nin_dsl::graph::{self, Graph, Role};
use safetensors::{Dtype, SafeTensors, View};

use crate::file::write_atomically;

/// Before the name of a momentum tensor in a checkpoint.
pub const MOMENTUM_PREFIX: &str = "momentum/";
/// Before the name of a tensor of squared gradients in a checkpoint.
pub const SQUARES_PREFIX: &str = "squares/";

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
    #[error("the model's `{name}` {} is missing", Dims(expected))]
    Missing {
        /// The graph's name for it.
        name: String,
        /// Its dimensions in the graph.
        expected: Vec<usize>,
    },
    /// A tensor was given that the graph does not have.
    #[error("`{name}` {} is none of the model's weights", Dims(found))]
    Extra {
        /// The name it was given under.
        name: String,
        /// Its dimensions.
        found: Vec<usize>,
    },
    /// A tensor has other dimensions than the graph's.
    #[error("`{name}` is {}, and the model's is {}", Dims(found), Dims(expected))]
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

/// Why a weights file could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// The file system said no.
    #[error("{}: {source}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// What the file system said.
        source: io::Error,
    },
    /// The file holds something else, or is damaged.
    #[error("{}: not a whole safetensors file: {reason}", file.display())]
    Format {
        /// The file.
        file: PathBuf,
        /// What its reader said.
        reason: String,
    },
    /// A tensor holds numbers of another kind.
    #[error("{}: `{name}` holds {found}; nin reads F32", file.display())]
    Dtype {
        /// The file.
        file: PathBuf,
        /// The tensor's name.
        name: String,
        /// Its element type as safetensors writes it.
        found: String,
    },
    /// The tensors are of another model.
    #[error("{}: the weights do not fit the model: {mismatch}", file.display())]
    Mismatch {
        /// The file.
        file: PathBuf,
        /// What does not fit.
        mismatch: Mismatch,
    },
}

impl Weights {
    /// Zeros for every weight of a graph.
    pub fn zeros(graph: &Graph) -> Weights {
        let tensor = |weight: &graph::Weight| Tensor {
            name: weight.name.clone(),
            dims: weight.dims.clone(),
            values: vec![0.0; weight.elements()],
        };
        Weights { tensors: graph.weights.iter().map(tensor).collect(), roles: roles(graph) }
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
        Ok(Weights { tensors: graph.weights.iter().map(take).collect(), roles: roles(graph) })
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
            let mut pairs = graph.weights.iter().zip(&self.tensors);
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
    let mut differences: Vec<Difference> = graph.weights.iter().filter_map(of_weight).collect();
    let extra = |(name, dims): (&str, &[usize])| Difference::Extra {
        name: name.to_owned(),
        found: dims.to_vec(),
    };
    differences.extend(given.into_iter().map(extra));
    differences
}

impl std::error::Error for Mismatch {}

impl fmt::Display for Mismatch {
    /// The first few.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 3;
        for (index, difference) in self.differences.iter().take(SHOWN).enumerate() {
            write!(f, "{}{difference}", if index == 0 { "" } else { "; " })?;
        }
        match self.differences.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

/// What a safetensors file holds: weights, perhaps their momentum, and words about them.
#[derive(Clone, Debug, PartialEq)]
pub struct WeightsFile {
    /// Where it was read from, for messages.
    file: PathBuf,
    /// Everything named without a prefix.
    weights: Vec<Tensor>,
    /// Everything named with [`MOMENTUM_PREFIX`], which is taken off.
    momentum: Vec<Tensor>,
    /// Everything named with [`SQUARES_PREFIX`], likewise.
    squares: Vec<Tensor>,
    /// The header's free text, by key.
    pub metadata: BTreeMap<String, String>,
}

impl WeightsFile {
    /// Reads a whole file.
    ///
    /// # Errors
    /// A file that cannot be read, is no safetensors file, or holds anything but float32.
    pub fn read(file: &Path) -> Result<WeightsFile, WeightsError> {
        let bytes =
            fs::read(file).map_err(|source| WeightsError::Io { file: file.to_owned(), source })?;
        let format = |error: safetensors::SafeTensorError| WeightsError::Format {
            file: file.to_owned(),
            reason: error.to_string(),
        };
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(format)?;
        let metadata = header.metadata().iter().flatten();
        let metadata = metadata.map(|(key, value)| (key.clone(), value.clone())).collect();
        let parsed = SafeTensors::deserialize(&bytes).map_err(format)?;
        let [mut weights, mut momentum, mut squares] = [const { Vec::new() }; 3];
        for (name, view) in parsed.iter() {
            if view.dtype() != Dtype::F32 {
                let (file, name) = (file.to_owned(), name.to_owned());
                return Err(WeightsError::Dtype { file, name, found: view.dtype().to_string() });
            }
            let prefixed = [(&mut momentum, MOMENTUM_PREFIX), (&mut squares, SQUARES_PREFIX)];
            let (list, name) = prefixed
                .into_iter()
                .find_map(|(list, prefix)| Some((list, name.strip_prefix(prefix)?)))
                .unwrap_or((&mut weights, name));
            list.push(Tensor {
                name: name.to_owned(),
                dims: view.shape().to_vec(),
                values: floats(view.data()),
            });
        }
        for list in [&mut weights, &mut momentum, &mut squares] {
            list.sort_by(|a, b| a.name.cmp(&b.name));
        }
        Ok(WeightsFile { file: file.to_owned(), weights, momentum, squares, metadata })
    }

    /// Everything in it but what an optimizer keeps.
    pub fn tensors(&self) -> impl Iterator<Item = &Tensor> {
        self.weights.iter()
    }

    /// The weights of a model.
    ///
    /// # Errors
    /// The tensors that are misshapen, missing or left over.
    pub fn weights(&self, graph: &Graph) -> Result<Weights, WeightsError> {
        self.fit(Weights::from_tensors(graph, self.weights.iter().cloned()))
    }

    /// The momentum of a model's weights, where the file is a checkpoint.
    ///
    /// # Errors
    /// The tensors that are misshapen, missing or left over.
    pub fn momentum(&self, graph: &Graph) -> Result<Option<Weights>, WeightsError> {
        let fit = || self.fit(Weights::from_trained(graph, self.momentum.iter().cloned()));
        (!self.momentum.is_empty()).then(fit).transpose()
    }

    /// The running means of a model's squared gradients, where the file is a checkpoint of an optimizer that keeps them.
    ///
    /// # Errors
    /// The tensors that are misshapen, missing or left over.
    pub fn squares(&self, graph: &Graph) -> Result<Option<Weights>, WeightsError> {
        let fit = || self.fit(Weights::from_trained(graph, self.squares.iter().cloned()));
        (!self.squares.is_empty()).then(fit).transpose()
    }

    fn fit(&self, fitted: Result<Weights, Mismatch>) -> Result<Weights, WeightsError> {
        fitted.map_err(|mismatch| WeightsError::Mismatch { file: self.file.clone(), mismatch })
    }
}

/// What each weight of a graph is for.
fn roles(graph: &Graph) -> Vec<Role> {
    graph.weights.iter().map(|weight| weight.role).collect()
}

/// What an optimizer keeps beside weights, as a checkpoint has it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Moments<'a> {
    /// The momentum.
    pub momentum: Option<&'a Weights>,
    /// The running means of squared gradients.
    pub squares: Option<&'a Weights>,
}

/// Writes tensors, and the moments of the trained ones if given, with metadata; the same arguments give the same bytes.
///
/// # Errors
/// Those of the file system; a file of this name is replaced whole or not at all.
pub fn save<'a>(
    file: &Path,
    tensors: impl IntoIterator<Item = &'a Tensor>,
    moments: Moments<'_>,
    metadata: &BTreeMap<String, String>,
) -> Result<(), WeightsError> {
    let plain = tensors.into_iter().map(|tensor| (tensor.name.clone(), tensor));
    let kept = [(MOMENTUM_PREFIX, moments.momentum), (SQUARES_PREFIX, moments.squares)];
    let kept = kept.into_iter().flat_map(|(prefix, moment)| {
        let trained = moment.into_iter().flat_map(Weights::trained);
        trained.map(move |tensor| (format!("{prefix}{}", tensor.name), tensor))
    });
    let bytes = safetensors::serialize(plain.chain(kept), None)
        .expect("float32 tensors of matching size can be written (a bug in nin)");
    write_atomically(file, &with_metadata(&bytes, metadata))
        .map_err(|source| WeightsError::Io { file: file.to_owned(), source })
}

/// Puts metadata into a safetensors header that has none, keys in order.
///
/// safetensors takes metadata as a hash map and writes it in that map's order, which differs from run to run.
fn with_metadata(bytes: &[u8], metadata: &BTreeMap<String, String>) -> Vec<u8> {
    let (length, rest) = bytes.split_at(8);
    let length = u64::from_le_bytes(length.try_into().expect("split at 8")) as usize;
    let (header, data) = rest.split_at(length);
    let tensors = header.trim_ascii_end().strip_prefix(b"{").expect("the header is an object");
    let metadata = serde_json::to_string(metadata).expect("text is valid JSON");
    let mut header = format!("{{\"__metadata__\":{metadata}").into_bytes();
    if tensors != b"}" {
        header.push(b',');
    }
    header.extend_from_slice(tensors);
    header.resize(header.len().next_multiple_of(8), b' ');
    [&(header.len() as u64).to_le_bytes(), header.as_slice(), data].concat()
}

impl View for &Tensor {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.dims
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Owned(self.values.iter().flat_map(|x| x.to_le_bytes()).collect())
    }

    fn data_len(&self) -> usize {
        size_of_val(self.values.as_slice())
    }
}

/// Little-endian float32.
fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks::<4>().0.iter().map(|&four| f32::from_le_bytes(four)).collect()
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
    use nin_dsl::graph::NodeId;

    use super::*;

    /// Two weights are all a file of weights can see of a graph.
    fn graph() -> Graph {
        let weight = |name: &str, dims: &[usize], role| graph::Weight {
            name: name.to_owned(),
            dims: dims.to_vec(),
            role,
            node: NodeId(1),
        };
        Graph {
            name: "two".to_owned(),
            params: vec![],
            nodes: vec![],
            weights: vec![
                weight("conv1.weight", &[2, 1, 3, 3], Role::Kernel),
                weight("conv1.bias", &[2], Role::Bias),
            ],
            layers: vec![],
            groups: vec![],
        }
    }

    fn counted(graph: &Graph) -> Weights {
        let mut weights = Weights::zeros(graph);
        for values in weights.values_mut() {
            values.iter_mut().enumerate().for_each(|(i, x)| *x = i as f32 - 0.5);
        }
        weights
    }

    fn tensor(name: &str, dims: &[usize]) -> Tensor {
        let values = vec![0.0; dims.iter().product()];
        Tensor { name: name.to_owned(), dims: dims.to_vec(), values }
    }

    #[test]
    fn a_file_gives_back_what_was_saved_and_the_same_bytes() {
        let (graph, folder) = (graph(), tempfile::tempdir().unwrap());
        let (weights, momentum) = (counted(&graph), Weights::zeros(&graph));
        let metadata: BTreeMap<String, String> = [("step", "7"), ("model", "a \"quoted\"\nline")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into();
        let [a, b] = ["a", "b"].map(|name| folder.path().join(name));
        for path in [&a, &b] {
            let moments = Moments { momentum: Some(&momentum), squares: Some(&weights) };
            save(path, weights.tensors(), moments, &metadata).unwrap();
        }
        assert_eq!(fs::read(&a).unwrap(), fs::read(&b).unwrap());
        let file = WeightsFile::read(&a).unwrap();
        assert_eq!(file.weights(&graph).unwrap(), weights);
        assert_eq!(file.momentum(&graph).unwrap(), Some(momentum));
        assert_eq!(file.squares(&graph).unwrap().as_ref(), Some(&weights));
        assert_eq!(file.metadata, metadata);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "no temporary file is left");
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

    #[test]
    fn truncated_and_foreign_files_are_errors_that_name_them() {
        let (graph, folder) = (graph(), tempfile::tempdir().unwrap());
        let path = folder.path().join("w.safetensors");
        save(&path, counted(&graph).tensors(), Moments::default(), &BTreeMap::new()).unwrap();
        let whole = fs::read(&path).unwrap();
        for length in [0, 4, 9, whole.len() - 1] {
            fs::write(&path, &whole[..length]).unwrap();
            let error = WeightsFile::read(&path).unwrap_err();
            assert!(matches!(error, WeightsError::Format { .. }), "{length} bytes: {error}");
            assert!(error.to_string().contains("w.safetensors"), "{error}");
        }
    }
}
