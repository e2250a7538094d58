#!/usr/bin/env python3
"""Holds the `nin` command against PyTorch in float64, on model files and on random models.

See README.md beside this file. Prints a line a model and a summary; exits with 1 if anything disagrees.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch

from closeness import Disagreement, Report
from golden import write_golden
from nin import ISAS, MODEL, Failed, Nin, Way
from subject import Subject, of_file, of_seed

ROOT = Path(__file__).resolve().parents[2]
KINDS = ("output", "loss", "gradient", "training")


@dataclass
class Session:
    """What every model is held against, and what came of all of them."""

    nin: Nin
    ways: list[Way]
    keep: Path
    agreed: int = 0
    failed: list[str] = field(default_factory=list)
    worst: dict[Way, Report] = field(default_factory=dict)

    def hold(self, title: str, again: str, subject: Callable[[Path], Subject]) -> None:
        """Compares one model in a folder of its own, which is kept if it fails, and prints its line."""
        folder = Path(tempfile.mkdtemp(prefix="nin-oracle-"))
        try:
            reports, said = subject(folder).compare(self.nin, folder, self.ways)
        except (Disagreement, Failed) as error:
            self._fail(title, again, folder, str(error))
        except Exception:
            # A model that breaks the oracle must not hide the others.
            self._fail(title, again, folder, traceback.format_exc())
        else:
            shutil.rmtree(folder)
            self.agreed += 1
            for way, report in reports.items():
                self.worst.setdefault(way, Report()).add(report)
            print(f"{title:<18}{line(reports)}  {said}", flush=True)

    def _fail(self, title: str, again: str, folder: Path, what: str) -> None:
        self.failed.append(title)
        kept = self.keep / title.replace(" ", "-")
        shutil.rmtree(kept, ignore_errors=True)
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(folder, kept)
        text = (kept / MODEL).read_text() if (kept / MODEL).exists() else ""
        command = f"{sys.argv[0]} --nin {self.nin.path} {again}"
        what = what.replace(str(folder), str(kept))
        print(f"{title:<18}DISAGREES\n{what}\n{text}again: {command}\n", flush=True)

    def summary(self) -> int:
        """Prints what came of all; the exit code."""
        print()
        for way, report in self.worst.items():
            errors = ", ".join(f"{kind} {report.errors.get(kind, 0.0):.1e}" for kind in KINDS)
            unsteady = ", ".join(f"{count} {part}" for part, count in report.unsteady.most_common()) or "none"
            print(
                f"{str(way):<18}worst {errors}; {report.tensors:,} tensors, of them unsteady: {unsteady}; "
                f"{report.close:,} close switches, {report.flipped} of them taken another way; "
                f"gradients of {report.lost} batches lost"
            )
        print(f"{self.agreed} models agree, {len(self.failed)} disagree", end="")
        print(f": {', '.join(self.failed)}" if self.failed else "")
        return 1 if self.failed else 0


def main() -> int:
    """The command."""
    args = arguments()
    # nin runs beside PyTorch, and its threads are what is tested.
    torch.set_num_threads(1)
    nin = Nin(args.nin)
    with tempfile.TemporaryDirectory(prefix="nin-oracle-") as folder:
        if args.write_golden:
            write_golden(nin, args.write_golden, Path(folder))
            return 0
        here = nin.isas(Path(folder))
    if missing := [isa for isa in args.isa or [] if isa not in here]:
        print(f"this machine does not run {', '.join(missing)}; it runs {', '.join(here)}", file=sys.stderr)
        return 2
    isas = args.isa or here
    session = Session(nin, [Way(isa, algo) for isa in isas for algo in args.algos], args.keep)
    again = f"--isa {' '.join(isas)} --algos {' '.join(args.algos)}"
    sized = f" --batch {' '.join(map(str, args.batch))}" if args.batch else ""
    print(f"errors, of a tensor's scale: {', '.join(KINDS)}\n", flush=True)
    for file in args.models:
        words = f"--models {file} --random 0 --seed {args.seed} {again}{sized}"
        session.hold(file.stem, words, lambda folder, file=file: of_file(nin, file, args.seed, folder, args.batch))
    for seed in range(args.seed, args.seed + args.random):
        words = f"--models --random 1 --seed {seed} {again}"
        session.hold(f"random {seed}", words, lambda folder, seed=seed: of_seed(nin, seed, folder))
    return session.summary()


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Holds nin against PyTorch in float64.")
    models = sorted((ROOT / "models").glob("*.nin"))
    add = parser.add_argument
    add("--models", nargs="*", type=Path, default=models, metavar="FILE", help="model files [default: models/]")
    add("--batch", nargs="+", type=int, metavar="N", help="batches of model files [default: by their work]")
    add("--random", type=int, default=50, metavar="N", help="random models [default: 50]")
    add("--seed", type=int, default=0, metavar="S", help="of the data, and of the first random model [default: 0]")
    add("--isa", nargs="+", choices=ISAS, help="instruction sets [default: those of this machine]")
    add("--algos", nargs="+", default=["direct", "auto"], metavar="A", help="algorithms [default: direct auto]")
    add("--nin", type=Path, default=ROOT / "target/release/nin", metavar="PATH", help="the command to be tested")
    add("--keep", type=Path, default=Path("oracle-failed"), metavar="DIR", help="where a failed model's files are kept")
    add("--write-golden", type=Path, metavar="DIR", help="only write the stored cases of the Rust tests")
    args = parser.parse_args()
    args.nin = args.nin.resolve()
    if not args.nin.is_file():
        parser.error(f"there is no {args.nin}: run `cargo build --release`, or give --nin")
    return args


def line(reports: dict[Way, Report]) -> str:
    """The worst errors of each algorithm, on whichever instruction set."""
    worst: dict[str, Report] = {}
    for way, report in reports.items():
        worst.setdefault(way.algo, Report()).add(report)

    def cell(report: Report, kind: str) -> str:
        return f"{report.errors[kind]:.0e}" if kind in report.errors else "-----"

    return "  ".join(f"{algo} {' '.join(cell(report, kind) for kind in KINDS)}" for algo, report in worst.items())


if __name__ == "__main__":
    sys.exit(main())
