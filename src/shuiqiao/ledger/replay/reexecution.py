"""Executing a stored log again from the genesis into a scratch folder, to learn what its state should be.

The rules run as they did; signatures are taken as proven, for the audit verifies them. The scratch state lies in an
index on the disk, so that memory stays bounded however large it is. The ledger's own files are only read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from shuiqiao.base.durable import ScratchDisk
from shuiqiao.base.errors import ShuiqiaoError, Unavailable
from shuiqiao.ledger.engine.ledger_copy import INDEX_FOLDER, LedgerCopy
from shuiqiao.ledger.engine.port import CopySettings
from shuiqiao.ledger.log.entry import decode_entry
from shuiqiao.ledger.state.machine import StateMachine
from shuiqiao.ledger.store.execution import trusted_candidates
from shuiqiao.ledger.store.frame import StoredFrame

_LEAVES_AT_ONCE: Final = 4096
"""Leaves that are indexed together."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Reexecuted:
    """What a log gives. index: the scratch index. first: the first block that does not follow, None if all do."""

    index: Path
    height: int
    size: int
    root: bytes
    state_root: bytes
    first: EntryDifference | None


@dataclass(slots=True)
class _Run:
    copy: LedgerCopy
    first: EntryDifference | None = None
    leaves: int = 0


def reexecute(
    frames: Iterable[StoredFrame],
    scratch: Path,
    *,
    machine: StateMachine,
    on_height: Callable[[int], None] = lambda _height: None,
) -> Reexecuted:
    """Execute blocks from height 1 on and return what they come to.

    scratch: an empty folder; open the returned index with ``IndexReader``. A block that does not follow is noted, and
    execution goes on with what its transactions do, as far as that is possible. Raises Unavailable
    ``ledger.index_failed`` where the scratch disk is full.
    """
    run = _Run(LedgerCopy(scratch, machine=machine, settings=CopySettings(disk=ScratchDisk())))
    try:
        for stored in frames:
            if not _execute(run, stored):
                break
            if run.leaves >= _LEAVES_AT_ONCE:
                run.copy.publish()
                run.leaves = 0
                on_height(stored.frame.height)
        run.copy.publish()
        head = run.copy.head
    finally:
        run.copy.close()
    return Reexecuted(
        index=scratch / INDEX_FOLDER,
        height=head.height,
        size=head.size,
        root=head.root,
        state_root=head.state_root,
        first=run.first,
    )


def _execute(run: _Run, stored: StoredFrame) -> bool:
    """Execute one block; return whether the next one can be executed on it."""
    copy, frame = run.copy, stored.frame
    try:
        recorded = decode_entry(frame.entry)
        transactions = [copy.machine.decode(raw) for raw in frame.transactions]
        overlay = copy.overlay()
        candidates = trusted_candidates(transactions, overlay, machine=copy.machine)
        execution = copy.execute(candidates, overlay=overlay, time_ms=recorded.time_ms)
    except Unavailable:
        # What this machine lacks contradicts no block [LEDGER-SIGN-4].
        raise
    except ShuiqiaoError as error:
        _note(run, stored, recorded=b"", computed=b"", reason=error.message)
        return False
    result = execution.result
    if result.entry != frame.entry:
        computed = b"" if result.entry is None else decode_entry(result.entry).state_root
        refusals = [outcome.refusal for outcome in result.outcomes if outcome.refusal is not None]
        reason = str(refusals[0]) if refusals else "its transactions give another state"
        _note(run, stored, recorded=recorded.state_root, computed=computed, reason=reason)
    if result.entry is None:
        return False
    copy.follow(execution, stored)
    run.leaves += len(frame.transactions) + 1
    return True


def _note(run: _Run, stored: StoredFrame, *, recorded: bytes, computed: bytes, reason: str) -> None:
    if run.first is None:
        frame = stored.frame
        run.first = EntryDifference(
            height=frame.height,
            leaf=frame.first_index + len(frame.transactions),
            recorded=recorded,
            computed=computed,
            reason=reason,
        )
