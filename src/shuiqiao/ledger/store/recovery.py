"""Recovers a ledger when it starts: cuts a tail that a crash tore, and never cuts what is damage.

Follows docs/spec/ledger-store.md section 4. The writer flushes every frame before it appends the next, so a crash can
leave at most one unfinished frame, at the very end, that nobody was told of. Whatever is not exactly that is reported
as an IntegrityError that names file and offset, and the files stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from shuiqiao.base.errors import IntegrityError
from shuiqiao.ledger.store.frame import (
    EMPTY_TAIL,
    FRAME_HEAD_BYTES,
    FRAME_MAGIC,
    SEGMENT_HEADER_BYTES,
    Broken,
    Damage,
    HashName,
    StoredFrame,
    Tail,
    decode_frame,
    decode_frame_head,
    decode_segment_header,
    tail_after,
)
from shuiqiao.ledger.store.index import Head
from shuiqiao.ledger.store.segments import SegmentFiles

_SEARCH_FACTOR: Final = 8
"""How many times over the bytes of a tail may be hashed in search of a later frame: hostile content cannot stall."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """A torn tail that was removed."""

    path: Path
    offset: int
    removed_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """What a start found.

    replayed: blocks that the segments had and the index had not; cut: the torn tail, if there was one.
    """

    replayed: int
    cut: Cut | None


def recover(
    files: SegmentFiles,
    *,
    head: Head | None,
    acknowledged_size: int,
    hash_name: HashName,
    replay: Callable[[StoredFrame], None],
) -> Recovery:
    """Bring the reader of frames up to the end of the segments and make that end the place to go on.

    head: what the index covers already, None for nothing. acknowledged_size: leaves under the newest signed
    checkpoint, which must be there. replay: is given every frame after the head, in order.
    Raises IntegrityError ``ledger.segment_damaged``, ``ledger.segments_behind``.
    """
    tail = _indexed_tail(files, head)
    replayed = 0
    broken: Broken | None = None
    for found in files.scan(tail):
        if isinstance(found, Broken):
            broken = found
            break
        replay(found)
        tail = tail_after(found)
        replayed += 1
    if tail.size < acknowledged_size:
        raise _acknowledged_missing(files, tail, broken, acknowledged_size)
    cut: Cut | None = None
    if broken is not None:
        tail = _behind_header(files, tail, broken.segment)
        cut = _cut_torn_tail(files, tail, broken, hash_name)
    files.resume(_resume_tail(files, tail))
    return Recovery(replayed=replayed, cut=cut)


def _indexed_tail(files: SegmentFiles, head: Head | None) -> Tail:
    """Return the end of what the index covers, having read its last block where the index says it is ([STORE-13])."""
    if head is None or head.height == 0:
        return EMPTY_TAIL
    path = files.path(head.segment)
    if not path.exists() or files.segment_bytes(head.segment) < head.tail.offset:
        raise IntegrityError(
            "ledger.segments_behind",
            f"{path} ends before byte {head.tail.offset}, where block {head.height} of the index ends",
            next_step="restore the segment files from a backup or from another member's copy",
        )
    frame = files.frame_at(head.segment, head.offset)
    if isinstance(frame, Damage):
        at = head.offset + frame.at
        raise files.damaged(Broken(segment=head.segment, offset=at, height=head.height, reason=frame.reason))
    if frame.digest != head.digest:
        reason = f"block {frame.height} has digest {frame.digest.hex()}, the index knows {head.digest.hex()}"
        raise files.damaged(Broken(segment=head.segment, offset=head.offset, height=head.height, reason=reason))
    return head.tail


def _acknowledged_missing(
    files: SegmentFiles, tail: Tail, broken: Broken | None, acknowledged_size: int
) -> IntegrityError:
    if broken is not None:
        return files.damaged(broken)
    return IntegrityError(
        "ledger.segments_behind",
        f"the segments end at {tail.size} leaves, the signed checkpoint says {acknowledged_size}",
        next_step="restore the segment files from a backup or from another member's copy",
    )


def _behind_header(files: SegmentFiles, tail: Tail, segment: int) -> Tail:
    """Return the end of what holds: behind a segment's header where that follows the tail and its first frame is torn.

    A crash may leave a new segment with a whole header and a part of its first frame [STORE-9].
    """
    if segment == tail.segment:
        return tail
    started = files.start_segment(segment, tail)
    return tail if isinstance(started, Broken) else started


def _cut_torn_tail(files: SegmentFiles, tail: Tail, broken: Broken, hash_name: HashName) -> Cut:
    """Remove what a crash left unfinished, or raise because it is something else ([STORE-11], [STORE-12])."""
    is_header = broken.segment != tail.segment
    start = 0 if is_header else tail.offset
    is_torn = _is_torn_header if is_header else _is_torn_frame
    rest = files.read_tail(broken.segment, start)
    if broken.segment != files.segments()[-1] or not is_torn(rest, tail, hash_name):
        raise files.damaged(broken)
    files.cut(broken.segment, start)
    return Cut(path=files.path(broken.segment), offset=start, removed_bytes=len(rest))


def _is_torn_header(rest: bytes, _tail: Tail, hash_name: HashName) -> bool:
    """A segment that holds no frame yet and whose header was not finished."""
    return len(rest) <= SEGMENT_HEADER_BYTES and isinstance(decode_segment_header(rest, hash_name=hash_name), Damage)


def _is_torn_frame(rest: bytes, tail: Tail, hash_name: HashName) -> bool:
    """An unfinished last frame: not longer than its own head says, and no whole frame stands in it or behind it."""
    head = decode_frame_head(rest)
    # A head that was itself only partly written says nothing about the length.
    is_head_whole = not isinstance(head, Damage) and (head.height, head.previous) == (tail.height + 1, tail.digest)
    if not isinstance(head, Damage) and is_head_whole and len(rest) > head.frame_bytes:
        return False
    return not _holds_frame(rest, hash_name)


def _holds_frame(rest: bytes, hash_name: HashName) -> bool:
    """Return whether a whole valid frame stands anywhere in the bytes; when in doubt, that it does."""
    budget = _SEARCH_FACTOR * len(rest)
    at = rest.find(FRAME_MAGIC)
    while at >= 0:
        head = decode_frame_head(rest[at : at + FRAME_HEAD_BYTES])
        if not isinstance(head, Damage) and at + head.frame_bytes <= len(rest):
            budget -= head.frame_bytes
            frame = decode_frame(rest[at : at + head.frame_bytes], hash_name=hash_name)
            if budget < 0 or not isinstance(frame, Damage):
                return True
        at = rest.find(FRAME_MAGIC, at + 1)
    return False


def _resume_tail(files: SegmentFiles, tail: Tail) -> Tail:
    """Go on behind the header of a last segment that holds no frame yet."""
    segments = files.segments()
    if not segments or segments[-1] == tail.segment:
        return tail
    started = files.start_segment(segments[-1], tail)
    if isinstance(started, Broken):
        raise files.damaged(started)
    return started
