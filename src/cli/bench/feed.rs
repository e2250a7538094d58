//! [`Feed`], what the calls that are timed are given.

use std::time::Instant;

use nin::ndarray::Array4;
use nin::{Error, Graph, Hyper, PartTime, Session, StepParams};
use nin_runtime::host::zeroed_images;

use crate::cli::show::Mode;

/// Images and labels for calls of one kind.
pub(super) struct Feed {
    mode: Mode,
    images: Array4<f32>,
    labels: Vec<u32>,
    hyper: Vec<Hyper>,
    step: u64,
}

impl Feed {
    /// Any numbers of the size of normalised pixels.
    pub(super) fn new(graph: &Graph, mode: Mode, batch: usize) -> Result<Feed, Error> {
        let mut images = zeroed_images(batch, graph.input())?;
        // A cheap sequence that does not repeat within a row.
        for ((n, c, y, x), pixel) in images.indexed_iter_mut() {
            *pixel = ((n * 131 + c * 61 + y * 17 + x * 29) % 97) as f32 / 48.0 - 1.0;
        }
        let classes = graph.output().elements();
        let labels = (0..batch).map(|image| (image % classes) as u32).collect();
        // Too small a rate to change what is computed.
        let hyper = vec![Hyper { lr: 1e-6, momentum: 0.9, decay: 1e-4 }; graph.weights().len()];
        Ok(Feed { mode, images, labels, hyper, step: 0 })
    }

    /// Seconds of one call: its result is in the caller's hands when the clock stops.
    pub(super) fn time(&mut self, session: &mut Session) -> Result<f64, Error> {
        let Feed { mode, images, labels, hyper, step } = self;
        let start = Instant::now();
        match mode {
            Mode::Infer => {
                session.forward(images.view())?;
            }
            Mode::Train => {
                let params = StepParams { step: *step, seed: 1, hyper, ..StepParams::default() };
                session.step(images.view(), labels, &params)?;
                *step += 1;
            }
        }
        Ok(start.elapsed().as_secs_f64())
    }

    /// How long each part of a call takes, over so many runs after one that warms up.
    pub(super) fn parts(&self, session: &mut Session, runs: usize) -> Result<Vec<PartTime>, Error> {
        match self.mode {
            Mode::Infer => session.profile_forward(self.images.view(), runs),
            Mode::Train => session.profile_step(self.images.view(), &self.labels, runs),
        }
    }
}
