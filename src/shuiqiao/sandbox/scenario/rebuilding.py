"""A ledger folder made anew from blocks: the same transactions in the same blocks at the same times, executed again.

By the embedded engine's own means, whoever decided the blocks: honest ones lead to the same roots again, and an altered
one leads to a ledger that is whole and sound in itself and differs from that of all others. Signatures count as proven,
for whoever keeps the blocks has verified them; the audit verifies them anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from shuiqiao.base.encoding import decode_cbor
from shuiqiao.base.errors import IntegrityError
from shuiqiao.ledger.checkpoints.signed_note import Checkpoint
from shuiqiao.ledger.engine.ledger_copy import LedgerCopy, open_scratch
from shuiqiao.ledger.log.entry import decode_entry
from shuiqiao.ledger.log.tree import verify_consistency
from shuiqiao.ledger.model import Block, LedgerEngine, StateView
from shuiqiao.ledger.replay.replay import Level, replay_transactions
from shuiqiao.ledger.store.execution import Execution
from shuiqiao.ledger.transactions.submitter import log_size
from shuiqiao.node.home.kinds import network_machine
from shuiqiao.node.institution import Institution
from shuiqiao.sandbox.scenario.result import ReplayChecks

ACCEPTED = "accepted"

PUBLISHED_AT_ONCE = 256
"""Blocks that are indexed together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedBlock:
    """What a block is made from."""

    time_ms: int
    transactions: Sequence[bytes]


def execute_blocks(copy: LedgerCopy, blocks: Iterable[TimedBlock]) -> Iterator[Block]:
    """Execute blocks one after another and yield what each becomes; one that accepts nothing becomes none.

    What was executed is visible to readers of the copy once the last one was yielded.
    """
    for number, block in enumerate(blocks, start=1):
        execution = _execute(copy, block)
        if execution.result.entry is not None:
            yield copy.store(execution)
        if number % PUBLISHED_AT_ONCE == 0:
            copy.publish()
    copy.publish()


def _execute(copy: LedgerCopy, block: TimedBlock) -> Execution:
    transactions = [copy.machine.decode(raw) for raw in block.transactions]
    return replay_transactions(copy, transactions, time_ms=block.time_ms, level=Level.EXECUTED)


def judge(copy: LedgerCopy, raw: bytes, *, time_ms: int) -> str:
    """Return the code that would refuse a transaction in the next block at a time, ``accepted`` if none; not stored."""
    (outcome,) = _execute(copy, TimedBlock(time_ms=time_ms, transactions=[raw])).result.outcomes
    return ACCEPTED if outcome.refusal is None else outcome.refusal.code


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstDifference:
    """Where two ledgers first differ: a transaction of the log, a key of the state; each None if nowhere."""

    index: int | None
    kind: str | None
    state_key: str | None


def first_difference(shown: LedgerCopy, engine: LedgerEngine) -> FirstDifference:
    """Compare a copy that somebody shows with an engine's own, record by record and state value by state value."""
    index, kind = _first_record(shown, engine)
    return FirstDifference(index=index, kind=kind, state_key=_first_key(shown, engine.state()))


def _first_record(shown: LedgerCopy, engine: LedgerEngine) -> tuple[int | None, str | None]:
    own = _records(engine.blocks(from_height=1))
    for one, other in zip_longest(_records(shown.blocks(from_height=1)), own):
        if one != other:
            index, raw = one or other or (None, b"")
            return index, shown.machine.decode(raw).kind
    return None, None


def _records(blocks: Iterable[Block]) -> Iterator[tuple[int, bytes]]:
    for block in blocks:
        yield from enumerate(block.transactions, block.first_index)


def _first_key(shown: LedgerCopy, state: StateView) -> str | None:
    for key, value in shown.view()[1].snapshot.state_items():
        name = key.decode()
        if state.get(name) != decode_cbor(value):
            return name
    return None


def replay_through_embedded(member: Institution, folder: Path) -> ReplayChecks:
    """Replay everything that a settled member holds into an empty folder, and compare.

    Raises Unavailable ``ledger.note_pending`` where no checkpoint covers it, and what ``LedgerCopy`` raises.
    """
    engine = member.engine
    signed = engine.checkpoint(at_least=log_size(engine))
    state = engine.state()
    copy = open_scratch(folder, machine=network_machine(member.parameters, kinds=member.kinds))
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
