"""The protocol that every system speaks: see README.md one folder up."""

import gc
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

# Libraries may print; only answers may reach the other end.
_answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)


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

    def layers(self) -> list[dict]:
        """The model's layers, as `nin check --json` lists them."""
        layers = json.loads((self.folder / "check.json").read_text())["layers"]
        # Two systems never drop the same elements, so losses are compared without dropout.
        return [x for x in layers if self.mode != "losses" or x["kind"] != "dropout"]

    def images(self) -> np.ndarray:
        """Images [N, C, H, W]."""
        shape = self.layers()[0]["output"]
        images = np.fromfile(self.folder / "images.f32", "<f4").reshape(-1, *shape)
        return images[: self.batch].copy()

    def labels(self) -> np.ndarray:
        """Labels [N]."""
        return np.fromfile(self.folder / "labels.u32", "<u4").astype(np.int64)[: self.batch]


def job() -> Job:
    """Reads the command line: FOLDER MODE THREADS BATCH VARIANT."""
    folder, mode, threads, batch, variant = sys.argv[1:]
    return Job(Path(folder), mode, int(threads), int(batch), variant)


def serve(version: str, call: Callable[[], object], check: Callable[[], np.ndarray], batches: int = 1):
    """Answers until standard input ends. A call does `batches` batches and is told as the time of one."""

    def answer(line: str):
        print(line, file=_answers, flush=True)

    answer(f"ready {version}")
    for line in sys.stdin:
        word, argument = line.split(maxsplit=1)
        if word == "run":
            gc.collect()
            times = []
            for _ in range(int(argument)):
                start = time.perf_counter()
                call()
                times.append((time.perf_counter() - start) / batches)
            answer("took " + " ".join(map(str, times)))
        elif word == "check":
            np.asarray(check(), "<f4").tofile(argument.strip())
            answer("done")
        else:
            raise ValueError(f"what is `{word}`?")
