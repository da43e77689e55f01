"""Publishes a log as static files that anybody can copy, serve and check (c2sp.org/tlog-tiles).

Files are written from what the ledger holds already: leaves from its blocks, hashes from a HashReader; no tree is
computed again. The checkpoint comes last, so whatever moment a process is killed at, the files prove the checkpoint
that is there [TILE-4]. A file that exists is never replaced by other bytes. Reading and verifying is done in
``ledger/tiles/reader.py``, from the files alone.

LIMIT: while a tile is not full every checkpoint leaves a partial copy of it, up to 255 of growing width; they are
removed when it is full. A log that publishes each block of large transactions should publish less often.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

from shuiqiao.base.durable import SYSTEM_DISK, Disk, put_file, replace_file
from shuiqiao.base.errors import IntegrityError, InvalidInput, Unavailable
from shuiqiao.base.files import SHARED_FILE, make_shared_folder, read_regular
from shuiqiao.ledger.checkpoints.signed_note import MAX_SIGNED_NOTE_BYTES, Checkpoint, read_checkpoint
from shuiqiao.ledger.log.tree import HashReader, leaf_hash, root_from_reader
from shuiqiao.ledger.model import Block
from shuiqiao.ledger.tiles.paths import (
    CHECKPOINT_PATH,
    ENTRIES,
    LENGTH_BYTES,
    MAX_ENTRY_BYTES,
    TILE_HEIGHT,
    TileId,
    hashes_at,
    levels_of,
    tile_of_path,
    tiles_between,
)

if TYPE_CHECKING:
    from shuiqiao.ledger.store.index import Snapshot
    from shuiqiao.ledger.store.log_reading import LogReading

Leaves = Callable[[int, int], Iterable[bytes]]
"""Return the leaves of indices [start, end), in order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSource:
    """A log to be published. checkpoint: with all signatures that its policy asks for. reader, leaves: of its log."""

    checkpoint: Checkpoint
    reader: HashReader
    leaves: Leaves


class TileWriter:
    """The folder of static files of one log; one at a time."""

    def __init__(self, folder: Path, *, hash_name: str, disk: Disk | None = None) -> None:
        """folder: exists; whatever a killed writer left in it is continued."""
        self._folder = folder
        self._hash_name = hash_name
        self._disk = disk or SYSTEM_DISK
        self._changed: set[Path] = set()
        self._written = 0

    def published(self) -> Checkpoint | None:
        """Return the checkpoint that the files prove, None before the first; its signatures are not verified here.

        Raises IntegrityError ``ledger.checkpoint_malformed`` for a file that is none.
        """
        path = self._folder / CHECKPOINT_PATH
        if not path.exists():
            return None
        return read_checkpoint(read_regular(path, max_bytes=MAX_SIGNED_NOTE_BYTES))

    def publish(self, checkpoint: Checkpoint, *, reader: HashReader, leaves: Leaves) -> int:
        """Write every tile that a checkpoint needs and is not there, then the checkpoint; return how many were written.

        reader, leaves: of a log of at least this size. The same size may be published again with other cosignatures.
        Raises IntegrityError ``ledger.tile_contradicted`` if log, files and checkpoint are not of one history;
        InvalidInput ``ledger.tile_checkpoint_older``, ``ledger.tile_foreign``; Unavailable ``ledger.tile_busy``;
        OSError, after which calling again goes on.
        """
        with _only_one(self._folder):
            return self._publish(checkpoint, reader=reader, leaves=leaves)

    def _publish(self, checkpoint: Checkpoint, *, reader: HashReader, leaves: Leaves) -> int:
        old_size = self.require_extension(checkpoint, reader)
        self._changed.clear()
        self._written = 0
        for tile in tiles_between(old_size, checkpoint.size, level=ENTRIES):
            self._write(tile, _bundle(tile, reader=reader, leaves=leaves, hash_name=self._hash_name))
        for level in levels_of(checkpoint.size):
            for tile in tiles_between(old_size, checkpoint.size, level=level):
                self._write(tile, b"".join(_hashes(tile, reader)))
        for folder in sorted(self._changed):
            self._disk.sync_folder(folder)
        replace_file(self._folder / CHECKPOINT_PATH, checkpoint.note, disk=self._disk, mode=SHARED_FILE)
        self._remove_partial(old_size, checkpoint.size)
        return self._written

    def require_extension(self, checkpoint: Checkpoint, reader: HashReader) -> int:
        """Return the size published before, once it and the new checkpoint are of the log that the reader knows.

        Raises what ``publish`` raises of another log or history.
        """
        before = self.published()
        if before is not None:
            require_same_log(before, origin=checkpoint.origin, folder=self._folder)
        if before is not None and checkpoint.size < before.size:
            raise InvalidInput(
                "ledger.tile_checkpoint_older",
                f"{before.size} leaves are published, the checkpoint has {checkpoint.size}",
            )
        for one in (before, checkpoint):
            if one is not None and root_from_reader(reader, size=one.size, hash_name=self._hash_name) != one.root:
                raise IntegrityError(
                    "ledger.tile_contradicted",
                    f"the checkpoint of {one.size} leaves and root {one.root.hex()} is not of this log",
                )
        return before.size if before is not None else 0

    def _write(self, tile: TileId, data: bytes) -> None:
        """Put a file in place for good [TILE-3], its bytes on the medium first; its name follows with its folder."""
        path = self._folder / tile.path
        self._make_folder(path.parent)
        if path.exists():
            if read_regular(path, max_bytes=len(data)) != data:
                raise IntegrityError("ledger.tile_contradicted", f"{path} holds other bytes than the log gives")
            return
        put_file(path, data, disk=self._disk, mode=SHARED_FILE)
        self._written += 1

    def _make_folder(self, folder: Path) -> None:
        """Make a folder and those above it; all are flushed later, for a killed writer may have left them unflushed."""
        if folder not in self._changed and folder != self._folder:
            self._make_folder(folder.parent)
            make_shared_folder(folder)
        self._changed.add(folder)

    def _remove_partial(self, old_size: int, new_size: int) -> None:
        """Remove the partial copies of tiles that are full now; a reader falls back to the full one."""
        for level in (ENTRIES, *levels_of(new_size)):
            for tile in tiles_between(old_size, new_size, level=level):
                partial = self._folder / f"{tile.full.path}.p"
                if tile.is_full and partial.is_dir():
                    shutil.rmtree(partial, ignore_errors=True)


def require_same_log(published: Checkpoint, *, origin: str, folder: Path) -> None:
    """Return if what was published is of a log; raises InvalidInput ``ledger.tile_foreign``."""
    if published.origin != origin:
        raise InvalidInput(
            "ledger.tile_foreign",
            f"{folder} holds the files of {published.origin[:100]!r}, the log is {origin!r}",
            next_step="name another folder: each log has its own",
        )


@contextmanager
def _only_one(folder: Path) -> Generator[None]:
    """Hold a lock on the folder itself, which the system gives back however this process ends: it leaves no file."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise Unavailable(
                "ledger.tile_busy", f"another process publishes to {folder}", next_step="wait for it", retry_after_s=1.0
            ) from error
        yield
    finally:
        os.close(descriptor)


def file_of_log(path: str, source: LogSource, *, hash_name: str) -> bytes | None:
    """Return a static file of a log without writing any, None for a path that names none at its size.

    E.g. ``file_of_log("tile/0/000.p/3", engine.public_log(), hash_name="sha256")``: three hashes of 32 bytes.
    """
    if path == CHECKPOINT_PATH:
        return source.checkpoint.note
    tile = tile_of_path(path)
    if tile is None or tile.first + tile.width > hashes_at(tile.level, size=source.checkpoint.size):
        return None
    if tile.level == ENTRIES:
        return _bundle(tile, reader=source.reader, leaves=source.leaves, hash_name=hash_name)
    return b"".join(_hashes(tile, source.reader))


def _bundle(tile: TileId, *, reader: HashReader, leaves: Leaves, hash_name: str) -> bytes:
    parts: list[bytes] = []
    for index, leaf in enumerate(leaves(tile.first, tile.first + tile.width), start=tile.first):
        if leaf_hash(leaf, hash_name=hash_name) != reader.node(0, index):
            raise IntegrityError("ledger.tile_contradicted", f"leaf {index} does not have the hash of the log")
        if len(leaf) > MAX_ENTRY_BYTES:
            raise InvalidInput(
                "ledger.tile_entry_too_large", f"leaf {index} has {len(leaf)} bytes, an entry {MAX_ENTRY_BYTES}"
            )
        parts.append(len(leaf).to_bytes(LENGTH_BYTES, "big") + leaf)
    if len(parts) != tile.width:
        raise IntegrityError(
            "ledger.tile_contradicted", f"{len(parts)} leaves were given from {tile.first} on, not {tile.width}"
        )
    return b"".join(parts)


def _hashes(tile: TileId, reader: HashReader) -> Iterator[bytes]:
    height = TILE_HEIGHT * tile.level
    return (reader.node(height, tile.first + offset) for offset in range(tile.width))


def log_source(checkpoint: Checkpoint, *, blocks: Callable[[int], Iterator[Block]], snapshot: Snapshot) -> LogSource:
    """Return the log of a checkpoint, to be published. blocks: of an open copy, or of one that is only looked at."""

    def height_of(index: int) -> int:
        place = snapshot.block_of_index(index)
        if place is None:
            raise ValueError(f"leaf {index} is not in a log of {snapshot.head().height} blocks")
        return place.height

    return LogSource(checkpoint=checkpoint, reader=snapshot, leaves=leaves_of_blocks(blocks, height_of=height_of))


def log_of_copy(copy: LogReading, checkpoint: Checkpoint) -> LogSource:
    """Return the log of a checkpoint that an open copy has reached, to be published."""
    snapshot = copy.view()[1].snapshot
    return log_source(checkpoint, blocks=lambda height: copy.blocks(from_height=height), snapshot=snapshot)


def leaves_of_blocks(blocks: Callable[[int], Iterator[Block]], *, height_of: Callable[[int], int]) -> Leaves:
    """Return the leaves of a log as a function of their indices, read from its blocks.

    blocks: iterates over committed blocks from a height, as every engine does. height_of: the block that holds a leaf.
    """

    def leaves(start: int, end: int) -> Iterator[bytes]:
        if start >= end:
            return
        found = blocks(height_of(start))
        first = next(found)
        flat = (leaf for block in chain((first,), found) for leaf in _leaves(block))
        skipped = start - first.first_index
        yield from islice(flat, skipped, skipped + end - start)

    return leaves


def _leaves(block: Block) -> Sequence[bytes]:
    return (*block.transactions, block.entry)
