"""Places in the segment files: where a frame stands, where the written ledger ends, where a scan could not go on."""

from __future__ import annotations

from typing import Final

import msgspec

from shuiqiao.ledger.store.frame import ZERO_DIGEST, Frame


class Place(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Where a frame stands.

    segment: first height of the segment file, which is its name; offset: of the frame in the file, in bytes.
    """

    segment: int
    offset: int
    frame_bytes: int

    @property
    def end(self) -> int:
        """Offset of the byte after the frame."""
        return self.offset + self.frame_bytes


class Tail(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The end of the written ledger: where and to what the next frame is chained."""

    segment: int
    offset: int
    height: int
    """Height of the last block, 0 before the first."""
    size: int
    """Leaves so far: transactions and block entries."""
    digest: bytes
    """Digest of the last frame, or of the segment header where no frame follows it yet."""


class Broken(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The place at which a scan could not go on, and why."""

    segment: int
    offset: int
    reason: str


class StoredFrame(msgspec.Struct, frozen=True, kw_only=True):
    """A verified frame and its place."""

    place: Place
    frame: Frame


EMPTY_TAIL: Final = Tail(segment=0, offset=0, height=0, size=0, digest=ZERO_DIGEST)
"""The tail of a ledger that has no segment yet."""


def tail_after(stored: StoredFrame) -> Tail:
    """Return the tail that a frame leaves: its block entry takes one more leaf after its transactions."""
    frame = stored.frame
    return Tail(
        segment=stored.place.segment,
        offset=stored.place.end,
        height=frame.height,
        size=frame.first_index + len(frame.transactions) + 1,
        digest=frame.digest,
    )


def frame_mismatch(frame: Frame, tail: Tail) -> str:
    """Return why a frame does not follow a tail, an empty string where it does."""
    if (frame.height, frame.first_index) != (tail.height + 1, tail.size):
        found = f"block {frame.height} at index {frame.first_index}"
        return f"{found}, where block {tail.height + 1} at index {tail.size} follows"
    if frame.previous != tail.digest:
        return f"block {frame.height} is chained to {frame.previous.hex()}, not to {tail.digest.hex()}"
    return ""
