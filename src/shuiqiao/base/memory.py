"""Keeps a process that lives long from holding on to what it needs no more.

Whoever frees memory keeps it for the next act: pyarrow its pools, the C library its heaps. A server that took in files
once would hold for ever what that needed, and each of many heaps what its largest act did. And what Python's collector
has to find (an error and the frames that raised it hold each other) it finds the later the more lives beside it: a
server's modules alone put that off for hours.
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


COLLECT_EVERY_S: Final = 15.0
"""How often a server has ``gc.collect`` look for what is new and needed no more, in seconds: some hundredths of a
second each time."""


def collect_only_what_is_new() -> None:
    """Have the collector look from now on at nothing that was made before: each round is quick then.

    A server asks for a round every COLLECT_EVERY_S. By itself the collector counts objects, not what they hold: a few
    that a failed job left behind may hold a view of the ledger's state, which keeps the index from reusing any space,
    or all records of an answer, and it would come round once in a quarter of an hour::

        running = RunningInstitution.open(home)
        collect_only_what_is_new()
    """
    gc.collect()
    gc.freeze()
    # By what is left of the old ones after a collection it decides when the next one is due.
    gc.collect()


def let_go_of_calls(error: BaseException) -> None:
    """Free what the calls hold that raised an error: for whoever told it on and needs nothing of it but its words.

    An error that was raised on another thread, or in a future's name, is held by that future, and that by one of the
    calls that the error went through. So a view of the ledger's state, the records or the answer in these calls would
    stay until the collector comes round, which counts objects, not what they hold::

        except ShuiqiaoError as error:
            answer = told(error)
            let_go_of_calls(error)
    """
    found: list[BaseException] = [error]
    for each in found:
        each.__traceback__ = None
        # The cause of an error mostly is its context as well.
        found += [below for below in (each.__cause__, each.__context__) if below is not None and below not in found]


_ARENA_MAX: Final = -8
"""What glibc's ``mallopt`` knows the number of heaps by."""

MAX_HEAPS: Final = 2


def share_heaps() -> None:
    """Have the threads of this process allocate from the same heaps; nothing happens where the C library has no such.

    glibc gives threads up to eight heaps for each core. What a request needed and freed, some megabytes of records,
    stays with the heap of its thread, so that every one of sixteen heaps comes to hold as much over the hours. Threads
    of Python wait for the interpreter's lock anyway, not for a heap. To be called before threads are started.
    """
    if (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)) is not None:
        mallopt(_ARENA_MAX, MAX_HEAPS)


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
