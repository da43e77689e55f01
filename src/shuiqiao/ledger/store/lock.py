"""The lock on a ledger folder: one writer, held by the operating system; a killed process leaves none behind.

``holder`` tells the process that has it, without taking the lock and without writing. What the system refuses while
files of the folder are opened becomes one error with a code.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Generator
from pathlib import Path

import lmdb

from shuiqiao.base.errors import InvalidInput, Unavailable
from shuiqiao.base.files import open_descriptor
from shuiqiao.ledger.store.lmdb_file import IndexUnreadable


class FolderLock:
    """An exclusive lock on a ledger folder from construction until ``release`` ([STORE-3])."""

    def __init__(self, folder: Path) -> None:
        """Take the lock; raises Unavailable ``ledger.locked`` while another process (or engine) holds it."""
        path = folder / "lock"
        self._descriptor = open_descriptor(path, flags=os.O_RDWR | os.O_CREAT, mode=0o644)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._descriptor)
            raise Unavailable(
                "ledger.locked",
                f"{folder} is in use by another process",
                next_step="wait until the other command has ended, or stop the node that runs there",
            ) from error

    def release(self) -> None:
        """Give the lock back; once more it does nothing, for the descriptor may be of another file by then."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


_LOCKS = Path("/proc/locks")
_FLOCK_FIELDS = 8


def is_held(folder: Path) -> bool:
    """Return whether a process has the ledger in this folder open now ([STORE-3])."""
    try:
        descriptor = open_descriptor(folder / "lock", flags=os.O_RDONLY)
    except (OSError, InvalidInput):
        return False
    try:
        # Shared and given back at once: it is refused exactly while somebody holds the exclusive one.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def holder(folder: Path) -> int | None:
    """Return the id of the process that holds the lock, None where the system does not tell."""
    try:
        inode = (folder / "lock").stat().st_ino
        lines = _LOCKS.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    for line in lines:
        fields = line.split()
        if len(fields) >= _FLOCK_FIELDS and fields[1] == "FLOCK" and fields[5].rpartition(":")[2] == str(inode):
            return int(fields[4])
    return None


@contextlib.contextmanager
def system_refusals(folder: Path) -> Generator[None]:
    """Open files of a ledger folder inside; raises Unavailable ``ledger.open_failed`` for what the system refused.

    [STORE-26]: only an index that cannot be made anew comes here as unreadable: a full disk, or one that fails.
    """
    try:
        yield
    except (OSError, lmdb.Error, IndexUnreadable) as error:
        raise Unavailable(
            "ledger.open_failed",
            f"the ledger in {folder} cannot be opened: {error}",
            next_step="free disk space or check the disk and its permissions, then open it again: nothing is lost",
        ) from error
