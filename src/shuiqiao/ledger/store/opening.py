"""What a ledger says when the system does not let it open: one error with a code, whatever refused."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from pathlib import Path

import lmdb

from shuiqiao.base.errors import Unavailable
from shuiqiao.ledger.store.index_record import IndexUnreadable


@contextlib.contextmanager
def opening(folder: Path) -> Generator[None]:
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
