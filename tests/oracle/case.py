"""One model on one batch: data are drawn, PyTorch says in float64 what is right, and nin is held against it."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.numpy import save_file

import reference
from closeness import Disagreement, Expected, Numbers, Report, distances, scale
from decisions import Net, decided
from facts import Facts, Layer
from nin import IMAGES, LABELS, WEIGHTS, Nin, Result, Variant, Way

DRAWS = 8
"""How often data are drawn in search of steady numbers and no close switch."""

SHAKES = 3
"""How often a run is shaken to see what is steady."""


class Inexact(Exception):
    """A model that rounds whole numbers before its last switch."""


@dataclass
class Drawn:
    """A batch, weights, and what float64 makes of them."""

    weights: Numbers
    images: np.ndarray
    labels: np.ndarray
    output: Expected
    step: Expected | None = None
    """Loss and gradients, of a model that ends in a vector."""
    flips: list[reference.Flip] = field(default_factory=list)

    def rank(self) -> tuple[int, int, int]:
        """Low where a comparison says much: close switches, weights without a gradient, unsteady tensors."""
        parts = [self.output, *([self.step] if self.step else [])]
        unsteady = sum(len(part.unsteady()) for part in parts)
        dead = sum(scale(x) == 0 for x in self.step.numbers.values()) if self.step else 0
        return len(self.flips), dead, unsteady

    def lost(self) -> bool:
        """Whether most of the gradients are rounding and nothing else, as where a `batchnorm` enlarges the differences
        of numbers that should be equal."""
        return self.step is not None and 2 * len(self.step.lost()) > len(self.step.numbers)


@dataclass(frozen=True)
class Case:
    """A model, and the sizes and seed of its data."""

    variant: Variant
    layers: list[Layer]
    facts: list[Facts]
    batch: int
    seed: int
    draws: int = DRAWS
    grid: bool = False
    """Small whole numbers, with which float32 does not round up to the last switch: exact zeros and ties abound, and
    every decision must be the same."""
    roundings: int = reference.ROUNDINGS
    """How many times what rounding moves it a switch must be away not to be close."""

    @property
    def names(self) -> list[str]:
        """The layers' names."""
        return [facts.name for facts in self.facts]

    def draw(self, fresh: Path) -> Drawn:
        """The best of several draws; `fresh` holds the weights to start from."""
        best = None
        for attempt in range(self.draws):
            drawn = self._draw(fresh, np.random.default_rng([self.seed, self.batch, attempt]))
            if drawn is not None and (best is None or drawn.rank() < best.rank()):
                best = drawn
            if best is not None and not any(best.rank()):
                break
        if best is None:
            raise Inexact
        return best

    def _draw(self, fresh: Path, rng: np.random.Generator) -> Drawn | None:
        """`None` if whole numbers were wanted and are rounded."""
        weights, _ = read_weights(fresh)
        expected = {name: shape for facts in self.facts for name, shape in facts.weights.items()}
        found = {name: x.shape for name, x in weights.items()}
        if found != expected:
            raise Disagreement(f"`nin init` wrote {found}\ninstead of {expected}")
        move = whole if self.grid else moved
        weights = {name: move(name, x, rng).astype(np.float32) for name, x in weights.items()}
        shape, classes = (self.batch, *self.facts[0].output), self.facts[-1].output
        images = whole("images", np.zeros(shape), rng) if self.grid else rng.normal(0, 1, shape)
        images = images.astype(np.float32)
        labels = rng.integers(0, classes[0], self.batch)

        def output(dtype: torch.dtype, shake: torch.Generator | None = None) -> Numbers:
            tensors, batch = _tensors(weights, dtype), _tensor(images, dtype)
            return {"output": reference.forward(self.layers, self.names, tensors, batch, shake=shake).output.numpy()}

        rounded = [output(torch.float32), *(output(torch.float64, shake) for shake in self._shakes())]
        expected = Expected.of(output(torch.float64), rounded)
        drawn = Drawn(weights, images, labels, expected)
        if len(classes) == 1:
            wide = self._differentiate(drawn, torch.float64)
            decisions = [switch.decision for switch in wide.switches]
            narrow = self._differentiate(drawn, torch.float32, decisions)
            others = [self._reordered(drawn, decisions, rng) for _ in self._shakes()]
            pairs = zip(wide.switches, narrow.switches, strict=True)
            if self.grid and not all(torch.equal(a.operand, b.operand.double()) for a, b in pairs):
                return None
            shaken = [self._differentiate(drawn, torch.float64, decisions, shake=shake) for shake in self._shakes()]
            drawn.step = Expected.of(_numbers(wide), [_numbers(step) for step in (narrow, *others, *shaken)])
            drawn.flips = reference.close_switches(wide.switches, narrow.switches, self.roundings)
        return drawn

    def _shakes(self) -> list[torch.Generator]:
        """A large model is shaken once: its tensors hold numbers enough to show the worst."""
        return [torch.Generator().manual_seed(seed) for seed in range(SHAKES if self.draws > 1 else 1)]

    def _differentiate(
        self,
        drawn: Drawn,
        dtype: torch.dtype,
        decisions: list[torch.Tensor] | None = None,
        *,
        flips: Sequence[reference.Flip] = (),
        shake: torch.Generator | None = None,
    ) -> reference.Step:
        weights, images = _tensors(drawn.weights, dtype), _tensor(drawn.images, dtype)
        labels = torch.from_numpy(drawn.labels)
        return reference.differentiate(self.layers, self.names, weights, images, labels, decisions, flips, shake)

    def _reordered(self, drawn: Drawn, decisions: list[torch.Tensor], rng: np.random.Generator) -> reference.Step:
        """The same step in float32 with its images in another order, so that it rounds in another."""
        order = rng.permutation(self.batch)
        other = replace(drawn, images=drawn.images[order], labels=drawn.labels[order])
        return self._differentiate(other, torch.float32, [decision[order] for decision in decisions])

    def compare(self, nin: Nin, folder: Path, ways: list[Way], threads: list[int]) -> dict[Way, Report]:
        """Holds `nin run` against PyTorch, in each way and with each number of threads; raises `Disagreement`, and
        `Inexact` if the case is none."""
        fresh = folder / "fresh.safetensors"
        nin.init(self.variant, self.seed, fresh)
        drawn = self.draw(fresh)
        _, metadata = read_weights(fresh)
        save_file(drawn.weights, folder / WEIGHTS, metadata)
        np.save(folder / IMAGES, drawn.images)
        np.save(folder / LABELS, drawn.labels.astype(np.int64))
        return {way: self._compare(nin, folder, way, threads, drawn) for way in ways}

    def _compare(self, nin: Nin, folder: Path, way: Way, threads: list[int], drawn: Drawn) -> Report:
        report = Report(close=len(drawn.flips))
        for labelled in (False, True) if drawn.step else (False,):
            first = None
            for count in threads:
                try:
                    result = nin.run(self.variant, folder, way, count, labelled=labelled)
                    if first is None:
                        self._judge(nin, way, result, drawn, report)
                        first = result
                    elif not result.same(first):
                        raise Disagreement(f"other bits than with {threads[0]} threads")
                except Disagreement as error:
                    words = nin.run_words(self.variant, folder, way, count, labelled=labelled)
                    raise Disagreement(f"$ {nin.path} {' '.join(words)}\n{error}") from None
        return report

    def _judge(self, nin: Nin, way: Way, result: Result, drawn: Drawn, report: Report) -> None:
        """Adds a result to a report, if it is right."""
        off = distances({"output": result.output}, drawn.output.numbers)
        if wrong := drawn.output.wrong(off):
            raise Disagreement("\n".join(wrong))
        report.agree(drawn.output, off, "output")
        if result.gradients is None:
            return
        found = {"loss": np.float64(result.loss)} | result.gradients
        expected = drawn.step
        if drawn.lost():
            report.lost += 1
            found, expected = {"loss": found["loss"]}, expected.only("loss")
        off, held = distances(found, expected.numbers), []
        if drawn.flips and not drawn.lost() and expected.wrong(off):
            taken, others = self._taken(nin, way, drawn)
            expected = Expected(_numbers(self._differentiate(drawn, torch.float64, flips=taken)), expected.noise)
            off = distances(found, expected.numbers)
            report.flipped += len(taken)
            held = [f"nin takes {len(taken)} of {len(drawn.flips)} close switches another way, and {others} others"]
        if wrong := expected.wrong(off):
            raise Disagreement("\n".join(wrong + held))
        report.agree(expected, off, "gradient")

    def _taken(self, nin: Nin, way: Way, drawn: Drawn) -> tuple[list[reference.Flip], int]:
        """The close switches that nin took another way than float64, and how many others it did: zeros and ties that go
        with them, or wrong ones. Everything but the close ones is still held to the tolerance."""
        net = Net(self.layers, drawn.weights, drawn.images)
        with tempfile.TemporaryDirectory(prefix="nin-decisions-") as folder:
            read = decided(net, nin, way, Path(folder))
        taken = [flip for flip in drawn.flips if read[flip.switch][flip.place] == flip.decision]
        own = self._differentiate(drawn, torch.float64).switches
        differ = sum(int((switch.decision != other).sum()) for switch, other in zip(own, read, strict=True))
        return taken, differ - sum(1 + len(flip.along) for flip in taken)


def read_weights(file: Path) -> tuple[Numbers, dict[str, str] | None]:
    """The tensors and the metadata of a weights file."""
    with safe_open(file, "numpy") as opened:
        return {name: opened.get_tensor(name) for name in opened.keys()}, opened.metadata()


def moved(name: str, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A fresh tensor, moved so that nothing is zero or one by default."""
    layer, part = name.rsplit(".", 1)
    match part:
        case "weight" if layer.startswith("batchnorm"):
            return x + rng.normal(0, 0.4, x.shape)
        case "weight":
            return x + rng.normal(0, 0.1 * np.sqrt(np.mean(np.square(x))), x.shape)
        case "running_var":
            return x * np.exp(rng.normal(0, 0.5, x.shape))
        case "running_mean":
            return x + rng.normal(0, 0.3, x.shape)
        case _:
            # More often up than down: few channels die.
            return x + rng.uniform(-0.2, 0.4, x.shape)


def whole(name: str, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Small whole numbers of a tensor's shape, many of them zero; no zero variances."""
    choices = [1.0, 2.0, 4.0] if name.endswith("running_var") else [-1.0, 0.0, 0.0, 1.0, 2.0]
    return rng.choice(choices, x.shape)


def _tensor(x: np.ndarray, dtype: torch.dtype) -> torch.Tensor:
    return torch.from_numpy(x).to(dtype)


def _tensors(weights: Numbers, dtype: torch.dtype) -> reference.Tensors:
    return {name: _tensor(x, dtype) for name, x in weights.items()}


def _numbers(step: reference.Step) -> Numbers:
    """The loss and each gradient."""
    return {"loss": np.float64(step.loss)} | {name: x.numpy() for name, x in step.gradients.items()}
