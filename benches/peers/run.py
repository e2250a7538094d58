#!/usr/bin/env python3
"""Times nin and other systems side by side on the same network with the same weights, and prints tables.

Systems take turns in short rounds, so that whatever else the machine does meets them alike. README.md beside this file
says more.
"""

import argparse
import contextlib
import datetime
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from math import prod
from pathlib import Path

try:
    import numpy as np
except ImportError:
    sys.exit("numpy is missing: pip install -r benches/peers/requirements.txt")

import machine
import report
from systems import INFERENCE, NIN, OTHERS, ROOT, Failed, System, Worker, build, complaint, python

# The networks whose file is named here are read from models/.
MODELS = ["nin-cifar10-caffe", "resnet20-cifar10", "squeezenet1.1", "mobilenet-v2", "resnet18"]
# Images a call, for networks of small images, and of images with more pixels than `SMALL`.
BATCH = {"latency": (1, 1), "inference": (128, 32), "training": (128, 32), "losses": (32, 8)}
SMALL = 64 * 64
# Rounds, and calls a round.
ROUNDS = {"latency": 15, "inference": 9, "training": 7}
CALLS = {"latency": 20, "inference": 1, "training": 1}
# Before a turn, for threads of the one before to go to sleep.
PAUSE = 0.05
# Largest difference that is rounding, of a loss after some steps, relative to it: normalising few images makes it grow.
LOSSES_AGREE = 3e-3


def say(line: str):
    """Progress, to standard error."""
    print(line, file=sys.stderr, flush=True)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    usual = ", ".join(system.key for system in OTHERS if system.usual)
    others = ", ".join(system.key for system in OTHERS if not system.usual)
    comma = re.compile(", *").split
    parser.add_argument("--models", type=comma, default=MODELS, help="names or files; default " + ",".join(MODELS))
    parser.add_argument("--threads", type=comma, default=["1", "2"], help="default 1,2")
    parser.add_argument("--modes", type=comma, default=list(ROUNDS), help="default all of " + ", ".join(ROUNDS))
    parser.add_argument("--only", type=comma, help=f"only these systems beside nin, of: {usual}, {others}")
    parser.add_argument("--with", dest="extra", type=comma, default=[], help=f"also these, or `all`: {others}")
    parser.add_argument("--rounds", type=int, help="rounds of each mode; default " + str(ROUNDS))
    parser.add_argument("--json", type=Path, help="write every round's times here")
    asked = parser.parse_args()
    known = {system.key for system in OTHERS}
    if "all" in asked.extra:
        asked.extra = [system.key for system in OTHERS]
    if unknown := {*(asked.only or []), *asked.extra} - known:
        parser.error(f"there is no system {', '.join(sorted(unknown))}; there are {', '.join(sorted(known))}")
    if unknown := set(asked.modes) - set(ROUNDS):
        parser.error(f"there is no mode {', '.join(sorted(unknown))}; there are {', '.join(ROUNDS)}")
    if not all(count.isdigit() and int(count) > 0 for count in asked.threads):
        parser.error("--threads takes numbers, such as 1,2")
    asked.models = [path(name) for name in asked.models]
    if missing := [str(model) for model in asked.models if not model.exists()]:
        parser.error(f"there is no {', '.join(missing)}")
    return asked


def path(model: str) -> Path:
    """A model's file, of a name or a file."""
    return Path(model) if model.endswith(".nin") else ROOT / "models" / f"{model}.nin"


def asked(model: Path, threads: list[str] | None = None, rounds: int | None = None) -> argparse.Namespace:
    """What a comparison of the usual systems in every mode is asked."""
    return argparse.Namespace(
        model=model, threads=threads or ["1", "2"], modes=list(ROUNDS), only=None, extra=[], rounds=rounds
    )


class Comparison:
    """One run of the script."""

    def __init__(self, asked: argparse.Namespace, folder: Path):
        self.asked, self.folder = asked, folder
        chosen = [x for x in OTHERS if x.usual] if asked.only is None else []
        wanted = {*(asked.only or []), *asked.extra}
        self.systems = chosen + [x for x in OTHERS if x.key in wanted and x not in chosen]
        self.commands: dict[str, list[str]] = {}
        self.versions: dict[str, str] = {}
        # Why systems do not take part, by mode and system.
        self.skipped: dict[tuple[str, str], str] = {}
        # Median seconds of a call of each round, by mode, threads and system.
        self.times: dict[tuple[str, int, str], list[float]] = {}
        self.peaks: dict[int, float] = {}
        self.check: dict = {}

    def prepare(self):
        """Builds nin, and writes what every system reads."""
        say("building nin")
        programs = build("--bin", "nin", "--example", "peer")
        self.commands["nin"] = [str(programs["peer"])]
        self.write_inputs(programs["nin"])

    def write_inputs(self, nin: Path):
        """The network, its weights, images and labels."""
        model = self.folder / "model.nin"
        text = self.asked.model.read_text()
        model.write_text(text)
        (self.folder / "without-dropout.nin").write_text(re.sub(r"\bdropout\([^()]*\)", "", text))
        quiet = {"check": True, "stdout": subprocess.PIPE, "text": True}
        checked = subprocess.run([nin, "check", model, "--json"], **quiet).stdout
        (self.folder / "check.json").write_text(checked)
        self.check = json.loads(checked)
        weights = self.folder / "weights.safetensors"
        subprocess.run([nin, "init", model, "-o", weights, "-q"], **quiet)
        random = np.random.default_rng(1)
        count = max(self.batch(mode) for mode in BATCH)
        images = random.standard_normal((count, *self.check["input"]), np.float32)
        images.astype("<f4").tofile(self.folder / "images.f32")
        random.integers(0, self.check["output"][0], count).astype("<u4").tofile(self.folder / "labels.u32")

    def batch(self, mode: str) -> int:
        """Images a call."""
        _, height, width = self.check["input"]
        return BATCH[mode][height * width > SMALL]

    def ready_systems(self):
        """Finds out how each system is started; one that cannot be is skipped."""
        for system in self.systems:
            try:
                self.commands[system.key] = self.command(system)
            except Failed as failure:
                self.skip_all(system, failure)
        self.settle()
        modes = [mode for mode in INFERENCE if mode in self.asked.modes]
        # Some take one image at a time, however many there are.
        modes = list(INFERENCE) if "inference" in modes else modes
        for script in dict.fromkeys(x.export for x in self.systems if x.export):
            for mode in modes:
                self.export(script, mode)

    def command(self, system: System) -> list[str]:
        """How a system is started; a crate is built first."""
        if system.worker == NIN.worker:
            return self.commands[NIN.key]
        if not system.is_crate:
            return python(system.worker)
        say(f"building {system.title}")
        return list(map(str, build("--manifest-path", f"benches/peers/{system.worker}/Cargo.toml").values()))

    def settle(self):
        """Gives batch normalisations the statistics of the images, without which deep networks overflow."""
        if any(x["kind"] == "batchnorm" for x in self.check["layers"]):
            say("settling batch normalisations")
            command = [*python("settle.py"), str(self.folder), "losses", "1", str(self.batch("losses")), ""]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode != 0:
                say(f"they keep fresh statistics: {complaint(done.stderr)}")

    def export(self, script: str, mode: str):
        """Writes what some systems read in a mode; without it they are skipped."""
        say(f"{script}, {mode}")
        command = [*python(script), str(self.folder), mode, "1", str(self.batch(mode)), ""]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            for system in self.systems:
                if system.export == script and mode in system.modes:
                    self.skip(system, mode, Failed(f"{script}: {complaint(done.stderr)}"))

    def skip(self, system: System, mode: str, why: Exception):
        """Goes on without a system in a mode."""
        say(f"skipping {system.title}, {mode}: {why}")
        self.skipped.setdefault((mode, system.key), str(why))
        if mode == "losses":
            self.skipped.setdefault(("training", system.key), str(why))

    def skip_all(self, system: System, why: Exception):
        """Goes on without a system."""
        for mode in system.modes:
            self.skip(system, mode, why)

    def start(self, mode: str, threads: int) -> list[Worker]:
        """A process of every system that has the mode, nin's first."""
        workers = []
        for system in [NIN, *self.systems]:
            if mode not in system.modes or (mode, system.key) in self.skipped:
                continue
            say(f"  starting {system.title}")
            try:
                job = (mode, threads, self.batch(mode))
                workers.append(Worker(system, self.commands[system.key], self.folder, job))
                self.versions[system.title] = workers[-1].version
            except Failed as failure:
                if system is NIN:
                    raise
                self.skip(system, mode, failure)
        return workers

    def agree(self, mode: str, threads: int, workers: list[Worker]):
        """Drops whoever computes something else than nin."""
        results = {}
        for worker in list(workers):
            file = self.folder / f"{worker.system.key}-{mode}-{threads}.f32"
            with self.dropping(worker, mode, workers):
                worker.check(file)
                results[worker.system.key] = np.fromfile(file, "<f4")
        expected = results["nin"]
        for worker in workers[1:]:
            far = apart(results[worker.system.key], expected, mode)
            say(f"  {worker.system.title}: within {far:.1e} of nin")
            with self.dropping(worker, mode, workers):
                # A NaN is not near anything.
                if not far <= (LOSSES_AGREE if mode == "losses" else worker.system.rounding):
                    raise Failed(f"its results differ from nin's by {far:.1e}")

    @contextlib.contextmanager
    def dropping(self, worker: Worker, mode: str, workers: list[Worker]):
        """Goes on without a worker that fails, unless it is nin's."""
        try:
            yield
        except Failed as failure:
            if worker.system is NIN:
                raise
            worker.end()
            workers.remove(worker)
            self.skip(worker.system, mode, failure)

    def measure(self, mode: str, threads: int):
        """Times a mode: all systems take turns."""
        say(f"{mode}, {report.threads(threads)}")
        workers = self.start(mode, threads)
        if mode != "training":
            self.agree(mode, threads, workers)
        say(f"  {self.rounds(mode)} rounds")
        times: dict[str, list[float]] = {worker.system.key: [] for worker in workers}
        for number in range(self.rounds(mode)):
            first = number % len(workers)
            for worker in workers[first:] + workers[:first]:
                time.sleep(PAUSE)
                with self.dropping(worker, mode, workers):
                    times[worker.system.key].append(statistics.median(worker.run(CALLS[mode])))
        self.peaks[threads] = max(self.peaks.get(threads, 0.0), workers[0].peak())
        for worker in workers:
            self.times[mode, threads, worker.system.key] = times[worker.system.key]
            worker.end()

    def rounds(self, mode: str) -> int:
        """How often the systems take turns."""
        return self.asked.rounds or ROUNDS[mode]

    def losses(self):
        """Whether training computes the same: the losses of a few steps without dropout."""
        say(f"losses of five steps, batch {self.batch('losses')}, no dropout")
        workers = self.start("losses", 1)
        self.agree("losses", 1, workers)
        for worker in workers:
            worker.end()

    def flops(self, mode: str) -> int:
        """Nominal operations of one image: see docs/performance.md."""
        macs = [layer["macs"] for layer in self.check["layers"]]
        if mode != "training":
            return 2 * sum(macs)
        layer = next(x for x in self.check["layers"] if x["macs"])
        (inputs, *_), (_, height, width) = layer["input"], layer["output"]
        first = layer["args"]["channels"][0] * inputs * prod(layer["args"]["kernel"]) * height * width
        return 2 * (3 * sum(macs) - first)


def apart(found: np.ndarray, expected: np.ndarray, mode: str) -> float:
    """How far results are from those expected: losses relative to these, and others as a share of how far the expected
    ones are from each other."""
    if found.shape != expected.shape:
        return np.inf
    scale = np.abs(expected) if mode == "losses" else np.ptp(expected)
    return float(np.max(np.abs(found - expected) / scale))


def compare(asked: argparse.Namespace) -> Comparison:
    """Prepares and measures."""
    with tempfile.TemporaryDirectory(prefix="nin-peers-") as folder:
        run = Comparison(asked, Path(folder))
        run.prepare()
        run.ready_systems()
        if "training" in asked.modes:
            run.losses()
        for threads in map(int, asked.threads):
            for mode in asked.modes:
                run.measure(mode, threads)
        return run


def one(asked: argparse.Namespace, model: Path) -> Comparison:
    """Measures a model, and prints its tables."""
    watch, start = machine.Watch(), time.monotonic()
    run = compare(argparse.Namespace(**{**vars(asked), "model": model}))
    versions = [*dict.fromkeys(run.versions.values()), *machine.tools()]
    print(f"## `{model.stem}`\n")
    print(f"On {machine.cpu()}, {datetime.date.today().isoformat()}. {', '.join(versions)}. {watch.told()}\n")
    print(report.tables(run) + "\n", flush=True)
    say(f"{model.stem}: {time.monotonic() - start:.0f} s")
    return run


def main():
    """Measures and reports."""
    asked = arguments()
    runs = []
    for model in asked.models:
        try:
            runs.append(one(asked, model))
        except Failed as failure:
            print(f"## `{model.stem}`\n\nNot measured: nin failed ({failure}).\n", flush=True)
    if asked.json:
        asked.json.write_text(json.dumps([report.raw(run) for run in runs], indent=1))
    if len(runs) < len(asked.models):
        sys.exit(1)


if __name__ == "__main__":
    main()
