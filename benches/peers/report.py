"""The tables, as Markdown."""

import re
import statistics
import sys
from pathlib import Path

import machine
from systems import NIN

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"

TITLES = {
    "latency": "Latency of one image",
    "inference": "Inference, {} images a call",
    "training": "Training step, {} images",
}


def threads(count: int) -> str:
    """`1 thread`, `2 threads`."""
    return f"{count} thread{'' if count == 1 else 's'}"


def check_markers(file: Path):
    """Ends the program if there is no place for the tables."""
    if not file.exists() or not re.search(f"{BEGIN}.*{END}", file.read_text(), re.DOTALL):
        sys.exit(f"{file} has no lines {BEGIN} and {END} to put the tables between")


def fill(file: Path, text: str):
    """Puts the tables between a file's markers."""
    pattern = re.compile(f"{BEGIN}.*{END}", re.DOTALL)
    file.write_text(pattern.sub(lambda _: f"{BEGIN}\n{text}\n{END}", file.read_text()))


def tables(run) -> str:
    """What was measured, and a table a mode."""
    counts = [int(count) for count in run.asked.threads]
    peaks = [f"{run.peaks[count] / 1e9:.0f} GFLOP/s on {threads(count)}" for count in counts]
    parts = [f"`{run.asked.model.stem}`; multiply-add peak {', '.join(peaks)}."]
    for mode in run.asked.modes:
        parts.append(f"### {TITLES[mode].format(run.batch(mode))}\n\n{table(run, mode, counts)}")
    rounds = ", ".join(f"{run.rounds(mode)} of {mode}" for mode in run.asked.modes)
    widest = max(map(spread, run.times.values()))
    parts.append(
        f"Medians of rounds: {rounds}. In every row half of the rounds are within {100 * widest:.1f} % of the median."
    )
    return "\n\n".join(parts)


def spread(seconds: list[float]) -> float:
    """The share of the median within which half of the rounds lie."""
    middle = statistics.median(seconds)
    return statistics.median_high(abs(x - middle) for x in seconds) / middle


def table(run, mode: str, counts: list[int]) -> str:
    """A mode: a line a system, and for each number of threads its figures and how much faster nin is."""
    unit = "ms" if mode == "latency" else "images/s"
    heads = ["system"]
    for count in counts:
        heads += [f"{threads(count)}: {unit}", "% of peak", "nin is"]
        heads += [f"{threads(count)} are"] if count != counts[0] else []
    lines = [heads, ["---"] + ["---:"] * (len(heads) - 1)]
    for system in [NIN, *run.systems]:
        cells = [system.title]
        for count in counts:
            cells += figures(run, mode, count, system.key)
            cells += [gained(run, mode, (counts[0], count), system.key)] if count != counts[0] else []
        why = run.skipped.get((mode, system.key))
        if why:
            cells = [f"{system.title}: *{why.replace('|', '/')}*", *cells[1:]]
        if why or any(cells[1:]):
            lines.append(cells)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def figures(run, mode: str, count: int, key: str) -> list[str]:
    """A system's figures on some threads."""
    seconds = run.times.get((mode, count, key))
    if not seconds:
        return ["", "", ""]
    median = statistics.median(seconds)
    batch = run.batch(mode)
    speed = f"{1e3 * median:.2f}" if mode == "latency" else f"{batch / median:.1f}"
    percent = 100 * batch / median * run.flops(mode) / run.peaks[count]
    own = run.times[mode, count, "nin"]
    # Round by round, so that what slows the machine for a while slows both.
    ratio = statistics.median(theirs / nin for theirs, nin in zip(seconds, own, strict=True))
    return [speed, f"{percent:.0f}", "" if key == "nin" else f"{ratio:.2f} x"]


def gained(run, mode: str, counts: tuple[int, int], key: str) -> str:
    """What more threads gain."""
    few, many = (run.times.get((mode, count, key)) for count in counts)
    return f"{statistics.median(few) / statistics.median(many):.2f} x" if few and many else ""


def raw(run) -> dict:
    """Every round's times."""
    times = [
        {"mode": mode, "threads": count, "system": key, "seconds_per_call": seconds}
        for (mode, count, key), seconds in run.times.items()
    ]
    skipped = [{"mode": mode, "system": key, "why": why} for (mode, key), why in run.skipped.items()]
    return {
        "model": run.asked.model.stem,
        "cpu": machine.cpu(),
        "versions": run.versions,
        "peaks": run.peaks,
        "times": times,
        "skipped": skipped,
    }
