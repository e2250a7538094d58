//! Errors of the grammar.

nin_macros::nin! {
    model Open(width = 12u32) < input(3, 32, 32) >
}

nin_macros::nin! {
    model Unclosed <
        input(3, 32, 32)
        conv(3 4)
    >
}

nin_macros::nin! {
    model Documented <
        input(3, 32, 32)
        /// Not here.
        conv(3)
    >
}

nin_macros::nin! {
    model Endless < input(3, 32, 32)
}

nin_macros::nin! {}

fn main() {}
