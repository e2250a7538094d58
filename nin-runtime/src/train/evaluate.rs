//! [`Evaluator`]: accuracy, loss and confusion of weights on labelled images.

use ndarray::{Array4, s};
use nin_dsl::graph::Graph;
use nin_dsl::shape::Shape;

use crate::compile::Machine;
use crate::compile::{Purpose, compile};
use crate::data::{Preparation, Split};
use crate::error::Error;
use crate::host::{memory, zeroed_images};
use crate::run::exec::{Program, Session};
use crate::weights::Weights;

/// What a model makes of labelled images.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// Number of images.
    pub images: usize,
    /// Mean softmax cross entropy; 0 of no images.
    pub loss: f64,
    /// Images by class and by the class of the largest output: `confusion[true][predicted]`.
    pub confusion: Vec<Vec<u64>>,
    /// Outputs that are exactly zero on every image: behind a ReLU they have no gradient and learn no more.
    pub dead: Vec<usize>,
}

impl Evaluation {
    /// Share of images whose largest output is their class's; 0 of no images.
    pub fn accuracy(&self) -> f64 {
        let right: u64 = (0..self.confusion.len()).map(|class| self.confusion[class][class]).sum();
        share(right, self.images as u64)
    }

    /// Share of each class's images that are recognised; 0 of a class without images.
    pub fn per_class(&self) -> Vec<f64> {
        let classes = self.confusion.iter().enumerate();
        classes.map(|(class, row)| share(row[class], row.iter().sum())).collect()
    }

    /// Whether images of several classes all got the same answer, as from a network that learnt nothing but which class is
    /// frequent.
    pub fn is_guessing(&self) -> bool {
        let classes = self.confusion.len();
        let answered = |class: &usize| self.confusion.iter().any(|row| row[*class] > 0);
        let answers = (0..classes).filter(answered).count();
        let present = self.confusion.iter().filter(|row| row.iter().any(|&n| n > 0)).count();
        answers == 1 && present > 1
    }
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// What a model makes of one image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Answer<'a> {
    /// The image's index in its split.
    pub image: u32,
    /// Its class.
    pub label: u32,
    /// The outputs, before any softmax.
    pub logits: &'a [f32],
}

/// A model compiled to its logits, from which loss and dead outputs can be read exactly.
///
/// # Examples
/// ```
/// use nin::Model;
/// use nin::data::{Normalisation, Preparation, Split};
/// use nin::ndarray::Array4;
/// use nin::train::{Evaluator, Recipe, init};
/// use nin::Machine;
///
/// let model = Model::from_text("m", "< input(1, 6, 6) mlpconv(4, 2) gap softmax >", &[])?;
/// let weights = init(model.graph(), &Recipe::default());
/// let images = Array4::from_shape_fn((8, 1, 6, 6), |(n, ..)| (n * 30) as u8);
/// let split = Split::new(images, vec![0, 1, 0, 1, 0, 1, 0, 1])?;
/// let normalise = Preparation::Normalised(Normalisation::identity(1));
/// let mut evaluator = Evaluator::new(model.graph(), &weights, 4, &Machine::default())?;
/// let mut wrong = vec![];
/// let all: Vec<u32> = (0..8).collect();
/// let evaluation = evaluator.evaluate_each(&split, &all, &normalise, |answer| {
///     if answer.predicted() != answer.label as usize {
///         wrong.push(answer.image);
///     }
/// })?;
/// assert_eq!(evaluation.accuracy(), 1.0 - wrong.len() as f64 / 8.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Evaluator {
    session: Session,
    batch: Array4<f32>,
    labels: Vec<u32>,
}

impl Evaluator {
    /// Compiles a classifier for calls of up to `batch` images.
    ///
    /// # Errors
    /// As [`compile`], and weights of another model.
    pub fn new(
        graph: &Graph,
        weights: &Weights,
        batch: usize,
        machine: &Machine,
    ) -> Result<Evaluator, Error> {
        // The confusion matrix, which some labels' slips make enormous.
        if let Shape::Vector { n } = graph.output() {
            memory::check(n.saturating_mul(n).saturating_mul(size_of::<u64>()))?;
        }
        let options = machine.options(batch, Purpose::Inference);
        let session = compile(&graph.without_softmax(), &options)?.session(weights)?;
        let batch = zeroed_images(batch, graph.input())?;
        Ok(Evaluator { session, batch, labels: Vec::new() })
    }

    /// The program that runs the model.
    pub fn program(&self) -> &Program {
        self.session.program()
    }

    /// Replaces the weights.
    ///
    /// # Errors
    /// Weights of another model.
    pub fn set_weights(&mut self, weights: &Weights) -> Result<(), Error> {
        self.session.set_weights(weights)
    }

    /// Runs the images at `indices` of a split that fits the model (see [`crate::data::Dataset::check`]).
    ///
    /// # Errors
    /// Those of [`Session::forward`].
    pub fn evaluate(
        &mut self,
        split: &Split,
        indices: &[u32],
        preparation: &Preparation,
    ) -> Result<Evaluation, Error> {
        self.evaluate_each(split, indices, preparation, |_| {})
    }

    /// As [`Evaluator::evaluate`], and hands what the model makes of each image to `each`, in order.
    ///
    /// # Errors
    /// As [`Evaluator::evaluate`].
    pub fn evaluate_each(
        &mut self,
        split: &Split,
        indices: &[u32],
        preparation: &Preparation,
        mut each: impl FnMut(Answer<'_>),
    ) -> Result<Evaluation, Error> {
        let classes = self.session.program().graph().output().elements();
        let mut confusion = vec![vec![0; classes]; classes];
        let mut loss = 0.0;
        let mut dead = vec![!indices.is_empty(); classes];
        for indices in indices.chunks(self.batch.dim().0) {
            split.gather(indices, preparation, &mut self.batch, &mut self.labels);
            let logits = self.session.forward(self.batch.slice(s![..indices.len(), .., .., ..]))?;
            let logits = logits.as_slice().expect("results are in standard layout");
            let answers = indices.iter().zip(&self.labels).zip(logits.chunks_exact(classes));
            for ((&image, &label), logits) in answers {
                confusion[label as usize][largest(logits)] += 1;
                loss += cross_entropy(logits, label as usize);
                for (dead, &logit) in dead.iter_mut().zip(logits) {
                    *dead &= logit == 0.0;
                }
                each(Answer { image, label, logits });
            }
        }
        let loss = if indices.is_empty() { 0.0 } else { loss / indices.len() as f64 };
        let dead = (0..classes).filter(|&class| dead[class]).collect();
        Ok(Evaluation { images: indices.len(), loss, confusion, dead })
    }
}

impl Answer<'_> {
    /// The class of the largest output.
    pub fn predicted(&self) -> usize {
        largest(self.logits)
    }

    /// The probability of a class.
    pub fn probability(&self, class: usize) -> f64 {
        (-cross_entropy(self.logits, class)).exp()
    }
}

/// The first of the largest.
pub(crate) fn largest(numbers: &[f32]) -> usize {
    let mut best = 0;
    for (index, number) in numbers.iter().enumerate() {
        if *number > numbers[best] {
            best = index;
        }
    }
    best
}

/// `-ln softmax(logits)[label]`.
fn cross_entropy(logits: &[f32], label: usize) -> f64 {
    let logits = || logits.iter().map(|&logit| f64::from(logit));
    let largest = logits().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = logits().map(|logit| (logit - largest).exp()).sum();
    sum.ln() + largest - logits().nth(label).expect("labels are classes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cross_entropy_survives_large_logits() {
        assert!((cross_entropy(&[0.0, 0.0], 1) - 2f64.ln()).abs() < 1e-12);
        assert_eq!(cross_entropy(&[3e8, 0.0], 1), 3e8);
        assert_eq!(largest(&[1.0, 2.0, 2.0]), 1);
    }

    #[test]
    fn shares_are_counted_along_the_diagonal() {
        let evaluation = Evaluation {
            images: 8,
            loss: 0.0,
            confusion: vec![vec![3, 1, 0], vec![2, 2, 0], vec![0, 0, 0]],
            dead: vec![],
        };
        assert_eq!(evaluation.accuracy(), 5.0 / 8.0);
        assert_eq!(evaluation.per_class(), [0.75, 0.5, 0.0]);
    }
}
