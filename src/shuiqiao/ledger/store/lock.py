"""One writer per ledger folder, held by the operating system: a killed process leaves no stale lock behind."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from shuiqiao.base.errors import Unavailable
from shuiqiao.base.files import open_descriptor


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
