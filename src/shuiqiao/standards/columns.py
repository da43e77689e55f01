"""Rows in memory as Arrow columns: the canonical schema of a record type, and its disclosure groups as canonical JSON.

Rule: docs/spec/standard.md, [STD-11], [STD-50] to [STD-53]. A *source batch* has canonical column names but the cell
types of its source (text from CSV, doubles in yuan from a spreadsheet export); ``validation`` turns it into canonical
rows. The bytes of a group equal ``base.encoding.encode_json`` of ``{"group": id, "type": standard id, field: value,
...}``; they are what the vault salts and hashes, so a difference of one byte would make a record unprovable. Many rows
are written whole columns at a time, few rows one by one: each way is the faster one where it is used, and both give the
same bytes. Only the group ``core`` names the taxpayer.
"""

from __future__ import annotations

from datetime import date
from functools import cache, lru_cache
from itertools import pairwise, repeat
from pathlib import Path
from typing import IO, Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute

from shuiqiao.base.encoding import encode_json
from shuiqiao.base.errors import InvalidInput
from shuiqiao.standards.model import AmountUnit, Field, FieldType, RecordType

pc: Any = pyarrow.compute
"""The compute functions: pyarrow makes them at import, where no type checker sees them."""

MAX_BATCH_ROWS = 65_536
"""Most rows of one batch: bounds the memory of validation and of its issues."""

MAX_CELL_BYTES = 65_536
"""Longest cell that is looked at: twenty times the longest text of the standard."""

FAULT_COLUMN = "_fault"
"""Text column of a source batch: the rule that a row broke before it had cells (ragged, NUL, ...), or null."""

FAULT_VALUE_COLUMN = "_fault_value"
"""Text column of a source batch: the beginning of such a row."""

UNIT_KEY = b"unit"
"""Key of the field metadata that says in which unit the amounts of a source column are written."""

STANDARD_KEY = b"shuiqiao.standard"
"""Key of the schema metadata of a Parquet file that names its record type, e.g. ``invoice_issued@2``."""

_ARROW_TYPES: dict[FieldType, Any] = {
    FieldType.TEXT: pa.string(),
    FieldType.CODE: pa.string(),
    FieldType.RATE: pa.string(),
    FieldType.MONTH: pa.string(),
    FieldType.INTEGER: pa.int64(),
    FieldType.AMOUNT_FEN: pa.int64(),
    FieldType.YEAR: pa.int64(),
    FieldType.DATE: pa.date32(),
    FieldType.BOOLEAN: pa.bool_(),
}


def arrow_type(field: Field) -> Any:
    """Return the Arrow type of a field in canonical rows."""
    return _ARROW_TYPES[field.type]


@cache
def _schema(columns: tuple[tuple[str, FieldType], ...], standard_id: str) -> Any:
    fields = [pa.field(name, _ARROW_TYPES[kind]) for name, kind in columns]
    return pa.schema(fields, metadata={STANDARD_KEY: standard_id.encode()})


def canonical_schema(record_type: RecordType) -> pa.Schema:
    """Return the Arrow schema of canonical rows: every field in catalogue order, the standard id in its metadata."""
    return _schema(tuple((entry.name, entry.type) for entry in record_type.fields), record_type.standard_id)


def source_field(field: Field, kind: Any, *, unit: AmountUnit) -> pa.Field:
    """Return the Arrow field of a source column that becomes ``field``."""
    metadata = {UNIT_KEY: unit.encode()} if field.type is FieldType.AMOUNT_FEN else None
    return pa.field(field.name, kind, metadata=metadata)


def unit_of(column: pa.Field) -> AmountUnit:
    """Return the unit of a source column of amounts; fen where nothing is said."""
    return AmountUnit((column.metadata or {}).get(UNIT_KEY, b"fen").decode())


def check_fits(field: Field, kind: Any, *, source: str) -> None:
    """Raise InvalidInput ``standards.column_type_unfit`` where no cell of an Arrow type can become the field."""
    if not _fits(field.type, kind):
        raise InvalidInput(
            "standards.column_type_unfit",
            f"column {source[:60]!r} has the type {str(kind)[:60]}, from which no {field.type} can be read",
        )


def _fits(wanted: FieldType, kind: Any) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    if pa.types.is_null(kind) or is_text(kind):
        return True
    if pa.types.is_integer(kind):
        return wanted is not FieldType.DATE
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return wanted in {FieldType.AMOUNT_FEN, FieldType.RATE, FieldType.INTEGER, FieldType.YEAR}
    if pa.types.is_boolean(kind):
        return wanted is FieldType.BOOLEAN
    naive = pa.types.is_timestamp(kind) and kind.tz is None
    return wanted is FieldType.DATE and (pa.types.is_date(kind) or naive)


def is_text(kind: Any) -> bool:
    """Whether an Arrow type holds text."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def binary_list(column: Any) -> list[bytes]:
    """Return the values of an Arrow binary or text array as Python bytes; nulls are not expected."""
    large = pa.types.is_large_binary(column.type) or pa.types.is_large_string(column.type)
    _, offsets, data = column.buffers()
    width = np.int64 if large else np.int32
    ends = np.frombuffer(offsets, dtype=width)[column.offset : column.offset + len(column) + 1]
    base = int(ends[0]) if len(ends) else 0
    # One copy of the part in use; slicing bytes is then much cheaper than asking Arrow for each value.
    blob = b"" if data is None or not len(column) else data.slice(base, int(ends[-1]) - base).to_pybytes()
    return [blob[start:end] for start, end in pairwise((ends - base).tolist())]


def arrow_source(path: Path) -> Path | IO[bytes]:
    """Return a path as Arrow can open it: one whose name is not UTF-8 is opened here."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return path.open("rb")
    return path


Mask = npt.NDArray[np.bool_]


def valid_mask(values: Any) -> Mask:
    """Return where an Arrow array is not null."""
    if values.null_count == 0:
        return np.ones(len(values), dtype=np.bool_)
    return np.asarray(values.is_valid().to_numpy(zero_copy_only=False), dtype=np.bool_)


def true_mask(values: Any) -> Mask:
    """Return where an Arrow boolean array is true, null counting as false."""
    filled = values.fill_null(False) if values.null_count else values  # noqa: FBT003  # Arrow's fill value
    return np.asarray(filled.to_numpy(zero_copy_only=False), dtype=np.bool_)


def blank_out(values: Any, rows: Mask) -> Any:
    """Return the array with null in the given rows."""
    if not rows.any():
        return values
    return pc.if_else(pa.array(~rows), values, pa.scalar(None, type=values.type))


MAX_GROUP_BYTES = 65_536
"""Most bytes of one disclosed group."""

MAX_ROWWISE = 512
"""Up to so many rows the calls into Arrow cost more than the rows."""

_GROUP_KEY = "group"
_TYPE_KEY = "type"
_NEEDS_ESCAPE = r'["\\\x00-\x1f]'
_LOWEST_PLAIN = 0x20
_QUOTE = 0x22
_BACKSLASH = 0x5C
_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
_LINES = msgspec.json.Encoder()


def encode_group(record_type: RecordType, group_id: str, rows: pa.RecordBatch) -> Any:
    """Return the canonical JSON of one group of every row, as an Arrow binary array in row order.

    rows: canonical rows of the record type. Raises InvalidInput ``standards.group_unknown``.
    """
    # [STD-51]: the two constant members; the taxpayer is a field of core alone ([STD-6]).
    constants = {_GROUP_KEY: group_id, _TYPE_KEY: record_type.standard_id}
    names = [*constants, *record_type.group(group_id).fields]
    pieces: list[Any] = []
    literal = "{"
    for position, name in enumerate(sorted(names)):
        literal += ("," if position else "") + f'"{name}":'
        if name in constants:
            literal += encode_json(constants[name]).decode()
            continue
        before, values, after = _member(record_type.field(name), rows.column(name))
        if values is None:
            literal += before
            continue
        pieces += [pa.scalar(literal + before, type=pa.string()), values]
        literal = after
    pieces.append(pa.scalar(literal + "}", type=pa.string()))
    return _joined(pieces, rows.num_rows).cast(pa.binary())


def encode_group_list(record_type: RecordType, group_id: str, rows: pa.RecordBatch) -> list[bytes]:
    """Return the canonical JSON of one group of every row, in row order: the bytes of ``encode_group``.

    rows: canonical rows, or the group's fields of them. Raises InvalidInput ``standards.group_unknown``; ValueError or
    OverflowError for a date that no calendar has.
    """
    if rows.num_rows > MAX_ROWWISE:
        return binary_list(encode_group(record_type, group_id, rows))
    fields = record_type.group(group_id).fields
    constants = {_GROUP_KEY: group_id, _TYPE_KEY: record_type.standard_id}
    names = tuple(sorted([*constants, *fields]))
    cells = [
        repeat(constants[name]) if name in constants else _cells(record_type.field(name), rows.column(name))
        for name in names
    ]
    # A line feed within a text is escaped, so each one left ends a row [STD-53].
    lines = _LINES.encode_lines(list(map(_row_struct(names), *cells))).split(b"\n")
    return lines[:-1]


@cache
def _row_struct(names: tuple[str, ...]) -> Any:
    return msgspec.defstruct("GroupRow", [(name, object) for name in names], gc=False)


def _cells(field: Field, values: Any) -> list[Any]:
    if field.type is FieldType.DATE:
        return [None if day is None else _iso_date(day) for day in values.view(pa.int32()).to_pylist()]
    cells: list[Any] = values.to_pylist()
    return cells


@lru_cache(maxsize=16_384)
def _iso_date(day: int) -> str:
    return date.fromordinal(_EPOCH_ORDINAL + day).isoformat()


def _joined(pieces: list[Any], rows: int) -> Any:
    if len(pieces) == 1:  # every field of the group is empty in every row
        return pa.repeat(pieces[0], rows)
    return pc.binary_join_element_wise(*pieces, pa.scalar("", type=pa.string()))


def _member(field: Field, values: Any) -> tuple[str, Any, str]:
    """[STD-52]: return the text before the values, the values as JSON (None if all are null), and the text after."""
    if values.null_count == len(values) and len(values):
        return "null", None, ""
    match field.type:
        case FieldType.BOOLEAN:
            written, quote = pc.if_else(values, "true", "false"), ""
        case FieldType.INTEGER | FieldType.AMOUNT_FEN | FieldType.YEAR:
            written, quote = values.cast(pa.string()), ""
        case FieldType.DATE:
            encoded = values.dictionary_encode()
            written, quote = encoded.dictionary.cast(pa.string()).take(encoded.indices), '"'
        case _:
            written, quote = _escaped(values), '"'
    if values.null_count == 0:
        return quote, written, quote
    if quote:
        written = pc.binary_join_element_wise(quote, written, quote, "")
    return "", written.fill_null("null"), ""


def _escaped(values: Any) -> Any:
    """[STD-53]: return the text between the quotes; only cells that hold something to escape are rewritten."""
    if _is_plain(values):
        return values
    rows = np.flatnonzero(true_mask(pc.match_substring_regex(values, _NEEDS_ESCAPE)))
    if not rows.size:
        return values
    rewritten = pa.array([encode_json(values[int(row)].as_py())[1:-1].decode() for row in rows], type=pa.string())
    mask = np.zeros(len(values), dtype=np.bool_)
    mask[rows] = True
    return pc.replace_with_mask(values, pa.array(mask), rewritten)


def _is_plain(values: Any) -> bool:
    _, offsets, data = values.buffers()
    if data is None or len(values) == 0:
        return True
    bounds = np.frombuffer(offsets, dtype=np.int32)[[values.offset, values.offset + len(values)]]
    used = np.frombuffer(data, dtype=np.uint8)[bounds[0] : bounds[1]]
    if not used.size:
        return True
    return not bool(((used < _LOWEST_PLAIN) | (used == _QUOTE) | (used == _BACKSLASH)).any())
