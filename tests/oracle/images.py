"""Real images as their authors publish them: the first of a data set, as fractions of 255."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np

FILES = {
    "mnist": ("train-images-idx3-ubyte", "t10k-images-idx3-ubyte"),
    "cifar10": ("data_batch_1.bin", "test_batch.bin"),
}
"""Of training and of test images."""


def first(data: str, count: int, *, test: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Images `[N, C, H, W]` in float32 and labels `[N]` in int64 of `KIND:DIR`, as `nin train --data` takes it."""
    kind, _, folder = data.partition(":")
    if kind not in FILES or not folder:
        raise ValueError(f"{data}: one of {', '.join(f'{kind}:DIR' for kind in FILES)}")
    file = Path(folder) / FILES[kind][test]
    if kind == "mnist":
        pixels = _bytes(file, 16 + count * 784)[16:].reshape(-1, 1, 28, 28)
        labels = _bytes(file.with_name(file.name.replace("images-idx3", "labels-idx1")), 8 + count)[8:]
    else:
        rows = _bytes(file, count * 3073).reshape(-1, 3073)
        pixels, labels = rows[:, 1:].reshape(-1, 3, 32, 32), rows[:, 0]
    return (pixels / np.float32(255)).astype(np.float32), labels.astype(np.int64)


def _bytes(file: Path, count: int) -> np.ndarray:
    packed = file.with_name(file.name + ".gz")
    with open(file, "rb") if file.exists() else gzip.open(packed) as opened:
        found = opened.read(count)
    if len(found) < count:
        raise ValueError(f"{file} holds too few images")
    return np.frombuffer(found, np.uint8)
