"""Encodings go there and back, and no other bytes go there; money keeps every fen."""

from __future__ import annotations

import pickle
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from shuiqiao.base.encoding import decode_cbor_strict, decode_json, encode_cbor, encode_json
from shuiqiao.base.errors import InvalidInput, Unavailable
from shuiqiao.base.money import MAX_FEN, format_yuan, round_fen

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
JSON_LEAVES = st.none() | st.booleans() | st.integers(-(2**63), 2**63) | TEXT
JSON_VALUES = st.recursive(
    JSON_LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4), max_leaves=12
)
CBOR_VALUES = st.recursive(
    JSON_LEAVES | st.binary(max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


def attempt(decode, data, *, max_bytes=10_000):
    """The value and None, or None and the code that refused it."""
    try:
        return decode(data, max_bytes=max_bytes), None
    except InvalidInput as error:
        return None, error.code


@given(CBOR_VALUES)
def test_cbor_goes_there_and_back(value):
    assert decode_cbor_strict(encode_cbor(value), max_bytes=10_000) == value


@given(st.dictionaries(TEXT, st.integers(0, 100), min_size=2, max_size=6))
def test_the_order_in_which_a_map_was_made_does_not_show(value):
    backwards = dict(reversed(value.items()))
    assert encode_cbor(backwards) == encode_cbor(value)
    assert encode_json(backwards) == encode_json(value)


@given(CBOR_VALUES, st.data())
def test_changed_cbor_bytes_are_refused_or_mean_something_else(value, data):
    encoded = bytearray(encode_cbor(value))
    place = data.draw(st.integers(0, len(encoded) - 1))
    encoded[place] ^= data.draw(st.integers(1, 255))
    other, code = attempt(decode_cbor_strict, bytes(encoded))
    if code is None:
        assert encode_cbor(other) == bytes(encoded)
    else:
        assert code in {"base.cbor_malformed", "base.cbor_not_deterministic"}


@given(st.binary(max_size=60))
def test_any_bytes_are_decoded_or_refused_with_a_code(data):
    for decode in (decode_cbor_strict, decode_json):
        _, code = attempt(decode, data, max_bytes=50)
        assert code is None or code.startswith("base.")


@given(JSON_VALUES)
def test_json_goes_there_and_back(value):
    assert decode_json(encode_json(value), max_bytes=10_000) == value


@given(st.integers(-MAX_FEN, MAX_FEN))
def test_every_fen_survives_being_written_as_yuan(fen):
    assert Decimal(format_yuan(fen).replace(",", "")) * 100 == fen
    assert round_fen(Decimal(fen)) == fen


@settings(max_examples=30)
@given(st.text(max_size=20), st.text(max_size=20), st.text(max_size=20), st.none() | st.floats(0, 1e6))
def test_errors_go_there_and_back(code, message, next_step, seconds):
    sent = Unavailable(code, message, next_step=next_step, retry_after_s=seconds)
    received = pickle.loads(pickle.dumps(sent))
    assert (received.as_dict(), received.retry_after_s) == (sent.as_dict(), seconds)
