//! rten as `run.py` times it.

#[path = "../../onnx_worker.rs"]
mod onnx_worker;

use std::error::Error;
use std::sync::Arc;

use onnx_worker::{Job, serve};
use rten::{Model, RunOptions, ThreadPool};
use rten_tensor::NdTensor;
use rten_tensor::prelude::*;

fn main() -> Result<(), Box<dyn Error>> {
    let job = Job::read()?;
    let model = Model::load_file(&job.onnx)?;
    let images = NdTensor::from_data(job.shape, job.images);
    let options = RunOptions::default()
        .with_thread_pool(Some(Arc::new(ThreadPool::with_num_threads(job.threads))));
    let (input, output) = (model.input_ids()[0], model.output_ids()[0]);
    serve("rten 0.27.0", || {
        let found =
            model.run(vec![(input, images.view().into())], &[output], Some(options.clone()))?;
        let found: NdTensor<f32, 2> = found.into_iter().next().ok_or("no output")?.try_into()?;
        Ok(found.into_data())
    })
}
