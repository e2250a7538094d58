//! The compiler: graph -> train graph -> blocks -> plan -> functions -> machine code.
//!
//! Everything here maps data to data. It opens no file, starts no session and calls nothing of what it makes;
//! [`crate::compile`] lists its stages in their order.

pub mod abi;
pub mod activation;
pub mod autodiff;
mod checked;
pub mod codegen;
pub mod dropout;
mod elem;
pub mod fuse;
pub mod geometry;
mod isa;
pub mod kernel;
pub mod optimizer;
mod order;
pub mod plan;
pub mod winograd;

pub use checked::Checked;
pub use elem::Elem;
pub use isa::Isa;
