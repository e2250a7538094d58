//! Paths that lead nowhere.

macro_rules! nin {
    ($($tokens:tt)*) => { nin_macros::nin! { $crate $($tokens)* } };
}

nin!("tests/ui/absent.nin");
nin!("tests/faulty.nin",);
nin!(models);
nin!(7);
nin!();

fn main() {}
