"""Which request ids of others are taken over."""

from __future__ import annotations

import pytest

from shuiqiao.client.request_id import taken_or_new


def test_an_id_that_is_well_formed_goes_on():
    assert taken_or_new("0123abcd-EF_x") == "0123abcd-EF_x"


@pytest.mark.parametrize("offered", ["", "short", "a" * 65, "has space here", "line\nfeed-12345", "ünïcode-123"])
def test_any_other_is_replaced_by_a_new_one(offered):
    found = taken_or_new(offered)
    assert found != offered
    assert found != taken_or_new(offered)
