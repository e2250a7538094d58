//! [`Session`], a run of a program: weights, their prepared forms, and the memory to work in.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use ndarray::{ArrayD, ArrayView4, Axis, IxDyn, s};
use nin_dsl::graph::Graph;
use nin_dsl::shape::Shape;

use super::pace::{Pace, Way};
use super::pool::start;
use super::profile::{self, PartTime};
use super::program::Program;
use super::tally::Spins;
use super::threads::{Forked, Threads};
use crate::compiler::kernel::PassKind;
use crate::compiler::optimizer::Optimizer;
use crate::compiler::plan::{self, Plan};
use crate::error::Error;
use crate::host::memory::{self, Floats, zeros};
use crate::run::jit::call::{Hyper, Lanes, OptimizerState, StepMemory, TrainBatch, UpdateStep};
use crate::weights::Weights;

/// A program with weights, ready to run. All tensors lie in memory taken when the session starts: a step allocates
/// nothing once the first is done, a forward call its result.
pub struct Session {
    program: Program,
    threads: Threads,
    /// How fast they are together.
    pace: Pace,
    /// Master weights, as the plan lays them out. Forks share them until one writes.
    weights: Arc<Floats>,
    /// Prepared forms of the weights, shared likewise.
    prepared: Arc<Floats>,
    /// One a thread.
    arenas: Vec<Floats>,
    training: Option<Training>,
    /// What each thread has to do, from call to call.
    lanes: Lanes,
}

/// What only training needs.
struct Training {
    moments: OptimizerState,
    memory: StepMemory,
    losses: Vec<f32>,
    correct: Vec<u32>,
}

/// Which step to take.
#[derive(Clone, Copy, Debug, Default)]
pub struct StepParams<'a> {
    /// Number of the step, from 0: with the seed it determines dropout.
    pub step: u64,
    /// Seed of the run.
    pub seed: u64,
    /// A setting for each weight, in the graph's order.
    pub hyper: &'a [Hyper],
    /// The longest the gradient of all weights together may be (its Euclidean norm); a longer one is scaled down to it.
    pub clip: Option<f32>,
    /// How weights follow their gradients.
    pub optimizer: Optimizer,
    /// Share of each label that is spread over all classes (label smoothing); from 0 to below 1.
    pub smoothing: f32,
}

/// What a step found, before its update.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepOutcome {
    /// Mean softmax cross entropy over the batch.
    pub loss: f64,
    /// Images whose largest logit was their label's.
    pub correct: usize,
}

impl Program {
    /// Starts a session with its own copy of the weights and its own threads.
    ///
    /// # Errors
    /// [`Error::Weights`] if the weights are another model's, [`Error::Threads`] or [`Error::Memory`] if the
    /// system refuses.
    pub fn session(&self, weights: &Weights) -> Result<Session, Error> {
        Session::new(self.clone(), weights)
    }
}

impl Session {
    pub(super) fn new(program: Program, weights: &Weights) -> Result<Session, Error> {
        memory::check(program.session_bytes())?;
        let plan = program.plan();
        let master = Arc::new(Floats::unset(plan.weight_floats)?);
        let prepared = Arc::new(Floats::unset_bytes(plan.prepared_bytes)?);
        let mut session = Session::over(program, master, prepared)?;
        session.set_weights(weights)?;
        Ok(session)
    }

    /// A session with threads and memory of its own.
    fn over(
        program: Program,
        weights: Arc<Floats>,
        prepared: Arc<Floats>,
    ) -> Result<Session, Error> {
        let threads = start(program.threads())?;
        let plan = program.plan();
        let training = || -> Result<Training, Error> {
            Ok(Training {
                moments: OptimizerState {
                    momentum: Floats::zeroed(plan.weight_floats)?,
                    squares: None,
                    coefficients: Vec::with_capacity(program.graph().weights().len()),
                },
                memory: StepMemory::of(plan)?,
                losses: vec![0.0; plan.batch],
                correct: vec![0; plan.batch],
            })
        };
        let training = plan.training.is_some().then(training).transpose()?;
        let arenas = (0..threads.count()).map(|_| Floats::unset_bytes(plan.arena()));
        let arenas = arenas.collect::<Result<_, _>>()?;
        Ok(Session {
            pace: Pace::new(threads.count(), threads.spins() == Spins::HASTY),
            threads,
            weights,
            prepared,
            arenas,
            training,
            lanes: Lanes::default(),
            program,
        })
    }

    /// Another session with the same weights, to run beside this one on another thread. The two share the weights'
    /// memory until one of them changes its own.
    ///
    /// # Errors
    /// [`Error::Threads`] or [`Error::Memory`] if the system refuses.
    pub fn fork(&self) -> Result<Session, Error> {
        let (weights, prepared) = (Arc::clone(&self.weights), Arc::clone(&self.prepared));
        Session::over(self.program.clone(), weights, prepared)
    }

    /// The program.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// Runs the model on images `[N, C, H, W]`, `N` at most the planned batch, and returns `[N, ...output]`:
    /// probabilities of a model that ends in `softmax`.
    ///
    /// # Errors
    /// [`Error::Images`] if the images have another shape or are too many, [`Error::Memory`] if there is none for the
    /// results, [`Error::Forked`] in a fork of the process.
    pub fn forward(&mut self, images: ArrayView4<'_, f32>) -> Result<ArrayD<f32>, Error> {
        let n = self.check_images(&images)?;
        let output = self.program.graph().output();
        let images = images.as_standard_layout();
        let images = images.as_slice().expect("standard layout is contiguous");
        let mut results = zeros(n * output.elements())?;
        // Fewer images than threads are too few to go round.
        let way = if n < self.threads.count() { self.pace.way() } else { Way::Apart };
        let start = Instant::now();
        self.infer(way, n, (images, &mut results))?;
        self.pace.took(way, n, start.elapsed().as_secs_f64());
        let dims: Vec<usize> = [n].into_iter().chain(output.dims()).collect();
        Ok(ArrayD::from_shape_vec(IxDyn(&dims), results).expect("sized for the shape"))
    }

    /// Carries `n` images to their results.
    fn infer(&mut self, way: Way, n: usize, buffers: (&[f32], &mut [f32])) -> Result<(), Forked> {
        let callee = self.program.callee();
        let (prepared, arenas, lanes) = (&self.prepared, &mut *self.arenas, &mut self.lanes);
        let calls = match way {
            Way::Together => callee.infer_together(n, buffers, prepared, arenas, lanes),
            Way::Alone => callee.infer(n, buffers, prepared, &mut arenas[..1], lanes),
            Way::Apart => callee.infer(n, buffers, prepared, arenas, lanes),
        };
        calls.run(&mut self.threads)
    }

    /// One training step on images `[N, C, H, W]` with labels `[N]`, `N` at most the planned batch: forward with dropout,
    /// backward, and an update of every trained weight by the optimizer's rule, with `g` the gradient of the mean loss,
    /// clipped. Running statistics move towards the batch's, unless a channel has one number in it: a number alone has no
    /// variance.
    ///
    /// # Errors
    /// [`Error::Images`] or [`Error::Labels`] if the batch does not fit the model, [`Error::Hyper`] if there is not one
    /// setting for each weight, [`Error::NotTrainable`] if the program was compiled for inference, [`Error::Forked`] in a fork of
    /// the process, and as [`Session::reserve`].
    pub fn step(
        &mut self,
        images: ArrayView4<'_, f32>,
        labels: &[u32],
        params: &StepParams<'_>,
    ) -> Result<StepOutcome, Error> {
        let (found, expected) = (params.hyper.len(), self.program.graph().weights().len());
        if found != expected {
            return Err(Error::Hyper { found, expected });
        }
        self.reserve(params.optimizer)?;
        let dropout = Some((params.seed, params.step));
        let outcome = self.differentiate(images, labels, dropout, params.smoothing)?;
        let Some(training) = &mut self.training else { return Err(Error::NotTrainable) };
        let callee = self.program.callee();
        let threads = self.threads.count();
        let scale = match params.clip {
            None => 1.0,
            Some(most) => {
                let memory = &mut training.memory;
                callee.reduce(memory, threads, &mut self.lanes).run(&mut self.threads)?;
                let sums = training.memory.sums.as_slice();
                clip_scale(&sums[..self.program.plan().weight_floats], most)
            }
        };
        let StepParams { optimizer, hyper, step, clip, .. } = *params;
        let [weights, prepared] = [&mut self.weights, &mut self.prepared].map(Arc::make_mut);
        let Training { memory, moments, .. } = training;
        if !self.program.plan().norms.is_empty() {
            callee.track(labels.len(), weights, memory, &mut self.lanes).run(&mut self.threads)?;
        }
        let update = UpdateStep { optimizer, hyper, scale, reduced: clip.is_some(), step };
        callee
            .update(
                &update,
                memory,
                (weights, prepared),
                moments,
                &mut self.arenas,
                &mut self.lanes,
            )
            .run(&mut self.threads)?;
        Ok(outcome)
    }

    /// The mean loss of images `[N, C, H, W]` with labels `[N]`, and its gradient with respect to every weight (zeros for
    /// running statistics). They are those of a training step: a batch normalisation takes the statistics of the images.
    /// But dropout is off, and no weight changes.
    ///
    /// # Errors
    /// As [`Session::step`].
    pub fn gradients(
        &mut self,
        images: ArrayView4<'_, f32>,
        labels: &[u32],
    ) -> Result<(f64, Weights), Error> {
        let outcome = self.differentiate(images, labels, None, 0.0)?;
        let Some(training) = &mut self.training else { return Err(Error::NotTrainable) };
        let (memory, threads) = (&mut training.memory, self.threads.count());
        self.program.callee().reduce(memory, threads, &mut self.lanes).run(&mut self.threads)?;
        let Some(training) = &self.training else { return Err(Error::NotTrainable) };
        Ok((outcome.loss, self.to_file_layout(&training.memory.sums)))
    }

    /// Forward and backward; leaves each slice's gradients in its part.
    fn differentiate(
        &mut self,
        images: ArrayView4<'_, f32>,
        labels: &[u32],
        dropout: Option<(u64, u64)>,
        smoothing: f32,
    ) -> Result<StepOutcome, Error> {
        let n = self.check_images(&images)?;
        self.check_labels(n, labels)?;
        let Some(training) = &mut self.training else { return Err(Error::NotTrainable) };
        let images = images.as_standard_layout();
        let mut batch = TrainBatch {
            images: images.as_slice().expect("standard layout is contiguous"),
            labels,
            losses: &mut training.losses[..n],
            correct: &mut training.correct[..n],
            dropout,
            smoothing,
        };
        let callee = self.program.callee();
        let memory = &mut training.memory;
        for (number, phase) in self.program.plan().phases().iter().enumerate() {
            callee
                .train(
                    number,
                    &mut batch,
                    (&self.weights, &self.prepared),
                    memory,
                    &mut self.arenas,
                    &mut self.lanes,
                )
                .run(&mut self.threads)?;
            if !phase.gathers.is_empty() {
                callee
                    .gather(number, n, &self.weights, memory, &mut self.lanes)
                    .run(&mut self.threads)?;
            }
        }
        let sum: f64 = training.losses[..n].iter().map(|&loss| f64::from(loss)).sum();
        let correct = training.correct[..n].iter().filter(|&&right| right != 0).count();
        Ok(StepOutcome { loss: sum / n as f64, correct })
    }

    /// How long each part of a forward call takes on one thread, over `runs` runs of one chunk of images `[N, C, H, W]`.
    ///
    /// # Errors
    /// As [`Session::forward`].
    pub fn profile_forward(
        &mut self,
        images: ArrayView4<'_, f32>,
        runs: usize,
    ) -> Result<Vec<PartTime>, Error> {
        self.check_images(&images)?;
        let (graph, plan) = (self.program.graph(), self.program.plan());
        let images = images.slice(s![..plan.chunk.min(images.len_of(Axis(0))), .., .., ..]);
        let n = images.len_of(Axis(0));
        let images = images.as_standard_layout();
        let images = images.as_slice().expect("standard layout is contiguous");
        let mut results = vec![0.0; n * graph.output().elements()];
        let (prepared, arena) = (&self.prepared, &mut self.arenas[0]);
        let calls = self.program.callee().infer_parts(
            n,
            (images, &mut results),
            prepared,
            arena,
            &mut self.lanes,
        );
        let pass = (PassKind::Inference, &plan.inference);
        Ok(profile::measure((graph, plan), pass, (runs, n), || calls.run()))
    }

    /// How long each part of a training step takes on one thread, over `runs` runs of one chunk of images `[N, C, H, W]` with
    /// labels `[N]`; what a step does once a batch is not among them. No weight changes.
    ///
    /// # Errors
    /// As [`Session::step`].
    pub fn profile_step(
        &mut self,
        images: ArrayView4<'_, f32>,
        labels: &[u32],
        runs: usize,
    ) -> Result<Vec<PartTime>, Error> {
        let n = self.check_images(&images)?;
        self.check_labels(n, labels)?;
        let (graph, plan) = (self.program.graph(), self.program.plan());
        let (Some(training), Some(pass)) = (&mut self.training, &plan.training) else {
            return Err(Error::NotTrainable);
        };
        let n = n.min(plan.chunk);
        let images = images.slice(s![..n, .., .., ..]);
        let images = images.as_standard_layout();
        let mut batch = TrainBatch {
            images: images.as_slice().expect("standard layout is contiguous"),
            labels: &labels[..n],
            losses: &mut training.losses[..n],
            correct: &mut training.correct[..n],
            dropout: Some((0, 0)),
            smoothing: 0.0,
        };
        let (memory, arena) = (&mut training.memory, &mut self.arenas[0]);
        let calls = self.program.callee().train_parts(
            &mut batch,
            &self.prepared,
            memory,
            arena,
            &mut self.lanes,
        );
        let pass = (PassKind::Training, pass);
        Ok(profile::measure((graph, plan), pass, (runs, n), || calls.run()))
    }

    /// The weights as they are now.
    pub fn weights(&self) -> Weights {
        self.to_file_layout(&self.weights)
    }

    /// Replaces the weights.
    ///
    /// # Errors
    /// [`Error::Weights`] if they are another model's, [`Error::Forked`] in a fork of the process.
    pub fn set_weights(&mut self, weights: &Weights) -> Result<(), Error> {
        let graph = self.program.graph();
        weights.check(graph)?;
        // Both forms of the weights change, or none.
        self.threads.check_process()?;
        from_file_layout(graph, self.program.plan(), weights, Arc::make_mut(&mut self.weights));
        let callee = self.program.callee();
        let prepared = Arc::make_mut(&mut self.prepared);
        let (arenas, lanes) = (&mut self.arenas, &mut self.lanes);
        callee.prepare(&self.weights, prepared, arenas, lanes).run(&mut self.threads)?;
        Ok(())
    }

    /// The momentum of every weight; zeros before the first step.
    ///
    /// # Errors
    /// [`Error::NotTrainable`] if the program was compiled for inference.
    pub fn momentum(&self) -> Result<Weights, Error> {
        let training = self.training.as_ref().ok_or(Error::NotTrainable)?;
        Ok(self.to_file_layout(&training.moments.momentum))
    }

    /// Replaces the momentum of every weight.
    ///
    /// # Errors
    /// [`Error::Weights`] if it is another model's, [`Error::NotTrainable`] if the program was compiled for inference.
    pub fn set_momentum(&mut self, momentum: &Weights) -> Result<(), Error> {
        let training = self.training.as_mut().ok_or(Error::NotTrainable)?;
        let graph = self.program.graph();
        momentum.check(graph)?;
        from_file_layout(graph, self.program.plan(), momentum, &mut training.moments.momentum);
        Ok(())
    }

    /// The running mean of every weight's squared gradients, of optimizers that keep them; `None` before their first step.
    ///
    /// # Errors
    /// As [`Session::momentum`].
    pub fn squares(&self) -> Result<Option<Weights>, Error> {
        let training = self.training.as_ref().ok_or(Error::NotTrainable)?;
        Ok(training.moments.squares.as_ref().map(|squares| self.to_file_layout(squares)))
    }

    /// Replaces the running mean of every weight's squared gradients.
    ///
    /// # Errors
    /// As [`Session::set_momentum`], and [`Error::Memory`] if the system refuses.
    pub fn set_squares(&mut self, squares: &Weights) -> Result<(), Error> {
        let training = self.training.as_mut().ok_or(Error::NotTrainable)?;
        let (graph, plan) = (self.program.graph(), self.program.plan());
        squares.check(graph)?;
        let mut floats = match training.moments.squares.take() {
            Some(floats) => floats,
            None => room_for_squares(&self.program)?,
        };
        from_file_layout(graph, plan, squares, &mut floats);
        training.moments.squares = Some(floats);
        Ok(())
    }

    /// Takes the memory for what an optimizer keeps of every weight besides its momentum, if it keeps anything. A step does that
    /// itself; whoever asks before the first knows that none is refused later.
    ///
    /// # Errors
    /// [`Error::Memory`] if the system refuses, [`Error::NotTrainable`] if the program was compiled for inference.
    pub fn reserve(&mut self, optimizer: Optimizer) -> Result<(), Error> {
        let training = self.training.as_mut().ok_or(Error::NotTrainable)?;
        if optimizer.keeps_squares() && training.moments.squares.is_none() {
            training.moments.squares = Some(room_for_squares(&self.program)?);
        }
        Ok(())
    }

    fn check_images(&self, images: &ArrayView4<'_, f32>) -> Result<usize, Error> {
        let (n, c, h, w) = images.dim();
        let expected = self.program.graph().input();
        let batch = self.program.batch();
        if Shape::map(c, h, w) != expected || n == 0 || n > batch {
            return Err(Error::Images {
                found: images.shape().to_vec(),
                expected: expected.dims(),
                batch,
            });
        }
        Ok(n)
    }

    fn check_labels(&self, images: usize, labels: &[u32]) -> Result<(), Error> {
        let graph = self.program.graph();
        let classes = graph.node(graph.logits()).shape.elements();
        if labels.len() != images {
            return Err(Error::Labels {
                reason: format!("{} labels for {images} images", labels.len()),
            });
        }
        match labels.iter().position(|&label| label as usize >= classes) {
            Some(image) => {
                let label = labels[image];
                let reason =
                    format!("image {image} has label {label}, and the model has {classes} classes");
                Err(Error::Labels { reason })
            }
            None => Ok(()),
        }
    }

    /// Numbers that lie as the weights, in the order of files.
    fn to_file_layout(&self, floats: &Floats) -> Weights {
        let graph = self.program.graph();
        let mut weights = Weights::zeros(graph);
        let plan = self.program.plan();
        for ((id, values), &offset) in
            graph.weight_ids().zip(weights.values_mut()).zip(&plan.weights)
        {
            let floats = &floats.as_slice()[offset..offset + values.len()];
            for (position, &value) in plan::file_positions(graph, id).zip(floats) {
                values[position] = value;
            }
        }
        weights
    }
}

/// Zeros for the running means of squares, if they fit beside all else that a session of the program has.
fn room_for_squares(program: &Program) -> Result<Floats, Error> {
    memory::check(program.session_bytes() + program.squares_bytes())?;
    Floats::zeroed(program.plan().weight_floats)
}

/// What a gradient is multiplied by so that its norm is at most `most`. A gradient that is not finite gives no finite
/// weights either way: the next loss shows it.
///
/// The gaps between weights, which alignment leaves, hold zeros: a slice's gradients start as zeros, and tiles store exactly
/// their rows and columns.
fn clip_scale(gradient: &[f32], most: f32) -> f32 {
    let square = |part: &[f32]| part.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>();
    // Short runs, so that the sum does not lose small numbers and its order is plain.
    let norm = gradient.chunks(256).map(square).sum::<f64>().sqrt();
    if norm > f64::from(most) { (f64::from(most) / norm) as f32 } else { 1.0 }
}

/// Lays tensors in the order of files out as the plan has them.
pub(super) fn from_file_layout(graph: &Graph, plan: &Plan, weights: &Weights, floats: &mut Floats) {
    for ((id, tensor), &offset) in graph.weight_ids().zip(weights.tensors()).zip(&plan.weights) {
        let floats = &mut floats.as_mut_slice()[offset..offset + tensor.values.len()];
        for (position, float) in plan::file_positions(graph, id).zip(floats) {
            *float = tensor.values[position];
        }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("program", &self.program)
            .field("threads", &self.threads.count())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod ways;
