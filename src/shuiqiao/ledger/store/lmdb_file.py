"""Opens LMDB environments after every page of theirs was checked, because LMDB itself checks none.

LMDB maps ``data.mdb`` into memory and trusts what it finds there. In a file that was cut short or damaged (by a copy
that ended early, by a disk) it follows places that are none, which ends the process by a signal that no error handling
sees. So nothing opens an environment but by this [STORE-29]. It costs a look at every page in use: 500 to 1,000 MB in a
second, or what the disk gives.

The two trees of one committed moment, of the tables and of the free pages, are walked level by level: a page is of the
kind that its level asks for and stands where it says; its nodes fill it without gap or overlap; no page is met twice;
depth and entries are those of the record above. What keys and values mean, the caller decodes. Layout by mdb.c
of LMDB 0.9.
LIMIT: a page that is damaged while the environment is open can end the process; opening it again says so.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

import lmdb
import numpy as np

from shuiqiao.base.errors import IntegrityError, InvalidInput
from shuiqiao.base.files import open_regular

DATA_FILE: Final = "data.mdb"

_MAGIC: Final = 0xBEEFC0DE
_PAGE_BYTES: Final = frozenset(1 << power for power in range(8, 16))
_ATTEMPTS: Final = 10
"""How often a file is looked at that a writer changes meanwhile, where LMDB cannot keep it away (``lock=False``)."""


class IndexUnreadable(Exception):
    """The index cannot be used and must be made again from the segments."""


def index_damaged(reason: str) -> IntegrityError:
    """Return the error for a record or page of the index that cannot be read."""
    return IntegrityError(
        "ledger.index_damaged",
        f"the ledger's index is damaged: {reason}",
        next_step="delete the ledger's index folder: it is made again from the segments",
    )


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


META: Final = struct.Struct("<16x I I 8x 8x 48s 48s Q Q")
"""A meta page: header, magic, version, address, map size, the records of both trees, last page, transaction."""

_TREE: Final = struct.Struct("<I H H 8x 8x 8x Q Q")
"""A tree's record: page size (that of the free pages only), flags, depth, pages of each kind, entries, root."""

INTEGER_KEY: Final = 8
"""The flags of the free pages' tree; any other would let LMDB map the file at a place that the file names."""

_NO_ROOT: Final = (1 << 64) - 1
_BRANCH, _LEAF, _OVERFLOW = 1, 2, 4
_BIG, _TABLE = 1, 2
_HEADER_BYTES: Final = 16
_NODE_BYTES: Final = 8
_NUMBER_BYTES: Final = 8
_MAX_KEY_BYTES: Final = 511
_MAX_DEPTH: Final = 32
_TOGETHER: Final = 1024
"""Pages that are looked at together."""

_Array = np.ndarray[Any, np.dtype[Any]]


class Meta(NamedTuple):
    """What a meta page says, the records of its two trees still packed."""

    magic: int
    version: int
    free: bytes
    main: bytes
    last_page: int
    transaction: int

    @property
    def page_bytes(self) -> int:
        """The size of every page."""
        return int(_TREE.unpack(self.free)[0])

    @property
    def flags(self) -> int:
        """Those of the environment, which stand there too."""
        return int(_TREE.unpack(self.free)[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Nodes:
    """The nodes of some leaf pages, in order. keys, data: where in the file the bytes of each stand."""

    flags: _Array
    keys: _Array
    key_bytes: _Array
    data: _Array
    data_bytes: _Array


def require_sound(file: memoryview, meta: Meta) -> None:
    """Return if LMDB can follow all that a meta page leads to; raises lmdb.CorruptedError.

    file: its bytes up to the end of its last page.
    """
    walk = _Walk(np.frombuffer(file, dtype=np.uint8), meta)
    for nodes in walk.leaves(meta.free, flags=INTEGER_KEY):
        walk.require_free(nodes)
    tables: list[tuple[bytes, bytes]] = []
    for nodes in walk.leaves(meta.main, holds_tables=True):
        tables += walk.tables(nodes)
    # Of a table that stands there twice, one place would be written and the other read.
    _require(all(one < next_one for (one, _), (next_one, _) in pairwise(tables)), "the tables are out of order")
    for _, table in tables:
        for _ in walk.leaves(table):
            pass


def _require(holds: Any, otherwise: str) -> None:
    if not holds:
        raise lmdb.CorruptedError(f"a page is damaged: {otherwise}")


class _Walk:
    """One walk over the pages of a file; places are counted in bytes from its beginning."""

    def __init__(self, file: _Array, meta: Meta) -> None:
        self._file = file
        self._meta = meta
        self._page_bytes = meta.page_bytes
        self._words = file.view(np.uint16).reshape(-1, self._page_bytes // 2)
        self._listed = 0
        self._taken = np.zeros(len(self._words), dtype=bool)
        self._taken[:2] = True

    def leaves(self, tree: bytes, *, flags: int = 0, holds_tables: bool = False) -> Iterator[_Nodes]:
        """Yield what stands on the leaf pages of a tree, given its record."""
        _size, tree_flags, depth, entries, root = _TREE.unpack(tree)
        _require(tree_flags == flags, f"a tree has the flags {tree_flags}")
        _require((root == _NO_ROOT) == (depth == 0) and depth <= _MAX_DEPTH, f"a tree has {depth} levels")
        level = np.array([root][:depth], dtype=np.uint64)
        for _ in range(depth - 1):
            level = np.concatenate([self._branches(pages) for pages in self._level(level)])
        for pages in self._level(level):
            nodes = self._leaves(pages, allowed=_BIG | _TABLE if holds_tables else _BIG)
            entries -= len(nodes.flags)
            yield nodes
        _require(entries == 0, "a tree has more or fewer entries than its record says")

    def require_free(self, nodes: _Nodes) -> None:
        """Require that lists of free pages can be read, and name pages that are in use nowhere."""
        _require((nodes.key_bytes == _NUMBER_BYTES).all(), "a list of free pages has no transaction")
        transactions = [self._listed, *self._numbers(nodes.keys).tolist()]
        self._listed = transactions[-1]
        is_rising = all(one < next_one for one, next_one in pairwise(transactions))
        _require(is_rising and self._listed <= self._meta.transaction, "lists of free pages are out of order")
        for start, size in zip(nodes.data.tolist(), nodes.data_bytes.tolist(), strict=True):
            count, *_ = np.frombuffer(self._file[start : start + _NUMBER_BYTES].tobytes(), dtype=np.uint64).tolist()
            _require((count + 1) * _NUMBER_BYTES <= size, "a list of free pages is longer than its bytes")
            end = start + (count + 1) * _NUMBER_BYTES
            pages = np.frombuffer(self._file[start + _NUMBER_BYTES : end].tobytes(), dtype=np.uint64)
            _require((pages[:-1] > pages[1:]).all(), "a list of free pages is out of order")
            _require((pages <= self._meta.last_page).all(), "a free page lies behind the last one")
            # A page that was taken and let go in one transaction is never written: the file may end before it.
            self._take(pages[pages < len(self._words)])

    def tables(self, nodes: _Nodes) -> list[tuple[bytes, bytes]]:
        """Return names and records of the trees that nodes hold."""
        are_tables = nodes.flags == _TABLE
        _require((nodes.data_bytes[are_tables] == _TREE.size).all(), "the record of a table has another length")
        places = zip(nodes.keys[are_tables].tolist(), nodes.data[are_tables].tolist(), strict=True)
        return [(self._file[key:at].tobytes(), self._file[at : at + _TREE.size].tobytes()) for key, at in places]

    def _level(self, numbers: _Array) -> Iterator[_Array]:
        for start in range(0, len(numbers), _TOGETHER):
            yield self._take(numbers[start : start + _TOGETHER])

    def _take(self, numbers: _Array) -> _Array:
        """Return page numbers that lie in the file and were not met before."""
        _require((numbers < len(self._words)).all(), "it leads out of the file")
        pages = numbers.astype(np.int64)
        _require(not self._taken[pages].any() and len(np.unique(pages)) == len(pages), "two lead to one page")
        self._taken[pages] = True
        return pages

    def _branches(self, pages: _Array) -> _Array:
        """Return the numbers of the pages below branch pages."""
        head, rows, offsets = self._open(pages, kind=_BRANCH, least=2)
        low, middle, high, key_bytes = _fields(head, rows, offsets)
        _require((key_bytes <= _MAX_KEY_BYTES).all(), "a key is too long")
        self._require_filled(head, rows, offsets, _NODE_BYTES + key_bytes)
        below: _Array = (low | middle << 16 | high << 32).astype(np.uint64)
        return below

    def _leaves(self, pages: _Array, *, allowed: int) -> _Nodes:
        """Return the nodes of leaf pages."""
        head, rows, offsets = self._open(pages, kind=_LEAF, least=1)
        low, high, flags, key_bytes = _fields(head, rows, offsets)
        data_bytes = low | high << 16
        is_big = flags == _BIG
        node_bytes = _NODE_BYTES + key_bytes + np.where(is_big, _NUMBER_BYTES, data_bytes)
        _require(((flags | allowed) == allowed).all() and (flags <= _TABLE).all(), "a node is of no known kind")
        _require(((key_bytes > 0) & (key_bytes <= _MAX_KEY_BYTES)).all(), "a key is too long, or empty")
        # LMDB splits a page on the grounds that two nodes fit on any.
        _require((node_bytes <= (self._page_bytes - _HEADER_BYTES) // 2).all(), "a node is too long for its page")
        self._require_filled(head, rows, offsets, node_bytes)
        keys = pages[rows] * self._page_bytes + offsets + _NODE_BYTES
        data = keys + key_bytes
        data[is_big] = self._overflow(data[is_big], data_bytes[is_big])
        return _Nodes(flags=flags, keys=keys, key_bytes=key_bytes, data=data, data_bytes=data_bytes)

    def _overflow(self, places: _Array, data_bytes: _Array) -> _Array:
        """Return where values begin that have pages of their own, by the places of these pages' numbers."""
        numbers = self._numbers(places)
        _require((numbers < len(self._words)).all(), "it leads out of the file")
        pages = numbers.astype(np.int64)
        starts = pages * self._page_bytes
        counts = self._words[pages, 6].astype(np.int64) | self._words[pages, 7].astype(np.int64) << 16
        self._require_head(pages, kind=_OVERFLOW)
        needed = (_HEADER_BYTES + data_bytes - 1) // self._page_bytes + 1
        _require((counts >= needed).all() and counts.sum() <= len(self._words), "a value is longer than its pages")
        first = np.cumsum(counts) - counts
        self._take(np.repeat(pages - first, counts) + np.arange(counts.sum()))
        return starts + _HEADER_BYTES

    def _open(self, pages: _Array, *, kind: int, least: int) -> tuple[_Array, _Array, _Array]:
        """Return the words of pages, and for each of their nodes the row in these and its offset on the page."""
        self._require_head(pages, kind=kind)
        words = self._words[pages]
        lower, upper = words[:, 6].astype(np.int64), words[:, 7].astype(np.int64)
        _require(((lower | upper) & 1 == 0).all(), "its bounds are odd")
        _require(((lower <= upper) & (upper < self._page_bytes)).all(), "its bounds are out of order")
        counts = (lower - _HEADER_BYTES) // 2
        _require((counts >= least).all(), "it has too few nodes")
        rows = np.repeat(np.arange(len(pages)), counts)
        index = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
        offsets = words[rows, index + _HEADER_BYTES // 2].astype(np.int64)
        _require((offsets & 1 == 0).all(), "a node begins at an odd place")
        _require(((offsets >= upper[rows]) & (offsets <= self._page_bytes - _NODE_BYTES)).all(), "a node lies outside")
        return words, rows, offsets

    def _require_head(self, pages: _Array, *, kind: int) -> None:
        numbers = self._numbers(pages * self._page_bytes)
        _require((numbers == pages.astype(np.uint64)).all(), "it stands in another place than it says")
        _require((self._words[pages, 5] == kind).all(), "it is of another kind than its tree asks for")

    def _numbers(self, places: _Array) -> _Array:
        numbers: _Array = self._file[places[:, None] + np.arange(_NUMBER_BYTES)].view(np.uint64).reshape(-1)
        return numbers

    def _require_filled(self, words: _Array, rows: _Array, offsets: _Array, node_bytes: _Array) -> None:
        """Require that the nodes of each page lie one behind another, from its upper bound to its end."""
        ends = offsets + node_bytes + (node_bytes & 1)
        _require((ends <= self._page_bytes).all(), "a node is longer than its page")
        starts_at = np.zeros((len(words), self._page_bytes // 2 + 1), dtype=bool)
        ends_at = np.zeros_like(starts_at)
        starts_at[rows, offsets >> 1] = True
        starts_at[:, -1] = True
        ends_at[rows, ends >> 1] = True
        ends_at[np.arange(len(words)), words[:, 7] >> 1] = True
        # Where each end is the start of another, and no two nodes start together, there is neither gap nor overlap.
        _require(np.count_nonzero(starts_at) == len(rows) + len(words), "two nodes begin at one place")
        _require((starts_at == ends_at).all(), "its nodes leave a gap, or overlap")


def _fields(words: _Array, rows: _Array, offsets: _Array) -> Iterator[_Array]:
    """Yield the four numbers with which every node begins."""
    return (words[rows, (offsets >> 1) + place].astype(np.int64) for place in range(_NODE_BYTES // 2))
