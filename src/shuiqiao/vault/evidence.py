"""A proof of one record as a small document that stands alone: for a dispute, a court, an auditor.

Unlike a disclosure it carries the granted groups as the very bytes that were hashed, readable by a person, and one
RFC 6962 inclusion path that any log tool can follow [VAULT-EVIDENCE-1]. With the receipt of its batch's anchor it is
*evidence*, a file that a stranger verifies with the genesis alone [VAULT-EVIDENCE-2].
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from shuiqiao.base.encoding import decode_cbor, decode_cbor_strict, decode_json, encode_cbor, encode_json, typed
from shuiqiao.base.errors import IntegrityError, InvalidInput
from shuiqiao.base.ids import MemberId
from shuiqiao.crypto.model import CipherSuite
from shuiqiao.ledger.log.tree import verify_inclusion
from shuiqiao.ledger.receipts.receipt import MAX_RECEIPT_BYTES
from shuiqiao.ledger.receipts.verification import VerifiedReceipt
from shuiqiao.standards.columns import MAX_GROUP_BYTES
from shuiqiao.standards.model import RecordType, StandardId
from shuiqiao.vault.contract import COMMIT, BatchId, LeafIndex, batch_key, erased_key, new_batch, superseded_key
from shuiqiao.vault.model import MAX_BATCH_DEPTH, BatchFact, BatchLookup, LeafStatus
from shuiqiao.vault.storage.batch_file import BatchReader
from shuiqiao.vault.storage.index import BatchRow
from shuiqiao.vault.tree import group_hash, leaf_from_group_hashes, split_hashes

EVIDENCE_VERSION = 1

EVIDENCE_MAGIC = b"SQRECORD1\n"

MAX_EVIDENCE_FILE_BYTES = 1_048_576 + MAX_RECEIPT_BYTES
"""A receipt, and a record's proof: four groups of at most 64 KiB each, salts and a path fit in several times."""

_Hash = Annotated[bytes, Meta(min_length=32, max_length=32)]
_GroupId = Annotated[str, Meta(max_length=32)]


class ShownGroup(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="opened"):
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
    groups: Annotated[list[ShownGroup | WithheldGroup], Meta(min_length=1, max_length=4)]
    path: Annotated[list[_Hash], Meta(max_length=MAX_BATCH_DEPTH)]


def record_leaf(proof: RecordProof, *, suite: CipherSuite) -> bytes:
    """Return the leaf that a proof's groups give [VAULT-LEAF-1]."""
    hashes = [
        group_hash(part.salt, part.content, hash_name=suite.hash_name) if isinstance(part, ShownGroup) else part.hash
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
        if isinstance(part, ShownGroup):
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


def _require_own(part: ShownGroup, standard: str) -> None:
    """Refuse a group shown under another name than was hashed with it, or that has a second spelling [STD-54]."""
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


_STATUS_ZH = {LeafStatus.LIVE: "现行版本", LeafStatus.SUPERSEDED: "已被更新", LeafStatus.ERASED: "已销毁"}


class RecordEvidence(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A record's proof with the receipt of its batch's anchor: what a stranger needs beside the genesis.

    receipt: shows, behind its checkpoint, what the ledger holds at ``evidence_keys``.
    """

    proof: RecordProof
    receipt: Annotated[bytes, Meta(max_length=MAX_RECEIPT_BYTES)]


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedRecord:
    """What a file of evidence proves; exists only if everything in it held.

    status: of the record behind the receipt's checkpoint. contents: the opened groups by id, as they were hashed.
    """

    receipt: VerifiedReceipt
    standard: str
    batch: bytes
    index: int
    status: LeafStatus
    contents: Mapping[str, Mapping[str, Any]]

    @property
    def proves(self) -> tuple[str, ...]:
        """What follows from the evidence, in sentences."""
        return (
            *self.receipt.proves,
            (
                f"Leaf {self.index} of batch {self.batch.hex()} is the record of {self.standard} shown here; "
                f"at that checkpoint it is {self.status}."
            ),
        )

    @property
    def proves_zh(self) -> tuple[str, ...]:
        """What follows from the evidence, in Chinese sentences."""
        return (
            *self.receipt.proves_zh,
            (
                f"批次 {self.batch.hex()} 的第 {self.index} 片叶即为所示 {self.standard} 记录；在该检查点时其状态为"
                f"{_STATUS_ZH[self.status]}。"
            ),
        )


def evidence_keys(author: MemberId, batch: bytes, index: int) -> tuple[str, ...]:
    """Return the state keys that say what became of a leaf of a member."""
    return batch_key(author, batch), superseded_key(author, batch, index), erased_key(author, batch, index)


def is_evidence(data: bytes) -> bool:
    """Return whether bytes claim to be a file of evidence."""
    return data.startswith(EVIDENCE_MAGIC)


def encode_evidence(evidence: RecordEvidence) -> bytes:
    """Return the bytes of a file of evidence [VAULT-EVIDENCE-2]."""
    return EVIDENCE_MAGIC + encode_cbor(msgspec.to_builtins(evidence, builtin_types=(bytes,)))


def decode_evidence(data: bytes) -> RecordEvidence:
    """Return evidence from outside bytes. Raises InvalidInput ``vault.evidence_malformed``, ``base.cbor_*``."""
    if not is_evidence(data):
        raise InvalidInput("vault.evidence_malformed", "this is no file of evidence of a record")
    fields = decode_cbor_strict(data[len(EVIDENCE_MAGIC) :], max_bytes=MAX_EVIDENCE_FILE_BYTES)
    try:
        return typed(fields, RecordEvidence, builtin_types=(bytes,))
    except msgspec.ValidationError as error:
        raise InvalidInput("vault.evidence_malformed", f"not the evidence of a record: {error}") from error


def verify_evidence(evidence: RecordEvidence, *, receipt: VerifiedReceipt, suite: CipherSuite) -> VerifiedRecord:
    """Return what evidence proves. receipt: the one in it, verified against a genesis [VAULT-EVIDENCE-2].

    Raises IntegrityError ``vault.evidence_unpaired`` where the receipt is about something else, and those of
    ``verify_record_proof``.

    Example::

        evidence = decode_evidence(data)
        verified = verify_evidence(evidence, receipt=verify_receipt(evidence.receipt, ...), suite=suite)
        print(verified.proves)
    """
    proof, tx = evidence.proof, receipt.transaction
    keys = evidence_keys(tx.author, proof.batch, proof.index)
    shown = {claim.key: claim.value for claim in receipt.state}
    if tx.kind != COMMIT or tx.body.batch != proof.batch or shown.keys() != set(keys):
        raise IntegrityError(
            "vault.evidence_unpaired",
            f"the receipt is not that of the anchor of batch {proof.batch.hex()} with the state of leaf {proof.index}",
        )
    fact = BatchFact(**new_batch(tx.body))
    verify_record_proof(proof, batch_of={proof.batch: fact}.get, suite=suite)
    return VerifiedRecord(
        receipt=receipt,
        standard=proof.standard,
        batch=proof.batch,
        index=proof.index,
        status=_status(*(shown[key] for key in keys)),
        contents={
            part.group: decode_json(part.content, max_bytes=MAX_GROUP_BYTES)
            for part in proof.groups
            if isinstance(part, ShownGroup)
        },
    )


def _status(batch: bytes | None, superseded: bytes | None, erased: bytes | None) -> LeafStatus:
    """Return what proven values of the state say of a leaf, in the order of ``evidence_keys``."""
    if batch is None:
        raise IntegrityError("vault.batch_unanchored", "the ledger's state does not have the batch of this record")
    if erased is not None or decode_cbor(batch)["erased"]:
        return LeafStatus.ERASED
    return LeafStatus.LIVE if superseded is None else LeafStatus.SUPERSEDED


def prove_record(
    reader: BatchReader, row: BatchRow, record_type: RecordType, *, index: int, groups: tuple[str, ...], hash_name: str
) -> RecordProof:
    """Return the proof of one record with some groups opened. Raises InvalidInput ``vault.leaf_unknown``."""
    file = reader.leaves(row.id, count=row.count, groups=record_type.group_ids)
    if not 0 <= index < row.count or index in file.header.erased:
        raise InvalidInput("vault.leaf_unknown", f"leaf {index} of batch {row.id.hex()} is not there or erased")
    salts = file.salts_of([index])[0]
    parts: list[ShownGroup | WithheldGroup] = []
    for position, group in enumerate(file.header.groups):
        salt, content = salts[position].tobytes(), file.group_records(position, [index])[0]
        if group in groups:
            parts.append(ShownGroup(group=group, salt=salt, content=content))
        else:
            parts.append(WithheldGroup(hash=group_hash(salt, content, hash_name=hash_name)))
    path = split_hashes(file.multiproof([index]))
    return RecordProof(standard=row.standard, batch=row.id, index=index, groups=parts, path=path)
