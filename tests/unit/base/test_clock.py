"""Clocks, and moments as text."""

from __future__ import annotations

import time

import pytest

from shuiqiao.base.clock import ManualClock, SystemClock, iso_from_ms
from shuiqiao.base.ids import ID_BYTES, new_id, system_entropy


def test_the_system_clock_is_the_machines():
    before = time.time_ns() // 1_000_000
    now = SystemClock().now_ms()
    assert before <= now <= time.time_ns() // 1_000_000


def test_a_manual_clock_moves_only_when_told_and_never_back():
    clock = ManualClock(1_000)
    assert clock.now_ms() == 1_000
    clock.advance(0)
    clock.advance(250)
    assert clock.now_ms() == 1_250
    with pytest.raises(ValueError, match="does not run backwards"):
        clock.advance(-1)
    assert clock.now_ms() == 1_250


def test_moments_are_iso_in_utc():
    assert iso_from_ms(1_775_032_200_000) == "2026-04-01T08:30:00.000Z"
    assert iso_from_ms(1) == "1970-01-01T00:00:00.001Z"
    # A message about a number that is no moment is a message still.
    assert iso_from_ms(2**53 - 1) == "9007199254740991 ms since 1970"


def test_ids_are_sixteen_fresh_bytes():
    assert new_id(lambda count: bytes(range(count))) == bytes(range(ID_BYTES))
    assert len({new_id() for _ in range(100)}) == 100
    assert len(system_entropy(48)) == 48
