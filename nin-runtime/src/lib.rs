//! The nin runtime: a checked graph in, numbers out.
//!
//! What flows: `Graph -> TrainGraph -> fused blocks -> Plan -> machine code -> Program -> Session`. [`compile::compile`] is the
//! whole road, and each stage of it prints ([`compile::show`]).
//!
//! ```
//! use nin::ndarray::Array4;
//! use nin::train::{Recipe, init};
//! use nin::{Model, Options};
//!
//! let text = "< input(1, 12, 12) mlpconv(8, 3) gap softmax >";
//! let model = Model::from_text("small.nin", text, &[])?;
//! let program = model.compile(&Options { batch: 2, ..Options::default() })?;
//! let weights = init(model.graph(), &Recipe::default());
//! let mut session = program.session(&weights)?;
//! let probabilities = session.forward(Array4::zeros((2, 1, 12, 12)).view())?;
//! assert_eq!(probabilities.shape(), [2, 3]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`train::Trainer`] trains on a [`data::Dataset`]; [`oracle`] computes the same naively, and is what generated code is
//! held against. The crate `nin` brings all of it together with the macro; people depend on that one, and examples here are
//! written for them.

#[cfg(not(target_pointer_width = "64"))]
compile_error!("nin needs a 64-bit target: sizes of tensors are counted in 64 bits");

pub mod compile;
pub mod compiler;
pub mod data;
pub mod error;
pub mod export;
pub mod features;
pub mod file;
pub mod host;
pub mod model;
pub mod oracle;
pub mod run;
pub mod train;
pub mod weights;

pub use run::jit::Symbol;
pub use run::jit::call::Hyper;
