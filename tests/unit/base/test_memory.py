"""Memory goes back to the system, and what failed inside is still told."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest

from shuiqiao.base.memory import collect_only_what_is_new, memory_given_back

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
