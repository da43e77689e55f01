"""Reads some records of a batch for an answer, and keeps what it opened and decoded for the next one.

Records of one taxpayer lie side by side, and the requests of banks meet the same batches again: opening and decoding
them anew costs many times what is read. What is kept belongs to one state of a file (inode, size, times), which is
looked at before every use, so a file that was written anew is read anew. It is bounded in bytes, the longest unused
goes first, and an erasure has its batch forgotten at once [VAULT-ERASE-1].
"""

from __future__ import annotations

import os
import threading
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from shuiqiao.base.errors import IntegrityError, InvalidInput, Unavailable
from shuiqiao.standards.columns import MAX_BATCH_ROWS
from shuiqiao.standards.readers.parquet_file import decode_texts, open_parquet
from shuiqiao.vault.batch_file import LEAVES_SUFFIX, PARQUET_SUFFIX, LeavesFile

MAX_KEPT_BYTES = 1 << 25
"""Most bytes kept, 32 MiB: some hundred thousand decoded records, or five hundred opened files."""

_OPENED_BYTES = 1 << 16
"""What an opened file counts for: its header and its mapping."""

_LEAVES = "leaves"
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


class KeptReadings:
    """What was read of batch files, by (batch, what), with the state of the file; shared by threads."""

    def __init__(self, *, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._items: OrderedDict[tuple[bytes, Any], tuple[FileState, int, Any]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, batch: bytes, what: Any, state: FileState) -> Any:
        """Return what was read of a file in this state, or None."""
        with self._lock:
            found = self._items.get((batch, what))
            if found is None:
                return None
            if found[0] != state:
                # Of a file that was written anew nothing stays, above all not what was erased from it.
                self._drop((batch, what))
                return None
            self._items.move_to_end((batch, what))
            return found[2]

    def put(self, batch: bytes, what: Any, state: FileState, item: Any, *, size: int) -> None:
        """Keep a reading of some bytes, unless it alone is more than may be kept."""
        if size > self._max_bytes:
            return
        with self._lock:
            self._drop((batch, what))
            self._items[batch, what] = (state, size, item)
            self._bytes += size
            while self._bytes > self._max_bytes:
                self._drop(next(iter(self._items)))

    def forget(self, batch: bytes) -> None:
        """Let go of all that was read of a batch."""
        with self._lock:
            for key in [key for key in self._items if key[0] == batch]:
                self._drop(key)

    def forget_all(self) -> None:
        """Let go of everything."""
        with self._lock:
            self._items.clear()
            self._bytes = 0

    def _drop(self, key: tuple[bytes, Any]) -> None:
        dropped = self._items.pop(key, None)
        if dropped is not None:
            self._bytes -= dropped[1]


class BatchReader:
    """Reads the batches of one folder; shared by threads."""

    def __init__(self, folder: Path, *, max_bytes: int = MAX_KEPT_BYTES) -> None:
        self._folder = folder
        self._kept = KeptReadings(max_bytes=max_bytes)

    def forget(self, batch: bytes) -> None:
        """Let go of all that is kept of a batch: it was erased, or part of it."""
        self._kept.forget(batch)

    def close(self) -> None:
        """Let go of everything."""
        self._kept.forget_all()

    def leaves(self, batch: bytes, *, count: int, groups: Sequence[str]) -> LeavesFile:
        """Return a batch's opened ``.leaves`` file; it is shared, so it is not to be closed.

        count, groups: what its batch has.
        Raises Unavailable ``vault.file_missing``, IntegrityError ``vault.file_damaged``.
        """
        path = self._folder / (batch.hex() + LEAVES_SUFFIX)
        state = file_state(path)
        file: LeavesFile | None = self._kept.get(batch, _LEAVES, state)
        if file is None:
            file = LeavesFile(path, count=count, groups=groups)
            self._kept.put(batch, _LEAVES, state, file, size=_OPENED_BYTES)
        return file

    def rows(self, batch: bytes, *, schema: pa.Schema, indexes: list[int]) -> pa.RecordBatch:
        """Return some columns of the records at rising indexes.

        Raises Unavailable ``vault.file_missing``, IntegrityError ``vault.file_damaged``.
        """
        path = self._folder / (batch.hex() + PARQUET_SUFFIX)
        # Looked at before reading: what is read may be newer than its state, and is then read again, never older.
        state = file_state(path)
        starts = self._kept.get(batch, _STARTS, state)
        if starts is not None:
            names, wanted = tuple(schema.names), _by_row_group(starts, indexes)
            groups = [self._kept.get(batch, (number, names), state) for number in wanted]
            if None not in groups:
                return _joined(map(_picked, groups, wanted.values()))
        return self._read(batch, path, state, schema=schema, indexes=indexes)

    def _read(
        self, batch: bytes, path: Path, state: FileState, *, schema: pa.Schema, indexes: list[int]
    ) -> pa.RecordBatch:
        """Return the same from the file, and keep the row groups that hold the records."""
        names = tuple(schema.names)
        parts: list[pa.RecordBatch] = []
        with _damage_named(path), _opened(path) as file:
            starts = row_group_starts(file)
            self._kept.put(batch, _STARTS, state, starts, size=_OPENED_BYTES)
            for number, rows in _by_row_group(starts, indexes).items():
                group = self._kept.get(batch, (number, names), state)
                if group is None:
                    group = _decoded(file, number, schema)
                    self._kept.put(batch, (number, names), state, group, size=group.nbytes)
                parts.append(_picked(group, rows))
        return _joined(parts)


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


def _joined(parts: Iterable[pa.RecordBatch]) -> pa.RecordBatch:
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
def _damage_named(path: Path) -> Generator[None]:
    """Turn what a damaged Parquet file makes its library raise into IntegrityError ``vault.file_damaged``."""
    try:
        yield
    except (InvalidInput, pa.ArrowException, OSError, LookupError, ValueError, TypeError, OverflowError) as error:
        raise IntegrityError(
            "vault.file_damaged",
            f"{path.name} cannot be read: {str(error)[:200]}",
            next_step="shuiqiao audit names what else is damaged; restore the home from a backup",
        ) from error


def _opened(path: Path) -> pq.ParquetFile:
    """Open the Parquet file of a batch: it may have been altered, so it is read as one from outside [STD-37]."""
    try:
        file: pq.ParquetFile = open_parquet(path, memory_map=True)
    except FileNotFoundError as error:
        raise Unavailable("vault.file_missing", f"{path.name} is not there") from error
    if file.metadata.num_rows > MAX_BATCH_ROWS:
        raise ValueError(f"it has {file.metadata.num_rows} rows where at most {MAX_BATCH_ROWS} are in a batch")
    return file


def read_rows(folder: Path, batch: bytes, columns: Sequence[str], indexes: Sequence[int]) -> pa.Table:
    """Return some columns of some records of a batch as a table, keeping nothing.

    Raises Unavailable ``vault.file_missing``, IntegrityError ``vault.file_damaged``.
    """
    path = folder / (batch.hex() + PARQUET_SUFFIX)
    with _damage_named(path), _opened(path) as file:
        starts = np.array(row_group_starts(file), dtype=np.int64)
        wanted = np.asarray(indexes, dtype=np.int64)
        owners = np.searchsorted(starts, wanted, side="right") - 1
        needed = np.unique(owners)
        table = decode_texts(file.read_row_groups(needed.tolist(), columns=list(columns), use_threads=False))
        # A record's row in the table: what of the read groups lies before its own group, and its place in that.
        before = np.concatenate(([0], np.cumsum(np.diff(starts)[needed])))
        return table.take(pa.array(before[np.searchsorted(needed, owners)] + wanted - starts[owners]))
