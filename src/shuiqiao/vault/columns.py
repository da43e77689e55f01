"""Arrow columns as plain bytes and back: what travels in a disclosure and what is sliced for hashing.

[VAULT-WIRE-2] A column is up to three byte strings: ``valid`` (one bit a row, lowest first; empty where every row has
a value), ``ends`` (text only: where each value ends in ``data``, 32-bit little-endian) and ``data`` (UTF-8 text;
64-bit little-endian integers; 32-bit days since 1970; one bit a boolean). Decoding trusts none of them: every length
is checked against the row count before an array is built over them, and text must be UTF-8.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from shuiqiao.base.errors import InvalidInput

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
