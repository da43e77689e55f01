"""What the bench tells of memory: what the kernel says of a process, and how much more it is once servers are warm."""

from __future__ import annotations

import os

import pytest

from shuiqiao.sandbox.benchmarks.api_memory import Memory, memory_of, watched


def test_memory_is_what_lies_in_ram_of_its_own_and_of_files():
    before = memory_of(os.getpid())
    kept = bytearray(os.urandom(1)) * 50_000_000
    after = memory_of(os.getpid())
    assert len(kept) == 50_000_000
    assert after.own - before.own > 40
    assert after.mapped > 1
    assert after.whole == after.own + after.mapped


def test_growth_is_told_for_half_an_hour_from_when_servers_are_warm():
    own = [300, 310, 320, 200, 202, 201, 203, 204, 205, 206, 207, 208, 209, 900, 210]
    found = watched([Memory(own=each, mapped=100 + place) for place, each in enumerate(own)], seconds=1_800)
    # What servers that warm up have is left out, and one peak changes nothing.
    assert (found.warm, found.end) == (Memory(own=201, mapped=104), Memory(own=210, mapped=113))
    # 18 more in three fifths of half an hour.
    assert found.growth == pytest.approx(30)
    assert found.as_json() == {"own": 210, "own_more": 9, "mapped": 113, "mapped_more": 9}
