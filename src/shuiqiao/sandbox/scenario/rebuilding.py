"""A ledger folder made anew from blocks: the same transactions in the same blocks at the same times, executed again.

The embedded engine executes them, whether one writer or a quorum of validators decided the blocks. Honest blocks lead
to the same roots again; an altered one leads to a ledger that is sound in itself and differs from that of all others.
Signatures count as proven, because the member that stores the blocks has verified them; the audit verifies them anew.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from shuiqiao.base.errors import IntegrityError
from shuiqiao.base.ids import MemberId
from shuiqiao.ledger.checkpoints.signed_note import Checkpoint, TreeHead, verify_extension
from shuiqiao.ledger.engine.cometbft.ledger import CometbftLedger
from shuiqiao.ledger.engine.ledger_copy import LedgerCopy, open_scratch
from shuiqiao.ledger.log.entry import decode_entry
from shuiqiao.ledger.model import Block, LedgerEngine
from shuiqiao.ledger.replay.differences import StateDifference, compare_states, first_leaf_difference
from shuiqiao.ledger.replay.replay import Execution, Level, replay_transactions
from shuiqiao.ledger.transactions.submitter import log_size
from shuiqiao.node.home.kinds import network_machine
from shuiqiao.node.institution import Institution
from shuiqiao.sandbox.scenario.result import Alteration, ReplayChecks

ACCEPTED = "accepted"

PUBLISHED_AT_ONCE = 256
"""Blocks that are indexed together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedBlock:
    """What a block is made from."""

    time_ms: int
    transactions: Sequence[bytes]

    @classmethod
    def of(cls, block: Block) -> TimedBlock:
        """Return what a block was made from."""
        return cls(time_ms=block.time_ms, transactions=block.transactions)


@contextmanager
def scratch_ledger(member: Institution, folder: Path, *, blocks: Iterable[TimedBlock] = ()) -> Generator[LedgerCopy]:
    """Give the ledger in a folder, by the rules of a member's network, with these blocks executed on it."""
    with closing(open_scratch(folder, machine=network_machine(member.parameters, kinds=member.kinds))) as copy:
        for _ in execute_blocks(copy, blocks):
            pass
        yield copy


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


def copy_of(member: Institution) -> LedgerCopy:
    """Return the copy of the ledger that a member's own CometBFT application keeps."""
    assert isinstance(member.engine, CometbftLedger)
    return member.engine.application.app_state.copy


def first_difference(shown: LedgerCopy, own: LedgerCopy, *, member: MemberId) -> Alteration:
    """Return the first record and the first state key at which the copy that a member shows differs from another's."""
    size = min(shown.head.size, own.head.size)
    leaf = first_leaf_difference(shown.view()[1].snapshot, own.view()[1].snapshot, size=size)
    state = _compare_states(shown, own)
    return Alteration(
        member=member,
        record_index=None if leaf is None else leaf.index,
        kind=None if leaf is None else _kind(shown, leaf.index),
        state_key=None if state is None else state.key,
    )


def _kind(copy: LedgerCopy, index: int) -> str:
    return copy.machine.decode(copy.leaf(copy.block_place(index), index)).kind


def _compare_states(here: LedgerCopy, there: LedgerCopy) -> StateDifference | None:
    items = [copy.view()[1].snapshot.state_items() for copy in (here, there)]
    return compare_states(*items, hash_name=here.machine.suite.hash_name).first


def replay_through_embedded(member: Institution, folder: Path) -> ReplayChecks:
    """Replay everything that a settled member with a CometBFT node holds into an empty folder, and compare.

    Raises Unavailable ``ledger.note_pending`` where no checkpoint covers it, and what ``LedgerCopy`` raises.
    """
    engine = member.engine
    signed = engine.checkpoint(at_least=log_size(engine))
    with scratch_ledger(member, folder) as copy:
        committed = [block for block in engine.blocks(from_height=1) if block.first_index < signed.size]
        log_roots: list[bool] = []
        state_roots: list[bool] = []
        for ours, theirs in zip(execute_blocks(copy, map(TimedBlock.of, committed)), committed, strict=False):
            log_roots.append(ours == theirs and _is_under(signed, engine=engine, copy=copy))
            state_roots.append(decode_entry(ours.entry).state_root == decode_entry(theirs.entry).state_root)
        done = committed[: len(log_roots)]
        head = copy.head
        return ReplayChecks(
            blocks=len(done),
            transactions=sum(len(block.transactions) for block in done),
            log_roots_equal=len(log_roots) == len(committed) > 0 and all(log_roots),
            log_root_equal=(head.size, head.root) == (signed.size, signed.root),
            state_root_equal=bool(done)
            and all(state_roots)
            and head.state_root == decode_entry(done[-1].entry).state_root,
            state_equal=_compare_states(copy, copy_of(member)) is None,
        )


def _is_under(signed: Checkpoint, *, engine: LedgerEngine, copy: LedgerCopy) -> bool:
    """Tell whether what the copy holds so far lies under a signed checkpoint of the engine's."""
    frontier = copy.frontier
    head = TreeHead(origin=signed.origin, size=frontier.size, root=frontier.root())
    path = engine.consistency_proof(old_size=head.size, new_size=signed.size)
    try:
        verify_extension(head, signed, path=path, hash_name=copy.machine.suite.hash_name)
    except IntegrityError:
        return False
    return True
