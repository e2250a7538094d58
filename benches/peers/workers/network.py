"""The network in PyTorch, from what `nin check --json` says of it and nin's weights."""

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn


class Network(nn.Module):
    """A chain of layers; logits unless `probabilities`."""

    def __init__(self, layers: list[dict], weights: Path, probabilities: bool):
        super().__init__()
        tensors = load_file(weights)
        steps: list[nn.Module] = []
        for layer in layers:
            steps += modules(layer, tensors)
        if probabilities and layers[-1]["kind"] == "softmax":
            steps.append(nn.Softmax(1))
        self.chain = nn.Sequential(*steps)

    def forward(self, images):
        return self.chain(images)


class GlobalAveragePool(nn.Module):
    """[N, C, H, W] to [N, C]."""

    def forward(self, x):
        return F.adaptive_avg_pool2d(x, 1).flatten(1)


def modules(layer: dict, tensors: dict) -> list[nn.Module]:
    """What a layer of the language is in PyTorch."""
    kind, args = layer["kind"], layer["args"]
    window = {key: tuple(args[arg][:2]) for key, arg in POOL.items() if arg in args}
    match kind:
        case "input" | "softmax":
            return []
        case "conv":
            return [convolution(tensors, layer["name"], args)]
        case "mlpconv":
            names = ["conv"] + [f"cccp{index}" for index in range(1, len(args["channels"]))]
            steps: list[nn.Module] = []
            for index, name in enumerate(names):
                pixel = {"stride": [1, 1], "pad": [0, 0]}
                place = f"{layer['name']}.{name}"
                steps.append(convolution(tensors, place, args if index == 0 else pixel))
                steps.append(nn.ReLU(inplace=True))
            return steps
        case "maxpool":
            return [nn.MaxPool2d(**window, ceil_mode=bool(args["ceil"]))]
        case "avgpool":
            return [nn.AvgPool2d(**window, ceil_mode=bool(args["ceil"]), count_include_pad=False)]
        case "dropout":
            return [nn.Dropout(args["p"])]
        case "relu":
            return [nn.ReLU(inplace=True)]
        case "leaky_relu":
            return [nn.LeakyReLU(args["slope"], inplace=True)]
        case "gap":
            return [GlobalAveragePool()]
    raise NotImplementedError(f"the comparison knows no `{kind}` layers")


POOL = {"kernel_size": "kernel", "stride": "stride", "padding": "pad"}


def convolution(tensors: dict, name: str, args: dict) -> nn.Conv2d:
    """A convolution with nin's weights."""
    weight, bias = tensors[f"{name}.weight"], tensors.get(f"{name}.bias")
    outputs, inputs, kernel, _ = weight.shape
    # Of top, left, bottom and right, of which opposite ones are equal here.
    stride, pad = tuple(args["stride"]), tuple(args["pad"][:2])
    conv = nn.Conv2d(inputs, outputs, kernel, stride, pad, bias=bias is not None)
    with torch.no_grad():
        conv.weight.copy_(weight)
        if bias is not None:
            conv.bias.copy_(bias)
    return conv
