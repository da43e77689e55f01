"""The manifest: the provider's signed word for how many live records there are, and what a bank holds against it.

Rule: docs/spec/consent-exchange.md [EXCHANGE-9], [EXCHANGE-12]. A cell is one record type in one period; it counts
records and fixes which ones they are by a digest of their names on the ledger (batch id, leaf index). So a record left
out shows at once when the manifest is honest, and can be proven later when it is not (``accusation``).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np

from shuiqiao.base.errors import IntegrityError
from shuiqiao.exchange.model import MAX_MANIFEST_BYTES, Manifest, ManifestCell, RequestMessage
from shuiqiao.ledger.document import decode_document, sign_document, verify_document
from shuiqiao.standards.model import Field, FieldType, RecordType

if TYPE_CHECKING:
    from shuiqiao.crypto.model import CipherSuite, SigningKey
    from shuiqiao.ledger.model import Checkpoint
    from shuiqiao.standards.model import Catalogue
    from shuiqiao.vault.disclosure import Disclosure, TypeDisclosure

MANIFEST = "exchange.manifest/1"

LEAF_NAME_BYTES = 20
_INDEX_BYTES = 4
_MONTH_CHARACTERS = len("2024-03")
_YEAR_CHARACTERS = len("2024")

Cells = dict[tuple[str, str], list[bytes]]
"""(record type id, period) to the names of the records in it."""


def build_manifest(
    message: RequestMessage,
    *,
    taxpayer: str,
    cells: Cells,
    as_of: Checkpoint,
    suite: CipherSuite,
    made_ms: int,
    salt: bytes,
) -> Manifest:
    """Return the manifest of an answer. as_of: the checkpoint taken before the vault was read."""
    return Manifest(
        request=message.request,
        consent=message.consent,
        provider=message.receiver,
        recipient=message.sender,
        taxpayer=taxpayer,
        items=message.items,
        period_from=message.period_from,
        period_to=message.period_to,
        cells=[_cell(key, names, suite) for key, names in sorted(cells.items())],
        as_of_size=as_of.size,
        as_of_root=as_of.root,
        made_ms=made_ms,
        salt=salt,
    )


def _cell(key: tuple[str, str], names: Sequence[bytes], suite: CipherSuite) -> ManifestCell:
    return ManifestCell(type=key[0], period=key[1], count=len(names), leaves=names_digest(names, suite=suite))


def names_digest(names: Iterable[bytes], *, suite: CipherSuite) -> bytes:
    """Return the digest of the names of a cell's records, in any order."""
    return suite.digest(b"".join(sorted(names)))


def leaf_name(batch: bytes, index: int) -> bytes:
    """Return a record's name: batch id and leaf index."""
    return batch + index.to_bytes(_INDEX_BYTES, "big")


def encode_manifest(manifest: Manifest, *, network: bytes, suite: CipherSuite, key: SigningKey) -> bytes:
    """Return a manifest signed by the provider."""
    return sign_document(manifest, name=MANIFEST, network=network, suite=suite, keys=(key,))


def decode_manifest(raw: bytes, *, network: bytes, suite: CipherSuite, provider_key: bytes) -> Manifest:
    """Return the manifest in outside bytes, signed by the provider.

    Raises InvalidInput for its form, IntegrityError for the signature.
    """
    document = decode_document(raw, Manifest, name=MANIFEST, network=network, suite=suite, max_bytes=MAX_MANIFEST_BYTES)
    verify_document(document, public_keys=(provider_key,), suite=suite)
    return document.body


def verify_manifest_fits(manifest: Manifest, message: RequestMessage, *, taxpayer: str) -> None:
    """Return if a manifest is about this very request; raises IntegrityError ``exchange.manifest_misdirected``."""
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


def verify_complete(manifest: Manifest, cells: Cells, *, suite: CipherSuite) -> None:
    """Return if what was received is exactly what the manifest counts [EXCHANGE-12].

    Raises IntegrityError ``exchange.record_withheld`` naming type, period and both counts; ``exchange.record_repeated``
    or ``exchange.record_exchanged`` where the counts agree and the records do not.
    """
    claimed = {(cell.type, cell.period): cell for cell in manifest.cells}
    if len(claimed) != len(manifest.cells):
        raise IntegrityError("exchange.manifest_ambiguous", "the manifest counts one type and period twice")
    for type_id, period in sorted(claimed.keys() | cells.keys()):
        cell, names = claimed.get((type_id, period)), cells.get((type_id, period), [])
        counted = cell.count if cell else 0
        if counted != len(names):
            raise IntegrityError(
                "exchange.record_withheld",
                f"{type_id} in {period}: the signed manifest counts {counted} records, {len(names)} were received",
                next_step="Keep the answer as evidence and ask the provider.",
            )
        if len(set(names)) != len(names):
            raise IntegrityError("exchange.record_repeated", f"{type_id} in {period}: a record was received twice")
        if cell and cell.leaves != names_digest(names, suite=suite):
            raise IntegrityError(
                "exchange.record_exchanged",
                f"{type_id} in {period}: the {counted} records received are not those the manifest was signed for",
            )


def cells_of(disclosure: Disclosure, *, catalogue: Catalogue) -> Cells:
    """Return the records of a disclosure by type and period."""
    cells: Cells = defaultdict(list)
    for entry in disclosure.types:
        record_type = catalogue.get(entry.standard)
        periods = periods_of(entry.rows, record_type)
        for period, name in zip(periods, _names(entry), strict=True):
            cells[entry.standard, period].append(name)
    return dict(cells)


def count_cells(cells: Cells) -> Mapping[str, int]:
    """Return how many records of each type there are."""
    counts: dict[str, int] = defaultdict(int)
    for (type_id, _), names in cells.items():
        counts[type_id] += len(names)
    return dict(counts)


def periods_of(rows: Any, record_type: RecordType) -> list[str]:
    """Return the period of each row of canonical columns, by the record type's period field."""
    field = record_type.field(record_type.period_field)
    column = rows.column(field.name)
    if column.null_count:
        raise _undated(record_type)
    if field.type is FieldType.DATE:
        days = column.to_numpy(zero_copy_only=False).astype("datetime64[M]")
        return [str(month) for month in np.datetime_as_string(days)]
    return [period_name(value, field, record_type) for value in column.to_pylist()]


def period_name(value: object, field: Field, record_type: RecordType) -> str:
    """Return the period that a value of the period field lies in: ``2024-03`` for dates and months, ``2024`` for years.

    value: as in a record's canonical JSON (dates and months are text, years integers).
    """
    if field.type is FieldType.YEAR and isinstance(value, int):
        return f"{value:04d}"
    if field.type in {FieldType.DATE, FieldType.MONTH} and isinstance(value, str):
        return value[:_MONTH_CHARACTERS]
    raise _undated(record_type)


def is_within(period: str, *, period_from: date, period_to: date) -> bool:
    """Return whether a period (month or year) touches the days from period_from to period_to."""
    characters = _YEAR_CHARACTERS if len(period) == _YEAR_CHARACTERS else _MONTH_CHARACTERS
    return period_from.isoformat()[:characters] <= period <= period_to.isoformat()[:characters]


def _names(entry: TypeDisclosure) -> list[bytes]:
    return [opening.batch + index.tobytes() for opening in entry.openings for index in opening.indexes.astype(">u4")]


def _undated(record_type: RecordType) -> IntegrityError:
    return IntegrityError(
        "exchange.record_undated", f"a record of {record_type.standard_id} has no usable {record_type.period_field}"
    )
