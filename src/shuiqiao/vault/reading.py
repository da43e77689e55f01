"""Reads some records of a batch for an answer, and keeps what it opened and decoded for the next one.

Records of one taxpayer lie side by side, and the requests of banks meet the same batches again: opening and decoding
them anew costs many times what is read. What is kept belongs to one state of a file (inode, size, times), which is
looked at before every use, so a file that was written anew is read anew. It is bounded in bytes, the longest unused
goes first, and an erasure has its batch forgotten at once [VAULT-ERASE-1].
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from shuiqiao.base.errors import Unavailable
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

    def leaves(self, batch: bytes) -> LeavesFile:
        """Return a batch's opened ``.leaves`` file; it is shared, so it is not to be closed.

        Raises Unavailable ``vault.file_missing``, IntegrityError ``vault.file_damaged``.
        """
        path = self._folder / (batch.hex() + LEAVES_SUFFIX)
        state = file_state(path)
        file: LeavesFile | None = self._kept.get(batch, _LEAVES, state)
        if file is None:
            file = LeavesFile(path)
            self._kept.put(batch, _LEAVES, state, file, size=_OPENED_BYTES)
        return file

    def rows(self, batch: bytes, *, schema: pa.Schema, indexes: Sequence[int]) -> pa.RecordBatch:
        """Return some columns of the records at rising indexes. Raises Unavailable ``vault.file_missing``."""
        wanted = np.asarray(indexes, dtype=np.int64)
        starts, groups = self._row_groups(batch, schema, wanted)
        owners = _owners(starts, wanted)
        parts = [_picked(group, wanted[owners == number] - starts[number]) for number, group in groups.items()]
        return parts[0] if len(parts) == 1 else pa.concat_batches(parts)

    def _row_groups(
        self, batch: bytes, schema: pa.Schema, wanted: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.int64], dict[int, pa.RecordBatch]]:
        """Return (first record of every row group, the row groups that hold the wanted records)."""
        path = self._folder / (batch.hex() + PARQUET_SUFFIX)
        # Looked at before reading: what is read may be newer than its state, and is then read again, never older.
        state = file_state(path)
        names = tuple(schema.names)
        starts = self._kept.get(batch, _STARTS, state)
        if starts is not None:
            numbers = np.unique(_owners(starts, wanted)).tolist()
            kept = {number: self._kept.get(batch, (number, names), state) for number in numbers}
            if None not in kept.values():
                return starts, kept
        with _opened(path) as file:
            starts = row_group_starts(file)
            self._kept.put(batch, _STARTS, state, starts, size=_OPENED_BYTES)
            groups: dict[int, pa.RecordBatch] = {}
            for number in np.unique(_owners(starts, wanted)).tolist():
                group = self._kept.get(batch, (number, names), state)
                if group is None:
                    group = _decoded(file, number, schema)
                    self._kept.put(batch, (number, names), state, group, size=group.nbytes)
                groups[number] = group
        return starts, groups


def _decoded(file: pq.ParquetFile, number: int, schema: pa.Schema) -> pa.RecordBatch:
    table = file.read_row_groups([number], columns=schema.names, use_threads=False)
    return table.cast(schema).combine_chunks().to_batches()[0]


def _owners(starts: npt.NDArray[np.int64], wanted: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the row group of each record."""
    return np.searchsorted(starts, wanted, side="right") - 1


def _picked(group: pa.RecordBatch, rows: npt.NDArray[np.int64]) -> pa.RecordBatch:
    first, last = int(rows[0]), int(rows[-1])
    return group.slice(first, len(rows)) if last - first + 1 == len(rows) else group.take(pa.array(rows))


def row_group_starts(file: pq.ParquetFile) -> npt.NDArray[np.int64]:
    """Return the first record of each row group, and at the end the number of records in all."""
    sizes = [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)]
    return np.concatenate(([0], np.cumsum(sizes, dtype=np.int64)))


def _opened(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path, memory_map=True)
    except FileNotFoundError as error:
        raise Unavailable("vault.file_missing", f"{path.name} is not there") from error


def read_rows(folder: Path, batch: bytes, columns: Sequence[str], indexes: Sequence[int]) -> pa.Table:
    """Return some columns of some records of a batch as a table, keeping nothing.

    Raises Unavailable ``vault.file_missing``.
    """
    with _opened(folder / (batch.hex() + PARQUET_SUFFIX)) as file:
        starts = row_group_starts(file)
        wanted = np.asarray(indexes, dtype=np.int64)
        owners = _owners(starts, wanted)
        needed = np.unique(owners)
        table = file.read_row_groups(needed.tolist(), columns=list(columns), use_threads=False)
        # A record's row in the table: what of the read groups lies before its own group, and its place in that.
        before = np.concatenate(([0], np.cumsum(np.diff(starts)[needed])))
        return table.take(pa.array(before[np.searchsorted(needed, owners)] + wanted - starts[owners]))
