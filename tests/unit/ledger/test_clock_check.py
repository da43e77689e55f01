"""[LEDGER-TIME-1], [LEDGER-TIME-2]: how far a clock may lie from the newest block, to the millisecond."""

from __future__ import annotations

import pytest

from shuiqiao.base.errors import Unavailable
from shuiqiao.ledger.clock_check import require_expected, require_not_ahead, require_not_behind

BLOCK_MS = 1_775_000_000_000


@pytest.mark.parametrize(
    ("require", "farthest_ms", "beyond_ms", "code"),
    [
        (require_not_behind, -10_000, -10_001, "ledger.clock_behind"),
        (require_not_ahead, -300_000, -300_001, "ledger.block_time_ahead"),
        (require_expected, 2_592_000_000, 2_592_000_001, "ledger.clock_unconfirmed"),
    ],
)
def test_a_clock_may_differ_by_so_much_and_no_more(require, farthest_ms, beyond_ms, code):
    require(now_ms=BLOCK_MS + farthest_ms, block_ms=BLOCK_MS)
    with pytest.raises(Unavailable) as raised:
        require(now_ms=BLOCK_MS + beyond_ms, block_ms=BLOCK_MS)
    assert raised.value.code == code
