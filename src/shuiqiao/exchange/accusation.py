"""A record that was left out, proven afterwards: who signed what, against what stands on the ledger.

Rule: docs/spec/consent-exchange.md [EXCHANGE-16]. What it rests on, in order:

1. the provider's signature on the manifest;
2. a record of the manifest's taxpayer, shown and proven to be a leaf of a batch on the ledger;
3. the record is of a type and period the manifest speaks for;
4. that batch was anchored by the provider before the manifest's checkpoint, by a verified receipt;
5. the leaf is live today, hence was live then: a superseded or erased leaf never becomes live again;
6. the names of the records delivered for the cell are those the manifest fixes, and the record is not among them.

Pure: takes bytes and lookups, returns the accusation or raises. LIMIT: a record that was superseded or erased between
the manifest and today accuses nobody, since the ledger's state of today no longer shows that it was live then.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shuiqiao.base.encoding import decode_json
from shuiqiao.base.errors import IntegrityError
from shuiqiao.base.ids import MemberId
from shuiqiao.exchange.manifest import decode_manifest, is_within, leaf_name, names_digest, period_name
from shuiqiao.exchange.model import Accusation, Manifest
from shuiqiao.standards.model import CORE_GROUP, TAXPAYER_FIELD
from shuiqiao.vault.contract import COMMIT
from shuiqiao.vault.evidence import OpenedGroup, RecordProof, verify_record_proof
from shuiqiao.vault.model import BatchLookup, LeafLookup, LeafRef, LeafStatus

if TYPE_CHECKING:
    from shuiqiao.crypto.model import CipherSuite
    from shuiqiao.ledger.receipt import VerifiedReceipt
    from shuiqiao.standards.model import Catalogue

_MAX_GROUP_BYTES = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class WithheldEvidence:
    """What an accuser brings."""

    manifest: bytes
    """Signed by the provider, as received."""
    delivered: Sequence[LeafRef]
    """Every record received for the type and period in question."""
    record: RecordProof
    """The record left out, its group ``core`` shown."""
    anchor: VerifiedReceipt
    """Receipt of the anchor.commit of the record's batch."""


def prove_withheld(
    evidence: WithheldEvidence,
    *,
    provider_key: bytes,
    network: bytes,
    batch_of: BatchLookup,
    status_of: LeafLookup,
    suite: CipherSuite,
    catalogue: Catalogue,
) -> Accusation:
    """Return the verified accusation; raises IntegrityError where the evidence does not carry it.

    provider_key: raw signing key of the member that is accused. batch_of, status_of: the ledger's facts today. Raises
    InvalidInput or IntegrityError for a signature or proof that does not hold, ``exchange.accusation_unproven`` with
    the reason where everything holds and yet nobody did wrong.
    """
    manifest = decode_manifest(evidence.manifest, network=network, suite=suite, provider_key=provider_key)
    record = evidence.record
    verify_record_proof(record, batch_of=batch_of, suite=suite)
    period = _period_in_scope(record, manifest, catalogue)
    _expect_anchored(evidence.anchor, record, manifest, network)
    if status_of(record.batch, record.index) is not LeafStatus.LIVE:
        raise _unproven("the record is superseded or erased today, so the ledger does not show that it was live then")
    counted = _expect_missing(evidence, manifest, period, suite)
    return Accusation(
        provider=MemberId(manifest.provider),
        request=manifest.request,
        consent=manifest.consent,
        manifest_digest=suite.digest(evidence.manifest),
        type_id=record.standard,
        period=period,
        counted=counted,
        batch=record.batch,
        index=record.index,
        anchored_index=evidence.anchor.index,
        as_of_size=manifest.as_of_size,
    )


def _period_in_scope(record: RecordProof, manifest: Manifest, catalogue: Catalogue) -> str:
    """Steps 2 and 3; returns the period of the record."""
    core = _core(record)
    if core.get("type") != record.standard or core.get("group") != CORE_GROUP:
        raise _unproven(f"the group shown is not the {CORE_GROUP} of {record.standard}")
    if core.get(TAXPAYER_FIELD) != manifest.taxpayer:
        raise _unproven("the record is of another taxpayer than the manifest")
    if record.standard not in manifest.items:
        raise _unproven(f"the manifest does not speak for {record.standard}")
    record_type = catalogue.get(record.standard)
    field = record_type.field(record_type.period_field)
    value = core.get(field.name)
    period = period_name(value, field, record_type)
    # A day outside the period asked for may lie in a month that touches it.
    is_asked = is_within(period, period_from=manifest.period_from, period_to=manifest.period_to)
    is_day = isinstance(value, str) and len(value) > len(period)
    if not is_asked or (
        is_day and not manifest.period_from.isoformat() <= str(value) <= manifest.period_to.isoformat()
    ):
        raise _unproven(f"the record is of {value}, the manifest of {manifest.period_from} to {manifest.period_to}")
    return period


def _core(record: RecordProof) -> dict[str, Any]:
    """Return the content of the one group that names the taxpayer.

    The group's own name stands inside its content, so a proof cannot pass another group off as it.
    """
    for part in record.groups:
        if isinstance(part, OpenedGroup) and part.group == CORE_GROUP:
            content = decode_json(part.content, max_bytes=_MAX_GROUP_BYTES)
            return content if isinstance(content, dict) else {}
    raise _unproven(f"the record does not show its group {CORE_GROUP}")


def _expect_anchored(anchor: VerifiedReceipt, record: RecordProof, manifest: Manifest, network: bytes) -> None:
    """Step 4."""
    if anchor.network != network or anchor.kind != COMMIT or anchor.transaction.body.batch != record.batch:
        raise _unproven("the receipt is not of the anchor of the record's batch on this network")
    if anchor.author != manifest.provider:
        raise _unproven(f"the batch was anchored by {anchor.author}, the manifest is signed by {manifest.provider}")
    if anchor.index >= manifest.as_of_size:
        raise _unproven(
            f"the batch was anchored at entry {anchor.index}, the manifest speaks as of size {manifest.as_of_size}"
        )


def _expect_missing(evidence: WithheldEvidence, manifest: Manifest, period: str, suite: CipherSuite) -> int:
    """Step 6; returns the manifest's count."""
    record = evidence.record
    names = [leaf_name(leaf.batch, leaf.index) for leaf in evidence.delivered]
    cell = next((cell for cell in manifest.cells if (cell.type, cell.period) == (record.standard, period)), None)
    fixed = names_digest([], suite=suite) if cell is None else cell.leaves
    if names_digest(names, suite=suite) != fixed:
        raise _unproven(f"the {len(names)} records named are not those the manifest fixes for {period}")
    if leaf_name(record.batch, record.index) in names:
        raise _unproven("the record was delivered")
    return 0 if cell is None else cell.count


def _unproven(reason: str) -> IntegrityError:
    return IntegrityError("exchange.accusation_unproven", f"nobody is accused: {reason}")
