"""The application's state in CometBFT's terms: this node's copy of the ledger, its height, and its snapshots.

FinalizeBlock executes on a copy of the state and tells the hash; Commit stores. A block that accepts nothing stores
nothing and keeps the hash [ABCI-13]. It does not know ABCI; ``application`` does.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final, cast

from shuiqiao.base.durable import move_into_place
from shuiqiao.base.errors import IntegrityError, ShuiqiaoError
from shuiqiao.ledger.checkpoints.signed_note import encode_text
from shuiqiao.ledger.engine.cometbft.abci.messages import Snapshot
from shuiqiao.ledger.engine.cometbft.consensus.carried_notes import CARRIED_FOLDER, CarriedNotes
from shuiqiao.ledger.engine.cometbft.consensus.heights import HeightFile, HeightRecord
from shuiqiao.ledger.engine.cometbft.consensus.snapshots import Incoming, OfferedSnapshots, snapshot_contradicted
from shuiqiao.ledger.engine.ledger_copy import LedgerCopy
from shuiqiao.ledger.engine.port import CopySettings
from shuiqiao.ledger.log.entry import next_block_time
from shuiqiao.ledger.model import Block
from shuiqiao.ledger.replay.replay import Execution, Growth, grow
from shuiqiao.ledger.state.machine import Candidate, StateMachine
from shuiqiao.ledger.store.frame import HashName
from shuiqiao.ledger.store.index import INDEX_FOLDER
from shuiqiao.ledger.store.lock import system_refusals
from shuiqiao.ledger.store.segments import SEGMENT_SUFFIX, SEGMENTS_FOLDER, SegmentFiles

CONSENSUS_FOLDER: Final = "consensus"
INCOMING_FOLDER: Final = "incoming"
_LOOKED_UP: Final = 256
"""Transactions whose ids are looked up together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """A finalized block that is not committed yet. growth is None for a block that accepts nothing."""

    height: int
    time_ms: int
    execution: Execution
    growth: Growth | None
    app_hash: bytes


class AppState:
    """One open copy of the ledger; its methods are for one thread at a time, ``copy`` may be read by any."""

    def __init__(self, folder: Path, *, machine: StateMachine, settings: CopySettings) -> None:
        """Open or create the folder, and recover; raises what ``LedgerCopy`` and ``HeightFile`` raise."""
        self.folder = folder
        self._machine = machine
        self._settings = settings
        self._digest: Callable[[bytes], bytes] = machine.suite.digest
        self._drop_unfinished()
        self.copy = LedgerCopy(folder, machine=machine, settings=settings)
        try:
            with system_refusals(folder):
                self._file = HeightFile(folder / CONSENSUS_FOLDER / "position", disk=settings.disk)
                self.carried_notes = CarriedNotes(
                    folder / CONSENSUS_FOLDER, copy=lambda: self.copy, suite=machine.suite, disk=settings.disk
                )
            self.reached = self._file.load(block=self.copy.head.height)
            self._require_hash()
        except BaseException:
            self.copy.close()
            raise
        self.snapshots = self._offered()

    def _offered(self) -> OfferedSnapshots:
        return OfferedSnapshots(
            self.folder / SEGMENTS_FOLDER, suffix=SEGMENT_SUFFIX, notes=self.carried_notes.folder, digest=self._digest
        )

    def _require_hash(self) -> None:
        if self.reached is not None and self.reached.app_hash != self.app_hash:
            raise IntegrityError(
                "ledger.position_damaged",
                f"height {self.reached.height} had application hash {self.reached.app_hash.hex()}, the blocks give "
                f"{self.app_hash.hex()}",
                next_step="the blocks were altered: restore the ledger folder, or join again by state sync",
            )

    @property
    def height(self) -> int:
        """CometBFT's last committed height, 0 before the first."""
        return self.reached.height if self.reached is not None else 0

    @property
    def time_ms(self) -> int:
        """Time of CometBFT's last block, or the genesis time."""
        return self.reached.time_ms if self.reached is not None else self._machine.parameters.genesis_time_ms

    @property
    def app_hash(self) -> bytes:
        """Suite hash of the text of the last committed checkpoint."""
        head = self.copy.head
        return self._hash_of(size=head.size, root=head.root)

    def _hash_of(self, *, size: int, root: bytes) -> bytes:
        return self._digest(encode_text(origin=self._machine.parameters.origin, size=size, root=root))

    def execute(self, candidates: Iterable[Candidate], *, height: int, time_ms: int) -> Pending:
        """Execute the block of the next height; nothing is stored. Raises IntegrityError ``ledger.height_wrong``.

        candidates: taken a few hundred at a time, so that their signatures can be on their way to be verified while the
        first of them are executed. What was executed before at this height and not committed is thrown away.
        """
        if height != self.height + 1 and self.height:
            raise IntegrityError(
                "ledger.height_wrong", f"height {height} was decided, and height {self.height} is the last one here"
            )
        copy = self.copy
        block_ms = next_block_time(clock_ms=time_ms, previous_ms=copy.head.time_ms)
        execution = copy.execute(self._looked_up(candidates), overlay=copy.overlay(), time_ms=block_ms)
        growth: Growth | None = None
        app_hash = self.app_hash
        if execution.result.entry is not None:
            leaves = [tx.raw for tx in execution.result.accepted]
            growth = grow(copy.frontier, (*leaves, execution.result.entry), hash_name=self._machine.suite.hash_name)
            app_hash = self._hash_of(size=growth.frontier.size, root=growth.frontier.root())
        return Pending(height=height, time_ms=time_ms, execution=execution, growth=growth, app_hash=app_hash)

    def _looked_up(self, candidates: Iterable[Candidate]) -> Iterator[Candidate]:
        coming = iter(candidates)
        while group := list(islice(coming, _LOOKED_UP)):
            self.copy.look_up([candidate.transaction for candidate in group])
            yield from group

    def commit(self, pending: Pending) -> Block | None:
        """Make a finalized block durable; return our block, None if it accepted nothing.

        Raises Unavailable ``ledger.disk_full``, ``ledger.store_failed`` or ``ledger.index_failed``.
        """
        head = self.copy.head
        record = HeightRecord(
            height=pending.height,
            time_ms=pending.time_ms,
            block=head.height + (pending.growth is not None),
            app_hash=pending.app_hash,
            previous=self.height,
            previous_time_ms=self.time_ms,
        )
        # [ABCI-14]: what the height leads to is on the medium before the block is.
        self._file.save(record, is_durable=pending.growth is not None)
        block: Block | None = None
        if pending.growth is not None:
            block = self.copy.store(pending.execution, growth=pending.growth)
            self.copy.publish()
        self.reached = record
        return block

    # Joining by snapshot

    def receive(self, incoming: Incoming) -> None:
        """Put a whole snapshot in the place of this empty ledger, and prove that it is what was verified.

        Raises IntegrityError ``ledger.snapshot_contradicted``, after which the ledger is empty again [ABCI-21].
        """
        self.copy.close()
        self._drop(SEGMENTS_FOLDER, INDEX_FOLDER)
        disk = self._settings.disk
        disk.sync_folder(incoming.folder / SEGMENTS_FOLDER)
        move_into_place(incoming.folder / SEGMENTS_FOLDER, self.folder / SEGMENTS_FOLDER, disk=disk)
        try:
            self._adopt(incoming)
        except ShuiqiaoError as error:
            self.copy.close()
            self._drop(SEGMENTS_FOLDER, INDEX_FOLDER, INCOMING_FOLDER, f"{CONSENSUS_FOLDER}/{CARRIED_FOLDER}")
            self.carried_notes.load()
            self.copy = LedgerCopy(self.folder, machine=self._machine, settings=self._settings)
            raise snapshot_contradicted(error.message) from error
        shutil.rmtree(self.folder / INCOMING_FOLDER)
        # Were it there again after a power cut, the next start would take this ledger for an unfinished one.
        disk.sync_folder(self.folder)
        self.snapshots = self._offered()

    def _adopt(self, incoming: Incoming) -> None:
        record = incoming.manifest.position
        self.copy = LedgerCopy(self.folder, machine=self._machine, settings=self._settings)
        if (self.app_hash, self.copy.head.height) != (incoming.app_hash, record.block):
            raise snapshot_contradicted(
                f"{self.copy.head.height} blocks give {self.app_hash.hex()}, where {record.block} and "
                f"{incoming.app_hash.hex()} were verified"
            )
        self.carried_notes.receive(incoming.notes())
        self._file.save(record, is_durable=True)
        self.reached = record

    def take_in(self, offer: Snapshot, *, app_hash: bytes) -> Incoming:
        """Begin to take a snapshot in, in a fresh folder; raises what ``Incoming`` raises."""
        self.drop_incoming()
        folder, suite = self.folder / INCOMING_FOLDER, self._machine.suite
        segments = SegmentFiles(
            folder / SEGMENTS_FOLDER,
            network=self._machine.parameters.network,
            hash_name=cast("HashName", suite.hash_name),
            disk=self._settings.disk,
            max_segment_bytes=self._settings.max_segment_bytes,
        )
        return Incoming(folder, offer=offer, app_hash=app_hash, segments=segments, digest=suite.digest)

    def drop_incoming(self) -> None:
        """Delete what was taken in of a snapshot that is not taken on."""
        self._drop(INCOMING_FOLDER)

    def _drop_unfinished(self) -> None:
        """Empty a folder in which a snapshot was being put in place: it was empty before, and may be half of one."""
        if (self.folder / INCOMING_FOLDER).exists():
            self._drop(SEGMENTS_FOLDER, INDEX_FOLDER, CONSENSUS_FOLDER, INCOMING_FOLDER)

    def _drop(self, *names: str) -> None:
        for name in names:
            shutil.rmtree(self.folder / name, ignore_errors=True)

    def close(self) -> None:
        """Release the files and the lock."""
        self.copy.close()
        self._file.close()
