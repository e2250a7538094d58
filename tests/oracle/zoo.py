#!/usr/bin/env python3
"""Holds nin's model files of published nets against torchvision's nets, with torchvision's random weights.

So it is not the oracle's reading of a model that nin is held against, but another's code. The weights go over in the
order in which both list their layers; statistics and shifts are moved from their defaults, so that none can be left out
or taken for another. What comes between is compared at the ends of blocks: nin runs the model up to there. Exits with 1
if anything is off by more than `TOLERANCE` of the tensor's scale.
"""

from __future__ import annotations

import argparse
import functools
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torchvision
from safetensors.numpy import save_file
from torch import nn

import reference
from case import read_weights
from closeness import TOLERANCE, scale
from facts import Facts, Layer, checked, describe
from layout import resolved
from nin import IMAGES, MODEL, WEIGHTS, Nin, Variant, Way

ROOT = Path(__file__).resolve().parents[2]

NETS = {
    "resnet18": (
        torchvision.models.resnet18,
        # A block's second ReLU is behind the sum.
        {"relu1": "relu", "maxpool1": "maxpool"}
        | {f"relu{2 * block + 3}": f"layer{block // 2 + 1}.{block % 2}" for block in range(8)}
        | {"gap1": "avgpool", "fc1": "fc"},
    ),
    "squeezenet1.1": (
        torchvision.models.squeezenet1_1,
        {"relu1": "features.1", "maxpool1": "features.2", "maxpool2": "features.5", "maxpool3": "features.8"}
        | {f"concat{fire + 1}": f"features.{at}" for fire, at in enumerate((3, 4, 6, 7, 9, 10, 11, 12))}
        | {"conv26": "classifier.1", "gap1": "classifier"},
    ),
    "mobilenet-v2": (
        torchvision.models.mobilenet_v2,
        {"relu61": "features.0", "relu635": "features.18", "fc1": "classifier.1"}
        | {f"add{number + 1}": f"features.{at}" for number, at in enumerate((3, 5, 6, 8, 9, 10, 12, 13, 15, 16))},
    ),
    "mobilenet-v3-small": (
        torchvision.models.mobilenet_v3_small,
        {"hard_swish1": "features.0", "hard_swish18": "features.12", "hard_swish19": "classifier.1"}
        | {f"add{number + 1}": f"features.{at}" for number, at in enumerate((3, 5, 6, 8, 10, 11))}
        | {"mul1": "features.1.block.1", "gap10": "avgpool", "fc20": "classifier.3"},
    ),
    "googlenet": (
        functools.partial(torchvision.models.googlenet, aux_logits=False, init_weights=False),
        {f"maxpool{ours}": f"maxpool{theirs}" for ours, theirs in ((1, 1), (2, 2), (5, 3), (11, 4))}
        | {f"concat{number + 1}": f"inception{name}" for number, name in enumerate("3a 3b 4a 4b 4c 4d 4e 5a 5b".split())}
        | {"gap1": "avgpool", "fc1": "fc"},
    ),
}
"""torchvision's nets by the names of nin's files, and which of nin's layers leaves what which module leaves."""

PARTS = ("weight", "bias", "running_mean", "running_var")
WEIGHTED = (nn.Conv2d, nn.BatchNorm2d, nn.Linear)
ACTIVE = (nn.ReLU, nn.ReLU6, nn.Hardswish, nn.Hardsigmoid)
"""Work in place, and are the same module in several places."""


@dataclass(frozen=True)
class Net:
    """One net in both forms, with the same weights, and images."""

    layers: list[Layer]
    facts: list[Facts]
    weights: dict[str, np.ndarray]
    images: np.ndarray
    expected: dict[str, np.ndarray]
    """What nin's layers must leave, by their names; of the last, probabilities."""


def main() -> int:
    """The command."""
    args = arguments()
    torch.set_num_threads(1)
    nin = Nin(args.nin)
    wrong = []
    for name in args.nets:
        with tempfile.TemporaryDirectory(prefix="nin-zoo-") as folder:
            net = prepare(nin, name, args, Path(folder))
            wrong += compare(nin, name, net, args, Path(folder))
    print(f"off by more than {TOLERANCE}: {', '.join(wrong)}" if wrong else "all agree")
    return int(bool(wrong))


def prepare(nin: Nin, name: str, args: argparse.Namespace, folder: Path) -> Net:
    """A net with its weights, and what torchvision makes of the images in float64."""
    variant = Variant(args.folder / f"{name}.nin")
    layers = checked(nin.check(variant)["layers"])
    facts = describe(layers)
    torch.manual_seed(args.seed)
    build, pairs = NETS[name]
    theirs = moved(build(weights=None)).double().eval()
    weights = mapped(theirs, facts)
    fresh = folder / "fresh.safetensors"
    nin.init(variant, args.seed, fresh)
    found, _ = read_weights(fresh)
    if {key: x.shape for key, x in found.items()} != {key: x.shape for key, x in weights.items()}:
        raise ValueError(f"{name}: `nin init` writes other tensors than torchvision has")
    images = torch.randn(args.images, *facts[0].output)
    left: dict[str, torch.Tensor] = {}
    modules = dict(theirs.named_modules())

    def keep(ours: str, output: torch.Tensor) -> None:
        # The first call of a module that is used again.
        left.setdefault(ours, output.detach().flatten(1))

    for ours, module in pairs.items():
        modules[module].register_forward_hook(lambda _, __, output, ours=ours: keep(ours, output))
    with torch.no_grad():
        scores = theirs(images.double())
    left[facts[-1].name] = scores.softmax(1)
    shapes = {layer.name: (args.images, *layer.output) for layer in facts}
    expected = {ours: x.view(shapes[ours]).numpy() for ours, x in left.items()}
    return Net(layers, facts, weights, images.numpy(), expected)


def moved(net: nn.Module) -> nn.Module:
    """A fresh net with no bias at zero and no statistic at its default."""
    for module in net.modules():
        if isinstance(module, ACTIVE):
            module.inplace = False
        if isinstance(module, WEIGHTED) and module.bias is not None:
            nn.init.normal_(module.bias, 0, 0.1)
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.running_mean, 0, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return net


def mapped(net: nn.Module, facts: list[Facts]) -> dict[str, np.ndarray]:
    """A net's weights under nin's names, in float32: both have their layers in one order."""
    theirs = [module for module in net.modules() if isinstance(module, WEIGHTED)]
    weights = {}
    for layer, module in zip([layer for layer in facts if layer.weights], theirs, strict=True):
        tensors = {f"{layer.name}.{part}": getattr(module, part, None) for part in PARTS}
        for name, x in tensors.items():
            if x is not None:
                # What is fully connected here is pointwise there, on a map of one pixel.
                x = x.reshape(layer.weights[name])
                weights[name] = x.detach().numpy().astype(np.float32)
    return weights


def compare(nin: Nin, name: str, net: Net, args: argparse.Namespace, folder: Path) -> list[str]:
    """Prints how far the oracle's own model and nin are off torchvision's; what is off by too much."""
    names = [layer.name for layer in net.facts]
    tensors = {key: torch.from_numpy(x).double() for key, x in net.weights.items()}
    ways = [Way(args.isa, algo) for algo in args.algos]
    titles = ["oracle", *(f"nin {way}" for way in ways)]
    print(f"\n{name}, {args.images} images, seed {args.seed}, off torchvision {torchvision.__version__} by\n")
    print(f"| layer | {' | '.join(titles)} |\n|{'---|' * (1 + len(titles))}")
    wrong = []
    with torch.no_grad():
        own = reference.forward(net.layers, names, tensors, torch.from_numpy(net.images).double()).results
    np.save(folder / IMAGES, net.images)
    for ours, expected in sorted(net.expected.items(), key=lambda pair: names.index(pair[0])):
        end = names.index(ours) + 1
        layers = net.layers[:end]
        found = [own[end - 1].numpy()]
        variant = Variant(folder / MODEL)
        variant.file.write_text(resolved(layers))
        known = {key for layer in net.facts[:end] for key in layer.weights}
        save_file({key: x for key, x in net.weights.items() if key in known}, folder / WEIGHTS)
        found += [nin.run(variant, folder, way, args.threads, labelled=False).output for way in ways]
        off = [float(np.abs(np.asarray(x, np.float64) - expected).max()) / scale(expected) for x in found]
        print(f"| `{ours}` | {' | '.join(f'{error:.1e}' for error in off)} |", flush=True)
        # A NaN is within nothing.
        above = [title for title, error in zip(titles, off, strict=True) if not error <= TOLERANCE]
        wrong += [f"{title} at {ours} of {name}" for title in above]
    return wrong


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Holds nin's published nets against torchvision's.")
    add = parser.add_argument
    add("nets", nargs="*", default=list(NETS), metavar="NET", help=f"of {', '.join(NETS)} [default: all]")
    add("--folder", type=Path, default=ROOT / "models", metavar="DIR", help="of the model files [default: models/]")
    add("--images", type=int, default=2, metavar="N", help="[default: 2]")
    add("--seed", type=int, default=0, metavar="S", help="of weights and images [default: 0]")
    add("--threads", type=int, default=2, metavar="N", help="of nin [default: 2]")
    add("--isa", default="auto", help="instruction set [default: auto]")
    add("--algos", nargs="+", default=["direct", "auto"], help="what is given to --algo [default: direct auto]")
    add("--nin", type=Path, default=ROOT / "target/release/nin", metavar="PATH", help="the command to be tested")
    args = parser.parse_args()
    if unknown := [net for net in args.nets if net not in NETS]:
        parser.error(f"no net {', '.join(unknown)}")
    args.nin = args.nin.resolve()
    return args


if __name__ == "__main__":
    sys.exit(main())
