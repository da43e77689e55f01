"""The blocks that validators committed, replayed through the embedded engine's means: the same roots, the same state.

Every block is executed again in its order and at its time. Its root must lie under the checkpoint that the quorum
signed, which a consistency proof of the member shows; the state must be the member's, key by key and by its root.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from shuiqiao.base.encoding import decode_cbor
from shuiqiao.base.errors import IntegrityError
from shuiqiao.ledger.checkpoints.signed_note import Checkpoint
from shuiqiao.ledger.engine.ledger_copy import LedgerCopy
from shuiqiao.ledger.log.entry import decode_entry
from shuiqiao.ledger.log.tree import verify_consistency
from shuiqiao.ledger.model import Block, LedgerEngine
from shuiqiao.ledger.transactions.submitter import log_size
from shuiqiao.node.institution import Institution
from shuiqiao.sandbox.scenario.rebuilding import TimedBlock, execute_blocks, machine_of, open_unflushed
from shuiqiao.sandbox.scenario.result import ReplayChecks


def replay_through_embedded(member: Institution, folder: Path) -> ReplayChecks:
    """Replay everything that a settled member holds into an empty folder, and compare.

    Raises Unavailable ``ledger.note_pending`` where no checkpoint covers it, and what ``LedgerCopy`` raises.
    """
    engine = member.engine
    signed = engine.checkpoint(at_least=log_size(engine))
    state = engine.state()
    copy = open_unflushed(folder, machine=machine_of(member.parameters, kinds=member.kinds))
    try:
        committed = [block for block in engine.blocks(from_height=1) if block.first_index < signed.size]
        compared = list(_compare(copy, engine, committed=committed, signed=signed))
        head = copy.head
        last_state_root = decode_entry(compared[-1].block.entry).state_root if compared else b""
        items = copy.view()[1].snapshot.state_items()
        return ReplayChecks(
            blocks=len(compared),
            transactions=sum(len(each.block.transactions) for each in compared),
            log_roots_equal=len(compared) == len(committed) > 0
            and all(each.is_leaf_equal and each.is_under for each in compared),
            log_root_equal=(head.size, head.root) == (signed.size, signed.root),
            state_root_equal=bool(compared)
            and all(each.is_state_equal for each in compared)
            and head.state_root == last_state_root,
            state_equal=all(state.get(key.decode()) == decode_cbor(value) for key, value in items),
        )
    finally:
        copy.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Compared:
    block: Block
    is_leaf_equal: bool
    is_state_equal: bool
    is_under: bool


def _compare(
    copy: LedgerCopy, engine: LedgerEngine, *, committed: Sequence[Block], signed: Checkpoint
) -> Iterator[_Compared]:
    timed = (TimedBlock(time_ms=block.time_ms, transactions=block.transactions) for block in committed)
    for ours, theirs in zip(execute_blocks(copy, timed), committed, strict=False):
        frontier = copy.frontier
        path = engine.consistency_proof(old_size=frontier.size, new_size=signed.size)
        yield _Compared(
            block=theirs,
            is_leaf_equal=ours == theirs,
            is_state_equal=decode_entry(ours.entry).state_root == decode_entry(theirs.entry).state_root,
            is_under=_is_under(signed, size=frontier.size, root=frontier.root(), path=path, copy=copy),
        )


def _is_under(signed: Checkpoint, *, size: int, root: bytes, path: tuple[bytes, ...], copy: LedgerCopy) -> bool:
    try:
        verify_consistency(
            old_size=size,
            old_root=root,
            new_size=signed.size,
            new_root=signed.root,
            path=path,
            hash_name=copy.machine.suite.hash_name,
        )
    except IntegrityError:
        return False
    return True
