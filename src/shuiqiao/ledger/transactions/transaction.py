"""The transaction: a tagged COSE_Sign message (RFC 9052) in one deterministic form, or refused.

::

    transaction = D8 62 84 40 A0 || bstr(payload) || array(signatures)         tag 98, h'' protected, {} unprotected
    signature   = 83 || bstr({1: alg, 4: kid}) || A0 || bstr(64 bytes)
    payload     = {id, body, kind, author, network, version, valid_until}      deterministic CBOR

With one suite per network every byte around payload, kids and signatures is fixed, so the envelope is compared to a
template instead of being decoded and encoded again [LEDGER-TX-1]. The bytes received are the bytes verified, stored
and hashed [LEDGER-TX-2]: nothing here re-encodes anything in order to verify it. Who must sign, and whether the
transaction is timely and allowed, is decided by ``machine``; signatures are checked by whoever holds the keys.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from shuiqiao.base.encoding import decode_cbor_strict, encode_cbor
from shuiqiao.base.errors import InvalidInput
from shuiqiao.crypto.model import KEY_ID_BYTES, CipherSuite, SigningKey
from shuiqiao.ledger.model import MAX_SIGNATURES, MAX_TRANSACTION_BYTES, Signature, Transaction
from shuiqiao.ledger.transactions.kinds import KindTable
from shuiqiao.ledger.transactions.payload import decode_payload, malformed

if TYPE_CHECKING:
    from shuiqiao.base.ids import MemberId

SIGNATURE_BYTES = 64
TAG_HEAD = b"\xd8\x62"
"""Tag 98: a COSE_Sign message follows."""

_ENVELOPE_HEAD = TAG_HEAD + b"\x84\x40\xa0"
_BEFORE_ALGORITHM = 2
_AFTER_ALGORITHM = 2
_MAX_ALGORITHM_BYTES = 9
"""A protected header is a map's and a key's head, the algorithm, a key's and a byte string's head, the kid."""

_SIG_STRUCTURE_HEAD = b"\x85\x69Signature\x40"
_INLINE_LENGTH = 24
_MIN_TWO_BYTE_LENGTH = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class TransactionDraft:
    """What its author wants to say, before anybody signed it."""

    kind: str
    version: int
    body: msgspec.Struct
    author: MemberId
    valid_until_ms: int
    id: bytes
    """16 random bytes; the pair (author, id) is accepted once."""


def encode_payload(draft: TransactionDraft, *, network: bytes) -> bytes:
    """Return the payload bytes that every signer of a draft signs."""
    body = msgspec.to_builtins(draft.body, builtin_types=(bytes,))
    return encode_cbor(
        {
            "network": network,
            "kind": draft.kind,
            "version": draft.version,
            "id": draft.id,
            "author": draft.author,
            "valid_until": draft.valid_until_ms,
            "body": body,
        }
    )


def sign_payload(payload: bytes, *, suite: CipherSuite, key: SigningKey) -> Signature:
    """Return one signer's signature over payload bytes; signers in different houses each make their own."""
    protected = protected_head(suite.cose_algorithm) + key.key_id
    signature = key.sign(_sig_structure(protected, payload))
    return Signature(key_id=key.key_id, signature=signature, protected=protected)


def assemble_transaction(payload: bytes, *, signatures: Sequence[Signature]) -> bytes:
    """Return the transaction bytes of a payload and its signatures, which it puts in order of kid.

    Raises InvalidInput ``ledger.tx_malformed`` for no, too many or repeated signers, ``ledger.tx_too_large``.
    """
    ordered = sorted(signatures, key=lambda signature: signature.key_id)
    if not 1 <= len({signature.key_id for signature in ordered}) == len(ordered) <= MAX_SIGNATURES:
        raise malformed(f"{len(ordered)} signatures where 1 to {MAX_SIGNATURES} different signers are allowed")
    parts = [_ENVELOPE_HEAD, _bytes_head(len(payload)), payload, _array_head(len(ordered))]
    for signature in ordered:
        protected = _bytes_head(len(signature.protected)) + signature.protected
        parts += [b"\x83", protected, b"\xa0", _bytes_head(len(signature.signature)), signature.signature]
    raw = b"".join(parts)
    _require_size(raw)
    return raw


def sign_transaction(
    draft: TransactionDraft, *, network: bytes, suite: CipherSuite, keys: Sequence[SigningKey]
) -> bytes:
    """Return the signed transaction bytes of a draft, ready to submit.

    Raises InvalidInput ``ledger.tx_too_large`` or ``ledger.tx_malformed`` (no or repeated keys).
    """
    payload = encode_payload(draft, network=network)
    signatures = [sign_payload(payload, suite=suite, key=key) for key in keys]
    return assemble_transaction(payload, signatures=signatures)


def decode_transaction(raw: bytes, *, kinds: KindTable, network: bytes, suite: CipherSuite) -> Transaction:
    """Return the transaction that bytes hold, having refused every structural fault; no signature is checked here.

    Raises InvalidInput: ``ledger.tx_too_large``, ``ledger.tx_malformed``, ``ledger.tx_wrong_suite``,
    ``ledger.tx_foreign_network``, ``ledger.kind_unknown``, ``ledger.body_invalid``.
    """
    _require_size(raw)
    payload_bytes, position = _split_payload(raw)
    signatures = _split_signatures(raw, position=position, algorithm=suite.cose_algorithm)
    payload = decode_payload(payload_bytes)
    if payload.network != network:
        raise InvalidInput(
            "ledger.tx_foreign_network",
            f"the transaction is for network {payload.network.hex()[:16]}, this is {network.hex()[:16]}",
        )
    kind = kinds.get(payload.kind, payload.version)
    return Transaction(
        raw=raw,
        payload_bytes=payload_bytes,
        body_protected=b"",
        network=payload.network,
        kind=kind.name,
        version=kind.version,
        id=payload.id,
        author=payload.author,
        valid_until_ms=payload.valid_until,
        body=kinds.decode_body(kind, payload.body),
        signatures=signatures,
    )


def signature_message(tx: Transaction, signature: Signature) -> bytes:
    """Return the Sig_structure (RFC 9052 section 4.4) that a signer of the transaction signed [LEDGER-TX-3]."""
    return _sig_structure(signature.protected, tx.payload_bytes)


def _sig_structure(protected: bytes, payload: bytes) -> bytes:
    return b"".join(
        (_SIG_STRUCTURE_HEAD, _bytes_head(len(protected)), protected, b"\x40", _bytes_head(len(payload)), payload)
    )


def _require_size(raw: bytes) -> None:
    """[LEDGER-TX-4]: the limit comes first, so that no later step works on more bytes than it."""
    if len(raw) > MAX_TRANSACTION_BYTES:
        raise InvalidInput(
            "ledger.tx_too_large", f"a transaction of {len(raw)} bytes; at most {MAX_TRANSACTION_BYTES} are allowed"
        )


def _split_payload(raw: bytes) -> tuple[bytes, int]:
    """Return the payload bytes and the position after them."""
    if not raw.startswith(_ENVELOPE_HEAD):
        raise malformed("it is not a COSE_Sign message with tag 98 and empty body headers")
    start, length = _read_head(raw, len(_ENVELOPE_HEAD), major=0x40)
    end = start + length
    if end >= len(raw):
        raise malformed("it ends inside its payload")
    return raw[start:end], end


def _split_signatures(raw: bytes, *, position: int, algorithm: int) -> tuple[Signature, ...]:
    """Return the signatures, comparing every byte around kid and signature with the suite's one form [LEDGER-TX-1]."""
    first, count = _read_head(raw, position, major=0x80)
    form = _signer_form(algorithm)
    if not 1 <= count <= MAX_SIGNATURES or first + count * form.layout.size != len(raw):
        raise _signature_fault(raw, algorithm=algorithm)
    signatures: list[Signature] = []
    previous = b""
    for before, key_id, after, signature in form.layout.iter_unpack(raw[first:]):
        if before != form.before or after != form.after:
            raise _signature_fault(raw, algorithm=algorithm)
        if key_id <= previous:
            raise malformed("its signatures are not in strictly ascending order of kid")
        previous = key_id
        signatures.append(Signature(key_id=key_id, signature=signature, protected=form.protected_head + key_id))
    return tuple(signatures)


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


def _signature_fault(raw: bytes, *, algorithm: int) -> InvalidInput:
    """Say why the signatures are not of the one form: another suite's algorithm, or plain malformed."""
    found = _first_algorithm(raw)
    if found is None or found == algorithm:
        return malformed("its signatures are not of the form [{1: alg, 4: kid}, {}, 64 bytes]")
    return InvalidInput(
        "ledger.tx_wrong_suite", f"signed with COSE algorithm {found}, this network's suite signs with {algorithm}"
    )


def _first_algorithm(raw: bytes) -> int | None:
    """Return the algorithm of the first signer, None where its header is not {1: algorithm, 4: kid}."""
    try:
        protected = decode_cbor_strict(raw[len(TAG_HEAD) :], max_bytes=MAX_TRANSACTION_BYTES)[3][0][0]
        head = protected[:-KEY_ID_BYTES]
        algorithm = decode_cbor_strict(head[_BEFORE_ALGORITHM:-_AFTER_ALGORITHM], max_bytes=_MAX_ALGORITHM_BYTES)
    except (InvalidInput, TypeError, LookupError):
        return None
    return algorithm if type(algorithm) is int and head == protected_head(algorithm) else None


def _read_head(raw: bytes, position: int, *, major: int) -> tuple[int, int]:
    """Return (position after the head, length) of a byte string (0x40) or array (0x80) in its shortest form."""
    head = raw[position : position + 3]
    argument = head[0] - major if head else -1
    if 0 <= argument < _INLINE_LENGTH:
        return position + 1, argument
    if argument == _INLINE_LENGTH and len(head) > 1 and head[1] >= _INLINE_LENGTH:
        return position + 2, head[1]
    if argument == _INLINE_LENGTH + 1 and len(head) == 3:  # noqa: PLR2004 - one byte of type, two of length
        length = int.from_bytes(head[1:], "big")
        if length >= _MIN_TWO_BYTE_LENGTH:
            return position + 3, length
    sort = {0x40: "byte string", 0x80: "list"}[major]
    raise malformed(f"byte {position} does not begin a shortest-form {sort}")


def _bytes_head(length: int) -> bytes:
    return _head(0x40, length)


def _array_head(length: int) -> bytes:
    return _head(0x80, length)


@lru_cache(maxsize=4096)
def _head(major: int, length: int) -> bytes:
    """Return the shortest CBOR head of a byte string or array below 2^32."""
    if length < _INLINE_LENGTH:
        return bytes((major + length,))
    if length < _MIN_TWO_BYTE_LENGTH:
        return bytes((major + _INLINE_LENGTH, length))
    if length < 1 << 16:
        return bytes((major + _INLINE_LENGTH + 1,)) + length.to_bytes(2, "big")
    return bytes((major + _INLINE_LENGTH + 2,)) + length.to_bytes(4, "big")
