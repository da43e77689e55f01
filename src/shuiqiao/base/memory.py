"""Returns memory to the system after an act that took much of it for a short time.

Whoever frees memory keeps it for the next act: pyarrow its pools, the C library its heaps. A server that took in files
once would hold for ever what that needed.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Generator
from contextlib import contextmanager


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
