"""Cuts a CSV stream into rows and cells in constant memory; text within a quoted cell never becomes a row.

Rule: docs/spec/standard.md, [STD-40] to [STD-45]: RFC 4180 with a header, in a ``dialect``: its encoding and separator.
A row ends at a line feed, with or without a carriage return before it, that stands outside quotes. Only a quote at
the start of a cell opens one. Blocks in which all quoting is regular go through Arrow's parser at once. Any other
block is cut row by row, and a row that breaks a rule becomes a row with the name of that rule.

In UTF-8 and GB18030 the bytes of quote, line break, comma, semicolon and tab stand for nothing else, so rows are cut
before they are decoded; what is of another kind is read as UTF-8 (``dialect.opened``).
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.csv

from shuiqiao.base.errors import InvalidInput
from shuiqiao.standards.columns import FAULT_COLUMN, FAULT_VALUE_COLUMN
from shuiqiao.standards.readers.dialect import BLOCK_BYTES, GB18030, MARKS, MAX_ROW_BYTES, Dialect

_ROWS_AT_ONCE = 4096
"""Rows cut one by one that are held as Python objects at a time."""

_SHOWN_BYTES = 400
_ZIP = b"PK\x03\x04"
_HEADER_ROWS = 10
"""Rows at the start among which the header is looked for: exports put titles above it."""

_REPLACED = "\N{REPLACEMENT CHARACTER}"

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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Forms:
    """What rows and cells look like where cells end at one separator."""

    any_row: re.Pattern[bytes]
    any_rows: re.Pattern[bytes]
    whole_cells: re.Pattern[bytes]
    good_row: re.Pattern[str]
    blank: bytes


@cache
def _forms(separator: str) -> _Forms:
    text = re.escape(separator)
    mark = text.encode()
    # One cell whatever its quoting: after a closing quote, and in a cell that no quote opens, quotes mean nothing.
    any_cell = rb'(?:"(?:[^"]++|"")*+"[^' + mark + rb'\n]*+|[^"' + mark + rb"\n][^" + mark + rb"\n]*+|)"
    any_row = any_cell + rb"(?:" + mark + any_cell + rb")*+\n"
    good_cell = rf'(?:"(?:[^"]++|"")*+"|[^"{text}\r\n]*+)'
    return _Forms(
        any_row=re.compile(any_row),
        any_rows=re.compile(rb"(?:" + any_row + rb")*+"),
        whole_cells=re.compile(rb"(?:" + any_cell + mark + rb")*+"),
        good_row=re.compile(good_cell + f"(?:{text}" + good_cell + ")*+"),
        blank=b" \t\n\r\x0b\x0c".replace(separator.encode(), b""),
    )


_OPENED = re.compile(rb'"(?:[^"]++|"")*+')


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row as it was cut. fault: the rule that it broke before it had cells, with what is shown of it."""

    cells: Sequence[str | None] | None
    fault: str | None = None
    shown: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """A row that may be the header. end: where the row after it begins. line: of the file, from 1."""

    names: tuple[str, ...]
    end: int
    line: int


def read_headers(stream: IO[bytes], dialect: Dialect) -> Iterator[Header]:
    """Yield the rows at the start of a stream that may be its header, the first first.

    Raises InvalidInput ``standards.header_invalid`` where the first row is none at all.
    """
    forms = _forms(dialect.separator)
    stream.seek(0)
    start = stream.read(MAX_ROW_BYTES + 1)
    if start.startswith(_ZIP):
        raise no_header("is that of a ZIP file, as XLSX workbooks are: save the sheet as CSV UTF-8")
    at = next((len(mark) for mark in MARKS.values() if start.startswith(mark)), 0)
    # The last row of a file may lack its line feed.
    data = start if len(start) > MAX_ROW_BYTES or start.endswith(b"\n") else start + b"\n"
    cutter = RowCutter(dialect)
    line = 1
    for number in range(_HEADER_ROWS):
        found = forms.any_row.match(data, at)
        if found is None:
            if number == 0:
                raise no_header(f"does not end within {MAX_ROW_BYTES} bytes, or has a quote that is never closed")
            return
        row = cutter.cut_row(found[0][:-1])
        if row is not None and row.cells is not None:
            yield Header(names=tuple(cell or "" for cell in row.cells), end=min(found.end(), len(start)), line=line)
        elif number == 0 and row is not None:
            raise no_header(f"breaks the rule {row.fault}")
        line += found[0].count(b"\n")
        at = found.end()


def no_header(reason: str) -> InvalidInput:
    """Return what a file without a header is refused with. reason: what its first line is or does."""
    return InvalidInput("standards.header_invalid", f"the first line of the file {reason}")


class RowCutter:
    """Cuts what ``dialect.opened`` returns into rows. columns: how many cells a row has; None for any number."""

    def __init__(self, dialect: Dialect, *, columns: int | None = None) -> None:
        self._dialect, self._forms, self._columns = dialect, _forms(dialect.separator), columns
        self._encoding = dialect.stream_encoding

    def read_rows(self, stream: IO[bytes]) -> Iterator[pa.RecordBatch]:
        """Yield the rows of a stream from where it stands, which must be the start of a row.

        A batch has the text columns ``0`` to ``columns - 1``, and then the columns of faults where there are any. Blank
        lines are no rows [STD-42]. An empty cell is an empty text.
        """
        data, columns = stream.read(BLOCK_BYTES), self._columns or 0
        while data:
            whole = data.rfind(b"\n") + 1
            fast = self.cut_regular(data[:whole])
            if fast is not None:
                yield fast
            else:
                whole = self.end_of_rows(data)
                yield from in_batches(self.cut_rows(data[:whole]), columns=columns)
            rest = data[whole:]
            if len(rest) > MAX_ROW_BYTES:
                row, rest = self._skip_row(stream, rest)
                yield from in_batches(iter((row,)), columns=columns)
                data = rest + stream.read(BLOCK_BYTES)
            elif block := stream.read(BLOCK_BYTES):
                data = rest + block
            else:
                yield from in_batches(self._last_row(rest), columns=columns)
                return

    def end_of_rows(self, data: bytes) -> int:
        """Return where the last whole row of some bytes ends."""
        found = self._forms.any_rows.match(data)
        return found.end() if found else 0

    def cut_rows(self, data: bytes) -> Iterator[Row]:
        """Yield the rows of some whole rows, one by one, but for blank ones."""
        for found in self._forms.any_row.finditer(data):
            row = self.cut_row(found[0][:-1])
            if row is not None:
                yield row

    def cut_row(self, row: bytes) -> Row | None:
        """[STD-41], [STD-43], [STD-44]: cut one row, without its line feed, into cells; None for a blank one."""
        row = row.removesuffix(b"\r")
        if not row.strip(self._forms.blank):
            return None
        lines = 1 + row.count(b"\n")
        fault = "line_too_long" if len(row) > MAX_ROW_BYTES else "line_has_nul" if b"\x00" in row else None
        text = self._decoded(row)
        if text is None:
            return faulted(fault or "line_not_in_encoding", row, lines=lines)
        if fault is None and not self._forms.good_row.fullmatch(text):
            fault = "line_malformed"
        if fault is not None:
            return faulted(fault, row, lines=lines)
        cells = next(csv.reader([text], strict=True, delimiter=self._dialect.separator))
        if self._columns is not None and len(cells) != self._columns:
            return faulted("line_ragged", row, lines=lines)
        return Row(cells=cells)

    def _decoded(self, row: bytes) -> str | None:
        if self._encoding == GB18030 and _has_utf8(row):
            return None
        try:
            text = row.decode(self._encoding)
        except UnicodeDecodeError:
            return None
        return None if self._dialect.is_recoded and _REPLACED in text else text

    def cut_regular(self, block: bytes) -> pa.RecordBatch | None:
        """Return the rows of a block of lines in which every line is a plain row, or None."""
        if b"\x00" in block or block.count(b"\r") != block.count(b"\r\n") or not self._is_regular(block):
            return None
        text = block if block.isascii() else self._decoded(block)
        if text is None:
            return None
        names = [str(position) for position in range(self._columns or 0)]
        data = text.encode() if isinstance(text, str) else text
        try:
            table = pyarrow.csv.read_csv(
                pa.BufferReader(data),
                read_options=pyarrow.csv.ReadOptions(use_threads=False, block_size=len(data) + 1, column_names=names),
                parse_options=pyarrow.csv.ParseOptions(newlines_in_values=False, delimiter=self._dialect.separator),
                convert_options=pyarrow.csv.ConvertOptions(
                    column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False, check_utf8=False
                ),
            )
        except pa.ArrowInvalid:
            return None
        # Arrow leaves out blank lines, and with them their numbers: such a block is cut row by row.
        if table.num_rows != block.count(b"\n"):
            return None
        batches = table.combine_chunks().to_batches()
        return batches[0] if batches else None

    def _is_regular(self, block: bytes) -> bool:
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
        beside = b'\n"' + self._dialect.separator.encode()
        return bool(np.isin(before, list(beside)).all() and np.isin(after, list(beside + b"\r")).all())

    def _last_row(self, rest: bytes) -> Iterator[Row]:
        if self._forms.any_row.fullmatch(rest + b"\n"):
            row = self.cut_row(rest)
            if row is not None:
                yield row
        else:
            yield faulted("quote_not_closed", rest, lines=1 + rest.count(b"\n"))

    def _skip_row(self, stream: IO[bytes], rest: bytes) -> tuple[Row, bytes]:
        """[STD-43]: return the one row that is told of a row beyond MAX_ROW_BYTES, and the bytes read after its end."""
        shown, lines = rest[:_SHOWN_BYTES], 1 + rest.count(b"\n")
        state = self._state_within(rest)
        while block := stream.read(BLOCK_BYTES):
            data = state + block
            if found := self._forms.any_row.match(data):
                lines += data.count(b"\n", 0, found.end() - 1)
                return faulted("line_too_long", shown, lines=lines), data[found.end() :]
            lines += block.count(b"\n")
            state = self._state_within(data)
        if state.startswith(b'"') and state != b'""':
            return faulted("quote_not_closed", shown, lines=lines), b""
        return faulted("line_too_long", shown, lines=lines), b""

    def _state_within(self, data: bytes) -> bytes:
        """Return the shortest beginning of a row after which what follows means what it means after ``data``."""
        found = self._forms.whole_cells.match(data)
        cell = data[found.end() if found else 0 :]
        opened = _OPENED.match(cell)
        if opened is None:
            return b"x" if cell else self._dialect.separator.encode()
        after = cell[opened.end() :]
        # A quote at the very end closes the cell or is the first half of an escaped one: the next byte says which.
        return b'"' if not after else b'""' if after == b'"' else b"x"


def in_batches(rows: Iterator[Row], *, columns: int) -> Iterator[pa.RecordBatch]:
    """Yield rows as batches of text columns and those of faults."""
    nothing = (None,) * columns
    names = [*(str(position) for position in range(columns)), FAULT_COLUMN, FAULT_VALUE_COLUMN]
    while part := list(islice(rows, _ROWS_AT_ONCE)):
        cells = [nothing if row.cells is None else row.cells for row in part]
        arrays = [pa.array([cell[position] for cell in cells], type=pa.string()) for position in range(columns)]
        arrays.append(pa.array([row.fault for row in part], type=pa.string()))
        arrays.append(pa.array([row.shown for row in part], type=pa.string()))
        yield pa.RecordBatch.from_arrays(arrays, names=names)


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


def faulted(fault: str, row: bytes, *, lines: int) -> Row:
    """Return a row that is kept out; what is shown of one of several lines says how many [STD-44]."""
    shown = row[:_SHOWN_BYTES].decode("utf-8", errors="replace")
    return Row(cells=None, fault=fault, shown=shown if lines == 1 else f"({lines} lines) {shown}")
