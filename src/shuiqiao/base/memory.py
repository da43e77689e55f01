"""Keeps a process that lives long from holding on to what it needs no more.

Whoever frees memory keeps it for the next act: pyarrow its pools, the C library its heaps. A server that took in files
once would hold for ever what that needed. And what Python's collector has to find (an error and the frames that raised
it hold each other) it finds the later the more lives beside it: a server's modules alone put that off for hours.
"""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

_GC_THRESHOLDS: Final = (100_000, 50, 50)
"""A transaction on its way is some dozen objects that live for some milliseconds and form no cycles, and a command that
loads its modules makes hundreds of thousands that stay. Python's own thresholds have the collector visit them again and
again, which costs a tenth of a writer's and of a command's time; this one is above what is alive while an engine is
full. Garbage in cycles stays longer in exchange, some tens of megabytes of it."""


def collect_seldom() -> None:
    """Have the collector come round less often: for a process that opens a ledger or runs a command."""
    gc.set_threshold(*_GC_THRESHOLDS)


def collect_only_what_is_new() -> None:
    """Have the collector look from now on at nothing that was made before: it then comes round soon, and is quick.

    A view of the ledger's state that a refused request left behind keeps the index from reusing space until then::

        running = RunningInstitution.open(home)
        collect_only_what_is_new()
    """
    gc.collect()
    gc.freeze()
    # By what is left of the old ones after a collection it decides when the next one is due.
    gc.collect()


@contextmanager
def memory_given_back() -> Generator[None]:
    """Return what was freed inside to the system at the end; where it cannot be told to, nothing happens.

    ::

        with memory_given_back():
            report = take_in(files)
    """
    try:
        yield
    finally:
        _give_back()


def _give_back() -> None:
    if (pyarrow := sys.modules.get("pyarrow")) is not None:
        pyarrow.default_memory_pool().release_unused()
    # Of glibc; other C libraries return it by themselves.
    if (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
        trim(0)
