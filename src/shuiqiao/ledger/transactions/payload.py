"""The payload of a transaction: deterministic CBOR of seven fields, or refused [LEDGER-TX-5].

::

    payload = {id, body, kind, author, network, version, valid_until}      deterministic CBOR

It decides that bytes are the one encoding of such a map, of ledger types only. What is in a body is judged by its kind,
and whether network, kind and author are known by ``transaction`` and ``machine``.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from shuiqiao.base.encoding import MAX_DEPTH, decode_cbor_strict, typed
from shuiqiao.base.errors import InvalidInput
from shuiqiao.base.ids import ID_BYTES, OWNED_ID_CHARS, MemberId
from shuiqiao.ledger.model import MAX_TRANSACTION_BYTES

NETWORK_BYTES = 32
MAX_TIME_MS = 2**53 - 1
"""Largest moment, in ms: what every JSON reader can hold exactly."""


class Payload(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The payload's fields in the order of deterministic CBOR; the author is judged by ``_is_author``."""

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

_AUTHOR = re.compile(r"[a-z][a-z0-9-]{1,31}(/[0-9a-f]{32})?")
"""A member id, or the name of what a member made (``base.ids.OwnedId``) and which speaks by a key of its own."""


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
    try:
        body = decode_cbor_strict(data[_BODY_AT:terms_at], max_bytes=MAX_TRANSACTION_BYTES, max_depth=MAX_DEPTH - 1)
    except InvalidInput:
        # Whatever is wrong, the whole payload is then judged and refused by its reason.
        return None
    if type(body) is not dict:
        return None
    identifier = data[len(_ID_HEAD) : _BODY_HEAD_AT]
    return Payload(identifier, body, terms.kind, terms.author, terms.network, terms.version, valid_until)


@lru_cache(maxsize=1024)
def _read_terms(data: bytes) -> _Terms | None:
    """Return the terms in a payload's bytes from ``kind`` to the head of an eight-byte time, None if they are not."""
    whole = _TERMS_MAP + data + MAX_TIME_MS.to_bytes(_TIME_BYTES, "big")
    try:
        fields = decode_cbor_strict(whole, max_bytes=MAX_TRANSACTION_BYTES)
        terms = typed(fields, _Terms, builtin_types=(bytes,))
    except (InvalidInput, msgspec.ValidationError):
        return None
    return terms if tuple(fields) == _TERMS_KEYS and _is_author(terms.author) else None


def _whole_payload(data: bytes) -> Payload:
    """Return the payload, refusing every encoding but the deterministic one [LEDGER-TX-5]."""
    try:
        payload = decode_cbor_strict(data, max_bytes=MAX_TRANSACTION_BYTES)
    except InvalidInput as error:
        raise malformed(f"its payload: {error.message}") from error
    if type(payload) is not dict or tuple(payload) != _PAYLOAD_KEYS:
        raise malformed(f"its payload is not a map of exactly {', '.join(_PAYLOAD_KEYS)}, in this order")
    try:
        fields = typed(payload, Payload, builtin_types=(bytes,))
    except msgspec.ValidationError as error:
        raise malformed(f"a field of its payload is not allowed: {error}") from error
    if type(fields.body) is not dict or not _is_author(fields.author):
        raise malformed("a field of its payload is not allowed: body is a map, author a member id or an owned id")
    return fields


def _is_author(author: str) -> bool:
    return len(author) <= OWNED_ID_CHARS and _matches_author(author)


@lru_cache(maxsize=1024)
def _matches_author(author: str) -> bool:
    """Return whether short text can name an author; remembered, as the members of a network are few."""
    return _AUTHOR.fullmatch(author) is not None


def malformed(reason: str) -> InvalidInput:
    """Return the refusal of bytes that are not a transaction."""
    return InvalidInput("ledger.tx_malformed", f"the bytes are not a transaction: {reason}")
