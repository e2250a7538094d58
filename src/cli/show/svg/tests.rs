//! Nothing in a picture lies on anything else, is cut off, or is missing.

use nin::Model;

use super::join::Lanes;
use super::layout::{Layout, place};
use super::measure::{What, text_width};
use super::scene::{Part, parts};
use super::svg;

const STAGES: &str = "
block stage(c, drop = 0.2) <
    conv(c) relu
    repeat(2) < conv(c) leaky_relu(0.1) >
    conv(c) elu(0.5) elu
    conv(c) relu6 sigmoid tanh silu gelu hard_sigmoid hard_swish prelu scale(0.5)
    mlpconv(c, 2 * c / 2, stride = 2)
    dropout(drop)
>
model Stages(width = 16, classes = 100) <
    input(3, 224, 160)
    conv(width, kernel = 7, stride = 2, pad = 2) relu
    maxpool(3, stride = 2, pad = 1, round = floor)
    stage(width) stage(2 * width)
    repeat(12) < conv(4 * width) relu >
    repeat(3) < conv(8 * width, kernel = 1) avgpool(2, stride = 1, round = floor) >
    relu gap fc(1000) relu dropout(0.5) fc(classes) softmax
>";

/// Flat, tall, deep, long and short ones.
fn models() -> Vec<Model> {
    let steps = "dropout(0.5) ".repeat(40);
    let nested = format!(
        "{} mlpconv({}1) {}",
        "repeat(2) < relu ".repeat(8),
        "9, ".repeat(30),
        ">".repeat(8)
    );
    let texts = [
        STAGES.to_owned(),
        include_str!("../../../../models/nin-cifar10.nin").to_owned(),
        include_str!("../../../../models/nin-imagenet.nin").to_owned(),
        include_str!("../../../../models/digits.nin").to_owned(),
        include_str!("../../../../models/resnet20-cifar10.nin").to_owned(),
        include_str!("../../../../models/densenet-cifar.nin").to_owned(),
        include_str!("../../../../models/inception-nin.nin").to_owned(),
        "< input(8, 9, 9) mul < > < gap fc(2) relu fc(8) > add < > < > gap >".to_owned(),
        "< input(8, 9, 9) mul < > < gmp fc(8) > conv(9) relu lrn gmp relu >".to_owned(),
        format!("< input(3, 9, 9) {} relu {} >", "add < conv(3) > < ".repeat(20), "> ".repeat(20)),
        format!("< input(3, 99, 99) concat < > < {} > < > fc(9) >", "conv(30) relu ".repeat(30)),
        "< input(1, 1, 1) >".to_owned(),
        "< input(1, 1, 1000) conv(4096, kernel = 1) relu conv(1, kernel = 1) fc(1) >".to_owned(),
        "< input(9999, 4000, 1) relu avgpool(1, stride = 3, round = ceil) gap >".to_owned(),
        format!("< input(1, 1, 1) {steps} conv(1) {steps} fc(9) relu >"),
        format!("< input(1, 7, 7) {nested} >"),
        format!("< input(1, 7, 7) {} >", "conv(3) relu dropout(0.1) ".repeat(60)),
    ];
    texts
        .iter()
        .map(|text| Model::from_text("a <model> & \"more\"", text, &[]).expect("a model"))
        .collect()
}

fn check(layout: &Layout<'_>) {
    for pair in layout.placed.windows(2) {
        let (before, after) = (&pair[0], &pair[1]);
        assert!(after.row == before.row || after.row == before.row + 1, "a row is left out");
        if after.row == before.row {
            assert!(before.right <= after.gap.0, "{before:?} and {after:?}");
        }
    }
    for placed in &layout.placed {
        assert!(placed.gap.1 <= placed.left && placed.right <= layout.width, "{placed:?}");
        if let What::Volume(volume, _) = placed.what {
            let room = placed.gap.1 - placed.gap.0;
            let written = text_width(&volume.above).max(text_width(&volume.below));
            assert!(written <= room, "{placed:?}");
        }
        if let What::Join(join) = placed.what {
            check_branches(&Lanes::of(join), placed.right - placed.left);
        }
    }
    for pair in layout.rows.windows(2) {
        assert!(pair[0].below() < pair[1].axis - 24.0, "rows too close");
    }
    for (i, piece) in layout.frames.iter().enumerate() {
        let inside = layout.placed.iter().filter(|placed| {
            placed.row == piece.row && piece.left <= placed.left && placed.right <= piece.right
        });
        assert!(inside.count() > 0, "{piece:?} is empty");
        // Two frames on a row are beside or inside one another.
        for other in layout.frames[i + 1..].iter().filter(|other| other.row == piece.row) {
            let beside = piece.right < other.left || other.right < piece.left;
            let inside = other.left < piece.left
                && piece.right < other.right
                && piece.extent.up < other.extent.up
                && piece.extent.down < other.extent.down;
            assert!(beside || inside, "{piece:?} and {other:?}");
        }
    }
    let lowest = layout.rows.last().expect("a row");
    assert!(lowest.axis < layout.height);
}

/// Branches lie one below the other, between the fork and the sign.
fn check_branches(lanes: &Lanes<'_>, width: f64) {
    for pair in lanes.lanes.windows(2) {
        assert!(pair[0].top + pair[0].height < pair[1].top, "{pair:?}");
    }
    for lane in &lanes.lanes {
        assert!(0.0 < lane.left && lane.left + lane.width < lanes.centre, "{lane:?}");
        if let Some(layout) = &lane.layout {
            check(layout);
        }
    }
    assert!(lanes.centre < width);
}

#[test]
fn nothing_overlaps_or_is_cut_off() {
    for model in models() {
        check(&place(&parts(model.graph())));
    }
}

/// The shapes drawn, frames opened.
fn shapes(parts: &[Part]) -> Vec<String> {
    let shapes = parts.iter().flat_map(|part| match part {
        Part::Volume(volume) => vec![volume.shape.to_string()],
        Part::Mark(_) => vec![],
        Part::Frame(frame) => shapes(&frame.parts),
        Part::Join(join) => join.branches.iter().flat_map(|parts| shapes(parts)).collect(),
    });
    shapes.collect()
}

fn labels(parts: &[Part]) -> Vec<String> {
    let labels = parts.iter().flat_map(|part| match part {
        Part::Volume(_) => vec![],
        Part::Mark(step) => vec![step.text.clone()],
        Part::Frame(frame) => [vec![frame.label.clone()], labels(&frame.parts)].concat(),
        Part::Join(join) => join.branches.iter().flat_map(|parts| labels(parts)).collect(),
    });
    labels.collect()
}

#[test]
fn blocks_are_framed_and_alike_passes_are_drawn_once() {
    let model = Model::from_text("m", STAGES, &[]).expect("a model");
    let parts = parts(model.graph());
    let stage = |call: &str, mlpconv: &str| {
        [call, "repeat × 2", mlpconv, "dropout 0.2"].map(str::to_owned).to_vec()
    };
    let rest = ["repeat × 12", "pass 1 of 3", "pass 2 of 3", "pass 3 of 3", "relu", "dropout 0.5"];
    let expected = [
        stage("stage(width)", "mlpconv1"),
        stage("stage(2 * width)", "mlpconv2"),
        rest.map(str::to_owned).to_vec(),
    ];
    assert_eq!(labels(&parts), expected.concat());
    assert_eq!(shapes(&parts).len(), 3 + 2 * 6 + 1 + 3 * 2 + 4);
}

#[test]
fn passes_that_grow_are_drawn_first_and_last() {
    let text = "< input(2, 8, 8) repeat(5) < concat < > < conv(3) relu > > repeat(2) < conv(9) > >";
    let model = Model::from_text("m", text, &[]).expect("a model");
    let parts = parts(model.graph());
    let expected = ["pass 1 of 5", "passes 2 to 4", "pass 5 of 5", "repeat × 2"];
    assert_eq!(labels(&parts), expected);
}

#[test]
fn a_branch_lies_on_the_axis_where_it_is_alone() {
    let text = "< input(2, 8, 8) add < > < conv(2) > add < conv(2) > < conv(2) > >";
    let model = Model::from_text("m", text, &[]).expect("a model");
    let parts = parts(model.graph());
    let layout = place(&parts);
    let joins = layout.placed.iter().filter_map(|placed| match placed.what {
        What::Join(join) => Some(Lanes::of(join)),
        What::Volume(..) | What::Mark(_) => None,
    });
    let entries: Vec<Vec<f64>> =
        joins.map(|lanes| lanes.lanes.iter().map(|lane| lane.entry).collect()).collect();
    assert!(entries[0][0] < -20.0 && entries[0][1] == 0.0, "{entries:?}");
    assert!(entries[1][0] == -entries[1][1], "{entries:?}");
}

#[test]
fn every_picture_is_xml() {
    for model in models() {
        let text = svg(model.graph());
        let picture =
            roxmltree::Document::parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        let root = picture.root_element();
        assert_eq!(root.tag_name().name(), "svg");
        let title = root.children().find(|child| child.has_tag_name("title")).expect("a title");
        assert!(title.text().expect("a text").starts_with(model.graph().name()));
    }
}
