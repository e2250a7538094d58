//! tract as `run.py` times it.

#[path = "../../onnx_worker.rs"]
mod onnx_worker;

use std::error::Error;

use onnx_worker::{Job, serve};
use tract_linalg::multithread::{Executor, set_default_executor};
use tract_onnx::prelude::*;

fn main() -> Result<(), Box<dyn Error>> {
    let job = Job::read()?;
    set_default_executor(Executor::multithread(job.threads));
    let model = tract_onnx::onnx().model_for_path(&job.onnx)?.into_optimized()?.into_runnable()?;
    let images = Tensor::from_shape(&job.shape, &job.images)?;
    serve("tract 0.23.9", || {
        let found = model.run(tvec!(images.clone().into()))?;
        Ok(found[0].to_plain_array_view::<f32>()?.iter().copied().collect())
    })
}
