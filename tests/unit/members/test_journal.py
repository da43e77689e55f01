"""A member tells the root of a day of its journal: once the day is over, in order, each day once [MEMBER-29]."""

from __future__ import annotations

import pytest

from members_world import DAY_MS, START_MS, World
from shuiqiao.members.journal import JOURNAL_ANCHOR, JournalAnchorBody, anchored_root, last_anchored_day

ROOT = b"r" * 32
TODAY = START_MS // DAY_MS


@pytest.fixture(params=["intl", "gm"])
def world(request):
    return World(request.param)


def anchor(world, day, *, author="bank-east", count=3, root=ROOT):
    body = JournalAnchorBody(day=day, count=count, root=root)
    return world.block(world.sign(JOURNAL_ANCHOR, body, author=author))[0]


def test_a_day_that_is_over_is_anchored(world):
    assert last_anchored_day(world.state, "bank-east") == -1
    assert anchor(world, TODAY - 1) is None
    assert last_anchored_day(world.state, "bank-east") == TODAY - 1
    assert anchored_root(world.state, "bank-east", TODAY - 1) == (3, ROOT)
    assert anchored_root(world.state, "bank-east", TODAY - 2) is None
    assert [event.name for event in world.events] == ["journal.anchored"]


@pytest.mark.parametrize("ahead", [0, 1])
def test_a_day_that_lasts_is_not(world, ahead):
    assert anchor(world, TODAY + ahead) == "members.journal_day_open"


def test_the_first_block_of_the_next_day_closes_it(world):
    world.time_ms = (TODAY + 1) * DAY_MS - 2
    assert anchor(world, TODAY) == "members.journal_day_open"
    assert anchor(world, TODAY) is None


def test_each_day_once_and_in_order(world):
    assert anchor(world, TODAY - 3) is None
    assert anchor(world, TODAY - 3, root=b"x" * 32) == "members.journal_day_anchored"
    assert anchor(world, TODAY - 4) == "members.journal_day_anchored"
    assert anchor(world, TODAY - 2) is None
    assert anchored_root(world.state, "bank-east", TODAY - 3) == (3, ROOT)


def test_every_member_has_days_of_its_own(world):
    assert [anchor(world, TODAY - 1, author=name) for name in ("bureau", "bank-east", "regulator")] == [None] * 3


def test_a_day_without_entries_is_not_told(world):
    with pytest.raises(Exception, match=r"^ledger\.body_invalid"):
        anchor(world, TODAY - 1, count=0)


def test_only_a_member_anchors(world):
    body = JournalAnchorBody(day=TODAY - 1, count=1, root=ROOT)
    assert world.check(JOURNAL_ANCHOR, body, author="stranger") == "members.unknown"
