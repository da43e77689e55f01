"""The index of a ledger opened for reading alone: beside the process that writes it, or on a node that is down.

Nothing is repaired and no record is written; LMDB's own ``lock.mdb`` is touched, as by any reader, unless it cannot be
written and nobody has the ledger open. What is seen is one
committed block and stays it, however many the writer adds meanwhile.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, Self

import lmdb

from shuiqiao.base.durable import PosixDisk
from shuiqiao.ledger.store.boot_mark import BootMark
from shuiqiao.ledger.store.index import Snapshot
from shuiqiao.ledger.store.index_record import IndexUnreadable
from shuiqiao.ledger.store.lmdb_file import DATA_FILE, open_environment
from shuiqiao.ledger.store.lock_holder import is_held
from shuiqiao.ledger.store.state_tree import DATABASE

_SNAPSHOT_TABLES: Final = (b"meta", b"blocks", b"starts", b"nodes", b"state", b"replay", DATABASE, b"epochs")
"""In the order in which a Snapshot takes them."""


def is_writable(folder: Path) -> bool:
    """Return whether LMDB can keep its table of readers in a folder; without one nobody may write beside the reader.

    Raises IndexUnreadable for a folder that cannot be written while a process has the ledger above it open.
    """
    if os.access(folder, os.W_OK) and os.access(folder / "lock.mdb", os.W_OK):
        return True
    if is_held(folder.parent):
        raise IndexUnreadable(f"{folder} cannot be written, and a process has it open")
    return False


class IndexReader:
    """One index opened for reading; ``close`` it, or use it as a context manager."""

    def __init__(self, folder: Path) -> None:
        """Open; raises IndexUnreadable where there is none, LMDB refuses it, or the machine stopped while it was open.

        One process opens an index once: not for the folder of a ledger that this very process has open.
        """
        if not (folder / DATA_FILE).is_file():
            raise IndexUnreadable(f"there is no index in {folder}")
        if BootMark(folder, disk=PosixDisk()).is_stale():
            raise IndexUnreadable("the machine stopped while it was open")
        try:
            self._env = open_environment(
                folder,
                readonly=True,
                create=False,
                max_dbs=len(_SNAPSHOT_TABLES) + 8,
                lock=is_writable(folder),
            )
        except lmdb.Error as error:
            raise IndexUnreadable(str(error)) from error
        try:
            tables = tuple(self._env.open_db(name, create=False) for name in _SNAPSHOT_TABLES)
            self.view = Snapshot(self._env, dbs=tables)
            self.head = self.view.head()
        except lmdb.Error as error:
            self._env.close()
            raise IndexUnreadable(f"{folder}: {error}") from error
        except BaseException:
            self._env.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the files; the view becomes unusable."""
        self._env.close()
