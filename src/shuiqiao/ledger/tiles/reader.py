"""Reads a published log from its static files alone: verifies all of it, hands out entries and proofs.

Nothing in the files is believed but a checkpoint that the policy accepts. Every entry and proof that is handed out was
verified against its root; ``verify_all`` compares every byte of every tile that the checkpoint needs [TILE-5]. Where
the files come from (a folder, a server) is a TileSource's matter. It does not know what the entries mean.

``verify_pinned`` compares a checkpoint with one that the verifier knows already [LEDGER-RECEIPT-7]: a quorum of stolen
retired keys can sign another walk from the genesis, and the log of a receipt must contain the known checkpoint or be
contained in it. The proof comes from the files, which need not be trusted: it leads to both roots or to none.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from cachetools import LRUCache

from shuiqiao.base.errors import IntegrityError, InvalidInput, Unavailable
from shuiqiao.base.files import open_regular
from shuiqiao.crypto.model import CipherSuite
from shuiqiao.ledger.checkpoints.note import verify_note
from shuiqiao.ledger.checkpoints.policy import CheckpointPolicy
from shuiqiao.ledger.checkpoints.signed_note import (
    MAX_SIGNED_NOTE_BYTES,
    Checkpoint,
    read_checkpoint,
    verify_extension,
)
from shuiqiao.ledger.log.tree import (
    HASH_BYTES,
    Frontier,
    consistency_path,
    inclusion_path,
    leaf_hash,
    node_hash,
    verify_inclusion,
)
from shuiqiao.ledger.tiles.paths import (
    CHECKPOINT_PATH,
    ENTRIES,
    LENGTH_BYTES,
    MAX_BUNDLE_BYTES,
    MAX_TILE_BYTES,
    TILE_HEIGHT,
    TILE_WIDTH,
    TileId,
    hashes_at,
    tile_holding,
)

if TYPE_CHECKING:
    from shuiqiao.crypto.model import CipherSuite


_KEPT_TILES: Final = 64
"""Tiles kept in memory, of 8 kB each: a path of the largest log passes seven."""


class TileSource(Protocol):
    """Where static files come from."""

    def get(self, path: str, *, max_bytes: int) -> bytes | None:
        """Return the bytes of a file, None if there is no such file; of more than max_bytes any max_bytes + 1."""
        ...


class FolderTiles:
    """Static files in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, path: str, *, max_bytes: int) -> bytes | None:
        """Return the bytes of a file, None if there is no such file."""
        try:
            with open_regular(self._folder / path) as file:
                return file.read(max_bytes + 1)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None


class PublishedLog:
    """A log as its static files prove it, at one checkpoint."""

    def __init__(self, source: TileSource, *, checkpoint: Checkpoint, suite: CipherSuite) -> None:
        """checkpoint: verified; use ``open`` for the one that is published with the files."""
        self.checkpoint = checkpoint
        self._source = source
        self._hash_name = suite.hash_name
        self._kept: LRUCache[TileId, tuple[bytes, ...]] = LRUCache(_KEPT_TILES)

    @classmethod
    def open(cls, source: TileSource, *, policy: CheckpointPolicy, suite: CipherSuite) -> PublishedLog:
        """Return the log of the published checkpoint.

        policy: that of the checkpoint's own epoch [EPOCH-4], which the caller knows from a copy of the log or has
        followed to there (``replay.members``); an older one would be too easily content. Raises Unavailable
        ``ledger.tile_missing`` without one, and what ``verify_note`` raises.
        """
        note = source.get(CHECKPOINT_PATH, max_bytes=MAX_SIGNED_NOTE_BYTES)
        if note is None:
            raise _missing(CHECKPOINT_PATH)
        return cls(source, checkpoint=verify_note(note, policy=policy, suite=suite), suite=suite)

    def node(self, level: int, index: int) -> bytes:
        """Return the hash of a complete subtree as the tiles say: a HashReader, whose hashes are not verified yet."""
        tile_level, height = divmod(level, TILE_HEIGHT)
        start = index << height
        hashes = self._hashes(tile_holding(tile_level, start, size=self.checkpoint.size))
        offset = start % TILE_WIDTH
        row = list(hashes[offset : offset + (1 << height)])
        while len(row) > 1:
            row = [node_hash(row[at], row[at + 1], hash_name=self._hash_name) for at in range(0, len(row), 2)]
        return row[0]

    def inclusion_proof(self, index: int) -> tuple[bytes, ...]:
        """Return the inclusion path of a leaf, verified against the root.

        Raises InvalidInput ``ledger.index_unknown``; Unavailable ``ledger.tile_missing``; IntegrityError
        ``ledger.tile_malformed``, ``ledger.inclusion_broken``.
        """
        self._require_index(index)
        return self._prove(index, leaf=self.node(0, index))

    def entry(self, index: int) -> bytes:
        """Return a leaf's bytes, proven to be at this index; raises what ``inclusion_proof`` raises."""
        self._require_index(index)
        tile = tile_holding(ENTRIES, index, size=self.checkpoint.size)
        entry = self._bundle(tile)[index - tile.first]
        self._prove(index, leaf=leaf_hash(entry, hash_name=self._hash_name))
        return entry

    def consistency_proof(self, old: Checkpoint) -> tuple[bytes, ...]:
        """Return the proof that this log extends an older checkpoint, verified.

        Raises InvalidInput ``ledger.index_unknown`` for a larger one, IntegrityError ``ledger.consistency_broken``.
        """
        new, name = self.checkpoint, self._hash_name
        path: tuple[bytes, ...] = ()
        if old.size:
            path = consistency_path(self, old_size=old.size, new_size=new.size, hash_name=name)
        verify_extension(old, new, path=path, hash_name=name)
        return path

    def entries(self, *, first: int = 0) -> Iterator[bytes]:
        """Iterate over the leaves from one on in order, unverified: ``verify_all`` first, or ``entry`` for one."""
        for start in range(first - first % TILE_WIDTH, self.checkpoint.size, TILE_WIDTH):
            bundle = self._bundle(tile_holding(ENTRIES, start, size=self.checkpoint.size))
            yield from bundle[max(0, first - start) :]

    def verify_all(self) -> int:
        """Return the number of leaves, once every entry and every hash of every tile leads to the root.

        Raises Unavailable ``ledger.tile_missing``; IntegrityError ``ledger.tile_malformed``,
        ``ledger.tile_contradicted`` with the path of the file.
        """
        frontier = Frontier(hash_name=self._hash_name)
        rows: dict[int, list[bytes]] = {}
        for start in range(0, self.checkpoint.size, TILE_WIDTH):
            entries = self._bundle(tile_holding(ENTRIES, start, size=self.checkpoint.size))
            for level, _, node in frontier.append(leaf_hash(entry, hash_name=self._hash_name) for entry in entries):
                if level % TILE_HEIGHT == 0:
                    rows.setdefault(level // TILE_HEIGHT, []).append(node)
            for level in sorted(rows):
                self._compare(level, rows[level], frontier.size)
        if frontier.root() != self.checkpoint.root:
            raise IntegrityError(
                "ledger.tile_contradicted",
                f"the entries give root {frontier.root().hex()}, the checkpoint says {self.checkpoint.root.hex()}",
            )
        return frontier.size

    def _compare(self, level: int, row: list[bytes], size: int) -> None:
        """Compare the hashes gathered of a level with its tile once that is complete."""
        is_last = size == self.checkpoint.size
        if not row or not (len(row) == TILE_WIDTH or is_last):
            return
        tile = tile_holding(level, hashes_at(level, size=size) - len(row), size=self.checkpoint.size)
        if self._hashes(tile) != tuple(row):
            raise IntegrityError("ledger.tile_contradicted", f"{tile.path} holds other hashes than the entries give")
        row.clear()

    def _prove(self, index: int, *, leaf: bytes) -> tuple[bytes, ...]:
        size, name = self.checkpoint.size, self._hash_name
        path = inclusion_path(self, index=index, size=size, hash_name=name)
        verify_inclusion(leaf_hash=leaf, index=index, size=size, path=path, root=self.checkpoint.root, hash_name=name)
        return path

    def _require_index(self, index: int) -> None:
        if not 0 <= index < self.checkpoint.size:
            raise InvalidInput("ledger.index_unknown", f"leaf {index} is not in a log of {self.checkpoint.size} leaves")

    def _hashes(self, tile: TileId) -> tuple[bytes, ...]:
        kept = self._kept.get(tile)
        if kept is not None:
            return kept
        path, data, width = self._read(tile, max_bytes=MAX_TILE_BYTES)
        if len(data) != width * HASH_BYTES:
            raise _malformed(path, f"it has {len(data)} bytes where {width} hashes have {width * HASH_BYTES}")
        hashes = tuple(data[at : at + HASH_BYTES] for at in range(0, tile.width * HASH_BYTES, HASH_BYTES))
        self._kept[tile] = hashes
        return hashes

    def _bundle(self, tile: TileId) -> list[bytes]:
        path, data, width = self._read(tile, max_bytes=MAX_BUNDLE_BYTES)
        entries: list[bytes] = []
        at = 0
        while at < len(data) and len(entries) < width:
            start = at + LENGTH_BYTES
            at = start + int.from_bytes(data[at:start], "big")
            entries.append(data[start:at])
        if at != len(data) or len(entries) != width:
            raise _malformed(path, f"its {len(data)} bytes are not {width} entries after their lengths")
        return entries[: tile.width]

    def _read(self, tile: TileId, *, max_bytes: int) -> tuple[str, bytes, int]:
        """Return path, bytes and width of a tile, or of the full one that has taken the place of a partial one."""
        for one in (tile,) if tile.is_full else (tile, tile.full):
            data = self._source.get(one.path, max_bytes=max_bytes)
            if data is not None:
                return one.path, data, one.width
        raise _missing(tile.path)


def _missing(path: str) -> Unavailable:
    return Unavailable(
        "ledger.tile_missing", f"there is no {path}", next_step="copy the published files again, or from another member"
    )


def _malformed(path: str, reason: str) -> IntegrityError:
    return IntegrityError("ledger.tile_malformed", f"{path}: {reason}")


def verify_pinned(checkpoint: Checkpoint, *, pinned: Checkpoint, tiles: TileSource | None, suite: CipherSuite) -> None:
    """Return if a checkpoint and the pinned one are of one history.

    tiles: the log's static files, needed unless both are of one size. Raises IntegrityError
    ``ledger.pin_contradicted``, ``ledger.tile_malformed``; InvalidInput ``ledger.pin_foreign``,
    ``ledger.pin_unproven``; Unavailable ``ledger.tile_missing``.
    """
    if pinned.origin != checkpoint.origin:
        raise InvalidInput(
            "ledger.pin_foreign", f"the known checkpoint is of {pinned.origin!r}, the receipt of {checkpoint.origin!r}"
        )
    if pinned.size == checkpoint.size:
        if pinned.root != checkpoint.root:
            raise _contradicted(checkpoint, pinned)
        return
    if tiles is None:
        raise InvalidInput(
            "ledger.pin_unproven",
            f"the receipt's log has {checkpoint.size} leaves, the known one {pinned.size}: that they are one history "
            "is shown by the log's static files, and none were named",
            next_step="add --tiles FOLDER, or ask a member for the receipt under the checkpoint that you know",
        )
    old, new = sorted((checkpoint, pinned), key=lambda one: one.size)
    try:
        path = _path(tiles, old_size=old.size, new_size=new.size, suite=suite)
        verify_extension(old, new, path=path, hash_name=suite.hash_name)
    except IntegrityError as error:
        raise _contradicted(checkpoint, pinned) from error


def _path(tiles: TileSource, *, old_size: int, new_size: int, suite: CipherSuite) -> tuple[bytes, ...]:
    if old_size == 0:
        return ()
    note = tiles.get(CHECKPOINT_PATH, max_bytes=MAX_SIGNED_NOTE_BYTES)
    published = None if note is None else read_checkpoint(note)
    if published is None or published.size < new_size:
        raise Unavailable(
            "ledger.tile_missing",
            f"the static files reach to {0 if published is None else published.size} leaves, {new_size} are needed",
            next_step="fetch newer files of the log",
        )
    log = PublishedLog(tiles, checkpoint=published, suite=suite)
    return consistency_path(log, old_size=old_size, new_size=new_size, hash_name=suite.hash_name)


def _contradicted(checkpoint: Checkpoint, pinned: Checkpoint) -> IntegrityError:
    return IntegrityError(
        "ledger.pin_contradicted",
        f"the receipt's log of {checkpoint.size} leaves has root {checkpoint.root.hex()} and is not of one history "
        f"with the known one of {pinned.size} leaves and root {pinned.root.hex()}",
        next_step="keep both notes and tell the regulator: one of them was signed with stolen keys, or the files are "
        "of another log",
    )
