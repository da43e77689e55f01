"""A proof of one record as a small document that stands alone: for a dispute, a court, an auditor.

Unlike a disclosure it carries the granted groups as the very bytes that were hashed, readable by a person, and one
RFC 6962 inclusion path that any log tool can follow [VAULT-EVIDENCE-1].
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from shuiqiao.base.encoding import decode_cbor_strict, decode_json, encode_cbor, encode_json
from shuiqiao.base.errors import IntegrityError, InvalidInput
from shuiqiao.crypto.model import CipherSuite
from shuiqiao.ledger.log import verify_inclusion
from shuiqiao.standards.encoding import MAX_GROUP_BYTES
from shuiqiao.vault.contract import BatchId, LeafIndex, StandardId
from shuiqiao.vault.leaves import group_hash, leaf_from_group_hashes
from shuiqiao.vault.model import MAX_BATCH_DEPTH, BatchFact, BatchLookup

MAX_EVIDENCE_BYTES = 1 << 20
"""Four groups of at most 64 KiB each, salts and a path fit several times."""

EVIDENCE_VERSION = 1

_Hash = Annotated[bytes, Meta(min_length=32, max_length=32)]
_GroupId = Annotated[str, Meta(max_length=32)]


class OpenedGroup(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="opened"):
    """A group shown in full: canonical JSON bytes and the salt they were hashed with."""

    group: _GroupId
    salt: Annotated[bytes, Meta(min_length=16, max_length=16)]
    content: Annotated[bytes, Meta(max_length=MAX_GROUP_BYTES)]


class WithheldGroup(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="withheld"):
    """A group of which only the salted hash is shown; which one it is follows from its position."""

    hash: _Hash


class RecordProof(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One record's groups, in catalogue order, and the path from its leaf to its batch's root."""

    version: Annotated[int, Meta(ge=EVIDENCE_VERSION, le=EVIDENCE_VERSION)] = EVIDENCE_VERSION
    standard: StandardId
    batch: BatchId
    index: LeafIndex
    groups: Annotated[list[OpenedGroup | WithheldGroup], Meta(min_length=1, max_length=4)]
    path: Annotated[list[_Hash], Meta(max_length=MAX_BATCH_DEPTH)]


def encode_record_proof(proof: RecordProof) -> bytes:
    """Return the deterministic CBOR of a record proof."""
    return encode_cbor(msgspec.to_builtins(proof, builtin_types=(bytes,)))


def decode_record_proof(data: bytes) -> RecordProof:
    """Return a record proof from outside bytes. Raises InvalidInput ``vault.evidence_malformed``, ``base.cbor_*``."""
    fields = decode_cbor_strict(data, max_bytes=MAX_EVIDENCE_BYTES)
    try:
        return msgspec.convert(fields, RecordProof, strict=True, builtin_types=(bytes,))
    except msgspec.ValidationError as error:
        raise InvalidInput("vault.evidence_malformed", f"not a record proof: {error}") from error


def record_leaf(proof: RecordProof, *, suite: CipherSuite) -> bytes:
    """Return the leaf that a proof's groups give [VAULT-LEAF-1]."""
    hashes = [
        group_hash(part.salt, part.content, hash_name=suite.hash_name) if isinstance(part, OpenedGroup) else part.hash
        for part in proof.groups
    ]
    return leaf_from_group_hashes(hashes, hash_name=suite.hash_name)


def verify_record_proof(proof: RecordProof, *, batch_of: BatchLookup, suite: CipherSuite) -> BatchFact:
    """Return the anchored batch that a record is proven to be in; erased batches prove what they held as well.

    Raises IntegrityError ``vault.batch_unanchored``, ``vault.leaf_mismatch``, ``ledger.inclusion_broken``; InvalidInput
    ``base.json_malformed`` where an opened group is no JSON.
    """
    fact = batch_of(proof.batch)
    if fact is None:
        raise IntegrityError("vault.batch_unanchored", f"batch {proof.batch.hex()} is not on the ledger")
    if fact.standard != proof.standard:
        raise IntegrityError(
            "vault.leaf_mismatch",
            f"batch {proof.batch.hex()} holds {fact.standard} on the ledger, {proof.standard} in the proof",
        )
    for part in proof.groups:
        if isinstance(part, OpenedGroup):
            _require_own(part, proof.standard)
    verify_inclusion(
        leaf_hash=record_leaf(proof, suite=suite),
        index=proof.index,
        size=fact.count,
        path=proof.path,
        root=fact.root,
        hash_name=suite.hash_name,
    )
    return fact


def _require_own(part: OpenedGroup, standard: str) -> None:
    """Refuse a group shown under another name than the one that was hashed with it, or that has a second spelling."""
    content = decode_json(part.content, max_bytes=MAX_GROUP_BYTES)
    if encode_json(content) != part.content:
        raise IntegrityError(
            "vault.leaf_mismatch", f"group {part.group!r} is not the canonical JSON that a record is hashed in"
        )
    said = (content.get("type"), content.get("group")) if isinstance(content, dict) else (None, None)
    if said != (standard, part.group):
        raise IntegrityError(
            "vault.leaf_mismatch",
            f"a group is shown as {part.group!r} of {standard} and says {said[1]!r} of {said[0]!r}",
        )
