"""The machine that is measured: what it is, and what else it did meanwhile."""

import os
import platform
import re
import resource
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

# Share of the processors that others may take while something is measured.
MOST_OTHERS = 0.05


def cpu() -> str:
    """The CPU's name and its cores."""
    info = Path("/proc/cpuinfo")
    text = info.read_text() if info.exists() else ""
    names = re.findall(r"^model name\s*: (.*)", text, re.MULTILINE)
    cores = f", {len(names)} cores" if names else ""
    return (names[0] if names else platform.processor() or platform.machine()) + cores


def tools() -> list[str]:
    """The compiler's and the interpreter's versions."""
    rustc = subprocess.run(["rustc", "--version"], capture_output=True, text=True).stdout.split()
    return [" ".join(rustc[:2]), f"Python {platform.python_version()}"]


@dataclass(frozen=True)
class Clock:
    """Seconds that were spent so far."""

    wall: float
    # Of this program and of its children that have ended.
    own: float
    # Of all programs, and what the hypervisor kept for others; `None` where the system does not tell.
    everyone: float | None
    stolen: float | None

    @staticmethod
    def now() -> "Clock":
        """What it says now."""
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        own = sum(one.ru_utime + one.ru_stime for one in used)
        stat = Path("/proc/stat")
        if not stat.exists():
            return Clock(time.monotonic(), own, None, None)
        ticks = [int(field) for field in stat.read_text().split("\n", 1)[0].split()[1:9]]
        user, nice, system, _idle, _iowait, irq, softirq, steal = [x / os.sysconf("SC_CLK_TCK") for x in ticks]
        return Clock(time.monotonic(), own, user + nice + system + irq + softirq, steal)


class Watch:
    """How busy the machine is with other things, from now on. Children count once they have ended."""

    def __init__(self):
        self.begin = Clock.now()

    def others(self) -> tuple[float, float] | None:
        """Shares of the processors that other programs took, and other machines on the same hardware."""
        begin, now = self.begin, Clock.now()
        if now.everyone is None:
            return None
        capacity = max((now.wall - begin.wall) * (os.cpu_count() or 1), 1e-9)
        programs = (now.everyone - begin.everyone) - (now.own - begin.own)
        return max(programs, 0.0) / capacity, (now.stolen - begin.stolen) / capacity

    def told(self) -> str:
        """A sentence."""
        found = self.others()
        if found is None:
            return "What else the machine did is not known."
        programs, machines = found
        text = f"Meanwhile other programs took {percent(programs)} of the processors"
        if machines >= 0.0005:
            text += f", other machines on the same hardware {percent(machines)}"
        if programs + machines > MOST_OTHERS:
            return f"**{text}: the machine was busy, and these figures say little.**"
        return f"{text}."


def percent(share: float) -> str:
    """`0.3 %`."""
    return f"{100 * share:.1f} %"
