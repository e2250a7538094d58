//! The nin runtime: a checked graph in, numbers out.
//!
//! What flows: `Graph -> TrainGraph -> fused blocks -> Plan -> machine code -> Program -> Session`.

pub mod abi;
pub mod autodiff;
pub mod codegen;
pub mod dropout;
pub mod error;
mod jit;
pub mod fuse;
pub mod kernel;
pub mod plan;
