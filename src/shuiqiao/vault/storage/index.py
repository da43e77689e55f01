"""The record index of a vault: which record is where, which batches exist, what is still to be told to the ledger.

One LMDB environment with a write transaction per batch: the identities of a batch, the batch's own row and what is
pending because of it become durable together or not at all [VAULT-STORE-2]. Readers see the last committed state and
never wait for the writer.

A backup copies the index while the writer may be at work [VAULT-STORE-5]: LMDB gives one committed moment
even while the writer writes. Batch files are never changed but by an erasure, so they can be copied at leisure after
it: what remains is to ask at the end whether one was erased in between.
"""

from __future__ import annotations

import fcntl
import os
import struct
import threading
from collections.abc import Callable, Generator, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import lmdb
import msgspec
from cachetools import LRUCache, cached

from shuiqiao.base.encoding import decode_cbor, encode_cbor
from shuiqiao.base.errors import Conflict, IntegrityError, ShuiqiaoError, Unavailable
from shuiqiao.base.files import open_regular
from shuiqiao.ledger.store.lmdb_file import open_environment

INDEX_FOLDER = "index.lmdb"
BATCHES_FOLDER = "batches"
QUARANTINE_FOLDER = "quarantine"
LOCK_FILE = "lock"
"""Held by the one writer of a vault."""

MAP_BYTES = 1 << 38
"""Address space set aside for the index (sparse): room for two thousand million records."""

MAX_KEPT_ENTRIES = 200_000
"""Entries that were read and are kept, at most: some 70 MB."""

ENTRY = struct.Struct(">IIiII16s9s")
"""One version of a record: batch number, leaf index, day, source number, source row, digest and state of its values."""

_NUMBER = struct.Struct(">I")
_PLACE = struct.Struct(">II")

TABLES = (
    "types",
    "sources",
    "source_names",
    "records",
    "batches",
    "batch_ids",
    "pending",
    "replaced",
    "replacing",
    "erasing",
)


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One version of a record as the index holds it."""

    batch: int
    index: int
    day: int
    source: int
    row: int
    digest: bytes
    state: bytes

    def pack(self) -> bytes:
        """Return the 45 bytes of the entry."""
        return ENTRY.pack(self.batch, self.index, self.day, self.source, self.row, self.digest, self.state)

    @property
    def rank(self) -> int:
        """How far what may advance has come; 0 where nothing may."""
        return self.state[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRow:
    """A batch as the vault knows it. parquet: suite hash of the Parquet file. committed: log index, None if pending.

    erased: True after the whole batch was destroyed.
    """

    number: int
    id: bytes
    standard: str
    count: int
    period_from: str
    period_to: str
    root: bytes
    parquet: bytes
    committed: int | None = None
    erased: bool = False


def unpack_entries(value: bytes) -> list[Entry]:
    """Return the versions under one key, oldest first."""
    try:
        return [Entry(*fields) for fields in ENTRY.iter_unpack(value)]
    except struct.error as error:
        raise _damaged(f"versions of a record have {len(value)} bytes") from error


def _unpack(form: struct.Struct, data: bytes) -> tuple[Any, ...]:
    try:
        return form.unpack(data)
    except struct.error as error:
        raise _damaged(f"a record has {len(data)} bytes where {form.size} belong") from error


def _decode_row(number: int, data: bytes) -> BatchRow:
    with _readable(f"the row of batch {number}"):
        return BatchRow(number=number, **decode_cbor(data))


def _decode_refusal(data: bytes) -> tuple[str, str]:
    with _readable("why the ledger refused something"):
        code, message = decode_cbor(data)
        return code, message


def _decode_erasure(data: bytes) -> dict[str, Any]:
    with _readable("an erasure"):
        fields = decode_cbor(data)
        return {name: fields[name] for name in ("indexes", "reason")}


@contextmanager
def _readable(what: str) -> Generator[None]:
    """Turn what damaged bytes of the index make a reader raise into IntegrityError ``vault.index_damaged``."""
    try:
        yield
    except (ShuiqiaoError, KeyError, TypeError, ValueError) as error:
        raise _damaged(f"{what} cannot be read: {error}") from error


def _damaged(reason: str) -> IntegrityError:
    return IntegrityError("vault.index_damaged", f"the vault's index is damaged: {reason}")


def index_unreadable(error: lmdb.Error) -> Unavailable:
    """Return the error for an index that LMDB cannot read."""
    return Unavailable(
        "vault.index_unreadable",
        f"the vault's index cannot be read: {error}",
        next_step="check the disk; if the file is damaged, restore the home from a backup",
    )


Read = Callable[[], Iterable[Entry]]
_KeepEntries = Callable[[tuple[int, Hashable], Read], tuple[Entry, ...]]


class IndexView:
    """What can be asked within one transaction. keep: keeps what was read; None while a transaction writes."""

    def __init__(self, txn: Any, tables: Mapping[str, Any], *, keep: _KeepEntries | None = None) -> None:
        self._txn = txn
        self._tables = tables
        self._keep = keep

    def once(self, key: Hashable, read: Read) -> tuple[Entry, ...]:
        """Return the entries that ``read`` reads; those of a committed revision are kept for the next who asks.

        An answer asks for the same records three times over, and a revision never changes.
        """
        return tuple(read()) if self._keep is None else self._keep((self.revision(), key), read)

    def revision(self) -> int:
        """Return the number of the committed change that this view shows."""
        number: int = self._txn.id()
        return number

    def _get(self, table: str, key: bytes) -> bytes | None:
        found: bytes | None = self._txn.get(key, db=self._tables[table])
        return found

    def _items(self, table: str, prefix: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        with self._txn.cursor(db=self._tables[table]) as cursor:
            if cursor.set_range(prefix):
                for key, value in cursor:
                    if not key.startswith(prefix):
                        return
                    yield key, value

    def type_number(self, type_id: str) -> int | None:
        """Return the number of a record type in keys, or None if no record of it was ever ingested."""
        found = self._get("types", type_id.encode())
        return None if found is None else _unpack(_NUMBER, found)[0]

    def source(self, number: int) -> str:
        """Return the name under which a source file was first read."""
        found = self._get("source_names", _NUMBER.pack(number))
        if found is None:
            raise _damaged(f"it has no source {number}")
        with _readable(f"the name of source {number}"):
            return found.decode()

    def find(self, keys: list[bytes]) -> dict[bytes, bytes]:
        """Return the packed entries of those keys that are known."""
        with self._txn.cursor(db=self._tables["records"]) as cursor:
            return dict(cursor.getmulti(keys))

    def records(self, prefix: bytes, *, start: bytes = b"", stop: bytes | None = None) -> Iterator[bytes]:
        """Yield the packed entries under a prefix, from prefix || start up to, but without, prefix || stop."""
        with self._txn.cursor(db=self._tables["records"]) as cursor:
            if not cursor.set_range(prefix + start):
                return
            end = None if stop is None else prefix + stop
            for key, value in cursor:
                if not key.startswith(prefix) or (end is not None and key >= end):
                    return
                yield value

    def batch(self, number: int) -> BatchRow:
        """Return a batch by its number. Raises IntegrityError ``vault.index_damaged``."""
        found = self._get("batches", _NUMBER.pack(number))
        if found is None:
            raise _damaged(f"it has no batch {number}")
        return _decode_row(number, found)

    def batch_by_id(self, batch: bytes) -> BatchRow | None:
        """Return a batch by its id, or None."""
        found = self._get("batch_ids", batch)
        return None if found is None else self.batch(_unpack(_NUMBER, found)[0])

    def batches(self) -> Iterator[BatchRow]:
        """Yield all batches in the order in which they were made."""
        for key, value in self._items("batches"):
            yield _decode_row(_unpack(_NUMBER, key)[0], value)

    def next_batch_number(self) -> int:
        """Return the number that the next batch gets."""
        with self._txn.cursor(db=self._tables["batches"]) as cursor:
            return _unpack(_NUMBER, cursor.key())[0] + 1 if cursor.last() else 1

    def pending_batches(self) -> list[int]:
        """Return the numbers of batches written but not known to be anchored, in order."""
        return [_unpack(_NUMBER, key)[0] for key, _ in self._items("pending")]

    def refusals(self) -> dict[int, tuple[str, str]]:
        """Return (code, message) by batch number of pending batches that the ledger refused."""
        return {_unpack(_NUMBER, key)[0]: _decode_refusal(value) for key, value in self._items("pending") if value}

    def has_replacements(self) -> bool:
        """Return whether anything at all was superseded, so that most vaults need not ask for each record."""
        entries: int = self._txn.stat(db=self._tables["replaced"])["entries"]
        return entries > 0

    def replacement(self, place: tuple[int, int]) -> tuple[int, int] | None:
        """Return the place that superseded one, once the ledger has said so; None for a live one."""
        found = self._get("replaced", _PLACE.pack(*place))
        return None if found is None else _unpack(_PLACE, found)

    def pending_replacements(self) -> list[tuple[tuple[int, int], tuple[int, int]]]:
        """Return the replacements (old place, new place) not on the ledger yet, in the order of the new places."""
        found = ((key, value[: _PLACE.size]) for key, value in self._items("replacing"))
        return [(_unpack(_PLACE, old), _unpack(_PLACE, new)) for new, old in found]

    def refused_replacements(self) -> dict[tuple[int, int], tuple[str, str]]:
        """Return (code, message) by the newer place of replacements that the ledger refused."""
        found = ((_unpack(_PLACE, key), value[_PLACE.size :]) for key, value in self._items("replacing"))
        return {place: _decode_refusal(value) for place, value in found if value}

    def pending_erasures(self) -> list[tuple[int, dict[str, Any]]]:
        """Return (batch number, {indexes, reason}) of erasures begun and not finished."""
        return [(_unpack(_NUMBER, key)[0], _decode_erasure(value)) for key, value in self._items("erasing")]


class IndexWriter(IndexView):
    """A write transaction: everything below becomes durable together at ``commit``."""

    def _put(self, table: str, key: bytes, value: bytes) -> None:
        self._txn.put(key, value, db=self._tables[table])

    def commit(self) -> None:
        """Make it durable."""
        self._txn.commit()

    def abort(self) -> None:
        """Forget it all."""
        self._txn.abort()

    def number_type(self, type_id: str) -> int:
        """Return the number of a record type, giving it the next one if it has none."""
        known = self.type_number(type_id)
        if known is not None:
            return known
        number = sum(1 for _ in self._items("types")) + 1
        self._put("types", type_id.encode(), _NUMBER.pack(number))
        return number

    def number_source(self, *, name: str, digest: bytes) -> int:
        """Return the number of a source file, known by the digest of its content."""
        found = self._get("sources", digest)
        if found is not None:
            return int(_unpack(_NUMBER, found)[0])
        number = sum(1 for _ in self._items("sources")) + 1
        self._put("sources", digest, _NUMBER.pack(number))
        self._put("source_names", _NUMBER.pack(number), name.encode())
        return number

    def put_records(self, items: Iterable[tuple[bytes, bytes]]) -> None:
        """Write packed entries under their keys, in place of what is there."""
        with self._txn.cursor(db=self._tables["records"]) as cursor:
            cursor.putmulti(items)

    def drop_versions(self, keys: Iterable[bytes], places: set[tuple[int, int]]) -> None:
        """Remove the entries at some places from under some keys, and keys that have none left."""
        for key, value in self.find(list(keys)).items():
            kept = [entry.pack() for entry in unpack_entries(value) if (entry.batch, entry.index) not in places]
            if kept:
                self._put("records", key, b"".join(kept))
            else:
                self._txn.delete(key, db=self._tables["records"])

    def put_batch(self, row: BatchRow) -> None:
        """Write a batch's row; a batch without a log index is pending."""
        fields = {name: getattr(row, name) for name in BatchRow.__slots__ if name != "number"}
        key = _NUMBER.pack(row.number)
        self._put("batches", key, encode_cbor(fields))
        self._put("batch_ids", row.id, key)
        if row.committed is None:
            self._put("pending", key, b"")
        else:
            self._txn.delete(key, db=self._tables["pending"])

    def refuse_batch(self, number: int, error: ShuiqiaoError) -> None:
        """Note why the ledger refused a pending batch."""
        self._put("pending", _NUMBER.pack(number), encode_cbor([error.code, error.message]))

    def rename_batch(self, row: BatchRow, *, batch: bytes) -> None:
        """Give a pending batch another id."""
        self._txn.delete(row.id, db=self._tables["batch_ids"])
        self.put_batch(replace(row, id=batch))

    def drop_batch(self, row: BatchRow) -> None:
        """Forget a pending batch and what it would have superseded; its records are dropped by ``drop_versions``."""
        self.drop_replacements({(row.number, index) for index in range(row.count)})
        self._txn.delete(row.id, db=self._tables["batch_ids"])
        for table in ("pending", "batches"):
            self._txn.delete(_NUMBER.pack(row.number), db=self._tables[table])

    def begin_replacement(self, *, old: tuple[int, int], new: tuple[int, int]) -> None:
        """Note that a leaf supersedes another, which is to be submitted to the ledger."""
        self._put("replacing", _PLACE.pack(*new), _PLACE.pack(*old))

    def refuse_replacement(self, *, old: tuple[int, int], new: tuple[int, int], error: ShuiqiaoError) -> None:
        """Note, behind the older place, why the ledger refused a replacement."""
        self._put("replacing", _PLACE.pack(*new), _PLACE.pack(*old) + encode_cbor([error.code, error.message]))

    def drop_replacements(self, places: set[tuple[int, int]]) -> None:
        """Forget replacements from or to some places; what came after one supersedes what came before it."""
        before = {new: old for old, new in self.pending_replacements()}
        for new, old in before.items():
            oldest = old
            while oldest in places and oldest in before:
                oldest = before[oldest]
            if new in places or oldest in places:
                self._txn.delete(_PLACE.pack(*new), db=self._tables["replacing"])
            elif oldest != old:
                self.begin_replacement(old=oldest, new=new)

    def finish_replacement(self, *, old: tuple[int, int], new: tuple[int, int]) -> None:
        """Note that the ledger has it: from here on the newer version is the live one."""
        self._put("replaced", _PLACE.pack(*old), _PLACE.pack(*new))
        self._txn.delete(_PLACE.pack(*new), db=self._tables["replacing"])

    def begin_erasure(self, number: int, *, indexes: list[int], reason: str) -> None:
        """Note that leaves of a batch (all, where none is listed) are to be destroyed."""
        self._put("erasing", _NUMBER.pack(number), encode_cbor({"indexes": indexes, "reason": reason}))

    def finish_erasure(self, number: int) -> None:
        """Note that an erasure is done and on the ledger."""
        self._txn.delete(_NUMBER.pack(number), db=self._tables["erasing"])


class RecordIndex:
    """The opened index of one vault folder."""

    def __init__(self, folder: Path, *, reads_only: bool = False) -> None:
        """reads_only: nothing is written, where the folder can be written LMDB's own ``lock.mdb`` excepted."""
        try:
            self._env = open_environment(
                folder,
                map_size=MAP_BYTES,
                max_dbs=len(TABLES),
                max_readers=126,
                readonly=reads_only,
                create=not reads_only,
                lock=not reads_only or os.access(folder, os.W_OK),
            )
            if reads_only:
                self._tables = {name: self._env.open_db(name.encode(), create=False) for name in TABLES}
            else:
                with self._env.begin(write=True) as txn:
                    self._tables = {name: self._env.open_db(name.encode(), txn=txn) for name in TABLES}
        except lmdb.Error as error:
            raise index_unreadable(error) from error
        self._keep: _KeepEntries = cached(
            LRUCache(MAX_KEPT_ENTRIES, getsizeof=lambda entries: len(entries) + 1),  # an empty reading costs room too
            key=lambda key, _read: key,
            lock=threading.Lock(),
        )(lambda _key, read: tuple(read()))

    @contextmanager
    def read(self) -> Generator[IndexView]:
        """A consistent view of the last committed state."""
        try:
            with self._env.begin() as txn:
                yield IndexView(txn, self._tables, keep=self._keep)
        except lmdb.Error as error:
            raise index_unreadable(error) from error

    def revision(self) -> int:
        """Return a number that changes with every committed change of the index."""
        last: int = self._env.info()["last_txnid"]
        return last

    def begin(self) -> IndexWriter:
        """Begin the one write transaction; the caller commits or aborts it on the same thread."""
        return IndexWriter(self._env.begin(write=True), self._tables)

    @contextmanager
    def write(self) -> Generator[IndexWriter]:
        """A write transaction, committed at the end and aborted by an error."""
        writer = self.begin()
        try:
            yield writer
        except BaseException:
            writer.abort()
            raise
        writer.commit()

    def copy(self, to: Path) -> None:
        """Copy the last committed state into an empty folder, compacted; lmdb.Error where the disk refuses."""
        try:
            with (to / "data.mdb").open("xb") as file:
                self._env.copyfd(file.fileno(), compact=True)
        except lmdb.Error as error:
            if type(error) is lmdb.Error or isinstance(error, lmdb.DiskError):
                # The system's own words, mostly of the disk that is written to: nothing is wrong with the index.
                raise
            raise index_unreadable(error) from error

    def close(self) -> None:
        """Release the files."""
        self._env.close()


def copy_index(folder: Path, to: Path) -> tuple[BatchRow, ...]:
    """Copy the index of a vault folder into an empty folder, compacted, and return the batches that the copy knows.

    Raises Unavailable ``vault.index_unreadable`` and ``vault.busy``, Conflict ``vault.erasure_pending``; lmdb.Error
    where the disk refuses.
    """
    with _steady(folder), closing(RecordIndex(folder / INDEX_FOLDER, reads_only=True)) as index:
        index.copy(to)
    with closing(RecordIndex(to, reads_only=True)) as copied, copied.read() as view:
        _require_no_erasure(view, folder)
        return tuple(view.batches())


def require_unerased(folder: Path, rows: Sequence[BatchRow]) -> None:
    """Return if no file of these batches was changed since they were read.

    Raises Conflict ``vault.erasure_pending``, Unavailable ``vault.index_unreadable``.
    """
    with closing(RecordIndex(folder / INDEX_FOLDER, reads_only=True)) as index, index.read() as view:
        _require_no_erasure(view, folder)
        for row in rows:
            now = view.batch(row.number)
            if (now.parquet, now.erased) != (row.parquet, row.erased):
                raise _erased(folder)


def _require_no_erasure(view: IndexView, folder: Path) -> None:
    if view.pending_erasures():
        raise _erased(folder)


def _erased(folder: Path) -> Conflict:
    return Conflict(
        "vault.erasure_pending",
        f"records of {folder} are being erased, or were while its files were copied",
        next_step="try again when the erasure is done; the next ingest finishes one that was interrupted",
    )


@contextmanager
def _steady(folder: Path) -> Generator[None]:
    """Keep writers away where LMDB cannot: a reader that is not in its table may lose the pages that it reads."""
    with ExitStack() as stack:
        if not os.access(folder / INDEX_FOLDER, os.W_OK):
            with suppress(FileNotFoundError):
                lock = stack.enter_context(open_regular(folder / LOCK_FILE))
                try:
                    fcntl.flock(lock.fileno(), fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError as error:
                    raise Unavailable(
                        "vault.busy",
                        f"an ingest or erasure is at work in {folder}, which this account may not write",
                        next_step="try again when it is done, or take the backup as the account that owns the home",
                    ) from error
        yield
