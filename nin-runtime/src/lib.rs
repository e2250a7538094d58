//! The nin runtime: a checked graph in, numbers out.
//!
//! What flows: `Graph -> TrainGraph -> fused blocks -> Plan -> machine code -> Program -> Session`.

pub mod autodiff;
pub mod dropout;
pub mod file;
pub mod weights;
