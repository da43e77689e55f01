"""[LEDGER-CBOR-1], [LEDGER-CBOR-3]: one meaning has one encoding, and what is not that is refused with a code."""

from __future__ import annotations

import cbor2
import pytest

from shuiqiao.base.encoding import (
    cbor_key_rank,
    decode_cbor,
    decode_cbor_strict,
    decode_json,
    encode_cbor,
    encode_json,
)
from shuiqiao.base.errors import IntegrityError, InvalidInput


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
    ["1800", "190018", "a2616200616100", "f97e01", "f93c00", "fb3ff0000000000000", "81f93c00", "f7", "e0", "00 00"],
    ids=["0", "24", "unsorted", "NaN", "1.0", "long 1.0", "1.0 in a list", "undefined", "simple", "trailing"],
)
def test_another_form_of_a_value_is_not_deterministic(data):
    assert code_of_cbor(bytes.fromhex(data)) == "base.cbor_not_deterministic"


@pytest.mark.parametrize(
    "data",
    ["", "61", "1c", "ff", "81ff", "61ff", "9affffffff", "5f41004100ff", "9f00ff", "bf616100ff", "a2616100616100"],
)
def test_what_is_not_one_item_of_definite_length_is_malformed(data):
    assert code_of_cbor(bytes.fromhex(data)) == "base.cbor_malformed"


@pytest.mark.parametrize(
    "key", ["00", "20", "f5", "f6", "f93c00", "80", "a0", "a16000", "c24101", "d86200"], ids=lambda key: f"key {key}"
)
def test_a_map_key_is_text(key):
    assert code_of_cbor(bytes.fromhex(f"a1{key}00")) == "base.cbor_malformed"
    # Texts and byte strings among each other would have two orders (RFC 7049 and RFC 8949).
    assert code_of_cbor(bytes.fromhex("a2410000616100")) == "base.cbor_not_deterministic"


def test_text_keys_rank_by_their_encoded_bytes():
    keys = ["b", "aa", "a", "税", "zz", ""]
    assert sorted(keys, key=cbor_key_rank) == ["", "a", "b", "aa", "zz", "税"]


@pytest.mark.parametrize("count", [1, 2, 64, 65, 300])
def test_keys_are_in_order_however_many_and_long_they_are(count):
    names = [f"{number:03}" for number in range(count - 1)] + ["z" * 65]
    assert decode_cbor_strict(encode_cbor(dict.fromkeys(names, 0)), max_bytes=5000) == dict.fromkeys(names, 0)
    if count > 1:
        swapped = [names[-1], *names[:-1]]
        assert code_of_cbor(cbor2.dumps(dict.fromkeys(swapped, 0)), max_bytes=5000) == "base.cbor_not_deterministic"


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
        b"1" * 21,
        b"-0",
        b'"\xff"',
        '{"a":1}'.encode("utf-16"),
        '{"a":1}'.encode("utf-32"),
        b"\xef\xbb\xbf{}",
        b'{"a":"\\ud800"}',
        b'{"\\udfff":1}',
        b"[" * 10_000,
        b"[" * 17 + b"]" * 17,
        b'{"a":' * 17 + b"1" + b"}" * 17,
    ],
)
def test_json_that_is_not_acceptable_is_refused(data):
    assert code_of_json(data, max_bytes=20_000) == "base.json_malformed"


def test_a_whole_surrogate_pair_is_one_character():
    assert decode_json(b'"\\ud83d\\ude00"', max_bytes=100) == "\U0001f600"


def test_stored_bytes_that_are_damaged_are_called_that():
    with pytest.raises(IntegrityError) as caught:
        decode_cbor(b"\xa1")
    assert caught.value.code == "base.cbor_damaged"


@pytest.mark.parametrize("failure", [MemoryError(), RecursionError(), OSError(24, "too many open files")], ids=repr)
@pytest.mark.parametrize("decode", [decode_cbor, lambda data: decode_cbor_strict(data, max_bytes=1000)])
def test_what_a_machine_lacks_is_not_said_of_the_bytes(failure, decode, monkeypatch):  # [LEDGER-SIGN-4]
    def fail(*_arguments, **_options):
        raise failure

    with monkeypatch.context() as patch:
        patch.setattr(cbor2, "loads", fail)
        with pytest.raises(type(failure)):
            decode(b"\x01")
    assert decode(b"\x01") == 1
