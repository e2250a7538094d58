//! nin: a compiler for Network-In-Network models. A model is a chain of layers, written in Rust or in a `.nin` file; nin
//! checks it while Rust compiles, turns forward and backward into fused machine code in milliseconds, and trains it.
//!
//! ```
//! use nin::Options;
//! use nin::ndarray::Array4;
//!
//! nin::nin! {
//!     /// A small network for small images.
//!     pub model Small(width = 8, classes = 3) <
//!         input(1, 12, 12)
//!         mlpconv(width, width)
//!         maxpool(2)
//!         mlpconv(width, classes)
//!         gap
//!         softmax
//!     >
//! }
//!
//! let model = Small { width: 4, ..Small::default() }.model()?;
//! let program = model.compile(&Options::default())?;
//! let weights = nin::train::init(program.graph(), &nin::train::Recipe::default());
//! let mut session = program.session(&weights)?;
//! let probabilities = session.forward(Array4::zeros((2, 1, 12, 12)).view())?;
//! assert_eq!(probabilities.shape(), [2, 3]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`Model`] is a checked model, [`Program`] its machine code, [`Session`] a run of it with weights. [`Trainer`] trains on a
//! [`Dataset`]; [`train`] and [`data`] hold what goes with them, [`features`] the feature maps of a trained model. Arrays are [`ndarray`]'s, `[N, C, H, W]`.

pub use ndarray;
pub use nin_dsl::{Diagnostic, Graph, Number, Shape};
pub use nin_runtime::compile::{Machine, Options, Purpose};
pub use nin_runtime::compiler::Isa;
pub use nin_runtime::compiler::optimizer;
pub use nin_runtime::compiler::optimizer::Optimizer;
pub use nin_runtime::compiler::plan::{Algo, Algos};
pub use nin_runtime::data::Dataset;
pub use nin_runtime::error::Error;
pub use nin_runtime::model::{Model, ModelError};
pub use nin_runtime::run::exec::{
    CompileTimes, PartTime, Program, Session, StepOutcome, StepParams,
};
pub use nin_runtime::train::Trainer;
pub use nin_runtime::weights::Weights;
pub use nin_runtime::{Hyper, data, export, features, train, weights};

/// A model, checked while Rust compiles: `model`, and blocks beside it, become a struct with a field for each parameter; a
/// bare chain is an expression, a [`Model`]; and the path of a `.nin` file, relative to the package's `Cargo.toml`, is what
/// the file holds.
///
/// ```
/// nin::nin! {
///     /// A small network.
///     pub model Small(width = 8) < input(1, 12, 12) mlpconv(width, 10, kernel = 5) gap softmax >
/// }
///
/// let wide = Small { width: 16, ..Small::default() }.model()?;
/// assert_eq!((Small::INPUT, Small::OUTPUT), ([1, 12, 12], [10]));
///
/// let bare: nin::Model = nin::nin!(< input(1, 12, 12) conv(10) gap >);
/// assert_eq!(bare.graph().params_total(), 10 * 9 + 10);
///
/// nin::nin!("models/digits.nin");
/// assert_eq!(Digits::default().model()?.graph().name(), "Digits");
/// # Ok::<(), nin::ModelError>(())
/// ```
#[macro_export]
macro_rules! nin {
    ($($tokens:tt)*) => { $crate::__private::nin! { $crate $($tokens)* } };
}

/// What the macro expands to. Not for use by hand; it changes without notice.
#[doc(hidden)]
pub mod __private {
    pub use nin_dsl::Number;
    pub use nin_macros::nin;
    pub use nin_runtime::model::{Model, ModelError as Error};

    /// A model the macro has checked, with other values for some of its parameters.
    pub fn model(name: &str, text: &str, params: &[(&str, Number)]) -> Result<Model, Error> {
        let params: Vec<(String, Number)> =
            params.iter().map(|&(name, value)| (name.to_owned(), value)).collect();
        Model::from_text(name, text, &params)
    }
}

/// The README's example is run as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// So is that of the guide to data.
#[cfg(doctest)]
#[doc = include_str!("../docs/data.md")]
struct Data;
