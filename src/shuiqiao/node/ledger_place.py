"""The ledger folder of a home and the rules it is read by, for acts that look at a ledger without opening it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from shuiqiao.base.regular_file import open_regular
from shuiqiao.crypto.suites import get_suite
from shuiqiao.ledger.engine.replica import CHECKPOINTS_FOLDER, INDEX_FOLDER, SEGMENTS_FOLDER
from shuiqiao.ledger.epoch_trail import EpochChange, EpochTrail
from shuiqiao.ledger.machine import StateMachine
from shuiqiao.ledger.model import Checkpoint
from shuiqiao.ledger.note import verify_log_signature
from shuiqiao.ledger.signed_note import MAX_SIGNED_NOTE_BYTES, decode_signed_note
from shuiqiao.ledger.store.checkpoint_file import CheckpointFile
from shuiqiao.ledger.store.disk import PosixDisk
from shuiqiao.ledger.store.log_check import WatchedFiles
from shuiqiao.ledger.store.segments import DEFAULT_SEGMENT_BYTES
from shuiqiao.ledger.store.state_tree import prove
from shuiqiao.members.genesis import network_parameters
from shuiqiao.members.key_ring import MemberKeyRing
from shuiqiao.node.home import load_genesis
from shuiqiao.node.kinds import network_kinds

if TYPE_CHECKING:
    from shuiqiao.ledger.model import NetworkParameters
    from shuiqiao.ledger.store.frame import HashName
    from shuiqiao.ledger.store.index_reader import IndexReader
    from shuiqiao.node.settings import Home


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerPlace:
    """A ledger folder and the network it is of."""

    folder: Path
    parameters: NetworkParameters

    @classmethod
    def of_home(cls, home: Home) -> LedgerPlace:
        """Return the place of a home's ledger; raises what ``load_genesis`` and ``network_parameters`` raise."""
        return cls(folder=home.ledger, parameters=network_parameters(load_genesis(home.genesis)))

    @property
    def hash_name(self) -> HashName:
        """The suite's hash."""
        return cast("HashName", get_suite(self.parameters.suite).hash_name)

    @property
    def index(self) -> Path:
        """The index's folder."""
        return self.folder / INDEX_FOLDER

    @property
    def has_blocks(self) -> bool:
        """Whether a block was ever written here."""
        return bool(self.files().segments())

    def files(self) -> WatchedFiles:
        """Return the segment files, to be looked at."""
        return WatchedFiles(
            self.folder / SEGMENTS_FOLDER,
            network=self.parameters.network,
            hash_name=self.hash_name,
            disk=PosixDisk(),
            max_segment_bytes=DEFAULT_SEGMENT_BYTES,
        )

    def read_note(self) -> bytes | None:
        """Return the stored checkpoint's note as it lies there, None before the first.

        Take it before the index: that then covers at least what the note says.
        """
        suite = get_suite(self.parameters.suite)
        path = CheckpointFile(self.folder / CHECKPOINTS_FOLDER, suite=suite, disk=PosixDisk()).path
        try:
            with open_regular(path) as file:
                return file.read(MAX_SIGNED_NOTE_BYTES + 1)
        except FileNotFoundError:
            return None

    def checkpoint_of(self, note: bytes | None, *, index: IndexReader | None) -> Checkpoint | None:
        """Return what a stored note says, the log's own signature verified under the epoch of its size.

        Without an index the epochs are not known, and the note is taken as it is. Raises what ``decode_signed_note``
        and ``verify_log_signature`` raise.
        """
        if note is None:
            return None
        head = decode_signed_note(note).head
        if index is None:
            return Checkpoint(origin=head.origin, size=head.size, root=head.root, note=note)
        policy = self.trail(index).policy_at(head.size)
        return verify_log_signature(note, policy=policy, suite=get_suite(self.parameters.suite))

    def trail(self, index: IndexReader) -> EpochTrail:
        """Return the epochs that an index knows, with the one that its last block began."""
        members = MemberKeyRing()
        trail = EpochTrail(self.parameters, key_ring=members)
        for change in index.view.epochs():
            trail.add(change)
        epoch = index.view.state_value(members.epoch_key)
        if index.head.height and epoch is not None and epoch != trail.newest_epoch:
            proof = prove(index.view, members.epoch_key, hash_name=self.hash_name)
            trail.add(EpochChange(size=index.head.size, epoch=epoch, proof=proof))
        return trail

    def machine(self) -> StateMachine:
        """Return the state machine of the network."""
        return StateMachine(
            self.parameters,
            kinds=network_kinds(),
            key_ring=MemberKeyRing(),
            suite=get_suite(self.parameters.suite),
        )
