//! Feature maps: what the last layer with maps makes of an image, and its strongest activations, as in the paper's figure 4.

use ndarray::{Array3, ArrayView3, ArrayView4, Axis, Ix4};
use nin_dsl::graph::Graph;

use crate::compile::Machine;
use crate::compile::{Purpose, compile};
use crate::error::Error;
use crate::run::exec::{Program, Session};
use crate::weights::Weights;

/// A model compiled up to the last layer that yields maps: in the paper's networks the mlpconv before `gap`, with a map for
/// each class.
///
/// # Examples
/// ```
/// use nin::Model;
/// use nin::features::FeatureMaps;
/// use nin::ndarray::Array3;
/// use nin::train::{Recipe, init};
/// use nin::Machine;
///
/// let text = "< input(1, 8, 8) mlpconv(6, 6) maxpool(2) mlpconv(6, 3) gap softmax >";
/// let model = Model::from_text("small", text, &[])?;
/// let weights = init(model.graph(), &Recipe::default());
/// let mut features = FeatureMaps::new(model.graph(), &weights, Machine::default())?;
/// let maps = features.of(Array3::ones((1, 8, 8)).view())?;
/// assert_eq!(maps.dim(), (3, 4, 4));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct FeatureMaps {
    session: Session,
}

impl FeatureMaps {
    /// Compiles a model for one image at a time.
    ///
    /// # Errors
    /// As [`compile`], and weights of another model.
    pub fn new(graph: &Graph, weights: &Weights, machine: Machine) -> Result<FeatureMaps, Error> {
        weights.check(graph)?;
        let graph = graph.feature_maps();
        let known = |name: &str| graph.weights().iter().any(|weight| weight.name == name);
        let tensors = weights.tensors().iter().filter(|tensor| known(&tensor.name)).cloned();
        let weights = Weights::from_tensors(&graph, tensors)?;
        let options = machine.options(1, Purpose::Inference);
        Ok(FeatureMaps { session: compile(&graph, &options)?.session(&weights)? })
    }

    /// The program that makes the maps.
    pub fn program(&self) -> &Program {
        self.session.program()
    }

    /// The maps `[C, H, W]` of an image `[C, H, W]` that is prepared as the model reads it.
    ///
    /// # Errors
    /// Those of [`Session::forward`].
    pub fn of(&mut self, image: ArrayView3<'_, f32>) -> Result<Array3<f32>, Error> {
        let image: ArrayView4<'_, f32> = image.insert_axis(Axis(0));
        let maps = self.session.forward(image)?.into_dimensionality::<Ix4>();
        Ok(maps.expect("the last layer yields maps").index_axis_move(Axis(0), 0))
    }
}

/// The strongest activations of all maps together, from 0 to 1 of the largest; what is weaker, or not above 0, is 0.
/// `share` of the activations are kept.
pub fn strongest(maps: &Array3<f32>, share: f64) -> Array3<f32> {
    let mut values: Vec<f32> = maps.iter().copied().collect();
    values.sort_by(|a, b| b.total_cmp(a));
    let kept = ((values.len() as f64 * share).round() as usize).clamp(1, values.len());
    let (largest, least) = (values[0], values[kept - 1].max(f32::MIN_POSITIVE));
    maps.mapv(|x| if x >= least { x / largest } else { 0.0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_strongest_tenth_is_kept() {
        let maps = Array3::from_shape_fn((2, 2, 5), |(c, y, x)| (10 * c + 5 * y + x) as f32 - 3.0);
        let kept = strongest(&maps, 0.1);
        let expected: Vec<f32> =
            (0..20).map(|at| if at < 18 { 0.0 } else { (at as f32 - 3.0) / 16.0 }).collect();
        assert_eq!(kept.into_iter().collect::<Vec<_>>(), expected);
        // Maps without anything above 0 are dark.
        assert!(strongest(&Array3::from_elem((1, 3, 3), -1.0), 0.1).iter().all(|&x| x == 0.0));
    }
}
