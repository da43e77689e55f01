"""[LEDGER-CBOR-2]: how much work and memory bytes from outside can cost is bounded before it is done."""

from __future__ import annotations

import tracemalloc

import pytest

from shuiqiao.base import encoding
from shuiqiao.base.encoding import (
    MAX_DEPTH,
    MAX_ITEMS,
    decode_cbor_strict,
    decode_json,
    decode_toml,
    encode_cbor,
)
from shuiqiao.base.errors import InvalidInput

MIB = 1 << 20


def refused(decode, data, **limits):
    """The code that refused bytes, and the most memory that reading them took."""
    tracemalloc.start()
    try:
        with pytest.raises(InvalidInput) as caught:
            decode(data, max_bytes=64 * MIB, **limits)
        return caught.value.code, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def list_head(count):
    return b"\x9a" + count.to_bytes(4, "big")


@pytest.mark.parametrize("depth", [2, 7, 14, 24, 1000])
def test_maps_as_keys_of_maps_are_refused(depth):
    """Encoding such a key again doubles its time with each level: 24 of them, 49 bytes, took 25 seconds."""
    code, _ = refused(decode_cbor_strict, b"\xa1" * depth + b"\x60" * (depth + 1))
    assert code == "base.cbor_malformed"


@pytest.mark.parametrize("item", [b"\x80", b"\xa0", b"\x40", b"\x00", b"\x81\x80", b"\xa1\x60\x80"], ids=bytes.hex)
def test_three_million_items_are_refused_before_any_is_made(item):
    count = 3_000_000 // len(item)
    code, peak = refused(decode_cbor_strict, list_head(count) + item * count)
    assert (code, peak < MIB) == ("base.cbor_too_large", True)


@pytest.mark.parametrize("item", [b"\x80", b"\xa0", b"\xa1\x60\x80"], ids=bytes.hex)
def test_what_is_short_enough_not_to_be_counted_stays_small(item):
    count = 65_000 // len(item)
    data = b"\x99" + count.to_bytes(2, "big") + item * count
    tracemalloc.start()
    decode_cbor_strict(data, max_bytes=1 << 16)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * MIB


def test_as_many_items_as_are_allowed_pass_and_one_more_does_not():
    numbers = [0] * (MAX_ITEMS - 1)
    assert decode_cbor_strict(encode_cbor(numbers), max_bytes=MIB) == numbers
    assert refused(decode_cbor_strict, encode_cbor([*numbers, 0]))[0] == "base.cbor_too_large"
    texts = ["\x80" * 40_000, b"\x80" * 40_000, -(2**64), 2**64 - 1]
    assert decode_cbor_strict(encode_cbor(texts), max_bytes=MIB, max_items=5) == texts
    assert refused(decode_cbor_strict, encode_cbor(texts), max_items=4)[0] == "base.cbor_too_large"


@pytest.mark.parametrize("head", [b"\x9f", b"\x5f", b"\xff", b"\x1c"], ids=bytes.hex)
def test_long_bytes_without_a_definite_length_are_malformed(head):
    assert refused(decode_cbor_strict, head + bytes(70_000))[0] == "base.cbor_malformed"


def test_containers_lie_as_deep_as_allowed_and_no_deeper():
    deep = b"\x81" * MAX_DEPTH + b"\x00"
    assert encode_cbor(decode_cbor_strict(deep, max_bytes=100)) == deep
    assert refused(decode_cbor_strict, b"\x81" + deep)[0] == "base.cbor_malformed"


def test_a_length_that_is_only_claimed_takes_no_memory():
    for head in ("9affffffff", "9b00ffffffffffffff", "baffffffff", "5affffffff", "7b00ffffffffffffff"):
        code, peak = refused(decode_cbor_strict, bytes.fromhex(head))
        assert (code, peak < MIB) == ("base.cbor_malformed", True)


def test_three_million_json_items_are_refused_before_any_is_made():
    for item in (b"[]", b"{}", b"0", b'""'):
        code, peak = refused(decode_json, b"[" + b",".join([item] * 1_000_000) + b"]")
        assert (code, peak < MIB) == ("base.json_too_large", True)


def test_names_of_a_senders_own_are_not_remembered():
    encoding._is_familiar.cache_clear()
    for number in range(50):
        decode_cbor_strict(encode_cbor({f"{number}" * 100: 0}), max_bytes=1000)
        decode_cbor_strict(encode_cbor({f"{number} {each}": 0 for each in range(65)}), max_bytes=1000)
    # Another thread of this process may have read a message of our own meanwhile.
    assert encoding._is_familiar.cache_info().currsize < 50


@pytest.mark.parametrize(
    "text",
    [
        ".".join("a" * 5000) + " = 1",
        f"[{'.'.join('a' * 1000)}]\n" + "a = 1\n" * 10_000,
        "a = {" + ".".join("b" * 5000) + " = 1}",
        '"=".' + ".".join("a" * 5000) + " = 1",
    ],
    ids=["key", "table", "inline", "quoted"],
)
def test_toml_keys_of_thousands_of_parts_are_refused_before_they_are_followed(text):
    """Each part is looked up behind all before it: a megabyte of them would take most of an hour."""
    with pytest.raises(InvalidInput, match=r"^base\.toml_malformed.*dotted keys, of up to \d+ parts"):
        decode_toml(text)


def test_toml_of_many_short_keys_is_read():
    lines = [f'"{number}".a.b = "v1.2.3"' for number in range(10_000)]
    assert len(decode_toml("\n".join(["# " + "." * 80, *lines]))) == 10_000
