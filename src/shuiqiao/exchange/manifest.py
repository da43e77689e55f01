"""The manifest: the provider signs how many live records there are, and a bank checks an answer against it.

Rule: docs/spec/consent-exchange.md [EXCHANGE-9], [EXCHANGE-12]. It counts records by type and month, and fixes which
ones they are by a digest of their names on the ledger (batch id, leaf index). The provider takes both from the index of
its vault, not from the records it sends: so a record left out shows at once when the manifest is honest, and can be
proven later when it is not (``accusation``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta

from shuiqiao.base.encoding import decode_cbor_strict, encode_cbor, typed
from shuiqiao.base.errors import IntegrityError, InvalidInput
from shuiqiao.base.ids import ID_BYTES, owned_id
from shuiqiao.base.wire import CalendarMs, MemberName, OwnedRef
from shuiqiao.exchange.model import (
    MAX_MANIFEST_BYTES,
    AnswerManifest,
    ManifestCell,
    ManifestType,
    RequestMessage,
    is_recorded,
)
from shuiqiao.ledger.transactions.document import decode_document, sign_document
from shuiqiao.members.roster import verify_signed_by
from shuiqiao.vault.identity import period_days
from shuiqiao.vault.model import LeafRef

if TYPE_CHECKING:
    from datetime import date

    from shuiqiao.base.ids import MemberId, OwnedId
    from shuiqiao.crypto.model import CipherSuite, SigningKey
    from shuiqiao.ledger.checkpoints.signed_note import Checkpoint
    from shuiqiao.ledger.model import StateView
    from shuiqiao.ledger.transactions.document import Document
    from shuiqiao.standards.model import Catalogue, RecordType
    from shuiqiao.vault.disclosure import Disclosure

MANIFEST = "exchange.manifest/1"
OPENED = "exchange.opened_manifest/1"

MAX_OPENING_BYTES = 8 << 20
"""Of 360,000 records by name. LIMIT: a score of more of one taxpayer's has a manifest that no regulator can open."""

_INDEX_BYTES = 4
_BLINDING = b"shuiqiao/exchange/names/1\x00"


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """What there is of one record type: counts by month (``2024-03``), and the places of the records."""

    counts: Mapping[str, int]
    leaves: Sequence[LeafRef]


@dataclass(frozen=True, slots=True, kw_only=True)
class Computed:
    """What makes the manifest of an answer that shows no records [EXCHANGE-27].

    result: digest of the answer's content. salt: 32 random bytes that the provider keeps, without which nobody can try
    which records there are.
    """

    result: bytes
    salt: bytes

    def blinding(self, type_id: str) -> bytes:
        """Return what goes before the names of one type's records."""
        return blinding_of(self.salt, type_id=type_id)


def build_manifest(
    message: RequestMessage,
    *,
    taxpayer: str,
    inventories: Mapping[str, Inventory],
    as_of: Checkpoint,
    suite: CipherSuite,
    made_ms: int,
    salt: bytes,
    computed: Computed | None = None,
) -> AnswerManifest:
    """Return the manifest of an answer.

    inventories: by type, for every type asked for. as_of: the checkpoint taken before the vault was read. computed: of
    an answer that shows no records, whose manifest tells nothing of them either.
    """
    return AnswerManifest(
        request=message.request,
        consent=message.consent,
        provider=message.receiver,
        recipient=message.sender,
        taxpayer=taxpayer,
        items=message.items,
        period_from=message.period_from,
        period_to=message.period_to,
        types=[
            ManifestType(
                type=type_id,
                names=names_digest(
                    inventory.leaves, suite=suite, blinding=b"" if computed is None else computed.blinding(type_id)
                ),
            )
            for type_id, inventory in sorted(inventories.items())
        ],
        cells=[]
        if computed is not None
        else [
            ManifestCell(type=type_id, month=month, count=count)
            for type_id, inventory in sorted(inventories.items())
            for month, count in sorted(inventory.counts.items())
        ],
        as_of_size=as_of.size,
        as_of_root=as_of.root,
        made_ms=made_ms,
        salt=salt,
        result=None if computed is None else computed.result,
    )


def names_digest(leaves: Iterable[LeafRef], *, suite: CipherSuite, blinding: bytes = b"") -> bytes:
    """Return the digest of the names of records, given in any order. blinding: goes before them [EXCHANGE-27]."""
    names = sorted([leaf.batch + leaf.index.to_bytes(_INDEX_BYTES, "big") for leaf in leaves])
    return suite.digest(blinding + b"".join(names))


def blinding_of(salt: bytes, *, type_id: str) -> bytes:
    """Return what goes before the names of one type's records: the digests of two types without records differ."""
    return _BLINDING + salt + type_id.encode() + b"\x00" if salt else b""


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestOpening:
    """What opens the manifest of an answer that shows no records: the salt, and by type the records it rests on."""

    salt: bytes
    leaves: Mapping[str, Sequence[LeafRef]]


def encode_opening(salt: bytes, inventories: Mapping[str, Inventory]) -> bytes:
    """Return an opening as bytes for the provider's own store."""
    names = {type_id: [[leaf.batch, leaf.index] for leaf in found.leaves] for type_id, found in inventories.items()}
    return encode_cbor({"salt": salt, "leaves": names})


def decode_opening(data: bytes) -> ManifestOpening:
    """Return an opening as it is kept; raises IntegrityError ``base.cbor_damaged``."""
    try:
        found = typed(decode_cbor_strict(data, max_bytes=MAX_OPENING_BYTES), _Opening, builtin_types=(bytes,))
    except (InvalidInput, msgspec.ValidationError) as error:
        raise IntegrityError("base.cbor_damaged", f"{len(data)} stored bytes open no manifest: {error}") from error
    leaves = {type_id: [LeafRef(*name) for name in names] for type_id, names in found.leaves.items()}
    return ManifestOpening(salt=found.salt, leaves=leaves)


_BatchId = Annotated[bytes, Meta(min_length=ID_BYTES, max_length=ID_BYTES)]
_LeafIndex = Annotated[int, Meta(ge=0, le=2**32 - 1)]


class _Opening(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    salt: bytes
    leaves: dict[str, list[tuple[_BatchId, _LeafIndex]]]


class OpenedManifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a bureau signs to a regulator that has a manifest opened. kept: the opening as the bureau keeps it."""

    bureau: MemberName
    regulator: MemberName
    request: OwnedRef
    kept: Annotated[bytes, Meta(max_length=MAX_OPENING_BYTES)]
    made_ms: CalendarMs

    def opening(self, *, bureau: MemberId, regulator: MemberId, request: OwnedId) -> ManifestOpening:
        """Return the opening that it holds.

        Raises IntegrityError ``exchange.opening_foreign`` for one of another bureau, to another regulator or of another
        request; what ``decode_opening`` raises.
        """
        if (self.bureau, self.regulator, self.request) != (bureau, regulator, request):
            raise IntegrityError(
                "exchange.opening_foreign",
                f"{bureau} was asked to open the manifest of {request}, and what came is {self.bureau}'s to "
                f"{self.regulator} of {self.request}",
            )
        return decode_opening(self.kept)


def encode_opened(body: OpenedManifest, *, network: bytes, suite: CipherSuite, key: SigningKey) -> bytes:
    """Return an opening signed by its bureau."""
    return sign_document(body, name=OPENED, network=network, suite=suite, keys=(key,))


def decode_opened(raw: bytes, *, network: bytes, suite: CipherSuite) -> Document[OpenedManifest]:
    """Return an opening in outside bytes, its signature not verified; raises InvalidInput ``ledger.document_*``."""
    return decode_document(
        raw, OpenedManifest, name=OPENED, network=network, suite=suite, max_bytes=MAX_OPENING_BYTES + 4_096
    )


def encode_manifest(manifest: AnswerManifest, *, network: bytes, suite: CipherSuite, key: SigningKey) -> bytes:
    """Return a manifest signed by the provider."""
    return sign_document(manifest, name=MANIFEST, network=network, suite=suite, keys=(key,))


def decode_manifest(
    raw: bytes, *, provider: MemberId, state: StateView, network: bytes, suite: CipherSuite
) -> AnswerManifest:
    """Return the manifest in outside bytes, signed by the provider.

    Where the provider put it on the ledger, a key counts that it replaced since [MEMBER-26].
    Raises InvalidInput for its form, IntegrityError for the signature.
    """
    document = decode_document(
        raw, AnswerManifest, name=MANIFEST, network=network, suite=suite, max_bytes=MAX_MANIFEST_BYTES
    )
    manifest = document.body
    name = owned_id(manifest.recipient, manifest.request)
    known = is_recorded(state, name, provider=provider, field="manifest_digest", digest=suite.digest(raw))
    verify_signed_by(document, member=provider, state=state, suite=suite, is_recorded=known)
    return manifest


def verify_manifest_fits(manifest: AnswerManifest, message: RequestMessage, *, taxpayer: str) -> None:
    """Return if a manifest is about this very request.

    Raises IntegrityError ``exchange.manifest_misdirected``, or ``exchange.manifest_ambiguous`` where it speaks of a
    type or month twice, or not of every type asked for.
    """
    found = (
        manifest.request, manifest.consent, manifest.provider, manifest.recipient,
        manifest.items, manifest.period_from, manifest.period_to,
    )  # fmt: skip
    expected = (
        message.request, message.consent, message.receiver, message.sender,
        message.items, message.period_from, message.period_to,
    )  # fmt: skip
    if found != expected or manifest.taxpayer != taxpayer:
        raise IntegrityError(
            "exchange.manifest_misdirected",
            f"the manifest of request {manifest.request.hex()} does not say what request {message.request.hex()} asked",
        )
    cells = [(cell.type, cell.month) for cell in manifest.cells]
    types = [entry.type for entry in manifest.types]
    if cells != sorted(set(cells)) or types != sorted(message.items) or not {cell[0] for cell in cells} <= set(types):
        raise IntegrityError(
            "exchange.manifest_ambiguous",
            f"the manifest of request {manifest.request.hex()} does not count each type and month once, in order",
        )


def verify_complete(manifest: AnswerManifest, received: Mapping[str, Inventory], *, suite: CipherSuite) -> None:
    """Return if what was received is exactly what the manifest counts and names [EXCHANGE-12].

    received: by type. Raises IntegrityError ``exchange.record_withheld`` naming type, month and both counts, or
    ``exchange.record_exchanged`` where the counts agree and the records do not.
    """
    for entry in manifest.types:
        inventory = received.get(entry.type, Inventory(counts={}, leaves=()))
        counted = {cell.month: cell.count for cell in manifest.cells if cell.type == entry.type}
        for month in sorted(counted.keys() | inventory.counts.keys()):
            expected, found = counted.get(month, 0), inventory.counts.get(month, 0)
            if expected != found:
                raise IntegrityError(
                    "exchange.record_withheld",
                    f"{entry.type} in {month}: the signed manifest counts {expected} records, {found} were received",
                    next_step="Keep the answer as evidence and ask the provider.",
                )
        if entry.names != names_digest(inventory.leaves, suite=suite):
            raise IntegrityError(
                "exchange.record_exchanged",
                f"the {len(inventory.leaves)} records of {entry.type} are not those that the manifest was signed for",
            )


def verify_computed(manifest: AnswerManifest, content: bytes, *, suite: CipherSuite) -> None:
    """Return if a manifest is of this very computed content and tells nothing of records [EXCHANGE-27].

    Raises IntegrityError ``exchange.result_unsigned``, or ``exchange.manifest_ambiguous`` where it counts records.
    """
    if manifest.cells:
        raise IntegrityError(
            "exchange.manifest_ambiguous",
            f"the manifest of request {manifest.request.hex()} counts records, which this answer was not to show",
        )
    if manifest.result != suite.digest(content):
        raise IntegrityError(
            "exchange.result_unsigned", f"the result of request {manifest.request.hex()} is not the one that was signed"
        )


def inventories_of(disclosure: Disclosure, *, catalogue: Catalogue) -> dict[str, Inventory]:
    """Return what a disclosure holds, by type."""
    return {
        entry.standard: Inventory(
            counts=counts_by_month(entry.rows, catalogue.get(entry.standard)),
            leaves=[LeafRef(proven.batch, index) for proven in entry.proofs for index in proven.indexes.tolist()],
        )
        for entry in disclosure.types
    }


def months_of(rows: Any, record_type: RecordType) -> list[str]:
    """Return the month in which each row counts."""
    return [str(month) for month in _months(rows, record_type)]


def counts_by_month(rows: Any, record_type: RecordType) -> dict[str, int]:
    """Return how many rows count in each month that has any."""
    counts = Counter(_months(rows, record_type).astype(np.int64).tolist())
    return {str(np.datetime64(month, "M")): counts[month] for month in sorted(counts)}


def _months(rows: Any, record_type: RecordType) -> Any:
    return _days(rows, record_type).astype("datetime64[M]")


def first_out_of_scope(rows: Any, record_type: RecordType, *, period_from: date, period_to: date) -> str | None:
    """Return the day of the first row that is out of scope of a period, or None [EXCHANGE-9]."""
    days = _days(rows, record_type)
    is_outside = days > np.datetime64(period_to)
    if not record_type.standing:
        is_outside |= days < np.datetime64(period_from)
    outside = days[is_outside]
    return str(outside[0]) if len(outside) else None


def _days(rows: Any, record_type: RecordType) -> Any:
    if rows.column(record_type.period_field).null_count:
        raise IntegrityError(
            "exchange.record_undated", f"a record of {record_type.standard_id} has no {record_type.period_field}"
        )
    return period_days(record_type, rows).astype("datetime64[D]")
