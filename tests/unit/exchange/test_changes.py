"""Which records an answer held, as the provider keeps it."""

from __future__ import annotations

import pytest

from shuiqiao.base.encoding import encode_cbor
from shuiqiao.base.errors import IntegrityError
from shuiqiao.exchange.changes import decode_leaves, encode_leaves


def test_leaves_are_kept_as_they_were():
    leaves = {"invoice_issued@2": [(bytes(16), b"\x01\x00\x00\x00")], "payment@1": []}
    assert decode_leaves(encode_leaves(leaves)) == leaves


DAMAGED = [7, [], {"payment@1": 7}, {"payment@1": [[bytes(16)]]}, {"payment@1": [[bytes(16), "text"]]}]


@pytest.mark.parametrize("data", [b"", b"\xff", b"\xd8\x62\xa0", *map(encode_cbor, DAMAGED)], ids=bytes.hex)
def test_leaves_that_are_damaged_are_called_that(data):
    with pytest.raises(IntegrityError, match=r"^base\.cbor_damaged"):
        decode_leaves(data)
