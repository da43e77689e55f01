"""State-sync snapshots: the segment files as one long stream of bytes, cut into chunks that are hashed one by one.

Segments only ever grow at their end, so a snapshot of an earlier height is a prefix of the stream: it costs a manifest
and no copy, and the digests of full chunks stay good for all later snapshots. A node that joins checks each chunk by
its digest, opens the blocks by executing them, and compares the root that results with the application hash that a
light client verified: nothing that a peer sends is believed [ABCI-21].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from shuiqiao.base.encoding import decode_cbor_strict, encode_cbor
from shuiqiao.base.errors import IntegrityError, InvalidInput
from shuiqiao.ledger.engine.cometbft.parts import Snapshot
from shuiqiao.ledger.engine.cometbft.position import Position

FORMAT: Final = 1
CHUNK_BYTES: Final = 4 * 1024 * 1024
"""Bytes of a chunk: a quarter of what CometBFT lets through in one message."""

MAX_MANIFEST_BYTES: Final = 3 * 1024 * 1024
"""CometBFT lets 4 MiB through for an offer; this holds 90,000 chunks, 350 GiB of blocks."""

KEPT: Final = 3
"""Snapshots on offer: a joining node needs two heights above the one it takes, and time to fetch it."""

Digest = Callable[[bytes], bytes]


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a snapshot consists of.

    segments: first height and length in bytes of each segment file. chunks: suite digest of each chunk of the stream.
    """

    version: int
    position: Position
    segments: list[tuple[int, int]]
    chunk_bytes: int
    chunks: list[bytes]

    @property
    def stream_bytes(self) -> int:
        """Length of the whole stream."""
        return sum(length for _, length in self.segments)


def encode_manifest(manifest: Manifest) -> bytes:
    """Return a manifest's bytes: the metadata of the offer."""
    return encode_cbor(msgspec.to_builtins(manifest, builtin_types=(bytes,)))


def decode_manifest(data: bytes) -> Manifest:
    """Return the manifest in an offer; raises InvalidInput ``ledger.snapshot_malformed``."""
    try:
        fields = decode_cbor_strict(data, max_bytes=MAX_MANIFEST_BYTES)
        manifest = msgspec.convert(fields, Manifest, strict=True, builtin_types=(bytes,))
    except (InvalidInput, msgspec.ValidationError) as error:
        raise InvalidInput("ledger.snapshot_malformed", f"the offer's metadata is no manifest: {error}") from error
    heights = [height for height, _ in manifest.segments]
    needed = -(-manifest.stream_bytes // CHUNK_BYTES)
    is_whole = (
        manifest.version == FORMAT
        and manifest.chunk_bytes == CHUNK_BYTES
        and len(manifest.chunks) == needed > 0
        and all(height > 0 and length > 0 for height, length in manifest.segments)
        and heights == sorted(set(heights))
        and manifest.position.height > 0
    )
    if not is_whole:
        raise InvalidInput("ledger.snapshot_malformed", "the offer's manifest contradicts itself or is of another form")
    return manifest


class SnapshotShelf:
    """The snapshots this node offers, made from the segment files as they are."""

    def __init__(self, segments: Path, *, suffix: str, digest: Digest) -> None:
        self._segments = segments
        self._suffix = suffix
        self._digest = digest
        self._full: list[bytes] = []
        self._shelf: list[Manifest] = []

    def take(self, position: Position) -> None:
        """Add a snapshot of everything that is stored now; called right after a commit."""
        files = sorted(self._segments.glob(f"*{self._suffix}"))
        segments = [(int(path.stem), path.stat().st_size) for path in files]
        total = sum(length for _, length in segments)
        if not total:
            return
        while (len(self._full) + 1) * CHUNK_BYTES <= total:
            self._full.append(self._digest(self._read(segments, len(self._full))))
        chunks = list(self._full)
        if total % CHUNK_BYTES:
            chunks.append(self._digest(self._read(segments, len(chunks))))
        manifest = Manifest(
            version=FORMAT, position=position, segments=segments, chunk_bytes=CHUNK_BYTES, chunks=chunks
        )
        if len(encode_manifest(manifest)) <= MAX_MANIFEST_BYTES:
            self._shelf = [*self._shelf, manifest][-KEPT:]

    def offers(self) -> list[Snapshot]:
        """Return the snapshots there are, as CometBFT tells them to peers."""
        return [self._offer(manifest) for manifest in self._shelf]

    def _offer(self, manifest: Manifest) -> Snapshot:
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
        for manifest in self._shelf:
            if manifest.position.height == height and chunk < len(manifest.chunks):
                return self._read(manifest.segments, chunk)
        return b""

    def _read(self, segments: Sequence[tuple[int, int]], chunk: int) -> bytes:
        """Return the bytes of a chunk of the stream."""
        at, left = chunk * CHUNK_BYTES, CHUNK_BYTES
        parts: list[bytes] = []
        for height, length in segments:
            if at < length and left:
                with (self._segments / f"{height:020d}{self._suffix}").open("rb") as file:
                    file.seek(at)
                    parts.append(file.read(min(left, length - at)))
                left -= len(parts[-1])
            at = max(0, at - length)
        return b"".join(parts)


class Incoming:
    """A snapshot that is being taken in, in a folder of its own until it is whole."""

    def __init__(self, folder: Path, *, offer: Snapshot, app_hash: bytes, suffix: str, digest: Digest) -> None:
        """Raises InvalidInput ``ledger.snapshot_malformed`` for an offer that does not hold together."""
        if offer.format != FORMAT or digest(offer.metadata) != offer.hash:
            raise InvalidInput("ledger.snapshot_malformed", f"the offer is of format {offer.format} or not of its hash")
        self.manifest = decode_manifest(offer.metadata)
        if (offer.height, offer.chunks) != (self.manifest.position.height, len(self.manifest.chunks)):
            raise InvalidInput("ledger.snapshot_malformed", "the offer's height or chunks are not its manifest's")
        if self.manifest.position.app_hash != app_hash:
            raise InvalidInput("ledger.snapshot_malformed", "the offer's application hash is not the verified one")
        self.app_hash = app_hash
        self._folder = folder
        self._suffix = suffix
        self._digest = digest
        self._next = 0
        folder.mkdir(parents=True, exist_ok=True)

    def add(self, index: int, chunk: bytes) -> None:
        """Take the next chunk; raises IntegrityError ``ledger.snapshot_chunk_wrong`` for one that is not it."""
        if index != self._next or self._digest(chunk) != self.manifest.chunks[index]:
            raise IntegrityError(
                "ledger.snapshot_chunk_wrong", f"chunk {index} does not follow or does not have the manifest's digest"
            )
        self._write(index * CHUNK_BYTES, chunk)
        self._next += 1

    @property
    def is_whole(self) -> bool:
        """Whether all chunks are there."""
        return self._next == len(self.manifest.chunks)

    def _write(self, at: int, chunk: bytes) -> None:
        for height, length in self.manifest.segments:
            if at < length and chunk:
                part, chunk = chunk[: length - at], chunk[length - at :]
                with (self._folder / f"{height:020d}{self._suffix}").open("ab") as file:
                    file.write(part)
                at = length
            at = max(0, at - length)
