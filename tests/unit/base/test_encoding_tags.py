"""No CBOR tag from outside makes the decoder compute anything."""

from __future__ import annotations

import cbor2
import pytest

from shuiqiao.base.encoding import REFUSED_TAGS, decode_cbor_strict
from shuiqiao.base.errors import InvalidInput

CONTENTS = (b"\x01", b"\x41\x01", b"\x61\x31", b"\x81\x01", b"\x82\x01\x01", b"\xa1\x01\x01")
HIGHEST_KNOWN_TAG = 55_799


def head(tag):
    if tag < 24:
        return bytes([0xC0 + tag])
    return bytes([0xD8, tag]) if tag < 256 else b"\xd9" + tag.to_bytes(2, "big")


def is_left_alone(tag, content):
    try:
        return isinstance(cbor2.loads(head(tag) + content), cbor2.CBORTag)
    except cbor2.CBORDecodeError:
        return False


def test_every_tag_that_this_decoder_acts_on_is_refused():
    acted_on = {tag for tag in range(HIGHEST_KNOWN_TAG + 200) if not all(is_left_alone(tag, c) for c in CONTENTS)}
    assert set(REFUSED_TAGS) == acted_on


@pytest.mark.parametrize("tag", sorted(REFUSED_TAGS))
def test_a_refused_tag_is_malformed_wherever_it_stands(tag):
    for content in CONTENTS:
        for data in (head(tag) + content, b"\x81" + head(tag) + content, b"\xa1\x61a" + head(tag) + content):
            with pytest.raises(InvalidInput) as caught:
                decode_cbor_strict(data, max_bytes=100)
            assert caught.value.code == "base.cbor_malformed"


def test_a_tag_that_the_decoder_leaves_alone_is_no_plain_value():
    for data in (b"\xd8\x62\x80", b"\x81\xd8\x62\x01"):
        with pytest.raises(InvalidInput) as caught:
            decode_cbor_strict(data, max_bytes=100)
        assert caught.value.code == "base.cbor_not_deterministic"
