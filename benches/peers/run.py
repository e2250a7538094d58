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
from systems import NIN, OTHERS, ROOT, Failed, System, Worker, build, python

BATCH = {"latency": 1, "inference": 128, "training": 128, "losses": 32}
# Rounds, and calls a round.
ROUNDS = {"latency": 15, "inference": 9, "training": 7}
CALLS = {"latency": 20, "inference": 1, "training": 1}
# Before a turn, for threads of the one before to go to sleep.
PAUSE = 0.05
# Largest difference that is rounding: of a probability, all of which are about 0.1 with fresh weights and differ by
# some 1e-3 from image to image; and of a loss after some steps, relative to it.
AGREES = {"latency": 1e-6, "inference": 1e-6, "losses": 1e-4}


def say(line: str):
    """Progress, to standard error."""
    print(line, file=sys.stderr, flush=True)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    usual = ", ".join(system.key for system in OTHERS if system.usual)
    others = ", ".join(system.key for system in OTHERS if not system.usual)
    comma = re.compile(", *").split
    parser.add_argument("--model", type=Path, default=ROOT / "models/nin-cifar10-caffe.nin")
    parser.add_argument("--threads", type=comma, default=["1", "2"], help="default 1,2")
    parser.add_argument("--modes", type=comma, default=list(ROUNDS), help="default all of " + ", ".join(ROUNDS))
    parser.add_argument("--only", type=comma, help=f"only these systems beside nin, of: {usual}, {others}")
    parser.add_argument("--with", dest="extra", type=comma, default=[], help=f"also these: {others}")
    parser.add_argument("--rounds", type=int, help="rounds of each mode; default " + str(ROUNDS))
    parser.add_argument("--json", type=Path, help="write every round's times here")
    asked = parser.parse_args()
    known = {system.key for system in OTHERS}
    if unknown := {*(asked.only or []), *asked.extra} - known:
        parser.error(f"there is no system {', '.join(sorted(unknown))}; there are {', '.join(sorted(known))}")
    if unknown := set(asked.modes) - set(ROUNDS):
        parser.error(f"there is no mode {', '.join(sorted(unknown))}; there are {', '.join(ROUNDS)}")
    if not all(count.isdigit() and int(count) > 0 for count in asked.threads):
        parser.error("--threads takes numbers, such as 1,2")
    return asked


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
        self.skipped: dict[str, str] = {}
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
        count = max(BATCH.values())
        images = random.standard_normal((count, *self.check["input"]), np.float32)
        images.astype("<f4").tofile(self.folder / "images.f32")
        random.integers(0, self.check["output"][0], count).astype("<u4").tofile(self.folder / "labels.u32")

    def ready_systems(self):
        """Finds out how each system is started; one that cannot be is skipped."""
        onnx = [BATCH[mode] for mode in self.asked.modes if mode != "training"]
        for system in self.systems:
            try:
                if system.worker == NIN.worker:
                    self.commands[system.key] = self.commands[NIN.key]
                elif system.is_crate:
                    say(f"building {system.title}")
                    manifest = f"benches/peers/{system.worker}/Cargo.toml"
                    self.commands[system.key] = list(map(str, build("--manifest-path", manifest).values()))
                else:
                    self.commands[system.key] = python(system.worker)
            except Failed as failure:
                self.skip(system, failure)
        if any(x.worker in ("onnx_runtime.py", "open_vino.py") for x in self.systems):
            say("exporting ONNX")
            for batch in onnx:
                command = [*python("export_onnx.py"), str(self.folder), "inference", "1", str(batch), ""]
                done = subprocess.run(command, capture_output=True, text=True)
                if done.returncode != 0:
                    say(f"no ONNX file: {done.stderr.strip().splitlines()[-1]}")

    def skip(self, system: System, why: Exception):
        """Goes on without a system."""
        say(f"skipping {system.title}: {why}")
        self.skipped[system.title] = str(why)
        self.commands.pop(system.key, None)

    def start(self, mode: str, threads: int) -> list[Worker]:
        """A process of every system that has the mode, nin's first."""
        workers = []
        for system in [NIN, *self.systems]:
            if system.key not in self.commands or mode not in system.modes:
                continue
            say(f"  starting {system.title}")
            try:
                job = (mode, threads, BATCH[mode])
                workers.append(Worker(system, self.commands[system.key], self.folder, job))
                self.versions[system.title] = workers[-1].version
            except Failed as failure:
                if system is NIN:
                    raise
                self.skip(system, failure)
        return workers

    def agree(self, mode: str, threads: int, workers: list[Worker]):
        """Drops whoever computes something else than nin."""
        results = {}
        for worker in list(workers):
            file = self.folder / f"{worker.system.key}-{mode}-{threads}.f32"
            with self.dropping(worker, workers):
                worker.check(file)
                results[worker.system.key] = np.fromfile(file, "<f4")
        expected = results["nin"]
        for worker in workers[1:]:
            found = results[worker.system.key]
            scale = np.abs(expected) if mode == "losses" else 1.0
            far = np.max(np.abs(found - expected) / scale) if found.shape == expected.shape else np.inf
            say(f"  {worker.system.title}: within {far:.1e} of nin")
            with self.dropping(worker, workers):
                # A NaN is not near anything.
                if not far <= AGREES[mode]:
                    raise Failed(f"its results ({mode}) differ from nin's by {far:.1e}")

    @contextlib.contextmanager
    def dropping(self, worker: Worker, workers: list[Worker]):
        """Goes on without a worker that fails, unless it is nin's."""
        try:
            yield
        except Failed as failure:
            if worker.system is NIN:
                raise
            worker.end()
            workers.remove(worker)
            self.skip(worker.system, failure)

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
                with self.dropping(worker, workers):
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
        say("losses of five steps, batch 32, no dropout")
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


def main():
    """Measures and reports."""
    asked = arguments()
    watch, start = machine.Watch(), time.monotonic()
    try:
        run = compare(asked)
    except Failed as failure:
        sys.exit(f"nin: {failure}")
    versions = [*dict.fromkeys(run.versions.values()), *machine.tools()]
    print(f"On {machine.cpu()}, {datetime.date.today().isoformat()}. {', '.join(versions)}. {watch.told()}\n")
    print(report.tables(run))
    if asked.json:
        asked.json.write_text(report.raw(run))
    say(f"{time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    main()
