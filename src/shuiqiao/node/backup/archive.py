"""The one file of a backup: an uncompressed tar in which every byte has one right value.

Written so that any tar program lists and unpacks it; read by ourselves and strictly, since it may come from anybody: a
header must be byte for byte the one that a plain file of its name and size gets here, padding is zero, nothing follows
the end. So there are no links, no devices, no modes, no sparse files, no extended headers, and nothing to expand.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import IO, Any, Final

from shuiqiao.base.errors import IntegrityError, InvalidInput

BLOCK_BYTES: Final = tarfile.BLOCKSIZE
READ_BYTES: Final = 1 << 20
MAX_NAME: Final = 100
_SIZE = slice(124, 136)
_LARGE: Final = 0x80
_END: Final = bytes(2 * BLOCK_BYTES)
_OWNER_ONLY: Final = 0o600

NewHash = Callable[[], Any]
"""Returns a fresh hash object."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One file in an archive, with the hash of its bytes."""

    name: str
    size: int
    digest: bytes


def header_of(name: str, *, size: int) -> bytes:
    """Return the 512 bytes before a file: they say its name and size, and nothing else that could differ."""
    if not name.isascii() or not 0 < len(name) <= MAX_NAME:
        raise ValueError(f"{name[:MAX_NAME]!r} cannot be a name in an archive")
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = size, _OWNER_ONLY, 0
    return info.tobuf(format=tarfile.GNU_FORMAT)


class ArchiveWriter:
    """Writes files one after another."""

    def __init__(self, file: IO[bytes], *, new_hash: NewHash) -> None:
        self._file = file
        self._new_hash = new_hash
        self.entries: list[Entry] = []

    def add(self, name: str, data: bytes) -> None:
        """Write a small file."""
        self.add_chunks(name, [data], size=len(data))

    def add_file(self, name: str, source: IO[bytes], *, size: int | None = None) -> None:
        """Write the first bytes of an open file, all of them where no size is given.

        Raises IntegrityError ``node.backup_source_changed`` if it has fewer.
        """
        length = os.fstat(source.fileno()).st_size if size is None else size
        self.add_chunks(name, _read_chunks(source, size=length), size=length)

    def add_chunks(self, name: str, chunks: Iterable[bytes], *, size: int) -> None:
        """Write chunks that add up to a size."""
        self._file.write(header_of(name, size=size))
        digest, written = self._new_hash(), 0
        for chunk in chunks:
            digest.update(chunk)
            self._file.write(chunk)
            written += len(chunk)
        if written != size:
            raise IntegrityError(
                "node.backup_source_changed", f"{name} had {size} bytes and gave {written} while it was copied"
            )
        self._file.write(bytes(-size % BLOCK_BYTES))
        self.entries.append(Entry(name=name, size=size, digest=digest.digest()))

    def end(self) -> None:
        """Write the end mark."""
        self._file.write(_END)


def _read_chunks(source: IO[bytes], *, size: int) -> Iterator[bytes]:
    left = size
    while left and (chunk := source.read(min(left, READ_BYTES))):
        yield chunk
        left -= len(chunk)


class ArchiveFile:
    """A file being read out of an archive: its bytes can be taken once, and are all taken before the next one."""

    def __init__(self, file: IO[bytes], *, name: str, size: int) -> None:
        self.name = name
        self.size = size
        self._file = file
        self._left = size
        self._is_padded = False

    def chunks(self) -> Iterator[bytes]:
        """Iterate over the bytes; raises InvalidInput ``node.backup_truncated`` or ``node.backup_malformed``."""
        while self._left:
            chunk = self._file.read(min(self._left, READ_BYTES))
            if not chunk:
                raise _truncated(self.name)
            self._left -= len(chunk)
            yield chunk
        if not self._is_padded:
            self._is_padded = True
            padding = self._file.read(-self.size % BLOCK_BYTES)
            if padding != bytes(-self.size % BLOCK_BYTES):
                raise _malformed(f"what fills up the block after {self.name} is not zero")

    def read(self, *, most: int) -> bytes:
        """Return all bytes of a small file; raises InvalidInput ``node.backup_malformed`` beyond a size."""
        if self.size > most:
            raise _malformed(f"{self.name} has {self.size} bytes where at most {most} are allowed")
        return b"".join(self.chunks())


def read_archive(file: IO[bytes]) -> Iterator[ArchiveFile]:
    """Iterate over the files of an archive, whose bytes must be taken in turn.

    Raises InvalidInput ``node.backup_truncated``, ``node.backup_malformed``.
    """
    while True:
        block = file.read(BLOCK_BYTES)
        if len(block) < BLOCK_BYTES:
            raise _truncated("the archive")
        if block == bytes(BLOCK_BYTES):
            break
        found = _file_of(file, block)
        yield found
        for _ in found.chunks():
            # What the caller left is passed over, and its padding checked.
            pass
    if file.read(BLOCK_BYTES + 1) != bytes(BLOCK_BYTES):
        raise _malformed("its end mark is not the end of it")


def _file_of(file: IO[bytes], block: bytes) -> ArchiveFile:
    name = block[:MAX_NAME].rstrip(b"\x00")
    field = block[_SIZE]
    try:
        size = int.from_bytes(field[1:], "big") if field[0] == _LARGE else int(field.rstrip(b"\x00 ") or b"0", 8)
        text = name.decode("ascii")
        expected = header_of(text, size=size)
    except (ValueError, OverflowError) as error:
        raise _malformed(f"a header cannot be read: {error}") from error
    if expected != block:
        raise _malformed(f"the header of {text!r} is not the one of a plain file of its name and size")
    return ArchiveFile(file, name=text, size=size)


def _truncated(what: str) -> InvalidInput:
    return InvalidInput(
        "node.backup_truncated",
        f"the backup ends in the midst of {what}",
        next_step="it was not finished, or not copied whole: take another one",
    )


def _malformed(reason: str) -> InvalidInput:
    return InvalidInput(
        "node.backup_malformed",
        f"this is not a backup as this product writes it: {reason}",
        next_step="take another copy of it, or another backup",
    )
