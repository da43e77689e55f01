"""One copy of the ledger on disk with the state machine on top: what the writer and every follower have in common.

Opens a folder (lock, recovery, index), executes blocks, commits them, and answers questions from what is committed.
It neither orders transactions nor verifies checkpoints of others: the engines do. One thread executes and commits; any
thread may read.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Final, cast

import lmdb

from shuiqiao.base.durable import ScratchDisk
from shuiqiao.base.errors import IntegrityError
from shuiqiao.ledger.checkpoints.signed_note import Checkpoint
from shuiqiao.ledger.engine.port import CopySettings
from shuiqiao.ledger.log.tree import Frontier
from shuiqiao.ledger.model import Block, NetworkParameters, Transaction
from shuiqiao.ledger.replay.replay import Execution, Growth, Level, ReplayedCopy, grow, replay_block
from shuiqiao.ledger.state.machine import BlockResult, StateMachine
from shuiqiao.ledger.state.overlay import genesis_writes
from shuiqiao.ledger.store.checkpoint_file import (
    CHECKPOINTS_FOLDER,
    COSIGNED_INTERVAL_S,
    COSIGNED_NAME,
    LATEST_NAME,
    CheckpointFile,
)
from shuiqiao.ledger.store.epochs import EPOCHS_FOLDER, StoredEpochs
from shuiqiao.ledger.store.frame import ZERO_DIGEST, Frame, HashName, StoredFrame
from shuiqiao.ledger.store.index import INDEX_FOLDER, BlockPlace, BlockRecord, Head, Index, genesis_head, stored_nodes
from shuiqiao.ledger.store.lmdb_file import IndexUnreadable
from shuiqiao.ledger.store.lock import FolderLock, system_refusals
from shuiqiao.ledger.store.log_reading import LogReading, block_of
from shuiqiao.ledger.store.recovery import Recovery, recover
from shuiqiao.ledger.store.segments import SEGMENTS_FOLDER, SegmentFiles
from shuiqiao.ledger.store.state_tree import PlannedUpdate
from shuiqiao.ledger.store.state_view import CurrentState, SnapshotState, ValueCache, replay_id

_REPLAYED_LEAVES: Final = 4096
_REPLAYED_BLOCKS: Final = 64
"""What is indexed together at most when the ledger is opened: planning looks through all blocks that are not yet."""


class LedgerCopy(LogReading, ReplayedCopy):
    """An open ledger folder."""

    def __init__(self, folder: Path, *, machine: StateMachine, settings: CopySettings) -> None:
        """Open or create, and recover.

        Raises Unavailable ``ledger.locked``, ``ledger.open_failed``; IntegrityError ``ledger.segment_damaged``,
        ``ledger.segments_behind``, ``ledger.checkpoint_contradicted``, or what ``verify_log_signature`` raises.
        """
        self.machine = machine
        self.parameters: NetworkParameters = machine.parameters
        self._hash_name: HashName = cast("HashName", machine.suite.hash_name)
        self._folder = folder
        self._settings = settings
        with system_refusals(folder):
            for name in (SEGMENTS_FOLDER, f"{CHECKPOINTS_FOLDER}/{EPOCHS_FOLDER}"):
                (folder / name).mkdir(parents=True, exist_ok=True)
            self._lock = FolderLock(folder)
        self._cache = ValueCache()
        self._current = CurrentState(hash_name=self._hash_name)
        self._view_lock = threading.Lock()
        self._index: Index | None = None
        self._stored: list[BlockRecord] = []
        self._digest = ZERO_DIGEST
        self._files = SegmentFiles(
            folder / SEGMENTS_FOLDER,
            network=self.parameters.network,
            hash_name=self._hash_name,
            disk=settings.disk,
            max_segment_bytes=settings.max_segment_bytes,
        )
        self.checkpoint_file = self._note_file(LATEST_NAME, interval_s=settings.checkpoint_interval_s)
        self.cosigned_file = self._note_file(COSIGNED_NAME, interval_s=COSIGNED_INTERVAL_S)
        self.epochs = StoredEpochs(folder / CHECKPOINTS_FOLDER, machine=machine, disk=settings.disk)
        try:
            with system_refusals(folder):
                self.recovery = self._recover()
        except BaseException:
            self.close()
            raise

    def _note_file(self, name: str, *, interval_s: float) -> CheckpointFile:
        return CheckpointFile(
            self._folder / CHECKPOINTS_FOLDER,
            suite=self.machine.suite,
            disk=self._settings.disk,
            interval_s=interval_s,
            name=name,
        )

    # Starting

    def _recover(self) -> Recovery:
        acknowledged_size = max(self.checkpoint_file.claimed_size(), self.cosigned_file.claimed_size())
        self._open_index()
        found = recover(
            self._files,
            head=self.head,
            acknowledged_size=acknowledged_size,
            hash_name=self._hash_name,
            replay=self._replay,
        )
        self.publish()
        self._require_root(self.stored_checkpoint())
        return found

    def _require_root(self, stored: Checkpoint | None) -> None:
        root = self.root_at(stored.size) if stored is not None else b""
        if stored is not None and root != stored.root:
            raise IntegrityError(
                "ledger.checkpoint_contradicted",
                f"{self.checkpoint_file.path} says root {stored.root.hex()} at {stored.size} leaves, "
                f"the blocks give {root.hex()}",
                next_step="the blocks or the checkpoint were altered: restore both from another member's copy",
            )

    def stored_checkpoint(self) -> Checkpoint | None:
        """Return the checkpoint on disk, its own signature verified under the policy of its epoch."""
        return self.checkpoint_file.load(self.epochs.trail.policy_at)

    def _open_index(self) -> None:
        """Open the index, or make it anew where it cannot be used: it is derived ([STORE-14])."""
        path = self._folder / INDEX_FOLDER
        try:
            self._load_index(Index(path, map_bytes=self._settings.map_bytes, disk=self._settings.disk))
        except (IndexUnreadable, IntegrityError, lmdb.Error):
            if self._index is not None:
                self._index.close()
            shutil.rmtree(path)
            self._load_index(Index(path, map_bytes=self._settings.map_bytes, disk=self._settings.disk))

    def _load_index(self, index: Index) -> None:
        self._index = index
        head = index.head()
        if head is None:
            head = index.start(
                genesis_writes(self.parameters), head=genesis_head(self.parameters, hash_name=self._hash_name)
            )
        if (head.network, head.hash_name) != (self.parameters.network, self._hash_name):
            raise IndexUnreadable("it belongs to another network")
        self._adopt(head)
        self._frontier = self._load_frontier(head)
        if self._current.root_after({}, hash_name=self._hash_name) != head.state_root:
            raise IndexUnreadable("its state map does not give the state root of its head")
        self.epochs.load(index, self._view.snapshot, head=head)

    def _load_frontier(self, head: Head) -> Frontier:
        try:
            frontier = Frontier.from_reader(self._view.snapshot, size=head.size, hash_name=self._hash_name)
        except IntegrityError as error:
            raise IndexUnreadable(error.message) from error
        if frontier.root() != head.root:
            raise IndexUnreadable("its Merkle hashes do not give the root of its head")
        return frontier

    def _replay(self, stored: StoredFrame) -> None:
        """Index a block that the segments have and the index has not.

        Its signatures were verified before it was written; ``replay_ledger`` verifies them again on demand.
        """
        frame = stored.frame
        self.machine.require_versions(self._current, height=frame.height)
        execution = replay_block(self, frame, level=Level.EXECUTED)
        if execution.result.entry != frame.entry:
            raise IntegrityError(
                "ledger.block_contradicted",
                f"block {frame.height} in {self._files.path(stored.place.segment)} at byte {stored.place.offset} "
                "does not follow from the blocks before it by the rules of this network",
                next_step="open it with the version and the kinds that wrote it, or restore it from another member",
            )
        self._advance(execution, stored, self._grow(frame))
        if self._frontier.size - self.head.size >= _REPLAYED_LEAVES or len(self._stored) >= _REPLAYED_BLOCKS:
            self.publish()

    # Executing and committing

    @property
    def frontier(self) -> Frontier:
        """A copy of the tree's right edge, to try an append on."""
        return self._frontier.copy()

    def look_up(self, transactions: Iterable[Transaction]) -> None:
        """Look up together what the index knows of the next block's transactions, before it is executed."""
        self._current.look_up(transactions)

    @property
    def current(self) -> CurrentState:
        """The state after the last stored block, for the thread that executes and commits only."""
        return self._current

    def _plan_of(self, result: BlockResult) -> PlannedUpdate | None:
        return None if result.entry is None else self._current.planned

    def commit(self, execution: Execution) -> Block:
        """Make an executed block durable and visible; raises what ``store`` and ``publish`` raise."""
        block = self.store(execution)
        self.publish()
        return block

    def store(self, execution: Execution, *, growth: Growth | None = None) -> Block:
        """Make an executed block durable; ``publish`` then makes it visible, with all others stored before.

        growth: what its leaves make of the tree, where that is known already.
        Raises Unavailable ``ledger.disk_full`` (nothing happened) or ``ledger.store_failed`` (open the ledger again).
        """
        return self.follow(execution, self.write(execution), growth=growth)

    def write(self, execution: Execution) -> StoredFrame:
        """Put the frame of an executed block on the medium; ``follow`` then goes on behind it.

        The one step that waits for the disk: another thread may do it while the executing one does anything but
        execute, store and publish. Raises as ``store``.
        """
        entry = execution.result.entry
        if entry is None or execution.plan is None:
            raise ValueError("a block without an accepted transaction is not committed")
        return self._files.append([tx.raw for tx in execution.result.accepted], entry=entry)

    def follow(self, execution: Execution, stored: StoredFrame, *, growth: Growth | None = None) -> Block:
        """Go on behind a block that ``write`` has put on the medium; ``publish`` then makes it visible."""
        self._advance(execution, stored, growth or self._grow(stored.frame))
        return block_of(stored.frame, time_ms=execution.result.context.time_ms)

    def _grow(self, frame: Frame) -> Growth:
        return grow(self._frontier, (*frame.transactions, frame.entry), hash_name=self._hash_name)

    def _advance(self, execution: Execution, stored: StoredFrame, growth: Growth) -> None:
        """Go on behind a stored block: the next one is executed on it, and readers see it when it is published."""
        frame, result, plan = stored.frame, execution.result, execution.plan
        assert plan is not None
        time_ms = result.context.time_ms
        block = BlockPlace(
            height=frame.height,
            first_index=frame.first_index,
            count=len(frame.transactions),
            time_ms=time_ms,
            place=stored.place,
        )
        used = [(replay_id(record.author, record.id), record.expiry_hour) for record in result.replay_records]
        self._stored.append(
            BlockRecord(block=block, nodes=growth.nodes, state=execution.writes, pages=plan.writes, replay=used)
        )
        self._digest = frame.digest
        self._frontier = growth.frontier
        self._state_root = plan.root
        self.last = (frame.height, time_ms)
        self._current.advance(execution.writes, used, plan=plan)
        if self.epochs.key in execution.writes:
            # The proof of an epoch is made from the state of this very block, so none may follow it unseen.
            self.publish()

    def publish(self) -> None:
        """Write the index of all stored blocks and make them visible, all at once ([STORE-16]).

        Raises Unavailable ``ledger.index_failed``: nothing was written, and they wait for the next ``publish``.
        """
        if not self._stored:
            return
        block = self._stored[-1].block
        head = Head(
            network=self.head.network,
            hash_name=self.head.hash_name,
            height=block.height,
            time_ms=block.time_ms,
            size=self._frontier.size,
            root=self._frontier.root(),
            state_root=self._state_root,
            segment=block.place.segment,
            offset=block.place.offset,
            frame_bytes=block.place.frame_bytes,
            digest=self._digest,
        )
        self._open().commit(self._stored, first_node=stored_nodes(self.head.size), head=head)
        is_new_epoch = self.epochs.key in self._stored[-1].state
        self._stored = []
        self._adopt(head)
        if is_new_epoch:
            self.epochs.record(self._open(), self._view.snapshot, head=head)

    def _adopt(self, head: Head) -> None:
        view = SnapshotState(self._open().snapshot(), cache=self._cache)
        with self._view_lock:
            self.head = head
            self._view = view
        self.last = (head.height, head.time_ms)
        self._state_root = head.state_root
        self._current.settle(view)

    def _open(self) -> Index:
        if self._index is None:
            raise ValueError("the ledger is closed")
        return self._index

    # Reading

    def view(self) -> tuple[Head, SnapshotState]:
        """Return the head and the state of the last committed block, of one and the same block."""
        with self._view_lock:
            return self.head, self._view

    def close(self) -> None:
        """Release the files and the lock."""
        self._files.close()
        if self._index is not None:
            self._index.close()
            self._index = None
        self._lock.release()


def open_scratch(folder: Path, *, machine: StateMachine) -> LedgerCopy:
    """Open or make a copy that does not wait for the disk, to be thrown away; raises what ``LedgerCopy`` raises."""
    return LedgerCopy(folder, machine=machine, settings=CopySettings(disk=ScratchDisk()))
