"""In which dialects of CSV a file may be: its beginning tells its encoding, what its header means its separator.

Rule: docs/spec/standard.md, [STD-40]. A row is cut before it is decoded, in which UTF-8 and GB18030 differ from UTF-16,
and GB18030 with a vertical line from all other separators: what cannot be cut so is read as UTF-8 (``opened``).
"""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from shuiqiao.base.errors import InvalidInput
from shuiqiao.base.files import open_regular
from shuiqiao.standards.columns import MAX_CELL_BYTES

MAX_ROW_BYTES: Final = MAX_CELL_BYTES
"""Longest row, and so longest cell, in bytes; what is longer is skipped up to its end and becomes one faulted row."""

BLOCK_BYTES: Final = 1 << 20
"""Bytes read at once; with MAX_ROW_BYTES it bounds the memory of a reader, whatever the file's size."""

SEPARATORS: Final = (",", "\t", ";", "|")

UTF8: Final = "utf-8"
GB18030: Final = "gb18030"
UTF16: Final = "utf-16"
MARKS: Final = {UTF8: codecs.BOM_UTF8, GB18030: b"\x84\x31\x95\x33"}

_DECLARED: Final = re.compile(r'(?:\ufeff)?"?sep=(.)"?,*\r?\n', re.IGNORECASE)
_TRAILS_OF_GB18030: Final = "|"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """How text becomes rows of cells. encoding: of the file. separator: one of SEPARATORS."""

    encoding: str = UTF8
    separator: str = ","

    @property
    def is_recoded(self) -> bool:
        """Whether the stream that ``opened`` returns is UTF-8 and not what the file holds."""
        return self.encoding == UTF16 or (self.encoding == GB18030 and self.separator == _TRAILS_OF_GB18030)

    @property
    def stream_encoding(self) -> str:
        """The encoding of the stream that ``opened`` returns."""
        return UTF8 if self.is_recoded else self.encoding


def dialects_of(path: Path) -> Sequence[Dialect]:
    """Return the dialects in which a file may be, those that are likelier first.

    A first line ``sep=;``, as Excel reads it, leaves one. Raises InvalidInput ``standards.encoding_unknown``,
    ``standards.separator_unknown``.
    """
    with open_regular(path) as stream:
        encoding = _detect_encoding(stream)
    with opened(path, Dialect(encoding=encoding)) as stream:
        start = stream.read(MAX_ROW_BYTES).decode(Dialect(encoding=encoding).stream_encoding, errors="replace")
    declared = _DECLARED.match(start)
    if declared is None:
        return [Dialect(encoding=encoding, separator=separator) for separator in SEPARATORS]
    if declared[1] not in SEPARATORS:
        raise InvalidInput(
            "standards.separator_unknown",
            f"the first line says that cells end at {declared[1]!r}, where comma, semicolon, tab and | are read",
        )
    return [Dialect(encoding=encoding, separator=declared[1])]


def opened(path: Path, dialect: Dialect) -> IO[bytes]:
    """Return a file as a stream whose rows can be cut at bytes, in ``dialect.stream_encoding``."""
    stream = open_regular(path)
    return io.BufferedReader(_AsUtf8(stream, dialect.encoding), BLOCK_BYTES) if dialect.is_recoded else stream


class _AsUtf8(io.RawIOBase):
    """A stream of another encoding as UTF-8; what is none is U+FFFD in it. Going back reads from the start."""

    def __init__(self, stream: IO[bytes], encoding: str) -> None:
        self._stream, self._encoding = stream, encoding
        self._restart()

    def _restart(self) -> None:
        self._stream.seek(0)
        self._decoder = codecs.getincrementaldecoder(self._encoding)(errors="replace")
        self._ready, self._at, self._ended = memoryview(b""), 0, False

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        while not self._ready and not self._ended:
            block = self._stream.read(BLOCK_BYTES)
            self._ended = not block
            self._ready = memoryview(self._decoder.decode(block, final=self._ended).encode())
        count = min(len(buffer), len(self._ready))
        buffer[:count] = self._ready[:count]
        self._ready, self._at = self._ready[count:], self._at + count
        return count

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence != io.SEEK_SET:
            if offset or whence != io.SEEK_CUR:
                raise io.UnsupportedOperation("only places from the start")
            return self._at
        if offset < self._at:
            self._restart()
        while self._at < offset and self.readinto(bytearray(min(BLOCK_BYTES, offset - self._at))):
            pass
        return self._at

    def close(self) -> None:
        self._stream.close()
        super().close()


def _detect_encoding(stream: IO[bytes]) -> str:
    """Return an encoding: by mark or header, or else by the first block with more than ASCII.

    Raises InvalidInput ``standards.encoding_unknown`` for UTF-32, which begins with a mark.
    """
    start = stream.read(4)
    stream.seek(0)
    if start in {codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE}:
        raise InvalidInput("standards.encoding_unknown", "the file is UTF-32 where UTF-8, GB18030 and UTF-16 are read")
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return UTF16
    for encoding, mark in MARKS.items():
        if start.startswith(mark):
            return encoding
    return _encoding_of_text(stream)


def _encoding_of_text(stream: IO[bytes]) -> str:
    header = stream.readline(MAX_ROW_BYTES)
    if not header.isascii():
        return UTF8 if _decodes(header, UTF8) else GB18030
    while block := stream.read(BLOCK_BYTES):
        block += stream.readline(MAX_ROW_BYTES)
        if not block.isascii():
            foreign = [line for line in block.split(b"\n") if not line.isascii()]
            as_utf8 = sum(_decodes(line, UTF8) for line in foreign)
            as_gb18030 = sum(_decodes(line, GB18030) for line in foreign)
            return UTF8 if as_utf8 * 2 >= len(foreign) or as_utf8 >= as_gb18030 else GB18030
    return UTF8


def _decodes(line: bytes, encoding: str) -> bool:
    try:
        line.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True
