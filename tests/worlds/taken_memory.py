"""Measures what an act takes at most: Python's own memory and that of Arrow, which Python does not see."""

from __future__ import annotations

import tracemalloc
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

import pyarrow as pa

_POOLS: list[pa.MemoryPool] = []
"""A buffer points to its pool, so none may go before the process ends."""


@dataclass
class Taken:
    """The peaks of a measured act, in bytes; known when it has ended."""

    python: int = 0
    arrow: int = 0


@contextmanager
def measured() -> Generator[Taken]:
    """Measure what is done inside; not for what workers do."""
    before = pa.default_memory_pool()
    _POOLS.append(pa.proxy_memory_pool(before))
    taken = Taken()
    pa.set_memory_pool(_POOLS[-1])
    tracemalloc.start()
    try:
        yield taken
    finally:
        taken.python = tracemalloc.get_traced_memory()[1]
        taken.arrow = _POOLS[-1].max_memory() or 0
        tracemalloc.stop()
        pa.set_memory_pool(before)
