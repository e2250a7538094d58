#!/usr/bin/env python3
"""Measures how far nin's float32 strays from PyTorch's float64 with trained weights on real images, by each algorithm.

Layer by layer, every product of a convolution is given float64's own numbers, rounded to float32: its input, and the
gradient of its output, so that no ReLU before or after it has a say. Then the whole net is run. There a value next to
zero may round to the other side of it, and its gradient comes or goes as a whole: float64 is run twice, with its own
decisions and with those that nin took, which are read off. Prints tables, and exits with 1 if an error is above
`BOUND`.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.numpy import save_file

import images
import reference
from case import read_weights
from decisions import Net, decided
from facts import Layer, checked, describe, in_a_row, without
from layout import resolved
from nin import IMAGES, LABELS, MODEL, WEIGHTS, Nin, Result, Variant, Way

ROOT = Path(__file__).resolve().parents[2]
BOUND = 2e-5
"""Root mean square error relative to that of the result, which docs/numerics.md promises."""
MOST = 8
"""The longest side of a tile of inputs that nin has code for."""
SMALL = 1e-3
"""Scores of the layer that gives a convolution's output its gradient: softmax stays near its middle."""


@dataclass(frozen=True)
class Strayed:
    """Root mean square and largest error, relative to the root mean square of what was expected."""

    rms: float
    largest: float

    @staticmethod
    def of(found: np.ndarray, expected: np.ndarray) -> Strayed:
        """How far one tensor is from another."""
        off = np.asarray(found, np.float64) - expected
        scale = np.sqrt(np.mean(np.square(expected)))
        return Strayed(float(np.sqrt(np.mean(np.square(off))) / scale), float(np.abs(off).max() / scale))

    def __str__(self) -> str:
        return f"{tidy(f'{self.rms:.1e}')} ({tidy(f'{self.largest:.0e}')})"


def tidy(number: str) -> str:
    """An exponent without zeros in front."""
    return number.replace("e-0", "e-").replace("e+0", "e+")


@dataclass(frozen=True)
class Labelled(Net):
    """The same with the images' classes."""

    labels: np.ndarray

    def run(self, nin: Nin, way: Way, folder: Path, *, labelled: bool) -> Result:
        """What nin makes of it."""
        variant = Variant(folder / MODEL)
        variant.file.write_text(resolved(self.layers))
        save_file({name: np.ascontiguousarray(x, np.float32) for name, x in self.weights.items()}, folder / WEIGHTS)
        np.save(folder / IMAGES, self.images.astype(np.float32))
        np.save(folder / LABELS, self.labels)
        return nin.run(variant, folder, way, 2, labelled=labelled)

    def differentiate(self, decisions: list[torch.Tensor] | None = None) -> Differentiated:
        """What float64 makes of it."""
        leaves = {name: torch.from_numpy(x).double().requires_grad_() for name, x in self.weights.items()}
        batch = torch.from_numpy(self.images).double()
        run = reference.forward(self.layers, self.names, leaves, batch, training=True, decisions=decisions)
        loss = F.cross_entropy(run.scores, torch.from_numpy(self.labels))
        outputs = [conv.output for conv in run.convolutions]
        found = [x.numpy() for x in torch.autograd.grad(loss, [*leaves.values(), *outputs])]
        return Differentiated(run, dict(zip(leaves, found, strict=False)), found[len(leaves) :])


@dataclass(frozen=True)
class Differentiated:
    """A run of float64 with the gradients of its weights and of its convolutions' outputs."""

    run: reference.Run
    gradients: dict[str, np.ndarray]
    outputs: list[np.ndarray]


def whole(net: Labelled, nin: Nin, algos: list[str], isa: str, folder: Path) -> list[float]:
    """Prints how far the whole net strays; the errors that are bound."""
    wide = net.differentiate()
    own = wide.run
    switches = sum(switch.decision.numel() for switch in own.switches)
    print(f"\nwhole net, {len(net.labels)} images, {switches:,} switches\n")
    print(
        "| algorithm | output | scores | switches gone another way | gradients, with nin's decisions | with float64's |"
    )
    print("|---|---|---|---|---|---|")
    bound = []
    for algo in algos:
        way = Way(isa, algo)
        found = net.run(nin, way, folder, labelled=True)
        taken = decided(net, nin, way, folder)
        linear = replace(net, layers=without(net.layers, "softmax"))
        scores = linear.run(nin, way, folder, labelled=False).output
        held = net.differentiate(taken).gradients
        flipped = sum(int((a.decision != b).sum()) for a, b in zip(own.switches, taken, strict=True))
        cells = [Strayed.of(found.output, own.output.detach().numpy()), Strayed.of(scores, own.scores.detach().numpy())]
        worst = [
            max((Strayed.of(found.gradients[name], x) for name, x in expected.items()), key=lambda one: one.rms)
            for expected in (held, wide.gradients)
        ]
        print(f"| `{algo}` | {cells[0]} | {cells[1]} | {flipped} | {worst[0]} | {worst[1]} |", flush=True)
        bound += [one.rms for one in (*cells, worst[0])]
    return bound


def by_layer(net: Labelled, nin: Nin, isa: str, folder: Path) -> list[float]:
    """Prints how far each product of each convolution strays; the errors."""
    print(f"\nlayer by layer, {len(net.labels)} images\n")
    print("| convolution | algorithm | output | input's gradient | kernel's gradient |\n|---|---|---|---|---|")
    bound = []
    wide = net.differentiate()
    for number, (conv, gradient) in enumerate(zip(wide.run.convolutions, wide.outputs, strict=True)):
        side = conv.kernel.shape[-1]
        if side == 1 or not _is_plain(conv):
            continue
        sizes = range(2, MOST + 2 - side) if conv.stride == [1, 1] else ()
        for algo in ["direct", *(f"winograd{size}" for size in sizes)]:
            size = algo.removeprefix("winograd")
            title = "direct" if algo == "direct" else f"F({size}x{size}, {side}x{side})"
            cells = products(conv, gradient, nin, Way(isa, algo), folder)
            # Nobody asks for the gradient of the images.
            shown = [str(cells[0]), str(cells[1]) if number else "", str(cells[2])]
            print(f"| `{conv.name}` | {title} | {' | '.join(shown)} |", flush=True)
            bound += [one.rms for one in cells]
    return bound


def _is_plain(conv: reference.Convolution) -> bool:
    """Whether one number says each thing about the window, and every output sees all inputs."""
    square = conv.kernel.shape[-1] == conv.kernel.shape[-2] and conv.stride[0] == conv.stride[1]
    return square and len({*conv.pad}) == 1 and conv.dilation == [1, 1] and conv.groups == 1


def products(conv: reference.Convolution, gradient: np.ndarray, nin: Nin, way: Way, folder: Path) -> list[Strayed]:
    """How far nin's three products of one convolution are from float64's of the same float32 numbers.

    The gradients are those of a model whose 1x1 convolution makes the map of a unit matrix: the gradient of its kernel
    is the map's. The layer after it multiplies by the gradient of the output, with either sign.
    """
    grads = gradient.astype(np.float32)
    maps, kernel = (x.detach().numpy().astype(np.float32) for x in (conv.input, conv.kernel))
    count, channels, height, width = maps.shape
    outputs, _, side, _ = kernel.shape
    bias = np.zeros(outputs, np.float32) if conv.bias is None else conv.bias.detach().numpy().astype(np.float32)
    window = {"channels": [outputs], "kernel": [side] * 2, "stride": conv.stride, "pad": conv.pad}
    forward = Labelled(
        in_a_row([Layer("input", {"c": channels, "h": height, "w": width}), Layer("conv", window)]),
        {"conv1.weight": kernel, "conv1.bias": bias},
        maps,
        np.zeros(count, np.int64),
    )
    wide = (torch.from_numpy(x).double() for x in (maps, kernel, bias))
    expected = F.conv2d(*wide, conv.stride, conv.pad[:2]).numpy()
    found = [forward.run(nin, way, folder, labelled=False).output]
    wanted = [expected]
    pixels = height * width
    layers = [
        Layer("input", {"c": pixels, "h": height, "w": width}),
        Layer("conv", {"channels": [channels], "kernel": [1, 1], "stride": [1, 1], "pad": [0] * 4, "bias": 0}),
        Layer("conv", window),
        Layer("fc", {"n": 2, "bias": 0}),
    ]
    unit = np.eye(pixels, dtype=np.float32).reshape(1, pixels, height, width)
    for image in range(count):
        row = grads[image].ravel() / np.linalg.norm(grads[image])
        row *= SMALL / max(1.0, float(np.linalg.norm(expected[image])))
        weights = {
            "conv1.weight": maps[image].reshape(channels, pixels, 1, 1),
            "conv2.weight": kernel,
            "conv2.bias": bias,
            "fc1.weight": np.stack([-row, row]),
        }
        net = Labelled(in_a_row(layers), weights, unit, np.zeros(1, np.int64))
        right = net.differentiate().gradients
        given = net.run(nin, way, folder, labelled=True).gradients
        for name in ("conv1.weight", "conv2.weight"):
            # Every image's gradients on one scale.
            scale = np.sqrt(np.mean(np.square(right[name])))
            found.append(given[name] / scale)
            wanted.append(right[name] / scale)
    parts = [slice(0, 1), slice(1, None, 2), slice(2, None, 2)]
    return [Strayed.of(np.stack(found[part]), np.stack(wanted[part])) for part in parts]


def normalised(batch: np.ndarray, constants: dict[str, list[float]]) -> np.ndarray:
    """Images as the model reads them."""
    mean, deviation = (np.array(constants[name], np.float32).reshape(1, -1, 1, 1) for name in ("mean", "deviation"))
    return (batch - mean) / deviation


def main() -> int:
    """The command."""
    args = arguments()
    nin = Nin(args.nin)
    with tempfile.TemporaryDirectory(prefix="nin-errors-") as name:
        folder = Path(name)
        verdict = nin.check(Variant(args.model))
        # Dropout does nothing where numbers are compared.
        layers = without(checked(verdict["layers"]), "dropout")
        if any(layer.kind == "batchnorm" for layer in layers):
            raise ValueError("a model with batchnorm has other probabilities than its gradients are of")
        weights, metadata = read_weights(args.weights)
        known = {name for facts in describe(layers) for name in facts.weights}
        weights = {name: x for name, x in weights.items() if name in known}
        batch, labels = images.first(args.data, args.images, test=True)
        net = Labelled(layers, weights, normalised(batch, json.loads(metadata["normalisation"])), labels)
        print(f"{verdict['model']}, {args.isa}")
        few = Labelled(layers, weights, net.images[: args.layers], labels[: args.layers])
        errors = by_layer(few, nin, args.isa, folder) + whole(net, nin, args.algos, args.isa, folder)
    above = sum(not error <= BOUND for error in errors)
    print(f"\n{len(errors)} errors, {above} of them above {BOUND:.0e}")
    return int(above > 0)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Measures nin's errors with trained weights on real images.")
    add = parser.add_argument
    add("model", type=Path, metavar="MODEL.nin")
    add("weights", type=Path, metavar="W.safetensors", help="as `nin train` leaves them")
    add("data", metavar="KIND:DIR", help="mnist:DIR or cifar10:DIR; its first test images are used")
    add("--images", type=int, default=32, metavar="N", help="of the whole net [default: 32]")
    add("--layers", type=int, default=4, metavar="N", help="images that are taken layer by layer [default: 4]")
    add("--isa", default="auto", help="instruction set [default: auto]")
    algos = ["direct", "auto", *(f"winograd{size}" for size in range(2, 7))]
    add("--algos", nargs="+", default=algos, metavar="A", help="of the whole net")
    add("--nin", type=Path, default=ROOT / "target/release/nin", metavar="PATH", help="the command to be measured")
    args = parser.parse_args()
    args.nin = args.nin.resolve()
    return args


if __name__ == "__main__":
    sys.exit(main())
