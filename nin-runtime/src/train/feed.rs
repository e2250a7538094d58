//! Batches for training, prepared on a thread of their own while the step before computes.
//!
//! The thread is at most one batch ahead, so it rests while the compute threads work, but for the little that a batch takes;
//! and what a batch holds does not depend on when it was made. Where the system starts no thread, each is made when it is due.

use std::ops::ControlFlow;
use std::panic::resume_unwind;
use std::sync::mpsc::sync_channel;
use std::thread;

use ndarray::{Array4, Axis};

use super::{Augment, TrainError};
use crate::data::{Preparation, Split};
use crate::error::Error;
use crate::host::zeroed_images;

/// Where batches come from and what is done to their images.
#[derive(Clone, Copy)]
pub(super) struct Feed<'a> {
    pub(super) split: &'a Split,
    pub(super) preparation: &'a Preparation,
    pub(super) augment: Augment,
    pub(super) seed: u64,
    /// From 0.
    pub(super) epoch: u32,
    /// The most images of a batch.
    pub(super) batch: usize,
}

/// Images and labels of a step, and memory for the next.
pub(super) struct Batch {
    /// As many as any step's, `[N, C, H, W]`; the step's come first.
    pub(super) images: Array4<f32>,
    /// One for each image of the step.
    pub(super) labels: Vec<u32>,
    /// An image as it was.
    before: Vec<f32>,
}

impl Feed<'_> {
    /// Hands the batches of these indices to `take`, in order, until it breaks or fails.
    pub(super) fn each<'o>(
        self,
        mut batches: impl Iterator<Item = &'o [u32]> + Send,
        mut take: impl FnMut(&Batch) -> Result<ControlFlow<()>, TrainError>,
    ) -> Result<ControlFlow<()>, TrainError> {
        if let Some(done) = self.each_ahead(&mut batches, &mut take)? {
            return Ok(done);
        }
        let mut batch = self.empty()?;
        for indices in batches {
            self.fill(&mut batch, indices);
            if take(&batch)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// [`Feed::each`] with a thread of its own; `None` if there is none to be had.
    fn each_ahead<'o>(
        self,
        batches: &mut (impl Iterator<Item = &'o [u32]> + Send),
        take: &mut impl FnMut(&Batch) -> Result<ControlFlow<()>, TrainError>,
    ) -> Result<Option<ControlFlow<()>>, TrainError> {
        let (full, filled) = sync_channel(1);
        let (empty, emptied) = sync_channel(2);
        for batch in [self.empty()?, self.empty()?] {
            empty.send(batch).expect("the other end is here");
        }
        // Both ends of this side go when the scope's closure does: the thread then waits for nothing.
        thread::scope(move |scope| {
            let prepare = move || {
                for indices in batches {
                    let Ok(mut batch) = emptied.recv() else { return };
                    self.fill(&mut batch, indices);
                    if full.send(batch).is_err() {
                        return;
                    }
                }
            };
            let thread = thread::Builder::new().name("nin-feed".to_owned());
            let Ok(ahead) = thread.spawn_scoped(scope, prepare) else { return Ok(None) };
            for batch in filled {
                if take(&batch)?.is_break() {
                    return Ok(Some(ControlFlow::Break(())));
                }
                // Nobody waits for it after the last.
                let _ = empty.send(batch);
            }
            // The batches have ended, or a panic has ended them.
            ahead.join().unwrap_or_else(|panic| resume_unwind(panic));
            Ok(Some(ControlFlow::Continue(())))
        })
    }

    /// Room for a batch.
    fn empty(self) -> Result<Batch, Error> {
        let images = zeroed_images(self.batch, self.split.shape())?;
        Ok(Batch { images, labels: vec![], before: vec![] })
    }

    fn fill(&self, batch: &mut Batch, indices: &[u32]) {
        let Batch { images, labels, before } = batch;
        self.split.gather(indices, self.preparation, images, labels);
        if self.augment.is_none() {
            return;
        }
        for (image, &index) in images.axis_iter_mut(Axis(0)).zip(indices) {
            self.augment.apply((self.seed, self.epoch, index), image, before);
        }
    }
}
