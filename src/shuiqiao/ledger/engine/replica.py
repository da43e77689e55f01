"""One copy of the ledger on disk with the state machine on top: what the writer and every follower have in common.

Opens a folder (lock, recovery, index), executes blocks, commits them, and answers questions from what is committed.
It neither orders transactions nor verifies checkpoints of others: the engines do. One thread executes and commits; any
thread may read.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from shuiqiao.base.errors import IntegrityError, InvalidInput, ShuiqiaoError
from shuiqiao.ledger.entry import decode_entry
from shuiqiao.ledger.log import Frontier, consistency_path, leaf_hash, leaf_hashes, root_from_reader
from shuiqiao.ledger.machine import BlockResult, Candidate, StateMachine
from shuiqiao.ledger.model import Block, BlockContext, Checkpoint, NetworkParameters, StateView, Transaction
from shuiqiao.ledger.state import OverlayState, genesis_writes
from shuiqiao.ledger.store.checkpoint_file import CheckpointFile
from shuiqiao.ledger.store.disk import Disk
from shuiqiao.ledger.store.frame import ZERO_DIGEST, Frame, HashName
from shuiqiao.ledger.store.index import BlockPlace, BlockRecord, Head, Index, IndexUnreadable, Snapshot, stored_nodes
from shuiqiao.ledger.store.lock import FolderLock
from shuiqiao.ledger.store.recovery import Recovery, recover
from shuiqiao.ledger.store.segments import SegmentFiles, StoredFrame
from shuiqiao.ledger.store.state_view import CurrentState, SnapshotState, ValueCache, replay_id

SEGMENTS_FOLDER: Final = "segments"
INDEX_FOLDER: Final = "index.lmdb"
CHECKPOINTS_FOLDER: Final = "checkpoints"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaSettings:
    """How a copy of the ledger is kept.

    max_segment_bytes: a segment is closed once it is this long. map_bytes: largest size of the index.
    checkpoint_interval_s: how long a checkpoint may wait to be stored, in seconds.
    """

    max_segment_bytes: int
    map_bytes: int
    disk: Disk
    checkpoint_interval_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """A block executed on the last committed state, not yet committed."""

    result: BlockResult
    writes: Mapping[str, bytes | None]
    frontier: Frontier
    """The tree with this block."""
    nodes: Sequence[bytes]


class Replica:
    """An open ledger folder."""

    def __init__(self, folder: Path, *, machine: StateMachine, settings: ReplicaSettings) -> None:
        """Open or create, and recover.

        Raises Unavailable ``ledger.locked``; IntegrityError ``ledger.segment_damaged``, ``ledger.segments_behind``,
        ``ledger.checkpoint_contradicted``, or what ``verify_checkpoint`` raises for the stored checkpoint.
        """
        self.machine = machine
        self.parameters: NetworkParameters = machine.parameters
        self._hash_name: HashName = cast("HashName", machine.suite.hash_name)
        self._folder = folder
        self._settings = settings
        for name in (SEGMENTS_FOLDER, CHECKPOINTS_FOLDER):
            (folder / name).mkdir(parents=True, exist_ok=True)
        self._lock = FolderLock(folder)
        self._cache = ValueCache()
        self._current = CurrentState()
        self._view_lock = threading.Lock()
        self._index: Index | None = None
        self._files = SegmentFiles(
            folder / SEGMENTS_FOLDER,
            network=self.parameters.network,
            hash_name=self._hash_name,
            disk=settings.disk,
            max_segment_bytes=settings.max_segment_bytes,
        )
        self.checkpoint_file = CheckpointFile(
            folder / CHECKPOINTS_FOLDER,
            parameters=self.parameters,
            suite=machine.suite,
            disk=settings.disk,
            interval_s=settings.checkpoint_interval_s,
        )
        try:
            self.recovery = self._recover()
        except BaseException:
            self.close()
            raise

    # Opening

    def _recover(self) -> Recovery:
        stored = self.checkpoint_file.load()
        self._open_index()
        found = recover(
            self._files,
            head=self.head,
            acknowledged_size=stored.size if stored else 0,
            hash_name=self._hash_name,
            replay=self._replay,
        )
        if stored is not None:
            self.require_root(stored)
        return found

    def _open_index(self) -> None:
        """Open the index, or make it anew where it cannot be used: it is derived ([STORE-14])."""
        path = self._folder / INDEX_FOLDER
        try:
            self._load_index(Index(path, map_bytes=self._settings.map_bytes, disk=self._settings.disk))
        except IndexUnreadable:
            if self._index is not None:
                self._index.close()
            shutil.rmtree(path)
            self._load_index(Index(path, map_bytes=self._settings.map_bytes, disk=self._settings.disk))

    def _load_index(self, index: Index) -> None:
        self._index = index
        head = index.head()
        if head is None:
            head = self._genesis_head()
            index.start(genesis_writes(self.parameters), head=head)
        if (head.network, head.hash_name) != (self.parameters.network, self._hash_name):
            raise IndexUnreadable("it belongs to another network")
        self._adopt(head)
        self._frontier = self._load_frontier(head)

    def _load_frontier(self, head: Head) -> Frontier:
        try:
            frontier = Frontier.from_reader(self._view.snapshot, size=head.size, hash_name=self._hash_name)
        except IntegrityError as error:
            raise IndexUnreadable(error.message) from error
        if frontier.root() != head.root:
            raise IndexUnreadable("its Merkle hashes do not give the root of its head")
        return frontier

    def _genesis_head(self) -> Head:
        return Head(
            network=self.parameters.network,
            hash_name=self._hash_name,
            height=0,
            time_ms=self.parameters.genesis_time_ms,
            size=0,
            root=Frontier(hash_name=self._hash_name).root(),
            segment=0,
            offset=0,
            frame_bytes=0,
            digest=ZERO_DIGEST,
        )

    def _replay(self, stored: StoredFrame) -> None:
        """Index a block that the segments have and the index has not.

        Its signatures were verified before it was written; ``replay_ledger`` verifies them again on demand.
        """
        frame = stored.frame
        time_ms = decode_entry(frame.entry).time_ms
        transactions = [self.machine.decode(raw) for raw in frame.transactions]
        overlay = self.overlay()
        candidates = trusted_candidates(transactions, overlay, machine=self.machine)
        execution = self.execute(candidates, overlay=overlay, time_ms=time_ms)
        if execution.result.entry != frame.entry:
            raise IntegrityError(
                "ledger.block_contradicted",
                f"block {frame.height} in {self._files.path(stored.place.segment)} at byte {stored.place.offset} "
                "does not follow from the blocks before it by the rules of this network",
                next_step="open it with the version and the kinds that wrote it, or restore it from another member",
            )
        self._index_block(execution, stored)

    # Executing and committing

    @property
    def frontier(self) -> Frontier:
        """A copy of the tree's right edge, to try an append on."""
        return self._frontier.copy()

    def overlay(self) -> OverlayState:
        """Return a fresh overlay over the last committed state, for one block."""
        return OverlayState(self._current)

    @property
    def current(self) -> StateView:
        """The last committed state, for the thread that executes and commits only."""
        return self._current

    def execute(self, candidates: Iterable[Candidate], *, overlay: OverlayState, time_ms: int) -> Execution:
        """Execute the next block on an overlay over the last committed state; nothing is stored."""
        head = self.head
        result = self.machine.execute_block(
            candidates,
            overlay,
            BlockContext(height=head.height + 1, time_ms=time_ms),
            previous_time_ms=head.time_ms,
            replay=self._current,
        )
        frontier = self._frontier.copy()
        nodes: list[bytes] = []
        if result.entry is not None:
            leaves = [tx.raw for tx in result.accepted]
            leaves.append(result.entry)
            nodes = [node for _, _, node in frontier.append(leaf_hashes(leaves, hash_name=self._hash_name))]
        return Execution(result=result, writes=overlay.writes, frontier=frontier, nodes=nodes)

    def commit(self, execution: Execution) -> Block:
        """Make an executed block durable; the only way a block becomes visible.

        Raises Unavailable ``ledger.disk_full`` (nothing happened), ``ledger.store_failed`` or ``ledger.index_failed``
        (open the ledger again).
        """
        entry = execution.result.entry
        if entry is None:
            raise ValueError("a block without an accepted transaction is not committed")
        stored = self._files.append([tx.raw for tx in execution.result.accepted], entry=entry)
        self._index_block(execution, stored)
        return _block(stored.frame, time_ms=execution.result.context.time_ms)

    def _index_block(self, execution: Execution, stored: StoredFrame) -> None:
        before = self.head
        frame, place = stored.frame, stored.place
        result = execution.result
        time_ms = result.context.time_ms
        head = Head(
            network=before.network,
            hash_name=before.hash_name,
            height=frame.height,
            time_ms=time_ms,
            size=execution.frontier.size,
            root=execution.frontier.root(),
            segment=place.segment,
            offset=place.offset,
            frame_bytes=place.frame_bytes,
            digest=frame.digest,
        )
        block = BlockPlace(
            height=frame.height,
            first_index=frame.first_index,
            count=len(frame.transactions),
            time_ms=time_ms,
            place=place,
        )
        self._open().commit(
            BlockRecord(
                head=head,
                block=block,
                first_node=stored_nodes(before.size),
                nodes=execution.nodes,
                state=execution.writes,
                replay=[(replay_id(record.author, record.id), record.expiry_hour) for record in result.replay_records],
            )
        )
        self._frontier = execution.frontier
        self._adopt(head, written=execution.writes)

    def _adopt(self, head: Head, *, written: Iterable[str] = ()) -> None:
        view = SnapshotState(self._open().snapshot(), cache=self._cache)
        with self._view_lock:
            self.head = head
            self._view = view
        self._current.changed(written, view)

    def _open(self) -> Index:
        if self._index is None:
            raise ValueError("the ledger is closed")
        return self._index

    # Reading

    def view(self) -> tuple[Head, SnapshotState]:
        """Return the head and the state of the last committed block, of one and the same block."""
        with self._view_lock:
            return self.head, self._view

    def blocks(self, *, from_height: int) -> Iterator[Block]:
        """Iterate over the blocks that are committed when it starts, each read and verified as it is reached."""
        head, view = self.view()
        for height in range(max(1, from_height), head.height + 1):
            place = _require_block(view.snapshot, height)
            yield _block(self._files.read_frame(place.place), time_ms=place.time_ms)

    def block_place(self, index: int) -> BlockPlace:
        """Return the block of a transaction's leaf; InvalidInput ``ledger.index_unknown`` for any other index."""
        head, view = self.view()
        place = view.snapshot.block_of_index(index)
        if place is None or index == place.first_index + place.count:
            raise InvalidInput(
                "ledger.index_unknown", f"leaf {index} is not a transaction of this log of {head.size} leaves"
            )
        return place

    def leaf(self, place: BlockPlace, index: int) -> bytes:
        """Return a leaf's bytes, compared with its stored leaf hash; raises IntegrityError ``ledger.leaf_damaged``."""
        data = self._files.read_item(place.place, index - place.first_index)
        if leaf_hash(data, hash_name=self._hash_name) != self.view()[1].snapshot.node(0, index):
            raise IntegrityError(
                "ledger.leaf_damaged",
                f"leaf {index} in {self._files.path(place.place.segment)} does not have its stored hash",
                next_step="check the ledger: the file or the index is damaged",
            )
        return data

    def consistency_proof(self, *, old_size: int, new_size: int) -> tuple[bytes, ...]:
        """Return the RFC 6962 proof between two sizes of this log; InvalidInput ``ledger.size_unknown`` beyond it."""
        head, view = self.view()
        if not 0 <= old_size <= new_size <= head.size:
            raise InvalidInput(
                "ledger.size_unknown", f"no proof from {old_size} to {new_size} leaves in a log of {head.size}"
            )
        if old_size == 0:
            return ()
        return consistency_path(view.snapshot, old_size=old_size, new_size=new_size, hash_name=self._hash_name)

    def root_at(self, size: int) -> bytes:
        """Return the root this log had at a size not above its present one."""
        return root_from_reader(self.view()[1].snapshot, size=size, hash_name=self._hash_name)

    def require_root(self, checkpoint: Checkpoint) -> None:
        """Return if this log is as a signed checkpoint says, else raise ``ledger.checkpoint_contradicted``."""
        root = self.root_at(checkpoint.size)
        if root != checkpoint.root:
            raise IntegrityError(
                "ledger.checkpoint_contradicted",
                f"{self.checkpoint_file.path} says root {checkpoint.root.hex()} at {checkpoint.size} leaves, "
                f"the blocks give {root.hex()}",
                next_step="the blocks or the checkpoint were altered: restore both from another member's copy",
            )

    def close(self) -> None:
        """Release the files and the lock."""
        self._files.close()
        if self._index is not None:
            self._index.close()
            self._index = None
        self._lock.release()


def trusted_candidates(
    transactions: Iterable[Transaction], overlay: OverlayState, *, machine: StateMachine
) -> Iterator[Candidate]:
    """Yield candidates whose signatures count as proven: for blocks this very node verified before it stored them.

    Lazy on purpose: the required keys are asked for on the state that the transactions before have left.
    """
    for tx in transactions:
        try:
            claims = machine.plan_verification(tx, overlay)
        except ShuiqiaoError:
            # The machine refuses it for the same reason, and the block is then seen to be contradicted.
            claims = ()
        yield Candidate(transaction=tx, proven_keys=tuple(claim[0] for claim in claims))


def _block(frame: Frame, *, time_ms: int) -> Block:
    return Block(
        height=frame.height,
        time_ms=time_ms,
        first_index=frame.first_index,
        transactions=frame.transactions,
        entry=frame.entry,
    )


def _require_block(snapshot: Snapshot, height: int) -> BlockPlace:
    place = snapshot.block(height)
    if place is None:
        raise IntegrityError(
            "ledger.block_missing",
            f"the index holds no place for block {height}",
            next_step="delete the ledger's index folder: it is made again from the segments",
        )
    return place
