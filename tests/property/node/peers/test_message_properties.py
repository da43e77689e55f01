"""Of messages between members: whatever is changed is refused, and nothing counts twice while it counts [PEER-2]."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peer_messages import SENDER, MessageWorld, fields_of
from shuiqiao.base.clock import ManualClock
from shuiqiao.base.errors import ShuiqiaoError
from shuiqiao.base.ids import MemberId
from shuiqiao.node.peers.message import MAX_CLOCK_MS, ReplayWindow


@cache
def world(suite_name: str) -> MessageWorld:
    return MessageWorld(suite_name)


@settings(deadline=None, max_examples=150)
@given(suite_name=st.sampled_from(["intl", "gm"]), data=st.data())
def test_a_message_with_any_byte_changed_is_refused_with_a_code(suite_name, data):
    here = world(suite_name)
    raw = here.message(body=data.draw(st.binary(max_size=200)))
    place = data.draw(st.integers(0, len(raw) - 1))
    changed = bytearray(raw)
    changed[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ShuiqiaoError):
        here.take(bytes(changed))
    with pytest.raises(ShuiqiaoError):
        here.take(raw[:place])
    with pytest.raises(ShuiqiaoError):
        here.take(raw + data.draw(st.binary(min_size=1, max_size=5)))
    assert fields_of(here.take(raw))["sender"] == SENDER


@settings(deadline=None, max_examples=100)
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["bank-a", "bank-b"]),
            st.integers(0, 7),
            st.integers(-MAX_CLOCK_MS, MAX_CLOCK_MS),
            st.integers(0, 50_000),
        ),
        max_size=40,
    )
)
def test_no_message_counts_twice_while_its_time_counts(steps):
    clock = ManualClock(1_775_000_000_000)
    window = ReplayWindow(now_ms=clock.now_ms, max_nonces=10_000)
    taken: set[tuple[str, int, int]] = set()
    for sender, number, off_ms, pause_ms in steps:
        made_ms = clock.now_ms() + off_ms
        message = (sender, number, made_ms // 30_000)
        try:
            window.add(MemberId(sender), number.to_bytes(16, "big"), made_ms=made_ms)
        except ShuiqiaoError:
            assert message in taken
        else:
            assert message not in taken
        taken.add(message)
        clock.advance(pause_ms)
        for each in list(taken):
            # The same bytes come again as long as their moment is near enough.
            again_ms = each[2] * 30_000
            if abs(again_ms - clock.now_ms()) <= MAX_CLOCK_MS:
                with pytest.raises(ShuiqiaoError):
                    window.add(MemberId(each[0]), each[1].to_bytes(16, "big"), made_ms=again_ms)
