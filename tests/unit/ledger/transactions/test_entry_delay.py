"""Entries that are kept back for a while: how long, and that nothing hastens them."""

from __future__ import annotations

import hashlib
import hmac

import pytest

from shuiqiao.base.errors import Unavailable
from shuiqiao.ledger.transactions.entry_delay import AT_ONCE, EntryDelay

MOST_MS = 14_400_000


def keyed(key):
    return lambda name: hmac.digest(key, name.encode(), hashlib.sha256)


@pytest.mark.parametrize(
    ("drawn", "after_ms"), [(bytes(32), 0), (b"\x80" + bytes(31), MOST_MS // 2), (b"\xff" * 32, MOST_MS)]
)
def test_a_delay_is_none_at_least_and_what_the_setting_says_at_most(drawn, after_ms):
    """[CONSENT-32]"""
    delay = EntryDelay(most_ms=MOST_MS, draw=lambda _: drawn)
    assert delay.due_ms("bureau/1", since_ms=7) == 7 + after_ms


def test_delays_are_spread_evenly_and_follow_from_name_and_key_alone():
    """[CONSENT-32]"""
    delay = EntryDelay(most_ms=MOST_MS, draw=keyed(b"one"))
    found = [delay.due_ms(f"bureau/{number}", since_ms=0) for number in range(2000)]
    quarters = [sum(due * 4 // (MOST_MS + 1) == part for due in found) for part in range(4)]
    assert all(abs(each - 500) < 60 for each in quarters)
    assert found[3] == EntryDelay(most_ms=MOST_MS, draw=keyed(b"one")).due_ms("bureau/3", since_ms=0)
    assert found[3] != EntryDelay(most_ms=MOST_MS, draw=keyed(b"two")).due_ms("bureau/3", since_ms=0)


def test_what_is_not_due_waits_and_says_for_how_long():
    """[CONSENT-32]"""
    delay = EntryDelay(most_ms=MOST_MS, draw=lambda _: b"\x80" + bytes(31))
    with pytest.raises(Unavailable, match=r"^ledger\.entry_waits: .*bureau/1 .*1970-01-01T02:00:00") as refusal:
        delay.require_due("bureau/1", since_ms=0, now_ms=MOST_MS // 2 - 1500)
    assert refusal.value.retry_after_s == 2
    delay.require_due("bureau/1", since_ms=0, now_ms=MOST_MS // 2)


def test_without_a_setting_nothing_waits():
    """[CONSENT-32]: not even where the clock was set back since it came in."""
    AT_ONCE.require_due("bureau/1", since_ms=1000, now_ms=0)
