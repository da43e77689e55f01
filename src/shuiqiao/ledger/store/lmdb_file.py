"""Opens LMDB environments, once all of their pages were found to be what LMDB takes them for.

LMDB maps ``data.mdb`` into memory and trusts what it finds there. In a file that was cut short or damaged (by a copy
that ended early, by a disk) it follows places that are none, which ends the process by a signal that no error handling
sees. So nothing opens an environment but by this [STORE-29]. It costs a look at every page in use: 500 to 1,000 MB in a
second, or what the disk gives.
LIMIT: a page that is damaged while the environment is open can end the process; opening it again says so.
"""

from __future__ import annotations

import mmap
import os
from pathlib import Path
from typing import Any, BinaryIO, Final

import lmdb

from shuiqiao.base.errors import InvalidInput
from shuiqiao.base.files import open_regular
from shuiqiao.ledger.store.lmdb_pages import INTEGER_KEY, META, Meta, require_sound

DATA_FILE: Final = "data.mdb"

_MAGIC: Final = 0xBEEFC0DE
_PAGE_BYTES: Final = frozenset(1 << power for power in range(8, 16))
_ATTEMPTS: Final = 10
"""How often a file is looked at that a writer changes meanwhile, where LMDB cannot keep it away (``lock=False``)."""


def open_environment(folder: Path, **options: Any) -> lmdb.Environment:
    """Return the environment of a folder, all of whose pages LMDB can follow. options: those of ``lmdb.open``.

    Raises lmdb.CorruptedError, as LMDB itself does for damage that it notices, what ``lmdb.open`` raises, and OSError.
    """
    path = folder / DATA_FILE
    try:
        with open_regular(path) as file:
            _metas(file)
    except FileNotFoundError:
        pass
    except (lmdb.CorruptedError, InvalidInput) as error:
        raise lmdb.CorruptedError(f"{path}: {error}") from error
    environment = lmdb.open(os.fsencode(folder), subdir=True, **options)
    try:
        _require_pages(environment, path)
    except BaseException:
        environment.close()
        raise
    return environment


def _require_pages(environment: lmdb.Environment, path: Path) -> None:
    for _ in range(_ATTEMPTS):
        # While this transaction reads and can lock, no writer writes to a page of its moment.
        with environment.begin() as reader, open_regular(path) as file:
            metas = _metas(file)
            meta = metas[reader.id() & 1]
            if meta.transaction != reader.id():
                continue
            # Never closed by hand: the arrays over it, which an error keeps too, forbid that.
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            pages = min(len(mapped) // meta.page_bytes, meta.last_page + 1)
            try:
                require_sound(memoryview(mapped)[: pages * meta.page_bytes], meta)
            except lmdb.CorruptedError as error:
                if _metas(file) == metas:
                    raise lmdb.CorruptedError(f"{path}: {error}") from error
                continue
            return
    raise lmdb.CorruptedError(f"{path}: its meta pages are damaged, or a writer changed it each time it was looked at")


def _metas(file: BinaryIO) -> list[Meta]:
    """Return both meta pages, none of a file that LMDB would begin."""
    file.seek(0)
    data = file.read(META.size)
    if not data:
        return []
    first = _meta(data)
    file.seek(first.page_bytes)
    second = _meta(file.read(META.size))
    if second.page_bytes != first.page_bytes:
        raise lmdb.CorruptedError("its meta pages disagree")
    return [first, second]


def _meta(data: bytes) -> Meta:
    if len(data) < META.size:
        raise lmdb.CorruptedError(f"a meta page has {len(data)} bytes, not {META.size}: it was cut short")
    meta = Meta(*META.unpack(data))
    if meta.magic != _MAGIC or meta.page_bytes not in _PAGE_BYTES or meta.flags != INTEGER_KEY:
        raise lmdb.CorruptedError("a meta page is not LMDB's")
    return meta
