"""One meaning has one encoding: whatever is not that encoding is refused with a code."""

from __future__ import annotations

import pytest

from shuiqiao.base.encoding import decode_cbor, decode_cbor_strict, decode_json, encode_cbor, encode_json
from shuiqiao.base.errors import InvalidInput


def code_of_cbor(data, *, max_bytes=1000):
    with pytest.raises(InvalidInput) as caught:
        decode_cbor_strict(data, max_bytes=max_bytes)
    return caught.value.code


def code_of_json(data, *, max_bytes=1000):
    with pytest.raises(InvalidInput) as caught:
        decode_json(data, max_bytes=max_bytes)
    return caught.value.code


def test_cbor_is_written_shortest_and_sorted():
    assert encode_cbor({"bb": 1, "a": [0, -1, True, None, b"\x00"]}) == bytes.fromhex("a261618500 20f5f64100 6262 6201")
    assert decode_cbor(encode_cbor({"a": 24})) == {"a": 24}


@pytest.mark.parametrize(
    "data",
    ["1800", "190018", "5f41004100ff", "9f00ff", "bf6161 00ff", "a2616200616100", "a2616100616100", "f97e01"],
    ids=["long 0", "long 24", "indefinite bytes", "indefinite list", "indefinite map", "unsorted", "twice", "a NaN"],
)
def test_another_form_of_the_same_value_is_refused(data):
    assert code_of_cbor(bytes.fromhex(data)) == "base.cbor_not_deterministic"


@pytest.mark.parametrize("data", ["", "00 00", "61", "1c", "ff", "61ff", "9a ffffffff", "a1 8000 00"])
def test_what_is_not_one_item_is_refused(data):
    assert code_of_cbor(bytes.fromhex(data)) in {"base.cbor_malformed", "base.cbor_not_deterministic"}


def test_deep_nesting_is_refused_without_a_crash():
    assert code_of_cbor(b"\x81" * 59_999 + b"\x00", max_bytes=60_000) == "base.cbor_malformed"


def test_the_size_is_looked_at_first():
    assert code_of_cbor(b"\xff" * 11, max_bytes=10) == "base.cbor_too_large"
    assert decode_cbor_strict(b"\x49" + b"\x00" * 9, max_bytes=10) == b"\x00" * 9
    assert code_of_json(b" " * 11, max_bytes=10) == "base.json_too_large"


def test_json_is_written_sorted_without_space_and_in_utf8():
    value = {"b": "税", "a": {"z": None, "y": [True, -5]}}
    assert encode_json(value) == '{"a":{"y":[true,-5],"z":null},"b":"税"}'.encode()
    assert decode_json(encode_json(value), max_bytes=100) == value


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"{} {}",
        b'{"a":1,"a":1}',
        b'{"a":{"b":1,"b":2}}',
        b"1.0",
        b"1e3",
        b"NaN",
        b"[Infinity]",
        b"-Infinity",
        b"1" * 5000,
        b'"\xff"',
        '{"a":1}'.encode("utf-16"),
        '{"a":1}'.encode("utf-32"),
        b"\xef\xbb\xbf{}",
        b'{"a":"\\ud800"}',
        b'{"\\udfff":1}',
        b"[" * 10_000,
    ],
)
def test_json_that_is_not_acceptable_is_refused(data):
    assert code_of_json(data, max_bytes=20_000) == "base.json_malformed"


def test_a_whole_surrogate_pair_is_one_character():
    assert decode_json(b'"\\ud83d\\ude00"', max_bytes=100) == "\U0001f600"
