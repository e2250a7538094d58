//! The compiler's suites: the interpreter against hand-worked numbers and difference quotients, generated code against
//! the interpreter, and the text of the stages. One crate, so that they share what draws random models and data.

mod close;
mod cross;
mod data;
mod differential;
mod golden;
mod gradients;
mod interpreter;
mod kernels;
mod learning;
mod libraries;
mod models;
mod optimizers;
mod products;
mod sessions;
mod settings;
mod sgd;
mod sharing;
mod stages;
mod steady;
mod step;
mod steps;
mod tally;
mod trained;
mod winograd;
