//! What `nin show` prints of a small model: the model as it was understood, and the graph it became.

use nin_dsl::{Source, check, parse};

const MODEL: &str = "
/* A small one */ pub model Small(width = 4, /* classes */ classes = 10,) <
    input(1, 12, 12);
    mlpconv(width, 2*width, kernel=5)   // the first
    maxpool(3, stride = 2, round = ceil), dropout(1 / 4.0)
    conv((width + 1) * 2, kernel = 1, bias = 0) relu
    avgpool(2)
    fc(classes) softmax
>";

#[test]
fn stages_of_a_small_model() {
    let model = parse(&Source::new("small.nin", MODEL)).expect("it parses");
    insta::assert_snapshot!(model.to_string(), @r"
    pub model Small(width = 4, classes = 10) <
        input(1, 12, 12)
        mlpconv(width, 2 * width, kernel = 5)
        maxpool(3, stride = 2, round = ceil)
        dropout(1 / 4.0)
        conv((width + 1) * 2, kernel = 1, bias = 0)
        relu
        avgpool(2)
        fc(classes)
        softmax
    >
    ");
    let (graph, diagnostics) = check(&model, &[]);
    assert_eq!(diagnostics, []);
    insta::assert_snapshot!(graph.expect("it checks").to_string(), @r"
    graph Small(width = 4, classes = 10)
      %0   = input                                        1x12x12      input1
      %1   = conv(%0) 5x5 s1 p2 mlpconv1.conv             4x12x12      mlpconv1
      %2   = relu(%1)                                     4x12x12      mlpconv1
      %3   = conv(%2) 1x1 s1 p0 mlpconv1.cccp1            8x12x12      mlpconv1
      %4   = relu(%3)                                     8x12x12      mlpconv1
      %5   = maxpool(%4) 3x3 s2 p0 ceil                   8x6x6        maxpool1
      %6   = dropout(%5) p 0.25 mask 0                    8x6x6        dropout1
      %7   = conv(%6) 1x1 s1 p0 conv1 no bias             10x6x6       conv1
      %8   = relu(%7)                                     10x6x6       relu1
      %9   = avgpool(%8) 2x2 s2 p0 floor                  10x3x3       avgpool1
      %10  = conv(%9) 3x3 s1 p0 fc1                       10           fc1
      %11  = softmax(%10)                                 10           softmax1
    ");
}
