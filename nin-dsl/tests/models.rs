//! The models that come with nin: the figures the papers' authors and others state for them.

use nin_dsl::{Graph, Number, Source, format, parse, read};

const MODELS: [(&str, &str); 19] = [
    ("digits", include_str!("../../models/digits.nin")),
    ("nin-cifar10", include_str!("../../models/nin-cifar10.nin")),
    ("nin-cifar10-bn", include_str!("../../models/nin-cifar10-bn.nin")),
    ("nin-cifar100", include_str!("../../models/nin-cifar100.nin")),
    ("nin-cifar10-caffe", include_str!("../../models/nin-cifar10-caffe.nin")),
    ("nin-imagenet", include_str!("../../models/nin-imagenet.nin")),
    ("nin-mnist", include_str!("../../models/nin-mnist.nin")),
    ("nin-svhn", include_str!("../../models/nin-svhn.nin")),
    ("densenet-cifar", include_str!("../../models/densenet-cifar.nin")),
    ("inception-nin", include_str!("../../models/inception-nin.nin")),
    ("resnet18", include_str!("../../models/resnet18.nin")),
    ("resnet20-cifar10", include_str!("../../models/resnet20-cifar10.nin")),
    ("squeezenet1.1", include_str!("../../models/squeezenet1.1.nin")),
    ("alexnet-2012", include_str!("../../models/alexnet-2012.nin")),
    ("digits-small", include_str!("../../models/digits-small.nin")),
    ("googlenet", include_str!("../../models/googlenet.nin")),
    ("mobilenet-v2", include_str!("../../models/mobilenet-v2.nin")),
    ("mobilenet-v3-small", include_str!("../../models/mobilenet-v3-small.nin")),
    ("se-nin-cifar10", include_str!("../../models/se-nin-cifar10.nin")),
];

fn model(name: &str) -> Graph {
    let (_, text) = MODELS.iter().find(|(known, _)| *known == name).expect("a model of this name");
    variant(text, &[])
}

fn variant(text: &str, overrides: &[(&str, Number)]) -> Graph {
    let overrides: Vec<_> = overrides.iter().map(|&(name, n)| (name.to_owned(), n)).collect();
    let (graph, warnings) = read(&Source::new("model.nin", text), &overrides).expect("a model");
    graph.verify();
    assert_eq!(warnings, [], "a model that comes with nin has no warnings");
    graph
}

#[test]
fn parameters_and_macs_are_the_papers() {
    for (name, params, macs) in [
        ("nin-cifar10", 966_986, "222.49"),
        ("nin-cifar100", 984_356, "223.59"),
        ("nin-cifar10-caffe", 966_986, "222.49"),
        ("nin-svhn", 1_986_026, "274.24"),
        ("nin-mnist", 349_674, "50.70"),
        ("nin-imagenet", 7_595_176, "1100.19"),
    ] {
        let graph = model(name);
        assert_eq!(graph.params_total(), params, "{name}");
        let millions = format!("{:.2}", graph.macs_total() as f64 / 1e6);
        assert_eq!(millions, macs, "{name}: million multiply-accumulates");
    }
}

/// What the papers' authors count, or torchvision, or for `inception-nin`, `se-nin-cifar10` and `digits-small`, which are nin's own, a
/// sum by hand.
#[test]
fn models_with_branches_are_the_known_ones() {
    for (name, params, macs) in [
        ("densenet-cifar", 1_019_722, 264_812_928),
        ("inception-nin", 319_514, 38_707_200),
        ("resnet18", 11_689_512, 1_814_073_344),
        ("resnet20-cifar10", 272_474, 40_813_184),
        ("squeezenet1.1", 1_235_496, 349_151_936),
        ("alexnet-2012", 60_965_224, 724_406_816),
        ("digits-small", 4_746, 348_496),
        ("googlenet", 6_624_904, 1_498_376_192),
        ("mobilenet-v2", 3_504_872, 300_774_272),
        ("mobilenet-v3-small", 2_542_856, 56_510_400),
        ("se-nin-cifar10", 973_052, 222_492_288),
    ] {
        let graph = model(name);
        assert_eq!((graph.params_total(), graph.macs_total()), (params, macs), "{name}");
    }
}

#[test]
fn a_parameter_makes_a_variant() {
    let text = MODELS[1].1;
    let narrow = variant(text, &[("width", Number::Whole(96)), ("classes", Number::Whole(7))]);
    assert_eq!(narrow.params()[0], ("width".to_owned(), Number::Whole(96)));
    assert_eq!(narrow.weights()[0].dims, [96, 3, 5, 5]);
    assert_eq!(narrow.nodes().last().map(|node| node.shape.dims()), Some(vec![7]));
}

#[test]
fn a_resolved_variant_reads_back_as_the_same_graph() {
    for (name, text) in MODELS {
        let overrides = [("classes".to_owned(), Number::Whole(12))];
        let source = Source::new("model.nin", text);
        let resolved = format::resolved(&parse(&source).expect("it parses"), &overrides);
        let printed = resolved.expect("it checks").to_string();
        let again = variant(&printed, &[]);
        let direct = variant(text, &[("classes", Number::Whole(12))]);
        assert_eq!(again.without_places(), direct.without_places(), "{name}");
    }
}

#[test]
fn facts_of_the_cifar_network() {
    let graph = model("nin-cifar10");
    let facts = |name: &str| {
        let layer = graph.layers().iter().find(|layer| layer.name == name).expect("the layer");
        (layer.facts.params, layer.facts.activation_bytes, layer.facts.receptive_field)
    };
    // 3 tensors of 192, 160 and 96 channels at 32x32: a ReLU shares its convolution's.
    assert_eq!(facts("mlpconv1"), (14_592 + 30_880 + 15_456, 4 * 448 * 1024, [5; 2]));
    assert_eq!(facts("maxpool1"), (0, 4 * 96 * 256, [7; 2]));
    assert_eq!(facts("mlpconv2").2, [15; 2]);
    assert_eq!(facts("maxpool2").2, [19; 2]);
    assert_eq!(facts("mlpconv3").2, [27; 2]);
    assert_eq!(facts("gap1"), (0, 40, [27 + 7 * 4; 2]));
}

#[test]
fn layers_know_the_blocks_and_repetitions_they_came_from() {
    let text = "
        block pair(c, k = 3) < conv(c, kernel = k) repeat(1) < relu > nothing >
        block nothing < >
        model M(width = 2) <
            input(1, 8, 8)
            repeat(2) < pair(2 * width, k = 5) gap_free >
            repeat(3) < >
            gap
        >
        block gap_free < dropout(0.5) >";
    let (graph, _) = read(&Source::new("m.nin", text), &[]).expect("a good model");
    graph.verify();
    let groups: Vec<String> =
        graph.groups().iter().map(|group| format!("{} {:?}", group.kind, group.layers)).collect();
    let pass = |number: usize, start: usize| {
        [
            format!("pass {number} of 2 {start}..{}", start + 3),
            format!("pair(2 * width, k = 5) {start}..{}", start + 2),
            format!("pass 1 of 1 {}..{}", start + 1, start + 2),
            format!("gap_free {}..{}", start + 2, start + 3),
        ]
    };
    assert_eq!(groups, [pass(1, 1), pass(2, 4)].concat());
}
