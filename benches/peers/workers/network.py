"""The network in PyTorch."""

import functools
import operator

import torch
import torch.nn.functional as F
from model import Layer, Model, Tensors, group_count, pad
from torch import nn


class Network(nn.Module):
    """A graph of layers."""

    def __init__(self, model: Model):
        super().__init__()
        self.reads = [layer.reads for layer in model.layers]
        self.last_uses = model.last_uses()
        self.steps = nn.ModuleList(module(model, place) for place in range(len(model.layers)))

    def forward(self, images):
        results = {}
        for place, step in enumerate(self.steps):
            read = [results[other] for other in self.reads[place]] or [images]
            # What nobody reads any more makes room.
            for other in self.last_uses[place]:
                del results[other]
            results[place] = step(*read)
            del read
        return results[len(self.steps) - 1]


class Apply(nn.Module):
    """A function without weights."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *read):
        return self.function(*read)


def add(*read):
    """The sum of branches."""
    return functools.reduce(operator.add, read)


def mul(*read):
    """The product of branches, a vector as a map of one pixel."""
    return functools.reduce(operator.mul, (x if x.dim() == 4 else x[:, :, None, None] for x in read))


def concat(*read):
    """The channels of branches."""
    return torch.cat(read, 1)


def global_average(x):
    """[N, C, H, W] to [N, C]."""
    return F.adaptive_avg_pool2d(x, 1).flatten(1)


JOINS = {"add": add, "mul": mul, "concat": concat}
# Those that can overwrite what they read.
ACTIVATIONS = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "silu": nn.SiLU,
    "hard_sigmoid": nn.Hardsigmoid,
    "hard_swish": nn.Hardswish,
}


def module(model: Model, place: int) -> nn.Module:
    """What a layer of the language is in PyTorch."""
    layer, tensors = model.layers[place], model.tensors
    kind, args = layer.kind, layer.args
    is_only_reader = [model.readers(other) for other in layer.reads] == [[place]]
    match kind:
        case "input" | "identity":
            return nn.Identity()
        case "conv" | "depthwise":
            return convolution(tensors, layer.name, args, pad(layer))
        case "mlpconv":
            return mlpconv(layer, tensors)
        case "fc":
            return linear(tensors, layer.name)
        case "batchnorm" if not args.get("ghost"):
            return batchnorm(tensors, layer)
        case "maxpool":
            return nn.MaxPool2d(**window(layer))
        case "avgpool":
            return nn.AvgPool2d(**window(layer), count_include_pad=bool(args.get("count")))
        case "dropout":
            return nn.Dropout(args["p"])
        case "leaky_relu":
            return nn.LeakyReLU(args["slope"], inplace=is_only_reader)
        case "gap":
            return Apply(global_average)
        case "softmax":
            return nn.Softmax(1)
    if kind in ACTIVATIONS:
        return ACTIVATIONS[kind](inplace=is_only_reader)
    if kind in JOINS:
        return Apply(JOINS[kind])
    raise NotImplementedError(f"the comparison knows no `{kind}` layers")


def mlpconv(layer: Layer, tensors: Tensors) -> nn.Module:
    """A convolution, and some of one pixel, each with a ReLU."""
    pixel = {"stride": [1, 1]}
    steps = [convolution(tensors, f"{layer.name}.conv", layer.args, pad(layer))]
    for index in range(1, len(layer.args["channels"])):
        steps.append(convolution(tensors, f"{layer.name}.cccp{index}", pixel, (0, 0)))
    return nn.Sequential(*(x for step in steps for x in (step, nn.ReLU(inplace=True))))


def window(layer: Layer) -> dict:
    """A pool's window."""
    args = layer.args
    kernel, stride = tuple(args["kernel"]), tuple(args["stride"])
    return {"kernel_size": kernel, "stride": stride, "padding": pad(layer), "ceil_mode": bool(args["ceil"])}


def convolution(tensors: Tensors, name: str, args: dict, padding: tuple[int, int]) -> nn.Conv2d:
    """A convolution with nin's weights."""
    weight, bias = tensors[f"{name}.weight"], tensors.get(f"{name}.bias")
    outputs, inputs, *kernel = weight.shape
    groups = group_count(args, outputs)
    conv = nn.Conv2d(
        inputs * groups,
        outputs,
        tuple(kernel),
        tuple(args["stride"]),
        padding,
        tuple(args.get("dilation", [1, 1])),
        groups,
        bias is not None,
    )
    return filled(conv, weight=weight, bias=bias)


def linear(tensors: Tensors, name: str) -> nn.Module:
    """A product with nin's weights."""
    weight, bias = tensors[f"{name}.weight"], tensors.get(f"{name}.bias")
    product = nn.Linear(weight.shape[1], weight.shape[0], bias is not None)
    return nn.Sequential(nn.Flatten(), filled(product, weight=weight, bias=bias))


def batchnorm(tensors: Tensors, layer: Layer) -> nn.Module:
    """A batch normalisation of maps or of vectors."""
    parts = {part: tensors[f"{layer.name}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")}
    norm = nn.BatchNorm2d(len(parts["weight"]), layer.args["eps"], layer.args["momentum"])
    return filled(norm, **parts)


@torch.no_grad()
def filled(step: nn.Module, **tensors) -> nn.Module:
    """A module with nin's weights."""
    for name, tensor in tensors.items():
        if tensor is not None:
            getattr(step, name).copy_(torch.from_numpy(tensor))
    return step
