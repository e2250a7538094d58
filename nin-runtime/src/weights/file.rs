//! [`WeightsFile`] and [`save`]: weights as safetensors files.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use nin_dsl::graph::Graph;
use safetensors::{Dtype, SafeTensors, View};

use super::names::Name;
use super::{Mismatch, Tensor, Weights, bytes};
use crate::file::write_atomically;

/// Before the name of a momentum tensor in a checkpoint.
pub const MOMENTUM_PREFIX: &str = "momentum/";
/// Before the name of a tensor of squared gradients in a checkpoint.
pub const SQUARES_PREFIX: &str = "squares/";

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
    #[error("{}: `{}` holds {found}; nin reads F32: convert it first (in PyTorch: `tensor.float()`)", file.display(), Name(name))]
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
    /// A file that cannot be read, is no safetensors file, or holds anything but float32 and PyTorch's counts of batches.
    pub fn read(file: &Path) -> Result<WeightsFile, WeightsError> {
        let mut bytes = vec![];
        bytes::read(file, &mut bytes).map_err(|source| match source.kind() {
            io::ErrorKind::InvalidData => WeightsError::Format {
                file: file.to_owned(),
                reason: foreign(&bytes).map_or_else(|| source.to_string(), str::to_owned),
            },
            _ => WeightsError::Io { file: file.to_owned(), source },
        })?;
        let format = |error: safetensors::SafeTensorError| WeightsError::Format {
            file: file.to_owned(),
            reason: foreign(&bytes).map_or_else(|| error.to_string(), str::to_owned),
        };
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(format)?;
        let metadata = header.metadata().iter().flatten();
        let metadata = metadata.map(|(key, value)| (key.clone(), value.clone())).collect();
        let parsed = SafeTensors::deserialize(&bytes).map_err(format)?;
        let [mut weights, mut momentum, mut squares] = [const { Vec::new() }; 3];
        for (name, view) in parsed.iter().filter(|(name, _)| !is_count(name)) {
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

/// Whether a tensor is the count that PyTorch keeps beside a batch normalisation's statistics, which nothing depends on.
fn is_count(name: &str) -> bool {
    name.rsplit('.').next() == Some("num_batches_tracked")
}

/// What a file is that is no safetensors file, as far as its first bytes tell, and what to do with it.
fn foreign(bytes: &[u8]) -> Option<&'static str> {
    let start = &bytes[..bytes.len().min(1024)];
    let holds = |part: &[u8]| start.windows(part.len()).any(|window| window == part);
    let torch = "it is a checkpoint of PyTorch; convert it there: `safetensors.torch.save_file(torch.load(\"W.pth\", \
                 weights_only=True), \"W.safetensors\")`, of a file that holds more than weights its `[\"state_dict\"]`";
    match start {
        [b'P', b'K', 3, 4, ..] if holds(b"data.pkl") => Some(torch),
        [b'P', b'K', 3, 4, ..] if holds(b".npy") => Some(
            "they are arrays of NumPy; convert them: `safetensors.numpy.save_file(dict(numpy.load(\"W.npz\")), \"W.safetensors\")`",
        ),
        [b'P', b'K', 3, 4, ..] => Some("it is a zip archive; take its files out first"),
        // The header of a safetensors file can begin with these bytes, and then a brace follows its length.
        [0x80, 2..=5, ..] if start.get(8) != Some(&b'{') => Some(torch),
        [0x1f, 0x8b, ..] => Some("it is compressed by gzip; decompress it first"),
        [0x93, b'N', b'U', b'M', b'P', b'Y', ..] => {
            Some("it is an array of NumPy; weights need a name each: `safetensors.numpy.save_file`")
        }
        [0x89, b'H', b'D', b'F', ..] => Some(
            "it is a file of HDF5, as Keras writes it; convert it there: `safetensors.numpy.save_file` with nin's names",
        ),
        _ => None,
    }
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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::tests::graph;
    use super::*;

    fn counted(graph: &Graph) -> Weights {
        let mut weights = Weights::zeros(graph);
        for values in weights.values_mut() {
            values.iter_mut().enumerate().for_each(|(i, x)| *x = i as f32 - 0.5);
        }
        weights
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

    #[test]
    fn files_of_other_systems_are_told_how_to_become_weights() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.pth");
        let zip = |name: &str| [b"PK\x03\x04\x00\x00\x08\x08", name.as_bytes()].concat();
        let pickle = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.".to_vec();
        for (bytes, says) in [
            (zip("archive/data.pkl"), "checkpoint of PyTorch"),
            (pickle, "checkpoint of PyTorch"),
            (zip("conv1.weight.npy"), "numpy.load"),
            (zip("readme.txt"), "zip archive"),
            (b"\x1f\x8b\x08".to_vec(), "gzip"),
            (b"\x93NUMPY\x01\x00".to_vec(), "NumPy"),
            (b"\x89HDF\r\n\x1a\n".to_vec(), "HDF5"),
        ] {
            fs::write(&path, bytes).unwrap();
            let message = WeightsFile::read(&path).unwrap_err().to_string();
            assert!(message.contains("w.pth: not a whole safetensors file: "), "{message}");
            assert!(message.contains(says), "{message}");
        }
    }

    #[test]
    fn counts_of_batches_are_left_out() {
        let (graph, folder) = (graph(), tempfile::tempdir().unwrap());
        let path = folder.path().join("w.safetensors");
        let weights = counted(&graph);
        let count = 3i64.to_le_bytes();
        let count = safetensors::tensor::TensorView::new(Dtype::I64, vec![], &count).unwrap();
        let kept: Vec<(String, Vec<u8>, &[usize])> = weights
            .tensors()
            .iter()
            .map(|tensor| (tensor.name.clone(), View::data(&tensor).into_owned(), &*tensor.dims))
            .collect();
        let views = kept.iter().map(|(name, bytes, dims)| {
            let view = safetensors::tensor::TensorView::new(Dtype::F32, dims.to_vec(), bytes);
            (name.clone(), view.unwrap())
        });
        let views = views.chain([("bn1.num_batches_tracked".to_owned(), count)]);
        fs::write(&path, safetensors::serialize(views, None).unwrap()).unwrap();
        assert_eq!(WeightsFile::read(&path).unwrap().weights(&graph).unwrap(), weights);
    }
}
