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
