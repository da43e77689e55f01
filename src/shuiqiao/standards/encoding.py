"""Writes the disclosure groups of canonical rows as canonical JSON.

Rule: docs/spec/standard.md, [STD-50] to [STD-53]. Many rows are written whole columns at a time, few rows one by one:
each way is the faster one where it is used, and both give the same bytes. The bytes of a group equal
``base.encoding.encode_json`` of ``{"group": id, "type": standard id, field: value, ...}``; they are what the vault
salts and hashes, so a difference of one byte would make a record unprovable. Only the group ``core`` names the
taxpayer.
"""

from __future__ import annotations

from datetime import date
from functools import cache, lru_cache
from itertools import repeat
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from shuiqiao.base.encoding import encode_json
from shuiqiao.standards.columns import binary_list, pc
from shuiqiao.standards.conversion import true_mask
from shuiqiao.standards.model import Field, FieldType, RecordType

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
