// Written by ui.rs.
#![deny(deprecated)]

macro_rules! nin {
    ($($tokens:tt)*) => { nin_macros::nin! { $crate $($tokens)* } };
}

pub mod __private {
    pub use nin_dsl::Number;
    pub struct Model;
    pub type Error = ();
    pub fn model(_: &str, _: &str, _: &[(&str, Number)]) -> Result<Model, Error> {
        Ok(Model)
    }
}

fn main() {}

fn n060_dropped() {
let _ =
nin! {
<
    input(3, 31, 32)
    maxpool(2)
    maxpool(3, stride = 2)
    avgpool(2, round = floor)
    maxpool(3, stride = 2, pad = 1)
    gap
>
};
}

fn n060_in_block() {
let _ =
nin! {
block stage(c) < conv(c) maxpool(2) >
< input(1, 15, 15) repeat(2) < stage(8) > stage(4) gap >
};
}

fn n060_in_branch() {
let _ =
nin! {
< input(3, 9, 9) concat < maxpool(2) > < conv(4, kernel = 1, stride = 2) avgpool(2, stride = 1) > >
};
}

fn n060_sides() {
let _ =
nin! {
< input(3, 9, 8) maxpool(2, stride = (2, 1)) avgpool((3, 2), stride = (2, 3), pad = (1, 0)) gap >
};
}

fn n061_dropout() {
let _ =
nin! {
< input(3, 32, 32) gap dropout(0.5) >
};
}

fn n061_in_block() {
let _ =
nin! {
block classify(n) < fc(n) dropout(0.5) >
< input(1, 8, 8) classify(10) >
};
}

fn n062_in_branch() {
let _ =
nin! {
block used < relu >
block idle < used_by_idle >
block used_by_idle < relu >
< input(3, 8, 8) add < used > < > >
};
}

fn n062_unused() {
let _ =
nin! {
block idle(c) < conv(c) other >
block other < relu >
block used < relu >
< input(1, 8, 8) used gap >
};
}
