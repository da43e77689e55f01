"""Checks a whole log from its first byte and trusts no stored result: it reports each fault and repairs none.

``replay_ledger`` takes a ledger folder or the blocks of an engine and executes them on a fresh state in memory
[STORE-23]; it believes neither index nor checkpoint. Oversight uses it for the audit. ``check_log`` hashes the files
without executing them, compares them with the stored tree and the root at the checkpoint, and beside a running writer
ends at its last committed block. Doctor and backup use it. Nothing is written.

    replay_ledger(home.ledger, parameters=parameters, kinds=kinds, key_ring=MemberKeyRing()).problems
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from shuiqiao.base.errors import IntegrityError, ShuiqiaoError
from shuiqiao.base.files import open_regular
from shuiqiao.base.progress import Progress, no_progress
from shuiqiao.crypto.suites import get_suite
from shuiqiao.ledger.log.entry import decode_entry
from shuiqiao.ledger.model import Block, KeyRing, NetworkParameters, Transaction
from shuiqiao.ledger.replay.replay import (
    HashedLog,
    Level,
    LoggedBlock,
    MemoryLedger,
    prove_signatures,
    replay_transactions,
)
from shuiqiao.ledger.state.machine import StateMachine
from shuiqiao.ledger.store.checkpoint_file import CHECKPOINTS_FOLDER, CheckpointFile
from shuiqiao.ledger.store.frame import (
    EMPTY_TAIL,
    SEGMENT_HEADER_BYTES,
    Broken,
    Damage,
    HashName,
    StoredFrame,
    decode_segment_header,
    tail_after,
)
from shuiqiao.ledger.store.recovery import Recovery, recover
from shuiqiao.ledger.store.segments import SegmentFiles, WatchedFiles
from shuiqiao.ledger.transactions.kinds import KindTable
from shuiqiao.ledger.transactions.verifiers import Verifier, open_verifier

if TYPE_CHECKING:
    from shuiqiao.ledger.checkpoints.signed_note import Checkpoint
    from shuiqiao.ledger.log.tree import HashReader
    from shuiqiao.ledger.store.frame import Frame
    from shuiqiao.ledger.store.index import Head

MAX_PROBLEMS: Final = 100
"""A replay stops after so many problems: the first ones tell, the rest follow from them."""

_BATCH_TRANSACTIONS: Final = 2_048
_TELL_EVERY: Final = 500
"""Blocks between two calls of a progress listener."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that does not hold.

    place: file and byte, or block and transaction; rule: what should hold; expected, found: the two values. code: of
    the error that was found, empty where a value was.
    """

    place: str
    rule: str
    expected: str
    found: str
    code: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayResult:
    """What a replay found; ``problems`` is empty for a sound ledger."""

    transactions: int
    height: int
    size: int
    root: bytes
    signatures_verified: int
    problems: tuple[Problem, ...]


def replay_ledger(
    source: Path | Iterable[Block],
    *,
    parameters: NetworkParameters,
    kinds: KindTable,
    key_ring: KeyRing,
    verifier_processes: int = 0,
) -> ReplayResult:
    """Replay a ledger folder, or blocks from height 1, and return what it comes to and what does not hold.

    source: a folder that no engine is writing to, or ``engine.blocks(from_height=1)``. Raises only where it cannot
    work at all: Unavailable ``crypto.provider_missing``, ``crypto.provider_failed``, ``ledger.verifier_failed``,
    OSError for an unreadable disk.
    """
    machine = StateMachine(parameters, kinds=kinds, key_ring=key_ring, suite=get_suite(parameters.suite))
    verifier = open_verifier(machine.suite, processes=verifier_processes)
    try:
        replay = _Replay(machine, verifier)
        if isinstance(source, Path):
            return replay.run_folder(source)
        return replay.run(source)
    finally:
        verifier.close()


def check_segment_headers(folder: Path, *, parameters: NetworkParameters) -> tuple[Problem, ...]:
    """Return what does not hold in the segment headers of a ledger folder [STORE-4].

    An engine reads blocks by their place and so passes the headers over; with both, every byte is looked at [STORE-23].
    """
    files = _watched(folder, parameters)
    return tuple(problem for segment in files.segments() for problem in _header_problems(files, segment, parameters))


def _watched(folder: Path, parameters: NetworkParameters) -> WatchedFiles:
    hash_name = cast("HashName", get_suite(parameters.suite).hash_name)
    return WatchedFiles.in_ledger(folder, network=parameters.network, hash_name=hash_name)


def _header_problems(files: SegmentFiles, segment: int, parameters: NetworkParameters) -> Iterator[Problem]:
    path, rule = files.path(segment), "every byte of a segment header is as it was written"
    with open_regular(path) as file:
        data = file.read(SEGMENT_HEADER_BYTES)
    hash_name = cast("HashName", get_suite(parameters.suite).hash_name)
    header = decode_segment_header(data, hash_name=hash_name)
    if isinstance(header, Damage):
        yield Problem(place=f"{path} byte {header.at}", rule=rule, expected="a whole header", found=header.reason)
        return
    if (header.network, header.first_height) != (parameters.network, segment):
        expected = f"network {parameters.network.hex()} from height {segment}"
        found = f"network {header.network.hex()} from height {header.first_height}"
        yield Problem(place=str(path), rule=rule, expected=expected, found=found)
    frame = files.frame_at(segment, SEGMENT_HEADER_BYTES)
    if not isinstance(frame, Damage) and frame.previous != header.digest:
        chained = "the first block of a segment is chained to its header"
        yield Problem(place=str(path), rule=chained, expected=frame.previous.hex(), found=header.digest.hex())


class _Replay(MemoryLedger):
    """One replay under way."""

    def __init__(self, machine: StateMachine, verifier: Verifier) -> None:
        super().__init__(machine)
        self._verifier = verifier
        self._problems: list[Problem] = []
        self._transactions = 0
        self._signatures = 0
        self._file: CheckpointFile | None = None
        self._claimed_size = 0
        self._is_checkpoint_reached = False

    def run_folder(self, folder: Path) -> ReplayResult:
        """Replay the segment files, and compare with the stored checkpoint."""
        self._file = CheckpointFile(folder / CHECKPOINTS_FOLDER, suite=self.machine.suite)
        self._claimed_size = self._claim()
        self._compare_root()
        self._replay_all(self._stored_blocks(_watched(folder, self.machine.parameters)))
        if self._claimed_size and not self._is_checkpoint_reached:
            self._report(
                str(folder / CHECKPOINTS_FOLDER),
                "a block ends at the signed checkpoint",
                expected=f"{self._claimed_size} leaves",
                found=f"{self.size} leaves at the end",
            )
        return self._result()

    def run(self, blocks: Iterable[Block]) -> ReplayResult:
        """Replay blocks."""
        self._replay_all(self._readable(blocks))
        return self._result()

    def _stored_blocks(self, files: SegmentFiles) -> Iterator[LoggedBlock]:
        for found in files.scan(EMPTY_TAIL):
            if isinstance(found, Broken):
                self._report(
                    f"{files.path(found.segment)} byte {found.offset}",
                    "every byte of a segment is as it was written",
                    expected="a whole frame that continues the chain",
                    found=found.reason,
                )
                return
            yield found.frame

    def _readable(self, blocks: Iterable[Block]) -> Iterator[Block]:
        """Yield blocks until reading one fails, which is a problem like any other."""
        source = iter(blocks)
        while True:
            try:
                block = next(source)
            except StopIteration:
                return
            except ShuiqiaoError as error:
                place = f"block {self.height + 1}"
                self._report(place, "every stored block can be read", expected="a block", found=error)
                return
            yield block

    def _replay_all(self, blocks: Iterable[LoggedBlock]) -> None:
        for batch in _batches(blocks):
            decoded = [self._decode(block) for block in batch]
            every = [tx for txs in decoded for tx in txs]
            proven = iter(prove_signatures(every, self.state, machine=self.machine, verifier=self._verifier))
            for block, txs in zip(batch, decoded, strict=True):
                self._replay_block(block, txs, proven=[next(proven) for _ in txs])
                if len(self._problems) >= MAX_PROBLEMS:
                    return

    def _decode(self, block: LoggedBlock) -> list[Transaction]:
        decoded: list[Transaction] = []
        for position, raw in enumerate(block.transactions):
            try:
                decoded.append(self.machine.decode(raw))
            except ShuiqiaoError as error:
                self._report_transaction(block, position, error)
        return decoded

    def _replay_block(
        self, block: LoggedBlock, transactions: Sequence[Transaction], *, proven: Sequence[tuple[bytes, ...]]
    ) -> None:
        self.begin_block()
        self._compare_position(block)
        try:
            execution = replay_transactions(
                self, transactions, time_ms=_time_of(block.entry), level=Level.VERIFIED, proven=proven
            )
        except IntegrityError as error:
            self._report(f"block {block.height}", "block times rise", expected=f"after {self.time_ms}", found=error)
            return
        result = execution.result
        for position, outcome in enumerate(result.outcomes):
            if outcome.refusal is not None:
                self._report_transaction(block, position, outcome.refusal)
        if result.entry != block.entry:
            self._report(
                f"block {block.height}",
                "the block entry follows from the accepted transactions",
                expected=(result.entry or b"").hex(),
                found=block.entry.hex(),
            )
        self.follow(execution, block)
        self._signatures += sum(len(tx.signatures) for tx in result.accepted)
        self._transactions += len(block.transactions)
        self._compare_root()

    def _compare_position(self, block: LoggedBlock) -> None:
        expected = (self.height + 1, self.size)
        if (block.height, block.first_index) != expected:
            self._report(
                f"block {block.height}",
                "blocks follow each other without a gap",
                expected=f"block {expected[0]} at leaf {expected[1]}",
                found=f"block {block.height} at leaf {block.first_index}",
            )

    def _claim(self) -> int:
        assert self._file is not None
        try:
            return self._file.claimed_size()
        except ShuiqiaoError as error:
            self._report_note(error)
            return 0

    def _compare_root(self) -> None:
        """Compare with the stored checkpoint where it stands, under the policy that is in force there."""
        if self._file is None or self._claimed_size != self.size:
            return
        self._is_checkpoint_reached = True
        try:
            checkpoint = self._file.load(lambda _size: self.policy)
        except IntegrityError as error:
            self._report_note(error)
            return
        if checkpoint is not None and checkpoint.root != self.root:
            self._report(
                f"block {self.height}",
                "the recomputed root is the signed one",
                expected=checkpoint.root.hex(),
                found=self.root.hex(),
            )

    def _report(self, place: str, rule: str, *, expected: str, found: str | ShuiqiaoError) -> None:
        code = found.code if isinstance(found, ShuiqiaoError) else ""
        self._problems.append(Problem(place=place, rule=rule, expected=expected, found=str(found), code=code))

    def _report_note(self, error: ShuiqiaoError) -> None:
        assert self._file is not None
        self._report(
            str(self._file.path), "the stored checkpoint is signed by the operator", expected="a note", found=error
        )

    def _report_transaction(self, block: LoggedBlock, position: int, error: ShuiqiaoError) -> None:
        self._report(
            f"block {block.height} transaction {position}",
            "every stored transaction holds by the rules of the network",
            expected="accepted",
            found=error,
        )

    def _result(self) -> ReplayResult:
        return ReplayResult(
            transactions=self._transactions,
            height=self.height,
            size=self.size,
            root=self.root,
            signatures_verified=self._signatures,
            problems=tuple(self._problems),
        )


def _batches(blocks: Iterable[LoggedBlock]) -> Iterator[list[LoggedBlock]]:
    """Group blocks so that signatures are checked many at a time and memory stays bounded."""
    batch: list[LoggedBlock] = []
    count = 0
    for block in blocks:
        batch.append(block)
        count += len(block.transactions)
        if count >= _BATCH_TRANSACTIONS:
            yield batch
            batch, count = [], 0
    if batch:
        yield batch


def _time_of(entry: bytes) -> int:
    """Return the time in a block entry; 0, which no block may have, where it cannot be read."""
    try:
        return decode_entry(entry).time_ms
    except ShuiqiaoError:
        return 0


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


def preview_recovery(
    files: WatchedFiles, *, head: Head | None, acknowledged_size: int, hash_name: HashName
) -> Recovery:
    """Return what a start would find, the torn tail it would cut included; raises what ``recover`` raises."""
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
    progress: Progress = no_progress,
    step: str = "read the log 读取日志",
) -> LogCheck:
    """Read every block and compare its leaves with the stored tree and the root at the checkpoint.

    nodes, head: the index, None where there is none. until_height: block to stop after, None for all; a running
    writer's last frame may be half of one. step: what is done, in words for a person.
    """
    check = LogCheck(nodes=nodes, indexed=0 if head is None else head.size, checkpoint=checkpoint, hash_name=hash_name)
    for found in files.scan(EMPTY_TAIL) if until_height != 0 else ():
        if isinstance(found, Broken):
            check.broken = found
            break
        check.take(found)
        if found.frame.height % _TELL_EVERY == 0:
            progress(step, found.frame.height, None)
        if check.tail.height == until_height:
            break
    return check


class LogCheck(HashedLog):
    """A log as far as it was read, beside the stored tree and the checkpoint."""

    def __init__(
        self, *, nodes: HashReader | None, indexed: int, checkpoint: Checkpoint | None, hash_name: str
    ) -> None:
        super().__init__(hash_name=hash_name)
        self._nodes = nodes
        self._indexed = indexed
        self._checkpoint = checkpoint
        self.tail = EMPTY_TAIL
        """The end of what holds."""
        self.last: Frame | None = None
        self.broken: Broken | None = None
        """Where reading ended early."""
        self.difference: NodeDifference | None = None
        """The first hash of the stored tree that differs."""
        self.contradicted: bytes | None = None
        """The root that the blocks give at the checkpoint's size, where it is another."""
        self.reached = checkpoint is None or checkpoint.size == 0
        """Whether a block ends at the checkpoint's size."""

    def take(self, stored: StoredFrame) -> None:
        """Take the next block."""
        frame = stored.frame
        made = self.append(frame)
        if self.difference is None and self._nodes is not None and self.size <= self._indexed:
            self.difference = _first_difference(made, self._nodes, height=frame.height)
        self.tail, self.last = tail_after(stored), frame
        checkpoint = self._checkpoint
        if checkpoint is not None and checkpoint.size == self.size:
            self.reached = True
            self.contradicted = self.root if self.root != checkpoint.root else None


def _first_difference(made: list[tuple[int, int, bytes]], nodes: HashReader, *, height: int) -> NodeDifference | None:
    for level, index, computed in made:
        try:
            stored: bytes | None = nodes.node(level, index)
        except IntegrityError:
            stored = None
        if stored != computed:
            return NodeDifference(height=height, level=level, index=index, computed=computed, stored=stored)
    return None
