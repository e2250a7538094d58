//! Compiles the model with its weights.

fn main() {
    let options = nin_build::Options {
        weights: Some("digits.safetensors".into()),
        params: vec![("width".to_owned(), nin_build::Number::Whole(8))],
        ..Default::default()
    };
    nin_build::compile("../../models/digits.nin", &options);
}
