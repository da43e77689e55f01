"""The index: an LMDB environment derived from the segments, so that any answer is a few key look-ups.

Holds, by docs/spec/ledger-store.md section 5: the head, block places, Merkle node hashes, the state and the replay ids.
Records and their bytes come first below, with where Merkle hashes stand in storing order [STORE-15]. The index may be
deleted at any time and is made again from the segments. One write transaction holds one or more whole blocks
[STORE-16]: a reader sees all of a block or nothing of it. What the values of the state mean is not known here.

``Index`` is for the writer. ``IndexReader`` reads beside the process that writes, or on a node that is down: nothing is
repaired and no record is written; what is seen is one committed block and stays it. ``BootMark`` tells whether files
that nobody flushed can be trusted: yes after a killed process, no after a stopped machine.
"""

from __future__ import annotations

import os
import struct
import threading
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Final, Self, TypeVar

import cbor2
import lmdb
import msgspec

from shuiqiao.base.clock import MS_PER_HOUR
from shuiqiao.base.durable import SYSTEM_DISK, Disk, replace_file
from shuiqiao.base.encoding import decode_cbor, encode_cbor
from shuiqiao.base.errors import MACHINE_FAILURES, IntegrityError, InvalidInput, ShuiqiaoError, Unavailable
from shuiqiao.base.files import open_regular
from shuiqiao.ledger.log.tree import empty_root, hash_function
from shuiqiao.ledger.model import NetworkParameters
from shuiqiao.ledger.state.state_map import EMPTY, StateProof, decode_state_proof, encode_state_proof
from shuiqiao.ledger.store.frame import ZERO_DIGEST, HashName, Place, Tail
from shuiqiao.ledger.store.lmdb_file import DATA_FILE, IndexUnreadable, index_damaged, open_environment
from shuiqiao.ledger.store.lock import is_held
from shuiqiao.ledger.store.state_page import whole
from shuiqiao.ledger.store.state_tree import DATABASE, StateTree, TransactionPages, write_pages

INDEX_FOLDER: Final = "index.lmdb"
"""Name of its folder in that of a ledger."""

DEFAULT_MAP_BYTES: Final = 64 * 1024**3
"""Address space reserved for the index, in bytes; the file grows only as it is used."""

MAX_READERS: Final = 1024
MAX_KEY_BYTES: Final = 500
"""Longest state key in UTF-8 bytes (LMDB's own limit is 511)."""

_Key = TypeVar("_Key", str, bytes)

_HEAD_KEY: Final = b"head"
_NUMBER = struct.Struct(">Q")
_HOUR = struct.Struct(">I")
_PRUNED_BLOCKS = 4
_DATABASES = 16


INDEX_VERSION: Final = 3

_BLOCK = struct.Struct(">QQIQIQ")
_HEAD_DIGEST_BYTES = 32


def stored_nodes(size: int) -> int:
    """Return how many Merkle hashes are stored for a log of this many leaves: every complete subtree once."""
    return 2 * size - size.bit_count()


def node_position(level: int, index: int) -> int:
    """Return where the hash over leaves [index * 2^level, (index + 1) * 2^level) stands in storing order ([STORE-15]).

    Appending a leaf completes subtrees of rising level that end at it: that order never changes, so hashes are only
    ever appended.
    """
    last_leaf = ((index + 1) << level) - 1
    return stored_nodes(last_leaf) + level


class Head(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What the index covers: the last block in it, the roots of log and state, and where the segments stood."""

    network: bytes
    hash_name: HashName
    height: int
    time_ms: int
    size: int
    root: bytes
    state_root: bytes
    segment: int
    offset: int
    frame_bytes: int
    digest: bytes
    version: int = INDEX_VERSION

    @property
    def tail(self) -> Tail:
        """The end of the segments as the index knows it."""
        end = self.offset + self.frame_bytes
        return Tail(segment=self.segment, offset=end, height=self.height, size=self.size, digest=self.digest)


class BlockPlace(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Where a block stands, and its shape."""

    height: int
    first_index: int
    count: int
    time_ms: int
    place: Place


class BlockRecord(msgspec.Struct, frozen=True, kw_only=True):
    """All that one block changes in the index.

    nodes: Merkle hashes to store, behind those of the block before. state: encoded new values, None for a removed key.
    pages: pages of the state map, None for one that is no more. replay: ids used by the block with the hour
    (since 1970) in which they expire.
    """

    block: BlockPlace
    nodes: Sequence[bytes]
    state: Mapping[str, bytes | None]
    pages: Mapping[bytes, bytes | None]
    replay: Sequence[tuple[bytes, int]]


def genesis_head(parameters: NetworkParameters, *, hash_name: HashName) -> Head:
    """Return the head of a new ledger; the root of its state is filled in with the state."""
    return Head(
        network=parameters.network,
        hash_name=hash_name,
        height=0,
        time_ms=parameters.genesis_time_ms,
        size=0,
        root=empty_root(hash_name=hash_name),
        state_root=EMPTY,
        segment=0,
        offset=0,
        frame_bytes=0,
        digest=ZERO_DIGEST,
    )


def unpack_record(form: struct.Struct, data: bytes) -> tuple[Any, ...]:
    """Return the numbers of a record; raises IntegrityError ``ledger.index_damaged`` for one of another length."""
    try:
        return form.unpack(data)
    except struct.error as error:
        raise index_damaged(f"a record has {len(data)} bytes where {form.size} belong") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochChange:
    """An epoch that a block began."""

    size: int
    """Leaves up to the entry of the block that wrote it: the checkpoint of this size closes the epoch before."""
    epoch: bytes
    """The epoch document, an encoded state value."""
    proof: StateProof
    """That the state behind that entry holds it."""


def encode_block(block: BlockPlace) -> bytes:
    """Return the bytes of a block's place; its height is the key."""
    place = block.place
    shape = (place.segment, place.offset, place.frame_bytes, block.first_index, block.count, block.time_ms)
    return _BLOCK.pack(*shape)


def encode_epoch(change: EpochChange) -> bytes:
    """Return the bytes of a change of epoch; its size is the key."""
    return encode_cbor({"epoch": change.epoch, "proof": encode_state_proof(change.proof)})


def decode_epoch(size: int, data: bytes) -> EpochChange:
    """Return a change of epoch; raises IntegrityError ``ledger.index_damaged``."""
    try:
        fields = decode_cbor(data)
        return EpochChange(size=size, epoch=fields["epoch"], proof=decode_state_proof(fields["proof"]))
    except (ShuiqiaoError, KeyError, TypeError) as error:
        raise index_damaged(f"the epoch behind leaf {size} cannot be read: {error}") from error


def decode_block(height: int, data: bytes) -> BlockPlace:
    """Return a block's place; raises IntegrityError ``ledger.index_damaged``."""
    segment, offset, frame_bytes, first_index, count, time_ms = unpack_record(_BLOCK, data)
    place = Place(segment=segment, offset=offset, frame_bytes=frame_bytes)
    return BlockPlace(height=height, first_index=first_index, count=count, time_ms=time_ms, place=place)


def encode_head(head: Head) -> bytes:
    """Return the bytes of the head, their digest first."""
    # Its bytes are compared with nothing but their digest, so the fields need not be sorted.
    data = cbor2.dumps(msgspec.structs.asdict(head))
    return hash_function(head.hash_name)(data) + data


def decode_head(data: bytes) -> Head:
    """Return the head; raises IndexUnreadable for bytes that do not hold."""
    try:
        fields = decode_cbor(data[_HEAD_DIGEST_BYTES:])
        head = Head(**fields)
        digest = hash_function(head.hash_name)(data[_HEAD_DIGEST_BYTES:])
    except MACHINE_FAILURES:
        raise
    except Exception as error:  # a damaged record may be any bytes
        raise IndexUnreadable(f"the head record cannot be read: {error}") from error
    if digest != data[:_HEAD_DIGEST_BYTES] or head.version != INDEX_VERSION:
        raise IndexUnreadable(f"the head record (version {head.version}) does not hold")
    return head


class Index:
    """One open index. One thread writes; snapshots may be taken by any thread."""

    def __init__(self, folder: Path, *, map_bytes: int, disk: Disk) -> None:
        """Open or create; raises IndexUnreadable when LMDB refuses the files or the machine stopped meanwhile."""
        folder.mkdir(parents=True, exist_ok=True)
        self._pruned_hour = -1
        self._mark = BootMark(folder, disk=disk)
        if self._mark.is_stale():
            raise IndexUnreadable("the machine stopped while it was open")
        self._mark.put()
        try:
            # No flush here: what a killed process wrote stays, and after a stopped machine the mark is stale.
            self._env = open_environment(
                folder,
                map_size=map_bytes,
                max_dbs=_DATABASES,
                max_readers=MAX_READERS,
                sync=not self._mark.is_kept,
                metasync=False,
            )
            self._meta = self._env.open_db(b"meta")
            self._blocks = self._env.open_db(b"blocks")
            self._starts = self._env.open_db(b"starts")
            self._nodes = self._env.open_db(b"nodes")
            self._state = self._env.open_db(b"state")
            self._replay = self._env.open_db(b"replay")
            self._expiry = self._env.open_db(b"expiry")
            self._pages = self._env.open_db(DATABASE)
            self._epochs = self._env.open_db(b"epochs")
        except lmdb.Error as error:
            raise IndexUnreadable(f"{folder}: {error}") from error

    def head(self) -> Head | None:
        """Return what the index covers, None if it is new; raises IndexUnreadable if the record does not hold."""
        try:
            with self._env.begin(db=self._meta) as reader:
                data = reader.get(_HEAD_KEY)
        except lmdb.Error as error:
            raise IndexUnreadable(str(error)) from error
        return None if data is None else decode_head(bytes(data))

    def start(self, state: Mapping[str, bytes], *, head: Head) -> Head:
        """Write the state before the first block, and its map; return the head with the map's root."""
        with self._env.begin(write=True) as writer:
            self._put_state(writer, state)
            plan = StateTree(hash_name=head.hash_name).plan(TransactionPages(writer, db=self._pages), state)
            write_pages(writer, plan.writes, db=self._pages)
            started = msgspec.structs.replace(head, state_root=plan.root)
            writer.put(_HEAD_KEY, encode_head(started), db=self._meta)
        return started

    def commit(self, records: Sequence[BlockRecord], *, first_node: int, head: Head) -> None:
        """Write the next blocks, all of all of them or nothing ([STORE-16]).

        first_node: position of the first of their Merkle hashes. head: what the index covers with them.
        Raises Unavailable ``ledger.index_failed``: the block is in the segments all the same, and the index is brought
        up to them when the ledger is opened again.
        """
        try:
            with self._env.begin(write=True) as writer:
                self._put_blocks(writer, records)
                self._put_nodes(writer, records, first_node=first_node)
                self._put_state(writer, _last_writes([record.state for record in records]))
                write_pages(writer, _last_writes([record.pages for record in records]), db=self._pages)
                self._put_replay(writer, records)
                writer.put(_HEAD_KEY, encode_head(head), db=self._meta)
        except lmdb.Error as error:
            raise _failed(f"block {head.height}", error) from error

    def put_epoch(self, change: EpochChange) -> None:
        """Note an epoch that the last block began; raises Unavailable ``ledger.index_failed``."""
        try:
            with self._env.begin(write=True) as writer:
                writer.put(_NUMBER.pack(change.size), encode_epoch(change), db=self._epochs)
        except lmdb.Error as error:
            raise _failed(f"the epoch behind leaf {change.size}", error) from error

    def _put_blocks(self, writer: lmdb.Transaction, records: Sequence[BlockRecord]) -> None:
        heights: list[tuple[bytes, bytes]] = []
        starts: list[tuple[bytes, bytes]] = []
        for record in records:
            block = record.block
            key = _NUMBER.pack(block.height)
            heights.append((key, encode_block(block)))
            starts.append((_NUMBER.pack(block.first_index), key))
        for items, db in ((heights, self._blocks), (starts, self._starts)):
            with writer.cursor(db=db) as cursor:
                cursor.putmulti(items, append=True)

    def _put_nodes(self, writer: lmdb.Transaction, records: Sequence[BlockRecord], *, first_node: int) -> None:
        pack = _NUMBER.pack
        nodes = chain.from_iterable(record.nodes for record in records)
        with writer.cursor(db=self._nodes) as cursor:
            cursor.putmulti([(pack(position), node) for position, node in enumerate(nodes, first_node)], append=True)

    def _put_state(self, writer: lmdb.Transaction, state: Mapping[str, bytes | None]) -> None:
        # Sorted keys touch each page once.
        items = [(key.encode(), value) for key, value in sorted(state.items())]
        with writer.cursor(db=self._state) as cursor:
            cursor.putmulti([(key, value) for key, value in items if value is not None])
        for key, value in items:
            if value is None:
                writer.delete(key, db=self._state)

    def _put_replay(self, writer: lmdb.Transaction, records: Sequence[BlockRecord]) -> None:
        used: dict[bytes, bytes] = {}
        expiring: dict[bytes, list[bytes]] = {}
        for record in records:
            height = _NUMBER.pack(record.block.height)
            for key, hour in record.replay:
                packed = _HOUR.pack(hour)
                used[key] = packed
                expiring.setdefault(packed + height, []).append(bytes((len(key),)) + key)
        with writer.cursor(db=self._replay) as cursor:
            cursor.putmulti(sorted(used.items()))
        with writer.cursor(db=self._expiry) as cursor:
            cursor.putmulti([(key, b"".join(listed)) for key, listed in sorted(expiring.items())])
            hour = records[-1].block.time_ms // MS_PER_HOUR
            if hour > self._pruned_hour:
                self._prune_replay(writer, cursor, before_hour=hour, blocks=_PRUNED_BLOCKS * len(records))

    def _prune_replay(self, writer: lmdb.Transaction, cursor: lmdb.Cursor, *, before_hour: int, blocks: int) -> None:
        """Forget ids that expired, those of a few blocks for each new one so that none waits long ([STORE-17])."""
        for _ in range(blocks):
            if not cursor.first() or _HOUR.unpack_from(cursor.key())[0] >= before_hour:
                # Nothing more expires in this hour: no block accepts an id whose hour is over.
                self._pruned_hour = before_hour
                return
            for key in _split_keys(bytes(cursor.value())):
                self._forget(writer, key, before_hour=before_hour)
            cursor.delete()

    def _forget(self, writer: lmdb.Transaction, key: bytes, *, before_hour: int) -> None:
        # An id may have been used again after it expired, and is then remembered for its new hour.
        value = writer.get(key, db=self._replay)
        if value is not None and _HOUR.unpack(value)[0] < before_hour:
            writer.delete(key, db=self._replay)

    def snapshot(self) -> Snapshot:
        """Return a consistent view of the last committed block."""
        dbs = (
            self._meta,
            self._blocks,
            self._starts,
            self._nodes,
            self._state,
            self._replay,
            self._pages,
            self._epochs,
        )
        return Snapshot(self._env, dbs=dbs)

    def close(self) -> None:
        """Flush and release the files; open snapshots become unusable."""
        try:
            self._env.sync(True)  # noqa: FBT003 - LMDB names its own argument
            self._mark.clear()
        except (lmdb.Error, OSError):
            # The mark stays, so that an index which may not be on the medium is not trusted after a stop.
            pass
        self._env.close()


class Snapshot:
    """A view of the index at one block, unaffected by later ones; usable from any thread, one at a time inside."""

    def __init__(self, env: lmdb.Environment, *, dbs: tuple[Any, ...]) -> None:
        self._reader = env.begin()
        self._lock = threading.Lock()
        self._meta, self._blocks, self._starts, self._nodes, self._state, self._replay, self._pages, self._epochs = dbs

    def _get(self, key: bytes, db: Any) -> bytes | None:
        with self._lock:
            try:
                return self._reader.get(key, db=db)
            except lmdb.Error as error:
                raise index_damaged(str(error)) from error

    @contextmanager
    def _cursor(self, db: Any) -> Generator[Any]:
        try:
            with self._lock, self._reader.cursor(db=db) as cursor:
                yield cursor
        except lmdb.Error as error:
            raise index_damaged(str(error)) from error

    def head(self) -> Head:
        """Return what the snapshot covers."""
        data = self._get(_HEAD_KEY, self._meta)
        if data is None:
            raise IntegrityError("ledger.index_empty", "the index holds no head record, where one is always written")
        return decode_head(data)

    def node(self, level: int, index: int) -> bytes:
        """Return the hash of a complete subtree (``log.HashReader``); raises IntegrityError ``ledger.node_missing``."""
        node = self._get(_NUMBER.pack(node_position(level, index)), self._nodes)
        if node is None:
            raise IntegrityError(
                "ledger.node_missing",
                f"the index holds no Merkle hash of subtree {index} at level {level}",
                next_step="delete the ledger's index folder: it is made again from the segments",
            )
        return node

    def block(self, height: int) -> BlockPlace | None:
        """Return where a block stands, None above the last or below 1."""
        data = self._get(_NUMBER.pack(height), self._blocks) if height > 0 else None
        return None if data is None else decode_block(height, data)

    def blocks(self, heights: range) -> list[BlockPlace]:
        """Return where blocks stand; raises IntegrityError ``ledger.block_missing`` at a gap."""
        with self._cursor(self._blocks) as cursor:
            found = cursor.getmulti([_NUMBER.pack(height) for height in heights])
        if len(found) != len(heights):
            known = {_NUMBER.unpack(key)[0] for key, _ in found}
            raise _block_missing(next(height for height in heights if height not in known))
        return [decode_block(height, data) for height, (_, data) in zip(heights, found, strict=True)]

    def block_of_index(self, index: int) -> BlockPlace | None:
        """Return the block that holds a leaf (a transaction or its block entry), None beyond the log."""
        if index < 0:
            return None
        with self._cursor(self._starts) as cursor:
            # The block is the last one that starts at or before the leaf.
            found = cursor.prev() if cursor.set_range(_NUMBER.pack(index + 1)) else cursor.last()
            height = unpack_record(_NUMBER, cursor.value())[0] if found else 0
        block = self.block(height)
        return block if block is not None and index <= block.first_index + block.count else None

    def state_value(self, key: str) -> bytes | None:
        """Return the encoded value of a state key."""
        encoded = key.encode()
        return self._get(encoded, self._state) if 0 < len(encoded) <= MAX_KEY_BYTES else None

    def state_items(self) -> Iterator[tuple[bytes, bytes]]:
        """Iterate over every key of the state with its encoded value, in order of key; for one thread."""
        try:
            with self._reader.cursor(db=self._state) as cursor:
                yield from cursor
        except lmdb.Error as error:
            raise index_damaged(str(error)) from error

    def state_count(self) -> int:
        """Return the number of keys in the state."""
        with self._lock:
            count: int = self._reader.stat(db=self._state)["entries"]
        return count

    def page(self, key: bytes) -> bytes | None:
        """Return a page of the state map (``state_tree.PageReader``)."""
        return whole(self._get(key, self._pages))

    def pages(self, keys: Sequence[bytes]) -> list[tuple[bytes, bytes]]:
        """Return those of some pages that there are, with their keys."""
        with self._cursor(self._pages) as cursor:
            found: list[tuple[bytes, bytes]] = cursor.getmulti(keys)
        for _, page in found:
            whole(page)
        return found

    def epochs(self) -> list[EpochChange]:
        """Return the changes of epoch, in order."""
        with self._cursor(self._epochs) as cursor:
            return [decode_epoch(unpack_record(_NUMBER, key)[0], data) for key, data in cursor.iternext()]

    def replay_hour(self, key: bytes) -> int | None:
        """Return the hour (since 1970) in which a used id expires, None if it was not used or is forgotten."""
        value = self._get(key, self._replay)
        return None if value is None else int(unpack_record(_HOUR, value)[0])

    def replay_hours(self, keys: Sequence[bytes]) -> dict[bytes, int]:
        """Return that hour for those of many ids that were used: a third of the time of asking one by one."""
        with self._cursor(self._replay) as cursor:
            return {key: unpack_record(_HOUR, value)[0] for key, value in cursor.getmulti(keys)}


def _failed(what: str, error: lmdb.Error) -> Unavailable:
    return Unavailable(
        "ledger.index_failed",
        f"{what} is stored, but its index could not be written: {error}",
        next_step="check disk space and the index size limit, then open the ledger again",
    )


def _block_missing(height: int) -> IntegrityError:
    return IntegrityError(
        "ledger.block_missing",
        f"the index holds no place for block {height}",
        next_step="delete the ledger's index folder: it is made again from the segments",
    )


def _split_keys(listed: bytes) -> Iterable[bytes]:
    at = 0
    while at < len(listed):
        end = at + 1 + listed[at]
        yield listed[at + 1 : end]
        at = end


def _last_writes(writes: Sequence[Mapping[_Key, bytes | None]]) -> Mapping[_Key, bytes | None]:
    """Return what is left of the writes of blocks in order: the last one of each key."""
    if len(writes) == 1:
        return writes[0]
    return {key: value for written in writes for key, value in written.items()}


_SNAPSHOT_TABLES: Final = (b"meta", b"blocks", b"starts", b"nodes", b"state", b"replay", DATABASE, b"epochs")
"""In the order in which a Snapshot takes them."""


def is_writable(folder: Path) -> bool:
    """Return whether LMDB can keep its table of readers in a folder; without one nobody may write beside the reader.

    Raises IndexUnreadable for a folder that cannot be written while a process has the ledger above it open.
    """
    if os.access(folder, os.W_OK) and os.access(folder / "lock.mdb", os.W_OK):
        return True
    if is_held(folder.parent):
        raise IndexUnreadable(f"{folder} cannot be written, and a process has it open")
    return False


class IndexReader:
    """One index opened for reading; ``close`` it, or use it as a context manager."""

    def __init__(self, folder: Path) -> None:
        """Open; raises IndexUnreadable where there is none, LMDB refuses it, or the machine stopped while it was open.

        One process opens an index once: not for the folder of a ledger that this very process has open.
        """
        if not (folder / DATA_FILE).is_file():
            raise IndexUnreadable(f"there is no index in {folder}")
        if BootMark(folder, disk=SYSTEM_DISK).is_stale():
            raise IndexUnreadable("the machine stopped while it was open")
        try:
            self._env = open_environment(
                folder,
                readonly=True,
                create=False,
                max_dbs=len(_SNAPSHOT_TABLES) + 8,
                lock=is_writable(folder),
            )
        except lmdb.Error as error:
            raise IndexUnreadable(str(error)) from error
        try:
            tables = tuple(self._env.open_db(name, create=False) for name in _SNAPSHOT_TABLES)
            self.view = Snapshot(self._env, dbs=tables)
            self.head = self.view.head()
        except lmdb.Error as error:
            self._env.close()
            raise IndexUnreadable(f"{folder}: {error}") from error
        except BaseException:
            self._env.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the files; the view becomes unusable."""
        self._env.close()


BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
MARK: Final = "open"
MAX_ID_BYTES: Final = 64


class BootMark:
    """The mark in one folder."""

    def __init__(self, folder: Path, *, disk: Disk, boot_id: Path = BOOT_ID) -> None:
        self._path = folder / MARK
        self._disk = disk
        self._start = _read(boot_id)

    @property
    def is_kept(self) -> bool:
        """Whether this system tells one start from another."""
        return bool(self._start)

    def is_stale(self) -> bool:
        """Whether the machine stopped while the files were open."""
        return self._path.exists() and _read(self._path) != self._start

    def put(self) -> None:
        """Mark the files as open; on the medium when this returns."""
        if self._start and _read(self._path) != self._start:
            replace_file(self._path, self._start, disk=self._disk)

    def clear(self) -> None:
        """Take the mark away: everything is on the medium."""
        self._path.unlink(missing_ok=True)


def _read(path: Path) -> bytes:
    try:
        with open_regular(path) as file:
            return file.read(MAX_ID_BYTES).strip()
    except (OSError, InvalidInput):
        return b""
