"""Cuts a CSV stream into cells in constant memory: blocks of whole lines, each line one row, no line lost.

Rule: docs/spec/standard.md, [STD-40] to [STD-43]: RFC 4180 with a header, UTF-8 (with or without a mark) or GB18030.
A block without irregularities goes through Arrow's parser at once; any other block is cut line by line, and a line
that cannot be cut becomes a row with the name of the rule it broke.
LIMIT: a quoted cell cannot hold a line break (RFC 4180 allows one); such a row is quarantined and can be corrected.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.csv

from shuiqiao.base.errors import InvalidInput
from shuiqiao.standards.columns import FAULT_COLUMN, FAULT_VALUE_COLUMN

MAX_LINE_BYTES = 65_536
"""Longest line in bytes; what is longer is skipped up to its end and becomes one faulted row."""

BLOCK_BYTES = 1 << 20
"""Bytes read at once; with MAX_LINE_BYTES it bounds the memory of a reader, whatever the file's size."""

_SHOWN_BYTES = 400
_BOM = b"\xef\xbb\xbf"
_UTF8 = "utf-8"
_GB18030 = "gb18030"
_OVERLONG = b"\x00\x00overlong\x00"  # a marked line: NUL never stands in a good line


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    cells: Sequence[str] | None
    fault: str | None = None
    shown: str | None = None


def line_blocks(stream: IO[bytes]) -> Iterator[bytes]:
    """Yield blocks of whole lines, each line ended by one line feed; an overlong line is cut to its beginning."""
    rest, skipping = b"", False
    while chunk := stream.read(BLOCK_BYTES):
        if skipping:
            _, found, chunk = chunk.partition(b"\n")  # what is skipped is not looked at again
            skipping = not found
            if skipping:
                continue
        whole, ended, tail = (rest + chunk).rpartition(b"\n")
        rest = tail
        if ended:
            yield _cut_overlong(whole + b"\n")
        if len(rest) > MAX_LINE_BYTES:
            yield _OVERLONG + rest[:_SHOWN_BYTES].replace(b"\r", b" ") + b"\n"
            rest, skipping = b"", True
    if rest:
        yield _cut_overlong(rest + b"\n")


def _cut_overlong(block: bytes) -> bytes:
    if len(block) <= MAX_LINE_BYTES:
        return block
    lines = block.split(b"\n")
    if max(map(len, lines)) <= MAX_LINE_BYTES:
        return block
    cut = [line if len(line) <= MAX_LINE_BYTES else _OVERLONG + line[:_SHOWN_BYTES] for line in lines]
    return b"\n".join(cut)


def detect_encoding(stream: IO[bytes]) -> str:
    """Return ``utf-8`` or ``gb18030``: by the header, or else by the first block with more than ASCII; rewinds.

    Raises InvalidInput ``standards.encoding_unknown`` for UTF-16 and UTF-32, which begin with a mark.
    """
    start = stream.read(4)
    stream.seek(0)
    if start.startswith((b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")):
        raise InvalidInput("standards.encoding_unknown", "the file is UTF-16 or UTF-32 where UTF-8 or GB18030 is read")
    encoding = _UTF8 if start.startswith(_BOM) else _first_foreign_block(stream)
    stream.seek(0)
    return encoding


def _first_foreign_block(stream: IO[bytes]) -> str:
    header: bytes | None = None
    for block in line_blocks(stream):
        header = header or block.partition(b"\n")[0]
        if not header.isascii():
            return _UTF8 if _decodes(header, _UTF8) else _GB18030
        if not block.isascii():
            foreign = [line for line in block.split(b"\n") if not line.isascii()]
            as_utf8 = sum(_decodes(line, _UTF8) for line in foreign)
            as_gb18030 = sum(_decodes(line, _GB18030) for line in foreign)
            return _UTF8 if as_utf8 * 2 >= len(foreign) or as_utf8 >= as_gb18030 else _GB18030
    return _UTF8


def _decodes(line: bytes, encoding: str) -> bool:
    try:
        line.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def read_header(block: bytes, encoding: str) -> tuple[list[str], bytes]:
    """Return the column names in the first line of the first block, and the rest of that block.

    Raises InvalidInput ``standards.header_invalid``.
    """
    line, _, rest = block.removeprefix(_BOM).partition(b"\n")
    row = _cut_line(line, encoding, columns=None)
    if row is None or row.cells is None:
        reason = "is blank" if row is None else f"breaks the rule {row.fault}"
        raise InvalidInput("standards.header_invalid", f"the first line of the file {reason}")
    return list(row.cells), rest


def cut_block(block: bytes, *, encoding: str, columns: int) -> pa.RecordBatch:
    """Return the rows of a block of lines: text columns ``0`` to ``columns - 1``, then faults where there are any.

    Blank lines are no rows. An empty cell is an empty text.
    """
    fast = _cut_regular(block, encoding=encoding, columns=columns)
    return fast if fast is not None else _cut_by_line(block, encoding=encoding, columns=columns)


def _cut_regular(block: bytes, *, encoding: str, columns: int) -> pa.RecordBatch | None:
    """Return the rows of a block in which every line is a plain row, or None."""
    if b"\x00" in block or block.count(b"\r") != block.count(b"\r\n") or not _is_quoting_regular(block):
        return None
    try:
        text = block if block.isascii() else block.decode(encoding).encode()
        names = [str(position) for position in range(columns)]
        table = pyarrow.csv.read_csv(
            pa.BufferReader(text),
            read_options=pyarrow.csv.ReadOptions(use_threads=False, block_size=len(text) + 1, column_names=names),
            parse_options=pyarrow.csv.ParseOptions(newlines_in_values=False),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False, check_utf8=False
            ),
        )
    except (UnicodeDecodeError, pa.ArrowInvalid):
        return None
    # A blank line or a line break within quotes makes rows and lines differ: such a block is cut by line.
    if table.num_rows != block.count(b"\n"):
        return None
    batches = table.combine_chunks().to_batches()
    return batches[0] if batches else None


def _is_quoting_regular(block: bytes) -> bool:
    """Whether every quote opens a cell at its start or closes it at its end; Arrow forgives what is not so."""
    quotes = np.flatnonzero(np.frombuffer(block, dtype=np.uint8) == ord('"'))
    if not quotes.size:
        return True
    if quotes.size % 2:
        return False
    framed = np.frombuffer(b"\n" + block + b"\n", dtype=np.uint8)
    before, after = framed[quotes[0::2]], framed[quotes[1::2] + 2]
    return bool(np.isin(before, list(b",\n")).all() and np.isin(after, list(b",\r\n")).all())


def _cut_by_line(block: bytes, *, encoding: str, columns: int) -> pa.RecordBatch:
    lines = block.removesuffix(b"\n").split(b"\n")
    rows = [row for line in lines if (row := _cut_line(line, encoding, columns=columns)) is not None]
    nothing = (None,) * columns
    cells = [nothing if row.cells is None else row.cells for row in rows]
    arrays = [pa.array([cell[position] for cell in cells], type=pa.string()) for position in range(columns)]
    faults = [pa.array([row.fault for row in rows], type=pa.string())]
    shown = [pa.array([row.shown for row in rows], type=pa.string())]
    names = [str(position) for position in range(columns)]
    return pa.RecordBatch.from_arrays([*arrays, *faults, *shown], names=[*names, FAULT_COLUMN, FAULT_VALUE_COLUMN])


def _cut_line(line: bytes, encoding: str, *, columns: int | None) -> _Row | None:
    """[STD-41], [STD-42]: cut one line; None for a blank one. columns: how many cells it must have, or None for any."""
    line = line.removesuffix(b"\r")
    if not line.strip():
        return None
    if b"\x00" in line:
        long = line.startswith(_OVERLONG)
        return _faulted("line_too_long" if long else "line_has_nul", line.removeprefix(_OVERLONG))
    try:
        found = next(csv.reader([line.decode(encoding)], strict=True))
    except UnicodeDecodeError:
        return _faulted("line_not_in_encoding", line)
    except (csv.Error, StopIteration):
        return _faulted("line_malformed", line)
    if columns is not None and len(found) != columns:
        return _faulted("line_ragged", line)
    return _Row(cells=found)


def _faulted(fault: str, line: bytes) -> _Row:
    return _Row(cells=None, fault=fault, shown=line[:_SHOWN_BYTES].decode("utf-8", errors="replace"))
