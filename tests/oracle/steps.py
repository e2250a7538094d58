#!/usr/bin/env python3
"""Holds the loss after each of the first steps of `nin train` against PyTorch's, on real images.

Both start from the weights of `nin init` and take the same batch again and again, by the recipe that is meant for the
data: forward, backward and update, end to end. Dropout is removed from the model, and the schedule's peak is lowered:
at the recipe's own, in so few steps, PyTorch's float32 leaves its float64 behind. Prints a table a model, and exits
with 1 if a loss is off by more than `TOLERANCE`.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import tomllib
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file

import images
from facts import checked, describe
from nin import MODEL, WEIGHTS, Nin, Variant, Way
from training import Settings, Start, descend, metrics

ROOT = Path(__file__).resolve().parents[2]
TOLERANCE = 1e-4
"""Of the loss."""
BATCH = 128
MODELS = {
    "mnist": {"nin-mnist": "fast-mnist"},
    "cifar10": {"nin-cifar10": "fast-cifar10", "resnet20-cifar10": None},
}
"""The networks of each data set, and their recipes; `None` is what `nin train` does without one."""
DEFAULTS = {"momentum": 0.9, "weight_decay": 1e-4, "clip": 5.0, "last_layer": {"lr": 0.1}}
"""What docs/training.md says of a setting that a recipe does not name."""


def main() -> int:
    """The command."""
    args = arguments()
    nin = Nin(args.nin)
    wrong = []
    for data in args.data:
        with tempfile.TemporaryDirectory(prefix="nin-steps-") as folder:
            for model in args.models or MODELS[data.partition(":")[0]]:
                wrong += compare(nin, data, model, args, Path(folder))
    print(f"off by more than {TOLERANCE}: {', '.join(wrong)}" if wrong else "all agree")
    return int(bool(wrong))


def compare(nin: Nin, data: str, name: str, args: argparse.Namespace, folder: Path) -> list[str]:
    """Prints a model's table; what is off by too much."""
    kind = data.partition(":")[0]
    model = ROOT / "models" / f"{name}.nin"
    variant = Variant(folder / MODEL)
    variant.file.write_text(re.sub(r"\bdropout\([^)]*\)", "", model.read_text()))
    layers = checked(nin.check(variant)["layers"])
    named = MODELS[kind][name]
    recipe = tomllib.loads((ROOT / "recipes" / f"{named}.toml").read_text()) if named else {}
    batch, labels = images.first(data, BATCH)
    mean, deviation = batch.mean((0, 2, 3), np.float64), batch.std((0, 2, 3), np.float64)
    for part in ("train", "test"):
        np.save(folder / f"{part}_images.npy", batch)
        np.save(folder / f"{part}_labels.npy", labels)
    write_recipe(recipe | {"lr": args.lr}, mean, deviation, folder / "recipe.toml")
    nin.init(variant, args.seed, folder / WEIGHTS)
    columns = {}
    for algo in args.algos:
        run = folder / f"run-{name}-{algo}"
        # The loss after a step is that before the next.
        options = ["--epochs", str(args.steps + 1), "--seed", str(args.seed)]
        nin.train(variant, folder, run, Way(args.isa, algo), *options)
        columns[f"nin {algo}"], rates = metrics(run)
    shape = (1, -1, 1, 1)
    start = Start(load_file(folder / WEIGHTS), (batch - mean.reshape(shape)) / deviation.reshape(shape), labels)
    told = DEFAULTS | recipe
    settings = Settings(told["momentum"], told["weight_decay"], told["clip"], told["last_layer"]["lr"])
    names = [layer.name for layer in describe(layers)]
    wide, narrow = (
        descend(layers, names, start, settings, rates, dtype)["losses"] for dtype in (torch.float64, torch.float32)
    )
    print(f"{model.stem}, the first {BATCH} images of {kind}, seed {args.seed}, {args.isa}\n")
    largest = table({"PyTorch float32": narrow.tolist()} | columns, wide, rates)
    # A NaN is within nothing.
    return [f"{column} of {name}" for column in columns if not largest[column] <= TOLERANCE]


def write_recipe(recipe: dict, mean: np.ndarray, deviation: np.ndarray, file: Path) -> None:
    """The recipe without augmentation, for a data set of one batch."""
    given = {key: x for key, x in recipe.items() if key not in ("augment", "epochs", "batch")}
    given |= {"batch": BATCH, "normalisation": {"mean": mean.tolist(), "deviation": deviation.tolist()}}
    lines = []
    for key, value in given.items():
        parts = value.items() if isinstance(value, dict) else [(None, value)]
        lines += [f"{key}.{part} = {x!r}" if part else f"{key} = {x!r}" for part, x in parts]
    file.write_text("\n".join(lines) + "\n")


def table(columns: dict[str, list[float]], wide: np.ndarray, rates: list[float]) -> dict[str, float]:
    """Prints the losses of float64 and how far others are off them; the largest error of each."""
    print(f"| step | rate | PyTorch float64 | {' | '.join(f'{name}, off by' for name in columns)} |")
    print(f"|{'---|' * (3 + len(columns))}")
    off = {name: np.abs(np.array(losses) / wide - 1) for name, losses in columns.items()}
    for step, loss in enumerate(wide):
        rate = f"{rates[step - 1]:.5f}" if step else ""
        print(f"| {step} | {rate} | {loss:.6f} | {' | '.join(f'{errors[step]:.1e}' for errors in off.values())} |")
    largest = {name: float(errors.max()) for name, errors in off.items()}
    print("\nlargest: " + ", ".join(f"{name} {error:.1e}" for name, error in largest.items()) + "\n", flush=True)
    return largest


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Holds the losses of nin's first steps against PyTorch's.")
    add = parser.add_argument
    add("data", nargs="+", metavar="KIND:DIR", help="mnist:DIR or cifar10:DIR")
    models = sorted({name for models in MODELS.values() for name in models})
    add("--models", nargs="+", choices=models, metavar="NAME", help="[default: all of the data set]")
    add("--steps", type=int, default=20, metavar="N", help="[default: 20]")
    add("--seed", type=int, default=1, metavar="S", help="of the weights [default: 1]")
    add("--lr", type=float, default=0.02, metavar="X", help="the schedule's peak [default: 0.02]")
    add("--isa", default="auto", help="instruction set [default: auto]")
    add("--algos", nargs="+", default=["direct", "auto"], help="what is given to --algo [default: direct auto]")
    add("--nin", type=Path, default=ROOT / "target/release/nin", metavar="PATH", help="the command to be tested")
    args = parser.parse_args()
    args.nin = args.nin.resolve()
    return args


if __name__ == "__main__":
    sys.exit(main())
