"""The two byte forms of the product: deterministic CBOR for what is signed, sorted-key JSON for what is disclosed.

CBOR follows RFC 8949 section 4.2.1: shortest form, definite lengths, sorted keys. One decoder reads all CBOR that comes
from outside [LEDGER-CBOR-1], and bounds its own work: how deep containers lie, that map keys are text and that no tag
is acted on is decided while decoding, the number of items before it [LEDGER-CBOR-2]. What is left is a tree of text,
bytes, integers, booleans, null, lists and maps with text keys, of which one walk and one plain encoding prove that the
bytes are its only form. Neither costs more than the bytes are long.

``typed`` turns what was decoded into typed values.
"""

from __future__ import annotations

import json
import threading
import tomllib
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import lru_cache
from typing import Any, Final, TypeVar, overload

import cbor2
import msgspec

from shuiqiao.base.errors import MACHINE_FAILURES, IntegrityError, InvalidInput

MAX_DEPTH = 16
"""Deepest nesting of what comes from outside, in containers: no document of the field needs more than eight."""

MAX_ITEMS = 1 << 17
"""Most items (values, keys and containers) of a document: at 72 bytes each, decoded ones take 9 MiB at worst."""

_UNCOUNTED_BYTES = 1 << 16
"""So few bytes are not counted first: an item has one at least, so they decode to 5 MiB at worst."""

_MAX_INTEGER_DIGITS = 20
"""Digits of the largest 64-bit integer: CBOR has no larger one without a tag."""

_INTEGER_BITS = 64

_SCALARS = frozenset({int, str, bytes, bool, type(None)})
_WIDTHS = {24: 1, 25: 2, 26: 4, 27: 8}
"""Bytes of the argument that follow a head, by the low five bits of it."""

_STRINGS = (2, 3)
"""Major types of byte and text strings: their content follows their head."""

_MAX_KEPT_KEYS = 64
_MAX_KEPT_KEY = 64

_MAX_KEY_STEPS = 1 << 23
"""Steps from one part of a TOML key to the next, of all keys of a file: about a second of work."""


def _refuse_tag(*_content: Any) -> Any:
    raise ValueError("a tag that asks the reader to compute something")


REFUSED_TAGS: Mapping[int, Callable[..., Any]] = dict.fromkeys(
    (0, 1, 2, 3, 4, 5, 25, 28, 29, 30, 35, 36, 37, 52, 54, 100, 256, 258, 260, 261, 1004, 43000, 55799), _refuse_tag
)
"""Tags that cbor2 turns into large integers, regular expressions, decimals, messages, dates, shared values, ...: 60 kB
of them keep the decoder busy for half a second before any signature is checked. No format of the product has one."""


def encode_cbor(value: object) -> bytes:
    """Return the deterministic CBOR form of a value of maps, lists, strings, bytes, integers, booleans and null."""
    return cbor2.dumps(value, canonical=True)


def decode_cbor(data: bytes) -> Any:
    """Decode bytes that this product wrote itself; use decode_cbor_strict for anything from outside.

    Raises IntegrityError ``base.cbor_damaged``.
    """
    try:
        return cbor2.loads(data)
    except MACHINE_FAILURES:
        raise
    except Exception as error:  # damaged bytes raise whatever the decoder happens to meet
        raise IntegrityError("base.cbor_damaged", f"{len(data)} stored bytes are no CBOR: {error}") from error


def decode_cbor_strict(data: bytes, *, max_bytes: int, max_items: int = MAX_ITEMS, max_depth: int = MAX_DEPTH) -> Any:
    """Decode outside bytes, refusing all but the deterministic form of a tree of plain values [LEDGER-CBOR-1].

    Raises InvalidInput ``base.cbor_too_large``, ``base.cbor_malformed``, ``base.cbor_not_deterministic``.
    """
    if len(data) > max_bytes:
        raise InvalidInput("base.cbor_too_large", f"{len(data)} bytes where at most {max_bytes} are allowed")
    if len(data) > _UNCOUNTED_BYTES:
        _require_few_items(data, max_items)
    try:
        value = cbor2.loads(
            data,
            semantic_decoders=REFUSED_TAGS,
            max_depth=max_depth,
            allow_indefinite=False,
            allow_duplicate_keys=False,
            strict_hashable_types=True,
        )
    except MACHINE_FAILURES:
        # Depth and length are bounded above, so they never come of the bytes.
        raise
    except Exception as error:  # the decoder raises a dozen kinds on hostile input
        raise InvalidInput("base.cbor_malformed", f"not one well-formed CBOR item: {error}") from error
    # Plain values in order have no map to sort, so this encoding costs what the bytes are long. It shows long heads and
    # trailing bytes; tags, floats and simple values are not plain.
    if not _is_plain(value) or cbor2.dumps(value) != data:
        raise InvalidInput(
            "base.cbor_not_deterministic",
            "the bytes are not the deterministic CBOR of text, bytes, integers, booleans, null, lists and maps of them",
        )
    return value


def _require_few_items(data: bytes, limit: int) -> None:
    """Raise InvalidInput if bytes hold more CBOR items than a limit; none of them is made [LEDGER-CBOR-2].

    It reads heads and passes over contents. Where a head is none, the decoder ends as well.
    """
    at, end = 0, len(data)
    for _ in range(limit):
        if at >= end:
            return
        major, argument = data[at] >> 5, data[at] & 0x1F
        at += 1
        if argument in _WIDTHS:
            width = _WIDTHS[argument]
            argument = int.from_bytes(data[at : at + width], "big")
            at += width
        elif argument > max(_WIDTHS):
            raise InvalidInput("base.cbor_malformed", f"byte {at - 1} begins an item of no definite length")
        if major in _STRINGS:
            at += argument
    if at < end:
        raise InvalidInput("base.cbor_too_large", f"more than {limit} items in {end} bytes")


def _is_plain(value: Any) -> bool:
    """Return whether a decoded value is a tree of plain values, its map keys being text in deterministic order."""
    kind = type(value)
    if kind is dict:
        return _is_sorted(tuple(value)) and _are_plain(value.values())
    return kind in _SCALARS or (kind is list and _are_plain(value))


def _are_plain(values: Collection[Any]) -> bool:
    return _SCALARS.issuperset(map(type, values)) or all(map(_is_plain, values))


def _is_sorted(keys: tuple[Any, ...]) -> bool:
    """Return whether map keys are text in deterministic order."""
    try:
        return _is_familiar(keys)
    except ValueError:
        return all(type(key) is str for key in keys) and list(keys) == sorted(keys, key=cbor_key_rank)


@lru_cache(maxsize=256)
def _is_familiar(keys: tuple[Any, ...]) -> bool:
    """Return True for few short names in order: the maps of a format share their names, so they are remembered.

    Raises ValueError for all others: what raises is not remembered, so nobody fills the memory with keys of his own.
    """
    if len(keys) > _MAX_KEPT_KEYS or not all(type(key) is str and len(key) <= _MAX_KEPT_KEY for key in keys):
        raise ValueError("not few short names")
    if list(keys) != sorted(keys, key=cbor_key_rank):
        raise ValueError("not in order")
    return True


def cbor_key_rank(key: str) -> tuple[int, bytes]:
    """Return what text keys sort by in deterministic CBOR (RFC 8949 section 4.2.1): the encoded bytes."""
    encoded = key.encode()
    return len(encoded), encoded


def encode_json(value: object) -> bytes:
    """Return the canonical JSON form (RFC 8785 restricted to strings, integers, booleans, null, lists, maps)."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def decode_json(data: bytes, *, max_bytes: int, max_items: int = MAX_ITEMS) -> Any:
    """Decode outside JSON up to a size, refusing duplicate keys, floats, large integers, bad UTF-8 [LEDGER-CBOR-3].

    Spaces and the order of keys are the writer's: where bytes are a document's identity, its reader compares them with
    ``encode_json`` of what it read [LEDGER-CBOR-4].
    Raises InvalidInput ``base.json_too_large``, ``base.json_malformed``.
    """
    if len(data) > max_bytes:
        raise InvalidInput("base.json_too_large", f"{len(data)} bytes where at most {max_bytes} are allowed")
    # An item begins the document or follows one of these; where they stand inside text, too many are counted.
    if sum(map(data.count, (b",", b"[", b"{"))) >= max_items:
        raise InvalidInput("base.json_too_large", f"more than {max_items} items in {len(data)} bytes")
    try:
        # json.loads would guess UTF-16 and UTF-32 from bytes; outside JSON is UTF-8 (RFC 8259 section 8.1).
        value = json.loads(
            data.decode(),
            object_pairs_hook=unique_pairs,
            parse_int=_small_integer,
            parse_float=_refuse_float,
            parse_constant=_refuse_float,
        )
        _require_shallow(value, MAX_DEPTH)
        if b"\\u" in data:
            # Half of a surrogate pair can be escaped into a string that no bytes stand for.
            encode_json(value)
    except (ValueError, RecursionError) as error:
        raise InvalidInput("base.json_malformed", f"not acceptable JSON: {error}") from error
    return value


def unique_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the pairs of a JSON object as a dict; raises ValueError where a key appears twice."""
    mapping = dict(pairs)
    if len(mapping) != len(pairs):
        raise ValueError("a key appears twice")
    return mapping


def _small_integer(text: str) -> int:
    if len(text.lstrip("-")) > _MAX_INTEGER_DIGITS:
        raise ValueError(f"an integer of {len(text)} digits")
    if text == "-0":
        raise ValueError("-0 is a second spelling of 0")
    return int(text)


def _refuse_float(text: str) -> Any:
    raise ValueError(f"{text[:20]} is not an integer")


def decode_toml(text: str) -> dict[str, Any]:
    """Return the tables of a TOML file that a person wrote or was sent; the caller bounds its size.

    Raises InvalidInput ``base.toml_malformed``, also for integers beyond 64 bits, for nesting too deep to walk, and for
    dotted keys that take too long to follow.
    """
    try:
        _require_short_keys(text)
        tables = tomllib.loads(text)
        _require_shallow(tables, MAX_DEPTH)
        _require_small_integers(tables)
    except (ValueError, RecursionError) as error:
        raise InvalidInput("base.toml_malformed", f"not acceptable TOML: {error}") from error
    return tables


def _require_short_keys(text: str) -> None:
    """Raise ValueError for keys of so many parts that their reader, who walks all of them for each, does not end.

    Every dot counts for one between two parts: a key has no more of them than its line, nor has the table it is in.
    """
    dots = [line.count(".") for line in text.split("\n")]
    longest = max(dots)
    if sum((each + 1) * (longest + each) for each in dots) > _MAX_KEY_STEPS:
        raise ValueError(f"dotted keys, of up to {longest + 1} parts, that take too long to follow")


def _require_small_integers(value: Any) -> None:
    """Raise ValueError for an integer that a message could not even print: in hexadecimal it may have any length."""
    if isinstance(value, int) and value.bit_length() > _INTEGER_BITS:
        raise ValueError(f"an integer of {value.bit_length()} bits")
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            _require_small_integers(each)


def _require_shallow(value: Any, depth: int) -> None:
    if type(value) not in (dict, list):
        return
    if not depth:
        raise ValueError(f"nested more than {MAX_DEPTH} deep")
    for each in value.values() if type(value) is dict else value:
        _require_shallow(each, depth - 1)


T = TypeVar("T")

_first_use: Final = threading.Lock()
_known: Final[set[Any]] = set()


@overload
def typed(value: Any, kind: type[T], *, builtin_types: Iterable[type] = ()) -> T: ...


@overload
def typed(value: Any, kind: Any, *, builtin_types: Iterable[type] = ()) -> Any: ...


def typed(value: Any, kind: Any, *, builtin_types: Iterable[type] = ()) -> Any:
    """Return maps, lists and scalars as a value of a type, strictly: no text is taken for a number.

    builtin_types: what is taken as it is although JSON has no such thing, mostly bytes. Raises
    msgspec.ValidationError.

    Example: ``typed({"size": 3}, Head)`` is ``Head(size=3)``.
    """
    if kind not in _known:
        with _first_use:
            try:
                return msgspec.convert(value, kind, strict=True, builtin_types=builtin_types)
            finally:
                _known.add(kind)
    return msgspec.convert(value, kind, strict=True, builtin_types=builtin_types)
