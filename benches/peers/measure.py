"""Measures every figure of docs/performance.md and writes all of its tables: nin's models and settings, other systems.

What is compared takes turns, so that whatever else the machine does meets both alike; ratios are of one run's figures.
"""

import argparse
import datetime
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import machine
import report
import run as peers
from systems import NIN, ROOT, Failed, Worker, build

# The models, each with the values of its parameters.
MODELS = [
    ("digits", ""),
    ("nin-mnist", ""),
    ("nin-svhn", ""),
    ("nin-cifar10", ""),
    ("nin-cifar100", ""),
    ("nin-cifar10-bn", ""),
    ("nin-imagenet", ""),
    ("nin-cifar10-caffe", ""),
    ("nin-cifar10-caffe", "width=37"),
]
# The one whose settings are varied.
VARIED = "nin-cifar10-caffe"
TUNED = ["digits", "nin-mnist", "nin-svhn", "nin-cifar10", "nin-cifar10-bn", VARIED]
MODES = {"infer": "inference", "train": "training step"}
ALGOS = ["auto", "direct"]
BATCH = 32
# Images of the array that `nin run` gets.
ARRAY = 4096
# Runs a command, and prints its seconds, KiB and exit code. The system counts to a program what the process that
# started it held: this one holds little.
LEAN = """
import os, sys, time
begin = time.monotonic()
silent = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
child = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=silent)
_, status, used = os.wait4(child, 0)
print(time.monotonic() - begin, used.ru_maxrss, os.waitstatus_to_exitcode(status))
"""
SECTIONS = ["models", "settings", "calls", "tuning", "peers"]


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    comma = re.compile(", *").split
    parser.add_argument("--write", type=Path, help="put the tables between this file's markers")
    parser.add_argument("--json", type=Path, help="write every figure of every round here")
    parser.add_argument("--sections", type=comma, default=SECTIONS, help="default all of " + ", ".join(SECTIONS))
    parser.add_argument("--rounds", type=int, default=3, help="rounds of nin's own tables; default 3")
    parser.add_argument("--quick", action="store_true", help="as little as shows that all of it works")
    parser.add_argument("--threads", type=comma, default=["1", "2"], help="of the comparison; default 1,2")
    asked = parser.parse_args()
    if unknown := set(asked.sections) - set(SECTIONS):
        parser.error(f"there is no section {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    if asked.rounds < 1:
        parser.error("--rounds takes a number from 1 on")
    if asked.write:
        if asked.sections != SECTIONS:
            parser.error("a document is written as a whole: --write goes with every section")
        report.check_markers(asked.write)
    return asked


def table(heads: list[str], rows: Iterable[list[str]]) -> str:
    """A table whose first column is text and whose others are figures."""
    lines = [heads, ["---"] + ["---:"] * (len(heads) - 1), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def ratio(ours: list[float], theirs: list[float]) -> float:
    """The median of what rounds make of it."""
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


@dataclass
class Own:
    """nin's own tables."""

    nin: Path
    folder: Path
    rounds: int
    quick: bool
    # Every report of `nin bench`, in order.
    reports: list[dict] = field(default_factory=list)

    def command(self, *words: str | Path) -> str:
        """What nin prints."""
        done = subprocess.run([self.nin, *words], cwd=self.folder, stdout=subprocess.PIPE, text=True)
        if done.returncode != 0:
            raise Failed(f"nin {' '.join(map(str, words))} failed")
        return done.stdout

    def bench(self, name: str, values: str = "", **options: str | int) -> dict:
        """One `nin bench`."""
        words = ["bench", str(ROOT / "models" / f"{name}.nin"), "--json", "-q"]
        words += ["-D", values] if values else []
        words += ["--runs", "2"] if self.quick and "tune" not in options else []
        for option, value in options.items():
            words += [f"--{option}"] if value is True else [f"--{option}", str(value)]
        made = json.loads(self.command(*words))
        self.reports.append(made)
        return made

    def in_turns(self, name: str, values: str, settings: list[dict]) -> list[list[dict]]:
        """A model's reports with each of some settings, round by round; every round begins with the next one."""
        found: list[list[dict]] = [[] for _ in settings]
        numbers = list(range(len(settings)))
        for done in range(self.rounds):
            first = done % len(settings)
            for number in numbers[first:] + numbers[:first]:
                found[number].append(self.bench(name, values, **settings[number]))
        return found

    def models(self) -> str:
        """A table a mode: every model by the algorithms that `auto` takes, and by the direct one."""
        parts = []
        for mode, title in MODES.items():
            rows = []
            for name, values in MODELS:
                say(f"{name} {values}, {title}")
                settings = [{"mode": mode, "batch": BATCH, "algo": algo} for algo in ALGOS]
                auto, direct = self.in_turns(name, values, settings)
                speeds = [[x["images_per_s"] for x in reports] for reports in (auto, direct)]
                cells = [f"`{name}`" + (f", {values.replace('=', ' ')}" if values else "")]
                for reports, speed in zip((auto, direct), speeds, strict=True):
                    cells += [f"{statistics.median(speed):,.0f}", f"{median(reports, 'percent_of_peak'):.0f}"]
                cells += [f"{ratio(*speeds):.2f} x", f"{auto[0]['code_bytes'] / 1024:.0f} KiB"]
                if mode == "train":
                    memory = [x["peak_rss_bytes"] for x in auto]
                    cells.append(f"{max(memory) / 2**20:.0f} MiB" if all(memory) else "")
                rows.append(cells)
            heads = ["model", "`auto`: images/s", "% of peak", "`direct`: images/s", "% of peak", "`auto` is", "code"]
            heads += ["memory"] if mode == "train" else []
            parts.append(f"### Every model, {title}\n\n{table(heads, rows)}")
        return "\n\n".join(parts)

    def settings(self) -> str:
        """What instruction sets and denormal numbers change."""
        parts = [self.of_isas(), self.of_denormals()]
        return f"### Settings, with `{VARIED}`\n\n" + "\n\n".join(parts)

    def of_isas(self) -> str:
        """Every instruction set of this CPU, by either algorithm."""
        best, *isas = [isa for isa in ("avx512", "avx2", "portable") if self.has(isa)]
        rows = []
        for mode, title in MODES.items():
            say(f"instruction sets, {title}")
            pairs = [(isa, algo) for isa in (best, *isas) for algo in ALGOS]
            settings = [{"mode": mode, "batch": BATCH, "isa": isa, "algo": algo} for isa, algo in pairs]
            found = dict(zip(pairs, self.in_turns(VARIED, "", settings), strict=True))
            for isa in isas:
                cells = [f"{title}, `{isa}`"]
                for algo in ALGOS:
                    speeds = [[x["images_per_s"] for x in found[of, algo]] for of in (isa, best)]
                    cells += [f"{ratio(*speeds):.2f} x", f"{median(found[isa, algo], 'percent_of_peak'):.0f}"]
                rows.append(cells)
        heads = [
            f"{BATCH} images a call",
            f"`auto`: beside `{best}`",
            "% of peak",
            f"`direct`: beside `{best}`",
            "% of peak",
        ]
        return table(heads, rows)

    def has(self, isa: str) -> bool:
        """Whether this CPU has an instruction set."""
        words = [self.nin, "show", ROOT / "models/digits.nin", "--stage", "plan", "--isa", isa]
        return subprocess.run(words, capture_output=True).returncode == 0

    def of_denormals(self) -> str:
        """Numbers too small to be normal, which make other programs slow."""
        say("denormals")
        folder = self.folder / "denormals"
        folder.mkdir()
        comparison = peers.Comparison(peers.asked(ROOT / "models" / f"{VARIED}.nin"), folder)
        comparison.write_inputs(self.nin)
        usual = folder / "images.f32"
        images = peers.np.fromfile(usual, "<f4")
        rows = []
        for mode in ("inference", "training"):
            workers = {}
            for title, scale in (("normal images", 1.0), ("denormal images", 1e-40)):
                (images * scale).astype("<f4").tofile(usual)
                workers[title] = Worker(NIN, [str(self.nin.parent / "examples/peer")], folder, (mode, 1, BATCH))
            times: dict[str, list[float]] = {title: [] for title in workers}
            for _ in range(2 if self.quick else 15):
                for title, worker in workers.items():
                    times[title] += worker.run(1)
            for worker in workers.values():
                worker.end()
            normal, denormal = times.values()
            rows.append(
                [
                    mode,
                    *(f"{1e3 * statistics.median(x):.1f}" for x in (normal, denormal)),
                    f"{ratio(denormal, normal):.2f}",
                ]
            )
        heads = [f"{BATCH} images a call, 1 thread", "normal images: ms", "denormal images: ms", "times as long"]
        return table(heads, rows)

    def calls(self) -> str:
        """Whole commands, from their start to their end."""
        say("whole commands")
        rows = []
        for name in ("digits", VARIED):
            model = ROOT / "models" / f"{name}.nin"
            shape = json.loads(self.command("check", model, "--json", "-q"))["input"]
            weights, array = self.folder / "w.safetensors", self.folder / "x.npy"
            self.command("init", model, "-o", weights, "-q")
            random = peers.np.random.default_rng(1)
            count = 64 if self.quick else ARRAY
            peers.np.save(array, random.standard_normal((count, *shape), peers.np.float32))
            picture = self.folder / "x.png"
            write_png(picture, shape, random)
            runs = ["run", model, "--weights", weights, "--input", array, "-o", self.folder / "y.npy", "-q"]
            predict = ["predict", model, "--weights", weights, picture, "-q"]
            for words, title in ((predict, "`nin predict`, one image"), (runs, f"`nin run`, {count:,} images")):
                spent = [self.spent(words) for _ in range(2 if self.quick else 7)]
                seconds, memory = statistics.median(x for x, _ in spent), max(x for _, x in spent)
                rows.append([f"`{name}`: {title}", f"{1e3 * seconds:,.0f}", f"{memory / 2**20:.0f} MiB"])
        return "### Whole commands\n\n" + table(["from start to end", "ms", "peak memory"], rows)

    def spent(self, words: list[str | Path]) -> tuple[float, int]:
        """Seconds of a command, and the most memory it held."""
        command = [sys.executable, "-I", "-S", "-c", LEAN, str(self.nin), *map(str, words)]
        done = subprocess.run(command, cwd=self.folder, stdout=subprocess.PIPE, text=True)
        seconds, kib, code = done.stdout.split()
        if code != "0":
            raise Failed(f"nin {' '.join(map(str, words))} failed")
        return float(seconds), 1024 * int(kib)

    def tuning(self) -> str:
        """Where the measured choice of algorithms differs from `auto`."""
        rows = []
        for name in TUNED[:1] if self.quick else TUNED:
            for mode, title in MODES.items():
                say(f"tuning {name}, {title}")
                os.environ["XDG_CACHE_HOME"] = str(self.folder / "cache")
                options = {"runs": 2} if self.quick else {}
                made = self.bench(name, mode=mode, batch=BATCH, tune=True, **options)
                rows.append([f"`{name}`, {title}", *tuned(made)])
        heads = ["model", "products", "another algorithm is clearly faster for", "a call by these takes", "kept"]
        return f"### What `--tune` finds\n\n{table(heads, rows)}"


def tuned(made: dict) -> list[str]:
    """What a report of `--tune` says."""
    better = []
    for product in made["products"]:
        if product["best"] != product["auto"]:
            times = {x["algo"]: x["us"] for x in product["times"]}
            less = 100 * (1 - times[product["best"]] / times[product["auto"]])
            better.append(f"`{product['layer']}.{product['product']}={product['best']}` ({less:.0f} % less)")
    call = made["call"]
    less = f"{100 * (1 - call['suggested_ms'] / call['auto_ms']):.1f} % less" if call else ""
    return [str(len(made["products"])), ", ".join(better) or "none", less.replace("-0.0", "0.0"), f"`{made['algo']}`"]


def median(reports: list[dict], key: str) -> float:
    """Of a figure of some reports."""
    return statistics.median(x[key] for x in reports)


def write_png(file: Path, shape: list[int], random):
    """Noise as a picture."""
    import struct
    import zlib

    channels, height, width = shape
    pixels = random.integers(0, 256, (height, width * channels)).astype("u1")
    lines = b"".join(b"\0" + line.tobytes() for line in pixels)

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", width, height, 8, {1: 0, 3: 2}[channels], 0, 0, 0)
    parts = [chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(lines)), chunk(b"IEND", b"")]
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


def say(line: str):
    """Progress, to standard error."""
    print(line, file=sys.stderr, flush=True)


def heading(own: Own, watch: machine.Watch, versions: list[str], seconds: float) -> str:
    """On what it was measured, when, and how quietly."""
    peaks: dict[int, list[float]] = {}
    for made in own.reports:
        if "peak_gflops" in made:
            peaks.setdefault(made["threads"], []).append(made["peak_gflops"])
    told = [
        f"{statistics.median(found):.0f} GFLOP/s on {report.threads(count)}" for count, found in sorted(peaks.items())
    ]
    described = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True)
    revision = described.stdout.strip() or "unknown"
    busy = [made for made in own.reports if made["busy"]]
    date = datetime.date.today().isoformat()
    lines = [
        f"On {machine.cpu()}, {date}, by revision {revision}, in {seconds / 60:.0f} minutes.",
        f"Multiply-add peak, median of all measurements: {', '.join(told)}.",
        f"{', '.join([*versions, *machine.tools()])}.",
        f"{watch.told()} `nin bench` saw a busy machine in {len(busy)} of {len(own.reports)} measurements.",
        f"Figures of nin alone are medians of {own.rounds} rounds, each of which is the median of some seconds' calls.",
    ]
    if own.quick:
        lines.insert(0, "**Only a trial: nothing here is a measurement.**")
    return "\n\n".join(lines)


def main():
    """Measures and writes."""
    asked = arguments()
    begin = time.monotonic()
    try:
        say("building nin")
        nin = build("--bin", "nin", "--example", "peer")["nin"]
        with tempfile.TemporaryDirectory(prefix="nin-measure-") as folder:
            watch = machine.Watch()
            own = Own(nin, Path(folder), 1 if asked.quick else asked.rounds, asked.quick)
            parts = [getattr(own, section)() for section in asked.sections if section != "peers"]
            versions: list[str] = []
            if "peers" in asked.sections:
                comparison = peers.compare(
                    peers.asked(ROOT / "models" / f"{VARIED}.nin", asked.threads, 1 if asked.quick else None)
                )
                parts.append(report.tables(comparison))
                versions = list(dict.fromkeys(comparison.versions.values()))
            head = heading(own, watch, versions, time.monotonic() - begin)
    except Failed as failure:
        sys.exit(f"nin: {failure}")
    text = "\n\n".join([head, *parts])
    print(text)
    if asked.json:
        asked.json.write_text(json.dumps(own.reports, indent=1))
    if asked.write:
        report.fill(asked.write, text)
    say(f"{time.monotonic() - begin:.0f} s")


if __name__ == "__main__":
    main()
