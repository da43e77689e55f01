"""The payload of a transaction: deterministic CBOR of seven fields, or refused [LEDGER-TX-5].

::

    payload = {id, body, kind, author, network, version, valid_until}      deterministic CBOR

It decides that bytes are the one encoding of such a map, of ledger types only. What is in a body is judged by its kind,
and whether network, kind and author are known by ``transaction`` and ``machine``.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import lru_cache
from typing import Annotated, Any

import cbor2
import msgspec
from msgspec import Meta

from shuiqiao.base.encoding import REFUSED_TAGS
from shuiqiao.base.errors import InvalidInput
from shuiqiao.base.ids import ID_BYTES, MemberId
from shuiqiao.ledger.kinds import cbor_key_rank

NETWORK_BYTES = 32
MAX_NESTING = 16
"""Deepest nesting of a payload, in containers: no body of the field needs more than four."""

MAX_TIME_MS = 2**53 - 1
"""Largest moment, in ms: what every JSON reader can hold exactly."""

_SCALARS = frozenset({int, str, bytes, bool, type(None)})


class Payload(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The payload's fields in the order of deterministic CBOR; the author is judged by ``_is_member_id``."""

    id: Annotated[bytes, Meta(min_length=ID_BYTES, max_length=ID_BYTES)]
    body: Any
    """A map, as ``_whole_payload`` has seen; what is in it is judged by its kind."""
    kind: str
    author: MemberId
    network: Annotated[bytes, Meta(min_length=NETWORK_BYTES, max_length=NETWORK_BYTES)]
    version: int
    valid_until: Annotated[int, Meta(ge=0, le=MAX_TIME_MS)]


class _Terms(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The payload's fields after its body, in their order."""

    kind: str
    author: MemberId
    network: Annotated[bytes, Meta(min_length=NETWORK_BYTES, max_length=NETWORK_BYTES)]
    version: int
    valid_until: Annotated[int, Meta(ge=0, le=MAX_TIME_MS)]


_PAYLOAD_KEYS = Payload.__struct_fields__
_TERMS_KEYS = _Terms.__struct_fields__
_ID_HEAD = b"\xa7\x62id\x50"
_BODY_HEAD = b"\x64body"
_BODY_HEAD_AT = len(_ID_HEAD) + ID_BYTES
_BODY_AT = _BODY_HEAD_AT + len(_BODY_HEAD)
_TERMS_HEAD = b"\x64kind"
_TERMS_MAP = b"\xa5"
_TIME_BYTES = 8
_MIN_EIGHT_BYTE_TIME = 1 << 32
_MAX_TERMS_BYTES = 192
"""Longest terms that are remembered, in bytes: room for the longest kind and author names there are."""

_MEMBER_ID = re.compile(r"[a-z][a-z0-9-]{1,31}")


def decode_payload(data: bytes) -> Payload:
    """Return the payload, refusing every encoding but the deterministic one.

    Raises InvalidInput ``ledger.tx_malformed``.
    """
    return _familiar_payload(data) or _whole_payload(data)


def _familiar_payload(data: bytes) -> Payload | None:
    """Return what ``_whole_payload`` returns for most payloads, at half its cost; None leaves it to that.

    Kind, author, network and version are the same few again and again: the bytes that say them (the terms) are read
    once and remembered, and around them only id, time and body differ. If the parts are deterministic CBOR and stand
    in their places, so is the whole. Terms that are searched for in a wrong place, as a name holds ``dkind``, are none.
    """
    terms_at = data.rfind(_TERMS_HEAD)
    if not 0 < len(data) - _TIME_BYTES - terms_at <= _MAX_TERMS_BYTES:
        return None
    terms = _read_terms(data[terms_at:-_TIME_BYTES])
    valid_until = int.from_bytes(data[-_TIME_BYTES:], "big")
    if terms is None or not _MIN_EIGHT_BYTE_TIME <= valid_until <= MAX_TIME_MS:
        return None
    if not (data.startswith(_ID_HEAD) and data.startswith(_BODY_HEAD, _BODY_HEAD_AT)):
        return None
    encoded = data[_BODY_AT:terms_at]
    try:
        body = _load(encoded, max_depth=MAX_NESTING - 1)
    except Exception:  # noqa: BLE001 - whatever is wrong, the whole payload is then judged and refused by its reason
        return None
    if type(body) is not dict or not _is_plain(body) or cbor2.dumps(body) != encoded:
        return None
    identifier = data[len(_ID_HEAD) : _BODY_HEAD_AT]
    return Payload(identifier, body, terms.kind, terms.author, terms.network, terms.version, valid_until)


@lru_cache(maxsize=1024)
def _read_terms(data: bytes) -> _Terms | None:
    """Return the terms in a payload's bytes from ``kind`` to the head of an eight-byte time, None if they are not."""
    whole = _TERMS_MAP + data + MAX_TIME_MS.to_bytes(_TIME_BYTES, "big")
    try:
        fields = _load(whole, max_depth=MAX_NESTING)
        terms = msgspec.convert(fields, _Terms, strict=True, builtin_types=(bytes,))
    except Exception:  # noqa: BLE001 - hostile bytes that are no terms
        return None
    is_deterministic = tuple(fields) == _TERMS_KEYS and cbor2.dumps(fields) == whole
    return terms if is_deterministic and _is_member_id(terms.author) else None


def _load(data: bytes, *, max_depth: int) -> Any:
    return cbor2.loads(
        data,
        semantic_decoders=REFUSED_TAGS,
        max_depth=max_depth,
        allow_indefinite=False,
        allow_duplicate_keys=False,
        strict_hashable_types=True,
    )


def _whole_payload(data: bytes) -> Payload:
    """Return the payload, refusing every encoding but the deterministic one [LEDGER-TX-5].

    Encoding again without sorting proves shortest heads, definite lengths, no repeated key, no tag and no trailing
    byte; the names in their order and the walk over the body prove the order of keys and that only ledger types occur.
    Together they are exactly the comparison with the sorted form, at half its cost.
    """
    try:
        payload = _load(data, max_depth=MAX_NESTING)
    except Exception as error:  # the decoder raises a dozen kinds on hostile input
        raise malformed(f"its payload is not well-formed CBOR: {error}") from error
    if type(payload) is not dict or tuple(payload) != _PAYLOAD_KEYS:
        raise malformed(f"its payload is not a map of exactly {', '.join(_PAYLOAD_KEYS)}, in this order")
    body = payload["body"]
    if not _is_plain(body) or cbor2.dumps(payload) != data:
        raise malformed("its payload is not deterministic CBOR of maps, lists, text, bytes and integers")
    try:
        fields = msgspec.convert(payload, Payload, strict=True, builtin_types=(bytes,))
    except msgspec.ValidationError as error:
        raise malformed(f"a field of its payload is not allowed: {error}") from error
    if type(body) is not dict or not _is_member_id(fields.author):
        raise malformed("a field of its payload is not allowed: body is a map, author a member id")
    return fields


@lru_cache(maxsize=1024)
def _is_member_id(author: str) -> bool:
    """Return whether text can be a member id; remembered, as the members of a network are few."""
    return _MEMBER_ID.fullmatch(author) is not None


def _is_plain(value: Any) -> bool:
    """Return whether a decoded value holds ledger types only, its map keys being text in deterministic order."""
    kind = type(value)
    if kind is dict:
        return _is_sorted(tuple(value)) and _are_plain(value.values())
    return kind in _SCALARS or (kind is list and _are_plain(value))


def _are_plain(values: Collection[Any]) -> bool:
    return _SCALARS.issuperset(map(type, values)) or all(map(_is_plain, values))


@lru_cache(maxsize=128)
def _is_sorted(keys: tuple[Any, ...]) -> bool:
    """Return whether map keys are text in deterministic order; remembered, as the maps of a kind share their keys."""
    return all(type(key) is str for key in keys) and list(keys) == sorted(keys, key=cbor_key_rank)


def malformed(reason: str) -> InvalidInput:
    """Return the refusal of bytes that are not a transaction."""
    return InvalidInput("ledger.tx_malformed", f"the bytes are not a transaction: {reason}")
