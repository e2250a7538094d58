//! A fault in a block is told where the block is used, with the line in the block.

nin_macros::nin! {
    block stage(c, kernel) <
        conv(c, kernel = kernel, pad = 0)
        dropout(c)
        inner(width)
    >
    block inner(c) < maxpool2d(c) conv(c, stride = 0) >
    block idle < relu >
    model Faulty(width = 8) <
        input(3, 8, 8)
        repeat(3) < stage(width, kernel = 3) >
        stage(width, 3, 4)
        block
    >
}

nin_macros::nin! {
    block stage(c, kernel) <
        conv(c, kernel = kernel, pad = 0)
        dropout(c)
        inner(c)
    >
    block inner(c) < maxpool2d(c) conv(width, stride = 0) >
    model Faulty(width = 8) <
        input(3, 8, 8)
        repeat(3) < stage(width, kernel = 3) >
        stage(width, 3, 4)
    >
}

fn main() {
    let _ = nin_macros::nin!(block stage(c) < conv(c) relu > < stage(4) input(3, 8, 8) stage >);
}
