"""What the system refuses to a command, in words: a full disk, a folder that cannot be written, a store that fails.

Storage libraries have errors of their own; they are told apart by name, so that none of them is loaded for it.
"""

from __future__ import annotations

import errno
from typing import Final

from shuiqiao.base.errors import ShuiqiaoError, Unavailable

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_FULL_WORDS: Final = ("no space left", "is full", "file too large", "quota exceeded")
_STORES: Final = frozenset({"lmdb", "sqlalchemy", "sqlite3"})


def error_of_system(error: Exception, *, place: str) -> ShuiqiaoError | None:
    """Return what the system or a store refused, None where it is something else. place: where the command worked."""
    if isinstance(error, OSError):
        words = error.strerror or str(error)
        if error.errno in _FULL:
            return _full(str(error.filename or place), words)
        return Unavailable("cli.system_refused", f"{error.filename or place}: {words}")
    if type(error).__module__.partition(".")[0] not in _STORES:
        return None
    words = str(getattr(error, "orig", None) or error)
    if any(sign in words.lower() for sign in _FULL_WORDS):
        return _full(place, words)
    return Unavailable("cli.store_refused", f"a store of {place} cannot be used: {words}")


def _full(place: str, words: str) -> Unavailable:
    return Unavailable("cli.disk_full", f"{place} lies on a disk or under a limit that is full: {words}")
