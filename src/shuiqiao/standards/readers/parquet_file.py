"""Opens a Parquet file whose bytes come from outside, so that what is read of it stays small.

Before each page stands a header (Thrift, compact protocol) with the size of the page unpacked, which its reader
allocates at once: a file of 386 bytes took two gigabytes. All headers of a column are read first, each where the one
before says that its page ends; so what pages claim to unpack to is bounded before any of them is unpacked [STD-37].
They also say how many rows a page holds, so they bound what one batch of rows is read from.

A dictionary multiplies: one long text stands in it once, and may be the value of every row. So columns whose texts all
lie in one are read as a dictionary, which takes no more than the pages, and their texts are written out only after
their lengths were summed [STD-38]. Code that works on rows copies them, several times over: ``decode_in_parts`` hands
out a few MiB at a time.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache, partial
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet

from shuiqiao.base.errors import InvalidInput
from shuiqiao.base.files import open_regular
from shuiqiao.standards.columns import MAX_BATCH_ROWS, MAX_CELL_BYTES, arrow_source, pc

pq: Any = pyarrow.parquet

MAX_BATCH_BYTES: Final = 256 << 20
"""Most bytes of one batch in memory: some 4 KiB per row of a full batch, forty times what a fact needs."""

MAX_PART_BYTES: Final = 16 << 20
"""Most bytes handed out at once, but for a single row of more: a KiB per row of a vault's batch. Checking rows and
writing them as groups takes some ten times as much."""

_LIMITS: Final = {"thrift_string_size_limit": 16 << 20, "thrift_container_size_limit": 1 << 16}
"""Longest text of a footer in bytes, and longest list in items: of some 200 bytes each, allocated as claimed."""

_OFFSET_BYTES: Final = 4
_VIEW_NUMBERS: Final = 4
_TEXTS: Final = (
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_binary,
    pa.types.is_large_binary,
    pa.types.is_dictionary,
)
"""Kinds of columns whose values have lengths of their own, but for views."""


def open_parquet(path: Path, **options: Any) -> Any:
    """Open a Parquet file of small pages; columns of texts with a dictionary are read as such [STD-37].

    Give what is read of it to ``decode_texts``. options: those of ``pyarrow.parquet.ParquetFile``.
    The library opens the path each time: where another file was renamed over it meanwhile, all begins anew with that.
    Raises FileNotFoundError; ValueError, OSError or ArrowException where the file is damaged or would not stay small.
    """
    while True:
        # Held open, so that its number is no other file's.
        with open_regular(path) as stream:
            try:
                file = _open_small(path, stream, options)
            except Exception:
                if _is_at(path, stream):
                    raise
                continue
            if _is_at(path, stream):
                return file
            file.close()


def _is_at(path: Path, stream: IO[bytes]) -> bool:
    there, held = path.stat(), os.fstat(stream.fileno())
    return (there.st_dev, there.st_ino) == (held.st_dev, held.st_ino)


def _open_small(path: Path, stream: IO[bytes], options: Mapping[str, Any]) -> Any:
    file = pq.ParquetFile(arrow_source(path), **_LIMITS)
    metadata = file.metadata
    if len(set(file.schema_arrow.names)) != metadata.num_columns:
        raise ValueError("columns are nested, or several have one name")
    repeating = require_small_pages(stream, metadata, longest_text=partial(_longest_text, path, metadata))
    file = pq.ParquetFile(arrow_source(path), metadata=metadata, read_dictionary=repeating, **options)
    for field in file.schema_arrow:
        if _repeats(field.type) and field.name not in repeating and metadata.num_rows:
            raise ValueError(f"column {field.name[:60]!r} is declared as a dictionary and has pages without one")
    return file


def _longest_text(path: Path, metadata: Any, group: int, name: str) -> int:
    """Return the bytes of the longest text in the dictionary that a row group's column begins with."""
    with pq.ParquetFile(arrow_source(path), metadata=metadata, read_dictionary=[name]) as file:
        rows = file.iter_batches(batch_size=1, row_groups=[group], columns=[name], use_threads=False)
        first = next(rows, None)
    return 0 if first is None else _longest(first.column(0))


def plain_schema(schema: Any) -> Any:
    """Return the schema of rows whose dictionaries are decoded."""
    fields = [field.with_type(field.type.value_type) if _repeats(field.type) else field for field in schema]
    return pa.schema(fields, metadata=schema.metadata)


def decode_texts(rows: Any) -> Any:
    """Return a table without dictionaries, whose texts have at most MAX_CELL_BYTES.

    Raises InvalidInput ``standards.batch_too_large`` and ValueError before anything is decoded [STD-38], [STD-39].
    """
    _measure(rows)
    longest = max((_longest(chunk) for column in rows.columns for chunk in column.chunks), default=0)
    if longest > MAX_CELL_BYTES:
        raise ValueError(f"a text has {longest} bytes, at most {MAX_CELL_BYTES} may")
    return _decoded(rows)


def decode_in_parts(rows: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """Yield a batch without dictionaries, in parts of at most MAX_PART_BYTES or of one row [STD-38].

    Raises InvalidInput ``standards.batch_too_large`` before anything is decoded.
    """
    table: Any = pa.Table.from_batches([rows])
    if _measure(table) <= MAX_PART_BYTES:
        yield from _decoded(table).to_batches()
        return
    ends = np.cumsum(sum(_row_bytes(column) for column in rows.columns))
    start = before = 0
    while start < len(ends):
        stop = max(start + 1, int(np.searchsorted(ends, before + MAX_PART_BYTES, side="right")))
        yield from _decoded(table.slice(start, stop - start)).to_batches()
        start, before = stop, int(ends[stop - 1])


def _measure(rows: Any) -> int:
    """Return the bytes of a table once its dictionaries are decoded."""
    total = sum(_plain_bytes(chunk) for column in rows.columns for chunk in column.chunks)
    if total > MAX_BATCH_BYTES:
        raise InvalidInput(
            "standards.batch_too_large",
            f"{rows.num_rows} rows fill {total} bytes where at most {MAX_BATCH_BYTES} are allowed",
        )
    return total


def _decoded(rows: Any) -> Any:
    return rows.cast(plain_schema(rows.schema))


def _repeats(kind: Any) -> bool:
    return bool(pa.types.is_dictionary(kind))


def _is_view(kind: Any) -> bool:
    return bool(pa.types.is_string_view(kind) or pa.types.is_binary_view(kind))


def _plain_bytes(chunk: Any) -> int:
    """Return the bytes of an array once its dictionary is decoded."""
    if not _repeats(chunk.type):
        return int(chunk.nbytes)
    return int(pc.sum(_text_lengths(chunk)).as_py() or 0) + _OFFSET_BYTES * len(chunk)


def _longest(chunk: Any) -> int:
    """Return the bytes of the longest text of an array."""
    texts = chunk.dictionary if _repeats(chunk.type) else chunk
    return int(_row_bytes(texts).max()) - _OFFSET_BYTES if len(texts) else 0


def _row_bytes(column: Any) -> npt.NDArray[np.int64]:
    """Return the bytes of each value of an array once its dictionary is decoded."""
    if _is_view(column.type):
        # Each view begins with the length of its text; no function of Arrow's tells it.
        lengths = np.frombuffer(column.buffers()[1], dtype=np.int32)[::_VIEW_NUMBERS][column.offset :][: len(column)]
        return np.where(column.is_valid(), lengths, 0).astype(np.int64) + _OFFSET_BYTES
    if not any(is_kind(column.type) for is_kind in _TEXTS):
        return np.full(len(column), -(-column.nbytes // len(column)), dtype=np.int64)
    return np.asarray(_text_lengths(column).fill_null(0), dtype=np.int64) + _OFFSET_BYTES


def _text_lengths(texts: Any) -> Any:
    if not _repeats(texts.type):
        return pc.binary_length(texts)
    return pc.binary_length(texts.dictionary).cast(pa.int64()).take(texts.indices)


MAX_OPEN_PAGES_BYTES: Final = 256 << 20
"""Most bytes of the pages that MAX_BATCH_ROWS rows are read from: writers make pages of one MiB, or one page of a whole
row group of 122,880 rows, two of which may be open: a KiB per row."""

MAX_PAGE_BYTES: Final = 128 << 20
"""Most bytes of one page, and so of one value, which its reader holds twice: the largest of a writer has 100 MiB."""

_MAX_HEADER_BYTES: Final = 64 * 1024
"""Longest page header read: those with statistics of long texts have a few kB."""

_MAX_FIXED_BYTES: Final = 32
"""Widest value of a fixed width: a decimal of 76 digits."""

_PAGE_BYTES: Final = 256
"""What a page counts for beside its content, so that empty ones are bounded too."""

_MAX_NESTING: Final = 8
_MAX_VARINT_BYTES: Final = 10
_TAIL_BYTES: Final = 8
"""Bytes behind the footer: its length, and the mark of the format."""

_ROW_GROUPS, _COLUMNS, _COLUMN_DETAILS = 4, 1, 3
_CHUNK_VALUES, _CHUNK_BYTES, _DATA_OFFSET, _DICTIONARY_OFFSET = 5, 7, 9, 11
_KIND, _UNPACKED, _PACKED = 1, 2, 3
_DATA, _DICTIONARY, _DATA_V2 = 0, 2, 3
_DETAILS: Final = {_DATA: (5, 2), _DATA_V2: (8, 4)}
"""For the kinds of data pages: the field with their details, and in those the field of their encoding."""

_VALUES: Final = 1
_DELTA_LENGTHS, _DELTA_TEXTS = 6, 7
_REFERENCES: Final = (2, 8)
_LENGTH_BYTES: Final = 4
_TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _STRUCT = 1, 2, 3, 7, 8, 9, 10, 12
_NUMBERS: Final = (4, 5, 6)
_WIDTHS: Final = {_TRUE: 0, _FALSE: 0, _BYTE: 1, _DOUBLE: 8}
"""Bytes of the types of a fixed width; a flag stands in the head of its field."""

_LONG_LIST: Final = 15


LongestText = Callable[[int, str], int]
"""Bytes of the longest text in the dictionary that a row group's column begins with, by number and name."""


class _Content(StrEnum):
    """What a page holds."""

    DICTIONARY = "dictionary"
    REFERRING = "referring"
    PLAIN = "plain"


_FOLLOWING: Final = {
    None: set(_Content),
    _Content.DICTIONARY: {_Content.REFERRING, _Content.PLAIN},
    _Content.REFERRING: {_Content.REFERRING, _Content.PLAIN},
    _Content.PLAIN: {_Content.PLAIN},
}
"""Which pages may follow which in a row group."""


@dataclass(frozen=True, slots=True)
class _Page:
    """What a page claims. values: rows that it holds, none for a dictionary. size: bytes that its reader allocates.

    packed: its bytes in the file.
    """

    values: int
    size: int
    packed: int
    content: _Content

    def with_texts(self, longest: int) -> _Page:
        """Return the page with what it takes where each value that it refers to has so many bytes."""
        return replace(self, size=self.size + self.values * longest)


def require_small_pages(file: IO[bytes], metadata: Any, *, longest_text: LongestText) -> list[str]:
    """Return the columns of texts that are to be read as a dictionary: those whose pages all refer to one.

    Where a dictionary has grown too large, writers leave it for good and go on with plain pages. Read as a dictionary,
    such a column would keep every text of its row group; so it is read as plain, and its pages that refer to a
    dictionary count as if each of their values were the longest text in it.

    Raises ValueError unless the pages of any MAX_BATCH_ROWS rows are small, stand one behind another as they say, and
    hold values that are no longer than their pages.
    """
    repeating: list[str] = []
    total = 0
    groups = list(_chunks(file, metadata.num_columns))
    if len(groups) != metadata.num_row_groups:
        raise ValueError(f"the footer names {len(groups)} row groups, not {metadata.num_row_groups}")
    for number in range(metadata.num_columns):
        column = metadata.schema.column(number)
        if column.physical_type == "FIXED_LEN_BYTE_ARRAY" and column.length > _MAX_FIXED_BYTES:
            raise ValueError(f"values of column {number} have {column.length} bytes, at most {_MAX_FIXED_BYTES} may")
        window = _Window(most=MAX_OPEN_PAGES_BYTES - total)
        found: set[_Content] = set()
        for _group, page in _column_pages(file, groups, number):
            found.add(page.content)
            window.add(page)
        if _Content.DICTIONARY in found and column.physical_type == "BYTE_ARRAY":
            if column.logical_type.type == "DECIMAL":
                raise ValueError(f"column {number} has decimals of no fixed length in a dictionary")
            if _Content.PLAIN not in found:
                repeating.append(column.path)
            elif _Content.REFERRING in found:
                window = _Window(most=MAX_OPEN_PAGES_BYTES - total)
                longest = cache(longest_text)
                for group, page in _column_pages(file, groups, number):
                    is_written_out = page.content is _Content.REFERRING
                    window.add(page.with_texts(longest(group, column.path)) if is_written_out else page)
        total += window.largest
    return repeating


def _column_pages(file: IO[bytes], groups: list[list[Any]], number: int) -> Iterator[tuple[int, _Page]]:
    """Yield the pages of a column, each with the number of its row group."""
    for group, chunks in enumerate(groups):
        before: _Content | None = None
        for page in _pages(file, chunks[number]):
            if page.size > MAX_PAGE_BYTES:
                raise ValueError(f"a page of column {number} has {page.size} bytes, at most {MAX_PAGE_BYTES} may")
            if page.content not in _FOLLOWING[before]:
                raise ValueError(f"column {number} has a page of the kind {page.content} after {before or 'none'}")
            before = page.content
            yield group, page


class _Window:
    """The pages that MAX_BATCH_ROWS rows may touch, moved over a column. most: bytes that they may have."""

    def __init__(self, *, most: int) -> None:
        self.largest = 0
        self._most = most
        self._bytes = 0
        self._values = 0
        self._pages: deque[_Page] = deque()

    def add(self, page: _Page) -> None:
        """Take the next page in. Raises ValueError beyond the bytes allowed."""
        # A batch that ends with the first row of this page has all rows of those before, but for the first page's.
        while self._pages and self._values - self._pages[0].values > MAX_BATCH_ROWS:
            gone = self._pages.popleft()
            self._values -= gone.values
            self._bytes -= gone.size + _PAGE_BYTES
        self._pages.append(page)
        self._values += page.values
        self._bytes += page.size + _PAGE_BYTES
        self.largest = max(self.largest, self._bytes)
        if self._bytes > self._most:
            raise ValueError(
                f"pages of {MAX_BATCH_ROWS} rows unpack to {MAX_OPEN_PAGES_BYTES - self._most + self._bytes} bytes, "
                f"at most {MAX_OPEN_PAGES_BYTES} may"
            )


def _chunks(file: IO[bytes], columns: int) -> Iterator[list[Any]]:
    """Yield the column chunks of each row group, from the footer of a file of so many columns.

    The library ends the process where it is asked for a chunk whose statistics are malformed, so it is not asked.
    """
    end = file.seek(-_TAIL_BYTES, os.SEEK_END)
    length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
    file.seek(max(0, end - length))
    footer = _Thrift(file.read(length)).struct()
    groups = footer.get(_ROW_GROUPS, [])
    for group in groups if isinstance(groups, list) else ():
        chunks = group.get(_COLUMNS) if isinstance(group, dict) else None
        if not isinstance(chunks, list) or len(chunks) != columns:
            raise ValueError(f"a row group has not the {columns} columns of its file")
        yield chunks


def _pages(file: IO[bytes], chunk: Any) -> Iterator[_Page]:
    column = chunk.get(_COLUMN_DETAILS) if isinstance(chunk, dict) else None
    if not isinstance(column, dict):
        raise ValueError("the footer does not describe a column")  # noqa: TRY004 - the file's fault, not the caller's
    if not _number(column, _CHUNK_VALUES):
        return
    at = _number(column, _DATA_OFFSET)
    if column.get(_DICTIONARY_OFFSET):
        at = min(at, _number(column, _DICTIONARY_OFFSET))
    end = at + _number(column, _CHUNK_BYTES)
    while at < end:
        file.seek(at)
        header = _Thrift(file.read(_MAX_HEADER_BYTES))
        page = _page(header.struct())
        yield page
        at += header.at + page.packed


def _page(found: dict[int, Any]) -> _Page:
    """Return what the header of a page says."""
    kind, unpacked, packed = (_number(found, field) for field in (_KIND, _UNPACKED, _PACKED))
    values, content = 0, _Content.DICTIONARY if kind == _DICTIONARY else _Content.PLAIN
    if kind in _DETAILS:
        field, encoding_field = _DETAILS[kind]
        details = found.get(field)
        values, encoding = _number(details, _VALUES), _number(details, encoding_field)
        if encoding == _DELTA_TEXTS:
            raise ValueError("values are stored as what differs from the one before, which is not read")
        if encoding == _DELTA_LENGTHS:
            unpacked += _LENGTH_BYTES * values
        if encoding in _REFERENCES:
            content = _Content.REFERRING
    # One that is not compressed is taken as it stands.
    return _Page(values, max(unpacked, packed), packed, content)


def _number(fields: Any, field: int) -> int:
    value = fields.get(field) if isinstance(fields, dict) else None
    if not isinstance(value, int) or value < 0:
        raise ValueError(f"a page header or the footer has no number in field {field}")
    return value


class _Thrift:
    """A struct of the compact protocol being read. at: bytes read so far."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0

    def struct(self, *, depth: int = 0) -> dict[int, Any]:
        """Return its numbers, structs and lists by field; of other fields None."""
        if depth > _MAX_NESTING:
            raise ValueError("a page header or the footer is nested too deep")
        found: dict[int, Any] = {}
        number = 0
        while (head := self._byte()) != 0:
            step, kind = head >> 4, head & 0x0F
            number = number + step if step else self._signed()
            if number in found:
                raise ValueError(f"a page header or the footer has field {number} twice")
            found[number] = self._value(kind, depth=depth + 1)
        return found

    def _value(self, kind: int, *, depth: int) -> Any:
        if kind in _NUMBERS:
            return self._signed()
        if kind == _STRUCT:
            return self.struct(depth=depth)
        if kind in (_LIST, _SET):
            return self._list(depth=depth)
        if kind == _BINARY:
            length = self._unsigned()
            self.at += length
        elif kind in _WIDTHS:
            self.at += _WIDTHS[kind]
        else:
            raise ValueError(f"a page header or the footer has a field of type {kind}")
        if self.at > len(self._data):
            raise ValueError("a page header or the footer breaks off")
        return None

    def _list(self, *, depth: int) -> list[Any]:
        head = self._byte()
        count, kind = head >> 4, head & 0x0F
        if count == _LONG_LIST:
            count = self._unsigned()
        if count > len(self._data) - self.at:
            # Each item takes a byte at least: also a flag, inside a list.
            raise ValueError("a page header or the footer breaks off")
        return [self._value(_BYTE if kind in (_TRUE, _FALSE) else kind, depth=depth) for _ in range(count)]

    def _byte(self) -> int:
        if self.at >= len(self._data):
            raise ValueError("a page header or the footer breaks off")
        self.at += 1
        return self._data[self.at - 1]

    def _unsigned(self) -> int:
        value = 0
        for shift in range(_MAX_VARINT_BYTES):
            byte = self._byte()
            value |= (byte & 0x7F) << (7 * shift)
            if byte < 0x80:  # noqa: PLR2004 - the bit that says another byte follows
                return value
        raise ValueError("a number in a page header or the footer does not end")

    def _signed(self) -> int:
        value = self._unsigned()
        return (value >> 1) ^ -(value & 1)
