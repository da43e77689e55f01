"""How long a name is locked after wrong passwords."""

from __future__ import annotations

from shuiqiao.node.accounts.lock_out import FADE_MS, faded, lock_ms


def test_four_failures_are_free_and_each_further_one_doubles_the_time():
    assert [lock_ms(count) for count in range(9)] == [0, 0, 0, 0, 0, 30_000, 60_000, 120_000, 240_000]


def test_it_is_never_longer_than_an_hour():
    assert lock_ms(11) == 1_920_000
    assert {lock_ms(count) for count in (12, 13, 100, 10**9)} == {3_600_000}


def test_failures_fade_with_time():
    assert [faded(3, rested_ms=hours * FADE_MS) for hours in (-1, 0, 1, 3, 10**6)] == [3, 3, 2, 0, 0]
    assert faded(3, rested_ms=FADE_MS - 1) == 3
