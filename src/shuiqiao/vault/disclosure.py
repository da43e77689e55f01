"""A disclosure: one taxpayer's records with what is needed to check each against the ledger, in memory and as bytes.

For every record type: the granted groups' fields as columns, and one *opening* per batch: which leaves, the salts of
the granted groups, the hashes of the withheld ones, and one multiproof. Group bytes do not travel: they are the
canonical JSON of the columns, and the receiver writes them itself, so a second reading of the same bytes cannot exist
[VAULT-WIRE-1]. Checking is in ``proofs``, building in ``opening``.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import Annotated, Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from msgspec import Meta

from shuiqiao.base.encoding import decode_cbor_strict, encode_cbor
from shuiqiao.base.errors import InvalidInput
from shuiqiao.base.ids import Uscc
from shuiqiao.base.typed import typed
from shuiqiao.standards.columns import arrow_type
from shuiqiao.standards.model import MAX_FIELDS, MAX_GROUPS, Catalogue, RecordType
from shuiqiao.vault.columns import MAX_WIRE_BYTES, Blob, WireColumn, decode_column, encode_column
from shuiqiao.vault.contract import BatchId, IsoDate, StandardId
from shuiqiao.vault.model import HASH_BYTES, MAX_BATCH_DEPTH, SALT_BYTES

WIRE_VERSION = 1

MAX_DISCLOSED_RECORDS = 2_000_000
"""Records of one type in one disclosure: bounds the receiver's memory to a few gigabytes at the very worst."""

MAX_OPENINGS = 65_536
"""Batches one type of a disclosure may touch."""

MAX_TYPES = 32

MAX_WIRE_ITEMS = 1 << 20
"""CBOR items of a disclosure: eleven for each opening, so 95,000 batches; they decode to 75 MiB at worst."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """What proves some leaves of one batch.

    indexes: strictly rising leaf indexes, uint32. salts: per record, one 16-byte salt per granted group, in catalogue
    order. withheld: per record, one 32-byte hash per group not granted. proof: the multiproof, 32 bytes a hash.
    """

    batch: bytes
    indexes: npt.NDArray[np.uint32]
    salts: bytes
    withheld: bytes
    proof: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class TypeDisclosure:
    """The records of one type. rows: the granted fields; the rows of the first opening come first, and so on."""

    standard: str
    groups: tuple[str, ...]
    rows: Any
    openings: tuple[Opening, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Disclosure:
    """All that one taxpayer's granted types hold in a data period; a type without records is there with no rows."""

    uscc: Uscc
    period_from: date
    period_to: date
    types: tuple[TypeDisclosure, ...]

    @property
    def record_count(self) -> int:
        """Records of all types."""
        return sum(entry.rows.num_rows for entry in self.types)


class _WireOpening(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    batch: BatchId
    indexes: Blob
    salts: Blob
    withheld: Blob
    proof: Blob


class _WireType(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    standard: StandardId
    groups: Annotated[list[Annotated[str, Meta(max_length=32)]], Meta(min_length=1, max_length=MAX_GROUPS)]
    columns: Annotated[dict[Annotated[str, Meta(max_length=48)], WireColumn], Meta(max_length=MAX_FIELDS)]
    openings: Annotated[list[_WireOpening], Meta(max_length=MAX_OPENINGS)]


class _WireDisclosure(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    version: Annotated[int, Meta(ge=WIRE_VERSION, le=WIRE_VERSION)]
    uscc: Annotated[str, Meta(pattern=r"^[0-9A-Za-z_-]{1,32}\Z", max_length=32)]
    period_from: IsoDate
    period_to: IsoDate
    types: Annotated[list[_WireType], Meta(max_length=MAX_TYPES)]


def granted_groups(record_type: RecordType, groups: tuple[str, ...]) -> tuple[str, ...]:
    """Return groups in catalogue order; raises InvalidInput ``standards.group_unknown`` or ``vault.groups_empty``."""
    for group in groups:
        record_type.group(group)
    if not groups:
        raise InvalidInput("vault.groups_empty", f"no disclosure group of {record_type.standard_id} is named")
    return tuple(group for group in record_type.group_ids if group in groups)


def granted_schema(record_type: RecordType, groups: tuple[str, ...]) -> pa.Schema:
    """Return the Arrow schema of the fields in some groups."""
    return _schema(tuple((entry.name, arrow_type(entry)) for entry in record_type.fields if entry.group in groups))


@lru_cache(maxsize=1024)
def _schema(fields: tuple[tuple[str, Any], ...]) -> pa.Schema:
    return pa.schema([pa.field(name, kind) for name, kind in fields])


def encode_disclosure(disclosure: Disclosure) -> bytes:
    """Return the deterministic CBOR of a disclosure. Raises InvalidInput ``vault.disclosure_too_large``."""
    wire = _WireDisclosure(
        version=WIRE_VERSION,
        uscc=disclosure.uscc,
        period_from=disclosure.period_from.isoformat(),
        period_to=disclosure.period_to.isoformat(),
        types=[_encode_type(entry) for entry in disclosure.types],
    )
    data = encode_cbor(msgspec.to_builtins(wire, builtin_types=(bytes,)))
    if len(data) > MAX_WIRE_BYTES:
        raise InvalidInput("vault.disclosure_too_large", f"{len(data)} bytes where at most {MAX_WIRE_BYTES} may travel")
    return data


def _encode_type(entry: TypeDisclosure) -> _WireType:
    return _WireType(
        standard=entry.standard,
        groups=list(entry.groups),
        columns=dict(zip(entry.rows.schema.names, map(encode_column, entry.rows.columns), strict=True)),
        openings=[
            _WireOpening(
                batch=opening.batch,
                indexes=opening.indexes.astype("<u4").tobytes(),
                salts=opening.salts,
                withheld=opening.withheld,
                proof=opening.proof,
            )
            for opening in entry.openings
        ],
    )


def decode_disclosure(data: bytes, *, catalogue: Catalogue) -> Disclosure:
    """Return a disclosure from outside bytes: its shape is checked here, its truth by ``proofs.verify_disclosure``.

    Raises InvalidInput ``vault.disclosure_malformed``, ``vault.column_malformed``, ``base.cbor_*`` and the
    ``standards`` codes for unknown types and groups.
    """
    fields = decode_cbor_strict(data, max_bytes=MAX_WIRE_BYTES, max_items=MAX_WIRE_ITEMS)
    try:
        wire = typed(fields, _WireDisclosure, builtin_types=(bytes,))
        period = (date.fromisoformat(wire.period_from), date.fromisoformat(wire.period_to))
    except ValueError as error:
        raise InvalidInput("vault.disclosure_malformed", f"not a disclosure: {error}") from error
    if len({entry.standard for entry in wire.types}) != len(wire.types):
        raise InvalidInput("vault.disclosure_malformed", "a record type stands twice in a disclosure")
    return Disclosure(
        uscc=Uscc(wire.uscc),
        period_from=period[0],
        period_to=period[1],
        types=tuple(_decode_type(entry, catalogue.get(entry.standard)) for entry in wire.types),
    )


def _decode_type(wire: _WireType, record_type: RecordType) -> TypeDisclosure:
    groups = granted_groups(record_type, tuple(wire.groups))
    if groups != tuple(wire.groups):
        raise InvalidInput("vault.disclosure_malformed", f"groups {wire.groups} do not stand in catalogue order, once")
    openings = tuple(_decode_opening(entry, record_type, granted=len(groups)) for entry in wire.openings)
    rows = sum(len(opening.indexes) for opening in openings)
    if rows > MAX_DISCLOSED_RECORDS:
        raise InvalidInput(
            "vault.disclosure_too_large", f"{rows} records of {wire.standard}; at most {MAX_DISCLOSED_RECORDS} travel"
        )
    schema = granted_schema(record_type, groups)
    if set(wire.columns) != set(schema.names):
        raise InvalidInput("vault.disclosure_malformed", f"columns of {wire.standard} are not those of {groups}")
    columns = [decode_column(wire.columns[entry.name], kind=entry.type, rows=rows) for entry in schema]
    return TypeDisclosure(
        standard=wire.standard,
        groups=groups,
        rows=pa.RecordBatch.from_arrays(columns, schema=schema),
        openings=openings,
    )


def _decode_opening(wire: _WireOpening, record_type: RecordType, *, granted: int) -> Opening:
    count, odd = divmod(len(wire.indexes), 4)
    withheld = len(record_type.groups) - granted
    fits = (
        not odd
        and 0 < count <= 1 << MAX_BATCH_DEPTH
        and len(wire.salts) == count * granted * SALT_BYTES
        and len(wire.withheld) == count * withheld * HASH_BYTES
        and len(wire.proof) % HASH_BYTES == 0
        # No more siblings than one per leaf and level are ever needed.
        and len(wire.proof) <= count * MAX_BATCH_DEPTH * HASH_BYTES
    )
    if not fits:
        raise InvalidInput("vault.disclosure_malformed", f"the opening of batch {wire.batch.hex()} has wrong lengths")
    return Opening(
        batch=wire.batch,
        indexes=np.frombuffer(wire.indexes, dtype="<u4").astype(np.uint32),
        salts=wire.salts,
        withheld=wire.withheld,
        proof=wire.proof,
    )
