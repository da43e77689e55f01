"""The ledger folder of a home and the rules it is read by, for acts that look at a ledger without opening it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from shuiqiao.crypto.suites import get_suite
from shuiqiao.ledger.engine.replica import CHECKPOINTS_FOLDER, INDEX_FOLDER, SEGMENTS_FOLDER
from shuiqiao.ledger.machine import StateMachine
from shuiqiao.ledger.store.checkpoint_file import CheckpointFile
from shuiqiao.ledger.store.disk import PosixDisk
from shuiqiao.ledger.store.log_check import WatchedFiles
from shuiqiao.ledger.store.segments import DEFAULT_SEGMENT_BYTES
from shuiqiao.members.genesis import network_parameters
from shuiqiao.members.key_ring import MemberKeyRing
from shuiqiao.node.home import load_genesis
from shuiqiao.node.kinds import network_kinds

if TYPE_CHECKING:
    from shuiqiao.ledger.model import NetworkParameters
    from shuiqiao.ledger.store.frame import HashName
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

    def checkpoint_file(self) -> CheckpointFile:
        """Return the file of the stored checkpoint."""
        suite = get_suite(self.parameters.suite)
        return CheckpointFile(
            self.folder / CHECKPOINTS_FOLDER, parameters=self.parameters, suite=suite, disk=PosixDisk()
        )

    def machine(self) -> StateMachine:
        """Return the state machine of the network."""
        return StateMachine(
            self.parameters,
            kinds=network_kinds(),
            key_ring=MemberKeyRing(),
            suite=get_suite(self.parameters.suite),
        )
