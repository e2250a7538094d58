//! Which way few images go.

use ndarray::Array4;

use super::*;
use crate::compile::Options;
use crate::model::Model;
use crate::train::{Recipe, init};

/// Maps of one row and of many, parts with fewer rows than threads, Winograd's domain and the direct one, statistics, windows.
const MODELS: [&str; 3] = [
    "< input(3, 13, 11) mlpconv(10, 7, kernel = 5) maxpool(3, stride = 2, round = ceil) dropout(0.5)
       mlpconv(9, 12) avgpool(3, stride = 2, round = ceil) mlpconv(8, 10) gap softmax >",
    "< input(1, 9, 14) conv(6, kernel = 4, stride = 2, pad = 1, bias = 0) relu maxpool(2, stride = 1) fc(20) relu fc(5) softmax >",
    "< input(3, 27, 26) batchnorm conv(32) elu conv(24) batchnorm relu conv(6, stride = 3) fc(4) >",
];

#[test]
fn few_images_have_the_same_bits_either_way() {
    for text in MODELS {
        let model = Model::from_text("small.nin", text, &[]).unwrap();
        let weights = init(model.graph(), &Recipe::default());
        let input = model.graph().input();
        for threads in 2..=5 {
            let options = Options { batch: 9, threads, ..Options::default() };
            let mut session = model.compile(&options).unwrap().session(&weights).unwrap();
            for n in 1..threads {
                let dims = (n, input.channels(), input.height(), input.width());
                let images = Array4::from_shape_fn(dims, |(n, c, y, x)| {
                    ((n * 31 + c * 17 + y * 7 + x * 5) % 23) as f32 / 9.0 - 1.0
                });
                let images = images.as_slice().unwrap();
                let mut bits = |way: Way| -> Vec<u32> {
                    let mut results = vec![f32::NAN; n * model.graph().output().elements()];
                    session.infer(way, n, (images, &mut results)).unwrap();
                    results.into_iter().map(f32::to_bits).collect()
                };
                let alone = bits(Way::Alone);
                assert!(alone == bits(Way::Together), "{text}: {n} images, {threads} threads");
                assert!(alone == bits(Way::Apart), "{text}: {n} images, {threads} threads");
            }
        }
    }
}

/// Whatever calls take, each is the one it should be.
#[test]
fn calls_go_alone_after_one_that_took_long_together() {
    let model = Model::from_text("small.nin", MODELS[0], &[]).unwrap();
    let weights = init(model.graph(), &Recipe::default());
    let options = Options { batch: 1, threads: 2, ..Options::default() };
    let mut session = model.compile(&options).unwrap().session(&weights).unwrap();
    let images = Array4::zeros((1, 3, 13, 11));
    session.pace = Pace::new(2, false);
    session.pace.took(Way::Alone, 1, 1e-3);
    // One wakes the others, and says nothing yet.
    session.pace.took(Way::Together, 1, 3600.0);
    assert_eq!(session.pace.way(), Way::Together);
    session.pace.took(Way::Together, 1, 3600.0);
    for _ in 0..100 {
        assert_eq!(session.pace.way(), Way::Alone);
        session.forward(images.view()).unwrap();
    }
}
