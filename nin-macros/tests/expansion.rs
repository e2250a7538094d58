//! What the macro expands to, with a stand-in for the part of `nin` it names.
#![deny(missing_docs)]

/// As the facade's own passes on what it is given.
macro_rules! nin {
    ($($tokens:tt)*) => { nin_macros::nin! { $crate $($tokens)* } };
}

/// What the macro names in `nin`.
pub mod __private {
    pub use nin_dsl::{Diagnostic, Graph as Model, Number};

    /// Every diagnostic.
    pub type Error = Vec<Diagnostic>;

    /// Reads a model.
    pub fn model(name: &str, text: &str, params: &[(&str, Number)]) -> Result<Model, Error> {
        let params: Vec<_> = params.iter().map(|&(name, n)| (name.to_owned(), n)).collect();
        nin_dsl::read(&nin_dsl::Source::new(name, text), &params).map(|(graph, _)| graph)
    }
}

nin! {
    /// A "small" net.
    ///
    /// Of two lines.
    pub(crate) model Small(width = 8, type = 10, rate = 0.5) <
        input(1, 12, 12)
        mlpconv(width, 2 * width, kernel = 5) // the first
        maxpool(2)
        dropout(rate)
        mlpconv(width, type); gap
        softmax
    >
}

nin!(model NoParameters < input(3, 8, 8) conv(4, kernel = 1) >);

nin! {
    /// Used twice.
    pub block stage(channels, drop = 0.5) < mlpconv(channels) maxpool(2) dropout(drop) >

    model Blocks(width = 4) < input(1, 16, 16) stage(width) stage(2 * width, drop = 0) last(3) >

    block last(n) < repeat(2) < conv(n) relu > gap >
}

nin! {
    block basic(c) <add<conv(c)relu><>>
    model Residual(width = 4) <
        input(3, 8, 12)
        add < conv(width, stride = 2) > < maxpool(2) conv(width, kernel = 1) >
        repeat(2) < basic(width) >
        concat < > < mul<><gap>>
        gap
    >
}

/// What others see of a model; `missing_docs` finds each field and constant documented.
pub mod public {
    nin! {
        /// Every kind of parameter.
        pub model Kinds(whole = 2 * 3, negative = -1, real = 1.0, small = -1e-7, large = 1e300) <
            input(1, 4, 4)
            dropout(real / 2 + small + 1 / large)
            conv(whole + negative)
        >
    }
}

nin!("../models/nin-mnist.nin");

#[test]
fn a_model_becomes_a_struct() {
    assert_eq!(Small::INPUT, [1, 12, 12]);
    assert_eq!(Small::OUTPUT, [10]);
    assert_eq!(Small::RECEPTIVE_FIELD, 10 + 5 * 2);
    let default = Small::default();
    assert_eq!(default, Small { width: 8, r#type: 10, rate: 0.5 });
    let model = default.model().expect("the macro has checked it");
    assert_eq!((model.params_total(), model.macs_total()), (Small::PARAMS, Small::MACS));
    assert_eq!(model.name(), "Small");

    let wide = Small { width: 16, ..default }.model().expect("a variant");
    assert!(wide.params_total() > Small::PARAMS);
    let errors = Small { rate: 1.5, ..default }.model().expect_err("a rate over 1");
    assert_eq!(errors[0].code.number(), "N030");
}

#[test]
fn a_field_is_whole_or_real_as_the_default_is() {
    let public::Kinds { whole, negative, real, small, large } = public::Kinds::default();
    let (whole, negative): (i64, i64) = (whole, negative);
    let (real, small, large): (f64, f64, f64) = (real, small, large);
    assert_eq!((whole, negative, real, small, large), (6, -1, 1.0, -1e-7, 1e300));
    let model = public::Kinds { whole: i64::MIN, ..public::Kinds::default() }.model();
    assert_eq!(model.expect_err("an overflow")[0].code.number(), "N032");
    let model = public::Kinds { real: f64::NAN, ..public::Kinds::default() }.model();
    assert_eq!(model.expect_err("no finite value")[0].code.number(), "N030");
}

#[test]
fn without_parameters_it_is_a_unit_struct() {
    assert_eq!(NoParameters::OUTPUT, [4, 8, 8]);
    assert!(NoParameters.model().is_ok());
}

#[test]
fn a_bare_chain_is_an_expression() {
    let model = nin!(< input(1, 4, 4) gap softmax >);
    assert_eq!(model.name(), "model");
    let model = nin!(block twice(c) < conv(c) conv(c) > < input(1, 4, 4) twice(2) >);
    assert_eq!(model.layers().len(), 3);
}

#[test]
fn blocks_come_along() {
    assert_eq!(Blocks::OUTPUT, [3]);
    let wide = Blocks { width: 8 }.model().expect("a variant");
    let words: Vec<_> = wide.layers().iter().map(|layer| layer.name.as_str()).collect();
    let stages = ["mlpconv1", "maxpool1", "dropout1", "mlpconv2", "maxpool2", "dropout2"];
    let last = ["conv1", "relu1", "conv2", "relu2", "gap1"];
    assert_eq!(words, [&["input1"], &stages[..], &last[..]].concat());
}

#[test]
fn branches_come_along() {
    assert_eq!(Residual::OUTPUT, [8]);
    // The larger side, of the `gap` in the branch and of the one behind it.
    assert_eq!(Residual::RECEPTIVE_FIELD, 3 + 2 * 4 + 5 * 2 + 5 * 2);
    let model = Residual::default().model().expect("the macro has checked it");
    assert_eq!((model.params_total(), model.macs_total()), (Residual::PARAMS, Residual::MACS));
    let bare = nin!(< input(1, 4, 4) add<><>>);
    assert_eq!(bare.layers().len(), 2);
}

#[test]
fn a_file_is_the_same() {
    assert_eq!(Mnist::PARAMS, 349_674);
    let seven = Mnist { classes: 7 }.model().expect("a variant");
    assert_eq!(seven.node(seven.logits()).shape.dims(), [7]);
    assert!(Mnist::TEXT.starts_with("/// Network In Network"));
}
