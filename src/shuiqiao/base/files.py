"""Opens files without waiting for ever, and gives new ones the right mode.

Opening a pipe waits for its writer, and reading a terminal or a device may never end. So whatever is not a regular
file is refused, before anything of it is read [LEDGER-CBOR-5]. How much of a regular file is read, the caller bounds.

A process takes ``owner_only`` once, at its door: whatever is made behind it (databases and their journals, indexes,
keys, logs, backups) belongs to its owner from the first byte, whatever the umask was [STORE-28]. What is made for
others (static files of the log, receipts, a genesis, a report) is opened to them by name: its mode is set, not taken
from the umask. A program that uses the rooms as a library has no door; ``create_home`` therefore makes the home
owner-only itself.
"""

from __future__ import annotations

import errno
import os
import shlex
import stat
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from shuiqiao.base.errors import InvalidInput


def read_regular(path: Path, *, max_bytes: int) -> bytes:
    """Return a file's bytes, of a longer one the first max_bytes + 1: a caller that gets so many refuses it.

    Raises what ``open_regular`` raises.
    """
    with open_regular(path) as file:
        return file.read(max_bytes + 1)


def open_regular(path: Path) -> BinaryIO:
    """Return a file opened for reading.

    Raises InvalidInput ``base.file_special`` for what is no regular file, OSError for what cannot be opened.
    """
    return os.fdopen(open_descriptor(path, flags=os.O_RDONLY), "rb")


def open_descriptor(path: Path | str, *, flags: int, mode: int = 0o600) -> int:
    """Return the descriptor of a file, opened as ``os.open`` does. mode: of a file that the flags let it create.

    Raises InvalidInput ``base.file_special`` for what is no regular file, OSError for what cannot be opened.
    """
    # Without O_NONBLOCK the kernel waits here until somebody writes into a pipe; on regular files it does nothing.
    descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC, mode)
    kind = os.fstat(descriptor).st_mode
    if stat.S_ISREG(kind):
        return descriptor
    os.close(descriptor)
    if stat.S_ISDIR(kind):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    raise InvalidInput("base.file_special", f"{path} is no regular file but a pipe, a device or a terminal")


OWNER_ONLY_FOLDER: Final = 0o700
SHARED_FILE: Final = 0o644
SHARED_FOLDER: Final = 0o755
_OWNER_ONLY_UMASK: Final = 0o077
OTHERS: Final = 0o077
"""The bits of a mode that let anybody but the owner in."""


def warning_of_readers(path: Path, *, what: str) -> str:
    """Return how to shut a file that holds a secret where others than its owner are let in, empty where they are not.

    what: the file in words, e.g. "the passphrase file".
    """
    mode = stat.S_IMODE(path.stat().st_mode)
    return f"others can read {what} {path} (mode {mode:o}): chmod 600 {shlex.quote(str(path))}" if mode & OTHERS else ""


@contextmanager
def owner_only() -> Generator[None]:
    """Make every new file of this process its owner's alone, until the door is left."""
    before = os.umask(_OWNER_ONLY_UMASK)
    try:
        yield
    finally:
        os.umask(before)


def share_file(path: Path) -> None:
    """Let everybody read a file that was made to be handed out; a device or a pipe keeps its mode."""
    if path.is_file():
        path.chmod(SHARED_FILE)


def make_shared_folder(folder: Path) -> None:
    """Make a folder that everybody may look into, with those above it that are missing; one that is there stays."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    for each in reversed(missing):
        each.mkdir(exist_ok=True)
        each.chmod(SHARED_FOLDER)
    folder.mkdir(exist_ok=True)


@contextmanager
def memory_file(name: str) -> Generator[tuple[int, str]]:
    """Give the descriptor and the path of a file that lies in memory alone, for a library that reads files only.

    ::

        with memory_file("key") as (descriptor, path):
            os.write(descriptor, key)
            context.load_cert_chain(path)
    """
    descriptor = os.memfd_create(name)
    try:
        yield descriptor, f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
