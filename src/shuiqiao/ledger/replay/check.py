"""Replaying a ledger from its genesis [STORE-23]: every byte, signature, rule and root, by nobody's word.

``replay_ledger`` takes a ledger folder or the blocks of an engine and executes them on a fresh state in memory. It
believes neither index nor checkpoint; what does not hold becomes a Problem that names the place and both values.
Nothing is repaired, and nothing is written. Oversight uses it for the audit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, cast

from shuiqiao.base.clock import MS_PER_HOUR
from shuiqiao.base.durable import PosixDisk
from shuiqiao.base.errors import IntegrityError, ShuiqiaoError
from shuiqiao.base.files import open_regular
from shuiqiao.base.ids import MemberId
from shuiqiao.crypto.suites import get_suite
from shuiqiao.ledger.engine.catch_up import prove_signatures
from shuiqiao.ledger.engine.ledger_copy import CHECKPOINTS_FOLDER, SEGMENTS_FOLDER
from shuiqiao.ledger.log.entry import decode_entry
from shuiqiao.ledger.log.tree import Frontier, leaf_hashes
from shuiqiao.ledger.model import Block, BlockContext, KeyRing, NetworkParameters, Transaction
from shuiqiao.ledger.state.epoch_trail import EpochChange, EpochTrail
from shuiqiao.ledger.state.machine import Candidate, StateMachine
from shuiqiao.ledger.state.memory_state import MemoryState
from shuiqiao.ledger.state.overlay import OverlayState, genesis_writes
from shuiqiao.ledger.store.checkpoint_file import CheckpointFile
from shuiqiao.ledger.store.frame import (
    EMPTY_TAIL,
    SEGMENT_HEADER_BYTES,
    Broken,
    Damage,
    HashName,
    decode_segment_header,
)
from shuiqiao.ledger.store.segments import DEFAULT_SEGMENT_BYTES, SegmentFiles
from shuiqiao.ledger.transactions.kinds import KindTable
from shuiqiao.ledger.transactions.verifiers import Verifier, open_verifier

MAX_PROBLEMS: Final = 100
"""A replay stops after so many problems: the first ones tell, the rest follow from them."""

_BATCH_TRANSACTIONS: Final = 2_048
_PRUNE_EVERY_BLOCKS: Final = 1_000


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


class ReplayMemory:
    """The replay index of a ledger replayed in memory."""

    def __init__(self) -> None:
        self._hours: dict[tuple[str, bytes], int] = {}

    def expiry_hour(self, author: MemberId, transaction_id: bytes) -> int | None:
        """Return the hour in which an accepted id expires, None if it is not remembered."""
        return self._hours.get((author, transaction_id))

    def remember(self, author: str, transaction_id: bytes, hour: int) -> None:
        """Remember an accepted id."""
        self._hours[author, transaction_id] = hour

    def prune(self, *, before_hour: int) -> None:
        """Forget what expired."""
        self._hours = {key: hour for key, hour in self._hours.items() if hour >= before_hour}


@dataclass(slots=True)
class _Replayed:
    """The ledger as far as it was replayed."""

    state: MemoryState
    frontier: Frontier
    time_ms: int
    replay: ReplayMemory = field(default_factory=ReplayMemory)
    height: int = 0
    transactions: int = 0
    signatures: int = 0
    problems: list[Problem] = field(default_factory=list[Problem])

    def report(self, place: str, rule: str, *, expected: str, found: str | ShuiqiaoError) -> None:
        code = found.code if isinstance(found, ShuiqiaoError) else ""
        self.problems.append(Problem(place=place, rule=rule, expected=expected, found=str(found), code=code))


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
    files = SegmentFiles(
        folder / SEGMENTS_FOLDER,
        network=parameters.network,
        hash_name=cast("HashName", get_suite(parameters.suite).hash_name),
        disk=PosixDisk(),
        max_segment_bytes=DEFAULT_SEGMENT_BYTES,
    )
    return tuple(problem for segment in files.segments() for problem in _header_problems(files, segment, parameters))


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


class _Replay:
    """One replay under way."""

    def __init__(self, machine: StateMachine, verifier: Verifier) -> None:
        self._machine = machine
        self._verifier = verifier
        self._hash_name = machine.suite.hash_name
        self._done = _Replayed(
            state=MemoryState(genesis_writes(machine.parameters)),
            frontier=Frontier(hash_name=self._hash_name),
            time_ms=machine.parameters.genesis_time_ms,
        )
        self._trail = EpochTrail(machine.parameters, key_ring=machine.key_ring)
        self._file: CheckpointFile | None = None
        self._claimed_size = 0
        self._is_checkpoint_reached = False

    def run_folder(self, folder: Path) -> ReplayResult:
        """Replay the segment files, and compare with the stored checkpoint."""
        self._file = CheckpointFile(folder / CHECKPOINTS_FOLDER, suite=self._machine.suite, disk=PosixDisk())
        self._claimed_size = self._claim()
        self._compare_root()
        files = SegmentFiles(
            folder / SEGMENTS_FOLDER,
            network=self._machine.parameters.network,
            hash_name=cast("HashName", self._hash_name),
            disk=PosixDisk(),
            max_segment_bytes=DEFAULT_SEGMENT_BYTES,
        )
        self._replay_all(self._stored_blocks(files))
        if self._claimed_size and not self._is_checkpoint_reached:
            self._done.report(
                str(folder / CHECKPOINTS_FOLDER),
                "a block ends at the signed checkpoint",
                expected=f"{self._claimed_size} leaves",
                found=f"{self._done.frontier.size} leaves at the end",
            )
        return self._result()

    def run(self, blocks: Iterable[Block]) -> ReplayResult:
        """Replay blocks."""
        self._replay_all(self._readable(blocks))
        return self._result()

    def _stored_blocks(self, files: SegmentFiles) -> Iterator[Block]:
        for found in files.scan(EMPTY_TAIL):
            if isinstance(found, Broken):
                self._done.report(
                    f"{files.path(found.segment)} byte {found.offset}",
                    "every byte of a segment is as it was written",
                    expected="a whole frame that continues the chain",
                    found=found.reason,
                )
                return
            frame = found.frame
            yield Block(
                height=frame.height,
                time_ms=_time_of(frame.entry),
                first_index=frame.first_index,
                transactions=frame.transactions,
                entry=frame.entry,
            )

    def _readable(self, blocks: Iterable[Block]) -> Iterator[Block]:
        """Yield blocks until reading one fails, which is a problem like any other."""
        source = iter(blocks)
        while True:
            try:
                block = next(source)
            except StopIteration:
                return
            except ShuiqiaoError as error:
                place = f"block {self._done.height + 1}"
                self._done.report(place, "every stored block can be read", expected="a block", found=error)
                return
            yield block

    def _replay_all(self, blocks: Iterable[Block]) -> None:
        for batch in _batches(blocks):
            decoded = [self._decode(block) for block in batch]
            proven = iter(
                prove_signatures(
                    [tx for txs in decoded for tx in txs],
                    self._done.state,
                    machine=self._machine,
                    verifier=self._verifier,
                )
            )
            for block, txs in zip(batch, decoded, strict=True):
                candidates = [Candidate(transaction=tx, proven_keys=next(proven)) for tx in txs]
                self._replay_block(block, candidates)
                if len(self._done.problems) >= MAX_PROBLEMS:
                    return

    def _decode(self, block: Block) -> list[Transaction]:
        decoded: list[Transaction] = []
        for position, raw in enumerate(block.transactions):
            try:
                decoded.append(self._machine.decode(raw))
            except ShuiqiaoError as error:
                self._report_transaction(block, position, error)
        return decoded

    def _replay_block(self, block: Block, candidates: Sequence[Candidate]) -> None:
        done = self._done
        self._compare_position(block)
        overlay = OverlayState(done.state)
        time_ms = _time_of(block.entry)
        try:
            result = self._machine.execute_block(
                candidates,
                overlay,
                BlockContext(height=done.height + 1, time_ms=time_ms),
                previous_time_ms=done.time_ms,
                replay=done.replay,
            )
        except IntegrityError as error:
            done.report(f"block {block.height}", "block times rise", expected=f"after {done.time_ms}", found=error)
            return
        for position, outcome in enumerate(result.outcomes):
            if outcome.refusal is not None:
                self._report_transaction(block, position, outcome.refusal)
        if result.entry != block.entry:
            done.report(
                f"block {block.height}",
                "the block entry follows from the accepted transactions",
                expected=(result.entry or b"").hex(),
                found=block.entry.hex(),
            )
        done.state.write(overlay.writes)
        for record in result.replay_records:
            done.replay.remember(record.author, record.id, record.expiry_hour)
        done.signatures += sum(len(tx.signatures) for tx in result.accepted)
        self._advance(block, time_ms=max(time_ms, done.time_ms))

    def _advance(self, block: Block, *, time_ms: int) -> None:
        done = self._done
        leaves = (*block.transactions, block.entry)
        done.frontier.append(leaf_hashes(leaves, hash_name=self._hash_name))
        done.height += 1
        done.time_ms = time_ms
        done.transactions += len(block.transactions)
        if done.height % _PRUNE_EVERY_BLOCKS == 0:
            done.replay.prune(before_hour=time_ms // MS_PER_HOUR)
        self._compare_root()
        self._walk()

    def _compare_position(self, block: Block) -> None:
        done = self._done
        expected = (done.height + 1, done.frontier.size)
        if (block.height, block.first_index) != expected:
            done.report(
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
        frontier = self._done.frontier
        if self._file is None or self._claimed_size != frontier.size:
            return
        self._is_checkpoint_reached = True
        try:
            checkpoint = self._file.load(self._trail.policy_at)
        except IntegrityError as error:
            self._report_note(error)
            return
        if checkpoint is not None and checkpoint.root != frontier.root():
            self._done.report(
                f"block {self._done.height}",
                "the recomputed root is the signed one",
                expected=checkpoint.root.hex(),
                found=frontier.root().hex(),
            )

    def _report_note(self, error: ShuiqiaoError) -> None:
        assert self._file is not None
        self._done.report(
            str(self._file.path), "the stored checkpoint is signed by the operator", expected="a note", found=error
        )

    def _walk(self) -> None:
        """Go on to the epoch that the last block began, if it did."""
        key, done = self._machine.key_ring.epoch_key, self._done
        epoch = done.state.encoded_value(key)
        if epoch is not None and epoch != self._trail.newest_epoch:
            proof = done.state.prove(key, hash_name=self._hash_name)
            self._trail.add(EpochChange(size=done.frontier.size, epoch=epoch, proof=proof))

    def _report_transaction(self, block: Block, position: int, error: ShuiqiaoError) -> None:
        self._done.report(
            f"block {block.height} transaction {position}",
            "every stored transaction holds by the rules of the network",
            expected="accepted",
            found=error,
        )

    def _result(self) -> ReplayResult:
        done = self._done
        return ReplayResult(
            transactions=done.transactions,
            height=done.height,
            size=done.frontier.size,
            root=done.frontier.root(),
            signatures_verified=done.signatures,
            problems=tuple(done.problems),
        )


def _batches(blocks: Iterable[Block]) -> Iterator[list[Block]]:
    """Group blocks so that signatures are checked many at a time and memory stays bounded."""
    batch: list[Block] = []
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
