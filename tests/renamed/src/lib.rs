//! A crate that knows nin by another name, imports all of it, and gives its models names that mean something in Rust.

use net::*;

// A file of the standard library's `include!`, which importing all of nin leaves alone.
include!("included.rs");

nin! {
    /// By the name that the import brings; two parameters are called what Rust calls other things.
    pub model Small(width = 8, r#fn = 3, Kernel = 3) <
        input(1, 8, 8)
        mlpconv(width, r#fn, kernel = Kernel)
        gap
        softmax
    >
}

net::nin!("../../models/digits.nin");

/// Models called what Rust calls its own.
pub mod words {
    macro_rules! models {
        ($($name:tt)*) => { $(
            net::nin! {
                /// Called what something else is called.
                pub model $name(whole = 4, rate = 0.5, i64 = 2, str = 1) <
                    input(1, 8, 8)
                    conv(whole * i64 * str)
                    dropout(rate)
                    relu
                >
            }
        )* };
    }

    models!(i8 i16 i32 i64 i128 isize u8 u16 u32 u64 u128 usize f32 f64 bool char str);
    models!(Option Some None Result Ok Err Box String Vec Drop Fn FnMut FnOnce Send Sync Sized Unpin);
    models!(Default Clone Copy Debug PartialEq Eq Ord Hash Iterator Into From ToString AsRef);
    models!(core std alloc nin Model Number Error format println vec);
    models!(fn type struct enum r#match r#dyn async gen try union auto);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_what_it_is_under_any_name() -> Result<(), ModelError> {
        assert_eq!(INCLUDED, "the standard library");
        let small = Small { r#fn: 5, ..Small::default() };
        assert_eq!(small.model()?.graph().output().elements(), 5);
        assert_eq!(small, Small { width: 8, r#fn: 5, Kernel: 3 });
        assert_eq!(Digits::default().model()?.graph().name(), "Digits");
        let bare = net::nin!(< input(1, 4, 4) fc(3) >);
        assert_eq!(bare.graph().params_total(), 16 * 3 + 3);
        Ok(())
    }

    #[test]
    fn a_model_may_have_any_name() -> Result<(), ModelError> {
        assert_eq!(words::i64::OUTPUT, [8, 8, 8]);
        assert_eq!(words::i64 { whole: 2, ..words::i64::default() }.model()?.graph().name(), "i64");
        assert_ne!(words::bool { rate: 0.25, ..words::bool::default() }, words::bool::default());
        assert_eq!(
            format!("{:?}", words::str::default()),
            "str { whole: 4, rate: 0.5, i64: 2, str: 1 }"
        );
        assert_eq!(words::r#fn::default().model()?.graph().name(), "fn");
        assert_eq!(words::r#match::TEXT, words::r#match::TEXT);
        assert_eq!(words::Default::PARAMS, words::usize::PARAMS);
        Ok(())
    }
}
