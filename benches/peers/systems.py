"""The systems that are compared, and how each is started."""

import json
import os
import re
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
# What can be asked of a system; `losses` checks its training.
INFERENCE = ("latency", "inference")
TRAINING = (*INFERENCE, "training")
CHECKED = (*TRAINING, "losses")

# glibc gives large tensors back to the system and faults them in anew at every step, which costs PyTorch up to a third
# of its speed. Kept memory is the fair comparison; `pytorch-stock` shows the other.
KEEP_MEMORY = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "40000000000",
    "MALLOC_TOP_PAD_": "268435456",
}


@dataclass(frozen=True)
class System:
    """A row of the tables."""

    key: str
    title: str
    # A file in workers/, or a folder with a crate of its own.
    worker: str
    variant: str = ""
    modes: tuple[str, ...] = INFERENCE
    environment: dict[str, str] = field(default_factory=dict)
    # The file in workers/ that writes what it reads beside nin's own files.
    export: str = ""
    # How far its results may be from nin's, as a share of how far these are from each other.
    rounding: float = 1e-3
    # Whether it runs without being asked for.
    usual: bool = True

    @property
    def is_crate(self) -> bool:
        return (HERE / self.worker / "Cargo.toml").exists()


ONNX = "export_onnx.py"
LITERT = "export_litert.py"
NIN = System("nin", "nin", "nin", "", CHECKED)
OTHERS = (
    System("nin-direct", "nin, direct algorithm", "nin", "direct", CHECKED),
    System("pytorch", "PyTorch, eager", "pytorch.py", "eager", CHECKED, KEEP_MEMORY),
    System("pytorch-compile", "PyTorch, torch.compile", "pytorch.py", "compile", CHECKED, KEEP_MEMORY),
    System("jax", "JAX", "jax_net.py", "", CHECKED, KEEP_MEMORY),
    System("onnxruntime", "ONNX Runtime", "onnx_runtime.py", export=ONNX),
    System("openvino", "OpenVINO, latency mode", "open_vino.py", "latency", export=ONNX),
    System(
        "openvino-throughput", "OpenVINO, throughput mode", "open_vino.py", "throughput", ("inference",), export=ONNX
    ),
    # It rounds to bfloat16 where the CPU has that.
    System("openvino-default", "OpenVINO, its default type", "open_vino.py", "default", export=ONNX, rounding=0.2),
    System("mnn", "MNN", "mnn_net.py", export=ONNX),
    System("ncnn", "ncnn", "ncnn_net.py", export=ONNX),
    System("opencv", "OpenCV", "open_cv.py", export=ONNX),
    System("litert", "LiteRT", "lite_rt.py", export=LITERT),
    System("pytorch-stock", "PyTorch, eager, stock allocator", "pytorch.py", "eager", TRAINING, usual=False),
    System("burn", "burn", "burn", "", CHECKED, usual=False),
    System("candle", "candle", "candle", usual=False),
    System("rten", "rten", "rten", export=ONNX, usual=False),
    System("tract", "tract", "tract", export=ONNX, usual=False),
)


class Failed(Exception):
    """A system that cannot take part, and why."""


def build(*arguments: str) -> dict[str, Path]:
    """Builds with cargo, and returns the programs it made by their names."""
    command = ["cargo", "build", "--release", "--message-format=json-render-diagnostics"]
    done = subprocess.run([*command, *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise Failed(f"cargo build {' '.join(arguments)} failed")
    messages = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    programs = [Path(x["executable"]) for x in messages if x.get("executable")]
    return {program.stem: program for program in programs}


def python(worker: str) -> list[str]:
    """A worker in Python."""
    return [sys.executable, str(HERE / "workers" / worker)]


def complaint(log: str) -> str:
    """The line of a log that says most: Python's last exception, or what came last."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r"[\w.]*(Error|Exception|Failed)\b", line)]
    return (errors or lines or ["it ended and said nothing"])[-1]


class Worker:
    """A process that answers: the other end of the protocol in README.md."""

    # Longer than any of them needs to compile, or to do a round.
    PATIENCE = 600

    def __init__(self, system: System, command: list[str], folder: Path, job: tuple[str, int, int]):
        mode, threads, batch = job
        self.system = system
        self.log = folder / f"{system.key}-{mode}-{threads}.log"
        arguments = [str(folder), mode, str(threads), str(batch)]
        if system is not NIN:
            arguments.append(system.variant)
        counts = dict.fromkeys(("OMP_NUM_THREADS", "RAYON_NUM_THREADS"), str(threads))
        environment = os.environ | counts | system.environment
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [*command, *arguments],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self.version = self._answer("ready")

    def _answer(self, word: str) -> str:
        timer = threading.Timer(self.PATIENCE, self.process.kill)
        timer.start()
        line = self.process.stdout.readline()
        timer.cancel()
        found, _, rest = line.strip().partition(" ")
        if found != word:
            self.end()
            raise Failed(complaint(self.log.read_text(errors="replace")))
        return rest

    def _ask(self, line: str, word: str) -> str:
        try:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass
        return self._answer(word)

    def run(self, calls: int) -> list[float]:
        """Seconds of each call."""
        return [float(seconds) for seconds in self._ask(f"run {calls}", "took").split()]

    def check(self, file: Path):
        """Writes what the systems must agree on."""
        self._ask(f"check {file}", "done")

    def peak(self) -> float:
        """The machine's multiply-add peak in operations a second; nin alone knows it."""
        return float(self._ask("peak now", "peak"))

    def end(self):
        """Ends the process."""
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()
