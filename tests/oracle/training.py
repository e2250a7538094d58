"""A few steps of `nin train` against PyTorch's own SGD in float64: momentum, decay, clipping, learning rates, and what
`batchnorm` keeps.

A step takes all images, so that their order does not matter.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.numpy import load_file

import reference
from case import SHAKES
from closeness import Disagreement, Expected, Numbers, distances
from facts import JOINS, Facts, Layer
from nin import WEIGHTS, Nin, Variant, Way

IMAGES = 24
STEPS = 5
MOMENTUM = 0.8
DECAY = 0.02
LAST_RATE = 0.25
"""Share of the learning rate of a last convolution under a ReLU."""
MEAN, DEVIATION = 0.25, 1.5
"""What images are normalised with."""

RECIPE = """\
batch = {images}
epochs = {steps}
lr = 0.03
momentum = {momentum}
weight_decay = {decay}
clip = {clip}
last_layer.lr = {last_rate}
normalisation.mean = {mean}
normalisation.deviation = {deviation}
"""


@dataclass(frozen=True)
class Settings:
    """What of a recipe PyTorch's SGD must be told, beside the rate of each step."""

    momentum: float
    decay: float
    """Of kernels only."""
    clip: float
    last_rate: float


@dataclass(frozen=True)
class Start:
    """Weights as they are in a file, and the batch that every step takes, as the model reads it."""

    weights: Numbers
    images: np.ndarray
    labels: np.ndarray


def trainable(layers: list[Layer], facts: list[Facts]) -> bool:
    """Whether the model is a classifier whose training steps leave nothing to chance."""
    chance = any(layer.kind == "dropout" and layer.args["p"] > 0 for layer in layers)
    # The order of the images says which are in a group together.
    ghosts = [layer.args["ghost"] for layer in layers if layer.kind == "batchnorm"]
    chance |= any(len(reference.groups(IMAGES, ghost)) > 1 for ghost in ghosts)
    return len(facts[-1].output) == 1 and not chance and any(layer.weights for layer in facts)


def write_data(facts: list[Facts], seed: int, folder: Path) -> float:
    """Writes a dataset and a recipe, and returns the longest gradient the recipe allows."""
    rng = np.random.default_rng([seed, IMAGES])
    images = rng.normal(0, 1, (IMAGES, *facts[0].output)).astype(np.float32)
    classes = facts[-1].output[0]
    labels = rng.integers(0, classes, IMAGES)
    # The dataset has as many classes as its labels show.
    labels[0] = classes - 1
    for part in ("train", "test"):
        np.save(folder / f"{part}_images.npy", images)
        np.save(folder / f"{part}_labels.npy", labels.astype(np.int64))
    clip = float(rng.choice([0.2, 1.0, 100.0]))
    channels = facts[0].output[0]
    recipe = RECIPE.format(
        images=IMAGES,
        steps=STEPS,
        momentum=MOMENTUM,
        decay=DECAY,
        clip=clip,
        last_rate=LAST_RATE,
        mean=[MEAN] * channels,
        deviation=[DEVIATION] * channels,
    )
    (folder / "recipe.toml").write_text(recipe)
    return clip


def compare(
    nin: Nin, variant: Variant, layers: list[Layer], facts: list[Facts], folder: Path, clip: float, way: Way
) -> tuple[Expected, dict[str, float]]:
    """What losses, weights and running statistics must be after some steps from the folder's weights on the data in
    it, and how far each is off; raises `Disagreement` if one is too far.
    """
    run = folder / "run"
    shutil.rmtree(run, ignore_errors=True)
    nin.train(variant, folder, run, way)
    losses, rates = metrics(run)
    kept = load_file(run / "last.safetensors")
    found = {name: x for name, x in kept.items() if not name.startswith("momentum/")}
    found["losses"] = np.array(losses)
    images = np.load(folder / "train_images.npy").astype(np.float64)
    start = Start(load_file(folder / WEIGHTS), (images - MEAN) / DEVIATION, np.load(folder / "train_labels.npy"))
    settings = Settings(MOMENTUM, DECAY, clip, LAST_RATE)

    def trained(dtype: torch.dtype, shake: torch.Generator | None = None) -> Numbers:
        return descend(layers, [layer.name for layer in facts], start, settings, rates, dtype, shake)

    shakes = [torch.Generator().manual_seed(seed) for seed in range(SHAKES)]
    rounded = [trained(torch.float32), *(trained(torch.float64, shake) for shake in shakes)]
    expected = Expected.of(trained(torch.float64), rounded)
    off = distances(found, expected.numbers)
    if wrong := expected.wrong(off):
        raise Disagreement("\n".join(["after training", *wrong]))
    return expected, off


def metrics(run: Path) -> tuple[list[float], list[float]]:
    """The loss and the learning rate of every step of a run."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    steps = [line for line in lines if "step" in line]
    return [step["loss"] for step in steps], [step["lr"] for step in steps]


def descend(
    layers: list[Layer],
    names: list[str],
    start: Start,
    settings: Settings,
    rates: list[float],
    dtype: torch.dtype,
    shake: torch.Generator | None = None,
) -> Numbers:
    """The weights after a step a learning rate, and the losses before each."""
    weights = {name: torch.from_numpy(x).to(dtype, copy=True) for name, x in start.weights.items()}
    images, labels = torch.from_numpy(start.images).to(dtype), torch.from_numpy(start.labels)
    leaves = reference.trained(weights)
    for x in leaves.values():
        x.requires_grad_()
    last = last_under_relu(layers, names)
    groups = [
        {
            "params": [x],
            "weight_decay": settings.decay if x.dim() > 1 else 0.0,
            "share": settings.last_rate if name.rsplit(".", 1)[0] == last else 1.0,
        }
        for name, x in leaves.items()
    ]
    optimizer = torch.optim.SGD(groups, lr=1.0, momentum=settings.momentum)
    losses = []
    for rate in rates:
        run = reference.forward(layers, names, weights, images, training=True, shake=shake)
        loss = F.cross_entropy(run.scores, labels)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(list(leaves.values()), settings.clip)
        for group in optimizer.param_groups:
            group["lr"] = rate * group["share"]
        optimizer.step()
        reference.update_statistics(layers, names, weights, run)
    numbers = {name: x.detach().double().numpy() for name, x in weights.items()}
    return numbers | {"losses": np.array(losses)}


def last_under_relu(layers: list[Layer], names: list[str]) -> str | None:
    """The name before `.weight` of the model's last convolution, if a ReLU stands on it and no join comes after it; an
    `fc` is a convolution.
    """
    weighted = [index for index, layer in enumerate(layers) if layer.kind in ("conv", "depthwise", "mlpconv", "fc")]
    if not weighted or any(layer.kind in JOINS for layer in layers[weighted[-1] :]):
        return None
    index = weighted[-1]
    if layers[index].kind == "mlpconv":
        last = len(layers[index].args["channels"]) - 1
        return f"{names[index]}.{f'cccp{last}' if last else 'conv'}"
    followed = index + 1 < len(layers) and layers[index + 1].kind == "relu"
    return names[index] if followed else None
