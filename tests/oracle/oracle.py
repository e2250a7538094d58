#!/usr/bin/env python3
"""Holds `nin check`, `nin init` and `nin run` against PyTorch in float64, on model files and on random models.

See README.md beside this file. Prints a line a model and a summary; exits with 1 if anything disagrees.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import traceback
from dataclasses import dataclass, field
from pathlib import Path

import torch

from case import MODEL, Case, Disagreement, Report
from facts import Facts, Layer, describe
from generate import Model, generate
from golden import write_golden
from nin import ISAS, Failed, Nin, Variant

ROOT = Path(__file__).resolve().parents[2]
THREADS = [1, 2, 3]
WORK = 1_500_000_000
"""Multiply-accumulates of a batch of a model file, at most, where more than one image would go over it."""


@dataclass
class Options:
    """What every model is held against."""

    nin: Nin
    isas: list[str]
    keep: Path


@dataclass
class Tally:
    """What came of all models."""

    agreed: int = 0
    failed: list[str] = field(default_factory=list)
    worst: dict[str, Report] = field(default_factory=dict)

    def add(self, reports: dict[str, Report]) -> None:
        """Counts a model that agreed."""
        self.agreed += 1
        for isa, report in reports.items():
            self.worst.setdefault(isa, Report()).add(report)


def main() -> int:
    """The command."""
    args = _arguments()
    torch.set_num_threads(args.torch_threads)
    tally = Tally()
    with tempfile.TemporaryDirectory(prefix="nin-oracle-") as folder:
        nin = Nin(args.nin)
        if args.write_golden:
            write_golden(nin, args.write_golden, Path(folder))
            return 0
        here = nin.isas(Path(folder))
        if missing := [isa for isa in args.isa or [] if isa not in here]:
            print(f"this machine does not run {', '.join(missing)}; it runs {', '.join(here)}", file=sys.stderr)
            return 2
        options = Options(nin, args.isa or here, args.keep)
        print(f"{args.nin}, {', '.join(options.isas)}; errors are of a tensor's scale: output, loss, gradients\n")
        for file in args.models:
            again = f"--models {file} --random 0 --seed {args.seed}"
            run(options, tally, file.stem, again, lambda work, file=file: of_file(options, file, args.seed, work))
        for seed in range(args.seed, args.seed + args.random):
            again = f"--models --random 1 --seed {seed}"
            run(options, tally, f"random {seed}", again, lambda work, seed=seed: of_seed(options, seed, work))
    return summary(tally)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Holds nin against PyTorch in float64.")
    models = sorted((ROOT / "models").glob("*.nin"))
    add = parser.add_argument
    add("--models", nargs="*", type=Path, default=models, metavar="FILE", help="model files [default: models/]")
    add("--random", type=int, default=50, metavar="N", help="random models [default: 50]")
    add("--seed", type=int, default=0, metavar="S", help="of the data, and of the first random model [default: 0]")
    add("--isa", nargs="+", choices=ISAS, help="instruction sets [default: those of this machine]")
    add("--nin", type=Path, default=ROOT / "target/release/nin", metavar="PATH", help="the command to be tested")
    add("--keep", type=Path, default=Path("oracle-failed"), metavar="DIR", help="where a failed case's files are kept")
    add("--write-golden", type=Path, metavar="DIR", help="only write the stored cases of the Rust tests")
    add("--torch-threads", type=int, default=1, metavar="N", help="threads of PyTorch's own [default: 1]")
    args = parser.parse_args()
    args.nin = args.nin.resolve()
    if not args.nin.is_file():
        parser.error(f"there is no {args.nin}: run `cargo build --release`, or give --nin")
    return args


def run(options: Options, tally: Tally, title: str, again: str, check) -> None:
    """Runs one model's check in a folder of its own, which is kept if it fails, and prints its line."""
    work = Path(tempfile.mkdtemp(prefix="nin-oracle-"))
    try:
        note, reports = check(work)
    except (Disagreement, Failed) as error:
        what = str(error)
    except Exception:
        what = traceback.format_exc()
    else:
        tally.add(reports)
        print(f"{title:<18}{line(reports)}  {note}", flush=True)
        shutil.rmtree(work)
        return
    kept = options.keep / title.replace(" ", "-")
    kept.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(kept, ignore_errors=True)
    shutil.move(work, kept)
    tally.failed.append(title)
    text = (kept / MODEL).read_text() if (kept / MODEL).exists() else ""
    print(f"{title:<18}DISAGREES\n{what}\n{text}files: {kept}\nagain: {sys.argv[0]} {again}\n", flush=True)


def of_file(options: Options, file: Path, seed: int, work: Path) -> tuple[str, dict[str, Report]]:
    """Checks a model file."""
    (work / MODEL).write_text(file.read_text())
    variant = Variant(work / MODEL)
    verdict = options.nin.check(variant)
    layers = [Layer(layer["kind"], layer["args"]) for layer in verdict["layers"]]
    facts = describe(layers)
    verify_facts(verdict, facts)
    macs = sum(layer.macs for layer in facts)
    batches = [min(9, max(1, WORK // max(1, macs)))]
    if macs < 50_000_000:
        batches.append(17)
    draws = 1 if macs > 5_000_000 else 8
    return held(options, variant, layers, facts, batches, seed, work, draws)


def of_seed(options: Options, seed: int, work: Path) -> tuple[str, dict[str, Report]]:
    """Checks the random model of a seed."""
    model = generate(seed)
    (work / MODEL).write_text(model.text)
    variant = Variant(work / MODEL, model.defines)
    verdict = options.nin.check(variant)
    facts = describe(model.layers)
    verify_meaning(verdict, model)
    verify_facts(verdict, facts)
    rng = random.Random(seed)
    macs = sum(layer.macs for layer in facts)
    batches = [rng.randint(1, 9), rng.choice([2, 12, 33, 131 if macs < 100_000 else 17])]
    return held(options, variant, model.layers, facts, batches, seed, work, draws=8)


def held(
    options: Options,
    variant: Variant,
    layers: list[Layer],
    facts: list[Facts],
    batches: list[int],
    seed: int,
    work: Path,
    draws: int,
) -> tuple[str, dict[str, Report]]:
    """Compares numbers, batch by batch."""
    reports = {isa: Report() for isa in options.isas}
    for batch in batches:
        case = Case(variant, layers, facts, batch, seed, draws)
        for isa, report in case.compare(options.nin, work, options.isas, THREADS).items():
            reports[isa].add(report)
    params = sum(layer.params for layer in facts)
    note = f"{len(layers)} layers, {params:,} parameters, batch {', '.join(map(str, batches))}"
    report = next(iter(reports.values()))
    if report.close:
        note += f"; {report.close} close switches, {report.flipped} taken another way"
    if report.unsteady:
        note += "; unsteady: " + ", ".join(f"{count} {part}" for part, count in report.unsteady.items())
    return note, reports


def verify_meaning(verdict: dict, model: Model) -> None:
    """Holds the checker's reading of a text against what the text was made from."""
    expected = {
        "model": model.name or Path(MODEL).stem,
        "params": model.params,
        "layers": [(layer.kind, layer.args) for layer in model.layers],
    }
    found = {
        "model": verdict["model"],
        "params": verdict["params"],
        "layers": [(layer["kind"], layer["args"]) for layer in verdict["layers"]],
    }
    _agree(found, expected)


def verify_facts(verdict: dict, facts: list[Facts]) -> None:
    """Holds the checker's facts against the language's tables."""
    keys = ("name", "kind", "input", "output", "params", "macs", "activation_bytes", "receptive_field")

    def listed(value: object) -> object:
        return list(value) if isinstance(value, tuple) else value

    expected = [{key: listed(getattr(layer, key)) for key in keys} for layer in facts]
    found = [{key: layer[key] for key in keys} for layer in verdict["layers"]]
    if len(found) != len(expected):
        raise Disagreement(f"{len(found)} layers instead of {len(expected)}")
    for a, b in zip(found, expected):
        _agree(a, b)
    totals = {key: sum(getattr(layer, key) for layer in facts) for key in ("params", "macs", "activation_bytes")}
    _agree(verdict["totals"], totals)
    ends = {"input": list(facts[0].output), "output": list(facts[-1].output)}
    _agree({key: verdict[key] for key in ends}, ends)


def _agree(found: dict, expected: dict) -> None:
    if found != expected:
        raise Disagreement(f"`nin check` says {found}\ninstead of {expected}")


def line(reports: dict[str, Report]) -> str:
    """The worst errors on each instruction set."""
    return "  ".join(
        f"{isa} " + " ".join(f"{error:.0e}" for error in report.errors.values()) for isa, report in reports.items()
    )


def summary(tally: Tally) -> int:
    """Prints what came of all; the exit code."""
    print()
    for isa, report in tally.worst.items():
        errors = ", ".join(f"{kind} {error:.1e}" for kind, error in report.errors.items())
        unsteady = sum(report.unsteady.values())
        print(
            f"{isa:<10}worst {errors}; {report.close} close switches, {report.flipped} of them taken another way; "
            f"{unsteady} gradients unsteady in float32"
        )
    print(f"{tally.agreed} models agree, {len(tally.failed)} disagree{': ' if tally.failed else ''}", end="")
    print(", ".join(tally.failed))
    return 1 if tally.failed else 0


if __name__ == "__main__":
    sys.exit(main())
