"""Who holds a ledger folder: asked without taking the lock from anybody, and without writing."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from shuiqiao.base.errors import InvalidInput
from shuiqiao.base.files import open_descriptor

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
