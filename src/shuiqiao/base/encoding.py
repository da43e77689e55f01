"""The two byte forms of the product: deterministic CBOR for what is signed, sorted-key JSON for what is disclosed.

CBOR follows RFC 8949 section 4.2.1 (shortest form, definite lengths, sorted keys). Decoding of outside bytes is
strict: what does not re-encode to exactly the same bytes is refused, so one meaning has one encoding.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import cbor2

from shuiqiao.base.errors import InvalidInput


def _refuse_tag(_decoder: Any) -> Any:
    raise ValueError("a tag that asks the reader to compute something")


REFUSED_TAGS: Mapping[int, Callable[[Any], Any]] = dict.fromkeys(
    (0, 1, 4, 5, 25, 28, 29, 30, 35, 36, 37, 52, 54, 100, 256, 258, 260, 261, 1004, 43000, 55799), _refuse_tag
)
"""Tags that cbor2 turns into regular expressions, decimals, messages, dates, shared values, ...: 60 kB of them keep the
decoder busy for half a second before any signature is checked. No format of the product has one."""


def encode_cbor(value: object) -> bytes:
    """Return the deterministic CBOR form of a value of maps, lists, strings, bytes, integers, booleans and null."""
    return cbor2.dumps(value, canonical=True)


def decode_cbor(data: bytes) -> Any:
    """Decode bytes that this product wrote itself; use decode_cbor_strict for anything from outside."""
    return cbor2.loads(data)


def decode_cbor_strict(data: bytes, *, max_bytes: int) -> Any:
    """Decode outside bytes, refusing oversize, trailing bytes and any non-deterministic form.

    Raises InvalidInput (``base.cbor_too_large``, ``base.cbor_malformed``, ``base.cbor_not_deterministic``).
    """
    if len(data) > max_bytes:
        raise InvalidInput("base.cbor_too_large", f"{len(data)} bytes where at most {max_bytes} are allowed")
    try:
        value = cbor2.loads(data, semantic_decoders=REFUSED_TAGS)
        canonical = cbor2.dumps(value, canonical=True)
    except Exception as error:  # the decoder raises a dozen kinds on hostile input
        raise InvalidInput("base.cbor_malformed", f"not one well-formed CBOR item: {error}") from error
    if canonical != data:
        raise InvalidInput(
            "base.cbor_not_deterministic", "the bytes are not the deterministic CBOR form of their content"
        )
    return value


def encode_json(value: object) -> bytes:
    """Return the canonical JSON form (RFC 8785 restricted to strings, integers, booleans, null, lists, maps)."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def decode_json(data: bytes, *, max_bytes: int) -> Any:
    """Decode outside JSON up to a size, refusing duplicate keys, floats and what is not UTF-8.

    Raises InvalidInput (``base.json_too_large``, ``base.json_malformed``).
    """
    if len(data) > max_bytes:
        raise InvalidInput("base.json_too_large", f"{len(data)} bytes where at most {max_bytes} are allowed")
    try:
        # json.loads would guess UTF-16 and UTF-32 from bytes; outside JSON is UTF-8 (RFC 8259 section 8.1).
        value = json.loads(
            data.decode(), object_pairs_hook=_unique_pairs, parse_float=_refuse_float, parse_constant=_refuse_float
        )
        if b"\\u" in data:
            # Half of a surrogate pair can be escaped into a string that no bytes stand for.
            encode_json(value)
    except (ValueError, RecursionError) as error:
        raise InvalidInput("base.json_malformed", f"not acceptable JSON: {error}") from error
    return value


def _unique_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) != len(pairs):
        raise ValueError("a key appears twice")
    return mapping


def _refuse_float(text: str) -> Any:
    raise ValueError(f"{text[:20]} is not an integer")
