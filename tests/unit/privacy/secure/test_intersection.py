"""What goes into an intersection: keyed items, and random ones that fill up a list."""

from __future__ import annotations

import hashlib
import hmac

import pytest

from shuiqiao.base.errors import InvalidInput
from shuiqiao.base.ids import system_entropy
from shuiqiao.privacy.secure.intersection import (
    MAX_ITEMS,
    SIZE_STEP,
    decode_places,
    encode_places,
    filled_size,
    keyed_items,
    require_items,
)

ITEMS = [hashlib.sha256(bytes([each])).digest() for each in range(5)]
KEY = b"k" * 32


def test_a_list_is_filled_up_by_one_item_or_to_a_full_step():
    """[PSI-3]"""
    assert [filled_size(count, rank=0) for count in (1, 8, SIZE_STEP)] == [2, 9, SIZE_STEP + 1]
    assert [filled_size(count, rank=1) for count in (0, 1, SIZE_STEP - 1, SIZE_STEP, MAX_ITEMS)] == [
        SIZE_STEP,
        SIZE_STEP,
        SIZE_STEP,
        2 * SIZE_STEP,
        MAX_ITEMS + SIZE_STEP,
    ]


@pytest.mark.parametrize("rank", [0, 1])
def test_items_are_keyed_and_lie_in_an_order_of_their_own(rank):
    """[PSI-3]"""
    found = keyed_items(ITEMS, key=KEY, rank=rank, entropy=system_entropy)
    assert found == sorted(found)
    assert len(dict(found)) == filled_size(len(ITEMS), rank=rank)
    places = {place: item for item, place in found if place >= 0}
    assert places == {place: hmac.digest(KEY, item, "sha256") for place, item in enumerate(ITEMS)}
    again = keyed_items(ITEMS, key=b"l" * 32, rank=rank, entropy=system_entropy)
    assert not {item for item, _ in found} & {item for item, _ in again}


def test_a_list_of_another_size_or_form_is_none():
    """[PSI-1]"""
    require_items(ITEMS, rank=0)
    require_items([], rank=1)
    many = [each.to_bytes(32, "big") for each in range(MAX_ITEMS + 1)]
    for wrong, rank in (([], 0), (many, 0), (many, 1), (ITEMS + ITEMS[:1], 1), ([b"short"], 0)):
        with pytest.raises(InvalidInput, match=r"privacy\.secure_items_wrong"):
            require_items(wrong, rank=rank)


def test_places_are_read_as_they_were_written():
    assert decode_places(encode_places([0, 7, MAX_ITEMS - 1])) == [0, 7, MAX_ITEMS - 1]
    assert decode_places(b"") == []
