"""Memory goes back to the system, and what failed inside is still told."""

from __future__ import annotations

import gc
import subprocess
import sys
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from weakref import ref

import pytest

from shuiqiao.base.memory import MAX_HEAPS, collect_only_what_is_new, let_go_of_calls, memory_given_back

MIB = 1 << 20


def resident_bytes():
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * 4096


def test_what_was_freed_inside_goes_back_to_the_system():
    with memory_given_back():
        # Pieces below the size that the C library takes from the system one by one; every tenth stays.
        pieces = [bytearray(64 * 1024) for _ in range(1024)]
        kept = pieces[::10]
        full = resident_bytes()
        del pieces
    assert len(kept) == 103
    assert resident_bytes() < full - 32 * MIB


def test_what_fails_inside_is_told():
    with pytest.raises(ValueError, match="broken"), memory_given_back():
        raise ValueError("broken")


def test_the_collector_looks_at_nothing_that_was_made_before():
    before = [[]]
    before[0].append(before)
    try:
        collect_only_what_is_new()
        assert gc.get_freeze_count() > 0
        made = [[]]
        made[0].append(made)
        found = {id(each) for each in gc.get_objects()}
        assert (id(before) in found, id(made) in found) == (False, True)
    finally:
        gc.unfreeze()


HEAPS = """
import ctypes, sys, threading
from shuiqiao.base.memory import share_heaps

if sys.argv[1] == "shared":
    share_heaps()
started = threading.Barrier(8)

def work():
    kept = bytearray(100_000)
    started.wait()

threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
libc = ctypes.CDLL(None)
libc.fdopen.restype = ctypes.c_void_p
out = ctypes.c_void_p(libc.fdopen(1, b"w"))
libc.malloc_info(0, out)
libc.fflush(out)
"""


def test_threads_share_a_few_heaps():
    counts = {}
    for kind in ("shared", "own"):
        run = [sys.executable, "-c", HEAPS, kind]
        told = subprocess.run(run, check=True, capture_output=True, text=True).stdout
        counts[kind] = told.count("<heap nr=")
    assert counts["shared"] <= MAX_HEAPS + 1 < 8 <= counts["own"]


class Held:
    """What a call holds while it works."""


@contextmanager
def no_collector():
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def answered_late(held):
    """Return the error of a future whose result is taken by a call that holds something, and refuses in its turn."""
    view, future = Held(), Future()
    held.append(ref(view))
    future.set_exception(ValueError("refused"))
    try:
        future.result()
    except ValueError as error:
        raise LookupError("not found") from error


def test_an_error_that_was_told_on_holds_nothing_of_the_calls_that_raised_it():
    held = []
    with no_collector():
        for lets_go in (False, True):
            try:
                answered_late(held)
            except LookupError as error:
                told = error
                if lets_go:
                    let_go_of_calls(error)
            assert str(told) == "not found"
            del told
        left, freed = held
        assert (left() is None, freed() is None) == (False, True)
    gc.collect()
    assert left() is None
