"""What an open copy of a ledger answers from its segment files and one view of its index: blocks, leaves, proofs.

It reads and never writes, so a copy that is only looked at (``node.looking``) answers as one that is kept.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING

from shuiqiao.base.errors import IntegrityError, InvalidInput
from shuiqiao.ledger.engine.block_reading import log_source, read_blocks
from shuiqiao.ledger.log.tree import consistency_path, leaf_hash, root_from_reader
from shuiqiao.ledger.receipts.receipt import LastEntry, last_entry

if TYPE_CHECKING:
    from shuiqiao.ledger.model import Block, Checkpoint
    from shuiqiao.ledger.state.machine import StateMachine
    from shuiqiao.ledger.store.epoch_notes import EpochKeeping
    from shuiqiao.ledger.store.frame import HashName
    from shuiqiao.ledger.store.index_record import BlockPlace, Head
    from shuiqiao.ledger.store.segments import SegmentFiles
    from shuiqiao.ledger.store.state_view import SnapshotState
    from shuiqiao.ledger.tiles.publishing import LogSource


class LogReading(ABC):
    """The reading half of a copy; whoever has the files and a view takes it as its base."""

    machine: StateMachine
    epochs: EpochKeeping
    _files: SegmentFiles
    _hash_name: HashName

    @abstractmethod
    def view(self) -> tuple[Head, SnapshotState]:
        """Return the head and the state of the last committed block, of one and the same block."""

    def blocks(self, *, from_height: int) -> Iterator[Block]:
        """Iterate over the blocks that are committed when it starts, each read and verified as it is reached."""
        head, view = self.view()
        yield from read_blocks(self._files, view.snapshot, from_height=from_height, last_height=head.height)

    def log_at(self, checkpoint: Checkpoint) -> LogSource:
        """Return the log of a checkpoint that this copy has reached, to be published."""
        head, view = self.view()
        return log_source(checkpoint, files=self._files, snapshot=view.snapshot, last_height=head.height)

    def block_place(self, index: int) -> BlockPlace:
        """Return the block of a transaction's leaf; InvalidInput ``ledger.index_unknown`` for any other index."""
        head, view = self.view()
        place = view.snapshot.block_of_index(index)
        if place is None or index == place.first_index + place.count:
            raise InvalidInput(
                "ledger.index_unknown", f"leaf {index} is not a transaction of this log of {head.size} leaves"
            )
        return place

    def last_entry(self, size: int) -> LastEntry:
        """Return the block entry that was the last leaf when the log had a size, with its path."""
        _, view = self.view()
        place = view.snapshot.block_of_index(size - 1)
        if place is None or place.first_index + place.count != size - 1:
            raise InvalidInput("ledger.size_unknown", f"no block of this log ends at {size} leaves")
        entry = self.leaf(place, size - 1)
        return last_entry(entry, reader=view.snapshot, size=size, hash_name=self._hash_name)

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
