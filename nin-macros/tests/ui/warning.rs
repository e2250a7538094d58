//! A warning is something deprecated under the layer in question.
#![deny(deprecated)]

extern crate self as nin;

pub mod __private {
    pub struct Model;
    pub type Error = ();
    pub fn model(_: &str, _: &str, _: &[(&str, ())]) -> Result<Model, Error> {
        Ok(Model)
    }
}

nin_macros::nin! {
    pub model Odd < input(1, 7, 7) maxpool(2) gap >
}

fn main() {
    let _ = nin_macros::nin!(< input(1, 7, 7) gap dropout(0.5) >);
}
