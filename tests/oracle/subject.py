"""A model and everything that is held against it: the checker's facts, `nin run` on several batches, `nin train`."""

from __future__ import annotations

import random
from dataclasses import dataclass
from math import prod
from pathlib import Path

import reference
import training
from case import DRAWS, Case, Inexact
from closeness import Disagreement, Report
from facts import Facts, Layer, checked, describe
from generate import Model, generate
from nin import EXACT, MODEL, Nin, Variant, Way

THREADS = [1, 2, 3]
WORK = 900_000_000
"""Multiply-accumulates of a batch of a model file, at most, where more than one image would go over it."""
SMALL = 5_000_000
"""Multiply-accumulates of an image, at most, where data are drawn more than once and the model is trained."""


@dataclass(frozen=True)
class Subject:
    """A model that was checked, and how its numbers will be compared."""

    variant: Variant
    layers: list[Layer]
    facts: list[Facts]
    batches: list[int]
    seed: int

    @property
    def macs(self) -> int:
        """Multiply-accumulates of an image."""
        return sum(layer.macs for layer in self.facts)

    def compare(self, nin: Nin, folder: Path, ways: list[Way]) -> tuple[dict[Way, Report], str]:
        """What came of each way, and what was compared in a few words; raises `Disagreement`."""
        small = self.macs <= SMALL
        reports = {way: Report() for way in ways}
        exact = [way for way in ways if way.algo == EXACT]
        said = [f"batch {', '.join(map(str, self.batches))}"]

        def run(batch: int, ways: list[Way], threads: list[int], *, grid: bool = False) -> None:
            draws = DRAWS if small else 1
            roundings = reference.ROUNDINGS if exact == ways else reference.WINOGRAD_ROUNDINGS
            case = Case(self.variant, self.layers, self.facts, batch, self.seed, draws, grid, roundings)
            for way, report in case.compare(nin, folder, ways, threads).items():
                reports[way].add(report)

        for batch in self.batches:
            run(batch, ways, THREADS)
        if small and training.trainable(self.layers, self.facts):
            clip = training.write_data(self.facts, self.seed, folder)
            for way in ways:
                expected, off = training.compare(nin, self.variant, self.layers, self.facts, folder, clip, way)
                reports[way].agree(expected, off, "training")
            said.append("training")
        if exact and small and len(self.facts[-1].output) == 1:
            try:
                run(self.batches[0], exact, THREADS[:1], grid=True)
                said.append("whole numbers")
            except Inexact:
                pass
        report = reports[ways[0]]
        if report.close:
            said.append(f"{report.close} close switches, {report.flipped} taken another way")
        if report.lost:
            said.append(f"gradients of {report.lost} batches lost in rounding")
        if report.unsteady:
            said.append("unsteady: " + ", ".join(f"{count} {part}" for part, count in report.unsteady.items()))
        return reports, "; ".join(said)


def of_file(nin: Nin, file: Path, seed: int, folder: Path, batches: list[int] | None = None) -> Subject:
    """A model file, with batches of these sizes or of those that its work allows."""
    variant = Variant(folder / MODEL)
    variant.file.write_text(file.read_text())
    verdict = nin.check(variant)
    layers = checked(verdict["layers"])
    facts = describe(layers)
    verify_facts(verdict, facts)
    most = WORK // max(1, sum(layer.macs for layer in facts))
    usual = [min(9, max(1, most)), *([17] if most > 17 else [])]
    return Subject(variant, layers, facts, batches or usual, seed)


def of_seed(nin: Nin, seed: int, folder: Path) -> Subject:
    """The random model of a seed."""
    model = generate(seed)
    variant = Variant(folder / MODEL, model.defines)
    variant.file.write_text(model.text)
    verdict = nin.check(variant)
    facts = describe(model.layers)
    verify_meaning(verdict, model)
    verify_facts(verdict, facts)
    rng = random.Random(seed)
    many = 131 if sum(layer.macs for layer in facts) < 100_000 else 17
    # Where it normalises few numbers, batchnorm has next to no gradient: the larger batch has enough of them.
    larger = [12, 33, many] if any(layer.kind == "batchnorm" for layer in facts) else [2, 12, 33, many]
    # nin refuses to normalise a single number a channel.
    single = any(layer.kind == "batchnorm" and prod(layer.input[1:]) == 1 for layer in facts)
    return Subject(variant, model.layers, facts, [max(rng.randint(1, 9), 1 + single), rng.choice(larger)], seed)


def verify_meaning(verdict: dict, model: Model) -> None:
    """Holds the checker's reading of a text against what the text was made from."""
    expected = {"model": model.name or Path(MODEL).stem, "params": model.params, "layers": model.layers}
    layers = checked(verdict["layers"])
    _agree({"model": verdict["model"], "params": verdict["params"], "layers": layers}, expected)


def verify_facts(verdict: dict, facts: list[Facts]) -> None:
    """Holds the checker's facts against the language's tables."""
    keys = ("name", "kind", "inputs", "input", "output", "params", "macs", "activation_bytes", "receptive_field")
    found = [{key: layer[key] for key in keys} for layer in verdict["layers"]]
    expected = [{key: _listed(getattr(layer, key)) for key in keys} for layer in facts]
    for a, b in zip(found, expected, strict=True):
        _agree(a, b)
    totals = {key: sum(getattr(layer, key) for layer in facts) for key in ("params", "macs", "activation_bytes")}
    _agree(verdict["totals"], totals)
    ends = {"input": list(facts[0].output), "output": list(facts[-1].output)}
    _agree({key: verdict[key] for key in ends}, ends)


def _listed(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def _agree(found: dict, expected: dict) -> None:
    if found != expected:
        raise Disagreement(f"`nin check` says {found}\ninstead of {expected}")
