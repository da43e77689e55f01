"""Columns in memory: the canonical Arrow schema of a record type, and the marks that a source batch carries.

Rule: docs/spec/standard.md, [STD-11]. A *source batch* has canonical column names but the cell types of
its source (text from CSV, doubles in yuan from a spreadsheet export); ``validation`` turns it into canonical rows.
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

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
