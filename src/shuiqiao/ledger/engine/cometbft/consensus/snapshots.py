"""Snapshots, by which a new node joins: the segment files as one stream of bytes, in chunks that are hashed one by one.

Segments only ever grow at their end, so a snapshot of an earlier height is a prefix of the stream: it costs a manifest
and no copy, and the digests of full chunks stay good for all later snapshots. The epoch notes that blocks carried,
which no block of ours gives again, follow as a second stream with chunks of its own. A node that joins checks each
chunk by its digest, opens the blocks by executing them, and compares the root that results with the application hash
that a light client verified: nothing that a peer sends is believed [ABCI-21].
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from shuiqiao.base.durable import flush_file
from shuiqiao.base.encoding import decode_cbor_strict, encode_cbor, typed
from shuiqiao.base.errors import IntegrityError, InvalidInput
from shuiqiao.base.files import open_regular
from shuiqiao.ledger.checkpoints.signed_note import MAX_SIGNED_NOTE_BYTES
from shuiqiao.ledger.engine.cometbft.abci.messages import Snapshot
from shuiqiao.ledger.engine.cometbft.consensus.heights import HeightRecord
from shuiqiao.ledger.store.frame import EMPTY_TAIL, SEGMENT_HEADER_BYTES, Broken, Tail
from shuiqiao.ledger.store.segments import SegmentFiles

FORMAT: Final = 2
CHUNK_BYTES: Final = 4 * 1024 * 1024
"""Bytes of a chunk: a quarter of what CometBFT lets through in one message."""

MAX_MANIFEST_BYTES: Final = 3 * 1024 * 1024
"""CometBFT lets 4 MiB through for an offer; this holds 90,000 chunks."""

MAX_SNAPSHOT_BYTES: Final = 256 * 1024**3
"""Bytes of a snapshot; a log that is longer is copied, not joined by snapshot."""

_FREE_SHARE: Final = 2
"""A snapshot takes one in so many free bytes of the disk at most: its index and later blocks take others."""

KEPT: Final = 3
"""Snapshots on offer: a joining node needs two heights above the one it takes, and time to fetch it."""

NOTES_FOLDER: Final = "notes"

Digest = Callable[[bytes], bytes]

Files = Sequence[tuple[Path, int]]
"""Files that form one stream, with the length in bytes that each has in it."""


class SnapshotManifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a snapshot consists of.

    segments: first height and length in bytes of each segment file. notes: leaves and length in bytes of each epoch
    note that blocks carried. chunks: suite digest of each chunk of the segments' stream, then of the notes'.
    """

    version: int
    position: HeightRecord
    segments: list[tuple[int, int]]
    notes: list[tuple[int, int]]
    chunk_bytes: int
    chunks: list[bytes]

    @property
    def total_bytes(self) -> int:
        """Bytes of both streams."""
        return sum(length for _, length in (*self.segments, *self.notes))

    @property
    def segment_chunks(self) -> int:
        """Chunks of the segments' stream."""
        return -(-sum(length for _, length in self.segments) // CHUNK_BYTES)

    @property
    def note_chunks(self) -> int:
        """Chunks of the notes' stream, which come after."""
        return -(-sum(length for _, length in self.notes) // CHUNK_BYTES)


def encode_manifest(manifest: SnapshotManifest) -> bytes:
    """Return a manifest's bytes: the metadata of the offer."""
    return encode_cbor(msgspec.to_builtins(manifest, builtin_types=(bytes,)))


def decode_manifest(data: bytes) -> SnapshotManifest:
    """Return the manifest in an offer; raises InvalidInput ``ledger.snapshot_malformed``."""
    try:
        fields = decode_cbor_strict(data, max_bytes=MAX_MANIFEST_BYTES)
        manifest = typed(fields, SnapshotManifest, builtin_types=(bytes,))
    except (InvalidInput, msgspec.ValidationError) as error:
        raise InvalidInput("ledger.snapshot_malformed", f"the offer's metadata is no manifest: {error}") from error
    is_in_order = all(
        all(number > 0 and length > 0 for number, length in files)
        and [number for number, _ in files] == sorted({number for number, _ in files})
        for files in (manifest.segments, manifest.notes)
    )
    is_whole = (
        manifest.version == FORMAT
        and manifest.chunk_bytes == CHUNK_BYTES
        and is_in_order
        and all(length <= MAX_SIGNED_NOTE_BYTES for _, length in manifest.notes)
        and manifest.segment_chunks > 0
        and manifest.total_bytes <= MAX_SNAPSHOT_BYTES
        and len(manifest.chunks) == manifest.segment_chunks + manifest.note_chunks
        and manifest.position.height > 0
    )
    if not is_whole:
        raise InvalidInput("ledger.snapshot_malformed", "the offer's manifest contradicts itself or is of another form")
    return manifest


class OfferedSnapshots:
    """The snapshots this node offers, made from the segment files and the epoch notes as they are."""

    def __init__(self, segments: Path, *, suffix: str, notes: Path, digest: Digest) -> None:
        """notes: the folder of the epoch notes that blocks carried, which never change."""
        self._segments = segments
        self._suffix = suffix
        self._notes = notes
        self._digest = digest
        self._full: list[bytes] = []
        self._offered: list[SnapshotManifest] = []

    def take(self, position: HeightRecord) -> None:
        """Add a snapshot of everything that is stored now; called right after a commit."""
        segments = [(int(path.stem), path.stat().st_size) for path in sorted(self._segments.glob(f"*{self._suffix}"))]
        notes = [(int(path.name), path.stat().st_size) for path in sorted(self._notes.iterdir()) if path.name.isdigit()]
        blank = SnapshotManifest(
            version=FORMAT, position=position, segments=segments, notes=notes, chunk_bytes=CHUNK_BYTES, chunks=[]
        )
        if not blank.segment_chunks or blank.total_bytes > MAX_SNAPSHOT_BYTES:
            return
        manifest = msgspec.structs.replace(blank, chunks=self._digests(blank))
        if len(encode_manifest(manifest)) <= MAX_MANIFEST_BYTES:
            self._offered = [*self._offered, manifest][-KEPT:]

    def _digests(self, manifest: SnapshotManifest) -> list[bytes]:
        """Return the digest of each chunk; those of full chunks of segments are made once."""
        total = sum(length for _, length in manifest.segments)
        while (len(self._full) + 1) * CHUNK_BYTES <= total:
            self._full.append(self._digest(self._read(manifest, len(self._full))))
        others = range(len(self._full), manifest.segment_chunks + manifest.note_chunks)
        return [*self._full, *(self._digest(self._read(manifest, chunk)) for chunk in others)]

    def offers(self) -> list[Snapshot]:
        """Return the snapshots there are, as CometBFT tells them to peers."""
        return [self._offer(manifest) for manifest in self._offered]

    def _offer(self, manifest: SnapshotManifest) -> Snapshot:
        metadata = encode_manifest(manifest)
        return Snapshot(
            height=manifest.position.height,
            format=FORMAT,
            chunks=len(manifest.chunks),
            hash=self._digest(metadata),
            metadata=metadata,
        )

    def chunk(self, *, height: int, chunk: int) -> bytes:
        """Return a part of a snapshot that is on offer, empty for any other."""
        for manifest in self._offered:
            if manifest.position.height == height and chunk < len(manifest.chunks):
                return self._read(manifest, chunk)
        return b""

    def _read(self, manifest: SnapshotManifest, chunk: int) -> bytes:
        segments = [(self._segments / f"{height:020d}{self._suffix}", length) for height, length in manifest.segments]
        notes = [(self._notes / f"{size:020d}", length) for size, length in manifest.notes]
        before = manifest.segment_chunks
        return _read(segments, chunk) if chunk < before else _read(notes, chunk - before)


class Incoming:
    """A snapshot that is being taken in, in a folder of its own until it is whole."""

    def __init__(
        self, folder: Path, *, offer: Snapshot, app_hash: bytes, segments: SegmentFiles, digest: Digest
    ) -> None:
        """segments: the segment files of the network in a folder inside, which is empty.

        Raises InvalidInput ``ledger.snapshot_malformed`` for an offer that does not hold together,
        ``ledger.snapshot_too_large`` for one that this disk has no room for.
        """
        if offer.format != FORMAT or digest(offer.metadata) != offer.hash:
            raise InvalidInput("ledger.snapshot_malformed", f"the offer is of format {offer.format} or not of its hash")
        self.manifest = decode_manifest(offer.metadata)
        if (offer.height, offer.chunks) != (self.manifest.position.height, len(self.manifest.chunks)):
            raise InvalidInput("ledger.snapshot_malformed", "the offer's height or chunks are not its manifest's")
        if self.manifest.position.app_hash != app_hash:
            raise InvalidInput("ledger.snapshot_malformed", "the offer's application hash is not the verified one")
        self.app_hash = app_hash
        self.folder = folder
        self._digest = digest
        self._next = 0
        self._files = segments
        self._tail = EMPTY_TAIL
        self._segments = [(segments.path(height), length) for height, length in self.manifest.segments]
        self._notes = [(folder / NOTES_FOLDER / f"{size:020d}", length) for size, length in self.manifest.notes]
        for path, _ in (*self._segments, *self._notes):
            path.parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
        if self.manifest.total_bytes * _FREE_SHARE > free:
            raise InvalidInput(
                "ledger.snapshot_too_large",
                f"the snapshot has {self.manifest.total_bytes} bytes, {folder} has {free} free",
                next_step="give the node a larger disk, or let it copy the blocks instead",
            )

    def add(self, index: int, chunk: bytes) -> None:
        """Take the next chunk, and look at the blocks that are whole by it.

        Raises IntegrityError ``ledger.snapshot_chunk_wrong`` for a chunk that is not it, and
        ``ledger.snapshot_contradicted`` where the manifest's own chunks are no blocks that follow each other.
        """
        if index != self._next or self._digest(chunk) != self.manifest.chunks[index]:
            raise IntegrityError(
                "ledger.snapshot_chunk_wrong", f"chunk {index} does not follow or does not have the manifest's digest"
            )
        before = self.manifest.segment_chunks
        files, at = (self._segments, index) if index < before else (self._notes, index - before)
        if len(chunk) != min(CHUNK_BYTES, sum(length for _, length in files) - at * CHUNK_BYTES):
            raise snapshot_contradicted(f"chunk {index} has {len(chunk)} bytes")
        for path, length, part in _parts(files, at, chunk):
            with path.open("ab") as file:
                file.write(part)
                flush_file(file)
            if files is self._segments:
                self._follow(path, length)
        self._next += 1

    def _follow(self, path: Path, length: int) -> None:
        """Go on behind the whole blocks of a segment file that is length bytes long once it is there."""
        here, segment = path.stat().st_size, int(path.stem)
        if here < min(length, SEGMENT_HEADER_BYTES):
            return
        tail: Tail | Broken = self._tail
        if segment != self._tail.segment:
            tail = self._files.start_segment(segment, self._tail)
        if not isinstance(tail, Broken):
            tail = self._files.follow(tail)
        if isinstance(tail, Broken):
            raise snapshot_contradicted(f"{path.name} at byte {tail.offset}: {tail.reason}")
        if here == length != tail.offset or tail.height > self.manifest.position.block:
            raise snapshot_contradicted(f"{path.name} ends at byte {length}, its block {tail.height} at {tail.offset}")
        self._tail = tail

    @property
    def is_whole(self) -> bool:
        """Whether all chunks are there."""
        return self._next == len(self.manifest.chunks)

    def notes(self) -> list[bytes]:
        """Return the epoch notes, once all chunks are there."""
        return [path.read_bytes() for path, _ in self._notes]


def _read(files: Files, chunk: int) -> bytes:
    """Return the bytes of a chunk of a stream."""
    at, left = chunk * CHUNK_BYTES, CHUNK_BYTES
    parts: list[bytes] = []
    for path, length in files:
        if at < length and left:
            with open_regular(path) as file:
                file.seek(at)
                parts.append(file.read(min(left, length - at)))
            left -= len(parts[-1])
        at = max(0, at - length)
    return b"".join(parts)


def _parts(files: Files, index: int, chunk: bytes) -> Iterator[tuple[Path, int, bytes]]:
    """Yield the files that a chunk of a stream belongs to, the whole length of each, and its part of the chunk."""
    at = index * CHUNK_BYTES
    for path, length in files:
        if at < length and chunk:
            part, chunk = chunk[: length - at], chunk[length - at :]
            yield path, length, part
            at = length
        at = max(0, at - length)


def snapshot_contradicted(reason: str) -> IntegrityError:
    """Return what is raised for a snapshot that is not what a light client verified."""
    return IntegrityError("ledger.snapshot_contradicted", f"the snapshot is not what was verified: {reason}")
