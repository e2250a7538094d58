"""One model on one batch: data are drawn, PyTorch says in float64 what is right, and nin is held against it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.numpy import save_file

import reference
from facts import Facts, Layer
from nin import Nin, Result, Variant

TOLERANCE = 1e-4
"""Of a tensor's scale, its largest magnitude."""

STEADY = 1e-5
"""A number that float32 alone moves further than this, of its tensor's scale, says little about who computed it."""

NOISE = 10
"""An unsteady number, where no draw is free of them, may be off by this many times what PyTorch's own float32 is off."""

DRAWS = 8
"""How often data are drawn in search of steady numbers and no close switch."""

FLIPS = 64
"""Close switches of one batch that can be held out."""

MODEL, WEIGHTS, IMAGES, LABELS = "model.nin", "w.safetensors", "x.npy", "l.npy"


class Disagreement(Exception):
    """nin and PyTorch differ; the message says where."""


@dataclass
class Drawn:
    """A batch, weights, and what float64 makes of them."""

    weights: dict[str, np.ndarray]
    images: np.ndarray
    labels: np.ndarray
    output: np.ndarray
    step: reference.Step | None
    """Loss and gradients, of a model that ends in a vector."""
    flips: list[reference.Flip] = field(default_factory=list)
    scales: dict[str, float] = field(default_factory=dict)
    """The largest magnitude of the loss and of each gradient."""
    noise: dict[str, float] = field(default_factory=dict)
    """How far PyTorch in float32 is off in each."""

    def unsteady(self) -> list[str]:
        """What float32 cannot settle."""
        return [name for name, noise in self.noise.items() if noise > STEADY * self.scales[name]]

    def allowed(self, name: str) -> float:
        """How far nin may be off."""
        noise, scale = self.noise[name], self.scales[name]
        return max(TOLERANCE * scale, NOISE * noise if noise > STEADY * scale else 0.0)

    def dead(self) -> int:
        """Weights all of whose gradients are zero."""
        return sum(scale == 0 for scale in self.scales.values())


@dataclass
class Report:
    """The worst error of each kind, of a tensor's scale, and what was held out."""

    errors: dict[str, float] = field(default_factory=lambda: dict.fromkeys(("output", "loss", "gradient"), 0.0))
    close: int = 0
    """Close switches."""
    flipped: int = 0
    """Those that nin took another way than float64."""
    unsteady: Counter = field(default_factory=Counter)
    """Tensors held to `NOISE`, by the last part of their name."""

    def note(self, kind: str, error: float) -> None:
        """Keeps the worst."""
        self.errors[kind] = max(self.errors[kind], error)

    def add(self, other: Report) -> None:
        """Takes in another report."""
        for kind, error in other.errors.items():
            self.note(kind, error)
        self.close += other.close
        self.flipped += other.flipped
        self.unsteady += other.unsteady


def perturbed(fresh: Path, rng: np.random.Generator) -> tuple[dict[str, np.ndarray], dict[str, str] | None]:
    """The weights of a fresh file, moved so that nothing is zero or one by default; and the file's metadata."""
    with safe_open(fresh, "numpy") as file:
        weights = {name: file.get_tensor(name) for name in file.keys()}
        metadata = file.metadata()
    for name, x in weights.items():
        layer, part = name.rsplit(".", 1)
        normalises = layer.startswith("batchnorm")
        match part:
            case "weight" if normalises:
                move = x + rng.normal(0, 0.4, x.shape)
            case "weight":
                # A tenth of He's deviation, which is the tensor's own.
                move = x + rng.normal(0, 0.1 * np.sqrt(np.mean(np.square(x))), x.shape)
            case "running_var":
                move = x * np.exp(rng.normal(0, 0.5, x.shape))
            case "running_mean":
                move = x + rng.normal(0, 0.3, x.shape)
            case _:
                # More often up than down: few channels die.
                move = x + rng.uniform(-0.2, 0.4, x.shape)
        weights[name] = move.astype(np.float32)
    return weights, metadata


@dataclass(frozen=True)
class Case:
    """A model, and the sizes and seed of its data."""

    variant: Variant
    layers: list[Layer]
    facts: list[Facts]
    batch: int
    seed: int
    draws: int = DRAWS

    @property
    def names(self) -> list[str]:
        return [facts.name for facts in self.facts]

    def draw(self, fresh: Path) -> Drawn:
        """The best of several draws: few close switches and dead weights, then few unsteady numbers. `fresh` holds the
        weights to start from."""
        best = None
        for attempt in range(self.draws):
            drawn = self._draw(fresh, np.random.default_rng([self.seed, self.batch, attempt]))
            rank = (len(drawn.flips), drawn.dead(), len(drawn.unsteady()))
            if best is None or rank < best[0]:
                best = (rank, drawn)
            if best[0] == (0, 0, 0):
                break
        return best[1]

    def _draw(self, fresh: Path, rng: np.random.Generator) -> Drawn:
        weights, _ = perturbed(fresh, rng)
        expected = {name: shape for facts in self.facts for name, shape in facts.weights.items()}
        found = {name: x.shape for name, x in weights.items()}
        if found != expected:
            raise Disagreement(f"`nin init` wrote {found}\ninstead of {expected}")
        images = rng.normal(0, 1, (self.batch, *self.facts[0].output)).astype(np.float32)
        classes = self.facts[-1].output
        labels = rng.integers(0, classes[0], self.batch)
        w, x = _tensors(weights, torch.float64), torch.from_numpy(images).double()
        output = reference.forward(self.layers, self.names, w, x).output.numpy()
        drawn = Drawn(weights, images, labels, output, None)
        if len(classes) == 1:
            self._differentiate(drawn, w, x)
        return drawn

    def _differentiate(self, drawn: Drawn, weights: reference.Tensors, images: torch.Tensor) -> None:
        """Adds loss and gradients, and how sure they are."""
        labels = torch.from_numpy(drawn.labels)
        wide = reference.differentiate(self.layers, self.names, weights, images, labels)
        narrow = reference.differentiate(
            self.layers,
            self.names,
            {name: x.float() for name, x in weights.items()},
            images.float(),
            labels,
            reference.flipped(wide.switches, []),
        )
        drawn.step = wide
        drawn.flips = reference.close_switches(wide.switches, narrow.switches)
        drawn.scales = {name: _scale(x) for name, x in _numbers(wide).items()}
        drawn.noise = _distances(_numbers(narrow), _numbers(wide))

    def write(self, folder: Path, drawn: Drawn, metadata: dict[str, str] | None) -> None:
        """Writes what `nin run` reads."""
        save_file(drawn.weights, folder / WEIGHTS, metadata)
        np.save(folder / IMAGES, drawn.images)
        np.save(folder / LABELS, drawn.labels.astype(np.int64))

    def compare(self, nin: Nin, folder: Path, isas: list[str], threads: list[int]) -> dict[str, Report]:
        """Holds `nin run` against PyTorch, on each instruction set and number of threads; raises `Disagreement`."""
        nin.init(self.variant, self.seed, folder / "fresh.safetensors")
        drawn = self.draw(folder / "fresh.safetensors")
        self.write(folder, drawn, perturbed(folder / "fresh.safetensors", np.random.default_rng(0))[1])
        return {isa: self._compare(nin, folder, isa, threads, drawn) for isa in isas}

    def _compare(self, nin: Nin, folder: Path, isa: str, threads: list[int], drawn: Drawn) -> Report:
        report = Report(close=len(drawn.flips))
        labelled = drawn.step is not None
        for kind in (False, True) if labelled else (False,):
            results = {}
            for count in threads:
                words = nin.run_words(self.variant, folder, isa, count, labelled=kind)
                where = f"$ {nin.path} {' '.join(words)}"
                results[count] = nin.run(self.variant, folder, isa, count, labelled=kind)
                if not _same(results[count], results[threads[0]]):
                    raise Disagreement(f"{where}\nother bits than with {threads[0]} threads")
            try:
                self._judge(results[threads[0]], drawn, report)
            except Disagreement as error:
                raise Disagreement(f"{where}\n{error}") from None
        return report

    def _judge(self, result: Result, drawn: Drawn, report: Report) -> None:
        """Adds a result to a report, if it is right."""
        distance, scale = _distance("output", result.output, drawn.output), _scale(drawn.output)
        if not distance <= TOLERANCE * scale:
            raise Disagreement(f"output is off by {_relative(distance, scale):.1e} of its scale")
        report.note("output", _relative(distance, scale))
        if result.gradients is None:
            return
        found = {"loss": np.float64(result.loss)} | result.gradients
        expected = _numbers(drawn.step)
        distances = _distances(found, expected)
        if drawn.flips and _wrong(distances, drawn):
            step, flipped = self._settle(found, drawn)
            distances = _distances(found, _numbers(step))
            report.flipped += flipped
        if wrong := _wrong(distances, drawn):
            held = f"\n{len(drawn.flips)} close switches were tried both ways" if drawn.flips else ""
            raise Disagreement("\n".join(wrong) + held)
        for name, distance in distances.items():
            if name in drawn.unsteady():
                report.unsteady[name.rsplit(".", 1)[-1]] += 1
            else:
                kind = "loss" if name == "loss" else "gradient"
                report.note(kind, _relative(distance, drawn.scales[name]))

    def _settle(self, found: dict[str, np.ndarray], drawn: Drawn) -> tuple[reference.Step, int]:
        """Which way nin took the close switches: what each does to the gradients is found by turning it round, and the
        combination that comes closest is taken. Everything but those decisions is still held to the tolerance.
        """
        if len(drawn.flips) > FLIPS:
            raise Disagreement(f"{len(drawn.flips)} close switches, too many to hold out")
        weights = _tensors(drawn.weights, torch.float64)
        images, labels = torch.from_numpy(drawn.images).double(), torch.from_numpy(drawn.labels)

        def step(flips: list[reference.Flip]) -> reference.Step:
            decisions = reference.flipped(drawn.step.switches, flips)
            return reference.differentiate(self.layers, self.names, weights, images, labels, decisions)


        def difference(gradients: dict[str, np.ndarray]) -> np.ndarray:
            parts = [
                ((np.asarray(gradients[name], np.float64) - x.numpy()) / (drawn.scales[name] or 1.0)).ravel()
                for name, x in drawn.step.gradients.items()
            ]
            return np.concatenate(parts)

        effects = np.stack([difference(step([flip]).gradients) for flip in drawn.flips])
        target = difference(found)
        amounts = np.linalg.lstsq(effects @ effects.T, effects @ target, rcond=1e-12)[0]
        taken = [flip for flip, amount in zip(drawn.flips, amounts) if amount > 0.5]
        return step(taken), len(taken)


def _wrong(distances: dict[str, float], drawn: Drawn) -> list[str]:
    """What is off by more than it may be."""
    wrong = []
    for name, distance in distances.items():
        allowed, scale = drawn.allowed(name), drawn.scales[name]
        # A NaN is within nothing.
        if not distance <= allowed:
            what = "loss" if name == "loss" else f"the gradient of {name}"
            wrong.append(f"{what} is off by {distance:.1e}; allowed are {allowed:.1e}, and its scale is {scale:.1e}")
    return wrong


def _tensors(weights: dict[str, np.ndarray], dtype: torch.dtype) -> reference.Tensors:
    return {name: torch.from_numpy(x).to(dtype) for name, x in weights.items()}


def _numbers(step: reference.Step) -> dict[str, np.ndarray]:
    """The loss and each gradient."""
    return {"loss": np.float64(step.loss)} | {name: x.numpy() for name, x in step.gradients.items()}


def _distances(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> dict[str, float]:
    """The largest difference in each tensor."""
    if found.keys() != expected.keys():
        raise Disagreement(f"there are {sorted(found)}\ninstead of {sorted(expected)}")
    return {name: _distance(name, found[name], x) for name, x in expected.items()}


def _distance(name: str, found: np.ndarray, expected: np.ndarray) -> float:
    if np.shape(found) != np.shape(expected):
        raise Disagreement(f"{name} has shape {np.shape(found)} instead of {np.shape(expected)}")
    return float(np.abs(np.asarray(found, np.float64) - expected).max(initial=0))


def _scale(x: np.ndarray) -> float:
    """The largest magnitude."""
    return float(np.abs(x).max(initial=0))


def _relative(distance: float, scale: float) -> float:
    return distance / scale if distance else 0.0


def _same(a: Result, b: Result) -> bool:
    """Whether two results have the same bits."""
    pairs = [(a.output, b.output)]
    if a.gradients is not None:
        if a.loss != b.loss or a.gradients.keys() != b.gradients.keys():
            return False
        pairs += [(a.gradients[name], b.gradients[name]) for name in a.gradients]
    return all(x.tobytes() == y.tobytes() for x, y in pairs)
