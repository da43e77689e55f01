"""Blocks out of segment files by their places in an index: for an open copy, and for one that is only looked at."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from shuiqiao.ledger.model import Block
from shuiqiao.ledger.tiles.publishing import LogSource, leaves_of_blocks

if TYPE_CHECKING:
    from shuiqiao.ledger.model import Checkpoint
    from shuiqiao.ledger.store.frame import Frame
    from shuiqiao.ledger.store.index import Snapshot
    from shuiqiao.ledger.store.segments import SegmentFiles

_FIRST_PLACES: Final = 8
_MORE_PLACES: Final = 256
"""How many places of blocks are looked up at once: few first, as most readers want the newest blocks only."""


def read_blocks(files: SegmentFiles, snapshot: Snapshot, *, from_height: int, last_height: int) -> Iterator[Block]:
    """Iterate over the blocks of segment files by their places in an index."""
    start, count = max(1, from_height), _FIRST_PLACES
    while start <= last_height:
        places = snapshot.blocks(range(start, min(start + count, last_height + 1)))
        for place, frame in zip(places, files.read_frames([one.place for one in places]), strict=True):
            yield block_of(frame, time_ms=place.time_ms)
        start, count = start + count, _MORE_PLACES


def log_source(checkpoint: Checkpoint, *, files: SegmentFiles, snapshot: Snapshot, last_height: int) -> LogSource:
    """Return the log of a checkpoint from segment files and their index, to be published."""

    def blocks(from_height: int) -> Iterator[Block]:
        return read_blocks(files, snapshot, from_height=from_height, last_height=last_height)

    def height_of(index: int) -> int:
        place = snapshot.block_of_index(index)
        if place is None:
            raise ValueError(f"leaf {index} is not in a log of {last_height} blocks")
        return place.height

    return LogSource(checkpoint=checkpoint, reader=snapshot, leaves=leaves_of_blocks(blocks, height_of=height_of))


def block_of(frame: Frame, *, time_ms: int) -> Block:
    """Return the block in a frame; time_ms: as its entry says."""
    return Block(
        height=frame.height,
        time_ms=time_ms,
        first_index=frame.first_index,
        transactions=frame.transactions,
        entry=frame.entry,
    )
