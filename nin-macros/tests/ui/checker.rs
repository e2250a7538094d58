//! All of the checker's errors, each under its own token.

nin_macros::nin! {
    /// A model with many faults.
    pub model Faulty(width = 192, unused = 1) <
        input(3, 32, 32)
        mlpconv(wdith, 160, kernel = 5)
        maxpool2d(3, stride = 2)
        conv(10, kernel = 2 + 2)
        dropout(1.5)
        conv(width, krenel = 3, 5)
        gap softmax
        relu
    >
}

fn main() {
    let _ = nin_macros::nin!(< input(1, 4, 4) conv(8, kernel = 9, pad = 0) softmax >);
}
