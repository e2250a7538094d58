//! A model with errors is told of alone: what uses it finds a struct there, as far as that is known.

macro_rules! nin {
    ($($tokens:tt)*) => { nin_macros::nin! { $crate $($tokens)* } };
}

pub mod __private {
    pub use nin_dsl::Number;
    #[derive(Debug)]
    pub struct Model;
    impl Model {
        pub fn compile(&self) {}
    }
    pub type Error = ();
    pub fn model(_: &str, _: &str, _: &[(&str, Number)]) -> Result<Model, Error> {
        Ok(Model)
    }
}

nin! {
    /// All of the checker's errors, each under its own token.
    pub model Faulty(width = 192, rate = 0.5, broken = 1 / 0, self = 1, unused = 1) <
        input(3, 32, 32)
        mlpconv(wdith, 160, kernel = broken)
        maxpool2d(3, stride = 2)
        conv(10, kernel = 2 + 2)
        dropout(1 + rate)
        conv(width, krenel = 3, 5)
        gap softmax
        relu
    >
}

nin! {
    block stage(c) < conv(c) relu >
    /// The chain does not parse, but the head does.
    pub(crate) model Open(width = 12) < input(3, 32, 32) stage(width 3) >
}

nin! {
    model Suffixed(width = 12u32) < input(3, 32, 32) >
}

nin!(model Chainless);

nin!(model self < input(1, 2, 3) >);

fn main() -> Result<(), crate::__private::Error> {
    assert_eq!(Faulty::INPUT, [3, 32, 32]);
    assert_eq!(Faulty::OUTPUT, [10]);
    assert!(Faulty::PARAMS > Faulty::MACS + Faulty::RECEPTIVE_FIELD);
    let variant = Faulty { width: 8, rate: 0.25, broken: 5, ..Faulty::default() };
    variant.model()?.compile();
    Open { width: 4 }.model()?.compile();
    Suffixed::default().model()?.compile();
    Chainless.model()?.compile();
    let bare = nin!(< input(1, 4, 4) conv(8, kernel = 9, pad = 0) softmax >);
    bare.compile();
    let bare = nin!(< input(1, 4, 4) >>);
    bare.compile();
    Ok(())
}
