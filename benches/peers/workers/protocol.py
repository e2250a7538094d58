"""The protocol that every system speaks: see README.md one folder up."""

import gc
import json
import math
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from model import Model

# Libraries may print; only answers may reach the other end.
_answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)

# Calls that find out which setting is fastest, of each.
TRIALS = 5


@dataclass
class Job:
    """What a worker's command line asks for."""

    folder: Path
    mode: str
    threads: int
    batch: int
    variant: str

    @property
    def trains(self) -> bool:
        return self.mode in ("training", "losses")

    @property
    def rate(self) -> float:
        """The learning rate: too small to change what is computed, but where the losses are compared."""
        return 0.01 if self.mode == "losses" else 1e-6

    @property
    def onnx(self) -> str:
        """The network as ONNX, for as many images."""
        return str(self.folder / f"model-{self.batch}.onnx")

    def model(self) -> Model:
        """The network: what is trained gives logits, and what is not has its batch normalisations folded."""
        described = json.loads((self.folder / "check.json").read_text())["layers"]
        model = Model.read(described, self.folder / "weights.safetensors")
        # Two systems never drop the same elements, so losses are compared without dropout.
        if self.mode == "losses":
            for layer in model.layers:
                layer.args |= {"p": 0.0} if layer.kind == "dropout" else {}
        return model.logits() if self.trains else model.folded()

    def images(self) -> np.ndarray:
        """Images [N, C, H, W]."""
        shape = json.loads((self.folder / "check.json").read_text())["input"]
        images = np.fromfile(self.folder / "images.f32", "<f4").reshape(-1, *shape)
        return images[: self.batch].copy()

    def labels(self) -> np.ndarray:
        """Labels [N]."""
        return np.fromfile(self.folder / "labels.u32", "<u4").astype(np.int64)[: self.batch]


def job() -> Job:
    """Reads the command line: FOLDER MODE THREADS BATCH VARIANT."""
    folder, mode, threads, batch, variant = sys.argv[1:]
    return Job(Path(folder), mode, int(threads), int(batch), variant)


def fastest(settings: list, made: Callable[[object], Callable[[], object]]) -> Callable[[], object]:
    """What is made by the setting by which it takes the least time; one that fails is left out, unless all do. A
    single setting needs no trial."""
    if len(settings) == 1:
        return made(settings[0])
    best, failure = (math.inf, None), None
    for setting in settings:
        try:
            call = made(setting)
            call()
            seconds = statistics.median(timed(call) for _ in range(TRIALS))
        except Exception as error:
            print(f"{setting}: {error}", file=sys.stderr)
            failure = error
            continue
        print(f"{setting}: {seconds} s", file=sys.stderr)
        best = min(best, (seconds, call), key=lambda pair: pair[0])
    if best[1] is None:
        raise failure
    return best[1]


def timed(call: Callable[[], object]) -> float:
    """Seconds of a call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def serve(version: str, call: Callable[[], object], check: Callable[[], np.ndarray], batches: int = 1):
    """Answers until standard input ends. A call does `batches` batches and is told as the time of one."""

    def answer(line: str):
        print(line, file=_answers, flush=True)

    answer(f"ready {version}")
    for line in sys.stdin:
        word, argument = line.split(maxsplit=1)
        if word == "run":
            gc.collect()
            times = [timed(call) / batches for _ in range(int(argument))]
            answer("took " + " ".join(map(str, times)))
        elif word == "check":
            np.asarray(check(), "<f4").tofile(argument.strip())
            answer("done")
        else:
            raise ValueError(f"what is `{word}`?")
