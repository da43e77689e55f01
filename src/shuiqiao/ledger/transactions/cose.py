"""The signed envelope of transactions and documents: a tagged COSE_Sign message (RFC 9052) in one deterministic form.

::

    message   = D8 62 84 40 A0 || bstr(payload) || array(signatures)         tag 98, h'' protected, {} unprotected
    signature = 83 || bstr({1: alg, 4: kid}) || A0 || bstr(64 bytes)

With one suite per network every byte around payload, kids and signatures is fixed, so a message is compared to a
template instead of being decoded and encoded again [LEDGER-TX-1]. What is in the payload, who must sign and which
refusal a wrong form gets is for ``transaction`` and ``document``.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final, NamedTuple

from shuiqiao.base.encoding import decode_cbor_strict, encode_cbor
from shuiqiao.base.errors import InvalidInput
from shuiqiao.crypto.model import KEY_ID_BYTES, CipherSuite, SigningKey
from shuiqiao.ledger.model import Signature

SIGNATURE_BYTES: Final = 64
TAG_HEAD: Final = b"\xd8\x62"
"""Tag 98: a COSE_Sign message follows."""

_ENVELOPE_HEAD = TAG_HEAD + b"\x84\x40\xa0"
_BEFORE_ALGORITHM = 2
_AFTER_ALGORITHM = 2
_MAX_ALGORITHM_BYTES = 9
"""A protected header is a map's and a key's head, the algorithm, a key's and a byte string's head, the kid."""

_SIG_STRUCTURE_HEAD = b"\x85\x69Signature\x40"
_SIGNER_WORDS: Final = "[{1: alg, 4: kid}, {}, 64 bytes]"
_SHOWN_BYTES: Final = 32
_SHOWN_PARTS: Final = 4
_INLINE_LENGTH = 24
_LENGTH_BYTES = {_INLINE_LENGTH: 1, _INLINE_LENGTH + 1: 2, _INLINE_LENGTH + 2: 4}
"""Bytes of a length that does not stand in a head's first byte."""

_LEAST = {1: _INLINE_LENGTH, 2: 1 << 8, 4: 1 << 16}
"""The least length that takes so many bytes in its shortest form."""


class NotCoseError(Exception):
    """Bytes are not a message in the one form. algorithm: that another suite signed with, None for any other fault."""

    def __init__(self, reason: str, *, algorithm: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.algorithm = algorithm


def sign_message(payload: bytes, *, suite: CipherSuite, key: SigningKey, external: bytes = b"") -> Signature:
    """Return one signer's signature over payload bytes. external: what it covers besides, the same for all signers."""
    protected = protected_head(suite.cose_algorithm) + key.key_id
    signature = key.sign(signed_structure(protected, payload, external=external))
    return Signature(key_id=key.key_id, signature=signature, protected=protected)


def signed_structure(protected: bytes, payload: bytes, *, external: bytes = b"") -> bytes:
    """Return the Sig_structure of RFC 9052 section 4.4: what a signer signs [LEDGER-TX-3]."""
    outside = _bytes_head(len(external)) + external
    return b"".join(
        (_SIG_STRUCTURE_HEAD, _bytes_head(len(protected)), protected, outside, _bytes_head(len(payload)), payload)
    )


def encode_message(payload: bytes, signatures: Iterable[Signature]) -> bytes:
    """Return the message of a payload and its signatures, in the order given."""
    signed = tuple(signatures)
    parts = [_ENVELOPE_HEAD, _bytes_head(len(payload)), payload, _head(0x80, len(signed))]
    for each in signed:
        protected = _bytes_head(len(each.protected)) + each.protected
        parts += [b"\x83", protected, b"\xa0", _bytes_head(len(each.signature)), each.signature]
    return b"".join(parts)


def decode_message(raw: bytes, *, algorithm: int, max_signatures: int) -> tuple[bytes, tuple[Signature, ...]]:
    """Return payload and signatures, every byte around them compared with the suite's one form; raises NotCoseError."""
    if not raw.startswith(_ENVELOPE_HEAD):
        raise NotCoseError(
            f"it begins with {raw[: len(_ENVELOPE_HEAD)].hex()}, and a COSE_Sign message of four parts without headers "
            f"of its own with {_ENVELOPE_HEAD.hex()}"
        )
    start, length = _read_head(raw, len(_ENVELOPE_HEAD), major=0x40)
    end = start + length
    if end >= len(raw):
        raise NotCoseError("it ends inside its payload")
    first, count = _read_head(raw, end, major=0x80)
    form = _signer_form(algorithm)
    if not 1 <= count <= max_signatures or first + count * form.layout.size != len(raw):
        raise _signature_fault(raw, algorithm=algorithm, max_signatures=max_signatures)
    signatures: list[Signature] = []
    for before, key_id, after, signature in form.layout.iter_unpack(raw[first:]):
        if before != form.before or after != form.after:
            raise _signature_fault(raw, algorithm=algorithm, max_signatures=max_signatures)
        signatures.append(Signature(key_id=key_id, signature=signature, protected=form.protected_head + key_id))
    return raw[start:end], tuple(signatures)


@lru_cache(maxsize=8)
def protected_head(algorithm: int) -> bytes:
    """Return the protected header {1: alg, 4: kid} up to the kid's own bytes."""
    return encode_cbor({1: algorithm, 4: bytes(KEY_ID_BYTES)})[:-KEY_ID_BYTES]


class _SignerForm(NamedTuple):
    """The bytes of one signer, all of which but kid and signature are fixed by the suite."""

    layout: struct.Struct
    """What stands before the kid, the kid, what stands between, the signature."""
    before: bytes
    protected_head: bytes
    """The end of ``before`` that is part of the protected header."""
    after: bytes


@lru_cache(maxsize=8)
def _signer_form(algorithm: int) -> _SignerForm:
    head = protected_head(algorithm)
    before = b"\x83" + _bytes_head(len(head) + KEY_ID_BYTES) + head
    after = b"\xa0" + _bytes_head(SIGNATURE_BYTES)
    layout = struct.Struct(f"{len(before)}s{KEY_ID_BYTES}s{len(after)}s{SIGNATURE_BYTES}s")
    return _SignerForm(layout, before, head, after)


def _signature_fault(raw: bytes, *, algorithm: int, max_signatures: int) -> NotCoseError:
    """Say what is wrong with the signatures of a message that the template does not fit."""
    try:
        signers: list[Any] = decode_cbor_strict(raw[len(TAG_HEAD) :], max_bytes=len(raw))[3]
    except InvalidInput as error:
        return NotCoseError(f"its signatures are not of the form {_SIGNER_WORDS}: {error.message}")
    found = _first_algorithm(signers)
    if found not in {None, algorithm}:
        return NotCoseError(f"signature 1 is of algorithm {found}, this network's is {algorithm}", algorithm=found)
    if not 1 <= len(signers) <= max_signatures:
        return NotCoseError(f"it has {len(signers)} signatures where 1 to {max_signatures} are allowed")
    faults = [_signer_fault(each, algorithm=algorithm) for each in signers]
    # What is deterministic and of the one form fits the template: one of them says something.
    return NotCoseError(next(f"signature {place} {fault}" for place, fault in enumerate(faults, start=1) if fault))


def _first_algorithm(signers: list[Any]) -> int | None:
    """Return the algorithm of the first signer, None where its header is not {1: algorithm, 4: kid}."""
    try:
        head = signers[0][0][:-KEY_ID_BYTES]
        algorithm = decode_cbor_strict(head[_BEFORE_ALGORITHM:-_AFTER_ALGORITHM], max_bytes=_MAX_ALGORITHM_BYTES)
    except (InvalidInput, TypeError, LookupError):
        return None
    return algorithm if type(algorithm) is int and head == protected_head(algorithm) else None


def _signer_fault(signer: Any, *, algorithm: int) -> str:
    """Say in what one signer is not of the one form, or nothing."""
    match signer:
        case [bytes() as protected, {}, bytes() as signature] if not signer[1]:
            expected = protected_head(algorithm)
            if protected[: len(expected)] != expected or len(protected) != len(expected) + KEY_ID_BYTES:
                return (
                    f"has the protected header {protected[:_SHOWN_BYTES].hex()}, which is not exactly this network's "
                    f"algorithm {algorithm} and a kid of {KEY_ID_BYTES} bytes"
                )
            return "" if len(signature) == SIGNATURE_BYTES else f"has {len(signature)} bytes, not {SIGNATURE_BYTES}"
        case [bytes(), dict(), bytes()]:
            return "carries unprotected headers, where none are allowed"
        case list():
            kinds = ", ".join(type(part).__name__ for part in signer[:_SHOWN_PARTS])
            return f"has {len(signer)} parts ({kinds}) where {_SIGNER_WORDS} belongs"
        case _:
            return f"is of type {type(signer).__name__} where {_SIGNER_WORDS} belongs"


def _read_head(raw: bytes, position: int, *, major: int) -> tuple[int, int]:
    """Return (position after the head, length) of a byte string (0x40) or array (0x80) in its shortest form."""
    argument = raw[position] - major if position < len(raw) else -1
    if 0 <= argument < _INLINE_LENGTH:
        return position + 1, argument
    size = _LENGTH_BYTES.get(argument, 0)
    start = position + 1
    length = int.from_bytes(raw[start : start + size], "big")
    if size and len(raw) >= start + size and length >= _LEAST[size]:
        return start + size, length
    sort = {0x40: "byte string", 0x80: "list"}[major]
    raise NotCoseError(f"byte {position} does not begin a shortest-form {sort}")


def _bytes_head(length: int) -> bytes:
    return _head(0x40, length)


@lru_cache(maxsize=4096)
def _head(major: int, length: int) -> bytes:
    """Return the shortest CBOR head of a byte string or array below 2^32."""
    if length < _INLINE_LENGTH:
        return bytes((major + length,))
    argument, size = next((argument, size) for argument, size in _LENGTH_BYTES.items() if length < 1 << 8 * size)
    return bytes((major + argument,)) + length.to_bytes(size, "big")
