"""Arrow columns as plain bytes and back: what travels in a disclosure and what is sliced for hashing.

[VAULT-WIRE-2] A column is up to three byte strings: ``valid`` (one bit a row, lowest first; empty where every row has
a value), ``ends`` (text only: where each value ends in ``data``, 32-bit little-endian) and ``data`` (UTF-8 text;
64-bit little-endian integers; 32-bit days since 1970; one bit a boolean). Decoding trusts none of them: every length
is checked against the row count before an array is built over them, and text must be UTF-8.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from shuiqiao.base.errors import InvalidInput
from shuiqiao.standards.columns import pc

MAX_WIRE_BYTES = 1 << 28
"""Largest disclosure, in bytes: about two million invoices, more than one taxpayer issues in a data period."""

Blob = Annotated[bytes, msgspec.Meta(max_length=MAX_WIRE_BYTES)]


class WireColumn(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One column as it travels."""

    valid: Blob
    ends: Blob
    data: Blob


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


def encode_column(column: Any) -> WireColumn:
    """Return a canonical column (text, int64, date32, bool) as bytes; equal columns give equal bytes."""
    valid = b""
    if column.null_count:
        bits = column.is_valid().to_numpy(zero_copy_only=False)
        valid = np.packbits(bits, bitorder="little").tobytes()
    if pa.types.is_string(column.type):
        filled = binary_list(column.fill_null("") if column.null_count else column)
        ends = np.cumsum([len(value) for value in filled], dtype=np.uint32)
        return WireColumn(valid=valid, ends=ends.astype("<u4").tobytes(), data=b"".join(filled))
    if pa.types.is_boolean(column.type):
        bits = pc.fill_null(column, pa.scalar(value=False)).to_numpy(zero_copy_only=False).astype(np.bool_)
        return WireColumn(valid=valid, ends=b"", data=np.packbits(bits, bitorder="little").tobytes())
    width = "<i4" if pa.types.is_date32(column.type) else "<i8"
    whole = column.cast(pa.int32()) if pa.types.is_date32(column.type) else column
    return WireColumn(valid=valid, ends=b"", data=pc.fill_null(whole, 0).to_numpy().astype(width).tobytes())


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
    ends: npt.NDArray[np.int64] = np.concatenate(([0], np.frombuffer(wire.ends, dtype="<u4"))).astype(np.int64)
    if np.any(np.diff(ends) < 0) or int(ends[-1]) != len(wire.data):
        raise _malformed("text ends do not rise to the end of the data")
    buffers = [valid, pa.py_buffer(ends.astype(np.int32).tobytes()), pa.py_buffer(wire.data)]
    column = pa.Array.from_buffers(pa.string(), rows, buffers)
    try:
        column.validate(full=True)
    except pa.ArrowInvalid as error:
        raise _malformed(f"text that is not UTF-8: {str(error)[:80]}") from error
    return column


def _malformed(what: str) -> InvalidInput:
    return InvalidInput("vault.column_malformed", f"a disclosed column is malformed: {what}")
