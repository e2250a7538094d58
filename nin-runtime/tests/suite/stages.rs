//! Stages of the compiler as text, for small models: what `nin show` prints.

use nin_runtime::compile::{Options, Purpose, Stage, planned, show};
use nin_runtime::compiler::Isa;
use nin_runtime::compiler::kernel::Registers;
use nin_runtime::compiler::plan::{Algos, Demand};
use nin_runtime::model::Model;

/// Convolutions, ReLUs, pools, an ELU, dropout and `fc`s.
const BLOCKS: &str = "
model Blocks(width = 6) <
    input(3, 9, 7)
    mlpconv(width, width - 1, kernel = 5)
    maxpool(3, stride = 2, round = ceil)
    dropout(0.5)
    conv(width, stride = 2, bias = 0)
    relu
    avgpool(2, stride = 1, round = floor)
    fc(4)
    elu
    dropout(0.25)
    fc(3)
>";

/// The paper's head: the maps themselves are averaged.
const AVERAGED: &str = "model Averaged < input(1, 6, 6) mlpconv(4, 3) gap softmax >";

/// What MobileNets are made of: many channels of few, each by itself, and few again; and groups.
const MOBILE: &str = "
model Mobile <
    input(4, 10, 8)
    conv(24, kernel = 1, bias = 0) batchnorm relu6
    depthwise(stride = 2, bias = 0) batchnorm relu6
    conv(8, kernel = 1, bias = 0) batchnorm
    add < conv(8, groups = 2, dilation = (2, 1)) hard_swish > < >
    gap
    fc(3)
    softmax
>";

/// Statistics of the whole batch, on maps and on vectors: phases.
const NORMALISED: &str = "
model Normalised <
    input(2, 6, 6)
    conv(4, bias = 0) batchnorm relu
    conv(4, kernel = 1) relu
    maxpool(2)
    gap
    fc(5) batchnorm(eps = 0.001, momentum = 0.2) leaky_relu
    fc(3)
    softmax
>";

/// Statistics of groups of images: one phase, in which a chunk is a group. And of groups of several sizes: phases.
const GROUPED: &str = "
model Grouped(ghost = 2) <
    input(2, 6, 6)
    conv(4, bias = 0) batchnorm(ghost = 2) relu
    gap
    fc(5) batchnorm(ghost = ghost)
    fc(3)
    softmax
>";

/// Convolutions for Winograd's domain: of an image at a time, of a chunk, by bands.
const TRANSFORMED: &str = "
model Transformed(width = 32) <
    input(16, 20, 20)
    mlpconv(width, 16, kernel = 5)
    maxpool(3, stride = 2, round = ceil)
    conv(width, kernel = 3)
    relu
    conv(4, kernel = 1)
    gap
    softmax
>";

/// Branches: a value with three readers, sums of three and of two, which are epilogues, a gate, channels side by side.
const JOINED: &str = "
model Joined(width = 4) <
    input(3, 6, 6)
    conv(width)
    relu
    add
        < conv(width, bias = 0) batchnorm relu conv(width, bias = 0) batchnorm >
        < conv(width, kernel = 1) >
        < >
    relu
    add < conv(width, bias = 0) batchnorm > < > relu
    add < > < conv(width) >
    mul < > < gap fc(width) >
    concat < conv(2) relu > < maxpool(3, stride = 1, pad = 1) >
    gap
    fc(3)
    softmax
>";

/// Nothing to train: the loss needs no gradient of any weight.
const FIXED: &str = "model Fixed < input(2, 4, 4) maxpool(2) gap softmax >";

fn stage(text: &str, stage: Stage) -> String {
    let model = Model::from_text("model.nin", text, &[]).expect("a valid model");
    let options =
        Options { batch: 4, threads: 1, purpose: Purpose::Training, ..Options::default() };
    show(model.graph(), &options, stage).expect("a stage to show")
}

#[test]
fn graphs() {
    insta::assert_snapshot!("graph-blocks", stage(BLOCKS, Stage::Graph));
    insta::assert_snapshot!("graph-averaged", stage(AVERAGED, Stage::Graph));
    insta::assert_snapshot!("graph-joined", stage(JOINED, Stage::Graph));
    insta::assert_snapshot!("graph-mobile", stage(MOBILE, Stage::Graph));
}

#[test]
fn training_graphs() {
    insta::assert_snapshot!("train-blocks", stage(BLOCKS, Stage::Train));
    insta::assert_snapshot!("train-averaged", stage(AVERAGED, Stage::Train));
    insta::assert_snapshot!("train-normalised", stage(NORMALISED, Stage::Train));
    insta::assert_snapshot!("train-fixed", stage(FIXED, Stage::Train));
    insta::assert_snapshot!("train-joined", stage(JOINED, Stage::Train));
}

#[test]
fn fused_blocks() {
    insta::assert_snapshot!("fused-blocks", stage(BLOCKS, Stage::Fused));
    insta::assert_snapshot!("fused-averaged", stage(AVERAGED, Stage::Fused));
    insta::assert_snapshot!("fused-normalised", stage(NORMALISED, Stage::Fused));
    insta::assert_snapshot!("fused-fixed", stage(FIXED, Stage::Fused));
    insta::assert_snapshot!("fused-joined", stage(JOINED, Stage::Fused));
    insta::assert_snapshot!("fused-mobile", stage(MOBILE, Stage::Fused));
}

/// 16 registers of four floats, whatever the CPU has.
const REGISTERS: Registers = Registers { lanes: 4, halves: false, panels: &[(2, 4)], busy: 8 };

#[test]
fn plans() {
    let apart = GROUPED.replace("(ghost = 2) <", "(ghost = 3) <");
    let plans = [
        ("plan-blocks", BLOCKS, true),
        ("plan-averaged", AVERAGED, true),
        ("plan-normalised", NORMALISED, true),
        ("plan-grouped", GROUPED, true),
        ("plan-grouped-apart", &apart, true),
        ("plan-transformed", TRANSFORMED, true),
        ("plan-normalised-inference", NORMALISED, false),
        ("plan-joined", JOINED, true),
        ("plan-joined-inference", JOINED, false),
        ("plan-mobile", MOBILE, true),
        ("plan-mobile-inference", MOBILE, false),
    ];
    for (name, text, training) in plans {
        let model = Model::from_text("model.nin", text, &[]).expect("a valid model");
        let demand = Demand { batch: 4, registers: &REGISTERS, algos: &Algos::default() };
        let purpose = if training { Purpose::Training } else { Purpose::Inference };
        let plan = planned(model.graph(), purpose, demand);
        insta::assert_snapshot!(name, plan.display(model.graph()));
    }
}

/// Every run that can go depth first does: what is small goes so for no other reason.
#[test]
fn plans_depth_first() {
    let model = Model::from_text("model.nin", MOBILE, &[]).expect("a valid model");
    let algos = "direct,depth-first=always".parse().expect("a list of algorithms");
    let demand = Demand { batch: 4, registers: &REGISTERS, algos: &algos };
    let plan = planned(model.graph(), Purpose::Inference, demand);
    insta::assert_snapshot!("plan-depth-first", plan.display(model.graph()));
}

/// The tiles alone, and of x86-64: the rest is long and says less.
#[cfg(target_arch = "x86_64")]
#[test]
fn tiles() {
    let model = Model::from_text("model.nin", AVERAGED, &[]).expect("a valid model");
    // Without AVX's encoding portable tiles have another shape.
    for isa in Isa::available().filter(|_| Isa::Avx2.is_available()) {
        let options = Options { batch: 1, threads: 1, isa, ..Options::default() };
        let stage = if isa == Isa::Portable { Stage::Clif } else { Stage::Asm };
        let text = show(model.graph(), &options, stage).expect("a stage to show");
        assert!(isa == Isa::Portable || text.contains("  call infer block 0\n"), "{text}");
        let functions = text.split("\n; ").map(|function| format!("; {function}\n"));
        let tile =
            |function: &String| function.lines().next().is_some_and(|name| name.contains("tile"));
        let tiles = functions.filter(tile);
        insta::assert_snapshot!(format!("tiles-{isa}"), tiles.collect::<String>());
    }
}
