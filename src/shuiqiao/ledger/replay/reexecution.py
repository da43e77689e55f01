"""Executing a stored log again into a scratch folder, to learn what its state should be.

The scratch state lies in an index on the disk, so that memory stays bounded however large it is. The ledger's own files
are only read.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from shuiqiao.base.errors import ShuiqiaoError, Unavailable
from shuiqiao.ledger.log.entry import decode_entry
from shuiqiao.ledger.replay.replay import Level, ReplayedLedger, replay_block

if TYPE_CHECKING:
    from shuiqiao.ledger.model import Block
    from shuiqiao.ledger.store.execution import Execution, Growth
    from shuiqiao.ledger.store.frame import StoredFrame
    from shuiqiao.ledger.store.index_record import Head

_LEAVES_AT_ONCE: Final = 4096
"""Leaves that are indexed together."""


class ReplayedCopy(ReplayedLedger):
    """A ledger on the disk (``engine/ledger_copy``), as far as executing blocks again needs it."""

    head: Head

    @abstractmethod
    def follow(self, execution: Execution, stored: StoredFrame, *, growth: Growth | None = None) -> Block:
        """Go on behind an executed block whose frame is stored."""

    @abstractmethod
    def publish(self) -> None:
        """Write the index of all blocks gone on behind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryDifference:
    """A block that does not follow from the blocks before it. computed: empty where no block comes of it at all.

    leaf: index of the block entry. recorded, computed: state roots. reason: what the rules say of it.
    """

    height: int
    leaf: int
    recorded: bytes
    computed: bytes
    reason: str


def reexecute(
    frames: Iterable[StoredFrame],
    copy: ReplayedCopy,
    *,
    on_height: Callable[[int], None] = lambda _height: None,
) -> EntryDifference | None:
    """Execute blocks from height 1 on into an empty copy; return the first that does not follow, None if all do.

    A block that does not follow is noted, and execution goes on with what its transactions do, as far as that is
    possible: ``copy.head`` says how far. Raises Unavailable ``ledger.index_failed`` where the scratch disk is full, and
    what this machine lacks, which contradicts no block [LEDGER-SIGN-4].
    """
    first: EntryDifference | None = None
    leaves = 0
    for stored in frames:
        try:
            execution = replay_block(copy, stored.frame, level=Level.EXECUTED)
        except Unavailable:
            raise
        except ShuiqiaoError as error:
            first = first or _difference(stored, recorded=b"", computed=b"", reason=error.message)
            break
        if execution.result.entry != stored.frame.entry:
            first = first or _of_execution(stored, execution)
        if execution.result.entry is None:
            break
        copy.follow(execution, stored)
        leaves += len(stored.frame.transactions) + 1
        if leaves >= _LEAVES_AT_ONCE:
            copy.publish()
            leaves = 0
            on_height(stored.frame.height)
    copy.publish()
    return first


def _of_execution(stored: StoredFrame, execution: Execution) -> EntryDifference:
    result = execution.result
    computed = b"" if result.entry is None else decode_entry(result.entry).state_root
    refusals = [outcome.refusal for outcome in result.outcomes if outcome.refusal is not None]
    reason = str(refusals[0]) if refusals else "its transactions give another state"
    return _difference(stored, recorded=decode_entry(stored.frame.entry).state_root, computed=computed, reason=reason)


def _difference(stored: StoredFrame, *, recorded: bytes, computed: bytes, reason: str) -> EntryDifference:
    frame = stored.frame
    leaf = frame.first_index + len(frame.transactions)
    return EntryDifference(height=frame.height, leaf=leaf, recorded=recorded, computed=computed, reason=reason)
