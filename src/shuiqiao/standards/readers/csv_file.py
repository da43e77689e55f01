"""Cuts a CSV stream into rows and cells in constant memory; text within a quoted cell never becomes a row.

Rule: docs/spec/standard.md, [STD-40] to [STD-45]: RFC 4180 with a header, UTF-8 (with or without a mark) or GB18030.
A row ends at a line feed, with or without a carriage return before it, that stands outside quotes. Only a quote at
the start of a cell opens one. Blocks in which all quoting is regular go through Arrow's parser at once. Any other
block is cut row by row, and a row that breaks a rule becomes a row with the name of that rule.

In both encodings the bytes of quote, comma and line break stand for nothing else, so rows are cut before decoding.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.csv

from shuiqiao.base.errors import InvalidInput
from shuiqiao.standards.columns import FAULT_COLUMN, FAULT_VALUE_COLUMN, MAX_CELL_BYTES

MAX_ROW_BYTES = MAX_CELL_BYTES
"""Longest row, and so longest cell, in bytes; what is longer is skipped up to its end and becomes one faulted row."""

BLOCK_BYTES = 1 << 20
"""Bytes read at once; with MAX_ROW_BYTES it bounds the memory of a reader, whatever the file's size."""

_ROWS_AT_ONCE = 4096
"""Rows cut one by one that are held as Python objects at a time."""

_SHOWN_BYTES = 400
_BOM = b"\xef\xbb\xbf"
_BOM_GB18030 = b"\x84\x31\x95\x33"
_ZIP = b"PK\x03\x04"
_UTF8 = "utf-8"
_GB18030 = "gb18030"

_HANZI_LEADS = 6
"""In UTF-8 the first byte of a Chinese character is 0xE3 or one of the six after it."""

_CONTINUES = 0b10
"""The first two bits of the bytes after it."""

_SUSPECTS = 256
"""Lines of a block that are looked at one by one."""

_HANZI_PAIR = rb"(?:[\xe3-\xe9][\x80-\xbf]{2}){2}"
_UTF8_CHARACTER = rb"(?:[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3})"
_UTF8_WORD = re.compile(
    rb"(?<![\x80-\xff])(?=[\x80-\xff]*?" + _HANZI_PAIR + rb")" + _UTF8_CHARACTER + rb"++(?![\x80-\xff])"
)

# One cell whatever its quoting: after a closing quote, and in a cell that no quote opens, quotes mean nothing.
_ANY_CELL = rb'(?:"(?:[^"]++|"")*+"[^,\n]*+|[^",\n][^,\n]*+|)'
_ANY_ROW = re.compile(_ANY_CELL + rb"(?:," + _ANY_CELL + rb")*+\n")
_ANY_ROWS = re.compile(rb"(?:" + _ANY_ROW.pattern + rb")*+")
_WHOLE_CELLS = re.compile(rb"(?:" + _ANY_CELL + rb",)*+")
_OPENED = re.compile(rb'"(?:[^"]++|"")*+')

_GOOD_CELL = r'(?:"(?:[^"]++|"")*+"|[^",\r\n]*+)'
_GOOD_ROW = re.compile(_GOOD_CELL + r"(?:," + _GOOD_CELL + r")*+")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    cells: Sequence[str] | None
    fault: str | None = None
    shown: str | None = None


def detect_encoding(stream: IO[bytes]) -> str:
    """Return ``utf-8`` or ``gb18030``: by mark or header, or else by the first block with more than ASCII; rewinds.

    Raises InvalidInput ``standards.encoding_unknown`` for UTF-16 and UTF-32, which begin with a mark.
    """
    start = stream.read(4)
    stream.seek(0)
    if start.startswith((b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")):
        raise InvalidInput("standards.encoding_unknown", "the file is UTF-16 or UTF-32 where UTF-8 or GB18030 is read")
    if start.startswith(_BOM):
        return _UTF8
    if start.startswith(_BOM_GB18030):
        return _GB18030
    encoding = _encoding_of_text(stream)
    stream.seek(0)
    return encoding


def _encoding_of_text(stream: IO[bytes]) -> str:
    header = stream.readline(MAX_ROW_BYTES)
    if not header.isascii():
        return _UTF8 if _decodes(header, _UTF8) else _GB18030
    while block := stream.read(BLOCK_BYTES):
        block += stream.readline(MAX_ROW_BYTES)
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


def read_header(stream: IO[bytes], encoding: str) -> list[str]:
    """Return the column names in the first row of a stream, and leave the stream at the row after it.

    Raises InvalidInput ``standards.header_invalid``.
    """
    stream.seek(0)
    start = stream.read(MAX_ROW_BYTES + 1)
    if start.startswith(_ZIP):
        raise _no_header("is that of a ZIP file, as XLSX workbooks are: save the sheet as CSV UTF-8")
    mark = next((mark for mark in (_BOM, _BOM_GB18030) if start.startswith(mark)), b"")
    found = _ANY_ROW.match(start, len(mark))
    if found is None and len(start) <= MAX_ROW_BYTES:  # the last row of a file may lack its line feed
        found = _ANY_ROW.match(start + b"\n", len(mark))
    if found is None:
        raise _no_header(f"does not end within {MAX_ROW_BYTES} bytes, or has a quote that is never closed")
    row = _cut_row(found[0][:-1], encoding, columns=None)
    if row is None or row.cells is None:
        raise _no_header("is blank" if row is None else f"breaks the rule {row.fault}")
    stream.seek(found.end())
    return list(row.cells)


def _no_header(reason: str) -> InvalidInput:
    return InvalidInput("standards.header_invalid", f"the first line of the file {reason}")


def read_rows(stream: IO[bytes], *, encoding: str, columns: int) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a stream from where it stands, which must be the start of a row.

    A batch has the text columns ``0`` to ``columns - 1``, and then the columns of faults where there are any. Blank
    lines are no rows [STD-42]. An empty cell is an empty text.
    """
    data = stream.read(BLOCK_BYTES)
    while data:
        whole = data.rfind(b"\n") + 1
        fast = _cut_regular(data[:whole], encoding=encoding, columns=columns)
        if fast is not None:
            yield fast
        else:
            whole = _end_of_rows(data)
            yield from _in_batches(_cut_rows(data[:whole], encoding, columns), columns)
        rest = data[whole:]
        if len(rest) > MAX_ROW_BYTES:
            row, rest = _skip_row(stream, rest)
            yield from _in_batches(iter((row,)), columns)
            data = rest + stream.read(BLOCK_BYTES)
        elif block := stream.read(BLOCK_BYTES):
            data = rest + block
        else:
            yield from _in_batches(_last_row(rest, encoding, columns), columns)
            return


def _end_of_rows(data: bytes) -> int:
    """Return where the last whole row of some bytes ends."""
    found = _ANY_ROWS.match(data)
    return found.end() if found else 0


def _cut_rows(data: bytes, encoding: str, columns: int) -> Iterator[_Row]:
    for found in _ANY_ROW.finditer(data):
        row = _cut_row(found[0][:-1], encoding, columns=columns)
        if row is not None:
            yield row


def _last_row(rest: bytes, encoding: str, columns: int) -> Iterator[_Row]:
    if _ANY_ROW.fullmatch(rest + b"\n"):
        row = _cut_row(rest, encoding, columns=columns)
        if row is not None:
            yield row
    else:
        yield _faulted("quote_not_closed", rest, lines=1 + rest.count(b"\n"))


def _skip_row(stream: IO[bytes], rest: bytes) -> tuple[_Row, bytes]:
    """[STD-43]: return the one row that is told of a row beyond MAX_ROW_BYTES, and the bytes read after its end."""
    shown, lines = rest[:_SHOWN_BYTES], 1 + rest.count(b"\n")
    state = _state_within(rest)
    while block := stream.read(BLOCK_BYTES):
        data = state + block
        if found := _ANY_ROW.match(data):
            lines += data.count(b"\n", 0, found.end() - 1)
            return _faulted("line_too_long", shown, lines=lines), data[found.end() :]
        lines += block.count(b"\n")
        state = _state_within(data)
    if state.startswith(b'"') and state != b'""':
        return _faulted("quote_not_closed", shown, lines=lines), b""
    return _faulted("line_too_long", shown, lines=lines), b""


def _state_within(data: bytes) -> bytes:
    """Return the shortest beginning of a row after which the bytes that follow mean what they mean after ``data``."""
    found = _WHOLE_CELLS.match(data)
    cell = data[found.end() if found else 0 :]
    opened = _OPENED.match(cell)
    if opened is None:
        return b"x" if cell else b","
    after = cell[opened.end() :]
    # A quote at the very end closes the cell or is the first half of an escaped one: the next byte says which.
    return b'"' if not after else b'""' if after == b'"' else b"x"


def _cut_regular(block: bytes, *, encoding: str, columns: int) -> pa.RecordBatch | None:
    """Return the rows of a block of lines in which every line is a plain row, or None."""
    if b"\x00" in block or block.count(b"\r") != block.count(b"\r\n") or not _is_regular(block):
        return None
    if encoding == _GB18030 and _has_utf8(block):
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
    # Arrow leaves out blank lines, and with them their numbers: such a block is cut row by row.
    if table.num_rows != block.count(b"\n"):
        return None
    batches = table.combine_chunks().to_batches()
    return batches[0] if batches else None


def _has_utf8(data: bytes) -> bool:
    """Whether a whole word, two Chinese characters in it, is UTF-8: GB18030 reads it as others, without an error."""
    # The pattern takes twice as long as reading does, so it sees only lines in which two such characters may stand.
    values = np.frombuffer(data, dtype=np.uint8)
    leads = values - np.uint8(0xE3) <= _HANZI_LEADS
    at = np.flatnonzero(leads[:-5] & leads[3:-2])
    at = at[np.all([values[at + after] >> 6 == _CONTINUES for after in (1, 2, 4, 5)], axis=0)]
    if at.size > _SUSPECTS:
        return _UTF8_WORD.search(data) is not None
    begins = {data.rfind(b"\n", 0, int(place)) + 1 for place in at}
    return any(_UTF8_WORD.search(data[begin:].split(b"\n", 1)[0]) for begin in begins)


def _is_regular(block: bytes) -> bool:
    """Whether every line is one row of bounded length and every quote opens a cell, closes it or is doubled in it.

    Arrow forgives what is not so. Quotes are taken in turn as opening and closing; a doubled one closes and opens.
    """
    data = np.frombuffer(block, dtype=np.uint8)
    breaks = np.flatnonzero(data == ord("\n"))
    if not breaks.size or np.diff(breaks, prepend=-1).max() > MAX_ROW_BYTES:
        return False
    quotes = np.flatnonzero(data == ord('"'))
    if not quotes.size:
        return True
    if quotes.size % 2 or (np.searchsorted(quotes, breaks) % 2).any():
        return False
    framed = np.frombuffer(b"\n" + block + b"\n", dtype=np.uint8)
    before, after = framed[quotes[0::2]], framed[quotes[1::2] + 2]
    return bool(np.isin(before, list(b',\n"')).all() and np.isin(after, list(b',\r\n"')).all())


def _in_batches(rows: Iterator[_Row], columns: int) -> Iterator[pa.RecordBatch]:
    nothing = (None,) * columns
    names = [*(str(position) for position in range(columns)), FAULT_COLUMN, FAULT_VALUE_COLUMN]
    while part := list(islice(rows, _ROWS_AT_ONCE)):
        cells = [nothing if row.cells is None else row.cells for row in part]
        arrays = [pa.array([cell[position] for cell in cells], type=pa.string()) for position in range(columns)]
        arrays.append(pa.array([row.fault for row in part], type=pa.string()))
        arrays.append(pa.array([row.shown for row in part], type=pa.string()))
        yield pa.RecordBatch.from_arrays(arrays, names=names)


def _cut_row(row: bytes, encoding: str, *, columns: int | None) -> _Row | None:
    """[STD-41], [STD-43], [STD-44]: cut one row, without its line feed, into cells; None for a blank one.

    columns: how many cells it must have, or None for any number.
    """
    row = row.removesuffix(b"\r")
    if not row.strip():
        return None
    lines = 1 + row.count(b"\n")
    fault = "line_too_long" if len(row) > MAX_ROW_BYTES else "line_has_nul" if b"\x00" in row else None
    if encoding == _GB18030 and _has_utf8(row):
        return _faulted(fault or "line_not_in_encoding", row, lines=lines)
    try:
        text = row.decode(encoding)
    except UnicodeDecodeError:
        return _faulted(fault or "line_not_in_encoding", row, lines=lines)
    if fault is None and not _GOOD_ROW.fullmatch(text):
        fault = "line_malformed"
    if fault is not None:
        return _faulted(fault, row, lines=lines)
    cells = next(csv.reader([text], strict=True))
    if columns is not None and len(cells) != columns:
        return _faulted("line_ragged", row, lines=lines)
    return _Row(cells=cells)


def _faulted(fault: str, row: bytes, *, lines: int) -> _Row:
    """[STD-44]: what is shown of a row of several lines says how many were kept out with it."""
    shown = row[:_SHOWN_BYTES].decode("utf-8", errors="replace")
    return _Row(cells=None, fault=fault, shown=shown if lines == 1 else f"({lines} lines) {shown}")
