"""Copying a vault's index while its one writer may be at work, for a backup [VAULT-STORE-5].

LMDB gives one committed moment, whoever writes meanwhile. Batch files are never changed but by an erasure, so they can
be copied at leisure after it: what remains is to ask at the end whether one was erased in between.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import lmdb

from shuiqiao.base.errors import Conflict, Unavailable
from shuiqiao.base.regular_file import open_regular
from shuiqiao.ledger.store.lmdb_file import open_environment
from shuiqiao.vault.index import MAP_BYTES, TABLES, BatchRow, IndexView, index_unreadable

INDEX_FOLDER = "index.lmdb"
BATCHES_FOLDER = "batches"
QUARANTINE_FOLDER = "quarantine"
LOCK_FILE = "lock"
"""Held by the one writer of a vault."""


def copy_index(folder: Path, to: Path) -> tuple[BatchRow, ...]:
    """Copy the index of a vault folder into an empty folder, compacted, and return the batches that the copy knows.

    Raises Unavailable ``vault.index_unreadable`` and ``vault.busy``, Conflict ``vault.erasure_pending``; lmdb.Error
    where the disk refuses.
    """
    try:
        with _steady(folder), _opened(folder / INDEX_FOLDER) as env, (to / "data.mdb").open("xb") as file:
            env.copyfd(file.fileno(), compact=True)
    except lmdb.Error as error:
        if type(error) is lmdb.Error or isinstance(error, lmdb.DiskError):
            # The system's own words, mostly of the disk that is written to: nothing is wrong with the index.
            raise
        raise index_unreadable(error) from error
    with _view(to) as view:
        _require_no_erasure(view, folder)
        return tuple(view.batches())


def require_unerased(folder: Path, rows: Sequence[BatchRow]) -> None:
    """Return if no file of these batches was changed since they were read.

    Raises Conflict ``vault.erasure_pending``, Unavailable ``vault.index_unreadable``.
    """
    with _view(folder / INDEX_FOLDER) as view:
        _require_no_erasure(view, folder)
        for row in rows:
            now = view.batch(row.number)
            if (now.parquet, now.erased) != (row.parquet, row.erased):
                raise _erased(folder)


def _require_no_erasure(view: IndexView, folder: Path) -> None:
    if view.pending_erasures():
        raise _erased(folder)


def _erased(folder: Path) -> Conflict:
    return Conflict(
        "vault.erasure_pending",
        f"records of {folder} are being erased, or were while its files were copied",
        next_step="try again when the erasure is done; the next ingest finishes one that was interrupted",
    )


@contextmanager
def _view(folder: Path) -> Generator[IndexView]:
    try:
        with _opened(folder) as env:
            tables = {name: env.open_db(name.encode(), create=False) for name in TABLES}
            with env.begin() as txn:
                yield IndexView(txn, tables)
    except lmdb.Error as error:
        raise index_unreadable(error) from error


def _may_lock(folder: Path) -> bool:
    """Tell whether LMDB can write its table of readers here, which lies beside the data."""
    return os.access(folder, os.W_OK)


@contextmanager
def _steady(folder: Path) -> Generator[None]:
    """Keep writers away where LMDB cannot: a reader that is not in its table may lose the pages that it reads."""
    with ExitStack() as stack:
        if not _may_lock(folder / INDEX_FOLDER):
            with suppress(FileNotFoundError):
                lock = stack.enter_context(open_regular(folder / LOCK_FILE))
                try:
                    fcntl.flock(lock.fileno(), fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError as error:
                    raise Unavailable(
                        "vault.busy",
                        f"an ingest or erasure is at work in {folder}, which this account may not write",
                        next_step="try again when it is done, or take the backup as the account that owns the home",
                    ) from error
        yield


@contextmanager
def _opened(folder: Path) -> Generator[lmdb.Environment]:
    env = open_environment(
        folder,
        readonly=True,
        create=False,
        map_size=MAP_BYTES,
        max_dbs=len(TABLES),
        max_readers=126,
        lock=_may_lock(folder),
    )
    try:
        yield env
    finally:
        env.close()
