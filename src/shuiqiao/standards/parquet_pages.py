"""Bounds what the pages of a Parquet file claim to unpack to, before any of them is unpacked [STD-37].

Before each page stands a header (Thrift, compact protocol) with the size of the page unpacked, which its reader
allocates at once: a file of 386 bytes took two gigabytes. All headers of a column are read here first, each where the
one before says that its page ends. So a row group takes no more than the largest page of each of its columns at once.
"""

from __future__ import annotations

from typing import IO, Any, Final

MAX_OPEN_PAGES_BYTES: Final = 256 << 20
"""Most bytes of the largest pages of a row group's columns: writers make pages of one MiB, a few of up to eight."""

_MAX_HEADER_BYTES: Final = 64 * 1024
"""Longest page header read: those with statistics of long texts have a few kB."""

_MAX_NESTING: Final = 8
_MAX_VARINT_BYTES: Final = 10
_UNPACKED, _PACKED = 2, 3
_TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _STRUCT = 1, 2, 3, 7, 8, 9, 10, 12
_NUMBERS: Final = (4, 5, 6)
_WIDTHS: Final = {_TRUE: 0, _FALSE: 0, _BYTE: 1, _DOUBLE: 8}
"""Bytes of the types of a fixed width; a flag stands in the head of its field."""

_LONG_LIST: Final = 15


def require_small_pages(file: IO[bytes], metadata: Any) -> None:
    """Raise ValueError unless the pages of every row group are small and stand one behind another as they say."""
    for group in range(metadata.num_row_groups):
        columns = metadata.row_group(group)
        total = 0
        for number in range(columns.num_columns):
            total += _largest_page(file, columns.column(number))
        if total > MAX_OPEN_PAGES_BYTES:
            raise ValueError(f"pages of row group {group} unpack to {total} bytes, at most {MAX_OPEN_PAGES_BYTES} may")


def _largest_page(file: IO[bytes], column: Any) -> int:
    at = column.data_page_offset
    if column.has_dictionary_page and 0 < column.dictionary_page_offset < at:
        at = column.dictionary_page_offset
    end = at + column.total_compressed_size
    largest = 0
    while at < end:
        file.seek(at)
        header = _Header(file.read(_MAX_HEADER_BYTES))
        unpacked, packed = header.sizes()
        largest = max(largest, unpacked)
        at += header.at + packed
    return largest


class _Header:
    """A page header being read. at: bytes read so far."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0

    def sizes(self) -> tuple[int, int]:
        """Read the whole header; return the size of its page unpacked and as it stands in the file."""
        found: dict[int, int] = {}
        number = 0
        while (head := self._byte()) != 0:
            step, kind = head >> 4, head & 0x0F
            number = number + step if step else self._signed()
            if number in found:
                raise ValueError(f"a page header has field {number} twice")
            if kind in _NUMBERS:
                found[number] = self._signed()
            else:
                self._skip(kind, depth=0)
                found[number] = 0
        unpacked, packed = found.get(_UNPACKED, -1), found.get(_PACKED, -1)
        if unpacked < 0 or packed < 0:
            raise ValueError("a page header has no size")
        return unpacked, packed

    def _byte(self) -> int:
        if self.at >= len(self._data):
            raise ValueError("a page header breaks off")
        self.at += 1
        return self._data[self.at - 1]

    def _unsigned(self) -> int:
        value = 0
        for shift in range(_MAX_VARINT_BYTES):
            byte = self._byte()
            value |= (byte & 0x7F) << (7 * shift)
            if byte < 0x80:  # noqa: PLR2004 - the bit that says another byte follows
                return value
        raise ValueError("a number in a page header does not end")

    def _signed(self) -> int:
        value = self._unsigned()
        return (value >> 1) ^ -(value & 1)

    def _skip(self, kind: int, *, depth: int) -> None:
        if depth > _MAX_NESTING:
            raise ValueError("a page header is nested too deep")
        if kind in _NUMBERS:
            self._unsigned()
        elif kind in _WIDTHS:
            self.at += _WIDTHS[kind]
        elif kind == _BINARY:
            length = self._unsigned()
            self.at += length
        elif kind in (_LIST, _SET):
            self._skip_list(depth=depth + 1)
        elif kind == _STRUCT:
            self._skip_struct(depth=depth + 1)
        else:
            raise ValueError(f"a page header has a field of type {kind}")
        if self.at > len(self._data):
            raise ValueError("a page header breaks off")

    def _skip_list(self, *, depth: int) -> None:
        head = self._byte()
        count, kind = head >> 4, head & 0x0F
        if count == _LONG_LIST:
            count = self._unsigned()
        # Each item but a flag takes a byte at least, and a flag takes one inside a list.
        for _ in range(min(count, len(self._data) + 1)):
            self._skip(_BYTE if kind in (_TRUE, _FALSE) else kind, depth=depth)

    def _skip_struct(self, *, depth: int) -> None:
        while (head := self._byte()) != 0:
            if not head >> 4:
                self._signed()
            self._skip(head & 0x0F, depth=depth)
