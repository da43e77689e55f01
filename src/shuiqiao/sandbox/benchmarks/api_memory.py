"""Memory of the servers of a sandbox: of those that have nothing to do, and of those that work steadily for long.

What counts is the memory of a process that lies in RAM. How much it grows is told for half an hour: the median of the
last samples is compared with that of the first ones after the servers have warmed up, so that no peak makes it.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from shuiqiao.base.progress import Progress
    from shuiqiao.sandbox.servers.running import Sandbox

APPLICATIONS_PER_S: Final = 0.5
SAMPLES: Final = 200
"""How often memory is read within the time of the load."""

_PART: Final = 5
"""The first fifth of the samples is of servers that warm up; the second one and the last are compared."""

_HALF_HOUR_S: Final = 1_800.0


def rss_mb(pid: int) -> float:
    """Return the memory of a process that lies in RAM, in megabytes."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if name == "VmRSS":
            return int(value.split()[0]) * 1024 / 1e6
    raise AssertionError(f"process {pid} tells nothing of its memory")


def largest_mb(sandbox: Sandbox) -> float:
    """Return the memory of the largest server."""
    return max(rss_mb(server.pid or 0) for server in sandbox.servers.values())


def measure_growth(
    sandbox: Sandbox, *, minutes: float, loads: Sequence[Callable[[threading.Event], object]], progress: Progress
) -> float:
    """Return by how many megabytes in half an hour the server grows that grows most, while loads run.

    loads: each runs until it is told to end. Raises what a load raises, once the time is over.
    """
    ending = threading.Event()
    samples: dict[str, list[float]] = {member: [] for member in sandbox.servers}
    with ThreadPoolExecutor(max_workers=len(loads)) as pool:
        running = [pool.submit(load, ending) for load in loads]
        try:
            for place in range(SAMPLES):
                progress("memory under load 负载下的内存", place, SAMPLES)
                time.sleep(60 * minutes / SAMPLES)
                for member, server in sandbox.servers.items():
                    samples[member].append(rss_mb(server.pid or 0))
        finally:
            ending.set()
        for each in running:
            each.result()
    return max(grown_mb(each, seconds=60 * minutes) for each in samples.values())


def grown_mb(samples: Sequence[float], *, seconds: float) -> float:
    """Return what samples, taken evenly in a time, grow by in half an hour.

    ::

        grown_mb([300, 200, 201, 202, 203], seconds=1_800)  # 5.0: by 3 in three fifths of the time
    """
    part = max(1, len(samples) // _PART)
    grown = median(samples[-part:]) - median(samples[part : 2 * part])
    # Between the middles of the two parts.
    between_s = seconds * (len(samples) - 2 * part) / len(samples)
    return grown * _HALF_HOUR_S / between_s
