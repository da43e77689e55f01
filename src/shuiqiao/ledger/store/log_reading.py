"""What an open copy of a ledger answers from its segment files and one view of its index: blocks, leaves, proofs.

It reads and never writes, so a copy that is only looked at (``node.home_reader``) answers as one that is kept.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from shuiqiao.base.errors import IntegrityError, InvalidInput
from shuiqiao.ledger.log.tree import consistency_path, leaf_hash, root_from_reader
from shuiqiao.ledger.model import Block

if TYPE_CHECKING:
    from shuiqiao.ledger.state.machine import StateMachine
    from shuiqiao.ledger.store.epochs import StoredEpochs
    from shuiqiao.ledger.store.frame import Frame, HashName
    from shuiqiao.ledger.store.index import BlockPlace, Head, Snapshot
    from shuiqiao.ledger.store.segments import SegmentFiles
    from shuiqiao.ledger.store.state_view import SnapshotState


class LogReading(ABC):
    """The reading half of a copy: the base of each class that has the files and a view of the index."""

    machine: StateMachine
    epochs: StoredEpochs
    _files: SegmentFiles
    _hash_name: HashName

    @abstractmethod
    def view(self) -> tuple[Head, SnapshotState]:
        """Return the head and the state of the last committed block, of one and the same block."""

    def blocks(self, *, from_height: int) -> Iterator[Block]:
        """Iterate over the blocks that are committed when it starts, each read and verified as it is reached."""
        head, view = self.view()
        yield from read_blocks(self._files, view.snapshot, from_height=from_height, last_height=head.height)

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


_FIRST_PLACES: Final = 8
_MORE_PLACES: Final = 256
"""How many places of blocks are looked up at once: few first, as most readers want the newest blocks only."""


def read_blocks(files: SegmentFiles, snapshot: Snapshot, *, from_height: int, last_height: int) -> Iterator[Block]:
    """Iterate over the blocks of segment files by their places in an index."""
    start, count = max(1, from_height), _FIRST_PLACES
    while start <= last_height:
        places = snapshot.blocks(range(start, min(start + count, last_height + 1)))
        for place, frame in zip(
            places, files.read_frames([one.place for one in places], first_height=start), strict=True
        ):
            yield block_of(frame, time_ms=place.time_ms)
        start, count = start + count, _MORE_PLACES


def block_of(frame: Frame, *, time_ms: int) -> Block:
    """Return the block in a frame; time_ms: as its entry says."""
    return Block(
        height=frame.height,
        time_ms=time_ms,
        first_index=frame.first_index,
        transactions=frame.transactions,
        entry=frame.entry,
    )
