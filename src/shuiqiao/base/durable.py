"""The six acts on a file that can fail in ways a ledger must survive, behind one port.

The port exists so that the fault tests can make a real store meet a full or a failing disk at an exact step.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

DRAFT_SUFFIX = ".draft"
"""Ends the name of a file that is being written beside the one it will replace."""


class Disk(Protocol):
    """What the segment writer asks of the operating system; every act raises OSError when it fails."""

    def append(self, descriptor: int, data: bytes) -> None:
        """Write all bytes at the end of the file."""
        ...

    def write_at(self, descriptor: int, data: bytes, *, offset: int) -> None:
        """Write all bytes at a place in the file."""
        ...

    def sync(self, descriptor: int) -> None:
        """Return only when the file's bytes and length are on the medium."""
        ...

    def truncate(self, descriptor: int, length: int) -> None:
        """Cut the file to a length in bytes."""
        ...

    def replace(self, draft: Path, path: Path) -> None:
        """Give a draft the name of the file that it replaces: whoever opens the name finds one of the two, whole."""
        ...

    def sync_folder(self, folder: Path) -> None:
        """Return only when the folder's entries (new and renamed files) are on the medium."""
        ...


class PosixDisk:
    """The operating system's own calls."""

    def append(self, descriptor: int, data: bytes) -> None:
        """Write all bytes, however many calls it takes."""
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]

    def write_at(self, descriptor: int, data: bytes, *, offset: int) -> None:
        """Write all bytes, however many calls it takes."""
        view = memoryview(data)
        while view:
            written = os.pwrite(descriptor, view, offset)
            view, offset = view[written:], offset + written

    def sync(self, descriptor: int) -> None:
        """Flush with fdatasync: it covers the length, and skips the access times."""
        os.fdatasync(descriptor)

    def truncate(self, descriptor: int, length: int) -> None:
        """Cut the file."""
        os.ftruncate(descriptor, length)

    def replace(self, draft: Path, path: Path) -> None:
        """Rename."""
        draft.replace(path)

    def sync_folder(self, folder: Path) -> None:
        """Flush the folder."""
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def replace_file(path: Path, data: bytes, *, disk: Disk, mode: int = 0o600) -> None:
    """Put a small file in place durably and at once: a reader sees the old bytes or the new ones, never a part."""
    draft = path.with_name(path.name + DRAFT_SUFFIX)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        os.fchmod(descriptor, mode)
        disk.append(descriptor, data)
        disk.sync(descriptor)
    finally:
        os.close(descriptor)
    disk.replace(draft, path)
    disk.sync_folder(path.parent)
