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

from shuiqiao.base.durable import ScratchDisk
from shuiqiao.base.encoding import decode_cbor
from shuiqiao.crypto.suites import get_suite
from shuiqiao.ledger.engine.ledger_copy import LedgerCopy
from shuiqiao.ledger.engine.port import CopySettings
from shuiqiao.ledger.model import Block, LedgerEngine, NetworkParameters, StateView
from shuiqiao.ledger.state.machine import StateMachine
from shuiqiao.ledger.store.execution import trusted_candidates
from shuiqiao.ledger.transactions.kinds import KindTable
from shuiqiao.members.key_ring import MemberKeyRing

ACCEPTED = "accepted"

PUBLISHED_AT_ONCE = 256
"""Blocks that are indexed together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedBlock:
    """What a block is made from."""

    time_ms: int
    transactions: Sequence[bytes]


def machine_of(parameters: NetworkParameters, *, kinds: KindTable) -> StateMachine:
    """Return the rules of a network, as every member runs them."""
    return StateMachine(parameters, kinds=kinds, key_ring=MemberKeyRing(), suite=get_suite(parameters.suite))


def open_unflushed(folder: Path, *, machine: StateMachine) -> LedgerCopy:
    """Open or make a copy of the ledger that does not wait for the disk; raises what ``LedgerCopy`` raises."""
    return LedgerCopy(folder, machine=machine, settings=CopySettings(disk=ScratchDisk()))


def execute_blocks(copy: LedgerCopy, blocks: Iterable[TimedBlock]) -> Iterator[Block]:
    """Execute blocks one after another and yield what each becomes; one that accepts nothing becomes none.

    What was executed is visible to readers of the copy once the last one was yielded.
    """
    waiting = 0
    for block in blocks:
        overlay = copy.overlay()
        transactions = [copy.machine.decode(raw) for raw in block.transactions]
        candidates = trusted_candidates(transactions, overlay, machine=copy.machine)
        execution = copy.execute(candidates, overlay=overlay, time_ms=block.time_ms)
        if execution.result.entry is None:
            continue
        yield copy.store(execution)
        waiting += 1
        if waiting == PUBLISHED_AT_ONCE:
            copy.publish()
            waiting = 0
    copy.publish()


def judge(copy: LedgerCopy, raw: bytes, *, time_ms: int) -> str:
    """Return the code that would refuse a transaction in the next block at a time, ``accepted`` if none; not stored."""
    overlay = copy.overlay()
    candidates = trusted_candidates([copy.machine.decode(raw)], overlay, machine=copy.machine)
    (outcome,) = copy.execute(candidates, overlay=overlay, time_ms=time_ms).result.outcomes
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
