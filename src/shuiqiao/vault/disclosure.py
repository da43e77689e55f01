"""A disclosure: one taxpayer's records with what is needed to check each against the ledger; made, sent and verified.

For every record type: the granted groups' fields as columns, and one *batch proof* per batch: which leaves, the salts
of the granted groups, the hashes of the withheld ones, and one multiproof. Group bytes do not travel: they are the
canonical JSON of the columns, and the receiver writes them itself, so a second reading of the same bytes cannot exist
[VAULT-WIRE-1].

[VAULT-WIRE-2] A column is up to three byte strings: ``valid`` (one bit a row, lowest first; empty where every row has
a value), ``ends`` (text only: where each value ends in ``data``, 32-bit little-endian) and ``data`` (UTF-8 text;
64-bit little-endian integers; 32-bit days since 1970; one bit a boolean). Decoding trusts none of them: every length
is checked against the row count before an array is built over them, and text must be UTF-8.

The receiver recomputes everything that a disclosure claims, for every record type, in order [VAULT-VERIFY-1]:

1. the granted groups' canonical JSON is written from the columns, and hashed with the disclosed salts;
2. with the hashes of the withheld groups, that gives each record's leaf;
3. the leaves and the multiproof of each batch lead to a root;
4. that root, with its count, standard and author, is the one on the ledger, and the batch is not erased;
5. no leaf stands twice, none is superseded or erased, and every record that names its taxpayer names the right one.

Guarantee: what comes back is what the author committed to. LIMIT: completeness is not proven here, a record may have
been left out; the signed manifest of ``exchange`` makes that provable afterwards. LIMIT: without the group ``core`` a
record does not say whose it is; a recipient that asks for facts about a taxpayer must be granted ``core``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from itertools import chain
from typing import Annotated, Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from msgspec import Meta

from shuiqiao.base.encoding import decode_cbor_strict, encode_cbor, typed
from shuiqiao.base.errors import Conflict, IntegrityError, InvalidInput
from shuiqiao.base.ids import Uscc
from shuiqiao.crypto.model import CipherSuite
from shuiqiao.standards.columns import arrow_type, encode_group_list
from shuiqiao.standards.model import CORE_GROUP, MAX_FIELDS, MAX_GROUPS, Catalogue, RecordType, StandardId
from shuiqiao.vault.contract import BatchId, IsoDate
from shuiqiao.vault.model import (
    HASH_BYTES,
    MAX_BATCH_DEPTH,
    SALT_BYTES,
    BatchFact,
    BatchLookup,
    LeafLookup,
    LeafRef,
    LeafStatus,
)
from shuiqiao.vault.storage.batch_file import BatchReader, concat_rows
from shuiqiao.vault.storage.index import BatchRow, Entry, IndexView
from shuiqiao.vault.tree import group_hashes, leaf_hashes, root_from_multiproof, split_hashes, split_salts

WIRE_VERSION = 1

MAX_DISCLOSED_RECORDS = 2_000_000
"""Records of one type in one disclosure: bounds the receiver's memory to a few gigabytes at the very worst."""

MAX_BATCH_PROOFS = 65_536
"""Batches one type of a disclosure may touch."""

MAX_TYPES = 32

MAX_WIRE_ITEMS = 1 << 20
"""CBOR items of a disclosure: eleven for each batch proof, so 95,000 batches; they decode to 75 MiB at worst."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchProof:
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
    """The records of one type. rows: the granted fields; the rows of the first proof come first, and so on."""

    standard: str
    groups: tuple[str, ...]
    rows: Any
    proofs: tuple[BatchProof, ...]


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


class _WireProof(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    batch: BatchId
    indexes: Blob
    salts: Blob
    withheld: Blob
    proof: Blob


class _WireType(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    standard: StandardId
    groups: Annotated[list[Annotated[str, Meta(max_length=32)]], Meta(min_length=1, max_length=MAX_GROUPS)]
    columns: Annotated[dict[Annotated[str, Meta(max_length=48)], WireColumn], Meta(max_length=MAX_FIELDS)]
    proofs: Annotated[list[_WireProof], Meta(max_length=MAX_BATCH_PROOFS)] = msgspec.field(name="openings")


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
        proofs=[
            _WireProof(
                batch=proven.batch,
                indexes=proven.indexes.astype("<u4").tobytes(),
                salts=proven.salts,
                withheld=proven.withheld,
                proof=proven.proof,
            )
            for proven in entry.proofs
        ],
    )


def decode_disclosure(data: bytes, *, catalogue: Catalogue) -> Disclosure:
    """Return a disclosure from outside bytes: its shape is checked here, its truth by ``verify_disclosure``.

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
    proofs = tuple(_decode_proof(entry, record_type, granted=len(groups)) for entry in wire.proofs)
    rows = sum(len(proven.indexes) for proven in proofs)
    if rows > MAX_DISCLOSED_RECORDS:
        raise InvalidInput(
            "vault.disclosure_too_large", f"{rows} records of {wire.standard}; at most {MAX_DISCLOSED_RECORDS} travel"
        )
    schema = granted_schema(record_type, groups)
    if set(wire.columns) != set(schema.names):
        raise InvalidInput("vault.disclosure_malformed", f"columns of {wire.standard} are not those of {groups}")
    columns = [decode_column(wire.columns[entry.name], kind=entry.type, rows=rows) for entry in schema]
    return TypeDisclosure(
        standard=wire.standard, groups=groups, rows=pa.RecordBatch.from_arrays(columns, schema=schema), proofs=proofs
    )


def _decode_proof(wire: _WireProof, record_type: RecordType, *, granted: int) -> BatchProof:
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
        raise InvalidInput("vault.disclosure_malformed", f"the proof of batch {wire.batch.hex()} has wrong lengths")
    return BatchProof(
        batch=wire.batch,
        indexes=np.frombuffer(wire.indexes, dtype="<u4").astype(np.uint32),
        salts=wire.salts,
        withheld=wire.withheld,
        proof=wire.proof,
    )


MAX_WIRE_BYTES = 1 << 28
"""Largest disclosure, in bytes: about two million invoices, more than one taxpayer issues in a data period."""

Blob = Annotated[bytes, msgspec.Meta(max_length=MAX_WIRE_BYTES)]


class WireColumn(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One column as it travels."""

    valid: Blob
    ends: Blob
    data: Blob


def encode_column(column: Any) -> WireColumn:
    """Return a canonical column (text, int64, date32, bool) as bytes; equal columns give equal bytes."""
    rows = len(column)
    if not rows:
        return WireColumn(valid=b"", ends=b"", data=b"")
    validity, *values = column.buffers()
    present = _bits(validity, column.offset, rows) if column.null_count else None
    valid = b"" if present is None else np.packbits(present, bitorder="little").tobytes()
    if pa.types.is_string(column.type):
        ends, data = _text_bytes(column, present)
        return WireColumn(valid=valid, ends=ends, data=data)
    if pa.types.is_boolean(column.type):
        bits = _bits(values[0], column.offset, rows)
        data = np.packbits(bits if present is None else bits & present, bitorder="little").tobytes()
        return WireColumn(valid=valid, ends=b"", data=data)
    kind = np.dtype("<i4" if pa.types.is_date32(column.type) else "<i8")
    whole = np.frombuffer(values[0], dtype=kind, count=rows, offset=column.offset * kind.itemsize)
    # What stands in the place of a null is anything: on the wire it is zero.
    data = (whole if present is None else whole * present).astype(kind, copy=False).tobytes()
    return WireColumn(valid=valid, ends=b"", data=data)


def _bits(buffer: Any, offset: int, rows: int) -> npt.NDArray[np.uint8]:
    """Return a run of an Arrow bitmap as one 0 or 1 a row."""
    return np.unpackbits(np.frombuffer(buffer, np.uint8), count=offset + rows, bitorder="little")[offset:]


def _text_bytes(column: Any, present: npt.NDArray[np.uint8] | None) -> tuple[bytes, bytes]:
    """Return (ends, data) of a text column with at least one row. present: 1 where there is a value, None for all."""
    _, offsets, data = column.buffers()
    bounds = np.frombuffer(offsets, np.int32, count=len(column) + 1, offset=column.offset * 4)
    if present is not None and np.count_nonzero((bounds[1:] != bounds[:-1]) & (present == 0)):
        # The place of a null may hold bytes, which nobody is to see.
        return _text_bytes(column.fill_null(""), None)
    first, last = int(bounds[0]), int(bounds[-1])
    text = b"" if first == last else data.slice(first, last - first).to_pybytes()
    return (bounds[1:] - first).astype("<u4").tobytes(), text


def decode_column(wire: WireColumn, *, kind: Any, rows: int) -> Any:
    """Return the Arrow array of a type and length. Raises InvalidInput ``vault.column_malformed``."""
    valid = None if not wire.valid else _bitmap(wire.valid, rows)
    if pa.types.is_string(kind):
        return _text_column(wire, valid, rows)
    if wire.ends:
        raise _malformed("a column of fixed width has ends")
    if pa.types.is_boolean(kind):
        buffer = _bitmap(wire.data, rows)
    else:
        width = kind.bit_width // 8
        if len(wire.data) != rows * width:
            raise _malformed(f"{len(wire.data)} bytes for {rows} values of {width} bytes")
        buffer = pa.py_buffer(wire.data)
    return pa.Array.from_buffers(kind, rows, [valid, buffer])


def _bitmap(bits: bytes, rows: int) -> Any:
    if len(bits) != (rows + 7) // 8:
        raise _malformed(f"{len(bits)} bytes of bits for {rows} rows")
    if rows % 8 and bits[-1] >> (rows % 8):
        raise _malformed("bits beyond the last row are set")
    return pa.py_buffer(bits)


def _text_column(wire: WireColumn, valid: Any, rows: int) -> Any:
    if len(wire.ends) != rows * 4:
        raise _malformed(f"{len(wire.ends)} bytes of ends for {rows} texts")
    ends = np.frombuffer(wire.ends, dtype="<u4")
    if np.count_nonzero(ends[1:] < ends[:-1]) or (int(ends[-1]) if rows else 0) != len(wire.data):
        raise _malformed("text ends do not rise to the end of the data")
    # They fit in 31 bits: none is beyond the data, whose size is bounded.
    bounds = np.zeros(rows + 1, dtype=np.int32)
    bounds[1:] = ends
    column = pa.Array.from_buffers(pa.string(), rows, [valid, pa.py_buffer(bounds), pa.py_buffer(wire.data)])
    if not wire.data.isascii():  # ASCII is UTF-8 wherever it is cut
        _require_utf8(column)
    return column


def _require_utf8(column: Any) -> None:
    try:
        column.validate(full=True)
    except pa.ArrowInvalid as error:
        raise _malformed(f"text that is not UTF-8: {str(error)[:80]}") from error


def _malformed(what: str) -> InvalidInput:
    return InvalidInput("vault.column_malformed", f"a disclosed column is malformed: {what}")


def disclose_records(
    view: IndexView,
    entries: Sequence[Entry],
    *,
    reader: BatchReader,
    record_type: RecordType,
    groups: tuple[str, ...],
    hash_name: str,
) -> TypeDisclosure:
    """Return records of one type with what proves them. groups: granted, in catalogue order."""
    schema = granted_schema(record_type, groups)
    parts: list[pa.RecordBatch] = []
    proofs: list[BatchProof] = []
    for number, indexes in _by_batch(entries):
        row = view.batch(number)
        proofs.append(_prove_batch(reader, row, record_type, groups, indexes, hash_name=hash_name))
        parts.append(reader.rows(row.id, schema=schema, indexes=indexes))
    return TypeDisclosure(
        standard=record_type.standard_id,
        groups=groups,
        rows=concat_rows(parts) if parts else _no_rows(schema),
        proofs=tuple(proofs),
    )


@lru_cache(maxsize=256)
def _no_rows(schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist([], schema=schema)


def _by_batch(entries: Sequence[Entry]) -> Iterator[tuple[int, list[int]]]:
    """Yield (batch number, rising leaf indexes)."""
    by_number: dict[int, list[int]] = {}
    for entry in entries:
        by_number.setdefault(entry.batch, []).append(entry.index)
    for number in sorted(by_number):
        yield number, sorted(by_number[number])


def _prove_batch(
    reader: BatchReader,
    row: BatchRow,
    record_type: RecordType,
    groups: tuple[str, ...],
    indexes: list[int],
    *,
    hash_name: str,
) -> BatchProof:
    granted = [position for position, group in enumerate(record_type.group_ids) if group in groups]
    withheld = [position for position in range(len(record_type.groups)) if position not in granted]
    file = reader.leaves(row.id, count=row.count, groups=record_type.group_ids)
    salts = file.salts_of(indexes)
    hashes = [
        group_hashes(
            split_salts(salts[:, position].tobytes(), groups=1)[0],
            file.group_records(position, indexes),
            hash_name=hash_name,
        )
        for position in withheld
    ]
    return BatchProof(
        batch=row.id,
        indexes=np.array(indexes, dtype=np.uint32),
        salts=salts[:, granted].tobytes(),
        withheld=b"".join(chain.from_iterable(zip(*hashes, strict=True))),
        proof=file.multiproof(indexes),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedRecords:
    """Records of one type that were checked.

    rows: a pyarrow RecordBatch of the granted fields. batches: the distinct batch ids. batch_numbers: per row, the
    position of its batch in ``batches``. indexes: per row, its leaf index in that batch.
    """

    record_type: RecordType
    groups: tuple[str, ...]
    rows: Any
    batches: tuple[bytes, ...]
    batch_numbers: npt.NDArray[np.int64]
    indexes: npt.NDArray[np.uint32]

    @property
    def leaves(self) -> list[LeafRef]:
        """Their places on the ledger, row by row."""
        places = zip(self.batch_numbers.tolist(), self.indexes.tolist(), strict=True)
        return [LeafRef(batch=self.batches[number], index=index) for number, index in places]


@dataclass(frozen=True, slots=True, kw_only=True)
class DisclosedRecords:
    """A checked disclosure: one taxpayer's records by standard id, e.g. ``invoice_issued@2``."""

    uscc: Uscc
    types: Mapping[str, VerifiedRecords]

    @property
    def record_count(self) -> int:
        """Records of all types."""
        return sum(entry.rows.num_rows for entry in self.types.values())


def verify_disclosure(
    disclosure: Disclosure,
    *,
    batch_of: BatchLookup,
    suite: CipherSuite,
    catalogue: Catalogue,
    status_of: LeafLookup | None = None,
) -> DisclosedRecords:
    """Return the records of a disclosure after every one of them was proven to be under an anchored root.

    batch_of: the batches of the member whose anchors count (``contract.batch_lookup(state, author)``). status_of:
    ``contract.LedgerLeaves(state, author)`` to refuse superseded and erased records too.
    Raises IntegrityError ``vault.leaf_mismatch``, ``vault.proof_malformed``, ``vault.batch_unanchored``,
    ``vault.taxpayer_mismatch``, ``vault.leaf_repeated``; Conflict ``vault.batch_erased``,
    ``vault.superseded``, ``vault.record_erased``; InvalidInput
    ``vault.disclosure_malformed`` and those of ``standards``.
    """
    checked = {
        entry.standard: _verify_type(
            entry,
            record_type=catalogue.get(entry.standard),
            uscc=disclosure.uscc,
            batch_of=batch_of,
            hash_name=suite.hash_name,
        )
        for entry in disclosure.types
    }
    if status_of is not None:
        for entry in disclosure.types:
            for proven in entry.proofs:
                _require_live(proven, status_of)
    return DisclosedRecords(uscc=disclosure.uscc, types=checked)


def _verify_type(
    entry: TypeDisclosure, *, record_type: RecordType, uscc: Uscc, batch_of: BatchLookup, hash_name: str
) -> VerifiedRecords:
    groups = granted_groups(record_type, entry.groups)
    _check_shape(entry, record_type, groups)
    leaves = _leaves(entry, record_type, groups, hash_name=hash_name)
    at = 0
    for proven in entry.proofs:
        count = len(proven.indexes)
        fact = _anchored(batch_of, proven.batch, record_type.standard_id)
        _verify_batch(proven, leaves[at : at + count], fact, hash_name=hash_name)
        at += count
    if CORE_GROUP in groups and entry.rows.num_rows:
        _require_taxpayer(entry, record_type, uscc)
    return VerifiedRecords(
        record_type=record_type,
        groups=groups,
        rows=entry.rows,
        batches=tuple(proven.batch for proven in entry.proofs),
        batch_numbers=np.repeat(np.arange(len(entry.proofs)), [len(proven.indexes) for proven in entry.proofs]),
        indexes=np.concatenate([np.empty(0, np.uint32), *(proven.indexes for proven in entry.proofs)]).astype(
            np.uint32, copy=False
        ),
    )


def _check_shape(entry: TypeDisclosure, record_type: RecordType, groups: tuple[str, ...]) -> None:
    if groups != entry.groups or not entry.rows.schema.equals(granted_schema(record_type, groups)):
        raise InvalidInput("vault.disclosure_malformed", f"the columns of {entry.standard} are not those of its groups")
    if entry.rows.num_rows != sum(len(proven.indexes) for proven in entry.proofs):
        raise InvalidInput(
            "vault.disclosure_malformed", f"{entry.standard} opens more or fewer leaves than it has rows"
        )
    batches = [proven.batch for proven in entry.proofs]
    if len(set(batches)) != len(batches):
        raise IntegrityError("vault.leaf_repeated", f"a batch stands twice among the proofs of {entry.standard}")


def _leaves(entry: TypeDisclosure, record_type: RecordType, groups: tuple[str, ...], *, hash_name: str) -> list[bytes]:
    """Return the leaf of every record, from granted content and withheld hashes [VAULT-LEAF-1]."""
    salts = split_salts(b"".join(proven.salts for proven in entry.proofs), groups=len(groups))
    withheld_ids = [group for group in record_type.group_ids if group not in groups]
    hashes = split_hashes(b"".join(proven.withheld for proven in entry.proofs))
    rows = entry.rows.num_rows
    if any(len(column) != rows for column in salts) or len(hashes) != rows * len(withheld_ids):
        raise InvalidInput("vault.disclosure_malformed", f"{entry.standard} has too few or too many salts or hashes")
    columns: dict[str, list[bytes]] = {
        group: hashes[position :: len(withheld_ids)] for position, group in enumerate(withheld_ids)
    }
    for group, salt in zip(groups, salts, strict=True):
        columns[group] = group_hashes(salt, _group_bytes(record_type, group, entry.rows), hash_name=hash_name)
    return leaf_hashes([columns[group] for group in record_type.group_ids], hash_name=hash_name)


def _group_bytes(record_type: RecordType, group: str, rows: Any) -> list[bytes]:
    try:
        return encode_group_list(record_type, group, rows)
    except (pa.ArrowException, ValueError, OverflowError) as error:
        # Dates beyond every calendar and the like: no anchored record can hold them.
        raise IntegrityError(
            "vault.leaf_mismatch", f"{record_type.standard_id} holds a value that no record can have: {error}"
        ) from error


def _anchored(batch_of: BatchLookup, batch: bytes, standard: str) -> BatchFact:
    fact = batch_of(batch)
    if fact is None:
        raise IntegrityError("vault.batch_unanchored", f"the ledger has no batch {batch.hex()} of this provider")
    if fact.standard != standard:
        raise IntegrityError(
            "vault.leaf_mismatch", f"batch {batch.hex()} holds {fact.standard} on the ledger, {standard} here"
        )
    if fact.erased:
        raise Conflict("vault.batch_erased", f"batch {batch.hex()} was erased, says the ledger")
    return fact


def _verify_batch(proven: BatchProof, leaves: list[bytes], fact: BatchFact, *, hash_name: str) -> None:
    """[VAULT-TREE-2]: the leaves and their proof lead to the anchored root."""
    root = root_from_multiproof(
        leaves, proven.indexes.tolist(), split_hashes(proven.proof), count=fact.count, hash_name=hash_name
    )
    if root != fact.root:
        raise IntegrityError(
            "vault.leaf_mismatch",
            f"{len(leaves)} records lead to root {root.hex()[:16]}… where batch {proven.batch.hex()} is anchored as "
            f"{fact.root.hex()[:16]}…: content, salt or place of at least one was changed",
        )


def _require_taxpayer(entry: TypeDisclosure, record_type: RecordType, uscc: Uscc) -> None:
    if entry.rows.column(record_type.taxpayer_field).unique().to_pylist() != [uscc]:
        raise IntegrityError("vault.taxpayer_mismatch", f"a record of {entry.standard} names another taxpayer")


def _require_live(proven: BatchProof, status_of: LeafLookup) -> None:
    if status_of.is_unchanged(proven.batch):
        return
    for index in proven.indexes.tolist():
        status = status_of(proven.batch, index)
        if status is LeafStatus.SUPERSEDED:
            raise Conflict("vault.superseded", f"leaf {index} of batch {proven.batch.hex()} has a newer version")
        if status is LeafStatus.ERASED:
            raise Conflict("vault.record_erased", f"leaf {index} of batch {proven.batch.hex()} was erased")
