r"""The two files of a batch: the bytes that were hashed (``.leaves``) and the records in columns (``.parquet``).

[VAULT-STORE-1] Layout of ``<batch id in hex>.leaves``, integers little-endian::

    magic      8 bytes  "SQLEAF1\\n"
    size       4 bytes  length of the header
    header     deterministic CBOR {batch, suite, standard, groups, count, erased, parquet, sizes}
    tree       32 bytes per node, all levels of the batch tree, leaves first
    salts      16 bytes per record and group, one record after the other
    per group: ends, 4 bytes per record (where its bytes end), then the bytes of all records

``parquet`` is the suite hash of the Parquet file, ``sizes`` the number of bytes of each group. An erased record has
zero bytes and zero salts; its leaf stays in the tree. Files are written whole, made durable, and never changed: an
erasure writes a new file and renames it over the old one.

LIMIT: renaming over a file frees its blocks; that the medium itself forgets them is for the disk's encryption.
"""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Self

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Meta

from shuiqiao.base.encoding import decode_cbor_strict, encode_cbor
from shuiqiao.base.errors import IntegrityError, InvalidInput, Unavailable
from shuiqiao.base.regular_file import open_regular
from shuiqiao.base.typed import typed
from shuiqiao.vault.model import BATCH_ID_BYTES, HASH_BYTES, MAX_BATCH_DEPTH, SALT_BYTES
from shuiqiao.vault.tree import level_sizes, multiproof

MAGIC = b"SQLEAF1\n"
LEAVES_SUFFIX = ".leaves"
PARQUET_SUFFIX = ".parquet"

MAX_HEADER_BYTES = 1 << 20
"""A header with every record of the largest batch erased one by one is under half of this."""

_Count = Annotated[int, Meta(ge=1, le=1 << MAX_BATCH_DEPTH)]


class LeavesHeader(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the file says of itself; all of it is checked against the index and the ledger."""

    batch: Annotated[bytes, Meta(min_length=BATCH_ID_BYTES, max_length=BATCH_ID_BYTES)]
    suite: str
    standard: str
    groups: list[str]
    count: _Count
    erased: list[int]
    parquet: bytes
    sizes: list[Annotated[int, Meta(ge=0, le=1 << 31)]]


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupBytes:
    """One group of a batch: where each record's bytes end, and the bytes."""

    ends: npt.NDArray[np.uint32]
    data: bytes

    def record(self, index: int) -> bytes:
        """Return one record's bytes."""
        start = int(self.ends[index - 1]) if index else 0
        return self.data[start : int(self.ends[index])]

    def records(self, indexes: Sequence[int]) -> list[bytes]:
        """Return the bytes of some records."""
        return [self.record(index) for index in indexes]


def encode_leaves(header: LeavesHeader, *, tree: bytes, salts: bytes, groups: Sequence[GroupBytes]) -> list[bytes]:
    """Return the file as parts to be written one after the other."""
    encoded = encode_cbor(msgspec.to_builtins(header, builtin_types=(bytes,)))
    parts = [MAGIC, len(encoded).to_bytes(4, "little"), encoded, tree, salts]
    for group in groups:
        parts += [group.ends.astype("<u4").tobytes(), group.data]
    return parts


class LeavesFile:
    """An opened ``.leaves`` file, read through the page cache; use as a context manager.

    count, groups: records of its batch and their groups, as the index and the standard say; so indexes and positions
    that fit them fit the file. Raises IntegrityError ``vault.file_damaged`` where header, length and these do not fit
    together, and Unavailable ``vault.file_missing``.
    """

    def __init__(self, path: Path, *, count: int, groups: Sequence[str]) -> None:
        self.path = path
        try:
            with open_regular(path) as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except FileNotFoundError as error:
            raise Unavailable("vault.file_missing", f"{path.name} is not there") from error
        except ValueError as error:
            raise self._damaged("is empty") from error
        try:
            self.header = self._read_header()
            self._require_expected(count, groups)
            self._lay_out()
        except BaseException:
            self._map.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # A view of the map may stand in the frames of an error on its way up: the map then ends with that.
        with suppress(BufferError):
            self._map.close()

    def _damaged(self, what: str) -> IntegrityError:
        return IntegrityError("vault.file_damaged", f"{self.path.name} {what}")

    def _read_header(self) -> LeavesHeader:
        start = len(MAGIC) + 4
        size = int.from_bytes(self._map[len(MAGIC) : start], "little")
        if self._map[: len(MAGIC)] != MAGIC or start + size > len(self._map):
            raise self._damaged("does not begin as a leaves file")
        self._body = start + size
        try:
            fields = decode_cbor_strict(self._map[start : self._body], max_bytes=MAX_HEADER_BYTES)
            return typed(fields, LeavesHeader, builtin_types=(bytes,))
        except (InvalidInput, msgspec.ValidationError) as error:
            raise self._damaged(f"has a damaged header: {error}") from error

    def _require_expected(self, count: int, groups: Sequence[str]) -> None:
        header = self.header
        if (header.count, header.groups) != (count, list(groups)):
            raise self._damaged(
                f"has {header.count} records of groups {', '.join(header.groups)[:100]} where its batch has"
                f" {count} of {', '.join(groups)}"
            )
        if header.erased != sorted(set(header.erased)) or not all(0 <= index < count for index in header.erased):
            raise self._damaged("has a list of erased records that is none")

    def _lay_out(self) -> None:
        count, groups = self.header.count, len(self.header.groups)
        self._tree = self._body
        self._salts = self._tree + sum(level_sizes(count)) * HASH_BYTES
        at = self._salts + count * groups * SALT_BYTES
        self._groups: list[tuple[int, int, int]] = []
        for size in self.header.sizes:
            self._groups.append((at, at + 4 * count, size))
            at += 4 * count + size
        if groups != len(self.header.sizes) or at != len(self._map):
            raise self._damaged(f"has {len(self._map)} bytes where its header announces {at}")

    def salts_of(self, indexes: Sequence[int]) -> npt.NDArray[np.uint8]:
        """Return the salts of some records as an array of (record, group, 16)."""
        count, groups = self.header.count, len(self.header.groups)
        # The view of the file ends with this line: a closed map may have none.
        raw = np.frombuffer(self._map, np.uint8, count=count * groups * SALT_BYTES, offset=self._salts)
        return raw.reshape(count, groups, SALT_BYTES)[list(indexes)]

    def group_records(self, position: int, indexes: Sequence[int]) -> list[bytes]:
        """Return the bytes of a group of some records; raises IntegrityError ``vault.file_damaged``."""
        ends_at, data_at, size = self._groups[position]
        ends = np.frombuffer(self._map, "<u4", count=self.header.count, offset=ends_at)
        wanted = np.asarray(indexes)
        stops = ends[wanted].astype(np.int64)
        starts = np.where(wanted == 0, 0, ends[wanted - 1].astype(np.int64))
        if (starts > stops).any() or (stops > size).any():
            raise self._damaged(f"has group {self.header.groups[position]!r} with ends that do not rise to its size")
        bounds = zip((starts + data_at).tolist(), (stops + data_at).tolist(), strict=True)
        return [self._map[start:stop] for start, stop in bounds]

    def multiproof(self, indexes: Sequence[int]) -> bytes:
        """Return the multiproof of some leaves [VAULT-TREE-2]."""
        with memoryview(self._map) as whole, whole[self._tree : self._salts] as tree:
            return multiproof(tree, indexes, count=self.header.count)

    def tree(self) -> bytes:
        """Return all levels of the tree, leaves first."""
        return self._map[self._tree : self._salts]

    def salts(self) -> npt.NDArray[np.uint8]:
        """Return the salts as an array of (record, group, 16)."""
        count, groups = self.header.count, len(self.header.groups)
        raw = self._map[self._salts : self._salts + count * groups * SALT_BYTES]
        return np.frombuffer(raw, dtype=np.uint8).reshape(count, groups, SALT_BYTES)

    def group(self, position: int) -> GroupBytes:
        """Return a group by its position; raises IntegrityError ``vault.file_damaged`` if its ends do not rise."""
        ends_at, data_at, size = self._groups[position]
        ends = np.frombuffer(self._map[ends_at:data_at], dtype="<u4").astype(np.uint32)
        if int(ends[-1]) != size or np.any(ends[:-1] > ends[1:]):
            raise self._damaged(f"has group {self.header.groups[position]!r} with ends that do not rise to its size")
        return GroupBytes(ends=ends, data=self._map[data_at : data_at + size])
