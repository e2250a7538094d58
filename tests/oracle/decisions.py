"""Which way nin takes every ReLU and maximum of a training step, read off the numbers that it decides by."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file

import reference
from closeness import Numbers
from facts import Layer, describe, leading_to
from layout import resolved
from nin import IMAGES, LABELS, MODEL, WEIGHTS, Nin, Variant, Way

SWITCHES = ("maxpool", "gmp", "relu", "leaky_relu", "elu", "relu6", "hard_sigmoid", "hard_swish", "prelu")
"""Layers that decide by what they read; an `mlpconv` decides by what is within it."""

SURE = 1000.0
"""A score that leaves other classes no probability."""


@dataclass(frozen=True)
class Net:
    """A model with its weights and a batch."""

    layers: list[Layer]
    weights: Numbers
    images: np.ndarray

    @property
    def names(self) -> list[str]:
        """The layers' names."""
        return [facts.name for facts in describe(self.layers)]

    def beginning(self, last: int) -> Net:
        """The part that the result of one layer comes from. Its layers are numbered anew."""
        parts = leading_to(self.layers, last)
        places = {index: place for place, index in enumerate(parts)}
        layers = [self.layers[index] for index in parts]
        layers = [replace(layer, inputs=tuple(places[index] for index in layer.inputs)) for layer in layers]
        weights, names = {}, self.names
        for index, facts in zip(parts, describe(layers), strict=True):
            for name in facts.weights:
                weights[name] = self.weights[names[index] + name.removeprefix(facts.name)]
        return Net(layers, weights, self.images)


def decided(net: Net, nin: Nin, way: Way, folder: Path) -> list[torch.Tensor]:
    """Every decision, in the order in which `reference.forward` makes them."""
    return [decision for index in range(len(net.layers)) for decision in _of_layer(net, index, nin, way, folder)]


def _of_layer(net: Net, index: int, nin: Nin, way: Way, folder: Path) -> Iterator[torch.Tensor]:
    """The decisions of one layer: its own, were it alone on what nin makes of the net before it."""
    layer = net.layers[index]
    if layer.kind == "mlpconv":
        channels = layer.args["channels"]
        for count in range(1, len(channels) + 1):
            cut = replace(layer, args=layer.args | {"channels": channels[:count]})
            part = replace(net, layers=[*net.layers[:index], cut])
            yield _result(part.beginning(index), nin, way, folder) > 0
    elif layer.kind in SWITCHES:
        operand = _result(net.beginning(*layer.inputs), nin, way, folder)
        alone = [Layer("input"), replace(layer, inputs=(0,))]
        weights = {name: torch.from_numpy(x) for name, x in net.weights.items()}
        run = reference.forward(alone, ["input", net.names[index]], weights, operand)
        yield from (switch.decision for switch in run.switches)


def _result(net: Net, nin: Nin, way: Way, folder: Path) -> torch.Tensor:
    """What the last layer leaves in a training step.

    Of a training step `nin run` tells gradients alone, so the numbers are made one: an `fc` behind them takes every
    image for one of a class that none has. The gradient of its kernel has a row a class, and each image a class.
    """
    count, last = len(net.images), describe(net.layers)[-1]
    layers = [*net.layers, Layer("fc", {"n": count + 1, "bias": 1}, (len(net.layers) - 1,))]
    behind = describe(layers)[-1]
    kernel, bias = behind.weights
    wrong = {name: np.zeros(shape, np.float32) for name, shape in behind.weights.items()}
    wrong[bias][count] = SURE
    variant = Variant(folder / MODEL)
    variant.file.write_text(resolved(layers))
    save_file(net.weights | wrong, folder / WEIGHTS)
    np.save(folder / IMAGES, net.images)
    np.save(folder / LABELS, np.arange(count))
    gradient = nin.run(variant, folder, way, 1, labelled=True).gradients[kernel]
    # The loss is the mean over the images.
    return torch.from_numpy(-count * gradient[:count].reshape(count, *last.output))
