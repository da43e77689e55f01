"""Memory of the servers of a sandbox: of those that have nothing to do, and of those that work steadily for long.

What counts is the memory of a process that lies in RAM: its own (what it allocated, which nobody can take back) and
that of files which it maps (programs, the ledger's index; the system takes their pages back where others need them).
How much it grows is told for half an hour: the median of the last samples is compared with that of the first ones after
the servers have warmed up, so that no peak makes it.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from shuiqiao.base.progress import Progress
    from shuiqiao.sandbox.servers.running import Sandbox

APPLICATIONS_PER_S: Final = 0.5
SAMPLES: Final = 200
"""How often memory is read within the time of the load."""

_PART: Final = 5
"""The first fifth of the samples is of servers that warm up; the second one and the last are compared."""

_HALF_HOUR_S: Final = 1_800.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What of a process lies in RAM, in megabytes. own: what it allocated. mapped: of files."""

    own: float
    mapped: float

    @property
    def whole(self) -> float:
        """Both."""
        return self.own + self.mapped


def memory_of(pid: int) -> Memory:
    """Return the memory of a process that lies in RAM."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    found = {name: value.split()[0] for name, _, value in (line.partition(":") for line in lines) if value.strip()}
    own, files, shared = (int(found[name]) * 1024 / 1e6 for name in ("RssAnon", "RssFile", "RssShmem"))
    return Memory(own=own, mapped=files + shared)


def largest_mb(sandbox: Sandbox) -> float:
    """Return the memory of the largest server."""
    return max(memory_of(server.pid or 0).whole for server in sandbox.servers.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """The memory of one server under load, in megabytes: once it had warmed up, and at the end.

    growth: of the whole of it, in half an hour.
    """

    warm: Memory
    end: Memory
    growth: float

    def as_json(self) -> dict[str, float]:
        """Return the JSON object."""
        figures = {
            "own": self.end.own,
            "own_more": self.end.own - self.warm.own,
            "mapped": self.end.mapped,
            "mapped_more": self.end.mapped - self.warm.mapped,
        }
        return {name: round(value, 1) for name, value in figures.items()}


def measure_growth(
    sandbox: Sandbox, *, minutes: float, loads: Sequence[Callable[[threading.Event], object]], progress: Progress
) -> Mapping[str, Watched]:
    """Return, by member, the memory of the servers while loads run.

    loads: each runs until it is told to end. Raises what a load raises, once the time is over.
    """
    ending = threading.Event()
    samples: dict[str, list[Memory]] = {member: [] for member in sandbox.servers}
    with ThreadPoolExecutor(max_workers=len(loads)) as pool:
        running = [pool.submit(load, ending) for load in loads]
        try:
            for place in range(SAMPLES):
                progress("memory under load 负载下的内存", place, SAMPLES)
                time.sleep(60 * minutes / SAMPLES)
                for member, server in sandbox.servers.items():
                    samples[member].append(memory_of(server.pid or 0))
        finally:
            ending.set()
        for each in running:
            each.result()
    return {member: watched(each, seconds=60 * minutes) for member, each in samples.items()}


def watched(samples: Sequence[Memory], *, seconds: float) -> Watched:
    """Return what samples say that were taken evenly in a time.

    ::

        mapped = 100.0
        found = watched([Memory(own=own, mapped=mapped) for own in (300, 200, 201, 202, 203)], seconds=1_800)
        found.growth  # 5.0: by 3 in three fifths of the time
    """
    part = max(1, len(samples) // _PART)
    warm, end = _middle(samples[part : 2 * part]), _middle(samples[-part:])
    # Between the middles of the two parts.
    between_s = seconds * (len(samples) - 2 * part) / len(samples)
    return Watched(warm=warm, end=end, growth=(end.whole - warm.whole) * _HALF_HOUR_S / between_s)


def _middle(samples: Sequence[Memory]) -> Memory:
    return Memory(own=median(each.own for each in samples), mapped=median(each.mapped for each in samples))
