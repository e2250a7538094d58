"""How numbers are compared: by the largest difference in a tensor, of the tensor's scale, its largest magnitude."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

Numbers = dict[str, np.ndarray]

TOLERANCE = 1e-4
"""Of a tensor's scale."""

NOISE = 10
"""How many times its noise a tensor may be off, where that is more."""

UNDERFLOW = 1e-30
"""Nothing below this is compared: on its way it may have been smaller than float32's normal numbers."""


class Disagreement(Exception):
    """nin and PyTorch differ; the message says where."""


@dataclass(frozen=True)
class Expected:
    """What float64 says, and how far rounding alone moves each tensor."""

    numbers: Numbers
    noise: dict[str, float]

    @staticmethod
    def of(numbers: Numbers, rounded: list[Numbers]) -> Expected:
        """What a run says, and what it says where it rounds more."""
        off = [distances(other, numbers) for other in rounded]
        return Expected(numbers, {name: max(one[name] for one in off) for name in numbers})

    def unsteady(self, name: str) -> bool:
        """Whether the tensor is what is left of a sum that cancels, and float32 does not settle it."""
        return self.allowed(name) > self.tolerated(name)

    def allowed(self, name: str) -> float:
        """How far this tensor may be off."""
        return max(self.tolerated(name), NOISE * self.noise[name])

    def tolerated(self, name: str) -> float:
        """How far this tensor may be off if rounding alone does not move it."""
        return max(TOLERANCE * scale(self.numbers[name]), UNDERFLOW)

    def wrong(self, off: dict[str, float]) -> list[str]:
        """What is off by more than it may be."""
        return [
            f"{name} is off by {off[name]:.1e}; allowed are {self.allowed(name):.1e}, its scale is {scale(x):.1e}"
            for name, x in self.numbers.items()
            # A NaN is within nothing.
            if not off[name] <= self.allowed(name)
        ]


@dataclass
class Report:
    """The worst error of each kind, of a tensor's scale, and what was held out."""

    errors: dict[str, float] = field(default_factory=dict)
    tensors: int = 0
    """Tensors compared."""
    close: int = 0
    """Close switches."""
    flipped: int = 0
    """Those that nin took another way than float64."""
    unsteady: Counter = field(default_factory=Counter)
    """Tensors that were held to their noise and not to the tolerance, by the last part of their name."""

    def note(self, kind: str, error: float) -> None:
        """Keeps the worst."""
        self.errors[kind] = max(self.errors.get(kind, 0.0), error)

    def agree(self, expected: Expected, off: dict[str, float], kind: str) -> None:
        """Takes in tensors of one kind that are right."""
        self.tensors += len(off)
        for name, distance in off.items():
            if distance > expected.tolerated(name):
                self.unsteady[name.rsplit(".", 1)[-1]] += 1
            elif distance > UNDERFLOW:
                self.note("loss" if name == "loss" else kind, distance / scale(expected.numbers[name]))

    def add(self, other: Report) -> None:
        """Takes in another report."""
        for kind, error in other.errors.items():
            self.note(kind, error)
        self.tensors += other.tensors
        self.close += other.close
        self.flipped += other.flipped
        self.unsteady += other.unsteady


def distances(found: Numbers, expected: Numbers) -> dict[str, float]:
    """The largest difference in each tensor."""
    if found.keys() != expected.keys():
        raise Disagreement(f"there are {sorted(found)}\ninstead of {sorted(expected)}")
    return {name: _distance(name, found[name], x) for name, x in expected.items()}


def _distance(name: str, found: np.ndarray, expected: np.ndarray) -> float:
    if np.shape(found) != np.shape(expected):
        raise Disagreement(f"{name} has shape {np.shape(found)} instead of {np.shape(expected)}")
    return float(np.abs(np.asarray(found, np.float64) - expected).max(initial=0))


def scale(x: np.ndarray) -> float:
    """The largest magnitude."""
    return float(np.abs(x).max(initial=0))
