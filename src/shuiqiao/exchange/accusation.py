"""Proves that a provider left a record out of an answer: its signed manifest against what stands on the ledger.

Rule: docs/spec/consent-exchange.md [EXCHANGE-16]. What it rests on, in order:

1. the provider's signature on the manifest;
2. a record of the manifest's taxpayer, shown and proven to be a leaf of a batch on the ledger;
3. the record is of a type the manifest speaks for, and in scope of its period;
4. the manifest's checkpoint is one of this ledger, and before it the provider anchored that batch (a verified receipt);
5. the leaf is live today, hence was live then: a superseded or erased leaf never becomes live again;
6. the names of the records delivered of the type are those the manifest fixes, and the record is not among them.

``prove_withheld`` is pure: it takes bytes and lookups, and returns the accusation or raises. ``accuse_of_withholding``
is the use case of a member, which takes the facts from its own copy of the ledger.
LIMIT: a record that was superseded or erased between the manifest and today accuses nobody, since the ledger's state of
today no longer shows that it was live then.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa

from shuiqiao.base.encoding import decode_json
from shuiqiao.base.errors import IntegrityError
from shuiqiao.base.ids import MemberId
from shuiqiao.exchange.manifest import (
    blinding_of,
    decode_manifest,
    first_out_of_scope,
    months_of,
    names_digest,
)
from shuiqiao.exchange.model import Accusation, AnswerManifest
from shuiqiao.ledger.receipts.verification import verify_receipt
from shuiqiao.members.key_ring import MemberKeyRing
from shuiqiao.standards.columns import MAX_GROUP_BYTES, arrow_type
from shuiqiao.standards.model import CORE_GROUP, TAXPAYER_FIELD, FieldType
from shuiqiao.vault.anchoring import find_anchor
from shuiqiao.vault.contract import COMMIT, LedgerLeaves, batch_lookup
from shuiqiao.vault.evidence import RecordProof, ShownGroup, verify_record_proof
from shuiqiao.vault.model import BatchLookup, LeafLookup, LeafRef, LeafStatus

if TYPE_CHECKING:
    from shuiqiao.crypto.model import CipherSuite
    from shuiqiao.ledger.model import LedgerEngine, StateView
    from shuiqiao.ledger.receipts.verification import VerifiedReceipt
    from shuiqiao.ledger.transactions.kinds import KindTable
    from shuiqiao.ledger.transactions.submitter import LedgerSubmitter
    from shuiqiao.standards.model import Catalogue, RecordType


class RootCheck(Protocol):
    """What an accusation asks of the log; ``LedgerSubmitter.verify_root`` is one."""

    def __call__(self, *, size: int, root: bytes) -> None:
        """Return if the log had this root at this size, else raise."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class WithheldEvidence:
    """What an accuser brings."""

    manifest: bytes
    """Signed by the provider, as received."""
    delivered: Sequence[LeafRef]
    """Every record received of the record's type; or, of an answer that shows none, what it rests on."""
    record: RecordProof
    """The record left out, its group ``core`` shown."""
    anchor: VerifiedReceipt
    """Receipt of the anchor.commit of the record's batch."""
    salt: bytes = b""
    """Of an answer that shows no records, as its provider keeps it (``Provider.manifest_opening``)."""


def prove_withheld(
    evidence: WithheldEvidence,
    *,
    provider: MemberId,
    state: StateView,
    network: bytes,
    batch_of: BatchLookup,
    status_of: LeafLookup,
    verify_root: RootCheck,
    suite: CipherSuite,
    catalogue: Catalogue,
) -> Accusation:
    """Return the verified accusation; raises IntegrityError where the evidence does not carry it.

    provider: the accused. state, batch_of, status_of: the ledger's facts today, the last two of its batches.
    verify_root: raises where the log never had a root at a size, as a LedgerSubmitter's does. Raises
    InvalidInput or IntegrityError for a signature or proof that does not hold, ``exchange.accusation_unproven`` with
    the reason where everything holds and yet nobody did wrong.

    Example::

        prove_withheld(evidence, provider=bureau, state=submitter.state(), network=network, ...)
    """
    manifest = decode_manifest(evidence.manifest, provider=provider, state=state, network=network, suite=suite)
    record = evidence.record
    verify_record_proof(record, batch_of=batch_of, suite=suite)
    month = _month_in_scope(record, manifest, catalogue)
    verify_root(size=manifest.as_of_size, root=manifest.as_of_root)
    _expect_anchored(evidence.anchor, record, manifest, network)
    if status_of(record.batch, record.index) is not LeafStatus.LIVE:
        raise _unproven("the record is superseded or erased today, so the ledger does not show that it was live then")
    _expect_missing(evidence, manifest, suite)
    return Accusation(
        provider=MemberId(manifest.provider),
        request=manifest.request,
        consent=manifest.consent,
        manifest_digest=suite.digest(evidence.manifest),
        type_id=record.standard,
        month=month,
        counted=_counted(manifest, record.standard, month),
        batch=record.batch,
        index=record.index,
        anchored_index=evidence.anchor.index,
        as_of_size=manifest.as_of_size,
    )


def accuse_of_withholding(
    manifest: bytes,
    *,
    delivered: Sequence[LeafRef],
    record: RecordProof,
    provider: MemberId,
    ledger: LedgerEngine,
    submitter: LedgerSubmitter,
    kinds: KindTable,
    suite: CipherSuite,
    catalogue: Catalogue,
    salt: bytes = b"",
) -> Accusation:
    """Prove on a member's own copy of the ledger that a provider left a record out of an answer.

    manifest, delivered: as the recipient has them (``ReceivedData``); of an answer that shows no records the provider
    opens its manifest, with delivered and salt. record: shown from the provider's vault, its
    group ``core`` opened. ledger, submitter: the accuser's, who finds the anchor of the record's batch there. Raises
    IntegrityError ``vault.batch_unanchored``, what ``LedgerEngine.receipt`` raises, and as ``prove_withheld``.

    Example::

        opened = bureau.vault.prove_record(leaf, groups=["core"])
        issued = received.records.types["invoice_issued@2"]
        regulator.accuse_of_withholding(
            received.manifest_bytes, delivered=issued.leaves, record=opened, provider=bureau.member
        )
    """
    state = ledger.state()
    anchor = find_anchor(record.batch, ledger=ledger, decode=submitter.decode, author=provider)
    receipt = verify_receipt(
        ledger.receipt(anchor), parameters=ledger.parameters, kinds=kinds, key_ring=MemberKeyRing(), suite=suite
    )
    return prove_withheld(
        WithheldEvidence(manifest=manifest, delivered=delivered, record=record, anchor=receipt, salt=salt),
        provider=provider,
        state=state,
        network=ledger.parameters.network,
        batch_of=batch_lookup(state, provider),
        status_of=LedgerLeaves(state, provider),
        verify_root=submitter.verify_root,
        suite=suite,
        catalogue=catalogue,
    )


def _month_in_scope(record: RecordProof, manifest: AnswerManifest, catalogue: Catalogue) -> str:
    """Steps 2 and 3; returns the month in which the record counts."""
    core = _core(record)
    if core.get(TAXPAYER_FIELD) != manifest.taxpayer:
        raise _unproven("the record is of another taxpayer than the manifest")
    if record.standard not in manifest.items:
        raise _unproven(f"the manifest does not speak for {record.standard}")
    record_type = catalogue.get(record.standard)
    row = _dated_row(core, record_type)
    outside = first_out_of_scope(row, record_type, period_from=manifest.period_from, period_to=manifest.period_to)
    if outside is not None:
        raise _unproven(f"the record is of {outside}, the manifest of {manifest.period_from} to {manifest.period_to}")
    return months_of(row, record_type)[0]


def _dated_row(core: dict[str, Any], record_type: RecordType) -> Any:
    """Return one row that holds the record's period field as a canonical column."""
    field = record_type.field(record_type.period_field)
    value: Any = core.get(field.name)
    try:
        typed = date.fromisoformat(value) if field.type is FieldType.DATE else value
        return pa.RecordBatch.from_arrays([pa.array([typed], type=arrow_type(field))], names=[field.name])
    except (TypeError, ValueError, pa.ArrowException) as error:
        raise _unproven(f"the record's {field.name} is {value!r}") from error


def _core(record: RecordProof) -> dict[str, Any]:
    """Return the content of the one group that names the taxpayer.

    Type and group stand inside its content, which ``verify_record_proof`` held against what it is shown as.
    """
    for part in record.groups:
        if isinstance(part, ShownGroup) and part.group == CORE_GROUP:
            content = decode_json(part.content, max_bytes=MAX_GROUP_BYTES)
            return content if isinstance(content, dict) else {}
    raise _unproven(f"the record does not show its group {CORE_GROUP}")


def _expect_anchored(anchor: VerifiedReceipt, record: RecordProof, manifest: AnswerManifest, network: bytes) -> None:
    """Step 4."""
    if anchor.network != network or anchor.kind != COMMIT or anchor.transaction.body.batch != record.batch:
        raise _unproven("the receipt is not of the anchor of the record's batch on this network")
    if anchor.author != manifest.provider:
        raise _unproven(f"the batch was anchored by {anchor.author}, the manifest is signed by {manifest.provider}")
    if anchor.index >= manifest.as_of_size:
        raise _unproven(
            f"the batch was anchored at entry {anchor.index}, the manifest speaks as of size {manifest.as_of_size}"
        )


def _expect_missing(evidence: WithheldEvidence, manifest: AnswerManifest, suite: CipherSuite) -> None:
    """Step 6."""
    record = evidence.record
    fixed = {entry.type: entry.names for entry in manifest.types}.get(record.standard)
    blinding = blinding_of(evidence.salt, type_id=record.standard)
    if names_digest(evidence.delivered, suite=suite, blinding=blinding) != fixed:
        raise _unproven(f"the {len(evidence.delivered)} records of {record.standard} are not those the manifest fixes")
    if LeafRef(batch=record.batch, index=record.index) in evidence.delivered:
        raise _unproven("the record was delivered")


def _counted(manifest: AnswerManifest, type_id: str, month: str) -> int:
    return sum(cell.count for cell in manifest.cells if (cell.type, cell.month) == (type_id, month))


def _unproven(reason: str) -> IntegrityError:
    return IntegrityError("exchange.accusation_unproven", f"nobody is accused: {reason}")
