"""The network as every worker is told it: its layers, whose results each reads, and its weights."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

Tensors = dict[str, np.ndarray]


@dataclass
class Layer:
    """A layer, with every argument as a number."""

    name: str
    kind: str
    args: dict
    # Where in the list of layers those stand whose results it reads; none reads the images.
    reads: list[int]
    # The shape of its result.
    output: list[int]


@dataclass
class Model:
    """Layers, each after those it reads, and their weights by name."""

    layers: list[Layer]
    tensors: Tensors

    @staticmethod
    def read(described: list[dict], weights: Path) -> "Model":
        """What `nin check --json` lists, with the weights of a file."""
        places = {layer["name"]: place for place, layer in enumerate(described)}
        layers = [
            Layer(x["name"], x["kind"], x["args"], [places[name] for name in x["inputs"]], x["output"])
            for x in described
        ]
        return Model(layers, load_file(weights))

    def readers(self, place: int) -> list[int]:
        """Who reads a layer's result."""
        return [reader for reader, layer in enumerate(self.layers) if place in layer.reads]

    def last_uses(self) -> list[list[int]]:
        """The layers whose results are read for the last time by each layer."""
        uses: list[list[int]] = [[] for _ in self.layers]
        for place in range(len(self.layers)):
            if readers := self.readers(place):
                uses[readers[-1]].append(place)
        return uses

    def logits(self) -> "Model":
        """The same without a softmax at its end."""
        last = self.layers[-1]
        return Model(self.layers[:-1], self.tensors) if last.kind == "softmax" else self

    def folded(self) -> "Model":
        """The same function, each `batchnorm` behind a convolution made part of that: for inference alone."""
        layers, tensors = list(self.layers), dict(self.tensors)
        for place, norm in enumerate(self.layers):
            if norm.kind != "batchnorm":
                continue
            conv = self.layers[norm.reads[0]]
            if conv.kind not in ("conv", "depthwise") or self.readers(norm.reads[0]) != [place]:
                continue
            scale, shift, mean, variance = (
                tensors[f"{norm.name}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")
            )
            scale = scale / np.sqrt(variance + norm.args["eps"])
            bias = tensors.get(f"{conv.name}.bias", np.zeros_like(shift))
            tensors[f"{conv.name}.weight"] = tensors[f"{conv.name}.weight"] * scale[:, None, None, None]
            tensors[f"{conv.name}.bias"] = (bias - mean) * scale + shift
            layers[place] = Layer(norm.name, "identity", {}, norm.reads, norm.output)
        return Model(layers, tensors)


def pad(layer: Layer) -> tuple[int, int]:
    """The padding above and below, left and right, which is the same on opposite sides here."""
    top, left, bottom, right = layer.args["pad"]
    if (top, left) != (bottom, right):
        raise NotImplementedError(f"{layer.name} has different padding on opposite sides")
    return top, left


def group_count(args: dict, outputs: int) -> int:
    """The groups of a convolution; each channel is one where it is `depthwise`."""
    return outputs // args["multiplier"] if "multiplier" in args else args.get("groups", 1)
