"""Whether an LMDB file is as long as it says: reading a mapped page behind the end of its file kills the process.

LMDB maps ``data.mdb`` into memory and trusts its two meta pages for where pages lie. Of a file that was cut short (by a
copy that ended early, by a full disk) a page that is gone is met as SIGBUS, which no error handling sees. So whoever
opens an environment asks here first [STORE-29].
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Final

import lmdb

from shuiqiao.base.errors import InvalidInput
from shuiqiao.base.regular_file import open_regular

DATA_FILE: Final = "data.mdb"

_META: Final = struct.Struct("<16x I I 8x 8x I 92x Q Q")
"""A meta page, by lmdb.h of version 0.9: header, magic, version, address, map size, two databases of which the first
begins with the page size, number of the last page, transaction."""

_MAGIC: Final = 0xBEEFC0DE
_PAGE_BYTES: Final = frozenset(1 << power for power in range(8, 17))


def require_whole(folder: Path) -> None:
    """Return if the data file of an environment is absent, empty, or holds every page that its meta pages speak of.

    Raises lmdb.CorruptedError, as LMDB itself does for damage that it notices, and OSError.
    """
    path = folder / DATA_FILE
    try:
        with open_regular(path) as file:
            page_bytes, first = _meta(file.read(_META.size))
            file.seek(page_bytes)
            _, second = _meta(file.read(_META.size))
            # Read last: a writer beside us writes pages before the meta page that speaks of them.
            size = path.stat().st_size
    except FileNotFoundError:
        return
    except InvalidInput as error:
        raise lmdb.CorruptedError(error.message) from error
    needed = (max(first, second) + 1) * page_bytes
    if page_bytes and size < needed:
        raise lmdb.CorruptedError(f"{path} has {size} bytes, and its pages take {needed}: it was cut short")


def _meta(data: bytes) -> tuple[int, int]:
    """Return the bytes of a page and the number of the last page; zeros where LMDB would begin a new file."""
    if not data:
        return 0, 0
    if len(data) < _META.size:
        raise lmdb.CorruptedError(f"a meta page has {len(data)} bytes where {_META.size} are its least")
    magic, _version, page_bytes, last_page, _transaction = _META.unpack(data)
    if magic != _MAGIC or page_bytes not in _PAGE_BYTES:
        raise lmdb.CorruptedError("a meta page is not LMDB's")
    return page_bytes, last_page
