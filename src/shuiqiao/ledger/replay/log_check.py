"""Looking at the segment files without changing a byte: what opening would say, and whether the log is its own tree.

``engine/copy`` opens and recovers; this looks. The rules of both are the same code (``recovery.recover``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from shuiqiao.base.errors import IntegrityError
from shuiqiao.ledger.log.tree import Frontier, leaf_hashes
from shuiqiao.ledger.store.frame import EMPTY_TAIL, Broken, StoredFrame, Tail, tail_after
from shuiqiao.ledger.store.recovery import Recovery, recover
from shuiqiao.ledger.store.segments import SegmentFiles

if TYPE_CHECKING:
    from shuiqiao.ledger.checkpoints.signed_note import Checkpoint
    from shuiqiao.ledger.log.tree import HashReader
    from shuiqiao.ledger.store.frame import Frame, HashName
    from shuiqiao.ledger.store.index_record import Head

_TELL_EVERY: Final = 500
"""Blocks between two calls of a progress listener."""


class WatchedFiles(SegmentFiles):
    """Segment files that are only looked at: what a recovery would cut off stays."""

    def cut(self, segment: int, offset: int) -> None:
        """Leave a torn tail where it is."""

    def resume(self, tail: Tail) -> None:
        """Go on nowhere: nothing is written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeDifference:
    """A hash of the stored Merkle tree that the stored leaves do not give.

    height: the block whose leaves complete it. level 0 is the leaf ``index`` itself. stored: None where it is missing.
    """

    height: int
    level: int
    index: int
    computed: bytes
    stored: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LogCheck:
    """What reading a whole log came to.

    tail: the end of what holds. root: over its leaves. broken: where reading ended early. difference: the first hash of
    the stored tree that differs. contradicted: the root the blocks give at the checkpoint's size where it is another.
    reached: whether a block ends at the checkpoint's size.
    """

    tail: Tail
    root: bytes
    broken: Broken | None
    difference: NodeDifference | None
    contradicted: bytes | None
    reached: bool
    last: Frame | None


def look_at_opening(files: WatchedFiles, *, head: Head | None, acknowledged_size: int, hash_name: HashName) -> Recovery:
    """Return what opening would find, the torn tail it would cut included; raises what ``recover`` raises."""
    return recover(
        files, head=head, acknowledged_size=acknowledged_size, hash_name=hash_name, replay=lambda _stored: None
    )


def check_log(
    files: SegmentFiles,
    *,
    nodes: HashReader | None,
    head: Head | None,
    until_height: int | None,
    checkpoint: Checkpoint | None,
    hash_name: HashName,
    on_height: Callable[[int], None] = lambda _height: None,
) -> LogCheck:
    """Read every block and compare its leaves with the stored tree and the root at the checkpoint.

    nodes, head: the index, None where there is none. until_height: block to stop after, None for all; a running
    writer's last frame may be half of one.
    """
    run = _Run(nodes=nodes, indexed=0 if head is None else head.size, checkpoint=checkpoint, hash_name=hash_name)
    broken: Broken | None = None
    if until_height != 0:
        for found in files.scan(EMPTY_TAIL):
            if isinstance(found, Broken):
                broken = found
                break
            run.take(found)
            if found.frame.height % _TELL_EVERY == 0:
                on_height(found.frame.height)
            if run.tail.height == until_height:
                break
    return LogCheck(
        tail=run.tail,
        root=run.frontier.root(),
        broken=broken,
        difference=run.difference,
        contradicted=run.contradicted,
        reached=run.reached or checkpoint is None or checkpoint.size == 0,
        last=run.last,
    )


class _Run:
    """The log as far as it was read."""

    def __init__(
        self, *, nodes: HashReader | None, indexed: int, checkpoint: Checkpoint | None, hash_name: HashName
    ) -> None:
        self._nodes = nodes
        self._indexed = indexed
        self._checkpoint = checkpoint
        self._hash_name = hash_name
        self.frontier = Frontier(hash_name=hash_name)
        self.tail = EMPTY_TAIL
        self.last: Frame | None = None
        self.difference: NodeDifference | None = None
        self.contradicted: bytes | None = None
        self.reached = False

    def take(self, stored: StoredFrame) -> None:
        frame = stored.frame
        made = self.frontier.append(leaf_hashes((*frame.transactions, frame.entry), hash_name=self._hash_name))
        if self.difference is None and self._nodes is not None and self.frontier.size <= self._indexed:
            self.difference = self._compare(made, height=frame.height)
        self.tail, self.last = tail_after(stored), frame
        checkpoint = self._checkpoint
        if checkpoint is not None and checkpoint.size == self.frontier.size:
            self.reached = True
            root = self.frontier.root()
            self.contradicted = root if root != checkpoint.root else None

    def _compare(self, made: list[tuple[int, int, bytes]], *, height: int) -> NodeDifference | None:
        assert self._nodes is not None
        for level, index, computed in made:
            try:
                stored: bytes | None = self._nodes.node(level, index)
            except IntegrityError:
                stored = None
            if stored != computed:
                return NodeDifference(height=height, level=level, index=index, computed=computed, stored=stored)
        return None
