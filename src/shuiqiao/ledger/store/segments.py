"""Append-only segment files: the truth of the ledger [STORE-1], from which all else on disk can be made again.

Follows docs/spec/ledger-store.md sections 1 to 4. One SegmentFiles object writes; any number of threads may read frames
that were appended before. It knows neither transactions' meaning nor Merkle trees; it guarantees that what ``append``
returned from is on the medium, whole, and chained to what stands before it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Self

from shuiqiao.base.durable import SYSTEM_DISK, Disk
from shuiqiao.base.errors import IntegrityError, Unavailable
from shuiqiao.base.files import open_descriptor
from shuiqiao.ledger.store.frame import (
    DIGEST_BYTES,
    EMPTY_TAIL,
    FRAME_HEAD_BYTES,
    MAX_FRAME_BODY_BYTES,
    SEGMENT_HEADER_BYTES,
    Broken,
    Damage,
    Frame,
    HashName,
    Place,
    SegmentHeader,
    StoredFrame,
    Tail,
    decode_frame,
    decode_frame_head,
    decode_segment_header,
    encode_frame,
    encode_segment_header,
    frame_mismatch,
    locate_item,
    tail_after,
)

SEGMENTS_FOLDER: Final = "segments"
"""Name of their folder in that of a ledger."""

SEGMENT_SUFFIX: Final = ".segment"
DEFAULT_SEGMENT_BYTES: Final = 256 * 1024 * 1024
_FILE_MODE = 0o644
_LENGTH_BYTES = 4
_DISK_RETRY_S = 10.0
_FIRST_READ_BYTES = 4096
"""Read at once of a frame whose length is not known yet: nearly all are shorter."""

_READ_AHEAD_BYTES = 256 * 1024
"""Read at once of frames that follow each other, unless a single one is longer."""

_LARGEST_READ_BYTES = FRAME_HEAD_BYTES + MAX_FRAME_BODY_BYTES + DIGEST_BYTES


class SegmentFiles:
    """The segment files of one ledger folder.

    Not safe for two writers: the engine holds the folder's lock and calls ``append`` from one thread.
    """

    def __init__(
        self,
        folder: Path,
        *,
        network: bytes,
        hash_name: HashName,
        disk: Disk = SYSTEM_DISK,
        max_segment_bytes: int = DEFAULT_SEGMENT_BYTES,
    ) -> None:
        self._folder = folder
        self._network = network
        self._hash_name: HashName = hash_name
        self._disk = disk
        self._max_segment_bytes = max_segment_bytes
        self._tail = EMPTY_TAIL
        self._writer: int | None = None

    @classmethod
    def in_ledger(cls, folder: Path, *, network: bytes, hash_name: HashName) -> Self:
        """Return the files of a ledger folder."""
        return cls(folder / SEGMENTS_FOLDER, network=network, hash_name=hash_name)

    @property
    def tail(self) -> Tail:
        """The end of what is written."""
        return self._tail

    def path(self, segment: int) -> Path:
        """Return the file of a segment: its first height in 20 digits ([STORE-2])."""
        return self._folder / f"{segment:020d}{SEGMENT_SUFFIX}"

    def segments(self) -> list[int]:
        """Return the first heights of all segment files, in order."""
        return sorted(int(path.stem) for path in self._folder.glob(f"*{SEGMENT_SUFFIX}") if path.stem.isdigit())

    # Reading

    def scan(self, after: Tail) -> Iterator[StoredFrame | Broken]:
        """Yield every frame after a known good end, in order; a Broken, if one comes, is the last thing yielded."""
        tail = after
        for segment in self.segments():
            if segment < tail.segment:
                continue
            if segment > tail.segment:
                started = self.start_segment(segment, tail)
                if isinstance(started, Broken):
                    yield started
                    return
                tail = started
            for found in self._scan_one(tail):
                yield found
                if isinstance(found, Broken):
                    return
                tail = tail_after(found)

    def start_segment(self, segment: int, tail: Tail) -> Tail | Broken:
        """Check that a segment's header continues the segment before it ([STORE-4])."""
        header = decode_segment_header(self._read(segment, 0, SEGMENT_HEADER_BYTES), hash_name=self._hash_name)
        if isinstance(header, Damage):
            return Broken(segment=segment, offset=header.at, height=tail.height + 1, reason=header.reason)
        reason = self._header_mismatch(header, segment, tail)
        if reason:
            return Broken(segment=segment, offset=0, height=tail.height + 1, reason=reason)
        return Tail(
            segment=segment, offset=SEGMENT_HEADER_BYTES, height=tail.height, size=tail.size, digest=header.digest
        )

    def _header_mismatch(self, header: SegmentHeader, segment: int, tail: Tail) -> str:
        if header.network != self._network:
            return f"belongs to network {header.network.hex()}, not {self._network.hex()}"
        if not header.first_height == segment == tail.height + 1 or header.first_index != tail.size:
            found = f"height {header.first_height} index {header.first_index}"
            return f"begins at {found}, where height {tail.height + 1} index {tail.size} follows"
        if header.previous != tail.digest:
            return f"is chained to {header.previous.hex()}, where the block before it is {tail.digest.hex()}"
        return ""

    def _scan_one(self, tail: Tail) -> Iterator[StoredFrame | Broken]:
        length = self.segment_bytes(tail.segment)
        while tail.offset < length:
            found = self._read_at(tail)
            yield found
            if isinstance(found, Broken):
                return
            tail = tail_after(found)

    def follow(self, tail: Tail) -> Tail | Broken:
        """Return the end of the whole frames behind a good end, in a segment file of which more is still to come."""
        while True:
            head = decode_frame_head(self._read(tail.segment, tail.offset, FRAME_HEAD_BYTES))
            here = self.segment_bytes(tail.segment) - tail.offset
            if here < FRAME_HEAD_BYTES or (not isinstance(head, Damage) and head.frame_bytes > here):
                return tail
            found = self._read_at(tail)
            if isinstance(found, Broken):
                return found
            tail = tail_after(found)

    def _read_at(self, tail: Tail) -> StoredFrame | Broken:
        frame, height = self.frame_at(tail.segment, tail.offset), tail.height + 1
        if isinstance(frame, Damage):
            return Broken(segment=tail.segment, offset=tail.offset + frame.at, height=height, reason=frame.reason)
        reason = frame_mismatch(frame, tail)
        if reason:
            return Broken(segment=tail.segment, offset=tail.offset, height=height, reason=reason)
        place = Place(segment=tail.segment, offset=tail.offset, frame_bytes=frame.frame_bytes)
        return StoredFrame(place=place, frame=frame)

    def frame_at(self, segment: int, offset: int) -> Frame | Damage:
        """Return the frame at an offset, its digest verified, or what is wrong with it."""
        data = self._read(segment, offset, _FIRST_READ_BYTES)
        head = decode_frame_head(data)
        if isinstance(head, Damage):
            return head
        if head.frame_bytes > len(data) == _FIRST_READ_BYTES:
            data = self._read(segment, offset, head.frame_bytes)
        return decode_frame(data[: head.frame_bytes], hash_name=self._hash_name)

    def read_frames(self, places: Sequence[Place], *, first_height: int) -> Iterator[Frame]:
        """Yield the frames at places that follow each other, each verified when it is reached.

        first_height: of the block at the first place.

        Raises IntegrityError ``ledger.segment_damaged`` at one that no longer holds.
        """
        height = first_height
        for group in _adjoining(places):
            segment, start = group[0].segment, group[0].offset
            data = self._read(segment, start, min(group[-1].end - start, _LARGEST_READ_BYTES))
            for place in group:
                frame = decode_frame(data[place.offset - start : place.end - start], hash_name=self._hash_name)
                if isinstance(frame, Damage):
                    at = place.offset + frame.at
                    raise self.damaged(Broken(segment=segment, offset=at, height=height, reason=frame.reason))
                yield frame
                height += 1

    def read_item(self, place: Place, position: int) -> bytes:
        """Return one transaction (or, at position count, the block entry) without reading its whole frame.

        The frame's digest is not verified: the caller compares the item with its leaf hash.
        """
        table = self._read(place.segment, place.offset, FRAME_HEAD_BYTES + (position + 1) * _LENGTH_BYTES)
        start, length = locate_item(table, position=position)
        return self._read(place.segment, place.offset + start, min(length, place.frame_bytes))

    def segment_bytes(self, segment: int) -> int:
        """Return the present length of a segment file in bytes."""
        return self.path(segment).stat().st_size

    def read_tail(self, segment: int, offset: int) -> bytes:
        """Return everything from an offset to the end of a segment file."""
        return self._read(segment, offset, self.segment_bytes(segment) - offset)

    def damaged(self, broken: Broken) -> IntegrityError:
        """Return the error that names a damaged place by file, offset and block."""
        return IntegrityError(
            "ledger.segment_damaged",
            f"{self.path(broken.segment)} at byte {broken.offset}, in block {broken.height}: {broken.reason}",
            next_step="restore this file from a backup or from another member's copy; do not delete it",
        )

    def _read(self, segment: int, offset: int, length: int) -> bytes:
        # A plain name: joining paths takes longer than reading.
        descriptor = open_descriptor(f"{self._folder}/{segment:020d}{SEGMENT_SUFFIX}", flags=os.O_RDONLY)
        try:
            return os.pread(descriptor, length, offset)
        finally:
            os.close(descriptor)

    # Writing

    def resume(self, tail: Tail) -> None:
        """Make a verified end the place where the next frame goes."""
        self._tail = tail
        self._close_writer()

    def cut(self, segment: int, offset: int) -> None:
        """Cut a torn tail durably; a segment cut inside its own header is removed ([STORE-12])."""
        if offset < SEGMENT_HEADER_BYTES:
            self.path(segment).unlink()
            self._disk.sync_folder(self._folder)
            return
        descriptor = open_descriptor(self.path(segment), flags=os.O_WRONLY)
        try:
            self._disk.truncate(descriptor, offset)
            self._disk.sync(descriptor)
        finally:
            os.close(descriptor)

    def append(self, transactions: Sequence[bytes], *, entry: bytes) -> StoredFrame:
        """Append one block and return when it is on the medium ([STORE-8]).

        Raises Unavailable ``ledger.disk_full`` if nothing was kept, and the ledger may go on; Unavailable
        ``ledger.store_failed`` if it is unknown what the medium holds: the ledger must be opened again.
        """
        tail = self._roll() if self._needs_segment() else self._tail
        data, digest = encode_frame(
            transactions,
            entry=entry,
            height=tail.height + 1,
            first_index=tail.size,
            previous=tail.digest,
            hash_name=self._hash_name,
        )
        self._write(data, tail)
        place = Place(segment=tail.segment, offset=tail.offset, frame_bytes=len(data))
        frame = Frame(
            height=tail.height + 1,
            first_index=tail.size,
            transactions=tuple(transactions),
            entry=entry,
            previous=tail.digest,
            digest=digest,
            frame_bytes=len(data),
        )
        stored = StoredFrame(place=place, frame=frame)
        self._tail = tail_after(stored)
        return stored

    def _needs_segment(self) -> bool:
        return self._tail.segment == 0 or self._tail.offset >= self._max_segment_bytes

    def _roll(self) -> Tail:
        """Start the next segment: header, file and folder are on the medium before a frame is ([STORE-9])."""
        before = self._tail
        segment = before.height + 1
        header = encode_segment_header(
            network=self._network,
            first_height=segment,
            first_index=before.size,
            previous=before.digest,
            hash_name=self._hash_name,
        )
        self._close_writer()
        try:
            self._create_segment(segment, header)
        except OSError as error:
            raise self._abandon_segment(segment, error) from error
        digest = header[-len(before.digest) :]
        self._tail = Tail(segment=segment, offset=len(header), height=before.height, size=before.size, digest=digest)
        return self._tail

    def _create_segment(self, segment: int, header: bytes) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
        self._writer = os.open(self.path(segment), flags, _FILE_MODE)
        self._disk.append(self._writer, header)
        self._disk.sync(self._writer)
        self._disk.sync_folder(self._folder)

    def _abandon_segment(self, segment: int, error: OSError) -> Unavailable:
        """Remove a segment that holds no frame yet, so that the next attempt starts afresh."""
        self._close_writer()
        try:
            self.path(segment).unlink(missing_ok=True)
        except OSError as second:
            return store_failed(second)
        return disk_full(error, height=segment)

    def _write(self, data: bytes, tail: Tail) -> None:
        if self._writer is None:
            self._writer = open_descriptor(self.path(tail.segment), flags=os.O_WRONLY | os.O_APPEND)
        try:
            self._disk.append(self._writer, data)
        except OSError as error:
            self._undo(self._writer, tail.offset)
            raise disk_full(error, height=tail.height + 1) from error
        try:
            self._disk.sync(self._writer)
        except OSError as error:
            # [STORE-10]: after a failed flush the kernel may drop the pages and report success next time: no retry.
            raise store_failed(error) from error

    def _undo(self, descriptor: int, offset: int) -> None:
        """Remove a part of a frame, so that the next one does not follow garbage."""
        try:
            self._disk.truncate(descriptor, offset)
            self._disk.sync(descriptor)
        except OSError as error:
            raise store_failed(error) from error

    def close(self) -> None:
        """Release the file that is being written."""
        self._close_writer()

    def _close_writer(self) -> None:
        if self._writer is not None:
            os.close(self._writer)
            self._writer = None


class WatchedFiles(SegmentFiles):
    """Segment files that are only looked at: what a recovery would cut off stays."""

    def cut(self, segment: int, offset: int) -> None:
        """Leave a torn tail where it is."""

    def resume(self, tail: Tail) -> None:
        """Go on nowhere: nothing is written."""


def _adjoining(places: Sequence[Place]) -> Iterator[list[Place]]:
    """Group places that one read covers."""
    group: list[Place] = []
    for place in places:
        is_next = bool(group) and (place.segment, place.offset) == (group[-1].segment, group[-1].end)
        if group and not (is_next and place.end - group[0].offset <= _READ_AHEAD_BYTES):
            yield group
            group = []
        group.append(place)
    if group:
        yield group


def disk_full(error: OSError, *, height: int) -> Unavailable:
    """Return the error of a block that was not written at all: the ledger is as it was before."""
    return Unavailable(
        "ledger.disk_full",
        f"block {height} was not written: {error.strerror or error}",
        next_step="free disk space; nothing that was acknowledged is lost",
        retry_after_s=_DISK_RETRY_S,
    )


def store_failed(error: OSError) -> Unavailable:
    """Return the error after which the engine stops accepting: the medium's content is unknown until reopened."""
    return Unavailable(
        "ledger.store_failed",
        f"the ledger's disk failed, {error.strerror or error}: what was not acknowledged may or may not be kept",
        next_step="check the disk, then open the ledger again: it recovers every acknowledged block",
    )
