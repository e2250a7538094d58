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

mod n001_after_the_end {
nin! {
< input(1, 28, 28) gap >
softmax
}
}

mod n001_block_in_chain {
nin! {
<
    input(1, 28, 28)
    block stage(c) < conv(c) relu >
>
}
}

mod n001_brackets {
nin! {
model Small [
    input(1, 28, 28)
]
}
}

mod n001_branch_comma_first {
nin! {
< input(3, 8, 8) add; < relu > < > >
}
}

mod n001_branch_comma {
nin! {
< input(3, 8, 8) add < relu >, < > >
}
}

mod n001_branch_model {
nin! {
< input(3, 8, 8) add < model M < relu > > < > >
}
}

mod n001_branch_open {
nin! {
<
    input(3, 8, 8)
    add < relu > < conv(3)
    gap
}
}

mod n001_chain_first {
nin! {
< < input(3, 8, 8) > relu >
}
}

mod n001_end_of_text {
nin! {
model Small <
    input(1, 28, 28)
    gap
}
}

mod n001_letter {
nin! {
model Größe(breite = 8) < input(1, 8, 8) fc(breite) >
}
}

mod n001_no_default {
nin! {
model Small(width) < input(1, 28, 28) conv(width) >
}
}

mod n001_not_a_model {
nin! {
layers:
  - conv: 64
}
}

mod n001_repeat_branches {
nin! {
< input(3, 8, 8) repeat(2) < relu > < relu > >
}
}

mod n001_repeat {
nin! {
< input(1, 28, 28) repeat < conv(8) relu > >
}
}

mod n001_sides_arithmetic {
nin! {
< input(3, 8, 8) conv(4, kernel = 2 * (1, 3)) gap >
}
}

mod n001_sides {
nin! {
< input(3, 8, 8) conv(4, kernel = (3, 3,)) gap >
}
}

mod n001_two_words {
nin! {
< input(1, 28, 28) conv(8 kernel = 5) >
}
}

mod n002_long {
nin! {
< input(1, 8, 8) conv(1111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111) >
}
}

mod n002_numbers {
nin! {
< input(1, 28, 28) dropout(.5) >
}
}

mod n002_suffix {
nin! {
< input(1, 28, 28) conv(16u32) >
}
}

mod n002_too_large {
nin! {
< input(1, 28, 28) conv(99999999999999999999) >
}
}

fn n003_block() {
let _ =
nin! {
block relu(fc, self = 1) < conv(fc + self) >
< input(1, 28, 28) gap >
};
}

mod n003_join {
nin! {
block add(c) < conv(c) >
model M(mul = 3) < input(3, 8, 8) add < > < > >
}
}

mod n003_keyword {
nin! {
model repeat < input(1, 28, 28) gap >
}
}

mod n003_names {
nin! {
model softmax(conv = 8, same = 1, self = 2) <
    input(1, 28, 28)
    gap
>
}
}

mod n004_doc_in_chain {
nin! {
model Small <
    input(1, 28, 28)
    /// Averages.
    gap
>
}
}

mod n004_inner_doc {
nin! {
//! A model.
model Small < input(1, 28, 28) gap >
}
}

fn n006_expansion() {
let _ =
nin! {
block a(n) < repeat(1) < repeat(1) < repeat(1) < conv(n) > > > >
block b(n) < repeat(1) < repeat(1) < repeat(1) < a(n) > > > >
block c(n) < repeat(1) < repeat(1) < repeat(1) < b(n) > > > >
block d(n) < repeat(1) < repeat(1) < repeat(1) < c(n) > > > >
block e(n) < repeat(1) < repeat(1) < repeat(1) < d(n) > > > >
block f(n) < repeat(1) < repeat(1) < repeat(1) < e(n) > > > >
block g(n) < repeat(1) < repeat(1) < repeat(1) < f(n) > > > >
block h(n) < repeat(1) < repeat(1) < repeat(1) < g(n) > > > >
block i(n) < repeat(1) < repeat(1) < repeat(1) < h(n) > > > >
block j(n) < repeat(1) < repeat(1) < repeat(1) < i(n) > > > >
block k(n) < repeat(1) < repeat(1) < repeat(1) < j(n) > > > >
block l(n) < repeat(1) < repeat(1) < repeat(1) < k(n) > > > >
block m(n) < repeat(1) < repeat(1) < repeat(1) < l(n) > > > >
block o(n) < repeat(1) < repeat(1) < repeat(1) < m(n) > > > >
block p(n) < repeat(1) < repeat(1) < repeat(1) < o(n) > > > >
block q(n) < repeat(1) < repeat(1) < repeat(1) < p(n) > > > >
block r(n) < q(n) >
< input(1, 8, 8) conv(2) r(4) >
};
}

mod n006_parentheses {
nin! {
< input(1, 28, 28) conv((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((8)))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))) >
}
}

mod n007_branch {
nin! {
< input(3, 8, 8) add < relu > > < >
}
}

mod n007_none {
nin! {
// Nothing yet.
}
}

mod n007_two {
nin! {
model One < input(1, 28, 28) gap >
model Two < input(1, 28, 28) gap >
}
}

fn n010_activations() {
let _ =
nin! {
<
    input(3, 8, 8)
    swish
    hardswish
    Hardtanh
    logistic
    selu
    GELU
    parametric_relu
    multiply(2)
    gap
>
};
}

fn n010_block() {
let _ =
nin! {
block stage(c) < conv(c) conv2d(c) relu >
< input(3, 16, 16) stage(8) staeg(8) upsample(2) stage(16) gap >
};
}

fn n010_joins() {
let _ =
nin! {
<
    input(3, 8, 8)
    residual < conv(3) > < >
    conv(4)
    concatenate < conv(5, kernel = 2) > < relu >
    multiply < > < gap >
    ad < > < >
    merge(3) < conv(0) > < >
>
};
}

fn n010_other_systems() {
let _ =
nin! {
<
    input(3, 32, 32)
    Conv2D(16, kernel = 3)
    ReLU
    max_pool2d(2)
    AvgPool2d(2)
    GlobalAveragePooling2D
    flatten
    Dense(10)
    linear(10)
    sofmax
    attention(8)
>
};
}

fn n010_pools_and_norms() {
let _ =
nin! {
<
    input(3, 32, 32)
    conv(16)
    LocalResponseNorm(5)
    globalmaxpool
    AdaptiveMaxPool2d(1)
>
};
}

fn n011_activations() {
let _ =
nin! {
< input(3, 8, 8) relu6(6) relu6(max = 6) prelu(slope = 0.25) scale(factor = 2) gelu(approximate = 1) gap >
};
}

fn n011_arguments() {
let _ =
nin! {
<
    input(3, 32, 32)
    conv(16, kernel_size = 5, strid = 2, groups = 4)
    relu(slope = 0.1)
    dropout(rate = 0.5)
    maxpool(2, ceil_mode = 1)
    gap
>
};
}

fn n011_block() {
let _ =
nin! {
block stage(c, kernel = 3) < conv(c, kernel = kernel) relu >
< input(3, 16, 16) stage(8, krenel = 5) stage(8, filters = 5) stage(c = 8, c = 9) gap >
};
}

fn n011_join() {
let _ =
nin! {
< input(3, 8, 8) concat(axis = 1) < > < > >
};
}

fn n011_pools_and_norms() {
let _ =
nin! {
<
    input(3, 32, 32)
    lrn(local_size = 5, bias = 2)
    lrn(depth = 5)
    batchnorm(virtual_batch_size = 4, gost = 8)
    fc(2)
>
};
}

fn n011_windows() {
let _ =
nin! {
< input(4, 8, 8) depthwise(3, groups = 4) conv(4, dilations = 2) conv(4, group = 2) maxpool(2, dilation = 2) depthwise(depth_multiplier = 2) mlpconv(4, groups = 2) avgpool(2, count_include_pad = 1) gap >
};
}

fn n012_twice() {
let _ =
nin! {
< input(3, 32, 32) conv(16, 3, kernel = 5) maxpool(2, stride = 1, stride = 2) gap >
};
}

fn n013_block() {
let _ =
nin! {
block stage(a, b, kernel = 2 + 1) < mlpconv(a, b, kernel = kernel) >
< input(3, 16, 16) stage stage(8) stage(b = 8) gap >
};
}

fn n013_missing() {
let _ =
nin! {
< input conv(kernel = 3) mlpconv() maxpool(stride = 2) dropout gap fc >
};
}

fn n013_scale() {
let _ =
nin! {
< input(3, 8, 8) scale scale() gap >
};
}

fn n014_block() {
let _ =
nin! {
block stage(c) < conv(c) relu >
block plain < conv(8) relu >
< input(3, 16, 16) stage(8, 16) plain(8) gap >
};
}

fn n014_join() {
let _ =
nin! {
< input(3, 8, 8) add(2) < > < > mul(3, 4) < > < > >
};
}

fn n014_too_many() {
let _ =
nin! {
< input(3, 32, 32, 1) dropout(0.5, 0.5) conv(16, 3, 1, 1, 0, 2, 4) gap(8) >
};
}

fn n015_order() {
let _ =
nin! {
< input(3, 32, 32) conv(kernel = 3, 16) gap >
};
}

fn n020_bare() {
let _ =
nin! {
< input(3, 32, 32) conv(width) >
};
}

mod n020_in_block {
nin! {
// A slip, a parameter of the model, and a block without parameters; each is told once.
block stage(channels) < conv(chanels) conv(width) relu >
block plain < conv(width) >
model Net(width = 8) <
    input(3, 16, 16)
    stage(width) stage(2 * width)
    plain
>
}
}

mod n020_in_branch {
nin! {
model M(width = 3) <
    input(3, 8, 8)
    add < conv(widht) > < repeat(n) < relu > >
>
}
}

mod n020_misspelt {
nin! {
model Small(width = 16, depth = 2) <
    input(3, 32, 32)
    conv(widht * depth)
    conv(channels)
>
}
}

fn n021_block() {
let _ =
nin! {
block stage(c, kernel = 5) < conv(c) relu >
< input(3, 16, 16) stage(8) stage(8, kernel = 3) gap >
};
}

mod n021_unused {
nin! {
model Small(width = 16, classes = 10) < input(3, 32, 32) conv(width) gap >
}
}

fn n022_block() {
let _ =
nin! {
block stage(c, c = 5) < conv(c) relu >
< input(3, 16, 16) stage(8) gap >
};
}

mod n022_duplicate {
nin! {
model Small(width = 16, width = 32) < input(3, 32, 32) conv(width) gap >
}
}

fn n024_block() {
let _ =
nin! {
block stage(c, d = 2 * c) < conv(c) conv(d) >
< input(3, 16, 16) stage(8) gap >
};
}

mod n024_default {
nin! {
model Small(width = 16, wide = 2 * width) < input(3, 32, 32) conv(width) conv(wide) gap >
}
}

fn n025_circle() {
let _ =
nin! {
block a(n) < conv(n) b(n) >
block b(n) < c(n) d(n) >
block c(n) < a(n) >
block d(n) < conv(n) >
< input(3, 16, 16) d(2) gap >
};
}

fn n025_in_branch() {
let _ =
nin! {
block loop < add < loop > < > >
block other < concat < relu > < mul < > < third > > >
block third < other >
< input(3, 8, 8) loop other >
};
}

fn n025_itself() {
let _ =
nin! {
block stage(c) <
    conv(c)
    repeat(2) < stage(c + 1) >
>
< input(3, 16, 16) stage(8) dropuot(0.5) gap >
};
}

fn n026_twice() {
let _ =
nin! {
block stage(c) < conv(c) relu >
block stage(c, d) < conv(c) conv(d) >
< input(3, 16, 16) stage(8) gap >
};
}

mod n030_in_block {
nin! {
// The fault is in the block's text; each use has its own value.
block stage(c, p = 0.5) <
    mlpconv(c, c / 2)
    dropout(p)
>
model Net(width = 8) <
    input(3, 16, 16)
    stage(width)
    stage(1)
    stage(width, p = 1.5)
    gap
>
}
}

fn n030_in_branch() {
let _ =
nin! {
<
    input(3, 8, 8)
    add
        < conv(0) relu dropout(2) >
        < repeat(0) < relu > conv(3, stride = 0) >
    conv(0)
>
};
}

fn n030_pools_and_norms() {
let _ =
nin! {
<
    input(3, 32, 32)
    lrn(4)
    lrn(size = 0)
    lrn(alpha = -1e-4)
    lrn(beta = -0.75)
    lrn(k = 0)
    batchnorm(ghost = 1)
    batchnorm(1e-3, 0.1, -4)
    gap
>
};
}

fn n030_ranges() {
let _ =
nin! {
<
    input(0, 32, 32)
    conv(16, kernel = 0)
    mlpconv(16, -1, 0, stride = 0)
    maxpool(3, pad = 2)
    conv(16, bias = 2)
    dropout(1)
    dropout(-0.1)
    fc(268435457)
    leaky_relu(-0.5) leaky_relu(slope = 1e9) elu(-1)
    batchnorm(0) batchnorm(momentum = 1.5) batchnorm(eps = 2, momentum = -1)
>
};
}

mod n030_repeat {
nin! {
model Net(depth = 2) <
    input(3, 16, 16)
    repeat(depth - 2) < conv(0) relu >
    repeat(-1) < conv(8) >
    gap
>
}
}

fn n030_scale() {
let _ =
nin! {
< input(3, 8, 8) scale(1e9) scale(by = -268435457) scale(1e308 * 10.0) gap >
};
}

fn n030_windows() {
let _ =
nin! {
<
    input(8, 32, 32)
    conv(16, kernel = (0, 3))
    conv(16, stride = (1, -2), pad = (1, -1))
    conv(16, dilation = 0, groups = 0)
    depthwise(multiplier = 0)
    maxpool((2, 5), pad = (2, 2))
    maxpool((5, 2), pad = 2)
    avgpool(3, pad = (1, 1, 2, 1))
    depthwise(dilation = 268435457)
>
};
}

fn n031_block() {
let _ =
nin! {
block stage(c, kernel = 3, p = 0.5) < conv(c, kernel = kernel) dropout(p) >
<
    input(3, 16, 16)
    stage(8, kernel = 2.5)
    stage(0.5, p = 0)
    stage(same)
    repeat(1.5) < conv(8) >
    gap
>
};
}

mod n031_counting {
nin! {
model Count(window = 3) <
    input(3, 32, 32)
    avgpool(window, count = window)
    avgpool(2, count = real)
    avgpool(2, count = 1)
    avgpool(2, count = ceil)
    avgpool(2, round = window)
    gap
>
}
}

mod n031_kinds {
nin! {
model Small(rate = 0.5, width = 1.0) <
    input(3, 32, 32)
    conv(width)
    conv(16, kernel = 2.5, stride = same)
    maxpool(2, round = up)
    avgpool(2, round = 1)
    dropout(ceil)
    conv(16, pad = -rate)
    gap
>
}
}

mod n031_several_default {
nin! {
block stage(k = (1, 3)) < conv(4, k) >
model Sides(kernel = (1, 7)) <
    input(3, 8, 8)
    conv(4, kernel)
    stage
    stage((3, 1))
    repeat(2) < relu >
    gap
>
}
}

mod n031_several {
nin! {
model Several(width = 16) <
    input(3, 32, (32, 32))
    conv((width, width))
    conv(16, kernel = (3, 3, 3))
    conv(16, stride = (1, 2, 1, 2))
    conv(16, pad = (1, 1, 1))
    conv(16, kernel = (3, 2.5), dilation = (same, 1))
    depthwise(multiplier = (1, 2))
    depthwise((3, width, 3))
    maxpool(2, pad = (0, 1, 0))
    dropout((0.5, 0.5))
    fc((10, 10))
>
}
}

mod n032_arithmetic {
nin! {
model Small(zero = 0, big = 9223372036854775807) <
    input(3, 32, 32)
    conv(16 / zero)
    conv(big + 1)
    conv(1 + 2 * (big - -1))
    dropout(1e300 * 1e300)
>
}
}

fn n033_even() {
let _ =
nin! {
< input(3, 32, 32) conv(16, kernel = 4) conv(16, 6, pad = same) mlpconv(16, kernel = 2) >
};
}

fn n033_sides() {
let _ =
nin! {
< input(3, 32, 32) conv(16, kernel = (3, 4)) depthwise((2, 3)) depthwise(4, dilation = 2) conv(8, (2, 6), pad = same) gap >
};
}

mod n040_empty {
nin! {
model Empty < >
}
}

fn n040_join_first() {
let _ =
nin! {
< add < input(3, 8, 8) > < relu > gap >
};
}

fn n040_no_input() {
let _ =
nin! {
< conv(16) relu gap softmax >
};
}

fn n040_not_first() {
let _ =
nin! {
< dropout(0.5) input(3, 32, 32) gap >
};
}

fn n041_second() {
let _ =
nin! {
< input(3, 32, 32) conv(16) input(16, 32, 32) gap >
};
}

fn n042_dilation() {
let _ =
nin! {
// With gaps the window is 9 pixels high, and 3 wide.
< input(3, 8, 8) conv(4, dilation = (4, 1), pad = 0) >
};
}

fn n042_in_branch() {
let _ =
nin! {
block wide(k) < maxpool(k) >
<
    input(3, 8, 8)
    concat < conv(4, kernel = 11, pad = 0) > < wide(9) > < >
>
};
}

fn n042_nested() {
let _ =
nin! {
block halve(k) < maxpool(k, stride = 2, round = floor) >
block stage(c, k) <
    conv(c)
    halve(k)
>
< input(1, 8, 8) stage(8, k = 2) stage(8, k = 9) gap >
};
}

fn n042_repeat() {
let _ =
nin! {
// The fourth pool finds too little left.
<
    input(1, 8, 8)
    repeat(5) < conv(4) maxpool(2) >
>
};
}

fn n042_sides() {
let _ =
nin! {
<
    input(3, 8, 4)
    conv(4, kernel = (1, 7), pad = (2, 1))
    depthwise((11, 1), pad = (1, 0, 1, 0))
    avgpool((3, 9), pad = (1, 0, 0, 4))
>
};
}

mod n042_window {
nin! {
model Deep <
    input(3, 32, 32)
    maxpool(2)
    maxpool(2)
    maxpool(2)
    maxpool(2)
    conv(16, kernel = 5, pad = 1)
    maxpool(8)
    gap
    softmax
>
}
}

fn n043_after() {
let _ =
nin! {
< input(3, 32, 32) gap softmax dropout(0.5) relu >
};
}

fn n043_in_block() {
let _ =
nin! {
block classify(n) < fc(n) softmax >
< input(1, 8, 8) repeat(2) < classify(10) > >
};
}

fn n043_join() {
let _ =
nin! {
< input(3, 8, 8) gap softmax add < fc(0) > < > >
};
}

fn n044_joined() {
let _ =
nin! {
< input(3, 8, 8) add < relu > < > softmax >
};
}

fn n044_softmax() {
let _ =
nin! {
< input(3, 32, 32) conv(10) softmax >
};
}

fn n045_depthwise() {
let _ =
nin! {
< input(3, 8, 8) gap depthwise fc(4) conv(4, groups = 2) >
};
}

fn n045_in_branch() {
let _ =
nin! {
<
    input(3, 8, 8)
    mul < > < gap conv(3) >
    add < gap > < fc(3) >
    maxpool(2)
    concat < maxpool(2) > < relu >
>
};
}

fn n045_pools_and_norms() {
let _ =
nin! {
<
    input(3, 32, 32)
    conv(16)
    gap
    gmp
    lrn
>
};
}

fn n045_spatial() {
let _ =
nin! {
<
    input(3, 32, 32)
    gap
    conv(10)
    fc(10)
    maxpool(2)
    relu
    gap
    softmax
>
};
}

fn n046_activation() {
let _ =
nin! {
< input(3, 100000, 100000) conv(16) gap >
};
}

fn n046_branches() {
let _ =
nin! {
< input(1, 8, 8) repeat(5001) < add < > < > > >
};
}

fn n046_concat() {
let _ =
nin! {
< input(1, 16384, 16384) concat < > < relu > >
};
}

fn n046_expansions() {
let _ =
nin! {
block nothing < >
< input(1, 8, 8) repeat(10000000) < nothing > gap >
};
}

fn n046_layers() {
let _ =
nin! {
block three < relu relu relu >
< input(1, 8, 8) repeat(3333) < three > repeat(2) < relu > >
};
}

fn n046_multiplier() {
let _ =
nin! {
< input(64, 32, 32) depthwise(multiplier = 268435456) gap >
};
}

mod n046_name {
nin! {
model aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa < input(1, 8, 8) gap >
}
}

fn n046_parameters() {
let _ =
nin! {
<
    input(3, 64, 64)
    conv(1024)
    fc(1000)
    softmax
>
};
}

fn n047_groups() {
let _ =
nin! {
block grouped(c, g) < conv(c, groups = g) >
<
    input(12, 16, 16)
    conv(24, groups = 7)
    conv(18, groups = 4)
    grouped(16, 6)
    conv(8, groups = 16)
    gap
>
};
}

fn n047_more_than_channels() {
let _ =
nin! {
< input(3, 8, 8) conv(8, groups = 8) gap >
};
}

fn n050_input() {
let _ =
nin! {
< input(3, 8, 8) < relu > >
};
}

mod n050_takes_none {
nin! {
block stage(c) < conv(c) relu >
block used_in_vain < relu >
model M(width = 8) <
    input(3, 8, 8)
    conv(width) < relu >
    stage(8) < conv(width) > < used_in_vain >
    relu < > < >
    repeat(2) < gap < conv(0) > fc(8) >
>
}
}

fn n051_in_block() {
let _ =
nin! {
block basic(c) < add < conv(c) relu > relu >
< input(3, 8, 8) repeat(2) < basic(4) > basic(c = 4) >
};
}

fn n051_too_few() {
let _ =
nin! {
<
    input(3, 8, 8)
    add
    add < conv(4) >
    concat < >
    mul()
    add < conv(5) > < >
>
};
}

fn n052_concat() {
let _ =
nin! {
<
    input(16, 32, 32)
    mul
        < concat < conv(4, stride = 2) > < > >
        < concat < conv(4, stride = 4) > < maxpool(2) > >
        < concat < fc(5) > < relu > >
        < concat < conv(4, kernel = 2, pad = 0) > < conv(9) > >
>
};
}

fn n052_in_block() {
let _ =
nin! {
block basic(c, s = 1) < add < conv(c, stride = s) relu conv(c) > < > relu >
<
    input(16, 32, 32)
    repeat(2) < basic(16) >
    basic(32, s = 2)
    basic(32)
    concat < basic(64) > < maxpool(2) >
>
};
}

fn n052_layers() {
let _ =
nin! {
<
    input(16, 32, 32)
    mul
        < add < conv(64, stride = 2) relu > < conv(32) relu > >
        < add < conv(8) > < maxpool(4) > >
        < add < conv(8, kernel = 5, pad = 1) > < conv(8) > >
>
};
}

fn n052_mul() {
let _ =
nin! {
<
    input(16, 32, 32)
    mul
        < mul < > < gap fc(4) sigmoid_free > >
        < mul < > < avgpool(32) conv(4) > >
        < mul < > < conv(1) > >
        < mul < maxpool(2) > < > >
        < mul < gap > < fc(3) > >
>
block sigmoid_free < relu >
};
}

fn n052_nested() {
let _ =
nin! {
<
    input(16, 32, 32)
    add
        < concat < conv(8) > < conv(16) > >
        < mul < > < gap > >
>
};
}

fn n052_ordinals() {
let _ =
nin! {
< input(1, 4, 4) add < relu > < relu > < relu > < relu > < relu > < relu > < relu > < conv(2) > >
};
}

fn n052_several() {
let _ =
nin! {
<
    input(8, 9, 9)
    add
        <
            conv(4)
            relu
        >
        < >
        < conv(5) >
        < conv(4) >
        < maxpool(3) >
>
};
}

fn n052_shortcut() {
let _ =
nin! {
<
    input(16, 32, 32)
    mul
        < add < conv(64, stride = 2) batchnorm > < > >
        < add < > < conv(16) relu conv(32) > >
        < add < > < conv(16, stride = 2) > >
        < add < maxpool(4) > < > < conv(3) > >
>
};
}

fn n052_unknown() {
let _ =
nin! {
<
    input(8, 16, 16)
    add < gap fc(0) > < conv(0) >
    concat < nothing > < conv(4) > < conv(5, stride = 2) >
    add < fc(0) > < >
    mul < fc(0) > < conv(0) >
>
};
}

fn n052_vectors() {
let _ =
nin! {
<
    input(16, 32, 32)
    mul
        < add < gap > < > >
        < add < fc(5) > < conv(8) > >
        < add < fc(5) > < fc(6) > >
        < add < fc(5) > < gap > < > >
        < gap add < > < fc(5) > >
>
};
}

fn n053_ends() {
let _ =
nin! {
block head < gap softmax >
<
    input(3, 8, 8)
    add < input(3, 8, 8) relu > < >
    mul < > < head >
    gap
    add < fc(3) softmax > < >
    softmax
>
};
}
