"""Executing a log again, block by block: the one way for all who check a ledger or make one anew.

How much is asked anew is the level. Signatures count as proven below VERIFIED, since the member that stored the blocks
verified them; a rule or a root that does not hold shows at EXECUTED already. Below both, ``HashedLog`` asks the leaves
alone.

========= ================================================= ===================================================
level     what is asked                                     callers
========= ================================================= ===================================================
(hashed)  every byte of the frames, the Merkle tree         doctor and backup (``check.check_log``)
EXECUTED  the rules run again and give the same entries     opening a ledger, ``doctor --replay`` and ``--against``,
                                                            restore, the demo
VERIFIED  every signature too                               the audit (``check.replay_ledger``), a member's keys in a
                                                            backup or a published log (``members``)
========= ================================================= ===================================================

A block is executed on a ``ReplayedLedger``: ``MemoryLedger`` here, or a ``LedgerCopy`` on the disk where the state may
be too large for memory (``reexecute``). What does not hold is for the caller to judge, in its words.

    ledger = MemoryLedger(machine)
    for block in engine.blocks(from_height=1):
        execution = replay_block(ledger, block, level=Level.EXECUTED)
        ledger.follow(execution, block)
    assert ledger.root == engine.checkpoint().root
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from shuiqiao.base.clock import MS_PER_HOUR
from shuiqiao.base.errors import ShuiqiaoError, Unavailable
from shuiqiao.base.progress import Progress, no_progress
from shuiqiao.ledger.log.entry import decode_entry
from shuiqiao.ledger.log.tree import Frontier, leaf_hashes
from shuiqiao.ledger.model import Block, BlockContext
from shuiqiao.ledger.state.machine import BlockResult, Candidate, ReplayIndex, StateMachine
from shuiqiao.ledger.state.overlay import BaseState, OverlayState, genesis_writes
from shuiqiao.ledger.state.state_map import MemoryState
from shuiqiao.ledger.store.frame import Frame
from shuiqiao.ledger.store.state_tree import PlannedUpdate
from shuiqiao.ledger.transactions.transaction import SignatureClaim
from shuiqiao.ledger.transactions.verifiers import verify_all

if TYPE_CHECKING:
    from shuiqiao.ledger.model import StateView, Transaction
    from shuiqiao.ledger.store.frame import StoredFrame
    from shuiqiao.ledger.store.index import Head
    from shuiqiao.ledger.transactions.verifiers import Verifier

_PRUNE_EVERY_BLOCKS = 1_000


class ExecutedState(BaseState, ReplayIndex, Protocol):
    """The state after one block, with the ids that were accepted up to it."""


class Level(IntEnum):
    """How much of a log is asked anew when its blocks are executed; each level asks what is below it too."""

    EXECUTED = 1
    VERIFIED = 2


LoggedBlock = Block | Frame
"""A block as an engine or a segment file gives it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """A block executed on the state after the block before it, not yet stored."""

    result: BlockResult
    writes: Mapping[str, bytes | None]
    plan: PlannedUpdate | None
    """The state map after the block; None where nothing was accepted."""


class Growth(NamedTuple):
    """What a block makes of the tree."""

    frontier: Frontier
    """The tree with this block."""
    nodes: Sequence[bytes]
    """The complete nodes that came into being, in the order in which they are stored ([STORE-15])."""


def grow(frontier: Frontier, leaves: Iterable[bytes], *, hash_name: str) -> Growth:
    """Return what the leaves of a block make of a tree; the frontier given stays as it is."""
    grown = frontier.copy()
    made = grown.append(leaf_hashes(leaves, hash_name=hash_name))
    return Growth(frontier=grown, nodes=[node for _, _, node in made])


class ReplayedLedger(ABC):
    """Whatever holds the state after one block and executes the next one on it."""

    machine: StateMachine
    last: tuple[int, int]
    """Height and time (ms) of the last block; 0 and that of the genesis before the first."""

    @property
    @abstractmethod
    def current(self) -> ExecutedState:
        """The state after the last block, for the thread that executes only."""

    def overlay(self) -> OverlayState:
        """Return a fresh overlay over the state after the last block, for the next one."""
        return OverlayState(self.current)

    @abstractmethod
    def look_up(self, transactions: Iterable[Transaction]) -> None:
        """Look up together what is known of the next block's transactions, before it is executed."""

    def execute(self, candidates: Iterable[Candidate], *, overlay: OverlayState, time_ms: int) -> Execution:
        """Execute the next block; nothing changes. Raises what ``execute_block`` raises."""
        height, previous_time_ms = self.last
        ctx = BlockContext(height=height + 1, time_ms=time_ms)
        result = self.machine.execute_block(
            candidates, overlay, ctx, previous_time_ms=previous_time_ms, replay=self.current
        )
        return Execution(result=result, writes=overlay.writes, plan=self._plan_of(result))

    def _plan_of(self, _result: BlockResult) -> PlannedUpdate | None:
        """Return what a block that was just executed makes of a stored state map."""
        return None


def replay_block(ledger: ReplayedLedger, block: LoggedBlock, *, level: Level) -> Execution:
    """Execute a logged block on what a ledger holds; it stays as it is until the execution is taken over.

    Raises what ``decode_entry``, ``StateMachine.decode`` and ``execute_block`` raise. A transaction that is refused is
    in the result, and an entry that differs is for the caller to see.
    """
    time_ms = decode_entry(block.entry).time_ms
    transactions = [ledger.machine.decode(raw) for raw in block.transactions]
    return replay_transactions(ledger, transactions, time_ms=time_ms, level=level)


def replay_transactions(
    ledger: ReplayedLedger,
    transactions: Sequence[Transaction],
    *,
    time_ms: int,
    level: Level,
    proven: Iterable[tuple[bytes, ...]] = (),
) -> Execution:
    """Execute decoded transactions as the next block of a ledger.

    proven: from VERIFIED on the keys of each that ``prove_signatures`` found to hold; none, and the machine verifies
    each signature when its turn comes. Raises what ``execute_block`` raises.
    """
    overlay = ledger.overlay()
    ledger.look_up(transactions)
    if level < Level.VERIFIED:
        candidates = _trusted(transactions, overlay, machine=ledger.machine)
    else:
        keys = iter(proven)
        candidates = (Candidate(transaction=tx, proven_keys=next(keys, ())) for tx in transactions)
    return ledger.execute(candidates, overlay=overlay, time_ms=time_ms)


def _trusted(
    transactions: Iterable[Transaction], overlay: OverlayState, *, machine: StateMachine
) -> Iterator[Candidate]:
    """Yield candidates whose signatures count as proven.

    Lazy on purpose: the required keys are asked for on the state that the transactions before have left.
    """
    for tx in transactions:
        try:
            keys = machine.required_keys(tx, overlay)
        except ShuiqiaoError:
            # The machine refuses it for the same reason, and the block is then seen to be contradicted.
            keys = ()
        yield Candidate(transaction=tx, proven_keys=keys)


def prove_signatures(
    transactions: Sequence[Transaction], state: StateView, *, machine: StateMachine, verifier: Verifier
) -> list[tuple[bytes, ...]]:
    """Verify signatures ahead of execution; return per transaction the keys that were proven.

    A transaction whose signers are not known yet, or of which a signature does not hold, gets none: the machine
    verifies it when its turn comes, and refuses it there if it must be.
    """
    planned: list[tuple[SignatureClaim, ...]] = []
    for tx in transactions:
        try:
            planned.append(machine.plan_verification(tx, state))
        except ShuiqiaoError:
            planned.append(())
    verdicts = iter(verify_all(verifier, [job for jobs in planned for job in jobs]))
    proven: list[tuple[bytes, ...]] = []
    for jobs in planned:
        held = [next(verdicts) for _ in jobs]
        proven.append(tuple(job[0] for job in jobs) if all(held) else ())
    return proven


class HashedLog:
    """The leaves of a log followed from the first one: how many there are, and their root."""

    def __init__(self, *, hash_name: str) -> None:
        self.hash_name = hash_name
        self.frontier = Frontier(hash_name=hash_name)
        self.height = 0

    @property
    def size(self) -> int:
        """Leaves so far."""
        return self.frontier.size

    @property
    def root(self) -> bytes:
        """Root over the leaves so far."""
        return self.frontier.root()

    def append(self, block: LoggedBlock) -> list[tuple[int, int, bytes]]:
        """Hash the next block's leaves; return (level, index, hash) of every complete node made."""
        self.height += 1
        return self.frontier.append(leaf_hashes((*block.transactions, block.entry), hash_name=self.hash_name))


class MemoryLedger(HashedLog, ReplayedLedger):
    """A ledger from its genesis on, wholly in memory: log, state, and the ids that may not come again."""

    def __init__(self, machine: StateMachine) -> None:
        super().__init__(hash_name=machine.suite.hash_name)
        self.machine = machine
        self.state = MemoryState(genesis_writes(machine.parameters))
        self.last = (0, machine.parameters.genesis_time_ms)
        self.policy = machine.parameters.policy
        """What judges the checkpoint of the leaves so far: a block is closed under the epoch before it [EPOCH-4]."""
        self._epoch = self.state.encoded_value(machine.key_ring.epoch_key)

    @property
    def current(self) -> MemoryState:
        """The state after the last block."""
        return self.state

    @property
    def time_ms(self) -> int:
        """The time of the last block."""
        return self.last[1]

    def look_up(self, transactions: Iterable[Transaction]) -> None:
        """Everything is in memory already."""

    def begin_block(self) -> None:
        """Take over the epoch that the last block began, if it did; raises what ``KeyRing.next_policy`` raises."""
        key_ring = self.machine.key_ring
        epoch = self.state.encoded_value(key_ring.epoch_key)
        if epoch is not None and epoch != self._epoch:
            origin = self.machine.parameters.origin
            self.policy = key_ring.next_policy(epoch, previous=self._epoch or b"", origin=origin)
            self._epoch = epoch

    def follow(self, execution: Execution, block: LoggedBlock) -> None:
        """Go on behind an executed block: with what it wrote, and with the leaves that the log has."""
        self.state.write(execution.writes)
        for record in execution.result.replay_records:
            self.state.remember(record)
        self.skip(block, time_ms=max(execution.result.context.time_ms, self.time_ms))
        if self.height % _PRUNE_EVERY_BLOCKS == 0:
            self.state.forget(before_hour=self.time_ms // MS_PER_HOUR)

    def skip(self, block: LoggedBlock, *, time_ms: int) -> None:
        """Go on behind a block of which nothing was executed."""
        self.append(block)
        self.last = (self.height, time_ms)


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
    progress: Progress = no_progress,
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
            progress("execute the log again 重新执行日志", stored.frame.height, None)
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
