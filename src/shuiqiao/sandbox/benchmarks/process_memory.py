"""The anonymous memory of this process and all its descendants, sampled from /proc while something runs.

Anonymous memory (RssAnon) is what a run really takes from the machine: mapped files (the index, libraries) can be
dropped by the kernel at any time and are not counted. LIMIT: Linux only; a peak shorter than the interval is missed.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

INTERVAL_S = 0.05
_PROC = Path("/proc")
_KB_PER_MB = 1024


class MemoryPeak:
    """The highest sum seen so far, in megabytes (2^20 bytes)."""

    def __init__(self) -> None:
        self.megabytes = 0.0

    def sample(self) -> None:
        """Look once."""
        kilobytes = sum(_anonymous_kb(process) for process in _family(os.getpid()))
        self.megabytes = max(self.megabytes, kilobytes / _KB_PER_MB)


@contextmanager
def memory_peak() -> Generator[MemoryPeak]:
    """Sample until the context ends."""
    peak, stopped = MemoryPeak(), threading.Event()

    def run() -> None:
        while not stopped.wait(INTERVAL_S):
            peak.sample()

    thread = threading.Thread(target=run, name="memory-peak", daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        stopped.set()
        thread.join()
        peak.sample()


def _family(root: int) -> list[int]:
    """Return a process and its living descendants."""
    family = [root]
    for process in family:
        for tasks in (_PROC / str(process) / "task").glob("*/children"):
            try:
                family += [int(child) for child in tasks.read_text().split()]
            except OSError:  # the thread ended in between
                continue
    return family


def _anonymous_kb(process: int) -> int:
    try:
        status = (_PROC / str(process) / "status").read_text()
    except OSError:  # the process ended in between
        return 0
    lines = (line for line in status.splitlines() if line.startswith("RssAnon:"))
    return sum(int(line.split()[1]) for line in lines)
