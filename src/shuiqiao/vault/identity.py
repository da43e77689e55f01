"""The identity of a record: (type, taxpayer, natural key), as a key that keeps a taxpayer's records together.

[VAULT-IDENTITY-1] key = type number (2 bytes) || taxpayer || 0x00 || day (4 bytes) || first 16 bytes of
H(natural key). The day is the record's period where the natural key contains it, else zero: two versions of one record
must meet under one key, whatever day each names. So one taxpayer's records of a type lie side by side in time order,
and an ingest of sorted rows writes the index nearly in sequence.

H is taken over the JSON list of the key fields and, where the type has a series, of what names the series of a number
that is not unique by itself. Where a source profile says that all fields are the natural key, H is taken over the
groups' canonical JSON. Provenance (file, row) is no part of it.

What may advance under one identity is kept apart from the digest of all other values, as a *state* that begins with
its rank: of two states the one with the higher rank is the newer, in whatever order they are read.

LIMIT: two records whose 128-bit hashes collide would be taken for one; making such a pair costs 2^64 hashes, and the
second is reported, not dropped in silence.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from shuiqiao.base.errors import InvalidInput
from shuiqiao.standards.columns import encode_group_list, pc
from shuiqiao.standards.model import Field, FieldType, RecordType, Series
from shuiqiao.vault.tree import hash_all

DIGEST_BYTES = 16

STATE_BYTES = 9
"""One byte of rank, then eight of the hash of the values that advance."""

_NO_STATE = bytes(STATE_BYTES)

_TYPE = struct.Struct(">H")
_DAY_OFFSET = 1 << 31
"""Added to days since 1970, so that days before it sort first."""

_MAX_TAXPAYER_BYTES = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Identities:
    """Per row: the index key, the digest of the values that do not advance, the state of those that do, and the day.

    states: STATE_BYTES each, the rank first; zero where nothing advances. days: of the period, days since 1970.
    """

    keys: list[bytes]
    digests: list[bytes]
    states: list[bytes]
    days: npt.NDArray[np.int32]


def taxpayer_prefix(type_number: int, uscc: str) -> bytes:
    """Return what all keys of one taxpayer and type begin with. Raises InvalidInput ``vault.taxpayer_invalid``."""
    encoded = uscc.encode()
    if not 0 < len(encoded) <= _MAX_TAXPAYER_BYTES or b"\x00" in encoded:
        raise InvalidInput("vault.taxpayer_invalid", f"{uscc[:60]!r} is not a taxpayer number")
    return _TYPE.pack(type_number) + encoded + b"\x00"


def day_bytes(days: npt.NDArray[np.int32]) -> bytes:
    """Return days as they stand in keys, four bytes each."""
    return (days.astype(np.int64) + _DAY_OFFSET).astype(">u4").tobytes()


def keys_hold_days(record_type: RecordType) -> bool:
    """Whether keys of this type are ordered by period: only where the natural key contains it."""
    return record_type.period_field in record_type.natural_key


def period_days(record_type: RecordType, rows: Any) -> npt.NDArray[np.int32]:
    """Return the day that places each row in time: its date, or the last day of its month or year."""
    column = rows.column(record_type.period_field)
    match record_type.field(record_type.period_field).type:
        case FieldType.YEAR:
            ends = (column.to_numpy() - 1970 + 1).astype("datetime64[Y]").astype("datetime64[D]")
            return np.asarray(ends.astype(np.int64) - 1, dtype=np.int32)
        case FieldType.MONTH:
            months = np.array(column.to_pylist(), dtype="datetime64[M]") + np.timedelta64(1, "M")
            return np.asarray(months.astype("datetime64[D]").astype(np.int64) - 1, dtype=np.int32)
        case _:
            return np.asarray(column.view(pa.int32()).to_numpy(), dtype=np.int32)


def taxpayer_order(record_type: RecordType, rows: Any) -> npt.NDArray[np.int64] | None:
    """Return the order of rows by taxpayer, then period, then source; None where they stand so already."""
    encoded = rows.column(record_type.taxpayer_field).dictionary_encode()
    ranks = np.empty(len(encoded.dictionary), dtype=np.int64)
    ranks[pc.sort_indices(encoded.dictionary).to_numpy()] = np.arange(len(ranks))
    combined = ranks[encoded.indices.to_numpy()] * (1 << 32) + period_days(record_type, rows)
    if not len(combined) or np.all(combined[:-1] <= combined[1:]):
        return None
    return np.argsort(combined, kind="stable")


def identify(
    record_type: RecordType,
    rows: Any,
    groups: Sequence[Sequence[bytes]],
    *,
    type_number: int,
    hash_name: str,
    key_is_all: bool,
) -> Identities:
    """Return the identities of canonical rows. groups: per disclosure group, its bytes of every row.

    key_is_all: all fields are the natural key, as a source profile says.
    """
    advancing = () if key_is_all else record_type.advances
    lasting = _lasting_groups(record_type, rows, groups, advancing=advancing)
    digests = _short_hashes(map(b"".join, zip(*lasting, strict=True)), hash_name)
    natural = digests if key_is_all else _natural_digests(record_type, rows, hash_name)
    days = period_days(record_type, rows)
    placed = day_bytes(days if keys_hold_days(record_type) else np.zeros_like(days))
    encoded = rows.column(record_type.taxpayer_field).dictionary_encode()
    prefixes = [taxpayer_prefix(type_number, uscc) for uscc in encoded.dictionary.to_pylist()]
    keys = [
        prefixes[taxpayer] + placed[4 * row : 4 * row + 4] + natural[row]
        for row, taxpayer in enumerate(encoded.indices.to_pylist())
    ]
    states = _states(record_type, rows, advancing, hash_name) if advancing else [_NO_STATE] * rows.num_rows
    return Identities(keys=keys, digests=digests, states=states, days=days)


def _lasting_groups(
    record_type: RecordType, rows: Any, groups: Sequence[Sequence[bytes]], *, advancing: tuple[str, ...]
) -> list[Sequence[bytes]]:
    """Return the groups' bytes of every row as they are with what advances left empty."""
    if not advancing:
        return list(groups)
    arrays = [
        pa.nulls(rows.num_rows, entry.type) if entry.name in advancing else column
        for entry, column in zip(rows.schema, rows.columns, strict=True)
    ]
    emptied = pa.RecordBatch.from_arrays(arrays, schema=rows.schema)
    touched = {record_type.field(name).group for name in advancing}
    return [
        encode_group_list(record_type, group, emptied) if group in touched else own
        for group, own in zip(record_type.group_ids, groups, strict=True)
    ]


def _states(record_type: RecordType, rows: Any, advancing: tuple[str, ...], hash_name: str) -> list[bytes]:
    """Return the state of every row: rank, then the first bytes of H(JSON list of the values that advance)."""
    fields = [record_type.field(name) for name in advancing]
    known: dict[tuple[Any, ...], bytes] = {}
    states: list[bytes] = []
    for values in zip(*(rows.column(name).to_pylist() for name in advancing), strict=True):
        state = known.get(values)
        if state is None:
            content = msgspec.json.encode(values)
            short = next(iter(hash_all([content], hash_name=hash_name)))[: STATE_BYTES - 1]
            state = known[values] = bytes([rank_of(fields, values)]) + short
        states.append(state)
    return states


def rank_of(fields: Sequence[Field], values: Sequence[object]) -> int:
    """Return how far values have advanced: the place of a code in its list, whether another field is filled.

    The first field decides first.
    """
    rank = 0
    for entry, value in zip(fields, values, strict=True):
        steps = (None,) if entry.code_list is None else entry.code_list.codes
        place = 0 if value is None else 1 if entry.code_list is None else steps.index(str(value)) + 1
        rank = rank * (len(steps) + 1) + place
    return rank


def _natural_digests(record_type: RecordType, rows: Any, hash_name: str) -> list[bytes]:
    columns = [rows.column(name).to_pylist() for name in record_type.natural_key]
    if record_type.series is not None:
        columns.append(_series(record_type.series, rows))
    encode = msgspec.json.Encoder().encode
    return _short_hashes(map(encode, zip(*columns, strict=True)), hash_name)


def _series(series: Series, rows: Any) -> list[str | None]:
    """Return what names the series of each row's number; None where the number is unique by itself."""
    named = pc.coalesce(*(rows.column(name) for name in series.fields))
    is_unique = pc.greater_equal(pc.utf8_length(rows.column(series.number)), series.unique_length)
    found: list[str | None] = pc.if_else(is_unique, pa.scalar(None, type=pa.string()), named).to_pylist()
    return found


def _short_hashes(messages: Iterable[bytes], hash_name: str) -> list[bytes]:
    return [full[:DIGEST_BYTES] for full in hash_all(messages, hash_name=hash_name)]
