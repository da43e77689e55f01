"""The bytes of a segment file: one header, then one frame per block, each chained to what stands before it.

Layout in docs/spec/ledger-store.md, sections 2 and 3; all integers are big-endian. This module is pure: it reads no
file and never raises for damaged bytes, it returns a Damage that says what is wrong and where. What to do about damage
is decided by ``recovery`` (a torn tail is cut) and ``replay`` (everything is reported). Places in the files stand here
too: where a frame is, where the written ledger ends, where a scan could not go on.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from shuiqiao.ledger.log.tree import hash_function

HashName = Literal["sha256", "sm3"]

FORMAT_VERSION: Final = 1
SEGMENT_MAGIC: Final = b"SHUIQSEG"
FRAME_MAGIC: Final = b"SQBF"
BLOCK_FRAME: Final = 1
DIGEST_BYTES: Final = 32
ZERO_DIGEST: Final = bytes(DIGEST_BYTES)

_SEGMENT_HEADER = struct.Struct(">8sHHI32sQQ32s")
_FRAME_HEAD = struct.Struct(">4sBBHQQII32s")
SEGMENT_HEADER_BYTES: Final = _SEGMENT_HEADER.size + DIGEST_BYTES
FRAME_HEAD_BYTES: Final = _FRAME_HEAD.size

MAX_FRAME_TRANSACTIONS: Final = 65_536
"""Most transactions in one frame: bounds the length table that is read before anything is verified (256 KiB)."""

MAX_FRAME_BODY_BYTES: Final = 64 * 1024 * 1024
"""Largest body of one frame, in bytes: bounds what a damaged length can make a reader allocate."""

_HASH_IDS: Final[dict[str, int]] = {"sha256": 1, "sm3": 2}
_LENGTH_BYTES = 4


class Damage(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Bytes that are not what the format demands.

    at: offset of the wrong bytes from the start of the header or frame that was being read.
    """

    reason: str
    at: int


class SegmentHeader(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What the first 128 bytes of a segment file say.

    previous: digest of the last frame of the segment before, 32 zero bytes in the first segment.
    digest: digest of this header; the first frame is chained to it.
    """

    network: bytes
    first_height: int
    first_index: int
    previous: bytes
    digest: bytes


class FrameHead(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The fixed 64 bytes before a frame's body, not yet verified."""

    height: int
    first_index: int
    count: int
    body_bytes: int
    previous: bytes

    @property
    def frame_bytes(self) -> int:
        """Length of the whole frame: head, body and digest."""
        return FRAME_HEAD_BYTES + self.body_bytes + DIGEST_BYTES


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    """One block as stored, its digest verified."""

    height: int
    first_index: int
    transactions: tuple[bytes, ...]
    entry: bytes
    previous: bytes
    digest: bytes
    frame_bytes: int


def encode_segment_header(
    *, network: bytes, first_height: int, first_index: int, previous: bytes, hash_name: HashName
) -> bytes:
    """Return the 128 header bytes of a segment file ([STORE-4])."""
    head = _SEGMENT_HEADER.pack(
        SEGMENT_MAGIC, FORMAT_VERSION, _HASH_IDS[hash_name], 0, network, first_height, first_index, previous
    )
    return head + hash_function(hash_name)(head)


def decode_segment_header(data: bytes, *, hash_name: HashName) -> SegmentHeader | Damage:
    """Read the 128 header bytes of a segment file."""
    if len(data) < SEGMENT_HEADER_BYTES:
        return Damage(reason=f"header has {len(data)} of {SEGMENT_HEADER_BYTES} bytes", at=len(data))
    head, digest = data[: _SEGMENT_HEADER.size], data[_SEGMENT_HEADER.size : SEGMENT_HEADER_BYTES]
    magic, version, hash_id, zero, network, first_height, first_index, previous = _SEGMENT_HEADER.unpack(head)
    if magic != SEGMENT_MAGIC:
        return Damage(reason=f"starts with {magic!r}, not {SEGMENT_MAGIC!r}", at=0)
    if hash_function(hash_name)(head) != digest:
        return Damage(reason="header digest does not match its bytes", at=_SEGMENT_HEADER.size)
    if (version, hash_id, zero) != (FORMAT_VERSION, _HASH_IDS[hash_name], 0):
        expected = f"format {FORMAT_VERSION} with hash {_HASH_IDS[hash_name]}"
        return Damage(reason=f"format {version} with hash {hash_id}, where {expected} is read", at=8)
    return SegmentHeader(
        network=network, first_height=first_height, first_index=first_index, previous=previous, digest=digest
    )


def encode_frame(
    transactions: Sequence[bytes],
    *,
    entry: bytes,
    height: int,
    first_index: int,
    previous: bytes,
    hash_name: HashName,
) -> tuple[bytes, bytes]:
    """Return the frame's bytes and its digest ([STORE-5], [STORE-6]).

    Raises ValueError beyond MAX_FRAME_TRANSACTIONS or MAX_FRAME_BODY_BYTES: the engine forms smaller blocks.
    """
    count = len(transactions)
    items = [*transactions, entry]
    table = struct.pack(f">{count + 1}I", *map(len, items))
    body = table + b"".join(items)
    if count > MAX_FRAME_TRANSACTIONS or len(body) > MAX_FRAME_BODY_BYTES:
        raise ValueError(f"a frame of {count} transactions and {len(body)} bytes is beyond the format's limits")
    head = _FRAME_HEAD.pack(
        FRAME_MAGIC, BLOCK_FRAME, FORMAT_VERSION, 0, height, first_index, count, len(body), previous
    )
    data = head + body
    digest = hash_function(hash_name)(data)
    return data + digest, digest


def decode_frame_head(data: bytes) -> FrameHead | Damage:
    """Read the 64 bytes before a body, refusing lengths beyond the format's limits ([STORE-7])."""
    if len(data) < FRAME_HEAD_BYTES:
        return Damage(reason=f"frame head has {len(data)} of {FRAME_HEAD_BYTES} bytes", at=len(data))
    magic, kind, version, zero, height, first_index, count, body_bytes, previous = _FRAME_HEAD.unpack_from(data)
    if magic != FRAME_MAGIC:
        return Damage(reason=f"a frame starts with {magic!r}, not {FRAME_MAGIC!r}", at=0)
    if (kind, version, zero) != (BLOCK_FRAME, FORMAT_VERSION, 0):
        return Damage(reason=f"frame type {kind} version {version} is not a block frame of version 1", at=4)
    if count > MAX_FRAME_TRANSACTIONS or body_bytes > MAX_FRAME_BODY_BYTES:
        return Damage(reason=f"{count} transactions in {body_bytes} bytes is beyond the format's limits", at=24)
    return FrameHead(height=height, first_index=first_index, count=count, body_bytes=body_bytes, previous=previous)


def decode_frame(data: bytes, *, hash_name: HashName) -> Frame | Damage:
    """Read one whole frame (head, body, digest: exactly those bytes) and verify its digest."""
    head = decode_frame_head(data)
    if isinstance(head, Damage):
        return head
    if len(data) != head.frame_bytes:
        return Damage(reason=f"frame has {len(data)} of {head.frame_bytes} bytes", at=min(len(data), head.frame_bytes))
    digest_at = len(data) - DIGEST_BYTES
    digest = data[digest_at:]
    if hash_function(hash_name)(memoryview(data)[:digest_at]) != digest:
        return Damage(reason="frame digest does not match its bytes", at=digest_at)
    items = _split_body(data, count=head.count + 1, end=digest_at)
    if items is None:
        return Damage(reason="the lengths of the transactions do not add up to the body", at=FRAME_HEAD_BYTES)
    return Frame(
        height=head.height,
        first_index=head.first_index,
        transactions=tuple(items[:-1]),
        entry=items[-1],
        previous=head.previous,
        digest=digest,
        frame_bytes=len(data),
    )


def _split_body(data: bytes, *, count: int, end: int) -> list[bytes] | None:
    at = FRAME_HEAD_BYTES + count * _LENGTH_BYTES
    if at > end:
        return None
    items: list[bytes] = []
    for length in struct.unpack_from(f">{count}I", data, FRAME_HEAD_BYTES):
        items.append(data[at : at + length])
        at += length
    return items if at == end else None


def locate_item(table: bytes, *, position: int) -> tuple[int, int]:
    """Return offset within the frame and length of one body item, from the frame's unverified length table.

    table: the frame's bytes from its start up to at least the end of the table's entry for ``position``; position:
    0-based, the block entry being the last. What is read there must be verified against its leaf hash.
    """
    head = _FRAME_HEAD.unpack_from(table)
    lengths = struct.unpack_from(f">{position + 1}I", table, FRAME_HEAD_BYTES)
    start = FRAME_HEAD_BYTES + (int(head[6]) + 1) * _LENGTH_BYTES + sum(lengths[:position])
    return start, int(lengths[position])


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
    """The place at which a scan could not go on, and why. height: of the block that should stand there."""

    segment: int
    offset: int
    height: int
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
