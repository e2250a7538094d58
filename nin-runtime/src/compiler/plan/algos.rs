//! [`Algos`], which algorithms a plan may take: one choice for the whole model, and others for some of its layers.

use std::fmt;
use std::str::FromStr;

use nin_dsl::graph::{Graph, Layer, NodeId, Op};

use super::Depth;
use super::algorithm::{self, Algo, Product};

/// The value of `--algo`: a choice for all convolutions, and hints for those of some layers, such as
/// `auto,mlpconv2=direct,mlpconv1.kernel-grad=winograd4`. `depth-first=never` and `depth-first=always` say how bands of rows go
/// through the model at inference.
///
/// # Examples
/// ```
/// use nin::{Algo, Algos};
///
/// let algos: Algos = "mlpconv2=direct".parse()?;
/// assert_eq!(algos.to_string(), "auto,mlpconv2=direct");
/// assert_eq!(Algos::from(Algo::Direct).to_string(), "direct");
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Algos {
    /// For every convolution that no hint is about.
    pub rest: Algo,
    /// For those of some layers; of two about the same product, the later one counts.
    pub hints: Vec<Hint>,
    /// Which chains of stages go depth first.
    pub depth: Depth,
}

/// A choice for the convolutions of one layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hint {
    /// The layer's name, such as `mlpconv2`.
    pub layer: String,
    /// One of the products; every product, if none is named.
    pub product: Option<Product>,
    /// The choice.
    pub algo: Algo,
}

/// A hint that does not fit the model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HintError {
    /// The model has no such layer.
    #[error("`{hint}`: the model has no layer of that name; convolutions are in {convs}")]
    Layer {
        /// The hint.
        hint: Hint,
        /// The names of layers that it could be about.
        convs: String,
    },
    /// The layer computes no convolution.
    #[error("`{hint}`: that layer has no convolution; convolutions are in {convs}")]
    NoConv {
        /// The hint.
        hint: Hint,
        /// The names of layers that it could be about.
        convs: String,
    },
    /// None of the layer's convolutions can be computed so.
    #[error("`{hint}`: {problem}")]
    Algorithm {
        /// The hint.
        hint: Hint,
        /// Why not.
        problem: String,
    },
}

impl Algos {
    /// The choice for a product of a layer's convolutions.
    pub fn of(&self, layer: &str, product: Product) -> Algo {
        let fits = |hint: &&Hint| {
            hint.layer == layer && hint.product.is_none_or(|hinted| hinted == product)
        };
        self.hints.iter().rev().find(fits).map_or(self.rest, |hint| hint.algo)
    }

    /// Whether every hint is about a convolution of the model that can be computed so.
    ///
    /// # Errors
    /// The first hint that is not.
    pub fn check(&self, graph: &Graph) -> Result<(), HintError> {
        self.hints.iter().try_for_each(|hint| hint.check(graph))
    }
}

impl Hint {
    fn check(&self, graph: &Graph) -> Result<(), HintError> {
        let convs = || {
            let names = graph.layers().iter().filter(|layer| convs(graph, layer).next().is_some());
            let names: Vec<&str> = names.map(|layer| &*layer.name).collect();
            if names.is_empty() { "none of its layers".to_owned() } else { names.join(", ") }
        };
        let hint = || self.clone();
        let layer = graph.layers().iter().find(|layer| layer.name == self.layer);
        let Some(layer) = layer else {
            return Err(HintError::Layer { hint: hint(), convs: convs() });
        };
        if self::convs(graph, layer).next().is_none() {
            return Err(HintError::NoConv { hint: hint(), convs: convs() });
        }
        let sizes: Vec<_> =
            self::convs(graph, layer).flat_map(|id| algorithm::sizes(graph, id)).collect();
        let algorithm = |problem| Err(HintError::Algorithm { hint: hint(), problem });
        match self.algo {
            Algo::Auto | Algo::Direct => Ok(()),
            Algo::Winograd | Algo::Outputs(_) if sizes.is_empty() => algorithm(
                "Winograd's algorithm is for square kernels from 2x2 to 7x7 with stride 1, and the layer has none"
                    .to_owned(),
            ),
            Algo::Winograd => Ok(()),
            Algo::Outputs(outputs) if sizes.iter().any(|size| size.outputs == outputs) => Ok(()),
            Algo::Outputs(_) => {
                let sizes: Vec<String> = sizes
                    .iter()
                    .map(|size| format!("{} for {size}", Algo::Outputs(size.outputs)))
                    .collect();
                algorithm(format!("the layer can take {}", sizes.join(", ")))
            }
        }
    }
}

/// The convolutions of a layer.
fn convs(graph: &Graph, layer: &Layer) -> impl Iterator<Item = NodeId> {
    let is_conv = |id: &NodeId| matches!(graph.node(*id).op, Op::Conv { .. });
    let nodes = layer.nodes.clone();
    graph.ids().filter(move |id| nodes.contains(&id.index())).filter(is_conv)
}

impl From<Algo> for Algos {
    fn from(rest: Algo) -> Algos {
        Algos { rest, ..Algos::default() }
    }
}

impl fmt::Display for Algos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.rest)?;
        self.hints.iter().try_for_each(|hint| write!(f, ",{hint}"))?;
        match self.depth {
            Depth::Auto => Ok(()),
            depth @ (Depth::Never | Depth::Always) => write!(f, ",{}={depth}", Depth::KEY),
        }
    }
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Hint { layer, product, algo } = self;
        match product {
            Some(product) => write!(f, "{layer}.{}={algo}", product.word()),
            None => write!(f, "{layer}={algo}"),
        }
    }
}

impl FromStr for Algos {
    type Err = String;

    fn from_str(text: &str) -> Result<Algos, String> {
        let (mut rest, mut hints, mut depth) = (None, vec![], Depth::Auto);
        for part in text.split(',') {
            match part.split_once('=') {
                Some((Depth::KEY, word)) => depth = word.parse()?,
                Some((of, algo)) => hints.push(hint(of, algo)?),
                None if rest.is_some() => {
                    return Err(format!(
                        "`{part}` is a second choice for the whole model; for a layer write `LAYER={part}`"
                    ));
                }
                None => rest = Some(part.parse()?),
            }
        }
        Ok(Algos { rest: rest.unwrap_or_default(), hints, depth })
    }
}

/// A hint from what is left and right of its equals sign.
fn hint(of: &str, algo: &str) -> Result<Hint, String> {
    let algo = algo.parse()?;
    let (layer, product) = match of.split_once('.') {
        None => (of, None),
        Some((layer, word)) => {
            let product = Product::ALL.into_iter().find(|product| product.word() == word);
            let words = Product::ALL.map(Product::word).join(", ");
            let product =
                product.ok_or_else(|| format!("no product `{word}`: a convolution has {words}"))?;
            (layer, Some(product))
        }
    };
    if layer.is_empty() {
        return Err(format!("`{of}={algo}` names no layer: write `LAYER={algo}`"));
    }
    Ok(Hint { layer: layer.to_owned(), product, algo })
}
