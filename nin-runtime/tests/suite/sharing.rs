//! Code grows with the shapes of a model, not with its layers.

use nin_runtime::compile::{Options, Purpose, compile};
use nin_runtime::compiler::Isa;
use nin_runtime::model::Model;

/// Functions and bytes of code of a chain of `layers` alike convolutions between two other layers.
fn chain(layers: usize, purpose: Purpose, isa: Isa) -> (usize, usize) {
    let text = format!(
        "model M < input(3, 16, 16) conv(16) relu repeat({layers}) < conv(16) batchnorm relu > gap fc(4) softmax >"
    );
    let model = Model::from_text("m.nin", &text, &[]).unwrap();
    let options = Options { batch: 32, threads: 1, isa, purpose, ..Options::default() };
    let program = compile(model.graph(), &options).unwrap();
    (program.functions(), program.code_bytes())
}

#[test]
fn layers_that_are_alike_are_one_function() {
    for isa in [Isa::Portable, Isa::Avx2, Isa::Avx512].into_iter().filter(|isa| isa.is_available())
    {
        let (few, short) = chain(6, Purpose::Inference, isa);
        let (many, long) = chain(24, Purpose::Inference, isa);
        assert_eq!(few, many, "{isa}");
        assert!(long < short + short / 4, "{isa}: {long} bytes, {short} of a chain of a quarter");
        // The entries of a phase are its own: a batch normalisation ends one forward and one backward, with what gathers its sums.
        let (few, short) = chain(6, Purpose::Training, isa);
        let (many, long) = chain(24, Purpose::Training, isa);
        assert_eq!(many - few, 4 * 18, "{isa}");
        assert!(long < 2 * short, "{isa}: {long} bytes, {short} of a chain of a quarter");
    }
}
