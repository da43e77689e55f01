"""Which request ids of others are taken over."""

from __future__ import annotations

import pytest

from shuiqiao.client.request_id import taken_or_new


@pytest.mark.parametrize("offered", ["0123456789abcdef" * 2, "6ba7b810-9dad-11d1-80b4-00c04fd430c8"])
def test_an_id_that_is_well_formed_goes_on(offered):
    assert taken_or_new(offered) == offered


@pytest.mark.parametrize(
    "offered",
    ["", "short", "a" * 65, "has space here", "line\nfeed-12345", "ünïcode-123", "91440300MA5LEAKME7", "0" * 31],
)
def test_any_other_is_replaced_by_a_new_one(offered):
    found = taken_or_new(offered)
    assert found != offered
    assert found != taken_or_new(offered)


def test_an_id_of_ours_goes_on_elsewhere():
    own = taken_or_new("")
    assert taken_or_new(own) == own
