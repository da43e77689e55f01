"""The transaction: a signed COSE message with a payload of seven fields, in one deterministic form, or refused.

::

    transaction = message of ``cose``, its signatures in ascending order of kid
    payload     = {id, body, kind, author, network, version, valid_until}      deterministic CBOR

The bytes received are the bytes verified, stored and hashed [LEDGER-TX-2]: nothing here re-encodes anything in order to
verify it. Who must sign, and whether the transaction is timely and allowed, is decided by ``machine``; signatures are
checked by ``verifiers``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import msgspec

from shuiqiao.base.encoding import encode_cbor
from shuiqiao.base.errors import InvalidInput
from shuiqiao.crypto.model import CipherSuite, SigningKey
from shuiqiao.ledger.model import MAX_SIGNATURES, MAX_TRANSACTION_BYTES, Signature, Transaction
from shuiqiao.ledger.transactions.cose import (
    NotCoseError,
    decode_message,
    encode_message,
    sign_message,
    signed_structure,
)
from shuiqiao.ledger.transactions.kinds import KindTable
from shuiqiao.ledger.transactions.payload import decode_payload, malformed

if TYPE_CHECKING:
    from shuiqiao.base.ids import MemberId

SignatureClaim = tuple[bytes, bytes, bytes]
"""Public key, message, signature: what a worker is asked to verify. A bare tuple, because it crosses processes."""


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
    return sign_message(payload, suite=suite, key=key)


def assemble_transaction(payload: bytes, *, signatures: Sequence[Signature]) -> bytes:
    """Return the transaction bytes of a payload and its signatures, which it puts in order of kid.

    Raises InvalidInput ``ledger.tx_malformed`` for no, too many or repeated signers, ``ledger.tx_too_large``.
    """
    ordered = sorted(signatures, key=lambda signature: signature.key_id)
    if not 1 <= len({signature.key_id for signature in ordered}) == len(ordered) <= MAX_SIGNATURES:
        raise malformed(f"{len(ordered)} signatures where 1 to {MAX_SIGNATURES} different signers are allowed")
    raw = encode_message(payload, ordered)
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
    payload_bytes, signatures = _split(raw, algorithm=suite.cose_algorithm)
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
    return signed_structure(signature.protected, tx.payload_bytes)


def _require_size(raw: bytes) -> None:
    """[LEDGER-TX-4]: the limit comes first, so that no later step works on more bytes than it."""
    if len(raw) > MAX_TRANSACTION_BYTES:
        raise InvalidInput(
            "ledger.tx_too_large", f"a transaction of {len(raw)} bytes; at most {MAX_TRANSACTION_BYTES} are allowed"
        )


def _split(raw: bytes, *, algorithm: int) -> tuple[bytes, tuple[Signature, ...]]:
    """Return payload and signatures; every second spelling is refused [LEDGER-TX-1]."""
    try:
        payload, signatures = decode_message(raw, algorithm=algorithm, max_signatures=MAX_SIGNATURES)
    except NotCoseError as fault:
        if fault.algorithm is None:
            raise malformed(fault.reason) from fault
        raise InvalidInput(
            "ledger.tx_wrong_suite",
            f"signed with COSE algorithm {fault.algorithm}, this network's suite signs with {algorithm}",
        ) from fault
    if len(signatures) > 1 and any(one.key_id >= other.key_id for one, other in pairwise(signatures)):
        raise malformed("its signatures are not in strictly ascending order of kid")
    return payload, signatures
