"""Small models with what PyTorch makes of them, for a test of nin that runs where there is no PyTorch."""

from __future__ import annotations

import json
import math
from pathlib import Path
from textwrap import dedent

import numpy as np
import torch
from safetensors.numpy import save_file

from case import Case, Drawn
from facts import checked, describe
from nin import MODEL, Nin, Variant
from training import Settings, Start, descend, trainable

MODELS = {
    # Odd sides, padding wider than the kernel, windows clipped or dropped on each side.
    "windows": """
        model Windows(width = 6) <
            input(3, 11, 8)
            conv(width, kernel = 3, stride = 2, pad = 4)
            leaky_relu(0.1)
            maxpool(3, stride = 2, pad = 1, round = ceil)
            conv(2 * width, kernel = 4, pad = 2, bias = 0)
            avgpool(2, stride = 2, pad = 1, round = ceil)
            relu
            mlpconv(9, 5, kernel = 1)
            gap
            softmax
        >
    """,
    # Blocks in blocks and a repetition; a vector as it is computed on.
    "blocks": """
        block inner(c, kernel = 3) < conv(c, kernel = kernel) relu >
        block outer(c) < repeat(2) < inner(c) inner(c + 3, kernel = 5) > avgpool(3, stride = 2) >
        model Blocks <
            input(2, 9, 7)
            outer(4)
            dropout(0.5)
            fc(12)
            leaky_relu
            fc(7, bias = 0)
            softmax
        >
    """,
    # The layer of Network In Network, channels that fill no vector, scores without softmax.
    "mlpconvs": """
        model Mlpconvs(width = 17) <
            input(1, 13, 13)
            mlpconv(width, 9, kernel = 5)
            maxpool(3, stride = 2, round = ceil)
            mlpconv(width, width, 10, kernel = 3, stride = 2)
            gap
        >
    """,
    # The batch's statistics in training and the running ones in the output, over maps and over vectors.
    "batchnorms": """
        model Batchnorms <
            input(2, 8, 6)
            conv(7, bias = 0)
            batchnorm
            relu
            maxpool(2)
            conv(9, stride = 2, bias = 0)
            batchnorm(eps = 0.001)
            leaky_relu(0.2)
            gap
            fc(6, bias = 0)
            batchnorm(eps = 0.1, momentum = 0.3)
            softmax
        >
    """,
    # Every join, of maps, of vectors and of both, one in another; values with several readers; strides that match.
    "branches": """
        block down(c) <
            add
                < conv(c, stride = 2, bias = 0) batchnorm relu conv(c) >
                < avgpool(2, round = ceil) conv(c, kernel = 1) >
            relu
        >
        model Branches <
            input(2, 9, 7)
            conv(5)
            concat < > < add < > < conv(5, kernel = 1) > < > > < mul < > < gap fc(5) > >
            down(6)
            mul < > < maxpool(3, stride = 1, pad = 1) >
            batchnorm
            gap
            concat < fc(3) leaky_relu > < >
            fc(4)
            softmax
        >
    """,
}
BATCH = 9
SEED = 3
RATES = [0.05 * min(1, (step + 1) / 5) for step in range(21)]
"""Of steps whose losses are stored."""
STEADY = 1e-5
"""What float32 may do to a stored loss."""
SETTINGS = Settings(momentum=0.9, decay=0.01, clip=math.inf, last_rate=1.0)


def write_golden(nin: Nin, folder: Path, work: Path) -> None:
    """Writes a safetensors file a model: `images`, `output`, `weights/...` and `gradients/...` as float32, and in the
    metadata a `case` in JSON: `text`, `labels`, `loss`, and if nothing is left to chance `steps`: losses and rates.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, indented in MODELS.items():
        text = dedent(indented).lstrip()
        variant = Variant(work / MODEL)
        variant.file.write_text(text)
        layers = checked(nin.check(variant)["layers"])
        case = Case(variant, layers, describe(layers), BATCH, SEED, draws=100)
        fresh = work / "fresh.safetensors"
        nin.init(variant, case.seed, fresh)
        drawn = case.draw(fresh)
        if any(drawn.rank()):
            raise RuntimeError(f"{name}: no draw says enough")
        numbers = {"images": drawn.images} | drawn.output.numbers
        numbers |= {f"weights/{key}": x for key, x in drawn.weights.items()}
        gradients = dict(drawn.step.numbers)
        loss = float(gradients.pop("loss"))
        numbers |= {f"gradients/{key}": x for key, x in gradients.items()}
        words = {"text": text, "labels": drawn.labels.tolist(), "loss": loss}
        if trainable(layers, case.facts):
            words["steps"] = steps(case, drawn)
        tensors = {key: np.ascontiguousarray(x, np.float32) for key, x in numbers.items()}
        save_file(tensors, folder / f"{name}.safetensors", {"case": json.dumps(words)})
        print(f"{folder / name}.safetensors: {sum(x.size for x in tensors.values()):,} numbers")


def steps(case: Case, drawn: Drawn) -> list[tuple[float, float]]:
    """The loss before each of some steps on a case's batch, and its rate; raises `RuntimeError` if rounding shows."""
    start = Start(drawn.weights, drawn.images, drawn.labels)
    wide, narrow = (
        descend(case.layers, case.names, start, SETTINGS, RATES, dtype)["losses"]
        for dtype in (torch.float64, torch.float32)
    )
    if (off := float(np.abs(narrow / wide - 1).max())) > STEADY:
        raise RuntimeError(f"rounding moves a loss by {off:.0e} of it")
    return list(zip(wide.tolist(), RATES, strict=True))
