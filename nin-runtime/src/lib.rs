//! The nin runtime: a checked graph in, numbers out.
//!
//! What flows: `Graph -> TrainGraph -> fused blocks -> Plan -> machine code -> Program -> Session`.

pub mod abi;
pub mod autodiff;
pub mod codegen;
pub mod compile;
pub mod data;
pub mod dropout;
pub mod error;
pub mod exec;
pub mod file;
pub mod fuse;
pub mod geometry;
pub mod interp;
mod jit;
pub mod kernel;
pub mod model;
pub mod peak;
pub mod plan;
pub mod train;
pub mod weights;

pub use jit::call::Hyper;
