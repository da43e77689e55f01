"""What the system refuses to a command, in words: a full disk, a folder that cannot be written, a store that fails.

Storage libraries have errors of their own; they are told apart by name, so that none of them is loaded for it.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Final

from shuiqiao.base.errors import ShuiqiaoError, Unavailable

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_FULL_WORDS: Final = ("no space left", "is full", "file too large", "quota exceeded")
_NO_SPACE_BYTES: Final = 1 << 20
"""A store that is refused where less is free lacks space, whatever its library says (LMDB: input/output error)."""

_STORES: Final = frozenset({"lmdb", "sqlalchemy", "sqlite3"})


def error_of_system(error: Exception, *, place: str) -> ShuiqiaoError | None:
    """Return what the system or a store refused, None where it is something else. place: where the command worked."""
    if isinstance(error, OSError):
        words = error.strerror or str(error)
        if error.errno in _FULL:
            return _full(str(error.filename or place), words)
        return Unavailable("cli.system_refused", f"{error.filename or place}: {words}")
    if not _is_of_a_store(error):
        return None
    words = str(getattr(error, "orig", None) or error)
    if any(sign in words.lower() for sign in _FULL_WORDS) or _has_no_space(place):
        return _full(place, words)
    return Unavailable("cli.store_refused", f"a store of {place} cannot be used: {words}")


def error_of_full_disk(error: ShuiqiaoError, *, place: str) -> ShuiqiaoError:
    """Return the error itself, or the full disk behind it where a room told of a store that was refused there."""
    is_refused = isinstance(error, Unavailable) and error.__cause__ is not None and _is_of_a_store(error.__cause__)
    return _full(place, error.message) if is_refused and _has_no_space(place) else error


def _is_of_a_store(error: BaseException) -> bool:
    return type(error).__module__.partition(".")[0] in _STORES


def _has_no_space(place: str) -> bool:
    """Tell whether the disk of a folder has next to nothing free; of what is not there, nothing is known."""
    if not Path(place).exists():
        return False
    disk = os.statvfs(place)
    return disk.f_bavail * disk.f_frsize < _NO_SPACE_BYTES


def _full(place: str, words: str) -> Unavailable:
    return Unavailable("cli.disk_full", f"{place} lies on a disk or under a limit that is full: {words}")
