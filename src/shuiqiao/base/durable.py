"""Writing files so that a stopped machine leaves them whole: the one way to put bytes on the disk for good.

A file's bytes are flushed first, then the name under which it is found: so a name never leads to half a file. The six
acts of the operating system are methods of ``Disk``, so that a fault test can let any of them fail, or end the process
at it. Appending to a file that stays open is left to the room that keeps it: ``ledger/store/segments``.

    replace_file(folder / "latest", note)          # the old bytes or the new ones, never a part
    with new_file(folder / "key", draft=folder / ".key") as file:  # FileExistsError if the name is taken
        file.write(data)
    write_file(folder / "1.leaves", [head, body])  # for the medium; the name too after ``sync_folder(folder)``
    move_into_place(folder / "next", folder / "now")  # what is on the medium already
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final

DRAFT_SUFFIX: Final = ".draft"
"""Ends the name of a file that is being written beside the one it will replace."""


class Disk:
    """What a writer asks of the operating system; every act raises OSError when it fails.

    A test takes another one that fails, or ends the process, at an act.
    """

    def append(self, descriptor: int, data: bytes | memoryview) -> None:
        """Write all bytes at the end of the file, however many calls it takes."""
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]

    def write_at(self, descriptor: int, data: bytes, *, offset: int) -> None:
        """Write all bytes at a place in the file, however many calls it takes."""
        view = memoryview(data)
        while view:
            written = os.pwrite(descriptor, view, offset)
            view, offset = view[written:], offset + written

    def sync(self, descriptor: int) -> None:
        """Return only when the file's bytes and length are on the medium; access times are skipped."""
        os.fdatasync(descriptor)

    def truncate(self, descriptor: int, length: int) -> None:
        """Cut the file to a length in bytes."""
        os.ftruncate(descriptor, length)

    def replace(self, draft: Path, path: Path) -> None:
        """Give a draft the name of the file that it replaces: a reader of that name finds one of the two, whole."""
        draft.replace(path)

    def sync_folder(self, folder: Path) -> None:
        """Return only when the folder's entries (new and renamed files) are on the medium."""
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class ScratchDisk(Disk):
    """A disk that does not wait: what is made again only to be looked at need not survive a stop."""

    def sync(self, descriptor: int) -> None:
        """Leave the bytes to the system."""

    def sync_folder(self, folder: Path) -> None:
        """Leave the names to the system."""


SYSTEM_DISK: Final = Disk()


def write_file(path: Path, parts: Iterable[Any], *, mode: int = 0o666, is_new: bool = False) -> None:
    """Write a file, old bytes gone, and flush its bytes; its name is for good after ``sync_folder``.

    parts: bytes, or whatever has a buffer of them, such as an array. mode: of a file that was not there, less what the
    umask takes. is_new: FileExistsError for a name that is taken.
    """
    flags = os.O_EXCL if is_new else os.O_TRUNC
    _write(os.open(path, os.O_WRONLY | os.O_CREAT | flags, mode), path, parts, disk=SYSTEM_DISK, exact_mode=None)


def put_file(path: Path, data: bytes, *, disk: Disk = SYSTEM_DISK, mode: int | None = 0o600) -> None:
    """Put a whole file in place at once; ``replace_file`` without the flush of the folder, for many files of one."""
    draft = path.with_name(path.name + DRAFT_SUFFIX)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666 if mode is None else mode)
    _write(descriptor, draft, (data,), disk=disk, exact_mode=mode)
    disk.replace(draft, path)


def replace_file(path: Path, data: bytes, *, disk: Disk = SYSTEM_DISK, mode: int | None = 0o600) -> None:
    """Put a whole file in place durably and at once: a reader sees the old bytes or the new ones, never a part.

    mode: whatever the umask is; None: what the umask leaves.
    """
    put_file(path, data, disk=disk, mode=mode)
    disk.sync_folder(path.parent)


@contextmanager
def new_file(path: Path, *, draft: Path) -> Generator[IO[bytes]]:
    """Give a file to write that takes its name, durably, once the block has ended without an error; else none is left.

    Its owner alone may read and write it, whatever the umask is. draft: a free name on the same disk. Raises
    FileExistsError for a name that is taken.
    """
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, 0o600)
            yield file
            flush_file(file)
        # A link, not a renaming: it fails if the name is taken, meanwhile too.
        os.link(draft, path)
    finally:
        draft.unlink()
    sync_folder(path.parent)


def link_file(path: Path, other: Path) -> None:
    """Give a file another name beside its own, durably; raises FileExistsError for a name that is taken."""
    os.link(path, other)
    sync_folder(other.parent)


def move_into_place(path: Path, place: Path, *, disk: Disk = SYSTEM_DISK) -> None:
    """Give a file or a folder another name durably and at once, be it that of a file or of an empty folder.

    path: what it holds is on the medium already.
    """
    disk.replace(path, place)
    disk.sync_folder(place.parent)


def flush_file(file: IO[bytes]) -> None:
    """Return when what was written to an open file is on the medium."""
    file.flush()
    SYSTEM_DISK.sync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Return when the names in a folder are on the medium."""
    SYSTEM_DISK.sync_folder(folder)


def _write(descriptor: int, path: Path, parts: Iterable[Any], *, disk: Disk, exact_mode: int | None) -> None:
    """Write and flush an open file, then close it."""
    try:
        if exact_mode is not None:
            os.fchmod(descriptor, exact_mode)
        for part in parts:
            disk.append(descriptor, part if isinstance(part, bytes) else memoryview(part).cast("B"))
        disk.sync(descriptor)
    except OSError as error:
        # The system names no file where it refuses a write to one that is open.
        error.filename = error.filename or str(path)
        raise
    finally:
        os.close(descriptor)
