"""[LEDGER-TIME-1], [LEDGER-TIME-2], [LEDGER-TIME-3]: how far a clock may lie from the newest block, to the millisecond."""

from __future__ import annotations

import pytest

from shuiqiao.base.errors import Unavailable
from shuiqiao.ledger.clock_check import (
    certain_ms,
    latest_ms,
    require_expected,
    require_not_ahead,
    require_not_behind,
    require_recent,
)

BLOCK_MS = 1_775_000_000_000


@pytest.mark.parametrize(
    ("require", "farthest_ms", "beyond_ms", "code"),
    [
        (require_not_behind, -10_000, -10_001, "ledger.clock_behind"),
        (require_not_ahead, -300_000, -300_001, "ledger.block_time_ahead"),
        (require_expected, 2_592_000_000, 2_592_000_001, "ledger.clock_unconfirmed"),
        (require_recent, 3_600_000, 3_600_001, "ledger.copy_old"),
    ],
)
def test_a_clock_may_differ_by_so_much_and_no_more(require, farthest_ms, beyond_ms, code):
    require(now_ms=BLOCK_MS + farthest_ms, block_ms=BLOCK_MS)
    with pytest.raises(Unavailable) as raised:
        require(now_ms=BLOCK_MS + beyond_ms, block_ms=BLOCK_MS)
    assert raised.value.code == code


@pytest.mark.parametrize(
    ("clock_ms", "is_confirmed", "certain"),
    [
        (BLOCK_MS - 1, False, BLOCK_MS),
        (BLOCK_MS + 2_592_000_000, False, BLOCK_MS + 2_592_000_000),
        (BLOCK_MS + 2_592_000_001, False, BLOCK_MS),
        (BLOCK_MS + 2_592_000_001, True, BLOCK_MS + 2_592_000_001),
        (BLOCK_MS - 1, True, BLOCK_MS),
    ],
)
def test_what_cannot_be_undone_is_done_by_a_time_that_is_sure(clock_ms, is_confirmed, certain):
    assert certain_ms(now_ms=clock_ms, block_ms=BLOCK_MS, is_confirmed=is_confirmed) == certain


def test_a_right_to_read_ends_by_whichever_is_later():
    assert latest_ms(now_ms=BLOCK_MS - 1, block_ms=BLOCK_MS) == BLOCK_MS
    assert latest_ms(now_ms=BLOCK_MS + 1, block_ms=BLOCK_MS) == BLOCK_MS + 1
