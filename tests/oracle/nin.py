"""The `nin` command, as a user runs it."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

ISAS = ("portable", "avx2", "avx512")
MODEL, WEIGHTS, IMAGES, LABELS = "model.nin", "w.safetensors", "x.npy", "l.npy"
"""Names of the files in a model's folder."""


class Failed(Exception):
    """A command that did not end well; the message shows it and what it said."""


@dataclass(frozen=True)
class Variant:
    """A model's file and the parameters given to it."""

    file: Path
    defines: tuple[str, ...] = ()

    def arguments(self) -> list[str]:
        """As they stand on the command line."""
        return [str(self.file), *(word for define in self.defines for word in ("-D", define))]


@dataclass(frozen=True)
class Way:
    """One of the ways in which nin computes the same."""

    isa: str
    algo: str

    def __str__(self) -> str:
        return f"{self.isa} {self.algo}"

    def arguments(self) -> list[str]:
        """As they stand on the command line."""
        return ["--isa", self.isa, "--algo", self.algo]


EXACT = "direct"
"""The algorithm that does not round whole numbers."""


@dataclass(frozen=True)
class Result:
    """What `nin run` wrote."""

    output: np.ndarray
    loss: float | None = None
    gradients: dict[str, np.ndarray] | None = None

    def same(self, other: Result) -> bool:
        """Whether two results of one kind have the same bits."""
        a, b = (result.gradients or {} for result in (self, other))
        pairs = [(self.output, other.output), *((x, b[name]) for name, x in a.items() if name in b)]
        return self.loss == other.loss and a.keys() == b.keys() and all(x.tobytes() == y.tobytes() for x, y in pairs)


class Nin:
    """The command at a path."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def _run(self, *words: str) -> str:
        command = [str(self.path), *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Failed(f"$ {' '.join(command)}\nexit code {done.returncode}\n{done.stderr}")
        return done.stdout

    def check(self, model: Variant) -> dict:
        """The checker's verdict."""
        return json.loads(self._run("check", *model.arguments(), "--json"))

    def init(self, model: Variant, seed: int, weights: Path) -> None:
        """Writes fresh weights."""
        self._run("init", *model.arguments(), "--seed", str(seed), "-o", str(weights))

    def run(self, model: Variant, folder: Path, way: Way, threads: int, *, labelled: bool) -> Result:
        """Runs the model on the folder's `x.npy`, with its `w.safetensors` and, if asked, the labels in `l.npy`."""
        words = self.run_words(model, folder, way, threads, labelled=labelled)
        printed = self._run(*words)
        output = np.load(folder / "y.npy")
        if not labelled:
            return Result(output)
        return Result(output, float(printed), load_file(folder / "g.safetensors"))

    def run_words(self, model: Variant, folder: Path, way: Way, threads: int, *, labelled: bool) -> list[str]:
        """The arguments of `run`, to be shown, too."""
        words = ["run", *model.arguments(), *way.arguments(), "--threads", str(threads)]
        files = {"--weights": WEIGHTS, "--input": IMAGES, "-o": "y.npy"}
        if labelled:
            files |= {"--labels": LABELS, "--grads": "g.safetensors"}
        return words + [word for flag, name in files.items() for word in (flag, str(folder / name))]

    def train(self, model: Variant, folder: Path, run: Path, way: Way, *options: str) -> None:
        """Trains from the folder's weights on the arrays in it, by its `recipe.toml` and further options."""
        files = ["--data", f"npy:{folder}", "--recipe", str(folder / "recipe.toml"), "--weights", str(folder / WEIGHTS)]
        self._run("train", *model.arguments(), *way.arguments(), *files, *options, "--out", str(run))

    def isas(self, folder: Path) -> list[str]:
        """The instruction sets that this machine has."""
        model = Variant(folder / "probe.nin")
        model.file.write_text("< input(1, 1, 1) relu >\n")
        np.save(folder / "x.npy", np.zeros((1, 1, 1, 1), np.float32))
        self.init(model, 0, folder / "w.safetensors")

        def runs(isa: str) -> bool:
            try:
                self.run(model, folder, Way(isa, EXACT), 1, labelled=False)
            except Failed:
                return False
            return True

        return [isa for isa in ISAS if runs(isa)]
