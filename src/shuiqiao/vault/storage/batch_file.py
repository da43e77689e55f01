r"""The two files of a batch: the bytes that were hashed (``.leaves``) and the records in columns (``.parquet``).

[VAULT-STORE-1] Layout of ``<batch id in hex>.leaves``, integers little-endian::

    magic      8 bytes  "SQLEAF2\n"
    size       4 bytes  length of the header
    header     deterministic CBOR {batch, suite, standard, groups, count, erased, parquet, sizes}
    tree       32 bytes per node, all levels of the batch tree, leaves first
    encrypted, as ``crypto.file_cipher`` says, under the name of the file:
    salts      16 bytes per record and group, one record after the other
    per group: ends, 4 bytes per record (where its bytes end), then the bytes of all records

``parquet`` is the suite hash of the Parquet file before it is encrypted, ``sizes`` the number of bytes of each group.
An erased record has zero bytes and zero salts; its leaf stays in the tree. Files are written whole, made durable, and
never changed: an erasure writes a new file and renames it over the old one. Header and tree tell nothing of a record
without its salts, and whoever has no key can still hold them against the ledger.

[VAULT-STORE-7] A release before wrote ``SQLEAF1\n`` with all of it in clear, and the Parquet file as it is. Such files
are read, and ``Vault.encrypt_batches`` writes them anew.

Records of one taxpayer lie side by side, and the requests of banks meet the same batches again: opening and decoding
them anew costs many times what is read. So what was opened and decoded is kept. It belongs to one state of a file
(inode, size, times), which is looked at before every use, so a file that was written anew is read anew. It is bounded
in bytes, the longest unused goes first, and an erasure has its batch forgotten at once [VAULT-ERASE-1].

LIMIT: renaming over a file frees its blocks; that the medium itself forgets them is for the disk's encryption.
"""

from __future__ import annotations

import io
import mmap
import os
import threading
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial
from itertools import accumulate
from operator import itemgetter
from pathlib import Path
from typing import Annotated, Any, Self

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from cachetools import LRUCache
from msgspec import Meta

from shuiqiao.base.durable import sync_folder, write_file
from shuiqiao.base.encoding import decode_cbor_strict, encode_cbor, typed
from shuiqiao.base.errors import IntegrityError, InvalidInput, Unavailable
from shuiqiao.base.files import open_regular
from shuiqiao.crypto.file_cipher import FILE_MAGIC, ContentFile, EncryptedContent, FileCipher
from shuiqiao.crypto.model import CipherSuite
from shuiqiao.standards.columns import MAX_BATCH_ROWS, canonical_schema
from shuiqiao.standards.model import TAXPAYER_FIELD, FieldType, RecordType
from shuiqiao.standards.readers.parquet_file import decode_texts, open_parquet
from shuiqiao.vault.model import BATCH_ID_BYTES, HASH_BYTES, MAX_BATCH_DEPTH, SALT_BYTES
from shuiqiao.vault.storage.index import BatchRow
from shuiqiao.vault.tree import HashedRows, level_sizes, multiproof, tree_levels

MAGIC = b"SQLEAF2\n"
CLEAR_MAGIC = b"SQLEAF1\n"
"""Of the files of a release before, whose salts and groups are not encrypted."""

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


KeepChunk = Callable[[int, Callable[[int], bytes]], bytes]
"""Returns a chunk of an encrypted file by its number: kept, or read by what is given."""


class LeavesFile:
    """An opened ``.leaves`` file, read through the page cache; use as a context manager.

    count, groups: records of its batch and their groups, as the index and the standard say; so indexes and positions
    that fit them fit the file. cipher: opens what is encrypted; without a key header and tree can still be read.
    keep: keeps chunks that were decrypted. Raises IntegrityError ``vault.file_damaged`` where header, length and these
    do not fit together, and Unavailable ``vault.file_missing``.
    """

    def __init__(
        self, path: Path, *, count: int, groups: Sequence[str], cipher: FileCipher, keep: KeepChunk | None = None
    ) -> None:
        self.path = path
        self._cipher = cipher
        self._keep = keep
        self._opened: EncryptedContent | None = None
        try:
            with open_regular(path) as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except FileNotFoundError as error:
            raise Unavailable("vault.file_missing", f"{path.name} is not there") from error
        except IsADirectoryError as error:
            raise self._damaged("is a folder") from error
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
        magic = self._map[: len(MAGIC)]
        if magic not in {MAGIC, CLEAR_MAGIC} or start + size > len(self._map):
            raise self._damaged("does not begin as a leaves file")
        self.is_encrypted = magic == MAGIC
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
        """Find where things are: the tree in the file, salts and groups in what follows it."""
        count, groups = self.header.count, len(self.header.groups)
        self._tree = self._body
        self._content = self._tree + sum(level_sizes(count)) * HASH_BYTES
        at = count * groups * SALT_BYTES
        self._groups: list[tuple[int, int, int]] = []
        for size in self.header.sizes:
            self._groups.append((at, at + 4 * count, size))
            at += 4 * count + size
        self._size = at
        is_short = self._content + (0 if self.is_encrypted else at) > len(self._map)
        if (
            groups != len(self.header.sizes)
            or is_short
            or not (self.is_encrypted or self._content + at == len(self._map))
        ):
            raise self._damaged(f"has {len(self._map)} bytes where its header announces {self._content} and {at} more")

    def _parts(self, ranges: Iterable[tuple[int, int]]) -> Iterator[bytes]:
        """Yield bytes of the salts and groups."""
        if not self.is_encrypted:
            yield from (self._map[self._content + start : self._content + stop] for start, stop in ranges)
            return
        with damage_named(self.path):
            if self._opened is None:
                opened = self._cipher.open(self._map, name=self.path.name, start=self._content)
                if opened.size != self._size:
                    raise self._damaged(f"holds {opened.size} bytes where its header announces {self._size}")
                self._opened = opened
            yield from self._opened.parts(ranges, keep=self._keep)

    def _part(self, start: int, stop: int) -> bytes:
        return next(self._parts([(start, stop)]))

    def salts_of(self, indexes: Sequence[int]) -> npt.NDArray[np.uint8]:
        """Return the salts of some records as an array of (record, group, 16)."""
        groups = len(self.header.groups)
        stride = groups * SALT_BYTES
        raw = b"".join(self._parts((index * stride, (index + 1) * stride) for index in indexes))
        return np.frombuffer(raw, np.uint8).reshape(len(indexes), groups, SALT_BYTES)

    def group_records(self, position: int, indexes: Sequence[int]) -> list[bytes]:
        """Return the bytes of a group of some records; raises IntegrityError ``vault.file_damaged``."""
        ends_at, data_at, size = self._groups[position]
        wanted = np.asarray(indexes)
        # From the end before the first of them to the end of the last.
        first, last = max(int(wanted.min()) - 1, 0), int(wanted.max()) + 1
        ends = np.frombuffer(self._part(ends_at + 4 * first, ends_at + 4 * last), "<u4").astype(np.int64)
        stops = ends[wanted - first]
        starts = np.where(wanted == 0, 0, ends[wanted - first - 1])
        if (starts > stops).any() or (stops > size).any():
            raise self._damaged(f"has group {self.header.groups[position]!r} with ends that do not rise to its size")
        return list(self._parts(zip((starts + data_at).tolist(), (stops + data_at).tolist(), strict=True)))

    def multiproof(self, indexes: Sequence[int]) -> bytes:
        """Return the multiproof of some leaves [VAULT-TREE-2]."""
        with memoryview(self._map) as whole, whole[self._tree : self._content] as tree:
            return multiproof(tree, indexes, count=self.header.count)

    def tree(self) -> bytes:
        """Return all levels of the tree, leaves first."""
        return self._map[self._tree : self._content]

    def salts(self) -> npt.NDArray[np.uint8]:
        """Return the salts as an array of (record, group, 16)."""
        return self.salts_of(range(self.header.count))

    def group(self, position: int) -> GroupBytes:
        """Return a group by its position; raises IntegrityError ``vault.file_damaged`` if its ends do not rise."""
        ends_at, data_at, size = self._groups[position]
        ends = np.frombuffer(self._part(ends_at, data_at), dtype="<u4").astype(np.uint32)
        if int(ends[-1]) != size or np.any(ends[:-1] > ends[1:]):
            raise self._damaged(f"has group {self.header.groups[position]!r} with ends that do not rise to its size")
        return GroupBytes(ends=ends, data=self._part(data_at, data_at + size))


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchFiles:
    """The batch files of one vault, encrypted under the data key of its home.

    ::

        files = BatchFiles(folder=home / "vault" / "batches", cipher=cipher.files)
        files.write_leaves(header, tree=tree, salts=salts, groups=groups)
        sync_folder(files.folder)
    """

    folder: Path
    cipher: FileCipher

    def path(self, batch: bytes, suffix: str) -> Path:
        """Return where a file of a batch lies. suffix: ``LEAVES_SUFFIX`` or ``PARQUET_SUFFIX``."""
        return self.folder / (batch.hex() + suffix)

    def leaves(self, batch: bytes, *, count: int, groups: Sequence[str], keep: KeepChunk | None = None) -> LeavesFile:
        """Open the ``.leaves`` file of a batch; raises as ``LeavesFile``."""
        path = self.path(batch, LEAVES_SUFFIX)
        return LeavesFile(path, count=count, groups=groups, cipher=self.cipher, keep=keep)

    def parquet(self, batch: bytes) -> bytes:
        """Return the Parquet file of a batch as it was before it was encrypted.

        Raises Unavailable ``vault.file_missing``, IntegrityError ``vault.file_damaged``, what opening the key raises.
        """
        path = self.path(batch, PARQUET_SUFFIX)
        with damage_named(path):
            stored = _stored(path)
            return self._content(path, stored).read() if stored.startswith(FILE_MAGIC) else stored

    def _content(self, path: Path, stored: bytes) -> ContentFile:
        return ContentFile(self.cipher.open(memoryview(stored), name=path.name))

    def is_encrypted(self, batch: bytes) -> bool:
        """Tell whether both files of a batch are encrypted; raises Unavailable ``vault.file_missing``."""
        magics = {LEAVES_SUFFIX: MAGIC, PARQUET_SUFFIX: FILE_MAGIC}
        return all(_begin(self.path(batch, suffix)) == magic for suffix, magic in magics.items())

    def write_leaves(
        self,
        header: LeavesHeader,
        *,
        tree: bytes,
        salts: bytes,
        groups: Sequence[GroupBytes],
        suffix: str = "",
    ) -> Path:
        """Write the ``.leaves`` file of a batch and return where. suffix: of a file that is to be renamed over it."""
        path = self.path(header.batch, LEAVES_SUFFIX)
        encoded = encode_cbor(msgspec.to_builtins(header, builtin_types=(bytes,)))
        content = [salts, *(part for group in groups for part in (group.ends.astype("<u4").tobytes(), group.data))]
        parts = [MAGIC, len(encoded).to_bytes(4, "little"), encoded, tree]
        return self._write(path, [*parts, *self.cipher.encrypt(content, name=path.name)], suffix)

    def write_parquet(self, batch: bytes, content: bytes, *, suffix: str = "") -> Path:
        """Write the Parquet file of a batch and return where. suffix: of a file that is to be renamed over it."""
        path = self.path(batch, PARQUET_SUFFIX)
        return self._write(path, self.cipher.encrypt([content], name=path.name), suffix)

    def _write(self, path: Path, parts: Sequence[bytes], suffix: str) -> Path:
        written = path.with_name(path.name + suffix)
        write_file(written, parts)
        return written

    def opened(self, batch: bytes) -> pq.ParquetFile:
        """Open the Parquet file of a batch.

        One in clear may have been altered, so it is read as one from outside [STD-37]. What opens under the key of this
        home was written here, and is decrypted where it is read.
        """
        path = self.path(batch, PARQUET_SUFFIX)
        try:
            if _begin(path) == FILE_MAGIC:
                file = pq.ParquetFile(self._content(path, _stored(path)))
            else:
                file = open_parquet(path, memory_map=True)
        except FileNotFoundError as error:
            raise Unavailable("vault.file_missing", f"{path.name} is not there") from error
        if file.metadata.num_rows > MAX_BATCH_ROWS:
            raise ValueError(f"it has {file.metadata.num_rows} rows where at most {MAX_BATCH_ROWS} are in a batch")
        return file

    def read_rows(self, batch: bytes, columns: Sequence[str], indexes: Sequence[int]) -> pa.Table:
        """Return some columns of some records of a batch as a table, keeping nothing.

        Raises Unavailable ``vault.file_missing``, IntegrityError ``vault.file_damaged``.
        """
        with damage_named(self.path(batch, PARQUET_SUFFIX)), self.opened(batch) as file:
            starts = np.array(row_group_starts(file), dtype=np.int64)
            wanted = np.asarray(indexes, dtype=np.int64)
            owners = np.searchsorted(starts, wanted, side="right") - 1
            needed = np.unique(owners)
            table = decode_texts(file.read_row_groups(needed.tolist(), columns=list(columns), use_threads=False))
            # A record's row in the table: what of the read groups lies before its own group, and its place in that.
            before = np.concatenate(([0], np.cumsum(np.diff(starts)[needed])))
            return table.take(pa.array(before[np.searchsorted(needed, owners)] + wanted - starts[owners]))


def count_clear_files(folder: Path) -> int:
    """Return how many files of a folder of batches a release before left in clear."""
    marks = {LEAVES_SUFFIX: MAGIC, PARQUET_SUFFIX: FILE_MAGIC}
    return sum(path.suffix in marks and _begin(path) != marks[path.suffix] for path in folder.iterdir())


def _stored(path: Path) -> bytes:
    try:
        with open_regular(path) as file:
            return file.read()
    except FileNotFoundError as error:
        raise Unavailable("vault.file_missing", f"{path.name} is not there") from error


def _begin(path: Path) -> bytes:
    """Return the mark that a file begins with."""
    try:
        with open_regular(path) as file:
            return file.read(len(MAGIC))
    except FileNotFoundError as error:
        raise Unavailable("vault.file_missing", f"{path.name} is not there") from error


ROW_GROUP_RECORDS = 4096
"""Records per Parquet row group: a disclosure of a few reads a quarter of a batch, not all of it."""

_REPEATING_TYPES = frozenset({FieldType.CODE, FieldType.RATE, FieldType.DATE, FieldType.MONTH, FieldType.YEAR})

_EPOCH = date(1970, 1, 1)


class BatchBuilder:
    """A batch in the making. number and id: its names in the index and on the ledger. size_bytes: of its groups."""

    def __init__(self, record_type: RecordType, *, number: int, batch: bytes) -> None:
        self.record_type = record_type
        self.number = number
        self.id = batch
        self.count = 0
        self.size_bytes = 0
        self._parts: list[HashedRows] = []

    def add(self, part: HashedRows) -> None:
        """Take rows in; they get the next leaf indexes."""
        self._parts.append(part)
        self.count += len(part.leaves)
        self.size_bytes += sum(column.nbytes for column in part.groups)

    def write(self, files: BatchFiles, *, suite: CipherSuite) -> BatchRow:
        """Write the batch's two files durably and return its row for the index, not yet anchored."""
        rows = pa.Table.from_batches([part.rows for part in self._parts], schema=canonical_schema(self.record_type))
        parquet = encode_parquet(self.record_type, rows)
        groups = [
            _group_bytes([part.groups[position] for part in self._parts])
            for position in range(len(self.record_type.groups))
        ]
        leaves = [leaf for part in self._parts for leaf in part.leaves]
        levels = tree_levels(leaves, hash_name=suite.hash_name)
        header = LeavesHeader(
            batch=self.id,
            suite=str(suite.name),
            standard=self.record_type.standard_id,
            groups=list(self.record_type.group_ids),
            count=self.count,
            erased=[],
            parquet=suite.digest(parquet),
            sizes=[len(group.data) for group in groups],
        )
        tree = b"".join(node for level in levels for node in level)
        salts = b"".join(part.salts for part in self._parts)
        files.write_parquet(self.id, parquet)
        files.write_leaves(header, tree=tree, salts=salts, groups=groups)
        sync_folder(files.folder)
        return self._row(root=levels[-1][0], parquet=header.parquet)

    def _row(self, *, root: bytes, parquet: bytes) -> BatchRow:
        first = min(int(part.days.min()) for part in self._parts)
        last = max(int(part.days.max()) for part in self._parts)
        return BatchRow(
            number=self.number,
            id=self.id,
            standard=self.record_type.standard_id,
            count=self.count,
            period_from=(_EPOCH + timedelta(days=first)).isoformat(),
            period_to=(_EPOCH + timedelta(days=last)).isoformat(),
            root=root,
            parquet=parquet,
        )


def encode_parquet(record_type: RecordType, rows: Any) -> bytes:
    """Return records as one Parquet file; the same records give the same bytes.

    Dictionaries are built for columns whose values repeat by nature; for amounts and numbers they cost more time than
    all the rest and save nothing.
    """
    repeating = [
        entry.name for entry in record_type.fields if entry.name == TAXPAYER_FIELD or entry.type in _REPEATING_TYPES
    ]
    sink = io.BytesIO()
    options: dict[str, Any] = {"row_group_size": ROW_GROUP_RECORDS, "compression": "lz4", "use_dictionary": repeating}
    pq.write_table(rows, sink, **options)
    return sink.getvalue()


def _group_bytes(columns: list[Any]) -> GroupBytes:
    """Join one group's Arrow columns into ends and data without touching single values."""
    ends: list[Any] = []
    data: list[bytes] = []
    total = 0
    for column in columns:
        _, offsets, buffer = column.buffers()
        bounds = np.frombuffer(offsets, dtype=np.int32)[column.offset : column.offset + len(column) + 1]
        first, last = int(bounds[0]), int(bounds[-1])
        ends.append(bounds[1:].astype(np.int64) - first + total)
        data.append(buffer.slice(first, last - first).to_pybytes())
        total += last - first
    return GroupBytes(ends=np.concatenate(ends).astype(np.uint32), data=b"".join(data))


MAX_KEPT_BYTES = 1 << 25
"""Most bytes kept, 32 MiB: some hundred thousand decoded records, or five hundred opened files."""

_OPENED_BYTES = 1 << 16
"""What an opened file counts for: its header and its mapping."""

_LEAVES = "leaves"
_CHUNK = "chunk"
_STARTS = "starts"

FileState = tuple[int, int, int, int]
"""What tells one content of a name from the next: inode, size, and the moments of its last changes."""


def file_state(path: Path) -> FileState:
    """Return the state of a file now. Raises Unavailable ``vault.file_missing``."""
    try:
        found = os.stat(path)  # noqa: PTH116 - half the time of Path.stat, and there are thousands
    except FileNotFoundError as error:
        raise Unavailable("vault.file_missing", f"{path.name} is not there") from error
    return (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


class ReadCache:
    """A bounded cache of what was read of batch files, by (batch, what), with the file's state; threads share it."""

    def __init__(self, *, max_bytes: int) -> None:
        self._items: LRUCache[tuple[bytes, Any], tuple[FileState, int, Any]] = LRUCache(max_bytes, itemgetter(1))
        self._lock = threading.Lock()

    def get(self, batch: bytes, what: Any, state: FileState) -> Any:
        """Return what was read of a file in this state, or None."""
        with self._lock:
            found = self._items.get((batch, what))
            if found is None or found[0] == state:
                return found and found[2]
            # Of a file that was written anew nothing stays, above all not what was erased from it.
            del self._items[batch, what]
            return None

    def put(self, batch: bytes, what: Any, state: FileState, item: Any, *, size: int) -> None:
        """Keep a reading of some bytes, unless it alone is more than may be kept."""
        if size <= self._items.maxsize:
            with self._lock:
                self._items[batch, what] = (state, size, item)

    def forget(self, batch: bytes | None = None) -> None:
        """Let go of all that was read of a batch, or of everything."""
        with self._lock:
            for key in list(self._items):
                if batch in {None, key[0]}:
                    del self._items[key]


class BatchReader:
    """Reads the batches of one folder; shared by threads."""

    def __init__(self, files: BatchFiles, *, max_bytes: int = MAX_KEPT_BYTES) -> None:
        self._files = files
        self._kept = ReadCache(max_bytes=max_bytes)

    def forget(self, batch: bytes) -> None:
        """Let go of all that is kept of a batch: it was erased, or part of it."""
        self._kept.forget(batch)

    def close(self) -> None:
        """Let go of everything."""
        self._kept.forget()

    def leaves(self, batch: bytes, *, count: int, groups: Sequence[str]) -> LeavesFile:
        """Return a batch's opened ``.leaves`` file; it is shared, so it is not to be closed.

        count, groups: what its batch has.
        Raises Unavailable ``vault.file_missing``, IntegrityError ``vault.file_damaged``.
        """
        state = file_state(self._files.path(batch, LEAVES_SUFFIX))
        file: LeavesFile | None = self._kept.get(batch, _LEAVES, state)
        if file is None:
            keep = partial(self._chunk, batch, state)
            file = self._files.leaves(batch, count=count, groups=groups, keep=keep)
            self._kept.put(batch, _LEAVES, state, file, size=_OPENED_BYTES)
        return file

    def _chunk(self, batch: bytes, state: FileState, number: int, read: Callable[[int], bytes]) -> bytes:
        found: bytes | None = self._kept.get(batch, (_CHUNK, number), state)
        if found is None:
            found = read(number)
            self._kept.put(batch, (_CHUNK, number), state, found, size=len(found))
        return found

    def rows(self, batch: bytes, *, schema: pa.Schema, indexes: list[int]) -> pa.RecordBatch:
        """Return some columns of the records at rising indexes.

        Raises Unavailable ``vault.file_missing``, IntegrityError ``vault.file_damaged``.
        """
        path = self._files.path(batch, PARQUET_SUFFIX)
        # Looked at before reading: what is read may be newer than its state, and is then read again, never older.
        state = file_state(path)
        starts = self._kept.get(batch, _STARTS, state)
        if starts is not None:
            names, wanted = tuple(schema.names), _by_row_group(starts, indexes)
            groups = [self._kept.get(batch, (number, names), state) for number in wanted]
            if None not in groups:
                return concat_rows(map(_picked, groups, wanted.values()))
        return self._read(batch, path, state, schema=schema, indexes=indexes)

    def _read(
        self, batch: bytes, path: Path, state: FileState, *, schema: pa.Schema, indexes: list[int]
    ) -> pa.RecordBatch:
        """Return the same from the file, and keep the row groups that hold the records."""
        names = tuple(schema.names)
        parts: list[pa.RecordBatch] = []
        with damage_named(path), self._files.opened(batch) as file:
            starts = row_group_starts(file)
            self._kept.put(batch, _STARTS, state, starts, size=_OPENED_BYTES)
            for number, rows in _by_row_group(starts, indexes).items():
                group = self._kept.get(batch, (number, names), state)
                if group is None:
                    group = _decoded(file, number, schema)
                    self._kept.put(batch, (number, names), state, group, size=group.nbytes)
                parts.append(_picked(group, rows))
        return concat_rows(parts)


def _by_row_group(starts: list[int], indexes: list[int]) -> dict[int, list[int]]:
    """Return, by row group, the rows in it that stand at rising indexes. starts: see ``row_group_starts``."""
    found: dict[int, list[int]] = {}
    at = 0
    while at < len(indexes):
        number = bisect_right(starts, indexes[at]) - 1
        end = bisect_left(indexes, starts[number + 1], lo=at)
        found[number] = [index - starts[number] for index in indexes[at:end]]
        at = end
    return found


def concat_rows(parts: Iterable[pa.RecordBatch]) -> pa.RecordBatch:
    """Return at least one part as one, without a copy where it is alone."""
    listed = list(parts)
    return listed[0] if len(listed) == 1 else pa.concat_batches(listed)


def _decoded(file: pq.ParquetFile, number: int, schema: pa.Schema) -> pa.RecordBatch:
    table = decode_texts(file.read_row_groups([number], columns=schema.names, use_threads=False))
    if table.num_rows != file.metadata.row_group(number).num_rows:
        raise ValueError(f"row group {number} has {table.num_rows} rows, not as many as announced")
    return table.cast(schema).combine_chunks().to_batches()[0]


def _picked(group: pa.RecordBatch, rows: list[int]) -> pa.RecordBatch:
    first, last = rows[0], rows[-1]
    return group.slice(first, len(rows)) if last - first + 1 == len(rows) else group.take(pa.array(rows))


def row_group_starts(file: pq.ParquetFile) -> list[int]:
    """Return the first record of each row group, and at the end the number of records in all."""
    sizes = (file.metadata.row_group(number).num_rows for number in range(file.num_row_groups))
    return [0, *accumulate(sizes)]


@contextmanager
def damage_named(path: Path) -> Generator[None]:
    """Turn what a damaged file makes its reader raise into IntegrityError ``vault.file_damaged``."""
    try:
        yield
    except IntegrityError as error:
        if error.code != "crypto.file_damaged":
            raise
        raise _damage_of(path, error.message) from error
    except (InvalidInput, pa.ArrowException, OSError, LookupError, ValueError, TypeError, OverflowError) as error:
        raise _damage_of(path, str(error)) from error


def _damage_of(path: Path, what: str) -> IntegrityError:
    return IntegrityError(
        "vault.file_damaged",
        f"{path.name} cannot be read: {what[:200]}",
        next_step="shuiqiao audit names what else is damaged; restore the home from a backup",
    )
